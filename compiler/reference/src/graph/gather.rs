//! The one form of all data movement: each element of the result is an element of the input, or a fill.
//!
//! For every operator that only moves data, the input coordinate along an axis depends on one output coordinate alone.
//! So the whole map is a table for each output axis: entry `i` is what output coordinate `i` adds to the offset of the
//! input element, or `None` where the result lies outside the input.

use avocet_ir::{Shape, Tensor, TensorData};

use super::EvaluateError;
use avocet_ir::infer::InferError;

/// What each coordinate along one output axis adds to the input offset; `None` means the fill.
pub(super) type AxisTable = Vec<Option<usize>>;

/// `stride * i` for each output coordinate `i`; a stride of 0 repeats.
pub(super) fn linear(extent: usize, stride: usize) -> AxisTable {
    (0..extent).map(|i| Some(i * stride)).collect()
}

/// The tables by which `shape` is read where it broadcasts to `to` (NumPy's rule, which holds).
pub(super) fn broadcast_tables(shape: &Shape, to: &Shape) -> Vec<AxisTable> {
    let strides = shape.strides();
    let missing = to.rank() - shape.rank();
    (0..to.rank())
        .map(|axis| match axis.checked_sub(missing) {
            Some(own) if shape[own] != 1 => linear(to[axis], strides[own]),
            _ => linear(to[axis], 0),
        })
        .collect()
}

/// The elements that the tables name, in row-major order of the output coordinates. The caller has bounded their number.
pub(super) fn gather<T: Copy>(data: &[T], tables: &[AxisTable], fill: T) -> Vec<T> {
    let elements = tables.iter().map(Vec::len).product();
    let mut out = Vec::with_capacity(elements);
    if elements > 0 {
        collect(data, tables, fill, Some(0), &mut out);
    }
    out
}

/// One axis of [`gather`]; the depth of recursion is the rank.
fn collect<T: Copy>(data: &[T], tables: &[AxisTable], fill: T, base: Option<usize>, out: &mut Vec<T>) {
    let Some((axis, inner)) = tables.split_first() else {
        out.push(base.map_or(fill, |offset| data[offset]));
        return;
    };
    for entry in axis {
        let offset = base.zip(*entry).map(|(base, step)| base + step);
        match inner.is_empty() {
            // The same as the recursion, without a call for each element.
            true => out.push(offset.map_or(fill, |offset| data[offset])),
            false => collect(data, inner, fill, offset, out),
        }
    }
}

/// [`gather`] on a tensor of any element type. The fill is converted to the element type as C does it.
///
/// `tables` is called only when the result has elements, so that no table is made for an empty result, whose other
/// dimensions may be immense.
pub(super) fn gather_tensor(
    x: &Tensor,
    shape: &Shape,
    fill: f32,
    tables: impl FnOnce() -> Vec<AxisTable>,
) -> Result<Tensor, EvaluateError> {
    let tables = match shape.elements() {
        0 => vec![AxisTable::new()],
        _ => tables(),
    };
    let data = match x.data() {
        TensorData::F32(d) => TensorData::F32(gather(d, &tables, fill).into()),
        TensorData::I64(d) => TensorData::I64(gather(d, &tables, fill as i64).into()),
        TensorData::I32(d) => TensorData::I32(gather(d, &tables, fill as i32).into()),
        TensorData::Bool(d) => TensorData::Bool(gather(d, &tables, fill != 0.0).into()),
        TensorData::U8(d) => TensorData::U8(gather(d, &tables, fill as u8).into()),
        TensorData::I8(d) => TensorData::I8(gather(d, &tables, fill as i8).into()),
        TensorData::I16(d) => TensorData::I16(gather(d, &tables, fill as i16).into()),
        TensorData::U16(d) => TensorData::U16(gather(d, &tables, fill as u16).into()),
        TensorData::U32(d) => TensorData::U32(gather(d, &tables, fill as u32).into()),
        TensorData::U64(d) => TensorData::U64(gather(d, &tables, fill as u64).into()),
    };
    Ok(Tensor::new(shape.clone(), data).map_err(InferError::from)?)
}
