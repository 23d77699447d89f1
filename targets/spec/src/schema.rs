//! The text form of target descriptions: TOML by serde, then checks that serde can't make, each with its line.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{Caches, Issue, Target, TargetError, Vector, features};

/// The version of the schema that this crate reads.
const VERSION: u32 = 1;
/// A cache larger than this is a mistake.
const LARGEST_CACHE: u32 = 1 << 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Spanned<u32>,
    name: Spanned<String>,
    description: String,
    triple: Spanned<String>,
    features: Vec<Spanned<String>>,
    vector: VectorTable,
    caches: CachesTable,
    issue: IssueTable,
    cores: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorTable {
    bits: Vec<Spanned<u32>>,
    registers: Spanned<u32>,
    fma: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CachesTable {
    line: Spanned<u32>,
    #[serde(default = "none")]
    l1d: Spanned<u32>,
    #[serde(default = "none")]
    l2: Spanned<u32>,
    #[serde(default = "none")]
    l3: Spanned<u32>,
}

fn none() -> Spanned<u32> {
    Spanned::new(0..0, 0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueTable {
    multiply_add: Spanned<u32>,
    loads: Spanned<u32>,
}

/// Reads a description.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Target, TargetError> {
    let fail = |start: usize, problem: String| {
        let line = 1 + text.get(..start).unwrap_or_default().matches('\n').count();
        TargetError::Invalid { origin: origin.into(), line, problem }
    };
    let file: File =
        toml::from_str(text).map_err(|e| fail(e.span().map_or(0, |s| s.start), e.message().into()))?;
    let range = |what: &str, value: &Spanned<u32>, low: u32, high: u32| {
        let got = *value.get_ref();
        match (low..=high).contains(&got) {
            true => Ok(got),
            false => Err(fail(value.span().start, format!("{what} is {got}, expected {low} to {high}"))),
        }
    };
    if *file.version.get_ref() != VERSION {
        let problem = format!("version {} is not known here, only {VERSION}", file.version.get_ref());
        return Err(fail(file.version.span().start, problem));
    }
    if file.name.get_ref().is_empty() || file.name.get_ref().contains(char::is_whitespace) {
        return Err(fail(file.name.span().start, "the name must be one word".into()));
    }
    let triple: target_lexicon::Triple = file.triple.get_ref().parse().map_err(|e| {
        let problem = format!("'{}' is not a target triple: {e}", file.triple.get_ref());
        fail(file.triple.span().start, problem)
    })?;
    let known = features::of(triple.architecture);
    let mut names = Vec::with_capacity(file.features.len());
    for feature in file.features {
        if !known.contains(&feature.get_ref().as_str()) {
            let (name, list) = (feature.get_ref(), known.join(", "));
            let problem = format!("{} has no feature '{name}'; known are: {list}", triple.architecture);
            return Err(fail(feature.span().start, problem));
        }
        names.push(feature.into_inner());
    }
    names.sort_unstable();
    names.dedup();
    let mut bits = Vec::with_capacity(file.vector.bits.len());
    for width in &file.vector.bits {
        let got = *width.get_ref();
        let ascending = bits.last().is_none_or(|&last| last < got);
        if !got.is_power_of_two() || !(64..=2048).contains(&got) || !ascending {
            let problem = format!("vector width {got}: expected ascending powers of two from 64 to 2048");
            return Err(fail(width.span().start, problem));
        }
        bits.push(got);
    }
    let cores = match &file.cores {
        Some(cores) => Some(range("cores", cores, 1, 4096)?),
        None => None,
    };
    Ok(Target {
        name: file.name.into_inner(),
        description: file.description,
        triple,
        features: names,
        vector: Vector {
            bits,
            registers: range("registers", &file.vector.registers, 0, 128)?,
            fma: file.vector.fma,
        },
        caches: Caches {
            line: range("line", &file.caches.line, 0, 1024)?,
            l1d: range("l1d", &file.caches.l1d, 0, LARGEST_CACHE)?,
            l2: range("l2", &file.caches.l2, 0, LARGEST_CACHE)?,
            l3: range("l3", &file.caches.l3, 0, LARGEST_CACHE)?,
        },
        issue: Issue {
            multiply_add: range("multiply_add", &file.issue.multiply_add, 1, 16)?,
            loads: range("loads", &file.issue.loads, 1, 16)?,
        },
        cores,
    })
}

/// The same, in the form that is written. Its fields are in the order of the files in `data/`.
#[derive(Serialize)]
struct Printed<'a> {
    version: u32,
    name: &'a str,
    description: &'a str,
    triple: String,
    features: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<u32>,
    vector: PrintedVector<'a>,
    caches: PrintedCaches,
    issue: PrintedIssue,
}

#[derive(Serialize)]
struct PrintedVector<'a> {
    bits: &'a [u32],
    registers: u32,
    fma: bool,
}

#[derive(Serialize)]
struct PrintedCaches {
    line: u32,
    l1d: u32,
    l2: u32,
    l3: u32,
}

#[derive(Serialize)]
struct PrintedIssue {
    multiply_add: u32,
    loads: u32,
}

/// Writes a description.
pub(crate) fn print(target: &Target) -> String {
    let Caches { line, l1d, l2, l3 } = target.caches;
    let printed = Printed {
        version: VERSION,
        name: &target.name,
        description: &target.description,
        triple: target.triple.to_string(),
        features: &target.features,
        cores: target.cores,
        vector: PrintedVector {
            bits: &target.vector.bits,
            registers: target.vector.registers,
            fma: target.vector.fma,
        },
        caches: PrintedCaches { line, l1d, l2, l3 },
        issue: PrintedIssue { multiply_add: target.issue.multiply_add, loads: target.issue.loads },
    };
    // Strings, numbers and lists of them always have a TOML form.
    toml::to_string(&printed).unwrap_or_default()
}
