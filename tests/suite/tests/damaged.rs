//! Damaged models through the whole compiler: refused or compiled, never a panic, whatever was changed in them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use avocet::{DType, LoadOptions, Model, Options, Target, Tensor};
use avocet_tests::files::{avocet_program, capture, temporary_folder};
use avocet_tests::oracle::oracle;
use proptest::prelude::*;

/// The operator cases' models, and a whole network.
fn models() -> &'static [Vec<u8>] {
    static MODELS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    MODELS.get_or_init(|| {
        let mut paths: Vec<_> =
            oracle().operator_cases().unwrap().iter().map(|case| case.files.model()).collect();
        paths.push(oracle().trained_network("text_direction.onnx").unwrap());
        paths.iter().map(|path| std::fs::read(path).expect("a model")).collect()
    })
}

fn text_direction_options() -> LoadOptions {
    let dims = [("x.2", 48), ("x.3", 192)].map(|(name, size)| (name.to_string(), size));
    LoadOptions { dims: BTreeMap::from(dims), ..LoadOptions::default() }
}

/// Memory that a damaged model's run may take here.
const AFFORDABLE: usize = 16 << 20;

/// Runs of a step in a loop that there is time for here.
const MOST_RUNS: usize = 10_000;

/// Opens, compiles and runs what may be a model. Errors are fine.
fn survives(path: &Path, options: &LoadOptions) {
    let Ok(model) = Model::open(path, options) else { return };
    let options = Options { verify: true, ..Options::default() };
    let Ok(artifact) = model.compile(&Target::host(), &options) else { return };
    let ports = model.inputs().into_iter().chain(model.outputs());
    if ports.map(|port| port.ty.bytes()).sum::<usize>() + artifact.plan().bytes > AFFORDABLE {
        return;
    }
    // A damaged number of iterations may be anything.
    let program = artifact.program();
    if (0..program.steps.len()).any(|step| program.runs(step) > MOST_RUNS) {
        return;
    }
    let inputs = model.inputs().into_iter().map(|port| {
        let ones = vec![1.0; port.ty.shape.elements()];
        (port.ty.dtype == DType::F32).then(|| Tensor::f32(port.ty.dims(), ones).expect("as many elements"))
    });
    if let (Some(inputs), Ok(compiled)) = (inputs.collect::<Option<Vec<_>>>(), artifact.jit()) {
        let _ = compiled.run(&inputs);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_models_are_no_panic(
        model in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = model.get(models()).clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let folder = temporary_folder();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, bytes).expect("writable");
        survives(&path, &LoadOptions::default());
    }
}

#[test]
fn the_program_refuses_damaged_files_with_exit_code_2() {
    let whole = models().last().expect("the network");
    let folder = temporary_folder();
    let path = folder.path().join("model.onnx");
    let out = folder.path().join("out");
    let cuts = [0, 1, 10, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_vec());
    // The start of the graph, where its nodes are; each byte holds a length, a kind or a name.
    let flips = (0..40).map(|i| {
        let mut bytes = whole.clone();
        bytes[i * 97] ^= 1 << (i % 8);
        bytes
    });
    let mut refused = 0;
    for (i, bytes) in cuts.into_iter().chain(flips).enumerate() {
        std::fs::write(&path, &bytes).expect("writable");
        let mut command = Command::new(avocet_program());
        command.arg("compile").arg(&path).args(["--dim", "x.2=48", "--dim", "x.3=192", "-o"]).arg(&out);
        let output = capture(&mut command).unwrap_or_else(|e| panic!("{e}"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "file {i}: {text}");
        match output.status.code() {
            Some(0) if i >= 5 => {}
            Some(2) => {
                assert!(text.starts_with("error: ") && !out.exists(), "file {i}: {text}");
                refused += 1;
            }
            other => panic!("file {i}: {other:?} {text}"),
        }
        let _ = std::fs::remove_dir_all(&out);
    }
    assert!(refused > 5, "only what was cut off was refused");
    // Not damaged, it is compiled.
    std::fs::write(&path, whole).expect("writable");
    survives(&path, &text_direction_options());
}
