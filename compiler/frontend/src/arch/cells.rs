//! Searched cells (Zoph et al., Learning Transferable Architectures, 2017), from their description as data.
//!
//! A cell sees the last two results. Each is brought to the cell's channels (ReLU, 1x1 convolution, normalisation); a
//! previous result that is larger by a factor of two comes through a factorised reduction: two 1x1 convolutions of every
//! second pixel, one of them shifted by a pixel, side by side. Operations on those two states have the cell's stride.

use avocet_ir::Value;
use avocet_ir::op::{Layout, Op, PadMode, Padding, Pool, PoolKind, SliceAxis};

use super::builder::{BuildError, Builder, ConvSpec, check_range};
use super::schema::{Activation, Cell, PaddingRule};

/// Most pairs of a cell.
const MOST_PAIRS: usize = 64;

/// Adds a cell; the builder's `value` and `previous` are its inputs.
pub(super) fn add(
    b: &mut Builder,
    name: &str,
    cell: &Cell,
    filters: usize,
    stride: usize,
    project_previous: bool,
) -> Result<Value, BuildError> {
    check_range("pairs of the cell", cell.combine.len(), MOST_PAIRS)?;
    check_range("out", filters, 1 << 16)?;
    let (x, before) = (b.sight.value, b.sight.previous.unwrap_or(b.sight.value));
    let current = project(b, &format!("{name}.current"), x, filters)?;
    let previous = match project_previous {
        // The first cell has no earlier result: its input serves as it is.
        false => x,
        true if b.dims(before)[2..] == b.dims(x)[2..] => {
            project(b, &format!("{name}.previous"), before, filters)?
        }
        true => reduce(b, &format!("{name}.previous"), before, filters)?,
    };
    let mut results: Vec<Value> = Vec::new();
    for (number, [left, left_state, right, right_state]) in cell.combine.iter().enumerate() {
        let mut sides = Vec::with_capacity(2);
        for (side, operation, state) in [("left", left, left_state), ("right", right, right_state)] {
            let (input, first) = match state.as_str() {
                "current" => (current, true),
                "previous" => (previous, true),
                other => (state_of(&results, other)?, false),
            };
            let stride = if first { stride } else { 1 };
            sides.push(apply(b, &format!("{name}.{number}.{side}"), operation, input, filters, stride)?);
        }
        results.push(b.sum(&format!("{name}.{number}"), sides[0], sides[1])?);
    }
    let mut parts = Vec::with_capacity(cell.concat.len());
    for state in &cell.concat {
        parts.push(match state.as_str() {
            "current" => current,
            "previous" => previous,
            other => state_of(&results, other)?,
        });
    }
    if parts.is_empty() {
        return Err("the cell's 'concat' names no state".into());
    }
    b.add(&format!("{name}.concat"), Op::Concat { axis: 1 }, &parts)
}

fn state_of(results: &[Value], name: &str) -> Result<Value, BuildError> {
    let result = name.parse::<usize>().ok().and_then(|number| results.get(number).copied());
    result.ok_or_else(|| {
        format!("'{name}' is no state here; expected current, previous or a number below {}", results.len())
            .into()
    })
}

const fn linear(out: usize) -> ConvSpec {
    ConvSpec {
        out,
        kernel: [1; 2],
        stride: [1; 2],
        dilation: 1,
        groups: 1,
        norm: true,
        bias: true,
        activation: Activation::None,
        padding: PaddingRule::Symmetric,
    }
}

/// ReLU, 1x1 convolution, normalisation.
fn project(b: &mut Builder, name: &str, x: Value, filters: usize) -> Result<Value, BuildError> {
    let x = b.relu(name, x)?;
    b.conv(name, x, linear(filters))
}

/// The factorised reduction. A single batch normalisation over both halves follows.
fn reduce(b: &mut Builder, name: &str, x: Value, filters: usize) -> Result<Value, BuildError> {
    if !filters.is_multiple_of(2) {
        return Err(format!("{filters} channels can't be halved").into());
    }
    let x = b.relu(name, x)?;
    let dims = b.dims(x);
    // The shifted path starts at the second pixel; a row and a column of zeros at the end keep its size.
    let pad = Op::Pad { amounts: vec![(0, 0), (0, 0), (0, 1), (0, 1)], mode: PadMode::Constant(0.0) };
    let padded = b.add(&format!("{name}.pad"), pad, &[x])?;
    let part = |start: usize| {
        let axis = |start, count, step| SliceAxis { start, count, step };
        let every_second = |size: usize| axis(start, size.div_ceil(2), 2);
        Op::Slice {
            axes: vec![
                axis(0, dims[0], 1),
                axis(0, dims[1], 1),
                every_second(dims[2]),
                every_second(dims[3]),
            ],
        }
    };
    let (first, second) =
        (b.add(&format!("{name}.even"), part(0), &[x])?, b.add(&format!("{name}.odd"), part(1), &[padded])?);
    let mut halves = Vec::with_capacity(2);
    for (side, half) in [("first", first), ("second", second)] {
        halves.push(b.plain_conv(&format!("{name}.{side}"), half, linear(filters / 2))?);
    }
    let y = b.add(&format!("{name}.concat"), Op::Concat { axis: 1 }, &halves)?;
    b.norm(name, y)
}

/// One operation of a pair.
fn apply(
    b: &mut Builder,
    name: &str,
    operation: &str,
    x: Value,
    filters: usize,
    stride: usize,
) -> Result<Value, BuildError> {
    let window = |kind| {
        Op::Pool(Pool {
            kind,
            window: [3, 3],
            strides: [stride, stride],
            dilations: [1, 1],
            padding: Padding::symmetric(1, 1),
            ceil_mode: false,
            layout: Layout::Nchw,
        })
    };
    match operation {
        "identity" if stride == 1 => Ok(x),
        "identity" => Err("identity can't have a stride".into()),
        "average3" => b.add(name, window(PoolKind::Average { count_padding: false }), &[x]),
        "max3" => b.add(name, window(PoolKind::Max), &[x]),
        "separable3" => separable(b, name, x, filters, 3, stride),
        "separable5" => separable(b, name, x, filters, 5, stride),
        "separable7" => separable(b, name, x, filters, 7, stride),
        other => {
            let known = "separable3, separable5, separable7, average3, max3, identity";
            Err(format!("there is no operation '{other}'; known are: {known}").into())
        }
    }
}

/// Twice: ReLU, depthwise and pointwise convolution, normalisation. The stride is the first's.
fn separable(
    b: &mut Builder,
    name: &str,
    mut x: Value,
    filters: usize,
    kernel: usize,
    stride: usize,
) -> Result<Value, BuildError> {
    for (part, stride) in [("first", stride), ("second", 1)] {
        let name = format!("{name}.{part}");
        let channels = b.channels(x)?;
        x = b.relu(&name, x)?;
        let depthwise =
            ConvSpec { kernel: [kernel; 2], stride: [stride; 2], groups: channels, ..linear(channels) };
        x = b.plain_conv(&format!("{name}.depthwise"), x, depthwise)?;
        x = b.conv(&format!("{name}.pointwise"), x, linear(filters))?;
    }
    Ok(x)
}
