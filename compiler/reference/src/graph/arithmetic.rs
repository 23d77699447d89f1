//! The scalar functions behind the elementwise operators, in f64 for f32 elements and wrapping for integers.
//!
//! The f64 results are far closer to the true value than f32's precision, so rounding them once gives the correctly
//! rounded f32 result in all but a vanishing number of cases, and always for `+ - * /` and the square root (f64 has
//! more than twice the digits of f32, so rounding twice does no harm).

use avocet_ir::op::{Binary, Unary};

/// Larger of two numbers; NaN if either is (unlike `f64::max`).
pub(super) fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// Smaller of two numbers; NaN if either is.
pub(super) fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `min(max(x, low), high)` where NaN stays NaN, and a limit of NaN is no limit.
fn clip(x: f64, low: f64, high: f64) -> f64 {
    let x = if x < low { low } else { x };
    if x > high { high } else { x }
}

pub(super) fn unary_f64(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Relu => max(x, 0.0),
        Unary::Clip { low, high } => clip(x, f64::from(low), f64::from(high)),
        Unary::LeakyRelu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x
            }
        }
        Unary::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::HardSigmoid { alpha, beta } => clip(f64::from(alpha) * x + f64::from(beta), 0.0, 1.0),
        Unary::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
        Unary::Silu => x * sigmoid(x),
        // Phi(x) by the complementary error function, since 1 + erf(x) cancels for negative x.
        Unary::Gelu => x * 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        Unary::Erf => libm::erf(x),
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), where nothing overflows.
        Unary::Softplus => max(x, 0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Sign if x > 0.0 => 1.0,
        Unary::Sign if x < 0.0 => -1.0,
        Unary::Sign => x * 0.0,
        Unary::Round => x.round_ties_even(),
        // Bits of integers; the caller refuses floats.
        Unary::Not => f64::NAN,
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Tan => x.tan(),
        Unary::Asin => x.asin(),
        Unary::Acos => x.acos(),
        Unary::Atan => x.atan(),
        Unary::Sinh => x.sinh(),
        Unary::Cosh => x.cosh(),
        Unary::Asinh => libm::asinh(x),
        Unary::Acosh => libm::acosh(x),
        Unary::Atanh => libm::atanh(x),
    }
}

pub(super) fn binary_f64(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Min => min(a, b),
        Binary::Max => max(a, b),
        Binary::Pow => a.powf(b),
        // Exact: the remainder of two f32 is one.
        Binary::Rem => a % b,
        Binary::Mod => match a % b {
            0.0 => 0f64.copysign(b),
            r if (r < 0.0) != (b < 0.0) => r + b,
            r => r,
        },
        Binary::Prelu => {
            if a > 0.0 {
                a
            } else {
                a * b
            }
        }
        // Bits of integers; inference refuses floats.
        _ => f64::NAN,
    }
}

/// Integer arithmetic, wrapping as the two's complement does, and total: 0 where a divisor is 0, and where a negative power
/// is none of 1 or -1. `None` says that the operator knows no integers.
pub(super) trait Integer: Copy + Default + Ord {
    fn unary(op: Unary, x: Self) -> Option<Self>;
    fn binary(op: Binary, a: Self, b: Self) -> Option<Self>;
    /// The smallest and the largest number.
    const BOUNDS: (i128, i128);
    fn widened(self) -> i128;
    /// The low bits.
    fn narrowed(value: i128) -> Self;
}

macro_rules! integer {
    ($type:ty, $abs:expr, $sign:expr) => {
        impl Integer for $type {
            const BOUNDS: (i128, i128) = (<$type>::MIN as i128, <$type>::MAX as i128);

            fn widened(self) -> i128 {
                self.into()
            }

            fn narrowed(value: i128) -> Self {
                value as $type
            }

            fn unary(op: Unary, x: Self) -> Option<Self> {
                match op {
                    Unary::Relu => Some(x.max(0)),
                    Unary::Neg => Some(x.wrapping_neg()),
                    Unary::Abs => Some($abs(x)),
                    Unary::Floor | Unary::Ceil | Unary::Round => Some(x),
                    Unary::Not => Some(!x),
                    Unary::Sign => Some($sign(x)),
                    _ => None,
                }
            }

            fn binary(op: Binary, a: Self, b: Self) -> Option<Self> {
                /// By squares.
                fn power(mut base: $type, mut exponent: u64) -> $type {
                    let mut result: $type = 1;
                    while exponent > 0 {
                        if exponent & 1 == 1 {
                            result = result.wrapping_mul(base);
                        }
                        base = base.wrapping_mul(base);
                        exponent >>= 1;
                    }
                    result
                }
                Some(match op {
                    Binary::Add => a.wrapping_add(b),
                    Binary::Sub => a.wrapping_sub(b),
                    Binary::Mul => a.wrapping_mul(b),
                    Binary::Div | Binary::Rem | Binary::Mod if b == 0 => 0,
                    Binary::Div => a.wrapping_div(b),
                    Binary::Rem => a.wrapping_rem(b),
                    Binary::Mod => match a.wrapping_rem(b) {
                        #[allow(unused_comparisons)]
                        r if r != 0 && (r < 0) != (b < 0) => r.wrapping_add(b),
                        r => r,
                    },
                    Binary::Min => a.min(b),
                    Binary::Max => a.max(b),
                    Binary::And => a & b,
                    Binary::Or => a | b,
                    Binary::Xor => a ^ b,
                    // Amounts outside of the width, also negative ones, shift everything out.
                    Binary::ShiftLeft => u32::try_from(b).ok().and_then(|b| a.checked_shl(b)).unwrap_or(0),
                    Binary::ShiftRight => {
                        let inside = u32::try_from(b).ok().and_then(|b| a.checked_shr(b));
                        #[allow(unused_comparisons)]
                        inside.unwrap_or(if a < 0 { !0 } else { 0 })
                    }
                    Binary::Pow => {
                        #[allow(unused_comparisons)]
                        let negative = b < 0;
                        match a {
                            _ if !negative => power(a, b as u64),
                            1 => 1,
                            // -1, of numbers with a sign.
                            _ if a.wrapping_add(1) == 0 => power(a, (b & 1) as u64),
                            _ => 0,
                        }
                    }
                    Binary::Prelu => return None,
                })
            }
        }
    };
}

integer!(i64, |x: i64| x.wrapping_abs(), i64::signum);
integer!(i32, |x: i32| x.wrapping_abs(), i32::signum);
integer!(i16, |x: i16| x.wrapping_abs(), i16::signum);
integer!(i8, |x: i8| x.wrapping_abs(), i8::signum);
integer!(u64, |x: u64| x, |x: u64| x.min(1));
integer!(u32, |x: u32| x, |x: u32| x.min(1));
integer!(u16, |x: u16| x, |x: u16| x.min(1));
integer!(u8, |x: u8| x, |x: u8| x.min(1));
