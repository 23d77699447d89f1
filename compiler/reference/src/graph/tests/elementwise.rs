use avocet_ir::op::{Binary, Unary};

use super::*;

/// The function at one point.
fn at(op: Unary, x: f32) -> f32 {
    values(&Op::Unary(op), &[&t(&[1], &[x])])[0]
}

/// Values of the transcendental functions by mpmath at 60 digits; the interpreter must give the nearest f32.
#[test]
fn functions_at_known_points() {
    let cases: &[(Unary, f32, f64)] = &[
        (Unary::Relu, -2.0, 0.0),
        (Unary::Relu, 2.0, 2.0),
        (Unary::Clip { low: -1.0, high: 6.0 }, 7.0, 6.0),
        (Unary::Clip { low: -1.0, high: 6.0 }, -7.0, -1.0),
        (Unary::Clip { low: f32::NEG_INFINITY, high: 6.0 }, -7.0, -7.0),
        (Unary::LeakyRelu { alpha: 0.25 }, -2.0, -0.5),
        (Unary::LeakyRelu { alpha: 0.25 }, 2.0, 2.0),
        (Unary::Elu { alpha: 2.0 }, -1.0, -1.264_241_117_657_12),
        (Unary::Elu { alpha: 2.0 }, 3.0, 3.0),
        (Unary::Sigmoid, 1.0, 0.731_058_578_630_005),
        (Unary::Sigmoid, -100.0, 3.720_075_976_020_84e-44),
        (Unary::Sigmoid, 100.0, 1.0),
        (Unary::Tanh, 0.5, 0.462_117_157_260_01),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, 1.0, 0.75),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, -9.0, 0.0),
        (Unary::HardSigmoid { alpha: 0.25, beta: 0.5 }, 9.0, 1.0),
        (Unary::HardSwish, 1.5, 1.125),
        (Unary::HardSwish, -4.0, 0.0),
        (Unary::HardSwish, 4.0, 4.0),
        (Unary::Silu, 1.0, 0.731_058_578_630_005),
        (Unary::Silu, -2.0, -0.238_405_844_044_235),
        (Unary::Gelu, 1.0, 0.841_344_746_068_543),
        (Unary::Gelu, -1.0, -0.158_655_253_931_457),
        // In the tail 1 + erf(x) would have lost every digit.
        (Unary::Gelu, -8.0, -4.976_768_459_417_43e-15),
        (Unary::Erf, 0.5, 0.520_499_877_813_047),
        (Unary::Erf, -3.0, -0.999_977_909_503_001),
        (Unary::Exp, 1.0, std::f64::consts::E),
        (Unary::Exp, 89.0, f64::INFINITY),
        (Unary::Log, 10.0, std::f64::consts::LN_10),
        (Unary::Softplus, 0.0, std::f64::consts::LN_2),
        (Unary::Softplus, 1000.0, 1000.0),
        (Unary::Softplus, -20.0, 2.061_153_620_314_38e-9),
        (Unary::Sqrt, 2.0, std::f64::consts::SQRT_2),
        (Unary::Reciprocal, 4.0, 0.25),
        (Unary::Neg, 4.0, -4.0),
        (Unary::Abs, -4.0, 4.0),
        (Unary::Floor, -1.5, -2.0),
        (Unary::Ceil, -1.5, -1.0),
    ];
    for &(op, x, expected) in cases {
        assert_eq!(at(op, x), expected as f32, "{op} at {x}");
    }
}

#[test]
fn nan_stays_nan_in_every_function() {
    let all = [
        Unary::Relu,
        Unary::Clip { low: 0.0, high: 1.0 },
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 1.0 },
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::HardSwish,
        Unary::Silu,
        Unary::Gelu,
        Unary::Erf,
        Unary::Exp,
        Unary::Log,
        Unary::Softplus,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Neg,
        Unary::Abs,
        Unary::Floor,
        Unary::Ceil,
    ];
    for op in all {
        assert!(at(op, f32::NAN).is_nan(), "{op}");
    }
    assert!(at(Unary::Sqrt, -1.0).is_nan());
    assert!(at(Unary::Log, -1.0).is_nan());
}

#[test]
fn binary_functions() {
    let (a, b) = (t(&[4], &[1., -2., 3., -8.]), t(&[4], &[2., 4., 2., -2.]));
    let cases: &[(Binary, [f32; 4])] = &[
        (Binary::Add, [3., 2., 5., -10.]),
        (Binary::Sub, [-1., -6., 1., -6.]),
        (Binary::Mul, [2., -8., 6., 16.]),
        (Binary::Div, [0.5, -0.5, 1.5, 4.]),
        (Binary::Min, [1., -2., 2., -8.]),
        (Binary::Max, [2., 4., 3., -2.]),
        (Binary::Pow, [1., 16., 9., 1. / 64.]),
        (Binary::Prelu, [1., -8., 3., 16.]),
    ];
    for (op, expected) in cases {
        check(&Op::Binary(*op), &[&a, &b], &[4], expected);
    }
}

#[test]
fn minimum_and_maximum_keep_nan_on_either_side() {
    let (a, b) = (t(&[2], &[f32::NAN, 1.0]), t(&[2], &[1.0, f32::NAN]));
    for op in [Binary::Min, Binary::Max] {
        assert!(values(&Op::Binary(op), &[&a, &b]).iter().all(|v| v.is_nan()));
    }
}

#[test]
fn operands_broadcast_both_ways() {
    let (a, b) = (t(&[2, 1], &[1., 2.]), t(&[3], &[10., 20., 30.]));
    let op = Op::Binary(Binary::Sub);
    check(&op, &[&a, &b], &[2, 3], &[-9., -19., -29., -8., -18., -28.]);
    check(&op, &[&b, &a], &[2, 3], &[9., 19., 29., 8., 18., 28.]);
    check(&op, &[&t(&[], &[1.]), &a], &[2, 1], &[0., -1.]);
    check(&op, &[&t(&[0, 1], &[]), &b], &[0, 3], &[]);
}
