//! The small vocabulary in which rewrites are written: constants as numbers, permutations, nodes that take the place of
//! others.

use avocet_ir::op::{Binary, Op};
use avocet_ir::{Graph, GraphError, NodeId, Shape, Tensor, Value};

/// The number that a value is, if it is an f32 constant of one element.
pub(crate) fn scalar(graph: &Graph, value: Value) -> Option<f32> {
    graph.as_constant(value).and_then(Tensor::single_f32)
}

/// A binary operator of a tensor and a number, whose result has the tensor's type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WithScalar {
    pub(crate) op: Binary,
    pub(crate) value: Value,
    pub(crate) scalar: f32,
    /// Whether the number is the first operand.
    pub(crate) swapped: bool,
}

/// Reads a node as a [`WithScalar`]. A constant of one element and a higher rank than the tensor's is not taken, as
/// it changes the shape.
pub(crate) fn with_scalar(graph: &Graph, id: NodeId) -> Option<WithScalar> {
    let op = plain_binary(graph, id)?;
    let inputs = graph.inputs(id);
    let candidates = [(inputs[0], inputs[1], false), (inputs[1], inputs[0], true)];
    candidates.into_iter().find_map(|(value, other, swapped)| {
        let scalar = scalar(graph, other)?;
        (graph.ty(value) == &graph.node(id).outputs[0]).then_some(WithScalar { op, value, scalar, swapped })
    })
}

/// The function of a binary node without an epilogue.
pub(crate) fn plain_binary(graph: &Graph, id: NodeId) -> Option<Binary> {
    match (&graph.node(id).op, graph.node(id).epilogue.is_empty()) {
        (Op::Binary(op), true) => Some(*op),
        _ => None,
    }
}

/// The permutation of a transpose without an epilogue, and its input.
pub(crate) fn plain_transpose(graph: &Graph, id: NodeId) -> Option<(Vec<usize>, Value)> {
    match (&graph.node(id).op, graph.node(id).epilogue.is_empty()) {
        (Op::Transpose { perm }, true) => Some((perm.clone(), graph.inputs(id)[0])),
        _ => None,
    }
}

/// The input of a reshape without an epilogue.
pub(crate) fn plain_reshape(graph: &Graph, id: NodeId) -> Option<Value> {
    match (&graph.node(id).op, graph.node(id).epilogue.is_empty()) {
        (Op::Reshape { .. }, true) => Some(graph.inputs(id)[0]),
        _ => None,
    }
}

/// The permutation that undoes another.
pub(crate) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; perm.len()];
    for (i, &p) in perm.iter().enumerate() {
        inverse[p] = i;
    }
    inverse
}

/// The one transposition that does what `first` and then `second` do.
pub(crate) fn compose(first: &[usize], second: &[usize]) -> Vec<usize> {
    second.iter().map(|&i| first[i]).collect()
}

/// Whether a permutation changes nothing.
pub(crate) fn is_identity(perm: &[usize]) -> bool {
    perm.iter().copied().eq(0..perm.len())
}

/// Whether a permutation exchanges the last two dimensions and nothing else.
pub(crate) fn swaps_last_two(perm: &[usize]) -> bool {
    perm.split_last_chunk()
        .is_some_and(|(lead, &[a, b])| is_identity(lead) && (a, b) == (lead.len() + 1, lead.len()))
}

/// Whether a transposition of a tensor of this shape moves dimensions of size one only, so that the elements stay in
/// their order.
pub(crate) fn moves_units_only(perm: &[usize], shape: &Shape) -> bool {
    perm.iter().copied().filter(|&p| shape[p] != 1).is_sorted()
}

/// Lets `new` take the place of node `old`, whose type it has, and removes `old`.
pub(crate) fn substitute(graph: &mut Graph, old: NodeId, new: Value) -> Result<(), GraphError> {
    graph.replace_uses(old.into(), new)?;
    graph.remove(old)
}
