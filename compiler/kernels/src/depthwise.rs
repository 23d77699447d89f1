//! Depthwise convolution: one window for each channel, channels in vectors.
//!
//! A block of neighbouring output columns shares each tap's weights; the weights are packed as `[row, column, channel]`.
//! Borders are segments of their own, so there is no padded copy of the image.

use avocet_ir::kernel::{Access, Affine, Element, KernelBuilder, ValueId};
use avocet_ir::op::{Layout, Op};
use avocet_ir::schedule::Tile;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::pack::Packing;
use crate::problem::Problem;
use crate::sliding::{self, Sliding, Strip};

/// Windows of up to this many taps have their weights loaded once for a row of positions; larger ones are a loop over the
/// rows of the window, and each row's weights are loaded for each block.
const MOST_HELD: usize = 9;

/// A depthwise convolution with as many outputs as inputs.
pub(crate) fn generate(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Conv(conv), [image, weight_type, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a convolution", problem.op.name())));
    };
    let channels = image.shape[image.shape.rank() - 1];
    if conv.layout != Layout::Nhwc || conv.groups != channels || weight_type.shape[0] != channels {
        return Err(LowerError::unsupported(problem, "this convolution as a depthwise one"));
    }
    let window = [weight_type.shape[2], weight_type.shape[3]];
    let taps = window[0] * window[1];
    let packed = Packing::dense(&[taps, channels], &[1, taps]).operand(problem, emitter);

    let mut b = KernelBuilder::new("depthwise");
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let w = b.buffer("w", Element::F32, taps * channels, Access::Read);
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![Operand::Input(0), packed, Operand::Output];
    let epilogue = Epilogue::new(problem, &[1, 1, 1, 1], &mut b, &mut operands)?;
    let sliding =
        Sliding::new(&image.shape, &problem.output.shape, window, conv.strides, conv.dilations, conv.padding)
            .with_pitch([problem.pitches[0], problem.pitch]);
    let pixels = |b: &mut KernelBuilder,
                  block: &sliding::Block,
                  row: &Affine,
                  weights: &[ValueId],
                  sums: &mut [ValueId]| {
        let (lanes, valid) = (block.strip.lanes, block.strip.valid);
        sliding.row_of_taps(b, block, row, weights, sums, |b, index| b.load_partial(lanes, valid, x, index));
    };
    // The weights of one row of taps, `row` rows below the first that is inside.
    let weights = |b: &mut KernelBuilder, strip: &Strip, row: &Affine| -> Vec<ValueId> {
        let first = &strip.channel + (strip.rows.taps.start * window[1] + strip.row.taps.start) * channels;
        let first = first + row * (window[1] * channels);
        (0..strip.row.taps.len())
            .map(|tap| b.load_partial(strip.lanes, strip.valid, w, &first + tap * channels))
            .collect()
    };
    let all_in_registers = taps <= MOST_HELD;
    sliding.emit(
        &mut b,
        (tile.rows, tile.lanes, tile.outer),
        |b, strip| match all_in_registers {
            true => (0..strip.rows.taps.len()).map(|row| weights(b, strip, &row.into())).collect(),
            false => Vec::new(),
        },
        |b, block, held: &Vec<Vec<ValueId>>| {
            let strip = &block.strip;
            let start = epilogue.start(b, strip.lanes, &block.at, strip.valid);
            let mut sums = vec![start; block.columns];
            let rows = strip.rows.taps.len();
            if all_in_registers {
                for (row, weights) in held.iter().enumerate() {
                    pixels(b, block, &row.into(), weights, &mut sums);
                }
            } else {
                sums = b.repeat_carrying(rows, &sums, |b, row, sums| {
                    let mut sums = sums.to_vec();
                    let weights = weights(b, strip, &row);
                    pixels(b, block, &row, &weights, &mut sums);
                    sums
                });
            }
            sliding.store(b, block, y, &sums, |b, sum, at| epilogue.finish(b, sum, at, strip.valid));
        },
    );
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
