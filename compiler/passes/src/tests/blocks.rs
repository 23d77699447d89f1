//! Building blocks of efficient networks through the whole pipeline.

use avocet_ir::op::{Binary, Unary};
use avocet_ir::{Graph, Op, Value};

use crate::testing::Network;

/// The network after the pipeline, which finds nothing more to do when it runs again.
fn compiled(graph: &Graph) -> Graph {
    let after = super::compiled(graph);
    assert_eq!(super::compiled(&after).to_string(), after.to_string(), "idempotent");
    after
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.ids().filter(|&id| graph.node(id).op.name() == name).count()
}

fn conv_norm(net: &mut Network, x: Value, out: usize, window: usize, stride: usize, groups: usize) -> Value {
    let y = net.conv(x, out, window, stride, groups);
    net.batch_norm(y)
}

fn silu(net: &mut Network, x: Value) -> Value {
    let gate = net.unary(Unary::Sigmoid, x);
    net.binary(Binary::Mul, x, gate)
}

/// Inverted residual of EfficientNet, with squeeze-and-excitation by convolutions.
fn inverted_residual(net: &mut Network, x: Value) -> Value {
    let channels = net.dims(x)[1];
    let y = conv_norm(net, x, channels * 2, 1, 1, 1);
    let y = silu(net, y);
    let y = conv_norm(net, y, channels * 2, 3, 1, channels * 2);
    let y = silu(net, y);
    let squeezed = net.mean(y, &[2, 3], true);
    let squeezed = net.conv(squeezed, 2, 1, 1, 1);
    let bias = net.random([2, 1, 1]);
    let squeezed = net.binary(Binary::Add, squeezed, bias);
    let squeezed = silu(net, squeezed);
    let gate = net.conv(squeezed, channels * 2, 1, 1, 1);
    let gate = net.unary(Unary::Sigmoid, gate);
    let y = net.binary(Binary::Mul, y, gate);
    let y = conv_norm(net, y, channels, 1, 1, 1);
    net.binary(Binary::Add, y, x)
}

fn classifier(net: &mut Network, x: Value) -> Value {
    let y = net.mean(x, &[2, 3], true);
    let channels = net.dims(y)[1];
    let y = net.reshape(y, [1, channels]);
    net.dense(y, 5)
}

#[test]
fn efficientnet() {
    let mut net = Network::new();
    let x = net.input("image", [1, 3, 9, 8]);
    let y = conv_norm(&mut net, x, 4, 3, 2, 1);
    let y = silu(&mut net, y);
    let y = inverted_residual(&mut net, y);
    let y = classifier(&mut net, y);
    let graph = net.finish(y);
    let after = compiled(&graph);
    assert_eq!(count(&after, "transpose"), 1, "only the image is transposed");
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[1,3,9,8] ; image
      %1 = constant : f32[8,4] ; n37.weights
      %2 = constant : f32[1,1,1,8] ; n10.bias
      %3 = constant : f32[8,4,1,1]
      %4 = constant : f32[4,3,3,3]
      %5 = constant : f32[1,1,1,8] ; n18.bias
      %6 = constant : f32[8,1,3,3]
      %7 = constant [0.26332986, -0.20071626] : f32[1,1,1,2]
      %8 = constant : f32[2,8,1,1]
      %9 = constant : f32[8,2,1,1]
      %10 = constant [0.15841657, -0.29204622, 0.19713387, 0.24184184] : f32[1,1,1,4] ; n37.bias
      %11 = constant [-1.4361799, 0.23266387, -0.404309, -0.89295876] : f32[1,1,1,4] ; n2.bias
      %12 = transpose %0 {perm=[0,2,3,1]} : f32[1,9,8,3] ; n2.nhwc
      %13 = constant : f32[4,5]
      %14 = constant : f32[5]
      %15 = conv %12, %4 {strides=[2,2], padding=[1,1,1,1], layout=nhwc} -> add(%11) -> silu : f32[1,5,4,4] ; n2
      %16 = conv %15, %3 {layout=nhwc} -> add(%2) -> silu : f32[1,5,4,8] ; n10
      %17 = conv %16, %6 {padding=[1,1,1,1], groups=8, layout=nhwc} -> add(%5) -> silu : f32[1,5,4,8] ; n18
      %18 = reduce_mean %17 {axes=[1,2], keep_dims=true} : f32[1,1,1,8] ; n25
      %19 = conv %18, %8 {layout=nhwc} -> add(%7) -> silu : f32[1,1,1,2] ; n27
      %20 = conv %19, %9 {layout=nhwc} -> sigmoid : f32[1,1,1,8] ; n33
      %21 = reshape %20 {shape=[8,1]} : f32[8,1] ; n37.gate
      %22 = mul %1, %21 : f32[8,4] ; n37.gated
      %23 = matmul %17, %22 -> add(%10) -> add(%15) : f32[1,5,4,4] ; n37
      %24 = reduce_mean %23 {axes=[1,2], keep_dims=false} : f32[1,4] ; n43
      %25 = matmul %24, %13 -> add(%14) : f32[1,5] ; n46
      return %25 "y"
    "#);
}

#[test]
fn squeeze_and_excitation_by_dense_layers() {
    let mut net = Network::new();
    let x = net.input("image", [1, 3, 6, 6]);
    let y = conv_norm(&mut net, x, 4, 3, 1, 1);
    let squeezed = net.mean(y, &[2, 3], false);
    let squeezed = net.dense(squeezed, 2);
    let squeezed = net.relu(squeezed);
    let gate = net.dense(squeezed, 4);
    let gate = net.reshape(gate, [1, 4, 1, 1]);
    let gate = net.unary(Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, gate);
    let y = net.binary(Binary::Mul, gate, y);
    let y = conv_norm(&mut net, y, 2, 1, 1, 1);
    let y = classifier(&mut net, y);
    let graph = net.finish(y);
    let after = compiled(&graph);
    assert_eq!(count(&after, "transpose"), 1);
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[1,3,6,6] ; image
      %1 = constant : f32[4,2] ; n21.weights
      %2 = constant [0.044893768, 0.1628208] : f32[1,1,1,2] ; n21.bias
      %3 = constant : f32[4,2]
      %4 = constant [-0.5225787, -0.8361229] : f32[2]
      %5 = constant : f32[2,4]
      %6 = constant [-0.30427074, 0.22926784, 0.62318087, 0.67870164] : f32[4]
      %7 = constant [-1.4361799, 0.23266387, -0.404309, -0.89295876] : f32[1,1,1,4] ; n2.bias
      %8 = transpose %0 {perm=[0,2,3,1]} : f32[1,6,6,3] ; n2.nhwc
      %9 = constant : f32[2,5]
      %10 = constant : f32[5]
      %11 = constant : f32[4,3,3,3]
      %12 = conv %8, %11 {padding=[1,1,1,1], layout=nhwc} -> add(%7) : f32[1,6,6,4] ; n2
      %13 = reduce_mean %12 {axes=[1,2], keep_dims=false} : f32[1,4] ; n7
      %14 = matmul %13, %3 -> add(%4) -> relu : f32[1,2] ; n9
      %15 = matmul %14, %5 -> add(%6) -> hard_sigmoid(0.16666667,0.5) : f32[1,4] ; n14
      %16 = reshape %15 {shape=[4,1]} : f32[4,1] ; n21.gate
      %17 = mul %1, %16 : f32[4,2] ; n21.gated
      %18 = matmul %12, %17 -> add(%2) : f32[1,6,6,2] ; n21
      %19 = reduce_mean %18 {axes=[1,2], keep_dims=false} : f32[1,2] ; n26
      %20 = matmul %19, %9 -> add(%10) : f32[1,5] ; n29
      return %20 "y"
    "#);
}

#[test]
fn resnet() {
    let mut net = Network::new();
    let x = net.input("image", [1, 3, 12, 12]);
    let y = conv_norm(&mut net, x, 4, 7, 2, 1);
    let y = net.relu(y);
    let y = net.max_pool(y);
    let short = conv_norm(&mut net, y, 6, 1, 2, 1);
    let y = conv_norm(&mut net, y, 6, 3, 2, 1);
    let y = net.relu(y);
    let y = conv_norm(&mut net, y, 6, 3, 1, 1);
    let y = net.binary(Binary::Add, y, short);
    let y = net.relu(y);
    let y = classifier(&mut net, y);
    let graph = net.finish(y);
    let after = compiled(&graph);
    assert_eq!(count(&after, "transpose"), 1);
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[1,3,12,12] ; image
      %1 = constant : f32[6,4,1,1]
      %2 = constant : f32[1,1,1,6] ; n10.bias
      %3 = constant : f32[6,4,3,3]
      %4 = constant : f32[1,1,1,6] ; n23.bias
      %5 = constant : f32[6,6,3,3]
      %6 = constant [-1.4361799, 0.23266387, -0.404309, -0.89295876] : f32[1,1,1,4] ; n2.bias
      %7 = transpose %0 {perm=[0,2,3,1]} : f32[1,12,12,3] ; n2.nhwc
      %8 = constant : f32[6,5]
      %9 = constant : f32[5]
      %10 = constant : f32[4,3,7,7]
      %11 = conv %7, %10 {strides=[2,2], padding=[3,3,3,3], layout=nhwc} -> add(%6) -> relu : f32[1,6,6,4] ; n2
      %12 = max_pool %11 {window=[3,3], strides=[2,2], padding=[1,1,1,1], layout=nhwc} : f32[1,3,3,4] ; n8
      %13 = conv %12, %1 {strides=[2,2], layout=nhwc} -> add(%2) : f32[1,2,2,6] ; n10
      %14 = constant : f32[1,1,1,6] ; n16.bias
      %15 = conv %12, %3 {strides=[2,2], padding=[1,1,1,1], layout=nhwc} -> add(%14) -> relu : f32[1,2,2,6] ; n16
      %16 = conv %15, %5 {padding=[1,1,1,1], layout=nhwc} -> add(%4) -> add(%13) -> relu : f32[1,2,2,6] ; n23
      %17 = reduce_mean %16 {axes=[1,2], keep_dims=false} : f32[1,6] ; n30
      %18 = matmul %17, %8 -> add(%9) : f32[1,5] ; n33
      return %18 "y"
    "#);
}

#[test]
fn shufflenet() {
    let mut net = Network::new();
    let x = net.input("image", [1, 4, 6, 6]);
    let y = conv_norm(&mut net, x, 8, 1, 1, 1);
    let half = |net: &mut Network, y: Value, start: usize| {
        let axes = net.dims(y).into_iter().enumerate().map(|(i, count)| match i {
            1 => avocet_ir::op::SliceAxis { start, count: count / 2, step: 1 },
            _ => avocet_ir::op::SliceAxis { start: 0, count, step: 1 },
        });
        let op = Op::Slice { axes: axes.collect() };
        net.add(op, &[y])
    };
    let (left, right) = (half(&mut net, y, 0), half(&mut net, y, 4));
    let right = conv_norm(&mut net, right, 4, 3, 1, 4);
    let right = net.relu(right);
    let y = net.add(Op::Concat { axis: 1 }, &[left, right]);
    let y = net.reshape(y, [1, 2, 4, 6, 6]);
    let y = net.transpose(y, &[0, 2, 1, 3, 4]);
    let y = net.reshape(y, [1, 8, 6, 6]);
    let y = conv_norm(&mut net, y, 4, 1, 1, 1);
    let y = classifier(&mut net, y);
    let graph = net.finish(y);
    let after = compiled(&graph);
    assert_eq!((count(&after, "transpose"), count(&after, "channel_shuffle")), (1, 1));
}

#[test]
fn convnext() {
    let mut net = Network::new();
    let x = net.input("image", [1, 4, 6, 6]);
    let stem = conv_norm(&mut net, x, 4, 3, 1, 1);
    let y = net.conv(stem, 4, 7, 1, 4);
    let y = net.transpose(y, &[0, 2, 3, 1]);
    let mean = net.mean(y, &[3], true);
    let y = net.binary(Binary::Sub, y, mean);
    let y = net.dense(y, 8);
    let y = net.unary(Unary::Gelu, y);
    let y = net.dense(y, 4);
    let y = net.transpose(y, &[0, 3, 1, 2]);
    let y = net.binary(Binary::Add, y, stem);
    let y = classifier(&mut net, y);
    let graph = net.finish(y);
    assert_eq!(count(&compiled(&graph), "transpose"), 1);
}

#[test]
fn vgg_flattens_a_whole_image() {
    let mut net = Network::new();
    let x = net.input("image", [2, 3, 6, 6]);
    let y = net.conv(x, 4, 3, 1, 1);
    let y = net.max_pool(y);
    let y = net.reshape(y, [2, 36]);
    let y = net.dense(y, 5);
    let graph = net.finish(y);
    assert_eq!(count(&compiled(&graph), "transpose"), 1);
}
