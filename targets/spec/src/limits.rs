//! Ranges of the numbers in a target: what a description may say and what host detection believes.
//!
//! They are wide. A number outside is a mistake of units or worse, and would only show up later as an absurd tile.

use std::ops::RangeInclusive;

use crate::Caches;

/// Bytes of a cache; 0 for none.
pub(crate) const CACHE: RangeInclusive<u32> = 0..=1 << 30;
/// Cores.
pub(crate) const CORES: RangeInclusive<u32> = 1..=4096;
/// MHz.
pub(crate) const FREQUENCY_MHZ: RangeInclusive<u32> = 1..=20_000;
/// Milliwatts of a whole processor: from what a coin cell feeds to the largest servers.
pub(crate) const POWER_MILLIWATTS: RangeInclusive<u32> = 1..=2_000_000;
/// Instructions per cycle.
pub(crate) const ISSUE: RangeInclusive<u32> = 1..=16;
/// Bytes of a cache line, where there is one.
pub(crate) const LINE: RangeInclusive<u32> = 8..=1024;
/// Characters of a name.
pub(crate) const NAME: RangeInclusive<usize> = 1..=64;
/// Bytes of the text of a description; real ones have less than a tenth of it.
pub(crate) const TEXT: usize = 1 << 16;
/// Vector registers, where there are vectors.
pub(crate) const REGISTERS: RangeInclusive<u32> = 1..=128;
/// Bits of a vector.
pub(crate) const VECTOR_BITS: RangeInclusive<u32> = 64..=2048;

/// Bytes of the smallest cache that anyone has built into a processor with an FPU, where there is one.
const SMALLEST_CACHE: u32 = 1 << 10;

/// Whether a cache line may have so many bytes.
pub(crate) fn is_line(bytes: u32) -> bool {
    LINE.contains(&bytes) && bytes.is_power_of_two()
}

/// Which size of the caches is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Line,
    L1d,
    L2,
    L3,
}

/// Whether the sizes of caches make sense together; the error names the wrong one and says why.
pub(crate) fn check(caches: &Caches) -> Result<(), (Key, String)> {
    let levels = [(Key::L1d, "l1d", caches.l1d), (Key::L2, "l2", caches.l2), (Key::L3, "l3", caches.l3)];
    let present = levels.into_iter().filter(|&(_, _, bytes)| bytes > 0);
    let line = caches.line;
    let none = line == 0 && present.clone().next().is_none();
    if !is_line(line) && !none {
        let (least, most) = (LINE.start(), LINE.end());
        let problem =
            format!("line is {line}, expected a power of two, {least} to {most}, or 0 if there is no cache");
        return Err((Key::Line, problem));
    }
    let mut before = ("", 0);
    for (key, name, bytes) in present {
        if bytes < SMALLEST_CACHE {
            return Err((
                key,
                format!("{name} is {bytes}; sizes are in bytes, {SMALLEST_CACHE} or more, or 0 for none"),
            ));
        }
        if !bytes.is_multiple_of(line) {
            return Err((
                key,
                format!("{name} is {bytes}, which is not a whole number of lines of {line} bytes"),
            ));
        }
        // A core's part of a shared cache may be small, but the whole of it is what the key means.
        if bytes < before.1 {
            return Err((key, format!("{name} is {bytes}, less than {} with {}", before.0, before.1)));
        }
        before = (name, bytes);
    }
    Ok(())
}
