//! Golden text of the graph before and after each pass, on a small graph for each: `snapshots/`.

use std::collections::BTreeSet;

use avocet_ir::op::{Binary, Comparison, Conv, Layout, PadMode, Padding, Region, Unary};
use avocet_ir::{Graph, Op};

use crate::PIPELINE;
use crate::testing::{Network, check};

/// A pass by name, and a graph on which it has something to do.
type Case = (&'static str, fn() -> Graph);

const GRAPHS: &[Case] = &[
    ("dead-code", unused_branch),
    ("regions", image_that_is_skipped),
    ("region-layouts", image_that_is_skipped_in_nhwc),
    ("constant-folding", computed_bias),
    ("identity", operators_that_do_nothing),
    ("channel-shuffle", spelled_out_shuffle),
    ("activations", spelled_out_hard_swish),
    ("padding", tensorflow_padding),
    ("concat", mixed_convolution),
    ("affine", convolution_with_batch_norm),
    ("nhwc", convolution_and_pooling),
    ("transposes", transposes_around_a_sum),
    ("gates", gated_image),
    ("matmul-operands", attention_scores),
    ("rearrangements", patches_of_an_image),
    ("reshapes", into_a_vector_and_back),
    ("duplicates", one_thing_twice),
    ("normalization", layer_norm),
    ("attention", attention_of_two_heads),
    ("epilogue", residual_block),
    ("results", results_that_nothing_computes),
];

#[test]
fn golden_text_of_every_pass() {
    for (name, graph) in GRAPHS {
        let pass = PIPELINE.iter().find(|pass| pass.name == *name).expect("a pass of the pipeline");
        let before = graph();
        let (after, outcome) = check(pass.run, &before);
        assert!(outcome.changes > 0, "{name} does nothing on its graph");
        let text = format!("before\n{before}\nafter: {outcome}\n{after}");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(*name, text);
        });
    }
}

#[test]
fn no_pass_is_without_golden_text() {
    let passes: BTreeSet<&str> = PIPELINE.iter().map(|pass| pass.name).collect();
    let golden: BTreeSet<&str> = GRAPHS.iter().map(|(name, _)| *name).collect();
    assert_eq!(passes, golden);
}

fn unused_branch() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2, 3]);
    net.input("unused", [4]);
    let y = net.relu(x);
    let dead = net.unary(Unary::Tanh, y);
    net.relu(dead);
    net.finish(y)
}

/// A choice, by the mean of `x`, between `then` of it and itself.
fn skipped(dims: &[usize], then: Graph) -> Graph {
    let mut otherwise = Network::new();
    let x = otherwise.input("x", dims);
    let otherwise = otherwise.finish(x);
    let mut net = Network::new();
    let x = net.input("x", dims);
    let mean = net.mean(x, &[0, 1, 2, 3], false);
    let half = net.scalar(0.5);
    let condition = net.add(Op::Compare(Comparison::Less), &[mean, half]);
    let op = Op::If { then: Region::new(then), otherwise: Region::new(otherwise) };
    let y = net.add(op, &[condition, x]);
    net.finish(y)
}

fn image_that_is_skipped() -> Graph {
    let mut then = Network::new();
    let x = then.input("x", [1, 2, 3, 4]);
    let y = then.conv(x, 2, 1, 1, 1);
    let y = then.batch_norm(y);
    let y = then.binary(Binary::Add, x, y);
    skipped(&[1, 2, 3, 4], then.finish(y))
}

fn image_that_is_skipped_in_nhwc() -> Graph {
    let mut then = Network::new();
    let x = then.input("x", [1, 2, 3, 4]);
    let x = then.transpose(x, &[0, 2, 3, 1]);
    let y = then.relu(x);
    let y = then.transpose(y, &[0, 3, 1, 2]);
    skipped(&[1, 2, 3, 4], then.finish(y))
}

fn computed_bias() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2]);
    let a = net.constant([2], &[1.0, 2.0]);
    let b = net.constant([2], &[10.0, 20.0]);
    let sum = net.binary(Binary::Add, a, b);
    let y = net.binary(Binary::Mul, x, sum);
    net.finish(y)
}

fn operators_that_do_nothing() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2, 3]);
    let y = net.add(Op::Identity, &[x]);
    let y = net.transpose(y, &[0, 1]);
    let zero = net.scalar(0.0);
    let y = net.binary(Binary::Sub, y, zero);
    let y = net.relu(y);
    net.finish(y)
}

fn spelled_out_shuffle() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 6, 2, 2]);
    let y = net.reshape(x, [1, 2, 3, 2, 2]);
    let y = net.transpose(y, &[0, 2, 1, 3, 4]);
    let y = net.reshape(y, [1, 6, 2, 2]);
    net.finish(y)
}

fn spelled_out_hard_swish() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2, 40]);
    let (three, six) = (net.scalar(3.0), net.scalar(6.0));
    let gate = net.binary(Binary::Add, x, three);
    let gate = net.unary(Unary::Clip { low: 0.0, high: 6.0 }, gate);
    let y = net.binary(Binary::Mul, x, gate);
    let y = net.binary(Binary::Div, y, six);
    net.finish(y)
}

fn tensorflow_padding() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 2, 5, 5]);
    let amounts = vec![(0, 0), (0, 0), (0, 1), (0, 1)];
    let y = net.add(Op::Pad { amounts, mode: PadMode::Constant(0.0) }, &[x]);
    let y = net.conv(y, 2, 3, 2, 1);
    net.finish(y)
}

fn mixed_convolution() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 4, 5, 5]);
    let parts = [net.conv(x, 2, 3, 1, 1), net.conv(x, 3, 5, 1, 1)];
    let y = net.add(Op::Concat { axis: 1 }, &parts);
    let y = net.batch_norm(y);
    let y = net.relu(y);
    net.finish(y)
}

fn convolution_with_batch_norm() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 2, 3, 3]);
    let y = net.conv(x, 2, 1, 1, 1);
    let y = net.batch_norm(y);
    let y = net.relu(y);
    net.finish(y)
}

fn convolution_and_pooling() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 3, 8, 6]);
    let y = net.conv(x, 4, 3, 2, 1);
    let y = net.max_pool(y);
    net.finish(y)
}

fn transposes_around_a_sum() -> Graph {
    let mut net = Network::new();
    let (a, b) = (net.input("a", [1, 4, 5, 2]), net.input("b", [1, 4, 5, 2]));
    let parts = [a, b].map(|v| net.transpose(v, &[0, 3, 1, 2]));
    let y = net.binary(Binary::Add, parts[0], parts[1]);
    let y = net.relu(y);
    let y = net.transpose(y, &[0, 2, 3, 1]);
    net.finish(y)
}

fn gated_image() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 4, 5, 3]);
    let gate = net.mean(x, &[1, 2], true);
    let y = net.binary(Binary::Mul, x, gate);
    let weights = net.random([2, 3, 1, 1]);
    let padding = Padding::symmetric(0, 0);
    let layout = Layout::Nhwc;
    let conv = Conv { strides: [1; 2], dilations: [1; 2], padding, groups: 1, layout };
    let y = net.add(Op::Conv(conv), &[y, weights]);
    net.finish(y)
}

fn attention_scores() -> Graph {
    let mut net = Network::new();
    let (q, k) = (net.input("q", [2, 5, 8]), net.input("k", [2, 6, 8]));
    let k = net.transpose(k, &[0, 2, 1]);
    let y = net.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[q, k]);
    net.finish(y)
}

fn layer_norm() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2, 5, 8]);
    let mean = net.mean(x, &[2], true);
    let centered = net.binary(Binary::Sub, x, mean);
    let square = net.binary(Binary::Mul, centered, centered);
    let variance = net.mean(square, &[2], true);
    let epsilon = net.scalar(1e-6);
    let variance = net.binary(Binary::Add, variance, epsilon);
    let deviation = net.unary(Unary::Sqrt, variance);
    let y = net.binary(Binary::Div, centered, deviation);
    net.finish(y)
}

fn attention_of_two_heads() -> Graph {
    let mut net = Network::new();
    let (q, k) = (net.input("q", [2, 5, 8]), net.input("k", [2, 6, 8]));
    let (v, mask) = (net.input("v", [2, 6, 4]), net.input("mask", [5, 6]));
    let scale = net.scalar(0.125);
    let scores = net.add(Op::MatMul { transpose_a: false, transpose_b: true }, &[q, k]);
    let scores = net.binary(Binary::Mul, scores, scale);
    let scores = net.binary(Binary::Add, scores, mask);
    let weights = net.add(Op::Softmax { axis: 2 }, &[scores]);
    let y = net.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[weights, v]);
    net.finish(y)
}

fn patches_of_an_image() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 4, 6, 5]);
    let x = net.transpose(x, &[0, 3, 1, 2]);
    let x = net.reshape(x, [10, 2, 3, 2]);
    let x = net.transpose(x, &[0, 2, 1, 3]);
    let x = net.reshape(x, [1, 5, 6, 4]);
    let x = net.transpose(x, &[0, 3, 2, 1]);
    let y = net.relu(x);
    net.finish(y)
}

fn into_a_vector_and_back() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 3, 2, 2]);
    let mean = net.mean(x, &[2, 3], true);
    let vector = net.reshape(mean, [1, 3]);
    let dense = net.dense(vector, 4);
    let image = net.reshape(dense, [1, 4, 1, 1]);
    let y = net.unary(Unary::Sigmoid, image);
    net.finish(y)
}

fn one_thing_twice() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2]);
    let constants = [net.scalar(0.5), net.scalar(0.5)];
    let parts = constants.map(|v| net.binary(Binary::Add, x, v));
    let y = net.add(Op::Concat { axis: 0 }, &parts);
    net.finish(y)
}

fn residual_block() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [1, 4, 5, 5]);
    let y = net.conv(x, 4, 3, 1, 1);
    let bias = net.random([4, 1, 1]);
    let y = net.binary(Binary::Add, y, bias);
    let y = net.binary(Binary::Add, x, y);
    let y = net.relu(y);
    net.finish(y)
}

fn results_that_nothing_computes() -> Graph {
    let mut net = Network::new();
    let x = net.input("x", [2]);
    let y = net.relu(x);
    let mut graph = net.finish(y);
    graph.add_output("again", y);
    graph.add_output("input", x);
    graph
}
