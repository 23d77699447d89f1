//! Kernel IR to machine code through Cranelift: vectors of 128 bits, of what the target has on RISC-V, and the control code that calls the kernels.
//!
//! [`Cranelift`] is a [`avocet_ir::backend::Backend`]; [`emit`] puts the code of all kernels of a program, whichever
//! back end made it, and the entry function into an object file or into executable memory.

mod calls;
pub mod emit;
mod entry;
mod expression;
mod frame;
mod isa;
pub mod jit;
mod partial;
mod pixels;
mod reach;
mod translate;
mod unwind;

pub use isa::{Cranelift, IsaError};
