//! AArch64 and RISC-V, without vectors and with each vector length, under qemu: every operator case against ONNX Runtime,
//! every example network against the reference interpreter, and the C example with trained weights.

use std::fmt::Write as _;
use std::process::Command;

use avocet::data::picture::Picture;
use avocet::data::prepare::{Preparation, Resizing, prepare};
use avocet::{Artifact, LoadOptions, Model, Options, Target, Tensor};
use avocet_backend_tests::emulator::{EMULATORS, Emulator};
use avocet_tests::compare::{assert_close, compare};
use avocet_tests::emulated::Networks;
use avocet_tests::files::{avocet_program, run, temporary_folder, workspace_root};
use avocet_tests::inputs;
use avocet_tests::oracle::{RunOptions, oracle};

const TOLERANCE: f64 = 1e-4;

/// Edge of the pictures that example networks get: emulation is slow, and a smaller picture runs the same kinds of kernels.
const EDGE: &str = "32";

fn options(name: String) -> Options {
    Options { name: Some(name), verify: true, ..Options::default() }
}

/// All operator cases that avocet takes, in one program.
fn operators(emulator: &Emulator) {
    let target = emulator.target();
    let (mut cases, mut artifacts) = (Vec::new(), Vec::new());
    for case in oracle().operator_cases().unwrap() {
        // What is refused is so for every target; the test of the machine at hand holds the list of it.
        let Ok(model) = Model::open(case.files.model(), &LoadOptions::default()) else { continue };
        if model.compile(&Target::host(), &Options::default()).is_err() {
            continue;
        }
        // Winograd's method, which a target may choose where the machine at hand does not, makes NaN of an infinity.
        let exact = case.name.starts_with("nan_");
        let artifact = model.compile(&target, &Options { exact, ..options(format!("case_{}", cases.len())) });
        artifacts.push(artifact.unwrap_or_else(|e| panic!("{}: {e}", case.name)));
        cases.push(case);
    }
    assert!(cases.len() > 400, "only {} cases", cases.len());
    let mut networks = Networks::start(emulator, artifacts);
    let (mut report, mut failed) = (String::new(), 0);
    for (number, case) in cases.iter().enumerate() {
        let expected = case.files.run().unwrap();
        let inputs: Vec<Tensor> = expected.inputs.iter().map(|t| t.tensor.clone()).collect();
        let result = networks.run(number, &inputs).and_then(|outputs| {
            for (got, expected) in outputs.iter().zip(&expected.outputs) {
                compare(got, &expected.tensor, TOLERANCE).map_err(|e| format!("'{}': {e}", expected.name))?;
            }
            Ok(())
        });
        if let Err(problem) = result {
            failed += 1;
            let _ = writeln!(report, "{} (opset {}): {problem}", case.name, case.opset);
        }
    }
    assert_eq!(failed, 0, "{}: of {} cases:\n{report}", emulator.target, cases.len());
}

#[test]
fn operators_agree_with_onnx_runtime_on_aarch64() {
    operators(&EMULATORS[0]);
}

#[test]
fn operators_agree_with_onnx_runtime_on_riscv() {
    EMULATORS[1..].iter().for_each(operators);
}

#[test]
fn example_networks_agree_with_the_reference() {
    let mut files: Vec<_> = std::fs::read_dir(workspace_root().join("examples"))
        .expect("the examples")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 22, "{files:?}");
    for path in files {
        let what = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("readable");
        let text = text.replace("= 224", &format!("= {EDGE}"));
        let model = Model::from_description(&text, &what).unwrap_or_else(|e| panic!("{e}"));
        let count = model.inputs()[0].ty.shape.elements();
        assert!(count < 4096, "{what}: an input of {count} elements is too large to be emulated");
        let sets = inputs::sets(&model);
        let expected: Vec<Vec<Tensor>> = sets
            .iter()
            .map(|inputs| model.reference(inputs).unwrap_or_else(|e| panic!("{what}: {e}")))
            .collect();
        for emulator in &EMULATORS {
            let what = format!("{what} on {}", emulator.target);
            let artifact: Artifact = model
                .compile(&emulator.target(), &options("network".into()))
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            let mut networks = Networks::start(emulator, vec![artifact]);
            for (inputs, expected) in sets.iter().zip(&expected) {
                let got = networks.run(0, inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
                for (got, expected) in got.iter().zip(expected) {
                    assert_close(&what, got, expected, TOLERANCE);
                }
            }
        }
    }
}

/// The beginning of the first line of the page of text, stretched to an input.
fn beginning(dims: [usize; 4]) -> Tensor {
    let page = Picture::read(&oracle().page().unwrap().picture).unwrap_or_else(|e| panic!("{e}"));
    let row = |y: usize| page.pixels()[(y * page.width() + 40) * 3..][..100 * 3].iter().copied();
    let cut = Picture::new(100, 50, (60..110).flat_map(row).collect()).expect("a part of the page");
    let how = Preparation { resizing: Resizing::Exact, ..Preparation::default() };
    prepare(&[cut], &how, &avocet::TensorType::f32(dims).expect("small")).unwrap_or_else(|e| panic!("{e}"))
}

/// What `avocet compile --preprocess` puts before a network, and the networks that find and read text, at small sizes.
#[test]
fn pictures_of_bytes_and_text_are_seen_everywhere() {
    let small = std::fs::read_to_string(workspace_root().join("examples/mobilenet_v3_small.toml")).unwrap();
    let small = Model::from_description(&small.replace("= 224", &format!("= {EDGE}")), "small").unwrap();
    let bytes = small.with_preprocessing(&"40x56,crop=40x48,mean=0.5,std=0.25".parse().unwrap()).unwrap();
    let inputs = avocet::measure::inputs(&bytes);
    let expected = bytes.reference(&inputs).unwrap_or_else(|e| panic!("{e}")).remove(0);
    let mut cases = vec![(bytes, inputs, expected)];
    for (name, dims, open) in [
        ("text_detection.onnx", [1, 3, 32, 64], &[1, 32, 64][..]),
        ("text_recognition.onnx", [1, 3, 48, 96], &[1, 96]),
    ] {
        let open = open.iter().enumerate().map(|(i, &size)| (format!("DynamicDimension.{i}"), size));
        let options = LoadOptions { dims: open.collect(), ..LoadOptions::default() };
        let path = oracle().trained_network(name).unwrap();
        let inputs = vec![beginning(dims)];
        let expected = oracle().run_onnx(&path, &inputs, &RunOptions::default()).unwrap().remove(0).tensor;
        cases.push((Model::open(path, &options).unwrap_or_else(|e| panic!("{e}")), inputs, expected));
    }
    for emulator in &EMULATORS {
        let compile = |(number, (model, ..)): (usize, &(Model, Vec<Tensor>, Tensor))| {
            let artifact = model.compile(&emulator.target(), &options(format!("network_{number}")));
            artifact.unwrap_or_else(|e| panic!("{e}"))
        };
        let mut networks = Networks::start(emulator, cases.iter().enumerate().map(compile).collect());
        for (number, (model, inputs, expected)) in cases.iter().enumerate() {
            let what = format!("{} on {}", model.name(), emulator.target);
            let got = networks.run(number, inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_close(&what, &got[0], expected, TOLERANCE);
        }
    }
}

/// The static library as a user of a cross compiler gets it, in the program of `examples/c_host`.
#[test]
fn a_c_program_classifies_under_emulation() {
    let weights = oracle().trained_network("efficientnet_lite0.pth").unwrap();
    let pictures = oracle().pictures("efficientnet_lite0").unwrap();
    let picture = pictures.iter().find(|p| p.class.is_some()).expect("a picture with a class");
    for emulator in [&EMULATORS[0], &EMULATORS[3]] {
        let folder = temporary_folder();
        let mut command = Command::new(avocet_program());
        command.args(["compile", "--target", emulator.target, "--weights-file"]).arg(&weights);
        command.arg("-o").arg(folder.path()).arg(workspace_root().join("examples/efficientnet_lite0.toml"));
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        let source = workspace_root().join("examples/c_host/classify.c");
        let warnings =
            ["-std=c99", "-D_GNU_SOURCE", "-O2", "-static", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
        let files = ["-I.", source.to_str().expect("UTF-8"), "libefficientnet_lite0.a", "-o", "classify"];
        emulator.compile(&[&warnings[..], &files].concat(), folder.path());
        let path = folder.path().join("picture.ppm");
        std::fs::write(&path, picture.ppm()).expect("writable");
        let output = run(emulator.command(&folder.path().join("classify")).arg(&path)).unwrap();
        let class = output.split_whitespace().next().and_then(|word| word.parse::<usize>().ok());
        assert_eq!(class, picture.class, "{} on {}:\n{output}", picture.name, emulator.target);
    }
}

/// Exceptions and crash handlers find their way through compiled code, by the call frames in the object.
#[test]
fn call_frames_lead_out_of_compiled_code() {
    let text = std::fs::read_to_string(workspace_root().join("examples/mobilenet_v2.toml")).unwrap();
    let model = Model::from_description(&text.replace("= 224", "= 64"), "mobilenet_v2.toml").unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/unwinding.cpp");
    let flags = ["-std=c++17", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-I.", source, "network.o"];
    for emulator in &EMULATORS {
        let folder = temporary_folder();
        let artifact = model.compile(&emulator.target(), &options("network".into())).unwrap();
        artifact.write_object(folder.path().join("network.o")).unwrap();
        std::fs::write(folder.path().join("network.h"), artifact.header()).expect("writable");
        emulator.compile_cpp(&[&flags[..], &["-o", "unwinding"]].concat(), folder.path());
        run(&mut emulator.command(&folder.path().join("unwinding")))
            .unwrap_or_else(|e| panic!("{}: {e}", emulator.target));
    }
}
