use avocet_ir::op::Binary;
use proptest::prelude::*;

use super::*;

fn matmul(transpose_a: bool, transpose_b: bool) -> Op {
    Op::MatMul { transpose_a, transpose_b }
}

#[test]
fn multiplies_matrices() {
    let (a, b) = (t(&[2, 3], &[1., 2., 3., 4., 5., 6.]), t(&[3, 2], &[1., 10., 2., 20., 3., 30.]));
    check(&matmul(false, false), &[&a, &b], &[2, 2], &[14., 140., 32., 320.]);
}

#[test]
fn leading_dimensions_broadcast() {
    let a = t(&[2, 1, 1, 2], &[1., 2., 3., 4.]);
    let b = t(&[2, 2, 1], &[1., 10., 100., 1000.]);
    check(&matmul(false, false), &[&a, &b], &[2, 2, 1, 1], &[21., 2100., 43., 4300.]);
}

#[test]
fn no_inner_elements_give_zeros() {
    check(&matmul(false, false), &[&t(&[2, 0], &[]), &t(&[0, 1], &[])], &[2, 1], &[0., 0.]);
    check(&matmul(true, true), &[&t(&[0, 2], &[]), &t(&[1, 0], &[])], &[2, 1], &[0., 0.]);
}

proptest! {
    #[test]
    fn flags_equal_transposes(m in 1usize..5, n in 1usize..5, k in 1usize..5, batch in 1usize..3) {
        let (a, b) = (ramp(&[batch, m, k]), ramp(&[k, n]));
        let (ta, tb) = (eval(&transpose(&[0, 2, 1]), &[&a]), eval(&transpose(&[1, 0]), &[&b]));
        let expected = eval(&matmul(false, false), &[&a, &b]);
        prop_assert_eq!(&eval(&matmul(true, false), &[&ta, &b]), &expected);
        prop_assert_eq!(&eval(&matmul(false, true), &[&a, &tb]), &expected);
        prop_assert_eq!(&eval(&matmul(true, true), &[&ta, &tb]), &expected);
    }

    #[test]
    fn a_pointwise_conv_is_a_product(c in 1usize..5, o in 1usize..5, pixels in 1usize..9) {
        let (x, w) = (ramp(&[1, 1, pixels, c]), ramp(&[o, c, 1, 1]));
        let conv = eval(&Op::Conv(plain_conv(Layout::Nhwc)), &[&x, &w]);
        let w = eval(&Op::Reshape { shape: shape(&[o, c]) }, &[&w]);
        let product = eval(&matmul(false, true), &[&x, &w]);
        prop_assert_eq!(conv, product);
    }

    #[test]
    fn distributes_over_addition(m in 1usize..4, k in 1usize..4, n in 1usize..4) {
        let (a, b) = (ramp(&[m, k]), ramp(&[k, n]));
        let twice = eval(&Op::Binary(Binary::Add), &[&b, &b]);
        let product = eval(&matmul(false, false), &[&a, &b]);
        let sum = eval(&Op::Binary(Binary::Add), &[&product, &product]);
        prop_assert_eq!(eval(&matmul(false, false), &[&a, &twice]), sum);
    }
}

/// Attention is the two products with a softmax between; what broadcasts of the mask does so in both.
#[test]
fn attention_written_out() {
    let (q, k, v) = (ramp(&[2, 3, 4]), ramp(&[2, 5, 4]), ramp(&[2, 5, 2]));
    let by_rows = Op::MatMul { transpose_a: false, transpose_b: true };
    let scores = eval(&by_rows, &[&q, &k]);
    let scores = eval(&Op::Binary(Binary::Mul), &[&scores, &t(&[], &[0.25])]);
    let mask = t(&[3, 1], &[1., 2., 3.]);
    let masked = eval(&Op::Binary(Binary::Add), &[&scores, &mask]);
    for (scores, operands) in [(scores, vec![&q, &k, &v]), (masked, vec![&q, &k, &v, &mask])] {
        let weights = eval(&Op::Softmax { axis: 2 }, &[&scores]);
        let expected = values(&Op::MatMul { transpose_a: false, transpose_b: false }, &[&weights, &v]);
        for (got, expected) in values(&Op::Attention { scale: 0.25 }, &operands).iter().zip(&expected) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }
}

#[test]
fn attention_that_is_refused() {
    let (q, k, v) = (ramp(&[2, 3, 4]), ramp(&[2, 5, 4]), ramp(&[2, 5, 2]));
    let refused = |scale: f32, inputs: &[&Tensor]| evaluate(&Op::Attention { scale }, inputs).is_err();
    assert!(!refused(1.0, &[&q, &k, &v]));
    assert!(refused(0.0, &[&q, &k, &v]) && refused(f32::NAN, &[&q, &k, &v]));
    assert!(refused(1.0, &[&q, &k]) && refused(1.0, &[&q, &v, &v]) && refused(1.0, &[&q, &k, &q]));
    assert!(refused(1.0, &[&ramp(&[1, 3, 4]), &k, &v]) && refused(1.0, &[&q, &k, &v, &ramp(&[2, 5])]));
    assert!(refused(1.0, &[&ramp(&[4]), &k, &v]));
}
