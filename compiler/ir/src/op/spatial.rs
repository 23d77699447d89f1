//! Operators on images: convolution, pooling, resizing, and the layout that they work in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Order of the dimensions of an image-like activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Batch, channels, height, width: what models are written in.
    Nchw,
    /// Batch, height, width, channels: what kernels work on.
    Nhwc,
}

impl Layout {
    /// Index of the channel dimension of a rank-4 tensor.
    pub const fn channel_axis(self) -> usize {
        match self {
            Layout::Nchw => 1,
            Layout::Nhwc => 3,
        }
    }

    /// Indices of height and width.
    pub const fn spatial_axes(self) -> [usize; 2] {
        match self {
            Layout::Nchw => [2, 3],
            Layout::Nhwc => [1, 2],
        }
    }
}

/// Zeros (or the pooling's neutral element) assumed around an image, in elements. May not be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// The same padding on all sides of each axis.
    pub const fn symmetric(rows: usize, columns: usize) -> Self {
        Padding { top: rows, left: columns, bottom: rows, right: columns }
    }

    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self == Padding::default()
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{},{},{}]", self.top, self.left, self.bottom, self.right)
    }
}

/// Two-dimensional convolution. Inputs: the image, and weights as `[out, in / groups, height, width]` whatever the
/// layout of the image. Bias is a separate addition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Step of the window, rows then columns; at least 1.
    pub strides: [usize; 2],
    /// Distance between taps; at least 1.
    pub dilations: [usize; 2],
    /// Zero padding.
    pub padding: Padding,
    /// Number of groups; divides the input and output channels. Depthwise when it equals the input channels.
    pub groups: usize,
    /// Layout of the image and of the result.
    pub layout: Layout,
}

/// What a pooling window computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// Largest element; padding never wins.
    Max,
    /// Mean; `count_padding` says whether the padding counts in the divisor.
    Average {
        /// ONNX `count_include_pad`.
        count_padding: bool,
    },
}

/// Two-dimensional pooling of an image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// What is computed.
    pub kind: PoolKind,
    /// Height and width of the window.
    pub window: [usize; 2],
    /// Step of the window.
    pub strides: [usize; 2],
    /// Distance between taps.
    pub dilations: [usize; 2],
    /// Padding.
    pub padding: Padding,
    /// Whether a last window that starts inside the image or its leading padding, but ends outside, counts (ONNX
    /// `ceil_mode`).
    pub ceil_mode: bool,
    /// Layout of the image and of the result.
    pub layout: Layout,
}

/// How [`crate::op::Op::Resize`] samples between input elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResizeMode {
    /// The nearest element; the rounding of ties as named in ONNX.
    Nearest(NearestRounding),
    /// Bilinear interpolation.
    Linear,
}

/// ONNX `nearest_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NearestRounding {
    /// Half rounds down.
    RoundPreferFloor,
    /// Half rounds up.
    RoundPreferCeil,
    /// Always down.
    Floor,
    /// Always up.
    Ceil,
}

/// ONNX `coordinate_transformation_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResizeCoordinates {
    /// `(x + 0.5) / scale - 0.5`.
    HalfPixel,
    /// As `HalfPixel`, but 0 when the output has one element.
    PytorchHalfPixel,
    /// `x * (in - 1) / (out - 1)`.
    AlignCorners,
    /// `x / scale`.
    Asymmetric,
}

/// Resizing of the two spatial dimensions of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Sampling.
    pub mode: ResizeMode,
    /// Coordinates.
    pub coordinates: ResizeCoordinates,
    /// Output height and width.
    pub size: [usize; 2],
    /// Output over input, rows then columns; as given by the model, or the quotient of the sizes.
    pub scales: [f32; 2],
    /// Layout of the image and of the result.
    pub layout: Layout,
}
