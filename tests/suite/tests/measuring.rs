//! `avocet bench` and `avocet profile`: what they report, whatever the times.

use std::process::Command;

use avocet_tests::files::{avocet_program, capture, run, temporary_folder, workspace_root};
use serde_json::Value;

fn json(arguments: &[&str]) -> Value {
    let mut command = Command::new(avocet_program());
    let text = run(command.args(arguments).current_dir(workspace_root())).unwrap_or_else(|e| panic!("{e}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn check_timing(timing: &Value) {
    let [min, median] = ["min_ms", "median_ms"].map(|key| number(&timing[key]));
    let [low, high] = [0, 1].map(|i| number(&timing["quartiles_ms"][i]));
    assert!(0.0 < min && min <= low && low <= median && median <= high, "{timing}");
}

fn check_limits(limits: &Value) {
    assert!(number(&limits["gflops"]) > 0.1, "{limits}");
    let levels = limits["levels"].as_array().expect("levels");
    assert_eq!(levels.last().map(|level| &level["name"]), Some(&Value::from("memory")));
    assert!(levels.iter().all(|level| number(&level["gigabytes_per_second"]) > 0.01), "{limits}");
}

#[test]
fn bench_holds_a_network_against_the_machine() {
    let bench = json(&["bench", "examples/mobilenet_v2.toml", "--runs", "3", "--json"]);
    assert_eq!(bench["model"], "mobilenet_v2");
    assert_eq!(bench["multiply_adds"], 300_774_272);
    assert_eq!((&bench["time"]["runs"], &bench["threads"]), (&Value::from(3), &Value::from(1)));
    check_timing(&bench["time"]);
    check_limits(&bench["limits"]);
    for key in ["gflops", "share_of_compute", "share_of_bandwidth", "share_of_roofline"] {
        assert!(number(&bench[key]) > 0.0, "{key}: {bench}");
    }
    // Each of the 3.5 million weights once, and the activations.
    assert!(number(&bench["bytes_moved"]) > 14e6 && number(&bench["weight_bytes"]) > 13.9e6, "{bench}");
}

#[test]
fn bench_tells_in_words() {
    let mut command = Command::new(avocet_program());
    command.current_dir(workspace_root()).args(["bench", "examples/squeezenet1_1.toml", "--seconds", "0"]);
    let text = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
    for line in ["latency ", "speed ", "traffic ", "roofline ", "limits ", "10 runs, 1 thread"] {
        assert!(text.contains(line), "{line}:\n{text}");
    }
    let output = capture(command.args(["--threads", "0"])).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn profile_times_every_call() {
    let folder = temporary_folder();
    let page = folder.path().join("profile.html");
    let name = page.to_str().expect("UTF-8");
    let arguments =
        ["profile", "examples/mobilenet_v2.toml", "--no-fuse", "--runs", "2", "--json", "--html", name];
    let profile = json(&arguments);
    let layers = profile["layers"].as_array().expect("layers");
    assert!(layers.len() > 50, "{} layers", layers.len());
    check_limits(&profile["limits"]);
    let (mut share, mut multiply_adds, mut weights) = (0.0, 0, 0);
    for (place, layer) in layers.iter().enumerate() {
        assert_eq!(layer["number"], place);
        check_timing(&layer["time"]);
        assert!(!layer["node"].as_str().expect("a name").is_empty(), "{layer}");
        let needed = layer["multiply_adds"].as_u64().expect("a count");
        let operations = ["needed_operations", "operations"].map(|key| layer[key].as_u64().expect("a count"));
        assert!(operations[0] <= operations[1], "{layer}");
        // Depthwise kernels leave out products with padding, at most a third in 7x7 pictures; nothing else is missing.
        assert!(3 * operations[0] >= 4 * needed, "{layer}");
        assert!(number(&layer["bound_ms"]) > 0.0, "{layer}");
        share += number(&layer["share_of_time"]);
        multiply_adds += needed;
        weights += layer["weight_bytes"].as_u64().expect("bytes");
    }
    assert!((share - 1.0).abs() < 1e-9, "{share}");
    assert_eq!(multiply_adds, 300_774_272);
    assert!(weights > 13_900_000, "{weights}");

    let page = std::fs::read_to_string(&page).expect("the page");
    let data = page.lines().find_map(|line| line.strip_prefix("const profile = ")?.strip_suffix(';'));
    let data: Value = serde_json::from_str(data.expect("the data")).expect("JSON");
    assert_eq!(data["layers"].as_array().map(Vec::len), Some(layers.len()));
}

#[test]
fn a_profile_is_a_table_in_either_order() {
    for order in ["execution", "time"] {
        let mut command = Command::new(avocet_program());
        command.current_dir(workspace_root());
        command.args(["profile", "examples/squeezenet1_1.toml", "--runs", "1", "--sort", order]);
        let text = run(&mut command).unwrap_or_else(|e| panic!("{e}"));
        for part in ["roofline", "GFLOP/s", "whole runs", "conv"] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
    }
}
