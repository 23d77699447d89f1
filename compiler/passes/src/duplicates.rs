//! Keeps one of nodes that compute the same: equal operators on equal inputs, equal constants.
//!
//! Layout changes leave the transposition of one tensor several times, and models the same constant many times over.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use avocet_ir::graph::Node;
use avocet_ir::op::Op;
use avocet_ir::tensor::TensorData;
use avocet_ir::{Graph, NodeId, Tensor, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::substitute;

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    // Nodes that may be equal, by what is cheap to compare.
    let mut seen: HashMap<(u64, Vec<Value>), Vec<NodeId>> = HashMap::new();
    for id in graph.topological()? {
        let node = graph.node(id);
        // Two inputs of the network are never the same, nor are regions.
        if matches!(node.op, Op::Input(_)) || !node.op.regions().is_empty() {
            continue;
        }
        let alike = seen.entry((fingerprint(&node.op), graph.inputs(id))).or_default();
        match alike.iter().find(|&&other| equal(graph.node(other), node)) {
            Some(&other) => {
                // Two results of the network may be one value.
                substitute(graph, id, other.into())?;
                outcome.changes += 1;
            }
            None => alike.push(id),
        }
    }
    Ok(outcome)
}

/// A hash of the operator: equal operators have equal hashes.
fn fingerprint(op: &Op) -> u64 {
    let mut hasher = DefaultHasher::new();
    op.name().hash(&mut hasher);
    match op {
        Op::Constant(tensor) => {
            tensor.ty().hash(&mut hasher);
            match tensor.data() {
                TensorData::F32(data) => data.iter().for_each(|v| v.to_bits().hash(&mut hasher)),
                other => other.to_le_bytes().hash(&mut hasher),
            }
        }
        _ => op.attributes().hash(&mut hasher),
    }
    hasher.finish()
}

/// Whether two nodes on the same inputs compute the same, to the bit.
fn equal(a: &Node, b: &Node) -> bool {
    let operators = match (&a.op, &b.op) {
        (Op::Constant(a), Op::Constant(b)) => same_bits(a, b),
        // `==` takes 0 and -0 for equal; the text of the attributes doesn't.
        (a, b) => a == b && a.attributes() == b.attributes(),
    };
    operators && a.epilogue == b.epilogue && a.outputs == b.outputs
}

fn same_bits(a: &Tensor, b: &Tensor) -> bool {
    let same = |a: &[f32], b: &[f32]| a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()));
    match (a.as_f32(), b.as_f32()) {
        (Some(x), Some(y)) => a.shape() == b.shape() && same(x, y),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use avocet_ir::op::Binary;

    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn equal_constants_and_operators() {
        let mut net = Network::new();
        let x = net.input("x", [2]);
        let (a, b, c) = (net.scalar(0.0), net.scalar(0.0), net.scalar(-0.0));
        let sums = [a, b, c].map(|v| net.binary(Binary::Add, x, v));
        let relus = sums.map(|v| net.relu(v));
        let y = net.add(Op::Concat { axis: 0 }, &relus);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 3);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2] ; x
          %1 = constant [0.0] : f32[]
          %2 = constant [-0.0] : f32[]
          %3 = add %0, %1 : f32[2] ; n1
          %4 = add %0, %2 : f32[2] ; n3
          %5 = relu %3 : f32[2] ; n4
          %6 = relu %4 : f32[2] ; n6
          %7 = concat %5, %5, %6 {axis=0} : f32[6] ; n7
          return %7 "y"
        "#);
    }
}
