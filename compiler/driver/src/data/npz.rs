//! Several tensors in one file, NumPy's `.npz`: a zip archive with a member `NAME.npy` for each.

use std::fs::File;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use avocet_ir::{Tensor, TensorType};
use thiserror::Error;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::npy::{self, NpyError};
use super::write_file;

/// Most members of an archive; networks have far fewer inputs.
const MOST_MEMBERS: usize = 1 << 12;

/// Why an `.npz` file was refused.
#[derive(Debug, Error)]
pub enum NpzError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no zip archive, or a damaged one.
    #[error("{}: {source}", path.display())]
    Zip {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: zip::result::ZipError,
    },
    /// It has more members than any network has inputs.
    #[error("{}: {count} members, more than {MOST_MEMBERS}", path.display())]
    Members {
        /// The file.
        path: PathBuf,
        /// Members.
        count: usize,
    },
    /// A member is no `.npy` file.
    #[error("{}: member '{}': {source}", path.display(), member.escape_debug())]
    Member {
        /// The file.
        path: PathBuf,
        /// Name of the member.
        member: String,
        /// What is wrong.
        source: NpyError,
    },
}

/// An archive that is open for reading.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    zip: ZipArchive<File>,
}

impl Archive {
    /// Opens an archive.
    pub fn open(path: &Path) -> Result<Self, NpzError> {
        let path = path.to_path_buf();
        let file = File::open(&path).map_err(|source| NpzError::Io { path: path.clone(), source })?;
        let zip = ZipArchive::new(file).map_err(|source| NpzError::Zip { path: path.clone(), source })?;
        match zip.len() {
            count if count > MOST_MEMBERS => Err(NpzError::Members { path, count }),
            _ => Ok(Archive { path, zip }),
        }
    }

    /// Names of the tensors, in the order of the archive.
    pub fn names(&self) -> Vec<String> {
        let members = (0..self.zip.len()).filter_map(|i| self.zip.name_for_index(i));
        members.map(|name| name.strip_suffix(".npy").unwrap_or(name).to_string()).collect()
    }

    /// The tensor of this number, which is to be of this type, or else the type that it is of; however much a member
    /// expands to, no more is read than the type needs.
    pub fn read_as(
        &mut self,
        number: usize,
        ty: &TensorType,
    ) -> Result<Result<Tensor, TensorType>, NpzError> {
        let path = &self.path;
        let member = self.zip.by_index(number);
        let member = member.map_err(|source| NpzError::Zip { path: path.clone(), source })?;
        let name = member.name().to_string();
        npy::decode_as(member, ty).map_err(|source| NpzError::Member {
            path: path.clone(),
            member: name,
            source,
        })
    }
}

/// Writes tensors by name, uncompressed; the same tensors give the same bytes.
pub fn write(path: &Path, tensors: &[(&str, &Tensor)]) -> Result<(), crate::Error> {
    let bytes = encode(tensors).map_err(|source| crate::Error::Write { path: path.into(), source })?;
    write_file(path, &bytes)
}

fn encode(tensors: &[(&str, &Tensor)]) -> std::io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let contents = npy::encode(tensor);
        let large = contents.len() as u64 >= u64::from(u32::MAX);
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(large);
        zip.start_file(format!("{name}.npy"), options)?;
        zip.write_all(&contents)?;
    }
    Ok(zip.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npz");
        let (one, two) = (Tensor::f32([2], [1.0, 2.0]).expect("small"), Tensor::scalar_f32(3.0));
        write(&path, &[("one", &one), ("layer/two", &two)]).expect("written");
        let mut archive = Archive::open(&path).expect("an archive");
        assert_eq!(archive.names(), ["one", "layer/two"]);
        assert_eq!(archive.read_as(0, &one.ty()).expect("readable"), Ok(one.clone()));
        assert_eq!(archive.read_as(1, &one.ty()).expect("readable"), Err(two.ty()));
    }

    #[test]
    fn a_member_that_expands_without_end_is_not_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bomb.npz");
        let mut zip = ZipWriter::new(File::create(&path).expect("writable"));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file("x.npy", options).expect("a member");
        let tensor = Tensor::f32([1], [1.0]).expect("small");
        zip.write_all(&npy::encode(&tensor)).expect("written");
        for _ in 0..256 {
            zip.write_all(&[0; 1 << 20]).expect("written");
        }
        zip.finish().expect("finished");
        assert!(std::fs::metadata(&path).expect("there").len() < 1 << 20);
        let error = Archive::open(&path).expect("an archive").read_as(0, &tensor.ty()).unwrap_err();
        assert!(error.to_string().contains("bomb.npz: member 'x.npy'"), "{error}");
    }

    #[test]
    fn no_archive_and_half_an_archive_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.npz");
        write(&path, &[("x", &Tensor::scalar_f32(1.0))]).expect("written");
        let whole = std::fs::read(&path).expect("there");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("writable");
            if let Ok(mut archive) = Archive::open(&path) {
                for number in 0..archive.names().len() {
                    let _ = archive.read_as(number, &Tensor::scalar_f32(0.0).ty());
                }
            }
        }
        std::fs::write(&path, b"not an archive").expect("writable");
        assert!(Archive::open(&path).unwrap_err().to_string().contains("a.npz: "));
    }
}
