//! ONNX import: a protobuf file in, a verified graph with constants out.
//!
//! Opsets 7 to 21. Shapes are static from the start: symbolic dimensions are bound by [`Options::dims`], and whatever the
//! model computes from shapes is evaluated on the way. Files are hostile input: every size is checked, external data stays
//! in the model's folder, and everything unsupported is told in one error.

mod attributes;
mod error;
mod import;
mod operators;
pub mod proto;
mod tensors;

use std::collections::BTreeMap;
use std::path::Path;

use avocet_ir::{Evaluate, Graph};
use prost::Message;

pub use error::{OnnxError, Unsupported};

/// What a model leaves open.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes of symbolic dimensions, by their name or, where they have none, as `INPUT.AXIS` (`x.2`). A first dimension
    /// that is not bound here is 1.
    pub dims: BTreeMap<String, usize>,
}

/// Largest file that is read; protobuf itself ends at 2 GiB.
const MOST_BYTES: u64 = 2 << 30;

/// Reads a model file. External data is looked for in its folder.
pub fn from_file(path: &Path, options: &Options, evaluate: &dyn Evaluate) -> Result<Graph, OnnxError> {
    let file = path.display().to_string();
    let fail = |problem: String| OnnxError::File { file: file.clone(), problem };
    let length = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if length > MOST_BYTES {
        return Err(fail(format!("{length} bytes; a model file has at most {MOST_BYTES}")));
    }
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    from_bytes(&bytes, name, folder, options, evaluate).map_err(|e| e.in_file(&file))
}

/// Reads a model from memory. `name` becomes the graph's name; without a folder, external data is refused.
pub fn from_bytes(
    bytes: &[u8],
    name: &str,
    folder: Option<&Path>,
    options: &Options,
    evaluate: &dyn Evaluate,
) -> Result<Graph, OnnxError> {
    let model = proto::ModelProto::decode(bytes)
        .map_err(|e| OnnxError::Invalid { file: String::new(), problem: format!("not an ONNX file: {e}") })?;
    import::import(model, name, folder, options, evaluate)
}

#[cfg(test)]
mod tests;
