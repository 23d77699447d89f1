//! Parts and strips: the same bits for any number of threads, and whether operators are computed one by one or together.

use std::process::Command;

use avocet::{Artifact, LoadOptions, Model, Options, Target, Tensor};
use avocet_tests::files::{avocet_program, run, temporary_folder, workspace_root};

fn model(name: &str) -> Model {
    let path = workspace_root().join("examples").join(name);
    Model::open(path, &LoadOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn input(model: &Model) -> [Tensor; 1] {
    let ports = model.inputs();
    let dims = ports[0].ty.dims();
    let data: Vec<f32> =
        (0..dims.iter().product()).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    [Tensor::f32(dims, data).expect("an input's shape")]
}

fn compile(model: &Model, parts: usize, fuse: bool) -> Artifact {
    compile_by(model, parts, fuse, false)
}

fn compile_by(model: &Model, parts: usize, fuse: bool, exact: bool) -> Artifact {
    let options = Options { verify: true, parts, fuse, exact, ..Options::default() };
    model.compile(&Target::host(), &options).unwrap_or_else(|e| panic!("{}: {e}", model.name()))
}

fn bits(artifact: &Artifact, input: &[Tensor], threads: usize) -> Vec<u8> {
    let compiled = artifact.jit().expect("this machine's code");
    let mut session = compiled.session_with_threads(threads).expect("threads");
    // Twice: what one run leaves behind must not matter to the next.
    for _ in 0..2 {
        session.run(input).expect("runs");
    }
    session.into_outputs().iter().flat_map(|tensor| tensor.data().to_le_bytes()).collect()
}

#[test]
fn results_depend_on_neither_threads_nor_parts_nor_strips() {
    for name in [
        "mobilenet_v2.toml",
        "efficientnet.toml",
        "shufflenet_v2_x1_0.toml",
        "squeezenet1_1.toml",
        "resnet18.toml",
    ] {
        let model = model(name);
        let input = input(&model);
        let plain = compile_by(&model, 1, false, true);
        assert!(plain.program().steps.iter().all(|step| step.parts.len() == 1));
        let plain = bits(&plain, &input, 1);
        for (parts, fuse) in [(8, true), (3, false)] {
            // Strassen's method pairs the rows of a part, so what it rounds to depends on the parts, but on nothing else.
            let otherwise_fused = bits(&compile(&model, parts, !fuse), &input, 1);
            for (exact, expected) in [(true, &plain), (false, &otherwise_fused)] {
                let artifact = compile_by(&model, parts, fuse, exact);
                let steps = &artifact.program().steps;
                let divided = steps.iter().filter(|step| step.parts.len() > 1).count();
                assert!(
                    divided * 3 >= steps.len(),
                    "{name}: {divided} of {} steps are in parts",
                    steps.len()
                );
                for threads in [1, 2, 3] {
                    let got = bits(&artifact, &input, threads);
                    let how = format!("{parts} parts, fused: {fuse}, exact: {exact}, {threads} threads");
                    assert!(&got == expected, "{name}: {how}");
                }
            }
        }
    }
}

#[test]
fn strips_need_less_memory() {
    let model = model("mobilenet_v2.toml");
    let [one_by_one, together] = [false, true].map(|fuse| compile(&model, 8, fuse));
    assert!(together.schedule_text().contains("  chain "), "{}", together.schedule_text());
    let (large, small) = (one_by_one.plan().bytes, together.plan().bytes);
    assert!(small * 10 <= large * 7, "{small} bytes in strips, {large} without");
}

/// A host's own `parallel_for`, the last part first, and none.
const HOST: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mobilenet_v2.h"

static void backwards(void *pool, size_t count, void (*body)(void *argument, size_t index), void *argument) {
    *(size_t *)pool += count;
    while (count--) body(argument, count);
}

static float input[MOBILENET_V2_INPUT_0_ELEMENTS];
static float outputs[2][MOBILENET_V2_OUTPUT_0_ELEMENTS];

int main(void) {
    size_t parts = 0, i;
    const void *from[] = {input};
    avocet_context context = {NULL, NULL, NULL, NULL, NULL};
    for (i = 0; i < MOBILENET_V2_INPUT_0_ELEMENTS; i++) input[i] = (float)(i % 255) / 127.0f - 1.0f;
    context.arena = aligned_alloc(MOBILENET_V2_ARENA_ALIGNMENT, MOBILENET_V2_ARENA_BYTES);
    if (!context.arena) return 2;
    for (i = 0; i < 2; i++) {
        void *to[] = {outputs[i]};
        if (mobilenet_v2_invoke(from, to, &context) != AVOCET_OK) return 3;
        context.parallel_for = backwards;
        context.pool = &parts;
    }
    free(context.arena);
    if (memcmp(outputs[0], outputs[1], sizeof outputs[0]) != 0) return 4;
    printf("%zu parts\n", parts);
    return parts > 20 ? 0 : 5;
}
"#;

#[test]
fn a_c_host_brings_its_own_parallel_for() {
    for library in ["libmobilenet_v2.a", "libmobilenet_v2.so"] {
        let folder = temporary_folder();
        let mut command = Command::new(avocet_program());
        command
            .arg("compile")
            .arg(workspace_root().join("examples/mobilenet_v2.toml"))
            .arg("-o")
            .arg(folder.path());
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        let (source, program) = (folder.path().join("host.c"), folder.path().join("host"));
        std::fs::write(&source, HOST).expect("writable");
        let mut command = Command::new("cc");
        command
            .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"])
            .arg(folder.path());
        command.arg(&source).arg(folder.path().join(library)).arg("-o").arg(&program);
        command.arg(format!("-Wl,-rpath,{}", folder.path().display()));
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        let output = run(&mut Command::new(&program)).unwrap_or_else(|e| panic!("{e}"));
        assert!(output.ends_with(" parts\n"), "{output}");
    }
}
