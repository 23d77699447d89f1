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
    /// Boxes of zeros: the extents, the first element, the strides.
    gaps: Vec<(Vec<usize>, (i64, Vec<i64>))>,
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
                let strides = vec![group as i64, columns as i64, 1];
                packing.gaps.push((vec![groups, depth, columns - rest], (first + rest as i64, strides)));
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
        for (extents, (start, strides)) in &self.gaps {
            let (&columns, outer) = extents.split_last().unwrap_or((&0, &[]));
            view::nest(&mut b, outer, |b, coordinates| {
                let steps = coordinates.iter().zip(strides);
                let first = steps.fold((*start).into(), |sum, (c, &stride)| sum + c.scaled(stride));
                b.blocks(columns, lanes, |b, index, valid| {
                    let zero = b.f32(lanes, 0.0);
                    b.store_partial(y, &first + index, zero, valid);
                });
            });
        }
        for copied in &self.boxes {
            movement::emit(&mut b, x, y, copied, lanes);
        }
        b.finish()
    }
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
            let (rows, inputs) = (2, 3);
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
            assert_eq!(packing.apply(&weights), TensorData::F32(expected.into()));
        }
    }
}
