//! Packing of weights in the order in which kernels read them: at compile time where they are constant, by a kernel of its own
//! at run time where they are computed.

use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder};
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::movement::{self, Region};
use crate::problem::Problem;
use crate::view;

/// Output channels in panels of `width`, each panel one output channel block after another along the reduction:
/// element `(panel, k, i)` is the weight of channel `panel * width + i` at position `k` of the reduction. The last panel
/// is as wide as the vectors of `lanes` that it needs; missing channels are zero.
///
/// `weight(channel, k)` gives the weights.
pub(crate) fn panels(
    channels: usize,
    reduction: usize,
    width: usize,
    lanes: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> TensorData {
    let mut packed = Vec::with_capacity(channels.next_multiple_of(lanes) * reduction);
    for start in (0..channels).step_by(width) {
        let columns = (channels - start).min(width).next_multiple_of(lanes);
        for k in 0..reduction {
            for channel in start..start + columns {
                packed.push(if channel < channels { weight(channel, k) } else { 0.0 });
            }
        }
    }
    TensorData::F32(packed.into())
}

/// Where packed weights come from: boxes of the model's weights. What no box covers is zero.
#[derive(Debug)]
pub(crate) struct Packing {
    /// Elements of the packed weights.
    pub(crate) length: usize,
    boxes: Vec<Region>,
    /// Boxes of zeros.
    gaps: Vec<Gap>,
}

/// A box of packed weights that are zero.
#[derive(Debug)]
struct Gap {
    extents: Vec<usize>,
    first: i64,
    strides: Vec<i64>,
}

/// Weights as a matrix of output channels by positions of a reduction, in groups.
#[derive(Debug)]
pub(crate) struct Matrix<'a> {
    /// Groups, and elements from one to the next.
    pub(crate) groups: (usize, usize),
    /// Channels of a group, and elements from one to the next.
    pub(crate) channels: (usize, usize),
    /// The reduction in the order of its positions: extents, and elements from one to the next.
    pub(crate) reduction: &'a [(usize, usize)],
}

impl Packing {
    /// Each group's channels in [`panels`].
    pub(crate) fn panels(matrix: &Matrix, width: usize, lanes: usize) -> Self {
        let (groups, group_step) = matrix.groups;
        let (channels, channel_step) = matrix.channels;
        let extents: Vec<usize> = matrix.reduction.iter().map(|&(extent, _)| extent).collect();
        let depth: usize = extents.iter().product();
        let group = channels.next_multiple_of(lanes) * depth;
        let (whole, rest) = (channels / width, channels % width);
        let steps = || matrix.reduction.iter().map(|&(_, step)| step as i64);
        // Steps of the reduction in a panel of so many columns.
        let packed_steps = |columns: usize| {
            let mut step = columns as i64;
            let mut all: Vec<i64> = extents
                .iter()
                .rev()
                .map(|&extent| {
                    let now = step;
                    step *= extent as i64;
                    now
                })
                .collect();
            all.reverse();
            all
        };
        let mut packing = Packing { length: groups * group, boxes: Vec::new(), gaps: Vec::new() };
        if whole > 0 {
            let from = [group_step as i64, (width * channel_step) as i64].into_iter().chain(steps());
            let to = [group as i64, (width * depth) as i64].into_iter().chain(packed_steps(width));
            packing.boxes.push(Region {
                extents: [&[groups, whole], &extents[..], &[width]].concat(),
                from: (0, from.chain([channel_step as i64]).collect()),
                to: (0, to.chain([1]).collect()),
            });
        }
        if rest > 0 {
            let columns = rest.next_multiple_of(lanes);
            let first = (whole * width * depth) as i64;
            let from = [group_step as i64].into_iter().chain(steps()).chain([channel_step as i64]);
            let to = [group as i64].into_iter().chain(packed_steps(columns)).chain([1]);
            packing.boxes.push(Region {
                extents: [&[groups], &extents[..], &[rest]].concat(),
                from: ((whole * width * channel_step) as i64, from.collect()),
                to: (first, to.collect()),
            });
            if columns > rest {
                let (extents, strides) =
                    (vec![groups, depth, columns - rest], vec![group as i64, columns as i64, 1]);
                packing.gaps.push(Gap { extents, first: first + rest as i64, strides });
            }
        }
        packing
    }

    /// A box alone, of these extents with these steps in the weights, as a dense tensor.
    pub(crate) fn dense(extents: &[usize], steps: &[usize]) -> Self {
        let mut to = vec![1i64; extents.len()];
        for i in (1..extents.len()).rev() {
            to[i - 1] = to[i] * extents[i] as i64;
        }
        let from = (0, steps.iter().map(|&step| step as i64).collect());
        let all = Region { extents: extents.to_vec(), from, to: (0, to) };
        Packing { length: extents.iter().product(), boxes: vec![all], gaps: Vec::new() }
    }

    /// The weights of a problem, its second input, packed.
    pub(crate) fn operand(&self, problem: &Problem, emitter: &mut Emitter) -> Operand {
        match problem.constants[1].and_then(|tensor| tensor.as_f32()) {
            Some(weights) => emitter.constant(self.apply(weights)),
            None if self.length == 0 => emitter.constant(TensorData::F32(Vec::new().into())),
            None => {
                let scratch = emitter.scratch(self.length * 4);
                emitter.call(self.kernel(problem), &[Operand::Input(1), scratch]);
                scratch
            }
        }
    }

    fn apply(&self, weights: &[f32]) -> TensorData {
        fn copy(copied: &Region, axis: usize, from: i64, to: i64, weights: &[f32], packed: &mut [f32]) {
            let (extent, inner) = (copied.extents[axis] as i64, axis + 1 == copied.extents.len());
            let (step, packed_step) = (copied.from.1[axis], copied.to.1[axis]);
            for i in 0..extent {
                let (from, to) = (from + i * step, to + i * packed_step);
                if inner {
                    packed[to as usize] = weights[from as usize];
                } else {
                    copy(copied, axis + 1, from, to, weights, packed);
                }
            }
        }
        let mut packed = vec![0.0; self.length];
        for copied in &self.boxes {
            copy(copied, 0, copied.from.0, copied.to.0, weights, &mut packed);
        }
        TensorData::F32(packed.into())
    }

    fn kernel(&self, problem: &Problem) -> Kernel {
        let lanes = problem.schedule.lanes();
        let mut b = KernelBuilder::new("pack");
        let x = b.buffer("x", Element::F32, problem.input_length(1), Access::Read);
        let y = b.buffer("y", Element::F32, self.length, Access::Write);
        for Gap { extents, first, strides } in &self.gaps {
            let (&columns, outer) = extents.split_last().unwrap_or((&0, &[]));
            view::nest(&mut b, outer, |b, coordinates| {
                let steps = coordinates.iter().zip(strides);
                let first = steps.fold((*first).into(), |sum, (c, &stride)| sum + c.scaled(stride));
                b.blocks(columns, lanes, |b, index, valid| {
                    let zero = b.f32(lanes, 0.0);
                    b.store_partial(y, &first + index, zero, valid);
                });
            });
        }
        for copied in self.boxes.iter().flat_map(in_runs) {
            movement::emit(&mut b, x, y, &copied, lanes);
        }
        b.finish()
    }
}

/// Elements of each output channel that are packed before the next channel's: those of a line of cache.
const RUN: usize = 16;

/// A box in another order: as its elements lie in the weights, but for a run of each channel after that of another, so that
/// what is read and what is written of some channels stay in the first cache. In the order of the packed weights each read
/// would be in another line, and often in the same set of the cache. Measured for 512 x 512 weights: 0.3 instead of 0.8 ns
/// each.
fn in_runs(copied: &Region) -> Vec<Region> {
    let steps = copied.from.1.iter().zip(&copied.to.1);
    let mut axes: Vec<(usize, i64, i64)> =
        copied.extents.iter().zip(steps).map(|(&extent, (&from, &to))| (extent, from, to)).collect();
    let Some(channel) = axes.pop() else { return vec![copied.clone()] };
    axes.sort_by_key(|&(_, from, _)| std::cmp::Reverse(from));
    let Some(cut) = axes.iter().position(|&(_, from, _)| from < channel.1) else {
        return vec![copied.clone()];
    };
    let (outer, inner) = axes.split_at(cut);
    let (extent, from, to) = inner[0];
    let (whole, rest) = (extent / RUN, extent % RUN);
    let parts = [(whole, 0, RUN), (usize::from(rest > 0), whole * RUN, rest)];
    let parts = parts.into_iter().filter(|&(count, ..)| count > 0);
    parts
        .map(|(count, first, run)| {
            let runs = (count, from * RUN as i64, to * RUN as i64);
            let all = outer
                .iter()
                .copied()
                .chain([runs, channel, (run, from, to)])
                .chain(inner[1..].iter().copied());
            let all: Vec<(usize, i64, i64)> = all.collect();
            let first = first as i64;
            Region {
                extents: all.iter().map(|axis| axis.0).collect(),
                from: (copied.from.0 + first * from, all.iter().map(|axis| axis.1).collect()),
                to: (copied.to.0 + first * to, all.iter().map(|axis| axis.2).collect()),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_panel_is_narrower() {
        let packed = panels(5, 2, 4, 2, |channel, k| (channel * 10 + k) as f32);
        let expected = [0.0, 10.0, 20.0, 30.0, 1.0, 11.0, 21.0, 31.0, 40.0, 0.0, 41.0, 0.0];
        assert_eq!(packed, TensorData::F32(expected.as_slice().into()));
    }

    #[test]
    fn boxes_are_the_same_panels() {
        for (groups, channels, width, lanes) in [(1, 5, 4, 2), (1, 8, 4, 4), (3, 7, 6, 2), (2, 3, 8, 4)] {
            let (rows, inputs) = (2, 35);
            let depth = rows * inputs;
            let weights: Vec<f32> = (0..groups * channels * depth).map(|i| i as f32 + 1.0).collect();
            // Position k of the reduction is (row, input); the weights are [group, channel, input, row].
            let mut expected = Vec::new();
            for group in 0..groups {
                let weight = |channel: usize, k: usize| {
                    weights[(group * channels + channel) * depth + k % inputs * rows + k / inputs]
                };
                let TensorData::F32(packed) = panels(channels, depth, width, lanes, weight) else { continue };
                expected.extend_from_slice(&packed);
            }
            let matrix = Matrix {
                groups: (groups, channels * depth),
                channels: (channels, depth),
                reduction: &[(rows, 1), (inputs, rows)],
            };
            let packing = Packing::panels(&matrix, width, lanes);
            assert_eq!(packing.length, expected.len());
            assert_eq!(packing.apply(&weights), TensorData::F32(expected.clone().into()));
            let boxes = packing.boxes.iter().flat_map(in_runs).collect();
            let in_runs = Packing { boxes, ..packing };
            assert_eq!(in_runs.apply(&weights), TensorData::F32(expected.into()));
        }
    }
}
