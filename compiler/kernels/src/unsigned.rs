//! 64-bit integers without a sign, as 64-bit integers of the same bits.
//!
//! The kernel IR has signed integers only. Sums, products and bits are the same for both; here is the rest, in terms of signed
//! operations: order, division, shifts to the right, powers, and conversions from and to f32.

use avocet_ir::kernel::{BinaryOp, Element, KernelBuilder, Predicate, ValueId};
use avocet_ir::op::Binary;

use crate::scalars::{choose, truth};

/// The value whose place among signed integers is that of `x` among unsigned ones.
pub(crate) fn ordered(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let sign = b.i64(i64::MIN);
    b.binary(BinaryOp::Xor, x, sign)
}

/// `x >> amount`, zeros from the left; amounts from 0 to 63.
pub(crate) fn shift_right(b: &mut KernelBuilder, x: ValueId, amount: ValueId) -> ValueId {
    let shifted = b.binary(BinaryOp::ShiftRight, x, amount);
    // 2^(64 - amount) - 1, in two steps, since no amount is 64.
    let (one, most) = (b.i64(1), b.i64(63));
    let left = b.sub(most, amount);
    let mask = b.binary(BinaryOp::ShiftLeft, one, left);
    let mask = b.binary(BinaryOp::ShiftLeft, mask, one);
    let mask = b.sub(mask, one);
    b.binary(BinaryOp::And, shifted, mask)
}

/// The functions that are others than those of signed integers; none where they are the same.
pub(crate) fn binary(b: &mut KernelBuilder, function: Binary, x: ValueId, y: ValueId) -> Option<ValueId> {
    let (p, q) = (ordered(b, x), ordered(b, y));
    Some(match function {
        Binary::Min => b.select(Predicate::Less, (p, q), x, y),
        Binary::Max => b.select(Predicate::Less, (q, p), x, y),
        Binary::Div => divide(b, x, y).0,
        Binary::Rem | Binary::Mod => divide(b, x, y).1,
        Binary::Pow => power(b, x, y),
        _ => return None,
    })
}

/// Quotient and remainder; both 0 where the divisor is.
fn divide(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> (ValueId, ValueId) {
    let (zero, one) = (b.i64(0), b.i64(1));
    let (p, q) = (ordered(b, x), ordered(b, y));
    // A divisor of 2^63 or more goes into x once at most.
    let fits = b.select(Predicate::LessEqual, (q, p), one, zero);
    // Of others, half of x is divided as signed numbers are; the doubled quotient is right or one too small.
    let half = shift_right(b, x, one);
    let quotient = b.div(half, y);
    let quotient = b.binary(BinaryOp::ShiftLeft, quotient, one);
    let product = b.mul(quotient, y);
    let rest = b.sub(x, product);
    let rest = ordered(b, rest);
    let more = b.select(Predicate::LessEqual, (q, rest), one, zero);
    let quotient = b.add(quotient, more);
    let quotient = b.select(Predicate::Less, (y, zero), fits, quotient);
    let quotient = b.select(Predicate::Equal, (y, zero), zero, quotient);
    let product = b.mul(quotient, y);
    let rest = b.sub(x, product);
    let rest = b.select(Predicate::Equal, (y, zero), zero, rest);
    (quotient, rest)
}

/// `x^y` by squares.
fn power(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> ValueId {
    let (one, zero) = (b.i64(1), b.i64(0));
    b.repeat_carrying(64, &[one, x, y], |b, _, state| {
        let [result, base, exponent] = *state else { return state.to_vec() };
        let bit = b.binary(BinaryOp::And, exponent, one);
        let longer = b.mul(result, base);
        let result = b.select(Predicate::NotEqual, (bit, zero), longer, result);
        let base = b.mul(base, base);
        let exponent = shift_right(b, exponent, one);
        vec![result, base, exponent]
    })[0]
}

/// The nearest f32.
pub(crate) fn to_float(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (zero, one, two) = (b.i64(0), b.i64(1), b.f32(1, 2.0));
    let whole = b.convert(Element::F32, x);
    // Half of a large number, its last bit kept as one that decides ties, is converted and doubled.
    let half = shift_right(b, x, one);
    let last = b.binary(BinaryOp::And, x, one);
    let half = b.binary(BinaryOp::Or, half, last);
    let half = b.convert(Element::F32, half);
    let doubled = b.mul(half, two);
    let is_large = truth(b, Predicate::Less, (x, zero));
    choose(b, is_large, doubled, whole)
}

/// An f32 truncated and saturated; 0 of NaN.
pub(crate) fn from_float(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    // 2^63 and 2^64.
    let (half, end) = (b.f32(1, 9_223_372_036_854_775_808.0), b.f32(1, 18_446_744_073_709_551_616.0));
    let (zero, all) = (b.i64(0), b.i64(-1));
    let small = b.convert(Element::I64, x);
    let small = b.select(Predicate::Less, (small, zero), zero, small);
    let rest = b.sub(x, half);
    let large = b.convert(Element::I64, rest);
    let large = ordered(b, large);
    let is_large = truth(b, Predicate::LessEqual, (half, x));
    let value = choose(b, is_large, large, small);
    let is_beyond = truth(b, Predicate::LessEqual, (end, x));
    choose(b, is_beyond, all, value)
}
