//! Convolution and pooling of volumes: tensors `[batch, channels, depth, rows, columns]`.
//!
//! Kernels work on images, so that a convolution is the sum of those of the slices under the window, one for each of its slices,
//! and a pooling one of rows and columns followed by one of depth: the largest of the largest, and a mean of means that are each
//! of as many elements along their own axis.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Conv, Layout, Op, Padding, Pool, PoolKind, SliceAxis};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::convolution;
use super::movement::whole;

/// A window along one axis.
#[derive(Clone, Copy)]
struct Along {
    window: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

/// Three sizes of an attribute; `default` where it isn't there.
fn triple(node: &Node, name: &str, least: usize, default: usize) -> Result<[usize; 3], Problem> {
    match node.attributes.ints(name)? {
        None | Some([]) => Ok([default; 3]),
        Some(&[a, b, c]) => Ok([size(name, a, least)?, size(name, b, least)?, size(name, c, least)?]),
        Some(other) => invalid(format!("{name} {other:?} for three spatial dimensions")),
    }
}

fn windows(node: &Node, extents: [usize; 3], window: [usize; 3]) -> Result<[Along; 3], Problem> {
    let (strides, dilations) = (triple(node, "strides", 1, 1)?, triple(node, "dilations", 1, 1)?);
    let pads = match node.attributes.ints("pads")? {
        None | Some([]) => [0; 6],
        Some(&[a, b, c, d, e, f]) => [a, b, c, d, e, f],
        Some(other) => return invalid(format!("pads {other:?} for three spatial dimensions")),
    };
    let auto = node.attributes.text("auto_pad", "NOTSET")?;
    let mut along = [Along { window: 1, stride: 1, dilation: 1, before: 0, after: 0 }; 3];
    for (i, along) in along.iter_mut().enumerate() {
        let span = (window[i] - 1).saturating_mul(dilations[i]).saturating_add(1);
        let positions = extents[i].div_ceil(strides[i]).max(1);
        let missing = ((positions - 1) * strides[i]).saturating_add(span).saturating_sub(extents[i]);
        let (before, after) = match auto.as_str() {
            "" | "NOTSET" => (size("padding", pads[i], 0)?, size("padding", pads[i + 3], 0)?),
            "VALID" => (0, 0),
            "SAME_UPPER" => (missing / 2, missing - missing / 2),
            "SAME_LOWER" => (missing - missing / 2, missing / 2),
            other => return unsupported(format!("auto_pad '{}'", other.escape_debug())),
        };
        *along = Along { window: window[i], stride: strides[i], dilation: dilations[i], before, after };
    }
    Ok(along)
}

/// Padding of rows and columns.
fn padding(rows: Along, columns: Along) -> Padding {
    Padding { top: rows.before, bottom: rows.after, left: columns.before, right: columns.after }
}

/// The pooling that a node's attributes describe.
pub(super) fn pooled(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    kind: PoolKind,
) -> Result<Value, Problem> {
    let ty = importer.ty(x);
    let &[batch, channels, depth, rows, columns] = ty.dims() else { return invalid(format!("{ty}")) };
    if node.attributes.ints("kernel_shape")?.is_none() {
        return invalid("kernel_shape is missing");
    }
    let window = triple(node, "kernel_shape", 1, 1)?;
    let [slices, of_rows, of_columns] = windows(node, [depth, rows, columns], window)?;
    let ceil_mode = node.attributes.flag("ceil_mode", false)?;
    let pool = |a: Along, b: Along| {
        Op::Pool(Pool {
            kind,
            window: [a.window, b.window],
            strides: [a.stride, b.stride],
            dilations: [a.dilation, b.dilation],
            padding: padding(a, b),
            ceil_mode,
            layout: Layout::Nchw,
        })
    };
    let images = importer.reshape(node, x, &[batch, channels * depth, rows, columns])?;
    let images = importer.add(node, pool(of_rows, of_columns), &[images])?;
    let &[_, _, rows, columns] = importer.ty(images).dims() else { return invalid("no images") };
    let stacks = importer.reshape(node, images, &[batch, channels, depth, rows * columns])?;
    let single = Along { window: 1, stride: 1, dilation: 1, before: 0, after: 0 };
    let stacks = importer.add(node, pool(slices, single), &[stacks])?;
    let depth = importer.ty(stacks).shape[2];
    importer.reshape(node, stacks, &[batch, channels, depth, rows, columns])
}

/// Conv of a volume.
pub(super) fn conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let (ty, weights) = (importer.ty(x), importer.ty(w));
    let (&[_, _, depth, rows, columns], &[_, _, slices, height, width]) = (ty.dims(), weights.dims()) else {
        return invalid(format!("weights {weights} for {ty}"));
    };
    if slices == 0 || height == 0 || width == 0 {
        return invalid(format!("weights {weights} have a dimension of size zero"));
    }
    let along = windows(node, [depth, rows, columns], [slices, height, width])?;
    let groups = size("group", node.attributes.int("group", 1)?, 1)?;
    let y = convolved(importer, node, (x, w), along, groups)?;
    with_bias(importer, node, y)
}

fn with_bias(importer: &mut Importer, node: &Node, y: Value) -> Result<Vec<Value>, Problem> {
    let Some(bias) = node.optional(2) else { return Ok(vec![y]) };
    let outputs = importer.ty(y).shape[1];
    let bias = importer.reshape(node, bias, &[outputs, 1, 1, 1])?;
    Ok(vec![importer.binary(node, Binary::Add, y, bias)?])
}

/// A convolution of a volume.
fn convolved(
    importer: &mut Importer,
    node: &Node,
    (x, w): (Value, Value),
    [slices, rows, columns]: [Along; 3],
    groups: usize,
) -> Result<Value, Problem> {
    let x =
        importer.padded(node, x, vec![(0, 0), (0, 0), (slices.before, slices.after), (0, 0), (0, 0)], 0.0)?;
    let x = importer.transposed(node, x, &[0, 2, 1, 3, 4])?;
    let (ty, weights) = (importer.ty(x), importer.ty(w));
    let (&[batch, depth, channels, height, width], &[outputs, per_group, _, high, wide]) =
        (ty.dims(), weights.dims())
    else {
        return invalid(format!("weights {weights} for {ty}"));
    };
    let span = (slices.window - 1).saturating_mul(slices.dilation);
    let Some(last) = depth.checked_sub(1).and_then(|last| last.checked_sub(span)) else {
        return invalid(format!("weights {weights} for a padded depth of {depth}"));
    };
    let positions = last / slices.stride + 1;
    let conv = Conv {
        strides: [rows.stride, columns.stride],
        dilations: [rows.dilation, columns.dilation],
        padding: padding(rows, columns),
        groups,
        layout: Layout::Nchw,
    };
    let mut sums = Vec::new();
    for slice in 0..slices.window {
        let mut axes = whole(&ty.shape);
        let step = if positions == 1 { 1 } else { slices.stride as isize };
        axes[1] = SliceAxis { start: slice * slices.dilation, count: positions, step };
        let images = importer.add(node, Op::Slice { axes }, &[x])?;
        let images = importer.reshape(node, images, &[batch * positions, channels, height, width])?;
        let kernel = importer.one(node, w, 2, slice)?;
        let kernel = importer.reshape(node, kernel, &[outputs, per_group, high, wide])?;
        sums.push(importer.add(node, Op::Conv(conv.clone()), &[images, kernel])?);
    }
    let y = importer.sum(node, &sums)?;
    let &[_, _, height, width] = importer.ty(y).dims() else { return invalid("no images") };
    let y = importer.reshape(node, y, &[batch, positions, outputs, height, width])?;
    importer.transposed(node, y, &[0, 2, 1, 3, 4])
}

/// ConvTranspose of a volume: a convolution of what has zeros between its elements, with flipped weights.
pub(super) fn transposed(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let (ty, weights) = (importer.ty(x), importer.ty(w));
    let (Some(extents), Some(window)) = (ty.dims().get(2..), weights.dims().get(2..)) else {
        return invalid(format!("weights {weights} for {ty}"));
    };
    let groups = size("group", node.attributes.int("group", 1)?, 1)?;
    let wrong = window.len() != 3 || window.contains(&0) || extents.contains(&0);
    if wrong || weights.shape[0] != ty.shape[1] || !weights.shape[0].is_multiple_of(groups) {
        return invalid(format!("weights {weights} for {ty} in {groups} groups"));
    }
    let auto = node.attributes.text("auto_pad", "NOTSET")?;
    if !matches!(auto.as_str(), "NOTSET" | "VALID" | "") || node.attributes.ints("output_shape")?.is_some() {
        return unsupported("a size of the result that decides the padding of volumes");
    }
    let window = [window[0], window[1], window[2]];
    let along = windows(node, [extents[0], extents[1], extents[2]], window)?;
    let further = triple(node, "output_padding", 0, 0)?;
    let mut spread = x;
    for (i, along) in along.iter().enumerate() {
        let signed = |amount: usize| i64::try_from(amount).unwrap_or(i64::MAX);
        let reach = signed((along.window - 1).saturating_mul(along.dilation));
        let after = reach.saturating_sub(signed(along.after)).saturating_add(signed(further[i]));
        let pads = [reach.saturating_sub(signed(along.before)), after];
        spread = convolution::spread_along(importer, node, spread, i + 2, along.stride, pads)?;
    }
    let flipped = convolution::flipped(importer, node, w, groups)?;
    let plain = along.map(|along| Along { stride: 1, before: 0, after: 0, ..along });
    let y = convolved(importer, node, (spread, flipped), plain, groups)?;
    with_bias(importer, node, y)
}
