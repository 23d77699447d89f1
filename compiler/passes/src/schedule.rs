//! Schedules: how each node is to be computed on a machine of so many lanes and registers.
//!
//! The choice between kernel families follows from the operator alone. Tiles come from the cost model in `tile.rs`.

use avocet_ir::op::{Conv, Op};
use avocet_ir::schedule::{Outer, Schedule, Schedules, Tile};
use avocet_ir::{Graph, GraphError, NodeId, TensorType};

use crate::tile::{self, Product};
use crate::winograd;

/// What a schedule must know of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// f32 lanes of a vector.
    pub lanes: usize,
    /// Vector registers that kernels may use.
    pub registers: usize,
    /// Vector multiply-adds per cycle.
    pub multiply_add: usize,
    /// Vector loads per cycle.
    pub loads: usize,
    /// Bytes of the second-level cache; 0 where it isn't known.
    pub l2: usize,
}

impl Machine {
    /// Bytes of the second-level cache, or some where none is known.
    pub(crate) fn cache(&self) -> usize {
        const SOME: usize = 256 << 10;
        if self.l2 == 0 { SOME } else { self.l2 }
    }
}

/// What is asked of schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Only methods whose rounding errors are those of plain sums: no Winograd convolution.
    pub exact: bool,
}

/// Output columns that a depthwise kernel computes together, at most.
const DEPTHWISE_COLUMNS: usize = 8;

/// Chooses a schedule for each node that is computed.
pub fn schedule(graph: &Graph, machine: &Machine, options: ScheduleOptions) -> Result<Schedules, GraphError> {
    let mut schedules = Schedules { scalar: machine.lanes == 1, ..Schedules::default() };
    for id in graph.topological()? {
        if let Some(schedule) = choose(graph, id, machine, options) {
            schedules.nodes.insert(id, schedule);
        }
    }
    Ok(schedules)
}

fn choose(graph: &Graph, id: NodeId, machine: &Machine, options: ScheduleOptions) -> Option<Schedule> {
    let node = graph.node(id);
    let output = &node.outputs[0].shape;
    let vector = Schedule::Vector { lanes: machine.lanes };
    Some(match &node.op {
        Op::Input(_) | Op::Constant(_) => return None,
        Op::Reshape { .. } | Op::Identity if node.epilogue.is_empty() => Schedule::Alias,
        Op::Conv(conv) => {
            let direct = convolution(graph, id, conv, machine);
            let winograd = if options.exact { None } else { winograd::choose(graph, id, direct, machine) };
            winograd.unwrap_or(direct)
        }
        Op::MatMul { transpose_a, .. } => {
            let columns = output.dims().last().copied().unwrap_or(1);
            let right = &graph.ty(graph.inputs(id)[1]).shape;
            let single = right.elements() == right.dims().iter().rev().take(2).product::<usize>();
            // The generator joins the rows of all left matrices where there is one right matrix.
            let rows = match output.rank() {
                rank if rank >= 2 && (*transpose_a || !single) => output[rank - 2],
                _ => output.elements() / columns.max(1),
            };
            let left = &graph.ty(graph.inputs(id)[0]).shape;
            let inner = left[left.rank() - if *transpose_a { 2 } else { 1 }];
            let tile = tile::tile(Product { rows, columns, inner, stride: inner * 4 }, machine);
            Schedule::Gemm(Tile { outer: tile::outer(columns * inner * 4, machine), ..tile })
        }
        _ => vector,
    })
}

fn convolution(graph: &Graph, id: NodeId, conv: &Conv, machine: &Machine) -> Schedule {
    let inputs = graph.inputs(id);
    let (image, weights) = (graph.ty(inputs[0]), graph.ty(inputs[1]));
    let output = &graph.node(id).outputs[0].shape;
    let [_, column_axis] = conv.layout.spatial_axes();
    let channels = image.shape[conv.layout.channel_axis()];
    let outputs = output[conv.layout.channel_axis()];
    let unit = weights.shape[2] == 1 && weights.shape[3] == 1 && conv.strides == [1, 1];
    let inner = weights.shape.elements() / outputs.max(1);
    let outer = tile::outer(weights.bytes(), machine);
    if conv.groups == 1 && unit && conv.padding.is_none() {
        let rows = output.elements() / outputs.max(1);
        let tile = tile::tile(Product { rows, columns: outputs, inner, stride: channels * 4 }, machine);
        return Schedule::Gemm(Tile { outer, ..tile });
    }
    let width = output[column_axis];
    if conv.groups == channels && outputs == channels && channels > 1 {
        return Schedule::Depthwise(depthwise(image, weights.shape[2] * weights.shape[3], width, machine));
    }
    let stride = conv.strides[1] * channels * 4;
    let tile = tile::tile(Product { rows: width, columns: outputs / conv.groups, inner, stride }, machine);
    let tile = Tile { outer, ..tile };
    if conv.groups == 1 { Schedule::Direct(tile) } else { Schedule::Grouped(tile) }
}

/// Columns in blocks of one size as far as registers allow: the weights of a small window, one pixel, the sums.
fn depthwise(image: &TensorType, taps: usize, width: usize, machine: &Machine) -> Tile {
    let held = if taps <= 9 { taps } else { taps.isqrt() };
    let most = machine.registers.saturating_sub(held + 1).clamp(1, DEPTHWISE_COLUMNS);
    // The first and the last column have fewer taps and are blocks of their own.
    let inside = width.saturating_sub(2).max(1);
    let columns = inside.div_ceil(inside.div_ceil(most));
    // An image that does not stay in cache should pass by once.
    let outer = if image.bytes() <= machine.l2 / 2 { Outer::Channels } else { Outer::Positions };
    Tile { outer, ..Tile::new(columns, 1, machine.lanes) }
}
