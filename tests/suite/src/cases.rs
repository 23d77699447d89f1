//! Models that come with inputs and expected outputs: the oracle's operator cases and the ONNX node tests.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::oracle::{OracleError, Run, read_values};

/// A small model of one or a few operators, with inputs and ONNX Runtime's outputs.
#[derive(Clone, Debug, Deserialize)]
pub struct OperatorCase {
    /// Name of the case; it starts with `nan_` when the inputs hold NaN and infinities.
    pub name: String,
    /// The opset of the model.
    pub opset: u32,
    /// Operators of the model, sorted, each once.
    pub operators: Vec<String>,
    /// What it consists of.
    #[serde(skip)]
    pub files: Files,
}

/// The folder of a case: a model, inputs and expected outputs.
#[derive(Clone, Debug, Default)]
pub struct Files(PathBuf);

impl Files {
    /// Those of this name in the folder of all cases.
    pub(crate) fn new(all: &Path, name: &str) -> Self {
        Files(all.join(name))
    }

    /// The ONNX file.
    pub fn model(&self) -> PathBuf {
        self.0.join("model.onnx")
    }

    /// Reads inputs and expected outputs.
    pub fn run(&self) -> Result<Run, OracleError> {
        let inputs = read_values(&self.0, "input")?;
        let outputs = read_values(&self.0, "output")?;
        Ok(Run { inputs, outputs })
    }
}

/// One of the ONNX backend node tests, which come with the Python package `onnx`.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeTest {
    /// Name of the test.
    pub name: String,
    /// Why it asks for what avocet leaves out, if it does; then there is nothing but the name.
    pub out_of_scope: Option<String>,
    /// Inputs that decide shapes and became part of the model.
    pub given: Vec<String>,
    /// What it consists of.
    #[serde(skip)]
    pub files: Files,
}
