//! Features that a description may name, by architecture.

use target_lexicon::Architecture;

/// Names as rustc has them (`-C target-feature`).
const X86_64: &[&str] = &[
    "avx",
    "avx2",
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
];
const AARCH64: &[&str] = &["bf16", "dotprod", "fp16", "i8mm", "lse", "neon", "sve", "sve2"];
const RISCV64: &[&str] = &["c", "v", "zba", "zbb", "zbs", "zfh", "zvfh", "zvl128b", "zvl256b", "zvl512b"];

/// The features of an architecture; none for one that is not known here.
pub(crate) fn of(architecture: Architecture) -> &'static [&'static str] {
    match architecture {
        Architecture::X86_64 => X86_64,
        Architecture::Aarch64(_) => AARCH64,
        Architecture::Riscv64(_) => RISCV64,
        _ => &[],
    }
}
