//! Removes nodes that no result of the network needs.
//!
//! Inputs of the network stay, used or not: they are part of its signature.

use avocet_ir::op::Op;
use avocet_ir::{Graph, Value};

use crate::pass::{Context, Outcome, PassError};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    // Users come after what they use, so one walk from the back finds every node whose users have all gone.
    for id in graph.topological()?.into_iter().rev() {
        let node = graph.node(id);
        let used = (0..node.outputs.len()).any(|port| {
            let value = Value { node: id, port };
            graph.is_output(value) || !graph.users(value).is_empty()
        });
        if !used && !matches!(node.op, Op::Input(_)) {
            graph.remove(id)?;
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
    fn a_chain_without_users_goes_and_an_unused_input_stays() {
        let mut net = Network::new();
        let x = net.input("x", [2, 3]);
        net.input("unused", [4]);
        let y = net.relu(x);
        let dead = net.relu(y);
        net.relu(dead);
        let graph = net.finish(y);
        let (after, outcome) = check(run, &graph);
        assert_eq!(outcome.changes, 2);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[2,3] ; x
          %1 = input : f32[4] ; unused
          %2 = relu %0 : f32[2,3] ; n1
          return %2 "y"
        "#);
    }
}
