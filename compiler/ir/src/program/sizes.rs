//! Sizes that are given at the call, in place of sizes that are known when a network is compiled.
//!
//! A program has a case for each combination of sizes, compiled for it alone: as fast as if there were no other, and of a
//! memory that is known. The sizes choose the case ([`super::Control::Switch`]). The batch is an exception where images have
//! nothing to do with each other: one case runs once for each image.

use std::fmt;

use super::Port;
use crate::tensor::{Shape, TensorType};

/// A size that is given at the call: `first`, `first + step` and so on, to `last`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    /// Name from the model.
    pub name: String,
    /// Smallest size.
    pub first: usize,
    /// Largest size; `first` and some steps.
    pub last: usize,
    /// Distance between sizes, at least 1.
    pub step: usize,
}

impl Dim {
    /// How many sizes there are.
    pub fn count(&self) -> usize {
        (self.last - self.first) / self.step + 1
    }

    /// Number of a size, if it is one.
    pub fn position(&self, size: i64) -> Option<usize> {
        let beyond = usize::try_from(size).ok()?.checked_sub(self.first)?;
        (beyond <= self.last - self.first && beyond.is_multiple_of(self.step)).then_some(beyond / self.step)
    }

    /// The size of a number.
    pub fn size(&self, position: usize) -> usize {
        self.first + position * self.step
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Dim { name, first, last, step } = self;
        write!(f, "{}={first}..{last}", name.escape_debug())?;
        if *step == 1 { Ok(()) } else { write!(f, ":{step}") }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(ToString::to_string).collect();
        f.write_str(&dims.join(", "))
    }
}

/// Inputs and outputs of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Types of the inputs.
    pub inputs: Vec<TensorType>,
    /// Types of the outputs.
    pub outputs: Vec<TensorType>,
}

/// What of a program depends on sizes that are given at the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The sizes, in the order in which they are given.
    pub dims: Vec<Dim>,
    /// Which of them is a number of images that are computed one after the other. It takes no part in the choice of a case.
    pub batch: Option<usize>,
    /// Which inputs have the batch as their first dimension; all outputs have. Empty without a batch.
    pub batched: Vec<bool>,
    /// What each case takes and gives; of a batch, one image. The last of `dims` changes fastest.
    pub cases: Vec<Signature>,
}

impl Sizes {
    /// The dims that choose the case, by number.
    pub fn choosing(&self) -> impl Iterator<Item = (usize, &Dim)> {
        self.dims.iter().enumerate().filter(|(number, _)| Some(*number) != self.batch)
    }

    /// How many cases the dims make; `None` when that is beyond all bounds.
    pub fn count(dims: &[Dim], batch: Option<usize>) -> Option<usize> {
        let choosing = dims.iter().enumerate().filter(|(number, _)| Some(*number) != batch);
        choosing.map(|(_, dim)| dim.count()).try_fold(1usize, usize::checked_mul)
    }

    /// The sizes that lead to a case; of a batch, one image.
    pub fn of_case(dims: &[Dim], batch: Option<usize>, mut case: usize) -> Vec<usize> {
        let mut sizes = vec![1; dims.len()];
        for (number, dim) in dims.iter().enumerate().rev().filter(|(number, _)| Some(*number) != batch) {
            sizes[number] = dim.size(case % dim.count());
            case /= dim.count();
        }
        sizes
    }

    /// The case that sizes lead to, if all of them are allowed.
    pub fn case(&self, sizes: &[i64]) -> Option<usize> {
        if sizes.len() != self.dims.len() {
            return None;
        }
        let mut case = 0;
        for (number, (dim, &size)) in self.dims.iter().zip(sizes).enumerate() {
            let position = dim.position(size)?;
            if Some(number) != self.batch {
                case = case * dim.count() + position;
            }
        }
        Some(case)
    }

    /// Whether an input has the batch as its first dimension.
    pub fn is_batched(&self, input: usize) -> bool {
        self.batch.is_some() && self.batched.get(input) == Some(&true)
    }

    /// Number of images that sizes ask for.
    pub fn images(&self, sizes: &[i64]) -> usize {
        self.batch.and_then(|batch| usize::try_from(*sizes.get(batch)?).ok()).unwrap_or(1)
    }

    /// Types of inputs and outputs for sizes, if they are allowed.
    pub fn signature(&self, sizes: &[i64]) -> Option<Signature> {
        let one = self.cases.get(self.case(sizes)?)?;
        let images = self.images(sizes);
        let inputs = one.inputs.iter().enumerate().map(|(number, ty)| match self.is_batched(number) {
            true => several(ty, images),
            false => Some(ty.clone()),
        });
        let outputs = one.outputs.iter().map(|ty| match self.batch {
            Some(_) => several(ty, images),
            None => Some(ty.clone()),
        });
        Some(Signature { inputs: inputs.collect::<Option<_>>()?, outputs: outputs.collect::<Option<_>>()? })
    }

    /// The sizes that inputs of these types ask for, if there are such. Every run asks, so cases are only compared.
    pub fn of_inputs(&self, inputs: &[TensorType]) -> Option<Vec<i64>> {
        let images = match (0..inputs.len()).find(|&input| self.is_batched(input)) {
            Some(input) => *inputs[input].dims().first()?,
            None => 1,
        };
        let fits = |(number, (one, given)): (usize, (&TensorType, &TensorType))| match self.is_batched(number)
        {
            true => {
                let image = one.dims().split_first().map(|(_, image)| (&images, image));
                one.dtype == given.dtype && image.is_some() && given.dims().split_first() == image
            }
            false => one == given,
        };
        let case = self.cases.iter().position(|case| {
            case.inputs.len() == inputs.len() && case.inputs.iter().zip(inputs).enumerate().all(fits)
        })?;
        let mut sizes: Vec<i64> =
            Sizes::of_case(&self.dims, self.batch, case).into_iter().map(|size| size as i64).collect();
        if let Some(batch) = self.batch {
            sizes[batch] = i64::try_from(images).ok()?;
        }
        self.case(&sizes).is_some().then_some(sizes)
    }

    /// The ports for the largest sizes: each as large as the largest of the cases.
    pub fn largest(&self, names: &[Port], outputs: bool) -> Option<Vec<Port>> {
        let most = self.batch.map_or(1, |batch| self.dims[batch].last);
        let port = |(number, port): (usize, &Port)| {
            let of = |case: &Signature| {
                let ports = if outputs { &case.outputs } else { &case.inputs };
                ports.get(number).cloned()
            };
            let all: Option<Vec<TensorType>> = self.cases.iter().map(of).collect();
            let largest = all?.into_iter().max_by_key(TensorType::bytes)?;
            let batched = if outputs { self.batch.is_some() } else { self.is_batched(number) };
            let ty = if batched { several(&largest, most)? } else { largest };
            Some(Port { name: port.name.clone(), ty })
        };
        names.iter().enumerate().map(port).collect()
    }
}

/// The type of so many images, from that of one.
fn several(ty: &TensorType, images: usize) -> Option<TensorType> {
    let mut dims = ty.dims().to_vec();
    *dims.first_mut()? = images;
    Some(TensorType::new(ty.dtype, Shape::new(dims).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_choose_cases_and_lead_back() {
        let dim = |name: &str, first, last, step| Dim { name: name.into(), first, last, step };
        let dims = vec![dim("H", 32, 96, 32), dim("N", 1, 4, 1), dim("W", 10, 30, 20)];
        assert_eq!(Sizes::count(&dims, Some(1)), Some(6));
        let signature = |case| {
            let sizes = Sizes::of_case(&dims, Some(1), case);
            let ty = TensorType::f32([1, 3, sizes[0], sizes[2]]).expect("small");
            Signature { inputs: vec![ty], outputs: vec![TensorType::f32([1, sizes[0]]).expect("small")] }
        };
        let cases = (0..6).map(signature).collect();
        let sizes = Sizes { batch: Some(1), batched: vec![true], cases, dims: dims.clone() };
        assert_eq!(sizes.case(&[64, 3, 30]), Some(3));
        for wrong in [[33, 1, 10], [128, 1, 10], [32, 0, 10], [32, 5, 10], [32, 1, 20], [-32, 1, 10]] {
            assert_eq!(sizes.case(&wrong), None, "{wrong:?}");
        }
        assert_eq!(sizes.case(&[32, 1]), None);
        let signature = sizes.signature(&[96, 4, 10]).expect("allowed");
        assert_eq!(signature.inputs[0].dims(), [4, 3, 96, 10]);
        assert_eq!(sizes.of_inputs(&signature.inputs), Some(vec![96, 4, 10]));
        let other = TensorType::f32([5, 3, 96, 10]).expect("small");
        assert_eq!(sizes.of_inputs(&[other]), None);
        // Without a batch nothing is said of inputs.
        let fixed = Sizes {
            batch: None,
            batched: Vec::new(),
            dims: vec![dims[0].clone()],
            cases: sizes.cases[..3].to_vec(),
        };
        let types = fixed.signature(&[64]).expect("allowed").inputs;
        assert_eq!((types.len(), fixed.of_inputs(&types)), (1, Some(vec![64])));
        let port = Port { name: "x".into(), ty: signature.inputs[0].clone() };
        assert_eq!(sizes.largest(&[port], false).expect("some")[0].ty.dims(), [4, 3, 96, 30]);
    }
}
