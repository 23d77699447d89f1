//! Operators about positions: which element is largest, elements by computed indices, sums up to each element.

use std::cmp::Ordering;
use std::sync::Arc;

use avocet_ir::infer::InferError;
use avocet_ir::op::Binary;
use avocet_ir::{Op, Shape, Tensor, TensorData, TensorType, keeping_type, of_any_type};

use super::EvaluateError;
use super::arithmetic::{Integer, binary_f64};
use super::elementwise::of_one_type;

/// Elements that have an order, and can be joined.
trait Element: Copy {
    /// NaN is larger than all numbers, and zeros are equal.
    fn order(self, other: Self) -> Ordering;
    fn join(op: Binary, a: Self, b: Self) -> Option<Self>;
    fn one(join: Binary) -> Self;
}

impl Element for f32 {
    fn order(self, other: Self) -> Ordering {
        self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }
    fn join(op: Binary, a: Self, b: Self) -> Option<Self> {
        Some(binary_f64(op, a.into(), b.into()) as f32)
    }
    fn one(join: Binary) -> Self {
        if join == Binary::Mul { 1.0 } else { 0.0 }
    }
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Element for $type {
            fn order(self, other: Self) -> Ordering {
                self.cmp(&other)
            }
            fn join(op: Binary, a: Self, b: Self) -> Option<Self> {
                Self::binary(op, a, b)
            }
            fn one(join: Binary) -> Self {
                <$type>::from(join == Binary::Mul)
            }
        }
    )*};
}
integer!(i64, i32, i16, i8, u64, u32, u16, u8);

impl Element for bool {
    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
    fn join(op: Binary, a: Self, b: Self) -> Option<Self> {
        u8::binary(op, a.into(), b.into()).map(|v| v != 0)
    }
    fn one(join: Binary) -> Self {
        join == Binary::Mul
    }
}

/// Extents before an axis, of it and after it.
fn around(shape: &Shape, axis: usize) -> [usize; 3] {
    let (before, rest) = shape.dims().split_at(axis);
    [before.iter().product(), rest[0], rest[1..].iter().product()]
}

/// For each line along the axis, its elements' numbers in the tensor.
fn lines(shape: &Shape, axis: usize) -> impl Iterator<Item = Vec<usize>> {
    let [before, extent, after] = around(shape, axis);
    (0..before * after).map(move |line| {
        let start = line / after * extent * after + line % after;
        (0..extent).map(|i| start + i * after).collect()
    })
}

/// Puts the results of lines, `count` each, where they belong.
fn unlines(shape: &Shape, axis: usize, count: usize, results: &[Vec<i64>]) -> Arc<[i64]> {
    let [before, _, after] = around(shape, axis);
    let place = |i: usize| {
        let (outer, k, inner) = (i / (count * after), i / after % count, i % after);
        results[outer * after + inner][k]
    };
    (0..before * count * after).map(place).collect()
}

pub(super) fn arg_reduce(
    x: &Tensor,
    axis: usize,
    largest: bool,
    last: bool,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    fn best<T: Element>(d: &[T], line: &[usize], largest: bool, last: bool) -> i64 {
        let mut best = 0;
        for (i, &place) in line.iter().enumerate() {
            let order = d[place].order(d[line[best]]);
            let order = if largest { order } else { order.reverse() };
            if order == Ordering::Greater || last && order == Ordering::Equal {
                best = i;
            }
        }
        best as i64
    }
    let found: Vec<Vec<i64>> = of_any_type!(x.data(), d => {
        lines(x.shape(), axis).map(|line| vec![best(d, &line, largest, last)]).collect()
    });
    let data = TensorData::I64(unlines(x.shape(), axis, 1, &found));
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

pub(super) fn rank(
    x: &Tensor,
    axis: usize,
    count: usize,
    largest: bool,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    fn sorted<T: Element>(d: &[T], line: &[usize], largest: bool) -> Vec<i64> {
        let mut order: Vec<usize> = (0..line.len()).collect();
        order.sort_by(|&i, &j| {
            let order = d[line[i]].order(d[line[j]]);
            if largest { order.reverse() } else { order }
        });
        order.iter().map(|&i| i as i64).collect()
    }
    let found: Vec<Vec<i64>> = of_any_type!(x.data(), d => {
        lines(x.shape(), axis).map(|line| sorted(d, &line, largest)).collect()
    });
    let data = TensorData::I64(unlines(x.shape(), axis, count, &found));
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

pub(super) fn cumulate(
    op: &Op,
    x: &Tensor,
    join: Binary,
    axis: usize,
    (exclusive, reverse): (bool, bool),
) -> Result<Tensor, EvaluateError> {
    fn each<T: Element>(
        d: &[T],
        lines: impl Iterator<Item = Vec<usize>>,
        join: Binary,
        (exclusive, reverse): (bool, bool),
    ) -> Option<Arc<[T]>> {
        let mut out = d.to_vec();
        for mut line in lines {
            if reverse {
                line.reverse();
            }
            let mut total = T::one(join);
            for place in line {
                let next = T::join(join, total, d[place])?;
                out[place] = if exclusive { total } else { next };
                total = next;
            }
        }
        Some(out.into())
    }
    let (lines, how) = (lines(x.shape(), axis), (exclusive, reverse));
    let data = match x.data() {
        // In f64, rounded once at each element.
        TensorData::F32(d) => {
            let mut out = d.to_vec();
            for mut line in lines {
                if reverse {
                    line.reverse();
                }
                let mut total = f64::from(f32::one(join));
                for place in line {
                    let next = binary_f64(join, total, d[place].into());
                    out[place] = if exclusive { total } else { next } as f32;
                    total = next;
                }
            }
            Some(TensorData::F32(out.into()))
        }
        TensorData::I64(d) => each(d, lines, join, how).map(TensorData::I64),
        TensorData::I32(d) => each(d, lines, join, how).map(TensorData::I32),
        TensorData::U8(d) => each(d, lines, join, how).map(TensorData::U8),
        TensorData::I8(d) => each(d, lines, join, how).map(TensorData::I8),
        TensorData::I16(d) => each(d, lines, join, how).map(TensorData::I16),
        TensorData::U16(d) => each(d, lines, join, how).map(TensorData::U16),
        TensorData::U32(d) => each(d, lines, join, how).map(TensorData::U32),
        TensorData::U64(d) => each(d, lines, join, how).map(TensorData::U64),
        TensorData::Bool(_) => None,
    };
    let data = data.ok_or(EvaluateError::Unsupported { op: op.name(), dtype: x.data().dtype() })?;
    Ok(Tensor::new(x.shape().clone(), data).map_err(InferError::from)?)
}

/// Places that indices mean: from the end where negative, the nearest where outside.
fn places(op: &Op, indices: &Tensor, extent: usize) -> Result<Vec<usize>, EvaluateError> {
    let unsupported = EvaluateError::Unsupported { op: op.name(), dtype: indices.data().dtype() };
    let extent = extent as i64;
    let place = |&index: &i64| {
        let index = if index < 0 { index.saturating_add(extent) } else { index };
        index.min(extent - 1).max(0) as usize
    };
    Ok(indices.as_i64().ok_or(unsupported)?.iter().map(place).collect())
}

pub(super) fn gather(
    op: &Op,
    x: &Tensor,
    indices: &Tensor,
    axis: usize,
    output: &TensorType,
) -> Result<Tensor, EvaluateError> {
    fn take<T: Copy>(d: &[T], [before, extent, after]: [usize; 3], places: &[usize]) -> Arc<[T]> {
        let rows = (0..before).flat_map(|b| places.iter().map(move |&place| (b * extent + place) * after));
        rows.flat_map(|start| d[start..start + after].iter().copied()).collect()
    }
    let (sizes, places) = (around(x.shape(), axis), places(op, indices, x.shape()[axis])?);
    let data = keeping_type!(x.data(), d => take(d, sizes, &places));
    Ok(Tensor::new(output.shape.clone(), data).map_err(InferError::from)?)
}

pub(super) fn scatter(
    op: &Op,
    x: &Tensor,
    indices: &Tensor,
    rows: &Tensor,
    join: Option<Binary>,
) -> Result<Tensor, EvaluateError> {
    fn put<T: Element>(
        d: &[T],
        rows: &[T],
        row: usize,
        places: &[usize],
        join: Option<Binary>,
    ) -> Option<Arc<[T]>> {
        let mut out = d.to_vec();
        for (number, &place) in places.iter().enumerate() {
            for i in 0..row {
                let (target, value) = (&mut out[place * row + i], rows[number * row + i]);
                *target = match join {
                    Some(join) => T::join(join, *target, value)?,
                    None => value,
                };
            }
        }
        Some(out.into())
    }
    let ([_, extent, row], unsupported) =
        (around(x.shape(), 0), EvaluateError::Unsupported { op: op.name(), dtype: x.data().dtype() });
    let places = places(op, indices, extent)?;
    let data = of_one_type!(x, rows, (d, r, wrap) => put(d, r, row, &places, join).map(wrap), None);
    Ok(Tensor::new(x.shape().clone(), data.ok_or(unsupported)?).map_err(InferError::from)?)
}
