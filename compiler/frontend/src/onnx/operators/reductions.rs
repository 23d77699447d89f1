//! Reductions and softmax.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, ReduceKind, Unary};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};
use super::{axes, axis};

/// Axes as an attribute before version 18 (13 for sums), as an input since. Norms are sums of something else.
pub(super) fn reduce(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let given = match (node.attributes.ints("axes")?, node.optional(1)) {
        (Some(values), _) => values.to_vec(),
        (None, Some(value)) => importer.integers(value, "a list of axes")?,
        (None, None) => Vec::new(),
    };
    let noop = given.is_empty() && node.attributes.flag("noop_with_empty_axes", false)?;
    let axes = if given.is_empty() { (0..rank).collect() } else { axes(&given, rank)? };
    let keep_dims = node.attributes.flag("keepdims", true)?;
    let (kind, x) = match node.operator() {
        "ReduceMax" => (ReduceKind::Max, x),
        "ReduceMin" => (ReduceKind::Min, x),
        "ReduceMean" => (ReduceKind::Mean, x),
        "ReduceProd" => (ReduceKind::Prod, x),
        "ReduceLogSumExp" => return log_sum_exp(importer, node, x, axes, (noop, keep_dims)),
        "ReduceL1" => (ReduceKind::Sum, importer.add(node, Op::Unary(Unary::Abs), &[x])?),
        "ReduceL2" | "ReduceSumSquare" => {
            (ReduceKind::Sum, importer.add(node, Op::Binary(Binary::Mul), &[x, x])?)
        }
        _ => (ReduceKind::Sum, x),
    };
    let mut y = x;
    if !noop {
        y = importer.add(node, Op::Reduce { kind, axes, keep_dims }, &[x])?;
    }
    match node.operator() {
        "ReduceL2" => y = importer.add(node, Op::Unary(Unary::Sqrt), &[y])?,
        "ReduceLogSum" => y = importer.add(node, Op::Unary(Unary::Log), &[y])?,
        _ => {}
    }
    Ok(vec![y])
}

/// `m + log(sum(exp(x - m)))` with the largest element m, so that no power overflows; an m that is infinite counts as 0.
fn log_sum_exp(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    axes: Vec<usize>,
    (noop, keep_dims): (bool, bool),
) -> Result<Vec<Value>, Problem> {
    let axes = if noop { Vec::new() } else { axes };
    let empty = axes.iter().any(|&axis| importer.ty(x).shape[axis] == 0);
    let sum = |importer: &mut Importer, x: Value| {
        let powers = importer.add(node, Op::Unary(Unary::Exp), &[x])?;
        let op = Op::Reduce { kind: ReduceKind::Sum, axes: axes.clone(), keep_dims };
        let sum = importer.add(node, op, &[powers])?;
        importer.add(node, Op::Unary(Unary::Log), &[sum])
    };
    if empty {
        return Ok(vec![sum(importer, x)?]);
    }
    let op = Op::Reduce { kind: ReduceKind::Max, axes: axes.clone(), keep_dims: true };
    let largest = importer.add(node, op, &[x])?;
    let limited = Unary::Clip { low: f32::MIN, high: f32::MAX };
    let largest = importer.add(node, Op::Unary(limited), &[largest])?;
    let below = importer.add(node, Op::Binary(Binary::Sub), &[x, largest])?;
    let logarithm = sum(importer, below)?;
    let dims = importer.ty(logarithm).dims().to_vec();
    let largest = importer.reshape(node, largest, &dims)?;
    Ok(vec![importer.add(node, Op::Binary(Binary::Add), &[logarithm, largest])?])
}

/// Over everything but batch and channels.
pub(super) fn global(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    if rank < 3 {
        return invalid(format!("global pooling of a tensor of rank {rank}"));
    }
    let kind = if node.operator() == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    Ok(vec![importer.add(node, Op::Reduce { kind, axes: (2..rank).collect(), keep_dims: true }, &[x])?])
}

/// Before version 13 over all dimensions from the axis on, since then over the axis.
pub(super) fn softmax(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let old = importer.opset < 13;
    let mut axis = axis(node.attributes.int("axis", if old { 1 } else { -1 })?, shape.rank().max(1))?;
    let mut y = x;
    if old {
        let (before, after) = shape.dims().split_at(axis);
        y = importer.reshape(node, y, &[before.iter().product(), after.iter().product()])?;
        axis = 1;
    }
    y = match node.operator() {
        "LogSoftmax" => log_softmax(importer, node, y, axis)?,
        _ => importer.add(node, Op::Softmax { axis }, &[y])?,
    };
    Ok(vec![importer.reshape(node, y, shape.dims())?])
}

/// `d - log(sum(exp(d)))` with `d = x - max(x)`; the logarithm of a softmax would lose all small probabilities.
pub(super) fn log_softmax(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    axis: usize,
) -> Result<Value, Problem> {
    let over = |kind| Op::Reduce { kind, axes: vec![axis], keep_dims: true };
    let largest = importer.add(node, over(ReduceKind::Max), &[x])?;
    let distance = importer.add(node, Op::Binary(Binary::Sub), &[x, largest])?;
    let exp = importer.add(node, Op::Unary(Unary::Exp), &[distance])?;
    let sum = importer.add(node, over(ReduceKind::Sum), &[exp])?;
    let log = importer.add(node, Op::Unary(Unary::Log), &[sum])?;
    importer.add(node, Op::Binary(Binary::Sub), &[distance, log])
}
