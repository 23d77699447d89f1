//! The scalar functions behind the elementwise operators, in f64 for f32 elements and wrapping for integers.
//!
//! The f64 results are far closer to the true value than f32's precision, so rounding them once gives the correctly
//! rounded f32 result in all but a vanishing number of cases, and always for `+ - * /` and the square root (f64 has
//! more than twice the digits of f32, so rounding twice does no harm).

use avocet_ir::op::{Binary, Unary};

use super::EvaluateError;

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
        Binary::Prelu => {
            if a > 0.0 {
                a
            } else {
                a * b
            }
        }
    }
}

/// Integer arithmetic, wrapping as the two's complement does. `None` says that the operator knows no integers.
pub(super) trait Integer: Copy + Ord {
    fn unary(op: Unary, x: Self) -> Option<Self>;
    fn binary(op: Binary, a: Self, b: Self) -> Option<Result<Self, EvaluateError>>;
}

macro_rules! integer {
    ($type:ty, $abs:expr) => {
        impl Integer for $type {
            fn unary(op: Unary, x: Self) -> Option<Self> {
                match op {
                    Unary::Relu => Some(x.max(0)),
                    Unary::Neg => Some(x.wrapping_neg()),
                    Unary::Abs => Some($abs(x)),
                    Unary::Floor | Unary::Ceil => Some(x),
                    _ => None,
                }
            }

            fn binary(op: Binary, a: Self, b: Self) -> Option<Result<Self, EvaluateError>> {
                Some(match op {
                    Binary::Add => Ok(a.wrapping_add(b)),
                    Binary::Sub => Ok(a.wrapping_sub(b)),
                    Binary::Mul => Ok(a.wrapping_mul(b)),
                    Binary::Div if b == 0 => Err(EvaluateError::DivisionByZero),
                    Binary::Div => Ok(a.wrapping_div(b)),
                    Binary::Min => Ok(a.min(b)),
                    Binary::Max => Ok(a.max(b)),
                    Binary::Pow => match u32::try_from(b) {
                        Ok(exponent) => Ok(a.wrapping_pow(exponent)),
                        // The cast is lossless: a u8 never fails to convert, the others are at most i64.
                        Err(_) => Err(EvaluateError::Exponent(b as i64)),
                    },
                    Binary::Prelu => return None,
                })
            }
        }
    };
}

integer!(i64, |x: i64| x.wrapping_abs());
integer!(i32, |x: i32| x.wrapping_abs());
integer!(u8, |x: u8| x);
