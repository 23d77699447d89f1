//! Attaches elementwise work to the operator that produces its operand.
//!
//! Bias, activation, residual sum and gate are then applied while the result is still in registers, and the tensor
//! between is never stored. An operation joins its producer if it is the only user and neither changes shape nor type.
//! Nothing else can depend on the producer then, so the new operand never makes a cycle.

use std::cmp::Reverse;
use std::collections::HashMap;

use avocet_ir::op::{EpilogueStep, Op, ReduceKind};
use avocet_ir::{DType, Graph, NodeId, Value};

use crate::pass::{Context, Outcome, PassError};

/// Whether the kernels of this operator apply epilogues: the only place that says so.
pub(crate) fn takes_epilogue(op: &Op) -> bool {
    match op {
        Op::Reduce { kind, .. } => *kind != ReduceKind::Prod,
        Op::Conv(_) | Op::MatMul { .. } | Op::Pool(_) | Op::Normalize { .. } => true,
        _ => matches!(op, Op::Unary(_) | Op::Binary(_)),
    }
}

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    let order = graph.topological()?;
    let positions: HashMap<NodeId, usize> = order.iter().enumerate().map(|(i, &id)| (id, i)).collect();
    for id in order {
        let mut candidates = candidates(graph, id);
        // The later producer takes the other operand: it then waits for nothing that it didn't wait for.
        candidates.sort_by_key(|candidate| Reverse(positions.get(&candidate.producer.node).copied()));
        let mut reasons = Vec::new();
        for candidate in candidates {
            match refusal(graph, id, candidate.producer) {
                None => {
                    graph.push_epilogue(candidate.producer.node, candidate.step, candidate.operand)?;
                    graph.replace_uses(id.into(), candidate.producer)?;
                    graph.remove(id)?;
                    outcome.changes += 1;
                    reasons.clear();
                    break;
                }
                Some(reason) => reasons.push(reason),
            }
        }
        if let Some(node) = graph.get(id).filter(|_| !reasons.is_empty()) {
            outcome.note(&node.name, format!("{} not attached: {}", node.op.name(), reasons.join("; ")));
        }
    }
    Ok(outcome)
}

/// A way to see a node as a step after one of its inputs.
struct Candidate {
    producer: Value,
    step: EpilogueStep,
    operand: Option<Value>,
}

fn candidates(graph: &Graph, id: NodeId) -> Vec<Candidate> {
    let node = graph.node(id);
    match (&node.op, &graph.inputs(id)[..]) {
        // It has become a producer itself, in an earlier run.
        _ if !node.epilogue.is_empty() => Vec::new(),
        (Op::Unary(unary), &[producer]) => {
            vec![Candidate { producer, step: EpilogueStep::Unary(*unary), operand: None }]
        }
        (Op::Binary(op), &[a, b]) => {
            let candidate = |producer, other, swapped| {
                // The graph sets the number of the operand.
                let swapped = swapped && !op.is_commutative();
                let step = EpilogueStep::Binary { op: *op, operand: 0, swapped };
                Candidate { producer, step, operand: Some(other) }
            };
            let both = [candidate(a, b, false), candidate(b, a, true)];
            both.into_iter().filter(|c| graph.as_constant(c.producer).is_none()).collect()
        }
        _ => Vec::new(),
    }
}

/// Why a node can't join the producer of one of its inputs.
fn refusal(graph: &Graph, id: NodeId, producer: Value) -> Option<String> {
    let (node, source) = (graph.node(id), graph.node(producer.node));
    let from = format!("'{}'", source.name.escape_debug());
    if !takes_epilogue(&source.op) {
        return Some(format!("{from} ({}) takes no epilogue", source.op.name()));
    }
    if graph.only_user(producer).is_none() {
        return Some(format!("{from} is used elsewhere"));
    }
    let (ty, result) = (graph.ty(producer), &node.outputs[0]);
    if ty != result {
        return Some(format!("{from} is {ty}, the result {result}"));
    }
    (ty.dtype != DType::F32).then(|| format!("{from} is not of f32"))
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{Binary, Unary};

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn a_residual_block() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let stem = net.conv(x, 4, 1, 1, 1);
        let y = net.conv(stem, 4, 3, 1, 1);
        let bias = net.random([4, 1, 1]);
        let y = net.binary(Binary::Add, y, bias);
        let y = net.binary(Binary::Add, stem, y);
        let y = net.relu(y);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,4,5,5] ; x
          %1 = constant : f32[4,4,1,1]
          %2 = conv %0, %1 {layout=nchw} : f32[1,4,5,5] ; n2
          %3 = constant : f32[4,4,3,3]
          %4 = constant [-0.7408867, 0.09848642, -0.40139866, 0.40610588] : f32[4,1,1]
          %5 = conv %2, %3 {padding=[1,1,1,1], layout=nchw} -> add(%4) -> add(%2) -> relu : f32[1,4,5,5] ; n4
          return %5 "y"
        "#);
    }

    #[test]
    fn the_later_of_two_producers_takes_the_sum() {
        let mut net = Network::new();
        let x = net.input("x", [2, 4]);
        let short = net.dense(x, 4);
        let long = net.dense(x, 4);
        let y = net.binary(Binary::Sub, long, short);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,4] ; x
          %1 = constant : f32[4,4]
          %2 = constant [-0.8282099, 0.4723301, -0.20631456, 0.7515868] : f32[4]
          %3 = matmul %0, %1 -> add(%2) : f32[2,4] ; n2
          %4 = constant : f32[4,4]
          %5 = constant [-0.6535635, -0.27535737, -0.59648275, 0.060625076] : f32[4]
          %6 = matmul %0, %4 -> add(%5) -> sub(%3) : f32[2,4] ; n6
          return %6 "y"
        "#);
    }

    #[test]
    fn a_chain_becomes_one_node() {
        let mut net = Network::new();
        let x = net.input("x", [2, 4]);
        let one = net.scalar(1.0);
        let y = net.unary(Unary::Exp, x);
        let y = net.binary(Binary::Add, one, y);
        let y = net.binary(Binary::Div, one, y);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,4] ; x
          %1 = constant [1.0] : f32[]
          %2 = exp %0 -> add(%1) -> div(%1, _) : f32[2,4] ; n1
          return %2 "y"
        "#);
    }

    #[test]
    fn a_gate_of_another_shape_stays_and_says_why() {
        let mut net = Network::new();
        let x = net.input("x", [1, 2, 3, 3]);
        let y = net.conv(x, 2, 3, 1, 2);
        let mean = net.mean(y, &[2, 3], true);
        let gate = net.unary(Unary::Sigmoid, mean);
        let y = net.binary(Binary::Mul, y, gate);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        insta::assert_snapshot!(format!("{after}{outcome}"), @r#"
        graph test
          %0 = input : f32[1,2,3,3] ; x
          %1 = constant : f32[2,1,3,3]
          %2 = conv %0, %1 {padding=[1,1,1,1], groups=2, layout=nchw} : f32[1,2,3,3] ; n2
          %3 = reduce_mean %2 {axes=[2,3], keep_dims=true} -> sigmoid : f32[1,2,1,1] ; n3
          %4 = mul %2, %3 : f32[1,2,3,3] ; n5
          return %4 "y"
        1 change
          'n5': mul not attached: 'n3' is f32[1,2,1,1], the result f32[1,2,3,3]; 'n2' is used elsewhere
        "#);
    }
}
