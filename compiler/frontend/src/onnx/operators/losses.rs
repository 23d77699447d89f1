//! Losses of classification, written out: the logarithm of the target's probability, weighted and joined.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, ReduceKind, Unary};
use avocet_ir::tensor::{DType, Tensor};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};
use super::reductions::log_softmax;

/// The loss of logarithms of probabilities.
pub(super) fn negative_log_likelihood(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    Ok(vec![loss(importer, node, node.input(0)?)?])
}

/// The loss of scores, and the logarithms of the probabilities that they mean.
pub(super) fn softmax_cross_entropy(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    if importer.ty(x).shape.rank() < 2 {
        return invalid(format!("scores of {}, expected batch and classes", importer.ty(x)));
    }
    let logarithms = log_softmax(importer, node, x, 1)?;
    Ok(vec![loss(importer, node, logarithms)?, logarithms])
}

fn loss(importer: &mut Importer, node: &Node, x: Value) -> Result<Value, Problem> {
    let (target, shape) = (node.input(1)?, importer.ty(x).shape);
    let dims = importer.ty(target).dims().to_vec();
    if shape.rank() < 2 || dims.len() + 1 != shape.rank() {
        return invalid(format!("targets of {} for {shape}", importer.ty(target)));
    }
    let target = importer.cast(node, target, DType::I64)?;
    let mut places = dims.clone();
    places.insert(1, 1);
    let places = importer.reshape(node, target, &places)?;
    let numbers = importer.along(node, places, &shape, 1)?;
    let taken = importer.take(node, x, numbers)?;
    let taken = importer.reshape(node, taken, &dims)?;
    let mut loss = importer.unary(node, Unary::Neg, taken)?;
    let (zero, one) = (importer.number(node, DType::F32, 0.0)?, importer.number(node, DType::F32, 1.0)?);
    let mut weights = None;
    if let Some(of_classes) = node.optional(2) {
        let of_targets = importer.take(node, of_classes, target)?;
        loss = importer.binary(node, Binary::Mul, loss, of_targets)?;
        weights = Some(of_targets);
    }
    if node.attributes.has("ignore_index") {
        let ignored = node.attributes.int("ignore_index", 0)?;
        let ignored = importer.constant(node, Tensor::i64([], [ignored].as_slice())?);
        let ignored = importer.compare(node, Comparison::Equal, target, ignored)?;
        // Chosen, not multiplied: what is ignored may be infinite.
        loss = importer.choose(node, ignored, zero, loss)?;
        weights = Some(importer.choose(node, ignored, zero, weights.unwrap_or(one))?);
    }
    let over = |kind| Op::Reduce { kind, axes: (0..dims.len()).collect(), keep_dims: false };
    match (node.attributes.text("reduction", "mean")?.as_str(), weights) {
        ("none", _) => Ok(loss),
        ("sum", _) => importer.add(node, over(ReduceKind::Sum), &[loss]),
        ("mean", None) => importer.add(node, over(ReduceKind::Mean), &[loss]),
        ("mean", Some(weights)) => {
            let sum = importer.add(node, over(ReduceKind::Sum), &[loss])?;
            let weight = importer.add(node, over(ReduceKind::Sum), &[weights])?;
            importer.binary(node, Binary::Div, sum, weight)
        }
        (other, _) => invalid(format!("reduction '{}'", other.escape_debug())),
    }
}
