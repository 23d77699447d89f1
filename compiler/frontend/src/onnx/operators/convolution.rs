//! What is under a convolution's windows, and what turns a transposed convolution into a plain one.

use avocet_ir::op::{Conv, Layout, Op, Padding, SliceAxis};
use avocet_ir::{TensorType, Value, infer};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};
use super::movement::whole;

/// What is under a convolution's window at each of its positions, for its groups.
pub(super) struct Windows {
    /// `[batch, groups, taps, positions]`.
    pub(super) taps: Value,
    /// Dimensions of the weights that it is multiplied by: `[groups, outputs of a group, taps]`.
    weights: [usize; 3],
    /// Dimensions of the result.
    pub(super) result: Vec<usize>,
}

impl Windows {
    /// The weights as the matrices that the windows are multiplied by.
    pub(super) fn weights(&self, importer: &mut Importer, node: &Node, w: Value) -> Result<Value, Problem> {
        importer.reshape(node, w, &self.weights)
    }
}

/// The windows of a convolution of an image in NCHW, by a gather.
pub(super) fn windows(
    importer: &mut Importer,
    node: &Node,
    conv: &Conv,
    x: Value,
    weights: &TensorType,
) -> Result<Windows, Problem> {
    let Padding { top, left, bottom, right } = conv.padding;
    let types = [importer.ty(x), weights.clone()];
    let [result] = &infer::infer(&Op::Conv(conv.clone()), &types)?[..] else {
        return invalid("a convolution without a result");
    };
    let (&[batch, outputs, rows, columns], &[_, per_group, height, width]) = (result.dims(), weights.dims())
    else {
        return invalid("a convolution that is not of images");
    };
    let groups = conv.groups;
    let x = importer.padded(node, x, vec![(0, 0), (0, 0), (top, bottom), (left, right)], 0.0)?;
    let padded = importer.ty(x);
    let &[_, channels, padded_rows, padded_columns] = padded.dims() else { return invalid("no image") };
    let (taps, positions) = (per_group * height * width, rows * columns);
    let numbers = importer.table(node, &[groups, taps, positions], |at| {
        let [group, tap, position] = *at else { return 0 };
        let channel = group * per_group + tap / (height * width);
        let row = position / columns * conv.strides[0] + tap / width % height * conv.dilations[0];
        let column = position % columns * conv.strides[1] + tap % width * conv.dilations[1];
        ((channel * padded_rows + row) * padded_columns + column) as i64
    })?;
    let flat = importer.reshape(node, x, &[batch, channels * padded_rows * padded_columns])?;
    Ok(Windows {
        taps: importer.add(node, Op::Gather { axis: 1 }, &[flat, numbers])?,
        weights: [groups, outputs / groups, taps],
        result: result.dims().to_vec(),
    })
}

/// A transposed convolution whose windows neither meet nor leave gaps: each element becomes a block of its own, a pointwise
/// convolution to the block's elements as channels, which then take their places.
pub(super) fn apart(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    w: Value,
    groups: usize,
) -> Result<Value, Problem> {
    let (image, weights) = (importer.ty(x), importer.ty(w));
    let (&[batch, inputs, rows, columns], &[_, outputs, height, width]) = (image.dims(), weights.dims())
    else {
        return invalid(format!("weights {weights} for {image}"));
    };
    // Places in the block before channels: so the image, channels last, is moved in runs of a block's row.
    let w = importer.reshape(node, w, &[groups, inputs / groups, outputs, height, width])?;
    let w = importer.add(node, Op::Transpose { perm: vec![0, 3, 4, 2, 1] }, &[w])?;
    let w = importer.reshape(node, w, &[groups * height * width * outputs, inputs / groups, 1, 1])?;
    let conv = Conv {
        strides: [1; 2],
        dilations: [1; 2],
        padding: Padding::default(),
        groups,
        layout: Layout::Nchw,
    };
    let y = importer.add(node, Op::Conv(conv), &[x, w])?;
    let y = importer.reshape(node, y, &[batch, groups, height, width, outputs, rows, columns])?;
    let y = importer.add(node, Op::Transpose { perm: vec![0, 1, 4, 5, 2, 6, 3] }, &[y])?;
    importer.reshape(node, y, &[batch, groups * outputs, rows * height, columns * width])
}

/// An image with zeros between its elements, so that they are as far apart as the strides say, and so many around it; negative
/// amounts cut.
pub(super) fn spread(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    strides: [usize; 2],
    pads: [[i64; 2]; 2],
) -> Result<Value, Problem> {
    let y = spread_along(importer, node, x, 2, strides[0], pads[0])?;
    spread_along(importer, node, y, 3, strides[1], pads[1])
}

/// The same along one axis of any tensor.
pub(super) fn spread_along(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    axis: usize,
    stride: usize,
    [before, after]: [i64; 2],
) -> Result<Value, Problem> {
    let mut y = x;
    let mut dims = importer.ty(y).dims().to_vec();
    let extent = dims[axis];
    if stride > 1 {
        dims.insert(axis + 1, 1);
        y = importer.reshape(node, y, &dims)?;
        let mut amounts = vec![(0, 0); dims.len()];
        amounts[axis + 1].1 = stride - 1;
        y = importer.padded(node, y, amounts, 0.0)?;
        dims.remove(axis + 1);
        let Some(wide) = extent.checked_mul(stride) else { return invalid("strides beyond all memory") };
        dims[axis] = wide;
        y = importer.reshape(node, y, &dims)?;
    }
    let cut = |amount: i64| usize::try_from(-amount.min(0)).unwrap_or(usize::MAX);
    let length = ((extent - 1) * stride + 1).checked_sub(cut(before)).and_then(|l| l.checked_sub(cut(after)));
    let Some(count) = length else {
        return invalid(format!("padding that cuts all of axis {axis} of {}", importer.ty(y)));
    };
    y = importer.part(node, y, axis, (if count == 0 { 0 } else { cut(before) }, count))?;
    let mut amounts = vec![(0, 0); importer.ty(y).shape.rank()];
    amounts[axis] = (before.max(0) as usize, after.max(0) as usize);
    importer.padded(node, y, amounts, 0.0)
}

/// Weights `[inputs, outputs of a group, ..]` as `[outputs, inputs of a group, ..]`, the other way round in each direction.
pub(super) fn flipped(
    importer: &mut Importer,
    node: &Node,
    w: Value,
    groups: usize,
) -> Result<Value, Problem> {
    let ty = importer.ty(w);
    let Some((&[inputs, outputs], window)) = ty.dims().split_first_chunk() else {
        return invalid("weights of another rank");
    };
    let dims = |leading: &[usize]| [leading, window].concat();
    let y = importer.reshape(node, w, &dims(&[groups, inputs / groups, outputs]))?;
    let perm: Vec<usize> = [0, 2, 1].into_iter().chain(3..3 + window.len()).collect();
    let y = importer.transposed(node, y, &perm)?;
    let y = importer.reshape(node, y, &dims(&[groups * outputs, inputs / groups]))?;
    let mut axes = whole(&importer.ty(y).shape);
    for axis in &mut axes[2..] {
        *axis = SliceAxis { start: axis.count - 1, count: axis.count, step: -1 };
    }
    importer.add(node, Op::Slice { axes }, &[y])
}
