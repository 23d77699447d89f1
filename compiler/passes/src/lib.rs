//! Graph passes, schedules and the memory plan of avocet.
//!
//! A graph as the frontend read it goes in, a graph as the kernels want it comes out: batch norms folded, images in
//! NHWC, transposes gone but for the edges, elementwise work attached to its producers. Each pass is a file with one
//! function of the shape of [`pass::Pass::run`]; their order, and the reason of it, is the list in [`pipeline`].
//!
//! The last step on the way to machine code is here too: [`memory`] gives the temporaries of a program their places in
//! the arena.
//!
//! Passes know the graph and nothing of kernels or targets. What they need computed (constants) they ask of
//! [`pass::Context::evaluate`].

pub mod memory;
pub mod partition;
pub mod pass;
pub mod pipeline;
pub mod schedule;
pub mod sharing;
pub mod tuned;

mod activations;
mod affine;
mod attention;
pub mod batch;
mod channel_shuffle;
mod concat;
mod constant_folding;
mod dead_code;
mod duplicates;
mod epilogue;
mod family;
mod gates;
mod identity;
mod matmul_operands;
mod nhwc;
mod normalization;
mod padding;
mod rearrangements;
mod region_layouts;
mod regions;
mod reshapes;
mod results;
mod rewrite;
mod strassen;
mod strides;
mod tile;
mod transposes;
mod views;
mod winograd;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use pass::{Context, Outcome, Pass, PassError};
pub use pipeline::{PIPELINE, PipelineError, run_all};
