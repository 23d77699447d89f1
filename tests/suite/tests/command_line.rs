//! The command line as a user has it: what is printed, what is written, and the exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use avocet_tests::files::{avocet_program, capture, temporary_folder, workspace_root};

fn avocet(arguments: &[&str]) -> Output {
    let mut command = Command::new(avocet_program());
    capture(command.args(arguments).current_dir(workspace_root())).unwrap_or_else(|e| panic!("{e}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// That a call is refused: exit code 2, one readable error, no panic.
fn refused(output: &Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains(expected) && !text.contains("panicked"), "{text}\nexpected: {expected}");
}

#[test]
fn the_readmes_first_command() {
    let output = avocet(&["run", "examples/mobilenet_v2.toml", "--verify", "--runs", "3"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for line in ["latency", "GFLOP/s", "arena", "weights", "verify        ok"] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn inspect_counts() {
    let output = avocet(&["inspect", "examples/mobilenet_v2.toml"]);
    assert!(stdout(&output).contains("parameters              3 504 872\n"), "{}", stdout(&output));
    let json = stdout(&avocet(&["inspect", "examples/mobilenet_v2.toml", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["parameters"], 3_504_872);
    assert_eq!(report["multiply_adds"], 300_774_272);
    assert!(report["layers"].as_array().is_some_and(|layers| layers.len() > 100));
}

#[test]
fn every_stage_has_a_text_form() {
    for (stage, expected) in [
        ("graph", "graph squeezenet1_1\n  %0 = input"),
        ("schedule", "schedule squeezenet1_1\n"),
        ("kernels", "\nkernel "),
        ("asm", "vfmadd"),
    ] {
        // A fixed target, so that the assembly is the same on every machine.
        let output =
            avocet(&["inspect", "examples/squeezenet1_1.toml", "--emit", stage, "--target", "x86-64-v3"]);
        assert!(stdout(&output).contains(expected), "{stage}:\n{}", &stdout(&output)[..500]);
    }
}

/// `avocet … | head -1` and the like: whoever reads has gone before anything is written.
#[test]
fn a_reader_that_stops_is_no_mistake() {
    let folder = temporary_folder();
    let place = folder.path().to_str().expect("UTF-8");
    for arguments in [
        &["run", "examples/squeezenet1_1.toml", "--runs", "1"][..],
        &["compile", "examples/squeezenet1_1.toml", "-o", place],
        &["inspect", "examples/squeezenet1_1.toml"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(avocet_program());
        command.args(arguments).current_dir(workspace_root()).stdout(writer);
        let output = command.stderr(Stdio::piped()).spawn().and_then(|child| child.wait_with_output());
        let output = output.expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*text), (Some(0), ""), "{arguments:?}");
    }
}

/// Names and contents of the files in a folder.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let entry = entry.expect("an entry");
            (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).expect("a file"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn compilation_repeats_bit_for_bit_wherever_it_runs() {
    let description = workspace_root().join("examples/shufflenet_v2_x1_0.toml");
    let (first, second, elsewhere) = (temporary_folder(), temporary_folder(), temporary_folder());
    for (folder, directory) in [(&first, workspace_root()), (&second, elsewhere.path())] {
        let mut command = Command::new(avocet_program());
        command.current_dir(directory).arg("compile").arg(&description).arg("-o").arg(folder.path());
        command.args(["--weights", "external", "--target", "x86-64-v3"]);
        avocet_tests::files::run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    }
    let (first, second) = (contents(first.path()), contents(second.path()));
    let names: Vec<&str> = first.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(
        names,
        [
            "libshufflenet_v2_x1_0.a",
            "libshufflenet_v2_x1_0.so",
            "shufflenet_v2_x1_0.h",
            "shufflenet_v2_x1_0.json",
            "shufflenet_v2_x1_0.o",
            "shufflenet_v2_x1_0.rs",
            "shufflenet_v2_x1_0.weights"
        ]
    );
    for (one, other) in first.iter().zip(&second) {
        assert!(one == other, "{} differs", one.0);
    }
}

#[test]
fn without_a_linker_everything_else_is_written() {
    let folder = temporary_folder();
    let mut command = Command::new(avocet_program());
    command.current_dir(workspace_root()).env("PATH", folder.path());
    command.args(["compile", "examples/squeezenet1_1.toml", "-o"]).arg(folder.path().join("out"));
    let output = capture(&mut command).unwrap_or_else(|e| panic!("{e}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("warning: linking the shared library: no linker for "), "{text}");
    let names: Vec<String> = contents(&folder.path().join("out")).into_iter().map(|f| f.0).collect();
    assert_eq!(
        names,
        [
            "libsqueezenet1_1.a",
            "squeezenet1_1.h",
            "squeezenet1_1.json",
            "squeezenet1_1.o",
            "squeezenet1_1.rs"
        ]
    );
}

#[test]
fn mistakes_are_told_with_exit_code_2() {
    refused(&avocet(&["run", "no_such_file.onnx"]), "no_such_file.onnx: No such file");
    refused(&avocet(&["run", "Cargo.lock"]), "expected a model ending in .onnx, .toml");
    refused(&avocet(&["run", "examples/resnet18.toml", "--target", "z80"]), "there is no target 'z80'");
    refused(&avocet(&["run", "examples/resnet18.toml", "--phi", "1"]), "no section 'compound'");
    refused(&avocet(&["run", "examples/resnet18.toml", "--dim", "N"]), "expected NAME=SIZE");
    refused(&avocet(&["compile", "examples/resnet18.toml"]), "--output");
    let folder = temporary_folder();
    let place = folder.path().join("out");
    let place = place.to_str().expect("UTF-8");
    refused(
        &avocet(&["compile", "examples/resnet18.toml", "-o", place, "--name", "a b"]),
        "'a b' can't be the name",
    );
    assert!(!Path::new(place).exists(), "a refused call left something behind");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "version = 1\nname = \"x\"\ninput = { channels = 3, height = 8, width = 8 }\nblocks = [\n    { type = \"conv\", out = 8, kernle = 3 },\n]\n").expect("writable");
    refused(&avocet(&["run", broken.to_str().expect("UTF-8")]), "broken.toml:5: unknown field `kernle`");
}

#[test]
fn a_folder_that_can_not_be_written_leaves_nothing() {
    let folder = temporary_folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("writable");
    let place = file.join("out");
    let output = avocet(&["compile", "examples/squeezenet1_1.toml", "-o", place.to_str().expect("UTF-8")]);
    refused(&output, "error: writing");
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn targets_are_listed_and_printed() {
    let text = stdout(&avocet(&["targets"]));
    for line in ["host", "cortex-a72", "rv64gcv-zvl512b", "32 of 512", "Raspberry Pi 5", "aarch64-none-elf"] {
        assert!(text.contains(line), "{text}");
    }
    let printed = stdout(&avocet(&["targets", "spacemit-k1"]));
    let folder = temporary_folder();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, &printed).expect("writable");
    // What is printed can be read again, and compiled for.
    let file = file.to_str().expect("UTF-8");
    assert_eq!(stdout(&avocet(&["targets", file])), printed);
    let output = avocet(&["inspect", "examples/squeezenet1_1.toml", "--emit", "asm", "--target", file]);
    assert!(stdout(&output).contains("vfmacc"), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn impossible_targets_are_refused_with_line_and_reason() {
    let printed = stdout(&avocet(&["targets", "rv64gcv"]));
    let folder = temporary_folder();
    let file = folder.path().join("my.toml");
    let name = file.to_str().expect("UTF-8");
    for (from, to, reason) in [
        ("bits = [128]", "bits = [0]", "vector width 0: expected ascending powers of two"),
        ("registers = 32", "registers = 3", "registers is 3, but this architecture has 32 vector registers"),
        ("\"v\"", "\"w\"", "riscv64gc has no feature 'w'; known are: a, c, d"),
        ("l1d = 32768", "l1d = 1073741824", "l2 is 262144, less than l1d with 1073741824"),
        ("l1d = 32768", "l1d = 32", "l1d is 32; sizes are in bytes"),
    ] {
        assert!(printed.contains(from), "{printed}");
        let text = printed.replace(from, to);
        std::fs::write(&file, &text).expect("writable");
        let output = avocet(&["compile", "examples/squeezenet1_1.toml", "-o", "unused", "--target", name]);
        refused(&output, reason);
        let line = 1 + text.lines().position(|line| line.contains(to)).expect("replaced");
        let line = if reason.starts_with("l2") { line + 1 } else { line };
        refused(&output, &format!("my.toml:{line}: "));
    }
}
