//! ONNX import: a protobuf file in, a verified graph with constants out.
//!
//! Opsets 7 to 28. Shapes are static from the start: symbolic dimensions are bound by [`Options::dims`], and whatever the
//! model computes from shapes is evaluated on the way. Floating point of other widths becomes f32, in weights, inputs
//! and casts alike. Files are hostile input: every size is checked, external data stays in the model's folder, and
//! everything unsupported is told in one error.

mod attributes;
mod error;
mod folding;
mod import;
mod limits;
mod operators;
mod order;
pub mod proto;
mod regions;
mod signature;
mod tensors;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use avocet_ir::{Evaluate, Graph};
use prost::Message;
use prost::bytes::Bytes;

pub use error::{OnnxError, Unsupported};

/// What a model leaves open.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Sizes of symbolic dimensions, by their name or, where they have none, as `INPUT.AXIS` (`x.2`). A first dimension
    /// that is not bound here is 1. Rows of a NonMaxSuppression's result, unless the model declares them: `RESULT.0`.
    pub dims: BTreeMap<String, usize>,
}

/// Largest file that is read; protobuf itself ends at 2 GiB.
const MOST_BYTES: u64 = 2 << 30;

/// Reads a model file. External data is looked for in its folder; the file's name without its ending names the graph,
/// since the names that exporters write into files are all the same.
pub fn from_file(path: &Path, options: &Options, evaluate: &dyn Evaluate) -> Result<Graph, OnnxError> {
    let file = path.display().to_string();
    let bytes = read(path).map_err(|problem| OnnxError::File { file: file.clone(), problem })?;
    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    decode(Bytes::from(bytes), name, folder, options, evaluate).map_err(|e| e.in_file(&file))
}

/// Reads a model from memory. `name` becomes the graph's name, or if it is empty the one in the model; without a folder,
/// external data is refused.
pub fn from_bytes(
    bytes: &[u8],
    name: &str,
    folder: Option<&Path>,
    options: &Options,
    evaluate: &dyn Evaluate,
) -> Result<Graph, OnnxError> {
    decode(Bytes::copy_from_slice(bytes), name, folder, options, evaluate)
}

fn decode(
    bytes: Bytes,
    name: &str,
    folder: Option<&Path>,
    options: &Options,
    evaluate: &dyn Evaluate,
) -> Result<Graph, OnnxError> {
    if limits::parts(&bytes) > limits::MOST_PARTS {
        let most = limits::MOST_PARTS;
        return Err(OnnxError::invalid(format!(
            "the model has more than {most} parts, the most that is read"
        )));
    }
    // Weights are parts of these bytes from here on, not copies.
    let model = proto::ModelProto::decode(bytes)
        .map_err(|e| OnnxError::Encoding { file: String::new(), problem: e.to_string() })?;
    import::import(&model, name, folder, options, evaluate)
}

/// The bytes of a plain file of acceptable length.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err("not a file".into());
    }
    let length = metadata.len();
    if length > MOST_BYTES {
        return Err(format!(
            "{length} bytes; a model file has at most {MOST_BYTES} (keep its weights as external data)"
        ));
    }
    let file = File::open(path).map_err(|e| e.to_string())?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
