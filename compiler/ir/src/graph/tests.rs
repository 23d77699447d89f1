use super::*;
use crate::op::{Binary, Conv, Layout, Padding, Unary};
use crate::tensor::DType;

fn conv() -> Op {
    Op::Conv(Conv {
        strides: [2, 2],
        dilations: [1, 1],
        padding: Padding::symmetric(1, 1),
        groups: 1,
        layout: Layout::Nchw,
    })
}

/// A convolution with a bias.
fn tiny() -> (Graph, Value, Value) {
    let mut graph = Graph::new("tiny");
    let image = TensorType::f32([1, 3, 8, 8]).expect("a small shape");
    let x = graph.add("image", Op::Input(image), &[]).expect("valid");
    let w = graph.constant("weights", Tensor::f32([4, 3, 3, 3], vec![0.5; 108]).expect("valid"));
    let b = graph.constant("bias", Tensor::f32([4, 1, 1], vec![1.0, 2.0, 3.0, 4.0]).expect("valid"));
    let y = graph.add("conv", conv(), &[x, w]).expect("valid");
    let z = graph.add("sum", Op::Binary(Binary::Add), &[y, b]).expect("valid");
    graph.add_output("features", z);
    (graph, y, z)
}

#[test]
fn text_form() {
    let (graph, ..) = tiny();
    graph.verify().expect("valid");
    insta::assert_snapshot!(graph.to_string(), @r#"
    graph tiny
      %0 = input : f32[1,3,8,8] ; image
      %1 = constant : f32[4,3,3,3] ; weights
      %2 = constant [1.0, 2.0, 3.0, 4.0] : f32[4,1,1] ; bias
      %3 = conv %0, %1 {strides=[2,2], padding=[1,1,1,1], layout=nchw} : f32[1,4,4,4] ; conv
      %4 = add %3, %2 : f32[1,4,4,4] ; sum
      return %4 "features"
    "#);
}

#[test]
fn epilogues_follow_the_operators_inputs() {
    let (mut graph, y, z) = tiny();
    let bias = graph.inputs(z.node)[1];
    let step = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
    graph.push_epilogue(y.node, step, Some(bias)).expect("broadcasts");
    graph.push_epilogue(y.node, EpilogueStep::Unary(Unary::Relu), None).expect("valid");
    graph.replace_uses(z, y).expect("same type");
    graph.remove(z.node).expect("unused");
    graph.verify().expect("valid");
    assert!(graph.to_string().contains("-> add(%2) -> relu : f32[1,4,4,4]"), "{graph}");
}

#[test]
fn layers_are_the_same_whatever_their_names_weights_and_places() {
    let (mut graph, y, z) = tiny();
    let operand = graph.inputs(z.node)[1];
    let step = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
    graph.push_epilogue(y.node, step, Some(operand)).expect("broadcasts");
    let text = graph.layer_text(y.node);
    let expected = "conv f32[1,3,8,8], constant f32[4,3,3,3] {strides=[2,2], padding=[1,1,1,1], layout=nchw} \
                    -> add(constant f32[4,1,1]) : f32[1,4,4,4]";
    assert_eq!(text, expected);
    graph.set_name(y.node, "other");
    assert_eq!(graph.layer_text(y.node), text);
}

#[test]
fn a_used_node_is_not_removed() {
    let (mut graph, y, z) = tiny();
    assert_eq!(graph.remove(y.node), Err(GraphError::Used("conv".into())));
    assert_eq!(graph.remove(z.node), Err(GraphError::Used("sum".into())));
}

#[test]
fn a_cycle_is_an_error() {
    let (mut graph, y, z) = tiny();
    let relu = graph.add("relu", Op::Unary(Unary::Relu), &[z]).expect("valid");
    graph.set_input(z.node, 0, relu).expect("same type");
    assert_eq!(graph.verify(), Err(GraphError::Cycle("sum".into())));
    assert_eq!(graph.users(y), []);
}

#[test]
fn types_are_checked() {
    let (mut graph, y, z) = tiny();
    let other = graph.constant("other", Tensor::i64([2], vec![1, 2]).expect("valid"));
    assert!(graph.set_input(z.node, 1, other).is_err());
    assert!(graph.replace(y.node, Op::Identity, &[z]).is_ok());
    let error = graph.add("bad", Op::Binary(Binary::Add), &[z, other]).expect_err("element types differ");
    assert_eq!(error.to_string(), "node 'bad' (add): add of f32[1,4,4,4] and i64[2]: element types differ");
    assert_eq!(graph.ty(other).dtype, DType::I64);
}
