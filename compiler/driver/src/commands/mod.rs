//! The subcommands, and what they share.

/// Prints a line. Whoever reads may stop reading, as `head` does; that is no mistake, and `println!` would panic.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}
/// The same to standard error.
macro_rules! complain {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($text)*);
    }};
}
pub(crate) use complain;

pub(crate) mod bench;
pub(crate) mod compile;
pub(crate) mod inspect;
pub(crate) mod profile;
mod progress;
pub(crate) mod run;
pub(crate) mod targets;
pub(crate) mod tune;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use avocet::data::npy::NpyError;
use avocet::data::npz::NpzError;
use avocet::data::picture::PictureError;
use avocet::data::prepare::PrepareError;
use avocet::measure::Budget;
use avocet::ports::{PortError, list};
use avocet::sizes::{NoSizeRange, SizeRange};
use avocet::{
    Artifact, Error, LoadOptions, Model, Options, Port, Preprocessing, Refused, Target, TargetError, Tuned,
};
use clap::Args;
use progress::Progress;
use serde::Serialize;

/// Why a command did not do what was asked; every one of these is exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Avocet(#[from] Error),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Port(#[from] PortError),
    #[error(transparent)]
    Npy(#[from] NpyError),
    #[error(transparent)]
    Npz(#[from] NpzError),
    #[error(transparent)]
    Picture(#[from] PictureError),
    #[error("input '{}': {source}", name.escape_debug())]
    Prepare { name: String, source: PrepareError },
    #[error("no output has a score for each of {classes} classes; the model's outputs are {outputs}")]
    Scores { classes: usize, outputs: String },
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}

impl CommandError {
    /// No output has scores of so many classes.
    fn no_scores(classes: usize, ports: &[Port]) -> Self {
        CommandError::Scores { classes, outputs: list(ports) }
    }
}

/// Which model, and what its file leaves open.
#[derive(Args, Debug)]
struct ModelArguments {
    /// The model: .onnx, or an architecture description (.toml, .yaml, .json).
    model: PathBuf,
    /// Size of a symbolic dimension of an ONNX model, or of a description's N, H or W (repeatable); the batch is 1 unless it is
    /// given. With a range, such as N=1..64 or H=32..1024:32 (from, to, in steps of), the size is given at the call.
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    dims: Vec<(String, SizeRange)>,
    /// Compound scaling coefficient of a description.
    #[arg(long)]
    phi: Option<u32>,
    /// Weights of a description: a .safetensors, .pth or .pt file.
    #[arg(long, value_name = "FILE")]
    weights_file: Option<PathBuf>,
    /// Seed of a description's random weights.
    #[arg(long)]
    seed: Option<u64>,
    /// Compile preprocessing into the model (repeatable): an input of pictures takes bytes of this size, height x width, and
    /// resizes and normalises them itself; for example `image=480x640,resize=bilinear,mean=0.5,std=0.5`.
    #[arg(long, value_name = "[NAME=]HxW[,KEY=VALUE…]")]
    preprocess: Vec<Preprocessing>,
}

impl ModelArguments {
    fn open(&self) -> Result<Model, CommandError> {
        let is_fixed = |(_, range): &&(String, SizeRange)| range.first == range.last;
        let (fixed, ranges) =
            (self.dims.iter().filter(is_fixed), self.dims.iter().filter(|dim| !is_fixed(dim)));
        let options = LoadOptions {
            dims: fixed.map(|(name, range)| (name.clone(), range.first)).collect(),
            ranges: ranges.cloned().collect(),
            phi: self.phi,
            weights: self.weights_file.clone(),
            seed: self.seed,
        };
        let model = Model::open(&self.model, &options)?;
        Ok(self.preprocess.iter().try_fold(model, |model, how| model.with_preprocessing(how))?)
    }
}

/// How long to measure.
#[derive(Args, Debug)]
pub(crate) struct MeasureArguments {
    /// Runs to measure; by default as many as fit in the time, at least 10.
    #[arg(long)]
    runs: Option<usize>,
    /// Time to measure for.
    #[arg(long, default_value_t = 2.0, value_parser = seconds, conflicts_with = "runs")]
    seconds: f64,
}

impl MeasureArguments {
    pub(crate) fn budget(&self) -> Budget {
        Budget {
            runs: self.runs,
            time: Duration::from_secs_f64(self.seconds),
            at_least: 10,
            ..Budget::default()
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0 to 86400".into()),
    }
}

/// Prints to standard output. Whoever reads may stop reading, as `head` does.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a report as JSON; strings and numbers always have that form.
pub(crate) fn print_json(report: &impl Serialize) {
    print(&(serde_json::to_string_pretty(report).unwrap_or_default() + "\n"));
}

fn dimension(text: &str) -> Result<(String, SizeRange), String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, size) = parts.ok_or("expected NAME=SIZE, for example N=1, H=224 or H=32..1024:32")?;
    Ok((name.into(), size.parse().map_err(|e: NoSizeRange| e.to_string())?))
}

/// What to compile for.
#[derive(Args, Debug)]
struct TargetArguments {
    /// A built-in target (`avocet targets` lists them), or a .toml file that describes one.
    #[arg(long, default_value = "host", value_name = "NAME|FILE")]
    target: String,
}

impl TargetArguments {
    fn target(&self) -> Result<Target, CommandError> {
        target(&self.target)
    }
}

/// The target of a name, or of a file.
fn target(name: &str) -> Result<Target, CommandError> {
    if !name.ends_with(".toml") {
        return Ok(Target::by_name(name)?);
    }
    let path = PathBuf::from(name);
    let text = std::fs::read_to_string(&path).map_err(|source| CommandError::Read { path, source })?;
    Ok(Target::from_toml(&text, name)?)
}

/// How the code is arranged.
#[derive(Args, Debug)]
struct CodeArguments {
    /// Only methods whose rounding errors are those of plain sums: no convolution by Winograd's method, no
    /// product by Strassen's.
    #[arg(long)]
    exact: bool,
    /// Most parts that an operator's work is divided into, for several threads; 1 for none.
    #[arg(long, default_value_t = Options::default().parts as u32, value_parser = clap::value_parser!(u32).range(1..=64))]
    parts: u32,
    /// Compute operators one by one, even where much is stored between them.
    #[arg(long)]
    no_fuse: bool,
}

/// A model and how it is compiled: what all commands take.
#[derive(Args, Debug)]
pub(crate) struct CompilationArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    code: CodeArguments,
    /// Choices that `avocet tune` has written, in place of the cost model's.
    #[arg(long, value_name = "FILE")]
    tuned: Option<PathBuf>,
}

impl CompilationArguments {
    /// The model.
    pub(crate) fn open(&self) -> Result<Model, CommandError> {
        self.model.open()
    }

    /// Compiles the model, with progress.
    pub(crate) fn compile(&self, model: &Model) -> Result<Artifact, CommandError> {
        self.compile_with(model, &self.options()?)
    }

    /// The same with options that come from [`Self::options`].
    pub(crate) fn compile_with(&self, model: &Model, options: &Options) -> Result<Artifact, CommandError> {
        let target = self.target.target()?;
        let progress = Progress::new();
        let artifact = model.compile_with(&target, options, &|stage| progress.stage(stage))?;
        drop(progress);
        if let Some(path) = &self.tuned {
            say_what_became_of(path, &artifact, options);
        }
        Ok(artifact)
    }

    /// What the arguments say of the code.
    pub(crate) fn options(&self) -> Result<Options, CommandError> {
        let tuned = match &self.tuned {
            Some(path) => Tuned::read(path).map_err(Error::from)?,
            None => Tuned::default(),
        };
        Ok(Options { tuned, ..self.code.options() })
    }
}

/// Tells on standard error which tuned choices were not used, and why.
fn say_what_became_of(path: &Path, artifact: &Artifact, options: &Options) {
    let (path, applied) = (path.display(), artifact.tuned());
    for Refused { node, schedule, problem } in &applied.refused {
        complain!("warning: {path}: '{schedule}' is not used for {}: {problem}", node.escape_debug());
    }
    if let Some(why) = options.tuned.why_not(artifact.target(), options.exact) {
        complain!("note: {path} is not used: {why}");
    } else if applied.nodes == 0 && applied.refused.is_empty() {
        complain!("note: {path} holds no layer of this model");
    }
}

impl CodeArguments {
    fn options(&self) -> Options {
        Options { exact: self.exact, parts: self.parts as usize, fuse: !self.no_fuse, ..Options::default() }
    }
}

#[cfg(test)]
mod tests {
    use avocet::sizes::SizeRange;

    use super::{dimension, seconds};

    #[test]
    fn times_are_sane() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["-1", "NaN", "inf", "x", "1e9"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dimensions_are_names_with_sizes() {
        let sizes = |first, last, step| SizeRange { first, last, step };
        assert_eq!(dimension("N=4"), Ok(("N".into(), sizes(4, 4, 1))));
        assert_eq!(dimension("x.2=48"), Ok(("x.2".into(), sizes(48, 48, 1))));
        assert_eq!(dimension("H=32..96:32"), Ok(("H".into(), sizes(32, 96, 32))));
        for wrong in ["N", "=3", "N=", "N=x", "N=-1"] {
            assert!(dimension(wrong).is_err(), "{wrong}");
        }
    }
}
