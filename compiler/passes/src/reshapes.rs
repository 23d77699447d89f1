//! Brings reshapes together and into the operators next to them.
//!
//! A reshape of a reshape is one; a reshape that drops the unit dimensions that a reduction kept is the reduction's
//! `keep_dims`; and a reshape moves behind elementwise functions, so that they meet the producer whose epilogue they
//! may become (dense layer - reshape - sigmoid in squeeze-and-excitation blocks).

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{plain_reshape, substitute};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let applied = match graph.node(id).op {
            Op::Reshape { .. } => merge(graph, id)? || drop_kept_dims(graph, id)?,
            Op::Unary(_) => move_behind(graph, id)?,
            _ => false,
        };
        outcome.changes += usize::from(applied);
    }
    Ok(outcome)
}

/// `reshape(reshape(x))` is `reshape(x)`.
fn merge(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let Some(inner) = plain_reshape(graph, id) else { return Ok(false) };
    let Some(source) = plain_reshape(graph, inner.node) else { return Ok(false) };
    let op = graph.node(id).op.clone();
    graph.replace(id, op, &[source])?;
    Ok(true)
}

/// `reshape(reduce(x))` that drops the reduced dimensions is a reduction that doesn't keep them.
fn drop_kept_dims(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let Some(reduced) = plain_reshape(graph, id) else { return Ok(false) };
    let reduction = graph.node(reduced.node);
    let Op::Reduce { kind, axes, keep_dims: true } = &reduction.op else { return Ok(false) };
    let (kind, axes) = (*kind, axes.clone());
    let kept = graph.ty(reduced).dims().iter().enumerate();
    let kept = kept.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &dim)| dim);
    if !reduction.epilogue.is_empty()
        || graph.only_user(reduced).is_none()
        || !kept.eq(graph.node(id).outputs[0].dims().iter().copied())
    {
        return Ok(false);
    }
    let (name, inputs) = (reduction.name.clone(), graph.inputs(reduced.node));
    graph.replace(id, Op::Reduce { kind, axes, keep_dims: false }, &inputs)?;
    graph.set_name(id, name);
    graph.remove(reduced.node)?;
    Ok(true)
}

/// `f(reshape(x))` is `reshape(f(x))`.
fn move_behind(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    let reshaped = graph.inputs(id)[0];
    let Some(source) = plain_reshape(graph, reshaped.node) else { return Ok(false) };
    if !node.epilogue.is_empty() || graph.only_user(reshaped).is_none() {
        return Ok(false);
    }
    let (name, op) = (node.name.clone(), node.op.clone());
    let shape = node.outputs[0].shape.clone();
    let reshape_name = graph.node(reshaped.node).name.clone();
    let applied = graph.add(name, op, &[source])?;
    let moved = graph.add(reshape_name, Op::Reshape { shape }, &[applied])?;
    substitute(graph, id, moved)?;
    graph.remove(reshaped.node)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::Unary;

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn the_way_into_and_out_of_a_vector() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 2, 2]);
        let mean = net.mean(x, &[2, 3], true);
        let vector = net.reshape(mean, [1, 3]);
        let dense = net.dense(vector, 4);
        let image = net.reshape(dense, [1, 4, 1, 1]);
        let gate = net.unary(Unary::Sigmoid, image);
        let gate = net.reshape(gate, [4, 1, 1]);
        let graph = net.finish(gate);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 3);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,3,2,2] ; x
          %1 = reduce_mean %0 {axes=[2,3], keep_dims=false} : f32[1,3] ; n1
          %2 = constant : f32[3,4]
          %3 = matmul %1, %2 : f32[1,4] ; n4
          %4 = constant [-0.7408867, 0.09848642, -0.40139866, 0.40610588] : f32[4]
          %5 = add %3, %4 : f32[1,4] ; n6
          %6 = sigmoid %5 : f32[1,4] ; n8
          %7 = reshape %6 {shape=[4,1,1]} : f32[4,1,1] ; n9
          return %7 "y"
        "#);
    }

    #[test]
    fn a_reduction_with_another_user_keeps_its_dimensions() {
        let mut net = Network::new();
        let x = net.input("x", [1, 3, 2, 2]);
        let mean = net.mean(x, &[2, 3], true);
        let vector = net.reshape(mean, [1, 3]);
        let mut graph = net.finish(vector);
        graph.add_output("mean", mean);
        assert_eq!(check(run, &graph).1.changes, 0);
    }
}
