//! The kernel IR: loop nests over vectors, the one language in which kernels are written.
//!
//! A [`Kernel`] works on typed buffers of static length. Its body is a list of statements: static loops with carried
//! values, definitions of SSA values, and stores. Every address is affine in the loop variables ([`Affine`]), so that
//! each access can be proven in bounds before any code exists ([`Kernel::verify`]); a tail is a load or store of fewer
//! lanes than the vector has (`valid`). The number of lanes is the schedule's choice, so a kernel is written once for
//! all vector lengths.
//!
//! Data decides an address in one way only: [`Expression::LoadAt`] and [`Statement::StoreAt`] take a computed index, clamped to
//! the buffer by definition, so that they are in bounds whatever it is.
//!
//! What never happens: no dynamic control flow, no call, no trap (integer division is total).

mod affine;
mod builder;
pub mod pointers;
mod text;
mod verify;

pub use affine::{Affine, Variable};
pub use builder::KernelBuilder;
pub use verify::KernelError;

use std::fmt;

/// Element type of values and buffers in kernels.
///
/// Kernels compute in f32, i32 and i64; the others are moved and converted, and nothing else ([`Element::wider`]). A 64-bit
/// integer without a sign is an i64 of the same bits, for which kernels choose other operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Element {
    /// IEEE 754 binary32.
    F32,
    /// 32-bit two's complement integer.
    I32,
    /// 64-bit two's complement integer.
    I64,
    /// Unsigned byte (images; booleans as 0 and 1).
    U8,
    /// 8-bit two's complement integer.
    I8,
    /// 16-bit two's complement integer.
    I16,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
}

impl Element {
    /// Size in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::I32 | Element::U32 => 4,
            Element::I64 => 8,
            Element::I16 | Element::U16 => 2,
            Element::U8 | Element::I8 => 1,
        }
    }

    /// The type that elements are converted to and from which kernels don't compute in; `None` of the others.
    pub const fn wider(self) -> Option<Element> {
        match self {
            Element::F32 | Element::I32 | Element::I64 => None,
            Element::U8 | Element::I8 | Element::I16 | Element::U16 => Some(Element::I32),
            Element::U32 => Some(Element::I64),
        }
    }
}

impl From<crate::tensor::DType> for Element {
    fn from(dtype: crate::tensor::DType) -> Self {
        use crate::tensor::DType;
        match dtype {
            DType::F32 => Element::F32,
            DType::I32 => Element::I32,
            DType::U32 => Element::U32,
            DType::I64 | DType::U64 => Element::I64,
            DType::Bool | DType::U8 => Element::U8,
            DType::I8 => Element::I8,
            DType::I16 => Element::I16,
            DType::U16 => Element::U16,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Element::F32 => "f32",
            Element::I32 => "i32",
            Element::I64 => "i64",
            Element::U8 => "u8",
            Element::I8 => "i8",
            Element::I16 => "i16",
            Element::U16 => "u16",
            Element::U32 => "u32",
        })
    }
}

/// Type of a value: a scalar (one lane) or a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Element type.
    pub element: Element,
    /// Number of lanes, a power of two; 1 is a scalar.
    pub lanes: usize,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            1 => write!(f, "{}", self.element),
            lanes => write!(f, "{}x{lanes}", self.element),
        }
    }
}

/// What a kernel may do with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Only loads.
    Read,
    /// Stores, and loads of what was stored before.
    Write,
}

/// A parameter of a kernel: a pointer to elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Name in text forms.
    pub name: String,
    /// Element type.
    pub element: Element,
    /// Number of elements.
    pub length: usize,
    /// Loads or stores.
    pub access: Access,
}

impl Buffer {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.length * self.element.bytes()
    }
}

/// Number of a buffer in [`Kernel::buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Number of a value in [`Kernel::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// An element of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The buffer.
    pub buffer: BufferId,
    /// Index of the element.
    pub index: Affine,
}

/// A constant by its bits, so that kernels can be compared and hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// Bits of an f32.
    F32(u32),
    /// An i32.
    I32(i32),
    /// An i64.
    I64(i64),
}

impl Literal {
    /// Element type.
    pub const fn element(self) -> Element {
        match self {
            Literal::F32(_) => Element::F32,
            Literal::I32(_) => Element::I32,
            Literal::I64(_) => Element::I64,
        }
    }
}

/// Function of one value, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-x`; flips the sign bit of floats.
    Neg,
    /// `|x|`; clears the sign bit of floats.
    Abs,
    /// Square root (floats).
    Sqrt,
    /// Largest integer not above (floats).
    Floor,
    /// Smallest integer not below (floats).
    Ceil,
    /// Nearest integer, ties to even (floats).
    Round,
}

/// Function of two values of the same type, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// Sum; integers wrap.
    Add,
    /// Difference; integers wrap.
    Sub,
    /// Product; integers wrap.
    Mul,
    /// Quotient. Of integers: towards zero; 0 where the divisor is 0; the smallest by -1 is itself.
    Div,
    /// What the quotient leaves (integers), of the dividend's sign; 0 where the divisor is 0.
    Rem,
    /// `a < b ? a : b` (floats): the second operand when either is NaN. One instruction on x86.
    Min,
    /// `a > b ? a : b` (floats): the second operand when either is NaN.
    Max,
    /// Bitwise and of integers.
    And,
    /// Bitwise or of integers.
    Or,
    /// Bitwise exclusive or of integers.
    Xor,
    /// Shift left of integers by the amount in lane 0 of the second operand: from 0 to the width less one.
    ShiftLeft,
    /// Arithmetic shift right of integers; amounts as for `ShiftLeft`.
    ShiftRight,
}

/// A comparison; all but `NotEqual` are false on NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessEqual,
    /// `a == b`.
    Equal,
    /// `a != b`: true on NaN, so `x != x` asks for NaN.
    NotEqual,
}

/// A horizontal reduction of a vector. The order of the lanes is that of a binary tree, so that every back end gives
/// the same bits: lanes `i` and `i + n/2` are joined until one is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Horizontal {
    /// Sum.
    Add,
    /// Largest, by [`BinaryOp::Max`].
    Max,
    /// Smallest, by [`BinaryOp::Min`].
    Min,
}

/// Which lane of its operand each lane of a permuted vector is: lane `i` is lane `(i + phase) / run * stride + first`. With a
/// run and a stride of 4 that is one lane of each four for all four; with a stride of 1, each lane `run` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permutation {
    /// Neighbouring lanes that are the same.
    pub run: usize,
    /// Distance from a run's lane to the next run's.
    pub stride: usize,
    /// The first run's lane.
    pub first: usize,
    /// Lanes that the first run is shorter by.
    pub phase: usize,
}

impl Permutation {
    /// The operand's lane in this lane of the result.
    pub const fn source(self, lane: usize) -> usize {
        (lane + self.phase) / self.run * self.stride + self.first
    }
}

/// What a value is defined as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// The same constant in each lane.
    Constant(Literal),
    /// `valid` consecutive elements; the lanes above are zero.
    Load {
        /// First element.
        address: Address,
        /// Elements read; from 1 to the number of lanes.
        valid: usize,
    },
    /// One element in all lanes.
    LoadBroadcast(Address),
    /// The element of a computed index, a 64-bit scalar: the first element for an index below 0, the last for one past the end.
    LoadAt(BufferId, ValueId),
    /// A scalar in all lanes.
    Splat(ValueId),
    /// The lanes of a value of 32-bit elements in another order, some of them several times, others not at all.
    Permute(Permutation, ValueId),
    /// Function of one value.
    Unary(UnaryOp, ValueId),
    /// Function of two values.
    Binary(BinaryOp, ValueId, ValueId),
    /// `a * b + c` of floats, with one rounding where the target has fused multiply-add and with two where not.
    MulAdd(ValueId, ValueId, ValueId),
    /// `then` where the comparison of `left` and `right` holds, else `otherwise`.
    Select {
        /// The comparison.
        predicate: Predicate,
        /// First operand of the comparison.
        left: ValueId,
        /// Second operand.
        right: ValueId,
        /// Result where it holds.
        then: ValueId,
        /// Result where not.
        otherwise: ValueId,
    },
    /// Conversion: f32 to i32 and i64 truncates and saturates with NaN as 0; i32 and i64 to f32 round to nearest even; i32 to i64,
    /// and others to their [`Element::wider`], extend by the sign, if they have one; i64 to i32, and back from the wider type,
    /// keep the low bits.
    Convert(ValueId),
    /// The same bits as another element type of the same size.
    Bitcast(ValueId),
    /// Reduction of the lanes to a scalar.
    Reduce(Horizontal, ValueId),
}

impl Expression {
    /// The values that it reads.
    pub fn operands(&self) -> Vec<ValueId> {
        match *self {
            Expression::Constant(_) | Expression::Load { .. } | Expression::LoadBroadcast(_) => Vec::new(),
            Expression::Splat(a)
            | Expression::LoadAt(_, a)
            | Expression::Permute(_, a)
            | Expression::Unary(_, a)
            | Expression::Convert(a)
            | Expression::Bitcast(a)
            | Expression::Reduce(_, a) => vec![a],
            Expression::Binary(_, a, b) => vec![a, b],
            Expression::MulAdd(a, b, c) => vec![a, b, c],
            Expression::Select { left, right, then, otherwise, .. } => vec![left, right, then, otherwise],
        }
    }
}

/// A value carried from one iteration of a loop to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Carried {
    /// The value inside the body.
    pub parameter: ValueId,
    /// Its value in the first iteration.
    pub initial: ValueId,
    /// Its value in the next iteration, defined in the body.
    pub next: ValueId,
    /// The value after the last iteration.
    pub result: ValueId,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// Defines a value.
    Let(ValueId, Expression),
    /// Stores the first `valid` lanes of a value to consecutive elements.
    Store {
        /// First element.
        address: Address,
        /// What is stored.
        value: ValueId,
        /// Elements written; from 1 to the number of lanes.
        valid: usize,
    },
    /// Stores a scalar to the element of a computed index, which is clamped as that of [`Expression::LoadAt`].
    StoreAt {
        /// The buffer.
        buffer: BufferId,
        /// The index, a 64-bit scalar.
        index: ValueId,
        /// What is stored.
        value: ValueId,
    },
    /// Runs the body with the variable at 0, 1, …, `count - 1`.
    For {
        /// The loop variable.
        variable: Variable,
        /// Number of iterations, at least 1.
        count: usize,
        /// Values carried between iterations.
        carried: Vec<Carried>,
        /// The body.
        body: Vec<Statement>,
    },
}

/// A kernel. Two kernels that differ in name only are the same code.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Name in text forms and in the symbol table.
    pub name: String,
    /// Parameters, in the order of the machine function's.
    pub buffers: Vec<Buffer>,
    /// Types of the values.
    pub values: Vec<ValueType>,
    /// The body.
    pub body: Vec<Statement>,
}

impl Kernel {
    /// Everything but the name, to find kernels that are the same code.
    pub fn code(&self) -> (&[Buffer], &[ValueType], &[Statement]) {
        (&self.buffers, &self.values, &self.body)
    }

    /// Type of a value.
    pub fn ty(&self, value: ValueId) -> ValueType {
        self.values[value.0]
    }
}

#[cfg(test)]
mod tests;
