//! The oracles: plain interpreters of avocet's graph and kernel IR.
//!
//! Everything that the compiler produces is compared with what these interpreters compute, so they are written to be
//! obviously right rather than fast, and they share no code with what they judge: [`graph`] computes each operator from
//! its definition and knows nothing of kernels; `kernel` executes kernel IR step by step and checks every access.

pub mod graph;
pub mod kernel;

pub use graph::{EvaluateError, Reference, RunError, run};
