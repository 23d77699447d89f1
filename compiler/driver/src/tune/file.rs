//! Tuned choices as a file: which schedule of a layer is the fastest, for whoever compiles the same layer again.
//!
//! A choice is filed under all that it depends on: the compiler's version, the target with everything that code for it
//! depends on, whether only exact methods were allowed, and the layer's own text ([`Graph::layer_text`]). A file may hold
//! choices of several targets and versions. It may come from anyone, so its size is bounded, its form checked here, and
//! each choice held against its node when it is used ([`avocet_passes::tuned`]).
//!
//! [`Graph::layer_text`]: avocet_ir::Graph::layer_text

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use avocet_ir::schedule::Schedule;
use avocet_target_spec::{Caches, Issue, Target, Vector};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::VERSION;
use crate::error::Error;
use crate::output::Output;

/// The form of files that is written and read here.
const FORMAT: u32 = 1;
/// Most bytes of a file: hundreds of networks.
const MOST_BYTES: u64 = 32 << 20;

/// Why a file of tuned choices was refused.
#[derive(Debug, Error)]
pub enum TunedError {
    /// It could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is larger than any such file.
    #[error("{}: more than {MOST_BYTES} bytes; this is no file of tuned choices", .0.display())]
    TooLarge(PathBuf),
    /// It is not of the form; the text says where.
    #[error("{origin}: not a file of tuned choices: {problem}")]
    Invalid {
        /// The file.
        origin: String,
        /// What is wrong.
        problem: String,
    },
}

/// Choices that were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tuned {
    groups: Vec<Group>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    tuned: Vec<Group>,
}

/// The form alone, read first, so that a file of a later form is called that.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// What choices depend on, other than the layer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Key {
    version: String,
    target: String,
    exact: bool,
}

impl Key {
    fn new(target: &Target, exact: bool) -> Self {
        Key { version: VERSION.into(), target: describe(target), exact }
    }
}

/// Choices for one target by one version.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Group {
    #[serde(flatten)]
    key: Key,
    layers: BTreeMap<String, Entry>,
}

/// What was found out about a layer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The fastest schedule.
    #[serde(with = "text")]
    pub(crate) choice: Schedule,
    /// Its median time.
    pub(crate) microseconds: f64,
    /// The cost model's choice at that time.
    #[serde(with = "text")]
    pub(crate) model: Schedule,
    /// Its median time.
    pub(crate) model_microseconds: f64,
    /// Schedules that were measured.
    pub(crate) candidates: usize,
}

/// Schedules by their text form.
mod text {
    use avocet_ir::schedule::Schedule;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(schedule: &Schedule, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(schedule)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Schedule, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Tuned {
    /// Reads a file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, TunedError> {
        let path = path.as_ref();
        let fail = |source| TunedError::Read { path: path.into(), source };
        let file = std::fs::File::open(path).map_err(fail)?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(fail)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(TunedError::TooLarge(path.into()));
        }
        Tuned::parse(&bytes, &path.display().to_string())
    }

    /// Reads the contents of a file; `origin` names it in errors.
    pub fn parse(bytes: &[u8], origin: &str) -> Result<Self, TunedError> {
        let invalid = |problem: String| TunedError::Invalid { origin: origin.into(), problem };
        let broken = |error: serde_json::Error| invalid(error.to_string());
        let Versioned { format } = serde_json::from_slice(bytes).map_err(broken)?;
        if format != FORMAT {
            return Err(invalid(format!("format {format} is not known here, only {FORMAT}")));
        }
        let File { tuned, .. } = serde_json::from_slice(bytes).map_err(broken)?;
        let mut all = Tuned::default();
        for Group { key, layers } in tuned {
            all.group(key).layers.extend(layers);
        }
        Ok(all)
    }

    /// The text of a file, which [`Tuned::parse`] reads back.
    pub fn to_json(&self) -> String {
        let file = File { format: FORMAT, tuned: self.groups.clone() };
        // Strings, numbers, lists and tables of them always have that form.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    /// Writes a file, which appears whole or not at all.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let mut output = Output::default();
        output.add(path.as_ref(), self.to_json().as_bytes())?;
        output.finish()?;
        Ok(())
    }

    /// The choices for a target by layer, of this version of the compiler.
    pub fn choices(&self, target: &Target, exact: bool) -> BTreeMap<String, Schedule> {
        let layers = self.find(target, exact).into_iter().flat_map(|group| &group.layers);
        layers.map(|(layer, entry)| (layer.clone(), entry.choice)).collect()
    }

    /// Why there is no choice for a target, if there is none although there are others.
    pub fn why_not(&self, target: &Target, exact: bool) -> Option<String> {
        let key = Key::new(target, exact);
        if self.groups.is_empty() || self.groups.iter().any(|group| group.key == key) {
            return None;
        }
        let version = |group: &&Group| group.key.target == key.target && group.key.exact == exact;
        if let Some(other) = self.groups.iter().find(version) {
            let other = other.key.version.chars().take(40).collect::<String>();
            return Some(format!("the choices are of version {}, this is {VERSION}", other.escape_debug()));
        }
        Some(match (self.groups.iter().any(|group| group.key.target == key.target), exact) {
            (true, true) => "the choices were measured without --exact".into(),
            (true, false) => "the choices were measured with --exact".into(),
            (false, _) => format!("the choices are for other targets than {target}"),
        })
    }

    /// What is known of a layer.
    pub(crate) fn get(&self, target: &Target, exact: bool, layer: &str) -> Option<&Entry> {
        self.find(target, exact)?.layers.get(layer)
    }

    /// Adds what was found out about a layer, or replaces what was known.
    pub(crate) fn insert(&mut self, target: &Target, exact: bool, layer: String, entry: Entry) {
        self.group(Key::new(target, exact)).layers.insert(layer, entry);
    }

    fn find(&self, target: &Target, exact: bool) -> Option<&Group> {
        let key = Key::new(target, exact);
        self.groups.iter().find(|group| group.key == key)
    }

    fn group(&mut self, key: Key) -> &mut Group {
        let place = self.groups.iter().position(|group| group.key == key).unwrap_or_else(|| {
            self.groups.push(Group { key, layers: BTreeMap::new() });
            self.groups.len() - 1
        });
        &mut self.groups[place]
    }
}

/// All of a target that code for it, or its speed, depends on.
fn describe(target: &Target) -> String {
    // What is left out changes nothing: the description and sources are for people, cores, frequency and power for estimates.
    let Target {
        name,
        description: _,
        triple,
        features,
        vector,
        caches,
        issue,
        cores: _,
        frequency_mhz: _,
        power_milliwatts: _,
        sources: _,
    } = target;
    let Vector { bits, registers, fma } = vector;
    let Caches { line, l1d, l2, l3 } = caches;
    let Issue { multiply_add, loads } = issue;
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    format!(
        "{name} {triple}, vectors {bits:?} x {registers}{}, caches {line}/{l1d}/{l2}/{l3}, issue {multiply_add}/{loads}, {}",
        if *fma { " fma" } else { "" },
        features.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::by_name("x86-64-v3").expect("built in")
    }

    fn entry(choice: &str) -> Entry {
        let schedule = |text: &str| text.parse().expect("a schedule");
        Entry {
            choice: schedule(choice),
            microseconds: 1.5,
            model: schedule("gemm 6x2x8 channels"),
            model_microseconds: 1.6,
            candidates: 12,
        }
    }

    fn tuned() -> Tuned {
        let mut tuned = Tuned::default();
        tuned.insert(&target(), false, "conv a".into(), entry("gemm 4x3x8 positions"));
        tuned.insert(&target(), true, "conv a".into(), entry("direct 4x3x8 positions"));
        tuned.insert(&target(), false, "conv b".into(), entry("depthwise 4x1x8 channels"));
        tuned
    }

    fn problem(text: &str) -> String {
        Tuned::parse(text.as_bytes(), "t.json").expect_err("not valid").to_string()
    }

    #[test]
    fn files_read_back() {
        let tuned = tuned();
        assert_eq!(Tuned::parse(tuned.to_json().as_bytes(), "t.json").expect("valid"), tuned);
        let choices = tuned.choices(&target(), false);
        assert_eq!(choices.keys().collect::<Vec<_>>(), ["conv a", "conv b"]);
        assert_eq!(choices["conv a"].to_string(), "gemm 4x3x8 positions");
        assert_eq!(tuned.choices(&target(), true)["conv a"].to_string(), "direct 4x3x8 positions");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.json");
        tuned.write(&path).expect("written");
        assert_eq!(Tuned::read(&path).expect("read"), tuned);
    }

    #[test]
    fn choices_are_for_one_target_and_version() {
        let tuned = tuned();
        let other = Target { caches: Caches { l2: 1 << 20, ..target().caches }, ..target() };
        assert_eq!(tuned.choices(&other, false), BTreeMap::new());
        assert!(tuned.why_not(&other, false).is_some_and(|text| text.contains("for other targets")));
        assert_eq!(tuned.why_not(&target(), false), None);
        let renamed = Target { description: "new".into(), cores: Some(64), ..target() };
        assert_eq!(tuned.choices(&renamed, false).len(), 2);
        let old = tuned.to_json().replace(&format!("\"version\": \"{VERSION}\""), "\"version\": \"0.0.1\"");
        let old = Tuned::parse(old.as_bytes(), "t.json").expect("valid");
        assert_eq!(old.choices(&target(), false), BTreeMap::new());
        let note = old.why_not(&target(), false).expect("a reason");
        assert_eq!(note, format!("the choices are of version 0.0.1, this is {VERSION}"));
        // What is found out anew stands beside it.
        let mut both = old;
        both.insert(&target(), false, "conv a".into(), entry("gemm 4x3x8 positions"));
        assert_eq!(both.groups.len(), 3);
        assert_eq!(both.choices(&target(), false).len(), 1);
    }

    #[test]
    fn truncated_files_are_refused() {
        let text = tuned().to_json();
        for length in 0..text.len() - 2 {
            assert!(Tuned::parse(&text.as_bytes()[..length], "t.json").is_err(), "{length} bytes");
        }
    }

    #[test]
    fn damaged_files_never_panic() {
        let text = tuned().to_json().into_bytes();
        for place in 0..text.len() {
            for byte in [0, b'"', b'9', b'}', 0xff] {
                let mut damaged = text.clone();
                damaged[place] = byte;
                let _ = Tuned::parse(&damaged, "t.json");
            }
        }
    }

    #[test]
    fn other_contents_are_refused_with_a_reason() {
        for (text, expected) in [
            ("", "EOF"),
            ("[]", "invalid"),
            ("{}", "missing field `format`"),
            (r#"{"format": -1, "tuned": []}"#, "invalid value"),
            (r#"{"format": 2, "tuned": []}"#, "format 2 is not known here, only 1"),
            (r#"{"format": 1, "tuned": {}}"#, "invalid type"),
            (r#"{"format": 1, "tuned": [], "more": 1}"#, "unknown field `more`"),
        ] {
            let problem = problem(text);
            let expected =
                problem.starts_with("t.json: not a file of tuned choices") && problem.contains(expected);
            assert!(expected, "{text}: {problem}");
        }
        let valid = tuned().to_json();
        for (from, to, expected) in [
            ("\"gemm 4x3x8 positions\"", "\"gemm 4x3 positions\"", "'gemm 4x3 positions' is not a schedule"),
            ("\"gemm 4x3x8 positions\"", "7", "invalid type"),
            ("\"microseconds\": 1.5", "\"microseconds\": 1e999", "out of range"),
            ("\"candidates\": 12", "\"candidates\": -12", "invalid value"),
            ("\"exact\": false", "\"exact\": 0", "invalid type"),
        ] {
            assert!(valid.contains(from), "{from}");
            let problem = problem(&valid.replace(from, to));
            assert!(problem.contains(expected), "{to}: {problem}");
        }
        let deep = format!(r#"{{"format": 1, "tuned": {}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(problem(&deep).contains("not a file of tuned choices"));
    }

    #[test]
    fn huge_files_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("huge.json");
        let file = std::fs::File::create(&path).expect("writable");
        file.set_len(1 << 40).expect("a file of nothing");
        let error = Tuned::read(&path).expect_err("too large").to_string();
        assert!(error.contains("bytes; this is no file of tuned choices"), "{error}");
        let error = Tuned::read(folder.path().join("none.json")).expect_err("not there").to_string();
        assert!(error.contains("none.json: No such file"), "{error}");
    }
}
