//! Text to data, with lines in errors. JSON and YAML share a reader for the lines, since JSON is YAML.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::ArchError;
use super::schema::File;

/// Format of a description's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Longest text that is read.
pub(super) const MOST_BYTES: u64 = 4 << 20;
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct TomlLines {
    blocks: Vec<toml::Spanned<IgnoredAny>>,
}

#[derive(Deserialize)]
struct YamlLines {
    blocks: Vec<serde_saphyr::Spanned<IgnoredAny>>,
}

/// The data and the line of each block.
pub(super) fn parse(text: &str, format: Format, origin: &str) -> Result<(File, Vec<usize>), ArchError> {
    let invalid = |line: usize, problem: String| ArchError::Invalid { origin: origin.into(), line, problem };
    if text.len() as u64 > MOST_BYTES {
        return Err(invalid(1, format!("{} bytes; a description has at most {MOST_BYTES}", text.len())));
    }
    let line_at = |offset: usize| 1 + text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count();
    let file: File = match format {
        Format::Toml => toml::from_str(text).map_err(|e: toml::de::Error| {
            invalid(e.span().map_or(1, |s| line_at(s.start)), e.message().into())
        })?,
        Format::Yaml => serde_saphyr::from_str(text).map_err(|e: serde_saphyr::Error| {
            let line = e.location().map_or(1, |l| l.line() as usize);
            invalid(line, first_line(&e.without_snippet().to_string()))
        })?,
        Format::Json => serde_json::from_str(text)
            .map_err(|e: serde_json::Error| invalid(e.line().max(1), first_line(&e.to_string())))?,
    };
    if file.version != VERSION {
        return Err(invalid(1, format!("version {} is not known here, only {VERSION}", file.version)));
    }
    let lines = match format {
        Format::Toml => toml::from_str::<TomlLines>(text)
            .map(|l| l.blocks.iter().map(|b| line_at(b.span().start)).collect())
            .unwrap_or_default(),
        Format::Yaml | Format::Json => serde_saphyr::from_str::<YamlLines>(text)
            .map(|l| l.blocks.iter().map(|b| b.referenced.line() as usize).collect())
            .unwrap_or_default(),
    };
    Ok((file, lines))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().into()
}
