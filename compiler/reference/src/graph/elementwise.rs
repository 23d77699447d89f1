//! Elementwise operators on whole tensors: the scalar functions of [`super::arithmetic`], with broadcasting.

use std::sync::Arc;

use avocet_ir::infer::InferError;
use avocet_ir::op::{Binary, Comparison, Unary};
use avocet_ir::{Op, Shape, Tensor, TensorData};

use super::EvaluateError;
use super::arithmetic::{Integer, binary_f64, unary_f64};
use super::gather::{broadcast_tables, gather};

pub(super) fn unary(op: Unary, x: &Tensor) -> Result<Tensor, EvaluateError> {
    let unsupported = || EvaluateError::Unsupported { op: op.name(), dtype: x.data().dtype() };
    let data = match x.data() {
        TensorData::F32(_) if op == Unary::Not => return Err(unsupported()),
        TensorData::F32(d) => {
            TensorData::F32(d.iter().map(|&v| unary_f64(op, f64::from(v)) as f32).collect())
        }
        TensorData::I64(d) => TensorData::I64(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::I32(d) => TensorData::I32(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::U8(d) => TensorData::U8(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::Bool(d) if op == Unary::Not => TensorData::Bool(d.iter().map(|v| !v).collect()),
        TensorData::Bool(_) => return Err(unsupported()),
    };
    Ok(Tensor::new(x.shape().clone(), data).map_err(InferError::from)?)
}

fn unary_integers<T: Integer>(op: Unary, data: &[T]) -> Option<Arc<[T]>> {
    data.iter().map(|&v| T::unary(op, v)).collect()
}

pub(super) fn binary(op: Binary, a: &Tensor, b: &Tensor, shape: &Shape) -> Result<Tensor, EvaluateError> {
    let data = match (a.data(), b.data()) {
        (TensorData::F32(p), TensorData::F32(q)) => {
            let (p, q) = (expand(p, 0.0, a.shape(), shape), expand(q, 0.0, b.shape(), shape));
            let value = |(&x, &y): (&f32, &f32)| binary_f64(op, f64::from(x), f64::from(y)) as f32;
            TensorData::F32(p.iter().zip(&*q).map(value).collect())
        }
        (TensorData::I64(p), TensorData::I64(q)) => {
            TensorData::I64(binary_integers(op, (p, a), (q, b), 0, shape)?)
        }
        (TensorData::I32(p), TensorData::I32(q)) => {
            TensorData::I32(binary_integers(op, (p, a), (q, b), 0, shape)?)
        }
        (TensorData::U8(p), TensorData::U8(q)) => {
            TensorData::U8(binary_integers(op, (p, a), (q, b), 0, shape)?)
        }
        (TensorData::Bool(p), TensorData::Bool(q)) => {
            let bytes = |data: &[bool]| data.iter().map(|&v| u8::from(v)).collect::<Vec<u8>>();
            let result = binary_integers(op, (&bytes(p), a), (&bytes(q), b), 0, shape)?;
            TensorData::Bool(result.iter().map(|&v| v != 0).collect())
        }
        _ => return Err(EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() }),
    };
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

fn binary_integers<T: Integer>(
    op: Binary,
    (p, a): (&[T], &Tensor),
    (q, b): (&[T], &Tensor),
    zero: T,
    shape: &Shape,
) -> Result<Arc<[T]>, EvaluateError> {
    let (p, q) = (expand(p, zero, a.shape(), shape), expand(q, zero, b.shape(), shape));
    let unsupported = || EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() };
    p.iter().zip(&*q).map(|(&x, &y)| T::binary(op, x, y).ok_or_else(unsupported)).collect()
}

/// The comparison of two operands.
pub(super) fn compare(
    op: Comparison,
    a: &Tensor,
    b: &Tensor,
    shape: &Shape,
) -> Result<Tensor, EvaluateError> {
    fn each<T: Copy + PartialOrd>(
        op: Comparison,
        (p, a): (&[T], &Tensor),
        (q, b): (&[T], &Tensor),
        zero: T,
        shape: &Shape,
    ) -> TensorData
    where
        [T]: ToOwned<Owned = Vec<T>>,
    {
        let (p, q) = (expand(p, zero, a.shape(), shape), expand(q, zero, b.shape(), shape));
        let holds = |(x, y): (&T, &T)| match op {
            Comparison::Less => x < y,
            Comparison::LessEqual => x <= y,
            Comparison::Equal => x == y,
        };
        TensorData::Bool(p.iter().zip(&*q).map(holds).collect())
    }
    let data = match (a.data(), b.data()) {
        (TensorData::F32(p), TensorData::F32(q)) => each(op, (p, a), (q, b), 0.0, shape),
        (TensorData::I64(p), TensorData::I64(q)) => each(op, (p, a), (q, b), 0, shape),
        (TensorData::I32(p), TensorData::I32(q)) => each(op, (p, a), (q, b), 0, shape),
        (TensorData::U8(p), TensorData::U8(q)) => each(op, (p, a), (q, b), 0, shape),
        (TensorData::Bool(p), TensorData::Bool(q)) => each(op, (p, a), (q, b), false, shape),
        // Inference has refused different types.
        _ => return Err(EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() }),
    };
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

/// The second operand where the first is true, else the third.
pub(super) fn select(
    op: &Op,
    condition: &Tensor,
    (a, b): (&Tensor, &Tensor),
    shape: &Shape,
) -> Result<Tensor, EvaluateError> {
    fn each<T: Copy>(
        holds: &[bool],
        (p, a): (&[T], &Tensor),
        (q, b): (&[T], &Tensor),
        zero: T,
        shape: &Shape,
    ) -> Arc<[T]>
    where
        [T]: ToOwned<Owned = Vec<T>>,
    {
        let (p, q) = (expand(p, zero, a.shape(), shape), expand(q, zero, b.shape(), shape));
        holds.iter().zip(p.iter().zip(&*q)).map(|(&holds, (&x, &y))| if holds { x } else { y }).collect()
    }
    let unsupported = || EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() };
    let TensorData::Bool(holds) = condition.data() else { return Err(unsupported()) };
    let holds = &*expand(holds, false, condition.shape(), shape);
    let data = match (a.data(), b.data()) {
        (TensorData::F32(p), TensorData::F32(q)) => TensorData::F32(each(holds, (p, a), (q, b), 0.0, shape)),
        (TensorData::I64(p), TensorData::I64(q)) => TensorData::I64(each(holds, (p, a), (q, b), 0, shape)),
        (TensorData::I32(p), TensorData::I32(q)) => TensorData::I32(each(holds, (p, a), (q, b), 0, shape)),
        (TensorData::U8(p), TensorData::U8(q)) => TensorData::U8(each(holds, (p, a), (q, b), 0, shape)),
        (TensorData::Bool(p), TensorData::Bool(q)) => {
            TensorData::Bool(each(holds, (p, a), (q, b), false, shape))
        }
        _ => return Err(unsupported()),
    };
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

/// The elements under the shape they broadcast to; borrowed when that is their own.
fn expand<'a, T: Copy>(data: &'a [T], zero: T, from: &Shape, to: &Shape) -> std::borrow::Cow<'a, [T]>
where
    [T]: ToOwned<Owned = Vec<T>>,
{
    match from == to {
        true => data.into(),
        // An empty result may have immense other dimensions, for which no tables are made.
        false if to.elements() == 0 => Vec::new().into(),
        false => gather(data, &broadcast_tables(from, to), zero).into(),
    }
}
