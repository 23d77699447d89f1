//! Attention on operands where they lie: heads side by side in one projection of queries, keys and values.
//!
//! Between a projection and its attention there are reshapes, transpositions and slices that only say which element is which.
//! Where one distance in memory for each dimension says the same, the operand is a view of the projection
//! ([`avocet_ir::schedule::Lie::Strided`]) and what was between needs no code; likewise a transposition of the result, in
//! whose place attention then writes.

use std::collections::BTreeSet;

use avocet_ir::op::Op;
use avocet_ir::schedule::{Schedule, Schedules, View};
use avocet_ir::{Graph, GraphError, NodeId, Value};

use crate::rewrite::{inverse, plain_transpose};

/// Most nodes that are looked through.
const MOST: usize = 16;

/// Where the elements of a value lie in another result: its node, the first element, and a distance for each dimension.
struct Place {
    of: NodeId,
    first: usize,
    strides: Vec<usize>,
}

/// Decides which operands and results of attention are views.
pub(crate) fn assign(graph: &Graph, schedules: &mut Schedules) -> Result<(), GraphError> {
    let order = graph.topological()?;
    let is_attention = |id: NodeId| matches!(graph.node(id).op, Op::Attention { .. });
    let attentions: Vec<NodeId> = order.iter().copied().filter(|&id| is_attention(id)).collect();
    // Where something lies that others are views of.
    let mut held = BTreeSet::new();
    for &id in &attentions {
        if let Some(place) = result(graph, id) {
            held.insert(place.of);
            schedules.nodes.insert(place.of, Schedule::Alias);
            insert(schedules, id, place);
        }
    }
    // Nodes that nothing reads any more, which have no code then.
    let mut unread = BTreeSet::new();
    for value in attentions.iter().flat_map(|&id| graph.inputs(id).into_iter().take(3)) {
        // Whoever else reads it wants it as its shape says.
        let users = graph.users(value);
        let read = users.iter().all(|&(user, input)| is_attention(user) && input < 3);
        if !read || graph.is_output(value) || unread.contains(&value.node) {
            continue;
        }
        let place = operand(graph, value.node, &held);
        // Vectors run along the elements of values, which must be neighbours.
        let fits =
            in_rows(&place.strides, graph.ty(value).dims()) || users.iter().all(|(_, input)| *input < 2);
        if fits && place.of != value.node && graph.as_constant(place.of.into()).is_none() {
            unread.insert(value.node);
            held.insert(place.of);
            schedules.nodes.insert(value.node, Schedule::Alias);
            insert(schedules, value.node, place);
        }
    }
    for id in order.into_iter().rev() {
        let users = graph.users(id.into());
        let is_read = users.is_empty() || users.iter().any(|(user, _)| !unread.contains(user));
        if moved(graph, id) && !is_read && !held.contains(&id) && !graph.is_output(id.into()) {
            unread.insert(id);
            schedules.nodes.insert(id, Schedule::Alias);
        }
    }
    Ok(())
}

fn insert(schedules: &mut Schedules, id: NodeId, Place { of, first, strides }: Place) {
    schedules.views.insert(id, View::strided(of, first));
    schedules.strides.insert(id, strides);
}

/// Whether a node's elements are some of its input's.
fn moved(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let moves = match &node.op {
        Op::Transpose { .. } | Op::Reshape { .. } | Op::Broadcast { .. } => true,
        Op::Slice { axes } => axes.iter().all(|axis| axis.step > 0),
        _ => false,
    };
    // Views are named by nodes, so what several results come from is none.
    let of_one = |value: &Value| graph.node(value.node).outputs.len() == 1;
    moves
        && node.epilogue.is_empty()
        && node.outputs[0].shape.elements() > 0
        && graph.inputs(id).iter().all(of_one)
}

/// Where a node's elements lie, the further up the better, but no further than what is `held`.
fn operand(graph: &Graph, id: NodeId, held: &BTreeSet<NodeId>) -> Place {
    let (mut nodes, mut root) = (Vec::new(), id);
    while moved(graph, root) && !held.contains(&root) && nodes.len() < MOST {
        nodes.push(root);
        root = graph.inputs(root)[0].node;
    }
    let whole = |of: NodeId| Place { of, first: 0, strides: graph.node(of).outputs[0].shape.strides() };
    let mut place = whole(root);
    for id in nodes.into_iter().rev() {
        let from = graph.ty(graph.inputs(id)[0]).dims();
        let to = graph.node(id).outputs[0].dims();
        let before = &place.strides;
        let strides = match &graph.node(id).op {
            Op::Transpose { perm } => Some(perm.iter().map(|&p| before[p]).collect()),
            Op::Slice { axes } => {
                place.first +=
                    axes.iter().zip(before).map(|(axis, stride)| axis.start * stride).sum::<usize>();
                Some(
                    axes.iter().zip(before).map(|(axis, stride)| axis.step.unsigned_abs() * stride).collect(),
                )
            }
            Op::Broadcast { .. } => {
                let missing = to.len() - from.len();
                let stride = |(i, &extent): (usize, &usize)| match i.checked_sub(missing) {
                    Some(own) if from[own] == extent => before[own],
                    _ => 0,
                };
                Some(to.iter().enumerate().map(stride).collect())
            }
            _ => reshaped(from, before, to),
        };
        place = match strides {
            Some(strides) => Place { strides, ..place },
            None => whole(id),
        };
    }
    place
}

/// The place of a result in the transposition that alone reads it, perhaps by way of a reshape.
fn result(graph: &Graph, id: NodeId) -> Option<Place> {
    let shape = &graph.node(id).outputs[0].shape;
    let mut user = graph.only_user(id.into())?.0;
    if matches!(graph.node(user).op, Op::Reshape { .. }) && graph.node(user).epilogue.is_empty() {
        user = graph.only_user(user.into())?.0;
    }
    let (perm, source) = plain_transpose(graph, user)?;
    let own = graph.node(user).outputs[0].shape.strides();
    let strides: Vec<usize> = inverse(&perm).into_iter().map(|i| own[i]).collect();
    let strides = reshaped(graph.ty(source).dims(), &strides, shape.dims())?;
    let fits = in_rows(&strides, shape.dims()) && shape.elements() > 0;
    fits.then_some(Place { of: user, first: 0, strides })
}

/// Whether elements of the last dimension are neighbours.
fn in_rows(strides: &[usize], dims: &[usize]) -> bool {
    strides.last() == Some(&1) || dims.last() == Some(&1)
}

/// The strides of a tensor under another shape, if it has any there: dimensions that are joined must be one run.
fn reshaped(from: &[usize], strides: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    // Dimensions of one index don't matter, so they are left out, and have some stride or other in the result.
    let mut left: Vec<(usize, usize)> =
        from.iter().copied().zip(strides.iter().copied()).filter(|(extent, _)| *extent != 1).collect();
    let mut result = vec![1; to.len()];
    for (axis, &extent) in to.iter().enumerate().rev().filter(|(_, extent)| **extent != 1) {
        // The innermost dimensions that are left give this one.
        let (mut size, stride) = left.pop()?;
        while size < extent {
            let (outer, distance) = left.pop()?;
            if distance != stride * size {
                return None;
            }
            size *= outer;
        }
        if !size.is_multiple_of(extent) {
            return None;
        }
        result[axis] = stride;
        if size > extent {
            left.push((size / extent, stride * extent));
        }
    }
    left.is_empty().then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{ScheduleOptions, schedule};
    use crate::testing::{AVX2, Network};
    use crate::tests::compiled;

    #[test]
    fn shapes_with_strides() {
        assert_eq!(reshaped(&[2, 6], &[6, 1], &[12]), Some(vec![1]));
        assert_eq!(reshaped(&[2, 6], &[9, 1], &[12]), None);
        assert_eq!(reshaped(&[2, 6], &[9, 1], &[2, 1, 3, 2]), Some(vec![9, 1, 2, 1]));
        assert_eq!(reshaped(&[4, 6], &[1, 4], &[2, 2, 6]), Some(vec![2, 1, 4]));
        assert_eq!(reshaped(&[4, 6], &[6, 1], &[3, 8]), Some(vec![8, 1]));
        assert_eq!(reshaped(&[4, 6], &[7, 1], &[3, 8]), None);
        assert_eq!(reshaped(&[1, 1], &[1, 1], &[]), Some(vec![]));
    }

    /// An attention of vision transformers: one projection, in which heads are within queries, keys and values.
    #[test]
    fn heads_of_one_projection() {
        let mut net = Network::new();
        let x = net.input("x", [1, 7, 24]);
        let x = net.dense(x, 48);
        let x = net.reshape(x, [1, 7, 3, 2, 8]);
        let x = net.transpose(x, &[2, 0, 3, 1, 4]);
        let part = |start: usize| {
            let range = |start, count| avocet_ir::op::SliceAxis { start, count, step: 1 };
            Op::Slice { axes: vec![range(start, 1), range(0, 1), range(0, 2), range(0, 7), range(0, 8)] }
        };
        let [q, k, v] = [0, 1, 2].map(|start| net.add(part(start), &[x]));
        let [q, k, v] = [q, k, v].map(|value| net.reshape(value, [1, 2, 7, 8]));
        let k = net.transpose(k, &[0, 1, 3, 2]);
        let product = Op::MatMul { transpose_a: false, transpose_b: false };
        let scores = net.add(product.clone(), &[q, k]);
        let weights = net.add(Op::Softmax { axis: 3 }, &[scores]);
        let y = net.add(product, &[weights, v]);
        let y = net.transpose(y, &[0, 2, 1, 3]);
        let y = net.reshape(y, [1, 7, 16]);
        let y = net.dense(y, 24);
        let graph = compiled(&net.finish(y));
        let schedules = schedule(&graph, &AVX2, ScheduleOptions { exact: true }).expect("acyclic");
        insta::assert_snapshot!(schedules.to_text(&graph), @r#"
        schedule test
          matmul           gemm 4x3x8 positions f32[1,7,48] ; n2
          reshape          alias f32[1,7,3,2,8] ; n5
          transpose        alias f32[3,1,2,7,8] ; n6
          slice            alias f32[1,1,2,7,8] ; n7
          slice            alias f32[1,1,2,7,8] ; n8
          slice            alias f32[1,1,2,7,8] ; n9
          reshape          alias f32[1,2,7,8] at element 0 of n2 by [1, 8, 48, 1] ; n10
          reshape          alias f32[1,2,7,8] at element 16 of n2 by [1, 8, 48, 1] ; n11
          reshape          alias f32[1,2,7,8] at element 32 of n2 by [1, 8, 48, 1] ; n12
          attention        attention 770x8 scores 7x1x8 channels values 7x1x8 channels f32[1,2,7,8] at element 0 of n17 by [1, 8, 16, 1] ; n16
          transpose        alias f32[1,7,2,8] ; n17
          reshape          alias f32[1,7,16] ; n18
          matmul           gemm 4x3x8 positions f32[1,7,24] ; n20
        "#);
    }
}
