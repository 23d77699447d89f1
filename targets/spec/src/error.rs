//! Errors of target descriptions.

use thiserror::Error;

/// Why there is no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// No built-in target has this name.
    #[error("there is no target '{name}'; known are: {}", known.join(", "))]
    UnknownName {
        /// The name asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// A description could not be understood.
    #[error("{origin}:{line}: {problem}")]
    Invalid {
        /// File or other source of the description.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
}
