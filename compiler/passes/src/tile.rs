//! Tiles: which block of a result a microkernel keeps in registers, by a model of its cycles.
//!
//! Arithmetic, loads and the latency of sums bound one step of the reduction; each block costs its epilogue besides. The
//! blocks at the end of rows and of channels, which are smaller, are counted too, so that a tile which leaves no rest
//! wins over a larger one that does.

use avocet_ir::schedule::{Outer, Tile};

use crate::schedule::Machine;

/// Cycles until the result of a multiply-add can be added to: with fewer accumulators than this times the issue rate, the
/// unit waits.
const LATENCY: usize = 4;
/// Most positions, and most vectors, of a tile: more is code size without gain.
const MOST_ROWS: usize = 14;
const MOST_VECTORS: usize = 8;
/// Narrowest vectors that a tile may have instead of the machine's widest, where that leaves fewer lanes empty.
const NARROWEST: usize = 4;
/// Bytes after which lines fall into the same set of the first cache, on nearly all processors: a page. Rows whose
/// distance is a multiple of it, or of a half, a quarter and so on, share few sets.
const SET_PERIOD: usize = 4096;
/// A cache line.
const LINE: usize = 64;
/// Rows of one set that stay in the first cache (it has 8 ways or more) while weights pass by.
const ROWS_IN_SET: usize = 6;
/// Loads that a load from the second cache costs.
const SECOND_CACHE: usize = 4;
/// A tile of narrower vectors costs more by one in so many, so that it must leave clearly fewer lanes empty. With 512 bits in
/// two halves, as on Zen 4, the rates are the same for 16 channels in one vector or in two, and one was measured to be
/// faster by a sixth.
const NARROWER: usize = 16;
/// Loads beside multiply-adds hinder those now and then: a cycle of loads costs one in so many, hidden or not. 5x5 and 9x3
/// vectors of 16 lanes are 3 to 7 % faster than 14x2 where sums are short.
const HINDRANCE: usize = 16;
/// Cycles of a block's epilogue for each of its vectors, and for itself.
const EPILOGUE: usize = 2;
const BLOCK: usize = 8;

/// A product to be computed: `rows` positions, `columns` channels, sums of `inner` terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
    /// Bytes between positions in memory.
    pub(crate) stride: usize,
}

/// The cheapest tile that fits the registers.
pub(crate) fn tile(product: Product, machine: &Machine) -> Tile {
    cheapest(product, machine, tiles(product, machine))
}

/// The cheapest one of the widest vectors.
pub(crate) fn widest(product: Product, machine: &Machine) -> Tile {
    cheapest(product, machine, tiles(product, machine).filter(|tile| tile.lanes == machine.lanes))
}

fn cheapest(product: Product, machine: &Machine, tiles: impl Iterator<Item = Tile>) -> Tile {
    let mut best = (usize::MAX, Tile::new(1, 1, machine.lanes));
    for tile in tiles {
        let cost = cost(product, tile, machine);
        // Of equal ones the wider, then the larger: fewer trips through the outer loops.
        let larger = tile.lanes == best.1.lanes && cost == best.0;
        if cost < best.0 || larger {
            best = (cost, tile);
        }
    }
    best.1
}

/// All tiles that a product can have, the widest first.
pub(crate) fn tiles(product: Product, machine: &Machine) -> impl Iterator<Item = Tile> {
    widths(machine).flat_map(move |lanes| {
        let vectors = product.columns.div_ceil(lanes).max(1);
        let sizes = (1..=MOST_ROWS.min(product.rows.max(1)))
            .flat_map(move |rows| (1..=MOST_VECTORS.min(vectors)).map(move |vectors| (rows, vectors)));
        sizes
            .map(move |(rows, vectors)| Tile::new(rows, vectors, lanes))
            .filter(move |&tile| fits(tile, machine))
    })
}

/// Whether a machine can have a tile: its registers hold the sums, one vector of weights for each vector, and one pixel.
pub(crate) fn fits(tile: Tile, machine: &Machine) -> bool {
    (1..=MOST_ROWS).contains(&tile.rows)
        && (1..=MOST_VECTORS).contains(&tile.vectors)
        && widths(machine).any(|lanes| lanes == tile.lanes)
        && tile.rows * tile.vectors + tile.vectors < machine.registers
}

/// Lanes of the vectors that there is a choice of, the widest first.
pub(crate) fn widths(machine: &Machine) -> impl Iterator<Item = usize> + use<> {
    let narrowest = NARROWEST.min(machine.lanes).max(1);
    let narrower = |lanes: &usize| Some(lanes / 2);
    std::iter::successors(Some(machine.lanes), narrower).take_while(move |&lanes| lanes >= narrowest)
}

/// Order of the tiles: all weights pass by for each block of positions only while they fit in half of the second cache.
pub(crate) fn outer(weight_bytes: usize, machine: &Machine) -> Outer {
    if weight_bytes <= machine.l2 / 2 { Outer::Positions } else { Outer::Channels }
}

/// Cycles for the whole product, in units of `1 / (multiply_add * loads)` of the tile's vectors.
pub(crate) fn cost(product: Product, tile: Tile, machine: &Machine) -> usize {
    // Vectors of half the width go through the same units twice as often, two a cycle at most.
    let narrower = machine.lanes / tile.lanes;
    let multiply_add = (machine.multiply_add * narrower).min(machine.multiply_add.max(2));
    let loads = (machine.loads * narrower).min(machine.loads.max(2));
    let unit = multiply_add * loads;
    let block = |rows: usize, vectors: usize| {
        if rows * vectors == 0 {
            return 0;
        }
        let arithmetic = rows * vectors * loads;
        let in_set = rows.div_ceil(sets(product.stride));
        let load = if in_set > ROWS_IN_SET { SECOND_CACHE } else { 1 };
        let memory = (rows * load + vectors) * multiply_add;
        let step = HINDRANCE * arithmetic.max(memory).max(LATENCY * unit) + memory;
        product.inner * step + HINDRANCE * end_of_block(rows * vectors) * unit
    };
    let vectors = product.columns.div_ceil(tile.lanes).max(1);
    let (whole_rows, rest_rows) = (product.rows / tile.rows, product.rows % tile.rows);
    let (whole_vectors, rest_vectors) = (vectors / tile.vectors, vectors % tile.vectors);
    let total = whole_rows * whole_vectors * block(tile.rows, tile.vectors)
        + whole_vectors * block(rest_rows, tile.vectors)
        + whole_rows * block(tile.rows, rest_vectors)
        + block(rest_rows, rest_vectors);
    // In the same units for all widths. The narrower take more instructions than the units' rates tell.
    let total = total * 4 / (HINDRANCE * unit);
    if narrower > 1 { total + total / NARROWER } else { total }
}

/// Cycles of what follows the sums of a block of so many vectors.
pub(crate) fn end_of_block(vectors: usize) -> usize {
    EPILOGUE * vectors + BLOCK
}

/// Sets of the first cache that rows at this distance fall into.
pub(crate) fn sets(stride: usize) -> usize {
    // The largest power of two that divides the distance, or what it leaves of the period.
    let power = if stride == 0 { LINE } else { 1 << stride.trailing_zeros().min(usize::BITS - 1) };
    SET_PERIOD / power.clamp(LINE, SET_PERIOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSE: Machine = Machine {
        lanes: 4,
        registers: 16,
        multiply_add: 2,
        loads: 2,
        l2: 1 << 20,
        permutes: true,
        strassen: true,
    };
    const AVX2: Machine = Machine { lanes: 8, ..SSE };
    const AVX512: Machine = Machine { lanes: 16, registers: 32, multiply_add: 1, loads: 1, ..SSE };

    fn of(rows: usize, columns: usize, inner: usize, machine: &Machine) -> Tile {
        tile(Product { rows, columns, inner, stride: inner * 4 }, machine)
    }

    #[test]
    fn large_products_fill_the_registers() {
        for machine in [&SSE, &AVX2, &AVX512] {
            let tile = of(3136, 96, 64, machine);
            assert!(tile.rows * tile.vectors >= machine.registers * 9 / 16, "{tile}");
            assert!(tile.rows * tile.vectors + tile.vectors < machine.registers, "{tile}");
        }
    }

    #[test]
    fn one_row_gets_many_vectors() {
        assert_eq!(of(1, 1000, 1280, &SSE), Tile::new(1, 7, 4));
    }

    #[test]
    fn small_results_get_small_tiles() {
        assert_eq!(of(1, 3, 10, &SSE), Tile::new(1, 1, 4));
        // Blocks of four rows and three.
        assert_eq!(of(7, 16, 64, &SSE), Tile::new(4, 2, 4));
    }

    #[test]
    fn half_empty_vectors_are_avoided() {
        assert_eq!(of(3136, 24, 144, &AVX512).lanes, 8);
        assert_eq!(of(3136, 32, 144, &AVX512).lanes, 16);
        assert_eq!(of(3136, 16, 32, &AVX512).lanes, 16);
    }

    #[test]
    fn rows_that_share_a_set_are_few() {
        assert!(of(196, 512, 1024, &AVX512).rows <= 6);
        let tile = Tile::new(14, 2, 16);
        let with = |stride| cost(Product { rows: 196, columns: 512, inner: 1000, stride }, tile, &AVX512);
        assert!(with(4096) > with(4000));
        assert_eq!([sets(4096), sets(2048), sets(64), sets(4), sets(0)], [1, 2, 64, 64, 64]);
    }

    #[test]
    fn weights_that_do_not_fit_are_fetched_once() {
        assert_eq!(outer(100 << 10, &AVX2), Outer::Positions);
        assert_eq!(outer(1 << 20, &AVX2), Outer::Channels);
    }
}
