//! What networks are fed with and what they give: tensors and pictures in files, and names of classes.
//!
//! Files are hostile. Each reader knows how much is wanted before it takes memory, and takes no more.

pub mod labels;
pub mod npy;
pub mod npz;
pub mod picture;
pub mod prepare;

use std::path::Path;

use crate::error::Error;
use crate::output::Output;

/// Writes a file that appears whole or not at all.
fn write_file(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let mut output = Output::default();
    output.add(path, contents)?;
    output.finish().map(drop)
}
