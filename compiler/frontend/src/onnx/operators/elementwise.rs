//! Elementwise operators.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, Unary};
use avocet_ir::tensor::{DType, Tensor};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};

/// Functions of one operand.
pub(super) fn unary(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let a = node.attributes;
    let function = match node.operator() {
        "Abs" => Unary::Abs,
        "Ceil" => Unary::Ceil,
        "Elu" => Unary::Elu { alpha: a.float("alpha", 1.0)? },
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Floor" => Unary::Floor,
        "HardSigmoid" => Unary::HardSigmoid { alpha: a.float("alpha", 0.2)?, beta: a.float("beta", 0.5)? },
        "HardSwish" => Unary::HardSwish,
        "LeakyRelu" => Unary::LeakyRelu { alpha: a.float("alpha", 0.01)? },
        "Log" => Unary::Log,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Softplus" => Unary::Softplus,
        "Sqrt" => Unary::Sqrt,
        "Tanh" => Unary::Tanh,
        "Acos" => Unary::Acos,
        "Acosh" => Unary::Acosh,
        "Asin" => Unary::Asin,
        "Asinh" => Unary::Asinh,
        "Atan" => Unary::Atan,
        "Atanh" => Unary::Atanh,
        "Cos" => Unary::Cos,
        "Cosh" => Unary::Cosh,
        "Round" => Unary::Round,
        "Sign" => Unary::Sign,
        "Sin" => Unary::Sin,
        "Sinh" => Unary::Sinh,
        "Tan" => Unary::Tan,
        other => return unsupported(format!("{other} as a function of one operand")),
    };
    let x = node.input(0)?;
    Ok(vec![importer.add(node, Op::Unary(function), &[x])?])
}

/// Functions of two operands.
pub(super) fn binary(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let function = match node.operator() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        other => return unsupported(format!("{other} as a function of two operands")),
    };
    let (x, mut y) = (node.input(0)?, node.input(1)?);
    // Since version 12 the exponent may be of another type.
    if function == Binary::Pow && importer.ty(y).dtype != importer.ty(x).dtype {
        y = importer.add(node, Op::Cast { to: importer.ty(x).dtype }, &[y])?;
    }
    Ok(vec![importer.add(node, Op::Binary(function), &[x, y])?])
}

/// Max, Min, Sum and Mean of any number of operands.
pub(super) fn variadic(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let function = match node.operator() {
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        _ => Binary::Add,
    };
    let mut result = node.input(0)?;
    for number in 1..node.inputs.len() {
        result = importer.add(node, Op::Binary(function), &[result, node.input(number)?])?;
    }
    if node.operator() == "Mean" && node.inputs.len() > 1 {
        let count = importer.constant(node, Tensor::scalar_f32(node.inputs.len() as f32));
        result = importer.add(node, Op::Binary(Binary::Div), &[result, count])?;
    }
    Ok(vec![result])
}

/// Limits as attributes before version 11, as inputs since; of integers since version 12, which occur in shapes.
pub(super) fn clip(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let computed = (1..3).filter_map(|i| node.optional(i)).any(|v| importer.graph.as_constant(v).is_none());
    if importer.ty(x).dtype != DType::F32 || computed {
        let mut y = x;
        for (number, function) in [(1, Binary::Max), (2, Binary::Min)] {
            if let Some(limit) = node.optional(number) {
                y = importer.add(node, Op::Binary(function), &[y, limit])?;
            }
        }
        return Ok(vec![y]);
    }
    // The lowest and highest numbers, the defaults of old versions, stand for no limit.
    let (low, high) = (node.attributes.float("min", f32::MIN)?, node.attributes.float("max", f32::MAX)?);
    let mut low = if low <= f32::MIN { f32::NEG_INFINITY } else { low };
    let mut high = if high >= f32::MAX { f32::INFINITY } else { high };
    for (number, limit) in [(1, &mut low), (2, &mut high)] {
        if let Some(value) = node.optional(number) {
            *limit = match importer.floats(value, "a limit")?[..] {
                [one] => one,
                _ => return invalid("a limit that is not one number"),
            };
        }
    }
    Ok(vec![importer.add(node, Op::Unary(Unary::Clip { low, high }), &[x])?])
}

/// The slope broadcasts to the operand, one way only.
pub(super) fn prelu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, slope) = (node.input(0)?, node.input(1)?);
    let y = importer.add(node, Op::Binary(Binary::Prelu), &[x, slope])?;
    match importer.ty(y) == importer.ty(x) {
        true => Ok(vec![y]),
        false => invalid(format!("a slope of {} for {}", importer.ty(slope), importer.ty(x))),
    }
}

fn number(importer: &mut Importer, node: &Node, value: f32) -> Value {
    importer.constant(node, Tensor::scalar_f32(value))
}

fn apply(importer: &mut Importer, node: &Node, function: Binary, x: Value, y: f32) -> Result<Value, Problem> {
    let y = number(importer, node, y);
    importer.add(node, Op::Binary(function), &[x, y])
}

/// Exact, or by the hyperbolic tangent.
pub(super) fn gelu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    match node.attributes.text("approximate", "none")?.as_str() {
        "none" => Ok(vec![importer.add(node, Op::Unary(Unary::Gelu), &[x])?]),
        "tanh" => {
            // x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))).
            let square = importer.add(node, Op::Binary(Binary::Mul), &[x, x])?;
            let inner = apply(importer, node, Binary::Mul, square, 0.044_715)?;
            let inner = apply(importer, node, Binary::Add, inner, 1.0)?;
            let inner = importer.add(node, Op::Binary(Binary::Mul), &[inner, x])?;
            let inner = apply(importer, node, Binary::Mul, inner, (2.0 / std::f32::consts::PI).sqrt())?;
            let tanh = importer.add(node, Op::Unary(Unary::Tanh), &[inner])?;
            let sum = apply(importer, node, Binary::Add, tanh, 1.0)?;
            let half = apply(importer, node, Binary::Mul, x, 0.5)?;
            Ok(vec![importer.add(node, Op::Binary(Binary::Mul), &[half, sum])?])
        }
        other => unsupported(format!("approximation '{}'", other.escape_debug())),
    }
}

/// `alpha * elu(x / alpha)`.
pub(super) fn celu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, alpha) = (node.input(0)?, node.attributes.float("alpha", 1.0)?);
    let y = apply(importer, node, Binary::Div, x, alpha)?;
    let y = importer.add(node, Op::Unary(Unary::Elu { alpha: 1.0 }), &[y])?;
    Ok(vec![apply(importer, node, Binary::Mul, y, alpha)?])
}

/// `x * sigmoid(alpha x)`.
pub(super) fn swish(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let y = apply(importer, node, Binary::Mul, x, node.attributes.float("alpha", 1.0)?)?;
    let gate = importer.add(node, Op::Unary(Unary::Sigmoid), &[y])?;
    Ok(vec![importer.add(node, Op::Binary(Binary::Mul), &[x, gate])?])
}

/// `x * tanh(softplus(x))`.
pub(super) fn swiglu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    if importer.ty(a) != importer.ty(b) {
        return invalid(format!("{} and {}", importer.ty(a), importer.ty(b)));
    }
    let gate = swish(importer, node)?[0];
    Ok(vec![importer.binary(node, Binary::Mul, gate, b)?])
}

pub(super) fn mish(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let soft = importer.add(node, Op::Unary(Unary::Softplus), &[x])?;
    let tanh = importer.add(node, Op::Unary(Unary::Tanh), &[soft])?;
    Ok(vec![importer.add(node, Op::Binary(Binary::Mul), &[x, tanh])?])
}

/// `gamma * elu(x)`.
pub(super) fn selu(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let alpha = node.attributes.float("alpha", 1.673_263_2)?;
    let elu = importer.add(node, Op::Unary(Unary::Elu { alpha }), &[x])?;
    Ok(vec![apply(importer, node, Binary::Mul, elu, node.attributes.float("gamma", 1.050_701)?)?])
}

/// `x / (1 + |x|)`.
pub(super) fn softsign(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let size = importer.add(node, Op::Unary(Unary::Abs), &[x])?;
    let sum = apply(importer, node, Binary::Add, size, 1.0)?;
    Ok(vec![importer.add(node, Op::Binary(Binary::Div), &[x, sum])?])
}
