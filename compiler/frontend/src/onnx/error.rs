//! Errors of the import.

use std::fmt;

use thiserror::Error;

/// A node that can't be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Name of the node.
    pub node: String,
    /// Operator with its domain.
    pub operator: String,
    /// Attributes as `key=value`.
    pub attributes: String,
    /// What is not supported, when it is not the operator itself.
    pub reason: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {} (node '{}'", self.operator, self.node.escape_debug())?;
        if !self.attributes.is_empty() {
            write!(f, ", {}", self.attributes)?;
        }
        f.write_str(")")?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// Why a model was refused. `file` is empty for models from memory.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OnnxError {
    /// The file can't be read.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// Why not.
        problem: String,
    },
    /// The file is damaged or describes something impossible.
    #[error("{}{problem}", prefix(file))]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, where, and what to do.
        problem: String,
    },
    /// The model uses what avocet can't compile; all of it, at once.
    #[error("{}the model uses what avocet does not support:\n{}", prefix(file), list(nodes))]
    Unsupported {
        /// The file.
        file: String,
        /// Every such node.
        nodes: Vec<Unsupported>,
    },
}

fn prefix(file: &str) -> String {
    if file.is_empty() { String::new() } else { format!("{file}: ") }
}

fn list(nodes: &[Unsupported]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl OnnxError {
    /// The same error with the file's name.
    pub(super) fn in_file(self, name: &str) -> Self {
        match self {
            OnnxError::Invalid { problem, .. } => OnnxError::Invalid { file: name.into(), problem },
            OnnxError::Unsupported { nodes, .. } => OnnxError::Unsupported { file: name.into(), nodes },
            error => error,
        }
    }
}
