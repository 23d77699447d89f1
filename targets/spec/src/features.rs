//! What is known of each architecture's features: their names, what they rest on, and what vectors need of them.
//!
//! An architecture is one [`Architecture`] here. Names are those of rustc (`-C target-feature`), with which LLVM's mostly
//! agree. Only features that change the code of a neural network are listed; one more is one more line.

use std::collections::BTreeSet;

use target_lexicon::Architecture as Isa;

/// The features of an architecture, as data.
pub(crate) struct Architecture {
    /// Every name that a description may have.
    pub(crate) names: &'static [&'static str],
    /// Pairs: who has the first has the second.
    pub(crate) implied: &'static [(&'static str, &'static str)],
    /// Vectors up to so many bits need this feature; ascending. Wider vectors don't exist.
    pub(crate) vectors: &'static [(u32, &'static str)],
    /// How many vector registers there can be, and the feature that this many need.
    pub(crate) registers: &'static [(u32, Option<&'static str>)],
    /// The feature that has the fused multiply-add; none if the base instruction set has it.
    pub(crate) fma: Option<&'static str>,
}

/// Defines an architecture's list of names once, and from it the list of those that this machine has: the standard
/// library's macros for that take literals only.
macro_rules! names {
    ($names:ident, $detected:ident, $arch:literal, $is_detected:ident, [$($name:tt),* $(,)?]) => {
        const $names: &[&str] = &[$($name),*];

        #[cfg(target_arch = $arch)]
        fn $detected() -> BTreeSet<String> {
            [$(($name, std::arch::$is_detected!($name))),*]
                .into_iter()
                .filter(|&(_, present)| present)
                .map(|(name, _)| name.to_owned())
                .collect()
        }
    };
}

names!(
    X86_64_NAMES,
    x86_64_detected,
    "x86_64",
    is_x86_feature_detected,
    [
        "avx",
        "avx2",
        "avx512bf16",
        "avx512bw",
        "avx512cd",
        "avx512dq",
        "avx512f",
        "avx512vl",
        "avx512vnni",
        "avxvnni",
        "bmi1",
        "bmi2",
        "f16c",
        "fma",
        "lzcnt",
        "popcnt",
        "sse",
        "sse2",
        "sse3",
        "sse4.1",
        "sse4.2",
        "ssse3",
    ]
);

names!(
    AARCH64_NAMES,
    aarch64_detected,
    "aarch64",
    is_aarch64_feature_detected,
    ["bf16", "dotprod", "fp16", "i8mm", "lse", "neon", "sve", "sve2"]
);

const X86_64: Architecture = Architecture {
    names: X86_64_NAMES,
    implied: &[
        ("sse2", "sse"),
        ("sse3", "sse2"),
        ("ssse3", "sse3"),
        ("sse4.1", "ssse3"),
        ("sse4.2", "sse4.1"),
        ("avx", "sse4.2"),
        ("avx2", "avx"),
        ("f16c", "avx"),
        ("fma", "avx"),
        ("avxvnni", "avx2"),
        ("avx512f", "avx2"),
        ("avx512f", "f16c"),
        ("avx512f", "fma"),
        ("avx512bf16", "avx512bw"),
        ("avx512bw", "avx512f"),
        ("avx512cd", "avx512f"),
        ("avx512dq", "avx512f"),
        ("avx512vl", "avx512f"),
        ("avx512vnni", "avx512f"),
    ],
    vectors: &[(128, "sse2"), (256, "avx"), (512, "avx512f")],
    // AVX-512F has 32 registers of 512 bits, but reaches the upper 16 with shorter vectors only by VL.
    registers: &[(16, None), (32, Some("avx512vl"))],
    fma: Some("fma"),
};

const AARCH64: Architecture = Architecture {
    names: AARCH64_NAMES,
    implied: &[
        ("bf16", "neon"),
        ("dotprod", "neon"),
        ("fp16", "neon"),
        ("i8mm", "neon"),
        ("sve", "neon"),
        ("sve2", "sve"),
    ],
    vectors: &[(128, "neon"), (2048, "sve")],
    registers: &[(32, None)],
    fma: None,
};

const RISCV: Architecture = Architecture {
    names: &[
        "a", "c", "d", "f", "m", "v", "zba", "zbb", "zbs", "zfh", "zvfh", "zvl128b", "zvl256b", "zvl512b",
        "zvl1024b",
    ],
    implied: &[
        ("d", "f"),
        ("v", "d"),
        ("v", "zvl128b"),
        ("zfh", "f"),
        ("zvl256b", "zvl128b"),
        ("zvl512b", "zvl256b"),
        ("zvl1024b", "zvl512b"),
    ],
    vectors: &[(128, "v"), (256, "zvl256b"), (512, "zvl512b"), (1024, "zvl1024b")],
    registers: &[(32, None)],
    fma: Some("f"),
};

/// What is known of an architecture; none where no feature of it is.
pub(crate) fn of(isa: Isa) -> Option<&'static Architecture> {
    match isa {
        Isa::X86_64 => Some(&X86_64),
        Isa::Aarch64(_) => Some(&AARCH64),
        Isa::Riscv32(_) | Isa::Riscv64(_) => Some(&RISCV),
        _ => None,
    }
}

impl Architecture {
    /// The first feature that lacks another one which it implies, with that one.
    pub(crate) fn incomplete(&self, features: &BTreeSet<String>) -> Option<(&'static str, &'static str)> {
        self.implied.iter().copied().find(|&(one, other)| features.contains(one) && !features.contains(other))
    }

    /// The feature that vectors of so many bits need; none if there are no such vectors.
    pub(crate) fn vector_feature(&self, bits: u32) -> Option<&'static str> {
        self.vectors.iter().find(|&&(widest, _)| bits <= widest).map(|&(_, feature)| feature)
    }
}

/// Features of this machine.
pub(crate) fn detect() -> BTreeSet<String> {
    #[cfg(target_arch = "x86_64")]
    let found = complete(&X86_64, x86_64_detected());
    #[cfg(target_arch = "aarch64")]
    let found = complete(&AARCH64, aarch64_detected());
    // Nor on RISC-V: the vector length, without which "v" is of no use, can't be asked for in safe code.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found = BTreeSet::new();
    found
}

/// What is left without the features that lack one which they imply. A virtual machine may hide a feature but show
/// others that imply it; code for the rest never meets a processor that no compiler expects.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code))]
fn complete(architecture: &Architecture, mut found: BTreeSet<String>) -> BTreeSet<String> {
    while let Some((one, _)) = architecture.incomplete(&found) {
        found.remove(one);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_name_only_features_that_there_are() {
        for architecture in [&X86_64, &AARCH64, &RISCV] {
            let implied = architecture.implied.iter().flat_map(|&(one, other)| [one, other]);
            let vectors = architecture.vectors.iter().map(|&(_, feature)| feature);
            let registers = architecture.registers.iter().filter_map(|&(_, feature)| feature);
            for name in implied.chain(vectors).chain(registers).chain(architecture.fma) {
                assert!(architecture.names.contains(&name), "{name}");
            }
            assert!(architecture.vectors.is_sorted());
        }
    }

    #[test]
    fn the_whole_set_of_an_architecture_is_complete() {
        for architecture in [&X86_64, &AARCH64, &RISCV] {
            let all = architecture.names.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(architecture.incomplete(&all), None);
        }
    }

    #[test]
    fn what_rests_on_a_hidden_feature_is_left_out() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let base = ["sse", "sse2", "sse3", "ssse3", "sse4.1", "sse4.2", "avx", "avx2", "f16c", "fma"];
        let wide = ["avx512f", "avx512vl"];
        let all = set(&[&base[..], &wide].concat());
        assert_eq!(complete(&X86_64, all.clone()), all);
        let mut hidden = all;
        hidden.remove("fma");
        assert_eq!(complete(&X86_64, hidden), set(&base[..9]));
    }

    #[test]
    fn detected_features_are_known_and_complete() {
        let found = detect();
        match of(Isa::host()) {
            Some(architecture) => {
                assert_eq!(architecture.incomplete(&found), None);
                assert!(found.iter().all(|name| architecture.names.contains(&name.as_str())));
            }
            None => assert!(found.is_empty()),
        }
        // Every processor of these architectures that an operating system runs on has them.
        assert!(!cfg!(target_arch = "x86_64") || found.contains("sse2"));
        assert!(!cfg!(all(target_arch = "aarch64", target_os = "linux")) || found.contains("neon"));
    }
}
