//! What is wrong with a block, and how that is told: with the line of the block that it is about, which may be within others.

use avocet_ir::GraphError;

use super::ArchError;
use super::parse::BlockLines;
use crate::weights::WeightsError;

/// Why a block can't be built.
#[derive(Debug)]
pub(super) enum BuildError {
    /// What the block says is impossible.
    Invalid(String),
    /// What a block within it says, of this number and kind.
    Within(usize, &'static str, Box<BuildError>),
    /// Its weights are.
    Weights(WeightsError),
}

impl BuildError {
    /// The error as it is told: the line of the block that it is about, and the blocks that lead to it.
    pub(super) fn told(
        self,
        origin: &str,
        (lines, fallback): (&[BlockLines], usize),
        path: String,
    ) -> ArchError {
        match self {
            BuildError::Weights(error) => error.into(),
            BuildError::Within(number, kind, inner) => {
                let line = lines.get(number);
                let inside = line.map_or(&[][..], |line| &line.body);
                let path = format!("{path}block {} ({kind}): ", number + 1);
                inner.told(origin, (inside, line.map_or(fallback, |line| line.line)), path)
            }
            BuildError::Invalid(problem) => {
                ArchError::Invalid { origin: origin.into(), line: fallback, problem: path + &problem }
            }
        }
    }
}

impl From<String> for BuildError {
    fn from(problem: String) -> Self {
        BuildError::Invalid(problem)
    }
}

impl From<&str> for BuildError {
    fn from(problem: &str) -> Self {
        BuildError::Invalid(problem.into())
    }
}

impl From<WeightsError> for BuildError {
    fn from(error: WeightsError) -> Self {
        match error {
            WeightsError::Tensor(error) => BuildError::Invalid(error.to_string()),
            error => BuildError::Weights(error),
        }
    }
}

impl From<GraphError> for BuildError {
    fn from(error: GraphError) -> Self {
        match error {
            // The node's name only repeats where we are.
            GraphError::Infer { source, .. } => BuildError::Invalid(source.to_string()),
            error => BuildError::Invalid(error.to_string()),
        }
    }
}
