//! Whether a matrix product goes by Strassen's method, and with which tile: the estimate of cycles, as in [`crate::tile`].
//!
//! Seven products of half as many rows, columns and terms stand for one. Besides, sums of quarters of the left operand are
//! made, the sums of a block go to the first cache and back, and the weights are seven quarters of what they were: so the
//! method must save clearly more than nothing. Of what it was measured on with AVX-512 (mobilenetv1, resnet50, deit_tiny,
//! mobilenet_v2 and efficientnet_b0) products of 128 channels and more on 14x14 pixels and more became faster by a tenth,
//! those of fewer channels by 0 to 5 % only, and those on 7x7 pixels by -4 to 5 %.

use avocet_ir::schedule::{Schedule, Tile};
use avocet_ir::{Graph, NodeId};

use crate::family::{Kind, Products, STORE, UNIT, traffic};
use crate::schedule::Machine;
use crate::tile::{self, Product};

/// Sums that are stored for a vector of each quarter of the left operand; loads and additions go beside the stores.
const SUMS: usize = 4;
/// Cycles for a vector of a quarter of the result that goes to the first cache and back: three stores, four loads.
const KEPT: usize = 8;
/// The least that the method must save, as one in so many.
const LEAST_GAIN: usize = 16;

/// The fastest schedule of a product by this method, or `None` where it does not apply or the plain way, of this cost, is
/// faster.
pub(crate) fn choose(
    graph: &Graph,
    id: NodeId,
    products: &Products,
    plain: usize,
    machine: &Machine,
) -> Option<Schedule> {
    candidates(graph, id, products, machine)
        .into_iter()
        .filter(|&(cost, _)| cost < plain - plain / LEAST_GAIN)
        .min_by_key(|&(cost, _)| cost)
        .map(|(_, schedule)| schedule)
}

/// Costs of all schedules by this method; none where it does not apply.
pub(crate) fn candidates(
    graph: &Graph,
    id: NodeId,
    products: &Products,
    machine: &Machine,
) -> Vec<(usize, Schedule)> {
    let Some(quarter) = quarter(graph, id, products, machine) else { return Vec::new() };
    let order = tile::outer(weight_bytes(products), machine);
    tile::tiles(quarter, machine)
        .map(|tile| {
            (cost(quarter, tile, products, machine), Schedule::Strassen(Tile { outer: order, ..tile }))
        })
        .collect()
}

/// Whether a node can be computed so.
pub(crate) fn fits(graph: &Graph, id: NodeId, products: &Products, tile: Tile, machine: &Machine) -> bool {
    quarter(graph, id, products, machine).is_some() && tile::fits(tile, machine)
}

/// The product of quarters.
fn quarter(graph: &Graph, id: NodeId, products: &Products, machine: &Machine) -> Option<Product> {
    let Products { kind: Kind::Gemm, product, times: 1, .. } = *products else { return None };
    if !machine.strassen {
        return None;
    }
    graph.as_constant(graph.inputs(id)[1])?.as_f32()?;
    let Product { rows, columns, inner, stride } = product;
    let halves = rows >= 2 && columns.is_multiple_of(2) && inner.is_multiple_of(2) && inner > 0;
    halves.then_some(Product { rows: rows.div_ceil(2), columns: columns / 2, inner: inner / 2, stride })
}

/// Bytes of the right operands of all products.
fn weight_bytes(products: &Products) -> usize {
    products.weight_bytes.saturating_mul(7) / 4
}

fn cost(quarter: Product, tile: Tile, products: &Products, machine: &Machine) -> usize {
    let vectors = |along: usize| quarter.rows.saturating_mul(along.div_ceil(tile.lanes));
    let all = tile::cost(quarter, tile, machine).saturating_mul(7);
    all.saturating_add(vectors(quarter.inner).saturating_mul(SUMS * STORE * UNIT))
        .saturating_add(vectors(quarter.columns).saturating_mul(KEPT * UNIT))
        .saturating_add(traffic(weight_bytes(products)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{ScheduleOptions, schedule};
    use crate::testing::{AVX2, AVX512, Network};
    use crate::tests::compiled;
    use avocet_ir::schedule::Schedules;

    /// How a pointwise convolution of so many pixels is computed.
    fn of(edge: usize, inputs: usize, outputs: usize, machine: &Machine, exact: bool) -> Schedule {
        let mut net = Network::new();
        let x = net.input("x", [1, inputs, edge, edge]);
        let y = net.conv(x, outputs, 1, 1, 1);
        let graph = compiled(&net.finish(y));
        let Schedules { nodes, .. } = schedule(&graph, machine, ScheduleOptions { exact }).expect("acyclic");
        nodes.into_values().find(|schedule| schedule.product().is_some()).expect("a product")
    }

    /// Where it was measured to be faster by a tenth, and where by little or not at all.
    #[test]
    fn large_products() {
        for (edge, inputs, outputs, expected) in [
            (14, 512, 512, true),
            (14, 1024, 256, true),
            (28, 128, 512, true),
            (56, 128, 128, true),
            (14, 64, 384, false),
            (28, 40, 240, false),
            (7, 160, 960, false),
            (14, 511, 512, false),
            (14, 512, 511, false),
            (1, 512, 512, false),
        ] {
            let schedule = of(edge, inputs, outputs, &AVX512, false);
            let is = matches!(schedule, Schedule::Strassen(_));
            assert_eq!(is, expected, "{edge} {inputs} {outputs} {schedule}");
        }
        assert!(matches!(of(14, 512, 512, &AVX2, false), Schedule::Strassen(_)));
    }

    #[test]
    fn plain_sums_when_asked_for_or_where_the_method_does_not_pay() {
        assert!(matches!(of(14, 512, 512, &AVX512, true), Schedule::Gemm(_)));
        let machine = Machine { strassen: false, ..AVX512 };
        assert!(matches!(of(14, 512, 512, &machine, false), Schedule::Gemm(_)));
    }
}
