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

/// Lines of the parts whose errors are found after reading, counted from 1; 1 for what is not there.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    version: usize,
    pub(super) input: usize,
    pub(super) defaults: usize,
    pub(super) compound: usize,
    pub(super) slimmable: usize,
    pub(super) blocks: Vec<BlockLines>,
}

/// Line of a block, and those of the blocks within it.
#[derive(Clone, Debug)]
pub(super) struct BlockLines {
    pub(super) line: usize,
    pub(super) body: Vec<BlockLines>,
}

/// The same parts where `S` tells the place of a value, which each format's crate has its own type for, and `B` that of a
/// block and of those within it.
#[derive(Deserialize)]
struct Places<S, B> {
    version: S,
    input: S,
    defaults: Option<S>,
    compound: Option<S>,
    slimmable: Option<S>,
    blocks: Vec<B>,
}

/// What a block holds.
#[derive(Deserialize)]
struct Inside<B> {
    body: Option<Vec<B>>,
}

#[derive(Deserialize)]
struct TomlBlock(toml::Spanned<Inside<TomlBlock>>);

#[derive(Deserialize)]
struct YamlBlock(serde_saphyr::Spanned<Inside<YamlBlock>>);

impl TomlBlock {
    fn lines(&self, line_at: &impl Fn(usize) -> usize) -> BlockLines {
        let body = self.0.get_ref().body.iter().flatten().map(|block| block.lines(line_at)).collect();
        BlockLines { line: line_at(self.0.span().start), body }
    }
}

impl YamlBlock {
    fn lines(&self) -> BlockLines {
        let body = self.0.value.body.iter().flatten().map(YamlBlock::lines).collect();
        BlockLines { line: self.0.referenced.line() as usize, body }
    }
}

impl<S, B> Places<S, B> {
    fn lines(&self, line: impl Fn(&S) -> usize, block: impl Fn(&B) -> BlockLines) -> Lines {
        Lines {
            version: line(&self.version),
            input: line(&self.input),
            defaults: self.defaults.as_ref().map_or(1, &line),
            compound: self.compound.as_ref().map_or(1, &line),
            slimmable: self.slimmable.as_ref().map_or(1, &line),
            blocks: self.blocks.iter().map(block).collect(),
        }
    }
}

/// The data and where its parts are.
pub(super) fn parse(text: &str, format: Format, origin: &str) -> Result<(File, Lines), ArchError> {
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
    let lines = match format {
        Format::Toml => toml::from_str::<Places<toml::Spanned<IgnoredAny>, TomlBlock>>(text)
            .map(|places| places.lines(|value| line_at(value.span().start), |block| block.lines(&line_at)))
            .ok(),
        Format::Yaml | Format::Json => {
            serde_saphyr::from_str::<Places<serde_saphyr::Spanned<IgnoredAny>, YamlBlock>>(text)
                .map(|places| places.lines(|value| value.referenced.line() as usize, YamlBlock::lines))
                .ok()
        }
    };
    // Some JSON is not YAML (tabs in places); its errors then lack their lines, and nothing else.
    let lines = lines.unwrap_or(Lines {
        version: 1,
        input: 1,
        defaults: 1,
        compound: 1,
        slimmable: 1,
        blocks: Vec::new(),
    });
    if file.version != VERSION {
        let problem = format!("version {} is not known here, only {VERSION}", file.version);
        return Err(invalid(lines.version, problem));
    }
    Ok((file, lines))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().into()
}
