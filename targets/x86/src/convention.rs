//! Calling conventions: where a kernel finds its pointers and which registers it must leave as they were.

use iced_x86::Register;

/// General registers by their number in instructions.
pub(crate) const GENERAL: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// Number of the stack pointer.
pub(crate) const STACK_POINTER: usize = 4;

/// DWARF's numbers of the registers in [`GENERAL`] (System V supplement, figure 3.36).
pub(crate) const GENERAL_DWARF: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];

/// DWARF's number of the first vector register; the next fifteen follow.
pub(crate) const VECTOR_DWARF: u16 = 17;

/// Where a convention keeps things. Registers are numbers, as in [`GENERAL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Convention {
    /// Registers of the first pointer arguments.
    pub(crate) arguments: &'static [usize],
    /// Bytes between the return address and the first argument in memory.
    pub(crate) home: usize,
    /// General registers that a function must preserve.
    pub(crate) preserved: &'static [usize],
    /// Vector registers whose low 128 bits a function must preserve.
    pub(crate) preserved_vectors: &'static [usize],
}

/// System V, AMD64 supplement: Linux, macOS, the BSDs, bare metal.
pub(crate) const SYSTEM_V: Convention = Convention {
    arguments: &[7, 6, 2, 1, 8, 9],
    home: 0,
    preserved: &[3, 5, 12, 13, 14, 15],
    preserved_vectors: &[],
};

/// Microsoft x64.
pub(crate) const WINDOWS: Convention = Convention {
    arguments: &[1, 2, 8, 9],
    home: 32,
    preserved: &[3, 5, 6, 7, 12, 13, 14, 15],
    preserved_vectors: &[6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
};
