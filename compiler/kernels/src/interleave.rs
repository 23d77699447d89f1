//! Interleaving: elements that lie in a few runs are put side by side, as a picture's planes of colours become pixels, or the
//! groups of a channel shuffle mix.
//!
//! A vector of each run is loaded; for each vector of the result the lanes of all of them are spread by permutations, and
//! each lane taken from the run whose turn it is. That is some ten instructions for a vector instead of two for an element.

use avocet_ir::kernel::{Access, Affine, Element, KernelBuilder, Permutation, Predicate, ValueId};
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::movement::Region;
use crate::view;

/// Most runs: the instructions for a vector grow with them.
const MOST: usize = 4;

/// A box that is copied so.
#[derive(Debug)]
pub(crate) struct Interleaved {
    /// Extents around it, with their strides in source and result.
    outer: Vec<usize>,
    from: Vec<usize>,
    to: Vec<usize>,
    /// Elements of a run.
    length: usize,
    /// Runs, and the distance between them in the source.
    runs: usize,
    distance: usize,
}

impl Interleaved {
    /// The box as runs to be interleaved, when it is that and the runs fill vectors.
    pub(crate) fn of(copied: &Region, lanes: usize) -> Option<Self> {
        let copied = copied.simplified();
        let count = copied.extents.len().checked_sub(2)?;
        let (&[length, runs], &[1, distance], &[step, 1]) =
            (&copied.extents[count..], &copied.from.1[count..], &copied.to.1[count..])
        else {
            return None;
        };
        if !(2..=MOST).contains(&runs) || step != runs as i64 || lanes < 4 || length < lanes {
            return None;
        }
        let all = |strides: &[i64]| -> Option<Vec<usize>> {
            strides.iter().map(|&stride| usize::try_from(stride).ok()).collect()
        };
        Some(Interleaved {
            outer: copied.extents[..count].to_vec(),
            from: all(&copied.from.1[..count])?,
            to: all(&copied.to.1[..count])?,
            length,
            runs,
            distance: usize::try_from(distance).ok()?,
        })
    }

    /// Emits the call on a box that begins at these bytes of source and result and has so many elements from there to its
    /// end.
    pub(crate) fn emit(
        &self,
        name: &str,
        offsets: [usize; 2],
        reach: [usize; 2],
        lanes: usize,
        emitter: &mut Emitter,
    ) {
        // Whose turn it is in each lane, for as many vectors as it takes until that repeats.
        let vectors = if lanes.is_multiple_of(self.runs) { 1 } else { self.runs };
        let turns: Vec<f32> = (0..vectors * lanes).map(|i| (i % self.runs) as f32).collect();
        let turns = emitter.constant(TensorData::F32(turns.into()));
        let mut b = KernelBuilder::new(name);
        let x = b.buffer("x", Element::F32, reach[0], Access::Read);
        let w = b.buffer("turns", Element::F32, vectors * lanes, Access::Read);
        let y = b.buffer("y", Element::F32, reach[1], Access::Write);
        let turns_of: Vec<ValueId> = (0..vectors).map(|v| b.load(lanes, w, v * lanes)).collect();
        view::nest(&mut b, &self.outer, |b, coordinates| {
            let (source, target) =
                (view::index(&coordinates, &self.from), view::index(&coordinates, &self.to));
            b.blocks(self.length, lanes, |b, index, valid| {
                let load = |run: usize| &source + index.clone() + run * self.distance;
                let loaded: Vec<ValueId> =
                    (0..self.runs).map(|run| b.load_partial(lanes, valid, x, load(run))).collect();
                let elements = valid * self.runs;
                for vector in 0..elements.div_ceil(lanes) {
                    let before = vector * lanes;
                    let permutation = Permutation {
                        run: self.runs,
                        stride: 1,
                        first: before / self.runs,
                        phase: before % self.runs,
                    };
                    let mut mixed = b.permute(permutation, loaded[0]);
                    for (run, &value) in loaded.iter().enumerate().skip(1) {
                        let spread = b.permute(permutation, value);
                        let turn = b.f32(lanes, run as f32);
                        mixed = b.select(Predicate::Equal, (turns_of[vector % vectors], turn), spread, mixed);
                    }
                    let index: Affine = &target + &index * self.runs + before;
                    b.store_partial(y, index, mixed, (elements - before).min(lanes));
                }
            });
        });
        let [from, to] = offsets;
        emitter.call_at(
            b.finish(),
            vec![(Operand::Input(0), from), (turns, 0), (Operand::Output, to)],
            Vec::new(),
        );
    }
}
