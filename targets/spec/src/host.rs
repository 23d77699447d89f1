//! The machine at hand: features by CPUID, caches and frequency from the kernel's files, safe guesses elsewhere.
//!
//! Nothing here fails. What can't be found out, or is out of the range that the schema allows, keeps its guess, so the
//! outcome always reads back from its own text.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use target_lexicon::Triple;

use crate::limits;
use crate::{Caches, Issue, Target, Vector, features};

/// Where Linux describes the first core.
const CPU: &str = "/sys/devices/system/cpu/cpu0";

/// Caches that nearly every processor of the last ten years has at least.
const GUESS: Caches = Caches { line: 64, l1d: 32 << 10, l2: 256 << 10, l3: 0 };

/// Describes this machine.
pub(crate) fn detect() -> Target {
    let features = features::detect();
    let vector = vector(std::env::consts::ARCH, |name| features.contains(name));
    let cores = std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    Target {
        name: "host".into(),
        description: format!("this machine, {}", std::env::consts::ARCH),
        triple: Triple::host(),
        features,
        caches: caches(Path::new(CPU)),
        issue: issue(&vector, fs::read_to_string("/proc/cpuinfo").ok().as_deref()),
        vector,
        cores: cores.filter(|n| limits::CORES.contains(n)),
        frequency_mhz: frequency(Path::new(CPU)),
        power_milliwatts: None,
        sources: Vec::new(),
    }
}

/// The vector unit of an architecture with these features. 256 bits need AVX2, not only AVX, as kernels also have
/// vectors of integers; 512 bits need VL, as their tails are shorter vectors in the same registers.
fn vector(architecture: &str, has: impl Fn(&str) -> bool) -> Vector {
    let (bits, registers, fma) = match architecture {
        "x86_64" if has("avx512f") && has("avx512vl") => (vec![128, 256, 512], 32, true),
        "x86_64" if has("avx2") => (vec![128, 256], 16, has("fma")),
        "x86_64" => (vec![128], 16, has("fma")),
        "aarch64" if has("neon") => (vec![128], 32, true),
        _ => (vec![], 0, false),
    };
    Vector { bits, registers, fma }
}

/// No processor tells. Two and two is right for those with FMA since Haswell and Zen at 256 bits, and for Intel's servers
/// at 512; Zen 4 (family 25) does 512 bits in two halves.
fn issue(vector: &Vector, cpuinfo: Option<&str>) -> Issue {
    let field = |name: &str| {
        let line = cpuinfo?.lines().find(|line| line.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim())
    };
    let halves = field("vendor_id") == Some("AuthenticAMD") && field("cpu family") == Some("25");
    match vector.fma {
        true if halves && vector.bits.last() == Some(&512) => Issue { multiply_add: 1, loads: 1 },
        true => Issue { multiply_add: 2, loads: 2 },
        false => Issue { multiply_add: 1, loads: 2 },
    }
}

/// Data caches by the files `cache/index*/{level,type,size,coherency_line_size}` below a core's folder.
fn caches(cpu: &Path) -> Caches {
    let mut caches = GUESS;
    for index in 0..8 {
        let folder = cpu.join(format!("cache/index{index}"));
        let (Some(level), Some(kind)) = (read::<u32>(&folder, "level"), read::<String>(&folder, "type"))
        else {
            continue;
        };
        if kind != "Data" && kind != "Unified" {
            continue;
        }
        let size = read::<String>(&folder, "size").and_then(|size| bytes(&size));
        if let Some(size) = size.filter(|size| limits::CACHE.contains(size)) {
            match level {
                1 => caches.l1d = size,
                2 => caches.l2 = size,
                3 => caches.l3 = size,
                _ => {}
            }
        }
        if let Some(line) = read(&folder, "coherency_line_size").filter(|&line| limits::is_line(line)) {
            caches.line = line;
        }
    }
    // A virtual machine may show anything.
    if limits::check(&caches).is_ok() { caches } else { GUESS }
}

/// The highest frequency in MHz, which the kernel gives in kHz; virtual machines seldom have it.
fn frequency(cpu: &Path) -> Option<u32> {
    let mhz = read::<u32>(cpu, "cpufreq/cpuinfo_max_freq")? / 1000;
    limits::FREQUENCY_MHZ.contains(&mhz).then_some(mhz)
}

/// One value of a file, if it is there and has that form.
fn read<T: FromStr>(folder: &Path, file: &str) -> Option<T> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

/// A size like `32K`, in bytes.
fn bytes(text: &str) -> Option<u32> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let (digits, unit) = units
        .iter()
        .find_map(|&(letter, unit)| Some((text.strip_suffix(letter)?, unit)))
        .unwrap_or((text, 1));
    digits.parse::<u32>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A core's folder with these files.
    fn cpu(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (file, content) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
            fs::write(path, content).expect("written");
        }
        folder
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes("32K"), Some(32768));
        assert_eq!(bytes("4M"), Some(4 << 20));
        assert_eq!(bytes("1G"), Some(1 << 30));
        assert_eq!(bytes("512"), Some(512));
        for wrong in ["99999999M", "x", "", "K", "-1K", "32KB"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn caches_come_from_the_kernel() {
        let cpu = cpu(&[
            ("cache/index0/level", b"1\n"),
            ("cache/index0/type", b"Data\n"),
            ("cache/index0/size", b"48K\n"),
            ("cache/index0/coherency_line_size", b"128\n"),
            ("cache/index1/level", b"1\n"),
            ("cache/index1/type", b"Instruction\n"),
            ("cache/index1/size", b"64K\n"),
            ("cache/index2/level", b"2\n"),
            ("cache/index2/type", b"Unified\n"),
            ("cache/index2/size", b"1024K\n"),
            ("cache/index3/level", b"3\n"),
            ("cache/index3/type", b"Unified\n"),
            ("cache/index3/size", b"32768K\n"),
            ("cpufreq/cpuinfo_max_freq", b"3700000\n"),
        ]);
        assert_eq!(caches(cpu.path()), Caches { line: 128, l1d: 48 << 10, l2: 1 << 20, l3: 32 << 20 });
        assert_eq!(frequency(cpu.path()), Some(3700));
    }

    #[test]
    fn odd_machines_keep_the_guess() {
        let empty = cpu(&[]);
        assert_eq!((caches(empty.path()), frequency(empty.path())), (GUESS, None));
        let odd = cpu(&[
            ("cache/index0/level", b"1"),
            ("cache/index0/type", b"Data"),
            ("cache/index0/size", b"4294967295K"),
            ("cache/index0/coherency_line_size", b"100"),
            ("cache/index1/level", b"2"),
            ("cache/index1/type", b"Unified"),
            ("cache/index1/size", b"2G"),
            ("cache/index2/level", b"\xff\xfe"),
            ("cache/index2/type", b"Unified"),
            ("cache/index3/level", b"4"),
            ("cache/index3/type", b"Unified"),
            ("cache/index3/size", b"64M"),
            ("cpufreq/cpuinfo_max_freq", b"0"),
        ]);
        assert_eq!((caches(odd.path()), frequency(odd.path())), (GUESS, None));
    }

    #[test]
    fn vectors_follow_the_features() {
        let bits =
            |architecture, features: &[&str]| vector(architecture, |name| features.contains(&name)).bits;
        assert_eq!(bits("x86_64", &[]), [128]);
        assert_eq!(bits("x86_64", &["avx"]), [128]);
        assert_eq!(bits("x86_64", &["avx2", "fma"]), [128, 256]);
        assert_eq!(bits("x86_64", &["avx2", "fma", "avx512f"]), [128, 256]);
        assert_eq!(bits("x86_64", &["avx2", "fma", "avx512f", "avx512vl"]), [128, 256, 512]);
        assert_eq!(bits("aarch64", &["neon"]), [128]);
        assert_eq!(bits("riscv64", &[]), [0; 0]);
        assert_eq!(bits("loongarch64", &["avx2"]), [0; 0]);
    }
}
