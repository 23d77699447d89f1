//! Partition: which nodes are computed in parts that may run at the same time, and which ones together in strips.
//!
//! All of it is decided when a network is compiled: whoever runs it may use any number of threads, and gets the same
//! numbers. So parts must cost one thread next to nothing, and are made only of nodes with enough work.

use avocet_ir::cost::{Cost, costs};
use avocet_ir::op::Op;
use avocet_ir::schedule::{Axis, Chain, Schedule, Schedules, Split, Tile};
use avocet_ir::{Graph, NodeId, Value};
use std::collections::BTreeMap;

use crate::schedule::Machine;

/// What a partition may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Most parts of a step; with 1 nothing is divided.
    pub parts: usize,
    /// Whether nodes may be computed together in strips.
    pub fuse: bool,
}

/// Least work of a part, in cycles: some seven microseconds, several times what it costs to hand a part to another
/// thread.
const PART: u64 = 20_000;
/// Bytes that a core moves in a cycle, from and to the caches beyond its own.
const BYTES_PER_CYCLE: u64 = 8;
/// The same from another core's cache, where it was written last: 25 ns for a line, measured on Zen 4.
const CROSSING_BYTES_PER_CYCLE: u64 = 1;
/// Most rows that the parts of a chain compute twice, as one in so many.
const REPEATED: usize = 12;

/// Decides on chains and splits.
pub fn partition(graph: &Graph, schedules: &mut Schedules, machine: &Machine, partition: &Partition) {
    let (nodes, _) = costs(graph);
    let partitioner =
        Partitioner { graph, machine, partition, cache: machine.cache(), costs: nodes.into_iter().collect() };
    if partition.fuse {
        schedules.chains = partitioner.chains(schedules);
    }
    let splits = schedules.nodes.iter().filter(|(id, _)| schedules.chain(**id).is_none());
    let splits =
        splits.filter_map(|(&id, &schedule)| Some((id, partitioner.split(id, schedule, schedules)?)));
    schedules.splits = splits.collect();
    for (&id, inner) in &mut schedules.regions {
        for (region, schedules) in graph.node(id).op.regions().into_iter().zip(inner) {
            self::partition(region.graph(), schedules, machine, partition);
        }
    }
}

struct Partitioner<'a> {
    graph: &'a Graph,
    machine: &'a Machine,
    partition: &'a Partition,
    /// Bytes of the cache that a core has for itself: the second level's.
    cache: usize,
    costs: BTreeMap<NodeId, Cost>,
}

impl Partitioner<'_> {
    /// Estimate of a node's work in cycles: arithmetic or memory, whichever takes longer.
    fn cycles(&self, id: NodeId, schedule: Schedule) -> u64 {
        let cost = self.costs.get(&id).copied().unwrap_or_default();
        // A depthwise convolution loads an element for each multiply-add.
        let issue = match schedule {
            Schedule::Depthwise(_) => self.machine.multiply_add.min(self.machine.loads).div_ceil(2),
            _ => self.machine.multiply_add,
        };
        let arithmetic = cost.multiply_adds / (self.machine.lanes * issue).max(1) as u64;
        let read: usize = self.graph.inputs(id).into_iter().map(|value| self.graph.ty(value).bytes()).sum();
        arithmetic.max((cost.activation_bytes + read as u64) / BYTES_PER_CYCLE)
    }

    /// Parts for so much work: a power of two, so that two or four threads have as much to do each.
    fn parts(&self, cycles: u64, most: usize) -> usize {
        let most = most.min(self.partition.parts);
        let parts = usize::try_from(cycles / PART).map_or(most, |parts| parts.min(most));
        if parts < 2 { 1 } else { 1 << parts.ilog2() }
    }

    fn split(&self, id: NodeId, schedule: Schedule, schedules: &Schedules) -> Option<Split> {
        if schedule == Schedule::Alias {
            return None;
        }
        let cycles = self.cycles(id, schedule);
        let parts = self.parts(cycles, usize::MAX);
        if parts < 2 {
            return None;
        }
        let axis = match schedule {
            Schedule::Gemm(tile) | Schedule::Strassen(tile) => self.axis(id, tile, parts, cycles),
            Schedule::Depthwise(tile) => self.axis_of_depthwise(id, tile, parts, schedules),
            // Where channels are kept they are divided.
            _ => match &self.graph.node(id).op {
                Op::Reduce { axes, .. } if axes.iter().all(|&axis| axis + 1 < self.rank(id)) => Axis::Columns,
                _ => Axis::Rows,
            },
        };
        Some(Split { axis, parts })
    }

    /// Dimensions of a node's first input.
    fn rank(&self, id: NodeId) -> usize {
        self.graph.ty(self.graph.inputs(id)[0]).shape.rank()
    }

    /// Rows or channels of a depthwise convolution: channels where the product before it is divided by them, so that each
    /// thread finds its image in its own cache, and where rows are fewer than parts.
    fn axis_of_depthwise(&self, id: NodeId, tile: Tile, parts: usize, schedules: &Schedules) -> Axis {
        let &[_, height, _, channels] = self.graph.node(id).outputs[0].shape.dims() else {
            return Axis::Rows;
        };
        let vectors = channels.div_ceil(tile.lanes);
        if vectors < 2 * parts {
            return Axis::Rows;
        }
        let before = self.graph.inputs(id)[0].node;
        let product = match schedules.nodes.get(&before) {
            Some(schedule @ (Schedule::Gemm(_) | Schedule::Strassen(_))) => {
                self.split(before, *schedule, schedules)
            }
            _ => None,
        };
        let by_columns = product.is_some_and(|split| split.axis == Axis::Columns);
        if by_columns || height < parts { Axis::Columns } else { Axis::Rows }
    }

    /// Rows or columns of a matrix product, by the time that two threads need. By rows, each reads all weights instead of
    /// half of them; by columns, each reads the half of the image that the other has written, from the other's cache.
    fn axis(&self, id: NodeId, tile: Tile, parts: usize, cycles: u64) -> Axis {
        let (output, inputs) = (&self.graph.node(id).outputs[0].shape, self.graph.inputs(id));
        let columns = output.dims().last().copied().unwrap_or(1).max(1);
        let rows = output.elements() / columns;
        let bytes = |number: usize| self.graph.ty(inputs[number]).bytes();
        if self.graph.as_constant(inputs[1]).is_none() {
            return Axis::Rows;
        }
        // A thread's share is a half, and more where the units can't be halved.
        let share = |extent: usize, unit: usize| {
            let units = extent.div_ceil(unit).max(1) as u64;
            cycles * units.div_ceil(2) / units
        };
        let by_rows =
            share(rows, Split::unit(rows, tile.rows, parts)) + bytes(1) as u64 / 2 / BYTES_PER_CYCLE;
        let by_columns = share(columns, tile.width()) + bytes(0) as u64 / 2 / CROSSING_BYTES_PER_CYCLE;
        if by_columns < by_rows { Axis::Columns } else { Axis::Rows }
    }

    /// Depthwise convolutions with the pointwise ones before and after, where what is between them is large.
    fn chains(&self, schedules: &Schedules) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        for (&id, &schedule) in &schedules.nodes {
            if !matches!(schedule, Schedule::Depthwise(_)) {
                continue;
            }
            let is_free = |id: NodeId| !chains.iter().any(|chain| chain.nodes.contains(&id));
            let is_pointwise = |id: NodeId| {
                matches!(schedules.nodes.get(&id), Some(Schedule::Gemm(_)))
                    && matches!(self.graph.node(id).op, Op::Conv(_))
                    && is_free(id)
            };
            let before = self.graph.inputs(id)[0].node;
            let before = (is_pointwise(before) && self.only_reader(before) == Some(id)).then_some(before);
            let after = self.only_reader(id).filter(|&next| is_pointwise(next));
            let nodes = |with: [bool; 2]| -> Vec<NodeId> {
                let before = before.filter(|_| with[0]);
                before.into_iter().chain([id]).chain(after.filter(|_| with[1])).collect()
            };
            let candidates = [[true, true], [true, false], [false, true]].map(nodes);
            chains.extend(candidates.into_iter().find_map(|nodes| self.chain(nodes, schedules)));
        }
        chains
    }

    /// The only node that reads a result, if that reads it as its image and nothing else does.
    fn only_reader(&self, id: NodeId) -> Option<NodeId> {
        let (reader, input) = self.graph.only_user(Value::from(id))?;
        (input == 0).then_some(reader)
    }

    /// Whether nodes are worth computing together, and in what strips.
    fn chain(&self, nodes: Vec<NodeId>, schedules: &Schedules) -> Option<Chain> {
        let (last, between) = nodes.split_last()?;
        let shape = |id: NodeId| self.graph.node(id).outputs[0].shape.dims();
        let &[1, height, width, _] = shape(*last) else { return None };
        let bytes: usize = between.iter().map(|&id| self.graph.node(id).outputs[0].bytes()).sum();
        if between.is_empty() || bytes <= self.cache {
            return None;
        }
        // Bytes of all that a row of the result has between the nodes, and the rows that windows need beyond theirs.
        let per_row: usize = bytes / height.max(1);
        let mut halo = 0;
        let mut halo_bytes = 0;
        for &id in &nodes {
            let Op::Conv(conv) = &self.graph.node(id).op else { return None };
            let window = self.graph.ty(self.graph.inputs(id)[1]).shape[2];
            let rows = ((window - 1) * conv.dilations[0] + 1).saturating_sub(conv.strides[0]);
            if rows > 0 && id != nodes[0] {
                let image = self.graph.ty(self.graph.inputs(id)[0]);
                halo = rows;
                halo_bytes = rows * (image.bytes() / image.shape[1].max(1));
            }
        }
        let weights: usize = nodes.iter().map(|&id| self.graph.ty(self.graph.inputs(id)[1]).bytes()).sum();
        let room = (self.cache / 2).checked_sub(halo_bytes)?;
        let most = (room / per_row.max(1)).min(height);
        // Every strip reads all weights again; what it saves is to write and read what is between.
        if most == 0 || weights * height.div_ceil(most) > 2 * bytes {
            return None;
        }
        let unit = nodes.iter().find_map(|id| match schedules.nodes.get(id) {
            Some(Schedule::Gemm(tile)) => Some(tile.rows),
            _ => None,
        });
        let cycles = nodes.iter().filter_map(|&id| Some(self.cycles(id, *schedules.nodes.get(&id)?))).sum();
        // Each part but the first computes the rows above it again.
        let most_parts = 1 + height / (halo * REPEATED).max(1);
        let parts = self.parts(cycles, most_parts);
        if parts < 2 && self.parts(cycles, usize::MAX) > 1 {
            // Work for several threads would become work for one.
            return None;
        }
        let rows = strip(most, height.div_ceil(parts), width, unit.unwrap_or(1));
        (rows < height || parts > 1).then_some(Chain { nodes, rows, parts })
    }
}

/// Rows of a strip: at most `most`, such that few positions of tiles of `unit` and of the last strip are idle.
fn strip(most: usize, height: usize, width: usize, unit: usize) -> usize {
    let most = most.min(height).max(1);
    let idle = |rows: usize| {
        let positions = |rows: usize| (rows * width).div_ceil(unit) * unit;
        let (whole, rest) = (height / rows, height % rows);
        whole * positions(rows) + positions(rest)
    };
    (most.div_ceil(2)..=most).rev().min_by_key(|&rows| idle(rows)).unwrap_or(most)
}
