//! Schedules: how each operator is to be computed, as plain data.
//!
//! A schedule is chosen by a cost model (in `passes`) for a graph and a machine, and read by the kernel generators. It
//! never changes what is computed beyond the order of floating-point sums.

use std::collections::BTreeMap;
use std::fmt;

use crate::graph::{Graph, NodeId};

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

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match self.outer {
            Outer::Positions => "positions",
            Outer::Channels => "channels",
        };
        write!(f, "{}x{}x{} {order}", self.rows, self.vectors, self.lanes)
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

impl fmt::Display for Winograd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Winograd { tile, output, rows, panels } = self;
        write!(f, "{output}x{output} {tile} strips {rows} panels {panels}")
    }
}

/// How one node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// No code: the result is the input under another shape.
    Alias,
    /// Matrix product: pointwise convolution of stride 1 without padding, or MatMul. Constant weights are packed in
    /// panels of the tile's width.
    Gemm(Tile),
    /// Direct convolution over all input channels; the padded image is copied to scratch when there is padding.
    Direct(Tile),
    /// Convolution by Winograd's method.
    Winograd(Winograd),
    /// Depthwise convolution, channels in vectors; `rows` output columns at a time.
    Depthwise(Tile),
    /// Convolution in groups, one group after the other, in the manner of `Direct`.
    Grouped(Tile),
    /// Everything else: along the innermost dimension in vectors of this many lanes.
    Vector {
        /// Elements of a vector.
        lanes: usize,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Alias => f.write_str("alias"),
            Schedule::Gemm(tile) => write!(f, "gemm {tile}"),
            Schedule::Direct(tile) => write!(f, "direct {tile}"),
            Schedule::Winograd(winograd) => write!(f, "winograd {winograd}"),
            Schedule::Depthwise(tile) => write!(f, "depthwise {tile}"),
            Schedule::Grouped(tile) => write!(f, "grouped {tile}"),
            Schedule::Vector { lanes } => write!(f, "vector {lanes}"),
        }
    }
}

/// The schedule of each node that is computed (inputs and constants have none).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedules(pub BTreeMap<NodeId, Schedule>);

impl Schedules {
    /// Text form: one node a line in the graph's order.
    pub fn to_text(&self, graph: &Graph) -> String {
        let mut text = format!("schedule {}\n", graph.name());
        for id in graph.topological().unwrap_or_default() {
            if let Some(schedule) = self.0.get(&id) {
                let node = graph.node(id);
                let name = node.name.escape_debug();
                text += &format!("  {:<16} {schedule:<30} {} ; {name}\n", node.op.name(), node.outputs[0]);
            }
        }
        text
    }
}
