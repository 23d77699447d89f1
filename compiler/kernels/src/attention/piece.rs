//! A block of queries of one head: scores, powers, values.

use avocet_ir::kernel::{Affine, BufferId, Horizontal, KernelBuilder, ValueId};
use avocet_ir::schedule::Tile;

use super::{Heads, Matrices};
use crate::math;
use crate::microkernel::{self, Block, Step};

/// Queries whose powers are made by turns.
const TOGETHER: usize = 2;

/// What is kept of each query between blocks of keys.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) buffer: BufferId,
    pub(super) rows: usize,
}

impl State {
    pub(super) const COUNT: usize = 3;

    fn at(self, number: usize, row: &Affine) -> Affine {
        row + number * self.rows
    }

    /// The largest score.
    fn largest(self, row: &Affine) -> Affine {
        self.at(0, row)
    }

    /// The sum of the powers.
    fn sum(self, row: &Affine) -> Affine {
        self.at(1, row)
    }

    /// What the row of the result is multiplied by.
    fn factor(self, row: &Affine) -> Affine {
        self.at(2, row)
    }
}

/// A block of queries of one head.
pub(super) struct Piece<'a> {
    pub(super) heads: &'a Heads<'a>,
    pub(super) rows: usize,
    /// The first element of each operand; with masks their distances.
    pub(super) q: (BufferId, Affine),
    pub(super) k: (BufferId, Affine),
    pub(super) v: (BufferId, Affine),
    pub(super) masks: Vec<(BufferId, Affine, &'a Matrices)>,
    pub(super) y: (BufferId, Affine),
    /// Where the scores are, and elements between rows of them.
    pub(super) scores: (BufferId, usize),
    pub(super) state: State,
}

/// Loops over blocks of rows and columns of a tile's size.
fn tiles(
    b: &mut KernelBuilder,
    (rows, columns, tile): (usize, usize, Tile),
    mut body: impl FnMut(&mut KernelBuilder, (&Affine, usize), (&Affine, usize)),
) {
    b.blocks(columns, tile.width(), |b, column, columns| {
        b.blocks(rows, tile.rows, |b, row, rows| body(b, (&row, rows), (&column, columns)));
    });
}

impl Piece<'_> {
    /// Scores of `count` keys from `from` on: the products, scaled and masked where there are masks.
    pub(super) fn scores(&self, b: &mut KernelBuilder, from: Affine, count: usize) {
        let Heads { sizes, schedule, scale, ref q, ref k, panels, .. } = *self.heads;
        let (tile, lanes) = (schedule.scores, schedule.scores.lanes);
        let (buffer, stride) = self.scores;
        if !count.is_multiple_of(lanes) {
            // The last vector's other lanes count for nothing.
            let last = count / lanes * lanes;
            b.repeat(self.rows, |b, row| {
                let nothing = b.f32(lanes, f32::NEG_INFINITY);
                b.store(buffer, row * stride + last, nothing);
            });
        }
        tiles(b, (self.rows, count, tile), |b, (row, rows), (column, columns)| {
            let vectors = columns.div_ceil(lanes);
            let last = columns - (vectors - 1) * lanes;
            let key = &from + column.clone();
            let (start, step) = match panels {
                true => (&key * sizes.inner, vectors * lanes),
                false => (key.clone(), k.column),
            };
            let block = Block {
                image: (self.q.0, &self.q.1 + row * q.row),
                row_stride: q.row,
                weights: (self.k.0, &self.k.1 + start),
                rows,
                vectors,
                lanes,
                last_valid: last,
            };
            let step = Step { count: sizes.inner, image: q.column, weights: step };
            let zero = b.f32(lanes, 0.0);
            let sums = microkernel::accumulate(b, &block, &[step], &vec![zero; vectors]);
            for (i, sum) in sums.into_iter().enumerate() {
                let (r, v) = (i / vectors, i % vectors);
                let valid = if v + 1 == vectors { last } else { lanes };
                let mut value = sum;
                for (number, (mask, start, strides)) in self.masks.iter().enumerate() {
                    let index = start + (row + r) * strides.row + (&key + v * lanes) * strides.column;
                    let bias = match strides.column {
                        0 => b.load_broadcast(lanes, *mask, index),
                        _ => b.load_partial(lanes, valid, *mask, index),
                    };
                    value = match number {
                        0 => {
                            let factor = b.f32(lanes, scale);
                            b.mul_add(value, factor, bias)
                        }
                        _ => b.add(value, bias),
                    };
                }
                let index = (row + r) * stride + column.clone() + v * lanes;
                b.store_partial(buffer, index, value, valid);
            }
        });
    }

    /// What scores are yet to be multiplied by: those with masks have been.
    fn scale(&self) -> f32 {
        if self.masks.is_empty() { self.heads.scale } else { 1.0 }
    }

    /// Scores become `e^(score - largest)`.
    pub(super) fn powers(&self, b: &mut KernelBuilder, count: usize, carry: bool) {
        b.blocks(self.rows, TOGETHER, |b, row, rows| self.powers_of(b, (&row, rows), count, carry));
    }

    /// The same of a few rows, which take turns.
    fn powers_of(&self, b: &mut KernelBuilder, (first, rows): (&Affine, usize), count: usize, carry: bool) {
        let lanes = self.heads.schedule.scores.lanes;
        let (buffer, stride) = self.scores;
        let state = self.state;
        let vectors = count.div_ceil(lanes);
        let index = |r: usize, i: &Affine| (first + r) * stride + i * lanes;
        // No score is less, so that one of minus infinity, even all of them, has a power of zero.
        let least = vec![b.f32(lanes, f32::MIN); rows];
        let most = b.repeat_carrying(vectors, &least, |b, i, most| {
            // NaN may get lost here: its power is NaN whatever it is compared with, and so is the row's sum.
            let join = |(r, &most): (usize, &ValueId)| {
                let score = b.load(lanes, buffer, index(r, &i));
                b.max(most, score)
            };
            most.iter().enumerate().map(join).collect()
        });
        let mut largest = vec![least[0]; rows];
        b.interleaved(rows, |b, r| {
            let row = first + r;
            let mut most = b.reduce(Horizontal::Max, most[r]);
            if carry {
                let before = b.load(1, state.buffer, state.largest(&row));
                most = b.max(most, before);
                let power = self.power(b, most, before);
                b.store(state.buffer, state.largest(&row), most);
                b.store(state.buffer, state.factor(&row), power);
            }
            largest[r] = b.splat(lanes, most);
        });
        let zeros = vec![b.f32(lanes, 0.0); rows];
        let sums = b.repeat_carrying(vectors, &zeros, |b, i, sums| {
            let mut next = sums.to_vec();
            b.interleaved(rows, |b, r| {
                let score = b.load(lanes, buffer, index(r, &i));
                let power = self.power(b, largest[r], score);
                b.store(buffer, index(r, &i), power);
                next[r] = b.add(sums[r], power);
            });
            next
        });
        b.interleaved(rows, |b, r| {
            let row = first + r;
            let sum = b.reduce(Horizontal::Add, sums[r]);
            if carry {
                let before = b.load(1, state.buffer, state.sum(&row));
                let factor = b.load(1, state.buffer, state.factor(&row));
                let total = b.mul_add(before, factor, sum);
                b.store(state.buffer, state.sum(&row), total);
            } else {
                let one = b.f32(1, 1.0);
                let factor = b.div(one, sum);
                b.store(state.buffer, state.factor(&row), factor);
            }
        });
    }

    /// `e^((score - largest) * scale)`.
    fn power(&self, b: &mut KernelBuilder, largest: ValueId, score: ValueId) -> ValueId {
        let below = b.sub(largest, score);
        math::exp_of_distance(b, below, self.scale())
    }

    /// Rows of the result: values weighted by the powers, to be divided by the powers' sum; added to what there is where other
    /// keys came before.
    pub(super) fn values(&self, b: &mut KernelBuilder, from: Affine, count: usize, carry: bool) {
        let Heads { sizes, schedule, ref v, ref y, .. } = *self.heads;
        let (tile, lanes) = (schedule.values, schedule.values.lanes);
        let (buffer, stride) = self.scores;
        let state = self.state;
        tiles(b, (self.rows, sizes.width, tile), |b, (row, rows), (column, columns)| {
            let vectors = columns.div_ceil(lanes);
            let last = columns - (vectors - 1) * lanes;
            let valid = |number: usize| if number % vectors + 1 == vectors { last } else { lanes };
            let place =
                |i: usize| &self.y.1 + (row + i / vectors) * y.row + column.clone() + i % vectors * lanes;
            let block = Block {
                image: (buffer, row * stride),
                row_stride: stride,
                weights: (self.v.0, &self.v.1 + &from * v.row + column.clone()),
                rows,
                vectors,
                lanes,
                last_valid: last,
            };
            let step = Step { count, image: 1, weights: v.row };
            let start: Vec<ValueId> = (0..rows * vectors)
                .map(|i| match carry {
                    true => {
                        let before = b.load_partial(lanes, valid(i), self.y.0, place(i));
                        let row = row + i / vectors;
                        let factor = b.load_broadcast(lanes, state.buffer, state.factor(&row));
                        b.mul(before, factor)
                    }
                    false => b.f32(lanes, 0.0),
                })
                .collect();
            let sums = microkernel::add_to(b, &block, &[step], start);
            for (i, sum) in sums.into_iter().enumerate() {
                let value = match carry {
                    true => sum,
                    false => {
                        let row = row + i / vectors;
                        let factor = b.load_broadcast(lanes, state.buffer, state.factor(&row));
                        b.mul(sum, factor)
                    }
                };
                b.store_partial(self.y.0, place(i), value, valid(i));
            }
        });
    }

    /// Before the first of several blocks of keys.
    pub(super) fn begin(&self, b: &mut KernelBuilder) {
        let lanes = self.heads.schedule.values.lanes;
        let state = self.state;
        b.repeat(self.rows, |b, row| {
            let (least, zero) = (b.f32(1, f32::MIN), b.f32(1, 0.0));
            b.store(state.buffer, state.largest(&row), least);
            b.store(state.buffer, state.sum(&row), zero);
            b.blocks(self.heads.sizes.width, lanes, |b, column, valid| {
                let zero = b.f32(lanes, 0.0);
                b.store_partial(self.y.0, &self.y.1 + &row * self.heads.y.row + column, zero, valid);
            });
        });
    }

    /// After the last of several.
    pub(super) fn end(&self, b: &mut KernelBuilder) {
        let lanes = self.heads.schedule.values.lanes;
        let state = self.state;
        b.repeat(self.rows, |b, row| {
            let sum = b.load_broadcast(lanes, state.buffer, state.sum(&row));
            b.blocks(self.heads.sizes.width, lanes, |b, column, valid| {
                let index = &self.y.1 + &row * self.heads.y.row + column;
                let value = b.load_partial(lanes, valid, self.y.0, index.clone());
                let value = b.div(value, sum);
                b.store_partial(self.y.0, index, value, valid);
            });
        });
    }
}
