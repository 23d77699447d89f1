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
        TensorData::I8(d) => TensorData::I8(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::I16(d) => TensorData::I16(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::U16(d) => TensorData::U16(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::U32(d) => TensorData::U32(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::U64(d) => TensorData::U64(unary_integers(op, d).ok_or_else(unsupported)?),
        TensorData::Bool(d) if op == Unary::Not => TensorData::Bool(d.iter().map(|v| !v).collect()),
        TensorData::Bool(_) => return Err(unsupported()),
    };
    Ok(Tensor::new(x.shape().clone(), data).map_err(InferError::from)?)
}

fn unary_integers<T: Integer>(op: Unary, data: &[T]) -> Option<Arc<[T]>> {
    data.iter().map(|&v| T::unary(op, v)).collect()
}

/// An expression on the elements of two tensors of one type, and on what makes tensor data of that type; `$other` for tensors of
/// different types.
macro_rules! of_one_type {
    ($a:expr, $b:expr, ($p:ident, $q:ident, $wrap:pat) => $body:expr, $other:expr, $($variant:ident),*) => {
        match ($a.data(), $b.data()) {
            $((TensorData::$variant($p), TensorData::$variant($q)) => {
                let $wrap = TensorData::$variant;
                $body
            })*
            _ => $other,
        }
    };
    ($a:expr, $b:expr, ($p:ident, $q:ident, $wrap:pat) => $body:expr, $other:expr) => {
        of_one_type!($a, $b, ($p, $q, $wrap) => $body, $other, F32, I64, I32, Bool, U8, I8, I16, U16, U32, U64)
    };
}

pub(super) use of_one_type;

pub(super) fn binary(op: Binary, a: &Tensor, b: &Tensor, shape: &Shape) -> Result<Tensor, EvaluateError> {
    macro_rules! data {
        ($($integers:ident),*) => {
            match (a.data(), b.data()) {
                (TensorData::F32(p), TensorData::F32(q)) => {
                    let (p, q) = (expand(p, a.shape(), shape), expand(q, b.shape(), shape));
                    let value = |(&x, &y): (&f32, &f32)| binary_f64(op, f64::from(x), f64::from(y)) as f32;
                    TensorData::F32(p.iter().zip(&*q).map(value).collect())
                }
                (TensorData::Bool(p), TensorData::Bool(q)) => {
                    let bytes = |data: &[bool]| data.iter().map(|&v| u8::from(v)).collect::<Vec<u8>>();
                    let result = binary_integers(op, (&bytes(p), a), (&bytes(q), b), shape)?;
                    TensorData::Bool(result.iter().map(|&v| v != 0).collect())
                }
                $((TensorData::$integers(p), TensorData::$integers(q)) => {
                    TensorData::$integers(binary_integers(op, (p, a), (q, b), shape)?)
                })*
                _ => return Err(EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() }),
            }
        };
    }
    let data = data!(I64, I32, U8, I8, I16, U16, U32, U64);
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

fn binary_integers<T: Integer>(
    op: Binary,
    (p, a): (&[T], &Tensor),
    (q, b): (&[T], &Tensor),
    shape: &Shape,
) -> Result<Arc<[T]>, EvaluateError> {
    let (p, q) = (expand(p, a.shape(), shape), expand(q, b.shape(), shape));
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
    fn each<T: Copy + Default + PartialOrd>(
        op: Comparison,
        (p, a): (&[T], &Tensor),
        (q, b): (&[T], &Tensor),
        shape: &Shape,
    ) -> TensorData
    where
        [T]: ToOwned<Owned = Vec<T>>,
    {
        let (p, q) = (expand(p, a.shape(), shape), expand(q, b.shape(), shape));
        let holds = |(x, y): (&T, &T)| match op {
            Comparison::Less => x < y,
            Comparison::LessEqual => x <= y,
            Comparison::Equal => x == y,
        };
        TensorData::Bool(p.iter().zip(&*q).map(holds).collect())
    }
    let data = of_one_type!(a, b, (p, q, _) => each(op, (p, a), (q, b), shape), {
        // Inference has refused different types.
        return Err(EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() });
    });
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

/// The second operand where the first is true, else the third.
pub(super) fn select(
    op: &Op,
    condition: &Tensor,
    (a, b): (&Tensor, &Tensor),
    shape: &Shape,
) -> Result<Tensor, EvaluateError> {
    fn each<T: Copy + Default>(
        holds: &[bool],
        (p, a): (&[T], &Tensor),
        (q, b): (&[T], &Tensor),
        shape: &Shape,
    ) -> Arc<[T]>
    where
        [T]: ToOwned<Owned = Vec<T>>,
    {
        let (p, q) = (expand(p, a.shape(), shape), expand(q, b.shape(), shape));
        holds.iter().zip(p.iter().zip(&*q)).map(|(&holds, (&x, &y))| if holds { x } else { y }).collect()
    }
    let unsupported = || EvaluateError::Unsupported { op: op.name(), dtype: a.data().dtype() };
    let TensorData::Bool(holds) = condition.data() else { return Err(unsupported()) };
    let holds = &*expand(holds, condition.shape(), shape);
    let data = of_one_type!(a, b, (p, q, wrap) => wrap(each(holds, (p, a), (q, b), shape)), {
        return Err(unsupported());
    });
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}

/// The elements under the shape they broadcast to; borrowed when that is their own.
fn expand<'a, T: Copy + Default>(data: &'a [T], from: &Shape, to: &Shape) -> std::borrow::Cow<'a, [T]>
where
    [T]: ToOwned<Owned = Vec<T>>,
{
    match from == to {
        true => data.into(),
        // An empty result may have immense other dimensions, for which no tables are made.
        false if to.elements() == 0 => Vec::new().into(),
        false => gather(data, &broadcast_tables(from, to), T::default()).into(),
    }
}
