//! Weights packed once for several sizes of a network.
//!
//! Each size has schedules of its own, and weights are packed as the schedule reads them. Where the model's choice for a size
//! differs from what another size has already in nothing but a little speed, it does as that one does, so that both read the
//! same weights: else a library of many sizes would hold them many times.

use std::collections::HashMap;

use avocet_ir::Graph;
use avocet_ir::schedule::{Schedule, Schedules};

use crate::schedule::{Machine, ScheduleOptions};
use crate::tuned::candidates;

/// How much longer a node may take for it, as a part of its time: a quarter.
const WORTH: u64 = 4;

/// What the packing of a node's weights depends on: the method, what it has beside tiles, and the width of panels.
type Packing = (std::mem::Discriminant<Schedule>, usize, usize);

fn packing(schedule: Schedule) -> Option<Packing> {
    let (method, width) = match schedule {
        Schedule::Gemm(tile)
        | Schedule::Strassen(tile)
        | Schedule::Direct(tile)
        | Schedule::Grouped(tile)
        | Schedule::PackedGroups(tile) => (0, tile.width()),
        Schedule::Winograd(winograd) => (winograd.output, winograd.tile.width()),
        _ => return None,
    };
    Some((std::mem::discriminant(&schedule), method, width))
}

/// The packings that a network's weights have at the sizes so far, by the node's place in the graph and in regions.
#[derive(Clone, Debug, Default)]
pub struct Packings(HashMap<Vec<usize>, Vec<Packing>>);

impl Packings {
    /// Lets nodes of the network at another size have packings that are there, where that costs little, and notes those that
    /// are new.
    pub fn share(
        &mut self,
        graph: &Graph,
        schedules: &mut Schedules,
        machine: &Machine,
        options: ScheduleOptions,
    ) {
        self.share_at(&[], graph, schedules, machine, options);
    }

    fn share_at(
        &mut self,
        around: &[usize],
        graph: &Graph,
        schedules: &mut Schedules,
        machine: &Machine,
        options: ScheduleOptions,
    ) {
        for (number, id) in graph.topological().unwrap_or_default().into_iter().enumerate() {
            let place: Vec<usize> = around.iter().copied().chain([number]).collect();
            if let Some(inner) = schedules.regions.get_mut(&id) {
                for (number, (region, inner)) in
                    graph.node(id).op.regions().into_iter().zip(inner).enumerate()
                {
                    let place: Vec<usize> = place.iter().copied().chain([number]).collect();
                    self.share_at(&place, region.graph(), inner, machine, options);
                }
                continue;
            }
            let weights = graph.inputs(id).get(1).is_some_and(|&value| graph.as_constant(value).is_some());
            let Some(&own) = schedules.nodes.get(&id).filter(|_| weights) else { continue };
            let Some(new) = packing(own) else { continue };
            let known = self.0.entry(place).or_default();
            if known.contains(&new) {
                continue;
            }
            // What a node reads as planes, only direct convolutions do.
            let planes = graph.inputs(id).iter().any(|value| schedules.views.contains_key(&value.node));
            let fits = |schedule: Schedule| {
                let other = packing(schedule).filter(|other| known.contains(other));
                other.is_some_and(|other| !planes || other.0 == new.0)
            };
            let all = candidates(graph, id, machine, options, usize::MAX);
            let most = all.iter().find(|c| c.schedule == own).map_or(0, |c| c.cycles + c.cycles / WORTH);
            let fitting = all.iter().filter(|c| fits(c.schedule) && c.cycles <= most);
            match fitting.min_by_key(|c| c.cycles) {
                Some(best) => {
                    schedules.nodes.insert(id, best.schedule);
                }
                None => known.push(new),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::schedule;
    use crate::testing::{AVX512, Network};
    use crate::tests::compiled;

    fn network(edge: usize) -> Graph {
        let mut net = Network::new();
        let x = net.input("image", [1, 96, edge, edge]);
        let y = net.conv(x, 200, 1, 1, 1);
        let y = net.relu(y);
        let y = net.conv(y, 72, 1, 1, 1);
        compiled(&net.finish(y))
    }

    #[test]
    fn many_sizes_have_few_packings() {
        let options = ScheduleOptions::default();
        let mut packings = Packings::default();
        let (mut alone, mut shared) = (Vec::new(), Vec::new());
        for edge in [28, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 20] {
            let graph = network(edge);
            let mut own = schedule(&graph, &AVX512, options).expect("acyclic");
            let packed = |schedules: &Schedules| -> Vec<Option<Packing>> {
                schedules.nodes.values().map(|&schedule| packing(schedule)).collect()
            };
            alone.push(packed(&own));
            packings.share(&graph, &mut own, &AVX512, options);
            shared.push(packed(&own));
        }
        let distinct = |mut all: Vec<Vec<Option<Packing>>>| {
            let mut seen: Vec<Vec<Option<Packing>>> = Vec::new();
            all.retain(|one| {
                !seen.contains(one) && {
                    seen.push(one.clone());
                    true
                }
            });
            all.len()
        };
        // The first size keeps what it would have alone.
        assert_eq!(alone[0], shared[0]);
        let (alone, shared) = (distinct(alone), distinct(shared));
        assert!(shared < alone, "{shared} packings of all weights instead of {alone}");
    }
}
