//! Operators that move elements and compute nothing: transpose, broadcast, concatenation, slice, pad, channel shuffle.
//! All of them work on every element type.

use avocet_ir::infer::InferError;
use avocet_ir::op::{PadMode, SliceAxis};
use avocet_ir::{DType, Op, Shape, Tensor, TensorData, TensorType};

use super::EvaluateError;
use super::gather::{AxisTable, broadcast_tables, gather_tensor, linear};

pub(super) fn transpose(x: &Tensor, perm: &[usize], shape: &Shape) -> Result<Tensor, EvaluateError> {
    let strides = x.shape().strides();
    gather_tensor(x, shape, 0.0, || perm.iter().map(|&p| linear(x.shape()[p], strides[p])).collect())
}

pub(super) fn broadcast(x: &Tensor, shape: &Shape) -> Result<Tensor, EvaluateError> {
    gather_tensor(x, shape, 0.0, || broadcast_tables(x.shape(), shape))
}

pub(super) fn slice(x: &Tensor, axes: &[SliceAxis], shape: &Shape) -> Result<Tensor, EvaluateError> {
    gather_tensor(x, shape, 0.0, || {
        let strides = x.shape().strides();
        let axis_table = |(axis, stride): (&SliceAxis, &usize)| -> AxisTable {
            (0..axis.count)
                .map(|i| {
                    let distance = i * axis.step.unsigned_abs();
                    let at = if axis.step > 0 { axis.start + distance } else { axis.start - distance };
                    Some(at * stride)
                })
                .collect()
        };
        axes.iter().zip(&strides).map(axis_table).collect()
    })
}

pub(super) fn pad(
    x: &Tensor,
    amounts: &[(usize, usize)],
    mode: PadMode,
    shape: &Shape,
) -> Result<Tensor, EvaluateError> {
    let fill = if let PadMode::Constant(value) = mode { value } else { 0.0 };
    gather_tensor(x, shape, fill, || {
        let strides = x.shape().strides();
        let axis_table = |axis: usize| -> AxisTable {
            let (before, extent) = (amounts[axis].0, x.shape()[axis]);
            (0..shape[axis])
                .map(|i| {
                    let inside = i >= before && i - before < extent;
                    // The distance from the input along this axis is less than the extent where that matters.
                    let source = match mode {
                        _ if inside => Some(i - before),
                        PadMode::Constant(_) => None,
                        PadMode::Edge if i < before => Some(0),
                        PadMode::Edge => Some(extent - 1),
                        PadMode::Reflect if i < before => Some(before - i),
                        PadMode::Reflect => Some(2 * (extent - 1) - (i - before)),
                    };
                    source.map(|at| at * strides[axis])
                })
                .collect()
        };
        (0..shape.rank()).map(axis_table).collect()
    })
}

/// The axis, seen as `[groups, n]`, becomes `[n, groups]`: output channel `j * groups + g` is input channel `g * n + j`.
pub(super) fn channel_shuffle(x: &Tensor, groups: usize, axis: usize) -> Result<Tensor, EvaluateError> {
    gather_tensor(x, x.shape(), 0.0, || {
        let strides = x.shape().strides();
        let per_group = x.shape()[axis] / groups;
        let mut tables: Vec<AxisTable> =
            x.shape().dims().iter().zip(&strides).map(|(&extent, &stride)| linear(extent, stride)).collect();
        tables[axis] = (0..x.shape()[axis])
            .map(|channel| Some(((channel % groups) * per_group + channel / groups) * strides[axis]))
            .collect();
        tables
    })
}

pub(super) fn concat(
    op: &Op,
    parts: &[&Tensor],
    axis: usize,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    /// The data of all parts when they are of this element type.
    macro_rules! join {
        ($variant:ident) => {{
            let slices: Option<Vec<_>> = parts
                .iter()
                .map(|part| match part.data() {
                    TensorData::$variant(data) => Some((&data[..], run_length(part.shape(), axis))),
                    _ => None,
                })
                .collect();
            slices.map(|slices| TensorData::$variant(interleave(&slices, output.shape.elements()).into()))
        }};
    }
    let data = match output.dtype {
        DType::F32 => join!(F32),
        DType::I64 => join!(I64),
        DType::I32 => join!(I32),
        DType::Bool => join!(Bool),
        DType::U8 => join!(U8),
        DType::I8 => join!(I8),
        DType::I16 => join!(I16),
        DType::U16 => join!(U16),
        DType::U32 => join!(U32),
        DType::U64 => join!(U64),
    };
    let data = data.ok_or(EvaluateError::Unsupported { op: op.name(), dtype: output.dtype })?;
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

/// Number of consecutive elements that belong to one position of the axes before `axis`.
fn run_length(shape: &Shape, axis: usize) -> usize {
    shape.dims()[axis..].iter().product()
}

/// One run of each part in turn, until all are used up. The parts have equally many runs.
fn interleave<T: Copy>(parts: &[(&[T], usize)], elements: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(elements);
    let mut position = 0;
    while out.len() < elements {
        for (data, run) in parts {
            out.extend_from_slice(&data[position * run..(position + 1) * run]);
        }
        position += 1;
    }
    out
}
