//! Direct convolution, dense or in groups: any window, stride, dilation and padding.
//!
//! The image is copied into a frame of zeros when there is padding, so that all positions are alike. The result is
//! computed in blocks of output columns by vectors of output channels; the weights are packed in panels of the block's
//! width, each in the order (row of the window, column, input channel). Groups follow one another.

use avocet_ir::kernel::{Access, Affine, Element, KernelBuilder};
use avocet_ir::op::{Conv, Layout, Op, Padding};
use avocet_ir::schedule::{Outer, Tile};

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::microkernel::{self, Block, Step};
use crate::movement;
use crate::pack::{Matrix, Packing};
use crate::problem::Problem;

/// Sizes of a convolution in channels-last layout.
struct Sizes {
    batch: usize,
    /// Padded height and width of the image.
    image: [usize; 2],
    /// Elements between pixels of the image and of the result.
    pitch: [usize; 2],
    /// Elements between channels of the image where they come first.
    plane: Option<usize>,
    /// Input channels.
    inputs: usize,
    /// Height and width of the result.
    result: [usize; 2],
    /// Output channels.
    outputs: usize,
    window: [usize; 2],
}

/// A convolution.
pub(crate) fn generate(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Conv(conv), [image, weight_type, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a convolution", problem.op.name())));
    };
    if conv.layout != Layout::Nhwc || (problem.plane.is_some() && conv.groups > 1) {
        return Err(LowerError::unsupported(problem, "convolution of channels-first images"));
    }
    let Padding { top, left, bottom, right } = conv.padding;
    let padded = [image.shape[1] + top + bottom, image.shape[2] + left + right];
    // Of the padded copy, where there is one.
    let (pitch, plane) = match (conv.padding.is_none(), problem.plane) {
        (true, plane) => (problem.pitches[0], plane),
        (false, Some(_)) => (1, Some(padded[0] * padded[1])),
        (false, None) => (image.shape[3], None),
    };
    let sizes = Sizes {
        batch: image.shape[0],
        image: padded,
        pitch: [pitch, problem.pitch],
        plane,
        inputs: image.shape[3],
        result: [problem.output.shape[1], problem.output.shape[2]],
        outputs: problem.output.shape[3],
        window: [weight_type.shape[2], weight_type.shape[3]],
    };
    let packing = pack(&sizes, conv, tile);
    let packed_length = packing.length;
    let packed = packing.operand(problem, emitter);
    let source = if conv.padding.is_none() {
        Operand::Input(0)
    } else {
        pad(problem, conv.padding, tile.lanes, emitter)
    };

    let mut b = KernelBuilder::new(if conv.groups == 1 { "conv" } else { "grouped_conv" });
    let pixels = sizes.image[0] * sizes.image[1];
    let elements = match sizes.plane {
        Some(plane) => (sizes.batch * sizes.inputs).saturating_sub(1) * plane + pixels,
        None => (sizes.batch * pixels * sizes.pitch[0]).saturating_sub(sizes.pitch[0] - sizes.inputs),
    };
    let x = b.buffer("x", Element::F32, elements, Access::Read);
    let w = b.buffer("w", Element::F32, packed_length, Access::Read);
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![source, packed, Operand::Output];
    let epilogue = Epilogue::new(problem, &[1, 1, 1, 1], &mut b, &mut operands)?;

    let reduction = reduction(&sizes, conv);
    let per_group = sizes.outputs / conv.groups;
    let taps = sizes.window[0] * sizes.window[1] * sizes.inputs / conv.groups;
    let group_weights = per_group.next_multiple_of(tile.lanes) * taps;
    let [row_step, column_step] =
        [conv.strides[0] * sizes.image[1] * sizes.pitch[0], conv.strides[1] * sizes.pitch[0]];
    // One block of positions and channels.
    let block = |b: &mut KernelBuilder,
                 group: &Affine,
                 at: [Affine; 3],
                 columns: usize,
                 channels: (Affine, usize)| {
        let [n, row, column] = at;
        let (channel, channels) = channels;
        let vectors = channels.div_ceil(tile.lanes);
        let last = channels - (vectors - 1) * tile.lanes;
        let image = sizes.plane.map_or(pixels * sizes.pitch[0], |plane| sizes.inputs * plane);
        let start =
            &n * image + &row * row_step + &column * column_step + group * (sizes.inputs / conv.groups);
        let block = Block {
            image: (x, start),
            row_stride: column_step,
            weights: (w, group * group_weights + &channel * taps),
            rows: columns,
            vectors,
            lanes: tile.lanes,
            last_valid: tile.lanes,
        };
        // A panel's row in the weights is as wide as the panel.
        let steps: Vec<Step> =
            reduction.iter().map(|s| Step { weights: s.weights * vectors * tile.lanes, ..*s }).collect();
        let place = |r: usize, v: usize| {
            let channel = group * per_group + channel.clone() + v * tile.lanes;
            let at = [n.clone(), row.clone(), &column + r, channel];
            let index = position(&sizes, &at);
            (at.to_vec(), index)
        };
        microkernel::compute(b, &block, &steps, &epilogue, last, (y, place));
    };
    let positions = |b: &mut KernelBuilder, body: &mut dyn FnMut(&mut KernelBuilder, [Affine; 3], usize)| {
        b.repeat(sizes.batch, |b, n| {
            b.repeat(sizes.result[0], |b, row| {
                b.blocks(sizes.result[1], tile.rows, |b, column, columns| {
                    body(b, [n.clone(), row.clone(), column], columns);
                });
            });
        });
    };
    b.repeat(conv.groups, |b, group| match tile.outer {
        Outer::Channels => b.blocks(per_group, tile.width(), |b, channel, channels| {
            positions(b, &mut |b, at, columns| block(b, &group, at, columns, (channel.clone(), channels)));
        }),
        Outer::Positions => positions(b, &mut |b, at, columns| {
            b.blocks(per_group, tile.width(), |b, channel, channels| {
                block(b, &group, at.clone(), columns, (channel, channels));
            });
        }),
    });
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}

/// Index of an element of the result.
fn position(sizes: &Sizes, [n, row, column, channel]: &[Affine; 4]) -> Affine {
    let [height, width] = sizes.result;
    let pitch = sizes.pitch[1];
    n * (height * width * pitch) + row * (width * pitch) + column * pitch + channel.clone()
}

/// The loops over the window and the input channels; steps in the weights are in rows of a panel.
fn reduction(sizes: &Sizes, conv: &Conv) -> Vec<Step> {
    let per_group = sizes.inputs / conv.groups;
    let [height, width] = sizes.window;
    let row = conv.dilations[0] * sizes.image[1] * sizes.pitch[0];
    let mut steps = vec![Step { count: height, image: row, weights: width * per_group }];
    if let Some(plane) = sizes.plane {
        steps.push(Step { count: per_group, image: plane, weights: width });
        steps.push(Step { count: width, image: conv.dilations[1], weights: 1 });
        return steps;
    }
    let one_run = sizes.pitch[0] == sizes.inputs && conv.dilations[1] == 1;
    if conv.groups == 1 && (one_run || width == 1) {
        // Neighbouring pixels with all their channels are one run.
        steps.push(Step { count: width * per_group, image: 1, weights: 1 });
    } else {
        steps.push(Step { count: width, image: conv.dilations[1] * sizes.pitch[0], weights: per_group });
        steps.push(Step { count: per_group, image: 1, weights: 1 });
    }
    steps
}

/// Panels of each group, one group after the other. The model's weights are `[out, in, row, column]`; the reduction is over
/// taps and their input channels, or over rows, input channels and columns where channels are planes.
fn pack(sizes: &Sizes, conv: &Conv, tile: Tile) -> Packing {
    let (inputs, outputs) = (sizes.inputs / conv.groups, sizes.outputs / conv.groups);
    let [height, width] = sizes.window;
    let taps = height * width;
    let (rows, columns, channels) = ((height, width), (width, 1), (inputs, taps));
    let reduction = match sizes.plane {
        Some(_) => [rows, channels, columns],
        None => [rows, columns, channels],
    };
    let matrix = Matrix {
        groups: (conv.groups, outputs * inputs * taps),
        channels: (outputs, inputs * taps),
        reduction: &reduction,
    };
    Packing::panels(&matrix, tile.width(), tile.lanes)
}

/// Copies the image into a frame of zeros; one around each plane where channels come first.
fn pad(problem: &Problem, padding: Padding, lanes: usize, emitter: &mut Emitter) -> Operand {
    let [batch, height, width, channels] = [0, 1, 2, 3].map(|i| problem.inputs[0].shape[i]);
    let pitch = problem.pitches[0];
    let (batch, channels, image) = match problem.plane {
        Some(plane) => (batch * channels, 1, plane),
        None => (batch, channels, height * width * pitch),
    };
    let [rows, columns] = [height + padding.top + padding.bottom, width + padding.left + padding.right];
    let elements = batch * rows * columns * channels;
    let scratch = emitter.scratch(elements * 4);
    let (line, plane) = (columns * channels, rows * columns * channels);
    let mut b = KernelBuilder::new("pad");
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let y = b.buffer("y", Element::F32, elements, Access::Write);
    b.repeat(batch, |b, n| {
        let zeros = |b: &mut KernelBuilder, start: Affine, count: usize| {
            b.blocks(count, lanes, |b, index, valid| {
                let zero = b.f32(lanes, 0.0);
                b.store_partial(y, &start + index, zero, valid);
            });
        };
        zeros(b, &n * plane, padding.top * line + padding.left * channels);
        b.repeat(height, |b, row| {
            let start = &n * plane + (&row * line) + (padding.top * line + padding.left * channels);
            let source = &n * image + &row * (width * pitch);
            if pitch == channels {
                movement::run(b, (x, source), (y, start.clone()), width * channels, lanes);
            } else {
                b.repeat(width, |b, column| {
                    let (from, to) = (&source + &column * pitch, &start + &column * channels);
                    movement::run(b, (x, from), (y, to), channels, lanes);
                });
            }
            zeros(b, start + width * channels, padding.right * channels);
        });
        if padding.left > 0 {
            // The left edge of the first row was written with the rows above it.
            b.repeat(height.saturating_sub(1), |b, row| {
                let start = &n * plane + &row * line + (padding.top + 1) * line;
                zeros(b, start, padding.left * channels);
            });
        }
        zeros(b, &n * plane + (padding.top + height) * line, padding.bottom * line);
    });
    emitter.call(b.finish(), &[Operand::Input(0), scratch]);
    scratch
}
