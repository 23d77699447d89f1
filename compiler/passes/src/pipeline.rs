//! The passes in their order, with the reason of each place, and the loop that runs them.

use avocet_ir::{Graph, GraphError};
use thiserror::Error;

use crate::pass::{Context, Outcome, Pass, PassError};
use crate::{
    activations, affine, attention, channel_shuffle, concat, constant_folding, dead_code, duplicates,
    epilogue, gates, identity, matmul_operands, nhwc, normalization, padding, rearrangements, region_layouts,
    regions, reshapes, results, transposes,
};

/// Every pass, in order.
pub const PIPELINE: &[Pass] = &[
    // First, so that the passes below look at what matters only, and "the only user" means what it says.
    Pass { name: "dead-code", run: dead_code::run },
    // Each region as a network of its own, before anything here depends on what it reads.
    Pass { name: "regions", run: regions::run },
    // Exporters compute parameters in the graph; everything below wants them as constants.
    Pass { name: "constant-folding", run: constant_folding::run },
    // Patterns should not have to look through operators that do nothing.
    Pass { name: "identity", run: identity::run },
    // Before layouts change: both are written in NCHW, and a shuffle's five dimensions have no NHWC.
    Pass { name: "channel-shuffle", run: channel_shuffle::run },
    Pass { name: "activations", run: activations::run },
    // The spelled-out forms lose their last users.
    Pass { name: "dead-code", run: dead_code::run },
    // Before the layouts, so that no padding stands between the transpositions that are to cancel.
    Pass { name: "padding", run: padding::run },
    // After `activations`, whose patterns it would tear apart; before `affine`, for whose sake it is done.
    Pass { name: "concat", run: concat::run },
    // The parameters that `concat` cut.
    Pass { name: "constant-folding", run: constant_folding::run },
    // Before the layouts too: batch norm in NHWC would be one operator more to carry transpositions through.
    Pass { name: "affine", run: affine::run },
    Pass { name: "nhwc", run: nhwc::run },
    // Transpositions at the borders of regions are to meet those that the layouts have just left around them.
    Pass { name: "region-layouts", run: region_layouts::run },
    // Directly after what it cleans up.
    Pass { name: "transposes", run: transposes::run },
    // The transpositions that nothing uses any more would hide sole users from `gates`.
    Pass { name: "dead-code", run: dead_code::run },
    // After the layouts, as it knows channels to be last; before `reshapes`, which joins its reshape with the model's own,
    // and before `epilogue`, which would take the gate's product for itself.
    Pass { name: "gates", run: gates::run },
    // What stayed is before a flattening or a product.
    Pass { name: "matmul-operands", run: matmul_operands::run },
    // Those that `matmul-operands` left would hide sole users from `reshapes`.
    Pass { name: "dead-code", run: dead_code::run },
    // The transposed constants that `transposes` and `matmul-operands` left.
    Pass { name: "constant-folding", run: constant_folding::run },
    // After `matmul-operands`, which looks for transpositions of the last two dimensions alone; before `reshapes`, as it
    // leaves some.
    Pass { name: "rearrangements", run: rearrangements::run },
    // The transpositions that moved nothing are reshapes now, and meet the model's own.
    Pass { name: "reshapes", run: reshapes::run },
    Pass { name: "identity", run: identity::run },
    // Late, when equal things look equal; before epilogues, which make nodes distinct and need sole users.
    Pass { name: "duplicates", run: duplicates::run },
    Pass { name: "dead-code", run: dead_code::run },
    // Late, when channels are last; before `epilogue`, which would attach the root to a mean.
    Pass { name: "normalization", run: normalization::run },
    // Late too, when transpositions are where they stay and scales are single numbers; before `epilogue`, which would attach
    // scale and mask to the product of queries and keys.
    Pass { name: "attention", run: attention::run },
    Pass { name: "dead-code", run: dead_code::run },
    // After everything that matches on plain operators: those passes leave nodes with epilogues alone.
    Pass { name: "epilogue", run: epilogue::run },
    // Last, because `identity` and `duplicates` would undo it.
    Pass { name: "results", run: results::run },
    Pass { name: "dead-code", run: dead_code::run },
];

/// Why the pipeline stopped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PipelineError {
    /// The graph was not valid to begin with.
    #[error("the graph is not valid before the first pass: {0}")]
    Invalid(#[source] GraphError),
    /// A pass failed.
    #[error("pass '{pass}' failed: {source}")]
    Failed {
        /// Name of the pass.
        pass: &'static str,
        /// What went wrong.
        source: PassError,
    },
    /// The verifier found the graph broken after a pass.
    #[error("pass '{pass}' broke the graph: {source}")]
    Broke {
        /// Name of the pass.
        pass: &'static str,
        /// What the verifier found.
        source: GraphError,
    },
}

/// Runs [`PIPELINE`] on the graph; the observer sees the graph after each pass.
///
/// Returns each pass's name and outcome in order. After an error the graph is of no more use.
pub fn run_all(
    graph: &mut Graph,
    context: &Context<'_>,
    observer: &mut dyn FnMut(&str, &Graph, &Outcome),
) -> Result<Vec<(&'static str, Outcome)>, PipelineError> {
    run_passes(PIPELINE, graph, context, observer)
}

/// Runs passes of the caller's choice, as [`run_all`] does the usual ones.
pub fn run_passes(
    passes: &[Pass],
    graph: &mut Graph,
    context: &Context<'_>,
    observer: &mut dyn FnMut(&str, &Graph, &Outcome),
) -> Result<Vec<(&'static str, Outcome)>, PipelineError> {
    if context.verify {
        graph.verify().map_err(PipelineError::Invalid)?;
    }
    let mut outcomes = Vec::with_capacity(passes.len());
    for &Pass { name: pass, run } in passes {
        let outcome = run(graph, context).map_err(|source| PipelineError::Failed { pass, source })?;
        if context.verify {
            graph.verify().map_err(|source| PipelineError::Broke { pass, source })?;
        }
        observer(pass, graph, &outcome);
        outcomes.push((pass, outcome));
    }
    Ok(outcomes)
}
