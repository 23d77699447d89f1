//! Weights packed once for several sizes of a network.
//!
//! Each size has schedules of its own, and weights are packed as the schedule reads them. Where the model's choices for two
//! sizes differ in nothing but a little speed, the smaller one does as the larger does, so that both read the same weights:
//! else a library of many sizes would hold them many times.

use avocet_ir::Graph;
use avocet_ir::schedule::{Schedule, Schedules};

use crate::schedule::{Machine, ScheduleOptions};
use crate::tuned::candidates;

/// How much longer a node may take for it, as a part of its time: a quarter.
const WORTH: u64 = 4;

/// What the packing of a node's weights depends on.
fn packing(schedule: Schedule) -> Option<(std::mem::Discriminant<Schedule>, usize, usize)> {
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

/// Lets nodes of a graph have the packing that those of `other`, the same network at another size, have.
pub fn share_packing(
    (graph, schedules): (&Graph, &mut Schedules),
    other: (&Graph, &Schedules),
    machine: &Machine,
    options: ScheduleOptions,
) {
    let (Ok(order), Ok(twins)) = (graph.topological(), other.0.topological()) else { return };
    let alike = order.len() == twins.len()
        && order.iter().zip(&twins).all(|(&a, &b)| graph.node(a).op.name() == other.0.node(b).op.name());
    if !alike {
        return;
    }
    for (id, twin) in order.into_iter().zip(twins) {
        if let (Some(inner), Some(others)) = (schedules.regions.get_mut(&id), other.1.regions.get(&twin)) {
            let regions = graph.node(id).op.regions().into_iter().zip(other.0.node(twin).op.regions());
            for (((region, twin), inner), other) in regions.zip(inner).zip(others) {
                share_packing((region.graph(), inner), (twin.graph(), other), machine, options);
            }
            continue;
        }
        let (Some(&own), Some(&theirs)) = (schedules.nodes.get(&id), other.1.nodes.get(&twin)) else {
            continue;
        };
        let weights = graph.inputs(id).get(1).is_some_and(|&value| graph.as_constant(value).is_some());
        let Some(wanted) = packing(theirs).filter(|wanted| weights && packing(own) != Some(*wanted)) else {
            continue;
        };
        // What a node reads as planes, only direct convolutions do.
        let planes = graph.inputs(id).iter().any(|value| schedules.views.contains_key(&value.node));
        if planes && std::mem::discriminant(&own) != wanted.0 {
            continue;
        }
        let all = candidates(graph, id, machine, options, usize::MAX);
        let Some(most) = all.iter().find(|c| c.schedule == own).map(|c| c.cycles + c.cycles / WORTH) else {
            continue;
        };
        let fitting = all.iter().filter(|c| packing(c.schedule) == Some(wanted) && c.cycles <= most);
        if let Some(best) = fitting.min_by_key(|c| c.cycles) {
            schedules.nodes.insert(id, best.schedule);
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
    fn small_sizes_read_the_weights_of_large_ones() {
        let large = network(28);
        let options = ScheduleOptions::default();
        let theirs = schedule(&large, &AVX512, options).expect("acyclic");
        let packed = |schedules: &Schedules| -> Vec<_> {
            schedules.nodes.values().filter_map(|&schedule| packing(schedule)).collect()
        };
        let mut differed = 0;
        for edge in 3..12 {
            let small = network(edge);
            let mut own = schedule(&small, &AVX512, options).expect("acyclic");
            differed += usize::from(packed(&own) != packed(&theirs));
            share_packing((&small, &mut own), (&large, &theirs), &AVX512, options);
            let same = packed(&own).iter().zip(packed(&theirs)).filter(|(a, b)| **a == *b).count();
            assert!(same > 0, "{edge}: {own:?}");
        }
        assert!(differed > 0, "there was nothing to share");
    }
}
