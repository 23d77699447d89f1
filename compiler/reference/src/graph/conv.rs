//! Two-dimensional grouped convolution.

use std::ops::Range;

use avocet_ir::op::{Conv, Layout};
use avocet_ir::{Op, Tensor, TensorType};

use super::gather::{gather, linear};
use super::parallel::for_each_chunk;
use super::{EvaluateError, f32_data};

/// The convolution in its own layout. Images in NHWC are brought to NCHW first and back afterwards, so that there is
/// one loop nest to trust.
pub(super) fn conv(
    conv: &Conv,
    op: &Op,
    x: &Tensor,
    w: &Tensor,
    output: &TensorType,
) -> Result<Vec<f32>, EvaluateError> {
    let (x_data, weights) = (f32_data(op, x)?, f32_data(op, w)?);
    if output.shape.elements() == 0 || weights.is_empty() {
        // No weights: every sum is empty. The kernel's other dimensions may be immense, so nothing is made of them.
        return Ok(vec![0.0; output.shape.elements()]);
    }
    let nchw = |dims: &[usize]| match conv.layout {
        Layout::Nchw => [dims[0], dims[1], dims[2], dims[3]],
        Layout::Nhwc => [dims[0], dims[3], dims[1], dims[2]],
    };
    let (input, result) = (nchw(x.shape().dims()), nchw(output.dims()));
    match conv.layout {
        Layout::Nchw => Ok(conv_nchw(conv, x_data, input, weights, w.shape().dims(), result)),
        Layout::Nhwc => {
            let out = conv_nchw(conv, &to_nchw(x_data, input), input, weights, w.shape().dims(), result);
            Ok(to_nhwc(&out, result))
        }
    }
}

/// Each plane of the result by itself: `out[n, o] = sum over c, ky, kx of weights[o, c, ky, kx] * shifted x[n, c]`,
/// the sum in f64.
fn conv_nchw(
    conv: &Conv,
    x: &[f32],
    [_, channels, height, width]: [usize; 4],
    weights: &[f32],
    kernel: &[usize],
    [batch, out_channels, rows, columns]: [usize; 4],
) -> Vec<f32> {
    let (per_group, taps_y, taps_x) = (kernel[1], kernel[2], kernel[3]);
    let outputs_per_group = out_channels / conv.groups;
    let (plane, out_plane) = (height * width, rows * columns);
    let [stride_y, stride_x] = conv.strides;
    let ys: Vec<Reach> = (0..taps_y)
        .map(|tap| Reach::new(tap * conv.dilations[0], conv.padding.top, stride_y, height, rows))
        .collect();
    let xs: Vec<Reach> = (0..taps_x)
        .map(|tap| Reach::new(tap * conv.dilations[1], conv.padding.left, stride_x, width, columns))
        .collect();

    let mut out = vec![0.0; batch * out_channels * out_plane];
    let work = out.len().saturating_mul(per_group * taps_y * taps_x);
    for_each_chunk(&mut out, out_plane, work, |index, out| {
        let (n, o) = (index / out_channels, index % out_channels);
        let first_channel = o / outputs_per_group * per_group;
        let mut sums = vec![0.0f64; out_plane];
        for c in 0..per_group {
            let image = &x[(n * channels + first_channel + c) * plane..][..plane];
            let filter = &weights[(o * per_group + c) * taps_y * taps_x..][..taps_y * taps_x];
            for (reach_y, filter_row) in ys.iter().zip(filter.chunks_exact(taps_x)) {
                for (reach_x, &weight) in xs.iter().zip(filter_row) {
                    let weight = f64::from(weight);
                    if reach_x.positions.is_empty() {
                        continue;
                    }
                    for (i, row) in reach_y.positions.clone().enumerate() {
                        let source = &image[(reach_y.first + i * stride_y) * width..][..width];
                        let sums = &mut sums[row * columns..][reach_x.positions.clone()];
                        accumulate(sums, weight, &source[reach_x.first..], stride_x);
                    }
                }
            }
        }
        out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = sum as f32);
    });
    out
}

/// `sums[i] += weight * source[i * stride]`.
fn accumulate(sums: &mut [f64], weight: f64, source: &[f32], stride: usize) {
    if stride == 1 {
        // The same as below; it runs along memory, so the compiler uses vectors.
        sums.iter_mut().zip(source).for_each(|(sum, &x)| *sum += weight * f64::from(x));
    } else {
        sums.iter_mut()
            .zip(source.iter().step_by(stride))
            .for_each(|(sum, &x)| *sum += weight * f64::from(x));
    }
}

/// The window positions along one axis at which one tap lies inside the image.
struct Reach {
    /// Those positions; outside them the tap reads padding, which adds nothing.
    positions: Range<usize>,
    /// The image coordinate under the tap at the first of them.
    first: usize,
}

impl Reach {
    /// `offset` is the tap's distance from the window's start. At position `p` the tap lies at image coordinate
    /// `p * stride + offset - before`.
    fn new(offset: usize, before: usize, stride: usize, extent: usize, positions: usize) -> Self {
        let start = before.saturating_sub(offset).div_ceil(stride);
        // Positions whose coordinate is below `extent`: p * stride < extent + before - offset.
        let end = (extent + before).saturating_sub(offset).div_ceil(stride).min(positions);
        // Where there are such positions, their coordinates don't overflow, because they lie inside the padded image.
        let first = if start < end { start * stride + offset - before } else { 0 };
        Reach { positions: start.min(end)..end, first }
    }
}

/// An NHWC image of these NCHW dimensions, in NCHW.
pub(super) fn to_nchw(x: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    gather(x, &[linear(n, h * w * c), linear(c, 1), linear(h, w * c), linear(w, c)], 0.0)
}

/// An NCHW image of these dimensions, in NHWC.
pub(super) fn to_nhwc(x: &[f32], [n, c, h, w]: [usize; 4]) -> Vec<f32> {
    gather(x, &[linear(n, c * h * w), linear(h, w), linear(w, 1), linear(c, h * w)], 0.0)
}
