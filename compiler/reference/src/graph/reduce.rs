//! Reductions over axes.

use std::sync::Arc;

use avocet_ir::infer::InferError;
use avocet_ir::op::ReduceKind;
use avocet_ir::{Op, Shape, Tensor, TensorData, TensorType};

use super::EvaluateError;
use super::arithmetic::{Integer, max, min};
use super::gather::{AxisTable, gather, linear};

/// The reduction, on f32 in f64 and on integers in i128, whose low bits count; a mean of integers truncates towards zero.
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
        TensorData::I64(data) => TensorData::I64(integers(kind, count, data, &targets, elements)),
        TensorData::I32(data) => TensorData::I32(integers(kind, count, data, &targets, elements)),
        TensorData::U8(data) => TensorData::U8(integers(kind, count, data, &targets, elements)),
        TensorData::I8(data) => TensorData::I8(integers(kind, count, data, &targets, elements)),
        TensorData::I16(data) => TensorData::I16(integers(kind, count, data, &targets, elements)),
        TensorData::U16(data) => TensorData::U16(integers(kind, count, data, &targets, elements)),
        TensorData::U32(data) => TensorData::U32(integers(kind, count, data, &targets, elements)),
        TensorData::U64(data) => TensorData::U64(integers(kind, count, data, &targets, elements)),
        TensorData::Bool(data) if matches!(kind, ReduceKind::Max | ReduceKind::Min) => {
            let bytes: Vec<u8> = data.iter().map(|&v| u8::from(v)).collect();
            let totals = integers(kind, count, &bytes, &targets, elements);
            TensorData::Bool(totals.iter().map(|&v| v != 0).collect())
        }
        other => return Err(EvaluateError::Unsupported { op: op.name(), dtype: other.dtype() }),
    };
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

fn integers<T: Integer>(
    kind: ReduceKind,
    count: usize,
    data: &[T],
    targets: &[usize],
    elements: usize,
) -> Arc<[T]> {
    let (start, step): (i128, fn(i128, i128) -> i128) = match kind {
        ReduceKind::Sum | ReduceKind::Mean => (0, i128::wrapping_add),
        ReduceKind::Max => (T::BOUNDS.0, i128::max),
        ReduceKind::Min => (T::BOUNDS.1, i128::min),
        ReduceKind::Prod => (1, i128::wrapping_mul),
    };
    let totals = fold(data.iter().map(|&v| v.widened()), targets, vec![start; elements], step);
    // A mean over no elements has no results either, or inference refused it.
    let divisor = if kind == ReduceKind::Mean { count.max(1) as i128 } else { 1 };
    // What is divided has wrapped at 64 bits.
    let wrapped = |total: i128| if T::BOUNDS.0 < 0 { total as i64 as i128 } else { total as u64 as i128 };
    totals.iter().map(|&total| T::narrowed(wrapped(total) / divisor)).collect()
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
