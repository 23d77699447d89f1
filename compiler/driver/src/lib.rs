//! avocet: an ahead-of-time compiler for efficient neural networks.
//!
//! A [`Model`] comes from an ONNX file, an architecture description or a graph; [`Model::compile`] specialises it to a
//! [`Target`]; the [`Artifact`] is written as an object file with a C header, or run in this process
//! ([`Artifact::jit`]).
//!
//! ```
//! use avocet::{Model, Options, Target, Tensor};
//!
//! let text = r#"
//! version = 1
//! name = "tiny"
//! input = { channels = 3, height = 8, width = 8 }
//!
//! [[blocks]]
//! type = "conv"
//! out = 16
//! kernel = 3
//! stride = 2
//! activation = "relu6"
//!
//! [[blocks]]
//! type = "classifier"
//! classes = 10
//! "#;
//! let model = Model::from_description(text, "tiny.toml")?;
//! let artifact = model.compile(&Target::host(), &Options::default())?;
//! let compiled = artifact.jit()?;
//! let image = Tensor::f32([1, 3, 8, 8], vec![0.5; 192])?;
//! let outputs = compiled.run(&[image])?;
//! assert_eq!(outputs[0].shape().dims(), [1, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod artifact;
mod backends;
pub mod bench;
mod compile;
mod constants;
pub mod data;
mod error;
mod header;
mod header_sizes;
pub mod inspect;
mod jit;
mod library;
mod manifest;
pub mod measure;
mod model;
mod module;
mod output;
pub mod ports;
pub mod preprocess;
pub mod profile;
pub mod simulate;
pub mod sizes;
pub mod tune;

pub use artifact::Artifact;
pub use compile::{Options, Stage, Weights};
pub use error::Error;
pub use jit::{Compiled, RunError, Session};
pub use model::{LoadOptions, Model};
pub use preprocess::Preprocessing;
pub use tune::{Tuned, TunedError};

pub use avocet_ir::program::Port;
pub use avocet_ir::{DType, Graph, Shape, Tensor, TensorType};
pub use avocet_passes::tuned::{Applied, Refused};
pub use avocet_target_spec::{Target, TargetError};

/// The version of this compiler.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
