//! Makes one operator of a layer norm that is written out: means, differences, squares, a root and a quotient.
//!
//! `(x - mean) / sqrt(mean of squares + epsilon)` over the last dimension, or the same without the mean. Four tensors and two
//! columns of statistics become one pass over rows that stay in the first cache. What is multiplied and added afterwards
//! becomes an epilogue.

use avocet_ir::op::{Binary, Op, ReduceKind, Unary};
use avocet_ir::{Graph, NodeId, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{plain_binary, scalar, with_scalar};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        match find(graph, id) {
            None => {}
            Some(Ok((x, op))) => {
                graph.replace(id, op, &[x])?;
                outcome.changes += 1;
            }
            Some(Err(reason)) => outcome.note(&graph.node(id).name, format!("no norm: {reason}")),
        }
    }
    Ok(outcome)
}

/// A norm whose quotient is this node: none where it is nothing of the kind, and why it is none where it looks like it.
fn find(graph: &Graph, id: NodeId) -> Option<Result<(Value, Op), &'static str>> {
    let Some(Binary::Div) = plain_binary(graph, id) else { return None };
    let [value, deviation] = graph.inputs(id)[..] else { return None };
    let variance = unary(graph, deviation, Unary::Sqrt)?;
    let sum = with_scalar(graph, variance.node).filter(|sum| sum.op == Binary::Add)?;
    let squares = mean(graph, sum.value)?;
    if square(graph, squares)? != value {
        return Some(Err("the root is that of something else"));
    }
    if !(sum.scalar >= 0.0 && sum.scalar.is_finite()) {
        return Some(Err("epsilon is not a number from 0 on"));
    }
    let epsilon = sum.scalar;
    if plain_binary(graph, value.node) == Some(Binary::Sub) {
        let inputs = graph.inputs(value.node);
        if mean(graph, inputs[1]) == Some(inputs[0]) {
            return Some(Ok((inputs[0], Op::Normalize { epsilon, centered: true })));
        }
    }
    Some(Ok((value, Op::Normalize { epsilon, centered: false })))
}

/// What a plain function is applied to.
fn unary(graph: &Graph, value: Value, function: Unary) -> Option<Value> {
    let node = graph.node(value.node);
    let applied = node.op == Op::Unary(function) && node.epilogue.is_empty();
    applied.then(|| graph.inputs(value.node)[0])
}

/// What a mean over the last dimension is that of.
fn mean(graph: &Graph, value: Value) -> Option<Value> {
    let node = graph.node(value.node);
    let Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: true } = &node.op else { return None };
    let last = node.outputs[0].shape.rank().checked_sub(1)?;
    (*axes == [last] && node.epilogue.is_empty()).then(|| graph.inputs(value.node)[0])
}

/// What is squared.
fn square(graph: &Graph, value: Value) -> Option<Value> {
    let inputs = graph.inputs(value.node);
    match plain_binary(graph, value.node)? {
        Binary::Mul if inputs[0] == inputs[1] => Some(inputs[0]),
        Binary::Pow if scalar(graph, inputs[1]) == Some(2.0) => Some(inputs[0]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    fn written_out(net: &mut Network, x: Value, last: usize) -> Value {
        let mean = net.mean(x, &[last], true);
        let centered = net.binary(Binary::Sub, x, mean);
        let two = net.scalar(2.0);
        let square = net.binary(Binary::Pow, centered, two);
        let variance = net.mean(square, &[last], true);
        let epsilon = net.scalar(1e-5);
        let variance = net.binary(Binary::Add, variance, epsilon);
        let deviation = net.unary(Unary::Sqrt, variance);
        net.binary(Binary::Div, centered, deviation)
    }

    #[test]
    fn with_scale_and_offset() {
        let mut net = Network::new();
        let x = net.input("x", [1, 5, 6]);
        let y = written_out(&mut net, x, 2);
        let (scale, offset) = (net.random([6]), net.random([6]));
        let y = net.binary(Binary::Mul, y, scale);
        let y = net.binary(Binary::Add, y, offset);
        insta::assert_snapshot!(crate::tests::compiled(&net.finish(y)).to_string(), @r#"
        graph test
          %0 = input : f32[1,5,6] ; x
          %1 = constant : f32[6]
          %2 = constant : f32[6]
          %3 = normalize %0 {epsilon=0.00001} -> mul(%1) -> add(%2) : f32[1,5,6] ; n7
          return %3 "y"
        "#);
    }

    #[test]
    fn without_a_mean() {
        let mut net = Network::new();
        let x = net.input("x", [5, 6]);
        let square = net.binary(Binary::Mul, x, x);
        let mean = net.mean(square, &[1], true);
        let epsilon = net.scalar(1e-6);
        let mean = net.binary(Binary::Add, epsilon, mean);
        let root = net.unary(Unary::Sqrt, mean);
        let y = net.binary(Binary::Div, x, root);
        insta::assert_snapshot!(crate::tests::compiled(&net.finish(y)).to_string(), @r#"
        graph test
          %0 = input : f32[5,6] ; x
          %1 = normalize %0 {epsilon=0.000001, centered=false} : f32[5,6] ; n5
          return %1 "y"
        "#);
    }

    /// Over another dimension, of another value, with a negative epsilon.
    #[test]
    fn what_stays() {
        let mut net = Network::new();
        let x = net.input("x", [5, 6]);
        let a = written_out(&mut net, x, 0);
        let square = net.binary(Binary::Mul, x, x);
        let mean = net.mean(square, &[1], true);
        let epsilon = [1e-6, -1e-6].map(|value| net.scalar(value));
        let roots = epsilon.map(|epsilon| {
            let sum = net.binary(Binary::Add, mean, epsilon);
            net.unary(Unary::Sqrt, sum)
        });
        let b = net.binary(Binary::Div, a, roots[0]);
        let c = net.binary(Binary::Div, x, roots[1]);
        let y = net.binary(Binary::Add, b, c);
        insta::assert_snapshot!(check(run, &net.finish(y)).1.to_string(), @r#"
        no change
          'n14': no norm: the root is that of something else
          'n15': no norm: epsilon is not a number from 0 on
        "#);
    }
}
