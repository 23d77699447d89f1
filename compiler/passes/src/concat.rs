//! Moves elementwise work after a concatenation to what is concatenated.
//!
//! Mixed convolutions (MixNet: kernels of several sizes, concatenated, then batch norm and activation) hide their
//! producers from the passes that fold and attach. Where a concatenation joins results of operators that take such work
//! in, and nothing else uses them, the work is done on each part: then it folds into the weights, and the tensor is
//! not read and written once more. Per-channel parameters are cut to the parts.

use avocet_ir::op::{Op, SliceAxis};
use avocet_ir::{Graph, NodeId, Value};

use crate::epilogue::takes_epilogue;
use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::substitute;

/// More parts than any network concatenates before such work; bounds how much a chain of work can grow.
const MAX_PARTS: usize = 16;

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        if let Some(joined) = find(graph, id, &mut outcome) {
            distribute(graph, id, joined)?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

/// A concatenation before a node.
struct Joined {
    /// Which input of the node it is.
    input: usize,
    /// The concatenation.
    concat: NodeId,
    /// Its axis.
    axis: usize,
}

/// The concatenation whose parts the node's work can be done on.
fn find(graph: &Graph, id: NodeId, outcome: &mut Outcome) -> Option<Joined> {
    let node = graph.node(id);
    let inputs = graph.inputs(id);
    let input = match &node.op {
        Op::Unary(_) | Op::BatchNorm { .. } => 0,
        Op::Binary(_) => inputs.iter().position(|&v| graph.as_constant(v).is_none())?,
        _ => return None,
    };
    let concat = graph.get(inputs[input].node)?;
    let Op::Concat { axis } = concat.op else { return None };
    let constant = |(i, &value): (usize, &Value)| i == input || graph.as_constant(value).is_some();
    let plain = node.epilogue.is_empty() && concat.epilogue.is_empty();
    if !plain || !inputs.iter().enumerate().all(constant) || graph.ty(inputs[input]) != &node.outputs[0] {
        return None;
    }
    let parts = graph.inputs(inputs[input].node);
    let reason = if graph.only_user(inputs[input]).is_none() {
        "the concatenation is used elsewhere"
    } else if parts.len() > MAX_PARTS {
        "it has too many parts"
    } else if parts.iter().any(|&part| graph.only_user(part).is_none()) {
        "a part is used elsewhere"
    } else if parts.iter().any(|part| !takes_in(&graph.node(part.node).op)) {
        "a part's producer does not take it in"
    } else {
        return Some(Joined { input, concat: inputs[input].node, axis });
    };
    outcome.note(&node.name, format!("{} not moved before the concatenation: {reason}", node.op.name()));
    None
}

/// Whether a producer takes elementwise work in: into its epilogue or, a batch norm that came here before, together
/// with which it will be folded.
fn takes_in(op: &Op) -> bool {
    takes_epilogue(op) || matches!(op, Op::BatchNorm { .. })
}

/// Does the node's work on each part, and concatenates the results in its place.
fn distribute(graph: &mut Graph, id: NodeId, joined: Joined) -> Result<(), PassError> {
    let Joined { input, concat, axis } = joined;
    let (name, op, ty) =
        (graph.node(id).name.clone(), graph.node(id).op.clone(), graph.node(id).outputs[0].clone());
    let operands = graph.inputs(id);
    let mut parts = Vec::new();
    let mut start = 0;
    for (number, part) in graph.inputs(concat).into_iter().enumerate() {
        let count = graph.ty(part).shape[axis];
        let mut inputs = operands.clone();
        for (i, operand) in operands.iter().enumerate() {
            inputs[i] = match i == input {
                true => part,
                false => {
                    // The dimension of the operand that runs along the concatenation; a batch norm's parameters have
                    // just the one.
                    let dimension = match op {
                        Op::BatchNorm { axis: norm, .. } => (norm == axis).then_some(0),
                        _ => (axis + graph.ty(*operand).shape.rank()).checked_sub(ty.shape.rank()),
                    };
                    cut(graph, *operand, dimension, ty.shape[axis], start, count)?
                }
            };
        }
        parts.push(graph.add(format!("{name}.{number}"), op.clone(), &inputs)?);
        start += count;
    }
    let concat_name = graph.node(concat).name.clone();
    let whole = graph.add(concat_name, Op::Concat { axis }, &parts)?;
    substitute(graph, id, whole)?;
    graph.remove(concat)?;
    Ok(())
}

/// The operand's elements for `count` of the `extent` elements along the concatenation, from `start` on; the operand
/// itself if it is the same all along.
fn cut(
    graph: &mut Graph,
    operand: Value,
    dimension: Option<usize>,
    extent: usize,
    start: usize,
    count: usize,
) -> Result<Value, PassError> {
    let dims = graph.ty(operand).dims().to_vec();
    let Some(dimension) = dimension.filter(|&d| dims[d] == extent && extent != 1) else { return Ok(operand) };
    let mut axes: Vec<SliceAxis> = dims.iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect();
    axes[dimension] = SliceAxis { start, count, step: 1 };
    let name = graph.node(operand.node).name.clone();
    Ok(graph.add(name, Op::Slice { axes }, &[operand])?)
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::Binary;

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn mixed_convolution() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let small = net.conv(x, 2, 3, 1, 1);
        let large = net.conv(x, 3, 5, 1, 1);
        let y = net.add(Op::Concat { axis: 1 }, &[small, large]);
        let y = net.batch_norm(y);
        let scale = net.random([5, 1, 1]);
        let y = net.binary(Binary::Mul, scale, y);
        let y = net.relu(y);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 3);
        let compiled = crate::tests::compiled(&after);
        insta::assert_snapshot!(compiled.to_string(), @r#"
        graph test
          %0 = input : f32[1,4,5,5] ; x
          %1 = transpose %0 {perm=[0,2,3,1]} : f32[1,5,5,4] ; n4.nhwc
          %2 = constant : f32[2,4,3,3]
          %3 = constant [0.90378886, 0.60358846, -0.1975257] : f32[1,1,1,3] ; n4.bias
          %4 = constant : f32[3,4,5,5]
          %5 = conv %1, %4 {padding=[2,2,2,2], layout=nhwc} -> add(%3) -> relu : f32[1,5,5,3] ; n4
          %6 = constant [0.57752895, 0.26899007] : f32[1,1,1,2] ; n2.bias
          %7 = conv %1, %2 {padding=[1,1,1,1], layout=nhwc} -> add(%6) -> relu : f32[1,5,5,2] ; n2
          %8 = concat %7, %5 {axis=3} : f32[1,5,5,5] ; n5
          %9 = transpose %8 {perm=[0,3,1,2]} : f32[1,5,5,5] ; n5.transpose
          return %9 "y"
        "#);
    }

    #[test]
    fn work_along_another_axis_is_shared() {
        let mut net = Network::new();
        let (a, b) = (net.input("a", [2, 3]), net.input("b", [1, 3]));
        let parts = [net.relu(a), net.relu(b)];
        let y = net.add(Op::Concat { axis: 0 }, &parts);
        let y = net.batch_norm(y);
        let column = net.random([3, 1]);
        let y = net.binary(Binary::Sub, column, y);
        let graph = net.finish(y);
        assert_eq!(check(run, &graph).1.changes, 2);
    }

    #[test]
    fn a_part_that_others_use_stays() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let first = net.conv(x, 2, 1, 1, 1);
        let second = net.conv(first, 2, 3, 1, 1);
        let y = net.add(Op::Concat { axis: 1 }, &[first, second]);
        let y = net.relu(y);
        let graph = net.finish(y);
        let (_, outcome) = check(run, &graph);
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n6': relu not moved before the concatenation: a part is used elsewhere
        "#);
    }
}
