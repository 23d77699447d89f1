//! Choices that were measured instead of estimated: which schedules of a node are worth measuring, which are possible at
//! all, and how choices take the place of the model's.
//!
//! Whoever measures lists [`candidates`] of each layer and keeps the best; [`apply`] puts such choices into the schedules
//! of a graph. They may come from a file, so each is checked against its node and the machine first: one that is not
//! possible is left out and told, never used.

use std::collections::BTreeMap;

use avocet_ir::schedule::{Outer, Schedule, Schedules, Tile};
use avocet_ir::{Graph, NodeId};
use thiserror::Error;

use crate::family::{self, Family, Kind, Products, UNIT};
use crate::schedule::{Machine, ScheduleOptions, choose};
use crate::{strassen, tile, winograd};

/// A schedule that a node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The schedule.
    pub schedule: Schedule,
    /// The model's estimate of its cycles.
    pub cycles: u64,
}

/// Why a schedule can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// Its kernels don't compute this operator.
    #[error("no such kernel computes this layer")]
    Family,
    /// It is not possible on the machine, or for sizes like these.
    #[error("it does not fit this layer and machine")]
    Size,
    /// It rounds otherwise than plain sums do.
    #[error("it is not exact")]
    Exact,
}

/// A choice that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Name of the node.
    pub node: String,
    /// The choice.
    pub schedule: Schedule,
    /// Why not.
    pub problem: Unfit,
}

/// What became of choices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Nodes that have a choice's schedule now.
    pub nodes: usize,
    /// Choices that are not possible; their nodes keep the model's.
    pub refused: Vec<Refused>,
}

/// Puts choices, by the layers' text ([`Graph::layer_text`]), in place of the model's.
pub fn apply(
    graph: &Graph,
    schedules: &mut Schedules,
    machine: &Machine,
    options: ScheduleOptions,
    choices: &BTreeMap<String, Schedule>,
) -> Applied {
    let mut applied = Applied::default();
    if choices.is_empty() {
        return applied;
    }
    for (&id, inner) in &mut schedules.regions {
        for (region, schedules) in graph.node(id).op.regions().into_iter().zip(inner) {
            let within = apply(region.graph(), schedules, machine, options, choices);
            applied.nodes += within.nodes;
            applied.refused.extend(within.refused);
        }
    }
    for (&id, schedule) in &mut schedules.nodes {
        let Some(&choice) = choices.get(&graph.layer_text(id)) else { continue };
        if *schedule == Schedule::Alias {
            // Without code here, if not where it was measured.
            continue;
        }
        match check(graph, id, choice, machine, options) {
            Ok(()) => {
                applied.nodes += 1;
                *schedule = choice;
            }
            Err(problem) => {
                let node = graph.node(id).name.clone();
                applied.refused.push(Refused { node, schedule: choice, problem });
            }
        }
    }
    applied
}

/// Whether a node can be computed so on a machine, whoever says that it should.
pub fn check(
    graph: &Graph,
    id: NodeId,
    schedule: Schedule,
    machine: &Machine,
    options: ScheduleOptions,
) -> Result<(), Unfit> {
    let fits = match (family::family(graph, id, machine), schedule) {
        (Some(Family::Alias), Schedule::Alias) => true,
        (Some(Family::Vector { .. }), Schedule::Vector { lanes }) => {
            tile::widths(machine).any(|width| width == lanes)
        }
        (Some(Family::Windows(windows)), Schedule::Depthwise(tile) | Schedule::PackedGroups(tile))
            if windows.schedule(tile) == schedule =>
        {
            windows.fits(tile, machine)
        }
        (Some(Family::Products(Products { kind: Kind::Gemm, .. })), Schedule::Gemm(tile))
        | (Some(Family::Products(Products { kind: Kind::Direct, .. })), Schedule::Direct(tile))
        | (Some(Family::Products(Products { kind: Kind::Grouped, .. })), Schedule::Grouped(tile)) => {
            tile::fits(tile, machine)
        }
        (Some(Family::Products(products @ Products { kind: Kind::Gemm, .. })), Schedule::Strassen(tile)) => {
            if options.exact {
                return Err(Unfit::Exact);
            }
            strassen::fits(graph, id, &products, tile, machine)
        }
        (Some(Family::Products(Products { kind: Kind::Direct, .. })), Schedule::Winograd(schedule)) => {
            if options.exact {
                return Err(Unfit::Exact);
            }
            winograd::fits(graph, id, &schedule, machine)
        }
        _ => return Err(Unfit::Family),
    };
    if fits { Ok(()) } else { Err(Unfit::Size) }
}

/// Up to `most` schedules of a node that are worth measuring. The model's choice is the first; half of the others are those
/// that the model takes for the fastest, the rest is spread over widths, orders and methods. Inputs, constants and nodes
/// without code have none.
pub fn candidates(
    graph: &Graph,
    id: NodeId,
    machine: &Machine,
    options: ScheduleOptions,
    most: usize,
) -> Vec<Candidate> {
    let Some(family) = family::family(graph, id, machine) else { return Vec::new() };
    let mut all: Vec<(usize, Schedule)> = match family {
        Family::Alias | Family::Attention(_) => return Vec::new(),
        Family::Vector { bytes } => {
            let cost = family::moved(bytes);
            tile::widths(machine).map(|lanes| (cost, Schedule::Vector { lanes })).collect()
        }
        Family::Windows(windows) => {
            let tiles = windows.tiles(machine);
            tiles.map(|tile| (windows.cost(tile, machine), windows.schedule(tile))).collect()
        }
        Family::Products(products) => {
            let tiles = tile::tiles(products.product, machine);
            tiles
                .flat_map(|tile| {
                    let cost = products.cost(tile, machine);
                    [Outer::Channels, Outer::Positions]
                        .map(|outer| (cost, products.kind.schedule(Tile { outer, ..tile })))
                })
                .collect()
        }
    };
    if let (Family::Products(products), false) = (family, options.exact) {
        all.extend(winograd::candidates(graph, id, machine));
        all.extend(strassen::candidates(graph, id, &products, machine));
    }
    let chosen = choose(graph, id, machine, options);
    let Some(own) = all.iter().position(|&(_, schedule)| Some(schedule) == chosen) else { return Vec::new() };
    let own = all.remove(own);
    // Of equal costs those in the model's order of tiles first.
    let order = |schedule: Schedule| outer(schedule) != outer(own.1);
    all.sort_by_key(|&(cost, schedule)| (cost, order(schedule)));
    let mut picked = vec![own];
    let kind = |schedule: Schedule| {
        let vectors = match schedule {
            Schedule::Gemm(tile)
            | Schedule::Strassen(tile)
            | Schedule::Direct(tile)
            | Schedule::Grouped(tile) => tile.vectors,
            Schedule::Winograd(winograd) => winograd.output,
            _ => 0,
        };
        (std::mem::discriminant(&schedule), schedule.lanes(), vectors, outer(schedule))
    };
    // The model knows little of the order of tiles: its choice in the other order is the first rival.
    let rival = all.iter().find(|&&(_, schedule)| same_but_order(schedule, own.1)).copied();
    picked.extend(rival);
    all.retain(|entry| !picked.contains(entry));
    let half = picked.len() + most.saturating_sub(picked.len()) / 2;
    // Half by cost, then the cheapest of each kind that is not there yet, then by cost again.
    let mut rest = Vec::new();
    for entry in all {
        let new = picked.iter().all(|&(_, known)| kind(known) != kind(entry.1));
        if picked.len() < half || (new && picked.len() < most) {
            picked.push(entry)
        } else {
            rest.push(entry)
        }
    }
    picked.extend(rest);
    picked.truncate(most.max(1));
    picked.into_iter().map(|(cost, schedule)| Candidate { schedule, cycles: (cost / UNIT) as u64 }).collect()
}

/// The order of a schedule's tiles.
fn outer(schedule: Schedule) -> Option<Outer> {
    match schedule {
        Schedule::Gemm(tile)
        | Schedule::Strassen(tile)
        | Schedule::Direct(tile)
        | Schedule::Depthwise(tile)
        | Schedule::Grouped(tile)
        | Schedule::PackedGroups(tile) => Some(tile.outer),
        Schedule::Winograd(_) | Schedule::Attention(_) | Schedule::Vector { .. } | Schedule::Alias => None,
    }
}

/// Whether schedules differ in the order of their tiles and in nothing else.
fn same_but_order(one: Schedule, other: Schedule) -> bool {
    let plain = |tile: Tile| Tile { outer: Outer::Channels, ..tile };
    match (one, other) {
        (Schedule::Gemm(a), Schedule::Gemm(b))
        | (Schedule::Strassen(a), Schedule::Strassen(b))
        | (Schedule::Direct(a), Schedule::Direct(b))
        | (Schedule::Grouped(a), Schedule::Grouped(b))
        | (Schedule::Depthwise(a), Schedule::Depthwise(b))
        | (Schedule::PackedGroups(a), Schedule::PackedGroups(b)) => a != b && plain(a) == plain(b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::schedule::Winograd;

    use super::*;
    use crate::schedule::schedule;
    use crate::testing::{AVX2, Network};

    const PLAIN: ScheduleOptions = ScheduleOptions { exact: false };

    /// A 3x3 convolution, a depthwise one, a pointwise one and a pooling, after all passes.
    fn network() -> Graph {
        let mut net = Network::new();
        let x = net.input("image", [1, 32, 28, 28]);
        let y = net.conv(x, 64, 3, 1, 1);
        let y = net.conv(y, 64, 3, 1, 64);
        let y = net.conv(y, 40, 1, 1, 1);
        let y = net.max_pool(y);
        let graph = net.finish(y);
        crate::tests::compiled(&graph)
    }

    #[test]
    fn every_candidate_is_possible_and_the_first_is_the_models() {
        let graph = network();
        let schedules = schedule(&graph, &AVX2, PLAIN).expect("acyclic");
        for (&id, &chosen) in &schedules.nodes {
            for most in [1, 2, 12, 1000] {
                let candidates = candidates(&graph, id, &AVX2, PLAIN, most);
                if chosen == Schedule::Alias {
                    assert_eq!(candidates, []);
                    continue;
                }
                assert_eq!(candidates[0].schedule, chosen);
                assert!(candidates.len() <= most);
                for (place, candidate) in candidates.iter().enumerate() {
                    assert_eq!(check(&graph, id, candidate.schedule, &AVX2, PLAIN), Ok(()), "{candidate:?}");
                    assert!(candidates[..place].iter().all(|c| c.schedule != candidate.schedule));
                }
            }
        }
    }

    #[test]
    fn candidates_are_spread() {
        let graph = network();
        let of = |name: &str| {
            let id = graph.ids().find(|&id| family_name(&graph, id) == name).expect("there");
            candidates(&graph, id, &AVX2, PLAIN, 14)
        };
        let direct = of("direct");
        let winograd = |c: &Candidate| matches!(c.schedule, Schedule::Winograd(_));
        assert!(direct.iter().any(winograd) && !direct.iter().all(winograd), "{direct:?}");
        let pointwise = of("gemm");
        let narrow = pointwise.iter().any(|c| c.schedule.lanes() == 4);
        let orders = [Outer::Positions, Outer::Channels]
            .map(|order| pointwise.iter().any(|c| outer(c.schedule) == Some(order)));
        assert!(narrow && orders == [true, true], "{pointwise:?}");
    }

    fn family_name(graph: &Graph, id: NodeId) -> &'static str {
        match family::family(graph, id, &AVX2) {
            Some(Family::Products(Products { kind: Kind::Gemm, .. })) => "gemm",
            Some(Family::Products(Products { kind: Kind::Direct, .. })) => "direct",
            _ => "other",
        }
    }

    #[test]
    fn what_is_not_possible_is_refused() {
        let graph = network();
        let id = |name| graph.ids().find(|&id| family_name(&graph, id) == name).expect("there");
        let (direct, gemm) = (id("direct"), id("gemm"));
        let is = |id, text: &str, options| {
            let schedule: Schedule = text.parse().expect("a schedule");
            check(&graph, id, schedule, &AVX2, options)
        };
        assert_eq!(is(gemm, "gemm 4x2x8 positions", PLAIN), Ok(()));
        for text in [
            "gemm 0x2x8 positions",
            "gemm 4x0x8 positions",
            "gemm 4x2x0 positions",
            "gemm 4x2x16 positions",
            "gemm 4x2x7 positions",
            "gemm 4x2x1 positions",
            "gemm 7x2x8 positions",
            "gemm 18446744073709551615x2x8 positions",
            "gemm 2x18446744073709551615x8 positions",
        ] {
            assert_eq!(is(gemm, text, PLAIN), Err(Unfit::Size), "{text}");
        }
        for text in ["alias", "vector 8", "direct 4x2x8 positions", "depthwise 4x1x8 channels"] {
            assert_eq!(is(gemm, text, PLAIN), Err(Unfit::Family), "{text}");
        }
        let winograd = "winograd 4x4 6x2x8 channels strips 2 panels 1";
        assert_eq!(is(direct, winograd, PLAIN), Ok(()));
        assert_eq!(is(direct, winograd, ScheduleOptions { exact: true }), Err(Unfit::Exact));
        assert_eq!(is(gemm, winograd, PLAIN), Err(Unfit::Family));
        for text in [
            "winograd 3x3 6x2x8 channels strips 2 panels 1",
            "winograd 4x4 6x2x8 channels strips 0 panels 1",
            "winograd 4x4 6x2x8 channels strips 99 panels 1",
            "winograd 4x4 6x2x8 channels strips 2 panels 0",
            "winograd 4x4 6x2x8 channels strips 2 panels 99",
            "winograd 4x4 9x9x8 channels strips 2 panels 1",
        ] {
            assert_eq!(is(direct, text, PLAIN), Err(Unfit::Size), "{text}");
        }
    }

    #[test]
    fn choices_take_the_place_of_the_models() {
        let graph = network();
        let id = graph.ids().find(|&id| family_name(&graph, id) == "direct").expect("there");
        let mut schedules = schedule(&graph, &AVX2, PLAIN).expect("acyclic");
        let before = schedules.clone();
        let tile = Tile::new(2, 1, 8);
        let good = Schedule::Winograd(Winograd { tile, output: 2, rows: 3, panels: 2 });
        let apply = |schedules: &mut Schedules, choice| {
            let choices = [(graph.layer_text(id), choice), ("another layer".into(), choice)].into();
            apply(&graph, schedules, &AVX2, PLAIN, &choices)
        };
        let bad = Schedule::Depthwise(tile);
        let applied = apply(&mut schedules, bad);
        let node = graph.node(id).name.clone();
        let refused = vec![Refused { node, schedule: bad, problem: Unfit::Family }];
        assert_eq!((applied, &schedules), (Applied { nodes: 0, refused }, &before));
        assert_eq!(apply(&mut schedules, good), Applied { nodes: 1, refused: Vec::new() });
        assert_eq!(schedules.nodes.get(&id), Some(&good));
    }
}
