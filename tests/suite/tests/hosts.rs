//! C and Rust programs that link a compiled model and classify a picture: the programs of `examples/`.

use std::path::Path;
use std::process::Command;

use avocet::Tensor;
use avocet_tests::files::{avocet_program, capture, run, temporary_folder, workspace_root};
use avocet_tests::oracle::{Picture, oracle};

/// The picture that a network's input was made from, as a PPM: the preprocessing of Lite0 is undone exactly.
fn ppm(input: &Tensor) -> Vec<u8> {
    let data = input.as_f32().expect("pictures are f32");
    let mut out = b"P6 224 224 255\n".to_vec();
    for pixel in 0..224 * 224 {
        for channel in 0..3 {
            out.push((data[channel * 224 * 224 + pixel] * 128.0 + 127.0).round() as u8);
        }
    }
    out
}

fn pictures() -> Vec<Picture> {
    let pictures = oracle().pictures("efficientnet_lite0").unwrap();
    pictures.into_iter().filter(|p| p.class.is_some()).take(2).collect()
}

/// Compiles Lite0 with its trained weights into a folder.
fn compile(folder: &Path, more: &[&str]) {
    let weights = oracle().trained_network("efficientnet_lite0.pth").unwrap();
    let mut command = Command::new(avocet_program());
    command.arg("compile").arg(workspace_root().join("examples/efficientnet_lite0.toml"));
    command.arg("--weights-file").arg(weights).arg("-o").arg(folder).args(more);
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
}

/// The first class of each line `CLASS SCORE`.
fn best(output: &str) -> usize {
    let first = output.lines().next().and_then(|l| l.split(' ').next()).and_then(|w| w.parse().ok());
    first.unwrap_or_else(|| panic!("no class in {output:?}"))
}

#[test]
fn a_c_program_classifies() {
    for (weights, library) in
        [("embedded", "libefficientnet_lite0.a"), ("external", "libefficientnet_lite0.so")]
    {
        let folder = temporary_folder();
        compile(folder.path(), &["--weights", weights]);
        let program = folder.path().join("classify");
        let mut command = Command::new("cc");
        command.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
        if weights == "external" {
            command.arg("-DEXTERNAL_WEIGHTS");
        }
        command.arg("-I").arg(folder.path()).arg(workspace_root().join("examples/c_host/classify.c"));
        command.arg(folder.path().join(library)).arg("-o").arg(&program);
        command.arg(format!("-Wl,-rpath,{}", folder.path().display()));
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        let weights_file = folder.path().join("efficientnet_lite0.weights");
        for picture in pictures() {
            let path = folder.path().join("picture.ppm");
            std::fs::write(&path, ppm(&picture.input)).expect("writable");
            let mut command = Command::new(&program);
            command.arg(&path).arg(&weights_file);
            let output = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(Some(best(&output)), picture.class, "{} by C ({weights}):\n{output}", picture.name);
        }
        if weights == "external" {
            // One byte of the payload changed: the program must refuse it.
            let mut bytes = std::fs::read(&weights_file).expect("there");
            bytes[1000] ^= 1;
            std::fs::write(&weights_file, bytes).expect("writable");
            let path = folder.path().join("picture.ppm");
            let output = capture(Command::new(&program).arg(path).arg(&weights_file)).unwrap();
            assert_eq!(output.status.code(), Some(2));
        }
    }
}

#[test]
fn a_rust_program_classifies() {
    let folder = temporary_folder();
    compile(folder.path(), &[]);
    let manifest = std::fs::read_to_string(folder.path().join("efficientnet_lite0.json")).expect("there");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    let arena = manifest["arena"]["bytes"].as_u64().expect("a size").to_string();
    let target = workspace_root().join("target/rust_host");
    for picture in pictures() {
        let path = folder.path().join("picture.ppm");
        std::fs::write(&path, ppm(&picture.input)).expect("writable");
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(workspace_root().join("examples/rust_host")).env("MODEL_FOLDER", folder.path());
        command
            .args(["run", "--release", "--quiet", "--target-dir"])
            .arg(&target)
            .arg("--")
            .arg(&path)
            .arg(&arena);
        let output = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(Some(best(&output)), picture.class, "{} by Rust:\n{output}", picture.name);
    }
}

#[test]
fn the_header_is_c_plus_plus_too() {
    let folder = temporary_folder();
    compile(folder.path(), &["--weights", "external"]);
    let source = folder.path().join("check.cpp");
    std::fs::write(&source, "#include \"efficientnet_lite0.h\"\nint main() { return 0; }\n")
        .expect("writable");
    let mut command = Command::new("c++");
    command.args(["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"]).arg(folder.path()).arg(&source);
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
}
