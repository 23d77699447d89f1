//! Values read algebraically: as `coefficient * factor * factor`, or as `scale * x + offset`.
//!
//! Only operators whose result has the type of what they are read as count, so a reading never changes a shape. Depth
//! is bounded; a chain that goes deeper is read as far as the bound.

use avocet_ir::op::{Binary, Op, Unary};
use avocet_ir::{Graph, Value};

use crate::rewrite::{WithScalar, plain_binary, with_scalar};

/// Operators looked through in a row; spelled-out activations need four.
const MAX_DEPTH: usize = 6;

/// `coefficient * factors[0] * factors[1]`, or with one factor.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) coefficient: f64,
    /// One or two values that are not themselves multiples of another.
    pub(super) factors: Vec<Value>,
}

/// Reads a value as a product of at most two factors; the value itself is always one reading.
pub(super) fn product(graph: &Graph, value: Value) -> Product {
    let mut result = Product { coefficient: 1.0, factors: Vec::new() };
    let (multiple, inner) = multiple(graph, value);
    result.coefficient *= multiple;
    match (plain_binary(graph, inner.node), &graph.inputs(inner.node)[..]) {
        (Some(Binary::Mul), &[a, b]) if graph.ty(a) == graph.ty(b) => {
            for operand in [a, b] {
                let (multiple, factor) = self::multiple(graph, operand);
                result.coefficient *= multiple;
                result.factors.push(factor);
            }
        }
        _ => result.factors.push(inner),
    }
    result
}

/// Reads a value as a number times another value.
fn multiple(graph: &Graph, mut value: Value) -> (f64, Value) {
    let mut coefficient = 1.0;
    for _ in 0..MAX_DEPTH {
        match with_scalar(graph, value.node) {
            Some(WithScalar { op: Binary::Mul, value: inner, scalar, .. }) => {
                coefficient *= f64::from(scalar);
                value = inner;
            }
            Some(WithScalar { op: Binary::Div, value: inner, scalar, swapped: false }) => {
                coefficient /= f64::from(scalar);
                value = inner;
            }
            _ => break,
        }
    }
    (coefficient, value)
}

/// `scale * value + offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Affine {
    pub(super) scale: f64,
    pub(super) value: Value,
    pub(super) offset: f64,
}

/// Reads a value as a linear function of another.
pub(super) fn affine(graph: &Graph, value: Value) -> Affine {
    let mut result = Affine { scale: 1.0, value, offset: 0.0 };
    for _ in 0..MAX_DEPTH {
        let node = graph.node(result.value.node);
        if matches!(node.op, Op::Unary(Unary::Neg)) && node.epilogue.is_empty() {
            result.value = graph.inputs(result.value.node)[0];
            result.scale = -result.scale;
            continue;
        }
        let Some(step) = with_scalar(graph, result.value.node) else { break };
        let scalar = f64::from(step.scalar);
        // The step is `a * inner + b`.
        let (a, b) = match (step.op, step.swapped) {
            (Binary::Add, _) => (1.0, scalar),
            (Binary::Sub, false) => (1.0, -scalar),
            (Binary::Sub, true) => (-1.0, scalar),
            (Binary::Mul, _) => (scalar, 0.0),
            (Binary::Div, false) => (1.0 / scalar, 0.0),
            _ => break,
        };
        result =
            Affine { scale: result.scale * a, value: step.value, offset: result.scale * b + result.offset };
    }
    result
}
