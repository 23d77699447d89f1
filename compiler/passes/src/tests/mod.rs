//! The whole pipeline on networks built by hand, and on random graphs.

mod blocks;
mod golden;
mod pipeline;
mod random;

use avocet_ir::Graph;

use crate::testing::assert_same_meaning;
use crate::{Context, run_all};

/// Runs the pipeline; after every pass the graph is valid and means the same.
pub(crate) fn compiled(graph: &Graph) -> Graph {
    let context = Context { verify: true, ..Context::new(&avocet_reference::Reference) };
    let mut after = graph.clone();
    let observer = &mut |_: &str, stage: &Graph, outcome: &crate::Outcome| {
        if outcome.changes > 0 {
            assert_same_meaning(graph, stage);
        }
    };
    run_all(&mut after, &context, observer).expect("the pipeline runs");
    after
}
