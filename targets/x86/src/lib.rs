//! The wide back end for x86-64: kernel IR to AVX2 + FMA, or AVX-512, machine code.
//!
//! A kernel goes through four steps, each a file: `select` chooses instructions on virtual registers, `allocate` gives
//! them physical ones (by regalloc2), `encode` turns them into bytes (by iced-x86), and `backend` is the seam to the
//! rest of the compiler. `table` is the list of vector instructions with their encodings.
//!
//! Two levels: 256-bit vectors in 16 registers, or up to 512 bits in 32 with masks for tails. What has no place here
//! (vectors of bytes and of 64-bit integers, which only move data) is refused with a reason, and another back end takes
//! it.

mod allocate;
mod backend;
mod convention;
mod encode;
mod instruction;
mod select;
mod table;

pub use backend::X86;

#[cfg(all(test, target_os = "linux"))]
mod tests;
