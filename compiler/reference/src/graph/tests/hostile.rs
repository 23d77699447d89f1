//! Attributes and shapes that a hostile model may hold: errors or small results, never a panic or a huge allocation.

use avocet_ir::op::{PadMode, Pool, PoolKind};
use avocet_ir::{Evaluate, TensorType};

use super::*;
use crate::graph::{EvaluateError, Reference};

#[test]
fn enormous_results_are_refused() {
    let x = t(&[1], &[1.]);
    let op = Op::Broadcast { shape: shape(&[1 << 40]) };
    assert!(matches!(evaluate(&op, &[&x]), Err(EvaluateError::TooLarge { .. })));
    let op = Op::Pad { amounts: vec![(1 << 50, 0)], mode: PadMode::Constant(0.) };
    assert!(matches!(evaluate(&op, &[&x]), Err(EvaluateError::TooLarge { .. })));
}

#[test]
fn empty_results_make_no_tables_of_their_other_dimensions() {
    let x = t(&[0, 1], &[]);
    let big = shape(&[0, 1 << 50]);
    assert_eq!(eval(&Op::Broadcast { shape: big.clone() }, &[&x]).shape(), &big);
    let y = t(&[0, 1 << 50], &[]);
    let op = Op::Binary(avocet_ir::op::Binary::Add);
    assert_eq!(eval(&op, &[&x, &y]).shape(), &big);
    assert_eq!(eval(&Op::Softmax { axis: 0 }, &[&y]).shape(), &big);
    let pad = Op::Pad { amounts: vec![(0, 0), (1 << 50, 0)], mode: PadMode::Edge };
    assert_eq!(eval(&pad, &[&x]).shape().elements(), 0);
}

#[test]
fn windows_and_strides_beyond_the_image() {
    let x = t(&[1, 1, 1, 1], &[2.]);
    let wide = 1 << 40;
    let padding = Padding { left: wide - 1, right: wide - 1, ..Padding::default() };
    let pool = |kind| {
        let (window, strides, dilations) = ([1, wide], [usize::MAX, usize::MAX], [usize::MAX, 1]);
        Op::Pool(Pool { kind, window, strides, dilations, padding, ceil_mode: false, layout: Layout::Nchw })
    };
    check(&pool(PoolKind::Max), &[&x], &[1, 1, 1, 1], &[2.]);
    check(&pool(PoolKind::Average { count_padding: false }), &[&x], &[1, 1, 1, 1], &[2.]);
    let padding = Padding { top: 5, left: 5, ..Padding::default() };
    let conv = Conv { strides: [usize::MAX, usize::MAX], padding, ..plain_conv(Layout::Nchw) };
    check(&Op::Conv(conv), &[&x, &t(&[1, 1, 1, 1], &[3.])], &[1, 1, 1, 1], &[0.]);
}

#[test]
fn empty_images_have_windows_over_padding() {
    for dims in [[2, 2, 0, 3], [2, 2, 3, 0], [2, 0, 3, 3], [0, 2, 3, 3]] {
        let x = Tensor::f32(dims, Vec::new()).expect("test tensor");
        let padding = Padding::symmetric(1, 1);
        let pool = Pool {
            kind: PoolKind::Average { count_padding: true },
            window: [2, 2],
            strides: [1, 1],
            dilations: [1, 1],
            padding,
            ceil_mode: true,
            layout: Layout::Nchw,
        };
        assert!(values(&Op::Pool(pool.clone()), &[&x]).iter().all(|&v| v == 0.0));
        let nhwc = eval(&transpose(&[0, 2, 3, 1]), &[&x]);
        assert!(values(&Op::Pool(Pool { layout: Layout::Nhwc, ..pool }), &[&nhwc]).iter().all(|&v| v == 0.0));
        let w = Tensor::f32([2, dims[1], 2, 2], vec![1.0; 8 * dims[1]]).expect("test tensor");
        let conv = Conv { padding, ..plain_conv(Layout::Nchw) };
        assert!(values(&Op::Conv(conv), &[&x, &w]).iter().all(|&v| v == 0.0));
    }
}

#[test]
fn wrong_inputs_are_errors_with_a_reason() {
    let reason = |op: &Op, inputs: &[&Tensor]| Reference.evaluate(op, inputs).expect_err("must be refused");
    assert_eq!(reason(&Op::Identity, &[]), "identity takes 1 inputs, not 0");
    let ints = ti(&[1, 1], &[1]);
    let matmul = Op::MatMul { transpose_a: false, transpose_b: false };
    assert_eq!(reason(&matmul, &[&ints, &ints]), "matmul is not evaluated on elements of type i64");
    let input = Op::Input(TensorType::f32([1]).expect("test type"));
    assert_eq!(reason(&input, &[]), "a network input has no value of its own");
    assert!(reason(&Op::Softmax { axis: 3 }, &[&ints]).contains("axis 3"));
}
