use avocet_ir::op::{PadMode, SliceAxis};
use proptest::prelude::*;

use super::*;

fn axis(start: usize, count: usize, step: isize) -> SliceAxis {
    SliceAxis { start, count, step }
}

#[test]
fn transpose_moves_dimensions() {
    let x = t(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
    check(&transpose(&[1, 0]), &[&x], &[3, 2], &[1., 4., 2., 5., 3., 6.]);
    let x = t(&[1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    check(&transpose(&[2, 0, 1]), &[&x], &[3, 1, 2], &[1., 4., 2., 5., 3., 6.]);
}

#[test]
fn reshape_and_identity_keep_the_elements() {
    let x = ramp(&[2, 6]);
    let result = eval(&Op::Reshape { shape: shape(&[3, 4]) }, &[&x]);
    assert_eq!((result.shape().dims(), result.as_f32()), (&[3, 4][..], x.as_f32()));
    assert_eq!(eval(&Op::Identity, &[&x]), x);
    assert_eq!(eval(&Op::Constant(x.clone()), &[]), x);
}

#[test]
fn broadcast_repeats() {
    let x = t(&[2, 1], &[1., 2.]);
    check(&Op::Broadcast { shape: shape(&[2, 2, 2]) }, &[&x], &[2, 2, 2], &[1., 1., 2., 2., 1., 1., 2., 2.]);
}

#[test]
fn concat_interleaves_runs() {
    let (a, b) = (t(&[2, 1], &[1., 2.]), t(&[2, 2], &[3., 4., 5., 6.]));
    check(&Op::Concat { axis: 1 }, &[&a, &b], &[2, 3], &[1., 3., 4., 2., 5., 6.]);
    check(&Op::Concat { axis: 0 }, &[&b, &b], &[4, 2], &[3., 4., 5., 6., 3., 4., 5., 6.]);
    check(&Op::Concat { axis: 1 }, &[&a, &t(&[2, 0], &[])], &[2, 1], &[1., 2.]);
}

#[test]
fn slice_steps_forwards_and_backwards() {
    let x = t(&[2, 5], &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    check(&Op::Slice { axes: vec![axis(0, 2, 1), axis(1, 2, 2)] }, &[&x], &[2, 2], &[1., 3., 6., 8.]);
    check(&Op::Slice { axes: vec![axis(1, 1, 1), axis(4, 3, -2)] }, &[&x], &[1, 3], &[9., 7., 5.]);
    check(&Op::Slice { axes: vec![axis(0, 0, 1), axis(0, 5, 1)] }, &[&x], &[0, 5], &[]);
}

#[test]
fn pad_in_each_mode() {
    let x = t(&[3], &[1., 2., 3.]);
    let pad = |mode| Op::Pad { amounts: vec![(2, 1)], mode };
    check(&pad(PadMode::Constant(-1.)), &[&x], &[6], &[-1., -1., 1., 2., 3., -1.]);
    check(&pad(PadMode::Edge), &[&x], &[6], &[1., 1., 1., 2., 3., 3.]);
    check(&pad(PadMode::Reflect), &[&x], &[6], &[3., 2., 1., 2., 3., 2.]);
    let x = t(&[1, 2], &[1., 2.]);
    let op = Op::Pad { amounts: vec![(1, 0), (0, 1)], mode: PadMode::Constant(0.) };
    check(&op, &[&x], &[2, 3], &[0., 0., 0., 1., 2., 0.]);
    let op = Op::Pad { amounts: vec![(1, 1)], mode: PadMode::Constant(4.) };
    check(&op, &[&t(&[0], &[])], &[2], &[4., 4.]);
}

#[test]
fn channel_shuffle_interleaves_groups() {
    let x = t(&[1, 6], &[0., 1., 2., 3., 4., 5.]);
    check(&Op::ChannelShuffle { groups: 2, axis: 1 }, &[&x], &[1, 6], &[0., 3., 1., 4., 2., 5.]);
}

proptest! {
    #[test]
    fn channel_shuffle_is_reshape_transpose_reshape(groups in 1usize..5, n in 1usize..5, after in 1usize..4) {
        let x = ramp(&[2, groups * n, after]);
        let split = eval(&Op::Reshape { shape: shape(&[2, groups, n, after]) }, &[&x]);
        let swapped = eval(&transpose(&[0, 2, 1, 3]), &[&split]);
        let expected = eval(&Op::Reshape { shape: shape(&[2, groups * n, after]) }, &[&swapped]);
        prop_assert_eq!(eval(&Op::ChannelShuffle { groups, axis: 1 }, &[&x]), expected);
    }

    #[test]
    fn slice_undoes_pad(rows in 1usize..4, columns in 1usize..4, amounts in [(0usize..3, 0usize..3), (0usize..3, 0usize..3)]) {
        let x = ramp(&[rows, columns]);
        let padded = eval(&Op::Pad { amounts: amounts.to_vec(), mode: PadMode::Edge }, &[&x]);
        let axes = vec![axis(amounts[0].0, rows, 1), axis(amounts[1].0, columns, 1)];
        prop_assert_eq!(eval(&Op::Slice { axes }, &[&padded]), x);
    }

    #[test]
    fn slices_concatenate_to_the_whole(extent in 1usize..6, cut in 0usize..6, along in 0usize..2) {
        let mut dims = [2, 3];
        dims[along] = extent;
        let x = ramp(&dims);
        let cut = cut.min(extent);
        let part = |start: usize, count: usize| {
            let mut axes: Vec<SliceAxis> = dims.iter().map(|&extent| axis(0, extent, 1)).collect();
            axes[along] = axis(start, count, 1);
            eval(&Op::Slice { axes }, &[&x])
        };
        let whole = eval(&Op::Concat { axis: along }, &[&part(0, cut), &part(cut, extent - cut)]);
        prop_assert_eq!(whole, x);
    }
}
