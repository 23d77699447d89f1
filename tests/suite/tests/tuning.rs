//! `avocet tune`, and what the other commands make of its file: whatever the times.

use std::path::Path;
use std::process::{Command, Output};

use avocet_tests::files::{avocet_program, capture, run, temporary_folder};
use serde_json::Value;

/// A layer of each kind that is tuned, some of them twice.
const NETWORK: &str = "
version = 1
name = 'tiny'
input = { channels = 3, height = 24, width = 24 }
blocks = [
    { type = 'conv', out = 16, kernel = 3, activation = 'relu' },
    { type = 'conv', out = 16, kernel = 3, activation = 'relu' },
    { type = 'inverted_residual', out = 16, kernel = 3, expand = 2 },
    { type = 'inverted_residual', out = 16, kernel = 3, expand = 2 },
    { type = 'classifier', classes = 10 },
]
";

/// A folder with the network in it, where commands run.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = temporary_folder();
        std::fs::write(folder.path().join("tiny.toml"), NETWORK).expect("writable");
        Place(folder)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(avocet_program());
        command.current_dir(self.0.path()).args(arguments);
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments)).unwrap_or_else(|e| panic!("{e}"))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        capture(&mut self.command(arguments)).unwrap_or_else(|e| panic!("{e}"))
    }

    fn tune(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[&["tune", "tiny.toml", "--json", "--candidates", "5"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }
}

fn layers(tuning: &Value) -> &Vec<Value> {
    tuning["layers"].as_array().expect("layers")
}

fn all_are(tuning: &Value, source: &str) -> bool {
    layers(tuning).iter().all(|layer| layer["source"] == source)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn a_network_is_tuned_and_compiled_as_the_file_says() {
    let place = Place::new();
    let tuning = place.tune(&["--seconds", "20"]);
    assert!(all_are(&tuning, "measured"), "{tuning}");
    for layer in layers(&tuning) {
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}: {layer}"));
        assert!(
            number(&layer["model"]["microseconds"]) > 0.0 && number(&layer["predicted_microseconds"]) > 0.0
        );
        let ratio = number(&layer["ratio"]);
        assert!(ratio == 1.0 || (ratio <= 0.98 && layer["best"] != layer["model"]), "{layer}");
    }
    let twice = layers(&tuning).iter().filter(|layer| layer["nodes"].as_array().map(Vec::len) == Some(2));
    assert!(twice.count() >= 2, "the blocks are alike: {tuning}");
    assert!(tuning["model_ms"].as_f64() >= tuning["tuned_ms"].as_f64(), "{tuning}");

    // Whatever was the fastest here: another choice for the expanding layers, which the schedule then shows.
    let path = place.path("tiny.tuned.json");
    let mut file = read(&path);
    let entries = file["tuned"][0]["layers"].as_object_mut().expect("layers");
    assert_eq!(entries.len(), layers(&tuning).len());
    let expand = |layer: &str| layer.starts_with("conv f32[1,24,24,16], constant f32[32,16,1,1]");
    let (_, entry) = entries.iter_mut().find(|(layer, _)| expand(layer)).expect("there");
    let chosen = entry["choice"].as_str().expect("text");
    let lanes = chosen.split(['x', ' ']).nth(3).expect("a tile");
    let other = format!("gemm 3x1x{lanes} channels");
    entry["choice"] = other.clone().into();
    std::fs::write(&path, file.to_string()).expect("writable");
    let schedule = ["inspect", "tiny.toml", "--emit", "schedule"];
    let with = |tuned: &[&str]| place.ok(&[&schedule[..], tuned].concat());
    let (plain, tuned) = (with(&[]), with(&["--tuned", "tiny.tuned.json"]));
    let count = |text: &str| text.matches(&other).count();
    assert_eq!((count(&plain), count(&tuned)), (0, 2), "{plain}\n{tuned}");

    let text = place.ok(&["run", "tiny.toml", "--verify", "--runs", "1", "--tuned", "tiny.tuned.json"]);
    assert!(text.contains("verify        ok"), "{text}");
    let bytes = |folder: &str| {
        place.ok(&["compile", "tiny.toml", "-o", folder, "--tuned", "tiny.tuned.json"]);
        std::fs::read(place.path(folder).join("tiny.o")).expect("an object file")
    };
    assert!(bytes("one") == bytes("two"), "compilation repeats bit for bit");
}

#[test]
fn what_is_known_is_not_measured_again() {
    let place = Place::new();
    let nothing = place.tune(&["--seconds", "0", "-o", "t.json"]);
    assert!(all_are(&nothing, "not_measured"), "{nothing}");
    let first = place.tune(&["--seconds", "20", "-o", "t.json"]);
    assert!(all_are(&first, "measured"), "{first}");
    let before = std::fs::read(place.path("t.json")).expect("a file");
    let output = place.output(&["tune", "tiny.toml", "-o", "t.json"]);
    let (text, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{notes}");
    assert!(text.contains("0 measured") && text.contains("cost model    within "), "{text}");
    assert!(notes.contains("were in t.json already and are not measured again"), "{notes}");
    assert!(std::fs::read(place.path("t.json")).expect("a file") == before);

    // For another target they are not known, and both stay in the file.
    place.tune(&["--seconds", "20", "-o", "t.json", "--target", "x86-64"]);
    let file = read(&place.path("t.json"));
    let targets = file["tuned"].as_array().map(Vec::len);
    assert_eq!(targets, Some(2), "{file}");
}

#[test]
fn choices_that_are_not_possible_are_told_and_left_out() {
    let place = Place::new();
    place.tune(&["--seconds", "20", "-o", "t.json"]);
    let plain = place.ok(&["inspect", "tiny.toml", "--emit", "schedule"]);
    let inspect = |contents: String| {
        std::fs::write(place.path("changed.json"), contents).expect("writable");
        place.output(&["inspect", "tiny.toml", "--emit", "schedule", "--tuned", "changed.json"])
    };
    let mut file = read(&place.path("t.json"));
    for entry in file["tuned"][0]["layers"].as_object_mut().expect("layers").values_mut() {
        entry["choice"] = "gemm 999999x2x8 positions".into();
    }
    let version = file["tuned"][0]["version"].as_str().expect("text").to_string();
    for (contents, expected) in [
        (file.to_string(), "warning: changed.json: 'gemm 999999x2x8 positions' is not used for "),
        (
            file.to_string().replace(&version, "0.0.0"),
            "note: changed.json is not used: the choices are of version 0.0.0",
        ),
        (r#"{"format":1,"tuned":[]}"#.into(), "note: changed.json holds no layer of this model"),
    ] {
        let output = inspect(contents);
        let notes = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(0) && notes.contains(expected), "{expected}\n{notes}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), plain);
    }
    for contents in ["", "{", "[]", "{\"format\": 7}"] {
        let output = inspect(contents.into());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("changed.json: not a file of tuned choices"), "{text}");
    }
}

#[test]
fn mistakes_are_told_with_exit_code_2_and_leave_no_file() {
    let place = Place::new();
    std::fs::write(place.path("other.toml"), OTHER_TARGET).expect("writable");
    std::fs::write(place.path("broken.json"), "{").expect("writable");
    for (arguments, expected) in [
        (&["--target", "other.toml"][..], "error: "),
        (&["-o", "broken.json"], "broken.json: not a file of tuned choices"),
        (&["-o", "no/such/folder/t.json", "--seconds", "0"], "error: writing"),
        (&["--seconds=-1"], "expected seconds"),
        (&["--candidates", "0"], "0"),
    ] {
        let output = place.output(&[&["tune", "tiny.toml"], arguments].concat());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected) && !text.contains("panicked"), "{arguments:?}: {text}");
    }
    assert!(!place.path("tiny.tuned.json").exists());
    assert_eq!(std::fs::read(place.path("broken.json")).expect("a file"), b"{");
}

/// A processor that no test runs on.
const OTHER_TARGET: &str = "
version = 1
name = 'other'
description = 'another machine'
triple = 'riscv64gc-unknown-linux-gnu'
features = []
vector = { bits = [], registers = 0, fma = false }
caches = { line = 64 }
issue = { multiply_add = 1, loads = 1 }
";
