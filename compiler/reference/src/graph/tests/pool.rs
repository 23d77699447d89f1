use avocet_ir::op::{Pool, PoolKind};

use super::*;

fn pool(kind: PoolKind, window: [usize; 2], strides: [usize; 2]) -> Pool {
    let (padding, layout) = (Padding::default(), Layout::Nchw);
    Pool { kind, window, strides, dilations: [1, 1], padding, ceil_mode: false, layout }
}

const MEAN: PoolKind = PoolKind::Average { count_padding: false };
const MEAN_WITH_PADDING: PoolKind = PoolKind::Average { count_padding: true };

#[test]
fn maximum_and_mean_of_each_window() {
    let x = t(&[1, 1, 2, 4], &[1., 5., 2., -1., 3., 4., 0., -7.]);
    check(&Op::Pool(pool(PoolKind::Max, [2, 2], [2, 2])), &[&x], &[1, 1, 1, 2], &[5., 2.]);
    check(&Op::Pool(pool(MEAN, [2, 2], [2, 2])), &[&x], &[1, 1, 1, 2], &[3.25, -1.5]);
}

#[test]
fn channels_and_batch_stay_apart_in_both_layouts() {
    let x = ramp(&[2, 3, 4, 5]);
    let nchw = eval(&Op::Pool(pool(PoolKind::Max, [3, 2], [1, 2])), &[&x]);
    let nhwc = Pool { layout: Layout::Nhwc, ..pool(PoolKind::Max, [3, 2], [1, 2]) };
    let nhwc = eval(&Op::Pool(nhwc), &[&eval(&transpose(&[0, 2, 3, 1]), &[&x])]);
    assert_eq!(nchw.shape().dims(), [2, 3, 2, 2]);
    assert_eq!(eval(&transpose(&[0, 3, 1, 2]), &[&nhwc]), nchw);
}

#[test]
fn padding_never_wins_a_maximum() {
    let x = t(&[1, 1, 1, 2], &[-3., -4.]);
    let padding = Padding { left: 1, right: 1, ..Padding::default() };
    let op = Op::Pool(Pool { padding, ..pool(PoolKind::Max, [1, 2], [1, 1]) });
    check(&op, &[&x], &[1, 1, 1, 3], &[-3., -3., -4.]);
}

#[test]
fn the_divisor_counts_padding_only_when_told() {
    let x = t(&[1, 1, 1, 2], &[2., 4.]);
    let padding = Padding { left: 1, right: 0, ..Padding::default() };
    let op = Op::Pool(Pool { padding, ..pool(MEAN, [1, 2], [1, 1]) });
    check(&op, &[&x], &[1, 1, 1, 2], &[2., 3.]);
    let op = Op::Pool(Pool { padding, ..pool(MEAN_WITH_PADDING, [1, 2], [1, 1]) });
    check(&op, &[&x], &[1, 1, 1, 2], &[1., 3.]);
}

#[test]
fn ceil_mode_adds_a_window_over_the_end() {
    let x = t(&[1, 1, 1, 4], &[1., 2., 3., 7.]);
    let op = |kind| Op::Pool(Pool { ceil_mode: true, ..pool(kind, [1, 3], [1, 2]) });
    check(&op(PoolKind::Max), &[&x], &[1, 1, 1, 2], &[3., 7.]);
    // What lies beyond the image and its padding is not counted, even if padding is.
    check(&op(MEAN), &[&x], &[1, 1, 1, 2], &[2., 5.]);
    check(&op(MEAN_WITH_PADDING), &[&x], &[1, 1, 1, 2], &[2., 5.]);
    // One element of trailing padding counts: (3 + 7 + 0) / 3 only with count_padding.
    let padding = Padding { right: 1, ..Padding::default() };
    let padded = |kind| Op::Pool(Pool { ceil_mode: true, padding, ..pool(kind, [1, 3], [1, 2]) });
    check(&padded(MEAN_WITH_PADDING), &[&x], &[1, 1, 1, 2], &[2., 10. / 3.]);
    check(&padded(MEAN), &[&x], &[1, 1, 1, 2], &[2., 5.]);
}

#[test]
fn dilation_skips_elements() {
    let x = t(&[1, 1, 1, 5], &[1., 9., 2., 8., 3.]);
    let op = |kind| Op::Pool(Pool { dilations: [1, 2], ..pool(kind, [1, 2], [1, 1]) });
    check(&op(PoolKind::Max), &[&x], &[1, 1, 1, 3], &[2., 9., 3.]);
    check(&op(MEAN), &[&x], &[1, 1, 1, 3], &[1.5, 8.5, 2.5]);
}

#[test]
fn a_window_wholly_over_padding() {
    let x = t(&[1, 1, 1, 1], &[5.]);
    // Taps at -1 and 1 of an image of one element.
    let padding = Padding { left: 1, right: 1, ..Padding::default() };
    let op = |kind| Op::Pool(Pool { padding, dilations: [1, 2], ..pool(kind, [1, 2], [1, 1]) });
    check(&op(PoolKind::Max), &[&x], &[1, 1, 1, 1], &[f32::NEG_INFINITY]);
    check(&op(MEAN), &[&x], &[1, 1, 1, 1], &[0.]);
    check(&op(MEAN_WITH_PADDING), &[&x], &[1, 1, 1, 1], &[0.]);
}

#[test]
fn nan_spreads_to_the_windows_that_see_it() {
    for at in 0..3 {
        let mut data = [1.0f32, 2.0, 3.0, 4.0];
        data[at] = f32::NAN;
        let x = t(&[1, 1, 1, 4], &data);
        for kind in [PoolKind::Max, MEAN] {
            let out = values(&Op::Pool(pool(kind, [1, 3], [1, 1])), &[&x]);
            let seen: Vec<bool> = (0..2).map(|p| (p..p + 3).contains(&at)).collect();
            assert_eq!(out.iter().map(|v| v.is_nan()).collect::<Vec<_>>(), seen);
        }
    }
}
