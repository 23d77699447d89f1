//! Instructions on virtual registers: what selection makes, register allocation reads and encoding writes down.

use avocet_ir::kernel::Permutation;
use regalloc2::{Block, Operand, VReg};

use crate::table::Op;

/// Width of the vector registers that an instruction names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Width {
    /// 128 bits; also for scalars, which are in lane 0.
    X,
    /// 256 bits.
    Y,
    /// 512 bits.
    Z,
}

impl Width {
    /// The narrowest that holds this many lanes of 32 bits.
    pub(crate) const fn of_lanes(lanes: usize) -> Option<Width> {
        match lanes {
            1..=4 => Some(Width::X),
            5..=8 => Some(Width::Y),
            9..=16 => Some(Width::Z),
            _ => None,
        }
    }

    /// Lanes of 32 bits.
    pub(crate) const fn lanes(self) -> usize {
        match self {
            Width::X => 4,
            Width::Y => 8,
            Width::Z => 16,
        }
    }
}

/// Where a memory operand is. A virtual base register is the instruction's last operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// The last operand.
    Register,
    /// The kernel's constants, by the number of the constant.
    Constant(usize),
    /// The caller's frame: argument of this number, which is not in a register.
    Argument(usize),
}

/// A memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) base: Base,
    pub(crate) displacement: i32,
    /// One element in all lanes (AVX-512).
    pub(crate) broadcast: bool,
}

/// What a block does at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Leaves the kernel.
    Return,
    /// Goes on in the successor with arguments for its parameters.
    Jump(Block, Vec<VReg>),
    /// Goes to the first when the flags of the `Decrement` before say that the count is not zero, else to the second.
    /// Neither has parameters.
    Repeat(Block, Block),
}

/// What an instruction does besides the vector operations in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A vector operation: operands are the result, the sources, then the base of the memory operand. A store has no
    /// result.
    Vector(Op, Width),
    /// Defines the pointers that come in registers.
    Arguments,
    /// 64-bit load of a pointer.
    LoadPointer,
    /// 64-bit constant.
    Constant(i64),
    /// Result = first source + constant, in place.
    AddConstant(i32),
    /// Result = first source + second source, in place.
    Add,
    /// A vector of zeros.
    Zero,
    /// Result = source - 1, in place; sets the flags.
    Decrement,
    /// The end of a block.
    Control(Control),
}

/// One instruction.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub(crate) kind: Kind,
    pub(crate) operands: Vec<Operand>,
    pub(crate) memory: Option<Memory>,
    pub(crate) immediate: Option<u8>,
    /// Lanes that a masked load or store touches.
    pub(crate) valid: Option<usize>,
}

/// A block: a range of instructions, the last of which is its control.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockData {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) parameters: Vec<VReg>,
    pub(crate) successors: Vec<Block>,
    pub(crate) predecessors: Vec<Block>,
    /// Whether it is the start of a loop.
    pub(crate) is_loop: bool,
}

/// A constant of the kernel: words of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constant {
    pub(crate) bits: Bits,
    pub(crate) lanes: usize,
}

/// The 32-bit words of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bits {
    /// The same in each lane.
    All(u32),
    /// All ones in so many lanes, then zeros: a mask for the masked moves of AVX2.
    FirstLanes(usize),
    /// The lanes that a permutation takes.
    Lanes(Permutation),
}

impl Bits {
    /// The word in a lane.
    pub(crate) const fn word(self, lane: usize) -> u32 {
        match self {
            Bits::All(bits) => bits,
            Bits::FirstLanes(valid) => {
                if lane < valid {
                    u32::MAX
                } else {
                    0
                }
            }
            Bits::Lanes(permutation) => permutation.source(lane) as u32,
        }
    }
}

/// A kernel on virtual registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    pub(crate) instructions: Vec<Inst>,
    /// In the order in which they are laid out; the first is the entry.
    pub(crate) blocks: Vec<BlockData>,
    pub(crate) registers: usize,
    pub(crate) constants: Vec<Constant>,
}
