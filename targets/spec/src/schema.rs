//! The text form of target descriptions: TOML by serde, then the checks that serde can't make, each with its line.
//!
//! One set of structs both reads and writes. Every value that is checked is [`Spanned`], so that an error names the line
//! of the very value that is wrong.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use target_lexicon::Triple;
use toml::Spanned;

use crate::features::{self, Architecture};
use crate::limits::Key;
use crate::{Caches, Issue, Target, TargetError, Vector, limits};

/// The version of the schema that this crate reads and writes.
const VERSION: u32 = 1;

/// The version alone: read first, so that a file of a later version is called that, and not a file of unknown keys.
#[derive(Deserialize)]
struct Versioned {
    version: Spanned<u32>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    name: Spanned<String>,
    description: Spanned<String>,
    triple: Spanned<String>,
    features: Vec<Spanned<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cores: Option<Spanned<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_mhz: Option<Spanned<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    power_milliwatts: Option<Spanned<u32>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sources: Vec<Spanned<String>>,
    vector: VectorTable,
    caches: CachesTable,
    issue: IssueTable,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct VectorTable {
    bits: Vec<Spanned<u32>>,
    registers: Spanned<u32>,
    fma: Spanned<bool>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CachesTable {
    line: Spanned<u32>,
    #[serde(default = "no_cache")]
    l1d: Spanned<u32>,
    #[serde(default = "no_cache")]
    l2: Spanned<u32>,
    #[serde(default = "no_cache")]
    l3: Spanned<u32>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct IssueTable {
    multiply_add: Spanned<u32>,
    loads: Spanned<u32>,
}

/// A value that isn't at any place of a file.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

fn no_cache() -> Spanned<u32> {
    unplaced(0)
}

/// Reads a description.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Target, TargetError> {
    let source = Source { text, origin };
    if text.len() > limits::TEXT {
        let problem = format!("the text has {} bytes, expected at most {}", text.len(), limits::TEXT);
        return Err(TargetError::Invalid { origin: origin.into(), line: 1, problem });
    }
    let Versioned { version } = source.read()?;
    if *version.get_ref() != VERSION {
        let problem = format!("version {} is not known here, only {VERSION}", version.get_ref());
        return Err(source.error(&version, problem));
    }
    let file: File = source.read()?;
    let triple: Triple = file.triple.get_ref().parse().map_err(|e| {
        source.error(&file.triple, format!("'{}' is not a target triple: {e}", file.triple.get_ref()))
    })?;
    let architecture = features::of(triple.architecture);
    let features = source.features(&file.features, &triple, architecture)?;
    Ok(Target {
        name: source.name(&file.name)?,
        description: source.line("the description", &file.description)?,
        vector: source.vector(&file.vector, &features, architecture)?,
        caches: source.caches(&file.caches)?,
        issue: Issue {
            multiply_add: source.within("multiply_add", &file.issue.multiply_add, limits::ISSUE)?,
            loads: source.within("loads", &file.issue.loads, limits::ISSUE)?,
        },
        cores: file.cores.as_ref().map(|n| source.within("cores", n, limits::CORES)).transpose()?,
        frequency_mhz: file
            .frequency_mhz
            .as_ref()
            .map(|mhz| source.within("frequency_mhz", mhz, limits::FREQUENCY_MHZ))
            .transpose()?,
        power_milliwatts: file
            .power_milliwatts
            .as_ref()
            .map(|power| source.within("power_milliwatts", power, limits::POWER_MILLIWATTS))
            .transpose()?,
        sources: file.sources.iter().map(|text| source.line("a source", text)).collect::<Result<_, _>>()?,
        triple,
        features,
    })
}

/// A text with its name: makes errors with their line.
struct Source<'a> {
    text: &'a str,
    origin: &'a str,
}

impl Source<'_> {
    fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, TargetError> {
        toml::from_str(self.text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            self.error_at(start, error.message().to_owned())
        })
    }

    fn error<T>(&self, place: &Spanned<T>, problem: String) -> TargetError {
        self.error_at(place.span().start, problem)
    }

    fn error_at(&self, start: usize, problem: String) -> TargetError {
        let before = self.text.bytes().take(start);
        let line = 1 + before.filter(|&byte| byte == b'\n').count();
        TargetError::Invalid { origin: self.origin.to_owned(), line, problem }
    }

    /// A number within its limits.
    fn within<T>(&self, key: &str, value: &Spanned<T>, range: RangeInclusive<T>) -> Result<T, TargetError>
    where
        T: Copy + PartialOrd + Display,
    {
        let got = *value.get_ref();
        if range.contains(&got) {
            return Ok(got);
        }
        Err(self.error(value, format!("{key} is {got}, expected {} to {}", range.start(), range.end())))
    }

    /// One word, safe in file names and messages.
    fn name(&self, name: &Spanned<String>) -> Result<String, TargetError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let text = name.get_ref();
        if limits::NAME.contains(&text.len()) && text.chars().all(allowed) {
            return Ok(text.clone());
        }
        let longest = limits::NAME.end();
        let problem = format!("the name must be 1 to {longest} ASCII letters, digits, '-', '_' or '.'");
        Err(self.error(name, problem))
    }

    /// A text that is printed to people.
    fn line(&self, what: &str, text: &Spanned<String>) -> Result<String, TargetError> {
        if text.get_ref().chars().any(char::is_control) {
            return Err(self.error(text, format!("{what} must be one line, without control codes")));
        }
        Ok(text.get_ref().clone())
    }

    fn features(
        &self,
        list: &[Spanned<String>],
        triple: &Triple,
        architecture: Option<&Architecture>,
    ) -> Result<BTreeSet<String>, TargetError> {
        let known = architecture.map_or(&[][..], |a| a.names);
        let mut features = BTreeSet::new();
        for feature in list {
            let name = feature.get_ref();
            if !known.contains(&name.as_str()) {
                let listed = if known.is_empty() { "none".into() } else { known.join(", ") };
                let problem = format!("{} has no feature '{name}'; known are: {listed}", triple.architecture);
                return Err(self.error(feature, problem));
            }
            if !features.insert(name.clone()) {
                return Err(self.error(feature, format!("feature '{name}' is here twice")));
            }
        }
        let lacking = architecture.and_then(|a| a.incomplete(&features));
        match lacking.and_then(|(one, other)| Some((list.iter().find(|f| f.get_ref() == one)?, other))) {
            Some((feature, other)) => {
                let problem = format!("feature '{}' implies '{other}', which is missing", feature.get_ref());
                Err(self.error(feature, problem))
            }
            None => Ok(features),
        }
    }

    fn vector(
        &self,
        table: &VectorTable,
        features: &BTreeSet<String>,
        architecture: Option<&Architecture>,
    ) -> Result<Vector, TargetError> {
        let (least, most) = (limits::VECTOR_BITS.start(), limits::VECTOR_BITS.end());
        let mut bits: Vec<u32> = Vec::new();
        for width in &table.bits {
            let got = *width.get_ref();
            let ascending = bits.last().is_none_or(|&last| last < got);
            if !got.is_power_of_two() || !limits::VECTOR_BITS.contains(&got) || !ascending {
                let problem =
                    format!("vector width {got}: expected ascending powers of two, {least} to {most}");
                return Err(self.error(width, problem));
            }
            match architecture.map(|a| a.vector_feature(got)) {
                Some(None) => {
                    return Err(self.error(width, format!("this architecture has no vectors of {got} bits")));
                }
                Some(Some(feature)) if !features.contains(feature) => {
                    let problem =
                        format!("vectors of {got} bits need the feature '{feature}', which is missing");
                    return Err(self.error(width, problem));
                }
                _ => bits.push(got),
            }
        }
        if bits.is_empty() && *table.registers.get_ref() != 0 {
            return Err(
                self.error(&table.registers, "without vectors (bits = []) registers must be 0".into())
            );
        }
        let range = if bits.is_empty() { 0..=0 } else { limits::REGISTERS };
        let registers = self.within("registers", &table.registers, range)?;
        let counts = architecture.map_or(&[][..], |a| a.registers);
        if !bits.is_empty() && !counts.is_empty() {
            let Some(&(_, feature)) = counts.iter().find(|(count, _)| *count == registers) else {
                let counts: Vec<String> = counts.iter().map(|(count, _)| count.to_string()).collect();
                let problem = format!(
                    "registers is {registers}, but this architecture has {} vector registers",
                    counts.join(" or ")
                );
                return Err(self.error(&table.registers, problem));
            };
            if let Some(feature) = feature.filter(|feature| !features.contains(*feature)) {
                let problem = format!("{registers} registers need the feature '{feature}', which is missing");
                return Err(self.error(&table.registers, problem));
            }
        }
        let fma = *table.fma.get_ref();
        if let Some(feature) = architecture.and_then(|a| a.fma)
            && fma
            && !features.contains(feature)
        {
            return Err(
                self.error(&table.fma, format!("fma needs the feature '{feature}', which is missing"))
            );
        }
        Ok(Vector { bits, registers, fma })
    }

    fn caches(&self, table: &CachesTable) -> Result<Caches, TargetError> {
        let caches = Caches {
            line: *table.line.get_ref(),
            l1d: self.within("l1d", &table.l1d, limits::CACHE)?,
            l2: self.within("l2", &table.l2, limits::CACHE)?,
            l3: self.within("l3", &table.l3, limits::CACHE)?,
        };
        let Err((key, problem)) = limits::check(&caches) else { return Ok(caches) };
        let place = match key {
            Key::Line => &table.line,
            Key::L1d => &table.l1d,
            Key::L2 => &table.l2,
            Key::L3 => &table.l3,
        };
        Err(self.error(place, problem))
    }
}

/// Writes a description.
pub(crate) fn print(target: &Target) -> String {
    let Target { name, description, triple, features, vector, caches, issue, .. } = target;
    let file = File {
        version: VERSION,
        name: unplaced(name.clone()),
        description: unplaced(description.clone()),
        triple: unplaced(triple.to_string()),
        features: features.iter().cloned().map(unplaced).collect(),
        cores: target.cores.map(unplaced),
        frequency_mhz: target.frequency_mhz.map(unplaced),
        power_milliwatts: target.power_milliwatts.map(unplaced),
        sources: target.sources.iter().cloned().map(unplaced).collect(),
        vector: VectorTable {
            bits: vector.bits.iter().copied().map(unplaced).collect(),
            registers: unplaced(vector.registers),
            fma: unplaced(vector.fma),
        },
        caches: CachesTable {
            line: unplaced(caches.line),
            l1d: unplaced(caches.l1d),
            l2: unplaced(caches.l2),
            l3: unplaced(caches.l3),
        },
        issue: IssueTable { multiply_add: unplaced(issue.multiply_add), loads: unplaced(issue.loads) },
    };
    toml::to_string(&file).expect("strings, booleans, u32 and lists of them all have a TOML form")
}
