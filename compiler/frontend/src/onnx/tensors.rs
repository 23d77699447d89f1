//! Tensors of ONNX files: typed fields, raw bytes, or data in a file beside the model.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use avocet_ir::tensor::{DType, Shape, Tensor, TensorData};

use super::attributes::{Problem, invalid, size};
use super::proto::TensorProto;

/// Element types of ONNX by number, with those that become another type on the way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    F32,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    U32,
    U64,
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
            4 => Stored::U16,
            5 => Stored::I16,
            6 => Stored::I32,
            7 => Stored::I64,
            9 => Stored::Bool,
            10 => Stored::F16,
            11 => Stored::F64,
            12 => Stored::U32,
            13 => Stored::U64,
            16 => Stored::Bf16,
            _ => return None,
        })
    }

    const fn bytes(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 | Stored::Bool => 1,
            Stored::F16 | Stored::Bf16 | Stored::I16 | Stored::U16 => 2,
            Stored::F32 | Stored::I32 | Stored::U32 => 4,
            Stored::I64 | Stored::U64 | Stored::F64 => 8,
        }
    }
}

/// The element type of a number, for types of inputs and of Cast; half and double precision become single.
pub(super) fn dtype(number: i32) -> Result<DType, String> {
    Ok(match Stored::of(number) {
        Some(Stored::F32 | Stored::F16 | Stored::F64 | Stored::Bf16) => DType::F32,
        Some(Stored::U8) => DType::U8,
        Some(Stored::I32) => DType::I32,
        Some(Stored::I64) => DType::I64,
        Some(Stored::Bool) => DType::Bool,
        Some(Stored::I8) => DType::I8,
        Some(Stored::I16) => DType::I16,
        Some(Stored::U16) => DType::U16,
        Some(Stored::U32) => DType::U32,
        Some(Stored::U64) => DType::U64,
        None => return Err(format!("element type {}", type_name(number))),
    })
}

/// Whether elements of this type have other bits here: those of half and double precision.
pub(super) fn is_narrowed(number: i32) -> bool {
    matches!(Stored::of(number), Some(Stored::F16 | Stored::F64 | Stored::Bf16))
}

/// Name of an element type in the specification (`TensorProto.DataType`).
fn type_name(number: i32) -> String {
    const NAMES: [&str; 23] = [
        "undefined",
        "float",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "double",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
    ];
    let name = usize::try_from(number).ok().and_then(|n| NAMES.get(n));
    name.map_or_else(|| number.to_string(), |name| (*name).into())
}

/// Most bytes of all tensors of a model together: names of one piece of external data are cheap, copies are not.
const MOST_BYTES: usize = 16 << 30;

/// Reads the tensors of a model.
pub(super) struct Reader<'a> {
    folder: Option<&'a Path>,
    /// Bytes that may still be read.
    left: usize,
}

impl<'a> Reader<'a> {
    /// Without a folder, external data is refused.
    pub(super) fn new(folder: Option<&'a Path>) -> Self {
        Reader { folder, left: MOST_BYTES }
    }

    /// Reads a tensor; the error says what is wrong.
    pub(super) fn read(&mut self, tensor: &TensorProto) -> Result<Tensor, Problem> {
        let stored = Stored::of(tensor.data_type)
            .ok_or_else(|| Problem::Unsupported(format!("element type {}", type_name(tensor.data_type))))?;
        let dims = tensor.dims.iter().map(|&d| size("a dimension", d, 0)).collect::<Result<Vec<_>, _>>()?;
        let shape = Shape::new(dims)?;
        // Shapes leave room for a factor of 64.
        let bytes = shape.elements() * stored.bytes();
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            Problem::Invalid(format!("with it, the model's tensors exceed {MOST_BYTES} bytes"))
        })?;
        let data = if tensor.data_location == EXTERNAL {
            from_bytes(&external(tensor, bytes, self.folder).map_err(Problem::Invalid)?, stored)
        } else if !tensor.raw_data.is_empty() {
            if tensor.raw_data.len() != bytes {
                let got = tensor.raw_data.len();
                return invalid(format!("{got} bytes of data for shape {shape}, expected {bytes}"));
            }
            from_bytes(&tensor.raw_data, stored)
        } else {
            from_fields(tensor, stored)
        };
        Ok(Tensor::new(shape, data)?)
    }
}

/// `TensorProto.DataLocation` of data in another file.
const EXTERNAL: i32 = 1;

fn from_bytes(bytes: &[u8], stored: Stored) -> TensorData {
    fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    let dtype = match stored {
        Stored::F64 => return TensorData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32).into()),
        Stored::F16 => return TensorData::F32(each(bytes, |b| half::f16::from_le_bytes(b).to_f32()).into()),
        Stored::Bf16 => {
            return TensorData::F32(each(bytes, |b| half::bf16::from_le_bytes(b).to_f32()).into());
        }
        Stored::F32 => DType::F32,
        Stored::I64 => DType::I64,
        Stored::I32 => DType::I32,
        Stored::I8 => DType::I8,
        Stored::U8 => DType::U8,
        Stored::I16 => DType::I16,
        Stored::U16 => DType::U16,
        Stored::U32 => DType::U32,
        Stored::U64 => DType::U64,
        Stored::Bool => DType::Bool,
    };
    TensorData::from_le_bytes(dtype, bytes)
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
        Stored::I32 => TensorData::I32(small.as_slice().into()),
        Stored::I8 => TensorData::I8(small.iter().map(|&v| v as i8).collect()),
        Stored::I16 => TensorData::I16(small.iter().map(|&v| v as i16).collect()),
        Stored::U16 => TensorData::U16(small.iter().map(|&v| v as u16).collect()),
        Stored::U32 => TensorData::U32(tensor.uint64_data.iter().map(|&v| v as u32).collect()),
        Stored::U64 => TensorData::U64(tensor.uint64_data.as_slice().into()),
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
    let shown = location.escape_debug();
    let folder = folder
        .ok_or("its data is in another file, but the model was not read from a folder; use its file")?;
    let path = Path::new(location);
    let plain = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() {
        return Err(format!("external data '{shown}' is outside the model's folder, which is refused"));
    }
    let path = folder.join(path);
    let failed = |e: std::io::Error| format!("external data '{}': {e}", path.display());
    let (real, home) = (path.canonicalize().map_err(failed)?, folder.canonicalize().map_err(failed)?);
    if !real.starts_with(&home) {
        return Err(format!("external data '{shown}' leads out of the model's folder, which is refused"));
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?.unwrap_or(bytes as u64));
    if length != bytes as u64 {
        return Err(format!("external data '{shown}' of {length} bytes for a tensor of {bytes}"));
    }
    // Asked before it is opened, since opening a pipe would wait for ever.
    let metadata = std::fs::metadata(&real).map_err(failed)?;
    if !metadata.is_file() {
        return Err(format!("external data '{shown}' is not a file"));
    }
    if offset.checked_add(length).is_none_or(|end| end > metadata.len()) {
        return Err(format!(
            "external data '{shown}' has {} bytes, but {length} from byte {offset} on are wanted",
            metadata.len()
        ));
    }
    let mut file = File::open(&real).map_err(failed)?;
    let mut data = vec![0; bytes];
    file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut data)).map_err(failed)?;
    Ok(data)
}
