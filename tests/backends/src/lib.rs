//! What the suite of the back ends stands on: the back ends that this machine can run, memory that faults where a kernel
//! has no business, and the comparison with the interpreter of the kernel IR.
//!
//! The tests are in `tests/`: each says what kernels do, for every number of lanes of every back end; none knows how a
//! back end does it. It is a crate of its own because it needs no driver, so that work on a back end builds little.

pub mod back_ends;
pub mod check;
pub mod emulator;
pub mod memory;
