//! Two-dimensional pooling.
//!
//! Windows that see no element of the image at all (dilation can let every tap fall on padding) give 0 as an average, as
//! in ONNX Runtime, and as a maximum minus infinity, its neutral element (ONNX Runtime: the lowest finite number). With `count_padding`, the divisor counts the taps inside the
//! padded image; taps beyond it, which only `ceil_mode` can bring about, never count (ONNX since opset 19, and
//! PyTorch). A maximum is NaN when an element under the window is, as in PyTorch; ONNX leaves that open.

use avocet_ir::op::{Layout, Pool, PoolKind};
use avocet_ir::{Op, Tensor, TensorType};

use super::arithmetic::max;
use super::parallel::for_each_chunk;
use super::{EvaluateError, f32_data};

pub(super) fn pool(pool: &Pool, op: &Op, x: &Tensor, output: &TensorType) -> Result<Vec<f32>, EvaluateError> {
    let data = f32_data(op, x)?;
    let (dims, out_dims) = (x.shape().dims(), output.dims());
    let [height, width] = pool.layout.spatial_axes().map(|axis| dims[axis]);
    let [rows, columns] = pool.layout.spatial_axes().map(|axis| out_dims[axis]);
    let channels = dims[pool.layout.channel_axis()];
    let strides = x.shape().strides();
    let ([stride_y, stride_x], stride_c) =
        (pool.layout.spatial_axes().map(|axis| strides[axis]), strides[pool.layout.channel_axis()]);

    let mut out = vec![0.0; output.shape.elements()];
    let work = out.len().saturating_mul(pool.window[0].saturating_mul(pool.window[1]));
    // One chunk is one image of the batch in NHWC, one plane in NCHW.
    let (chunk, per_batch) = match pool.layout {
        Layout::Nchw => (rows * columns, channels),
        Layout::Nhwc => (rows * columns * channels, 1),
    };
    for_each_chunk(&mut out, chunk, work, |index, out| {
        // An empty image has no elements to start from, but windows over its padding.
        let image = data.get(index / per_batch.max(1) * strides[0]..).unwrap_or(&[]);
        for (i, out) in out.iter_mut().enumerate() {
            let (channel, position) = match pool.layout {
                Layout::Nchw => (index % channels, i),
                Layout::Nhwc => (i % channels, i / channels),
            };
            let ys = Taps::new(pool, 0, position / columns, height, pool.padding.top, pool.padding.bottom);
            let xs = Taps::new(pool, 1, position % columns, width, pool.padding.left, pool.padding.right);
            let elements = ys.inside().flat_map(|y| {
                xs.inside().map(move |x| image[y * stride_y + x * stride_x + channel * stride_c])
            });
            let elements = elements.map(f64::from);
            let value = match pool.kind {
                PoolKind::Max => elements.fold(f64::NEG_INFINITY, max),
                PoolKind::Average { count_padding } => {
                    let count = match count_padding {
                        true => ys.padded as f64 * xs.padded as f64,
                        false => ys.count as f64 * xs.count as f64,
                    };
                    elements.sum::<f64>() / count.max(1.0)
                }
            };
            *out = value as f32;
        }
    });
    Ok(out)
}

/// Where the taps of one window fall along one axis.
struct Taps {
    /// Image coordinate of the first tap inside the image.
    first: usize,
    /// Number of taps inside the image.
    count: usize,
    /// Number of taps inside the padded image.
    padded: usize,
    dilation: usize,
}

impl Taps {
    /// Found by arithmetic rather than by trying each tap: a hostile model's window may be far larger than its image.
    fn new(pool: &Pool, axis: usize, position: usize, extent: usize, before: usize, after: usize) -> Self {
        let (window, dilation) = (pool.window[axis], pool.dilations[axis]);
        // Coordinates here count from the start of the leading padding.
        let start = position * pool.strides[axis];
        let taps_below = |end: usize| end.saturating_sub(start).div_ceil(dilation).min(window);
        let (skipped, seen) = (taps_below(before), taps_below(before + extent));
        let first = if skipped < seen { start + skipped * dilation - before } else { 0 };
        Taps { first, count: seen - skipped, padded: taps_below(before + extent + after), dilation }
    }

    /// Image coordinates of the taps inside the image.
    fn inside(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, dilation) = (self.first, self.dilation);
        (0..self.count).map(move |tap| first + tap * dilation)
    }
}
