//! Makes every result of the network a tensor that is computed for it.
//!
//! A result that is an input, a constant, or the same value as another result gets an [`Op::Identity`], a copy. What is
//! behind the graph can then let the node that computes a result write it where the caller wants it, with no exceptions.

use avocet_ir::Graph;
use avocet_ir::graph::Output;
use avocet_ir::op::Op;

use crate::pass::{Context, Outcome, PassError};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    let results: Vec<Output> = graph.outputs().to_vec();
    for (i, result) in results.iter().enumerate() {
        let given = matches!(graph.node(result.value.node).op, Op::Input(_) | Op::Constant(_));
        let shared = results[..i].iter().any(|other| other.value == result.value);
        if given || shared {
            let copy = graph.add(result.name.clone(), Op::Identity, &[result.value])?;
            graph.set_output(i, copy)?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn each_result_is_computed_for_itself() {
        let mut net = Network::new();
        let x = net.input("x", [2]);
        let one = net.constant([1], &[1.0]);
        let y = net.relu(x);
        let mut graph = net.finish(y);
        graph.add_output("again", y);
        graph.add_output("input", x);
        graph.add_output("one", one);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 3);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2] ; x
          %1 = constant [1.0] : f32[1]
          %2 = relu %0 : f32[2] ; n1
          %3 = identity %2 : f32[2] ; again
          %4 = identity %0 : f32[2] ; input
          %5 = identity %1 : f32[1] ; one
          return %2 "y"
          return %3 "again"
          return %4 "input"
          return %5 "one"
        "#);
    }
}
