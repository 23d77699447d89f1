use avocet_ir::op::{Binary, PadMode, SliceAxis, Unary};
use avocet_ir::{Op, Shape};

use super::run;
use crate::nhwc::{TO_NCHW, TO_NHWC};
use crate::testing::{Network, check};

/// The number of transpositions left of a graph.
fn transposes(graph: &avocet_ir::Graph) -> usize {
    graph.ids().filter(|&id| matches!(graph.node(id).op, Op::Transpose { .. })).count()
}

#[test]
fn through_operators_of_one_operand() {
    let all = |count| SliceAxis { start: 0, count, step: 1 };
    for op in [
        Op::Unary(Unary::Relu),
        Op::Softmax { axis: 1 },
        Op::ChannelShuffle { groups: 2, axis: 1 },
        Op::Slice { axes: vec![all(2), SliceAxis { start: 3, count: 2, step: -1 }, all(3), all(5)] },
        Op::Pad { amounts: vec![(0, 0), (1, 2), (0, 3), (4, 0)], mode: PadMode::Constant(1.5) },
        Op::Broadcast { shape: Shape::new([2, 4, 3, 5]).expect("small") },
    ] {
        let mut net = Network::new();
        let x = net.input("x", [2, 3, 5, 4]);
        let y = net.transpose(x, &TO_NCHW);
        let y = net.add(op.clone(), &[y]);
        let y = net.transpose(y, &TO_NHWC);
        let graph = net.finish(y);
        let (after, _) = check(run, &graph);
        assert_eq!(transposes(&after), 0, "{after}");
    }
}

#[test]
fn through_reductions_of_any_axes() {
    for mask in 1..16usize {
        for keep_dims in [false, true] {
            let axes: Vec<usize> = (0..4).filter(|axis| mask >> axis & 1 == 1).collect();
            let mut net = Network::new();
            let x = net.input("x", [2, 3, 5, 4]);
            let y = net.transpose(x, &TO_NCHW);
            let y = net.mean(y, &axes, keep_dims);
            let graph = net.finish(y);
            let (after, _) = check(run, &graph);
            assert!(transposes(&after) <= 1, "{after}");
        }
    }
}

#[test]
fn through_operators_of_several_operands() {
    let mut net = Network::new();
    let x = net.input("x", [1, 3, 5, 4]);
    let gate = net.input("gate", [4]);
    let image = net.transpose(x, &TO_NCHW);
    let bias = net.random([4, 1, 1]);
    let y = net.binary(Binary::Add, image, bias);
    let gate = net.reshape(gate, [1, 4, 1, 1]);
    let y = net.binary(Binary::Mul, gate, y);
    let map = net.random([2, 1, 3, 5]);
    let map = net.add(
        Op::Slice { axes: [1, 1, 3, 5].map(|count| SliceAxis { start: 0, count, step: 1 }).to_vec() },
        &[map],
    );
    let y = net.add(Op::Concat { axis: 1 }, &[y, image]);
    let y = net.transpose(y, &TO_NHWC);
    let mut graph = net.finish(y);
    graph.add_output("map", map);
    let (after, _) = check(run, &graph);
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[1,3,5,4] ; x
      %1 = input : f32[4] ; gate
      %2 = constant [-0.8718715, 0.6592519, -0.108772516, -0.075672865] : f32[4,1,1]
      %3 = reshape %1 {shape=[1,4,1,1]} : f32[1,4,1,1] ; n4
      %4 = reshape %3 {shape=[1,1,1,4]} : f32[1,1,1,4] ; n4
      %5 = constant : f32[2,1,3,5]
      %6 = slice %5 {axes=[0+1*1,0+1*1,0+3*1,0+5*1]} : f32[1,1,3,5] ; n7
      %7 = reshape %2 {shape=[1,4,1,1]} : f32[1,4,1,1]
      %8 = reshape %7 {shape=[1,1,1,4]} : f32[1,1,1,4]
      %9 = add %0, %8 : f32[1,3,5,4] ; n3
      %10 = mul %4, %9 : f32[1,3,5,4] ; n5
      %11 = concat %10, %0 {axis=3} : f32[1,3,5,8] ; n8
      return %11 "y"
      return %6 "map"
    "#);
}

#[test]
fn an_operand_that_would_have_to_be_transposed_keeps_it_where_it_is() {
    let mut net = Network::new();
    let x = net.input("x", [1, 3, 5, 4]);
    let z = net.input("z", [1, 4, 3, 5]);
    let y = net.transpose(x, &TO_NCHW);
    let y = net.binary(Binary::Add, y, z);
    let graph = net.finish(y);
    let (_, outcome) = check(run, &graph);
    insta::assert_snapshot!(outcome.to_string(), @r#"
    no change
      'n2': transposition not moved: another operand would have to be transposed instead
    "#);
}

#[test]
fn a_models_transpositions_merge() {
    let mut net = Network::new();
    let x = net.input("x", [2, 3, 4, 5]);
    let half = net.scalar(0.5);
    let y = net.transpose(x, &[0, 2, 1, 3]);
    let y = net.binary(Binary::Mul, y, half);
    let y = net.transpose(y, &[0, 2, 3, 1]);
    let graph = net.finish(y);
    let (after, _) = check(run, &graph);
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[2,3,4,5] ; x
      %1 = constant [0.5] : f32[]
      %2 = mul %0, %1 : f32[2,3,4,5] ; n2
      %3 = transpose %2 {perm=[0,1,3,2]} : f32[2,3,5,4] ; n3
      return %3 "y"
    "#);
}

#[test]
fn an_image_as_tokens_and_back() {
    let mut net = Network::new();
    let x = net.input("x", [1, 3, 4, 8]);
    let y = net.transpose(x, &TO_NCHW);
    let y = net.reshape(y, [1, 8, 12]);
    let y = net.transpose(y, &[0, 2, 1]);
    let y = net.dense(y, 6);
    let y = net.transpose(y, &[0, 2, 1]);
    let y = net.reshape(y, [1, 6, 3, 4]);
    let y = net.transpose(y, &TO_NHWC);
    let graph = net.finish(y);
    let (after, _) = check(run, &graph);
    insta::assert_snapshot!(after.to_string(), @r#"
    graph test
      %0 = input : f32[1,3,4,8] ; x
      %1 = constant : f32[8,6]
      %2 = constant : f32[6]
      %3 = reshape %0 {shape=[1,12,8]} : f32[1,12,8] ; n2
      %4 = matmul %3, %1 : f32[1,12,6] ; n5
      %5 = add %4, %2 : f32[1,12,6] ; n7
      %6 = reshape %5 {shape=[1,3,4,6]} : f32[1,3,4,6] ; n9
      return %6 "y"
    "#);
}
