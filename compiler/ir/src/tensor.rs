//! Element types, shapes and constant tensors.
//!
//! A [`Shape`] is checked when it is made: its element count, and the byte size of any element type we have, fit in
//! `isize`, so later arithmetic on sizes within one tensor can't overflow. Tensor data is shared (`Arc`), so cloning a
//! graph does not copy weights.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// 64-bit signed integer, the type of shapes and indices in ONNX.
    I64,
    /// 32-bit signed integer.
    I32,
    /// Boolean, one byte an element, 0 or 1.
    Bool,
    /// Unsigned byte, the type of images.
    U8,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::I64 | DType::U64 => 8,
            DType::I16 | DType::U16 => 2,
            DType::Bool | DType::U8 | DType::I8 => 1,
        }
    }

    /// Whether it is of integers.
    pub const fn is_integer(self) -> bool {
        !matches!(self, DType::F32 | DType::Bool)
    }

    /// The smallest and the largest integer of the type; those of booleans are 0 and 1, of floats there are none.
    pub const fn bounds(self) -> Option<(i128, i128)> {
        Some(match self {
            DType::F32 => return None,
            DType::I64 => (i64::MIN as i128, i64::MAX as i128),
            DType::I32 => (i32::MIN as i128, i32::MAX as i128),
            DType::I16 => (i16::MIN as i128, i16::MAX as i128),
            DType::I8 => (i8::MIN as i128, i8::MAX as i128),
            DType::U64 => (0, u64::MAX as i128),
            DType::U32 => (0, u32::MAX as i128),
            DType::U16 => (0, u16::MAX as i128),
            DType::U8 => (0, u8::MAX as i128),
            DType::Bool => (0, 1),
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
        })
    }
}

/// Why a shape or a tensor was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The product of the dimensions does not fit in memory of any machine.
    #[error("shape {0:?} has more elements than can be addressed")]
    TooLarge(Vec<usize>),
    /// More dimensions than [`Shape::MAX_RANK`].
    #[error("a tensor of {0} dimensions; at most {max} are supported", max = Shape::MAX_RANK)]
    RankTooHigh(usize),
    /// The number of elements handed over differs from what the shape says.
    #[error("{got} elements for shape {shape}, which has {expected}")]
    WrongLength {
        /// The shape.
        shape: Shape,
        /// Its number of elements.
        expected: usize,
        /// Number of elements handed over.
        got: usize,
    },
}

/// Dimensions of a tensor, outermost first. The product of the dimensions times eight fits in `isize`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Highest rank accepted; real networks stay below 7.
    pub const MAX_RANK: usize = 16;
    /// Largest number of elements: leaves room for a factor of 64 in byte arithmetic on 64-bit machines.
    const MAX_ELEMENTS: usize = isize::MAX as usize / 64;

    /// Checks and makes a shape.
    pub fn new(dims: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        let dims = dims.into();
        if dims.len() > Self::MAX_RANK {
            return Err(TensorError::RankTooHigh(dims.len()));
        }
        // The product over non-zero dimensions is bounded too, so that strides of an empty tensor don't overflow.
        let mut product = 1usize;
        for &dim in &dims {
            match product.checked_mul(dim.max(1)) {
                Some(p) if p <= Self::MAX_ELEMENTS => product = p,
                _ => return Err(TensorError::TooLarge(dims)),
            }
        }
        Ok(Shape(dims))
    }

    /// The shape of a scalar: no dimensions, one element.
    pub fn scalar() -> Self {
        Shape(Vec::new())
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Strides in elements of the dense row-major layout.
    pub fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.rank()];
        for i in (1..self.rank()).rev() {
            strides[i - 1] = strides[i] * self.0[i].max(1);
        }
        strides
    }
}

impl std::ops::Index<usize> for Shape {
    type Output = usize;
    fn index(&self, index: usize) -> &usize {
        &self.0[index]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Element type and shape of a value; the layout in memory is dense and row-major.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Dimensions.
    pub shape: Shape,
}

impl TensorType {
    /// A type of the given parts.
    pub fn new(dtype: DType, shape: Shape) -> Self {
        TensorType { dtype, shape }
    }

    /// An f32 tensor of these dimensions.
    pub fn f32(dims: impl Into<Vec<usize>>) -> Result<Self, TensorError> {
        Ok(TensorType::new(DType::F32, Shape::new(dims)?))
    }

    /// The dimensions.
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.elements() * self.dtype.bytes()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// Elements of a constant tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// f32 elements.
    F32(Arc<[f32]>),
    /// i64 elements.
    I64(Arc<[i64]>),
    /// i32 elements.
    I32(Arc<[i32]>),
    /// Booleans.
    Bool(Arc<[bool]>),
    /// Bytes.
    U8(Arc<[u8]>),
    /// i8 elements.
    I8(Arc<[i8]>),
    /// i16 elements.
    I16(Arc<[i16]>),
    /// u16 elements.
    U16(Arc<[u16]>),
    /// u32 elements.
    U32(Arc<[u32]>),
    /// u64 elements.
    U64(Arc<[u64]>),
}

/// An expression on the elements `$d` of tensor data, whatever their type.
#[macro_export]
macro_rules! of_any_type {
    ($data:expr, $d:ident => $body:expr) => {
        match $data {
            $crate::TensorData::F32($d) => $body,
            $crate::TensorData::I64($d) => $body,
            $crate::TensorData::I32($d) => $body,
            $crate::TensorData::Bool($d) => $body,
            $crate::TensorData::U8($d) => $body,
            $crate::TensorData::I8($d) => $body,
            $crate::TensorData::I16($d) => $body,
            $crate::TensorData::U16($d) => $body,
            $crate::TensorData::U32($d) => $body,
            $crate::TensorData::U64($d) => $body,
        }
    };
}

/// Tensor data of the same type as other data, by an expression on the elements `$d` of that.
#[macro_export]
macro_rules! keeping_type {
    ($data:expr, $d:ident => $body:expr) => {
        match $data {
            $crate::TensorData::F32($d) => $crate::TensorData::F32($body),
            $crate::TensorData::I64($d) => $crate::TensorData::I64($body),
            $crate::TensorData::I32($d) => $crate::TensorData::I32($body),
            $crate::TensorData::Bool($d) => $crate::TensorData::Bool($body),
            $crate::TensorData::U8($d) => $crate::TensorData::U8($body),
            $crate::TensorData::I8($d) => $crate::TensorData::I8($body),
            $crate::TensorData::I16($d) => $crate::TensorData::I16($body),
            $crate::TensorData::U16($d) => $crate::TensorData::U16($body),
            $crate::TensorData::U32($d) => $crate::TensorData::U32($body),
            $crate::TensorData::U64($d) => $crate::TensorData::U64($body),
        }
    };
}

impl TensorData {
    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            TensorData::F32(_) => DType::F32,
            TensorData::I64(_) => DType::I64,
            TensorData::I32(_) => DType::I32,
            TensorData::Bool(_) => DType::Bool,
            TensorData::U8(_) => DType::U8,
            TensorData::I8(_) => DType::I8,
            TensorData::I16(_) => DType::I16,
            TensorData::U16(_) => DType::U16,
            TensorData::U32(_) => DType::U32,
            TensorData::U64(_) => DType::U64,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        of_any_type!(self, d => d.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as f32, those of integers rounded; `None` of booleans.
    pub fn to_floats(&self) -> Option<Vec<f32>> {
        match self {
            TensorData::F32(d) => Some(d.to_vec()),
            TensorData::Bool(_) => None,
            TensorData::I64(d) => Some(d.iter().map(|&v| v as f32).collect()),
            TensorData::I32(d) => Some(d.iter().map(|&v| v as f32).collect()),
            TensorData::U8(d) => Some(d.iter().map(|&v| v.into()).collect()),
            TensorData::I8(d) => Some(d.iter().map(|&v| v.into()).collect()),
            TensorData::I16(d) => Some(d.iter().map(|&v| v.into()).collect()),
            TensorData::U16(d) => Some(d.iter().map(|&v| v.into()).collect()),
            TensorData::U32(d) => Some(d.iter().map(|&v| v as f32).collect()),
            TensorData::U64(d) => Some(d.iter().map(|&v| v as f32).collect()),
        }
    }

    /// The elements as little-endian bytes, the form in which they are emitted.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            TensorData::F32(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::I64(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::I32(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::Bool(d) => d.iter().map(|&v| u8::from(v)).collect(),
            TensorData::U8(d) => d.to_vec(),
            TensorData::I8(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::I16(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::U16(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::U32(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::U64(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The elements from little-endian bytes: as many as there are whole elements. Any byte but 0 is true.
    pub fn from_le_bytes(dtype: DType, bytes: &[u8]) -> Self {
        fn each<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Arc<[T]> {
            bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
        }
        match dtype {
            DType::F32 => TensorData::F32(each(bytes, f32::from_le_bytes)),
            DType::I64 => TensorData::I64(each(bytes, i64::from_le_bytes)),
            DType::I32 => TensorData::I32(each(bytes, i32::from_le_bytes)),
            DType::Bool => TensorData::Bool(bytes.iter().map(|&b| b != 0).collect()),
            DType::U8 => TensorData::U8(bytes.into()),
            DType::I8 => TensorData::I8(each(bytes, i8::from_le_bytes)),
            DType::I16 => TensorData::I16(each(bytes, i16::from_le_bytes)),
            DType::U16 => TensorData::U16(each(bytes, u16::from_le_bytes)),
            DType::U32 => TensorData::U32(each(bytes, u32::from_le_bytes)),
            DType::U64 => TensorData::U64(each(bytes, u64::from_le_bytes)),
        }
    }
}

/// A constant tensor. Its data has as many elements as its shape says.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Shape,
    data: TensorData,
}

impl Tensor {
    /// Checks that data and shape agree.
    pub fn new(shape: Shape, data: TensorData) -> Result<Self, TensorError> {
        let (expected, got) = (shape.elements(), data.len());
        if expected != got {
            return Err(TensorError::WrongLength { shape, expected, got });
        }
        Ok(Tensor { shape, data })
    }

    /// An f32 tensor.
    pub fn f32(dims: impl Into<Vec<usize>>, data: impl Into<Arc<[f32]>>) -> Result<Self, TensorError> {
        Tensor::new(Shape::new(dims)?, TensorData::F32(data.into()))
    }

    /// An i64 tensor.
    pub fn i64(dims: impl Into<Vec<usize>>, data: impl Into<Arc<[i64]>>) -> Result<Self, TensorError> {
        Tensor::new(Shape::new(dims)?, TensorData::I64(data.into()))
    }

    /// An f32 scalar.
    pub fn scalar_f32(value: f32) -> Self {
        Tensor { shape: Shape::scalar(), data: TensorData::F32(Arc::new([value])) }
    }

    /// The tensor of a type without elements; `None` of a type that has some.
    pub fn empty(ty: &TensorType) -> Option<Self> {
        Tensor::new(ty.shape.clone(), TensorData::from_le_bytes(ty.dtype, &[])).ok()
    }

    /// Element type and shape.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.data.dtype(), self.shape.clone())
    }

    /// Shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Elements.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The elements when they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(data) => Some(data),
            _ => None,
        }
    }

    /// The elements when they are i64.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            TensorData::I64(data) => Some(data),
            _ => None,
        }
    }

    /// The same elements under another shape of the same element count.
    pub fn reshaped(&self, shape: Shape) -> Result<Self, TensorError> {
        Tensor::new(shape, self.data.clone())
    }

    /// The single element of an f32 tensor of one element, whatever its rank.
    pub fn single_f32(&self) -> Option<f32> {
        match self.as_f32() {
            Some([value]) => Some(*value),
            _ => None,
        }
    }
}
