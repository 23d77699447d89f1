//! Normalisations. Batch normalisation has an operator; the others are written out in reductions and arithmetic.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Layout, Op, Padding, Pool, PoolKind, ReduceKind, Unary};
use avocet_ir::tensor::Tensor;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// Batch normalisation, in inference and with the statistics of a batch.
pub(super) fn batch(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if node.attributes.flag("training_mode", false)? {
        return batch_in_training(importer, node);
    }
    if !node.attributes.flag("spatial", true)? {
        return unsupported("statistics for each element");
    }
    let inputs = (0..5).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    if inputs[1..].iter().any(|&parameter| importer.graph.as_constant(parameter).is_none()) {
        return batch_of_computed(importer, node, &inputs);
    }
    let op = Op::BatchNorm { epsilon: node.attributes.float("epsilon", 1e-5)?, axis: 1 };
    Ok(vec![importer.add(node, op, &inputs)?])
}

/// With the statistics of the batch itself, which also move the running ones.
fn batch_in_training(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let &[_, channels, ..] = ty.dims() else { return invalid(format!("{ty} has no channels")) };
    let axes: Vec<usize> = (0..ty.shape.rank()).filter(|&axis| axis != 1).collect();
    let mean = importer.reduced(node, ReduceKind::Mean, x, &axes)?;
    let centred = importer.binary(node, Binary::Sub, x, mean)?;
    let squares = importer.binary(node, Binary::Mul, centred, centred)?;
    let variance = importer.reduced(node, ReduceKind::Mean, squares, &axes)?;
    let (mean, variance) =
        (importer.reshape(node, mean, &[channels])?, importer.reshape(node, variance, &[channels])?);
    let inputs = [x, node.input(1)?, node.input(2)?, mean, variance];
    let mut results = batch_of_computed(importer, node, &inputs)?;
    let momentum = node.attributes.float("momentum", 0.9)?;
    for (running, now) in [(node.input(3)?, mean), (node.input(4)?, variance)] {
        let kept = importer.with_number(node, Binary::Mul, running, momentum)?;
        let new = importer.with_number(node, Binary::Mul, now, 1.0 - momentum)?;
        results.push(importer.binary(node, Binary::Add, kept, new)?);
    }
    Ok(results)
}

/// `x / (bias + alpha * mean of squares)^beta`, the mean over neighbouring channels.
pub(super) fn local_response(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let a = node.attributes;
    let window = size("size", a.int("size", 0)?, 1)?;
    let Some((&[batch, channels], rest)) = ty.dims().split_first_chunk() else {
        return invalid(format!("{ty} has no channels"));
    };
    let squares = importer.binary(node, Binary::Mul, x, x)?;
    let rows = importer.reshape(node, squares, &[batch, 1, channels, rest.iter().product()])?;
    let mean = Pool {
        kind: PoolKind::Average { count_padding: true },
        window: [window, 1],
        strides: [1; 2],
        dilations: [1; 2],
        padding: Padding { top: (window - 1) / 2, bottom: window / 2, left: 0, right: 0 },
        ceil_mode: false,
        layout: Layout::Nchw,
    };
    let mean = importer.add(node, Op::Pool(mean), &[rows])?;
    let mean = importer.reshape(node, mean, ty.dims())?;
    let scaled = importer.with_number(node, Binary::Mul, mean, a.float("alpha", 1e-4)?)?;
    let sum = importer.with_number(node, Binary::Add, scaled, a.float("bias", 1.0)?)?;
    let divisor = importer.with_number(node, Binary::Pow, sum, a.float("beta", 0.75)?)?;
    Ok(vec![importer.binary(node, Binary::Div, x, divisor)?])
}

/// The same with parameters that are computed: written out.
fn batch_of_computed(importer: &mut Importer, node: &Node, inputs: &[Value]) -> Result<Vec<Value>, Problem> {
    let ty = importer.ty(inputs[0]);
    let mut dims = vec![1; ty.shape.rank()];
    match (dims.get_mut(1), ty.dims()) {
        (Some(dim), [_, channels, ..]) => *dim = *channels,
        _ => return invalid(format!("{ty} has no channels")),
    }
    let mut parameters = Vec::new();
    for &parameter in &inputs[1..] {
        parameters.push(importer.reshape(node, parameter, &dims)?);
    }
    let epsilon = importer.constant(node, Tensor::scalar_f32(node.attributes.float("epsilon", 1e-5)?));
    let variance = importer.binary(node, Binary::Add, parameters[3], epsilon)?;
    let deviation = importer.unary(node, Unary::Sqrt, variance)?;
    let centered = importer.binary(node, Binary::Sub, inputs[0], parameters[2])?;
    let y = importer.binary(node, Binary::Div, centered, deviation)?;
    let y = importer.binary(node, Binary::Mul, y, parameters[0])?;
    Ok(vec![importer.binary(node, Binary::Add, y, parameters[1])?])
}

/// `(x - mean) / sqrt(variance + epsilon)` with the statistics over some axes.
fn normalized(importer: &mut Importer, node: &Node, x: Value, axes: Vec<usize>) -> Result<Value, Problem> {
    Ok(with_statistics(importer, node, x, axes)?[0])
}

/// The normalised tensor, the mean, and the deviation.
fn with_statistics(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    axes: Vec<usize>,
) -> Result<[Value; 3], Problem> {
    let epsilon = node.attributes.float("epsilon", 1e-5)?;
    let mean = Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: true };
    let center = importer.add(node, mean.clone(), &[x])?;
    let centered = importer.add(node, Op::Binary(Binary::Sub), &[x, center])?;
    let square = importer.add(node, Op::Binary(Binary::Mul), &[centered, centered])?;
    let variance = importer.add(node, mean, &[square])?;
    let epsilon = importer.constant(node, Tensor::scalar_f32(epsilon));
    let variance = importer.add(node, Op::Binary(Binary::Add), &[variance, epsilon])?;
    let deviation = importer.add(node, Op::Unary(Unary::Sqrt), &[variance])?;
    let y = importer.add(node, Op::Binary(Binary::Div), &[centered, deviation])?;
    Ok([y, center, deviation])
}

/// Over all axes from one on. The other results are the mean and the deviation's inverse.
pub(super) fn layer(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let rank = ty.shape.rank();
    let first = axis(node.attributes.int("axis", -1)?, rank)?;
    let [mut y, mean, deviation] = with_statistics(importer, node, x, (first..rank).collect())?;
    for (number, function) in [(1, Binary::Mul), (2, Binary::Add)] {
        if let Some(parameter) = node.optional(number) {
            y = importer.add(node, Op::Binary(function), &[y, parameter])?;
        }
    }
    match importer.ty(y) == ty {
        true if node.proto.output.len() > 1 => {
            let inverse = importer.add(node, Op::Unary(Unary::Reciprocal), &[deviation])?;
            Ok(vec![y, mean, inverse])
        }
        true => Ok(vec![y]),
        false => invalid(format!("scale or offset do not broadcast to {ty}")),
    }
}

/// `x / sqrt(mean(x^2) + epsilon) * scale`, over all axes from one on.
pub(super) fn root_mean_square(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let first = axis(node.attributes.int("axis", -1)?, rank)?;
    let square = importer.binary(node, Binary::Mul, x, x)?;
    let op = Op::Reduce { kind: ReduceKind::Mean, axes: (first..rank).collect(), keep_dims: true };
    let mean = importer.add(node, op, &[square])?;
    let epsilon = importer.constant(node, Tensor::scalar_f32(node.attributes.float("epsilon", 1e-5)?));
    let mean = importer.binary(node, Binary::Add, mean, epsilon)?;
    let root = importer.unary(node, Unary::Sqrt, mean)?;
    let y = importer.binary(node, Binary::Div, x, root)?;
    Ok(vec![importer.binary(node, Binary::Mul, y, node.input(1)?)?])
}

/// `x / norm` along an axis, 0 where the norm is 0; the sum of sizes or the root of that of squares.
pub(super) fn by_norm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let along = axis(node.attributes.int("axis", -1)?, importer.ty(x).shape.rank())?;
    let squares = match node.attributes.int("p", 2)? {
        1 => false,
        2 => true,
        other => return unsupported(format!("norm {other}")),
    };
    let sizes = match squares {
        true => importer.binary(node, Binary::Mul, x, x)?,
        false => importer.unary(node, Unary::Abs, x)?,
    };
    let op = Op::Reduce { kind: ReduceKind::Sum, axes: vec![along], keep_dims: true };
    let mut norm = importer.add(node, op, &[sizes])?;
    if squares {
        norm = importer.unary(node, Unary::Sqrt, norm)?;
    }
    let zero = importer.constant(node, Tensor::scalar_f32(0.0));
    let none = importer.compare(node, avocet_ir::op::Comparison::Equal, norm, zero)?;
    let y = importer.binary(node, Binary::Div, x, norm)?;
    Ok(vec![importer.choose(node, none, zero, y)?])
}

/// `(x - mean) / (deviation + 1e-9)` over some axes, by default all but channels.
pub(super) fn mean_variance(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let axes = super::axes(node.attributes.ints("axes")?.unwrap_or(&[0, 2, 3]), importer.ty(x).shape.rank())?;
    let mean = Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: true };
    let center = importer.add(node, mean.clone(), &[x])?;
    let centered = importer.binary(node, Binary::Sub, x, center)?;
    let square = importer.binary(node, Binary::Mul, centered, centered)?;
    let variance = importer.add(node, mean, &[square])?;
    let deviation = importer.unary(node, Unary::Sqrt, variance)?;
    let least = importer.constant(node, Tensor::scalar_f32(1e-9));
    let deviation = importer.binary(node, Binary::Add, deviation, least)?;
    Ok(vec![importer.binary(node, Binary::Div, centered, deviation)?])
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
