//! Recognises the channel shuffle of ShuffleNet (Zhang et al., 2018) in its usual spelling.
//!
//! `reshape [.., g, c/g, ..] - transpose of these two - reshape back` becomes [`Op::ChannelShuffle`], an index map of
//! one axis that layout changes and consumers can deal with; five-dimensional tensors in NHWC they could not.

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{plain_reshape, plain_transpose};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        if let Some((source, groups, axis)) = find(graph, id, &mut outcome) {
            graph.replace(id, Op::ChannelShuffle { groups, axis }, &[source])?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

/// Input, groups and axis of the shuffle that ends at this node.
fn find(graph: &Graph, id: NodeId, outcome: &mut Outcome) -> Option<(Value, usize, usize)> {
    let transposed = plain_reshape(graph, id)?;
    let (perm, split) = plain_transpose(graph, transposed.node)?;
    let source = plain_reshape(graph, split.node)?;
    let axis = perm.iter().enumerate().position(|(i, &p)| i != p)?;
    let mut swap: Vec<usize> = (0..perm.len()).collect();
    if axis + 1 >= perm.len() {
        return None;
    }
    swap.swap(axis, axis + 1);
    let (input, output) = (graph.ty(source), &graph.node(id).outputs[0]);
    let name = &graph.node(id).name;
    if perm != swap {
        outcome
            .note(name, format!("not a channel shuffle: the permutation {perm:?} moves more than two axes"));
        return None;
    }
    // The middle shape must be the outer one with this axis in two.
    let middle = graph.ty(split).dims();
    let mut merged = middle.to_vec();
    let inner = merged.remove(axis + 1);
    merged[axis] = merged[axis].checked_mul(inner)?;
    if input != output || input.dims() != merged {
        outcome.note(
            name,
            format!("not a channel shuffle: {input} is split as {middle:?} and becomes {output}"),
        );
        return None;
    }
    Some((source, middle[axis], axis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn shufflenet() {
        let mut net = Network::new();
        let x = net.input("x", [1, 6, 2, 3]);
        let split = net.reshape(x, [1, 2, 3, 2, 3]);
        let swapped = net.transpose(split, &[0, 2, 1, 3, 4]);
        let y = net.reshape(swapped, [1, 6, 2, 3]);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,6,2,3] ; x
          %1 = channel_shuffle %0 {groups=2, axis=1} : f32[1,6,2,3] ; n3
          return %1 "y"
        "#);
    }

    #[test]
    fn another_permutation_is_none() {
        let mut net = Network::new();
        let x = net.input("x", [1, 6, 2, 3]);
        let split = net.reshape(x, [1, 2, 3, 2, 3]);
        let swapped = net.transpose(split, &[0, 2, 3, 1, 4]);
        let y = net.reshape(swapped, [1, 6, 2, 3]);
        let graph = net.finish(y);
        let (_, outcome) = check(run, &graph);
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n3': not a channel shuffle: the permutation [0, 2, 3, 1, 4] moves more than two axes
        "#);
    }
}
