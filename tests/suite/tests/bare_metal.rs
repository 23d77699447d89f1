//! The hosts of `examples/bare_metal`: machines without an operating system, booted by qemu.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use avocet::{LoadOptions, Model, Tensor};
use avocet_backend_tests::emulator::{EMULATORS, Emulator};
use avocet_tests::compare::assert_close;
use avocet_tests::files::{avocet_program, run, temporary_folder, workspace_root};

/// The most time that a machine gets from start to exit.
const MOST: Duration = Duration::from_secs(60);

/// What a machine prints until it exits, which it must do by itself and with success.
fn boot(qemu: &str, arguments: &[&str], image: &Path) -> String {
    let output = image.with_extension("txt");
    let mut command = Command::new(qemu);
    command
        .args(arguments)
        .args(["-m", "128", "-nic", "none", "-display", "none", "-monitor", "none", "-serial"]);
    command.arg(format!("file:{}", output.display())).arg("-kernel").arg(image);
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|e| {
        panic!("{qemu} can't be started ({e}): apt-get install qemu-system-arm qemu-system-misc")
    });
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break Some(status);
        }
        if start.elapsed() > MOST {
            child.kill().expect("a child");
            child.wait().expect("a child");
            break None;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = std::fs::read_to_string(&output).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{qemu} ended with {status:?}:\n{text}");
    text
}

/// Compiles, links and boots an example; what it prints must be what the reference computes, each time the same.
fn check(target: &str, board: &str, compiler: &Emulator, flags: &[&str], qemu: &str, arguments: &[&str]) {
    let examples = workspace_root().join("examples/bare_metal");
    let folder = temporary_folder();
    let mut command = Command::new(avocet_program());
    command.args(["compile", "--target", target, "-o"]).arg(folder.path()).arg(examples.join("tiny.toml"));
    let written = run(&mut command).unwrap();
    assert!(written.contains("libtiny.a") && !written.contains(".so"), "{written}");
    let file = |name: &str| examples.join(name).to_str().expect("UTF-8").to_string();
    let [start, serial, script, main] = [
        file(&format!("{board}/start.S")),
        file(&format!("{board}/serial.c")),
        file(&format!("{board}/link.ld")),
        file("main.c"),
    ];
    let warnings = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    let bare = ["-ffreestanding", "-fno-tree-loop-distribute-patterns", "-nostdlib", "-static", "-no-pie"];
    let files = ["-I.", "-T", &script, &start, &serial, &main, "libtiny.a", "-o", "tiny.elf"];
    // The linker would warn of one segment for everything; a machine without memory protection has no other.
    let one = ["-Wl,--no-warn-rwx-segments", "-Wl,--build-id=none"];
    compiler.compile(&[&warnings[..], &bare, &one, flags, &files].concat(), folder.path());
    let image = folder.path().join("tiny.elf");
    let text = boot(qemu, arguments, &image);

    let model = Model::open(examples.join("tiny.toml"), &LoadOptions::default()).unwrap();
    let dims = model.inputs()[0].ty.dims().to_vec();
    let count = dims.iter().product::<usize>();
    let data: Vec<f32> = (0..count).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    let expected = model.reference(&[Tensor::f32(dims, data).expect("an image")]).unwrap();
    let bits = text.split_whitespace().map(|line| u32::from_str_radix(line, 16));
    let scores: Result<Vec<f32>, _> = bits.map(|bits| bits.map(f32::from_bits)).collect();
    let scores = scores.unwrap_or_else(|e| panic!("{e}:\n{text}"));
    let got = Tensor::f32(expected[0].ty().dims(), scores).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    assert_close(target, &got, &expected[0], 1e-4);
    assert_eq!(boot(qemu, arguments, &image), text, "another start gives another result");
}

#[test]
fn arm_boots_and_runs_a_network() {
    let arguments = ["-M", "virt", "-cpu", "cortex-a53", "-semihosting"];
    check("aarch64-none-elf", "aarch64", &EMULATORS[0], &[], "qemu-system-aarch64", &arguments);
}

#[test]
fn riscv_boots_and_runs_a_network() {
    let arguments = ["-M", "virt", "-bios", "none", "-cpu", "rv64"];
    let flags = ["-mcmodel=medany", "-march=rv64gc"];
    check("riscv64gc-unknown-none-elf", "riscv64", &EMULATORS[1], &flags, "qemu-system-riscv64", &arguments);
}
