//! Tests of whole kernels' code, by their text; `tests/backends` runs them.

mod conventions;
mod frames;
mod microkernels;
pub(crate) mod objdump;
