//! What a model is run on: tensors and pictures from files, by the names of its inputs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use avocet::data::npy;
use avocet::data::npz::Archive;
use avocet::data::picture::Picture;
use avocet::data::prepare::{ChannelOrder, Normalization, Preparation, Resizing, prepare};
use avocet::ports::Inputs;
use avocet::{Model, Tensor};
use clap::{Args, ValueEnum};

use super::super::CommandError;

/// A file with the name of an input or output, which may be left out where there is only one.
#[derive(Clone, Debug)]
pub(super) struct NamedFile {
    pub(super) name: Option<String>,
    pub(super) path: PathBuf,
}

/// `NAME=FILE` or `FILE`.
pub(super) fn named_file(text: &str) -> Result<NamedFile, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (Some(name.to_string()), path),
        None => (None, text),
    };
    if path.is_empty() {
        return Err("expected NAME=FILE".into());
    }
    Ok(NamedFile { name, path: path.into() })
}

#[derive(Args, Debug)]
pub(super) struct InputArguments {
    /// An input, from an .npy file of its type and shape (repeatable); NAME= may be left out if there is one input.
    #[arg(long = "input", value_name = "[NAME=]FILE.npy", value_parser = named_file)]
    input_files: Vec<NamedFile>,
    /// Inputs by name, from the arrays of an .npz file.
    #[arg(long = "inputs", value_name = "FILE.npz")]
    input_archive: Option<PathBuf>,
    /// An input, from a JPEG or PNG picture (repeatable: one picture for each of the batch).
    #[arg(long = "image", value_name = "[NAME=]FILE", value_parser = named_file)]
    images: Vec<NamedFile>,
    /// How pictures get the input's size: `crop` resizes the shorter side to 8/7 of the input's, `crop=N` to N pixels, and
    /// then the centre is cropped; `exact` resizes both sides.
    #[arg(long, default_value = "crop", value_name = "crop|crop=N|exact", value_parser = resizing)]
    resize: Resizing,
    /// Mean of each channel of pictures, between 0 and 1: red, green, blue. ImageNet's by default.
    #[arg(long, value_name = "R,G,B", value_parser = channels, allow_hyphen_values = true)]
    mean: Option<[f32; 3]>,
    /// Standard deviation of each channel of pictures, likewise.
    #[arg(long, value_name = "R,G,B", value_parser = deviations)]
    std: Option<[f32; 3]>,
    /// Order of the channels that the network takes.
    #[arg(long, value_enum, default_value_t = OrderArgument::Rgb)]
    channels: OrderArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderArgument {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
}

fn resizing(text: &str) -> Result<Resizing, String> {
    match (text, text.strip_prefix("crop=").map(str::parse)) {
        ("exact", _) => Ok(Resizing::Exact),
        ("crop", _) => Ok(Resizing::Crop(None)),
        (_, Some(Ok(pixels @ 1..=65_536))) => Ok(Resizing::Crop(Some(pixels))),
        _ => Err("expected crop, crop=N with at most 65536 pixels, or exact".into()),
    }
}

fn channels(text: &str) -> Result<[f32; 3], String> {
    avocet::data::prepare::channels(text)
}

fn deviations(text: &str) -> Result<[f32; 3], String> {
    avocet::data::prepare::deviations(text)
}

impl InputArguments {
    /// The inputs, if any are given: all that the model has.
    pub(super) fn read(&self, model: &Model) -> Result<Option<Vec<Tensor>>, CommandError> {
        if self.input_files.is_empty() && self.input_archive.is_none() && self.images.is_empty() {
            return Ok(None);
        }
        let ports = model.inputs();
        let mut inputs = Inputs::new(&ports, model.takes_sizes());
        for file in &self.input_files {
            let (number, port) = inputs.find(file.name.as_deref())?;
            let read = match npy::read_as(&file.path, &port.ty)? {
                Err(other) if inputs.takes(number, &other) => npy::read_as(&file.path, &other)?,
                read => read,
            };
            inputs.give(number, read)?;
        }
        if let Some(path) = &self.input_archive {
            let mut archive = Archive::open(path)?;
            for (member, name) in archive.names().iter().enumerate() {
                let (number, port) = inputs.find(Some(name))?;
                let read = match archive.read_as(member, &port.ty)? {
                    Err(other) if inputs.takes(number, &other) => archive.read_as(member, &other)?,
                    read => read,
                };
                inputs.give(number, read)?;
            }
        }
        let mut pictures: BTreeMap<usize, Vec<&NamedFile>> = BTreeMap::new();
        for file in &self.images {
            pictures.entry(inputs.find(file.name.as_deref())?.0).or_default().push(file);
        }
        let how = self.preparation();
        for (number, files) in pictures {
            let port = &ports[number];
            let failed = |source| CommandError::Prepare { name: port.name.clone(), source };
            let read = files.iter().map(|file| Picture::read(&file.path)).collect::<Result<Vec<_>, _>>()?;
            inputs.give(number, Ok(prepare(&read, &how, &port.ty).map_err(failed)?))?;
        }
        Ok(Some(inputs.all()?))
    }

    fn preparation(&self) -> Preparation {
        let default = Normalization::default();
        let order = match self.channels {
            OrderArgument::Rgb => ChannelOrder::Rgb,
            OrderArgument::Bgr => ChannelOrder::Bgr,
        };
        Preparation {
            resizing: self.resize,
            normalization: Normalization {
                mean: self.mean.unwrap_or(default.mean),
                std: self.std.unwrap_or(default.std),
                order,
            },
        }
    }
}
