//! Networks of several widths with one set of weights (Yu et al., Slimmable Neural Networks, 2019).
//!
//! The network is written out once for each width, the widest first; the narrower ones take the first channels of its tensors,
//! batch normalisations excepted, of which each width has its own. An input `width` says at each call which one is computed.

use std::collections::BTreeMap;

use avocet_ir::op::Op;
use avocet_ir::tensor::{DType, Shape, Tensor, TensorType};

use super::builder::{BuildError, Builder, check_range};
use super::scaling::round_channels;
use super::schema::{Kind, Slimmable};

/// Most widths.
const MOST_WIDTHS: usize = 8;

/// One width of several.
pub(super) struct Width {
    /// Its place among the widths.
    pub(super) number: usize,
    factor: f64,
    divisor: usize,
    /// The tensors of the widest network; all of them once it is finished.
    widest: BTreeMap<String, Tensor>,
    is_widest: bool,
}

impl Width {
    /// Channels of this width, at least one.
    pub(super) fn channels(&self, channels: usize) -> usize {
        if self.is_widest {
            channels
        } else {
            round_channels(channels as f64 * self.factor, self.divisor).min(channels)
        }
    }

    /// Remembers a tensor of the widest network.
    pub(super) fn keep(&mut self, name: &str, tensor: &Tensor) {
        if self.is_widest {
            self.widest.insert(name.into(), tensor.clone());
        }
    }

    /// The first channels of a tensor of the widest network, if this is another.
    pub(super) fn narrowed(&self, name: &str, dims: &[usize]) -> Option<Result<Tensor, BuildError>> {
        let whole = self.widest.get(name).filter(|_| !self.is_widest)?;
        Some(first(whole, dims).ok_or_else(|| {
            format!("'{name}' is {} in the widest network, which {dims:?} is no part of", whole.shape())
                .into()
        }))
    }
}

/// The first elements along each dimension.
fn first(whole: &Tensor, dims: &[usize]) -> Option<Tensor> {
    let (data, shape) = (whole.as_f32()?, whole.shape());
    let fits = shape.rank() == dims.len() && dims.iter().zip(shape.dims()).all(|(part, whole)| part <= whole);
    if !fits {
        return None;
    }
    if shape.dims() == dims {
        return Some(whole.clone());
    }
    let mut part: Vec<f32> = Vec::with_capacity(dims.iter().product());
    let strides = shape.strides();
    fn copy(data: &[f32], dims: &[usize], strides: &[usize], part: &mut Vec<f32>) {
        match (dims, strides) {
            ([count], _) => part.extend_from_slice(&data[..*count]),
            ([count, dims @ ..], [stride, strides @ ..]) => {
                (0..*count).for_each(|i| copy(&data[i * stride..], dims, strides, part));
            }
            _ => part.extend_from_slice(data),
        }
    }
    copy(data, dims, &strides, &mut part);
    Tensor::f32(dims, part).ok()
}

impl Builder<'_> {
    /// Channels of a block after compound scaling and at the width that is being built.
    pub(super) fn scaled(&self, channels: usize) -> usize {
        let channels = self.scaling.channels(channels);
        self.width.as_ref().map_or(channels, |width| width.channels(channels))
    }

    /// That groups keep to their channels at each width.
    pub(super) fn check_groups(&self, groups: usize, channels: usize) -> Result<(), BuildError> {
        match self.width {
            Some(_) if groups > 1 && groups != channels => {
                Err("a slimmable network has no groups of several channels: the first channels are others"
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// That the first channels of a block's result mean the same at each width.
    pub(super) fn check_slimmable(&self, kind: Kind) -> Result<(), BuildError> {
        let joins = matches!(kind, Kind::ShuffleUnit | Kind::Fire | Kind::Cell);
        match self.width {
            Some(_) if joins => Err("it joins channels, whose first ones differ between widths".into()),
            _ => Ok(()),
        }
    }
}

/// What is wrong with the section, if anything is.
pub(super) fn check(section: &Slimmable) -> Result<(), String> {
    let widths = &section.widths;
    if !(1..=MOST_WIDTHS).contains(&widths.len()) {
        return Err(format!("slimmable.widths has {} entries, expected 1 to {MOST_WIDTHS}", widths.len()));
    }
    let ascend = widths.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascend || !widths.iter().all(|&width| (0.01..=1.0).contains(&width)) || widths.last() != Some(&1.0) {
        return Err(format!(
            "slimmable.widths is {widths:?}, expected ascending numbers from 0.01 to 1, the last 1"
        ));
    }
    match section.divisor {
        1..=1024 => Ok(()),
        other => Err(format!("slimmable.divisor is {other}, expected 1 to 1024")),
    }
}

/// The network at each width, of which one is chosen; its results by name.
pub(super) fn network(
    b: &mut Builder,
    section: &Slimmable,
) -> Result<Vec<(&'static str, avocet_ir::Value)>, BuildError> {
    check_range("widths", section.widths.len(), MOST_WIDTHS)?;
    let ty = TensorType::new(DType::I64, Shape::new([1]).map_err(|e| e.to_string())?);
    let place = b.add("width", Op::Input(ty.clone()), &[])?;
    let mut widest = BTreeMap::new();
    let (mut branches, mut names) = (Vec::new(), Vec::new());
    for (number, &factor) in section.widths.iter().enumerate().rev() {
        let is_widest = number + 1 == section.widths.len();
        b.width = Some(Width { number, factor, divisor: section.divisor, widest, is_widest });
        b.names.unnamed = 0;
        let outside = b.enter(&format!("width.{number}"))?;
        let results = b.network()?;
        names = results.iter().map(|&(name, _)| name).collect();
        for (name, value) in results {
            b.graph.add_output(name, value);
        }
        branches.push(b.leave(outside));
        widest = b.width.take().map(|width| width.widest).unwrap_or_default();
    }
    branches.reverse();
    let table = b.table("width", branches, &ty)?;
    let values = b.pick("width.chosen", &table, place)?;
    Ok(names.into_iter().zip(values).collect())
}
