//! Trigonometric and hyperbolic functions as expansions in the kernel IR, as those in [`crate::math`].
//!
//! Polynomials are those of the Cephes library (S. Moshier). Relative errors against the exact value, measured by the tests over
//! dense samples: at most 1e-6; of sine, cosine and tangent for operands up to 8192 in size and where the result is not near
//! zero, since the operand is reduced by a multiple of pi/2 of 48 bits.

use avocet_ir::kernel::{BinaryOp, Element, KernelBuilder, Predicate, UnaryOp, ValueId};

use crate::math::{clip, exp, log, polynomial, scale, where_positive};

/// Sine and cosine of what is left of x after `n` quarters of the circle, and `n` as an integer.
fn reduced(b: &mut KernelBuilder, x: ValueId) -> (ValueId, ValueId, ValueId) {
    let lanes = b.ty(x).lanes;
    let n = scale(b, x, std::f32::consts::FRAC_2_PI);
    let n = b.unary(UnaryOp::Round, n);
    // pi/2 in three parts; products of n with the first two are exact.
    let mut r = x;
    for part in [-1.570_312_5, -4.837_513e-4, -7.549_79e-8] {
        let part = b.f32(lanes, part);
        r = b.mul_add(n, part, r);
    }
    // Of operands so large that nothing of the angle is left in them, any angle: results stay between -1 and 1.
    let r = clip(b, r, -1.0, 1.0);
    let z = b.mul(r, r);
    let p = polynomial(b, z, &[-1.951_529_6e-4, 8.332_161e-3, -1.666_665_5e-1]);
    let p = b.mul(p, z);
    let sine = b.mul_add(p, r, r);
    let cosine = polynomial(b, z, &[2.443_315_7e-5, -1.388_731_6e-3, 4.166_664_6e-2, -0.5, 1.0]);
    (sine, cosine, b.convert(Element::I32, n))
}

/// The sine of the reduced angle after so many quarters.
fn in_quadrant(b: &mut KernelBuilder, (sine, cosine): (ValueId, ValueId), quarters: ValueId) -> ValueId {
    let lanes = b.ty(sine).lanes;
    let (one, two, zero) = (b.i32(lanes, 1), b.i32(lanes, 2), b.i32(lanes, 0));
    let odd = b.binary(BinaryOp::And, quarters, one);
    let value = b.select(Predicate::Equal, (odd, zero), sine, cosine);
    let negative = b.binary(BinaryOp::And, quarters, two);
    let negated = b.unary(UnaryOp::Neg, value);
    b.select(Predicate::Equal, (negative, zero), value, negated)
}

pub(crate) fn sin(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (sine, cosine, quarters) = reduced(b, x);
    in_quadrant(b, (sine, cosine), quarters)
}

pub(crate) fn cos(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (sine, cosine, quarters) = reduced(b, x);
    let one = b.i32(b.ty(x).lanes, 1);
    let quarters = b.add(quarters, one);
    in_quadrant(b, (sine, cosine), quarters)
}

pub(crate) fn tan(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (sine, cosine, quarters) = reduced(b, x);
    let one = b.i32(b.ty(x).lanes, 1);
    let next = b.add(quarters, one);
    let (sine, cosine) = (in_quadrant(b, (sine, cosine), quarters), in_quadrant(b, (sine, cosine), next));
    b.div(sine, cosine)
}

/// The value, which belongs to the size of x, with the sign of x.
fn with_sign(b: &mut KernelBuilder, x: ValueId, value: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let bits = b.bitcast(Element::I32, x);
    let sign = b.i32(lanes, i32::MIN);
    let sign = b.binary(BinaryOp::And, bits, sign);
    let value = b.bitcast(Element::I32, value);
    let value = b.binary(BinaryOp::Xor, value, sign);
    b.bitcast(Element::F32, value)
}

/// By one of three quotients, so that the polynomial's operand is at most tan(pi/8).
pub(crate) fn atan(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let size = b.unary(UnaryOp::Abs, x);
    let (one, zero) = (b.f32(lanes, 1.0), b.f32(lanes, 0.0));
    let (low, high) = (b.f32(lanes, 0.414_213_57), b.f32(lanes, 2.414_213_7));
    let inverse = b.div(one, size);
    let inverse = b.unary(UnaryOp::Neg, inverse);
    let (below, above) = (b.sub(size, one), b.add(size, one));
    let middle = b.div(below, above);
    let quarter = b.f32(lanes, std::f32::consts::FRAC_PI_4);
    let half = b.f32(lanes, std::f32::consts::FRAC_PI_2);
    let r = b.select(Predicate::Less, (low, size), middle, size);
    let r = b.select(Predicate::Less, (high, size), inverse, r);
    let start = b.select(Predicate::Less, (low, size), quarter, zero);
    let start = b.select(Predicate::Less, (high, size), half, start);
    let z = b.mul(r, r);
    let p = polynomial(b, z, &[8.053_745e-2, -1.387_768_6e-1, 1.997_771e-1, -3.333_295e-1]);
    let p = b.mul(p, z);
    let p = b.mul_add(p, r, r);
    let value = b.add(start, p);
    with_sign(b, x, value)
}

/// `atan(x / sqrt((1 - x) (1 + x)))`.
pub(crate) fn asin(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let one = b.f32(b.ty(x).lanes, 1.0);
    let (below, above) = (b.sub(one, x), b.add(one, x));
    let product = b.mul(below, above);
    let root = b.unary(UnaryOp::Sqrt, product);
    let ratio = b.div(x, root);
    atan(b, ratio)
}

/// `2 atan(sqrt((1 - x) / (1 + x)))`.
pub(crate) fn acos(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let one = b.f32(b.ty(x).lanes, 1.0);
    let (below, above) = (b.sub(one, x), b.add(one, x));
    let ratio = b.div(below, above);
    let root = b.unary(UnaryOp::Sqrt, ratio);
    let half = atan(b, root);
    b.add(half, half)
}

/// `e^|x| / 2` as a product of two, neither of which overflows before it, and `e^-|x| / 2`.
fn halves(b: &mut KernelBuilder, x: ValueId) -> (ValueId, ValueId) {
    let size = b.unary(UnaryOp::Abs, x);
    let half = scale(b, size, 0.5);
    let root = exp(b, half);
    let growing = scale(b, root, 0.5);
    let growing = b.mul(growing, root);
    let quarter = b.f32(b.ty(x).lanes, 0.25);
    (growing, b.div(quarter, growing))
}

pub(crate) fn cosh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (growing, falling) = halves(b, x);
    b.add(growing, falling)
}

/// The polynomial of the square of x, times x cubed, plus x where x is below a limit in size; else the other value, which
/// belongs to the size of x.
fn near_zero(b: &mut KernelBuilder, x: ValueId, limit: f32, coefficients: &[f32], far: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let z = b.mul(x, x);
    let p = polynomial(b, z, coefficients);
    let p = b.mul(p, z);
    let near = b.mul_add(p, x, x);
    let size = b.unary(UnaryOp::Abs, x);
    let limit = b.f32(lanes, limit);
    let far = with_sign(b, x, far);
    b.select(Predicate::Less, (size, limit), near, far)
}

pub(crate) fn sinh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let (growing, falling) = halves(b, x);
    let far = b.sub(growing, falling);
    near_zero(b, x, 1.0, &[2.037_219e-4, 8.330_284e-3, 1.666_671_6e-1], far)
}

/// `ln(x + root)`; of large x, whose square may overflow, `ln(x) + ln(2)`.
fn log_of_sum(b: &mut KernelBuilder, x: ValueId, root: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let large = b.f32(lanes, 1e4);
    let sum = b.add(x, root);
    let operand = b.select(Predicate::Less, (large, x), x, sum);
    let (two, zero) = (b.f32(lanes, std::f32::consts::LN_2), b.f32(lanes, 0.0));
    let offset = b.select(Predicate::Less, (large, x), two, zero);
    let logarithm = log(b, operand);
    b.add(logarithm, offset)
}

pub(crate) fn asinh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let one = b.f32(b.ty(x).lanes, 1.0);
    let size = b.unary(UnaryOp::Abs, x);
    let square = b.mul_add(x, x, one);
    let root = b.unary(UnaryOp::Sqrt, square);
    let far = log_of_sum(b, size, root);
    near_zero(b, x, 0.5, &[2.012_200_3e-2, -4.269_934e-2, 7.484_759e-2, -1.666_628_8e-1], far)
}

pub(crate) fn acosh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let one = b.f32(lanes, 1.0);
    let (z, above) = (b.sub(x, one), b.add(x, one));
    let product = b.mul(z, above);
    let root = b.unary(UnaryOp::Sqrt, product);
    let far = log_of_sum(b, x, root);
    let near = polynomial(
        b,
        z,
        &[1.759_69e-3, -7.527_289e-3, 2.645_490_5e-2, -1.178_474_2e-1, std::f32::consts::SQRT_2],
    );
    let root = b.unary(UnaryOp::Sqrt, z);
    let near = b.mul(near, root);
    let limit = b.f32(lanes, 0.5);
    b.select(Predicate::Less, (z, limit), near, far)
}

pub(crate) fn atanh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let one = b.f32(b.ty(x).lanes, 1.0);
    let size = b.unary(UnaryOp::Abs, x);
    let (below, above) = (b.sub(one, size), b.add(one, size));
    let ratio = b.div(above, below);
    let far = log(b, ratio);
    let far = scale(b, far, 0.5);
    let coefficients = [1.817_400_8e-1, 8.243_703e-2, 1.466_914_3e-1, 1.997_821_6e-1, 3.333_373e-1];
    near_zero(b, x, 0.5, &coefficients, far)
}

/// -1, 0 or 1; NaN stays.
pub(crate) fn sign(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let (one, minus, zero) = (b.f32(lanes, 1.0), b.f32(lanes, -1.0), b.f32(lanes, 0.0));
    // Zeros and NaN.
    let itself = x;
    let value = b.select(Predicate::Less, (x, zero), minus, itself);
    where_positive(b, x, one, value)
}
