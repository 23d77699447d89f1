//! Real trained weights, end to end: pictures through avocet and through ONNX Runtime.

use std::collections::BTreeMap;

use avocet::{LoadOptions, Model, Options, Target, Tensor};
use avocet_tests::compare::{assert_close, top_k};
use avocet_tests::files::workspace_root;
use avocet_tests::oracle::{Picture, RunOptions, oracle};

const TOLERANCE: f64 = 1e-4;

/// Compiles and runs a model on a picture.
fn run(model: &Model, picture: &Picture) -> Tensor {
    let artifact = model.compile(&Target::host(), &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    let compiled = artifact.jit().unwrap_or_else(|e| panic!("{e}"));
    compiled.run(std::slice::from_ref(&picture.input)).unwrap_or_else(|e| panic!("{e}")).remove(0)
}

fn scores(tensor: &Tensor) -> &[f32] {
    tensor.as_f32().expect("scores are f32")
}

#[test]
fn efficientnet_lite0_sees_what_onnx_runtime_sees() {
    let oracle = oracle();
    let onnx = oracle.trained_network("efficientnet_lite0.onnx").unwrap();
    let weights = oracle.trained_network("efficientnet_lite0.pth").unwrap();
    let from_onnx = Model::from_onnx(&onnx).unwrap_or_else(|e| panic!("{e}"));
    let description = workspace_root().join("examples/efficientnet_lite0.toml");
    let options = LoadOptions { weights: Some(weights), ..LoadOptions::default() };
    let from_description = Model::open(description, &options).unwrap_or_else(|e| panic!("{e}"));
    let pictures = oracle.pictures("efficientnet_lite0").unwrap();
    assert!(pictures.len() >= 4);
    for picture in &pictures {
        let inputs = std::slice::from_ref(&picture.input);
        let expected = &oracle.run_onnx(&onnx, inputs, &RunOptions::default()).unwrap()[0].tensor;
        for (what, model) in [("ONNX", &from_onnx), ("description and .pth", &from_description)] {
            let what = format!("{} by {what}", picture.name);
            let got = run(model, picture);
            assert_close(&what, &got, expected, TOLERANCE);
            assert_eq!(top_k(scores(&got), 5), top_k(scores(expected), 5), "{what}");
            if let Some(class) = picture.class {
                assert_eq!(top_k(scores(&got), 1), [class], "{what}");
            }
        }
    }
}

#[test]
fn text_direction_is_found_as_by_onnx_runtime() {
    let oracle = oracle();
    let onnx = oracle.trained_network("text_direction.onnx").unwrap();
    let dims = [("x.2", 48), ("x.3", 192)].map(|(name, size)| (name.to_string(), size));
    let options = LoadOptions { dims: BTreeMap::from(dims), ..LoadOptions::default() };
    let model = Model::open(&onnx, &options).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(model.inputs()[0].ty.dims(), [1, 3, 48, 192]);
    for picture in &oracle.pictures("text_direction").unwrap() {
        let inputs = std::slice::from_ref(&picture.input);
        let expected = &oracle.run_onnx(&onnx, inputs, &RunOptions::default()).unwrap()[0].tensor;
        let got = run(&model, picture);
        assert_close(&picture.name, &got, expected, TOLERANCE);
        assert_eq!(top_k(scores(&got), 1), top_k(scores(expected), 1), "{}", picture.name);
    }
}

#[test]
fn open_dimensions_must_be_bound() {
    let onnx = oracle().trained_network("text_direction.onnx").unwrap();
    let error = Model::from_onnx(&onnx).expect_err("height and width are open").to_string();
    for line in [
        "dimension 2 of input 'x' has no fixed size; bind it with --dim x.2=SIZE",
        "dimension 3 of input 'x' has no fixed size; bind it with --dim x.3=SIZE",
    ] {
        assert!(error.contains(line), "{error}");
    }
}
