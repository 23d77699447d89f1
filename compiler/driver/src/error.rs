//! Errors of the library's public face.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model could not be read, compiled or written.
#[derive(Debug, Error)]
pub enum Error {
    /// An ONNX file was refused.
    #[error(transparent)]
    Onnx(#[from] avocet_frontend::onnx::OnnxError),
    /// An architecture description was refused.
    #[error(transparent)]
    Description(#[from] avocet_frontend::arch::ArchError),
    /// The file's name says neither what kind of model it is.
    #[error("{}: expected a model ending in .onnx, .toml, .yaml, .yml or .json", .0.display())]
    UnknownFormat(PathBuf),
    /// The graph is not valid.
    #[error(transparent)]
    Graph(#[from] avocet_ir::GraphError),
    /// A tensor is larger than any machine that avocet is for.
    #[error("node '{node}' gives a tensor of {bytes} bytes; check the dimensions")]
    TooLarge {
        /// Name of the node.
        node: String,
        /// Size of its result.
        bytes: usize,
    },
    /// A description has no such dimension.
    #[error("a description has no dimension '{}'; its dimensions are N (the batch), H and W", .0.escape_debug())]
    Dimension(String),
    /// Sizes can't be given at the call.
    #[error(transparent)]
    Sizes(#[from] crate::sizes::SizesError),
    /// A pass failed; a defect of avocet.
    #[error("{0} (please report this)")]
    Pass(#[from] avocet_passes::PipelineError),
    /// An operator has no kernel.
    #[error(transparent)]
    Lower(#[from] avocet_kernels::LowerError),
    /// The memory plan is wrong; a defect of avocet.
    #[error("planning memory: {0} (please report this)")]
    Memory(String),
    /// The target can't be compiled for.
    #[error(transparent)]
    Target(#[from] avocet_target_cranelift::IsaError),
    /// Machine code could not be made.
    #[error(transparent)]
    Backend(#[from] avocet_ir::backend::BackendError),
    /// Machine code could not be placed.
    #[error(transparent)]
    Emit(#[from] avocet_target_cranelift::emit::EmitError),
    /// A file could not be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The shared library could not be linked.
    #[error("linking the shared library: {0}")]
    Link(String),
    /// The name is not a C identifier.
    #[error(
        "'{0}' can't be the name of C functions; use letters, digits and underscores, not starting with a digit"
    )]
    Name(String),
    /// The reference interpreter could not run the model.
    #[error(transparent)]
    Reference(#[from] avocet_reference::RunError),
    /// Preprocessing can't be put before the model.
    #[error("preprocessing: {0}")]
    Preprocess(#[from] crate::preprocess::PreprocessError),
    /// A kernel that measures the machine is wrong; a defect of avocet.
    #[error("a kernel that measures this machine is not valid (please report this)")]
    Probe,
    /// What a kernel executes could not be counted; a defect of avocet.
    #[error("counting what kernel '{kernel}' executes: {problem} (please report this)")]
    Simulate {
        /// Name of the kernel.
        kernel: String,
        /// What is not as expected.
        problem: String,
    },
    /// A file of tuned choices was refused.
    #[error(transparent)]
    Tuned(#[from] crate::tune::TunedError),
    /// The compiled model was used wrongly.
    #[error(transparent)]
    Run(#[from] crate::jit::RunError),
}
