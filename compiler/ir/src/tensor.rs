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
}

impl DType {
    /// Size of one element in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::I64 => 8,
            DType::Bool | DType::U8 => 1,
        }
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
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            TensorData::F32(d) => d.len(),
            TensorData::I64(d) => d.len(),
            TensorData::I32(d) => d.len(),
            TensorData::Bool(d) => d.len(),
            TensorData::U8(d) => d.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as little-endian bytes, the form in which they are emitted.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            TensorData::F32(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::I64(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::I32(d) => d.iter().flat_map(|v| v.to_le_bytes()).collect(),
            TensorData::Bool(d) => d.iter().map(|&v| u8::from(v)).collect(),
            TensorData::U8(d) => d.to_vec(),
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
