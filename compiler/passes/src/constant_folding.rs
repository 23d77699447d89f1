//! Computes at compile time what depends on constants alone.
//!
//! A result larger than its operands and than [`Context::folded_bytes`] stays uncomputed, as does one that would take
//! too long and an operator that the evaluator refuses; the outcome's notes say so.

use avocet_ir::op::{Op, Pool};
use avocet_ir::{Graph, NodeId, Tensor, TensorType};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::substitute;

/// Products of constants that take more multiplications than this are left to run time: a second for an interpreter.
const MAX_WORK: usize = 1 << 28;

/// The pass.
pub(crate) fn run(graph: &mut Graph, context: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let node = graph.node(id);
        if matches!(node.op, Op::Input(_) | Op::Constant(_)) || !node.epilogue.is_empty() {
            continue;
        }
        let inputs = graph.inputs(id);
        let Some(operands) = inputs.iter().map(|&v| graph.as_constant(v)).collect::<Option<Vec<&Tensor>>>()
        else {
            continue;
        };
        match evaluate(graph, id, &operands, context) {
            Ok(tensor) => {
                let name = node.name.clone();
                let constant = graph.constant(name, tensor);
                substitute(graph, id, constant)?;
                outcome.changes += 1;
            }
            Err(reason) => outcome.note(&node.name, format!("not folded: {reason}")),
        }
    }
    Ok(outcome)
}

/// The node's only result, or why it is not to be computed here.
fn evaluate(
    graph: &Graph,
    id: NodeId,
    operands: &[&Tensor],
    context: &Context<'_>,
) -> Result<Tensor, String> {
    let node = graph.node(id);
    let [output] = &node.outputs[..] else {
        return Err(format!("{} has {} results", node.op.name(), node.outputs.len()));
    };
    let operand_bytes = operands.iter().fold(0usize, |sum, t| sum.saturating_add(t.ty().bytes()));
    if output.bytes() > operand_bytes.max(context.folded_bytes) {
        return Err(format!("{output} of {operand_bytes} bytes of operands is too large to be kept"));
    }
    if work(&node.op, operands, output) > MAX_WORK {
        return Err(format!("{} to {output} takes too long", node.op.name()));
    }
    let result = context.evaluate.evaluate(&node.op, operands)?;
    match <[Tensor; 1]>::try_from(result) {
        Ok([tensor]) if tensor.ty() == *output => Ok(tensor),
        _ => Err(format!("the evaluator gave something else than {output}")),
    }
}

/// Roughly the number of elements read, with repetitions.
fn work(op: &Op, operands: &[&Tensor], output: &TensorType) -> usize {
    let each = match (op, operands) {
        (Op::Conv(_), [_, weights]) => weights.shape().dims()[1..].iter().product(),
        (Op::MatMul { transpose_a, .. }, [a, _]) => {
            a.shape().dims().iter().rev().nth(usize::from(*transpose_a)).copied().unwrap_or(1)
        }
        (Op::Pool(Pool { window, .. }), _) => window[0].saturating_mul(window[1]),
        _ => 1,
    };
    output.shape.elements().saturating_mul(each)
}

#[cfg(test)]
mod tests {
    use avocet_ir::Shape;
    use avocet_ir::op::Binary;

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn chains_of_constants_become_one() {
        let mut net = Network::new();
        let x = net.input("x", [2]);
        let a = net.constant([2], &[1.0, 2.0]);
        let b = net.constant([2], &[10.0, 20.0]);
        let sum = net.binary(Binary::Add, a, b);
        let product = net.binary(Binary::Mul, sum, a);
        let y = net.binary(Binary::Add, x, product);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 2);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2] ; x
          %1 = constant [11.0, 44.0] : f32[2] ; n2
          %2 = add %0, %1 : f32[2] ; n3
          return %2 "y"
        "#);
    }

    #[test]
    fn a_large_broadcast_stays() {
        let mut net = Network::new();
        let one = net.constant([1], &[1.0]);
        let shape = Shape::new([1 << 20]).expect("small enough");
        let y = net.add(Op::Broadcast { shape }, &[one]);
        let graph = net.finish(y);
        let (_, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 0);
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n1': not folded: f32[1048576] of 4 bytes of operands is too large to be kept
        "#);
    }

    #[test]
    fn a_product_that_takes_long_stays() {
        let mut net = Network::new();
        let a = net.constant([1 << 10, 1 << 10], &vec![0.5; 1 << 20]);
        let op = Op::MatMul { transpose_a: false, transpose_b: false };
        let product = net.add(op, &[a, a]);
        let mut graph = net.finish(product);
        let outcome = run(&mut graph, &Context::new(&avocet_reference::Reference)).expect("runs");
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n1': not folded: matmul to f32[1024,1024] takes too long
        "#);
    }
}
