//! Removes operators that give their input unchanged.
//!
//! Only what is exact for every input, NaN and the zeros' signs included: `x * 1`, `x / 1`, `x - 0` and `x + -0` go,
//! `x + 0` stays, since it turns -0 into 0.

use avocet_ir::op::{Binary, Op, Unary};
use avocet_ir::{Graph, NodeId, Tensor, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{is_identity, substitute};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let Some(value) = same_as(graph, id) else { continue };
        if graph.ty(value) == &graph.node(id).outputs[0] {
            substitute(graph, id, value)?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

/// The value that the node's result equals if their types are the same.
fn same_as(graph: &Graph, id: NodeId) -> Option<Value> {
    let node = graph.node(id);
    if !node.epilogue.is_empty() {
        return None;
    }
    let inputs = graph.inputs(id);
    let first = *inputs.first()?;
    let nothing = match &node.op {
        // With an equal type, these do nothing.
        Op::Identity | Op::Reshape { .. } | Op::Broadcast { .. } | Op::Cast { .. } => true,
        Op::Transpose { perm } => is_identity(perm),
        Op::Slice { axes } => axes.iter().zip(graph.ty(first).dims()).all(|(axis, &extent)| {
            axis.start == 0 && axis.count == extent && (axis.step == 1 || extent <= 1)
        }),
        Op::Pad { amounts, .. } => amounts.iter().all(|&amount| amount == (0, 0)),
        Op::Concat { .. } => inputs.len() == 1,
        Op::ChannelShuffle { groups, axis } => *groups == 1 || *groups == graph.ty(first).shape[*axis],
        Op::Unary(Unary::Clip { low, high }) => *low == f32::NEG_INFINITY && *high == f32::INFINITY,
        Op::Binary(op) => return neutral_operand(graph, *op, &inputs),
        _ => false,
    };
    nothing.then_some(first)
}

/// The operand that a binary operator gives back because the other is its neutral element throughout.
fn neutral_operand(graph: &Graph, op: Binary, inputs: &[Value]) -> Option<Value> {
    let (neutral, commutative) = match op {
        Binary::Mul => (1.0f32, true),
        Binary::Div => (1.0, false),
        Binary::Sub => (0.0, false),
        Binary::Add => (-0.0, true),
        _ => return None,
    };
    let is_neutral = |value: Value| {
        let data = graph.as_constant(value).and_then(Tensor::as_f32);
        data.is_some_and(|data| data.iter().all(|v| v.to_bits() == neutral.to_bits()))
    };
    match *inputs {
        [a, b] if is_neutral(b) => Some(a).filter(|_| a != b),
        [a, b] if commutative && is_neutral(a) => Some(b),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::{PadMode, SliceAxis};
    use avocet_ir::{DType, Shape};

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn all_that_does_nothing_goes() {
        let mut net = Network::new();
        let x = net.input("x", [2, 3]);
        let mut y = x;
        let (one, zero, minus) = (net.scalar(1.0), net.scalar(0.0), net.scalar(-0.0));
        let all = |count| SliceAxis { start: 0, count, step: 1 };
        for op in [
            Op::Identity,
            Op::Cast { to: DType::F32 },
            Op::Transpose { perm: vec![0, 1] },
            Op::Reshape { shape: Shape::new([2, 3]).expect("small") },
            Op::Broadcast { shape: Shape::new([2, 3]).expect("small") },
            Op::Slice { axes: vec![all(2), all(3)] },
            Op::Pad { amounts: vec![(0, 0); 2], mode: PadMode::Edge },
            Op::Concat { axis: 1 },
            Op::ChannelShuffle { groups: 3, axis: 1 },
            Op::Unary(Unary::Clip { low: f32::NEG_INFINITY, high: f32::INFINITY }),
        ] {
            y = net.add(op, &[y]);
        }
        y = net.binary(Binary::Mul, one, y);
        y = net.binary(Binary::Div, y, one);
        y = net.binary(Binary::Sub, y, zero);
        y = net.binary(Binary::Add, y, minus);
        let y = net.relu(y);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 14);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,3] ; x
          %1 = relu %0 : f32[2,3] ; n15
          return %1 "y"
        "#);
    }

    #[test]
    fn what_changes_something_stays() {
        let mut net = Network::new();
        let x = net.input("x", [3]);
        let (zero, one) = (net.scalar(0.0), net.scalar(1.0));
        let row = net.constant([1, 3], &[1.0; 3]);
        let y = net.binary(Binary::Add, x, zero);
        let y = net.binary(Binary::Div, one, y);
        // A product with ones that adds a dimension.
        let y = net.binary(Binary::Mul, y, row);
        let graph = net.finish(y);
        assert_eq!(check(run, &graph).1.changes, 0);
    }
}
