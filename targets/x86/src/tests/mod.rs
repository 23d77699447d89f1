//! Tests of whole kernels' code, by their text; `tests/backends` runs them.

mod conventions;
mod microkernels;
pub(crate) mod objdump;
