//! The seam between kernels and machine code: a back end is one trait with one method set.
//!
//! A kernel becomes a function of the platform's C calling convention with one pointer for each of its buffers, in
//! order, and no result. Its code is complete: it calls nothing and refers to nothing outside itself, so its bytes can
//! be placed anywhere by whoever emits objects or fills JIT memory.

use thiserror::Error;

use crate::kernel::{Element, Kernel};

/// Machine code of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineCode {
    /// Position-independent bytes, constants included.
    pub bytes: Vec<u8>,
    /// Alignment in bytes that the first byte needs.
    pub alignment: u64,
    /// The instructions as text.
    pub assembly: String,
}

/// Why a kernel could not be compiled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("kernel '{kernel}': {problem}")]
pub struct BackendError {
    /// Name of the kernel.
    pub kernel: String,
    /// What is wrong.
    pub problem: String,
}

/// Turns kernels into machine code for one target.
pub trait Backend: Sync {
    /// Name for messages.
    fn name(&self) -> &'static str;

    /// Lanes of the widest vector of this element that kernels may use; a power of two.
    fn lanes(&self, element: Element) -> usize;

    /// Vector registers that a kernel's accumulators and operands can occupy without spilling.
    fn vector_registers(&self) -> usize;

    /// Compiles a kernel that [`Kernel::verify`] accepts.
    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError>;
}
