//! Resizing of images.

use avocet_ir::Value;
use avocet_ir::op::{Layout, NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode};
use avocet_ir::tensor::TensorType;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// Resize since version 10, Upsample before: scales or sizes of the two spatial dimensions.
pub(super) fn resize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    if ty.shape.rank() != 4 || ty.shape.elements() == 0 {
        return unsupported(format!("{ty}; only images of rank 4 are resized"));
    }
    let a = node.attributes;
    if a.flag("antialias", false)? {
        return unsupported("antialiasing");
    }
    if a.text("keep_aspect_ratio_policy", "stretch")? != "stretch" {
        return unsupported("keeping the aspect ratio");
    }
    let (size, scales) = target(importer, node, &ty)?;
    // Before version 11 there was one way only.
    let old = importer.opset < 11;
    let default = if old { "asymmetric" } else { "half_pixel" };
    let coordinates = match a.text("coordinate_transformation_mode", default)?.as_str() {
        "half_pixel" => ResizeCoordinates::HalfPixel,
        "pytorch_half_pixel" => ResizeCoordinates::PytorchHalfPixel,
        "align_corners" => ResizeCoordinates::AlignCorners,
        "asymmetric" => ResizeCoordinates::Asymmetric,
        other => return unsupported(format!("coordinates '{}'", other.escape_debug())),
    };
    let mode = match a.text("mode", "nearest")?.as_str() {
        "nearest" if old => ResizeMode::Nearest(old_rounding(scales)?),
        "nearest" => ResizeMode::Nearest(match a.text("nearest_mode", "round_prefer_floor")?.as_str() {
            "round_prefer_floor" => NearestRounding::RoundPreferFloor,
            "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
            "floor" => NearestRounding::Floor,
            "ceil" => NearestRounding::Ceil,
            other => return unsupported(format!("rounding '{}'", other.escape_debug())),
        }),
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    let op = Op::Resize(Resize { mode, coordinates, size, scales, layout: Layout::Nchw });
    Ok(vec![importer.add(node, op, &[x])?])
}

/// Before version 11 the specification is silent; ONNX Runtime rounds up along an axis that shrinks, else down.
fn old_rounding(scales: [f32; 2]) -> Result<NearestRounding, Problem> {
    match (scales.iter().any(|&s| s < 1.0), scales.iter().any(|&s| s > 1.0)) {
        (false, _) => Ok(NearestRounding::Floor),
        (true, false) => Ok(NearestRounding::Ceil),
        (true, true) => unsupported("shrinking along one axis only, before operator set 11"),
    }
}

/// Height and width of the result, and the scales that lead there.
fn target(importer: &Importer, node: &Node, ty: &TensorType) -> Result<([usize; 2], [f32; 2]), Problem> {
    // Before version 11 the scales come second, without a region of interest.
    let (scales_at, sizes_at) = if importer.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = match (node.attributes.floats("scales")?, node.optional(scales_at)) {
        (Some(scales), _) => scales.to_vec(),
        (None, Some(value)) => importer.floats(value, "a list of scales")?,
        (None, None) => Vec::new(),
    };
    let image = [ty.shape[2], ty.shape[3]];
    if !scales.is_empty() {
        let [n, c, rows, columns] = all_axes(node, &scales, [1.0; 4])?;
        if [n, c] != [1.0; 2] {
            return unsupported("scaling of batch or channels");
        }
        let scales = [rows, columns];
        let scaled = [0, 1].map(|i| (image[i] as f64 * f64::from(scales[i])).floor());
        // Beyond 2^31 no image fits any memory; NaN is refused as well.
        if scaled.iter().any(|s| !(1.0..2_147_483_648.0).contains(s)) {
            return invalid(format!("scales {scales:?} of an image of {image:?}"));
        }
        return Ok((scaled.map(|s| s as usize), scales));
    }
    let Some(value) = node.optional(sizes_at) else { return invalid("neither scales nor sizes are given") };
    let dims = [0, 1, 2, 3].map(|axis| ty.shape[axis] as i64);
    let [n, c, rows, columns] = all_axes(node, &importer.integers(value, "a list of sizes")?, dims)?;
    if [n, c] != dims[..2] {
        return unsupported("resizing of batch or channels");
    }
    let to = [size("a size", rows, 1)?, size("a size", columns, 1)?];
    Ok((to, [0, 1].map(|i| to[i] as f32 / image[i] as f32)))
}

/// Numbers for all four axes: those given, which since version 18 may be of some axes only, over what stands for no
/// change.
fn all_axes<T: Copy + std::fmt::Debug>(node: &Node, given: &[T], none: [T; 4]) -> Result<[T; 4], Problem> {
    let mut all = none;
    let axes = match node.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| axis(a, 4)).collect::<Result<Vec<_>, _>>()?,
        None => vec![0, 1, 2, 3],
    };
    if axes.len() != given.len() {
        return invalid(format!("scales or sizes {given:?} for {} axes", axes.len()));
    }
    for (axis, &value) in axes.into_iter().zip(given) {
        all[axis] = value;
    }
    Ok(all)
}
