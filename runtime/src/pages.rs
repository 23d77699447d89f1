//! Memory on large pages: an anonymous map of which a part begins at a multiple of their size.

use memmap2::{Advice, MmapMut};

use crate::ALIGNMENT;

/// Size of a large page, on x86-64, AArch64 and RISC-V with pages of 4 KiB.
const LARGE_PAGE: usize = 2 << 20;
/// So much of a large page must be used: less is on ordinary pages at the end of the memory, or on the heap, so that no more
/// than half a megabyte is taken for nothing.
const LEAST: usize = LARGE_PAGE / 4 * 3;

/// Zeroed memory that begins at a large page.
pub(crate) struct Pages {
    map: MmapMut,
    start: usize,
    bytes: usize,
}

impl Pages {
    /// Memory of so many bytes, rounded up to [`ALIGNMENT`]; `None` where it is too little for large pages, or too much.
    ///
    /// Only address space is taken up to the next large page; it is no error when the kernel has no large pages.
    pub(crate) fn new(bytes: usize) -> Option<Self> {
        if bytes < LEAST {
            return None;
        }
        let bytes = bytes.checked_next_multiple_of(ALIGNMENT)?;
        let whole = bytes.checked_next_multiple_of(LARGE_PAGE)?.checked_add(LARGE_PAGE)?;
        let map = MmapMut::map_anon(whole).ok()?;
        let start = (map.as_ptr() as usize).wrapping_neg() % LARGE_PAGE;
        let large = (bytes + LARGE_PAGE - LEAST) / LARGE_PAGE * LARGE_PAGE;
        // What there is without is ordinary pages.
        let _ = map.advise_range(Advice::HugePage, start, large);
        Some(Pages { map, start, bytes })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[self.start..self.start + self.bytes]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.start..self.start + self.bytes]
    }
}
