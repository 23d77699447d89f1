//! Names, order, outputs, and graphs that are none.

use super::*;

fn relu() -> Builder {
    Builder::new(13).input("x", &[1, 2]).node("Relu", &["x"], &["y"], vec![]).output("y")
}

#[test]
fn names_are_those_of_the_model() {
    let graph = relu().import().expect("a valid model");
    let names: Vec<&str> = graph.ids().map(|id| graph.node(id).name.as_str()).collect();
    assert_eq!((graph.name(), names), ("test", vec!["x", "Relu_y"]));
    let mut named = relu();
    named.graph().name = "net".into();
    named.graph().node[0].name = "activation".into();
    let graph = from_bytes(&named.bytes(), "", None, &Options::default(), &Reference).expect("a valid model");
    assert_eq!((graph.name(), graph.outputs()[0].name.as_str()), ("net", "y"));
    assert_eq!(graph.node(graph.outputs()[0].value.node).name, "activation");
}

#[test]
fn inputs_that_are_weights_are_not_inputs_but_unused_ones_stay() {
    let graph = relu()
        .input("w", &[2])
        .input("unused", &[3])
        .weight("w", &f32s(&[2], &[1.0, 2.0]))
        .node("Add", &["y", "w"], &["z"], vec![])
        .output("z")
        .import()
        .expect("a valid model");
    let names: Vec<&str> = graph.input_nodes().iter().map(|&id| graph.node(id).name.as_str()).collect();
    assert_eq!(names, ["x", "unused"]);
}

#[test]
fn nodes_may_be_out_of_order() {
    let graph = Builder::new(13)
        .input("x", &[1])
        .node("Exp", &["a"], &["y"], vec![])
        .node("Relu", &["x"], &["a"], vec![])
        .output("y")
        .import()
        .expect("a valid model");
    let y = avocet_reference::run(&graph, &[f32s(&[1], &[-3.0])]).expect("a graph that runs");
    assert_eq!(y[0].as_f32(), Some(&[1.0][..]));
}

#[test]
fn cycles_are_refused() {
    let around = Builder::new(13)
        .input("x", &[1])
        .node("Add", &["x", "b"], &["a"], vec![])
        .node("Relu", &["a"], &["b"], vec![])
        .output("b");
    assert_eq!(around.refused(), "the graph has a cycle through node 'Add_a' or before it");
    let itself = Builder::new(13).node("Relu", &["y"], &["y"], vec![]).output("y");
    assert!(itself.refused().contains("cycle"));
}

#[test]
fn names_are_unique() {
    let twice = relu().node("Exp", &["x"], &["y"], vec![]);
    assert_eq!(twice.refused(), "two nodes compute 'y'; names must be unique");
    let shadow = relu().weight("y", &f32s(&[1], &[0.0]));
    assert_eq!(shadow.refused(), "'y' is defined twice; names must be unique");
    assert!(relu().input("x", &[1]).refused().contains("'x' is defined twice"));
    assert_eq!(relu().output("y").refused(), "output 'y' is listed twice");
}

#[test]
fn what_is_used_is_defined() {
    let nothing = relu().node("Add", &["y", "gh\u{1b}ost"], &["z"], vec![]);
    assert_eq!(nothing.refused(), "node 'Add_z' uses 'gh\\u{1b}ost', which nothing defines");
    assert_eq!(relu().output("z").refused(), "output 'z' is not defined");
    assert_eq!(Builder::new(13).input("x", &[1]).refused(), "the graph has no output");
    let missing = Builder::new(13).input("x", &[1]).node("Add", &["x"], &["y"], vec![]).output("y");
    assert_eq!(missing.refused(), "node 'Add_y' (Add): input 1 is missing");
}

#[test]
fn attributes_have_their_type() {
    let wrong = Builder::new(13).input("x", &[1]).node("Flatten", &["x"], &["y"], vec![text("axis", "1")]);
    assert_eq!(
        wrong.output("y").refused(),
        "node 'Flatten_y' (Flatten): attribute axis is of type 3, expected Int"
    );
}

#[test]
fn constants_that_only_shapes_used_are_gone() {
    let graph = relu()
        .weight("shape", &i64s(&[2, 1]))
        .weight("unused", &i64s(&[2, 1]))
        .node("Reshape", &["y", "shape"], &["z"], vec![])
        .output("z")
        .import()
        .expect("a valid model");
    assert_eq!(graph.len(), 3, "{graph}");
}

#[test]
fn an_output_may_be_an_input_or_a_constant() {
    let graph = relu().weight("w", &f32s(&[1], &[f32::NAN])).output("x").output("w").import();
    let graph = graph.expect("a valid model");
    let weight = graph.as_constant(graph.outputs()[2].value).and_then(Tensor::single_f32);
    assert!(weight.is_some_and(f32::is_nan), "a weight of NaN stays");
}

#[test]
fn other_operator_sets_are_refused() {
    for version in [6, 29, i64::MIN] {
        let mut model = relu();
        model.0.opset_import[0].version = version;
        assert!(model.refused().contains(&format!("operator set {version}; 7 to 28")));
    }
    let mut model = relu();
    model.0.opset_import.clear();
    assert_eq!(model.refused(), "it names no operator set");
}

#[test]
fn the_file_is_named_in_errors_and_names_the_graph() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.v1.onnx");
    std::fs::write(&path, relu().bytes()).expect("a file");
    let import = |path| super::super::from_file(path, &Options::default(), &Reference);
    assert_eq!(import(&path).expect("a valid model").name(), "net.v1");
    std::fs::write(&path, b"\x08nonsense").expect("a file");
    let error = import(&path).expect_err("nonsense").to_string();
    assert!(error.contains("net.v1.onnx: not an ONNX file"), "{error}");
    assert!(import(folder.path()).expect_err("a folder").to_string().contains("not a file"));
    assert!(import(&folder.path().join("none.onnx")).is_err());
}
