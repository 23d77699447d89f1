//! Places blocks with known lifetimes and sizes in as little memory as it finds.
//!
//! One placement goes through the blocks in some order and puts each into the best gap that the blocks placed before and
//! live at the same time leave. The order decides the quality: several are tried (by size, by area, by the breadth of
//! the busiest moments, by time), and the best is improved by moving blocks to the front of the order, first those that
//! stick out at the top. All of it is deterministic, with a fixed amount of work.

use std::cmp::Reverse;

/// Memory that is needed during the steps `start..=end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) start: usize,
    pub(super) end: usize,
    /// In bytes, a multiple of the alignment; the sum of all is at most `isize::MAX`.
    pub(super) size: usize,
}

impl Block {
    fn overlaps(&self, other: &Block) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) offsets: Vec<usize>,
    pub(super) bytes: usize,
}

/// Which of the gaps that a block fits in it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// The lowest.
    First,
    /// The smallest.
    Best,
}

/// Rounds of improvement for programs of up to a hundred blocks; larger ones get fewer, in proportion to the square of
/// their size, so that planning takes milliseconds.
const ROUNDS: usize = 3000;

/// Programs of more blocks than this, which no network has, get a single placement: each is quadratic.
const MANY: usize = 10_000;

/// Places the blocks; stops as soon as the result is as small as `lower_bound`.
pub(super) fn pack(blocks: &[Block], lower_bound: usize) -> Packed {
    let mut best: Option<(Packed, Vec<usize>, Fit)> = None;
    let tries = if blocks.len() > MANY { 1 } else { usize::MAX };
    for order in orders(blocks).into_iter().take(tries) {
        for fit in [Fit::Best, Fit::First] {
            let packed = place(blocks, &order, fit);
            if packed.bytes <= lower_bound {
                return packed;
            }
            if best.as_ref().is_none_or(|(b, ..)| packed.bytes < b.bytes) {
                best = Some((packed, order.clone(), fit));
            }
        }
    }
    match best {
        Some((packed, order, fit)) => improve(blocks, packed, order, fit, lower_bound),
        None => Packed { offsets: Vec::new(), bytes: 0 },
    }
}

/// The orders to try; ties by number, so that the result depends on nothing but the blocks.
fn orders(blocks: &[Block]) -> Vec<Vec<usize>> {
    let lifetime = |b: &Block| b.end - b.start + 1;
    let by = |key: &dyn Fn(&Block) -> (Reverse<usize>, usize)| {
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|&i| key(&blocks[i]));
        order
    };
    vec![
        by(&|b| (Reverse(b.size), b.start)),
        by(&|b| (Reverse(lifetime(b)), b.start)),
        by(&|b| (Reverse(b.size.saturating_mul(lifetime(b))), b.start)),
        by_breadth(blocks),
        by(&|b| (Reverse(0), b.start)),
        by(&|b| (Reverse(b.end), b.start)),
    ]
}

/// The blocks of the busiest step first, each step's by size (Pisarchyk and Lee, 2020: greedy by breadth).
fn by_breadth(blocks: &[Block]) -> Vec<usize> {
    let steps = blocks.iter().map(|b| b.end + 1).max().unwrap_or(0);
    // Change of the sum of live sizes at each step; summed up, the breadth.
    let mut change = vec![0isize; steps + 1];
    for block in blocks {
        change[block.start] += block.size as isize;
        change[block.end + 1] -= block.size as isize;
    }
    let mut breadth = 0;
    let breadths: Vec<isize> = change
        .into_iter()
        .map(|c| {
            breadth += c;
            breadth
        })
        .collect();
    let busiest = |b: &Block| breadths[b.start..=b.end].iter().max().copied();
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_cached_key(|&i| (Reverse(busiest(&blocks[i])), Reverse(blocks[i].size), i));
    order
}

/// Places the blocks in this order.
fn place(blocks: &[Block], order: &[usize], fit: Fit) -> Packed {
    let mut packed = Packed { offsets: vec![0; blocks.len()], bytes: 0 };
    // Placed blocks by ascending offset: gaps are found in one walk.
    let mut placed: Vec<usize> = Vec::with_capacity(blocks.len());
    for &i in order {
        let block = &blocks[i];
        let (mut end, mut chosen) = (0, None);
        for &j in placed.iter().filter(|&&j| blocks[j].overlaps(block)) {
            let gap = packed.offsets[j].saturating_sub(end);
            let better = chosen.is_none_or(|(smallest, _)| fit == Fit::Best && gap < smallest);
            if gap >= block.size && better {
                chosen = Some((gap, end));
            }
            end = end.max(packed.offsets[j] + blocks[j].size);
        }
        let offset = chosen.map_or(end, |(_, offset)| offset);
        packed.offsets[i] = offset;
        packed.bytes = packed.bytes.max(offset + block.size);
        let at = placed.partition_point(|&j| packed.offsets[j] <= offset);
        placed.insert(at, i);
    }
    packed
}

/// Moves blocks forward in the order as long as that does not make the result larger.
fn improve(
    blocks: &[Block],
    mut best: Packed,
    mut order: Vec<usize>,
    fit: Fit,
    lower_bound: usize,
) -> Packed {
    let scale = (blocks.len() / 100).max(1);
    let rounds = ROUNDS / scale.saturating_mul(scale);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds {
        if best.bytes <= lower_bound {
            break;
        }
        // Every other round a block that ends at the top, for it is in the way of a smaller arena; else any.
        let top: Vec<usize> = (0..order.len())
            .filter(|&p| best.offsets[order[p]] + blocks[order[p]].size == best.bytes)
            .collect();
        let from = match round % 2 {
            0 if !top.is_empty() => top[random.below(top.len())],
            _ => random.below(order.len()),
        };
        let to = random.below(from + 1);
        order[to..=from].rotate_right(1);
        let packed = place(blocks, &order, fit);
        if packed.bytes <= best.bytes {
            best = packed;
        } else {
            order[to..=from].rotate_left(1);
        }
    }
    best
}

/// Marsaglia's xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        // The remainder fits in usize, as `limit` does.
        (self.0 % limit as u64) as usize
    }
}
