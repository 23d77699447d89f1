//! C and Rust programs that link a compiled model and classify a picture: the programs of `examples/`.

use std::path::Path;
use std::process::{Command, Output};

use avocet_tests::files::{avocet_program, capture, run, temporary_folder, workspace_root};
use avocet_tests::oracle::{Picture, oracle};

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
            std::fs::write(&path, picture.ppm()).expect("writable");
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

/// What the Rust program of the examples, linked with the model in the folder, makes of its arguments.
fn run_rust_host(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(workspace_root().join("examples/rust_host")).env("MODEL_FOLDER", folder);
    command
        .args(["run", "--release", "--quiet", "--target-dir"])
        .arg(workspace_root().join("target/rust_host"));
    capture(command.arg("--").args(arguments)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn a_rust_program_classifies() {
    for weights in ["embedded", "external"] {
        let folder = temporary_folder();
        compile(folder.path(), &["--weights", weights]);
        let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_string();
        let manifest = std::fs::read_to_string(file("efficientnet_lite0.json")).expect("there");
        let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
        let (picture_file, weights_file) = (file("picture.ppm"), file("efficientnet_lite0.weights"));
        let mut arguments = vec![picture_file.as_str()];
        if weights == "external" {
            arguments.extend([weights_file.as_str(), manifest["weights"]["xxh64"].as_str().expect("a sum")]);
        }
        for picture in pictures() {
            std::fs::write(&picture_file, picture.ppm()).expect("writable");
            let output = run_rust_host(folder.path(), &arguments);
            let (text, errors) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{errors}");
            assert_eq!(Some(best(&text)), picture.class, "{} by Rust ({weights}):\n{text}", picture.name);
        }
        if weights == "external" {
            let mut bytes = std::fs::read(&weights_file).expect("there");
            bytes[1000] ^= 1;
            std::fs::write(&weights_file, bytes).expect("writable");
            let output = run_rust_host(folder.path(), &arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success() && errors.contains("checksum is wrong"), "{errors}");
        }
    }
}

/// Checks a source that includes a header, without making anything of it; every warning is an error.
fn check_syntax(compiler: &str, standard: &str, folder: &Path, header: &str) {
    let path = folder.join(if standard.contains("++") { "check.cpp" } else { "check.c" });
    std::fs::write(&path, format!("#include \"{header}\"\nint main(void) {{ return 0; }}\n"))
        .expect("writable");
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}"));
    command.args(["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow"]);
    command.args(["-Werror", "-fsyntax-only", "-I"]).arg(folder).arg(&path);
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
}

/// What a header declares: without the target's name, and without the sizes and sums that depend on it.
fn declarations(header: &str) -> Vec<String> {
    let lines = header.lines().skip(1).map(|line| match line.strip_prefix("#define ") {
        Some(definition) => definition.split(' ').next().unwrap_or_default().to_string(),
        None => line.to_string(),
    });
    lines.collect()
}

#[test]
fn the_header_is_the_same_c99_and_c_plus_plus_everywhere() {
    let compilers = [
        ("x86-64-v3", ["cc", "c++"]),
        ("aarch64", ["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"]),
        ("rv64gcv", ["riscv64-linux-gnu-gcc", "riscv64-linux-gnu-g++"]),
    ];
    let model = workspace_root().join("examples/squeezenet1_1.toml");
    for weights in ["embedded", "external"] {
        let mut first = None;
        for (target, [c, cpp]) in compilers {
            let folder = temporary_folder();
            let mut command = Command::new(avocet_program());
            command.arg("compile").arg(&model).args(["--target", target, "--weights", weights, "-o"]);
            run(command.arg(folder.path())).unwrap_or_else(|e| panic!("{e}"));
            for (compiler, standards) in [(c, ["c99", "c17"]), (cpp, ["c++11", "c++17"])] {
                for standard in standards {
                    check_syntax(compiler, standard, folder.path(), "squeezenet1_1.h");
                }
            }
            let header = std::fs::read_to_string(folder.path().join("squeezenet1_1.h")).expect("there");
            let declared = declarations(&header);
            assert!(declared.iter().any(|line| line.contains("squeezenet1_1_run(")), "{header}");
            assert_eq!(first.get_or_insert_with(|| declared.clone()), &declared, "{target}");
        }
    }
}

/// A model whose inputs and outputs have names that no C identifier has.
fn oddly_named() -> avocet::Model {
    use avocet_ir::op::{Binary, Op};
    let mut graph = avocet::Graph::new("odd");
    let f32 = avocet::TensorType::f32([2, 3]).expect("small");
    let i64 = avocet::TensorType::new(avocet::DType::I64, avocet::Shape::scalar());
    let first = graph.add("/in:0", Op::Input(f32.clone()), &[]).expect("an input");
    let second = graph.add("in_0", Op::Input(f32), &[]).expect("an input");
    let count = graph.add("count", Op::Input(i64), &[]).expect("an input");
    let difference = graph.add("d", Op::Binary(Binary::Sub), &[first, second]).expect("a node");
    graph.add_output("diff\u{e9}rence \"a\\b\" ??/ */", difference);
    graph.add_output("0_BYTES", count);
    avocet::Model::from_graph(graph).expect("valid")
}

/// Asks for everything by name, with no C library but what says whether all was right.
const BY_NAME: &str = r#"
#include "odd.h"
static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}
static unsigned char arena[ODD_ARENA_BYTES + 1] __attribute__((aligned(ODD_ARENA_ALIGNMENT)));
int main(void) {
    float first[6] = {5, 5, 5, 5, 5, 5}, second[6] = {1, 2, 3, 4, 5, 6}, difference[6];
    int64_t given = 7, got = 0;
    const void *inputs[ODD_INPUT_COUNT];
    void *outputs[ODD_OUTPUT_COUNT];
    avocet_context context = {NULL, NULL, NULL, NULL, NULL};
    const avocet_port *port = &odd_inputs()[ODD_INPUT_IN_0];
    const char *name = "diff\303\251rence \"a\\b\" ?\?/ */";
    context.arena = arena;
    inputs[ODD_INPUT_IN_0] = first;
    inputs[ODD_INPUT_IN_0_1] = second;
    inputs[ODD_INPUT_COUNT_2] = &given;
    outputs[ODD_OUTPUT_DIFF_RENCE_A_B] = difference;
    outputs[ODD_OUTPUT_TENSOR_0_BYTES] = &got;
    if (odd_invoke(inputs, outputs, &context) != AVOCET_OK || difference[5] != -1 || got != 7) return 1;
    if (!same(port->name, "/in:0") || port->element != AVOCET_F32 || port->rank != 2) return 2;
    if (port->shape[0] != 2 || port->shape[1] != 3 || port->elements != 6 || port->bytes != 24) return 3;
    port = &odd_inputs()[ODD_INPUT_COUNT_2];
    if (port->element != AVOCET_I64 || port->rank != 0 || port->shape || port->bytes != 8) return 4;
    if (odd_find_output(name) != ODD_OUTPUT_DIFF_RENCE_A_B || odd_find_output("0_BYTES") != 1) return 5;
    if (odd_find_input("in_0") != 1 || odd_find_input("in") != -1 || odd_find_input("in_00") != -1) return 6;
    return 0;
}
"#;

#[test]
fn inputs_and_outputs_are_found_by_name_in_c_c_plus_plus_and_without_a_library() {
    let folder = temporary_folder();
    let artifact = oddly_named().compile(&avocet::Target::host(), &avocet::Options::default());
    let artifact = artifact.unwrap_or_else(|e| panic!("{e}"));
    artifact.write_all(folder.path()).unwrap_or_else(|e| panic!("{e}"));
    let library = folder.path().join("libodd.a");
    for (compiler, standard, file) in [("cc", "c99", "by_name.c"), ("c++", "c++17", "by_name.cpp")] {
        let source = folder.path().join(file);
        std::fs::write(&source, BY_NAME).expect("writable");
        let program = folder.path().join("by_name");
        let mut command = Command::new(compiler);
        command.arg(format!("-std={standard}")).args(["-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]);
        command.args(["-Wconversion", "-Wshadow", "-I"]).arg(folder.path()).arg(&source).arg(&library);
        run(command.arg("-o").arg(&program)).unwrap_or_else(|e| panic!("{e}"));
        let output = capture(&mut Command::new(&program)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(output.status.code(), Some(0), "{standard}");
        // No byte of it needs a library: nothing is undefined but the model itself.
        let mut command = Command::new(compiler);
        command.arg(format!("-std={standard}")).args([
            "-O0",
            "-ffreestanding",
            "-nostdlib",
            "-Wl,-e,main",
            "-I",
        ]);
        command.arg(folder.path()).arg(&source).arg(&library).arg("-o").arg(&program);
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    }
    let module = std::fs::read_to_string(folder.path().join("odd.rs")).expect("there");
    assert!(module.contains("pub const COUNT_2: usize = 2;"), "{module}");
    let manifest = std::fs::read_to_string(folder.path().join("odd.json")).expect("there");
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("JSON");
    assert_eq!(manifest["inputs"][2]["constant"], "COUNT_2");
    assert_eq!(manifest["outputs"][0]["name"], "diff\u{e9}rence \"a\\b\" ??/ */");
}
