//! Whether a convolution goes by Winograd's method, with which tiles, in what strips: estimates of cycles of all ways.
//!
//! An estimate sums the multiply-adds by the model of tiles in [`crate::tile`], the transforms, and the bytes that come
//! from beyond the second cache: weights that are 16/9 or 4 times as large, once for each strip, and what does not fit of
//! the transformed pixels and the products.

use avocet_ir::op::{Conv, Layout, Op};
use avocet_ir::schedule::{Schedule, Tile, Winograd};
use avocet_ir::{Graph, NodeId};

use crate::schedule::Machine;
use crate::tile::{self, Product};

/// A convolution's sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    batch: usize,
    /// Height and width of the result.
    result: [usize; 2],
    inputs: usize,
    outputs: usize,
}

/// Instructions of a transform of one tile in one vector of channels.
struct Transform {
    output: usize,
    /// Of pixels: loads, arithmetic, stores.
    input: [usize; 3],
    /// Of products.
    result: [usize; 3],
}

const TRANSFORMS: [Transform; 2] = [
    Transform { output: 2, input: [24, 32, 16], result: [24, 24, 4] },
    Transform { output: 4, input: [84, 144, 36], result: [60, 120, 16] },
];

/// Bytes in a cycle that come from beyond the second cache while a core computes.
const BYTES_PER_CYCLE: usize = 12;
/// Cycles of a store of the widest vectors.
const STORE: usize = 2;
/// Quarters of a cycle, the unit of all estimates.
const UNIT: usize = 4;

/// The fastest schedule of a convolution by Winograd's method, or `None` where that does not apply or the schedule
/// `direct` is faster.
pub(crate) fn choose(graph: &Graph, id: NodeId, direct: Schedule, machine: &Machine) -> Option<Schedule> {
    let Schedule::Direct(direct) = direct else { return None };
    let sizes = sizes(graph, id)?;
    if let Ok(w) = std::env::var("AVOCET_WINO") {
        let v: Vec<usize> = w.split(':').map(|x| x.parse().unwrap_or(0)).collect();
        if v[0] == 0 {
            return None;
        }
        let transform = &TRANSFORMS[usize::from(v[0] == 4)];
        if v.len() == 1 {
            let best = (1..=sizes.result[0].div_ceil(transform.output))
                .map(|rows| candidate(&sizes, transform, rows, machine))
                .min_by_key(|c| c.0)
                .map(|c| c.1);
            return best.map(Schedule::Winograd);
        }
        let rows = v[1].min(sizes.result[0].div_ceil(transform.output));
        let mut schedule = candidate(&sizes, transform, rows, machine).1;
        if v.len() > 2 {
            schedule.panels = v[2];
        }
        if v.len() > 4 {
            schedule.tile = Tile::new(v[3], v[4], machine.lanes);
        }
        return Some(Schedule::Winograd(schedule));
    }
    let mut best = (direct_cost(&sizes, direct, machine), None);
    for transform in &TRANSFORMS {
        for rows in 1..=sizes.result[0].div_ceil(transform.output) {
            let (cost, schedule) = candidate(&sizes, transform, rows, machine);
            if cost < best.0 {
                best = (cost, Some(schedule));
            }
        }
    }
    best.1.map(Schedule::Winograd)
}

/// The sizes of a convolution that the method applies to.
fn sizes(graph: &Graph, id: NodeId) -> Option<Sizes> {
    let node = graph.node(id);
    let Op::Conv(Conv { strides: [1, 1], dilations: [1, 1], groups: 1, layout: Layout::Nhwc, .. }) = node.op
    else {
        return None;
    };
    let inputs = graph.inputs(id);
    let weights = graph.as_constant(inputs[1])?;
    let &[outputs, inputs, 3, 3] = weights.shape().dims() else { return None };
    let &[batch, height, width, _] = node.outputs[0].dims() else { return None };
    let some = weights.as_f32().is_some() && node.outputs[0].shape.elements() > 0 && inputs > 0;
    some.then_some(Sizes { batch, result: [height, width], inputs, outputs })
}

fn traffic(bytes: usize) -> usize {
    bytes * UNIT / BYTES_PER_CYCLE
}

fn direct_cost(sizes: &Sizes, tile: Tile, machine: &Machine) -> usize {
    let Sizes { batch, result: [height, width], inputs, outputs } = *sizes;
    let product = Product { rows: width, columns: outputs, inner: 9 * inputs, stride: inputs * 4 };
    // The image is copied into its padding.
    let copy = (height * width * inputs).div_ceil(machine.lanes) * (STORE + 1) * UNIT;
    batch * (height * tile::cost(product, tile, machine) + copy) + traffic(9 * inputs * outputs * 4)
}

/// The estimate for strips of so many rows of tiles, and the schedule.
fn candidate(sizes: &Sizes, transform: &Transform, rows: usize, machine: &Machine) -> (usize, Winograd) {
    let Sizes { batch, result, inputs, outputs } = *sizes;
    let [down, across] = result.map(|extent| extent.div_ceil(transform.output));
    let positions = (transform.output + 2) * (transform.output + 2);
    let tiles = rows * across;
    let product =
        |rows: usize| Product { rows: rows * across, columns: outputs, inner: inputs, stride: inputs * 4 };
    let tile = tile::tile(product(rows), machine);
    let (whole, rest) = (down / rows, down % rows);
    let multiply = |rows: usize| match rows {
        0 => 0,
        rows => positions * tile::cost(product(rows), tile, machine),
    };
    let pixels = positions * tiles * inputs * 4;
    let panel = positions * tiles * tile.width() * 4;
    // The products of as many panels as a quarter of the cache holds.
    let all = outputs.div_ceil(tile.width());
    let panels = (machine.l2 / 4 / panel.max(1)).clamp(1, all);
    let weights = positions * inputs * outputs * 4;
    let strips = whole + usize::from(rest > 0);
    let fits = pixels + panels * panel + weights <= machine.l2;
    let mut beyond = if fits { weights } else { weights * strips * batch };
    if pixels > machine.l2 / 2 {
        beyond += batch * strips * pixels * (1 + all.div_ceil(panels));
    }
    let transforms = |[loads, arithmetic, stores]: [usize; 3], channels: usize| {
        let arithmetic = arithmetic.div_ceil(machine.multiply_add);
        let cycles = loads.div_ceil(machine.loads).max(arithmetic) + stores * STORE;
        down * across * channels.div_ceil(machine.lanes) * cycles * UNIT
    };
    let transformed = transforms(transform.input, inputs) + transforms(transform.result, outputs);
    let cost = batch * (whole * multiply(rows) + multiply(rest) + transformed) + traffic(beyond);
    (cost, Winograd { tile, output: transform.output, rows, panels })
}
