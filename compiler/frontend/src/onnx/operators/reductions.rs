//! Reductions and softmax.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, ReduceKind, Unary};

use super::super::attributes::{Problem, invalid};
use super::super::import::{Importer, Node};
use super::{axes, axis};

/// Axes as an attribute before version 18 (13 for sums), as an input since.
pub(super) fn reduce(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let kind = match node.proto.op_type.as_str() {
        "ReduceMax" => ReduceKind::Max,
        "ReduceMin" => ReduceKind::Min,
        "ReduceSum" => ReduceKind::Sum,
        _ => ReduceKind::Mean,
    };
    let given = match (node.attributes.ints("axes"), node.optional(1)) {
        (Some(values), _) => values.to_vec(),
        (None, Some(value)) => importer.integers(value, "axes")?,
        (None, None) => Vec::new(),
    };
    if given.is_empty() && node.attributes.int("noop_with_empty_axes", 0) != 0 {
        return Ok(vec![x]);
    }
    let axes = if given.is_empty() { (0..rank).collect() } else { axes(&given, rank)? };
    let keep_dims = node.attributes.int("keepdims", 1) != 0;
    Ok(vec![importer.add(node, Op::Reduce { kind, axes, keep_dims }, &[x])?])
}

/// Over everything but batch and channels.
pub(super) fn global(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    if rank < 3 {
        return invalid(format!("global pooling of a tensor of rank {rank}"));
    }
    let kind = if node.proto.op_type == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    Ok(vec![importer.add(node, Op::Reduce { kind, axes: (2..rank).collect(), keep_dims: true }, &[x])?])
}

/// Before version 13 over all dimensions from the axis on, since then over the axis.
pub(super) fn softmax(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let old = importer.opset < 13;
    let axis = axis(node.attributes.int("axis", if old { 1 } else { -1 }), shape.rank().max(1))?;
    let mut y = x;
    if old {
        let (before, after) = shape.dims().split_at(axis);
        y = importer.reshape(node, y, &[before.iter().product(), after.iter().product()])?;
    }
    let axis = if old { 1 } else { axis };
    if node.proto.op_type == "LogSoftmax" {
        // x - max - ln(sum(exp(x - max))): the logarithm of the softmax would lose small results.
        let over = |kind| Op::Reduce { kind, axes: vec![axis], keep_dims: true };
        let largest = importer.add(node, over(ReduceKind::Max), &[y])?;
        let shifted = importer.add(node, Op::Binary(Binary::Sub), &[y, largest])?;
        let powers = importer.add(node, Op::Unary(Unary::Exp), &[shifted])?;
        let sum = importer.add(node, over(ReduceKind::Sum), &[powers])?;
        let logarithm = importer.add(node, Op::Unary(Unary::Log), &[sum])?;
        y = importer.add(node, Op::Binary(Binary::Sub), &[shifted, logarithm])?;
    } else {
        y = importer.add(node, Op::Softmax { axis }, &[y])?;
    }
    Ok(vec![importer.reshape(node, y, shape.dims())?])
}
