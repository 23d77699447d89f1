//! The ONNX backend node tests through the compiler: each compiled, run in this process and compared with what the package
//! `onnx` says. `tests/suite/node_tests.txt` is the table of what became of each; the test fails where that differs from what
//! happens now. A wrong result, a panic or a failed run is never written there: it fails.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use avocet::{LoadOptions, Model, Options, Target};
use avocet_tests::compare::compare;
use avocet_tests::files::workspace_root;
use avocet_tests::oracle::{NodeTest, oracle};

/// Relative to the expected output's scale. The tests themselves allow 1e-3 of each element; some of their expected values are
/// written with four digits.
const TOLERANCE: f64 = 2e-4;
/// Set to write the table anew.
const BLESS: &str = "AVOCET_BLESS";
const TABLE: &str = "tests/suite/node_tests.txt";
/// What happened, also where the test fails.
const SEEN: &str = "target/oracle-data/node_tests_seen.txt";

/// What became of a test.
enum Outcome {
    /// A line of the table.
    Told(String),
    /// What may never be.
    Failed(String),
}

fn run(test: &NodeTest, target: &Target) -> Outcome {
    if let Some(reason) = &test.out_of_scope {
        return Outcome::Told(format!("out of scope: {reason}"));
    }
    let refused = |text: &str| Outcome::Told(format!("not supported: {}", reason(text)));
    let model = match Model::open(test.files.model(), &LoadOptions::default()) {
        Ok(model) => model,
        Err(error) => return refused(&error.to_string()),
    };
    let artifact = match model.compile(target, &Options { verify: true, ..Options::default() }) {
        Ok(artifact) => artifact,
        Err(error) => return refused(&error.to_string()),
    };
    match compared(test, artifact.jit().map_err(|e| e.to_string())) {
        Ok(()) if test.given.is_empty() => Outcome::Told("passed".into()),
        Ok(()) => Outcome::Told(format!("passed, with '{}' as part of the model", test.given.join("', '"))),
        Err(problem) => Outcome::Failed(problem),
    }
}

/// Runs the compiled test and compares all of its outputs.
fn compared(test: &NodeTest, compiled: Result<avocet::Compiled, String>) -> Result<(), String> {
    let (compiled, expected) = (compiled?, test.files.run().map_err(|e| e.to_string())?);
    let inputs: Vec<_> = expected.inputs.iter().map(|t| t.tensor.clone()).collect();
    let outputs = compiled.run(&inputs).map_err(|e| e.to_string())?;
    if outputs.len() != expected.outputs.len() {
        return Err(format!("{} outputs, not {}", outputs.len(), expected.outputs.len()));
    }
    for (got, expected) in outputs.iter().zip(&expected.outputs) {
        compare(got, &expected.tensor, TOLERANCE).map_err(|e| format!("'{}': {e}", expected.name))?;
    }
    Ok(())
}

/// An error in one line: of a list, operators and reasons without the names of nodes, each once.
fn reason(error: &str) -> String {
    let Some((_, list)) = error.split_once(":\n") else {
        return error.rsplit("model.onnx: ").next().unwrap_or(error).replace('\n', " ");
    };
    let mut reasons: Vec<String> = Vec::new();
    for line in list.lines() {
        let operator = line.trim().split(" (").next().unwrap_or_default();
        let why = line.rsplit_once("): ").map(|(_, why)| format!(": {why}")).unwrap_or_default();
        let reason = format!("{operator}{why}");
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons.join("; ")
}

/// All tests, on as many threads as there are cores.
fn run_all(tests: &[NodeTest]) -> Vec<Outcome> {
    let (next, target) = (AtomicUsize::new(0), Target::host());
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((number, test)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    tests.get(number).map(|test| (number, test))
                } {
                    let outcome = catch_unwind(AssertUnwindSafe(|| run(test, &target)));
                    let outcome = outcome.unwrap_or_else(|_| Outcome::Failed("panicked".into()));
                    outcomes.lock().expect("panics are caught above").insert(number, outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("panics are caught above").into_values().collect()
}

#[test]
fn node_tests_do_as_the_table_says() {
    let tests = oracle().node_tests().unwrap();
    assert!(tests.len() > 1800, "only {} tests", tests.len());
    let outcomes = run_all(&tests);
    let (mut lines, mut failures, mut failed) = (String::new(), String::new(), 0);
    let (mut in_scope, mut passed) = (0, 0);
    for (test, outcome) in tests.iter().zip(outcomes) {
        let text = match outcome {
            Outcome::Told(text) => text,
            Outcome::Failed(problem) => {
                failed += 1;
                let _ = writeln!(failures, "{}: {problem}", test.name);
                "failed".into()
            }
        };
        in_scope += usize::from(!text.starts_with("out of scope"));
        passed += usize::from(text.starts_with("passed"));
        let _ = writeln!(lines, "{}: {text}", test.name);
    }
    let percentage = 100.0 * passed as f64 / in_scope as f64;
    let summary = format!("{passed} of {in_scope} tests in scope pass ({percentage:.1} %).");
    let table = format!(
        "The ONNX backend node tests, by tests/suite/tests/node_tests.rs ({BLESS}=1 writes this file).\n\
         {summary}\n\n{lines}"
    );
    println!("{summary}");
    std::fs::write(workspace_root().join(SEEN), &table).unwrap();
    assert_eq!(failed, 0, "wrong results:\n{failures}");
    let path = workspace_root().join(TABLE);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let differing: Vec<String> = table
        .lines()
        .filter(|line| !written.lines().any(|other| other == *line))
        .map(|line| format!("now: {line}"))
        .chain(written.lines().filter(|line| !table.contains(line)).map(|line| format!("table: {line}")))
        .collect();
    assert!(
        differing.is_empty(),
        "{TABLE} differs from what happens; if that is better, {BLESS}=1 writes it:\n{}",
        differing.join("\n")
    );
}
