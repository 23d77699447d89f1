//! Elementwise functions as expansions in the kernel IR: the output depends on no libm.
//!
//! Polynomials are those of the Cephes library (S. Moshier). Bounds against the exact value, measured by the tests over
//! dense samples: exp, sigmoid, tanh, erf, log at most 4 ULP where the result is a normal number (SiLU: where it is above
//! 1e-36 in size). GELU at most 6e-7 in absolute terms below 0, 6e-7 of the larger of 1 and the result above. NaN stays NaN.

use avocet_ir::kernel::{BinaryOp, Element, KernelBuilder, Predicate, UnaryOp, ValueId};
use avocet_ir::op::{Binary, Unary};

use crate::remainder;
use crate::trigonometry;

/// The function of a value.
pub(crate) fn unary(b: &mut KernelBuilder, function: Unary, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    match function {
        Unary::Relu => {
            let zero = b.f32(lanes, 0.0);
            b.max(zero, x)
        }
        Unary::Clip { low, high } => clip(b, x, low, high),
        Unary::LeakyRelu { alpha } => {
            let scaled = scale(b, x, alpha);
            where_positive(b, x, x, scaled)
        }
        Unary::Elu { alpha } => {
            let negative = expm1(b, x);
            let negative = scale(b, negative, alpha);
            where_positive(b, x, x, negative)
        }
        Unary::Sigmoid => sigmoid(b, x),
        Unary::Tanh => tanh(b, x),
        Unary::HardSigmoid { alpha, beta } => hard_sigmoid(b, x, alpha, beta),
        Unary::HardSwish => {
            let gate = hard_sigmoid(b, x, 1.0 / 6.0, 0.5);
            b.mul(x, gate)
        }
        Unary::Silu => {
            // x / (1 + exp(-x)): one rounding fewer than x * sigmoid(x).
            let denominator = one_plus_exp_of_negative(b, x);
            b.div(x, denominator)
        }
        Unary::Gelu => {
            let probability = normal_distribution(b, x);
            b.mul(x, probability)
        }
        Unary::Erf => erf(b, x),
        Unary::Exp => exp(b, x),
        Unary::Log => log(b, x),
        Unary::Softplus => {
            // max(x, 0) + log1p(exp(-|x|)) never overflows.
            let size = b.unary(UnaryOp::Abs, x);
            let small = exp_of_negative(b, size);
            let tail = log1p(b, small);
            let zero = b.f32(lanes, 0.0);
            let positive = b.max(zero, x);
            b.add(positive, tail)
        }
        Unary::Sqrt => b.unary(UnaryOp::Sqrt, x),
        Unary::Reciprocal => {
            let one = b.f32(lanes, 1.0);
            b.div(one, x)
        }
        Unary::Neg => b.unary(UnaryOp::Neg, x),
        Unary::Abs => b.unary(UnaryOp::Abs, x),
        Unary::Floor => b.unary(UnaryOp::Floor, x),
        Unary::Ceil => b.unary(UnaryOp::Ceil, x),
        Unary::Round => b.unary(UnaryOp::Round, x),
        Unary::Sign => trigonometry::sign(b, x),
        // Inference refuses it of floats.
        Unary::Not => x,
        Unary::Sin => trigonometry::sin(b, x),
        Unary::Cos => trigonometry::cos(b, x),
        Unary::Tan => trigonometry::tan(b, x),
        Unary::Asin => trigonometry::asin(b, x),
        Unary::Acos => trigonometry::acos(b, x),
        Unary::Atan => trigonometry::atan(b, x),
        Unary::Sinh => trigonometry::sinh(b, x),
        Unary::Cosh => trigonometry::cosh(b, x),
        Unary::Asinh => trigonometry::asinh(b, x),
        Unary::Acosh => trigonometry::acosh(b, x),
        Unary::Atanh => trigonometry::atanh(b, x),
    }
}

/// The function of two values.
pub(crate) fn binary(b: &mut KernelBuilder, function: Binary, x: ValueId, y: ValueId) -> ValueId {
    match function {
        Binary::Add => b.add(x, y),
        Binary::Sub => b.sub(x, y),
        Binary::Mul => b.mul(x, y),
        Binary::Div => b.div(x, y),
        // The instructions give the second operand when either is NaN; a NaN first operand is put back.
        Binary::Min => {
            let least = b.min(x, y);
            b.select(Predicate::NotEqual, (x, x), x, least)
        }
        Binary::Max => {
            let largest = b.max(x, y);
            b.select(Predicate::NotEqual, (x, x), x, largest)
        }
        Binary::Pow => pow(b, x, y),
        Binary::Rem => remainder::truncated(b, x, y),
        Binary::Mod => remainder::floored(b, x, y),
        Binary::Prelu => {
            let negative = b.mul(x, y);
            where_positive(b, x, x, negative)
        }
        // Inference refuses these of floats.
        Binary::And | Binary::Or | Binary::Xor => x,
        Binary::ShiftLeft | Binary::ShiftRight => x,
    }
}

pub(crate) fn scale(b: &mut KernelBuilder, x: ValueId, factor: f32) -> ValueId {
    let factor = b.f32(b.ty(x).lanes, factor);
    b.mul(x, factor)
}

/// `then` where `x > 0`, else (also for NaN) `otherwise`.
pub(crate) fn where_positive(
    b: &mut KernelBuilder,
    x: ValueId,
    then: ValueId,
    otherwise: ValueId,
) -> ValueId {
    let zero = b.f32(b.ty(x).lanes, 0.0);
    b.select(Predicate::Less, (zero, x), then, otherwise)
}

/// Limits that are infinite limit nothing. The limit is the first operand, so that NaN passes.
pub(crate) fn clip(b: &mut KernelBuilder, mut x: ValueId, low: f32, high: f32) -> ValueId {
    let lanes = b.ty(x).lanes;
    if low != f32::NEG_INFINITY {
        let low = b.f32(lanes, low);
        x = b.max(low, x);
    }
    if high != f32::INFINITY {
        let high = b.f32(lanes, high);
        x = b.min(high, x);
    }
    x
}

fn hard_sigmoid(b: &mut KernelBuilder, x: ValueId, alpha: f32, beta: f32) -> ValueId {
    let lanes = b.ty(x).lanes;
    let (alpha, beta) = (b.f32(lanes, alpha), b.f32(lanes, beta));
    let line = b.mul_add(x, alpha, beta);
    clip(b, line, 0.0, 1.0)
}

/// Horner's scheme; coefficients from the highest power down.
pub(crate) fn polynomial(b: &mut KernelBuilder, x: ValueId, coefficients: &[f32]) -> ValueId {
    let lanes = b.ty(x).lanes;
    let mut sum = b.f32(lanes, coefficients[0]);
    for &coefficient in &coefficients[1..] {
        let coefficient = b.f32(lanes, coefficient);
        sum = b.mul_add(sum, x, coefficient);
    }
    sum
}

/// `2^n` for integers from -126 to 127, by building the exponent.
fn power_of_two(b: &mut KernelBuilder, n: ValueId) -> ValueId {
    let lanes = b.ty(n).lanes;
    let (bias, shift) = (b.i32(lanes, 127), b.i32(lanes, 23));
    let biased = b.add(n, bias);
    let bits = b.binary(BinaryOp::ShiftLeft, biased, shift);
    b.bitcast(Element::F32, bits)
}

/// `e^x = 2^n * e^r` with `|r| <= ln(2)/2`; `2^n` in two factors, so that results below the normal range come out right
/// and those above become infinite.
pub(crate) fn exp(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let x = clip(b, x, -105.0, 89.0);
    let n = scale(b, x, std::f32::consts::LOG2_E);
    let n = b.unary(UnaryOp::Round, n);
    // ln(2) in two parts, the first with so few bits that its product with n is exact.
    let (high, low) = (b.f32(lanes, -0.693_359_4), b.f32(lanes, 2.121_944_4e-4));
    let r = b.mul_add(n, high, x);
    let r = b.mul_add(n, low, r);
    let p =
        polynomial(b, r, &[1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1]);
    let square = b.mul(r, r);
    let p = b.mul_add(p, square, r);
    let one = b.f32(lanes, 1.0);
    let p = b.add(p, one);
    let n = b.convert(Element::I32, n);
    let shift = b.i32(lanes, 1);
    let half = b.binary(BinaryOp::ShiftRight, n, shift);
    let rest = b.sub(n, half);
    let (half, rest) = (power_of_two(b, half), power_of_two(b, rest));
    let p = b.mul(p, half);
    b.mul(p, rest)
}

/// `e^-x` for functions that add it to something: 0 above 87.7 and infinite below -88.4, where [`exp`] still has numbers.
/// That makes it half as long: `2^n` is one factor, and its exponent comes from the low bits of a sum with a number so
/// large that the sum has no fraction.
pub(crate) fn exp_of_negative(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    /// 1.5 * 2^23, whose unit in the last place is 1, and the bias of an exponent.
    const ROUNDING: f32 = 12_582_912.0 + 127.0;
    let lanes = b.ty(x).lanes;
    let x = clip(b, x, -89.0, 88.0);
    let (rounding, factor) = (b.f32(lanes, ROUNDING), b.f32(lanes, -std::f32::consts::LOG2_E));
    let biased = b.mul_add(x, factor, rounding);
    let n = b.sub(biased, rounding);
    let (high, low) = (b.f32(lanes, 0.693_359_4), b.f32(lanes, -2.121_944_4e-4));
    let r = b.mul_add(n, high, x);
    let r = b.mul_add(n, low, r);
    // e^-r on |r| <= ln(2)/2, least largest relative error (9.2e-8).
    let p =
        polynomial(b, r, &[-8.290_272e-3, 4.189_816e-2, -1.666_763_9e-1, 4.999_914_8e-1, -9.999_997e-1, 1.0]);
    let bits = b.bitcast(Element::I32, biased);
    let shift = b.i32(lanes, 23);
    let exponent = b.binary(BinaryOp::ShiftLeft, bits, shift);
    let power = b.bitcast(Element::F32, exponent);
    b.mul(p, power)
}

/// `e^(-x * factor)` for x not below 0, as softmax has them: 0 where the exponent is below -88. The factor and ln(2) are one
/// number, and nothing has to be limited from below, so it is the shortest of all. The relative error is at most
/// `2e-7 + 6e-8 * x * factor`: what the exponent itself has as a difference of f32s.
pub(crate) fn exp_of_distance(b: &mut KernelBuilder, x: ValueId, factor: f32) -> ValueId {
    /// As in [`exp_of_negative`].
    const ROUNDING: f32 = 12_582_912.0 + 127.0;
    /// The exponent of 2 whose power is 0.
    const MOST: f32 = 127.0;
    let lanes = b.ty(x).lanes;
    let factor = factor * std::f32::consts::LOG2_E;
    let x = clip(b, x, f32::NEG_INFINITY, MOST / factor);
    let (rounding, minus) = (b.f32(lanes, ROUNDING), b.f32(lanes, -factor));
    let biased = b.mul_add(x, minus, rounding);
    let n = b.sub(biased, rounding);
    let factor = b.f32(lanes, factor);
    let r = b.mul_add(x, factor, n);
    // 2^-r on |r| <= 1/2: the polynomial of `exp_of_negative` with powers of ln(2) in its coefficients.
    let p = polynomial(
        b,
        r,
        &[-1.326_465_9e-3, 9.671_566e-3, -5.550_734_7e-2, 2.402_224_1e-1, -6.931_469_7e-1, 1.0],
    );
    let bits = b.bitcast(Element::I32, biased);
    let shift = b.i32(lanes, 23);
    let exponent = b.binary(BinaryOp::ShiftLeft, bits, shift);
    let power = b.bitcast(Element::F32, exponent);
    b.mul(p, power)
}

fn one_plus_exp_of_negative(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let power = exp_of_negative(b, x);
    let one = b.f32(b.ty(x).lanes, 1.0);
    b.add(one, power)
}

fn sigmoid(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let denominator = one_plus_exp_of_negative(b, x);
    let one = b.f32(b.ty(x).lanes, 1.0);
    b.div(one, denominator)
}

/// A polynomial near zero, `(1 - e^-2|x|) / (1 + e^-2|x|)` with the sign of x elsewhere.
fn tanh(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let size = b.unary(UnaryOp::Abs, x);
    let one = b.f32(lanes, 1.0);
    let double = b.add(size, size);
    let power = exp_of_negative(b, double);
    let (numerator, denominator) = (b.sub(one, power), b.add(power, one));
    let large = b.div(numerator, denominator);
    let negative = b.unary(UnaryOp::Neg, large);
    let large = where_positive(b, x, large, negative);

    let z = b.mul(x, x);
    let p =
        polynomial(b, z, &[-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let p = b.mul(p, z);
    let small = b.mul_add(p, x, x);
    let limit = b.f32(lanes, 0.625);
    b.select(Predicate::Less, (size, limit), small, large)
}

/// A polynomial below 1; `1 - exp(-x^2) P(1/x^2) / x` above, where the polynomial made for 1 to 2 serves all of the
/// tail, since what is subtracted beyond 2 is small.
fn erf(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let square = b.mul(x, x);
    let small = polynomial(
        b,
        square,
        &[
            7.853_861e-5,
            -8.010_193_6e-4,
            5.188_327_6e-3,
            -2.685_381_2e-2,
            1.128_358_5e-1,
            -3.761_262_6e-1,
            std::f32::consts::FRAC_2_SQRT_PI,
        ],
    );
    let small = b.mul(small, x);

    let one = b.f32(lanes, 1.0);
    let distance = b.unary(UnaryOp::Abs, x);
    // Below 1 the branch is not taken; the clamp keeps it finite, so that nothing but NaN makes NaN.
    let size = clip(b, distance, 1.0, 10.0);
    let q = b.div(one, size);
    let y = b.mul(q, q);
    let p = polynomial(
        b,
        y,
        &[
            2.326_82e-2,
            -1.387_039_4e-1,
            3.687_424_6e-1,
            -5.824_733e-1,
            6.210_004_6e-1,
            -4.944_515_3e-1,
            3.404_88e-1,
            -2.741_127e-1,
            5.638_259_4e-1,
        ],
    );
    let square = b.mul(size, size);
    let power = exp_of_negative(b, square);
    let tail = b.mul(power, q);
    let tail = b.mul(tail, p);
    let large = b.sub(one, tail);
    let negative = b.unary(UnaryOp::Neg, large);
    let large = where_positive(b, x, large, negative);
    b.select(Predicate::Less, (distance, one), small, large)
}

/// The standard normal distribution function, `(1 + erf(x / sqrt(2))) / 2`, to 1e-7 in absolute terms, which is what a GELU
/// written with erf in f32 has too: `1/2 + x P(t)`, an odd polynomial whose error times x is least up to 5.2, from where on the
/// result is 0 or 1 within that error. Less than half as long as [`erf`], whose small results are exact.
fn normal_distribution(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    const LIMIT: f32 = 5.2 * 5.2;
    let lanes = b.ty(x).lanes;
    let square = b.mul(x, x);
    let square = clip(b, square, f32::NEG_INFINITY, LIMIT);
    // t runs from -1 to 1: in powers of it, unlike of x, the coefficients are small and nothing cancels.
    let (factor, one) = (b.f32(lanes, 2.0 / LIMIT), b.f32(lanes, -1.0));
    let t = b.mul_add(square, factor, one);
    let p = polynomial(
        b,
        t,
        &[
            -3.882_436_7e-4,
            1.188_689_8e-3,
            -1.468_750_9e-3,
            2.005_169_9e-3,
            -4.542_336e-3,
            8.365_106e-3,
            -1.261_965e-2,
            1.803_876_8e-2,
            -2.469_884_2e-2,
            3.197_391_7e-2,
            -3.993_198_6e-2,
            5.002_561_6e-2,
            -6.774_362e-2,
            1.359_499_8e-1,
        ],
    );
    let half = b.f32(lanes, 0.5);
    let probability = b.mul_add(p, x, half);
    clip(b, probability, 0.0, 1.0)
}

/// `ln(x)` by mantissa and exponent.
pub(crate) fn log(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    // Numbers below the normal range are scaled by 2^23 first.
    let (least, zero) = (b.f32(lanes, f32::MIN_POSITIVE), b.f32(lanes, 0.0));
    let scaled = scale(b, x, 8_388_608.0);
    let m = b.select(Predicate::Less, (x, least), scaled, x);
    let offset = b.f32(lanes, -23.0);
    let offset = b.select(Predicate::Less, (x, least), offset, zero);

    let bits = b.bitcast(Element::I32, m);
    let shift = b.i32(lanes, 23);
    let exponent = b.binary(BinaryOp::ShiftRight, bits, shift);
    let bias = b.i32(lanes, -126);
    let exponent = b.add(exponent, bias);
    let e = b.convert(Element::F32, exponent);
    let e = b.add(e, offset);
    let (mask, half) = (b.i32(lanes, 0x007f_ffff), b.i32(lanes, 0x3f00_0000));
    let mantissa = b.binary(BinaryOp::And, bits, mask);
    let mantissa = b.binary(BinaryOp::Or, mantissa, half);
    let m = b.bitcast(Element::F32, mantissa);
    // m in [sqrt(1/2), sqrt(2)) less one.
    let (root, one) = (b.f32(lanes, std::f32::consts::FRAC_1_SQRT_2), b.f32(lanes, 1.0));
    let lower = b.sub(e, one);
    let e = b.select(Predicate::Less, (m, root), lower, e);
    let double = b.add(m, m);
    let m = b.select(Predicate::Less, (m, root), double, m);
    let m = b.sub(m, one);

    let z = b.mul(m, m);
    let p = polynomial(
        b,
        m,
        &[
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let p = b.mul(p, m);
    let y = b.mul(p, z);
    let (low, high) = (b.f32(lanes, -2.121_944_4e-4), b.f32(lanes, 0.693_359_4));
    let y = b.mul_add(e, low, y);
    let minus_half = b.f32(lanes, -0.5);
    let y = b.mul_add(z, minus_half, y);
    let y = b.add(m, y);
    let y = b.mul_add(e, high, y);

    // Zero, negative numbers, infinity and NaN.
    let (infinity, nan) = (b.f32(lanes, f32::INFINITY), b.f32(lanes, f32::NAN));
    let minus_infinity = b.f32(lanes, f32::NEG_INFINITY);
    let y = b.select(Predicate::Less, (x, infinity), y, x);
    let y = b.select(Predicate::Equal, (x, zero), minus_infinity, y);
    b.select(Predicate::Less, (x, zero), nan, y)
}

/// `ln(1 + x)` for x from 0 to 1 without loss near zero (Kahan's correction).
fn log1p(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let one = b.f32(b.ty(x).lanes, 1.0);
    let u = b.add(x, one);
    let logarithm = log(b, u);
    let rounded = b.sub(u, one);
    let correction = b.div(x, rounded);
    let product = b.mul(logarithm, correction);
    b.select(Predicate::Equal, (u, one), x, product)
}

/// `e^x - 1` for x below 0 without loss near zero (Kahan's correction).
fn expm1(b: &mut KernelBuilder, x: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let one = b.f32(lanes, 1.0);
    let u = exp(b, x);
    let difference = b.sub(u, one);
    let logarithm = log(b, u);
    let correction = b.div(x, logarithm);
    let product = b.mul(difference, correction);
    // Far below zero the logarithm of the tiny power is not needed, and would be infinite in the end.
    let far = b.f32(lanes, -15.0);
    let product = b.select(Predicate::Less, (x, far), difference, product);
    b.select(Predicate::Equal, (u, one), x, product)
}

/// `x^y` as C's `pow`: by `exp(y ln|x|)`, with the sign that an odd y gives a negative x.
fn pow(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> ValueId {
    let lanes = b.ty(x).lanes;
    let (zero, one) = (b.f32(lanes, 0.0), b.f32(lanes, 1.0));
    let size = b.unary(UnaryOp::Abs, x);
    let logarithm = log(b, size);
    let product = b.mul(y, logarithm);
    let power = exp(b, product);

    let floor = b.unary(UnaryOp::Floor, y);
    let half = scale(b, y, 0.5);
    let half_floor = b.unary(UnaryOp::Floor, half);
    let negated = b.unary(UnaryOp::Neg, power);
    let signed = b.select(Predicate::NotEqual, (half, half_floor), negated, power);
    let nan = b.f32(lanes, f32::NAN);
    let signed = b.select(Predicate::Equal, (y, floor), signed, nan);
    // The square as a product: it is by far the most frequent power, and exact rounding costs nothing.
    let square = b.mul(x, x);
    let two = b.f32(lanes, 2.0);
    let result = b.select(Predicate::Less, (x, zero), signed, power);
    let result = b.select(Predicate::Equal, (y, two), square, result);
    let result = b.select(Predicate::Equal, (y, one), x, result);
    let result = b.select(Predicate::Equal, (x, one), one, result);
    b.select(Predicate::Equal, (y, zero), one, result)
}
