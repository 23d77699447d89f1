//! Elementwise functions of one and two operands.

use std::fmt;

/// Elementwise function of one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `min(max(x, low), high)`; NaN stays NaN. Infinite limits mean no limit.
    Clip {
        /// Lower limit.
        low: f32,
        /// Upper limit.
        high: f32,
    },
    /// `x` where positive, else `alpha * x`.
    LeakyRelu {
        /// Slope of the negative side.
        alpha: f32,
    },
    /// `x` where positive, else `alpha * (exp(x) - 1)`.
    Elu {
        /// Scale of the negative side.
        alpha: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Offset.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)` (Howard et al., MobileNetV3).
    HardSwish,
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// `x * Phi(x)` with the exact error function.
    Gelu,
    /// Error function.
    Erf,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// `log(1 + exp(x))`.
    Softplus,
    /// Square root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// `-1`, `0` or `1`; NaN stays NaN.
    Sign,
    /// Nearest integer, ties to even.
    Round,
    /// All bits flipped; of booleans the other one.
    Not,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Tangent.
    Tan,
    /// Arcsine.
    Asin,
    /// Arccosine.
    Acos,
    /// Arctangent.
    Atan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic sine.
    Asinh,
    /// Inverse hyperbolic cosine.
    Acosh,
    /// Inverse hyperbolic tangent.
    Atanh,
}

impl Unary {
    /// Name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Unary::Relu => "relu",
            Unary::Clip { .. } => "clip",
            Unary::LeakyRelu { .. } => "leaky_relu",
            Unary::Elu { .. } => "elu",
            Unary::Sigmoid => "sigmoid",
            Unary::Tanh => "tanh",
            Unary::HardSigmoid { .. } => "hard_sigmoid",
            Unary::HardSwish => "hard_swish",
            Unary::Silu => "silu",
            Unary::Gelu => "gelu",
            Unary::Erf => "erf",
            Unary::Exp => "exp",
            Unary::Log => "log",
            Unary::Softplus => "softplus",
            Unary::Sqrt => "sqrt",
            Unary::Reciprocal => "reciprocal",
            Unary::Neg => "neg",
            Unary::Abs => "abs",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Sign => "sign",
            Unary::Round => "round",
            Unary::Not => "not",
            Unary::Sin => "sin",
            Unary::Cos => "cos",
            Unary::Tan => "tan",
            Unary::Asin => "asin",
            Unary::Acos => "acos",
            Unary::Atan => "atan",
            Unary::Sinh => "sinh",
            Unary::Cosh => "cosh",
            Unary::Asinh => "asinh",
            Unary::Acosh => "acosh",
            Unary::Atanh => "atanh",
        }
    }
}

impl Unary {
    /// Names and values of the function's parameters.
    pub fn parameters(self) -> Vec<(&'static str, f32)> {
        match self {
            Unary::Clip { low, high } => vec![("low", low), ("high", high)],
            Unary::LeakyRelu { alpha } | Unary::Elu { alpha } => vec![("alpha", alpha)],
            Unary::HardSigmoid { alpha, beta } => vec![("alpha", alpha), ("beta", beta)],
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Unary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let parameters: Vec<String> = self.parameters().iter().map(|(_, value)| value.to_string()).collect();
        if !parameters.is_empty() {
            write!(f, "({})", parameters.join(","))?;
        }
        Ok(())
    }
}

/// Elementwise function of two operands, which broadcast as in ONNX (NumPy's rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient.
    Div,
    /// Smaller operand; NaN if either is.
    Min,
    /// Larger operand; NaN if either is.
    Max,
    /// First operand to the power of the second.
    Pow,
    /// First operand where positive, else its product with the second (the slope).
    Prelu,
    /// What a quotient rounded towards zero leaves, of the dividend's sign, as C's `%` and `fmod`. Where the divisor is 0, 0 of
    /// integers and NaN of floats.
    Rem,
    /// What a quotient rounded down leaves, of the divisor's sign, as Python's `%`. Where the divisor is 0, as `Rem`.
    Mod,
    /// Bitwise and; of booleans logical.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left of integers; 0 for amounts below 0 or not below the width.
    ShiftLeft,
    /// Shift right of integers, arithmetic where they have a sign; amounts below 0 or not below the width leave only
    /// that, or 0.
    ShiftRight,
}

/// Comparison of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `a < b`.
    Less,
    /// `a <= b`.
    LessEqual,
    /// `a == b`.
    Equal,
}

impl Comparison {
    /// Name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Comparison::Less => "less",
            Comparison::LessEqual => "less_equal",
            Comparison::Equal => "equal",
        }
    }
}

impl Binary {
    /// Name in text forms.
    pub const fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Min => "min",
            Binary::Max => "max",
            Binary::Pow => "pow",
            Binary::Prelu => "prelu",
            Binary::Rem => "rem",
            Binary::Mod => "mod",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::ShiftLeft => "shift_left",
            Binary::ShiftRight => "shift_right",
        }
    }

    /// Whether it is defined on floating-point numbers.
    pub const fn takes_floats(self) -> bool {
        use Binary::{And, Or, ShiftLeft, ShiftRight, Xor};
        !matches!(self, And | Or | ShiftLeft | ShiftRight | Xor)
    }

    /// Whether the operands may be exchanged.
    pub const fn is_commutative(self) -> bool {
        matches!(
            self,
            Binary::Add | Binary::Mul | Binary::Min | Binary::Max | Binary::And | Binary::Or | Binary::Xor
        )
    }
}
