//! Slices: rows or columns of a node's result as problems of their own.
//!
//! A range of rows of a window operator is the same operator on the rows of the image that it needs, padded above and
//! below only where those touch the image's edge. Operands as large as the result are cut likewise, others stay whole. The
//! generators don't know: what tells slices apart is where their operands start.

use std::ops::Range;

use avocet_ir::op::{Layout, Op, Padding};
use avocet_ir::schedule::{Axis, Schedule, Split, Tile};
use avocet_ir::{Shape, Tensor, TensorType};

use crate::problem::{Problem, elements_from, width};

/// A part of a problem.
#[derive(Clone, Debug)]
pub(crate) struct Slice<'a> {
    /// The problem that it is a part of.
    whole: &'a Problem<'a>,
    op: Op,
    inputs: Vec<TensorType>,
    /// The weights of a range of columns.
    weights: Option<Tensor>,
    output: TensorType,
    pitch: usize,
    pitches: Vec<usize>,
    /// Byte where each input begins.
    pub(crate) input_offsets: Vec<usize>,
    /// Byte where the result begins.
    pub(crate) output_offset: usize,
    /// Rows of the first input that are read.
    pub(crate) needed: Range<usize>,
}

impl Slice<'_> {
    /// The slice as a problem of its own.
    pub(crate) fn problem(&self) -> Problem<'_> {
        let mut constants = self.whole.constants.clone();
        if let Some(weights) = &self.weights {
            constants[1] = Some(weights);
        }
        Problem {
            name: self.whole.name,
            op: &self.op,
            epilogue: self.whole.epilogue,
            inputs: self.inputs.clone(),
            constants,
            output: &self.output,
            pitch: self.pitch,
            pitches: self.pitches.clone(),
            plane: self.whole.plane,
            strides: self.whole.strides.clone(),
            own_strides: self.whole.own_strides.clone(),
            schedule: self.whole.schedule,
        }
    }

    /// Whether another slice of the same problem is the same code on the same constants.
    pub(crate) fn is_like(&self, other: &Slice<'_>) -> bool {
        self.op == other.op
            && self.inputs == other.inputs
            && self.output == other.output
            && self.pitch == other.pitch
            && self.pitches == other.pitches
            && self.weights == other.weights
    }
}

/// The axis of the result whose ranges are rows, or `None` when the operator can't be cut there.
///
/// All dimensions before it are 1, so that a range of rows is one piece of memory.
fn row_axis(problem: &Problem) -> Option<usize> {
    let dims = problem.output.dims();
    let first = dims.iter().position(|&d| d != 1)?;
    let axis = match problem.op {
        // Each part would pack the weights for itself.
        Op::Conv(_) if problem.constants[1].is_none() => return None,
        // Any pixels of one row of them, see `flattened`.
        Op::Conv(conv) if conv.layout == Layout::Nhwc => {
            if is_pointwise(problem) && dims[1] == 1 {
                2
            } else {
                1
            }
        }
        Op::Pool(pool) if pool.layout == Layout::Nhwc => 1,
        Op::MatMul { .. } if has_batch(problem, first) => first,
        Op::MatMul { transpose_a: false, .. } if problem.inputs[0].shape.rank() >= 2 => dims.len() - 2,
        Op::Unary(_) | Op::Binary(_) => first,
        Op::Softmax { axis } if *axis != first => first,
        Op::Normalize { .. } if first + 1 < dims.len() => first,
        // Others are divided by groups of positions or by channels.
        Op::Reduce { axes, keep_dims: true, .. }
            if axes.contains(&(dims.len() - 1)) && !axes.contains(&first) =>
        {
            first
        }
        Op::Identity if !problem.epilogue.is_empty() => first,
        Op::Concat { axis } | Op::ChannelShuffle { axis, .. } if *axis != first => first,
        _ => return None,
    };
    (first >= axis).then_some(axis)
}

/// Whether this dimension of a matrix product's result counts matrices.
fn has_batch(problem: &Problem, axis: usize) -> bool {
    axis + 2 < problem.output.shape.rank()
}

/// Whether the pixels of the result are those of the image, one by one.
fn is_pointwise(problem: &Problem) -> bool {
    matches!(problem.op, Op::Conv(_)) && problem.schedule.product().is_some()
}

/// Rows of the result.
pub(crate) fn rows(problem: &Problem) -> Option<usize> {
    row_axis(problem).map(|axis| problem.output.shape[axis])
}

/// The shape with another extent of an axis.
fn with_extent(shape: &Shape, axis: usize, extent: usize) -> Option<Shape> {
    let mut dims = shape.dims().to_vec();
    *dims.get_mut(axis)? = extent;
    Shape::new(dims).ok()
}

/// The part of an operand that broadcasts to the result, for a range of an axis of the result: its shape and the element
/// where it begins.
fn operand(
    ty: &TensorType,
    pitch: usize,
    output: &Shape,
    axis: usize,
    range: &Range<usize>,
) -> Option<(Shape, usize)> {
    let shape = &ty.shape;
    let missing = output.rank().checked_sub(shape.rank())?;
    let Some(own) = axis.checked_sub(missing) else { return Some((shape.clone(), 0)) };
    if shape[own] == 1 {
        return Some((shape.clone(), 0));
    }
    let inner = elements_from(ty, own + 1, pitch);
    // A range of the last axis may have other rows around it: those of the result do.
    let is_one_piece = shape.dims()[..own].iter().all(|&d| d == 1) || own + 1 == shape.rank();
    let fits = shape[own] == output[axis] && is_one_piece;
    if !fits {
        return None;
    }
    Some((with_extent(shape, own, range.len())?, range.start * inner))
}

/// The rows `range` of the result.
pub(crate) fn of_rows<'a>(problem: &'a Problem<'a>, range: Range<usize>) -> Option<Slice<'a>> {
    let axis = row_axis(problem)?;
    let output = &problem.output.shape;
    let mut slice = Slice {
        whole: problem,
        op: problem.op.clone(),
        inputs: problem.inputs.clone(),
        weights: None,
        output: TensorType::new(problem.output.dtype, with_extent(output, axis, range.len())?),
        pitch: problem.pitch,
        pitches: problem.pitches.clone(),
        input_offsets: vec![0; problem.inputs.len()],
        output_offset: range.start * bytes_from(problem.output, axis + 1, problem.pitch),
        needed: range.clone(),
    };
    let own = match &mut slice.op {
        Op::Conv(_) if is_pointwise(problem) => 2,
        Op::Conv(conv) => {
            let window = problem.inputs[1].shape[2];
            let extent = problem.inputs[0].shape[1];
            slice.needed =
                image_rows(&range, extent, window, conv.strides[0], conv.dilations[0], &mut conv.padding)?;
            2
        }
        Op::Pool(pool) => {
            let extent = problem.inputs[0].shape[1];
            let (window, stride, dilation) = (pool.window[0], pool.strides[0], pool.dilations[0]);
            slice.needed = image_rows(&range, extent, window, stride, dilation, &mut pool.padding)?;
            1
        }
        Op::MatMul { .. } if has_batch(problem, axis) => 0,
        // The right operand is whole; the left one's rows are the result's.
        Op::MatMul { .. } => 2,
        Op::Reduce { .. } => 1,
        Op::Concat { .. } => {
            for (number, ty) in problem.inputs.iter().enumerate() {
                slice.inputs[number].shape = with_extent(&ty.shape, axis, range.len())?;
                slice.input_offsets[number] = range.start * bytes_from(ty, axis + 1, problem.pitches[number]);
            }
            return Some(slice);
        }
        Op::ChannelShuffle { .. } => 1,
        // All operands broadcast to the result, or have its first dimension.
        _ => 0,
    };
    if own > 0 {
        let image = &problem.inputs[0];
        let axis = axis.checked_sub(output.rank().checked_sub(image.shape.rank())?)?;
        if image.dims()[..axis].iter().any(|&d| d != 1) {
            return None;
        }
        slice.inputs[0].shape = with_extent(&image.shape, axis, slice.needed.len())?;
        slice.input_offsets[0] = slice.needed.start * bytes_from(image, axis + 1, problem.pitches[0]);
    }
    for number in own..problem.inputs.len() {
        let ty = &problem.inputs[number];
        let (shape, start) = operand(ty, problem.pitches[number], output, axis, &range)?;
        // A constant factor that is one matrix is packed, so it has to be the slice's own.
        let weights = problem.constants.get(number).copied().flatten();
        if let (Op::MatMul { .. }, 1, Some(weights), false) = (problem.op, number, weights, shape == ty.shape)
        {
            let part = weights.as_f32()?.get(start..start + shape.elements())?;
            slice.weights = Some(Tensor::f32(shape.dims(), part.to_vec()).ok()?);
            slice.pitches[number] = width(&shape);
        }
        slice.inputs[number].shape = shape;
        slice.input_offsets[number] = start * ty.dtype.bytes();
    }
    Some(slice)
}

/// Bytes of the dimensions from `axis` on.
fn bytes_from(ty: &TensorType, axis: usize, pitch: usize) -> usize {
    elements_from(ty, axis, pitch) * ty.dtype.bytes()
}

/// Rows of the image under the windows of these rows of the result; the padding becomes what is left of it there.
fn image_rows(
    range: &Range<usize>,
    extent: usize,
    window: usize,
    stride: usize,
    dilation: usize,
    padding: &mut Padding,
) -> Option<Range<usize>> {
    // Rows of the padded image.
    let (first, end) = (range.start * stride, (range.end - 1) * stride + (window - 1) * dilation + 1);
    let (top, bottom) = (padding.top, padding.top + extent);
    let needed = first.max(top).min(bottom)..end.min(bottom).max(top);
    if needed.is_empty() {
        // Windows over padding alone.
        return None;
    }
    padding.top = needed.start - first.min(needed.start);
    padding.bottom = (end - end.min(needed.end)).min(padding.bottom);
    Some(needed.start - top..needed.end - top)
}

/// The columns `range` of a matrix product with constant weights, or of a reduction over all but channels, or channels of a
/// depthwise convolution.
pub(crate) fn of_columns<'a>(problem: &'a Problem<'a>, range: Range<usize>) -> Option<Slice<'a>> {
    let output = &problem.output.shape;
    let axis = output.rank().checked_sub(1)?;
    // A single column could be taken for an operand that broadcasts.
    if range.len() < 2 {
        return None;
    }
    let mut slice = Slice {
        whole: problem,
        op: problem.op.clone(),
        inputs: problem.inputs.clone(),
        output: TensorType::new(problem.output.dtype, with_extent(output, axis, range.len())?),
        pitch: problem.pitch,
        pitches: problem.pitches.clone(),
        input_offsets: vec![0; problem.inputs.len()],
        output_offset: range.start * problem.output.dtype.bytes(),
        needed: 0..0,
        weights: None,
    };
    let own = match (problem.op, problem.schedule) {
        (Op::Conv(_), Schedule::Depthwise(_)) => {
            let weights = columns_of_weights(problem, &range)?;
            slice.inputs[1] = weights.ty();
            slice.pitches[1] = width(weights.shape());
            slice.weights = Some(weights);
            let image = &problem.inputs[0];
            slice.inputs[0].shape = with_extent(&image.shape, image.shape.rank() - 1, range.len())?;
            slice.input_offsets[0] = range.start * image.dtype.bytes();
            if let Op::Conv(conv) = &mut slice.op {
                conv.groups = range.len();
            }
            2
        }
        (Op::Conv(_) | Op::MatMul { .. }, Schedule::Gemm(_) | Schedule::Strassen(_)) => {
            let weights = columns_of_weights(problem, &range)?;
            slice.inputs[1] = weights.ty();
            slice.pitches[1] = width(weights.shape());
            slice.weights = Some(weights);
            2
        }
        (Op::Reduce { axes, .. }, _) => {
            let image = &problem.inputs[0];
            let last = image.shape.rank() - 1;
            if axes.contains(&last)
                || output.elements() != image.shape[last]
                || output[axis] != image.shape[last]
            {
                return None;
            }
            slice.inputs[0].shape = with_extent(&image.shape, last, range.len())?;
            slice.input_offsets[0] = range.start * image.dtype.bytes();
            1
        }
        _ => return None,
    };
    for number in own..problem.inputs.len() {
        let ty = &problem.inputs[number];
        let (shape, start) = operand(ty, problem.pitches[number], output, axis, &range)?;
        slice.inputs[number].shape = shape;
        slice.input_offsets[number] = start * ty.dtype.bytes();
    }
    Some(slice)
}

/// The weights of a range of columns.
fn columns_of_weights(problem: &Problem, range: &Range<usize>) -> Option<Tensor> {
    let weights = problem.constants.get(1).copied().flatten()?;
    let (data, shape) = (weights.as_f32()?, weights.shape());
    // Which dimension of the weights the columns are.
    let by_rows = match problem.op {
        Op::Conv(_) => true,
        Op::MatMul { transpose_b, .. } if shape.rank() == 2 => *transpose_b,
        _ => return None,
    };
    let width = shape[usize::from(!by_rows)];
    let inner = shape.elements() / width;
    let (cut, part): (usize, Vec<f32>) = match by_rows {
        true => (0, data[range.start * inner..range.end * inner].to_vec()),
        false => (1, (0..inner).flat_map(|k| &data[k * width..][range.clone()]).copied().collect()),
    };
    Tensor::f32(with_extent(shape, cut, range.len())?.dims(), part).ok()
}

/// A pointwise convolution seen as one row of all pixels, or products of many matrices by one as that of all their rows, so
/// that it can be cut between any two; other problems are `None`, and so are these where an operand broadcasts along some
/// of what is joined.
pub(crate) fn flattened(problem: &Problem) -> Option<(Vec<TensorType>, TensorType)> {
    if matches!(problem.op, Op::MatMul { transpose_a: false, .. }) {
        return flattened_product(problem);
    }
    let (true, [1, height, width, channels]) = (is_pointwise(problem), problem.output.dims()) else {
        return None;
    };
    let pixels = height * width;
    let flat = |ty: &TensorType, channels: usize| {
        TensorType::f32([1, 1, pixels, channels]).ok().filter(|f| f.dtype == ty.dtype)
    };
    let mut inputs = problem.inputs.clone();
    inputs[0] = flat(&inputs[0], inputs[0].shape[3])?;
    for ty in &mut inputs[2..] {
        let dims = ty.dims();
        let spatial = [3, 2].map(|back| dims.len().checked_sub(back).map_or(1, |i| dims[i]));
        match spatial {
            [1, 1] => {}
            [h, w] if h == *height && w == *width => *ty = flat(ty, dims[dims.len() - 1])?,
            _ => return None,
        }
    }
    Some((inputs, flat(problem.output, *channels)?))
}

fn flattened_product(problem: &Problem) -> Option<(Vec<TensorType>, TensorType)> {
    let dims = problem.output.dims();
    let (&columns, lead) = dims.split_last()?;
    let rows: usize = lead.iter().product();
    let (left, right) = (&problem.inputs[0].shape, &problem.inputs[1].shape);
    let (inner, matrix) = (*left.dims().last()?, right.dims().get(right.rank().checked_sub(2)?..)?);
    if dims.len() < 3 || left.elements() != rows * inner || right.elements() != matrix.iter().product() {
        return None;
    }
    let mut inputs = vec![TensorType::f32([rows, inner]).ok()?, TensorType::f32(matrix).ok()?];
    for ty in &problem.inputs[2..] {
        let (&last, lead_of_operand) = ty.dims().split_last()?;
        let flat = match lead_of_operand {
            ones if ones.iter().all(|&d| d == 1) => Shape::new([last]).ok()?,
            same if same == lead => Shape::new([rows, last]).ok()?,
            _ => return None,
        };
        inputs.push(TensorType::new(ty.dtype, flat));
    }
    Some((inputs, TensorType::new(problem.output.dtype, Shape::new([rows, columns]).ok()?)))
}

/// Divides `extent` into at most `parts` ranges whose lengths are multiples of `unit`, but for the last one's.
///
/// Ranges of the same length are the same code, so all but the last have one length where that costs little, else two, in
/// turn, so that neighbouring ranges together are as long as others.
pub(crate) fn ranges(extent: usize, parts: usize, unit: usize) -> Vec<Range<usize>> {
    let units = extent.div_ceil(unit);
    let parts = parts.clamp(1, units.max(1));
    let longest = units.div_ceil(parts);
    let even = (longest * parts - units) * 16 <= units;
    let start = |part: usize| {
        let units = if even { part * longest } else { (part * units).div_ceil(parts) };
        (units * unit).min(extent)
    };
    (0..parts).map(|part| start(part)..start(part + 1)).filter(|range| !range.is_empty()).collect()
}

/// The ranges that a problem is divided into along an axis, whole tiles where it has any.
pub(crate) fn divide(problem: &Problem, axis: Axis, parts: usize) -> Option<Vec<Range<usize>>> {
    let (extent, unit) = match (axis, problem.schedule) {
        (Axis::Rows, Schedule::Gemm(_) | Schedule::Strassen(_))
            if matches!(problem.op, Op::MatMul { .. })
                && row_axis(problem).is_some_and(|axis| has_batch(problem, axis)) =>
        {
            (rows(problem)?, 1)
        }
        (Axis::Rows, Schedule::Gemm(tile)) => {
            let rows = rows(problem)?;
            (rows, Split::unit(rows, tile.rows, parts))
        }
        // An even number of rows, or one would be computed twice.
        (Axis::Rows, Schedule::Strassen(tile)) => {
            let rows = rows(problem)?;
            (rows, Split::unit(rows, 2 * tile.rows, parts).max(2))
        }
        // Output tiles stay as they are, so that the result has the same bits.
        (Axis::Rows, Schedule::Winograd(winograd)) => (rows(problem)?, winograd.output * winograd.rows),
        (Axis::Rows, _) => (rows(problem)?, 1),
        (Axis::Columns, Schedule::Gemm(tile) | Schedule::Strassen(tile)) => {
            (*problem.output.dims().last()?, tile.width())
        }
        (Axis::Columns, Schedule::Vector { lanes } | Schedule::Depthwise(Tile { lanes, .. })) => {
            (*problem.output.dims().last()?, lanes)
        }
        (Axis::Columns, _) => return None,
    };
    Some(ranges(extent, parts, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_all_once() {
        for extent in 1..60 {
            for parts in 1..9 {
                for unit in [1, 4, 6] {
                    let ranges = ranges(extent, parts, unit);
                    assert!(ranges.len() <= parts && !ranges.is_empty());
                    let mut next = 0;
                    for range in &ranges {
                        assert_eq!(range.start, next);
                        assert!(!range.is_empty() && (range.len() % unit == 0 || range.end == extent));
                        next = range.end;
                    }
                    assert_eq!(next, extent);
                    let longest = ranges.iter().map(|r| r.len()).max().unwrap_or(0);
                    assert_eq!(
                        longest.div_ceil(unit),
                        extent.div_ceil(unit).div_ceil(parts.min(extent.div_ceil(unit)))
                    );
                }
            }
        }
    }

    #[test]
    fn lengths_are_few() {
        let lengths = |extent, parts, unit| -> Vec<usize> {
            ranges(extent, parts, unit).into_iter().map(|r| r.len()).collect()
        };
        assert_eq!(lengths(3136, 4, 6), [786, 786, 786, 778]);
        assert_eq!(lengths(49, 4, 6), [18, 12, 12, 7]);
        assert_eq!(lengths(196, 4, 14), [56, 42, 56, 42]);
        assert_eq!(lengths(28, 4, 1), [7, 7, 7, 7]);
    }

    #[test]
    fn windows_at_the_edges() {
        let given = |range: Range<usize>, bottom: usize| {
            let mut padding = Padding { top: 2, left: 1, bottom, right: 1 };
            let rows = image_rows(&range, 9, 3, 2, 1, &mut padding);
            (rows, padding.top, padding.bottom)
        };
        assert_eq!(given(0..1, 2), (Some(0..1), 2, 0));
        assert_eq!(given(1..3, 2), (Some(0..5), 0, 0));
        assert_eq!(given(4..6, 2), (Some(6..9), 0, 2));
        // A pooling window that sticks out beyond the padding.
        assert_eq!(given(4..6, 0), (Some(6..9), 0, 0));
        let mut padding = Padding { top: 3, left: 0, bottom: 0, right: 0 };
        assert_eq!(image_rows(&(0..1), 9, 3, 1, 1, &mut padding), None);
    }
}
