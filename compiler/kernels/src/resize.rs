//! Resizing of channels-last images, nearest or bilinear.
//!
//! What is sampled depends on sizes alone, so it is worked out here: a kernel computes one row of the result, its columns
//! written out, and is called once for each row on the rows of the image that it needs. The weights of those two rows are
//! the only numbers that differ between calls, and come from a constant.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, Kernel, KernelBuilder};
use avocet_ir::op::{Layout, NearestRounding, Op, Resize, ResizeMode, sampling};
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::movement;
use crate::problem::Problem;

/// Most rows of results, each of which is a call, and most columns, each of which is code.
const MOST_ROWS: usize = 1 << 18;
const MOST_COLUMNS: usize = 1 << 15;

/// Sizes of a resize.
struct Sizes {
    batch: usize,
    channels: usize,
    /// Rows and columns of the image.
    from: [usize; 2],
    /// Rows and columns of the result.
    to: [usize; 2],
}

/// Any resize of images.
pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Resize(resize), [image, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a resize", problem.op.name())));
    };
    if resize.layout != Layout::Nhwc || !problem.epilogue.is_empty() {
        return Err(LowerError::unsupported(
            problem,
            "a resize of channels-first images or with an epilogue",
        ));
    }
    let sizes = Sizes {
        batch: image.shape[0],
        channels: image.shape[3],
        from: [image.shape[1], image.shape[2]],
        to: [problem.output.shape[1], problem.output.shape[2]],
    };
    if sizes.batch.saturating_mul(sizes.to[0]) > MOST_ROWS || sizes.to[1] > MOST_COLUMNS {
        return Err(LowerError::unsupported(problem, format!("a resize to {}", problem.output)));
    }
    match resize.mode {
        ResizeMode::Nearest(rounding) => nearest(resize, rounding, &sizes, lanes, emitter),
        ResizeMode::Linear => linear(resize, &sizes, lanes, emitter),
    }
    Ok(())
}

/// Source coordinates of one axis.
fn coordinates(resize: &Resize, sizes: &Sizes, axis: usize) -> Vec<f32> {
    let (extent, size) = (sizes.from[axis], sizes.to[axis]);
    let at = |i| sampling::source(resize.coordinates, i, extent, size, resize.scales[axis]);
    (0..size).map(at).collect()
}

/// Bytes where a row of an image starts.
fn row(sizes: &Sizes, [rows, columns]: [usize; 2], n: usize, row: usize) -> usize {
    (n * rows + row) * columns * sizes.channels * 4
}

fn nearest(resize: &Resize, rounding: NearestRounding, sizes: &Sizes, lanes: usize, emitter: &mut Emitter) {
    let places = |axis: usize| -> Vec<usize> {
        let last = sizes.from[axis].saturating_sub(1);
        coordinates(resize, sizes, axis).into_iter().map(|at| sampling::nearest(rounding, at, last)).collect()
    };
    let (rows, columns) = (places(0), places(1));
    let mut b = KernelBuilder::new("resize_nearest");
    let x = b.buffer("x", Element::F32, sizes.from[1] * sizes.channels, Access::Read);
    let y = b.buffer("y", Element::F32, sizes.to[1] * sizes.channels, Access::Write);
    for (column, from) in columns.into_iter().enumerate() {
        let (source, target) = (Affine::from(from * sizes.channels), Affine::from(column * sizes.channels));
        movement::run(&mut b, (x, source), (y, target), sizes.channels, lanes);
    }
    let kernel = b.finish();
    for n in 0..sizes.batch {
        for (number, &from) in rows.iter().enumerate() {
            let source = (Operand::Input(0), row(sizes, sizes.from, n, from));
            let target = (Operand::Output, row(sizes, sizes.to, n, number));
            emitter.call_at(kernel.clone(), vec![source, target], Vec::new());
        }
    }
}

/// Two neighbouring elements and the share of the second.
struct Between {
    low: usize,
    high: usize,
    share: f32,
}

fn between(at: f32, extent: usize) -> Between {
    let last = extent.saturating_sub(1);
    let at = f64::from(at).clamp(0.0, last as f64);
    let low = at.floor() as usize;
    Between { low, high: (low + 1).min(last), share: (at - at.floor()) as f32 }
}

fn linear(resize: &Resize, sizes: &Sizes, lanes: usize, emitter: &mut Emitter) {
    let all = |axis: usize| -> Vec<Between> {
        coordinates(resize, sizes, axis).into_iter().map(|at| between(at, sizes.from[axis])).collect()
    };
    let (rows, columns) = (all(0), all(1));
    let shares: Vec<f32> = rows.iter().flat_map(|r| [1.0 - r.share, r.share]).collect();
    let weights = emitter.constant(TensorData::F32(shares.into()));
    let kernel = linear_row(sizes, &columns, lanes);
    for n in 0..sizes.batch {
        for (number, between) in rows.iter().enumerate() {
            let arguments = vec![
                (Operand::Input(0), row(sizes, sizes.from, n, between.low)),
                (Operand::Input(0), row(sizes, sizes.from, n, between.high)),
                (weights, number * 8),
                (Operand::Output, row(sizes, sizes.to, n, number)),
            ];
            emitter.call_at(kernel.clone(), arguments, Vec::new());
        }
    }
}

/// One row from two rows of the image and their weights.
fn linear_row(sizes: &Sizes, columns: &[Between], lanes: usize) -> Kernel {
    let mut b = KernelBuilder::new("resize_linear");
    let [above, below] = ["above", "below"]
        .map(|name| b.buffer(name, Element::F32, sizes.from[1] * sizes.channels, Access::Read));
    let weights = b.buffer("weights", Element::F32, 2, Access::Read);
    let y = b.buffer("y", Element::F32, sizes.to[1] * sizes.channels, Access::Write);
    let [first, second] = [0usize, 1].map(|i| b.load_broadcast(lanes, weights, i));
    for (column, between) in columns.iter().enumerate() {
        let [low, high] = [1.0 - between.share, between.share].map(|share| b.f32(lanes, share));
        b.blocks(sizes.channels, lanes, |b, channel, valid| {
            let line = |b: &mut KernelBuilder, buffer: BufferId| {
                let [left, right] = [between.low, between.high]
                    .map(|c| b.load_partial(lanes, valid, buffer, &channel + c * sizes.channels));
                let left = b.mul(left, low);
                b.mul_add(right, high, left)
            };
            let (top, bottom) = (line(b, above), line(b, below));
            let top = b.mul(top, first);
            let value = b.mul_add(bottom, second, top);
            b.store_partial(y, channel + column * sizes.channels, value, valid);
        });
    }
    b.finish()
}
