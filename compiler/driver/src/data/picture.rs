//! Pictures from files: JPEG and PNG, as 8-bit red, green and blue.
//!
//! The kind of a file is told by its first bytes, not by its name. Transparency is dropped, 16 bits become the upper 8,
//! and neither colour profiles nor the orientation that cameras note are applied, as Pillow's `convert("RGB")` does.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Most rows or columns.
const MOST_SIDE: usize = 1 << 15;
/// Most pixels: three bytes each, and decoders may hold as much again.
const MOST_PIXELS: usize = 1 << 26;
/// Largest file.
const MOST_BYTES: u64 = 1 << 28;

/// Why a picture was refused.
#[derive(Debug, Error)]
pub enum PictureError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// What is in it is no picture.
    #[error("{}: {problem}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A picture, row by row, three bytes a pixel: red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of these pixels; none when there are not three bytes for each, or no pixels at all.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes == pixels.len() && bytes > 0).then_some(Picture { width, height, pixels })
    }

    /// Reads a JPEG or PNG file.
    pub fn read(path: &Path) -> Result<Self, PictureError> {
        let failed = |source| PictureError::Io { path: path.into(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
        Picture::decode(bytes).map_err(|problem| PictureError::InFile { path: path.into(), problem })
    }

    /// The picture in the bytes of a file, or what is wrong with them.
    pub fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        match &bytes[..] {
            [0xff, 0xd8, ..] => jpeg(bytes),
            [0x89, b'P', b'N', b'G', ..] => png(bytes),
            _ => Err("neither a JPEG nor a PNG picture".into()),
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The bytes.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

/// The size of a picture, if it is one that memory may be taken for.
fn checked(width: usize, height: usize) -> Result<(usize, usize), String> {
    match width.checked_mul(height) {
        Some(1..=MOST_PIXELS) if width.max(height) <= MOST_SIDE => Ok((width, height)),
        _ => Err(format!("a picture of {width}x{height} pixels; at most {MOST_PIXELS} are read")),
    }
}

fn jpeg(bytes: Vec<u8>) -> Result<Picture, String> {
    let told = |e| format!("the JPEG is damaged: {e}");
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(MOST_SIDE)
        .set_max_height(MOST_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| told(e.to_string()))?;
    let (width, height) = decoder.dimensions().ok_or_else(|| told("it has no size".into()))?;
    let (width, height) = checked(width, height)?;
    let pixels = decoder.decode().map_err(|e| told(e.to_string()))?;
    Picture::new(width, height, pixels).ok_or_else(|| told("pixels are missing".into()))
}

fn png(bytes: Vec<u8>) -> Result<Picture, String> {
    let told = |e: &dyn std::fmt::Display| format!("the PNG is damaged: {e}");
    let limits = png::Limits { bytes: 16 * MOST_PIXELS };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let info = decoder.read_header_info().map_err(|e| told(&e))?;
    let (width, height) = checked(info.width as usize, info.height as usize)?;
    let mut reader = decoder.read_info().map_err(|e| told(&e))?;
    let size = reader.output_buffer_size().ok_or_else(|| told(&"it has no size"))?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(|e| told(&e))?;
    buffer.truncate(frame.buffer_size());
    let pixels = match frame.color_type {
        png::ColorType::Rgb => buffer,
        png::ColorType::Rgba => {
            buffer.as_chunks::<4>().0.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
        }
        png::ColorType::Grayscale => buffer.iter().flat_map(|&v| [v; 3]).collect(),
        png::ColorType::GrayscaleAlpha => {
            buffer.as_chunks::<2>().0.iter().flat_map(|&[v, _]| [v; 3]).collect()
        }
        // Palettes were expanded to colours.
        png::ColorType::Indexed => return Err(told(&"its palette is missing")),
    };
    Picture::new(width, height, pixels).ok_or_else(|| told(&"pixels are missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG of these bytes.
    fn encode(width: u32, height: u32, color: png::ColorType, pixels: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().expect("a header");
        writer.write_image_data(pixels).expect("pixels");
        writer.finish().expect("an end");
        out
    }

    #[test]
    fn every_kind_of_png_becomes_red_green_and_blue() {
        let read = |color, pixels: &[u8]| Picture::decode(encode(2, 1, color, pixels)).expect("a picture");
        let picture = read(png::ColorType::Rgb, &[1, 2, 3, 4, 5, 6]);
        assert_eq!((picture.width(), picture.height(), picture.pixels()), (2, 1, &[1, 2, 3, 4, 5, 6][..]));
        assert_eq!(read(png::ColorType::Rgba, &[1, 2, 3, 0, 4, 5, 6, 255]), picture);
        assert_eq!(read(png::ColorType::Grayscale, &[7, 8]).pixels(), [7, 7, 7, 8, 8, 8]);
        assert_eq!(read(png::ColorType::GrayscaleAlpha, &[7, 0, 8, 0]).pixels(), [7, 7, 7, 8, 8, 8]);
    }

    #[test]
    fn damaged_pictures_are_refused() {
        let whole = encode(4, 4, png::ColorType::Rgb, &[9; 48]);
        for length in 0..whole.len() - 12 {
            assert!(Picture::decode(whole[..length].to_vec()).is_err(), "{length}");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x41;
            let _ = Picture::decode(changed);
        }
        // A header that claims more than may be read, with a sum that is right.
        let huge = encode_header(1 << 15, 1 << 15);
        assert!(Picture::decode(huge).unwrap_err().contains("a picture of 32768x32768 pixels"));
        assert!(Picture::decode(vec![0xff, 0xd8, 0xff]).unwrap_err().contains("JPEG is damaged"));
        assert!(Picture::decode(b"P6 1 1 255".to_vec()).unwrap_err().contains("neither"));
    }

    /// The start of a PNG of this size.
    fn encode_header(width: u32, height: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(png::ColorType::Rgb);
        drop(encoder.write_header().expect("a header"));
        out
    }
}
