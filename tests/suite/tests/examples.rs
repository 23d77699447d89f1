//! Every example network, compiled and run in this process, against the reference interpreter.

use std::path::PathBuf;

use avocet::{LoadOptions, Model, Options, Target, Tensor};
use avocet_tests::compare::assert_close;
use avocet_tests::files::workspace_root;

const TOLERANCE: f64 = 1e-4;

fn example(name: &str) -> PathBuf {
    workspace_root().join("examples").join(name)
}

/// A picture-like pattern, the same each time.
fn picture(dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    let data: Vec<f32> = (0..count).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    Tensor::f32(dims, data).expect("an input's shape")
}

fn check(file: &str, options: &LoadOptions) {
    let what = format!("{file} {:?}", options.phi);
    let model = Model::open(example(file), options).unwrap_or_else(|e| panic!("{e}"));
    let artifact = model
        .compile(&Target::host(), &Options { verify: true, ..Options::default() })
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let plan = artifact.plan();
    assert!(
        plan.bytes as f64 <= 1.1 * plan.lower_bound as f64,
        "{what}: the arena has {} bytes, {} are needed",
        plan.bytes,
        plan.lower_bound
    );
    let input = [picture(model.inputs()[0].ty.dims())];
    let got = artifact.jit().and_then(|c| Ok(c.run(&input)?)).unwrap_or_else(|e| panic!("{what}: {e}"));
    let expected = model.reference(&input).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_close(&what, &got[0], &expected[0], TOLERANCE);
}

#[test]
fn every_description_compiles_to_what_it_means() {
    let mut files: Vec<String> = std::fs::read_dir(workspace_root().join("examples"))
        .expect("the examples")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 13, "{files:?}");
    for file in files {
        check(&file, &LoadOptions::default());
    }
}

/// B1 to B7 at their published resolutions are tens of billions of multiply-adds in the reference interpreter; B1 to B3
/// are affordable, and B4 to B7 differ from them in numbers only.
#[test]
fn efficientnets_by_phi() {
    for phi in 1..=3 {
        check("efficientnet.toml", &LoadOptions { phi: Some(phi), ..LoadOptions::default() });
    }
}
