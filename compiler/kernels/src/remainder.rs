//! Remainders of f32, exact.
//!
//! A quotient may have 277 digits, and only its last ones decide the remainder. So it is a long division of the operands' digits,
//! eleven digits of the quotient at a time: what is left is shifted, divided, and the multiple of the divisor taken off. The
//! divisor is split into two halves of twelve digits, by which the products with eleven digits, and what they leave, are exact,
//! with or without fused multiply-add.

use avocet_ir::kernel::{BinaryOp, Element, KernelBuilder, Predicate, UnaryOp, ValueId};

/// Digits of the quotient that one step finds.
const DIGITS: i32 = 11;
/// Steps of all digits that a quotient can have: exponents go from -149 to 127.
const STEPS: usize = 26;

/// A number from 1 to 2, and the exponent of two by which it is multiplied, of a number above 0.
fn parts(b: &mut KernelBuilder, x: ValueId) -> (ValueId, ValueId) {
    let lanes = b.ty(x).lanes;
    // Subnormal numbers are made normal ones first.
    let (least, more) = (b.f32(lanes, f32::MIN_POSITIVE), b.f32(lanes, 16_777_216.0));
    let larger = b.mul(x, more);
    let (zero, digits) = (b.i32(lanes, 0), b.i32(lanes, 24));
    let moved = b.select(Predicate::Less, (x, least), digits, zero);
    let x = b.select(Predicate::Less, (x, least), larger, x);
    let bits = b.bitcast(Element::I32, x);
    let (width, bias) = (b.i32(lanes, 23), b.i32(lanes, 127));
    let exponent = b.binary(BinaryOp::ShiftRight, bits, width);
    let exponent = b.sub(exponent, bias);
    let exponent = b.sub(exponent, moved);
    let (mask, one) = (b.i32(lanes, 0x007f_ffff), b.i32(lanes, 0x3f80_0000));
    let fraction = b.binary(BinaryOp::And, bits, mask);
    let fraction = b.binary(BinaryOp::Or, fraction, one);
    (b.bitcast(Element::F32, fraction), exponent)
}

/// Two to the power of an integer from -126 to 127.
fn power(b: &mut KernelBuilder, exponent: ValueId) -> ValueId {
    let lanes = b.ty(exponent).lanes;
    let (width, bias) = (b.i32(lanes, 23), b.i32(lanes, 127));
    let biased = b.add(exponent, bias);
    let bits = b.binary(BinaryOp::ShiftLeft, biased, width);
    b.bitcast(Element::F32, bits)
}

/// A number that is not negative with the sign of another.
fn with_sign(b: &mut KernelBuilder, size: ValueId, signed: ValueId) -> ValueId {
    let sign = b.i32(b.ty(size).lanes, i32::MIN);
    let (size, signed) = (b.bitcast(Element::I32, size), b.bitcast(Element::I32, signed));
    let sign = b.binary(BinaryOp::And, signed, sign);
    let bits = b.binary(BinaryOp::Or, size, sign);
    b.bitcast(Element::F32, bits)
}

/// What a quotient rounded towards zero leaves, of the dividend's sign, as C's `fmod`.
pub(crate) fn truncated(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let (size, divisor) = (b.unary(UnaryOp::Abs, x), b.unary(UnaryOp::Abs, y));
    let (left, left_exponent) = parts(b, size);
    let (by, exponent) = parts(b, divisor);
    // The first digit of the quotient.
    let less = b.sub(left, by);
    let left = b.select(Predicate::Less, (left, by), left, less);
    let digits = b.sub(left_exponent, exponent);
    let bits = b.bitcast(Element::I32, by);
    let mask = b.i32(lanes, -1 << 12);
    let high = b.binary(BinaryOp::And, bits, mask);
    let high = b.bitcast(Element::F32, high);
    let low = b.sub(by, high);
    let left = b.repeat_carrying(STEPS, &[left, digits], |b, _, state| {
        let [left, digits] = *state else { return state.to_vec() };
        let (none, most) = (b.i32(lanes, 0), b.i32(lanes, DIGITS));
        let now = b.select(Predicate::Less, (digits, most), digits, most);
        let now = b.select(Predicate::Less, (now, none), none, now);
        let shift = power(b, now);
        let shifted = b.mul(left, shift);
        let quotient = b.div(shifted, by);
        let quotient = b.unary(UnaryOp::Floor, quotient);
        let product = b.mul(quotient, high);
        let left = b.sub(shifted, product);
        let product = b.mul(quotient, low);
        let left = b.sub(left, product);
        // The division may have rounded up to the next whole number.
        let zero = b.f32(lanes, 0.0);
        let more = b.add(left, by);
        let left = b.select(Predicate::Less, (left, zero), more, left);
        vec![left, b.sub(digits, now)]
    })[0];
    // Scaled back in two steps, since the power alone may be too small for a normal number.
    let one = b.i32(lanes, 1);
    let half = b.binary(BinaryOp::ShiftRight, exponent, one);
    let rest = b.sub(exponent, half);
    let (half, rest) = (power(b, half), power(b, rest));
    let scaled = b.mul(left, half);
    let scaled = b.mul(scaled, rest);
    let scaled = with_sign(b, scaled, x);
    let value = b.select(Predicate::Less, (size, divisor), x, scaled);
    let (zero, infinity, nan) = (b.f32(lanes, 0.0), b.f32(lanes, f32::INFINITY), b.f32(lanes, f32::NAN));
    let value = b.select(Predicate::Less, (size, infinity), value, nan);
    b.select(Predicate::Less, (zero, divisor), value, nan)
}

/// What a quotient rounded down leaves, of the divisor's sign, as Python's `%`.
pub(crate) fn floored(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let rest = truncated(b, x, y);
    let (p, q) = (b.bitcast(Element::I32, rest), b.bitcast(Element::I32, y));
    let (signs, none, zero) = (b.binary(BinaryOp::Xor, p, q), b.i32(lanes, 0), b.f32(lanes, 0.0));
    let moved = b.add(rest, y);
    let moved = b.select(Predicate::Less, (signs, none), moved, rest);
    let nothing = with_sign(b, zero, y);
    b.select(Predicate::Equal, (rest, zero), nothing, moved)
}
