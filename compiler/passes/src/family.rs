//! Families: which kernels compute a node, and the sizes that their cost depends on.
//!
//! The family follows from the operator and the length of vectors, but for Winograd's method, which some convolutions can go
//! by instead. Costs
//! here and in [`crate::tile`] and [`crate::winograd`] are in quarters of a cycle.

use avocet_ir::op::{Conv, Layout, Op};
use avocet_ir::schedule::{Attention, Outer, Schedule, Tile};
use avocet_ir::{Graph, NodeId, TensorType};

use crate::schedule::Machine;
use crate::tile::{self, Product};

/// Output columns that a depthwise kernel computes together, at most, when the model chooses.
const DEPTHWISE_COLUMNS: usize = 8;
/// The same when it is told to, and of packed groups: more is code size without gain.
const MOST_COLUMNS: usize = 14;
/// Sets of the first cache in which the pixels under a window do not stay: distances of a multiple of 1 KiB.
const FEW_SETS: usize = 4;
/// Windows of up to this many taps have their weights in registers.
const MOST_HELD: usize = 9;
/// Bytes in a cycle that come from beyond the second cache while a core computes.
const BYTES_PER_CYCLE: usize = 12;
/// Bytes in a cycle that an operator without multiply-adds reads and writes.
const BYTES_MOVED_PER_CYCLE: usize = 8;
/// Cycles of a store of the widest vectors.
pub(crate) const STORE: usize = 2;
/// Bytes of scores that exist at a time, of as many queries as that allows: some half of the first cache.
const BYTES_OF_SCORES: usize = 24 << 10;
/// Keys whose scores exist at the same time, at most.
const KEYS_AT_ONCE: usize = 512;
/// Queries of a block, at least: all keys and values pass by for each block.
const FEWEST_QUERIES: usize = 24;
/// The unit of costs, as a part of a cycle.
pub(crate) const UNIT: usize = 4;

/// The family of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Family {
    /// No code.
    Alias,
    /// Matrix products, or convolutions in the manner of them.
    Products(Products),
    /// A window for each channel, or for each of a few channels.
    Windows(Windows),
    /// Attention, of a number of heads.
    Attention(Heads),
    /// Everything else, in vectors.
    Vector {
        /// Bytes that are read and written.
        bytes: usize,
    },
}

/// Which generator computes products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gemm,
    Direct,
    Grouped,
}

impl Kind {
    pub(crate) fn schedule(self, tile: Tile) -> Schedule {
        match self {
            Kind::Gemm => Schedule::Gemm(tile),
            Kind::Direct => Schedule::Direct(tile),
            Kind::Grouped => Schedule::Grouped(tile),
        }
    }
}

/// One product many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Products {
    pub(crate) kind: Kind,
    pub(crate) product: Product,
    pub(crate) times: usize,
    /// Bytes of the right operand.
    pub(crate) weight_bytes: usize,
    /// Elements of the image that are copied into its padding first.
    pub(crate) copied: usize,
}

impl Products {
    /// The cheapest tile by the model.
    pub(crate) fn tile(&self, machine: &Machine) -> Tile {
        Tile { outer: tile::outer(self.weight_bytes, machine), ..tile::tile(self.product, machine) }
    }

    pub(crate) fn cost(&self, tile: Tile, machine: &Machine) -> usize {
        let copy = self.copied.div_ceil(machine.lanes) * (STORE + 1) * UNIT;
        let all = self.times.saturating_mul(tile::cost(self.product, tile, machine));
        all.saturating_add(copy).saturating_add(traffic(self.weight_bytes))
    }
}

/// Cost of bytes that come from beyond the second cache.
pub(crate) fn traffic(bytes: usize) -> usize {
    bytes.saturating_mul(UNIT) / BYTES_PER_CYCLE
}

/// The products of one head of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    scores: Product,
    values: Product,
}

impl Heads {
    /// Tiles of the widest vectors, in which the powers are made too, and as many queries as leave the scores in the first
    /// cache.
    pub(crate) fn schedule(&self, machine: &Machine) -> Attention {
        let scores = tile::widest(self.scores, machine);
        let all = self.scores.columns.next_multiple_of(scores.width());
        let keys = all.min((KEYS_AT_ONCE / scores.width()).max(1) * scores.width());
        let most = (BYTES_OF_SCORES / (keys * 4)).max(FEWEST_QUERIES);
        let rows = most.next_multiple_of(scores.rows);
        let values = tile::widest(Product { rows: rows.min(self.values.rows), ..self.values }, machine);
        Attention { scores, values, rows, keys }
    }
}

/// A depthwise convolution, or one in groups of a few channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    image_bytes: usize,
    /// Bytes between pixels of the image.
    pixel: usize,
    window: [usize; 2],
    /// Distances within a row of the image: of positions, of taps.
    stride: usize,
    dilation: usize,
    /// Rows of all images of the result, and their width.
    rows: usize,
    width: usize,
    channels: usize,
    /// Outputs and inputs of a group, when several groups are packed in a vector.
    packed: Option<[usize; 2]>,
}

impl Windows {
    pub(crate) fn schedule(&self, tile: Tile) -> Schedule {
        match self.packed {
            None => Schedule::Depthwise(tile),
            Some(_) => Schedule::PackedGroups(tile),
        }
    }

    /// Inputs of each output.
    fn inputs(&self) -> usize {
        self.packed.map_or(1, |[_, inputs]| inputs)
    }

    /// Vectors that hold whole groups.
    fn widths(&self, machine: &Machine) -> impl Iterator<Item = usize> {
        let outputs = self.packed.map_or(1, |[outputs, _]| outputs);
        tile::widths(machine).filter(move |lanes| lanes.is_multiple_of(outputs))
    }

    fn taps(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Most columns that registers allow: the weights of a small window or of a row of one, one pixel, the sums.
    fn most_columns(&self, machine: &Machine) -> usize {
        let held = match self.packed {
            Some(_) => self.window[1] + 1,
            None if self.taps() <= MOST_HELD => self.taps(),
            None => self.taps().isqrt(),
        };
        machine.registers.saturating_sub(held + 1).max(1)
    }

    /// Columns in blocks of one size as far as registers allow.
    pub(crate) fn tile(&self, machine: &Machine) -> Tile {
        let limit = if self.packed.is_some() { MOST_COLUMNS } else { DEPTHWISE_COLUMNS };
        let most = self.most_columns(machine).min(limit);
        // The first and the last column have fewer taps and are blocks of their own.
        let inside = self.width.saturating_sub(2).max(1);
        let columns = inside.div_ceil(inside.div_ceil(most));
        // An image that does not stay in cache should pass by once, and so should one whose pixels are at a distance at
        // which they share the sets of the first cache.
        let stays = self.image_bytes <= machine.l2 / 2 && tile::sets(self.pixel) > FEW_SETS;
        let outer = if stays { Outer::Channels } else { Outer::Positions };
        Tile { outer, ..Tile::new(columns, 1, machine.lanes) }
    }

    pub(crate) fn fits(&self, tile: Tile, machine: &Machine) -> bool {
        (1..=MOST_COLUMNS.min(self.most_columns(machine))).contains(&tile.rows)
            && tile.vectors == 1
            && self.widths(machine).any(|lanes| lanes == tile.lanes)
    }

    /// All tiles that there is a choice of.
    pub(crate) fn tiles(&self, machine: &Machine) -> impl Iterator<Item = Tile> {
        let most = MOST_COLUMNS.min(self.most_columns(machine)).min(self.width.max(1));
        self.widths(machine).flat_map(move |lanes| {
            (1..=most).flat_map(move |columns| {
                let tile = Tile::new(columns, 1, lanes);
                [Outer::Channels, Outer::Positions].map(|outer| Tile { outer, ..tile })
            })
        })
    }

    /// Multiply-adds or loads, whichever take longer, and the end of each block; the order of the tiles costs nothing here.
    pub(crate) fn cost(&self, tile: Tile, machine: &Machine) -> usize {
        let narrower = machine.lanes / tile.lanes.clamp(1, machine.lanes);
        let multiply_add = (machine.multiply_add * narrower).min(machine.multiply_add.max(2));
        let loads = (machine.loads * narrower).min(machine.loads.max(2));
        let block = |columns: usize| {
            if columns == 0 {
                return 0;
            }
            let span = (columns - 1) * self.stride + (self.window[1] - 1) * self.dilation + 1;
            let pixels = self.window[0] * span.min(columns * self.window[1]);
            let held = self.packed.is_none() && self.taps() <= MOST_HELD;
            let weights = if held { 0 } else { self.taps() };
            let arithmetic = (columns * self.taps() * UNIT).div_ceil(multiply_add);
            let memory = ((pixels + weights) * UNIT).div_ceil(loads);
            self.inputs() * arithmetic.max(memory) + tile::end_of_block(columns) * UNIT
        };
        let row = self.width / tile.rows * block(tile.rows) + block(self.width % tile.rows);
        self.rows.saturating_mul(self.channels.div_ceil(tile.lanes)).saturating_mul(row)
    }
}

/// The family of a node; none for inputs, constants, and what holds regions.
pub(crate) fn family(graph: &Graph, id: NodeId, machine: &Machine) -> Option<Family> {
    let node = graph.node(id);
    let inputs = graph.inputs(id);
    let output = &node.outputs[0].shape;
    Some(match &node.op {
        Op::Input(_) | Op::Constant(_) | Op::If { .. } | Op::Loop(_) => return None,
        Op::Reshape { .. } | Op::Identity if node.epilogue.is_empty() => Family::Alias,
        Op::Conv(conv) => {
            let is_constant = graph.as_constant(inputs[1]).is_some();
            // The generator for groups in vectors packs weights when it is compiled.
            let permutes = machine.permutes && is_constant;
            let types = [graph.ty(inputs[0]), graph.ty(inputs[1]), &node.outputs[0]];
            convolution(conv, types, &Machine { permutes, ..*machine })
        }
        Op::MatMul { transpose_a, .. } => {
            let columns = output.dims().last().copied().unwrap_or(1);
            let right = &graph.ty(inputs[1]).shape;
            let single = right.elements() == right.dims().iter().rev().take(2).product::<usize>();
            // The generator joins the rows of all left matrices where there is one right matrix.
            let rows = match output.rank() {
                rank if rank >= 2 && (*transpose_a || !single) => output[rank - 2],
                _ => output.elements() / columns.max(1),
            };
            let left = &graph.ty(inputs[0]).shape;
            let inner = left[left.rank() - if *transpose_a { 2 } else { 1 }];
            Family::Products(Products {
                kind: Kind::Gemm,
                product: Product { rows, columns, inner, stride: inner * 4 },
                times: output.elements() / (rows * columns).max(1),
                weight_bytes: columns * inner * 4,
                copied: 0,
            })
        }
        Op::Attention { .. } => {
            let last = |number: usize| graph.ty(inputs[number]).dims().last().copied().unwrap_or(1);
            let count =
                |number: usize| graph.ty(inputs[number]).dims().iter().rev().nth(1).copied().unwrap_or(1);
            let (queries, keys, inner, width) = (count(0), count(1), last(0), last(2));
            let product = |columns: usize, inner: usize, stride: usize| Product {
                rows: queries,
                columns,
                inner,
                stride,
            };
            Family::Attention(Heads {
                scores: product(keys, inner, inner * 4),
                values: product(width, keys, keys * 4),
            })
        }
        _ => {
            let read = inputs.iter().map(|&value| graph.ty(value).bytes());
            Family::Vector { bytes: read.chain(node.outputs.iter().map(|ty| ty.bytes())).sum() }
        }
    })
}

fn convolution(conv: &Conv, [image, weights, output]: [&TensorType; 3], machine: &Machine) -> Family {
    let output = &output.shape;
    let [_, column_axis] = conv.layout.spatial_axes();
    let channels = image.shape[conv.layout.channel_axis()];
    let outputs = output[conv.layout.channel_axis()];
    let unit = weights.shape[2] == 1 && weights.shape[3] == 1 && conv.strides == [1, 1];
    let inner = weights.shape.elements() / outputs.max(1);
    let (positions, weight_bytes) = (output.elements() / outputs.max(1), weights.bytes());
    if conv.groups == 1 && unit && conv.padding.is_none() {
        let product = Product { rows: positions, columns: outputs, inner, stride: channels * 4 };
        return Family::Products(Products { kind: Kind::Gemm, product, times: 1, weight_bytes, copied: 0 });
    }
    let width = output[column_axis];
    let windows = |packed: Option<[usize; 2]>| Windows {
        image_bytes: image.bytes(),
        pixel: channels * 4,
        window: [weights.shape[2], weights.shape[3]],
        stride: conv.strides[1],
        dilation: conv.dilations[1],
        rows: positions / width.max(1),
        width,
        channels: outputs,
        packed,
    };
    if conv.groups == channels && outputs == channels && channels > 1 {
        return Family::Windows(windows(None));
    }
    // Groups of more than 128 bits need permutations across them, for each input channel: slower, measured, than half
    // empty vectors (regnet_y_400mf 2 %, ResNeXt's layers of stride 2 12 %).
    let group = [outputs / conv.groups, channels / conv.groups];
    let in_a_vector = machine.permutes
        && group[0].is_power_of_two()
        && group[0] < machine.lanes
        && group[0].is_multiple_of(group[1]);
    if conv.groups > 1 && in_a_vector && conv.layout == Layout::Nhwc && (group[0] <= 4 || group[1] == 1) {
        return Family::Windows(windows(Some(group)));
    }
    let stride = conv.strides[1] * channels * 4;
    Family::Products(Products {
        kind: if conv.groups == 1 { Kind::Direct } else { Kind::Grouped },
        product: Product { rows: width, columns: outputs / conv.groups, inner, stride },
        times: positions / width.max(1) * conv.groups,
        weight_bytes,
        copied: if conv.padding.is_none() { 0 } else { image.shape.elements() },
    })
}

/// Cost of an operator in vectors.
pub(crate) fn moved(bytes: usize) -> usize {
    bytes.saturating_mul(UNIT) / BYTES_MOVED_PER_CYCLE
}
