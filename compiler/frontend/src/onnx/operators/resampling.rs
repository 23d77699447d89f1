//! Resizing in the ways that have no kernel of their own: cubic, antialiased, of a region, of any number of dimensions.
//!
//! Axis by axis: an element of the result is a sum of elements along the axis, each times a share, and which and how much is known
//! from the sizes. So each tap of all results is a gather along the axis, times a row of shares.

use avocet_ir::Value;
use avocet_ir::op::{Binary, NearestRounding, Op, ResizeCoordinates, sampling};
use avocet_ir::tensor::{DType, Tensor};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};
use super::resize;

/// Most elements that one of the result is made of, along an axis.
const MOST_TAPS: usize = 64;

/// How one axis is resized.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    pub(super) axis: usize,
    pub(super) size: usize,
    pub(super) scale: f64,
    /// The part of the axis that is taken, from 0 to 1.
    pub(super) region: (f64, f64),
}

/// What the attributes say for all axes.
struct Sampling {
    coordinates: String,
    mode: Mode,
    antialias: bool,
    exclude_outside: bool,
    /// What is taken for a coordinate outside of the tensor, in the mode that has such.
    extrapolation: f32,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest(NearestRounding),
    Linear,
    Cubic(f64),
}

impl Sampling {
    fn read(node: &Node) -> Result<Self, Problem> {
        let a = node.attributes;
        let mode = match a.text("mode", "nearest")?.as_str() {
            "nearest" => Mode::Nearest(resize::rounding(node)?),
            "linear" => Mode::Linear,
            "cubic" => Mode::Cubic(f64::from(a.float("cubic_coeff_a", -0.75)?)),
            other => return unsupported(format!("mode '{}'", other.escape_debug())),
        };
        let antialias = a.flag("antialias", false)?;
        if antialias && matches!(mode, Mode::Nearest(_)) {
            return unsupported("antialiasing of nearest elements");
        }
        Ok(Sampling {
            coordinates: a.text("coordinate_transformation_mode", "half_pixel")?,
            mode,
            antialias,
            exclude_outside: a.flag("exclude_outside", false)?,
            extrapolation: a.float("extrapolation_value", 0.0)?,
        })
    }

    /// The coordinate that an element of the result samples; `None` where it lies outside and another value is taken.
    fn source(&self, along: Along, extent: usize, at: usize) -> Result<Option<f64>, Problem> {
        let known = match self.coordinates.as_str() {
            "half_pixel" => ResizeCoordinates::HalfPixel,
            "pytorch_half_pixel" => ResizeCoordinates::PytorchHalfPixel,
            "asymmetric" => ResizeCoordinates::Asymmetric,
            "align_corners" => ResizeCoordinates::AlignCorners,
            "half_pixel_symmetric" => {
                let (size, scale, extent) = (along.size as f64, along.scale, extent as f64);
                let start = extent / 2.0 * (1.0 - size / (scale * extent));
                return Ok(Some(start + (at as f64 + 0.5) / scale - 0.5));
            }
            "tf_crop_and_resize" => {
                let ((start, end), last) = (along.region, extent as f64 - 1.0);
                let share = if along.size > 1 { at as f64 / (along.size as f64 - 1.0) } else { 0.5 };
                let at = start * last + share * (end - start) * last;
                // None for NaN as well.
                return Ok((0.0..=last).contains(&at).then_some(at));
            }
            other => return unsupported(format!("coordinates '{}'", other.escape_debug())),
        };
        Ok(Some(sampling::source(known, at, extent, along.size, along.scale as f32).into()))
    }

    /// The first element around a coordinate, which may be outside, and the shares of it and those that follow.
    fn taps(&self, at: f64, scale: f64, extent: usize) -> (f64, Vec<f64>) {
        let below = at.floor();
        let rest = at - below;
        // Antialiasing widens the window when the tensor shrinks.
        let scale = if self.antialias { scale.min(1.0) } else { 1.0 };
        let cubic = |x: f64, a: f64| match x.abs() {
            x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            _ => 0.0,
        };
        let (reach, share): (f64, Box<dyn Fn(f64) -> f64>) = match self.mode {
            Mode::Nearest(rounding) => {
                return (sampling::nearest(rounding, at as f32, extent - 1) as f64, vec![1.0]);
            }
            Mode::Linear => (1.0, Box::new(|x: f64| (1.0 - x.abs()).max(0.0))),
            Mode::Cubic(a) => (2.0, Box::new(move |x| cubic(x, a))),
        };
        let first = (-reach / scale).floor() + 1.0;
        // A scale near 0 asks for more than is ever done; the caller refuses what is longer than it allows.
        let count = (2.0 - 2.0 * first).min(MOST_TAPS as f64 + 1.0) as usize;
        let mut shares: Vec<f64> = (0..count).map(|i| share((first + i as f64 - rest) * scale)).collect();
        if self.antialias {
            let sum: f64 = shares.iter().sum();
            shares.iter_mut().for_each(|share| *share /= sum);
        }
        (below + first, shares)
    }
}

/// Resizes the axes one after the other.
pub(super) fn resample(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    axes: &[Along],
) -> Result<Vec<Value>, Problem> {
    let how = Sampling::read(node)?;
    let dtype = importer.ty(x).dtype;
    let by_shares = !matches!(how.mode, Mode::Nearest(_));
    if by_shares && dtype != DType::F32 {
        return unsupported(format!("sums of elements of {dtype}"));
    }
    let mut y = x;
    for &along in axes {
        let same = along.size == importer.ty(y).shape[along.axis] && (along.scale - 1.0).abs() < 1e-9;
        if !same || along.region != (0.0, 1.0) {
            y = axis(importer, node, y, (&how, along))?;
        }
    }
    Ok(vec![y])
}

fn axis(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    (how, along): (&Sampling, Along),
) -> Result<Value, Problem> {
    let ty = importer.ty(x);
    let extent = ty.shape[along.axis];
    if extent == 0 || along.size == 0 {
        return invalid(format!("resizing {ty} to {} along axis {}", along.size, along.axis));
    }
    importer.afford(along.size.saturating_mul(MOST_TAPS * 12))?;
    let mut rows = Vec::with_capacity(along.size);
    let mut longest = 1;
    for at in 0..along.size {
        let row = how.source(along, extent, at)?.map(|source| how.taps(source, along.scale, extent));
        longest = longest.max(row.as_ref().map_or(0, |(_, shares)| shares.len()));
        rows.push(row);
    }
    if longest > MOST_TAPS {
        return unsupported(format!("sums of more than {MOST_TAPS} elements along an axis"));
    }
    let outside = |place: f64| place < 0.0 || place > extent as f64 - 1.0;
    if how.exclude_outside {
        for (first, shares) in rows.iter_mut().flatten() {
            let place = |i: usize| *first + i as f64;
            shares
                .iter_mut()
                .enumerate()
                .filter(|(i, _)| outside(place(*i)))
                .for_each(|(_, share)| *share = 0.0);
            let sum: f64 = shares.iter().sum();
            let sum = if sum == 0.0 { 1.0 } else { sum };
            shares.iter_mut().for_each(|share| *share /= sum);
        }
    }
    let mut broadcast = vec![1; ty.shape.rank()];
    broadcast[along.axis] = along.size;
    let mut terms = Vec::new();
    for tap in 0..longest {
        // The conversion saturates, so that what is below the first element is that.
        let place = |row: &Option<(f64, Vec<f64>)>| {
            row.as_ref().map_or(0, |(first, _)| ((first + tap as f64) as usize).min(extent - 1)) as i64
        };
        let places: Vec<i64> = rows.iter().map(place).collect();
        let places = importer.constant(node, Tensor::i64([along.size], places)?);
        let term = importer.add(node, Op::Gather { axis: along.axis }, &[x, places])?;
        if matches!(how.mode, Mode::Nearest(_)) {
            terms.push(term);
            continue;
        }
        let share = |row: &Option<(f64, Vec<f64>)>| {
            row.as_ref().and_then(|(_, shares)| shares.get(tap).copied()).unwrap_or(0.0) as f32
        };
        let shares =
            importer.constant(node, Tensor::f32(&broadcast[..], rows.iter().map(share).collect::<Vec<_>>())?);
        terms.push(importer.binary(node, Binary::Mul, term, shares)?);
    }
    let y = importer.sum(node, &terms)?;
    if rows.iter().all(Option::is_some) {
        return Ok(y);
    }
    let inside = importer.table(node, &broadcast, |at| i64::from(rows[at[along.axis]].is_some()))?;
    let inside = importer.cast(node, inside, DType::Bool)?;
    let other = importer.number(node, ty.dtype, how.extrapolation)?;
    importer.choose(node, inside, y, other)
}
