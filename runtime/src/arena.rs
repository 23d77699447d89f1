//! Aligned memory, without `unsafe`: an array of cache lines on the heap, or on Linux, where it is large and the feature
//! `mmap` is there, a map of its own on large pages. A first call touches all of an arena: with pages of 4 KiB it takes a
//! thousand faults for 4 MiB, which is a fifth of MobileNetV2's first run.

use alloc::vec::Vec;
use core::ffi::c_void;

use crate::ALIGNMENT;
#[cfg(all(feature = "mmap", target_os = "linux"))]
use crate::pages::Pages;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; ALIGNMENT]);

/// Memory aligned to [`ALIGNMENT`] bytes, zeroed at first: an arena for one model's calls, or a copy of its weights.
pub struct Arena {
    memory: Memory,
}

enum Memory {
    Lines(Vec<Line>),
    #[cfg(all(feature = "mmap", target_os = "linux"))]
    Pages(Pages),
}

impl Arena {
    /// Memory of at least this many bytes.
    ///
    /// # Panics
    /// When there is not so much memory, as all of `alloc` does.
    pub fn new(bytes: usize) -> Self {
        match Arena::on_pages(bytes) {
            Some(arena) => arena,
            None => {
                let lines = alloc::vec![Line([0; ALIGNMENT]); bytes.div_ceil(ALIGNMENT)];
                Arena { memory: Memory::Lines(lines) }
            }
        }
    }

    /// The same, or `None` when there is not so much memory.
    pub fn try_new(bytes: usize) -> Option<Self> {
        if let Some(arena) = Arena::on_pages(bytes) {
            return Some(arena);
        }
        let count = bytes.div_ceil(ALIGNMENT);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; ALIGNMENT]));
        Some(Arena { memory: Memory::Lines(lines) })
    }

    /// On large pages, where there are any and it is worth it.
    #[cfg(all(feature = "mmap", target_os = "linux"))]
    fn on_pages(bytes: usize) -> Option<Self> {
        Pages::new(bytes).map(|pages| Arena { memory: Memory::Pages(pages) })
    }

    #[cfg(not(all(feature = "mmap", target_os = "linux")))]
    fn on_pages(_: usize) -> Option<Self> {
        None
    }

    /// A copy of these bytes.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut arena = Arena::new(bytes.len());
        match &mut arena.memory {
            Memory::Lines(lines) => {
                for (line, chunk) in lines.iter_mut().zip(bytes.chunks(ALIGNMENT)) {
                    line.0[..chunk.len()].copy_from_slice(chunk);
                }
            }
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Memory::Pages(pages) => pages.bytes_mut()[..bytes.len()].copy_from_slice(bytes),
        }
        arena
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        match &self.memory {
            Memory::Lines(lines) => lines.len() * ALIGNMENT,
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Memory::Pages(pages) => pages.bytes().len(),
        }
    }

    /// The memory, for [`crate::Context::arena`].
    pub fn as_mut_ptr(&mut self) -> *mut c_void {
        match &mut self.memory {
            Memory::Lines(lines) => lines.as_mut_ptr().cast(),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Memory::Pages(pages) => pages.bytes_mut().as_mut_ptr().cast(),
        }
    }

    /// The memory, for [`crate::Context::weights`].
    pub fn as_ptr(&self) -> *const c_void {
        match &self.memory {
            Memory::Lines(lines) => lines.as_ptr().cast(),
            #[cfg(all(feature = "mmap", target_os = "linux"))]
            Memory::Pages(pages) => pages.bytes().as_ptr().cast(),
        }
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
        for bytes in [0, 1, 63, 64, 65, 1000, (1 << 20) - 1, 1 << 20, (3 << 20) + 5] {
            let mut arena = Arena::new(bytes);
            assert!(arena.bytes() >= bytes && arena.bytes() < bytes + ALIGNMENT);
            assert_eq!(arena.as_mut_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(arena.as_mut_ptr().cast_const(), arena.as_ptr());
        }
    }

    #[test]
    fn too_much_memory_is_no_panic() {
        assert!(Arena::try_new(usize::MAX / 2).is_none());
        assert!(Arena::try_new(usize::MAX).is_none());
        assert_eq!(Arena::try_new(100).map(|a| a.bytes()), Some(128));
    }

    #[test]
    fn copies_hold_the_bytes() {
        let data: Vec<u8> = (0..100).collect();
        let arena = Arena::copy_of(&data);
        let Memory::Lines(lines) = &arena.memory else { panic!("a small arena on the heap") };
        assert_eq!(lines[1].0[..36], data[64..]);
        assert_eq!(lines[1].0[36..], [0; 28]);
    }

    #[cfg(all(feature = "mmap", target_os = "linux"))]
    #[test]
    fn large_copies_hold_the_bytes() {
        let data: Vec<u8> = (0..(2 << 20) + 77).map(|i| (i % 251) as u8).collect();
        let arena = Arena::copy_of(&data);
        let Memory::Pages(pages) = &arena.memory else { panic!("a large arena on pages") };
        assert_eq!(pages.bytes()[..data.len()], data);
        assert!(pages.bytes()[data.len()..].iter().all(|&byte| byte == 0));
    }
}
