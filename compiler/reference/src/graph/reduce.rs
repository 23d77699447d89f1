//! Reductions over axes.

use avocet_ir::infer::InferError;
use avocet_ir::op::ReduceKind;
use avocet_ir::{Op, Shape, Tensor, TensorData, TensorType};

use super::EvaluateError;
use super::arithmetic::{max, min};
use super::gather::{AxisTable, gather, linear};

/// The reduction, on f32 in f64 and on i64 and i32 in wrapping i64, where a mean truncates towards zero.
pub(super) fn reduce(
    kind: ReduceKind,
    axes: &[usize],
    op: &Op,
    x: &Tensor,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    let elements = output.shape.elements();
    // The number of elements that each result covers.
    let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let targets = targets(x.shape(), axes);
    let data = match x.data() {
        TensorData::F32(data) => {
            let (start, step): (f64, fn(f64, f64) -> f64) = match kind {
                ReduceKind::Sum | ReduceKind::Mean => (0.0, |a, b| a + b),
                ReduceKind::Max => (f64::NEG_INFINITY, max),
                ReduceKind::Min => (f64::INFINITY, min),
                ReduceKind::Prod => (1.0, |a, b| a * b),
            };
            let totals = fold(data.iter().map(|&v| f64::from(v)), &targets, vec![start; elements], step);
            let divisor = if kind == ReduceKind::Mean { count as f64 } else { 1.0 };
            TensorData::F32(totals.iter().map(|total| (total / divisor) as f32).collect())
        }
        TensorData::I64(data) => {
            TensorData::I64(integers(kind, count, data.iter().copied(), &targets, elements).into())
        }
        TensorData::I32(data) => {
            let totals = integers(kind, count, data.iter().map(|&v| i64::from(v)), &targets, elements);
            TensorData::I32(totals.iter().map(|&v| v as i32).collect())
        }
        TensorData::U8(data) => {
            let totals = integers(kind, count, data.iter().map(|&v| i64::from(v)), &targets, elements);
            TensorData::U8(totals.iter().map(|&v| v as u8).collect())
        }
        TensorData::Bool(data) if matches!(kind, ReduceKind::Max | ReduceKind::Min) => {
            let totals = integers(kind, count, data.iter().map(|&v| i64::from(v)), &targets, elements);
            TensorData::Bool(totals.iter().map(|&v| v != 0).collect())
        }
        other => return Err(EvaluateError::Unsupported { op: op.name(), dtype: other.dtype() }),
    };
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

fn integers(
    kind: ReduceKind,
    count: usize,
    data: impl Iterator<Item = i64>,
    targets: &[usize],
    elements: usize,
) -> Vec<i64> {
    let (start, step): (i64, fn(i64, i64) -> i64) = match kind {
        ReduceKind::Sum | ReduceKind::Mean => (0, i64::wrapping_add),
        ReduceKind::Max => (i64::MIN, i64::max),
        ReduceKind::Min => (i64::MAX, i64::min),
        ReduceKind::Prod => (1, i64::wrapping_mul),
    };
    let mut totals = fold(data, targets, vec![start; elements], step);
    if kind == ReduceKind::Mean {
        // A shape has less than 2^63 elements. A mean over none has no results either, or inference refused it.
        totals.iter_mut().for_each(|total| *total /= count.max(1) as i64);
    }
    totals
}

/// Combines each element into the total that it belongs to.
fn fold<T: Copy>(
    data: impl Iterator<Item = T>,
    targets: &[usize],
    mut totals: Vec<T>,
    step: fn(T, T) -> T,
) -> Vec<T> {
    for (value, &target) in data.zip(targets) {
        totals[target] = step(totals[target], value);
    }
    totals
}

/// For each input element, in order, the index of the result that it belongs to.
fn targets(shape: &Shape, axes: &[usize]) -> Vec<usize> {
    if shape.elements() == 0 {
        return Vec::new();
    }
    let mut tables: Vec<AxisTable> = Vec::with_capacity(shape.rank());
    let mut stride = 1;
    for axis in (0..shape.rank()).rev() {
        match axes.contains(&axis) {
            true => tables.push(linear(shape[axis], 0)),
            false => {
                tables.push(linear(shape[axis], stride));
                stride *= shape[axis];
            }
        }
    }
    tables.reverse();
    let identity: Vec<usize> = (0..stride).collect();
    gather(&identity, &tables, 0)
}
