//! Transpositions moving behind operators of several equal operands: elementwise functions and concatenation.
//!
//! Operands that are not transposed alike have to be transposed back. That is free for constants, for tensors whose
//! transposition moves only units, and where that transposition exists already; anything else would trade one
//! transposition for another, and the node is left alone.

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId, Shape, Value};

use super::put_behind;
use crate::nhwc::TO_NCHW;
use crate::pass::{Outcome, PassError};
use crate::rewrite::{inverse, moves_units_only, plain_transpose};

/// Moves a transposition that some operands share behind the node.
pub(super) fn sink(graph: &mut Graph, id: NodeId, outcome: &mut Outcome) -> Result<bool, PassError> {
    let inputs = graph.inputs(id);
    let rank = graph.node(id).outputs[0].shape.rank();
    let Some(perm) = shared_permutation(graph, &inputs, rank) else { return Ok(false) };
    if !super::should_sink(graph, id, &perm) {
        return Ok(false);
    }
    let costs: Vec<Cost> = inputs.iter().map(|&value| cost(graph, value, &perm, rank)).collect();
    // A model's own transposition is to merge with one behind, not to leave others where it was.
    let allowed = if perm == TO_NCHW { Cost::Reshape } else { Cost::Constant };
    if costs.iter().any(|&cost| cost > allowed) {
        let name = graph.node(id).name.clone();
        outcome.note(&name, "transposition not moved: another operand would have to be transposed instead");
        return Ok(false);
    }
    let op = match &graph.node(id).op {
        Op::Concat { axis } => Op::Concat { axis: perm[*axis] },
        op => op.clone(),
    };
    let mut sources = Vec::with_capacity(inputs.len());
    for value in inputs {
        sources.push(untransposed(graph, value, &perm, rank)?);
    }
    put_behind(graph, id, op, &sources, perm)?;
    Ok(true)
}

/// The permutation of a transposed operand of full rank; that to NCHW before others. Constants are not worth moving.
fn shared_permutation(graph: &Graph, inputs: &[Value], rank: usize) -> Option<Vec<usize>> {
    let found = inputs.iter().filter_map(|value| plain_transpose(graph, value.node));
    let mut found: Vec<Vec<usize>> = found
        .filter(|(perm, source)| perm.len() == rank && graph.as_constant(*source).is_none())
        .map(|(perm, _)| perm)
        .collect();
    let first = found.iter().position(|perm| *perm == TO_NCHW).unwrap_or(0);
    (first < found.len()).then(|| found.swap_remove(first))
}

/// What it takes to get an operand in the order of before the transposition, cheapest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// It is there.
    Nothing,
    /// A transposition of a constant, which is folded.
    Constant,
    /// A reshape.
    Reshape,
    /// A transposition.
    Transpose,
}

fn cost(graph: &Graph, value: Value, perm: &[usize], rank: usize) -> Cost {
    let ty = graph.ty(value);
    let transposed_alike = plain_transpose(graph, value.node).is_some_and(|(p, _)| p == perm);
    if transposed_alike || ty.shape.elements() == 1 && ty.shape.rank() < rank {
        Cost::Nothing
    } else if graph.as_constant(value).is_some() {
        Cost::Constant
    } else if existing(graph, value, perm).is_some() {
        Cost::Reshape
    } else {
        match padded(&ty.shape, rank) {
            Some(shape) if moves_units_only(&inverse(perm), &shape) => Cost::Reshape,
            _ => Cost::Transpose,
        }
    }
}

/// A transposition of the value that undoes `perm` and is in the graph already.
fn existing(graph: &Graph, value: Value, perm: &[usize]) -> Option<Value> {
    let undone = inverse(perm);
    let users = graph.users(value).into_iter().map(|(user, _)| user);
    users
        .filter(|&user| plain_transpose(graph, user).is_some_and(|(p, _)| p == undone))
        .map(Value::from)
        .next()
}

/// The shape with ones in front up to a rank.
fn padded(shape: &Shape, rank: usize) -> Option<Shape> {
    let mut dims = vec![1; rank.checked_sub(shape.rank())?];
    dims.extend(shape.dims());
    Shape::new(dims).ok()
}

/// The value whose transposition by `perm` is `value`, up to broadcasting.
fn untransposed(graph: &mut Graph, value: Value, perm: &[usize], rank: usize) -> Result<Value, PassError> {
    let ty = graph.ty(value);
    if let Some((_, source)) = plain_transpose(graph, value.node).filter(|(p, _)| p == perm) {
        return Ok(source);
    }
    if ty.shape.elements() == 1 && ty.shape.rank() < rank {
        return Ok(value);
    }
    if let Some(existing) = existing(graph, value, perm) {
        return Ok(existing);
    }
    let name = graph.node(value.node).name.clone();
    let mut source = value;
    if let Some(shape) = padded(&ty.shape, rank).filter(|shape| *shape != ty.shape) {
        source = graph.add(name.clone(), Op::Reshape { shape }, &[source])?;
    }
    Ok(graph.add(name, Op::Transpose { perm: inverse(perm) }, &[source])?)
}
