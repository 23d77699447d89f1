//! Normalisations. Batch normalisation has an operator; the others are written out in reductions and arithmetic.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op, ReduceKind, Unary};
use avocet_ir::tensor::Tensor;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// In inference; what training would return besides is left out.
pub(super) fn batch(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if node.attributes.flag("training_mode", false)? {
        return unsupported("training");
    }
    if !node.attributes.flag("spatial", true)? {
        return unsupported("statistics for each element");
    }
    let inputs = (0..5).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    let op = Op::BatchNorm { epsilon: node.attributes.float("epsilon", 1e-5)?, axis: 1 };
    Ok(vec![importer.add(node, op, &inputs)?])
}

/// `(x - mean) / sqrt(variance + epsilon)` with the statistics over some axes.
fn normalized(importer: &mut Importer, node: &Node, x: Value, axes: Vec<usize>) -> Result<Value, Problem> {
    let epsilon = node.attributes.float("epsilon", 1e-5)?;
    let mean = Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: true };
    let center = importer.add(node, mean.clone(), &[x])?;
    let centered = importer.add(node, Op::Binary(Binary::Sub), &[x, center])?;
    let square = importer.add(node, Op::Binary(Binary::Mul), &[centered, centered])?;
    let variance = importer.add(node, mean, &[square])?;
    let epsilon = importer.constant(node, Tensor::scalar_f32(epsilon));
    let variance = importer.add(node, Op::Binary(Binary::Add), &[variance, epsilon])?;
    let deviation = importer.add(node, Op::Unary(Unary::Sqrt), &[variance])?;
    importer.add(node, Op::Binary(Binary::Div), &[centered, deviation])
}

/// Over all axes from one on. Mean and deviation, the other results, are left out.
pub(super) fn layer(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let rank = ty.shape.rank();
    let first = axis(node.attributes.int("axis", -1)?, rank)?;
    let mut y = normalized(importer, node, x, (first..rank).collect())?;
    for (number, function) in [(1, Binary::Mul), (2, Binary::Add)] {
        if let Some(parameter) = node.optional(number) {
            y = importer.add(node, Op::Binary(function), &[y, parameter])?;
        }
    }
    match importer.ty(y) == ty {
        true => Ok(vec![y]),
        false => invalid(format!("scale or offset do not broadcast to {ty}")),
    }
}

/// Scale and offset of each channel.
fn scaled(importer: &mut Importer, node: &Node, x: Value) -> Result<Value, Problem> {
    let ty = importer.ty(x);
    let mut dims = vec![1; ty.shape.rank() - 1];
    dims[0] = ty.shape[1];
    let mut y = x;
    for (number, function) in [(1, Binary::Mul), (2, Binary::Add)] {
        let parameter = importer.reshape(node, node.input(number)?, &dims)?;
        y = importer.add(node, Op::Binary(function), &[y, parameter])?;
    }
    Ok(y)
}

/// Over the positions of each channel.
pub(super) fn instance(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    if rank < 3 {
        return invalid(format!("a tensor of rank {rank}, expected batch, channels and positions"));
    }
    let y = normalized(importer, node, x, (2..rank).collect())?;
    Ok(vec![scaled(importer, node, y)?])
}

/// Over the positions and channels of each group.
pub(super) fn group(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let groups = size("num_groups", node.attributes.int("num_groups", 0)?, 1)?;
    let (&[batch, channels, ..], false) = (ty.dims(), ty.shape.elements() == 0) else {
        return invalid(format!("{ty}, expected batch and channels"));
    };
    if !channels.is_multiple_of(groups) {
        return invalid(format!("{groups} groups do not divide {channels} channels"));
    }
    let elements = ty.shape.elements() / batch / groups;
    let y = importer.reshape(node, x, &[batch, groups, elements])?;
    let y = normalized(importer, node, y, vec![2])?;
    let y = importer.reshape(node, y, ty.dims())?;
    Ok(vec![scaled(importer, node, y)?])
}
