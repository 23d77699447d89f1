//! Schedules: how each operator is to be computed, in how many parts, and which operators together, as plain data.
//!
//! A schedule is chosen by a cost model (in `passes`) for a graph and a machine, and read by the kernel generators. It
//! never changes what is computed beyond the order of floating-point sums.

mod text;

use std::collections::BTreeMap;

use crate::graph::{Graph, NodeId};

pub use text::NoSchedule;

/// What the outermost loop over tiles walks along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outer {
    /// Positions: all channels of a block of positions before the next block. The result is written in order, and all
    /// weights pass by for each block, so they should fit a cache.
    Positions,
    /// Channels: all positions for a panel of channels before the next panel, so each weight is fetched once.
    Channels,
}

/// The block of the result that a microkernel keeps in registers: `rows` positions (pixels, or rows of a matrix) by
/// `vectors` vectors of `lanes` output channels (or columns), and the order of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Positions.
    pub rows: usize,
    /// Vectors of channels.
    pub vectors: usize,
    /// Elements of a vector; a power of two, 1 for scalar code.
    pub lanes: usize,
    /// The order of the tiles.
    pub outer: Outer,
}

impl Tile {
    /// A tile of this size; panels of channels one after the other.
    pub const fn new(rows: usize, vectors: usize, lanes: usize) -> Self {
        Tile { rows, vectors, lanes, outer: Outer::Channels }
    }

    /// Output channels of a tile: the width of a packed panel.
    pub const fn width(self) -> usize {
        self.vectors * self.lanes
    }
}

/// Winograd's method for convolutions with a window of 3x3 and stride 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Winograd {
    /// Block of the matrix products: rows are tiles of the result.
    pub tile: Tile,
    /// Edge of a tile of the result: 2 or 4.
    pub output: usize,
    /// Rows of tiles of a strip, whose transformed pixels exist at the same time.
    pub rows: usize,
    /// Panels of output channels, each as wide as `tile`, whose products exist at the same time.
    pub panels: usize,
}

/// Attention: blocks of queries against blocks of keys, whose scores are all that exists of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Block of the products of queries and keys; its columns are keys.
    pub scores: Tile,
    /// Block of the products of weights and values.
    pub values: Tile,
    /// Most queries of a block.
    pub rows: usize,
    /// Keys of a block; a multiple of the columns of `scores`.
    pub keys: usize,
}

/// How one node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// No code: the result is the input under another shape, or see [`Schedules::views`].
    Alias,
    /// Matrix product: pointwise convolution of stride 1 without padding, or MatMul. Constant weights are packed in
    /// panels of the tile's width.
    Gemm(Tile),
    /// The same with a constant matrix by Strassen's method, seven products of quarters instead of eight. The tile is a block
    /// of one quarter of the result.
    Strassen(Tile),
    /// Direct convolution over all input channels; the padded image is copied to scratch when there is padding.
    Direct(Tile),
    /// Convolution by Winograd's method.
    Winograd(Winograd),
    /// Depthwise convolution, channels in vectors; `rows` output columns at a time.
    Depthwise(Tile),
    /// Convolution in groups, one group after the other, in the manner of `Direct`.
    Grouped(Tile),
    /// Convolution in groups of fewer channels than a vector has lanes, several groups in a vector; `rows` output columns
    /// at a time.
    PackedGroups(Tile),
    /// Attention.
    Attention(Attention),
    /// Everything else: along the innermost dimension in vectors of this many lanes.
    Vector {
        /// Elements of a vector.
        lanes: usize,
    },
}

impl Schedule {
    /// The tile of a matrix product, by whichever method; `None` of everything else.
    pub const fn product(self) -> Option<Tile> {
        match self {
            Schedule::Gemm(tile) | Schedule::Strassen(tile) => Some(tile),
            _ => None,
        }
    }

    /// Elements of the vectors that the node is computed in; 1 where there is no code.
    pub const fn lanes(self) -> usize {
        match self {
            Schedule::Gemm(tile)
            | Schedule::Strassen(tile)
            | Schedule::Direct(tile)
            | Schedule::Depthwise(tile)
            | Schedule::Grouped(tile)
            | Schedule::PackedGroups(tile) => tile.lanes,
            Schedule::Winograd(winograd) => winograd.tile.lanes,
            Schedule::Attention(attention) => attention.scores.lanes,
            Schedule::Vector { lanes } => lanes,
            Schedule::Alias => 1,
        }
    }
}

/// What is divided when a node is computed in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Rows of the result: pixels, rows of an image or of a matrix.
    Rows,
    /// Columns of a matrix product: output channels, with the weights that they need; channels of a reduction over others.
    Columns,
}

/// A node computed in parts that may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Split {
    /// What is divided.
    pub axis: Axis,
    /// Parts; fewer where there is not enough to divide.
    pub parts: usize,
}

impl Split {
    /// What the lengths of parts are multiples of, when `extent` rows are computed in blocks of `block`: whole blocks where
    /// there are many or each part gets as many, else single rows, as a smaller block at the end of each part costs less
    /// than a part that has a block more than others.
    pub const fn unit(extent: usize, block: usize, parts: usize) -> usize {
        let blocks = extent.div_ceil(block);
        if blocks.is_multiple_of(parts) || blocks >= 8 * parts { block } else { 1 }
    }
}

/// Nodes computed together, strip by strip: each one's result is the next one's image and has no other reader, so only a
/// strip of it ever exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The nodes, in order.
    pub nodes: Vec<NodeId>,
    /// Rows of the last node's result in a strip.
    pub rows: usize,
    /// Parts that may run at the same time, each a run of strips.
    pub parts: usize,
}

/// How a result that has no memory of its own lies in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lie {
    /// It is these columns of it, of all rows; columns are indices of the last dimension. What a concatenation makes of its
    /// inputs, and where a slice takes its result from.
    Columns,
    /// It is a run of its elements. The other result is no view.
    Run,
    /// It is an image, and the other one the same image with channels first, each a plane. That is no view.
    Planes,
    /// Its dimensions have distances of their own there ([`Schedules::strides`]). The other result is no view.
    Strided,
}

/// Where a result lies that has no memory of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The node whose result it is a part of, which may be one itself where both are columns.
    pub of: NodeId,
    /// Its first element there, in the first row.
    pub first: usize,
    /// In which way.
    pub lie: Lie,
}

impl View {
    /// Columns of another result.
    pub const fn columns(of: NodeId, first: usize) -> Self {
        View { of, first, lie: Lie::Columns }
    }

    /// Elements of another result from `first` on.
    pub const fn run(of: NodeId, first: usize) -> Self {
        View { of, first, lie: Lie::Run }
    }

    /// Elements of another result from `first` on, at distances of their own.
    pub const fn strided(of: NodeId, first: usize) -> Self {
        View { of, first, lie: Lie::Strided }
    }

    /// A whole image with channels first.
    pub const fn planes(of: NodeId) -> Self {
        View { of, first: 0, lie: Lie::Planes }
    }
}

/// How a graph is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedules {
    /// The schedule of each node that is computed (inputs and constants have none).
    pub nodes: BTreeMap<NodeId, Schedule>,
    /// Nodes computed in parts; not those of chains.
    pub splits: BTreeMap<NodeId, Split>,
    /// Nodes computed together; no node is in two chains.
    pub chains: Vec<Chain>,
    /// Results that are columns of others. A concatenation of which all inputs are its columns, and a slice that is one, is
    /// scheduled as [`Schedule::Alias`].
    pub views: BTreeMap<NodeId, View>,
    /// Elements from one index of each dimension to the next, of the views that are [`Lie::Strided`]. The operator that has
    /// such operands, or makes such a result, is attention.
    pub strides: BTreeMap<NodeId, Vec<usize>>,
    /// The schedules of the regions of nodes that hold some, which have no schedule of their own.
    pub regions: BTreeMap<NodeId, Vec<Schedules>>,
    /// Whether the machine has no vectors, so that what no node's schedule tells about is done in scalars too.
    pub scalar: bool,
}

impl Schedules {
    /// Where a node's result lies: the node whose memory it is, and its first element there.
    pub fn place(&self, id: NodeId) -> View {
        let mut place = View::columns(id, 0);
        // A chain of views is no longer than there are views.
        for _ in 0..self.views.len() {
            let Some(view) = self.views.get(&place.of) else { break };
            let first = place.first.saturating_add(view.first);
            let lie = if place.of == id { view.lie } else { place.lie };
            place = View { of: view.of, first, lie };
        }
        place
    }

    /// Elements between rows of a node's result; between pixels where it is an image.
    pub fn pitch(&self, graph: &Graph, id: NodeId) -> usize {
        let place = self.place(id);
        let width = |id: NodeId| graph.node(id).outputs[0].dims().last().copied().unwrap_or(1);
        match place.lie {
            Lie::Columns => width(place.of),
            Lie::Run | Lie::Strided => width(id),
            Lie::Planes => 1,
        }
    }

    /// Elements from one channel of an image to the next where each is a plane.
    pub fn plane(&self, graph: &Graph, id: NodeId) -> Option<usize> {
        let place = self.place(id);
        let dims = graph.node(place.of).outputs[0].dims();
        (place.lie == Lie::Planes).then(|| dims.iter().skip(2).product())
    }

    /// The chain that a node is in, and its place there.
    pub fn chain(&self, id: NodeId) -> Option<(&Chain, usize)> {
        let find = |chain: &Chain| chain.nodes.iter().position(|&node| node == id);
        self.chains.iter().find_map(|chain| Some((chain, find(chain)?)))
    }
}
