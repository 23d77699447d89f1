//! Conversion between element types.
//!
//! As in C: floating point truncates towards zero, integers wrap, anything but zero is true. Where C leaves the result
//! undefined (NaN, or a value outside the integer's range), Rust's `as` decides: NaN gives 0 and the rest saturates.

use avocet_ir::infer::InferError;
use avocet_ir::{DType, Tensor, TensorData};

use super::EvaluateError;

pub(super) fn cast(x: &Tensor, to: DType) -> Result<Tensor, EvaluateError> {
    /// Every conversion from numbers `$d`, whose zero is `$zero`.
    macro_rules! numbers {
        ($d:expr, $zero:expr) => {
            match to {
                DType::F32 => TensorData::F32($d.iter().map(|&v| v as f32).collect()),
                DType::I64 => TensorData::I64($d.iter().map(|&v| v as i64).collect()),
                DType::I32 => TensorData::I32($d.iter().map(|&v| v as i32).collect()),
                DType::Bool => TensorData::Bool($d.iter().map(|&v| v != $zero).collect()),
                DType::U8 => TensorData::U8($d.iter().map(|&v| v as u8).collect()),
                DType::I8 => TensorData::I8($d.iter().map(|&v| v as i8).collect()),
                DType::I16 => TensorData::I16($d.iter().map(|&v| v as i16).collect()),
                DType::U16 => TensorData::U16($d.iter().map(|&v| v as u16).collect()),
                DType::U32 => TensorData::U32($d.iter().map(|&v| v as u32).collect()),
                DType::U64 => TensorData::U64($d.iter().map(|&v| v as u64).collect()),
            }
        };
    }
    let data = match x.data() {
        data if data.dtype() == to => data.clone(),
        TensorData::F32(d) => numbers!(d, 0.0),
        TensorData::I64(d) => numbers!(d, 0),
        TensorData::I32(d) => numbers!(d, 0),
        TensorData::U8(d) => numbers!(d, 0),
        TensorData::I8(d) => numbers!(d, 0),
        TensorData::I16(d) => numbers!(d, 0),
        TensorData::U16(d) => numbers!(d, 0),
        TensorData::U32(d) => numbers!(d, 0),
        TensorData::U64(d) => numbers!(d, 0),
        TensorData::Bool(d) => {
            let bytes: Vec<u8> = d.iter().map(|&v| u8::from(v)).collect();
            numbers!(bytes, 0)
        }
    };
    Ok(Tensor::new(x.shape().clone(), data).map_err(InferError::from)?)
}

/// The same bits as another type of the same size.
pub(super) fn bitcast(x: &Tensor, to: DType) -> Result<Tensor, EvaluateError> {
    let data = TensorData::from_le_bytes(to, &x.data().to_le_bytes());
    Ok(Tensor::new(x.shape().clone(), data).map_err(InferError::from)?)
}
