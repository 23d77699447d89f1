use avocet_ir::Tensor;
use avocet_ir::op::{Binary, EpilogueStep, Op, Unary};
use avocet_ir::schedule::Schedule;

use super::{Given, Numbers, check};

const FUNCTIONS: &[Unary] = &[
    Unary::Relu,
    Unary::Clip { low: -0.5, high: 6.0 },
    Unary::Clip { low: f32::NEG_INFINITY, high: 1.0 },
    Unary::LeakyRelu { alpha: 0.1 },
    Unary::Elu { alpha: 1.5 },
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
    Unary::Round,
    Unary::Sign,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Asinh,
];

fn evaluate(function: Unary, values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    use avocet_ir::schedule::Schedules;
    let mut graph = avocet_ir::Graph::new("test");
    let x = Tensor::f32([values.len()], values).expect("small");
    let input = graph.add("x", Op::Input(x.ty()), &[]).expect("valid");
    let y = graph.add("y", Op::Unary(function), &[input]).expect("valid");
    graph.add_output("y", y);
    let mut schedules = Schedules::default();
    schedules.nodes.insert(y.node, Schedule::Vector { lanes: 4 });
    let program = crate::lower(&graph, &schedules).expect("lowers");
    let inputs = [x];
    let got = avocet_reference::kernel::run_program(&program, &inputs).expect("runs");
    let expected = avocet_reference::run(&graph, &inputs).expect("runs");
    (got[0].as_f32().expect("f32").to_vec(), expected[0].as_f32().expect("f32").to_vec())
}

/// Distance in units of the last place.
fn ulps(a: f32, b: f32) -> u32 {
    let ordered = |v: f32| {
        let bits = v.to_bits() as i32;
        i64::from(if bits < 0 { i32::MIN.wrapping_sub(bits) } else { bits })
    };
    (ordered(a) - ordered(b)).unsigned_abs() as u32
}

/// Softmax of two numbers is one power and what it leaves of 1.
#[test]
fn powers_of_softmax() {
    let distances: Vec<f32> = (0..20_000).map(|i| i as f32 * 86.0 / 20_000.0).collect();
    let rows: Vec<f32> = distances.iter().flat_map(|&distance| [3.0, 3.0 - distance]).collect();
    let mut graph = avocet_ir::Graph::new("test");
    let x = Tensor::f32([distances.len(), 2], rows.clone()).expect("small");
    let input = graph.add("x", Op::Input(x.ty()), &[]).expect("valid");
    let y = graph.add("y", Op::Softmax { axis: 1 }, &[input]).expect("valid");
    graph.add_output("y", y);
    let mut schedules = avocet_ir::schedule::Schedules::default();
    schedules.nodes.insert(y.node, Schedule::Vector { lanes: 4 });
    let program = crate::lower(&graph, &schedules).expect("lowers");
    let got = avocet_reference::kernel::run_program(&program, &[x]).expect("runs");
    for (row, got) in rows.chunks(2).zip(got[0].as_f32().expect("f32").chunks(2)) {
        let distance = f64::from(row[0]) - f64::from(row[1]);
        let expected = (-distance).exp();
        let error = (f64::from(got[1]) / f64::from(got[0]) / expected - 1.0).abs();
        // Three more roundings are those of the sum and the quotients.
        assert!(error <= 4e-7 + 6e-8 * distance, "e^-{distance}: {error:e}");
    }
}

#[test]
fn errors_are_within_the_stated_bounds() {
    for (function, low, high, bound) in [
        (Unary::Exp, -87.0, 88.7, 4),
        (Unary::Sigmoid, -80.0, 40.0, 4),
        (Unary::Tanh, -10.0, 10.0, 4),
        (Unary::Erf, -5.0, 5.0, 4),
        (Unary::Log, 1e-6, 1e4, 4),
        (Unary::Softplus, -30.0, 40.0, 6),
        (Unary::Silu, -40.0, 40.0, 5),
    ] {
        let count = 20_000;
        let values: Vec<f32> = (0..count).map(|i| low + (high - low) * i as f32 / count as f32).collect();
        let (got, expected) = evaluate(function, &values);
        for ((x, g), e) in values.iter().zip(&got).zip(&expected) {
            if e.abs() >= f32::MIN_POSITIVE {
                assert!(ulps(*g, *e) <= bound, "{function}({x}) = {g}, expected {e}");
            }
        }
    }
}

/// Relative where the result is not near zero, absolute below.
#[test]
fn trigonometric_errors_are_within_the_stated_bound() {
    for (function, low, high) in [
        (Unary::Sin, -20.0, 20.0),
        (Unary::Sin, 8000.0, 8192.0),
        (Unary::Cos, -20.0, 20.0),
        (Unary::Cos, -8192.0, -8000.0),
        (Unary::Tan, -1.5, 1.5),
        (Unary::Asin, -1.0, 1.0),
        (Unary::Acos, -1.0, 1.0),
        (Unary::Atan, -30.0, 30.0),
        (Unary::Atan, -1e30, 1e30),
        (Unary::Sinh, -89.0, 89.0),
        (Unary::Sinh, -1e-3, 1e-3),
        (Unary::Cosh, -89.0, 89.0),
        (Unary::Asinh, -2.0, 2.0),
        (Unary::Asinh, -1e30, 1e30),
        (Unary::Acosh, 1.0, 3.0),
        (Unary::Acosh, 1.0, 1e30),
        (Unary::Atanh, -1.0, 1.0),
    ] {
        let count = 20_000;
        let values: Vec<f32> = (0..=count).map(|i| low + (high - low) * (i as f32 / count as f32)).collect();
        let (got, expected) = evaluate(function, &values);
        for ((x, g), e) in values.iter().zip(&got).zip(&expected) {
            let periodic = matches!(function, Unary::Sin | Unary::Cos | Unary::Tan);
            let scale = if periodic { e.abs().max(0.1) } else { e.abs() };
            let close = g == e || (g - e).abs() <= 1e-6 * scale;
            assert!(close, "{function}({x}) = {g}, expected {e}");
        }
    }
}

#[test]
fn trigonometric_functions_of_what_is_outside() {
    let outside = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, -2.0];
    for function in [
        Unary::Sin,
        Unary::Cos,
        Unary::Tan,
        Unary::Asin,
        Unary::Acos,
        Unary::Atan,
        Unary::Sinh,
        Unary::Cosh,
        Unary::Asinh,
        Unary::Acosh,
        Unary::Atanh,
        Unary::Sign,
        Unary::Round,
    ] {
        let (got, expected) = evaluate(function, &outside);
        for ((x, g), e) in outside.iter().zip(&got).zip(&expected) {
            let same = g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= 1e-6 * e.abs();
            assert!(same, "{function}({x}) = {g}, expected {e}");
        }
    }
}

/// Exactness of small results is not asked of GELU: written with erf it loses them too.
#[test]
fn gelu_is_within_its_absolute_bound() {
    let values: Vec<f32> = (0..200_000).map(|i| i as f32 / 10_000.0 - 10.0).collect();
    let (got, expected) = evaluate(Unary::Gelu, &values);
    for ((x, g), e) in values.iter().zip(&got).zip(&expected) {
        assert!((g - e).abs() <= 6e-7 * e.max(1.0), "gelu({x}) = {g}, expected {e}");
    }
}

#[test]
fn special_values() {
    let mut values = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e-40,
        -1e-40,
        1e-38,
        88.0,
        89.0,
        -104.0,
        3e38,
        -3e38,
        0.5,
        2.5,
        -2.5,
        1e-7,
        -1e-7,
        8_388_609.0,
    ];
    let mut numbers = Numbers::new(8);
    values.extend((0..200).map(|_| numbers.next() * 20.0));
    for &function in FUNCTIONS {
        let (got, expected) = evaluate(function, &values);
        for ((x, &g), &e) in values.iter().zip(&got).zip(&expected) {
            let scale = e.abs().max(1.0);
            let same = (g.is_nan() && e.is_nan()) || g == e || (g - e).abs() <= 2e-6 * scale;
            assert!(same, "{function}({x:e}) = {g:e}, expected {e:e}");
        }
    }
}

#[test]
fn binary_functions_broadcast() {
    let shapes: &[(&[usize], &[usize])] = &[
        (&[2, 3, 5, 7], &[2, 3, 5, 7]),
        (&[2, 3, 5, 8], &[8]),
        (&[2, 3, 5, 8], &[2, 1, 1, 8]),
        (&[1, 4, 4, 6], &[4, 4, 1]),
        (&[3, 1], &[1, 5]),
        (&[], &[4]),
        (&[], &[]),
        (&[1, 1, 1, 9], &[2, 3, 1, 1]),
    ];
    use Binary::{Add, Div, Max, Min, Mul, Prelu, Sub};
    for function in [Add, Sub, Mul, Div, Min, Max, Prelu] {
        for (left, right) in shapes {
            for lanes in [1, 4] {
                let mut numbers = Numbers::new(9);
                let (x, y) = (numbers.tensor(left), numbers.tensor(right));
                let given = [Given::Input(x), Given::Input(y)];
                let relu = vec![(EpilogueStep::Unary(Unary::Relu), None)];
                let what = format!("{} {left:?} {right:?}", function.name());
                check(&what, Op::Binary(function), &given, relu, Schedule::Vector { lanes });
            }
        }
    }
}

#[test]
fn extremes_keep_nan_on_either_side() {
    for function in [Binary::Min, Binary::Max] {
        let x = Tensor::f32([4], vec![f32::NAN, 1.0, f32::NAN, 2.0]).expect("small");
        let y = Tensor::f32([4], vec![1.0, f32::NAN, f32::NAN, 3.0]).expect("small");
        check(
            "nan",
            Op::Binary(function),
            &[Given::Input(x), Given::Input(y)],
            vec![],
            Schedule::Vector { lanes: 4 },
        );
    }
}

#[test]
fn powers() {
    let bases = [2.0, -2.0, 0.0, 0.5, -1.5, 1.0, 3.7, f32::INFINITY, f32::NAN];
    let exponents = [0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -2.5, 7.0];
    let pairs: Vec<(f32, f32)> = bases.iter().flat_map(|&b| exponents.iter().map(move |&e| (b, e))).collect();
    let x = Tensor::f32([pairs.len()], pairs.iter().map(|p| p.0).collect::<Vec<_>>()).expect("small");
    let y = Tensor::f32([pairs.len()], pairs.iter().map(|p| p.1).collect::<Vec<_>>()).expect("small");
    check(
        "pow",
        Op::Binary(Binary::Pow),
        &[Given::Input(x), Given::Input(y)],
        vec![],
        Schedule::Vector { lanes: 4 },
    );
}
