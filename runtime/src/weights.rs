//! External weights: the file that `avocet compile --weights external` writes.
//!
//! Layout, little-endian: 8 bytes `AVOCETW\0`, u32 version (1), u32 zero, u64 size of the payload, u64 XXH64 (seed 0) of
//! the payload, zeros up to byte 64; then the payload, a multiple of 64 bytes. A memory map of the file is page-aligned,
//! so its payload is aligned as models want it. The checksum is verified once, at load.

use core::fmt;

use twox_hash::XxHash64;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"AVOCETW\0";
const VERSION: u32 = 1;

/// Why a weights file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsError {
    /// It does not start as a weights file does.
    NotWeights,
    /// It is of a version that this crate does not know.
    Version(u32),
    /// Its size is not what its header says.
    Size {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes that there are.
        got: u64,
    },
    /// Its contents are not those that were written.
    Corrupt,
    /// It is intact, but belongs to another model.
    OtherModel,
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WeightsError::NotWeights => f.write_str("this is not a weights file of avocet"),
            WeightsError::Version(version) => {
                write!(f, "weights file of version {version}, expected {VERSION}")
            }
            WeightsError::Size { expected, got } => write!(f, "weights of {got} bytes, expected {expected}"),
            WeightsError::Corrupt => f.write_str("the weights' checksum is wrong: the file is damaged"),
            WeightsError::OtherModel => f.write_str("these weights belong to another model"),
        }
    }
}

impl core::error::Error for WeightsError {}

/// Checksum of a payload.
pub fn checksum(payload: &[u8]) -> u64 {
    XxHash64::oneshot(0, payload)
}

/// The header of a file with this payload.
pub fn header(payload: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    header[24..32].copy_from_slice(&checksum(payload).to_le_bytes());
    header
}

/// Checks a whole file against its header and against the checksum that the model was compiled with; gives the payload.
pub fn check(file: &[u8], expected_checksum: u64) -> Result<&[u8], WeightsError> {
    let Some((header, payload)) = file.split_first_chunk::<HEADER_BYTES>() else {
        return Err(WeightsError::NotWeights);
    };
    if header[..8] != MAGIC {
        return Err(WeightsError::NotWeights);
    }
    let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if version != VERSION {
        return Err(WeightsError::Version(version));
    }
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    let (expected, got) = (word(16), payload.len() as u64);
    if expected != got {
        return Err(WeightsError::Size { expected, got });
    }
    let sum = checksum(payload);
    if sum != word(24) {
        return Err(WeightsError::Corrupt);
    }
    if sum != expected_checksum {
        return Err(WeightsError::OtherModel);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn file() -> (Vec<u8>, u64) {
        let payload: Vec<u8> = (0..128).collect();
        let mut file = header(&payload).to_vec();
        file.extend(&payload);
        (file, checksum(&payload))
    }

    #[test]
    fn what_was_written_is_accepted() {
        let (file, sum) = file();
        assert_eq!(check(&file, sum), Ok(&file[64..]));
        // The reference value of the specification for the empty input.
        assert_eq!(checksum(&[]), 0xef46_db37_51d8_e999);
    }

    #[test]
    fn anything_else_is_refused() {
        let (file, sum) = file();
        assert_eq!(check(&file[..63], sum), Err(WeightsError::NotWeights));
        assert_eq!(check(&file[..100], sum), Err(WeightsError::Size { expected: 128, got: 36 }));
        assert_eq!(check(&file, sum + 1), Err(WeightsError::OtherModel));
        for position in [0, 8, 20, 24, 64, 191] {
            let mut changed = file.clone();
            changed[position] ^= 1;
            assert!(check(&changed, sum).is_err(), "byte {position}");
        }
    }
}
