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
    /// What the code does to its caller's frame, by increasing offsets: what profilers, debuggers and crash handlers need
    /// to find the caller from any instruction.
    pub frame: Vec<FrameChange>,
}

/// From an offset in the code on, another rule leads to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameChange {
    /// Bytes from the start of the code to the first instruction for which the rule holds.
    pub offset: u32,
    /// The rule.
    pub rule: FrameRule,
}

/// How the caller's frame is found. It begins where the caller's stack pointer was before the call; at the start of a
/// function the stack pointer is there, or as far below as the call itself stores. Registers are numbered as DWARF does
/// for the architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameRule {
    /// The caller's frame begins so many bytes above the stack pointer.
    StackPointer(u32),
    /// The caller's frame begins so many bytes above the frame pointer.
    FramePointer(u32),
    /// The caller's value of a register is in memory.
    Saved {
        /// The register.
        register: u16,
        /// Bytes from it up to the start of the caller's frame.
        below: u32,
    },
    /// A register holds the caller's value again.
    Restored(u16),
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

    /// Whether a permutation of a vector's lanes is an instruction or two; if not, it costs some for each lane.
    fn permutes(&self) -> bool {
        true
    }

    /// Compiles a kernel that [`Kernel::verify`] accepts.
    fn compile(&self, kernel: &Kernel) -> Result<MachineCode, BackendError>;
}
