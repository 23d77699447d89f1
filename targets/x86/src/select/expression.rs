//! Expressions to instructions.

use avocet_ir::kernel::{
    BinaryOp, Element, Expression, Horizontal, Literal, Permutation, Predicate, UnaryOp, ValueId, ValueType,
};
use regalloc2::VReg;

use super::memory::Place;
use super::{LoadKind, Location, Selector};
use crate::instruction::{Base, Bits, Memory, Width};
use crate::table::Op;

const SIGN: u32 = 1 << 31;

/// Immediate operands of comparisons: floats, where NaN compares as the kernel IR has it, and integers.
const fn comparison(predicate: Predicate) -> (u8, u8) {
    match predicate {
        Predicate::Less => (0x11, 1),
        Predicate::LessEqual => (0x12, 2),
        Predicate::Equal => (0x00, 0),
        Predicate::NotEqual => (0x04, 4),
    }
}
/// Comparisons that conversions need: not less; NaN on either side.
const NOT_LESS: u8 = 0x1d;
const UNORDERED: u8 = 0x03;
const ORDERED: u8 = 0x07;

impl Selector<'_> {
    /// Where the value of an expression is.
    pub(super) fn expression(&mut self, value: ValueId, expression: &Expression) -> Result<Location, String> {
        let ty = self.kernel.ty(value);
        let wide = self.width(ty)?;
        let register = match expression {
            Expression::Constant(Literal::F32(bits)) => return Ok(Location::Constant(*bits)),
            Expression::Constant(Literal::I32(number)) => return Ok(Location::Constant(*number as u32)),
            Expression::Constant(Literal::I64(_)) => return Err("64-bit constants".into()),
            Expression::Load { address, valid } => {
                let place = self.place(address)?;
                if *valid == wide.lanes() && self.uses[value.0] == 1 {
                    return Ok(self.wait(value, place, LoadKind::Whole));
                }
                self.load(place, *valid)?
            }
            Expression::LoadBroadcast(address) => {
                let place = self.place(address)?;
                if self.level.avx512 && ty.lanes == wide.lanes() && self.uses[value.0] == 1 {
                    return Ok(self.wait(value, place, LoadKind::Broadcast));
                }
                self.load_broadcast(place, ty)?
            }
            Expression::LoadAt(..) => return Err("loads of computed indices".into()),
            Expression::Splat(scalar) => match self.values[scalar.0] {
                Some(Location::Constant(bits)) => return Ok(Location::Constant(bits)),
                _ => {
                    let scalar = self.value(*scalar)?;
                    self.vector((Op::Splat, wide), &[scalar], None)
                }
            },
            Expression::Permute(permutation, a) => self.permute(*permutation, *a, ty, wide)?,
            Expression::Unary(op, a) => self.unary(*op, *a, ty, wide)?,
            Expression::Binary(op, a, b) => self.binary(*op, *a, *b, ty, wide)?,
            Expression::MulAdd(a, b, c) => self.mul_add(*a, *b, *c, wide)?,
            Expression::Select { predicate, left, right, then, otherwise } => {
                let compared = self.kernel.ty(*left).element;
                let compare = (*predicate, *left, *right);
                self.select(compare, compared, *then, *otherwise, wide)?
            }
            Expression::Convert(a) => self.convert(*a, ty, wide)?,
            Expression::Bitcast(a) => match self.values[a.0] {
                Some(Location::Constant(bits)) => return Ok(Location::Constant(bits)),
                _ => self.value(*a)?,
            },
            Expression::Reduce(horizontal, a) => self.reduce(*horizontal, *a)?,
        };
        Ok(Location::Register(register))
    }

    /// Leaves a load to its use.
    fn wait(&mut self, value: ValueId, place: Place, kind: LoadKind) -> Location {
        self.pending.push(value);
        Location::Pending(place, kind)
    }

    fn permute(
        &mut self,
        permutation: Permutation,
        a: ValueId,
        ty: ValueType,
        wide: Width,
    ) -> Result<VReg, String> {
        let lane = |i: usize| permutation.source(i);
        // The same within each 128 bits, as far as there are lanes.
        let within = (0..ty.lanes).all(|i| lane(i) == i / 4 * 4 + lane(i % 4) && lane(i % 4) < 4);
        if within {
            let immediate = (0..ty.lanes.min(4)).fold(0, |bits, i| bits | (lane(i) as u8) << (2 * i));
            return Ok(match self.memory_operand(a, wide) {
                Some(place) => {
                    self.vector_with((Op::PermuteQuads, wide), &[], Some(place), Some(immediate), None)
                }
                None => {
                    let a = self.value(a)?;
                    self.vector_immediate((Op::PermuteQuads, wide), &[a], immediate)
                }
            });
        }
        let number = self.constant(Bits::Lanes(permutation), wide.lanes());
        let memory = Memory { base: Base::Constant(number), displacement: 0, broadcast: false };
        let lanes = self.vector((Op::Load, wide), &[], Some(Place { memory, register: None }));
        if let Some(place) = self.memory_operand(a, wide) {
            return Ok(self.vector((Op::Permute, wide), &[lanes], Some(place)));
        }
        let a = self.value(a)?;
        Ok(self.vector((Op::Permute, wide), &[lanes, a], None))
    }

    fn unary(&mut self, op: UnaryOp, a: ValueId, ty: ValueType, wide: Width) -> Result<VReg, String> {
        let float = ty.element == Element::F32;
        let a = self.value(a)?;
        Ok(match op {
            UnaryOp::Neg if float => {
                let sign = self.constant_place(SIGN, wide);
                self.vector((Op::Xor, wide), &[a], Some(sign))
            }
            UnaryOp::Abs if float => {
                let others = self.constant_place(!SIGN, wide);
                self.vector((Op::And, wide), &[a], Some(others))
            }
            UnaryOp::Neg => {
                let zero = self.zero();
                self.vector((Op::SubInt, wide), &[zero, a], None)
            }
            UnaryOp::Abs => self.vector((Op::AbsInt, wide), &[a], None),
            UnaryOp::Sqrt => self.vector((Op::Sqrt, wide), &[a], None),
            // Without a precision exception.
            UnaryOp::Round => self.vector_immediate((Op::Round, wide), &[a], 8),
            UnaryOp::Floor => self.vector_immediate((Op::Round, wide), &[a], 9),
            UnaryOp::Ceil => self.vector_immediate((Op::Round, wide), &[a], 10),
        })
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        a: ValueId,
        b: ValueId,
        ty: ValueType,
        wide: Width,
    ) -> Result<VReg, String> {
        let float = ty.element == Element::F32;
        let (instruction, commutes) = match op {
            BinaryOp::Add if float => (Op::Add, true),
            BinaryOp::Sub if float => (Op::Sub, false),
            BinaryOp::Mul if float => (Op::Mul, true),
            BinaryOp::Add => (Op::AddInt, true),
            BinaryOp::Sub => (Op::SubInt, false),
            BinaryOp::Mul => (Op::MulInt, true),
            BinaryOp::Div if float => (Op::Div, false),
            BinaryOp::Div | BinaryOp::Rem => return Err(format!("division of {}", ty.element)),
            // Not commutative: the second operand is the result when either is NaN.
            BinaryOp::Min => (Op::Min, false),
            BinaryOp::Max => (Op::Max, false),
            BinaryOp::And => (Op::And, true),
            BinaryOp::Or => (Op::Or, true),
            BinaryOp::Xor => (Op::Xor, true),
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight => return self.shift(op, a, b, wide),
        };
        if let Some(place) = self.memory_operand(b, wide) {
            let a = self.value(a)?;
            return Ok(self.vector((instruction, wide), &[a], Some(place)));
        }
        let b = self.value(b)?;
        match self.memory_operand(a, wide).filter(|_| commutes) {
            Some(place) => Ok(self.vector((instruction, wide), &[b], Some(place))),
            None => {
                let a = self.value(a)?;
                Ok(self.vector((instruction, wide), &[a, b], None))
            }
        }
    }

    fn shift(&mut self, op: BinaryOp, a: ValueId, b: ValueId, wide: Width) -> Result<VReg, String> {
        let left = op == BinaryOp::ShiftLeft;
        if let Some(Location::Constant(amount @ 0..32)) = self.values[b.0] {
            let a = self.value(a)?;
            let op = if left { Op::ShiftLeft } else { Op::ShiftRight };
            return Ok(self.vector_immediate((op, wide), &[a], amount as u8));
        }
        let (a, b) = (self.value(a)?, self.value(b)?);
        // The amount is read as 64 bits, of which the upper half would be lane 1.
        let amount = self.vector((Op::LowLane, Width::X), &[b], None);
        let op = if left { Op::ShiftLeftBy } else { Op::ShiftRightBy };
        Ok(self.vector((op, wide), &[a, amount], None))
    }

    /// `a * b + c`: one operand may be in memory, another is replaced by the result. That is `c` where it is not needed
    /// any more, as in sums, and a factor otherwise, as in polynomials.
    fn mul_add(&mut self, a: ValueId, b: ValueId, c: ValueId, wide: Width) -> Result<VReg, String> {
        // A zero costs no execution, so a sum that starts at one is a sum.
        let sum = match self.values[c.0] {
            Some(Location::Register(_)) => self.uses[c.0] == 1,
            Some(Location::Constant(bits)) => bits == 0,
            _ => false,
        };
        if sum {
            let c = self.value(c)?;
            for (memory, register) in [(b, a), (a, b)] {
                if let Some(place) = self.memory_operand(memory, wide) {
                    let register = self.value(register)?;
                    return Ok(self.in_place((Op::MulAdd231, wide), &[c, register], Some(place)));
                }
            }
            let (a, b) = (self.value(a)?, self.value(b)?);
            return Ok(self.in_place((Op::MulAdd231, wide), &[c, a, b], None));
        }
        let (factor, other) = if self.uses[b.0] == 1 && self.uses[a.0] != 1 { (b, a) } else { (a, b) };
        let (factor, other) = (self.value(factor)?, self.value(other)?);
        if let Some(place) = self.memory_operand(c, wide) {
            return Ok(self.in_place((Op::MulAdd213, wide), &[factor, other], Some(place)));
        }
        let c = self.value(c)?;
        Ok(self.in_place((Op::MulAdd213, wide), &[factor, other, c], None))
    }

    fn select(
        &mut self,
        (predicate, left, right): (Predicate, ValueId, ValueId),
        compared: Element,
        then: ValueId,
        otherwise: ValueId,
        wide: Width,
    ) -> Result<VReg, String> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        let (then, otherwise) = (self.value(then)?, self.value(otherwise)?);
        let (float, integer) = comparison(predicate);
        if self.level.avx512 {
            let (op, immediate) = match compared {
                Element::F32 => (Op::CompareMask, float),
                _ => (Op::CompareIntMask, integer),
            };
            return Ok(self.select_by_mask((op, immediate), (left, right), (then, otherwise), wide));
        }
        if compared == Element::F32 {
            let mask = self.vector_immediate((Op::Compare, wide), &[left, right], float);
            return Ok(self.vector((Op::Select, wide), &[otherwise, then, mask], None));
        }
        // Integers have only "greater" and "equal"; the other two are their opposites.
        let (op, operands, holds) = match predicate {
            Predicate::Less => (Op::GreaterInt, [right, left], true),
            Predicate::LessEqual => (Op::GreaterInt, [left, right], false),
            Predicate::Equal => (Op::EqualInt, [left, right], true),
            Predicate::NotEqual => (Op::EqualInt, [left, right], false),
        };
        let mask = self.vector((op, wide), &operands, None);
        let (then, otherwise) = if holds { (then, otherwise) } else { (otherwise, then) };
        Ok(self.vector((Op::Select, wide), &[otherwise, then, mask], None))
    }

    /// Comparison into the mask register and selection by it, one after the other.
    fn select_by_mask(
        &mut self,
        (op, immediate): (Op, u8),
        (left, right): (VReg, VReg),
        (then, otherwise): (VReg, VReg),
        wide: Width,
    ) -> VReg {
        self.effect((op, wide), &[left, right], None, Some(immediate), None);
        self.vector((Op::SelectMask, wide), &[otherwise, then], None)
    }

    fn convert(&mut self, a: ValueId, ty: ValueType, wide: Width) -> Result<VReg, String> {
        match (self.kernel.ty(a).element, ty.element) {
            (Element::I32, Element::F32) => {
                let a = self.value(a)?;
                Ok(self.vector((Op::FromInt, wide), &[a], None))
            }
            (Element::F32, Element::I32) => {
                let a = self.value(a)?;
                Ok(self.truncate(a, wide))
            }
            (from, to) => Err(format!("conversions from {from} to {to}")),
        }
    }

    /// Truncation that saturates and takes NaN to 0. The instruction gives the smallest integer for all that is out of
    /// range, which is wrong for what is too large, and for NaN.
    fn truncate(&mut self, a: VReg, wide: Width) -> VReg {
        let raw = self.vector((Op::TruncateToInt, wide), &[a], None);
        let limit = self.constant_place(2_147_483_648f32.to_bits(), wide);
        if self.level.avx512 {
            self.effect((Op::CompareMask, wide), &[a], Some(limit), Some(NOT_LESS), None);
            let largest = self.constant_place(!SIGN, wide);
            let saturated = self.vector((Op::SelectMask, wide), &[raw], Some(largest));
            let zero = self.zero();
            return self.select_by_mask((Op::CompareMask, UNORDERED), (a, a), (zero, saturated), wide);
        }
        // The smallest integer with all bits flipped is the largest.
        let above = self.vector_with((Op::Compare, wide), &[a], Some(limit), Some(NOT_LESS), None);
        let saturated = self.vector((Op::Xor, wide), &[raw, above], None);
        let number = self.vector_immediate((Op::Compare, wide), &[a, a], ORDERED);
        self.vector((Op::And, wide), &[saturated, number], None)
    }

    /// Halves until one lane is left.
    fn reduce(&mut self, horizontal: Horizontal, a: ValueId) -> Result<VReg, String> {
        let ty = self.kernel.ty(a);
        let op = match (horizontal, ty.element) {
            (Horizontal::Add, Element::F32) => Op::Add,
            (Horizontal::Max, Element::F32) => Op::Max,
            (Horizontal::Min, Element::F32) => Op::Min,
            (Horizontal::Add, Element::I32) => Op::AddInt,
            _ => return Err(format!("this reduction of {ty}")),
        };
        let mut sum = self.value(a)?;
        let mut lanes = ty.lanes;
        while lanes > 1 {
            let upper = match lanes {
                16 => self.vector_immediate((Op::UpperOfZ, Width::Z), &[sum], 1),
                8 => self.vector_immediate((Op::UpperOfY, Width::Y), &[sum], 1),
                4 => self.vector((Op::UpperTwo, Width::X), &[sum, sum], None),
                _ => self.vector((Op::OddLanes, Width::X), &[sum], None),
            };
            lanes /= 2;
            let half = Width::of_lanes(lanes).unwrap_or(Width::X);
            sum = self.vector((op, half), &[sum, upper], None);
        }
        Ok(sum)
    }
}
