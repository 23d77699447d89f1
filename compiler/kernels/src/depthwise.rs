//! Depthwise convolution: one window for each channel, channels in vectors.
//!
//! A block of neighbouring output columns shares each tap's weights; the weights are packed as `[row, column, channel]`.
//! Borders are segments of their own, so there is no padded copy of the image.

use avocet_ir::kernel::{Access, Element, KernelBuilder, ValueId};
use avocet_ir::op::{Layout, Op};
use avocet_ir::schedule::Tile;
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::problem::Problem;
use crate::sliding::Sliding;

/// Windows of up to this many rows are written out; taller ones are a loop over their rows.
const WRITTEN_ROWS: usize = 3;

/// A depthwise convolution with as many outputs as inputs.
pub(crate) fn generate(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Conv(conv), [image, weight_type, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a convolution", problem.op.name())));
    };
    let Some(weights) = problem.constants[1].and_then(|t| t.as_f32()) else {
        return Err(LowerError::unsupported(problem, "convolution with computed weights"));
    };
    let channels = image.shape[image.shape.rank() - 1];
    if conv.layout != Layout::Nhwc || conv.groups != channels || weight_type.shape[0] != channels {
        return Err(LowerError::unsupported(problem, "this convolution as a depthwise one"));
    }
    let window = [weight_type.shape[2], weight_type.shape[3]];
    let taps = window[0] * window[1];
    let packed: Vec<f32> =
        (0..taps * channels).map(|i| weights[i % channels * taps + i / channels]).collect();
    let packed = emitter.constant(TensorData::F32(packed.into()));

    let lanes = tile.lanes;
    let mut b = KernelBuilder::new("depthwise");
    let x = b.buffer("x", Element::F32, image.shape.elements(), Access::Read);
    let w = b.buffer("w", Element::F32, taps * channels, Access::Read);
    let y = b.buffer("y", Element::F32, problem.output.shape.elements(), Access::Write);
    let mut operands = vec![Operand::Input(0), packed, Operand::Output];
    let epilogue = Epilogue::new(problem, &[1, 1, 1, 1], &mut b, &mut operands)?;
    let sliding =
        Sliding::new(&image.shape, &problem.output.shape, window, conv.strides, conv.dilations, conv.padding);
    let [tap_row, tap_column] = sliding.tap_strides();
    sliding.emit(&mut b, lanes, tile.rows, |b, block| {
        let zero = b.f32(lanes, 0.0);
        let channel = &block.at[3];
        let first_weight = channel + (block.rows.taps.start * window[1] + block.row.taps.start) * channels;
        // One row of taps, `row` rows below the first that is inside.
        let taps = |b: &mut KernelBuilder, row: avocet_ir::kernel::Affine, sums: &[ValueId]| {
            let mut sums = sums.to_vec();
            for tap in 0..block.row.taps.len() {
                let index = &first_weight + &row * (window[1] * channels) + tap * channels;
                let weight = b.load_partial(lanes, block.valid, w, index);
                for (column, sum) in sums.iter_mut().enumerate() {
                    let index = &block.image
                        + (&row * tap_row)
                        + (tap * tap_column + column * sliding.column_stride());
                    let pixel = b.load_partial(lanes, block.valid, x, index);
                    *sum = b.mul_add(pixel, weight, *sum);
                }
            }
            sums
        };
        let mut sums = vec![zero; block.columns];
        let rows = block.rows.taps.len();
        if rows <= WRITTEN_ROWS {
            for row in 0..rows {
                sums = taps(b, row.into(), &sums);
            }
        } else {
            sums = b.repeat_carrying(rows, &sums, |b, row, sums| taps(b, row, sums));
        }
        for (column, &sum) in sums.iter().enumerate() {
            let mut at = block.at.clone();
            at[2] = &at[2] + column;
            let value = epilogue.apply(b, sum, &at, block.valid);
            b.store_partial(y, sliding.result(&at), value, block.valid);
        }
    });
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
