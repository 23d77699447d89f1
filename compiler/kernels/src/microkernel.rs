//! The microkernel: a block of positions by vectors of output channels, accumulated in registers.
//!
//! Pointwise convolution, direct convolution and matrix products differ only in how the reduction walks through the
//! image and the weights, so that walk is data ([`Reduction`]): loops from the outermost in, each with its step in both.

use avocet_ir::kernel::{Affine, BufferId, KernelBuilder, ValueId};

use crate::epilogue::{self, Epilogue};

/// One loop of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Iterations.
    pub(crate) count: usize,
    /// Elements to advance in the image.
    pub(crate) image: usize,
    /// Elements to advance in the weights.
    pub(crate) weights: usize,
}

/// The loops of a reduction, outermost first.
pub(crate) type Reduction = [Step];

/// Iterations of the innermost reduction loop that are written out together.
const UNROLL: usize = 4;
/// An innermost loop of up to so many iterations is written out whole.
const WRITTEN: usize = 9;

/// A block to be computed.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The image and the element where the block's first position starts.
    pub(crate) image: (BufferId, Affine),
    /// Elements between positions in the image.
    pub(crate) row_stride: usize,
    /// The weights and the element where the block's first channel starts.
    pub(crate) weights: (BufferId, Affine),
    /// Positions.
    pub(crate) rows: usize,
    /// Vectors of channels.
    pub(crate) vectors: usize,
    /// Elements of a vector.
    pub(crate) lanes: usize,
    /// Elements of the last vector that may be loaded.
    pub(crate) last_valid: usize,
}

/// Computes a block; the sums are in row-major order, `vectors` for each row. Those of a vector of channels begin with its
/// `start`.
pub(crate) fn accumulate(
    b: &mut KernelBuilder,
    block: &Block,
    reduction: &Reduction,
    start: &[ValueId],
) -> Vec<ValueId> {
    add_to(b, block, reduction, start.repeat(block.rows))
}

/// The same, added to sums in that order.
pub(crate) fn add_to(
    b: &mut KernelBuilder,
    block: &Block,
    reduction: &Reduction,
    sums: Vec<ValueId>,
) -> Vec<ValueId> {
    level(b, block, reduction, block.image.1.clone(), block.weights.1.clone(), sums)
}

/// Computes a block of a result and stores it. The last vector has `last` channels. `place` gives the coordinates of a
/// position and a vector in the epilogue's view, and where they are in the result.
pub(crate) fn compute(
    b: &mut KernelBuilder,
    block: &Block,
    reduction: &Reduction,
    epilogue: &Epilogue,
    last: usize,
    (y, place): (BufferId, impl Fn(usize, usize) -> (Vec<Affine>, Affine)),
) {
    let valid = |v: usize| if v + 1 == block.vectors { last } else { block.lanes };
    let start: Vec<ValueId> =
        (0..block.vectors).map(|v| epilogue.start(b, block.lanes, &place(0, v).0, valid(v))).collect();
    let sums = accumulate(b, block, reduction, &start);
    epilogue::each(b, &sums, |b, i, sum| {
        let (r, v) = (i / block.vectors, i % block.vectors);
        let (at, index) = place(r, v);
        let value = epilogue.finish(b, sum, &at, valid(v));
        b.store_partial(y, index, value, valid(v));
    });
}

fn level(
    b: &mut KernelBuilder,
    block: &Block,
    reduction: &Reduction,
    image: Affine,
    weights: Affine,
    sums: Vec<ValueId>,
) -> Vec<ValueId> {
    match reduction {
        [] => step(b, block, &image, &weights, &sums),
        [last] => {
            let steps = |b: &mut KernelBuilder, from: Affine, count: usize, sums: &[ValueId]| {
                let mut sums = sums.to_vec();
                for i in 0..count {
                    let at = &from + i;
                    sums =
                        step(b, block, &(&image + &at * last.image), &(&weights + &at * last.weights), &sums);
                }
                sums
            };
            if last.count <= WRITTEN {
                return steps(b, Affine::default(), last.count, &sums);
            }
            let whole = last.count / UNROLL;
            let sums = b.repeat_carrying(whole, &sums, |b, i, sums| steps(b, &i * UNROLL, UNROLL, sums));
            steps(b, (whole * UNROLL).into(), last.count % UNROLL, &sums)
        }
        // A few steps in several loops, such as the taps of a small window, are written out too.
        [outer, inner @ ..] if reduction.iter().map(|step| step.count).product::<usize>() <= WRITTEN => {
            (0..outer.count).fold(sums, |sums, index| {
                let (image, weights) = (&image + index * outer.image, &weights + index * outer.weights);
                level(b, block, inner, image, weights, sums)
            })
        }
        [outer, inner @ ..] => b.repeat_carrying(outer.count, &sums, |b, index, sums| {
            let image = &image + &index * outer.image;
            let weights = &weights + &index * outer.weights;
            level(b, block, inner, image, weights, sums.to_vec())
        }),
    }
}

/// One element of the reduction: an outer product of the block's positions and channels.
fn step(
    b: &mut KernelBuilder,
    block: &Block,
    image: &Affine,
    weights: &Affine,
    sums: &[ValueId],
) -> Vec<ValueId> {
    let lanes = block.lanes;
    let channels: Vec<ValueId> = (0..block.vectors)
        .map(|v| {
            let valid = if v + 1 == block.vectors { block.last_valid } else { lanes };
            b.load_partial(lanes, valid, block.weights.0, weights + v * lanes)
        })
        .collect();
    let mut next = Vec::with_capacity(sums.len());
    for row in 0..block.rows {
        let pixel = b.load_broadcast(lanes, block.image.0, image + row * block.row_stride);
        for (v, &channel) in channels.iter().enumerate() {
            next.push(b.mul_add(pixel, channel, sums[row * block.vectors + v]));
        }
    }
    next
}
