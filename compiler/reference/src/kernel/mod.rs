//! The bounds-checking interpreter of the kernel IR: what a kernel means, with nothing assumed.
//!
//! A kernel is executed statement by statement on byte buffers; every access is checked against its buffer's length and
//! rights and against reading what nobody wrote. It shares no code with the back ends and is their oracle, as
//! [`crate::graph`] is the oracle of the kernels themselves.

mod lanes;
mod machine;
mod program;

pub use machine::run_kernel;
pub use program::{PartOrder, run_program, run_program_in};

use avocet_ir::program::ProgramError;
use thiserror::Error;

/// Why a kernel or a program could not be run to its end.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KernelRunError {
    /// A kernel did something that is not allowed; the text says what and where.
    #[error("kernel '{kernel}': {problem}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What happened.
        problem: String,
    },
    /// The program is not valid.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// An input is missing or of another type.
    #[error("input {number}: {problem}")]
    Input {
        /// Number of the input.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Bytes of one buffer, with a note for each byte whether it was ever written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    bytes: Vec<u8>,
    written: Vec<bool>,
}

impl Memory {
    /// Memory that nobody has written.
    pub fn new(bytes: usize) -> Self {
        Memory { bytes: vec![0; bytes], written: vec![false; bytes] }
    }

    /// Memory with contents.
    pub fn filled(bytes: Vec<u8>) -> Self {
        let written = vec![true; bytes.len()];
        Memory { bytes, written }
    }

    /// The contents; bytes that nobody wrote are zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether every byte was written.
    pub fn is_written(&self) -> bool {
        self.written.iter().all(|&w| w)
    }

    /// Forgets what was written in a range.
    pub(crate) fn poison(&mut self, start: usize, bytes: usize) {
        self.written[start..start + bytes].fill(false);
    }

    fn read(&self, start: usize, bytes: usize) -> Option<&[u8]> {
        let end = start.checked_add(bytes)?;
        if !self.written.get(start..end)?.iter().all(|&w| w) {
            return None;
        }
        self.bytes.get(start..end)
    }

    fn write(&mut self, start: usize, data: &[u8]) -> bool {
        let Some(end) = start.checked_add(data.len()) else { return false };
        let (Some(bytes), Some(written)) = (self.bytes.get_mut(start..end), self.written.get_mut(start..end))
        else {
            return false;
        };
        bytes.copy_from_slice(data);
        written.fill(true);
        true
    }
}

#[cfg(test)]
mod tests;
