use avocet_ir::op::{Pool, PoolKind, SliceAxis};
use proptest::prelude::*;

use super::*;

#[test]
fn sums_products_under_the_window() {
    let x = t(&[1, 1, 3, 3], &[1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    let w = t(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    // 1*1 + 2*2 + 4*3 + 5*4 = 37 and so on: correlation, the kernel is not flipped.
    check(&Op::Conv(plain_conv(Layout::Nchw)), &[&x, &w], &[1, 1, 2, 2], &[37., 47., 67., 77.]);
}

#[test]
fn sums_over_input_channels() {
    let x = t(&[1, 2, 1, 2], &[1., 2., 10., 20.]);
    let w = t(&[2, 2, 1, 1], &[1., 1., 2., -1.]);
    check(&Op::Conv(plain_conv(Layout::Nchw)), &[&x, &w], &[1, 2, 1, 2], &[11., 22., -8., -16.]);
    let x = t(&[1, 1, 2, 2], &[1., 10., 2., 20.]);
    check(&Op::Conv(plain_conv(Layout::Nhwc)), &[&x, &w], &[1, 1, 2, 2], &[11., -8., 22., -16.]);
}

#[test]
fn asymmetric_padding_and_stride() {
    let x = t(&[1, 1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    let w = t(&[1, 1, 2, 2], &[1., 10., 100., 1000.]);
    let padding = Padding { top: 1, left: 0, bottom: 0, right: 2 };
    let op = Op::Conv(Conv { padding, strides: [1, 2], ..plain_conv(Layout::Nchw) });
    // Rows above the image and columns to its right are zeros.
    check(&op, &[&x, &w], &[1, 1, 2, 2], &[2100., 300., 5421., 603.]);
}

#[test]
fn dilation_spreads_the_taps() {
    let x = t(&[1, 1, 1, 5], &[1., 2., 3., 4., 5.]);
    let w = t(&[1, 1, 1, 3], &[1., 10., 100.]);
    let op = Op::Conv(Conv { dilations: [1, 2], ..plain_conv(Layout::Nchw) });
    check(&op, &[&x, &w], &[1, 1, 1, 1], &[531.]);
    let padding = Padding { left: 3, right: 1, ..Padding::default() };
    let op = Op::Conv(Conv { dilations: [1, 2], padding, ..plain_conv(Layout::Nchw) });
    check(&op, &[&x, &w], &[1, 1, 1, 5], &[200., 310., 420., 531., 42.]);
}

#[test]
fn groups_see_only_their_channels() {
    let x = t(&[1, 4, 1, 1], &[1., 2., 3., 4.]);
    let w = t(&[2, 2, 1, 1], &[1., 10., 1., 10.]);
    let op = Op::Conv(Conv { groups: 2, ..plain_conv(Layout::Nchw) });
    check(&op, &[&x, &w], &[1, 2, 1, 1], &[21., 43.]);
    // Depthwise with a multiplier of two.
    let w = t(&[8, 1, 1, 1], &[1., 2., 1., 2., 1., 2., 1., 2.]);
    let op = Op::Conv(Conv { groups: 4, ..plain_conv(Layout::Nhwc) });
    let x = t(&[1, 1, 1, 4], &[1., 2., 3., 4.]);
    check(&op, &[&x, &w], &[1, 1, 1, 8], &[1., 2., 2., 4., 3., 6., 4., 8.]);
}

#[test]
fn accumulates_in_f64() {
    let x = t(&[1, 3, 1, 1], &[1e8, 1.0, -1e8]);
    let w = t(&[1, 3, 1, 1], &[1.0, 1.0, 1.0]);
    check(&Op::Conv(plain_conv(Layout::Nchw)), &[&x, &w], &[1, 1, 1, 1], &[1.0]);
}

#[test]
fn work_divided_among_threads_is_the_same() {
    // 64 planes of 32x32 with 8 * 9 taps: enough work for several threads; checked against depthwise pieces.
    let x = ramp(&[1, 8, 32, 32]);
    let w = ramp(&[64, 8, 3, 3]);
    let whole = values(&Op::Conv(plain_conv(Layout::Nchw)), &[&x, &w]);
    let one = |o: usize| {
        let mut axes: Vec<SliceAxis> =
            w.shape().dims().iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect();
        axes[0] = SliceAxis { start: o, count: 1, step: 1 };
        let filter = eval(&Op::Slice { axes }, &[&w]);
        values(&Op::Conv(plain_conv(Layout::Nchw)), &[&x, &filter])
    };
    let pieces: Vec<f32> = (0..64).flat_map(one).collect();
    assert_eq!(whole, pieces);
}

/// Direct evaluation of the definition, one output element at a time, with signed coordinates.
fn by_definition(conv: &Conv, x: &Tensor, w: &Tensor, out: &[usize]) -> Vec<f32> {
    let (xd, wd) = (x.shape().dims(), w.shape().dims());
    let (x, w) = (x.as_f32().expect("f32"), w.as_f32().expect("f32"));
    let per_group = out[1] / conv.groups;
    let mut result = Vec::new();
    for n in 0..out[0] {
        for o in 0..out[1] {
            for (y, column) in (0..out[2]).flat_map(|y| (0..out[3]).map(move |x| (y, x))) {
                let mut sum = 0.0f64;
                for c in 0..wd[1] {
                    for (ky, kx) in (0..wd[2]).flat_map(|ky| (0..wd[3]).map(move |kx| (ky, kx))) {
                        let iy = (y * conv.strides[0] + ky * conv.dilations[0]) as isize
                            - conv.padding.top as isize;
                        let ix = (column * conv.strides[1] + kx * conv.dilations[1]) as isize
                            - conv.padding.left as isize;
                        if iy >= 0 && ix >= 0 && (iy as usize) < xd[2] && (ix as usize) < xd[3] {
                            let channel = o / per_group * wd[1] + c;
                            let at = ((n * xd[1] + channel) * xd[2] + iy as usize) * xd[3] + ix as usize;
                            let weight = w[((o * wd[1] + c) * wd[2] + ky) * wd[3] + kx];
                            sum += f64::from(x[at]) * f64::from(weight);
                        }
                    }
                }
                result.push(sum as f32);
            }
        }
    }
    result
}

prop_compose! {
    /// A convolution that fits, with its image and weights.
    fn any_conv()(
        groups in 1usize..4, inputs in 1usize..3, outputs in 1usize..3, batch in 1usize..3,
        extent in [1usize..7, 1usize..7], window in [1usize..4, 1usize..4], strides in [1usize..4, 1usize..4],
        dilations in [1usize..4, 1usize..4], padding in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
    ) -> (Conv, Tensor, Tensor) {
        let [top, left, bottom, right] = padding;
        let room = |i: usize, around: usize| {
            let span = (window[i] - 1) * dilations[i] + 1;
            extent[i].max(span.saturating_sub(around))
        };
        let (height, width) = (room(0, top + bottom), room(1, left + right));
        let padding = Padding { top, left, bottom, right };
        let conv = Conv { strides, dilations, padding, groups, layout: Layout::Nchw };
        let x = ramp(&[batch, groups * inputs, height, width]);
        let w = ramp(&[groups * outputs, inputs, window[0], window[1]]);
        (conv, x, w)
    }
}

proptest! {
    #[test]
    fn equals_the_definition((conv, x, w) in any_conv()) {
        let out = eval(&Op::Conv(conv.clone()), &[&x, &w]);
        prop_assert_eq!(out.as_f32().expect("f32"), by_definition(&conv, &x, &w, out.shape().dims()));
    }

    #[test]
    fn nhwc_equals_transposed_nchw((conv, x, w) in any_conv()) {
        let out = eval(&Op::Conv(conv.clone()), &[&x, &w]);
        let x = eval(&transpose(&[0, 2, 3, 1]), &[&x]);
        let nhwc = eval(&Op::Conv(Conv { layout: Layout::Nhwc, ..conv }), &[&x, &w]);
        prop_assert_eq!(eval(&transpose(&[0, 3, 1, 2]), &[&nhwc]), out);
    }

    #[test]
    fn average_pool_is_depthwise_conv_with_equal_weights((conv, x, _) in any_conv(), window in [1usize..4, 1usize..4]) {
        let channels = x.shape()[1];
        // A power of two, so that the weight is exact; the padding counts as zeros do in a convolution.
        let area = (window[0] * window[1]) as f32;
        let w = t(&[channels, 1, window[0], window[1]], &vec![1.0; channels * window[0] * window[1]]);
        let pool = Pool {
            kind: PoolKind::Average { count_padding: true }, window, strides: conv.strides,
            dilations: conv.dilations, padding: conv.padding, ceil_mode: false, layout: Layout::Nchw,
        };
        let conv = Conv { groups: channels, ..conv };
        // Pooling refuses padding as wide as its window, and both refuse windows that don't fit.
        if let Ok(pooled) = evaluate(&Op::Pool(pool), &[&x]) {
            let sums = values(&Op::Conv(conv), &[&x, &w]);
            let means: Vec<f32> = sums.iter().map(|s| (f64::from(*s) / f64::from(area)) as f32).collect();
            prop_assert_eq!(pooled.as_f32().expect("f32"), means);
        }
    }

    #[test]
    fn a_grouped_conv_is_one_conv_for_each_group((conv, x, w) in any_conv()) {
        let out = eval(&Op::Conv(conv.clone()), &[&x, &w]);
        let part = |tensor: &Tensor, axis: usize, g: usize| {
            let axes = tensor.shape().dims().iter().enumerate().map(|(i, &extent)| match i == axis {
                true => SliceAxis { start: extent / conv.groups * g, count: extent / conv.groups, step: 1 },
                false => SliceAxis { start: 0, count: extent, step: 1 },
            });
            eval(&Op::Slice { axes: axes.collect() }, &[tensor])
        };
        let single = Op::Conv(Conv { groups: 1, ..conv.clone() });
        let parts: Vec<Tensor> =
            (0..conv.groups).map(|g| eval(&single, &[&part(&x, 1, g), &part(&w, 0, g)])).collect();
        let joined = eval(&Op::Concat { axis: 1 }, &parts.iter().collect::<Vec<_>>());
        prop_assert_eq!(joined, out);
    }
}
