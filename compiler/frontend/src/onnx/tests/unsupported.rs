//! Everything unsupported is told at once.

use super::*;

#[test]
fn all_of_it_in_one_error() {
    let body = GraphProto {
        node: vec![
            NodeProto { op_type: "Relu".into(), ..NodeProto::default() },
            NodeProto { op_type: "Unique".into(), output: vec!["t".into()], ..NodeProto::default() },
        ],
        ..GraphProto::default()
    };
    let then =
        AttributeProto { name: "then_branch".into(), g: Some(body), r#type: 5, ..AttributeProto::default() };
    let mut model = Builder::new(13)
        .input("x", &[1, 2, 4, 4])
        .node("Unique", &["x"], &["a"], vec![int("sorted", 1)])
        .node("Relu", &["a"], &["b"], vec![])
        .node("If", &["b"], &["c"], vec![then])
        .node("Gelu", &["x"], &["d"], vec![])
        .node("Resize", &["x", "", "", "s"], &["e"], vec![text("mode", "lanczos")])
        .node("Magic", &["x"], &["f"], vec![])
        .weight("s", &i64s(&[1, 2, 8, 8]))
        .raw(TensorProto { name: "half".into(), data_type: 8, ..TensorProto::default() })
        .output("c");
    model.graph().node[5].domain = "com.example".into();
    assert_eq!(
        model.refused(),
        "the model uses what avocet does not support:
  weight 'half': element type string
  Unique (node 'Unique_a', sorted=1)
  Unique (node 'If_c/Unique_t')
  Gelu (node 'Gelu_d'): supported in operator sets 20 to 28, but the model is of 13
  Resize (node 'Resize_e', mode=lanczos): mode 'lanczos'
  com.example.Magic (node 'Magic_f')"
    );
}

#[test]
fn results_without_use_in_inference_are_refused_when_used() {
    let model = Builder::new(7)
        .input("x", &[1])
        .node("Dropout", &["x"], &["y", "mask"], vec![])
        .node("Relu", &["mask"], &["z"], vec![])
        .output("y");
    assert!(model.refused().contains("Relu (node 'Relu_z'): 'mask', which it uses, is left out"));
    let unused = Builder::new(7).input("x", &[1]).node("Dropout", &["x"], &["y", "mask"], vec![]).output("y");
    assert!(unused.import().is_ok());
    assert!(unused.output("mask").refused().contains("output 'mask'"));
}

#[test]
fn training_is_refused() {
    let yes = Tensor::new(avocet_ir::Shape::scalar(), TensorData::Bool([true].as_slice().into()));
    let model = one(13, "Dropout", &[1], &[None, yes.ok()], vec![], 1);
    assert!(model.refused().contains(": training"));
}

#[test]
fn shapes_must_not_depend_on_the_input() {
    let model = Builder::new(13)
        .input("x", &[4])
        .node("Cast", &["x"], &["shape"], vec![int("to", 7)])
        .node("Reshape", &["x", "shape"], &["y"], vec![])
        .output("y");
    assert!(model.refused().contains("Reshape (node 'Reshape_y'): a shape that is not constant"));
}
