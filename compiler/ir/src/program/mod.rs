//! The program: which kernel is called on which memory, in which order. What targets turn into machine code.
//!
//! A program is a list of steps, one after the other. The calls of a step are in parts that need nothing of each other:
//! they may run at the same time, in any order. How many parts there are is decided when a network is compiled, so its
//! results don't depend on how many threads run them.
//!
//! Steps run in order, but for those that a [`Control`] covers: one of two branches, or the body of a loop.
//!
//! Storage is of four kinds: the caller's inputs and outputs, temporaries in the arena, and constants. A program is
//! made with temporaries that have no place yet; the memory planner gives each its offset ([`MemoryPlan`]).

mod control;
mod footprint;
mod sizes;
#[cfg(test)]
mod tests;
mod text;
mod verify;

use thiserror::Error;

pub use control::{Control, Item};
pub use sizes::{Dim, Signature, Sizes};

use crate::kernel::{Kernel, KernelError};
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
    /// A size that the caller gives, by number: a 64-bit integer. Only controls read it.
    Size(usize),
}

/// What a kernel is called with for one of its buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Argument {
    /// The memory.
    pub storage: Storage,
    /// Offset in bytes of the buffer's first element.
    pub offset: usize,
    /// Bytes by which it lies further on with each iteration of the innermost loop around the call; 0 outside of loops.
    pub stride: i64,
}

impl Argument {
    /// The same memory from so many bytes later on.
    pub const fn after(self, bytes: usize) -> Self {
        Argument { offset: self.offset + bytes, ..self }
    }
}

impl From<Storage> for Argument {
    fn from(storage: Storage) -> Self {
        Argument { storage, offset: 0, stride: 0 }
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

/// Calls between which nothing else runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Parts: what one writes no other reads or writes, so they may run at the same time. The calls of a part run in
    /// order.
    pub parts: Vec<Vec<Call>>,
}

impl Step {
    /// A step of one part.
    pub fn sequential(calls: Vec<Call>) -> Self {
        Step { parts: vec![calls] }
    }

    /// All calls, part by part.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.parts.iter().flatten()
    }

    /// Names of the graph's nodes that the step computes, in the order of their first calls.
    pub fn nodes(&self) -> Vec<&str> {
        let mut nodes: Vec<&str> = Vec::new();
        for call in self.calls() {
            // The calls of a node are neighbours, so the last names are the likely ones.
            if !nodes.iter().rev().any(|&node| node == call.node) {
                nodes.push(&call.node);
            }
        }
        nodes
    }

    /// One name for messages and profiles.
    pub fn name(&self) -> String {
        self.nodes().join(" + ")
    }
}

/// Where the temporaries are in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// Offset in bytes of each temporary, a multiple of [`ALIGNMENT`].
    pub offsets: Vec<usize>,
    /// Size of the arena in bytes.
    pub bytes: usize,
    /// Largest sum of the temporaries that are live during one step: no plan can be smaller.
    pub lower_bound: usize,
}

/// A compiled network before machine code.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the network.
    pub name: String,
    /// Inputs; at their largest where sizes are given at the call.
    pub inputs: Vec<Port>,
    /// Outputs; at their largest where sizes are given at the call.
    pub outputs: Vec<Port>,
    /// Sizes that are given at the call, if there are any.
    pub sizes: Option<Sizes>,
    /// Kernels, no two of them the same code.
    pub kernels: Vec<Kernel>,
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// Which of them do not run exactly once.
    pub controls: Vec<Control>,
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
    #[error("step {step}, node '{node}': {problem}")]
    Call {
        /// Number of the step.
        step: usize,
        /// The call's node.
        node: String,
        /// What is wrong.
        problem: String,
    },
    /// The structure of branches and loops is not; the text says why.
    #[error("branches and loops: {0}")]
    Control(String),
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

    /// Bytes of the arena that the steps of a case touch; of a program without cases, of all steps.
    pub fn arena_bytes(&self, case: usize) -> usize {
        let Some(plan) = &self.plan else { return 0 };
        let switch = self.controls.first().and_then(|control| match control {
            Control::Switch { cases } => cases.get(case).cloned(),
            _ => None,
        });
        let Some(steps) = switch else { return plan.bytes };
        let used = self.steps[steps].iter().flat_map(Step::calls).flat_map(|call| &call.arguments);
        let ends = used.filter_map(|argument| match argument.storage {
            Storage::Temporary(number) => Some(plan.offsets[number] + self.temporaries[number]),
            _ => None,
        });
        ends.max().unwrap_or(0).next_multiple_of(ALIGNMENT).min(plan.bytes)
    }

    /// All calls, in the order in which one thread runs them.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flat_map(Step::calls)
    }
}
