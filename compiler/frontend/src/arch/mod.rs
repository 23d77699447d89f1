//! Architecture descriptions: a network as a list of blocks, in TOML, YAML or JSON.
//!
//! [`Description::parse`] reads the text into plain data ([`schema`]) and remembers the line of each block;
//! [`Description::build`] scales it (compound scaling), writes out its blocks as operators and fills in weights. The
//! format is documented in `docs/description.md`. Text is hostile input: every size is checked before it is used.

mod attention;
mod blocks;
mod branches;
mod builder;
mod cells;
mod exits;
mod failure;
mod gates;
mod parse;
mod regions;
mod scaling;
pub mod schema;
mod slimmable;

use std::path::{Path, PathBuf};

use avocet_ir::{Graph, GraphError};
use thiserror::Error;

use crate::weights::{Weights, WeightsError};
use builder::{BuildError, Builder};
pub use parse::Format;

/// A network's description.
#[derive(Clone, Debug)]
pub struct Description {
    file: schema::File,
    lines: parse::Lines,
    origin: String,
    /// Folder of the description, for the paths in it.
    folder: Option<PathBuf>,
}

/// What a description leaves to the one who builds it.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The compound coefficient, in place of the description's.
    pub phi: Option<u32>,
    /// Images in a batch.
    pub batch: usize,
    /// Height and width of the input, in place of the description's.
    pub size: [Option<usize>; 2],
    /// A file of weights, in place of the one that the description names.
    pub weights: Option<PathBuf>,
    /// Seed of random weights, in place of the description's.
    pub seed: Option<u64>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        BuildOptions { phi: None, batch: 1, size: [None; 2], weights: None, seed: None }
    }
}

/// Why a description can't be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArchError {
    /// The file can't be read.
    #[error("{file}: {problem}")]
    Read {
        /// The file.
        file: String,
        /// Why not.
        problem: String,
    },
    /// The text is wrong, or what it describes is impossible.
    #[error("{origin}:{line}: {problem}")]
    Invalid {
        /// File or other source of the text.
        origin: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// The weights don't fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The finished graph is not valid; a defect of avocet.
    #[error("{0} (please report this)")]
    Graph(#[from] GraphError),
}

impl Description {
    /// Reads a description; `origin` names it in errors.
    pub fn parse(text: &str, format: Format, origin: &str) -> Result<Self, ArchError> {
        let (file, lines) = parse::parse(text, format, origin)?;
        Ok(Description { file, lines, origin: origin.into(), folder: None })
    }

    /// Reads a file by the ending of its name; paths in it are relative to its folder.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ArchError> {
        let path = path.as_ref();
        let fail = |problem: String| ArchError::Read { file: path.display().to_string(), problem };
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let format = match ending.as_str() {
            "toml" => Format::Toml,
            "yaml" | "yml" => Format::Yaml,
            "json" => Format::Json,
            _ => return Err(fail("expected a name ending in .toml, .yaml, .yml or .json".into())),
        };
        let length = std::fs::metadata(path).map_err(|e| fail(e.to_string()))?.len();
        if length > parse::MOST_BYTES {
            return Err(fail(format!("{length} bytes; a description has at most {}", parse::MOST_BYTES)));
        }
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        let mut description = Description::parse(&text, format, &path.display().to_string())?;
        description.folder = path.parent().map(Path::to_path_buf);
        Ok(description)
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.file.name
    }

    /// Writes the network out as a graph with weights.
    pub fn build(&self, options: &BuildOptions) -> Result<Graph, ArchError> {
        let invalid =
            |line: usize, problem: String| ArchError::Invalid { origin: self.origin.clone(), line, problem };
        let scaling =
            scaling::Scaling::new(&self.file, options).map_err(|e| invalid(self.lines.compound, e))?;
        let epsilon = self.file.defaults.epsilon;
        if !(0.0..=1.0).contains(&epsilon) {
            let problem = format!("defaults.epsilon is {epsilon}, expected 0 to 1");
            return Err(invalid(self.lines.defaults, problem));
        }
        if self.file.blocks.is_empty() {
            return Err(invalid(1, "there are no blocks".into()));
        }
        if let Some(section) = &self.file.slimmable {
            slimmable::check(section).map_err(|e| invalid(self.lines.slimmable, e))?;
        }
        let weights = self.weights(options)?;
        let lines = &self.lines;
        let mut builder = Builder::new(&self.file, options.batch, &scaling, weights)
            .map_err(|e| e.told(&self.origin, (&[], lines.input), String::new()))?;
        let blocks = |e: BuildError| e.told(&self.origin, (&lines.blocks, 1), String::new());
        let results = match &self.file.slimmable {
            Some(section) => slimmable::network(&mut builder, section),
            None => builder.network(),
        };
        let graph = results.and_then(|results| builder.finish(results)).map_err(blocks)?;
        graph.verify()?;
        Ok(graph)
    }

    fn weights(&self, options: &BuildOptions) -> Result<Weights, ArchError> {
        let section = &self.file.weights;
        if let Some(path) = &options.weights {
            return Ok(Weights::from_file(path, section.map.clone())?);
        }
        if let (Some(file), None) = (&section.file, options.seed) {
            let path = self.inside(file)?;
            return Ok(Weights::from_file(&path, section.map.clone())?);
        }
        Ok(Weights::Seeded(options.seed.unwrap_or(section.seed)))
    }

    /// A path of the description's, which may not leave its folder.
    fn inside(&self, file: &str) -> Result<PathBuf, ArchError> {
        let refused = || ArchError::Read {
            file: file.into(),
            problem: "a description may only name weights in its own folder; pass other files explicitly"
                .into(),
        };
        let path = Path::new(file);
        let plain = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
        let folder = self.folder.as_ref().ok_or_else(refused)?;
        if !plain {
            return Err(refused());
        }
        let joined = folder.join(path);
        // A link in the folder may lead out of it.
        match (joined.canonicalize(), folder.canonicalize()) {
            (Ok(real), Ok(folder)) if !real.starts_with(&folder) => Err(refused()),
            (Err(e), _) => {
                Err(ArchError::Read { file: joined.display().to_string(), problem: e.to_string() })
            }
            _ => Ok(joined),
        }
    }
}

#[cfg(test)]
mod tests;
