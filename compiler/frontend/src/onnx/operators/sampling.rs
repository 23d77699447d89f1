//! Elements at computed places of images and volumes: GridSample, RoiAlign, DeformConv, and AffineGrid, which makes places.
//!
//! A coordinate is between elements of an axis; each of its taps is an element and its share. What is at a point is the sum, over
//! all combinations of taps, of elements times shares. Elements of one place, of all channels, are a row, so that each
//! combination is a gather of rows.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Comparison, Op, ReduceKind, Unary};
use avocet_ir::tensor::{DType, Shape};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};

/// An element that a coordinate takes, by its number along the axis, and its share.
#[derive(Clone, Copy)]
struct Tap {
    place: Value,
    share: Option<Value>,
}

/// What is taken for elements outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outside {
    Zeros,
    Border,
    /// Mirrored at the first and last element, or at the outer edges of both.
    Reflection {
        at_elements: bool,
    },
}

/// The coordinate mirrored between two borders as often as is needed to lie between them.
fn reflected(
    importer: &mut Importer,
    node: &Node,
    at: Value,
    (extent, at_elements): (usize, bool),
) -> Result<Value, Problem> {
    let (low, high) = if at_elements { (0.0, extent as f32 - 1.0) } else { (-0.5, extent as f32 - 0.5) };
    if high <= low {
        return importer.with_number(node, Binary::Mul, at, 0.0);
    }
    // A triangle wave: how far within a period of twice the length, and back in its second half.
    let length = high - low;
    let from_low = importer.with_number(node, Binary::Sub, at, low)?;
    let periods = importer.with_number(node, Binary::Div, from_low, 2.0 * length)?;
    let periods = importer.unary(node, Unary::Floor, periods)?;
    let whole = importer.with_number(node, Binary::Mul, periods, 2.0 * length)?;
    let rest = importer.binary(node, Binary::Sub, from_low, whole)?;
    let from_middle = importer.with_number(node, Binary::Sub, rest, length)?;
    let from_middle = importer.unary(node, Unary::Abs, from_middle)?;
    let limit = importer.number(node, DType::F32, high)?;
    importer.binary(node, Binary::Sub, limit, from_middle)
}

/// The tap at a whole coordinate.
fn tap(
    importer: &mut Importer,
    node: &Node,
    (at, share): (Value, Option<Value>),
    extent: usize,
    outside: Outside,
) -> Result<Tap, Problem> {
    let mut share = share;
    let at = match outside {
        Outside::Zeros => {
            let zero = importer.number(node, DType::F32, 0.0)?;
            let end = importer.number(node, DType::F32, extent as f32)?;
            let above = importer.compare(node, Comparison::LessEqual, zero, at)?;
            let below = importer.compare(node, Comparison::Less, at, end)?;
            let inside = importer.binary(node, Binary::And, above, below)?;
            let one = importer.number(node, DType::F32, 1.0)?;
            share = Some(importer.choose(node, inside, share.unwrap_or(one), zero)?);
            at
        }
        Outside::Border => at,
        Outside::Reflection { at_elements } => reflected(importer, node, at, (extent, at_elements))?,
    };
    Ok(Tap { place: importer.within(node, at, extent)?, share })
}

/// A coordinate as the whole one below it and what is left.
fn split(importer: &mut Importer, node: &Node, at: Value) -> Result<(Value, Value), Problem> {
    let below = importer.unary(node, Unary::Floor, at)?;
    Ok((below, importer.binary(node, Binary::Sub, at, below)?))
}

/// The two elements around a coordinate.
fn linear(
    importer: &mut Importer,
    node: &Node,
    at: Value,
    extent: usize,
    outside: Outside,
) -> Result<Vec<Tap>, Problem> {
    let (below, rest) = split(importer, node, at)?;
    let above = importer.with_number(node, Binary::Add, below, 1.0)?;
    let one = importer.number(node, DType::F32, 1.0)?;
    let first = importer.binary(node, Binary::Sub, one, rest)?;
    Ok(vec![
        tap(importer, node, (below, Some(first)), extent, outside)?,
        tap(importer, node, (above, Some(rest)), extent, outside)?,
    ])
}

/// The four elements around a coordinate, with the shares of cubic convolution (Keys 1981, a = -0.75).
fn cubic(
    importer: &mut Importer,
    node: &Node,
    at: Value,
    extent: usize,
    outside: Outside,
) -> Result<Vec<Tap>, Problem> {
    const A: f32 = -0.75;
    let (below, rest) = split(importer, node, at)?;
    let one = importer.number(node, DType::F32, 1.0)?;
    let other = importer.binary(node, Binary::Sub, one, rest)?;
    // Polynomials in the distance from the element, by Horner's rule.
    let polynomial = |importer: &mut Importer, x: Value, factors: [f32; 4]| -> Result<Value, Problem> {
        let mut y = importer.with_number(node, Binary::Mul, x, factors[0])?;
        for &factor in &factors[1..3] {
            y = importer.with_number(node, Binary::Add, y, factor)?;
            y = importer.binary(node, Binary::Mul, y, x)?;
        }
        importer.with_number(node, Binary::Add, y, factors[3])
    };
    let (near, far) = ([A + 2.0, -A - 3.0, 0.0, 1.0], [A, -5.0 * A, 8.0 * A, -4.0 * A]);
    let further = importer.with_number(node, Binary::Add, rest, 1.0)?;
    let last = importer.with_number(node, Binary::Add, other, 1.0)?;
    let shares = [(further, far), (rest, near), (other, near), (last, far)];
    let mut taps = Vec::new();
    for (i, (distance, factors)) in shares.into_iter().enumerate() {
        let share = polynomial(importer, distance, factors)?;
        let place = importer.with_number(node, Binary::Add, below, i as f32 - 1.0)?;
        taps.push(tap(importer, node, (place, Some(share)), extent, outside)?);
    }
    Ok(taps)
}

/// Images or volumes as rows of what is in one place.
struct Rows {
    /// `[batch * places, channels]`.
    rows: Value,
    /// Extents of the places.
    shape: Shape,
}

impl Rows {
    fn new(importer: &mut Importer, node: &Node, x: Value) -> Result<Self, Problem> {
        let ty = importer.ty(x);
        let Some((&[batch, channels], spatial)) = ty.dims().split_first_chunk() else {
            return invalid(format!("{ty} is not of images"));
        };
        let shape = Shape::new(spatial)?;
        // Each dimension multiplies the combinations of taps.
        if shape.elements() == 0 || ty.dtype != DType::F32 || shape.rank() > 3 {
            return unsupported(format!("sampling of {ty}"));
        }
        let flat = importer.reshape(node, x, &[batch, channels, shape.elements()])?;
        let rows = importer.transposed(node, flat, &[0, 2, 1])?;
        let rows = importer.reshape(node, rows, &[batch * shape.elements(), channels])?;
        Ok(Rows { rows, shape })
    }

    /// For each combination of taps the rows times their share; `first` is the number of an image's first row.
    fn terms(
        &self,
        importer: &mut Importer,
        node: &Node,
        first: Value,
        taps: &[Vec<Tap>],
    ) -> Result<Vec<Value>, Problem> {
        let strides = self.shape.strides();
        let mut combinations = vec![(first, None)];
        for (taps, &stride) in taps.iter().zip(&strides) {
            let mut next = Vec::new();
            for &(number, share) in &combinations {
                for tap in taps {
                    let step = importer.with_integer(node, Binary::Mul, tap.place, stride)?;
                    let number = importer.binary(node, Binary::Add, number, step)?;
                    let share = match (share, tap.share) {
                        (Some(a), Some(b)) => Some(importer.binary(node, Binary::Mul, a, b)?),
                        (a, b) => a.or(b),
                    };
                    next.push((number, share));
                }
            }
            combinations = next;
        }
        let mut terms = Vec::new();
        for (numbers, share) in combinations {
            let rows = importer.add(node, Op::Gather { axis: 0 }, &[self.rows, numbers])?;
            terms.push(match share {
                Some(share) => {
                    let mut dims = importer.ty(share).dims().to_vec();
                    dims.push(1);
                    let share = importer.reshape(node, share, &dims)?;
                    importer.binary(node, Binary::Mul, rows, share)?
                }
                None => rows,
            });
        }
        Ok(terms)
    }
}

/// GridSample: the image at coordinates from -1 to 1, the last axis' first.
pub(super) fn grid_sample(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, grid) = (node.input(0)?, node.input(1)?);
    let (ty, places) = (importer.ty(x), importer.ty(grid));
    let spatial = ty.shape.rank().saturating_sub(2);
    let fits = spatial > 0 && places.shape.rank() == ty.shape.rank();
    if !fits || places.shape[spatial + 1] != spatial || places.shape[0] != ty.shape[0] {
        return invalid(format!("a grid {places} for {ty}"));
    }
    let aligned = node.attributes.flag("align_corners", false)?;
    let outside = match node.attributes.text("padding_mode", "zeros")?.as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection { at_elements: aligned },
        other => return unsupported(format!("padding '{}'", other.escape_debug())),
    };
    let mode = node.attributes.text("mode", "linear")?;
    let rows = Rows::new(importer, node, x)?;
    let (batch, channels) = (ty.shape[0], ty.shape[1]);
    let to = &places.dims()[1..=spatial];
    let points = Shape::new(to)?.elements();
    let mut taps = Vec::new();
    for axis in 0..spatial {
        let extent = ty.shape[axis + 2];
        let at = importer.one(node, grid, spatial + 1, spatial - 1 - axis)?;
        let mut at = importer.reshape(node, at, &[batch, points])?;
        at = importer.with_number(node, Binary::Add, at, 1.0)?;
        if aligned {
            at = importer.with_number(node, Binary::Mul, at, (extent as f32 - 1.0) / 2.0)?;
        } else {
            at = importer.with_number(node, Binary::Mul, at, extent as f32)?;
            at = importer.with_number(node, Binary::Sub, at, 1.0)?;
            at = importer.with_number(node, Binary::Mul, at, 0.5)?;
        }
        if mode == "nearest" {
            at = importer.unary(node, Unary::Round, at)?;
        }
        // A coordinate beyond the border moves before its elements do; in cubic mode only they move, as in ONNX Runtime.
        let (low, high) = if aligned { (0.0, extent as f32 - 1.0) } else { (-0.5, extent as f32 - 0.5) };
        let moved = match outside {
            Outside::Zeros => at,
            Outside::Border => {
                let inner = Unary::Clip { low: 0.0, high: extent as f32 - 1.0 };
                importer.unary(node, inner, at)?
            }
            Outside::Reflection { at_elements } => reflected(importer, node, at, (extent, at_elements))?,
        };
        if outside != Outside::Zeros && !matches!(mode.as_str(), "cubic" | "bicubic") {
            let (low, high) =
                (importer.number(node, DType::F32, low)?, importer.number(node, DType::F32, high)?);
            let below = importer.compare(node, Comparison::Less, at, low)?;
            let above = importer.compare(node, Comparison::Less, high, at)?;
            let beyond = importer.binary(node, Binary::Or, below, above)?;
            at = importer.choose(node, beyond, moved, at)?;
        }
        taps.push(match mode.as_str() {
            "nearest" => vec![tap(importer, node, (at, None), extent, outside)?],
            "linear" | "bilinear" => linear(importer, node, at, extent, outside)?,
            "cubic" | "bicubic" => cubic(importer, node, at, extent, outside)?,
            other => return unsupported(format!("mode '{}'", other.escape_debug())),
        });
    }
    let each = rows.shape.elements();
    let first = importer.table(node, &[batch, 1], |at| (at[0] * each) as i64)?;
    let terms = rows.terms(importer, node, first, &taps)?;
    let sum = importer.sum(node, &terms)?;
    let y = importer.transposed(node, sum, &[0, 2, 1])?;
    Ok(vec![importer.reshape(node, y, &[&[batch, channels], to].concat())?])
}

/// AffineGrid: the coordinates of a regular grid, times a matrix for each image.
pub(super) fn affine_grid(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let theta = node.input(0)?;
    let sizes = importer.integers(node.input(1)?, "a size")?;
    let sizes = sizes.iter().map(|&v| size("a size", v, 1)).collect::<Result<Vec<_>, _>>()?;
    let ty = importer.ty(theta);
    let Some((&[batch, _], spatial)) = sizes.split_first_chunk() else {
        return invalid(format!("a grid of size {sizes:?}"));
    };
    let rank = spatial.len();
    if ty.dims() != [batch, rank, rank + 1] {
        return invalid(format!("matrices {ty} for a grid of {sizes:?}"));
    }
    let aligned = node.attributes.flag("align_corners", false)?;
    let shape = Shape::new(spatial)?;
    let (points, strides) = (shape.elements(), shape.strides());
    importer.afford(points.saturating_mul((rank + 1) * 4))?;
    let mut grid = Vec::with_capacity(points * (rank + 1));
    // The last axis' coordinate first, and a 1 for the matrix' last column.
    for row in 0..=rank {
        for point in 0..points {
            let Some(axis) = rank.checked_sub(row + 1) else {
                grid.push(1.0);
                continue;
            };
            let (at, extent) = ((point / strides[axis] % shape[axis]) as f64, shape[axis] as f64);
            let at = match aligned {
                true if extent > 1.0 => 2.0 * at / (extent - 1.0) - 1.0,
                true => -1.0,
                false => (2.0 * at + 1.0) / extent - 1.0,
            };
            grid.push(at as f32);
        }
    }
    let grid = importer.floats_of(node, &[rank + 1, points], grid)?;
    let moved = importer.product(node, theta, grid)?;
    let moved = importer.transposed(node, moved, &[0, 2, 1])?;
    Ok(vec![importer.reshape(node, moved, &[&[batch], spatial, &[rank]].concat())?])
}

/// RoiAlign: regions of images, each as a grid of means or largest elements of samples.
pub(super) fn roi_align(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, regions, images) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (ty, given) = (importer.ty(x), importer.ty(regions));
    let (&[_, channels, height, width], &[count, 4]) = (ty.dims(), given.dims()) else {
        return invalid(format!("regions {given} of {ty}"));
    };
    let a = node.attributes;
    let old = importer.opset < 16;
    let half = match a.text("coordinate_transformation_mode", "half_pixel")?.as_str() {
        _ if old => false,
        "half_pixel" => true,
        "output_half_pixel" => false,
        other => return unsupported(format!("coordinates '{}'", other.escape_debug())),
    };
    let samples = size("sampling_ratio", a.int("sampling_ratio", 0)?, 0)?;
    if samples == 0 {
        return unsupported("as many samples as the computed size of a region asks for");
    }
    let to = [
        size("output_height", a.int("output_height", 1)?, 1)?,
        size("output_width", a.int("output_width", 1)?, 1)?,
    ];
    let scale = a.float("spatial_scale", 1.0)?;
    let rows = Rows::new(importer, node, x)?;
    let (mut taps, mut inside) = (Vec::new(), Vec::new());
    for (axis, extent) in [height, width].into_iter().enumerate() {
        let edge = |importer: &mut Importer, column: usize| -> Result<Value, Problem> {
            let edge = importer.one(node, regions, 1, column)?;
            let edge = importer.with_number(node, Binary::Mul, edge, scale)?;
            importer.with_number(node, Binary::Sub, edge, if half { 0.5 } else { 0.0 })
        };
        let (start, end) = (edge(importer, 1 - axis)?, edge(importer, 3 - axis)?);
        let mut length = importer.binary(node, Binary::Sub, end, start)?;
        if !half {
            length = importer.with_number(node, Binary::Max, length, 1.0)?;
        }
        let bin = importer.with_number(node, Binary::Div, length, to[axis] as f32)?;
        let places = to[axis].saturating_mul(samples);
        importer.afford(places.saturating_mul(4))?;
        let steps = (0..places).map(|i| (i as f32 + 0.5) / samples as f32).collect();
        let steps = importer.floats_of(node, &[1, places], steps)?;
        let steps = importer.binary(node, Binary::Mul, steps, bin)?;
        let at = importer.binary(node, Binary::Add, start, steps)?;
        // Samples up to an element outside count as on the edge, others as zero.
        let (low, high) =
            (importer.number(node, DType::F32, -1.0)?, importer.number(node, DType::F32, extent as f32)?);
        let above = importer.compare(node, Comparison::LessEqual, low, at)?;
        let below = importer.compare(node, Comparison::LessEqual, at, high)?;
        let kept = importer.binary(node, Binary::And, above, below)?;
        let limits = Unary::Clip { low: 0.0, high: extent as f32 - 1.0 };
        let at = importer.unary(node, limits, at)?;
        // Rows and columns broadcast against each other.
        let dims = if axis == 0 { [count, to[0] * samples, 1] } else { [count, 1, to[1] * samples] };
        let at = importer.reshape(node, at, &dims)?;
        taps.push(linear(importer, node, at, extent, Outside::Border)?);
        inside.push(importer.reshape(node, kept, &dims)?);
    }
    let first = importer.cast(node, images, DType::I64)?;
    let first = importer.with_integer(node, Binary::Mul, first, height * width)?;
    let first = importer.reshape(node, first, &[count, 1, 1])?;
    let terms = rows.terms(importer, node, first, &taps)?;
    let largest = match a.text("mode", "avg")?.as_str() {
        "avg" => false,
        "max" => true,
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    // The largest is that of the elements times their shares, as ONNX Runtime has it.
    let join = if largest { Binary::Max } else { Binary::Add };
    let mut sample = terms[0];
    for &term in &terms[1..] {
        sample = importer.binary(node, join, sample, term)?;
    }
    let kept = importer.binary(node, Binary::And, inside[0], inside[1])?;
    let kept = importer.reshape(node, kept, &[count, to[0] * samples, to[1] * samples, 1])?;
    let zero = importer.number(node, DType::F32, 0.0)?;
    let sample = importer.choose(node, kept, sample, zero)?;
    let sample = importer.reshape(node, sample, &[count, to[0], samples, to[1], samples, channels])?;
    let kind = if largest { ReduceKind::Max } else { ReduceKind::Mean };
    let y = importer.reduced(node, kind, sample, &[2, 4])?;
    let y = importer.reshape(node, y, &[count, to[0], to[1], channels])?;
    Ok(vec![importer.transposed(node, y, &[0, 3, 1, 2])?])
}

/// DeformConv: a convolution whose taps are each moved by a computed distance.
pub(super) fn deformed(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w, offset) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (ty, weights, offsets) = (importer.ty(x), importer.ty(w), importer.ty(offset));
    let a = node.attributes;
    let (
        &[batch, channels, rows, columns],
        &[outputs, per_group, height, width],
        &[_, _, to_rows, to_columns],
    ) = (ty.dims(), weights.dims(), offsets.dims())
    else {
        return unsupported(format!(
            "weights {weights} and distances {offsets} for {ty}; images have rank 4"
        ));
    };
    let pair = |name: &str| -> Result<[usize; 2], Problem> {
        match a.ints(name)? {
            None | Some([]) => Ok([1, 1]),
            Some(&[rows, columns]) => Ok([size(name, rows, 1)?, size(name, columns, 1)?]),
            Some(other) => invalid(format!("{name} {other:?}")),
        }
    };
    let (strides, dilations) = (pair("strides")?, pair("dilations")?);
    let before = match a.ints("pads")? {
        None | Some([]) => [0, 0],
        Some(&[top, left, _, _]) => [size("padding", top, 0)?, size("padding", left, 0)?],
        Some(other) => return invalid(format!("pads {other:?}")),
    };
    let (groups, deformed) =
        (size("group", a.int("group", 1)?, 1)?, size("offset_group", a.int("offset_group", 1)?, 1)?);
    let (taps, points) = (height * width, to_rows * to_columns);
    let fits = channels == per_group * groups
        && channels.is_multiple_of(deformed)
        && outputs.is_multiple_of(groups)
        && offsets.dims()[..2] == [batch, deformed * taps * 2];
    if !fits || taps == 0 || points == 0 {
        return invalid(format!("weights {weights} and distances {offsets} for {ty}"));
    }
    // Each group of channels that moves together is an image of its own.
    let each = channels / deformed;
    let images = importer.reshape(node, x, &[batch * deformed, each, rows, columns])?;
    let images = Rows::new(importer, node, images)?;
    let offset = importer.reshape(node, offset, &[batch * deformed, taps, 2, points])?;
    let mut along = Vec::new();
    for (axis, extent) in [rows, columns].into_iter().enumerate() {
        let moved = importer.one(node, offset, 2, axis)?;
        let moved = importer.reshape(node, moved, &[batch * deformed, taps, points])?;
        let start = importer.table(node, &[1, taps, points], |at| {
            let (tap, point) = match axis {
                0 => (at[1] / width, at[2] / to_columns),
                _ => (at[1] % width, at[2] % to_columns),
            };
            let at = point.saturating_mul(strides[axis]).saturating_add(tap.saturating_mul(dilations[axis]));
            (at as i64).saturating_sub(before[axis] as i64)
        })?;
        let start = importer.cast(node, start, DType::F32)?;
        let at = importer.binary(node, Binary::Add, start, moved)?;
        along.push(linear(importer, node, at, extent, Outside::Zeros)?);
    }
    let first = importer.table(node, &[batch * deformed, 1, 1], |at| (at[0] * rows * columns) as i64)?;
    let terms = images.terms(importer, node, first, &along)?;
    let mut sampled = importer.sum(node, &terms)?;
    if let Some(mask) = node.optional(4) {
        let mask = importer.reshape(node, mask, &[batch * deformed, taps, points, 1])?;
        sampled = importer.binary(node, Binary::Mul, sampled, mask)?;
    }
    let sampled = importer.transposed(node, sampled, &[0, 3, 1, 2])?;
    let sampled = importer.reshape(node, sampled, &[batch, groups, per_group * taps, points])?;
    let weights = importer.reshape(node, w, &[groups, outputs / groups, per_group * taps])?;
    let y = importer.product(node, weights, sampled)?;
    let mut y = importer.reshape(node, y, &[batch, outputs, to_rows, to_columns])?;
    if let Some(bias) = node.optional(3) {
        let bias = importer.reshape(node, bias, &[outputs, 1, 1])?;
        y = importer.binary(node, Binary::Add, y, bias)?;
    }
    Ok(vec![y])
}
