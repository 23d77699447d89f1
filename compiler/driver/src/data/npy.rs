//! Tensors in NumPy's `.npy` format, versions 1 to 3: what networks read and write on the command line and in tests.
//!
//! Little-endian, row-major arrays of the element types of [`DType`], nothing else. The header's claims are held
//! against the number of bytes that are there before anything is allocated.
//! Specification: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use avocet_ir::{DType, Shape, Tensor, TensorData, TensorType};
use thiserror::Error;

use super::write_file;

const MAGIC: &[u8] = b"\x93NUMPY";
/// The data starts at a multiple of this many bytes.
const ALIGNMENT: usize = 64;

/// Largest header that is read; NumPy itself refuses those of more than 10,000 bytes.
const MOST_HEADER: usize = 1 << 16;

/// Why a `.npy` file was refused.
#[derive(Debug, Error)]
pub enum NpyError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The contents of the file are wrong.
    #[error("{path}: {reason}")]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: Box<NpyError>,
    },
    /// The file ended, or can't be read on.
    #[error("{0}")]
    Read(io::Error),
    /// No magic number, a version above 3, or a header that ends early.
    #[error("not an .npy array of version 1, 2 or 3")]
    NotNpy,
    /// The header lacks an entry, or its value has another form than NumPy writes.
    #[error("the header has no well-formed {entry:?}: {header}")]
    Header {
        /// The entry of the header's dictionary.
        entry: &'static str,
        /// The header.
        header: String,
    },
    /// An element type that no network has.
    #[error("element type {0:?}; readable are <f4, <i8, <i4, |b1 and |u1")]
    ElementType(String),
    /// Column-major order.
    #[error("the array is column-major; save it with numpy.ascontiguousarray")]
    ColumnMajor,
    /// Shape and size disagree.
    #[error("{got} bytes of data where shape {shape} of {dtype} needs {expected}")]
    Length {
        /// The shape of the header.
        shape: Shape,
        /// The element type of the header.
        dtype: DType,
        /// Bytes needed.
        expected: usize,
        /// Bytes present.
        got: usize,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean of value {0}")]
    Boolean(u8),
    /// A shape that can't be a tensor's.
    #[error(transparent)]
    Shape(#[from] avocet_ir::tensor::TensorError),
}

/// Reads a tensor from a file.
pub fn read(path: &Path) -> Result<Tensor, NpyError> {
    let bytes = fs::read(path).map_err(|source| NpyError::Io { path: path.into(), source })?;
    decode(&bytes).map_err(|reason| NpyError::InFile { path: path.into(), reason: Box::new(reason) })
}

/// Reads a tensor of this type from a file, or says which other type is there; no more is read than the type needs.
pub fn read_as(path: &Path, ty: &TensorType) -> Result<Result<Tensor, TensorType>, NpyError> {
    let file = File::open(path).map_err(|source| NpyError::Io { path: path.into(), source })?;
    decode_as(file, ty).map_err(|reason| NpyError::InFile { path: path.into(), reason: Box::new(reason) })
}

/// The same from whatever holds such a file.
pub fn decode_as(from: impl Read, ty: &TensorType) -> Result<Result<Tensor, TensorType>, NpyError> {
    let mut bytes = Vec::new();
    from.take((ty.bytes() + MOST_HEADER) as u64).read_to_end(&mut bytes).map_err(NpyError::Read)?;
    let (found, data) = header(&bytes)?;
    if &found != ty {
        return Ok(Err(found));
    }
    Ok(Ok(tensor(ty, data)?))
}

/// Writes a tensor to a file.
pub fn write(path: &Path, tensor: &Tensor) -> Result<(), crate::Error> {
    write_file(path, &encode(tensor))
}

/// The bytes of a file of version 1 that holds this tensor.
pub fn encode(tensor: &Tensor) -> Vec<u8> {
    let descr = match tensor.data().dtype() {
        DType::F32 => "<f4",
        DType::I64 => "<i8",
        DType::I32 => "<i4",
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::U64 => "<u8",
    };
    let dims: String = tensor.shape().dims().iter().map(|dim| format!("{dim},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    let start = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(ALIGNMENT);
    let header_length = start - MAGIC.len() - 4;
    header.push_str(&" ".repeat(header_length - header.len() - 1));
    header.push('\n');

    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // A header of at most 16 dimensions of at most 20 digits stays far below 65,536 bytes.
    bytes.extend((header_length as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(tensor.data().to_le_bytes());
    bytes
}

/// The tensor that these bytes of a file hold.
pub fn decode(bytes: &[u8]) -> Result<Tensor, NpyError> {
    let (ty, data) = header(bytes)?;
    tensor(&ty, data)
}

/// The type that the file's header names, and the bytes after the header.
fn header(bytes: &[u8]) -> Result<(TensorType, &[u8]), NpyError> {
    let (header, data) = split_header(bytes).ok_or(NpyError::NotNpy)?;
    let malformed = |entry| NpyError::Header { entry, header: header.to_owned() };

    let descr = entry(header, "descr").and_then(quoted).ok_or_else(|| malformed("descr"))?;
    let dtype = match descr {
        "<f4" => DType::F32,
        "<i8" => DType::I64,
        "<i4" => DType::I32,
        "|b1" => DType::Bool,
        "|u1" => DType::U8,
        "|i1" => DType::I8,
        "<i2" => DType::I16,
        "<u2" => DType::U16,
        "<u4" => DType::U32,
        "<u8" => DType::U64,
        other => return Err(NpyError::ElementType(other.to_owned())),
    };
    match entry(header, "fortran_order") {
        Some(text) if text.starts_with("False") => {}
        Some(text) if text.starts_with("True") => return Err(NpyError::ColumnMajor),
        _ => return Err(malformed("fortran_order")),
    }
    let dims = entry(header, "shape").and_then(tuple).ok_or_else(|| malformed("shape"))?;
    Ok((TensorType::new(dtype, Shape::new(dims)?), data))
}

/// The tensor of this type whose elements are these bytes, little-endian.
pub fn tensor(ty: &TensorType, data: &[u8]) -> Result<Tensor, NpyError> {
    let (shape, dtype) = (ty.shape.clone(), ty.dtype);
    let expected = ty.bytes();
    if data.len() != expected {
        return Err(NpyError::Length { shape, dtype, expected, got: data.len() });
    }
    let data = match dtype {
        DType::Bool => TensorData::Bool(data.iter().map(|&byte| boolean(byte)).collect::<Result<_, _>>()?),
        _ => TensorData::from_le_bytes(dtype, data),
    };
    Ok(Tensor::new(shape, data)?)
}

/// Header text and data. The header's length has two bytes in version 1, four in the later ones.
fn split_header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let ([major, _minor], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (usize::try_from(u32::from_le_bytes(*length)).ok()?, rest)
        }
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// The text after `'key':` in the header's dictionary.
fn entry<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = header.split_once(&format!("'{key}':"))?;
    Some(after.trim_start())
}

/// The string literal that the text starts with.
fn quoted(text: &str) -> Option<&str> {
    Some(text.strip_prefix('\'')?.split_once('\'')?.0)
}

/// The tuple of sizes that the text starts with: `()`, `(3,)`, `(2, 3)`.
fn tuple(text: &str) -> Option<Vec<usize>> {
    let (inside, _) = text.strip_prefix('(')?.split_once(')')?;
    let inside = inside.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    if inside.is_empty() {
        return Some(Vec::new());
    }
    inside.split(',').map(|dim| dim.trim().parse().ok()).collect()
}

fn boolean(byte: u8) -> Result<bool, NpyError> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(NpyError::Boolean(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1), }          \n";
        let tensor = decode(&file(header, &[1, 0, 0, 0, 254, 255, 255, 255])).unwrap();
        assert_eq!(tensor.shape().dims(), [2, 1]);
        assert_eq!(tensor.data(), &TensorData::I32(Arc::from([1, -2])));
    }

    #[test]
    fn data_starts_at_the_alignment() {
        let tensor = Tensor::f32([3], [1.0, 2.0, 3.0]).unwrap();
        assert_eq!((encode(&tensor).len() - 12) % ALIGNMENT, 0);
    }

    #[test]
    fn every_element_type_survives() {
        let all = [
            TensorData::F32(Arc::from([f32::INFINITY, -0.0])),
            TensorData::I64(Arc::from([i64::MIN, 7])),
            TensorData::I32(Arc::from([i32::MIN, 7])),
            TensorData::Bool(Arc::from([true, false])),
            TensorData::U8(Arc::from([255, 0])),
            TensorData::I8(Arc::from([-128, 7])),
            TensorData::I16(Arc::from([i16::MIN, 7])),
            TensorData::U16(Arc::from([u16::MAX, 7])),
            TensorData::U32(Arc::from([u32::MAX, 7])),
            TensorData::U64(Arc::from([u64::MAX, 7])),
        ];
        for data in all {
            for dims in [vec![2], vec![1, 2, 1]] {
                let tensor = Tensor::new(Shape::new(dims).unwrap(), data.clone()).unwrap();
                assert_eq!(decode(&encode(&tensor)).unwrap(), tensor);
            }
        }
        let scalar = Tensor::scalar_f32(4.5);
        assert_eq!(decode(&encode(&scalar)).unwrap(), scalar);
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        let message = |header: &str, data: &[u8]| decode(&file(header, data)).unwrap_err().to_string();
        let header = |descr: &str, order: &str, shape: &str| {
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n")
        };
        assert!(message(&header("<f8", "False", "(1,)"), &[0; 8]).contains("<f8"));
        assert!(message(&header("<f4", "True", "(1,)"), &[0; 4]).contains("column-major"));
        assert!(
            message(&header("<f4", "False", "(2,)"), &[0; 4]).contains("4 bytes of data where shape [2]")
        );
        assert!(message(&header("<f4", "False", "(-2,)"), &[0; 4]).contains("shape"));
        assert!(message(&header("|b1", "False", "()"), &[2]).contains("boolean"));
        assert!(message(&header("<f4", "False", "(99999999999,99999999999)"), &[]).contains("elements"));
        assert!(decode(b"PK").unwrap_err().to_string().contains("not an .npy array"));
    }

    #[test]
    fn no_more_is_read_than_the_type_needs() {
        let tensor = Tensor::f32([3], [1.0, 2.0, 3.0]).unwrap();
        let ty = tensor.ty();
        assert_eq!(decode_as(&*encode(&tensor), &ty).unwrap(), Ok(tensor.clone()));
        // A header that claims much is compared with what is wanted before anything else, and an endless file ends.
        let claims = file("{'descr': '<f4', 'fortran_order': False, 'shape': (9999999, 9999), }\n", &[]);
        let found = decode_as((&*claims).chain(io::repeat(0)), &ty).unwrap().unwrap_err();
        assert_eq!(found.dims(), [9_999_999, 9999]);
        let endless = decode_as((&*encode(&tensor)).chain(io::repeat(0)), &ty);
        assert!(endless.unwrap_err().to_string().contains("needs 12"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut prefixed = b"\x93NUMPY\x01\x00".to_vec();
            prefixed.extend(&bytes);
            let _ = decode(&bytes);
            let _ = decode(&prefixed);
        }

        #[test]
        fn floats_survive_bit_for_bit(values in proptest::collection::vec(any::<u32>(), 0..50)) {
            let floats: Vec<f32> = values.iter().map(|&bits| f32::from_bits(bits)).collect();
            let tensor = Tensor::f32([floats.len()], floats).unwrap();
            let back = decode(&encode(&tensor)).unwrap();
            let bits: Vec<u32> = back.as_f32().unwrap().iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(bits, values);
        }
    }
}
