//! Resizing of images.

use avocet_ir::Value;
use avocet_ir::op::{Layout, NearestRounding, Op, Resize, ResizeCoordinates, ResizeMode};
use avocet_ir::tensor::TensorType;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;
use super::resampling::{self, Along};

/// Resize since version 10, Upsample before: scales or sizes. Images that are resized in the usual ways have an operator.
pub(super) fn resize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    if ty.shape.elements() == 0 {
        return unsupported(format!("{ty}, which has no elements"));
    }
    let a = node.attributes;
    let axes = target(importer, node, &ty)?;
    let others = !matches!(a.text("mode", "nearest")?.as_str(), "nearest" | "linear" | "bilinear")
        || matches!(
            a.text("coordinate_transformation_mode", "")?.as_str(),
            "half_pixel_symmetric" | "tf_crop_and_resize"
        )
        || a.flag("antialias", false)?
        || a.flag("exclude_outside", false)?;
    let of_images =
        ty.shape.rank() == 4 && axes[..2].iter().enumerate().all(|(i, axis)| axis.is_kept(ty.shape[i]));
    if others || !of_images {
        return match importer.opset {
            ..11 => unsupported(format!("{ty}; before version 11 only images of rank 4 are resized")),
            _ => resampling::resample(importer, node, x, &axes),
        };
    }
    let (size, scales) = ([axes[2].size, axes[3].size], [axes[2].scale as f32, axes[3].scale as f32]);
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
        "nearest" => ResizeMode::Nearest(rounding(node)?),
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
    };
    let op = Op::Resize(Resize { mode, coordinates, size, scales, layout: Layout::Nchw });
    Ok(vec![importer.add(node, op, &[x])?])
}

/// How the nearest element is chosen.
pub(super) fn rounding(node: &Node) -> Result<NearestRounding, Problem> {
    Ok(match node.attributes.text("nearest_mode", "round_prefer_floor")?.as_str() {
        "round_prefer_floor" => NearestRounding::RoundPreferFloor,
        "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
        "floor" => NearestRounding::Floor,
        "ceil" => NearestRounding::Ceil,
        other => return unsupported(format!("rounding '{}'", other.escape_debug())),
    })
}

/// Before version 11 the specification is silent; ONNX Runtime rounds up along an axis that shrinks, else down.
fn old_rounding(scales: [f32; 2]) -> Result<NearestRounding, Problem> {
    match (scales.iter().any(|&s| s < 1.0), scales.iter().any(|&s| s > 1.0)) {
        (false, _) => Ok(NearestRounding::Floor),
        (true, false) => Ok(NearestRounding::Ceil),
        (true, true) => unsupported("shrinking along one axis only, before operator set 11"),
    }
}

impl Along {
    fn is_kept(&self, extent: usize) -> bool {
        self.size == extent && self.scale == 1.0
    }
}

/// For each axis the size of the result, and the scale that leads there.
fn target(importer: &Importer, node: &Node, ty: &TensorType) -> Result<Vec<Along>, Problem> {
    let rank = ty.shape.rank();
    let mut all: Vec<Along> =
        (0..rank).map(|axis| Along { axis, size: ty.shape[axis], scale: 1.0, region: (0.0, 1.0) }).collect();
    let chosen = match node.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    // Before version 11 the scales come second, without a region of interest.
    let (scales_at, sizes_at) = if importer.opset < 11 { (1, usize::MAX) } else { (2, 3) };
    let scales = match (node.attributes.floats("scales")?, node.optional(scales_at)) {
        (Some(scales), _) => scales.to_vec(),
        (None, Some(value)) => importer.floats(value, "a list of scales")?,
        (None, None) => Vec::new(),
    };
    let wrong = |what: String| invalid(format!("{what} for {} axes", chosen.len()));
    if node.attributes.text("coordinate_transformation_mode", "")? == "tf_crop_and_resize" {
        let region = importer.floats(node.input(1)?, "a region")?;
        if region.len() != chosen.len() * 2 {
            return wrong(format!("a region {region:?}"));
        }
        for (i, &axis) in chosen.iter().enumerate() {
            all[axis].region = (region[i].into(), region[i + chosen.len()].into());
        }
    }
    if !scales.is_empty() {
        if scales.len() != chosen.len() {
            return wrong(format!("scales {scales:?}"));
        }
        for (&axis, &scale) in chosen.iter().zip(&scales) {
            let scaled = (ty.shape[axis] as f64 * f64::from(scale)).floor();
            // Beyond 2^31 no tensor fits any memory; NaN is refused as well.
            if !(1.0..2_147_483_648.0).contains(&scaled) {
                return invalid(format!("scales {scales:?} of {ty}"));
            }
            (all[axis].size, all[axis].scale) = (scaled as usize, scale.into());
        }
        return Ok(all);
    }
    let Some(value) = node.optional(sizes_at) else { return invalid("neither scales nor sizes are given") };
    let sizes = importer.integers(value, "a list of sizes")?;
    if sizes.len() != chosen.len() {
        return wrong(format!("sizes {sizes:?}"));
    }
    for (&axis, &wanted) in chosen.iter().zip(&sizes) {
        all[axis].size = size("a size", wanted, 1)?;
        all[axis].scale = f64::from(all[axis].size as f32 / ty.shape[axis] as f32);
    }
    // One scale for all of the axes, the smallest or the largest, and sizes that follow from it.
    let scales = chosen.iter().map(|&axis| all[axis].size as f64 / ty.shape[axis] as f64);
    let scale = match node.attributes.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
        "stretch" => return Ok(all),
        "not_larger" => scales.fold(f64::INFINITY, f64::min),
        "not_smaller" => scales.fold(0.0, f64::max),
        other => return unsupported(format!("the aspect ratio '{}'", other.escape_debug())),
    };
    for &axis in &chosen {
        all[axis].scale = scale;
        all[axis].size = ((scale * ty.shape[axis] as f64 + 0.5) as usize).max(1);
    }
    Ok(all)
}
