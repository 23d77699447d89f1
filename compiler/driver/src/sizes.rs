//! Models whose sizes are given at the call: which sizes there are, and the model of each case.
//!
//! In come a model file and ranges of dimensions; out comes a model at its largest sizes that knows how to read itself at any
//! other. Nothing is kept of a case but what is compiled from it: models are large, and cases many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use avocet_ir::TensorType;
use avocet_ir::program::{Dim, Sizes};
use avocet_passes::batch;
use thiserror::Error;

use crate::error::Error;
use crate::model::{LoadOptions, Model};

/// Most cases of a model: each is compiled for itself, so all of them take as many times the code and the time.
pub const MOST_CASES: usize = 1024;

/// Images of the batch with which it is found out whether they have to do with each other.
const SEVERAL: usize = 3;

/// Sizes of a dimension: `16`, `1..64` or `32..1024:32`, from the first to the last by steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// The smallest.
    pub first: usize,
    /// The largest.
    pub last: usize,
    /// Distance between them.
    pub step: usize,
}

/// A text that is not a range of sizes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("'{0}' is not a size, such as 16, nor sizes, such as 1..64 or 32..1024:32 (from, to, in steps of)")]
pub struct NoSizeRange(String);

impl FromStr for SizeRange {
    type Err = NoSizeRange;

    fn from_str(text: &str) -> Result<Self, NoSizeRange> {
        let number = |text: &str| text.parse().ok().filter(|&number: &usize| number > 0);
        let read = || {
            let Some((first, rest)) = text.split_once("..") else {
                let size = number(text)?;
                return Some(SizeRange { first: size, last: size, step: 1 });
            };
            let (last, step) =
                rest.split_once(':').map_or((rest, Some(1)), |(last, step)| (last, number(step)));
            let range = SizeRange { first: number(first)?, last: number(last)?, step: step? };
            let whole = range.last.checked_sub(range.first)?.is_multiple_of(range.step);
            whole.then_some(range)
        };
        read()
            .ok_or_else(|| NoSizeRange(text.chars().take(80).collect::<String>().escape_debug().to_string()))
    }
}

/// Why sizes can't be left to the call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizesError {
    /// Too many combinations.
    #[error("the sizes {dims} make {} cases, each of which is compiled for itself; at most {MOST_CASES} are: take larger steps",
        count.map_or_else(|| "countless".into(), |count| count.to_string()))]
    TooMany {
        /// The dimensions with their sizes.
        dims: String,
        /// The number of cases.
        count: Option<usize>,
    },
    /// Preprocessing fixes the size of pictures.
    #[error("preprocessing takes pictures of one size, so only the batch can be given at the call")]
    Preprocessing,
    /// What is to be done is done for one size.
    #[error("{0} is of a model of one size; name one of {1} with --dim")]
    OneSize(&'static str, String),
    /// No sizes fit what was given.
    #[error("no sizes of the model fit inputs of {0}; it takes {1}")]
    Unfit(String, String),
}

/// A model's file, and the sizes at which it may be read.
#[derive(Clone, Debug)]
pub(crate) struct Dynamic {
    path: PathBuf,
    options: LoadOptions,
    pub(crate) dims: Vec<Dim>,
    pub(crate) batch: Option<usize>,
    pub(crate) batched: Vec<bool>,
    preprocessing: Vec<crate::Preprocessing>,
}

impl Dynamic {
    /// Finds out what the sizes of a model are, and reads it at the largest.
    pub(crate) fn open(path: &Path, options: &LoadOptions) -> Result<Model, Error> {
        let dim = |(name, range): (&String, &SizeRange)| Dim {
            name: name.clone(),
            first: range.first,
            last: range.last,
            step: range.step,
        };
        let dims: Vec<Dim> = options.ranges.iter().map(dim).collect();
        let options = LoadOptions { ranges: BTreeMap::new(), ..options.clone() };
        let path = path.to_path_buf();
        let mut dynamic =
            Dynamic { path, options, dims, batch: None, batched: Vec::new(), preprocessing: Vec::new() };
        let largest: Vec<usize> = dynamic.dims.iter().map(|dim| dim.last).collect();
        // Read first, so that mistakes in names are told before anything else.
        let model = dynamic.at(&largest)?;
        for number in 0..dynamic.dims.len() {
            let of = |images: usize| {
                let mut sizes: Vec<usize> = dynamic.dims.iter().map(|dim| dim.first).collect();
                sizes[number] = images;
                dynamic.at(&sizes)
            };
            // A dimension that can't be of these sizes is no batch.
            let (Ok(one), Ok(several)) = (of(1), of(SEVERAL)) else { continue };
            if let Some(batched) = batch::independent(one.graph(), several.graph(), SEVERAL) {
                (dynamic.batch, dynamic.batched) = (Some(number), batched);
                break;
            }
        }
        let count = Sizes::count(&dynamic.dims, dynamic.batch);
        if count.is_none_or(|count| count > MOST_CASES) {
            return Err(SizesError::TooMany { dims: dynamic.text(), count }.into());
        }
        Ok(model.with_dynamic(dynamic))
    }

    /// The dimensions and their sizes, for messages.
    pub(crate) fn text(&self) -> String {
        self.dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Number of cases.
    pub(crate) fn count(&self) -> usize {
        Sizes::count(&self.dims, self.batch).unwrap_or(usize::MAX)
    }

    /// The model of a case; of a batch, one image.
    pub(crate) fn case(&self, case: usize) -> Result<Model, Error> {
        self.at(&Sizes::of_case(&self.dims, self.batch, case))
    }

    /// The model at these sizes.
    pub(crate) fn at(&self, sizes: &[usize]) -> Result<Model, Error> {
        let mut options = self.options.clone();
        options.dims.extend(self.dims.iter().map(|dim| dim.name.clone()).zip(sizes.iter().copied()));
        let model = Model::open(&self.path, &options)?;
        self.preprocessing.iter().try_fold(model, |model, how| model.with_preprocessing(how))
    }

    /// The model at the sizes that inputs of these types ask for.
    pub(crate) fn fitting(&self, inputs: &[TensorType]) -> Result<Model, Error> {
        for case in 0..self.count() {
            let mut sizes = Sizes::of_case(&self.dims, self.batch, case);
            if let (Some(batch), Some(input)) = (self.batch, self.batched.iter().position(|&b| b)) {
                let images = inputs.get(input).and_then(|ty| ty.dims().first()).copied().unwrap_or(0);
                let Some(_) = self.dims[batch].position(images as i64) else { continue };
                sizes[batch] = images;
            }
            let model = self.at(&sizes)?;
            if model.inputs().iter().map(|port| &port.ty).eq(inputs) {
                return Ok(model);
            }
        }
        let got = inputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Err(SizesError::Unfit(got, self.text()).into())
    }

    /// The same with preprocessing before each case.
    pub(crate) fn with_preprocessing(&self, how: &crate::Preprocessing) -> Result<Self, Error> {
        if (0..self.dims.len()).any(|number| Some(number) != self.batch) {
            return Err(SizesError::Preprocessing.into());
        }
        let mut dynamic = self.clone();
        dynamic.preprocessing.push(how.clone());
        Ok(dynamic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        let range = |first, last, step| Ok(SizeRange { first, last, step });
        assert_eq!("16".parse(), range(16, 16, 1));
        assert_eq!("1..64".parse(), range(1, 64, 1));
        assert_eq!("32..1024:32".parse(), range(32, 1024, 32));
        for wrong in
            ["", "0", "-1", "0..4", "4..1", "1..", "..4", "1..4:0", "1..4:2", "1...4", "1..4:x", "a..b"]
        {
            assert!(wrong.parse::<SizeRange>().is_err(), "{wrong}");
        }
    }
}
