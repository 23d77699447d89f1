use avocet_ir::op::{Binary, Op, Unary};
use avocet_ir::{Graph, Value};

use super::run;
use crate::testing::{Network, check};

/// What a network of one input becomes: the operator that gives its result, as text.
fn recognised(build: impl FnOnce(&mut Network, Value) -> Value) -> String {
    let mut net = Network::new();
    let x = net.input("x", [2, 40]);
    let y = build(&mut net, x);
    let graph: Graph = net.finish(y);
    let (after, _) = check(run, &graph);
    let result = after.node(after.outputs()[0].value.node);
    match &result.op {
        Op::Unary(unary) => unary.to_string(),
        op => op.name().to_string(),
    }
}

fn scaled(net: &mut Network, op: Binary, x: Value, scalar: f32) -> Value {
    let scalar = net.scalar(scalar);
    net.binary(op, x, scalar)
}

#[test]
fn silu() {
    let silu = recognised(|net, x| {
        let gate = net.unary(Unary::Sigmoid, x);
        net.binary(Binary::Mul, gate, x)
    });
    assert_eq!(silu, "silu");
    let other = recognised(|net, x| {
        let y = net.unary(Unary::Tanh, x);
        let gate = net.unary(Unary::Sigmoid, x);
        net.binary(Binary::Mul, gate, y)
    });
    assert_eq!(other, "mul");
}

/// `clip(x + 3, 0, 6)`.
fn relu6_of_x_plus_3(net: &mut Network, x: Value) -> Value {
    let sum = scaled(net, Binary::Add, x, 3.0);
    net.unary(Unary::Clip { low: 0.0, high: 6.0 }, sum)
}

#[test]
fn hard_swish_in_any_association() {
    let spellings: [fn(&mut Network, Value) -> Value; 5] = [
        |net, x| {
            let clip = relu6_of_x_plus_3(net, x);
            let product = net.binary(Binary::Mul, x, clip);
            scaled(net, Binary::Div, product, 6.0)
        },
        |net, x| {
            let clip = relu6_of_x_plus_3(net, x);
            let gate = scaled(net, Binary::Mul, clip, 1.0 / 6.0);
            net.binary(Binary::Mul, gate, x)
        },
        |net, x| {
            let clip = relu6_of_x_plus_3(net, x);
            let sixth = scaled(net, Binary::Div, x, 6.0);
            net.binary(Binary::Mul, sixth, clip)
        },
        |net, x| {
            let gate = net.unary(Unary::HardSigmoid { alpha: 0.166_666_67, beta: 0.5 }, x);
            net.binary(Binary::Mul, x, gate)
        },
        |net, x| {
            let sixth = scaled(net, Binary::Mul, x, 0.166_666_67);
            let sum = scaled(net, Binary::Add, sixth, 0.5);
            let gate = net.unary(Unary::Clip { low: 0.0, high: 1.0 }, sum);
            net.binary(Binary::Mul, x, gate)
        },
    ];
    for spelling in spellings {
        assert_eq!(recognised(spelling), "hard_swish");
    }
}

#[test]
fn hard_sigmoid() {
    let found = recognised(|net, x| {
        let clip = relu6_of_x_plus_3(net, x);
        scaled(net, Binary::Div, clip, 6.0)
    });
    assert_eq!(found, "hard_sigmoid(0.16666667,0.5)");
}

#[test]
fn gelu_in_any_association() {
    /// `erf(x / sqrt 2)`, by division.
    fn erf(net: &mut Network, x: Value) -> Value {
        let scaled = scaled(net, Binary::Div, x, std::f32::consts::SQRT_2);
        net.unary(Unary::Erf, scaled)
    }
    let spellings: [fn(&mut Network, Value) -> Value; 4] = [
        |net, x| {
            let erf = erf(net, x);
            let sum = scaled(net, Binary::Add, erf, 1.0);
            let product = net.binary(Binary::Mul, x, sum);
            scaled(net, Binary::Mul, product, 0.5)
        },
        |net, x| {
            let erf = erf(net, x);
            let sum = scaled(net, Binary::Add, erf, 1.0);
            let half = scaled(net, Binary::Mul, x, 0.5);
            net.binary(Binary::Mul, half, sum)
        },
        |net, x| {
            let erf = erf(net, x);
            let half = scaled(net, Binary::Mul, erf, 0.5);
            let sum = scaled(net, Binary::Add, half, 0.5);
            net.binary(Binary::Mul, sum, x)
        },
        |net, x| {
            let argument = scaled(net, Binary::Mul, x, std::f32::consts::FRAC_1_SQRT_2);
            let erf = net.unary(Unary::Erf, argument);
            let sum = scaled(net, Binary::Add, erf, 1.0);
            let half = scaled(net, Binary::Div, sum, 2.0);
            net.binary(Binary::Mul, half, x)
        },
    ];
    for spelling in spellings {
        assert_eq!(recognised(spelling), "gelu");
    }
}

#[test]
fn limits() {
    let relu = recognised(|net, x| scaled(net, Binary::Max, x, 0.0));
    assert_eq!(relu, "relu");
    let clip = recognised(|net, x| net.unary(Unary::Clip { low: 0.0, high: f32::INFINITY }, x));
    assert_eq!(clip, "relu");
    let relu6 = recognised(|net, x| {
        let relu = net.relu(x);
        scaled(net, Binary::Min, relu, 6.0)
    });
    assert_eq!(relu6, "clip(0,6)");
    // Limits that exclude each other are left as they are.
    let odd = recognised(|net, x| {
        let clip = net.unary(Unary::Clip { low: 2.0, high: 3.0 }, x);
        net.unary(Unary::Clip { low: 0.0, high: 1.0 }, clip)
    });
    assert_eq!(odd, "clip(0,1)");
}

#[test]
fn near_misses_say_why() {
    let mut net = Network::new();
    let x = net.input("x", [4]);
    let y = net.input("y", [4]);
    let gate = net.unary(Unary::Sigmoid, x);
    let swish = net.binary(Binary::Mul, y, gate);
    let gate = net.unary(Unary::HardSigmoid { alpha: 0.2, beta: 0.5 }, swish);
    let swish = net.binary(Binary::Mul, swish, gate);
    let graph = net.finish(swish);
    let (_, outcome) = check(run, &graph);
    insta::assert_snapshot!(outcome.to_string(), @r#"
    no change
      'n2': no activation: the gate is of another value
      'n4': no activation: the hard sigmoid is not that of hard-swish
    "#);
}
