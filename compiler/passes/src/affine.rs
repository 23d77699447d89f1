//! Folds batch normalisation, and every other constant `a * y + b` per channel, into the convolution or matrix product
//! before it.
//!
//! All steps of a chain (bias - batch norm - layer scale) are composed in f64 and applied to the weights at once, so
//! each weight is rounded a single time. What remains is at most one addition of a constant, the bias. A batch norm
//! with nothing to fold into becomes a multiplication and an addition.

use avocet_ir::op::{Binary, Conv, Op};
use avocet_ir::{Graph, NodeId, Tensor, TensorType, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::substitute;

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        // Nodes of a chain vanish when its producer is visited.
        let Some(node) = graph.get(id) else { continue };
        if !node.epilogue.is_empty() {
            continue;
        }
        let applied = match node.op {
            Op::Conv(_) | Op::MatMul { .. } => fold(graph, id, &mut outcome)?,
            Op::BatchNorm { .. } => expand(graph, id, &mut outcome)?,
            _ => false,
        };
        outcome.changes += usize::from(applied);
    }
    Ok(outcome)
}

/// `scale * y + offset`, an entry for each channel.
struct Affine {
    scale: Vec<f64>,
    offset: Vec<f64>,
}

impl Affine {
    fn then(mut self, next: &Affine) -> Affine {
        for (i, (scale, offset)) in next.scale.iter().zip(&next.offset).enumerate() {
            self.scale[i] *= scale;
            self.offset[i] = self.offset[i] * scale + offset;
        }
        self
    }

    fn is_finite(&self) -> bool {
        self.scale.iter().chain(&self.offset).all(|v| (*v as f32).is_finite())
    }
}

/// Folds the chain after a convolution or matrix product with constant weights.
fn fold(graph: &mut Graph, producer: NodeId, outcome: &mut Outcome) -> Result<bool, PassError> {
    let node = graph.node(producer);
    let (name, op) = (node.name.clone(), node.op.clone());
    let result = node.outputs[0].clone();
    let axis = match &op {
        Op::Conv(conv) => conv.layout.channel_axis(),
        _ => result.shape.rank() - 1,
    };
    let (chain, total) = chain(graph, producer, axis);
    let bias_only = matches!(chain[..], [step] if matches!(graph.node(step).op, Op::Binary(Binary::Add)));
    let Some(&last) = chain.last().filter(|_| !bias_only) else { return Ok(false) };
    let inputs = graph.inputs(producer);
    let scaled = total.scale.iter().any(|&s| s != 1.0);
    let weights = match graph.as_constant(inputs[1]) {
        _ if !total.is_finite() => Err("the factors are not finite"),
        Some(weights) if scaled => {
            scale_weights(&op, weights, &total.scale)?.map(Some).ok_or("the weights overflow")
        }
        Some(_) => Ok(None),
        None if scaled => Err("the weights are not constant"),
        None => Ok(None),
    };
    let weights = match weights {
        Ok(weights) => weights,
        Err(reason) => {
            outcome.note(&name, format!("{} steps not folded: {reason}", chain.len()));
            return Ok(false);
        }
    };
    if let Some(weights) = weights {
        let weights_name = graph.node(inputs[1].node).name.clone();
        let weights = graph.constant(weights_name, weights);
        graph.replace(producer, op, &[inputs[0], weights])?;
    }
    let mut folded: Value = producer.into();
    if total.offset.iter().any(|&b| b != 0.0) {
        let bias = per_channel_constant(&total.offset, &result, axis)?;
        let bias = graph.constant(format!("{name}.bias"), bias);
        folded = graph.add(format!("{name}.bias"), Op::Binary(Binary::Add), &[folded, bias])?;
    }
    graph.replace_uses(last.into(), folded)?;
    for step in chain.into_iter().rev() {
        graph.remove(step)?;
    }
    Ok(true)
}

/// The nodes after a producer, each the only user of the one before, that together are one [`Affine`].
fn chain(graph: &Graph, producer: NodeId, axis: usize) -> (Vec<NodeId>, Affine) {
    let channels = graph.node(producer).outputs[0].shape[axis];
    let mut total = Affine { scale: vec![1.0; channels], offset: vec![0.0; channels] };
    let mut chain = Vec::new();
    let mut value = Value::from(producer);
    while let Some((user, _)) = graph.only_user(value) {
        let Some(step) = read(graph, user, value, axis) else { break };
        total = total.then(&step);
        chain.push(user);
        value = user.into();
    }
    (chain, total)
}

/// Reads a node as an [`Affine`] of the channels of one of its inputs.
fn read(graph: &Graph, id: NodeId, input: Value, axis: usize) -> Option<Affine> {
    let node = graph.node(id);
    let ty = graph.ty(input);
    if !node.epilogue.is_empty() || &node.outputs[0] != ty {
        return None;
    }
    let inputs = graph.inputs(id);
    match node.op {
        Op::BatchNorm { axis: norm_axis, .. } if norm_axis == axis && inputs[0] == input => {
            batch_norm(graph, id)
        }
        Op::Binary(op) => {
            let swapped = inputs[1] == input;
            let operand = per_channel(graph.as_constant(inputs[usize::from(!swapped)])?, ty, axis)?;
            let (ones, zeros) = (vec![1.0; operand.len()], vec![0.0; operand.len()]);
            let negated = |values: &[f64]| values.iter().map(|v| -v).collect::<Vec<f64>>();
            Some(match (op, swapped) {
                (Binary::Add, _) => Affine { scale: ones, offset: operand },
                (Binary::Sub, false) => Affine { scale: ones, offset: negated(&operand) },
                (Binary::Sub, true) => Affine { scale: negated(&ones), offset: operand },
                (Binary::Mul, _) => Affine { scale: operand, offset: zeros },
                (Binary::Div, false) => {
                    Affine { scale: operand.iter().map(|v| 1.0 / v).collect(), offset: zeros }
                }
                _ => return None,
            })
        }
        _ => None,
    }
}

/// A batch norm with constant parameters.
fn batch_norm(graph: &Graph, id: NodeId) -> Option<Affine> {
    let Op::BatchNorm { epsilon, .. } = graph.node(id).op else { return None };
    let inputs = graph.inputs(id);
    let data = |i: usize| graph.as_constant(inputs[i]).and_then(Tensor::as_f32);
    let (scale, offset, mean, variance) = (data(1)?, data(2)?, data(3)?, data(4)?);
    let scale: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt())
        .collect();
    let offset = offset.iter().zip(mean).zip(&scale);
    let offset =
        offset.map(|((&offset, &mean), scale)| f64::from(offset) - f64::from(mean) * scale).collect();
    Some(Affine { scale, offset })
}

/// The elements of a constant that broadcasts along this axis only, one for each channel.
fn per_channel(constant: &Tensor, ty: &TensorType, axis: usize) -> Option<Vec<f64>> {
    let data = constant.as_f32()?;
    let channels = ty.shape[axis];
    let missing = ty.shape.rank().checked_sub(constant.shape().rank())?;
    let elsewhere = constant.shape().dims().iter().enumerate().any(|(i, &d)| i + missing != axis && d != 1);
    match data {
        _ if elsewhere => None,
        [value] => Some(vec![f64::from(*value); channels]),
        _ => (data.len() == channels).then(|| data.iter().map(|&v| f64::from(v)).collect()),
    }
}

/// A constant that broadcasts along this axis of the type.
fn per_channel_constant(values: &[f64], ty: &TensorType, axis: usize) -> Result<Tensor, PassError> {
    let mut dims = vec![1; ty.shape.rank() - axis];
    dims[0] = values.len();
    Ok(Tensor::f32(dims, values.iter().map(|&v| v as f32).collect::<Vec<f32>>())?)
}

/// The weights with each output channel multiplied by its factor; nothing if that is not finite.
fn scale_weights(op: &Op, weights: &Tensor, scale: &[f64]) -> Result<Option<Tensor>, PassError> {
    let Some(data) = weights.as_f32() else { return Ok(None) };
    let dims = weights.shape().dims();
    let axis = match op {
        Op::Conv(Conv { .. }) => 0,
        Op::MatMul { transpose_b: true, .. } => dims.len() - 2,
        _ => dims.len() - 1,
    };
    // Elements of one output channel that lie together.
    let run: usize = dims[axis + 1..].iter().product();
    let scaled: Vec<f32> = data
        .iter()
        .enumerate()
        .map(|(i, &w)| (f64::from(w) * scale[i / run.max(1) % scale.len()]) as f32)
        .collect();
    if data.iter().zip(&scaled).any(|(before, after)| before.is_finite() && !after.is_finite()) {
        return Ok(None);
    }
    Ok(Some(Tensor::f32(dims, scaled)?))
}

/// A batch norm as a multiplication and an addition.
fn expand(graph: &mut Graph, id: NodeId, outcome: &mut Outcome) -> Result<bool, PassError> {
    let node = graph.node(id);
    let (name, ty) = (node.name.clone(), node.outputs[0].clone());
    let Op::BatchNorm { axis, .. } = node.op else { return Ok(false) };
    let Some(affine) = batch_norm(graph, id).filter(Affine::is_finite) else {
        outcome.note(&name, "not expanded: its factors are not constant and finite");
        return Ok(false);
    };
    let x = graph.inputs(id)[0];
    let scale = graph.constant(format!("{name}.scale"), per_channel_constant(&affine.scale, &ty, axis)?);
    let offset = graph.constant(format!("{name}.bias"), per_channel_constant(&affine.offset, &ty, axis)?);
    let product = graph.add(format!("{name}.scale"), Op::Binary(Binary::Mul), &[x, scale])?;
    let sum = graph.add(name, Op::Binary(Binary::Add), &[product, offset])?;
    substitute(graph, id, sum)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    #[test]
    fn a_convolutions_bias_and_batch_norm() {
        let mut net = Network::new();
        let x = net.input("x", [1, 4, 5, 5]);
        let y = net.conv(x, 6, 3, 1, 2);
        let bias = net.random([1, 6, 1, 1]);
        let y = net.binary(Binary::Sub, bias, y);
        let y = net.batch_norm(y);
        let layer_scale = net.random([6, 1, 1]);
        let y = net.binary(Binary::Mul, y, layer_scale);
        let two = net.scalar(2.0);
        let y = net.binary(Binary::Div, y, two);
        let y = net.relu(y);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,4,5,5] ; x
          %1 = constant : f32[6,2,3,3]
          %2 = conv %0, %1 {padding=[1,1,1,1], groups=2, layout=nchw} : f32[1,6,5,5] ; n2
          %3 = constant : f32[6,1,1] ; n2.bias
          %4 = add %2, %3 : f32[1,6,5,5] ; n2.bias
          %5 = relu %4 : f32[1,6,5,5] ; n12
          return %5 "y"
        "#);
    }

    #[test]
    fn a_dense_layers_batch_norm() {
        for transpose_b in [false, true] {
            let mut net = Network::new();
            let x = net.input("x", [3, 4]);
            let weights = net.random(if transpose_b { [5, 4] } else { [4, 5] });
            let y = net.add(Op::MatMul { transpose_a: false, transpose_b }, &[x, weights]);
            let y = net.batch_norm(y);
            let graph = net.finish(y);
            let (after, outcome) = check(run, &graph);
            assert_eq!((after.len(), outcome.changes), (5, 1), "{after}");
        }
    }

    #[test]
    fn a_batch_norm_alone_and_one_with_two_uses_before() {
        let mut net = Network::new();
        let x = net.input("x", [1, 2, 3, 3]);
        let y = net.batch_norm(x);
        let y = net.conv(y, 2, 1, 1, 1);
        let normed = net.batch_norm(y);
        let y = net.binary(Binary::Add, normed, y);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,2,3,3] ; x
          %1 = constant [-0.69406116, -0.31221297] : f32[2,1,1] ; n10.scale
          %2 = constant [-0.7408867, 0.09848642, -0.40139866, 0.40610588] : f32[2,2,1,1]
          %3 = constant [-0.9722635, 0.9594312] : f32[2,1,1] ; n4.scale
          %4 = constant [-1.6771097, 0.20608371] : f32[2,1,1] ; n4.bias
          %5 = mul %0, %3 : f32[1,2,3,3] ; n4.scale
          %6 = add %5, %4 : f32[1,2,3,3] ; n4
          %7 = conv %6, %2 {layout=nchw} : f32[1,2,3,3] ; n6
          %8 = constant [-1.0029073, -0.6649682] : f32[2,1,1] ; n10.bias
          %9 = mul %7, %1 : f32[1,2,3,3] ; n10.scale
          %10 = add %9, %8 : f32[1,2,3,3] ; n10
          %11 = add %10, %7 : f32[1,2,3,3] ; n11
          return %11 "y"
        "#);
    }

    #[test]
    fn a_bias_stays_as_it_is() {
        let mut net = Network::new();
        let x = net.input("x", [2, 3]);
        let y = net.dense(x, 4);
        let graph = net.finish(y);
        assert_eq!(check(run, &graph).1.changes, 0);
    }

    #[test]
    fn variances_that_are_no_variances() {
        let mut net = Network::new();
        let x = net.input("x", [1, 1, 2, 2]);
        let y = net.conv(x, 1, 1, 1, 1);
        let (one, minus) = (net.constant([1], &[1.0]), net.constant([1], &[-1.0]));
        let y = net.add(Op::BatchNorm { epsilon: 0.0, axis: 1 }, &[y, one, one, one, minus]);
        let graph = net.finish(y);
        let (_, outcome) = check(run, &graph);
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n2': 1 steps not folded: the factors are not finite
          'n3': not expanded: its factors are not constant and finite
        "#);
    }
}
