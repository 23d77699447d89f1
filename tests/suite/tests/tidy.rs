//! The architecture's invariants (ARCHITECTURE.md), held by a test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use avocet_tests::files::workspace_root;

/// Who may know whom: for each crate, all crates of the workspace that it may depend on.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("avocet-ir", &[]),
    ("avocet-runtime", &[]),
    ("avocet-target-spec", &[]),
    ("avocet-frontend", &["avocet-ir"]),
    ("avocet-reference", &["avocet-ir"]),
    ("avocet-passes", &["avocet-ir"]),
    ("avocet-kernels", &["avocet-ir"]),
    ("avocet-target-cranelift", &["avocet-ir", "avocet-runtime", "avocet-target-spec"]),
    ("avocet-target-x86", &["avocet-ir", "avocet-target-spec"]),
];

/// Files that may hold `unsafe`: few, small, each with its reason.
const UNSAFE: &[&str] = &[
    // Executable memory and the call into it.
    "targets/cranelift/src/jit.rs",
    // The call with checked tensors.
    "compiler/driver/src/jit.rs",
    // The types of a model's function and of its parts'.
    "runtime/src/lib.rs",
    // The map of a weights file.
    "runtime/src/mapped.rs",
    // The calls of parts on other threads.
    "runtime/src/pool.rs",
    // Tests of the call, and a host's own call.
    "targets/cranelift/tests/jit.rs",
    // Memory between pages that fault, and the call of kernels on it.
    "tests/backends/src/memory.rs",
    // The stop after each instruction, and the unwinder's functions.
    "tests/backends/tests/unwinding.rs",
    "examples/rust_host/src/main.rs",
];

/// Longest file of source; generated or tabular ones are named with their reason.
const MOST_LINES: usize = 500;

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let mut out = Vec::new();
    walk(workspace_root(), &mut out);
    out.sort();
    out
}

fn relative(path: &Path) -> String {
    path.strip_prefix(workspace_root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// The workspace's crates by name, with the crates of the workspace that each depends on (not for its tests).
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for folder in ["compiler", "targets"] {
        for entry in fs::read_dir(workspace_root().join(folder)).expect("a folder").flatten() {
            if let Ok(text) = fs::read_to_string(entry.path().join("Cargo.toml")) {
                let (name, known) = manifest(&text);
                found.insert(name, known);
            }
        }
    }
    let text = fs::read_to_string(workspace_root().join("runtime/Cargo.toml")).expect("the runtime");
    let (name, known) = manifest(&text);
    found.insert(name, known);
    found
}

fn manifest(text: &str) -> (String, Vec<String>) {
    let name =
        text.lines().find_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"')).expect("a name").into();
    let mut section = "";
    let mut known = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && line.starts_with("avocet") {
            known.push(line.split(['.', ' ', '=']).next().unwrap_or_default().to_string());
        }
    }
    (name, known)
}

#[test]
fn crates_know_only_whom_they_may() {
    let found = dependencies();
    for (name, allowed) in MAY_KNOW {
        let known = found.get(*name).unwrap_or_else(|| panic!("{name} is gone"));
        for other in known {
            assert!(allowed.contains(&other.as_str()), "{name} knows {other}, which it may not");
        }
    }
    for name in found.keys().filter(|name| *name != "avocet") {
        assert!(
            MAY_KNOW.iter().any(|(known, _)| known == name),
            "{name} is not in the list of who may know whom"
        );
    }
}

#[test]
fn unsafe_code_is_where_it_is_expected() {
    for path in sources() {
        let (name, text) = (relative(&path), fs::read_to_string(&path).expect("a source"));
        if name == "tests/suite/tests/tidy.rs" || UNSAFE.contains(&name.as_str()) {
            continue;
        }
        let code = text.lines().map(|l| l.split("//").next().unwrap_or_default());
        let found = code.filter(|l| l.contains("unsafe ")).count();
        assert_eq!(found, 0, "{name} holds unsafe code");
    }
}

#[test]
fn files_are_not_too_long_and_say_what_they_are() {
    for path in sources() {
        let (name, text) = (relative(&path), fs::read_to_string(&path).expect("a source"));
        let lines = text.lines().count();
        assert!(
            lines <= MOST_LINES,
            "{name} has {lines} lines; more than {MOST_LINES} wants to become two files"
        );
        let is_test = name.contains("tests") || name.ends_with("build.rs");
        assert!(
            is_test || text.starts_with("//!"),
            "{name} does not start with a comment that says what it is"
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["todo!", "unimplemented!", "FIXME", "XXX", "#[ignore"];
    for path in sources().into_iter().filter(|p| !relative(p).ends_with("tidy.rs")) {
        let text = fs::read_to_string(&path).expect("a source");
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", relative(&path));
        }
    }
}

#[test]
fn pages_are_finished_and_name_what_exists() {
    for page in
        ["README.md", "ARCHITECTURE.md", "tests/README.md", "docs/description.md", "targets/spec/README.md"]
    {
        let text = fs::read_to_string(workspace_root().join(page)).expect("a page");
        for line in text.lines() {
            // A line of nothing but one word in capitals stands for something yet to be written.
            let word = line.trim();
            let placeholder = word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
            let marked = ["TODO", "TBD", "FIXME", "XXX"].iter().any(|mark| line.contains(mark));
            assert!(!placeholder && !marked, "{page} is not finished: {line}");
        }
        let folder = workspace_root().join(page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or_default();
            let there = link.contains("://") || folder.with_file_name(file).exists();
            assert!(there, "{page} links to {link}, which is not there");
        }
    }
    let architecture = fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).expect("a page");
    for row in architecture.lines().filter_map(|line| line.strip_prefix("| `")) {
        let folder = row.split('`').next().unwrap_or_default();
        assert!(workspace_root().join(folder).is_dir(), "ARCHITECTURE.md names {folder}, which is not there");
    }
}

#[test]
fn every_example_is_named_in_the_readme() {
    let readme = fs::read_to_string(workspace_root().join("README.md")).expect("the readme");
    for entry in fs::read_dir(workspace_root().join("examples")).expect("the examples").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let name = name.strip_suffix(".toml").unwrap_or(&name);
        assert!(readme.contains(name), "README.md does not name examples/{name}");
    }
}
