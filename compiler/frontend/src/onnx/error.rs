//! Errors of the import.

use std::fmt;

use thiserror::Error;

/// Something in a model that can't be compiled: a node, an input, a weight or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// Name of the node.
    pub node: String,
    /// Operator with its domain; `input`, `weight` or `output` for what is not a node.
    pub operator: String,
    /// Attributes as `key=value`.
    pub attributes: String,
    /// What is not supported, when it is not the operator itself.
    pub reason: String,
}

impl Unsupported {
    /// Something that is not a node.
    pub(super) fn other(what: &str, name: &str, reason: impl Into<String>) -> Self {
        Unsupported {
            node: name.into(),
            operator: what.into(),
            attributes: String::new(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (operator, node) = (self.operator.escape_debug(), self.node.escape_debug());
        match &self.operator[..] {
            "input" | "weight" | "output" => write!(f, "  {operator} '{node}'")?,
            _ if self.attributes.is_empty() => write!(f, "  {operator} (node '{node}')")?,
            _ => write!(f, "  {operator} (node '{node}', {})", self.attributes)?,
        }
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
    /// The bytes are not a protobuf message of ONNX.
    #[error("{}not an ONNX file, or a damaged one: {problem}", prefix(file))]
    Encoding {
        /// The file.
        file: String,
        /// What the decoder says.
        problem: String,
    },
    /// The model is of an operator set that is not known.
    #[error(
        "{}it uses operator set {found}; {first} to {last} are supported (convert it, say with onnx.version_converter)",
        prefix(file)
    )]
    Opset {
        /// The file.
        file: String,
        /// The model's operator set.
        found: i64,
        /// Oldest one that is known.
        first: i64,
        /// Newest one that is known.
        last: i64,
    },
    /// The model leaves the sizes of dimensions open, or the sizes given don't fit it; all of it, at once.
    #[error("{}sizes of dimensions:\n  {}", prefix(file), problems.join("\n  "))]
    Dimensions {
        /// The file.
        file: String,
        /// What is wrong with each, and which `--dim` helps.
        problems: Vec<String>,
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
        /// Everything of that kind, in the model's order.
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
    /// A model that is wrong; the text says what, where, and what to do.
    pub(super) fn invalid(problem: impl Into<String>) -> Self {
        OnnxError::Invalid { file: String::new(), problem: problem.into() }
    }

    /// The same error with the file's name.
    pub(super) fn in_file(mut self, name: &str) -> Self {
        match &mut self {
            OnnxError::File { file, .. }
            | OnnxError::Encoding { file, .. }
            | OnnxError::Opset { file, .. }
            | OnnxError::Dimensions { file, .. }
            | OnnxError::Invalid { file, .. }
            | OnnxError::Unsupported { file, .. } => *file = name.into(),
        }
        self
    }
}
