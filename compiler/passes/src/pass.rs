//! What a pass is: a name, a function, and what the function reports.

use std::fmt;

use avocet_ir::tensor::TensorError;
use avocet_ir::{Evaluate, Graph, GraphError};
use thiserror::Error;

/// What passes may use besides the graph.
pub struct Context<'a> {
    /// Evaluates operators on constants.
    pub evaluate: &'a dyn Evaluate,
    /// Whether [`crate::run_all`] verifies the graph after each pass.
    pub verify: bool,
    /// Constant folding makes no constant of more bytes than this, unless its operands have as many already: the
    /// broadcast of a constant is cheaper to compute than to ship.
    pub folded_bytes: usize,
}

impl<'a> Context<'a> {
    /// The usual limits; verifies in debug builds.
    pub fn new(evaluate: &'a dyn Evaluate) -> Self {
        Context { evaluate, verify: cfg!(debug_assertions), folded_bytes: 1 << 16 }
    }
}

/// A pass over the graph, as data.
#[derive(Clone, Copy)]
pub struct Pass {
    /// Name in messages and in `--emit`.
    pub name: &'static str,
    /// Changes the graph, and says what it did. Running it on its own result changes nothing.
    pub run: fn(&mut Graph, &Context<'_>) -> Result<Outcome, PassError>,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Number of rewrites.
    pub changes: usize,
    /// Rewrites that nearly applied, each with the reason why it did not; one line each.
    pub notes: Vec<String>,
}

impl Outcome {
    /// Adds a note that the rewrite at this node did not apply.
    pub(crate) fn note(&mut self, name: &str, reason: impl fmt::Display) {
        self.notes.push(format!("'{}': {reason}", name.escape_debug()));
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.changes {
            0 => f.write_str("no change")?,
            1 => f.write_str("1 change")?,
            n => write!(f, "{n} changes")?,
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}

/// Why a pass failed. A valid graph makes no pass fail, so this names a mistake in the pass (or an exhausted size limit),
/// never a property of the network that the user should mend.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PassError {
    /// A rewrite was refused by the graph.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A pass failed on a graph within the graph.
    #[error("in '{region}': {problem}")]
    Region {
        /// Name of the graph within.
        region: String,
        /// What went wrong there.
        problem: String,
    },
    /// A constant or shape could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
