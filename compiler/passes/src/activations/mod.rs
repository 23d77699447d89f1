//! Recognises activation functions that models spell out in simpler operators.
//!
//! Exporters write SiLU as `x * sigmoid(x)`, hard-swish as `x * clip(x + 3, 0, 6) / 6` and GELU as
//! `0.5 * x * (1 + erf(x / sqrt 2))`, in any association and with multiplications for divisions. Matching spellings one
//! by one would never end; instead a value is read algebraically ([`form`]): as a product of factors times a number,
//! and each factor as `scale * x + offset`. The activation is then recognised by its numbers.

mod form;

use avocet_ir::op::{Binary, Op, Unary};
use avocet_ir::{Graph, NodeId, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::with_scalar;
use form::{Product, affine, product};

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        if let Some((unary, input)) = recognise(graph, id, &mut outcome) {
            graph.replace(id, Op::Unary(unary), &[input])?;
            outcome.changes += 1;
        }
    }
    Ok(outcome)
}

/// The activation function that ends at this node, and its input.
fn recognise(graph: &Graph, id: NodeId, outcome: &mut Outcome) -> Option<(Unary, Value)> {
    let node = graph.node(id);
    if !node.epilogue.is_empty() {
        return None;
    }
    let found = match node.op {
        Op::Unary(unary @ Unary::Clip { .. }) => clip(graph, unary, graph.inputs(id)[0]),
        Op::Binary(Binary::Min | Binary::Max) => limit(graph, id),
        Op::Binary(Binary::Mul | Binary::Div) => {
            let product = product(graph, id.into());
            hard_sigmoid(graph, &product).or_else(|| gated(graph, &product, &node.name, outcome))
        }
        _ => None,
    }?;
    (graph.ty(found.1) == &node.outputs[0] && Op::Unary(found.0) != node.op).then_some(found)
}

/// `max(x, c)` and `min(x, c)` as limits.
fn limit(graph: &Graph, id: NodeId) -> Option<(Unary, Value)> {
    let limited = with_scalar(graph, id).filter(|limited| !limited.scalar.is_nan())?;
    let unary = match limited.op {
        Binary::Max => Unary::Clip { low: limited.scalar, high: f32::INFINITY },
        _ => Unary::Clip { low: f32::NEG_INFINITY, high: limited.scalar },
    };
    clip(graph, unary, limited.value)
}

/// A clip in its simplest form: of two clips in a row one is left, and one without upper limit from 0 is ReLU.
fn clip(graph: &Graph, unary: Unary, input: Value) -> Option<(Unary, Value)> {
    let (mut low, mut high) = limits(unary)?;
    let mut source = input;
    let inner = graph.node(input.node);
    if let (Op::Unary(inner_op), true) = (&inner.op, inner.epilogue.is_empty())
        && let Some((inner_low, inner_high)) = limits(*inner_op)
        && low.max(inner_low) <= high.min(inner_high)
        && inner_low <= inner_high
        && low <= high
    {
        (low, high) = (low.max(inner_low), high.min(inner_high));
        source = graph.inputs(input.node)[0];
    }
    let relu = low == 0.0 && high == f32::INFINITY;
    Some((if relu { Unary::Relu } else { Unary::Clip { low, high } }, source))
}

/// The limits of a function that only limits.
fn limits(unary: Unary) -> Option<(f32, f32)> {
    match unary {
        Unary::Clip { low, high } => Some((low, high)),
        Unary::Relu => Some((0.0, f32::INFINITY)),
        _ => None,
    }
}

/// `c * clip(a * x + b, 0, 1 / c)`.
fn hard_sigmoid(graph: &Graph, product: &Product) -> Option<(Unary, Value)> {
    let [factor] = product.factors[..] else { return None };
    let (gate, x) = as_hard_sigmoid(graph, product.coefficient, factor)?;
    let Gate::HardSigmoid { alpha, beta } = gate else { return None };
    Some((Unary::HardSigmoid { alpha: alpha as f32, beta: beta as f32 }, x))
}

/// What `x` is multiplied with.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Sigmoid,
    HardSigmoid {
        alpha: f64,
        beta: f64,
    },
    /// The normal distribution function, `(1 + erf(x / sqrt 2)) / 2`.
    Normal,
}

/// `x * gate(x)`.
fn gated(graph: &Graph, product: &Product, name: &str, outcome: &mut Outcome) -> Option<(Unary, Value)> {
    let [a, b] = product.factors[..] else { return None };
    let mut near_miss = None;
    for (x, factor) in [(a, b), (b, a)] {
        let Some((gate, argument)) = as_gate(graph, product.coefficient, factor) else { continue };
        if argument != x {
            near_miss = Some("the gate is of another value");
            continue;
        }
        match gate {
            Gate::Sigmoid => return Some((Unary::Silu, x)),
            Gate::Normal => return Some((Unary::Gelu, x)),
            Gate::HardSigmoid { alpha, beta } if near(alpha, 1.0 / 6.0) && near(beta, 0.5) => {
                return Some((Unary::HardSwish, x));
            }
            Gate::HardSigmoid { .. } => near_miss = Some("the hard sigmoid is not that of hard-swish"),
        }
    }
    if let Some(reason) = near_miss {
        outcome.note(name, format!("no activation: {reason}"));
    }
    None
}

/// `coefficient * factor` as a gate, and what it is a gate of.
fn as_gate(graph: &Graph, coefficient: f64, factor: Value) -> Option<(Gate, Value)> {
    let one = near(coefficient, 1.0);
    match unary(graph, factor) {
        Some((Unary::Sigmoid, x)) if one => return Some((Gate::Sigmoid, x)),
        Some((Unary::HardSigmoid { alpha, beta }, x)) if one => {
            return Some((Gate::HardSigmoid { alpha: alpha.into(), beta: beta.into() }, x));
        }
        _ => {}
    }
    as_hard_sigmoid(graph, coefficient, factor).or_else(|| as_normal(graph, coefficient, factor))
}

/// `coefficient * clip(a * x + b, 0, 1 / coefficient)` as a hard sigmoid.
fn as_hard_sigmoid(graph: &Graph, coefficient: f64, factor: Value) -> Option<(Gate, Value)> {
    let Some((Unary::Clip { low, high }, limited)) = unary(graph, factor) else { return None };
    let inner = affine(graph, limited);
    let fits = low == 0.0 && near(coefficient * f64::from(high), 1.0) && coefficient > 0.0;
    // Plain `clip(x, 0, 1)` is better off as what it is.
    let trivial = inner.scale == 1.0 && inner.offset == 0.0;
    let gate = Gate::HardSigmoid { alpha: coefficient * inner.scale, beta: coefficient * inner.offset };
    (fits && !trivial).then_some((gate, inner.value))
}

/// `coefficient * (a * erf(x / sqrt 2) + a)` with `coefficient * a = 1 / 2`.
fn as_normal(graph: &Graph, coefficient: f64, factor: Value) -> Option<(Gate, Value)> {
    let sum = affine(graph, factor);
    let Some((Unary::Erf, argument)) = unary(graph, sum.value) else { return None };
    let argument = affine(graph, argument);
    let fits = near(coefficient * sum.scale, 0.5)
        && near(coefficient * sum.offset, 0.5)
        && near(argument.scale, std::f64::consts::FRAC_1_SQRT_2)
        && argument.offset == 0.0;
    fits.then_some((Gate::Normal, argument.value))
}

/// Equal up to the rounding of constants to f32 and some digits less: exporters write `0.1666667` and `1.41421`.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 4e-6 * b.abs()
}

/// The function of a unary node without an epilogue, and its input.
fn unary(graph: &Graph, value: Value) -> Option<(Unary, Value)> {
    let node = graph.node(value.node);
    match (&node.op, node.epilogue.is_empty()) {
        (Op::Unary(unary), true) => Some((*unary, graph.inputs(value.node)[0])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
