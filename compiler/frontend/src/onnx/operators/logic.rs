//! Comparisons, logic, choices, and what is made of them.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, Unary};
use avocet_ir::tensor::{DType, Tensor};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};

impl Importer<'_> {
    /// A number as a constant of an element type.
    pub(super) fn number(&mut self, node: &Node, dtype: DType, value: f32) -> Result<Value, Problem> {
        let number = self.constant(node, Tensor::scalar_f32(value));
        self.cast(node, number, dtype)
    }

    /// The value as another element type.
    pub(super) fn cast(&mut self, node: &Node, value: Value, to: DType) -> Result<Value, Problem> {
        match self.ty(value).dtype == to {
            true => Ok(value),
            false => self.add(node, Op::Cast { to }, &[value]),
        }
    }

    /// A function of two operands.
    pub(super) fn binary(&mut self, node: &Node, op: Binary, a: Value, b: Value) -> Result<Value, Problem> {
        self.add(node, Op::Binary(op), &[a, b])
    }

    /// A function of one operand.
    pub(super) fn unary(&mut self, node: &Node, op: Unary, x: Value) -> Result<Value, Problem> {
        self.add(node, Op::Unary(op), &[x])
    }

    /// A comparison.
    pub(super) fn compare(
        &mut self,
        node: &Node,
        op: Comparison,
        a: Value,
        b: Value,
    ) -> Result<Value, Problem> {
        self.add(node, Op::Compare(op), &[a, b])
    }

    /// A choice.
    pub(super) fn choose(&mut self, node: &Node, holds: Value, a: Value, b: Value) -> Result<Value, Problem> {
        self.add(node, Op::Select, &[holds, a, b])
    }
}

/// Comparisons; "greater" is "less" from the other side.
pub(super) fn compare(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (comparison, a, b) = match node.operator() {
        "Equal" => (Comparison::Equal, a, b),
        "Less" => (Comparison::Less, a, b),
        "LessOrEqual" => (Comparison::LessEqual, a, b),
        "Greater" => (Comparison::Less, b, a),
        _ => (Comparison::LessEqual, b, a),
    };
    Ok(vec![importer.compare(node, comparison, a, b)?])
}

/// Functions of bits: of booleans, or of integers.
pub(super) fn bits(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let (is_bool, of_integers) = (importer.ty(x).dtype == DType::Bool, node.operator().starts_with("Bit"));
    if is_bool == of_integers || importer.ty(x).dtype == DType::F32 {
        return invalid(format!("operands of type {}", importer.ty(x)));
    }
    let function = match node.operator() {
        "Not" | "BitwiseNot" => return Ok(vec![importer.unary(node, Unary::Not, x)?]),
        "And" | "BitwiseAnd" => Binary::And,
        "Or" | "BitwiseOr" => Binary::Or,
        "Xor" | "BitwiseXor" => Binary::Xor,
        _ => match node.attributes.text("direction", "")?.as_str() {
            "LEFT" => Binary::ShiftLeft,
            "RIGHT" => Binary::ShiftRight,
            other => return invalid(format!("direction '{}'", other.escape_debug())),
        },
    };
    Ok(vec![importer.binary(node, function, x, node.input(1)?)?])
}

/// A choice between two operands.
pub(super) fn select(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    Ok(vec![importer.choose(node, node.input(0)?, node.input(1)?, node.input(2)?)?])
}

/// Remainders: of the divisor's sign, as in Python, or of the dividend's if `fmod` is set.
pub(super) fn remainder(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, y) = (node.input(0)?, node.input(1)?);
    let function = if node.attributes.flag("fmod", false)? { Binary::Rem } else { Binary::Mod };
    Ok(vec![importer.binary(node, function, x, y)?])
}

/// NaN is what differs from itself.
pub(super) fn is_nan(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let number = importer.compare(node, Comparison::Equal, x, x)?;
    Ok(vec![importer.unary(node, Unary::Not, number)?])
}

/// Infinities of the signs asked for.
pub(super) fn is_inf(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let dtype = importer.ty(x).dtype;
    let equal = |importer: &mut Importer, value: f32| {
        let infinity = importer.number(node, dtype, value)?;
        importer.compare(node, Comparison::Equal, x, infinity)
    };
    let (up, down) = (equal(importer, f32::INFINITY)?, equal(importer, f32::NEG_INFINITY)?);
    let signs =
        (node.attributes.flag("detect_positive", true)?, node.attributes.flag("detect_negative", true)?);
    Ok(vec![match signs {
        (true, true) => importer.binary(node, Binary::Or, up, down)?,
        (true, false) => up,
        (false, true) => down,
        (false, false) => importer.binary(node, Binary::Xor, up, up)?,
    }])
}

/// x above a threshold, else 0.
pub(super) fn thresholded_relu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let threshold = importer.number(node, DType::F32, node.attributes.float("alpha", 1.0)?)?;
    let zero = importer.number(node, DType::F32, 0.0)?;
    let above = importer.compare(node, Comparison::Less, threshold, x)?;
    Ok(vec![importer.choose(node, above, x, zero)?])
}

/// x nearer to zero by the bias, and zero where it is within the threshold.
pub(super) fn shrink(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let dtype = importer.ty(x).dtype;
    let (limit, bias) = (node.attributes.float("lambd", 0.5)?, node.attributes.float("bias", 0.0)?);
    let [low, high, bias, zero] = [-limit, limit, bias, 0.0].map(|v| importer.number(node, dtype, v));
    let (low, high, bias, zero) = (low?, high?, bias?, zero?);
    let (below, above) = (
        importer.compare(node, Comparison::Less, x, low)?,
        importer.compare(node, Comparison::Less, high, x)?,
    );
    let (plus, minus) =
        (importer.binary(node, Binary::Add, x, bias)?, importer.binary(node, Binary::Sub, x, bias)?);
    let y = importer.choose(node, above, minus, zero)?;
    Ok(vec![importer.choose(node, below, plus, y)?])
}
