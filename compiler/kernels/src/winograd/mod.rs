//! Winograd convolution: 3x3 windows, stride 1, in tiles of 2x2 or 4x4 results (Lavin and Gray, arXiv:1509.09308).
//!
//! A tile of `m` by `m` results comes from `m + 2` by `m + 2` pixels. Both the pixels and the weights are transformed to as
//! many positions; at each position a matrix product over the channels stands for the convolution, and a transform of the
//! products gives the results: 16 multiplications for 4 results where the direct way needs 36, or 36 for 16 instead of 144.
//! The weights are transformed here, in f64.
//!
//! Tiles are computed in strips of rows of tiles, so that the transformed pixels stay in cache: one kernel transforms the
//! pixels of a strip ([`input`]), one multiplies and transforms back ([`product`]), each called at offsets for all strips.
//!
//! Error, relative to the largest result, measured against f64 on what a ReLU leaves of normally distributed pixels and
//! weights as in trained networks: with 512 input channels 7e-7 for tiles of 2 and 3e-6 for tiles of 4, where the direct sum
//! has 2e-6. The bounds are 2e-6 and 1e-5; the test `errors` holds it below.

mod input;
mod linear;
mod points;
mod product;
mod strip;
mod weights;

use avocet_ir::op::{Conv, Layout, Op};
use avocet_ir::schedule::Winograd;

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::problem::Problem;
use points::Points;
use strip::Strip;

/// Sizes of the convolution, images in channels-last layout.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Height and width of the image.
    image: [usize; 2],
    /// Rows and columns of padding before the image.
    before: [usize; 2],
    /// Input channels.
    inputs: usize,
    /// Height and width of the result.
    result: [usize; 2],
    /// Output channels.
    outputs: usize,
    /// Elements between pixels of the image and of the result.
    pitch: [usize; 2],
    /// Tiles below one another and side by side.
    tiles: [usize; 2],
}

/// Elements of a cache line.
const LINE: usize = 16;

/// Distance between two runs of so many elements, such as the matrices of two positions: an odd number of cache lines, because
/// a tile's elements at all positions are used together, and with a power of two they would all be in one set of the cache.
pub(crate) fn spread(elements: usize) -> usize {
    (elements.div_ceil(LINE) | 1) * LINE
}

/// Distance between the transformed pixels of two tiles. Rows of the matrix products that are used together should not
/// share a set of the cache either.
fn row_width(sizes: &Sizes, lanes: usize) -> usize {
    let width = sizes.inputs.next_multiple_of(lanes);
    if width.is_multiple_of(8 * LINE) { width + LINE } else { width }
}

/// A convolution with a window of 3x3, stride 1 and without dilation and groups.
pub(crate) fn generate(
    problem: &Problem,
    schedule: Winograd,
    emitter: &mut Emitter,
) -> Result<(), LowerError> {
    let (Op::Conv(conv), [image, window, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a convolution", problem.op.name())));
    };
    let Some(constant) = problem.constants[1].and_then(|t| t.as_f32()) else {
        return Err(LowerError::unsupported(problem, "convolution with computed weights"));
    };
    let Conv { strides, dilations, groups, layout, padding } = *conv;
    let plain = strides == [1, 1] && dilations == [1, 1] && groups == 1 && layout == Layout::Nhwc;
    if !plain || window.dims()[2..] != [3, 3] {
        return Err(LowerError::unsupported(problem, "this convolution by Winograd's method"));
    }
    let Some(points) = Points::of(schedule.output) else {
        let what = format!("Winograd's method with tiles of {}", schedule.output);
        return Err(LowerError::unsupported(problem, what));
    };
    let result = [problem.output.shape[1], problem.output.shape[2]];
    let sizes = Sizes {
        image: [image.shape[1], image.shape[2]],
        before: [padding.top, padding.left],
        inputs: image.shape[3],
        result,
        outputs: problem.output.shape[3],
        pitch: [problem.pitches[0], problem.pitch],
        tiles: result.map(|extent| extent.div_ceil(schedule.output)),
    };
    let packed = emitter.constant(weights::pack(&sizes, &points, constant, &schedule));
    let most_tiles = schedule.rows.clamp(1, sizes.tiles[0]) * sizes.tiles[1];
    let bytes = |channels: usize| points.positions() * spread(most_tiles * channels) * 4;
    let transformed = emitter.scratch(bytes(row_width(&sizes, schedule.tile.lanes)));
    let products = emitter.scratch(bytes(product::group_width(&sizes, &schedule)));
    for image in 0..image.shape[0] {
        for strip in Strip::all(&sizes, &schedule, image) {
            let kernel = input::kernel(&sizes, &points, &strip, schedule.tile.lanes);
            let offset = strip.image_offset(&sizes);
            emitter.call_at(kernel, vec![(Operand::Input(0), offset), (transformed, 0)], Vec::new());
            let operands = [transformed, packed, products];
            product::call(problem, &sizes, &points, &schedule, &strip, operands, emitter)?;
        }
    }
    Ok(())
}
