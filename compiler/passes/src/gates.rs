//! Moves the gate of squeeze-and-excitation from the image to the weights of the pointwise convolution that follows.
//!
//! `conv(image * gate, weights)` is `matmul(image, weights * gate)`: the gate has one number for each channel, so each row
//! of the weights is scaled instead of each pixel. The weights have fewer numbers than the image in all but the last
//! stages of a network, and the gated image is neither written nor read again. A gate for each image of a batch stays: each
//! would need weights of its own.

use avocet_ir::op::{Binary, Conv, Layout, Op};
use avocet_ir::{Graph, NodeId, Shape, Tensor, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::rewrite::plain_binary;

/// The image must have so many times the weights' numbers: the product reads weights that are not packed.
const WORTH: usize = 2;

/// The pass.
pub(crate) fn run(graph: &mut Graph, _: &Context<'_>) -> Result<Outcome, PassError> {
    let mut outcome = Outcome::default();
    for id in graph.topological()? {
        let gated = match gated(graph, id) {
            None => continue,
            Some(Err(reason)) => {
                outcome.note(&graph.node(id).name, format!("gate not moved to the weights: {reason}"));
                continue;
            }
            Some(Ok(gated)) => gated,
        };
        let Gated { image, gate, weights, inputs, outputs } = gated;
        let name = graph.node(id).name.clone();
        let weights = graph.constant(format!("{name}.weights"), weights);
        let shape = Shape::new([inputs, 1])?;
        let gate = graph.add(format!("{name}.gate"), Op::Reshape { shape }, &[gate])?;
        let scaled = graph.add(format!("{name}.gated"), Op::Binary(Binary::Mul), &[weights, gate])?;
        debug_assert_eq!(graph.ty(scaled).dims(), [inputs, outputs]);
        let product = Op::MatMul { transpose_a: false, transpose_b: false };
        graph.replace(id, product, &[image, scaled])?;
        outcome.changes += 1;
    }
    Ok(outcome)
}

struct Gated {
    image: Value,
    gate: Value,
    /// `[inputs, outputs]`.
    weights: Tensor,
    inputs: usize,
    outputs: usize,
}

/// What a convolution of a gated image consists of; or why it stays; or nothing, where there is no gate.
fn gated(graph: &Graph, id: NodeId) -> Option<Result<Gated, String>> {
    let node = graph.node(id);
    let Op::Conv(Conv { strides: [1, 1], padding, groups: 1, layout: Layout::Nhwc, .. }) = &node.op else {
        return None;
    };
    let [source, weights] = graph.inputs(id).get(..2)?.try_into().ok()?;
    let tensor = graph.as_constant(weights)?;
    let [outputs, inputs, 1, 1] = *tensor.shape().dims() else { return None };
    if plain_binary(graph, source.node) != Some(Binary::Mul)
        || !padding.is_none()
        || !node.epilogue.is_empty()
    {
        return None;
    }
    let factors: [Value; 2] = graph.inputs(source.node).try_into().ok()?;
    let is_gate = |value: Value| graph.ty(value).dims() == [1, 1, 1, inputs];
    let [image, gate] = match factors.map(is_gate) {
        [false, true] => factors,
        [true, false] => [factors[1], factors[0]],
        _ => return None,
    };
    let dims = graph.ty(image).dims();
    if graph.only_user(source).is_none() {
        return Some(Err("the gated image is used elsewhere".into()));
    }
    if dims[0] * dims[1] * dims[2] < WORTH * outputs {
        return Some(Err(format!("{} pixels are few for {outputs} channels", dims[0] * dims[1] * dims[2])));
    }
    let data = tensor.as_f32()?;
    let turned: Vec<f32> = (0..inputs * outputs).map(|i| data[i % outputs * inputs + i / outputs]).collect();
    let weights = Tensor::f32([inputs, outputs], turned).ok()?;
    Some(Ok(Gated { image, gate, weights, inputs, outputs }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Network, check};

    fn network(dims: [usize; 4], outputs: usize) -> Graph {
        let mut net = Network::new();
        let x = net.input("x", dims);
        let mean = net.mean(x, &[1, 2], true);
        let gated = net.binary(Binary::Mul, x, mean);
        let weights = net.random([outputs, dims[3], 1, 1]);
        let conv = Conv {
            strides: [1; 2],
            dilations: [1; 2],
            padding: avocet_ir::op::Padding::default(),
            groups: 1,
            layout: Layout::Nhwc,
        };
        let y = net.add(Op::Conv(conv), &[gated, weights]);
        net.finish(y)
    }

    #[test]
    fn the_gate_scales_the_weights() {
        let (after, _) = check(run, &network([1, 4, 5, 3], 2));
        insta::assert_snapshot!(after.to_string(), @r#"
        graph test
          %0 = input : f32[1,4,5,3] ; x
          %1 = reduce_mean %0 {axes=[1,2], keep_dims=true} : f32[1,1,1,3] ; n1
          %2 = constant : f32[3,2] ; n4.weights
          %3 = reshape %1 {shape=[3,1]} : f32[3,1] ; n4.gate
          %4 = mul %2, %3 : f32[3,2] ; n4.gated
          %5 = matmul %0, %4 : f32[1,4,5,2] ; n4
          return %5 "y"
        "#);
    }

    #[test]
    fn few_pixels_and_gates_of_each_image_stay() {
        let (_, outcome) = check(run, &network([1, 2, 1, 3], 2));
        insta::assert_snapshot!(outcome.to_string(), @r#"
        no change
          'n4': gate not moved to the weights: 2 pixels are few for 2 channels
        "#);
        let (_, outcome) = check(run, &network([2, 4, 5, 3], 2));
        insta::assert_snapshot!(outcome.to_string(), @"no change");
    }
}
