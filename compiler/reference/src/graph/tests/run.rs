use avocet_ir::op::{Binary, EpilogueStep, Unary};
use avocet_ir::{Graph, TensorType, Value};

use super::*;
use crate::graph::{RunError, run};

fn input(graph: &mut Graph, dims: &[usize]) -> Value {
    let ty = TensorType::f32(dims).expect("test type");
    graph.add("x", Op::Input(ty), &[]).expect("an input")
}

/// `conv(x) + residual`, then relu; the residual is read twice and is a result too.
fn residual(fused: bool) -> Graph {
    let mut graph = Graph::new("residual");
    let x = input(&mut graph, &[1, 2, 1, 2]);
    let doubled = graph.add("doubled", Op::Binary(Binary::Add), &[x, x]).expect("valid");
    let weights = graph.constant("weights", t(&[2, 2, 1, 1], &[1., -1., 0., 1.]));
    let conv = graph.add("conv", Op::Conv(plain_conv(Layout::Nchw)), &[doubled, weights]).expect("valid");
    let result = if fused {
        let add = EpilogueStep::Binary { op: Binary::Sub, operand: 0, swapped: true };
        graph.push_epilogue(conv.node, add, Some(doubled)).expect("valid");
        graph.push_epilogue(conv.node, EpilogueStep::Unary(Unary::Relu), None).expect("valid");
        conv
    } else {
        let sub = graph.add("sub", Op::Binary(Binary::Sub), &[doubled, conv]).expect("valid");
        graph.add("relu", Op::Unary(Unary::Relu), &[sub]).expect("valid")
    };
    graph.add_output("y", result);
    graph.add_output("doubled", doubled);
    graph
}

#[test]
fn epilogues_equal_the_operators_they_stand_for() {
    let x = t(&[1, 2, 1, 2], &[1., 2., -3., 4.]);
    let plain = run(&residual(false), std::slice::from_ref(&x)).expect("runs");
    assert_eq!(plain[0].as_f32().expect("f32"), [0., 8., 0., 0.]);
    assert_eq!(plain[1].as_f32().expect("f32"), [2., 4., -6., 8.]);
    assert_eq!(run(&residual(true), &[x]).expect("runs"), plain);
}

#[test]
fn inputs_and_constants_can_be_results() {
    let mut graph = Graph::new("through");
    let x = input(&mut graph, &[1]);
    let c = graph.constant("c", t(&[1], &[5.]));
    graph.add("dead", Op::Identity, &[x]).expect("valid");
    graph.add_output("x", x);
    graph.add_output("c", c);
    graph.add_output("again", x);
    let given = t(&[1], &[3.]);
    assert_eq!(run(&graph, std::slice::from_ref(&given)), Ok(vec![given.clone(), t(&[1], &[5.]), given]));
}

#[test]
fn wrong_inputs_are_named() {
    let graph = residual(false);
    let error = run(&graph, &[]).expect_err("no inputs");
    assert_eq!(error.to_string(), "the network has 1 inputs, but 0 tensors were given");
    let error = run(&graph, &[t(&[2], &[1., 2.])]).expect_err("wrong type");
    assert_eq!(error.to_string(), "input 'x' is f32[1,2,1,2], but a tensor f32[2] was given");
}

#[test]
fn the_failing_node_is_named() {
    let mut graph = Graph::new("power");
    let a = graph.constant("a", ti(&[], &[1]));
    let y = graph.add("power", Op::Unary(Unary::Exp), &[a]).expect("valid");
    graph.add_output("y", y);
    let error = run(&graph, &[]).expect_err("exp of an integer");
    assert!(matches!(error, RunError::Node { .. }));
    assert_eq!(error.to_string(), "node 'power' (exp): exp is not evaluated on elements of type i64");
}
