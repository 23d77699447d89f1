//! Schedules: how each node is to be computed on a machine of so many lanes and registers.
//!
//! The choice between kernel families follows from the operator alone. Tiles come from a small cost model of the
//! microkernel: cycles for one step of the reduction, summed over all blocks of the result, tails included.

use avocet_ir::op::{Conv, Op};
use avocet_ir::schedule::{Schedule, Schedules, Tile};
use avocet_ir::{Graph, GraphError, NodeId};

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
}

/// Cycles until the result of a multiply-add can be added to: with fewer accumulators than this times the issue rate, the
/// unit waits.
const LATENCY: usize = 4;
/// Most positions, and most vectors, of a tile: more is code size without gain.
const LARGEST: usize = 8;
/// Output columns that a depthwise kernel computes together.
const DEPTHWISE_COLUMNS: usize = 4;

/// Chooses a schedule for each node that is computed.
pub fn schedule(graph: &Graph, machine: &Machine) -> Result<Schedules, GraphError> {
    let mut schedules = Schedules::default();
    for id in graph.topological()? {
        if let Some(schedule) = choose(graph, id, machine) {
            schedules.nodes.insert(id, schedule);
        }
    }
    Ok(schedules)
}

fn choose(graph: &Graph, id: NodeId, machine: &Machine) -> Option<Schedule> {
    let node = graph.node(id);
    let output = &node.outputs[0].shape;
    let vector = Schedule::Vector { lanes: machine.lanes };
    Some(match &node.op {
        Op::Input(_) | Op::Constant(_) => return None,
        Op::Reshape { .. } | Op::Identity if node.epilogue.is_empty() => Schedule::Alias,
        Op::Conv(conv) => convolution(graph, id, conv, machine),
        Op::MatMul { .. } => {
            let rank = output.rank();
            let columns = output.dims().last().copied().unwrap_or(1);
            let rows = if rank >= 2 { output[rank - 2] } else { 1 };
            Schedule::Gemm(tile(rows, columns, machine))
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
    if conv.groups == 1 && unit && conv.padding.is_none() {
        let pixels = output.elements() / outputs.max(1);
        return Schedule::Gemm(tile(pixels, outputs, machine));
    }
    if conv.groups == channels && outputs == channels && channels > 1 {
        return Schedule::Depthwise(Tile { rows: DEPTHWISE_COLUMNS, vectors: 1, lanes: machine.lanes });
    }
    let tile = tile(output[column_axis], outputs / conv.groups, machine);
    if conv.groups == 1 { Schedule::Direct(tile) } else { Schedule::Grouped(tile) }
}

/// The cheapest tile that fits the registers: accumulators, one vector of weights for each vector, one pixel.
fn tile(rows: usize, columns: usize, machine: &Machine) -> Tile {
    let vectors = columns.div_ceil(machine.lanes).max(1);
    let mut best = (usize::MAX, Tile { rows: 1, vectors: 1, lanes: machine.lanes });
    for tile_rows in 1..=LARGEST.min(rows.max(1)) {
        for tile_vectors in 1..=LARGEST.min(vectors) {
            if tile_rows * tile_vectors + tile_vectors + 1 > machine.registers {
                continue;
            }
            let cost = cost(rows, vectors, tile_rows, tile_vectors, machine);
            // Of equal ones the larger: fewer trips through the outer loops.
            if cost <= best.0 {
                best = (cost, Tile { rows: tile_rows, vectors: tile_vectors, lanes: machine.lanes });
            }
        }
    }
    best.1
}

/// Cycles for one step of the reduction over the whole result, in units of `1 / (multiply_add * loads)`.
fn cost(rows: usize, vectors: usize, tile_rows: usize, tile_vectors: usize, machine: &Machine) -> usize {
    let block = |r: usize, v: usize| {
        let arithmetic = r * v * machine.loads;
        let memory = (r + v) * machine.multiply_add;
        let latency = LATENCY * machine.multiply_add * machine.loads;
        if r * v == 0 { 0 } else { arithmetic.max(memory).max(latency) }
    };
    let (whole_rows, rest_rows) = (rows / tile_rows, rows % tile_rows);
    let (whole_vectors, rest_vectors) = (vectors / tile_vectors, vectors % tile_vectors);
    whole_rows * whole_vectors * block(tile_rows, tile_vectors)
        + whole_vectors * block(rest_rows, tile_vectors)
        + whole_rows * block(tile_rows, rest_vectors)
        + block(rest_rows, rest_vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine { lanes: 4, registers: 16, multiply_add: 2, loads: 2 };

    #[test]
    fn large_products_fill_the_registers() {
        let tile = tile(3136, 96, &MACHINE);
        assert!(tile.rows * tile.vectors >= 9, "{tile}");
        assert!(tile.rows * tile.vectors + tile.vectors < 16, "{tile}");
    }

    #[test]
    fn one_row_gets_many_vectors() {
        assert_eq!(tile(1, 1000, &MACHINE), Tile { rows: 1, vectors: 7, lanes: 4 });
    }

    #[test]
    fn small_results_get_small_tiles() {
        assert_eq!(tile(1, 3, &MACHINE), Tile { rows: 1, vectors: 1, lanes: 4 });
        let tile = tile(7, 16, &MACHINE);
        assert_eq!(7 % tile.rows, 0, "{tile}");
    }
}
