//! Ranges of the numbers in a target: what a description may say and what host detection believes.
//!
//! They are wide. A number outside is a mistake of units or worse, and would only show up later as an absurd tile.

use std::ops::RangeInclusive;

/// Bytes of a cache; 0 for none.
pub(crate) const CACHE: RangeInclusive<u32> = 0..=1 << 30;
/// Cores.
pub(crate) const CORES: RangeInclusive<u32> = 1..=4096;
/// MHz.
pub(crate) const FREQUENCY_MHZ: RangeInclusive<u32> = 1..=20_000;
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

/// Whether a cache line may have so many bytes.
pub(crate) fn is_line(bytes: u32) -> bool {
    LINE.contains(&bytes) && bytes.is_power_of_two()
}
