//! Tensors of ONNX files: typed fields, raw bytes, or data in a file beside the model.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use avocet_ir::tensor::{DType, Shape, Tensor, TensorData};

use super::proto::TensorProto;

/// Element types of ONNX by number, with those that become another type on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    F32,
    U8,
    I8,
    I32,
    I64,
    Bool,
    F16,
    F64,
    Bf16,
}

impl Stored {
    fn of(number: i32) -> Option<Self> {
        Some(match number {
            1 => Stored::F32,
            2 => Stored::U8,
            3 => Stored::I8,
            6 => Stored::I32,
            7 => Stored::I64,
            9 => Stored::Bool,
            10 => Stored::F16,
            11 => Stored::F64,
            16 => Stored::Bf16,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 | Stored::Bool => 1,
            Stored::F16 | Stored::Bf16 => 2,
            Stored::F32 | Stored::I32 => 4,
            Stored::I64 | Stored::F64 => 8,
        }
    }
}

/// The element type of a number, for types of inputs and of Cast; half and double precision become single.
pub(super) fn dtype(number: i32) -> Result<DType, String> {
    Ok(match Stored::of(number) {
        Some(Stored::F32 | Stored::F16 | Stored::F64 | Stored::Bf16) => DType::F32,
        Some(Stored::U8) => DType::U8,
        Some(Stored::I32 | Stored::I8) => DType::I32,
        Some(Stored::I64) => DType::I64,
        Some(Stored::Bool) => DType::Bool,
        None => return Err(format!("element type {number}")),
    })
}

/// Reads a tensor; the error says what is wrong.
pub(super) fn read(tensor: &TensorProto, folder: Option<&Path>) -> Result<Tensor, String> {
    let stored = Stored::of(tensor.data_type).ok_or_else(|| format!("element type {}", tensor.data_type))?;
    let dims = tensor.dims.iter().map(|&d| usize::try_from(d).map_err(|_| format!("dimension {d}")));
    let shape = Shape::new(dims.collect::<Result<Vec<_>, _>>()?).map_err(|e| e.to_string())?;
    let count = shape.elements();
    let data = if tensor.data_location == 1 {
        let bytes = external(tensor, count * stored.bytes(), folder)?;
        from_bytes(&bytes, stored)
    } else if !tensor.raw_data.is_empty() {
        if tensor.raw_data.len() != count * stored.bytes() {
            let (got, expected) = (tensor.raw_data.len(), count * stored.bytes());
            return Err(format!("{got} bytes of data for shape {shape}, expected {expected}"));
        }
        from_bytes(&tensor.raw_data, stored)
    } else {
        from_fields(tensor, stored)
    };
    Tensor::new(shape, data).map_err(|e| e.to_string())
}

fn from_bytes(bytes: &[u8], stored: Stored) -> TensorData {
    fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    match stored {
        Stored::F32 => TensorData::F32(each(bytes, f32::from_le_bytes).into()),
        Stored::F64 => TensorData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32).into()),
        Stored::F16 => TensorData::F32(each(bytes, |b| half::f16::from_le_bytes(b).to_f32()).into()),
        Stored::Bf16 => TensorData::F32(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()).into()),
        Stored::I64 => TensorData::I64(each(bytes, i64::from_le_bytes).into()),
        Stored::I32 => TensorData::I32(each(bytes, i32::from_le_bytes).into()),
        Stored::I8 => TensorData::I32(bytes.iter().map(|&b| i32::from(b as i8)).collect()),
        Stored::U8 => TensorData::U8(bytes.into()),
        Stored::Bool => TensorData::Bool(bytes.iter().map(|&b| b != 0).collect()),
    }
}

fn from_fields(tensor: &TensorProto, stored: Stored) -> TensorData {
    let small = &tensor.int32_data;
    match stored {
        Stored::F32 => TensorData::F32(tensor.float_data.as_slice().into()),
        Stored::F64 => TensorData::F32(tensor.double_data.iter().map(|&v| v as f32).collect()),
        // Half precision is stored as its bits.
        Stored::F16 => {
            TensorData::F32(small.iter().map(|&b| half::f16::from_bits(b as u16).to_f32()).collect())
        }
        Stored::Bf16 => {
            TensorData::F32(small.iter().map(|&b| half::bf16::from_bits(b as u16).to_f32()).collect())
        }
        Stored::I64 => TensorData::I64(tensor.int64_data.as_slice().into()),
        Stored::I32 | Stored::I8 => TensorData::I32(small.as_slice().into()),
        Stored::U8 => TensorData::U8(small.iter().map(|&v| v as u8).collect()),
        Stored::Bool => TensorData::Bool(small.iter().map(|&v| v != 0).collect()),
    }
}

/// Bytes from a file beside the model.
fn external(tensor: &TensorProto, bytes: usize, folder: Option<&Path>) -> Result<Vec<u8>, String> {
    let field = |key: &str| tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| match field(key) {
        None => Ok(None),
        Some(text) => text.parse::<u64>().map(Some).map_err(|_| format!("external data with {key} '{text}'")),
    };
    let location = field("location").ok_or("external data without a location")?;
    let folder = folder.ok_or("external data, but the model was not read from a folder")?;
    let path = Path::new(location);
    let plain = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() {
        return Err(format!("external data '{location}' is outside the model's folder, which is refused"));
    }
    let path = folder.join(path);
    let missing = |e: std::io::Error| format!("external data '{}': {e}", path.display());
    let (real, home) = (path.canonicalize().map_err(missing)?, folder.canonicalize().map_err(missing)?);
    if !real.starts_with(&home) {
        return Err(format!("external data '{location}' leads out of the model's folder, which is refused"));
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(bytes as u64));
    if length != bytes as u64 {
        return Err(format!("external data of {length} bytes for a tensor of {bytes}"));
    }
    let mut file = File::open(&real).map_err(missing)?;
    let size = file.metadata().map_err(missing)?.len();
    if offset.checked_add(length).is_none_or(|end| end > size) {
        return Err(format!(
            "external data '{location}' has {size} bytes, but {length} at {offset} are wanted"
        ));
    }
    let mut data = vec![0; bytes];
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut data)).map_err(missing)?;
    Ok(data)
}
