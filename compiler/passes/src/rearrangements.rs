//! Makes one transposition of several that follow each other with reshapes between them.
//!
//! Transformers on images (MobileViT) cut a feature map into patches and put it together again: channels first, a reshape
//! that splits rows, a transposition, a reshape that joins them, another transposition. Each dimension of such a chain is
//! a product of factors of the dimensions before it, so the whole chain is one order of factors: one reshape to them, one
//! transposition, one reshape to the result. Often what moves is a whole run of channels then, and often nothing moves at
//! all.

use std::ops::Range;

use avocet_ir::op::Op;
use avocet_ir::{Graph, NodeId, Shape, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::{is_identity, plain_reshape, plain_transpose, substitute};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    // From the results up, so that a chain is met at its end.
    for id in graph.topological()?.into_iter().rev() {
        if graph.get(id).is_none() {
            continue;
        }
        let Some(chain) = chain(graph, id) else { continue };
        match arrangement(graph, &chain) {
            Some(arrangement) => {
                replace(graph, &chain, arrangement)?;
                outcome.changes += 1;
            }
            None => {
                let name = &graph.node(id).name;
                outcome.note(name, "transpositions not joined: a reshape splits a dimension across factors");
            }
        }
    }
    Ok(outcome)
}

/// What each node of a chain does.
enum Move {
    Permute(Vec<usize>),
    Reshape(Vec<usize>),
}

struct Chain {
    /// What is rearranged.
    source: Value,
    /// From the source on.
    moves: Vec<Move>,
    /// The same nodes.
    nodes: Vec<NodeId>,
}

/// The longest chain of transpositions and reshapes that ends with a node, each used by the next only; with two
/// transpositions or more.
fn chain(graph: &Graph, id: NodeId) -> Option<Chain> {
    let step = |id: NodeId| -> Option<(Move, Value)> {
        if let Some((perm, source)) = plain_transpose(graph, id) {
            return Some((Move::Permute(perm), source));
        }
        let source = plain_reshape(graph, id)?;
        Some((Move::Reshape(graph.node(id).outputs[0].dims().to_vec()), source))
    };
    let (mut moves, mut nodes, mut source) = (Vec::new(), Vec::new(), Value::from(id));
    while let Some((next, before)) = step(source.node) {
        if !nodes.is_empty() && graph.only_user(source).is_none() {
            break;
        }
        moves.push(next);
        nodes.push(source.node);
        source = before;
    }
    moves.reverse();
    nodes.reverse();
    // A reshape at an end is no part of it.
    while let Some(Move::Reshape(_)) = moves.last() {
        moves.pop();
        nodes.pop();
    }
    let transpositions = moves.iter().filter(|step| matches!(step, Move::Permute(_))).count();
    (transpositions > 1 && nodes.last() == Some(&id)).then_some(Chain { source, moves, nodes })
}

/// A reshape, a transposition and a reshape.
struct Arrangement {
    factors: Vec<usize>,
    perm: Vec<usize>,
    result: Vec<usize>,
}

/// The chain as one arrangement of factors.
fn arrangement(graph: &Graph, chain: &Chain) -> Option<Arrangement> {
    // Factors by number, and their sizes; in the source's order.
    let mut sizes: Vec<usize> = graph.ty(chain.source).dims().to_vec();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    // The factors of each dimension.
    let mut dims: Vec<Vec<usize>> = order.iter().map(|&factor| vec![factor]).collect();
    for step in &chain.moves {
        match step {
            Move::Permute(perm) => dims = perm.iter().map(|&p| dims[p].clone()).collect(),
            Move::Reshape(shape) => {
                let mut left: Vec<usize> = dims.concat();
                left.reverse();
                dims = shape
                    .iter()
                    .map(|&dim| take(dim, &mut left, &mut sizes, &mut order))
                    .collect::<Option<_>>()?;
                // Only factors of one are left, which are in no dimension.
                if left.iter().any(|&factor| sizes[factor] != 1) {
                    return None;
                }
            }
        }
    }
    let result: Vec<usize> =
        dims.iter().map(|dim| dim.iter().map(|&factor| sizes[factor]).product()).collect();
    let is_wide = |factor: &usize| sizes[*factor] != 1;
    let source: Vec<usize> = order.iter().copied().filter(is_wide).collect();
    let target: Vec<usize> = dims.concat().into_iter().filter(is_wide).collect();
    // Neighbours that stay neighbours are one.
    let place = |factor: usize| source.iter().position(|&other| other == factor);
    let mut runs: Vec<Range<usize>> = Vec::new();
    for factor in target {
        let at = place(factor)?;
        match runs.last_mut() {
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    }
    let mut sorted = runs.clone();
    sorted.sort_unstable_by_key(|run| run.start);
    let size = |run: &Range<usize>| source[run.clone()].iter().map(|&factor| sizes[factor]).product();
    let factors = sorted.iter().map(size).collect();
    let perm = runs.iter().map(|run| sorted.iter().position(|other| other == run)).collect::<Option<_>>()?;
    Some(Arrangement { factors, perm, result })
}

/// Takes the factors of a dimension from those that are left, of which the next is the last; splits one where need be.
fn take(
    dim: usize,
    left: &mut Vec<usize>,
    sizes: &mut Vec<usize>,
    order: &mut Vec<usize>,
) -> Option<Vec<usize>> {
    let (mut rest, mut taken) = (dim, Vec::new());
    while rest != 1 {
        let factor = left.pop()?;
        let size = sizes[factor];
        if size == 1 {
            continue;
        }
        if size == 0 || rest == 0 {
            return None;
        }
        if rest.is_multiple_of(size) {
            rest /= size;
        } else if size.is_multiple_of(rest) {
            let inner = sizes.len();
            sizes[factor] = rest;
            sizes.push(size / rest);
            order.insert(order.iter().position(|&other| other == factor)? + 1, inner);
            left.push(inner);
            rest = 1;
        } else {
            return None;
        }
        taken.push(factor);
    }
    Some(taken)
}

/// Puts an arrangement in the place of a chain.
fn replace(graph: &mut Graph, chain: &Chain, arrangement: Arrangement) -> Result<(), PassError> {
    let Arrangement { factors, perm, result } = arrangement;
    let Some(&last) = chain.nodes.last() else { return Ok(()) };
    let name = graph.node(last).name.clone();
    let reshape =
        |graph: &mut Graph, value: Value, dims: Vec<usize>, name: String| -> Result<Value, PassError> {
            let shape = Shape::new(dims)?;
            Ok(match graph.ty(value).shape == shape {
                true => value,
                false => graph.add(name, Op::Reshape { shape }, &[value])?,
            })
        };
    let mut value = chain.source;
    if !is_identity(&perm) {
        value = reshape(graph, value, factors, format!("{name}.factors"))?;
        value = graph.add(name.clone(), Op::Transpose { perm }, &[value])?;
    }
    value = reshape(graph, value, result, format!("{name}.joined"))?;
    substitute(graph, last, value)?;
    for &node in chain.nodes[..chain.nodes.len() - 1].iter().rev() {
        graph.remove(node)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn there_and_back() {
        let mut net = Network::new();
        let x = net.input("x", [2, 6, 4]);
        let y = net.transpose(x, &[2, 0, 1]);
        let y = net.reshape(y, [4, 2, 2, 3]);
        let y = net.transpose(y, &[1, 2, 3, 0]);
        let y = net.relu(y);
        let (after, outcome) = check(run, &net.finish(y));
        assert_eq!(outcome.changes, 1);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,6,4] ; x
          %1 = reshape %0 {shape=[2,2,3,4]} : f32[2,2,3,4] ; n3.joined
          %2 = relu %1 : f32[2,2,3,4] ; n4
          return %2 "y"
        "#);
    }

    /// One transposition, one that something else reads, too, and a reshape across factors.
    #[test]
    fn what_stays() {
        let mut net = Network::new();
        let x = net.input("x", [4, 6]);
        let once = net.transpose(x, &[1, 0]);
        let split = net.reshape(once, [3, 2, 4]);
        let twice = net.transpose(split, &[1, 0, 2]);
        let both = net.reshape(split, [2, 3, 4]);
        let y = net.binary(avocet_ir::op::Binary::Add, twice, both);
        assert_eq!(check(run, &net.finish(y)).1.changes, 0);
        let mut net = Network::new();
        let x = net.input("x", [4, 6]);
        let x = net.transpose(x, &[1, 0]);
        let x = net.reshape(x, [8, 3]);
        let x = net.transpose(x, &[1, 0]);
        let y = net.relu(x);
        insta::assert_snapshot!(check(run, &net.finish(y)).1.to_string(), @r#"
        no change
          'n3': transpositions not joined: a reshape splits a dimension across factors
        "#);
    }
}
