//! From scheduled operators to kernels: graph IR and schedules in, a program of kernel IR out.
//!
//! [`lower()`] walks the graph and hands each node, as a [`Problem`], to the generator of its family; a generator says
//! what is to be called on what through an [`Emitter`]. Generators know one node at a time and no target: the number of
//! lanes and the tile come from the schedule. Weights are packed here, at compile time, in the order of their use.
//!
//! A generator is added as one file and one line in [`lower()`]'s table.

mod attention;
mod chain;
mod control;
mod depthwise;
mod direct;
mod elementwise;
mod emitter;
mod epilogue;
mod gemm;
mod interleave;
mod lower;
mod math;
mod microkernel;
mod movement;
mod normalize;
mod pack;
mod packed_groups;
mod parts;
mod pool;
mod positions;
mod problem;
mod reduce;
mod remainder;
mod resize;
mod scalars;
mod slice;
mod sliding;
mod strassen;
#[cfg(test)]
mod tests;
mod trigonometry;
mod unsigned;
mod view;
mod window;
mod winograd;

pub use control::join_cases;
pub use emitter::{Emitter, Operand};
pub use lower::{LowerError, lower};
pub use problem::Problem;
