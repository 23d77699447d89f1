//! Operators of the graph and their typed attributes.
//!
//! Frontends translate into this vocabulary; it is smaller than ONNX's, because much of ONNX is the same thing said
//! twice (Flatten, Squeeze and Unsqueeze are [`Op::Reshape`]; GlobalAveragePool is [`Op::Reduce`]; Split is several
//! [`Op::Slice`]; a convolution's bias is an addition). Semantics follow the ONNX operator specification unless said
//! otherwise. Everything that shape inference needs is an attribute, never a tensor input.

mod attributes;
mod control;
mod elementwise;
pub mod sampling;
mod spatial;

pub use control::{Loop, Region};
pub use elementwise::{Binary, Comparison, Unary};
pub use spatial::{
    Conv, Layout, NearestRounding, Padding, Pool, PoolKind, Resize, ResizeCoordinates, ResizeMode,
};

use crate::tensor::{DType, Shape, Tensor, TensorType};

/// What a reduction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceKind {
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// Largest element; of none the least that the type has.
    Max,
    /// Smallest element; of none the most that the type has.
    Min,
    /// Product.
    Prod,
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
    /// Comparison of two broadcast operands of one type; the result is boolean. On NaN as in IEEE 754: false.
    Compare(Comparison),
    /// The second operand where the first, a boolean one, is true, else the third; all three broadcast.
    Select,
    /// Position of the largest or smallest element along an axis, which stays with size 1: 64-bit integers.
    ArgReduce {
        /// Whether the largest is meant.
        largest: bool,
        /// The axis.
        axis: usize,
        /// Whether the last of equal elements counts, not the first.
        last: bool,
    },
    /// Positions of the `count` largest or smallest elements along an axis, in their order, equal elements in theirs:
    /// 64-bit integers. NaN is larger than all numbers. Input: tensor.
    Rank {
        /// Whether the largest are meant.
        largest: bool,
        /// The axis.
        axis: usize,
        /// How many.
        count: usize,
    },
    /// For each element along an axis, what it and all before it are joined to. Input: tensor.
    Cumulate {
        /// A sum or a product.
        join: Binary,
        /// The axis.
        axis: usize,
        /// Whether the element itself does not count.
        exclusive: bool,
        /// Whether what is after it counts in place of what is before it.
        reverse: bool,
    },
    /// Elements of an axis by computed indices: `[..before, ..indices, ..after]`. Indices below 0 count from the end; those
    /// outside take the nearest element. Inputs: tensor, 64-bit indices.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// The first input with rows (all of what is in one place of the first dimension) replaced by those of the third, or joined
    /// with them, one after the other, where the second says; indices as for `Gather`. Inputs: tensor `[n, ..row]`, 64-bit
    /// indices `[m]`, rows `[m, ..row]`.
    Scatter {
        /// How a row is joined with what is there: by sum, product, smaller or larger element; replaced when none.
        join: Option<Binary>,
    },
    /// Softmax over one axis. Input: tensor.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Layer norm without scale and offset, over the last dimension: what an element is above the mean, over the root of the
    /// mean of the squares of that and epsilon. Input: tensor.
    Normalize {
        /// Added to the mean of squares; not below 0.
        epsilon: f32,
        /// Whether the mean is taken off; if not, this is root-mean-square norm.
        centered: bool,
    },
    /// Attention: `softmax(q k^T * scale + masks) v`, the softmax over the keys. Inputs: q `[.., m, d]`, k `[.., n, d]`,
    /// v `[.., n, e]` with the same leading dimensions, and up to two masks that broadcast to the scores `[.., m, n]`.
    Attention {
        /// Factor of the products, a number above 0.
        scale: f32,
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
    /// The same bits as another element type of the same size; not as booleans, which are 0 or 1. Input: tensor.
    Bitcast {
        /// The new type.
        to: DType,
    },
    /// The input unchanged.
    Identity,
    /// The results of one of two regions, of which only the chosen one is computed. Inputs: a boolean of one element, and what
    /// both regions get, in the order of their inputs. One result for each of theirs, which have the same types.
    If {
        /// What is computed when the condition is true.
        then: Region,
        /// What is computed when it is false.
        otherwise: Region,
    },
    /// A region that is run again and again.
    Loop(Loop),
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
            Op::Reduce { kind: ReduceKind::Prod, .. } => "reduce_prod",
            Op::Unary(unary) => unary.name(),
            Op::Binary(binary) => binary.name(),
            Op::Compare(comparison) => comparison.name(),
            Op::Select => "select",
            Op::ArgReduce { largest: true, .. } => "arg_max",
            Op::ArgReduce { largest: false, .. } => "arg_min",
            Op::Rank { .. } => "rank",
            Op::Cumulate { .. } => "cumulate",
            Op::Gather { .. } => "gather",
            Op::Scatter { .. } => "scatter",
            Op::Softmax { .. } => "softmax",
            Op::Normalize { .. } => "normalize",
            Op::Attention { .. } => "attention",
            Op::Transpose { .. } => "transpose",
            Op::Reshape { .. } => "reshape",
            Op::Broadcast { .. } => "broadcast",
            Op::Concat { .. } => "concat",
            Op::Slice { .. } => "slice",
            Op::Pad { .. } => "pad",
            Op::ChannelShuffle { .. } => "channel_shuffle",
            Op::Resize(_) => "resize",
            Op::Cast { .. } => "cast",
            Op::Bitcast { .. } => "bitcast",
            Op::Identity => "identity",
            Op::If { .. } => "if",
            Op::Loop(_) => "loop",
        }
    }

    /// Smallest and largest number of inputs.
    pub const fn arity(&self) -> (usize, usize) {
        match self {
            Op::Input(_) | Op::Constant(_) => (0, 0),
            Op::Conv(_) | Op::MatMul { .. } | Op::Binary(_) | Op::Compare(_) | Op::Gather { .. } => (2, 2),
            Op::Select | Op::Scatter { .. } => (3, 3),
            Op::Attention { .. } => (3, 5),
            Op::BatchNorm { .. } => (5, 5),
            Op::Concat { .. } | Op::If { .. } => (1, usize::MAX),
            Op::Loop(_) => (0, usize::MAX),
            Op::Pool(_)
            | Op::Reduce { .. }
            | Op::Unary(_)
            | Op::ArgReduce { .. }
            | Op::Rank { .. }
            | Op::Cumulate { .. }
            | Op::Softmax { .. }
            | Op::Normalize { .. }
            | Op::Transpose { .. }
            | Op::Reshape { .. }
            | Op::Broadcast { .. }
            | Op::Slice { .. }
            | Op::Pad { .. }
            | Op::ChannelShuffle { .. }
            | Op::Resize(_)
            | Op::Cast { .. }
            | Op::Bitcast { .. }
            | Op::Identity => (1, 1),
        }
    }

    /// The graphs that the operator holds.
    pub fn regions(&self) -> Vec<&Region> {
        match self {
            Op::If { then, otherwise } => vec![then, otherwise],
            Op::Loop(repeated) => vec![&repeated.body],
            _ => Vec::new(),
        }
    }

    /// The same operator with other regions, as many as [`Op::regions`] has.
    pub fn with_regions(self, regions: Vec<Region>) -> Self {
        let mut regions = regions.into_iter();
        let mut next = |old: Region| regions.next().unwrap_or(old);
        match self {
            Op::If { then, otherwise } => {
                let then = next(then);
                Op::If { then, otherwise: next(otherwise) }
            }
            Op::Loop(repeated) => Op::Loop(Loop { body: next(repeated.body.clone()), ..repeated }),
            other => other,
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
