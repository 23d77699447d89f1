//! Attention: a block of queries against blocks of keys, so that of the scores only such a block ever exists.
//!
//! For each block of keys the scores are computed into scratch, turned into powers there, and multiplied with the values.
//! What a softmax divides by is known after the last key only, so a query's sums carry on from block to block: the largest
//! score so far, the sum of the powers, the sum of the values weighted by them; where a block has a larger score, what there
//! is becomes smaller by the power of the difference (Milakov and Gimelshein, 2018; Dao et al., FlashAttention, 2022). The
//! division is the last that is done, to a row of the result. Where one block holds all keys, which is the rule, nothing
//! carries on. A query's sums don't depend on what other queries are in its block.
//!
//! Operands may have any strides, so that heads are read from, and written to, where projections have them side by side.
//! Keys that are rows are transposed into panels first.

mod piece;

use avocet_ir::kernel::{Access, Affine, Element, Kernel, KernelBuilder};
use avocet_ir::op::Op;
use avocet_ir::schedule::{Attention, Split};

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::movement::{self, Region};
use crate::problem::Problem;
use crate::{slice, view};
use piece::{Piece, State};

/// Heads that are calls of their own at most; others are loops within a call.
const MOST_CALLS: usize = 64;
/// What calls come in multiples of, where they are few, so that as many parts have as much to do.
const EVEN: usize = 4;
/// Distance between rows of scores, in bytes, of whose multiples few rows fall into different sets of the first cache.
const CROWDED: usize = 1024;
/// What is added to such a distance: elements of a cache line.
const LINE: usize = 16;

/// A matrix for each head: distances between heads, rows and columns.
#[derive(Clone, Debug)]
struct Matrices {
    lead: Vec<usize>,
    row: usize,
    column: usize,
}

impl Matrices {
    fn new(mut strides: Vec<usize>) -> Self {
        let (column, row) = (strides.pop().unwrap_or(1), strides.pop().unwrap_or(1));
        Matrices { lead: strides, row, column }
    }

    /// Elements from the first to the last of those that a call sees: `lead` of heads, `rows` by `columns`.
    fn reach(&self, lead: &[usize], rows: usize, columns: usize) -> usize {
        let inner = &self.lead[self.lead.len() - lead.len()..];
        let steps = lead.iter().zip(inner).map(|(&extent, &stride)| (extent - 1) * stride);
        steps.sum::<usize>() + (rows - 1) * self.row + (columns - 1) * self.column + 1
    }

    /// Byte where the heads of a call begin.
    fn place(&self, at: &[usize]) -> usize {
        at.iter().zip(&self.lead).map(|(i, stride)| i * stride).sum::<usize>() * Element::F32.bytes()
    }
}

/// The sizes of one head.
#[derive(Clone, Copy)]
struct Sizes {
    queries: usize,
    keys: usize,
    inner: usize,
    width: usize,
}

/// The heads of a call, and how they are computed.
struct Heads<'a> {
    sizes: Sizes,
    schedule: Attention,
    scale: f32,
    /// Extents of the dimensions of heads that are loops within a call.
    inner: &'a [usize],
    q: Matrices,
    k: Matrices,
    /// Whether keys are in panels.
    panels: bool,
    v: Matrices,
    masks: Vec<Matrices>,
    y: Matrices,
}

pub(crate) fn generate(
    problem: &Problem,
    schedule: Attention,
    emitter: &mut Emitter,
) -> Result<(), LowerError> {
    let (Op::Attention { scale }, [q, k, v, masks @ ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as attention", problem.op.name())));
    };
    let rank = q.shape.rank();
    let (lead, matrix) = q.dims().split_at(rank - 2);
    let sizes =
        Sizes { queries: matrix[0], inner: matrix[1], keys: k.shape[rank - 2], width: v.shape[rank - 1] };
    let tiles = [schedule.scores, schedule.values];
    let possible = tiles.iter().all(|t| t.lanes == tiles[0].lanes && t.rows > 0 && t.vectors > 0)
        && schedule.keys > 0
        && schedule.keys.is_multiple_of(schedule.scores.width());
    if sizes.keys == 0 || sizes.inner == 0 || !possible || !problem.epilogue.is_empty() {
        return Err(LowerError::unsupported(problem, "attention of these sizes"));
    }
    let of_input = |number: usize| {
        let strides = problem.strides[number].clone();
        Matrices::new(strides.unwrap_or_else(|| problem.inputs[number].shape.strides()))
    };
    let own = problem.own_strides.clone().unwrap_or_else(|| problem.output.shape.strides());
    let scores = avocet_ir::Shape::new([lead, &[sizes.queries, sizes.keys]].concat());
    let scores = scores.map_err(|e| LowerError::unsupported(problem, e.to_string()))?;
    let masks =
        masks.iter().map(|mask| view::strides(&mask.shape, &scores, &vec![1; rank]).map(Matrices::new));
    let masks: Option<Vec<Matrices>> = masks.collect();
    let masks = masks.ok_or_else(|| LowerError::unsupported(problem, "attention's masks"))?;
    // The first dimensions are calls, as far as they are few.
    let outer = (0..=lead.len()).rev().find(|&n| lead[..n].iter().product::<usize>() <= MOST_CALLS);
    let (outer, inner) = lead.split_at(outer.unwrap_or(0));
    let mut heads = Heads {
        sizes,
        schedule,
        scale: *scale,
        inner,
        q: of_input(0),
        k: of_input(1),
        panels: false,
        v: of_input(2),
        masks,
        y: Matrices::new(own),
    };
    if sizes.width != 1 && [&heads.v, &heads.y].iter().any(|rows| rows.column != 1) {
        return Err(LowerError::unsupported(problem, "attention on columns that are apart"));
    }
    let mut keys = Operand::Input(1);
    if heads.k.row != 1 && sizes.keys > 1 {
        keys = heads.arrange_keys(lead, outer, emitter);
        emitter.barrier();
    }

    let count: usize = outer.iter().product();
    let most = sizes.queries.div_ceil(schedule.scores.rows);
    let chunks = if count < 4 * EVEN { (EVEN / gcd(count, EVEN)).min(most) } else { 1 };
    let unit = Split::unit(sizes.queries, schedule.scores.rows, chunks);
    let ranges = slice::ranges(sizes.queries, chunks, unit);
    let rows = ranges.iter().map(|range| heads.rows(range.len())).max().unwrap_or(0);
    let scores = emitter.private_scratch(rows * heads.stride() * 4);
    let state = emitter.private_scratch(rows * State::COUNT * 4);
    let mut kernels: Vec<(usize, Kernel)> = Vec::new();
    for at in coordinates(outer) {
        for range in &ranges {
            let kernel = match kernels.iter().find(|(queries, _)| *queries == range.len()) {
                Some((_, kernel)) => kernel.clone(),
                None => {
                    let kernel = heads.kernel(range.len());
                    kernels.push((range.len(), kernel.clone()));
                    kernel
                }
            };
            let from = |m: &Matrices| m.place(&at) + range.start * m.row * Element::F32.bytes();
            let mut arguments = vec![
                (Operand::Input(0), from(&heads.q)),
                (keys, heads.k.place(&at)),
                (Operand::Input(2), heads.v.place(&at)),
            ];
            let masks = heads.masks.iter().enumerate();
            arguments.extend(masks.map(|(number, mask)| (Operand::Input(3 + number), from(mask))));
            arguments.extend([(Operand::Output, from(&heads.y)), (scores, 0), (state, 0)]);
            emitter.call_at(kernel, arguments, Vec::new());
        }
    }
    Ok(())
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// All coordinates within the extents, in order.
fn coordinates(extents: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for &extent in extents {
        let longer = |at: Vec<usize>| (0..extent).map(move |i| [&at[..], &[i]].concat());
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

/// Row-major strides of matrices of `matrix` elements.
fn dense(lead: &[usize], matrix: usize) -> Vec<usize> {
    let mut strides = vec![matrix; lead.len()];
    for i in (1..lead.len()).rev() {
        strides[i - 1] = strides[i] * lead[i];
    }
    strides
}

impl Heads<'_> {
    /// Keys become panels: for each element of a key, those of all keys of the panel side by side. A call arranges what a call of
    /// attention reads.
    fn arrange_keys(&mut self, lead: &[usize], outer: &[usize], emitter: &mut Emitter) -> Operand {
        let Sizes { keys, inner, .. } = self.sizes;
        let tile = self.schedule.scores;
        let matrix = keys.next_multiple_of(tile.lanes) * inner;
        let panels = Matrices { lead: dense(lead, matrix), row: 1, column: 0 };
        let scratch = emitter.scratch(lead.iter().product::<usize>() * matrix * 4);
        let signed = |strides: &[usize]| strides.iter().map(|&s| s as i64).collect::<Vec<_>>();
        // So many panels of `count` keys from one on.
        let boxed = |first: usize, panels_of_it: usize, count: usize| {
            let (from, to) = (&self.k.lead[outer.len()..], &panels.lead[outer.len()..]);
            let within = [tile.width() * self.k.row, self.k.column, self.k.row];
            let width = count.next_multiple_of(tile.lanes);
            Region {
                extents: [self.inner, &[panels_of_it, inner, count]].concat(),
                from: ((first * self.k.row) as i64, signed(&[from, &within].concat())),
                to: ((first * inner) as i64, signed(&[to, &[tile.width() * inner, width, 1]].concat())),
            }
        };
        let (whole, rest) = (keys / tile.width(), keys % tile.width());
        let boxes = [boxed(0, whole, tile.width()), boxed(whole * tile.width(), 1, rest)];
        let boxes: Vec<Region> = boxes.into_iter().filter(|copied| !copied.extents.contains(&0)).collect();
        let (from, to) = (self.k.reach(self.inner, keys, inner), panels.reach(self.inner, 1, 1) - 1 + matrix);
        let kernel = movement::copy_box("keys", Element::F32, from, to, &boxes, tile.lanes);
        for at in coordinates(outer) {
            let arguments = vec![(Operand::Input(1), self.k.place(&at)), (scratch, panels.place(&at))];
            emitter.call_at(kernel.clone(), arguments, Vec::new());
        }
        self.k = panels;
        self.panels = true;
        scratch
    }

    /// Queries of a block, of so many: blocks of one size as far as possible, and of whole tiles.
    fn rows(&self, queries: usize) -> usize {
        let blocks = queries.div_ceil(self.schedule.rows.max(1)).max(1);
        queries.div_ceil(blocks).next_multiple_of(self.schedule.scores.rows).min(queries)
    }

    /// Elements between rows of scores.
    fn stride(&self) -> usize {
        let held = self.sizes.keys.min(self.schedule.keys).next_multiple_of(self.schedule.scores.lanes);
        if (held * 4).is_multiple_of(CROWDED) { held + LINE } else { held }
    }

    /// The kernel for some queries of the heads that are loops.
    fn kernel(&self, queries: usize) -> Kernel {
        let Sizes { keys: count, inner, width, .. } = self.sizes;
        let (schedule, lanes) = (self.schedule, self.schedule.scores.lanes);
        let (rows, stride) = (self.rows(queries), self.stride());
        let mut b = KernelBuilder::new("attention");
        let key_length = match self.panels {
            true => self.k.reach(self.inner, 1, 1) - 1 + count.next_multiple_of(lanes) * inner,
            false => self.k.reach(self.inner, count, inner),
        };
        let q = b.buffer("q", Element::F32, self.q.reach(self.inner, queries, inner), Access::Read);
        let k = b.buffer("k", Element::F32, key_length, Access::Read);
        let v = b.buffer("v", Element::F32, self.v.reach(self.inner, count, width), Access::Read);
        let mut masks = Vec::new();
        for mask in &self.masks {
            let length = mask.reach(self.inner, queries, count);
            masks.push((b.buffer("mask", Element::F32, length, Access::Read), mask));
        }
        let y = b.buffer("y", Element::F32, self.y.reach(self.inner, queries, width), Access::Write);
        let scores = b.buffer("scores", Element::F32, rows * stride, Access::Write);
        let state = b.buffer("state", Element::F32, rows * State::COUNT, Access::Write);

        let single = count <= schedule.keys;
        view::nest(&mut b, self.inner, |b, head| {
            let base = |m: &Matrices| view::index(&head, &m.lead[m.lead.len() - self.inner.len()..]);
            b.blocks(queries, rows, |b, first, rows| {
                let piece = Piece {
                    heads: self,
                    rows,
                    q: (q, base(&self.q) + &first * self.q.row),
                    k: (k, base(&self.k)),
                    v: (v, base(&self.v)),
                    masks: masks
                        .iter()
                        .map(|&(buffer, mask)| (buffer, base(mask) + &first * mask.row, mask))
                        .collect(),
                    y: (y, base(&self.y) + &first * self.y.row),
                    scores: (scores, stride),
                    state: State { buffer: state, rows },
                };
                if single {
                    piece.scores(b, Affine::default(), count);
                    piece.powers(b, count, false);
                    piece.values(b, Affine::default(), count, false);
                    return;
                }
                piece.begin(b);
                b.blocks(count, schedule.keys, |b, from, count| {
                    piece.scores(b, from.clone(), count);
                    piece.powers(b, count, true);
                    piece.values(b, from, count, true);
                });
                piece.end(b);
            });
        });
        b.finish()
    }
}
