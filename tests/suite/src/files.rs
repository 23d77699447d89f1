//! Folders and programs that tests use: the workspace, temporary folders, commands with readable failures, and the
//! `avocet` program.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;

use serde::Deserialize;

/// At most this many last lines of each output stream are shown when a command fails.
const LINES_SHOWN: usize = 40;

/// A command that could not be started or did not succeed; its `Display` is a report with the end of its output.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandError {
    /// The command line.
    pub command: String,
    /// Why it failed.
    pub reason: String,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  for command: {}", self.reason, self.command)?;
        for (stream, text) in [("standard output", &self.stdout), ("standard error", &self.stderr)] {
            let lines: Vec<&str> = text.lines().collect();
            if lines.is_empty() {
                continue;
            }
            let first = lines.len().saturating_sub(LINES_SHOWN);
            write!(f, "\n  {stream}")?;
            if first > 0 {
                write!(f, " (last {LINES_SHOWN} of {} lines)", lines.len())?;
            }
            f.write_str(":")?;
            for line in &lines[first..] {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// The report, so that `unwrap` and tests that return a `Result` print it readably.
impl fmt::Debug for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for CommandError {}

/// Runs a command to its end and captures its output, whether or not it succeeds.
pub fn capture(command: &mut Command) -> Result<Output, CommandError> {
    command.output().map_err(|error| CommandError {
        command: command_line(command),
        reason: format!("can't be started: {error}"),
        stdout: String::new(),
        stderr: String::new(),
    })
}

/// Runs a command that must succeed, and returns its standard output.
pub fn run(command: &mut Command) -> Result<String, CommandError> {
    let output = capture(command)?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(CommandError {
        command: command_line(command),
        reason: failure(output.status),
        stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn failure(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        // Without a code a signal ended it, which the standard library's text names.
        None => format!("ended by {status}"),
    }
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// A new folder that is deleted with the returned value.
///
/// # Panics
/// When the system's folder for temporary files can't be written to.
pub fn temporary_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("avocet-test-").tempdir().unwrap_or_else(|error| {
        panic!("no temporary folder can be made in {:?}: {error}", std::env::temp_dir())
    })
}

/// The root of the workspace, absolute.
///
/// # Panics
/// When the workspace has been moved away since the tests were built.
pub fn workspace_root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        root.canonicalize()
            .unwrap_or_else(|error| panic!("the workspace {} is gone: {error}", root.display()))
    })
}

/// The `avocet` program, up to date with the sources and of the same Cargo profile as the running test.
///
/// Cargo builds a program for the integration tests of its own package only, so a test in this crate may find none, or
/// an old one. Therefore Cargo itself is asked, once a process, to build it; that costs little when nothing changed.
/// `--workspace` makes Cargo resolve features as `cargo test --workspace` does, so that dependencies aren't built twice.
///
/// # Panics
/// When the program doesn't build.
pub fn avocet_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match build_avocet() {
        Ok(program) => program,
        Err(error) => panic!("the avocet program can't be built: {error}"),
    })
}

/// A line of Cargo's `--message-format=json` output, as far as it matters here.
#[derive(Deserialize)]
struct CargoMessage {
    executable: Option<PathBuf>,
}

fn build_avocet() -> Result<PathBuf, CommandError> {
    let BuildFolders { target, profile } = build_folders(&test_executable());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--workspace",
        "--bin",
        "avocet",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.arg("--profile").arg(profile).arg("--target-dir").arg(target).current_dir(workspace_root());
    let messages = run(&mut cargo)?;
    let executable = |line| serde_json::from_str::<CargoMessage>(line).ok()?.executable;
    messages.lines().find_map(executable).ok_or_else(|| CommandError {
        command: command_line(&cargo),
        reason: "Cargo named no executable".to_owned(),
        stdout: messages.clone(),
        stderr: String::new(),
    })
}

fn test_executable() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|error| panic!("the path of the running test is unknown: {error}"))
}

/// Where Cargo put a test, and by which profile.
#[derive(Debug, PartialEq)]
struct BuildFolders {
    target: PathBuf,
    profile: String,
}

/// Reads the build's folders off the path of a test executable, `TARGET/PROFILE/deps/NAME`.
fn build_folders(executable: &Path) -> BuildFolders {
    let profile = executable.parent().filter(|folder| folder.ends_with("deps")).and_then(Path::parent);
    let (Some(folder), Some(target)) = (profile, profile.and_then(Path::parent)) else {
        panic!(
            "{} is not in Cargo's layout TARGET/PROFILE/deps/NAME; run the tests by cargo test",
            executable.display()
        );
    };
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // The profile of name `dev` is the one whose folder has another name.
    let profile = if name == "debug" { "dev".to_owned() } else { name };
    BuildFolders { target: target.into(), profile }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_succeeds_gives_its_output() {
        assert_eq!(run(Command::new("sh").args(["-c", "echo out; echo err >&2"])).unwrap(), "out\n");
    }

    #[test]
    fn a_command_that_fails_shows_what_it_wrote() {
        let error = run(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "exit status 3\n  for command: sh -c echo out; echo err >&2; exit 3\n  \
             standard output:\n    out\n  standard error:\n    err"
        );
        assert_eq!(format!("{error:?}"), error.to_string());
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        let text = run(Command::new("sh").args(["-c", "seq 100; exit 1"])).unwrap_err().to_string();
        assert!(
            text.contains("(last 40 of 100 lines)")
                && text.contains("\n    61\n")
                && !text.contains("\n    60\n")
        );
    }

    #[test]
    fn a_signal_is_named() {
        let error = run(Command::new("sh").args(["-c", "kill -ILL $$"])).unwrap_err();
        assert!(error.reason.contains("signal"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program")).unwrap_err();
        assert!(error.to_string().starts_with("can't be started"), "{error}");
    }

    #[test]
    fn temporary_folders_vanish() {
        let folder = temporary_folder();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(workspace_root().join("tests/oracle/requirements.txt").is_file());
    }

    #[test]
    fn the_profile_follows_from_the_path() {
        let folders = |path: &str| build_folders(Path::new(path));
        let of =
            |target: &str, profile: &str| BuildFolders { target: target.into(), profile: profile.into() };
        assert_eq!(folders("/w/target/debug/deps/operators-1f"), of("/w/target", "dev"));
        assert_eq!(folders("/w/target/release/deps/operators-1f"), of("/w/target", "release"));
    }
}
