//! Operators of the graph and their typed attributes.
//!
//! Frontends translate into this vocabulary; it is smaller than ONNX's, because much of ONNX is the same thing said
//! twice (Flatten, Squeeze and Unsqueeze are [`Op::Reshape`]; GlobalAveragePool is [`Op::Reduce`]; Split is several
//! [`Op::Slice`]; a convolution's bias is an addition). Semantics follow the ONNX operator specification unless said
//! otherwise. Everything that shape inference needs is an attribute, never a tensor input.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::tensor::{DType, Shape, Tensor, TensorType};

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

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest element.
    Max,
    /// Smallest element.
    Min,
}

/// Elementwise function of one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `min(max(x, low), high)`; NaN stays NaN. Infinite limits mean no limit.
    Clip {
        /// Lower limit.
        low: f32,
        /// Upper limit.
        high: f32,
    },
    /// `x` where positive, else `alpha * x`.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f32,
    },
    /// `x` where positive, else `alpha * (exp(x) - 1)`.
    Elu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)` (Howard et al., MobileNetV3).
    HardSwish,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)` with the exact error function.
    Gelu,
    /// Error function.
    Erf,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// `log(1 + exp(x))`.
    Softplus,
    /// Square root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
}

impl Unary {
    /// Name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Unary::Relu => "relu",
            Unary::Clip { .. } => "clip",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::Elu { .. } => "elu",
            Unary::Sigmoid => "sigmoid",
            Unary::Tanh => "tanh",
            Unary::HardSigmoid { .. } => "hard_sigmoid",
            Unary::HardSwish => "hard_swish",
            Unary::Silu => "silu",
            Unary::Gelu => "gelu",
            Unary::Erf => "erf",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Softplus => "softplus",
            Unary::Sqrt => "sqrt",
            Unary::Reciprocal => "reciprocal",
            Unary::Neg => "neg",
            Unary::Abs => "abs",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
        }
    }
}

impl fmt::Display for Unary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Unary::Clip { low, high } => write!(f, "({low},{high})"),
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => write!(f, "({alpha})"),
            Unary::HardSigmoid { alpha, beta } => write!(f, "({alpha},{beta})"),
            _ => Ok(()),
        }
    }
}

/// Elementwise function of two operands, which broadcast as in ONNX (NumPy's rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient.
    Div,
    /// Smaller operand; NaN if either is.
    Min,
    /// Larger operand; NaN if either is.
    Max,
    /// First operand to the power of the second.
    Pow,
    /// First operand where positive, else its product with the second (the slope).
    Prelu,
}

impl Binary {
    /// Name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Pow => "pow",
            Binary::Prelu => "prelu",
        }
    }

    /// Whether the operands may be exchanged.
    pub const fn is_commutative(self) -> bool {
        matches!(self, Binary::Add | Binary::Mul | Binary::Min | Binary::Max)
    }
}

/// How [`Op::Pad`] fills the new elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A constant.
    Constant(f32),
    /// The nearest element of the input.
    Edge,
    /// The input mirrored at its first and last element, which are not repeated.
    Reflect,
}

/// How [`Op::Resize`] samples between input elements.
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

/// One dimension of [`Op::Slice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SliceAxis {
    /// First element taken.
    pub start: usize,
    /// Number of elements taken.
    pub count: usize,
    /// Distance between taken elements; may be negative, never zero.
    pub step: isize,
}

/// An operator. Inputs are the node's edges in order; the doc of each variant names them.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An input of the network, of this type. No inputs.
    Input(TensorType),
    /// A constant. No inputs.
    Constant(Tensor),
    /// Convolution. Inputs: image, weights.
    Conv(Conv),
    /// Batched matrix product with NumPy's broadcasting of the leading dimensions. Inputs: `[.., m, k]`, `[.., k, n]`.
    MatMul {
        /// Whether the last two dimensions of the first operand are exchanged first.
        transpose_a: bool,
        /// The same for the second operand.
        transpose_b: bool,
    },
    /// Inference-time batch normalisation over the channel axis. Inputs: x, scale, offset, mean, variance.
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
        /// The channel axis.
        axis: usize,
    },
    /// Pooling. Input: image.
    Pool(Pool),
    /// Reduction over some axes. Input: tensor.
    Reduce {
        /// What is computed.
        kind: ReduceKind,
        /// Axes that are reduced: sorted, unique.
        axes: Vec<usize>,
        /// Whether reduced axes stay, with size 1.
        keep_dims: bool,
    },
    /// Elementwise function. Input: tensor.
    Unary(Unary),
    /// Elementwise function of two broadcast operands.
    Binary(Binary),
    /// Softmax over one axis. Input: tensor.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Permutation of the dimensions: output dimension `i` is input dimension `perm[i]`. Input: tensor.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// The same elements under another shape. Input: tensor.
    Reshape {
        /// The new shape; as many elements as the input.
        shape: Shape,
    },
    /// Broadcast to a larger shape (ONNX Expand, with the resulting shape). Input: tensor.
    Broadcast {
        /// The resulting shape.
        shape: Shape,
    },
    /// Concatenation. Inputs: one or more tensors that differ in this axis only.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// A strided box of the input. Input: tensor.
    Slice {
        /// One entry for each dimension.
        axes: Vec<SliceAxis>,
    },
    /// The input with elements added around it. Input: tensor.
    Pad {
        /// Elements before and after, for each dimension.
        amounts: Vec<(usize, usize)>,
        /// What they are.
        mode: PadMode,
    },
    /// Channel shuffle (ShuffleNet): the axis, seen as `[groups, n]`, becomes `[n, groups]`. Input: tensor.
    ChannelShuffle {
        /// Number of groups; divides the axis.
        groups: usize,
        /// The axis.
        axis: usize,
    },
    /// Spatial resizing. Input: image.
    Resize(Resize),
    /// Conversion of the element type, as C does it. Input: tensor.
    Cast {
        /// The new type.
        to: DType,
    },
    /// The input unchanged.
    Identity,
}

impl Op {
    /// Name in text forms and error messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Constant(_) => "constant",
            Op::Conv(_) => "conv",
            Op::MatMul { .. } => "matmul",
            Op::BatchNorm { .. } => "batch_norm",
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Op::Pool(Pool { kind: PoolKind::Average { .. }, .. }) => "average_pool",
            Op::Reduce { kind: ReduceKind::Mean, .. } => "reduce_mean",
            Op::Reduce { kind: ReduceKind::Sum, .. } => "reduce_sum",
            Op::Reduce { kind: ReduceKind::Max, .. } => "reduce_max",
            Op::Reduce { kind: ReduceKind::Min, .. } => "reduce_min",
            Op::Unary(unary) => unary.name(),
            Op::Binary(binary) => binary.name(),
            Op::Softmax { .. } => "softmax",
            Op::Transpose { .. } => "transpose",
            Op::Reshape { .. } => "reshape",
            Op::Broadcast { .. } => "broadcast",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::ChannelShuffle { .. } => "channel_shuffle",
            Op::Resize(_) => "resize",
            Op::Cast { .. } => "cast",
            Op::Identity => "identity",
        }
    }

    /// Smallest and largest number of inputs.
    pub const fn arity(&self) -> (usize, usize) {
        match self {
            Op::Input(_) | Op::Constant(_) => (0, 0),
            Op::Conv(_) | Op::MatMul { .. } | Op::Binary(_) => (2, 2),
            Op::BatchNorm { .. } => (5, 5),
            Op::Concat { .. } => (1, usize::MAX),
            Op::Pool(_)
            | Op::Reduce { .. }
            | Op::Unary(_)
            | Op::Softmax { .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::ChannelShuffle { .. }
            | Op::Resize(_)
            | Op::Cast { .. }
            | Op::Identity => (1, 1),
        }
    }

    /// The constant of an [`Op::Constant`].
    pub fn as_constant(&self) -> Option<&Tensor> {
        match self {
            Op::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }
}

/// One elementwise step that the producing kernel applies to its result before storing it.
#[derive(Clone, Debug, PartialEq)]
pub enum EpilogueStep {
    /// A function of the result.
    Unary(Unary),
    /// A function of the result and of another input of the node, which broadcasts to the result's shape.
    Binary {
        /// The function.
        op: Binary,
        /// Which of the node's inputs, counted from 0.
        operand: usize,
        /// Whether the other input is the function's first operand.
        swapped: bool,
    },
}
