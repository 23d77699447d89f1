//! Sizes that are given at the call: each gives what a model compiled for it alone gives, and others are refused.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use avocet::sizes::SizeRange;
use avocet::{LoadOptions, Model, Options, Target, Tensor};
use avocet_tests::compare::assert_close;
use avocet_tests::files::{avocet_program, capture, run, temporary_folder, workspace_root};
use avocet_tests::oracle::oracle;

fn numbers(dims: &[usize]) -> Tensor {
    let data: Vec<f32> =
        (0..dims.iter().product()).map(|i| ((i * 7919 % 2003) as f32) / 1001.5 - 1.0).collect();
    Tensor::f32(dims, data).expect("a shape")
}

fn open(name: &str, dims: &[(&str, usize)], ranges: &[(&str, &str)]) -> Model {
    open_file(&workspace_root().join("examples").join(name), dims, ranges)
}

fn open_file(path: &Path, dims: &[(&str, usize)], ranges: &[(&str, &str)]) -> Model {
    let options = LoadOptions {
        dims: dims.iter().map(|&(name, size)| (name.to_string(), size)).collect(),
        ranges: ranges
            .iter()
            .map(|&(name, range)| (name.to_string(), range.parse::<SizeRange>().expect("a range")))
            .collect::<BTreeMap<_, _>>(),
        ..LoadOptions::default()
    };
    Model::open(path, &options).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_size_gives_what_a_model_of_that_size_gives() {
    let ranges = [("N", "1..3"), ("H", "32..96:32"), ("W", "32..64:32")];
    // Networks with a classifier, so that all of an image counts; with branches, shuffles, views.
    for name in ["mobilenet_v3_small.toml", "shufflenet_v2_x1_0.toml", "resnet18.toml"] {
        let options = Options { verify: true, ..Options::default() };
        let artifact = open(name, &[], &ranges).compile(&Target::host(), &options);
        let artifact = artifact.unwrap_or_else(|e| panic!("{name}: {e}"));
        let sizes = artifact.program().sizes.as_ref().expect("sizes");
        assert_eq!(sizes.to_string(), "H=32..96:32, N=1..3, W=32..64:32");
        // The batch is computed image by image.
        assert_eq!((sizes.batch, sizes.cases.len()), (Some(1), 6));
        let compiled = artifact.jit().expect("this machine's code");
        let mut session = compiled.session_with_threads(2).expect("threads");
        for (n, h, w) in [(1, 96, 32), (3, 64, 64), (2, 32, 32), (1, 96, 64), (3, 96, 64)] {
            let input = [numbers(&[n, 3, h, w])];
            let fixed = open(name, &[("N", n), ("H", h), ("W", w)], &[]);
            let expected = fixed.reference(&input).unwrap_or_else(|e| panic!("{name}: {e}"));
            session.run(&input).unwrap_or_else(|e| panic!("{name} {n} {h} {w}: {e}"));
            let got = session.output_f32(0).expect("f32");
            let got = Tensor::f32(expected[0].shape().dims(), got).expect("as many as expected");
            assert_close(name, &got, &expected[0], 1e-4);
        }
        for wrong in [[4, 3, 32, 32], [1, 3, 33, 32], [1, 3, 128, 32], [1, 3, 32, 96], [1, 1, 32, 32]] {
            let error = session.run(&[numbers(&wrong)]).expect_err("no such size").to_string();
            assert!(error.contains("H=32..96:32, N=1..3, W=32..64:32"), "{error}");
        }
        // The last refused run left the outputs alone.
        assert_eq!(session.into_outputs()[0].shape().dims()[0], 3);
    }
}

#[test]
fn heights_and_widths_without_a_batch() {
    let artifact = open("squeezenet1_1.toml", &[], &[("H", "64..128:32"), ("W", "96..128:32")])
        .compile(&Target::host(), &Options { verify: true, ..Options::default() })
        .expect("compiled");
    let sizes = artifact.program().sizes.as_ref().expect("sizes");
    assert_eq!((sizes.batch, sizes.cases.len()), (None, 6));
    let compiled = artifact.jit().expect("this machine's code");
    for (h, w) in [(64, 96), (96, 128), (128, 128), (128, 96)] {
        let input = [numbers(&[1, 3, h, w])];
        let expected =
            open("squeezenet1_1.toml", &[("H", h), ("W", w)], &[]).reference(&input).expect("runs");
        let got = compiled.run(&input).unwrap_or_else(|e| panic!("{h} {w}: {e}"));
        assert_close("squeezenet1_1", &got[0], &expected[0], 1e-4);
    }
    assert!(compiled.run(&[numbers(&[2, 3, 64, 96])]).is_err());
}

/// A text network with sizes: those that are fixed, those that are given, and what is tried.
struct Text {
    file: &'static str,
    fixed: &'static [(&'static str, usize)],
    ranges: &'static [(&'static str, &'static str)],
    tried: [[usize; 4]; 2],
}

/// Networks that find and read text; `reading.rs` holds them against ONNX Runtime.
const TEXT: [Text; 2] = [
    Text {
        file: "text_detection.onnx",
        fixed: &[],
        ranges: &[("x.2", "64..128:32"), ("x.3", "96..160:32")],
        tried: [[1, 3, 64, 160], [1, 3, 128, 96]],
    },
    Text {
        file: "text_recognition.onnx",
        fixed: &[("x.2", 48)],
        ranges: &[("x.0", "1..3"), ("x.3", "64..128:64")],
        tried: [[1, 3, 48, 64], [3, 3, 48, 128]],
    },
];

#[test]
fn text_networks_of_many_sizes() {
    for Text { file, fixed, ranges, tried } in TEXT {
        let path = oracle().trained_network(file).unwrap();
        let artifact = open_file(&path, fixed, ranges).compile(&Target::host(), &Options::default());
        let compiled = artifact.unwrap_or_else(|e| panic!("{file}: {e}")).jit().expect("this machine's code");
        for dims in tried {
            let input = [numbers(&dims)];
            let got = compiled.run(&input).unwrap_or_else(|e| panic!("{file} {dims:?}: {e}"));
            let all = [("x.0", dims[0]), ("x.2", dims[2]), ("x.3", dims[3])];
            let alone = open_file(&path, &all, &[]).compile(&Target::host(), &Options::default());
            let alone = alone.and_then(|artifact| artifact.jit()).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert_close(file, &got[0], &alone.run(&input).expect("runs")[0], 1e-4);
        }
    }
}

#[test]
fn sizes_that_make_too_many_cases_are_refused() {
    let mut command = Command::new(avocet_program());
    command.arg("compile").arg(workspace_root().join("examples/mobilenet_v2.toml"));
    command.args(["--dim", "H=32..1024", "--dim", "W=32..1024", "-o", "/nonexistent"]);
    let output = capture(&mut command).expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("make 986049 cases") && text.contains("at most 1024"), "{text}");
}

const HOST: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mobilenet_v3_small.h"

int main(void) {
    float *x = malloc(MOBILENET_V3_SMALL_INPUT_0_BYTES), *y = malloc(MOBILENET_V3_SMALL_OUTPUT_0_BYTES);
    void *arena = aligned_alloc(64, MOBILENET_V3_SMALL_ARENA_BYTES);
    size_t i;
    int64_t sizes[MOBILENET_V3_SMALL_SIZE_COUNT], shape[4], elements, n, h;
    if (!x || !y || !arena) return 3;
    for (i = 0; i < MOBILENET_V3_SMALL_INPUT_0_ELEMENTS; i++) x[i] = (float)(i * 7919 % 2003) / 1001.5f - 1.0f;
    for (n = 0; n <= 4; n++)
        for (h = 0; h <= 128; h += 32) {
            sizes[MOBILENET_V3_SMALL_SIZE_N] = n;
            sizes[MOBILENET_V3_SMALL_SIZE_H] = h;
            memset(y, 0x55, MOBILENET_V3_SMALL_OUTPUT_0_BYTES);
            elements = mobilenet_v3_small_output_shape(0, sizes, shape);
            if (mobilenet_v3_small_run(x, y, arena, sizes) == AVOCET_OK) {
                if (elements != n * 1000 || shape[0] != n || shape[1] != 1000) return 4;
                if (mobilenet_v3_small_input_shape(0, sizes, shape) != n * 3 * h * 64) return 5;
                if (mobilenet_v3_small_arena_bytes(sizes) > MOBILENET_V3_SMALL_ARENA_BYTES) return 6;
                /* No byte beyond what these sizes have. */
                for (i = (size_t)elements; i < MOBILENET_V3_SMALL_OUTPUT_0_ELEMENTS; i++)
                    if (memcmp(&y[i], "UUUU", 4)) return 7;
                printf("%d %d %.9g %.9g\n", (int)n, (int)h, (double)y[0], (double)y[elements - 1]);
            } else {
                /* Nothing is written, and the header says the same. */
                if (elements != -1 || mobilenet_v3_small_arena_bytes(sizes)) return 8;
                for (i = 0; i < MOBILENET_V3_SMALL_OUTPUT_0_ELEMENTS; i++)
                    if (memcmp(&y[i], "UUUU", 4)) return 9;
            }
        }
    sizes[0] = INT64_MIN;
    if (mobilenet_v3_small_run(x, y, arena, sizes) != AVOCET_SIZE) return 10;
    sizes[0] = INT64_MAX;
    if (mobilenet_v3_small_run(x, y, arena, sizes) != AVOCET_SIZE) return 11;
    return mobilenet_v3_small_run(x, y, arena, NULL) == AVOCET_NULL_POINTER ? 0 : 12;
}
"#;

#[test]
fn a_c_program_gives_sizes_and_wrong_ones_write_nothing() {
    let folder = temporary_folder();
    let file = |name: &str| folder.path().join(name);
    let model = "mobilenet_v3_small.toml";
    let mut command = Command::new(avocet_program());
    command.arg("compile").arg(workspace_root().join("examples").join(model));
    command.args(["--dim", "N=1..3", "--dim", "H=32..96:32", "--dim", "W=64", "-o"]).arg(folder.path());
    run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    std::fs::write(file("host.c"), HOST).expect("writable");
    for (compiler, standard) in [("cc", "-std=c11"), ("c++", "-std=c++17")] {
        let mut command = Command::new(compiler);
        command.args([standard, "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]).arg(folder.path());
        if compiler == "c++" {
            // C's way to allocate is no C++; the header is what is checked.
            command
                .args(["-fsyntax-only", "-fpermissive", "-Wno-error", "-w", "-x", "c++"])
                .arg(file("host.c"));
            run(&mut command).unwrap_or_else(|e| panic!("{e}"));
            continue;
        }
        command.arg(file("host.c")).arg(file("libmobilenet_v3_small.a")).arg("-o").arg(file("host"));
        run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    }
    let printed = run(&mut Command::new(file("host"))).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(printed.lines().count(), 9, "{printed}");
    for line in printed.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (n, h): (usize, usize) = (words[0].parse().expect("n"), words[1].parse().expect("h"));
        let fixed = open(model, &[("N", n), ("H", h), ("W", 64)], &[]);
        let expected = fixed.reference(&[numbers(&[n, 3, h, 64])]).expect("runs");
        let expected = expected[0].as_f32().expect("f32");
        for (word, expected) in words[2..].iter().zip([expected[0], expected[n * 1000 - 1]]) {
            let got: f32 = word.parse().expect("a number");
            assert!((got - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{line}: {expected}");
        }
    }
}
