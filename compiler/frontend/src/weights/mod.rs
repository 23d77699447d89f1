//! Weights of architecture descriptions: seeded random numbers, or tensors from a file under a map of names.
//!
//! A network under construction asks for each tensor by its documented name, shape and role. What a file lacks, holds in
//! another shape or holds in excess is gathered and told all at once at the end.

mod map;
mod pickle;
mod safetensors;
mod seeded;
mod torch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use avocet_ir::{Shape, Tensor, TensorError};
use thiserror::Error;

pub use map::Rule;

/// Largest weights file that is read.
const MOST_BYTES: u64 = 8 << 30;

/// What a tensor is for: decides the distribution of seeded weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Weights of a convolution or dense layer whose sums have `fan_in` terms, followed by a function that passes about
    /// half of its input's power when `rectified`.
    Weight {
        /// Terms of each sum.
        fan_in: usize,
        /// Whether an activation follows.
        rectified: bool,
    },
    /// Bias of a convolution or dense layer, or offset of a normalisation.
    Bias,
    /// Scale of a normalisation.
    Scale,
    /// Mean of a normalisation.
    Mean,
    /// Variance of a normalisation.
    Variance,
}

/// Why weights could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WeightsError {
    /// The file can't be read.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The file's tensors are not those of the network.
    #[error("{file} does not fit the network:\n{}", problems.join("\n"))]
    Mismatch {
        /// The file.
        file: String,
        /// One line for each tensor that is missing, misshapen or superfluous.
        problems: Vec<String>,
    },
    /// A tensor is too large.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Where the weights of a network come from.
#[derive(Debug)]
pub enum Weights {
    /// Random numbers from a seed; see [`seeded`](self) in the source for the generator.
    Seeded(u64),
    /// Tensors of a file.
    File(FileWeights),
}

/// Tensors of a file, and which of them were asked for.
#[derive(Debug)]
pub struct FileWeights {
    file: String,
    tensors: BTreeMap<String, Tensor>,
    rules: Vec<Rule>,
    used: BTreeSet<String>,
    problems: Vec<String>,
}

/// Reads all tensors of a `.safetensors`, `.pth` or `.pt` file, as f32.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, WeightsError> {
    let fail = |problem: String| WeightsError::File { file: path.display().to_string(), problem };
    let length = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
    if length > MOST_BYTES {
        return Err(fail(format!("{length} bytes; at most {MOST_BYTES} are read")));
    }
    let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "safetensors" => safetensors::read(&bytes).map_err(fail),
        "pth" | "pt" => torch::read(&bytes).map_err(fail),
        _ => Err(fail("expected a name ending in .safetensors, .pth or .pt".into())),
    }
}

impl Weights {
    /// The weights of a file under rules that turn documented names into the file's.
    pub fn from_file(path: &Path, rules: Vec<Rule>) -> Result<Self, WeightsError> {
        let (tensors, file) = (read(path)?, path.display().to_string());
        Ok(Weights::File(FileWeights { file, tensors, rules, used: BTreeSet::new(), problems: Vec::new() }))
    }

    /// The tensor of this name. What is wrong with a file's tensor is remembered for [`Weights::finish`].
    pub fn tensor(&mut self, name: &str, dims: &[usize], role: Role) -> Result<Tensor, WeightsError> {
        let shape = Shape::new(dims)?;
        let file = match self {
            Weights::Seeded(seed) => return Ok(seeded::tensor(*seed, name, shape, role)),
            Weights::File(file) => file,
        };
        let theirs = map::apply(&file.rules, name);
        let problem = match file.tensors.get(&theirs) {
            Some(tensor) => {
                file.used.insert(theirs.clone());
                if *tensor.shape() == shape {
                    return Ok(tensor.clone());
                }
                format!("  '{theirs}' is {}, expected {shape}", tensor.shape())
            }
            None if theirs == name => format!("  '{name}' {shape} is missing"),
            None => format!("  '{theirs}' {shape} is missing (for '{name}')"),
        };
        file.problems.push(problem);
        Ok(seeded::tensor(0, name, shape, role))
    }

    /// Whether everything was there, and nothing was left over.
    pub fn finish(self) -> Result<(), WeightsError> {
        let Weights::File(FileWeights { file, tensors, used, mut problems, .. }) = self else {
            return Ok(());
        };
        // PyTorch counts batches in training; inference has no use for the count.
        let extra = tensors.keys().filter(|n| !used.contains(*n) && !n.ends_with("num_batches_tracked"));
        problems.extend(extra.map(|name| format!("  '{}' is not part of the network", name.escape_debug())));
        if problems.is_empty() { Ok(()) } else { Err(WeightsError::Mismatch { file, problems }) }
    }
}
