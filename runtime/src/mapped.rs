//! External weights as a memory map of their file: read as they are used, and shared between processes.

use core::ffi::c_void;
use core::fmt;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::weights::{HEADER_BYTES, WeightsError, check};

/// A weights file in memory, checked.
#[derive(Debug)]
pub struct Mapped {
    map: Mmap,
}

/// Why a weights file could not be mapped.
#[derive(Debug)]
pub enum MapError {
    /// It could not be opened.
    File(std::io::Error),
    /// It is not the model's.
    Weights(WeightsError),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MapError::File(error) => error.fmt(f),
            MapError::Weights(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for MapError {}

impl Mapped {
    /// Maps a file and verifies its checksum, once, against that of the model (`xxh64` in the manifest).
    ///
    /// # Safety
    /// Nobody may change or shorten the file while it is mapped: what was checked would no longer hold.
    pub unsafe fn open(path: impl AsRef<Path>, checksum: u64) -> Result<Self, MapError> {
        let file = File::open(path).map_err(MapError::File)?;
        // SAFETY: the caller vouches for the file.
        let map = unsafe { Mmap::map(&file) }.map_err(MapError::File)?;
        check(&map, checksum).map_err(MapError::Weights)?;
        Ok(Mapped { map })
    }

    /// The weights, for [`crate::Context::weights`].
    pub fn as_ptr(&self) -> *const c_void {
        self.map[HEADER_BYTES..].as_ptr().cast()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::ALIGNMENT;
    use crate::weights::{checksum, header};

    /// Writes a file and maps it.
    fn open(contents: &[u8], sum: u64) -> Result<Mapped, MapError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), contents).expect("writable");
        // SAFETY: the file is this function's alone; unlinked, it stays as it is.
        unsafe { Mapped::open(file.path(), sum) }
    }

    #[test]
    fn weights_are_checked_and_aligned() {
        let payload: Vec<u8> = (0..128).collect();
        let mut file = header(&payload).to_vec();
        file.extend(&payload);
        let mapped = open(&file, checksum(&payload)).expect("it is whole");
        assert_eq!(mapped.as_ptr() as usize % ALIGNMENT, 0);
        assert_eq!(mapped.map[HEADER_BYTES..], payload);
        file[100] ^= 1;
        let damaged = open(&file, checksum(&payload));
        assert!(matches!(damaged, Err(MapError::Weights(WeightsError::Corrupt))), "{damaged:?}");
        let empty = open(&[], 0);
        assert!(matches!(empty, Err(MapError::Weights(WeightsError::NotWeights))), "{empty:?}");
        // SAFETY: there is no such file.
        let missing = unsafe { Mapped::open("/no/such/file", 0) };
        assert!(matches!(missing, Err(MapError::File(_))), "{missing:?}");
    }
}
