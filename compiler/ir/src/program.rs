//! The program: which kernel is called on which memory, in order. What targets turn into machine code.
//!
//! Storage is of four kinds: the caller's inputs and outputs, temporaries in the arena, and constants. A program is
//! made with temporaries that have no place yet; the memory planner gives each its offset ([`MemoryPlan`]).

use std::fmt;

use thiserror::Error;

use crate::kernel::{Access, Kernel, KernelError};
use crate::tensor::{TensorData, TensorType};

/// Alignment in bytes of the arena, of each temporary in it, of the constants and of each constant: a cache line, and
/// the widest vector.
pub const ALIGNMENT: usize = 64;

/// A tensor that crosses the program's border.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name from the model.
    pub name: String,
    /// Element type and shape.
    pub ty: TensorType,
}

/// Where a kernel's buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Storage {
    /// An input of the program, by number.
    Input(usize),
    /// An output of the program, by number.
    Output(usize),
    /// A temporary, by number.
    Temporary(usize),
    /// A constant, by number.
    Constant(usize),
}

/// What a kernel is called with for one of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// The memory.
    pub storage: Storage,
    /// Offset in bytes of the buffer's first element.
    pub offset: usize,
}

impl From<Storage> for Argument {
    fn from(storage: Storage) -> Self {
        Argument { storage, offset: 0 }
    }
}

/// One call of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Number of the kernel.
    pub kernel: usize,
    /// One for each of its buffers.
    pub arguments: Vec<Argument>,
    /// Pairs (read argument, written argument) that may be the same memory: the kernel reads each element before it
    /// writes the same element, and never reads it again.
    pub in_place: Vec<(usize, usize)>,
    /// Name of the graph's node that is computed, for messages and profiles.
    pub node: String,
}

/// Where the temporaries are in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Offset in bytes of each temporary, a multiple of [`ALIGNMENT`].
    pub offsets: Vec<usize>,
    /// Size of the arena in bytes.
    pub bytes: usize,
    /// Largest sum of the temporaries that are live during one call: no plan can be smaller.
    pub lower_bound: usize,
}

/// A compiled network before machine code.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the network.
    pub name: String,
    /// Inputs.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
    /// Kernels, no two of them the same code.
    pub kernels: Vec<Kernel>,
    /// Calls, in order.
    pub calls: Vec<Call>,
    /// Sizes of the temporaries in bytes.
    pub temporaries: Vec<usize>,
    /// Constants: weights, packed as their kernels read them.
    pub constants: Vec<TensorData>,
    /// The memory plan, once made.
    pub plan: Option<MemoryPlan>,
}

/// Why a program is not valid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProgramError {
    /// A kernel is not.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A call is not; the text says why.
    #[error("call {call} of node '{node}': {problem}")]
    Call {
        /// Number of the call.
        call: usize,
        /// Its node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// The memory plan is not; the text says why.
    #[error("memory plan: {0}")]
    Plan(String),
}

impl Program {
    /// Offset in bytes of each constant in the constants' block, and the size of the block.
    pub fn constant_layout(&self) -> (Vec<usize>, usize) {
        let mut end = 0usize;
        let offsets = self.constants.iter().map(|constant| {
            let offset = end.next_multiple_of(ALIGNMENT);
            end = offset + constant.len() * constant.dtype().bytes();
            offset
        });
        let offsets = offsets.collect();
        (offsets, end.next_multiple_of(ALIGNMENT))
    }

    /// The constants' block: each constant, little-endian, at its offset; zeros between.
    pub fn constant_block(&self) -> Vec<u8> {
        let (offsets, bytes) = self.constant_layout();
        let mut block = vec![0; bytes];
        for (offset, constant) in offsets.into_iter().zip(&self.constants) {
            let data = constant.to_le_bytes();
            block[offset..offset + data.len()].copy_from_slice(&data);
        }
        block
    }

    /// Size in bytes of a storage.
    fn storage_bytes(&self, storage: Storage) -> Option<usize> {
        match storage {
            Storage::Input(i) => self.inputs.get(i).map(|p| p.ty.bytes()),
            Storage::Output(i) => self.outputs.get(i).map(|p| p.ty.bytes()),
            Storage::Temporary(i) => self.temporaries.get(i).copied(),
            Storage::Constant(i) => self.constants.get(i).map(|c| c.len() * c.dtype().bytes()),
        }
    }

    /// Checks kernels, arguments and, when there is one, the plan's ranges. That temporaries which live at the same time
    /// do not overlap is checked by the planner's checker.
    pub fn verify(&self) -> Result<(), ProgramError> {
        for kernel in &self.kernels {
            kernel.verify()?;
        }
        for (number, call) in self.calls.iter().enumerate() {
            self.verify_call(call).map_err(|problem| ProgramError::Call {
                call: number,
                node: call.node.clone(),
                problem,
            })?;
        }
        let Some(plan) = &self.plan else { return Ok(()) };
        if plan.offsets.len() != self.temporaries.len() {
            let (got, expected) = (plan.offsets.len(), self.temporaries.len());
            return Err(ProgramError::Plan(format!("{got} offsets for {expected} temporaries")));
        }
        for (i, (&offset, &bytes)) in plan.offsets.iter().zip(&self.temporaries).enumerate() {
            let end = offset.checked_add(bytes);
            if offset % ALIGNMENT != 0 || end.is_none_or(|end| end > plan.bytes) {
                let text = format!("temporary {i} of {bytes} bytes at {offset} in {} bytes", plan.bytes);
                return Err(ProgramError::Plan(text));
            }
        }
        Ok(())
    }

    fn verify_call(&self, call: &Call) -> Result<(), String> {
        let kernel = self.kernels.get(call.kernel).ok_or("there is no such kernel")?;
        if kernel.buffers.len() != call.arguments.len() {
            let (got, expected) = (call.arguments.len(), kernel.buffers.len());
            return Err(format!("{got} arguments for {expected} buffers of {}", kernel.name));
        }
        for (argument, buffer) in call.arguments.iter().zip(&kernel.buffers) {
            let place = format!("buffer {} of {}", buffer.name, kernel.name);
            let bytes = self.storage_bytes(argument.storage).ok_or_else(|| format!("{place}: no storage"))?;
            if argument.offset.checked_add(buffer.bytes()).is_none_or(|end| end > bytes) {
                let (offset, size) = (argument.offset, buffer.bytes());
                return Err(format!("{place}: {size} bytes at {offset} of {bytes}"));
            }
            if argument.offset % buffer.element.bytes() != 0 {
                return Err(format!("{place}: offset {} is not aligned", argument.offset));
            }
            let read_only = matches!(argument.storage, Storage::Input(_) | Storage::Constant(_));
            if read_only && buffer.access == Access::Write {
                return Err(format!("{place}: a store to {:?}", argument.storage));
            }
        }
        for &(read, write) in &call.in_place {
            let access = |i: usize| kernel.buffers.get(i).map(|b| b.access);
            if access(read) != Some(Access::Read) || access(write) != Some(Access::Write) {
                return Err(format!("({read}, {write}) is not a read and a written argument"));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (i, port) in self.inputs.iter().enumerate() {
            writeln!(f, "  input {i} {:?}: {}", port.name, port.ty)?;
        }
        for (i, port) in self.outputs.iter().enumerate() {
            writeln!(f, "  output {i} {:?}: {}", port.name, port.ty)?;
        }
        if let Some(plan) = &self.plan {
            writeln!(f, "  arena {} bytes (at least {})", plan.bytes, plan.lower_bound)?;
        }
        for call in &self.calls {
            let kernel = self.kernels.get(call.kernel).map_or("?", |k| k.name.as_str());
            let arguments: Vec<String> = call.arguments.iter().map(|a| self.show(*a)).collect();
            writeln!(f, "  call {kernel}({}) ; {}", arguments.join(", "), call.node.escape_debug())?;
        }
        self.kernels.iter().try_for_each(|kernel| write!(f, "\n{kernel}"))
    }
}

impl Program {
    fn show(&self, argument: Argument) -> String {
        let place = match argument.storage {
            Storage::Input(i) => format!("input{i}"),
            Storage::Output(i) => format!("output{i}"),
            Storage::Constant(i) => format!("constant{i}"),
            Storage::Temporary(i) => match &self.plan {
                Some(plan) => format!("arena[{}]", plan.offsets[i]),
                None => format!("temporary{i}"),
            },
        };
        if argument.offset == 0 { place } else { format!("{place}+{}", argument.offset) }
    }
}
