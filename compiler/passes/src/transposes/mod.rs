//! Moves transpositions towards the results and cancels them.
//!
//! A transposition to NCHW (what [`crate::nhwc`] puts after an image operator) moves behind every operator that can work
//! on the transposed dimensions just as well, until it meets the transposition to NHWC before the next image operator.
//! Other transpositions, those the model brought, move only where they then merge with one that follows or, when they
//! swap the last two dimensions, meet a matrix product (`k * scale` in attention), which takes them in. One walk in
//! topological order carries a transposition as far as it goes; each step either moves it strictly towards the results
//! or merges two, so the walks come to an end.
//!
//! Last, a transposition that moves nothing but dimensions of size one becomes a reshape.

mod dimensions;
mod operands;

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId, Value};

use crate::nhwc::TO_NCHW;
use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{compose, is_identity, moves_units_only, plain_transpose, substitute, swaps_last_two};

/// More walks than any network has needed; two are usual, and the second finds nothing.
const MAX_WALKS: usize = 16;

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for _ in 0..MAX_WALKS {
        // Only what the last walk leaves unmoved is worth a note.
        outcome.notes.clear();
        let before = outcome.changes;
        for id in graph.topological()? {
            let applied = visit(graph, id, &mut outcome)?;
            outcome.changes += usize::from(applied);
        }
        if outcome.changes == before {
            break;
        }
    }
    outcome.changes += units_to_reshapes(graph)?;
    Ok(outcome)
}

fn visit(graph: &mut Graph, id: NodeId, outcome: &mut Outcome) -> Result<bool, PassError> {
    let Some(node) = graph.get(id) else { return Ok(false) };
    if !node.epilogue.is_empty() {
        return Ok(false);
    }
    match &node.op {
        Op::Transpose { .. } => merge(graph, id),
        Op::Binary(_) | Op::Concat { .. } => operands::sink(graph, id, outcome),
        Op::Reshape { .. } => sink_reshape(graph, id),
        _ => sink(graph, id),
    }
}

/// Two transpositions in a row are one, or none.
fn merge(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let Some((outer, value)) = plain_transpose(graph, id) else { return Ok(false) };
    let Some((inner, source)) = plain_transpose(graph, value.node) else { return Ok(false) };
    let perm = compose(&inner, &outer);
    match is_identity(&perm) {
        true => substitute(graph, id, source)?,
        false => graph.replace(id, Op::Transpose { perm }, &[source])?,
    }
    Ok(true)
}

/// Whether a transposition by this permutation should move behind node `id`.
fn should_sink(graph: &Graph, id: NodeId, perm: &[usize]) -> bool {
    perm == TO_NCHW || feeds_transpose(graph, id) || (swaps_last_two(perm) && feeds_product(graph, id))
}

/// Whether the only user of this node is a matrix product, which takes a swap of the last two dimensions in.
fn feeds_product(graph: &Graph, id: NodeId) -> bool {
    let user = graph.only_user(id.into()).map(|(user, _)| graph.node(user));
    user.is_some_and(|user| matches!(user.op, Op::MatMul { .. }) && user.epilogue.is_empty())
}

/// Whether a transposition behind this node would merge with its only user.
fn feeds_transpose(graph: &Graph, id: NodeId) -> bool {
    graph.only_user(id.into()).is_some_and(|(user, _)| plain_transpose(graph, user).is_some())
}

/// Moves a transposition of the first input behind an operator.
fn sink(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let mut inputs = graph.inputs(id);
    let Some(&value) = inputs.first() else { return Ok(false) };
    let Some((perm, source)) = plain_transpose(graph, value.node) else { return Ok(false) };
    if !should_sink(graph, id, &perm) {
        return Ok(false);
    }
    let Some((op, perm)) = dimensions::sunk(&graph.node(id).op, &perm) else { return Ok(false) };
    inputs[0] = source;
    put_behind(graph, id, op, &inputs, perm)?;
    Ok(true)
}

/// Moves a transposition behind a reshape: always if it moves only units, else to meet another.
fn sink_reshape(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let value = graph.inputs(id)[0];
    let Some((perm, source)) = plain_transpose(graph, value.node) else { return Ok(false) };
    let shape = graph.node(id).outputs[0].shape.clone();
    let from = &graph.ty(source).shape;
    if moves_units_only(&perm, from) {
        graph.replace(id, Op::Reshape { shape }, &[source])?;
        return Ok(true);
    }
    if !feeds_transpose(graph, id) {
        return Ok(false);
    }
    let Some((shape, perm)) = dimensions::sunk_reshape(&perm, from, &shape) else { return Ok(false) };
    put_behind(graph, id, Op::Reshape { shape }, &[source], perm)?;
    Ok(true)
}

/// Replaces a node by the operator on these inputs with a transposition of its result.
fn put_behind(
    graph: &mut Graph,
    id: NodeId,
    op: Op,
    inputs: &[Value],
    perm: Vec<usize>,
) -> Result<(), PassError> {
    let name = graph.node(id).name.clone();
    let mut result = graph.add(name.clone(), op, inputs)?;
    if !is_identity(&perm) {
        result = graph.add(format!("{name}.transpose"), Op::Transpose { perm }, &[result])?;
    }
    substitute(graph, id, result)?;
    Ok(())
}

/// Transpositions that leave all elements in their order become reshapes.
fn units_to_reshapes(graph: &mut Graph) -> Result<usize, PassError> {
    let mut changes = 0;
    for id in graph.topological()? {
        let Some((perm, source)) = plain_transpose(graph, id) else { continue };
        if moves_units_only(&perm, &graph.ty(source).shape) {
            let shape = graph.node(id).outputs[0].shape.clone();
            graph.replace(id, Op::Reshape { shape }, &[source])?;
            changes += 1;
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
