//! Files that appear whole or not at all: written beside their place, then renamed.

use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::Error;

/// Files that are written and wait for their names. Dropped unfinished, they vanish.
#[derive(Debug, Default)]
pub(crate) struct Output {
    files: Vec<(NamedTempFile, PathBuf)>,
}

impl Output {
    /// Writes a file under a temporary name in the folder of `path`.
    pub(crate) fn add(&mut self, path: &Path, contents: &[u8]) -> Result<(), Error> {
        let fail = |source| Error::Write { path: path.into(), source };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What a plain `File::create` asks for; the process's mask applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".avocet-").tempfile_in(folder).map_err(fail)?;
        file.write_all(contents).map_err(fail)?;
        file.as_file().sync_all().map_err(fail)?;
        self.files.push((file, path.into()));
        Ok(())
    }

    /// Gives all files their names.
    pub(crate) fn finish(self) -> Result<Vec<PathBuf>, Error> {
        let mut paths = Vec::with_capacity(self.files.len());
        for (file, path) in self.files {
            file.persist(&path).map_err(|e| Error::Write { path: path.clone(), source: e.error })?;
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_appears_before_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.txt");
        let mut output = Output::default();
        output.add(&path, b"one").expect("written");
        assert!(!path.exists());
        drop(output);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let mut output = Output::default();
        output.add(&path, b"two").expect("written");
        assert_eq!(output.finish().expect("renamed"), std::slice::from_ref(&path));
        assert_eq!(std::fs::read(&path).expect("there"), b"two");
    }
}
