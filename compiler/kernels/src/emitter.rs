//! What a generator produces: kernels, calls of them, packed constants and scratch memory, in terms of its own node.

use avocet_ir::kernel::Kernel;
use avocet_ir::tensor::TensorData;

/// Memory that a call of a generator works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// An input of the node, by number.
    Input(usize),
    /// The node's result.
    Output,
    /// A constant made with [`Emitter::constant`].
    Constant(usize),
    /// Scratch made with [`Emitter::scratch`].
    Scratch(usize),
}

/// One call of one kernel.
#[derive(Clone, Debug)]
pub(crate) struct EmittedCall {
    pub(crate) kernel: Kernel,
    /// One for each buffer: the memory and the offset in bytes.
    pub(crate) arguments: Vec<(Operand, usize)>,
    /// Pairs (read argument, written argument) that may be the same memory.
    pub(crate) in_place: Vec<(usize, usize)>,
}

/// Collects what one generator emits.
#[derive(Debug, Default)]
pub struct Emitter {
    pub(crate) calls: Vec<EmittedCall>,
    pub(crate) constants: Vec<TensorData>,
    pub(crate) scratch: Vec<usize>,
    /// Numbers of the scratch that calls which run at the same time can't share.
    pub(crate) private: Vec<usize>,
    /// Numbers of the calls that come after a barrier.
    pub(crate) barriers: Vec<usize>,
}

impl Emitter {
    /// Adds constant data, packed as the kernel reads it.
    pub fn constant(&mut self, data: TensorData) -> Operand {
        self.constants.push(data);
        Operand::Constant(self.constants.len() - 1)
    }

    /// Adds memory of this many bytes that lives as long as the node's calls use it.
    pub fn scratch(&mut self, bytes: usize) -> Operand {
        self.scratch.push(bytes);
        Operand::Scratch(self.scratch.len() - 1)
    }

    /// The same, for calls that leave nothing there for others: when they are dealt out to parts, each part has its own.
    pub(crate) fn private_scratch(&mut self, bytes: usize) -> Operand {
        self.private.push(self.scratch.len());
        self.scratch(bytes)
    }

    /// What is called from here on needs what was called before. Generators whose calls may run at the same time put one
    /// wherever that is not so.
    pub(crate) fn barrier(&mut self) {
        self.barriers.push(self.calls.len());
    }

    /// Calls a kernel on whole operands, one for each of its buffers.
    pub fn call(&mut self, kernel: Kernel, operands: &[Operand]) {
        self.call_at(kernel, operands.iter().map(|&operand| (operand, 0)).collect(), Vec::new());
    }

    /// Calls a kernel on operands at offsets in bytes; `in_place` lists pairs (read argument, written argument) which
    /// may be the same memory, because the kernel reads each element before it writes the same one and never again.
    pub fn call_at(
        &mut self,
        kernel: Kernel,
        arguments: Vec<(Operand, usize)>,
        in_place: Vec<(usize, usize)>,
    ) {
        self.calls.push(EmittedCall { kernel, arguments, in_place });
    }
}
