//! Whether a convolution goes by Winograd's method, with which tiles, in what strips: estimates of cycles of all ways.
//!
//! An estimate sums the multiply-adds by the model of tiles in [`crate::tile`], the transforms, and the bytes that come
//! from beyond the second cache: weights that are 16/9 or 4 times as large, once for each strip, and what does not fit of
//! the transformed pixels and the products. Of about 34 shapes measured with AVX-512, and half of them with AVX2 (1 to 112
//! pixels wide, 3 to 512 channels), the choice was the fastest or within a tenth of it but for three small ones: 3x3x256,
//! 10x10x64 and 28x28x4.

use std::ops::RangeInclusive;

use avocet_ir::op::{Conv, Layout, Op};
use avocet_ir::schedule::{Schedule, Winograd};
use avocet_ir::{Graph, NodeId};

use crate::family::{STORE, UNIT, traffic};
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

impl Transform {
    fn positions(&self) -> usize {
        (self.output + 2) * (self.output + 2)
    }
}

const TRANSFORMS: [Transform; 2] = [
    Transform { output: 2, input: [24, 32, 16], result: [24, 24, 4] },
    Transform { output: 4, input: [84, 144, 36], result: [60, 120, 16] },
];

/// A distance of rows that fall into different sets of the cache: any odd number of lines.
const SPACED: usize = 64;
/// Most strips of a node: each is code to generate and calls to make.
const MOST_STRIPS: usize = 1024;
/// Most multiply-adds of a convolution: larger ones, which no machine computes, would make the estimates overflow.
const MOST_WORK: usize = 1 << 44;
/// Most cache that the transformed pixels of a strip are tried with, as a multiple of the second one.
const MOST_CACHE: usize = 8;

/// The fastest schedule of a convolution by Winograd's method, or `None` where that does not apply or the direct way, of
/// this cost, is faster.
pub(crate) fn choose(graph: &Graph, id: NodeId, direct: usize, machine: &Machine) -> Option<Schedule> {
    best(&sizes(graph, id)?, direct, machine).map(Schedule::Winograd)
}

fn best(sizes: &Sizes, direct: usize, machine: &Machine) -> Option<Winograd> {
    let cheapest = all(sizes, machine).min_by_key(|&(cost, _)| cost);
    cheapest.filter(|&(cost, _)| cost < direct).map(|(_, schedule)| schedule)
}

/// Costs of all schedules by this method, each with the cheapest tile and panels; none where the method does not apply.
pub(crate) fn candidates(graph: &Graph, id: NodeId, machine: &Machine) -> Vec<(usize, Schedule)> {
    let Some(sizes) = sizes(graph, id) else { return Vec::new() };
    all(&sizes, machine).map(|(cost, schedule)| (cost, Schedule::Winograd(schedule))).collect()
}

/// Whether a convolution can be computed so on a machine.
pub(crate) fn fits(graph: &Graph, id: NodeId, schedule: &Winograd, machine: &Machine) -> bool {
    let transform = TRANSFORMS.iter().find(|transform| transform.output == schedule.output);
    let (Some(sizes), Some(transform)) = (sizes(graph, id), transform) else { return false };
    tile::fits(schedule.tile, machine)
        && strips(&sizes, transform, machine).is_some_and(|rows| rows.contains(&schedule.rows))
        && (1..=sizes.outputs.div_ceil(schedule.tile.width())).contains(&schedule.panels)
}

fn all(sizes: &Sizes, machine: &Machine) -> impl Iterator<Item = (usize, Winograd)> {
    TRANSFORMS.iter().flat_map(move |transform| {
        let rows = strips(sizes, transform, machine).into_iter().flatten();
        rows.map(move |rows| candidate(sizes, transform, rows, machine))
    })
}

/// Rows of tiles that a strip can have.
fn strips(sizes: &Sizes, transform: &Transform, machine: &Machine) -> Option<RangeInclusive<usize>> {
    let [down, across] = sizes.result.map(|extent| extent.div_ceil(transform.output));
    let row = transform.positions() * across * sizes.inputs * 4;
    let fewest = down.div_ceil((MOST_STRIPS / sizes.batch).max(1));
    let most = down.min(machine.cache() * MOST_CACHE / row).max(fewest);
    (sizes.batch <= MOST_STRIPS && most <= MOST_STRIPS).then_some(fewest..=most)
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
    let work = [batch, height, width, outputs, inputs, 9].into_iter().try_fold(1, usize::checked_mul)?;
    (weights.as_f32().is_some() && (1..=MOST_WORK).contains(&work)).then_some(Sizes {
        batch,
        result: [height, width],
        inputs,
        outputs,
    })
}

/// The estimate for strips of so many rows of tiles, and the schedule.
fn candidate(sizes: &Sizes, transform: &Transform, rows: usize, machine: &Machine) -> (usize, Winograd) {
    let Sizes { batch, result, inputs, outputs } = *sizes;
    let cache = machine.cache();
    let [down, across] = result.map(|extent| extent.div_ceil(transform.output));
    let positions = transform.positions();
    let tiles = rows * across;
    // The kernels space the rows such that they fall into different sets of the cache.
    let product =
        |rows: usize| Product { rows: rows * across, columns: outputs, inner: inputs, stride: SPACED };
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
    let panels = (cache / 4 / panel.max(1)).clamp(1, all);
    let weights = positions * inputs * outputs * 4;
    let strips = whole + usize::from(rest > 0);
    let fits = pixels + panels * panel + weights <= cache;
    let mut beyond = if fits { weights } else { weights * strips * batch };
    if pixels > cache / 2 {
        beyond += batch * strips * pixels * (1 + all.div_ceil(panels));
    }
    if panels * panel > cache / 2 {
        // Written and read.
        beyond += batch * strips * positions * tiles * outputs * 4 * 2;
    }
    let transforms = |[loads, arithmetic, stores]: [usize; 3], channels: usize| {
        let arithmetic = arithmetic.div_ceil(machine.multiply_add);
        let cycles = loads.div_ceil(machine.loads).max(arithmetic) + stores * STORE;
        down * across * channels.div_ceil(tile.lanes) * cycles * UNIT
    };
    let transformed = transforms(transform.input, inputs) + transforms(transform.result, outputs);
    let cost = batch * (whole * multiply(rows) + multiply(rest) + transformed) + traffic(beyond);
    (cost, Winograd { tile, output: transform.output, rows, panels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{Kind, Products};
    use crate::testing::{AVX2, AVX512};

    fn of(edge: usize, inputs: usize, outputs: usize, machine: &Machine) -> Option<Winograd> {
        let sizes = Sizes { batch: 1, result: [edge, edge], inputs, outputs };
        let direct = Products {
            kind: Kind::Direct,
            product: Product { rows: edge, columns: outputs, inner: 9 * inputs, stride: inputs * 4 },
            times: edge,
            weight_bytes: 9 * inputs * outputs * 4,
            copied: edge * edge * inputs,
        };
        best(&sizes, direct.cost(direct.tile(machine), machine), machine)
    }

    /// The edges of the tiles that were measured to be the fastest.
    #[test]
    fn fastest_tiles() {
        for machine in [&AVX2, &AVX512] {
            for (edge, inputs, outputs, expected) in [
                (56, 64, 64, Some(4)),
                (28, 128, 128, Some(4)),
                (14, 256, 256, Some(4)),
                (55, 16, 64, Some(4)),
                (13, 48, 192, Some(4)),
                (8, 256, 256, Some(4)),
                (6, 64, 64, Some(2)),
                (4, 512, 512, Some(2)),
                (1, 256, 256, None),
            ] {
                let output = of(edge, inputs, outputs, machine).map(|schedule| schedule.output);
                assert_eq!(output, expected, "{edge} {inputs} {outputs} {machine:?}");
            }
        }
    }

    #[test]
    fn many_images_and_rows_are_bounded() {
        for (batch, result) in [(5000, [8, 8]), (1000, [64, 64]), (1, [1 << 20, 4]), (1, [4, 1 << 20])] {
            let sizes = Sizes { batch, result, inputs: 8, outputs: 8 };
            let schedule = best(&sizes, usize::MAX, &AVX2);
            let strips = schedule.map_or(0, |s| result[0].div_ceil(s.output).div_ceil(s.rows) * batch);
            assert!(strips <= MOST_STRIPS, "{strips}");
        }
    }

    #[test]
    fn large_images_go_in_strips() {
        for machine in [&AVX2, &AVX512] {
            for (edge, channels) in [(56, 64), (112, 64), (224, 64), (112, 128)] {
                let Winograd { rows, output, .. } = of(edge, channels, channels, machine).expect("worth it");
                let down = edge.div_ceil(output);
                let pixels = (output + 2) * (output + 2) * rows * down * channels * 4;
                assert!(rows < down && pixels <= MOST_CACHE * machine.l2, "{edge} {channels}: {rows}");
            }
        }
    }
}
