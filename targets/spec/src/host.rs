//! The machine at hand: features by CPUID, caches from the kernel's files, with safe guesses where there are none.

use std::fs;

use target_lexicon::Triple;

use crate::{Caches, Issue, Target, Vector};

/// Describes this machine.
pub(crate) fn detect() -> Target {
    let features = features();
    let has = |name: &str| features.iter().any(|f| f == name);
    let (bits, registers) = match std::env::consts::ARCH {
        "x86_64" if has("avx512f") && has("avx512vl") => (vec![128, 256, 512], 32),
        "x86_64" if has("avx2") => (vec![128, 256], 16),
        "x86_64" => (vec![128], 16),
        "aarch64" => (vec![128], 32),
        _ => (vec![], 0),
    };
    let fma = has("fma") || std::env::consts::ARCH == "aarch64";
    let cores = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    Target {
        name: "host".into(),
        description: format!("this machine, {}", std::env::consts::ARCH),
        triple: Triple::host(),
        vector: Vector { bits, registers, fma },
        features,
        caches: caches(),
        issue: Issue { multiply_add: if fma { 2 } else { 1 }, loads: 2 },
        cores,
    }
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    macro_rules! present {
        ($($name:tt),*) => { [$(($name, std::is_x86_feature_detected!($name))),*] };
    }
    let found = present!(
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
        "ssse3"
    );
    found.iter().filter(|f| f.1).map(|f| f.0.to_string()).collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<String> {
    vec!["neon".into()]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<String> {
    Vec::new()
}

/// Sizes from `/sys`, where they are like `32K`.
fn caches() -> Caches {
    let mut caches = Caches { line: 64, l1d: 32 << 10, l2: 256 << 10, l3: 0 };
    for index in 0..8 {
        let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let read = |file: &str| fs::read_to_string(format!("{folder}/{file}")).ok();
        let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size")) else {
            continue;
        };
        let Some(bytes) = bytes(size.trim()) else { continue };
        match (level.trim(), kind.trim()) {
            ("1", "Data" | "Unified") => caches.l1d = bytes,
            ("2", "Data" | "Unified") => caches.l2 = bytes,
            ("3", "Data" | "Unified") => caches.l3 = bytes,
            _ => {}
        }
        if let Some(line) = read("coherency_line_size").and_then(|s| s.trim().parse().ok()) {
            caches.line = line;
        }
    }
    caches
}

fn bytes(text: &str) -> Option<u32> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("32K"), Some(32768));
        assert_eq!(bytes("4M"), Some(4 << 20));
        assert_eq!(bytes("99999999M"), None);
        assert_eq!(bytes("x"), None);
    }
}
