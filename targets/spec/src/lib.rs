//! Target descriptions: what a compiler must know of a processor, as data.
//!
//! A [`Target`] comes from one of the files in `data/` by name, from a file of the user's, or from the machine at hand
//! ([`Target::host`]). Nothing here compiles anything; stages that need to know lanes, registers or cache sizes take a
//! `Target` as plain data. The schema is documented in `targets/spec/README.md`.

mod error;
mod features;
mod host;
mod limits;
mod schema;

pub use error::TargetError;

use std::collections::BTreeSet;
use std::fmt;

use target_lexicon::{Architecture, BinaryFormat, OperatingSystem, Triple};

/// The descriptions that come with the crate: a target is added as one file and one line here.
const BUILT_IN: &[(&str, &str)] = &[
    ("x86-64", include_str!("../data/x86-64.toml")),
    ("x86-64-v3", include_str!("../data/x86-64-v3.toml")),
    ("x86-64-v4", include_str!("../data/x86-64-v4.toml")),
    ("x86-64-v3-windows", include_str!("../data/x86-64-v3-windows.toml")),
    ("x86-64-v3-macos", include_str!("../data/x86-64-v3-macos.toml")),
    ("aarch64", include_str!("../data/aarch64.toml")),
    ("cortex-a53", include_str!("../data/cortex-a53.toml")),
    ("cortex-a72", include_str!("../data/cortex-a72.toml")),
    ("cortex-a76", include_str!("../data/cortex-a76.toml")),
    ("neoverse-n1", include_str!("../data/neoverse-n1.toml")),
    ("apple-m1", include_str!("../data/apple-m1.toml")),
    ("aarch64-none-elf", include_str!("../data/aarch64-none-elf.toml")),
    ("rv64gc", include_str!("../data/rv64gc.toml")),
    ("rv64gcv", include_str!("../data/rv64gcv.toml")),
    ("rv64gcv-zvl256b", include_str!("../data/rv64gcv-zvl256b.toml")),
    ("rv64gcv-zvl512b", include_str!("../data/rv64gcv-zvl512b.toml")),
    ("spacemit-k1", include_str!("../data/spacemit-k1.toml")),
    ("riscv64gc-unknown-none-elf", include_str!("../data/riscv64gc-unknown-none-elf.toml")),
];

/// A processor with its operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name on the command line: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it is, for people, in one line.
    pub description: String,
    /// Architecture, operating system and object format.
    pub triple: Triple,
    /// Instruction sets that the processor has, by the names that rustc gives them. Whoever has one has those that it
    /// implies: with `avx2` there is `avx`.
    pub features: BTreeSet<String>,
    /// Vector unit.
    pub vector: Vector,
    /// Data caches.
    pub caches: Caches,
    /// Instructions per cycle.
    pub issue: Issue,
    /// Cores that compiled code may count on, where known.
    pub cores: Option<u32>,
    /// Highest frequency of a core, where known; for estimates only.
    pub frequency_mhz: Option<u32>,
    /// Power of the whole processor under load, where published; for estimates only.
    pub power_milliwatts: Option<u32>,
    /// Where the figures come from, for people.
    pub sources: Vec<String>,
}

/// Vector unit of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Widths of the vectors that there are, ascending; none for a processor without vectors.
    pub bits: Vec<u32>,
    /// Vector registers; 0 for a processor without vectors.
    pub registers: u32,
    /// Whether multiply-add is one instruction with one rounding.
    pub fma: bool,
}

/// Sizes in bytes of the data caches that a core sees, whole where cores share one; 0 where there is none or it isn't
/// known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caches {
    /// A line.
    pub line: u32,
    /// First level.
    pub l1d: u32,
    /// Second level.
    pub l2: u32,
    /// Third level.
    pub l3: u32,
}

/// What a core issues in one cycle, in the widest vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Vector multiply-adds.
    pub multiply_add: u32,
    /// Vector loads.
    pub loads: u32,
}

/// Format of object files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectFormat {
    /// Linux, and where there is no operating system.
    Elf,
    /// Apple's systems.
    MachO,
    /// Windows.
    Coff,
}

impl Target {
    /// Names of the built-in targets, and `host`.
    pub fn names() -> Vec<&'static str> {
        std::iter::once("host").chain(BUILT_IN.iter().map(|(name, _)| *name)).collect()
    }

    /// A built-in target, or the machine at hand for `host`. The error lists what there is.
    pub fn by_name(name: &str) -> Result<Self, TargetError> {
        if name == "host" {
            return Ok(Target::host());
        }
        match BUILT_IN.iter().find(|(known, _)| *known == name) {
            Some((known, text)) => Target::from_toml(text, &format!("targets/spec/data/{known}.toml")),
            None => Err(TargetError::UnknownName { name: name.into(), known: Target::names() }),
        }
    }

    /// The machine at hand. Never fails: what can't be found out, on this or that operating system, is a cautious guess.
    pub fn host() -> Self {
        host::detect()
    }

    /// A target from the text of a description, which may be anyone's; `origin`, mostly the file, names it in errors.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, TargetError> {
        schema::parse(text, origin)
    }

    /// The description as a file's text, which [`Target::from_toml`] reads back to an equal target.
    pub fn to_toml(&self) -> String {
        schema::print(self)
    }

    /// Format of the target's object files.
    pub fn object_format(&self) -> ObjectFormat {
        match self.triple.binary_format {
            BinaryFormat::Macho => ObjectFormat::MachO,
            BinaryFormat::Coff => ObjectFormat::Coff,
            _ => ObjectFormat::Elf,
        }
    }

    /// Whether there is an operating system, which could load a shared library.
    pub fn has_operating_system(&self) -> bool {
        self.triple.operating_system != OperatingSystem::None_
    }

    /// Whether the architecture is 64-bit Arm.
    pub fn is_aarch64(&self) -> bool {
        matches!(self.triple.architecture, Architecture::Aarch64(_))
    }

    /// What GNU's cross compilers for the target start with, as in `aarch64-linux-gnu-gcc`; none but for Linux.
    pub fn gnu_prefix(&self) -> Option<String> {
        let architecture = match self.triple.architecture {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64(_) => "aarch64",
            Architecture::Riscv64(_) => "riscv64",
            _ => return None,
        };
        let linux = self.triple.operating_system == OperatingSystem::Linux;
        linux.then(|| format!("{architecture}-linux-gnu"))
    }

    /// Whether the target has a feature.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.features.contains(feature)
    }

    /// Lanes of f32 in the widest vector of at most `max_bits` bits; 1, a scalar, when there is none.
    pub fn f32_lanes(&self, max_bits: u32) -> usize {
        let widest = self.vector.bits.iter().copied().filter(|&bits| bits <= max_bits).max();
        widest.map_or(1, |bits| (bits / 32).max(1) as usize)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.description)
    }
}

#[cfg(test)]
mod tests;
