//! Aligned memory on the heap, without `unsafe`: an array of cache lines.

use alloc::vec::Vec;
use core::ffi::c_void;

use crate::ALIGNMENT;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// Memory aligned to [`ALIGNMENT`] bytes, zeroed at first: an arena for one model's calls, or a copy of its weights.
pub struct Arena {
    lines: Vec<Line>,
}

impl Arena {
    /// Memory of at least this many bytes.
    ///
    /// # Panics
    /// When there is not so much memory, as all of `alloc` does.
    pub fn new(bytes: usize) -> Self {
        Arena { lines: alloc::vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)] }
    }

    /// The same, or `None` when there is not so much memory.
    pub fn try_new(bytes: usize) -> Option<Self> {
        let count = bytes.div_ceil(ALIGNMENT);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; ALIGNMENT]));
        Some(Arena { lines })
    }

    /// A copy of these bytes.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut arena = Arena::new(bytes.len());
        for (line, chunk) in arena.lines.iter_mut().zip(bytes.chunks(ALIGNMENT)) {
            line.0[..chunk.len()].copy_from_slice(chunk);
        }
        arena
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.lines.len() * ALIGNMENT
    }

    /// The memory, for [`crate::Context::arena`].
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        self.lines.as_mut_ptr().cast()
    }

    /// The memory, for [`crate::Context::weights`].
    pub fn as_ptr(&self) -> *const c_void {
        self.lines.as_ptr().cast()
    }
}

impl core::fmt::Debug for Arena {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Arena({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_large_enough() {
        for bytes in [0, 1, 63, 64, 65, 1000] {
            let mut arena = Arena::new(bytes);
            assert!(arena.bytes() >= bytes);
            assert_eq!(arena.as_mut_ptr() as usize % ALIGNMENT, 0);
        }
    }

    #[test]
    fn too_much_memory_is_no_panic() {
        assert!(Arena::try_new(usize::MAX / 2).is_none());
        assert_eq!(Arena::try_new(100).map(|a| a.bytes()), Some(128));
    }

    #[test]
    fn copies_hold_the_bytes() {
        let data: Vec<u8> = (0..100).collect();
        let arena = Arena::copy_of(&data);
        assert_eq!(arena.lines[1].0[..36], data[64..]);
        assert_eq!(arena.lines[1].0[36..], [0; 28]);
    }
}
