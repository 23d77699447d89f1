//! What kernels do, on every back end that this machine can run, against the interpreter of the kernel IR.

mod accesses;
mod loops;
mod operands;
mod operations;
mod pressure;
mod random;
mod refusals;
mod scalars;
