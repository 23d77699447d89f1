//! The intermediate representations of avocet, from the network down to the plan of kernels.
//!
//! This crate holds the vocabulary that all other crates share and no behaviour beyond building, checking and printing
//! it. Three levels, each with its own types, verifier and text form:
//!
//! - [`graph`]: the network as operators and tensors ([`graph::Graph`], [`op::Op`]), with shape inference;
//! - [`kernel`]: loop nests over vectors ([`kernel::Kernel`]), the language in which kernels are written;
//! - [`program`]: which kernel is called on which buffer ([`program::Program`]), with the memory plan's offsets.
//!
//! [`schedule`] is the plain data that ties the first level to the second. Nothing here knows a frontend, a pass, a
//! kernel generator or a target.

pub mod backend;
pub mod cost;
pub mod evaluate;
pub mod graph;
pub mod infer;
pub mod kernel;
pub mod op;
pub mod program;
pub mod schedule;
pub mod tensor;

pub use evaluate::Evaluate;
pub use graph::{Graph, GraphError, Node, NodeId, Value};
pub use op::Op;
pub use tensor::{DType, Shape, Tensor, TensorData, TensorError, TensorType};
