use avocet_ir::op::{Pool, PoolKind, ReduceKind};

use super::*;

fn reduce(kind: ReduceKind, axes: &[usize], keep_dims: bool) -> Op {
    Op::Reduce { kind, axes: axes.to_vec(), keep_dims }
}

#[test]
fn each_kind_over_some_axes() {
    let x = t(&[2, 3], &[1., 2., 6., -1., -2., -6.]);
    check(&reduce(ReduceKind::Mean, &[1], true), &[&x], &[2, 1], &[3., -3.]);
    check(&reduce(ReduceKind::Sum, &[0], false), &[&x], &[3], &[0., 0., 0.]);
    check(&reduce(ReduceKind::Max, &[0, 1], false), &[&x], &[], &[6.]);
    check(&reduce(ReduceKind::Min, &[1], false), &[&x], &[2], &[1., -6.]);
    let x = t(&[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
    check(&reduce(ReduceKind::Sum, &[0, 2], true), &[&x], &[1, 2, 1], &[14., 22.]);
    check(&reduce(ReduceKind::Sum, &[], true), &[&x], &[2, 2, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
}

#[test]
fn empty_sums_are_zero_and_nan_spreads() {
    check(&reduce(ReduceKind::Sum, &[1], false), &[&t(&[2, 0], &[])], &[2], &[0., 0.]);
    for kind in [ReduceKind::Max, ReduceKind::Min, ReduceKind::Mean, ReduceKind::Sum] {
        let x = t(&[2, 2], &[f32::NAN, 1., 2., f32::NAN]);
        assert!(values(&reduce(kind, &[1], false), &[&x]).iter().all(|v| v.is_nan()));
    }
}

#[test]
fn a_mean_over_space_is_global_average_pooling() {
    let x = ramp(&[2, 3, 5, 4]);
    let pool = Pool {
        kind: PoolKind::Average { count_padding: false },
        window: [5, 4],
        strides: [1, 1],
        dilations: [1, 1],
        padding: Padding::default(),
        ceil_mode: false,
        layout: Layout::Nchw,
    };
    assert_eq!(eval(&reduce(ReduceKind::Mean, &[2, 3], true), &[&x]), eval(&Op::Pool(pool), &[&x]));
}

#[test]
fn softmax_along_an_axis() {
    // exp(ln 3) : exp(0) = 3 : 1, and large values don't overflow.
    let x = t(&[2, 2], &[3f32.ln(), 0., 1000., 1000.]);
    check(&Op::Softmax { axis: 1 }, &[&x], &[2, 2], &[0.75, 0.25, 0.5, 0.5]);
    let x = t(&[2, 2], &[3f32.ln(), 5., 0., 5.]);
    check(&Op::Softmax { axis: 0 }, &[&x], &[2, 2], &[0.75, 0.5, 0.25, 0.5]);
    assert!(values(&Op::Softmax { axis: 0 }, &[&t(&[2], &[f32::NAN, 1.])]).iter().all(|v| v.is_nan()));
}

#[test]
fn layer_norm_of_each_row() {
    // Mean 3, variance 4; mean of squares 13.
    let x = t(&[2, 2], &[1., 5., 5., 5.]);
    check(&Op::Normalize { epsilon: 0.0, centered: true }, &[&t(&[2], &[1., 5.])], &[2], &[-1., 1.]);
    check(&Op::Normalize { epsilon: 12.0, centered: true }, &[&x], &[2, 2], &[-0.5, 0.5, 0., 0.]);
    check(&Op::Normalize { epsilon: 3.0, centered: false }, &[&t(&[2], &[1., 5.])], &[2], &[0.25, 1.25]);
    assert!(evaluate(&Op::Normalize { epsilon: -1.0, centered: true }, &[&x]).is_err());
    assert!(evaluate(&Op::Normalize { epsilon: 1.0, centered: true }, &[&t(&[], &[1.])]).is_err());
}

#[test]
fn batch_norm_of_each_channel() {
    let x = t(&[1, 2, 2], &[1., 3., 10., 20.]);
    let [scale, offset] = [t(&[2], &[2., 1.]), t(&[2], &[0., 5.])];
    let [mean, variance] = [t(&[2], &[2., 10.]), t(&[2], &[3., 99.])];
    let op = Op::BatchNorm { epsilon: 1.0, axis: 1 };
    check(&op, &[&x, &scale, &offset, &mean, &variance], &[1, 2, 2], &[-1., 1., 5., 6.]);
    let x = t(&[2, 1, 2], &[1., 10., 3., 20.]);
    let op = Op::BatchNorm { epsilon: 1.0, axis: 2 };
    check(&op, &[&x, &scale, &offset, &mean, &variance], &[2, 1, 2], &[-1., 5., 1., 6.]);
}
