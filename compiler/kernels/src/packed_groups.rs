//! Convolution in groups of a few channels, several groups in each vector (ResNeXt's 32x4d, depthwise with a multiplier).
//!
//! The lanes are output channels as they lie in memory. Each reads the same input channel of its own group, so the pixel's
//! channels are loaded as they lie too and one permutation brings each group's channel to all of its lanes. A permuted
//! pixel serves all positions that have a tap on it, as in depthwise convolution; the weights of one row of the window and
//! one input channel are held meanwhile. They are packed as `[vector, row, input channel, column, lane]`.

use avocet_ir::kernel::{Access, Affine, Element, KernelBuilder, Permutation, ValueId};
use avocet_ir::op::{Layout, Op};
use avocet_ir::schedule::Tile;
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::problem::Problem;
use crate::sliding::{self, Sliding};

/// A convolution whose groups have fewer outputs than a vector has lanes, a whole number of times the inputs.
pub(crate) fn generate(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Conv(conv), [image, weight_type, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a convolution", problem.op.name())));
    };
    let Some(weights) = problem.constants[1].and_then(|t| t.as_f32()) else {
        return Err(LowerError::unsupported(problem, "convolution with computed weights"));
    };
    let [outputs, inputs, height, width] = [0, 1, 2, 3].map(|i| weight_type.shape[i]);
    let per_group = outputs / conv.groups;
    let fits = per_group > 0
        && tile.lanes.is_multiple_of(per_group)
        && per_group.is_multiple_of(inputs)
        && per_group.is_power_of_two();
    if conv.layout != Layout::Nhwc || !fits {
        return Err(LowerError::unsupported(problem, "this convolution in packed groups"));
    }
    let lanes = tile.lanes;
    let taps = height * width * inputs;
    // Position in the packed weights to that in the model's `[out, in, row, column]`.
    let packed: Vec<f32> = (0..outputs.next_multiple_of(lanes) * taps)
        .map(|position| {
            let (rest, lane) = (position / lanes, position % lanes);
            let (rest, column) = (rest / width, rest % width);
            let (rest, input) = (rest / inputs, rest % inputs);
            let (vector, row) = (rest / height, rest % height);
            let output = vector * lanes + lane;
            if output < outputs {
                weights[((output * inputs + input) * height + row) * width + column]
            } else {
                0.0
            }
        })
        .collect();
    let length = packed.len();
    let packed = emitter.constant(TensorData::F32(packed.into()));

    let mut b = KernelBuilder::new("packed_groups");
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let w = b.buffer("w", Element::F32, length, Access::Read);
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![Operand::Input(0), packed, Operand::Output];
    let epilogue = Epilogue::new(problem, &[1, 1, 1, 1], &mut b, &mut operands)?;
    let sliding = Sliding::new(
        &image.shape,
        &problem.output.shape,
        [height, width],
        conv.strides,
        conv.dilations,
        conv.padding,
    )
    .with_pitch([problem.pitches[0], problem.pitch]);
    // One row of taps of one input channel: what it adds to the sums.
    let row_of_channel =
        |b: &mut KernelBuilder, block: &sliding::Block, row: &Affine, input: usize, sums: &mut [ValueId]| {
            let strip = &block.strip;
            let valid = strip.valid / per_group * inputs;
            let columns = strip.row.taps.len();
            let first = &strip.channel * taps
                + (row + strip.rows.taps.start) * (inputs * width * lanes)
                + (input * width + strip.row.taps.start) * lanes;
            let weights: Vec<ValueId> =
                (0..columns).map(|tap| b.load(strip.lanes, w, &first + tap * lanes)).collect();
            let permutation = Permutation { run: per_group, stride: inputs, first: input, phase: 0 };
            sliding.row_of_taps(b, block, row, &weights, sums, |b, index| {
                let channels = b.load_partial(strip.lanes, valid, x, index);
                b.permute(permutation, channels)
            });
        };
    sliding.emit(
        &mut b,
        (tile.rows, lanes, tile.outer),
        |_, _| (),
        |b, block, ()| {
            let strip = &block.strip;
            let start = epilogue.start(b, strip.lanes, &block.at, strip.valid);
            let sums =
                b.repeat_carrying(strip.rows.taps.len(), &vec![start; block.columns], |b, row, sums| {
                    let mut sums = sums.to_vec();
                    for input in 0..inputs {
                        row_of_channel(b, block, &row, input, &mut sums);
                    }
                    sums
                });
            sliding.store(b, block, y, &sums, |b, sum, at| epilogue.finish(b, sum, at, strip.valid));
        },
    );
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
