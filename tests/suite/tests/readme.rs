//! The README's tour: its commands are run, and print what it says.

use std::os::unix::fs::symlink;
use std::process::Command;

use avocet_tests::files::{avocet_program, run, temporary_folder, workspace_root};
use avocet_tests::oracle::oracle;

/// Commands of the block marked `console`, each with the output below it.
fn tour(readme: &str) -> Vec<(String, String)> {
    let block = readme.split("```console\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut steps: Vec<(String, String)> = Vec::new();
    for line in block.expect("a console block").lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push((command.into(), String::new())),
            (None, Some((command, _))) if command.ends_with('\\') => *command += &format!("\n{line}"),
            (None, Some((_, output))) => *output += &format!("{line}\n"),
            (None, None) => panic!("output before the first command: {line}"),
        }
    }
    steps
}

/// Equal words; numbers with a point may differ in their last digits, which depend on the processor.
fn same(got: &str, expected: &str) -> bool {
    let close = |a: &str, b: &str| match (a.contains('.'), a.parse::<f64>(), b.parse::<f64>()) {
        (true, Ok(a), Ok(b)) => (a - b).abs() <= 1e-3 * b.abs(),
        _ => a == b,
    };
    let lines = |text: &str| text.lines().count();
    let (a, b) = (got.split_whitespace(), expected.split_whitespace());
    lines(got) == lines(expected)
        && a.clone().count() == b.clone().count()
        && a.zip(b).all(|(a, b)| close(a, b))
}

#[test]
fn the_tour_prints_what_the_readme_says() {
    let readme = std::fs::read_to_string(workspace_root().join("README.md")).expect("the README");
    let folder = temporary_folder();
    symlink(workspace_root().join("examples"), folder.path().join("examples")).expect("a link");
    let weights = oracle().trained_network("efficientnet_lite0.pth").unwrap();
    symlink(weights, folder.path().join("efficientnet_lite0.pth")).expect("a link");
    let pictures = oracle().pictures("efficientnet_lite0").unwrap();
    let cat = pictures.iter().find(|p| p.name == "chelsea").expect("the cat among the pictures");
    std::fs::write(folder.path().join("cat.ppm"), cat.ppm()).expect("writable");
    let photograph = oracle().photographs().unwrap().join("chelsea.jpg");
    symlink(photograph, folder.path().join("cat.jpg")).expect("a link");
    let program = avocet_program();
    let mut path = program.parent().expect("a folder").as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let steps = tour(&readme);
    assert!(steps.len() >= 4, "{steps:?}");
    for (command, expected) in steps {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&command).current_dir(folder.path()).env("PATH", &path);
        let got = run(&mut shell).unwrap_or_else(|e| panic!("{e}"));
        assert!(same(&got, &expected), "$ {command}\n{got}\nthe README has:\n{expected}");
    }
}

#[test]
fn outputs_are_compared_word_by_word() {
    assert!(same("285 9.124318\n", "285  9.124300\n"));
    for (got, expected) in [("285 9.12", "285 9.22"), ("a b\n", "a\nb\n"), ("a", "a b"), ("1", "2")] {
        assert!(!same(got, expected), "{got} and {expected}");
    }
}
