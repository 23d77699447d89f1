//! Expressions of the kernel IR as Cranelift instructions.
//!
//! Nothing here may become a call to a library: what the target has no instruction for is written out.

use avocet_ir::kernel::{BinaryOp, Element, Expression, Literal, Permutation, Predicate, UnaryOp, ValueType};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::immediates::Ieee32;
use cranelift_codegen::ir::{Endianness, InstBuilder, MemFlagsData as MemFlags, Type, Value, types};

use crate::translate::{Translator, clif_type, memory_flags};

/// From here on every f32 is a whole number.
const WHOLE: f32 = 8_388_608.0;

impl Translator<'_, '_> {
    /// The value of an expression of this type.
    pub(crate) fn expression(&mut self, ty: ValueType, expression: &Expression) -> Result<Value, String> {
        let clif = clif_type(ty, self.capabilities.vectors)?;
        Ok(match expression {
            Expression::Constant(literal) => self.literal(ty, clif, *literal),
            Expression::Load { address, valid } => self.load(ty, clif, address, *valid)?,
            Expression::LoadBroadcast(address) => {
                let (pointer, offset) = self.place(address)?;
                let scalar = self.builder.ins().load(clif.lane_type(), memory_flags(), pointer, offset);
                self.splat(clif, scalar)
            }
            Expression::LoadAt(buffer, index) => {
                let pointer = self.place_at(*buffer, *index)?;
                self.builder.ins().load(clif, memory_flags(), pointer, 0)
            }
            Expression::Splat(scalar) => {
                let scalar = self.value(*scalar)?;
                self.splat(clif, scalar)
            }
            Expression::Permute(permutation, a) => {
                let a = self.value(*a)?;
                if ty.lanes == 1 { a } else { self.permute(ty, *permutation, a)? }
            }
            Expression::Unary(op, a) => {
                let a = self.value(*a)?;
                self.unary(clif, *op, a)
            }
            Expression::Binary(op, a, b) => {
                let (a, b) = (self.value(*a)?, self.value(*b)?);
                self.binary(clif, *op, a, b)
            }
            Expression::MulAdd(a, b, c) => {
                let (a, b, c) = (self.value(*a)?, self.value(*b)?, self.value(*c)?);
                if self.capabilities.fma {
                    self.builder.ins().fma(a, b, c)
                } else {
                    // The sum first: x86 writes results over first operands, and the sum's register is to stay the same.
                    let product = self.builder.ins().fmul(a, b);
                    self.builder.ins().fadd(c, product)
                }
            }
            Expression::Select { predicate, left, right, then, otherwise } => {
                let float = self.kernel.ty(*left).element == Element::F32;
                let (left, right) = (self.value(*left)?, self.value(*right)?);
                let (then, otherwise) = (self.value(*then)?, self.value(*otherwise)?);
                let holds = self.compare(*predicate, float, left, right);
                self.choose(clif, holds, then, otherwise)
            }
            Expression::Convert(a) => {
                let from = self.kernel.ty(*a).element;
                let a = self.value(*a)?;
                match (from, ty.element) {
                    (Element::F32, Element::I32 | Element::I64) => {
                        self.builder.ins().fcvt_to_sint_sat(clif, a)
                    }
                    (Element::I32 | Element::I64, Element::F32) => self.builder.ins().fcvt_from_sint(clif, a),
                    (Element::U8 | Element::U16, Element::I32) | (Element::U32, Element::I64) => {
                        self.builder.ins().uextend(clif, a)
                    }
                    (Element::I8 | Element::I16, Element::I32) | (Element::I32, Element::I64) => {
                        self.builder.ins().sextend(clif, a)
                    }
                    (Element::I64, Element::I32) => self.builder.ins().ireduce(clif, a),
                    (from, to) if to.wider() == Some(from) => self.builder.ins().ireduce(clif, a),
                    (from, to) => return Err(format!("no conversion from {from} to {to}")),
                }
            }
            Expression::Bitcast(a) => {
                let a = self.value(*a)?;
                self.bitcast(clif, a)
            }
            Expression::Reduce(horizontal, a) => {
                let lanes = self.kernel.ty(*a).lanes;
                let a = self.value(*a)?;
                self.reduce(*horizontal, lanes, clif, a)
            }
        })
    }

    fn literal(&mut self, ty: ValueType, clif: Type, literal: Literal) -> Value {
        let scalar = match literal {
            Literal::F32(bits) => self.builder.ins().f32const(Ieee32::with_bits(bits)),
            Literal::I32(v) => self.builder.ins().iconst(types::I32, i64::from(v)),
            Literal::I64(v) => self.builder.ins().iconst(types::I64, v),
        };
        if ty.lanes == 1 { scalar } else { self.splat(clif, scalar) }
    }

    fn splat(&mut self, clif: Type, scalar: Value) -> Value {
        if clif.is_vector() { self.builder.ins().splat(clif, scalar) } else { scalar }
    }

    /// A shuffle of bytes: Cranelift's only one.
    fn permute(&mut self, ty: ValueType, permutation: Permutation, a: Value) -> Result<Value, String> {
        let clif = clif_type(ty, self.capabilities.vectors)?;
        if clif.bytes() != 16 {
            // Lane by lane.
            let mut result = a;
            for lane in 0..ty.lanes {
                let one = self.builder.ins().extractlane(a, permutation.source(lane) as u8);
                result = self.builder.ins().insertlane(result, one, lane as u8);
            }
            return Ok(result);
        }
        let bytes = self.bitcast(types::I8X16, a);
        let mask: Vec<u8> = (0..16).map(|byte| (permutation.source(byte / 4) * 4 + byte % 4) as u8).collect();
        let mask = self.builder.func.dfg.immediates.push(mask.into());
        let shuffled = self.builder.ins().shuffle(bytes, bytes, mask);
        Ok(self.bitcast(clif, shuffled))
    }

    pub(crate) fn bitcast(&mut self, clif: Type, a: Value) -> Value {
        if self.builder.func.dfg.value_type(a) == clif {
            return a;
        }
        let flags = MemFlags::new().with_endianness(Endianness::Little);
        self.builder.ins().bitcast(clif, flags, a)
    }

    fn unary(&mut self, clif: Type, op: UnaryOp, a: Value) -> Value {
        let float = clif.lane_type() == types::F32;
        match op {
            UnaryOp::Neg if float => self.builder.ins().fneg(a),
            UnaryOp::Neg => self.builder.ins().ineg(a),
            UnaryOp::Abs if float => self.builder.ins().fabs(a),
            UnaryOp::Abs => self.builder.ins().iabs(a),
            UnaryOp::Sqrt => self.builder.ins().sqrt(a),
            UnaryOp::Floor if self.capabilities.round => self.builder.ins().floor(a),
            UnaryOp::Ceil if self.capabilities.round => self.builder.ins().ceil(a),
            UnaryOp::Round if self.capabilities.round => self.builder.ins().nearest(a),
            UnaryOp::Floor => {
                let rounded = self.round(clif, a);
                let one = self.f32(clif, 1.0);
                let above = self.compare(Predicate::Less, true, a, rounded);
                let lower = self.builder.ins().fsub(rounded, one);
                self.choose(clif, above, lower, rounded)
            }
            UnaryOp::Ceil => {
                // ceil(x) = -floor(-x), which also keeps the sign of zero.
                let negative = self.builder.ins().fneg(a);
                let floor = self.unary(clif, UnaryOp::Floor, negative);
                self.builder.ins().fneg(floor)
            }
            UnaryOp::Round => self.round(clif, a),
        }
    }

    /// Rounding to the nearest whole number, ties to even, without an instruction for it: adding and subtracting 2^23
    /// rounds in the addition. The sign is put back for zeros; large values, infinities and NaN stay as they are.
    fn round(&mut self, clif: Type, a: Value) -> Value {
        let whole = self.f32(clif, WHOLE);
        let size = self.builder.ins().fabs(a);
        let sum = self.builder.ins().fadd(size, whole);
        let rounded = self.builder.ins().fsub(sum, whole);
        let signed = self.with_sign_of(clif, rounded, a);
        let small = self.compare(Predicate::Less, true, size, whole);
        self.choose(clif, small, signed, a)
    }

    /// A value that is not negative with the sign of another.
    fn with_sign_of(&mut self, clif: Type, value: Value, signed: Value) -> Value {
        let integer = if clif.is_vector() { types::I32X4 } else { types::I32 };
        let sign = self.builder.ins().iconst(types::I32, 1 << 31);
        let sign = self.splat(integer, sign);
        let (value, signed) = (self.bitcast(integer, value), self.bitcast(integer, signed));
        let sign = self.builder.ins().band(signed, sign);
        let value = self.builder.ins().bor(value, sign);
        self.bitcast(clif, value)
    }

    fn f32(&mut self, clif: Type, value: f32) -> Value {
        let scalar = self.builder.ins().f32const(Ieee32::with_bits(value.to_bits()));
        self.splat(clif, scalar)
    }

    pub(crate) fn binary(&mut self, clif: Type, op: BinaryOp, a: Value, b: Value) -> Value {
        let float = clif.lane_type() == types::F32;
        match op {
            BinaryOp::Add if float => self.builder.ins().fadd(a, b),
            BinaryOp::Sub if float => self.builder.ins().fsub(a, b),
            BinaryOp::Mul if float => self.builder.ins().fmul(a, b),
            BinaryOp::Add => self.builder.ins().iadd(a, b),
            BinaryOp::Sub => self.builder.ins().isub(a, b),
            BinaryOp::Mul => self.builder.ins().imul(a, b),
            BinaryOp::Div if float => self.builder.ins().fdiv(a, b),
            BinaryOp::Div | BinaryOp::Rem => self.divide(clif, op, a, b),
            // Cranelift finds minps and maxps in these.
            BinaryOp::Min => {
                let holds = self.compare(Predicate::Less, true, a, b);
                self.choose(clif, holds, a, b)
            }
            BinaryOp::Max => {
                let holds = self.compare(Predicate::Less, true, b, a);
                self.choose(clif, holds, a, b)
            }
            BinaryOp::And => self.builder.ins().band(a, b),
            BinaryOp::Or => self.builder.ins().bor(a, b),
            BinaryOp::Xor => self.builder.ins().bxor(a, b),
            BinaryOp::ShiftLeft | BinaryOp::ShiftRight => {
                // Cranelift shifts all lanes by one scalar amount; kernels shift by constants in all lanes.
                let amount = if clif.is_vector() { self.builder.ins().extractlane(b, 0) } else { b };
                match op {
                    BinaryOp::ShiftLeft => self.builder.ins().ishl(a, amount),
                    _ => self.builder.ins().sshr(a, amount),
                }
            }
        }
    }

    /// Division of integers. The instructions trap where a divisor is 0 or -1 below the smallest number, or may; those two
    /// divisors are replaced by 1 and the results put in.
    fn divide(&mut self, clif: Type, op: BinaryOp, a: Value, b: Value) -> Value {
        let (zero, one) = (self.builder.ins().iconst(clif, 0), self.builder.ins().iconst(clif, 1));
        let minus_one = self.builder.ins().iconst(clif, -1);
        let by_zero = self.compare(Predicate::Equal, false, b, zero);
        let by_minus_one = self.compare(Predicate::Equal, false, b, minus_one);
        let divisor = self.builder.ins().select(by_zero, one, b);
        let divisor = self.builder.ins().select(by_minus_one, one, divisor);
        let (result, negated) = match op {
            BinaryOp::Rem => (self.builder.ins().srem(a, divisor), zero),
            _ => (self.builder.ins().sdiv(a, divisor), self.builder.ins().ineg(a)),
        };
        let result = self.builder.ins().select(by_minus_one, negated, result);
        self.builder.ins().select(by_zero, zero, result)
    }

    fn compare(&mut self, predicate: Predicate, float: bool, a: Value, b: Value) -> Value {
        if float {
            let condition = match predicate {
                Predicate::Less => FloatCC::LessThan,
                Predicate::LessEqual => FloatCC::LessThanOrEqual,
                Predicate::Equal => FloatCC::Equal,
                Predicate::NotEqual => FloatCC::NotEqual,
            };
            self.builder.ins().fcmp(condition, a, b)
        } else {
            let condition = match predicate {
                Predicate::Less => IntCC::SignedLessThan,
                Predicate::LessEqual => IntCC::SignedLessThanOrEqual,
                Predicate::Equal => IntCC::Equal,
                Predicate::NotEqual => IntCC::NotEqual,
            };
            self.builder.ins().icmp(condition, a, b)
        }
    }

    fn choose(&mut self, clif: Type, holds: Value, then: Value, otherwise: Value) -> Value {
        if clif.is_vector() {
            let mask = self.bitcast(clif, holds);
            self.builder.ins().bitselect(mask, then, otherwise)
        } else {
            self.builder.ins().select(holds, then, otherwise)
        }
    }
}
