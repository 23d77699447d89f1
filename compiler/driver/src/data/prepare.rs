//! A picture as a network's input: resized, cropped, normalised, in the layout of the input's shape.
//!
//! The defaults are those of networks trained on ImageNet as torchvision and timm evaluate them: the shorter side is
//! resized to 8/7 of the input's, the centre is cropped, and each channel, between 0 and 1, has the mean taken off and is
//! divided by the deviation. Resizing averages over all pixels that an output pixel covers (Pillow's `BILINEAR`).

use avocet_ir::{DType, Tensor, TensorData, TensorType};
use thiserror::Error;

use super::picture::Picture;

/// What is done to the values of each channel, red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization {
    /// Taken off, from values between 0 and 1.
    pub mean: [f32; 3],
    /// Divided by, afterwards.
    pub std: [f32; 3],
    /// The order in which the network has the channels.
    pub order: ChannelOrder,
}

impl Default for Normalization {
    /// ImageNet's.
    fn default() -> Self {
        Normalization { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], order: ChannelOrder::Rgb }
    }
}

impl Normalization {
    /// Factor and summand of each channel for bytes: what is said above in one multiply-add.
    pub fn scale_and_offset(&self) -> [(f32, f32); 3] {
        let one = |i: usize| {
            let (mean, std) = (f64::from(self.mean[i]), f64::from(self.std[i]));
            ((1.0 / (255.0 * std)) as f32, (-mean / std) as f32)
        };
        [0, 1, 2].map(one)
    }

    /// The same for a picture in grey, with the mean of the channels' numbers.
    pub fn gray(&self) -> (f32, f32) {
        let mean = |values: [f32; 3]| values.map(|v| v / 3.0).iter().sum::<f32>();
        Normalization { mean: [mean(self.mean); 3], std: [mean(self.std); 3], ..*self }.scale_and_offset()[0]
    }
}

/// Numbers for red, green and blue, or one for all three: `0.5`, `0.485,0.456,0.406`.
pub fn channels(text: &str) -> Result<[f32; 3], String> {
    let numbers: Option<Vec<f32>> =
        text.split(',').map(|n| n.trim().parse().ok().filter(|v: &f32| v.is_finite())).collect();
    match numbers.as_deref() {
        Some(&[all]) => Ok([all; 3]),
        Some(&[r, g, b]) => Ok([r, g, b]),
        _ => Err(format!("'{text}' is not one number or three, for red, green and blue")),
    }
}

/// The same of deviations, which are divided by.
pub fn deviations(text: &str) -> Result<[f32; 3], String> {
    let numbers = channels(text)?;
    // Far from where a quotient would overflow.
    match numbers.iter().all(|n| *n >= 1e-6) {
        true => Ok(numbers),
        false => Err(format!("deviations are at least 0.000001, not '{text}'")),
    }
}

/// The order of three channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
    Bgr,
}

/// How a picture gets the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resizing {
    /// The shorter side becomes so many pixels, 8/7 of the input's when none; then the centre is cropped.
    Crop(Option<usize>),
    /// Both sides become the input's, whatever that does to proportions.
    Exact,
}

/// Everything that is done to a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// Resizing and cropping.
    pub resizing: Resizing,
    /// Means and deviations; not applied where the input takes bytes.
    pub normalization: Normalization,
}

impl Default for Preparation {
    fn default() -> Self {
        Preparation { resizing: Resizing::Crop(None), normalization: Normalization::default() }
    }
}

/// Why pictures can't be an input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrepareError {
    /// The input is not one of pictures.
    #[error(
        "{0} does not take pictures: expected f32 or u8 of [N,3,H,W], [N,1,H,W], [N,H,W,3], [N,H,W,1] or the same without N"
    )]
    NoPicture(TensorType),
    /// Another number of pictures than the batch has.
    #[error("{got} pictures for a batch of {expected}")]
    Batch {
        /// Size of the batch.
        expected: usize,
        /// Pictures given.
        got: usize,
    },
    /// A picture that is resized to less than the input.
    #[error("a picture of {height}x{width} after resizing has no centre of {0}x{1}", .input[0], .input[1])]
    TooSmall {
        /// Rows of the resized picture.
        height: usize,
        /// Columns of the resized picture.
        width: usize,
        /// Rows and columns of the input.
        input: [usize; 2],
    },
}

/// What the dimensions of an input of pictures mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Pictures.
    pub batch: usize,
    /// 1 or 3.
    pub channels: usize,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Whether channels are next to each other, not planes.
    pub channels_last: bool,
}

impl ImageShape {
    /// The meaning of a shape; where it could be either layout, planes.
    pub fn of(dims: &[usize]) -> Option<Self> {
        let (batch, rest) = match *dims {
            [n, a, b, c] => (n, [a, b, c]),
            [a, b, c] => (1, [a, b, c]),
            _ => return None,
        };
        if dims.contains(&0) {
            return None;
        }
        // Three channels are told from three rows or columns before one is.
        let (channels, size, channels_last) = match rest {
            [3, h, w] => (3, [h, w], false),
            [h, w, 3] => (3, [h, w], true),
            [1, h, w] => (1, [h, w], false),
            [h, w, 1] => (1, [h, w], true),
            _ => return None,
        };
        Some(ImageShape { batch, channels, size, channels_last })
    }
}

/// The input of this type that these pictures are.
pub fn prepare(pictures: &[Picture], how: &Preparation, ty: &TensorType) -> Result<Tensor, PrepareError> {
    let no_picture = || PrepareError::NoPicture(ty.clone());
    let shape = ImageShape::of(ty.dims()).ok_or_else(no_picture)?;
    if pictures.len() != shape.batch {
        return Err(PrepareError::Batch { expected: shape.batch, got: pictures.len() });
    }
    let mut values = Vec::with_capacity(ty.shape.elements());
    for picture in pictures {
        let pixels = resized(picture, how.resizing, shape.size)?;
        append(&pixels, how, &shape, ty.dtype, &mut values);
    }
    let data = match ty.dtype {
        DType::F32 => TensorData::F32(values.into()),
        // To the nearest; numbers beyond a byte's become its ends.
        DType::U8 => TensorData::U8(values.iter().map(|v| v.round() as u8).collect()),
        _ => return Err(no_picture()),
    };
    Tensor::new(ty.shape.clone(), data).map_err(|_| no_picture())
}

/// Appends a picture's values in the input's layout.
fn append(pixels: &[[f32; 3]], how: &Preparation, shape: &ImageShape, dtype: DType, values: &mut Vec<f32>) {
    let scales = how.normalization.scale_and_offset();
    let normalised = |value: f32, (scale, offset): (f32, f32)| match dtype {
        DType::U8 => value,
        _ => value * scale + offset,
    };
    let order = match how.normalization.order {
        ChannelOrder::Rgb => [0, 1, 2],
        ChannelOrder::Bgr => [2, 1, 0],
    };
    let gray = how.normalization.gray();
    if shape.channels == 1 {
        // Rec. 601, as in Pillow's `convert("L")`.
        values.extend(pixels.iter().map(|&[r, g, b]| normalised(0.299 * r + 0.587 * g + 0.114 * b, gray)));
    } else if shape.channels_last {
        values.extend(pixels.iter().flat_map(|pixel| order.map(|c| normalised(pixel[c], scales[c]))));
    } else {
        for c in order {
            values.extend(pixels.iter().map(|pixel| normalised(pixel[c], scales[c])));
        }
    }
}

/// The picture in another size, row by row.
fn resized(picture: &Picture, how: Resizing, size: [usize; 2]) -> Result<Vec<[f32; 3]>, PrepareError> {
    let from = [picture.height(), picture.width()];
    let whole = match how {
        Resizing::Exact => size,
        Resizing::Crop(shorter) => {
            let short = from[0].min(from[1]);
            let scale = (size[0] as f64 / from[0] as f64).max(size[1] as f64 / from[1] as f64) * 8.0 / 7.0;
            let shorter = shorter.unwrap_or((short as f64 * scale).round() as usize);
            from.map(|side| (side as u128 * shorter as u128 / short as u128).min(usize::MAX as u128) as usize)
        }
    };
    if whole[0] < size[0] || whole[1] < size[1] {
        return Err(PrepareError::TooSmall { height: whole[0], width: whole[1], input: size });
    }
    let [rows, columns] = [0, 1].map(|axis| {
        let start = ((whole[axis] - size[axis]) as f64 / 2.0).round_ties_even() as usize;
        taps(from[axis], whole[axis], start, size[axis])
    });
    let pixels: Vec<[f32; 3]> =
        picture.pixels().as_chunks::<3>().0.iter().map(|pixel| pixel.map(f32::from)).collect();
    // First what leaves less.
    Ok(if from[0] * size[1] <= size[0] * from[1] {
        vertically(&horizontally(&pixels, from[1], &columns), size[1], &rows)
    } else {
        horizontally(&vertically(&pixels, from[1], &rows), from[1], &columns)
    })
}

/// Of what one element of a resized row is made: weights of neighbours from `first` on.
#[derive(Debug)]
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// Taps of `count` elements from `start` on, of `whole` that `from` are resized to: a triangle over what each covers.
fn taps(from: usize, whole: usize, start: usize, count: usize) -> Vec<Taps> {
    let step = from as f64 / whole as f64;
    let width = step.max(1.0);
    let one = |i: usize| {
        let centre = (i as f64 + 0.5) * step;
        let first = ((centre - width + 0.5).max(0.0) as usize).min(from - 1);
        let end = ((centre + width + 0.5) as usize).clamp(first + 1, from);
        let weight = |x: usize| (1.0 - ((x as f64 + 0.5 - centre) / width).abs()).max(0.0);
        let sum: f64 = (first..end).map(weight).sum();
        Taps { first, weights: (first..end).map(|x| (weight(x) / sum) as f32).collect() }
    };
    (start..start + count).map(one).collect()
}

fn horizontally(pixels: &[[f32; 3]], width: usize, columns: &[Taps]) -> Vec<[f32; 3]> {
    let row = |row: &[[f32; 3]]| -> Vec<[f32; 3]> {
        columns.iter().map(|taps| sum(taps, |x| row[taps.first + x])).collect()
    };
    pixels.chunks_exact(width).flat_map(row).collect()
}

fn vertically(pixels: &[[f32; 3]], width: usize, rows: &[Taps]) -> Vec<[f32; 3]> {
    let row = |taps: &Taps| -> Vec<[f32; 3]> {
        (0..width).map(|x| sum(taps, |y| pixels[(taps.first + y) * width + x])).collect()
    };
    rows.iter().flat_map(row).collect()
}

fn sum(taps: &Taps, pixel: impl Fn(usize) -> [f32; 3]) -> [f32; 3] {
    let mut out = [0.0; 3];
    for (i, weight) in taps.weights.iter().enumerate() {
        for (sum, value) in out.iter_mut().zip(pixel(i)) {
            *sum += weight * value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Picture {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x))).flat_map(|(y, x)| pixel(y, x));
        Picture::new(width, height, pixels.collect()).expect("a picture")
    }

    fn input(picture: Picture, how: &Preparation, dims: &[usize]) -> Vec<f32> {
        let ty = TensorType::f32(dims).expect("small");
        prepare(&[picture], how, &ty).expect("prepared").as_f32().expect("f32").to_vec()
    }

    #[test]
    fn layouts_and_orders() {
        let plain = Normalization { mean: [0.0; 3], std: [1.0 / 255.0; 3], order: ChannelOrder::Rgb };
        let how = Preparation { resizing: Resizing::Exact, normalization: plain };
        let two = || picture(2, 1, |_, x| if x == 0 { [1, 2, 3] } else { [4, 5, 6] });
        let close = |got: Vec<f32>, expected: &[f32]| {
            assert!(
                got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-5) && got.len() == expected.len(),
                "{got:?}"
            );
        };
        close(input(two(), &how, &[1, 3, 1, 2]), &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        close(input(two(), &how, &[1, 2, 3]), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        close(input(two(), &how, &[1, 1, 1, 2]), &[1.815, 4.815]);
        let bgr = Preparation { normalization: Normalization { order: ChannelOrder::Bgr, ..plain }, ..how };
        close(input(two(), &bgr, &[1, 2, 3]), &[3.0, 2.0, 1.0, 6.0, 5.0, 4.0]);
        let bytes = TensorType::new(DType::U8, avocet_ir::Shape::new([1, 2, 3]).expect("small"));
        let got =
            prepare(&[two()], &Preparation { resizing: Resizing::Exact, ..Preparation::default() }, &bytes);
        assert_eq!(got.expect("bytes").data(), &TensorData::U8([1, 2, 3, 4, 5, 6].into()));
    }

    #[test]
    fn imagenets_numbers_are_the_default() {
        let got = input(picture(3, 3, |_, _| [255, 0, 128]), &Preparation::default(), &[1, 3, 1, 1]);
        let expected = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, (128.0 / 255.0 - 0.406) / 0.225];
        assert!(got.iter().zip(expected).all(|(g, e)| (g - e).abs() < 1e-5), "{got:?}");
    }

    #[test]
    fn the_centre_is_cropped() {
        // 14 x 28, the shorter side to 8 of 7: 8 x 16, of which columns 4 to 11 (rounded to even) stay.
        let wide = picture(28, 14, |_, x| if (8..20).contains(&x) { [255; 3] } else { [0; 3] });
        let how = Preparation {
            normalization: Normalization { mean: [0.0; 3], std: [1.0; 3], order: ChannelOrder::Rgb },
            ..Preparation::default()
        };
        let got = input(wide.clone(), &how, &[1, 3, 7, 7]);
        assert!(got[1..6].iter().all(|&v| v > 0.99), "{got:?}");
        let small = Preparation { resizing: Resizing::Crop(Some(5)), ..how };
        let ty = TensorType::f32([1, 3, 7, 7]).expect("small");
        let error = prepare(&[wide], &small, &ty).unwrap_err().to_string();
        assert_eq!(error, "a picture of 5x10 after resizing has no centre of 7x7");
    }

    #[test]
    fn shrinking_averages_and_enlarging_interpolates() {
        let how = Preparation {
            resizing: Resizing::Exact,
            normalization: Normalization { mean: [0.0; 3], std: [1.0 / 255.0; 3], order: ChannelOrder::Rgb },
        };
        let checks = picture(64, 64, |y, x| [if (x + y) % 2 == 0 { 255 } else { 0 }; 3]);
        assert!(input(checks, &how, &[1, 1, 4, 4]).iter().all(|v| (v - 127.5).abs() < 3.0));
        let two = picture(2, 1, |_, x| [if x == 0 { 0 } else { 100 }; 3]);
        let got = input(two, &how, &[1, 1, 1, 4]);
        assert!(got.iter().zip([0.0, 25.0, 75.0, 100.0]).all(|(g, e)| (g - e).abs() < 1e-3), "{got:?}");
    }

    #[test]
    fn what_takes_no_pictures_says_so() {
        let one = || picture(1, 1, |_, _| [0; 3]);
        let ty = |dims: &[usize]| TensorType::f32(dims).expect("small");
        let how = Preparation::default();
        for dims in [&[1, 4, 5, 6][..], &[10], &[1, 3, 0, 4]] {
            assert!(
                matches!(prepare(&[one()], &how, &ty(dims)), Err(PrepareError::NoPicture(_))),
                "{dims:?}"
            );
        }
        let batch = prepare(&[one()], &how, &ty(&[2, 3, 4, 4])).unwrap_err();
        assert_eq!(batch.to_string(), "1 pictures for a batch of 2");
    }
}
