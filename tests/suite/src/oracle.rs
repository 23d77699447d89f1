//! ONNX Runtime and trained networks: the expected results that avocet's are compared with.
//!
//! Python does the work, by the scripts of `tests/oracle`, in a virtual environment that the first test to need it makes
//! under `target/oracle-venv` from pinned requirements; it takes `python3` with its `venv` module and access to PyPI.
//! Networks, pictures and operator cases are written once under `target/oracle-data`. Each such folder carries a stamp,
//! the text of all that it was made from, and is made anew when that differs. Files lock out other test processes
//! meanwhile.
//!
//! A test that needs the oracle fails when the oracle can't be had; it never passes by being skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use avocet::data::npy::{self, NpyError};
use avocet_ir::Tensor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::files::{self, CommandError};

pub use crate::cases::{Files, NodeTest, OperatorCase};

/// What the environment is made from, in the order of installation, each with further arguments of `pip install`.
const REQUIREMENTS: [(&str, &[&str]); 2] =
    [("requirements.txt", &[]), ("requirements-nodeps.txt", &["--no-deps"])];

/// Why the oracle gave no result.
#[derive(Error)]
pub enum OracleError {
    /// The Python environment can't be made.
    #[error(
        "the Python environment of the tests can't be made in {folder}: {source}\n  \
         It takes python3 (3.11 or newer) with its venv module (Debian: apt-get install python3-venv) and access to PyPI."
    )]
    Environment {
        /// Folder of the environment.
        folder: PathBuf,
        /// The step that failed.
        source: CommandError,
    },
    /// A script of `tests/oracle` failed.
    #[error("a script of tests/oracle failed: {0}")]
    Script(#[from] CommandError),
    /// A file or folder can't be made or read.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A list that a script wrote is not of the form agreed on.
    #[error("{path}: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A tensor that a script wrote can't be read.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// A tensor for a script can't be written.
    #[error(transparent)]
    Write(#[from] avocet::Error),
    /// There is no trained network of this name.
    #[error("tests/oracle/trained.py writes no {0}")]
    UnknownNetwork(PathBuf),
}

/// The message itself, so that `unwrap` and tests that return a `Result` print it readably.
impl fmt::Debug for OracleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A tensor with the name that the model gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name of the model's input or output.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
}

/// How a model is run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Run the graph as it is written, without ONNX Runtime's optimizations.
    pub unoptimized: bool,
    /// Sizes of free dimensions, by name.
    pub bindings: BTreeMap<String, usize>,
}

/// Inputs and outputs of one run, in the order of the model.
#[derive(Clone, Debug)]
pub struct Run {
    /// The inputs.
    pub inputs: Vec<NamedTensor>,
    /// What ONNX Runtime made of them.
    pub outputs: Vec<NamedTensor>,
}

/// A photograph or a line of text as input of a trained network.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Name of the picture.
    pub name: String,
    /// The class that a human gives it and the trained network agrees on, where there is one.
    pub class: Option<usize>,
    /// The preprocessed picture.
    pub input: Tensor,
}

/// A drawn page of text.
#[derive(Clone, Debug)]
pub struct Page {
    /// The picture's file.
    pub picture: PathBuf,
    /// Its lines, from top to bottom.
    pub lines: Vec<String>,
    /// What each class of `text_recognition.onnx` stands for.
    pub characters: Vec<String>,
}

impl Picture {
    /// The picture that an input of EfficientNet-Lite0 was made from, as a PPM: its preprocessing is undone exactly.
    ///
    /// # Panics
    /// When the input is another network's.
    pub fn ppm(&self) -> Vec<u8> {
        assert_eq!(self.input.shape().dims(), [1, 3, 224, 224], "{} is no input of Lite0", self.name);
        let data = self.input.as_f32().expect("pictures are f32");
        let mut out = b"P6 224 224 255\n".to_vec();
        for pixel in 0..224 * 224 {
            for channel in 0..3 {
                out.push((data[channel * 224 * 224 + pixel] * 128.0 + 127.0).round() as u8);
            }
        }
        out
    }
}

/// The Python environment, ready for use.
#[derive(Clone, Debug)]
pub struct Oracle {
    python: PathBuf,
}

/// The oracle, made ready on the first call.
///
/// # Panics
/// With the reason when it can't be made ready.
pub fn oracle() -> &'static Oracle {
    static ORACLE: OnceLock<Oracle> = OnceLock::new();
    ORACLE.get_or_init(|| match Oracle::prepare() {
        Ok(oracle) => oracle,
        Err(error) => panic!("{error}"),
    })
}

impl Oracle {
    /// Makes the Python environment, unless it is there already.
    pub fn prepare() -> Result<Self, OracleError> {
        let folder = files::workspace_root().join("target/oracle-venv");
        let failed = |source| OracleError::Environment { folder: folder.clone(), source };
        // An environment points into the interpreter that made it, so another interpreter needs another environment.
        let interpreter = files::run(Command::new("python3").args([
            "-I",
            "-c",
            "import sys; print(sys.executable, sys.version)",
        ]));
        let mut stamp = interpreter.map_err(failed)?;
        for (name, _) in REQUIREMENTS {
            append_file(&mut stamp, &scripts_folder().join(name))?;
        }
        let python = folder.join("bin/python");
        make_once(&folder, &stamp, || {
            files::run(Command::new("python3").args(["-I", "-m", "venv"]).arg(&folder)).map_err(failed)?;
            for (name, arguments) in REQUIREMENTS {
                let mut pip = Command::new(&python);
                pip.args(["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
                pip.args(arguments).arg("--requirement").arg(scripts_folder().join(name));
                files::run(&mut pip).map_err(failed)?;
            }
            Ok(())
        })?;
        Ok(Oracle { python })
    }

    /// The command that runs a script of `tests/oracle` in the environment.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        // -B: leave no byte code next to the scripts, which are sources. The variables could bring in other packages.
        command.arg("-B").arg(scripts_folder().join(name)).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// Runs a model on these inputs, given in the order of the model's inputs.
    pub fn run_onnx(
        &self,
        model: &Path,
        inputs: &[Tensor],
        options: &RunOptions,
    ) -> Result<Vec<NamedTensor>, OracleError> {
        let folder = files::temporary_folder();
        for (index, tensor) in inputs.iter().enumerate() {
            npy::write(&folder.path().join(format!("input_{index}.npy")), tensor)?;
        }
        files::run(&mut self.run_command(model, folder.path(), options))?;
        read_values(folder.path(), "output")
    }

    /// Runs a model on inputs drawn from `seed`. `shapes` gives the shape of each input whose dimensions the model
    /// leaves open.
    pub fn run_seeded(
        &self,
        model: &Path,
        seed: u64,
        shapes: &BTreeMap<String, Vec<usize>>,
        options: &RunOptions,
    ) -> Result<Run, OracleError> {
        let folder = files::temporary_folder();
        let mut command = self.run_command(model, folder.path(), options);
        command.arg(format!("--seed={seed}"));
        for (name, dims) in shapes {
            let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
            command.arg(format!("--shape={name}={}", dims.join(",")));
        }
        files::run(&mut command)?;
        Ok(Run {
            inputs: read_values(folder.path(), "input")?,
            outputs: read_values(folder.path(), "output")?,
        })
    }

    /// All operator cases, in a fixed order.
    pub fn operator_cases(&self) -> Result<Vec<OperatorCase>, OracleError> {
        let folder = self.data_folder("operators")?;
        let mut cases: Vec<OperatorCase> = read_json(&folder.join("cases.json"))?;
        for case in &mut cases {
            case.files = Files::new(&folder, &case.name);
        }
        Ok(cases)
    }

    /// All node tests, sorted by name.
    pub fn node_tests(&self) -> Result<Vec<NodeTest>, OracleError> {
        let folder = self.data_folder("node_tests")?;
        let mut tests: Vec<NodeTest> = read_json(&folder.join("cases.json"))?;
        tests.sort_by(|a, b| a.name.cmp(&b.name));
        for test in &mut tests {
            test.files = Files::new(&folder, &test.name);
        }
        Ok(tests)
    }

    /// Path of a file with a trained network: `efficientnet_lite0.onnx`, `efficientnet_lite0.pth`, `text_direction.onnx`,
    /// `text_detection.onnx` or `text_recognition.onnx`.
    pub fn trained_network(&self, file: &str) -> Result<PathBuf, OracleError> {
        let path = self.data_folder("trained")?.join(file);
        if path.is_file() { Ok(path) } else { Err(OracleError::UnknownNetwork(file.into())) }
    }

    /// Pictures for a trained network, `efficientnet_lite0` or `text_direction`, sorted by name.
    pub fn pictures(&self, network: &str) -> Result<Vec<Picture>, OracleError> {
        let folder = self.data_folder("pictures")?.join(network);
        let classes: BTreeMap<String, Option<usize>> = read_json(&folder.join("classes.json"))?;
        let picture = |(name, class): (String, Option<usize>)| {
            let input = npy::read(&folder.join(&name).join("input_0.npy"))?;
            Ok(Picture { name, class, input })
        };
        classes.into_iter().map(picture).collect()
    }

    /// A page of text to be read.
    pub fn page(&self) -> Result<Page, OracleError> {
        let folder = self.data_folder("page")?;
        Ok(Page {
            picture: folder.join("page.png"),
            lines: read_json(&folder.join("lines.json"))?,
            characters: read_json(&folder.join("characters.json"))?,
        })
    }

    /// Folder of the photographs that the pictures for `efficientnet_lite0` were made from: `NAME.png`, `NAME.jpg`, and
    /// `NAME.npy` as Pillow prepares them for ImageNet's networks.
    pub fn photographs(&self) -> Result<PathBuf, OracleError> {
        Ok(self.data_folder("pictures")?.join("photographs"))
    }

    fn run_command(&self, model: &Path, folder: &Path, options: &RunOptions) -> Command {
        let mut command = self.script("run_onnx.py");
        command.args([model, folder, folder]);
        if options.unoptimized {
            command.arg("--no-optimization");
        }
        for (name, size) in &options.bindings {
            command.arg(format!("--bind={name}={size}"));
        }
        command
    }

    /// The folder that the script `NAME.py` fills; filled by it unless it is there already.
    fn data_folder(&self, name: &str) -> Result<PathBuf, OracleError> {
        let folder = files::workspace_root().join("target/oracle-data").join(name);
        let mut stamp = String::new();
        append_folder(&mut stamp, scripts_folder())?;
        make_once(&folder, &stamp, || {
            files::run(self.script(&format!("{name}.py")).arg(&folder))?;
            Ok(())
        })?;
        Ok(folder)
    }
}

fn scripts_folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| files::workspace_root().join("tests/oracle"))
}

/// Lets `make` fill `folder`, which starts out empty, unless a former call under the same `stamp` did so to its end.
/// Threads and processes that ask for the same folder meanwhile wait.
fn make_once(
    folder: &Path,
    stamp: &str,
    make: impl FnOnce() -> Result<(), OracleError>,
) -> Result<(), OracleError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OracleError::Io { path, source }
    };
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(io(parent))?;
    }
    // The lock lies beside the folder, which comes and goes. It ends with the handle, also when the process is killed.
    let lock_path = folder.with_extension("lock");
    let lock = File::create(&lock_path).map_err(io(&lock_path))?;
    lock.lock().map_err(io(&lock_path))?;

    let stamp_path = folder.join("made-from.stamp");
    if fs::read(&stamp_path).is_ok_and(|found| found == stamp.as_bytes()) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(io(folder))?;
    }
    fs::create_dir(folder).map_err(io(folder))?;
    make()?;
    fs::write(&stamp_path, stamp).map_err(io(&stamp_path))
}

/// Appends the names and contents of all scripts and requirements in a folder and those below it, sorted by name.
fn append_folder(stamp: &mut String, folder: &Path) -> Result<(), OracleError> {
    let io = |source| OracleError::Io { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(io)?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>().map_err(io)?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            append_folder(stamp, &path)?;
        } else if path.extension().is_some_and(|extension| extension == "py" || extension == "txt") {
            append_file(stamp, &path)?;
        }
    }
    Ok(())
}

fn append_file(stamp: &mut String, path: &Path) -> Result<(), OracleError> {
    let text = fs::read_to_string(path).map_err(|source| OracleError::Io { path: path.into(), source })?;
    stamp.push_str(&format!("==> {} <==\n{text}", path.display()));
    Ok(())
}

/// An entry of the list that `write_values` in `values.py` writes.
#[derive(Deserialize)]
struct ValueEntry {
    name: String,
    file: String,
}

pub(crate) fn read_values(folder: &Path, prefix: &str) -> Result<Vec<NamedTensor>, OracleError> {
    let entries: Vec<ValueEntry> = read_json(&folder.join(format!("{prefix}s.json")))?;
    let value = |entry: ValueEntry| {
        Ok(NamedTensor { name: entry.name, tensor: npy::read(&folder.join(entry.file))? })
    };
    entries.into_iter().map(value).collect()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, OracleError> {
    let text = fs::read_to_string(path).map_err(|source| OracleError::Io { path: path.into(), source })?;
    serde_json::from_str(&text).map_err(|source| OracleError::Json { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::compare::{assert_close, top_k};

    #[test]
    fn a_folder_is_made_once_for_each_stamp() {
        let parent = files::temporary_folder();
        let folder = parent.path().join("data");
        let made = Cell::new(0);
        let make = |stamp| {
            let fill = || {
                made.set(made.get() + 1);
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the folder starts out empty");
                fs::write(folder.join("file"), stamp).unwrap();
                Ok(())
            };
            make_once(&folder, stamp, fill).unwrap();
        };
        make("one");
        make("one");
        assert_eq!(made.get(), 1);
        make("two");
        assert_eq!((made.get(), fs::read_to_string(folder.join("file")).unwrap()), (2, "two".to_owned()));
    }

    #[test]
    fn a_folder_that_failed_is_made_again() {
        let parent = files::temporary_folder();
        let folder = parent.path().join("data");
        let failure = OracleError::UnknownNetwork("x".into());
        make_once(&folder, "stamp", || Err(failure)).unwrap_err();
        let made = Cell::new(false);
        make_once(&folder, "stamp", || {
            made.set(true);
            Ok(())
        })
        .unwrap();
        assert!(made.get());
    }

    #[test]
    fn trained_networks_are_right_about_their_pictures() {
        for network in ["efficientnet_lite0", "text_direction"] {
            let model = oracle().trained_network(&format!("{network}.onnx")).unwrap();
            let pictures = oracle().pictures(network).unwrap();
            assert!(pictures.len() >= 4);
            for Picture { name, class, input } in pictures {
                let outputs = oracle().run_onnx(&model, &[input], &RunOptions::default()).unwrap();
                let scores = outputs[0].tensor.as_f32().unwrap();
                assert!(
                    class.is_none_or(|class| top_k(scores, 1) == [class]),
                    "{network}, {name}: {class:?}"
                );
            }
        }
    }

    #[test]
    fn runs_follow_from_the_seed_and_hardly_from_optimization() {
        let model = oracle().trained_network("text_direction.onnx").unwrap();
        let shapes = BTreeMap::from([("x".to_owned(), vec![2, 3, 48, 192])]);
        let options = RunOptions { unoptimized: true, ..RunOptions::default() };
        let plain = oracle().run_seeded(&model, 7, &shapes, &options).unwrap();
        let optimized = oracle().run_seeded(&model, 7, &shapes, &RunOptions::default()).unwrap();
        assert_eq!(plain.inputs, optimized.inputs);
        assert_eq!(plain.inputs[0].name, "x");
        assert_close("text_direction", &optimized.outputs[0].tensor, &plain.outputs[0].tensor, 1e-4);
    }

    #[test]
    fn operator_cases_have_inputs_and_outputs() {
        let cases = oracle().operator_cases().unwrap();
        assert!(cases.len() >= 250, "{} cases", cases.len());
        for case in cases {
            assert!(case.files.model().is_file(), "{}", case.name);
            assert!(!case.files.run().unwrap().outputs.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn errors_of_scripts_are_shown() {
        let error = oracle().run_onnx(Path::new("no.onnx"), &[], &RunOptions::default()).unwrap_err();
        assert!(error.to_string().contains("no.onnx"), "{error}");
        let error = oracle().trained_network("no.onnx").unwrap_err();
        assert!(error.to_string().contains("writes no no.onnx"), "{error}");
    }
}
