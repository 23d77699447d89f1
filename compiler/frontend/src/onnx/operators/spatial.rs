//! Operators on images: convolution, pooling, batch normalisation, resizing.

use avocet_ir::Value;
use avocet_ir::op::{
    Binary, Conv, Layout, NearestRounding, Op, Padding, Pool, PoolKind, Resize, ResizeCoordinates, ResizeMode,
};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};

/// Height and width of an image.
fn image(importer: &Importer, x: Value) -> Result<[usize; 2], Problem> {
    match importer.ty(x).dims() {
        &[_, _, height, width] => Ok([height, width]),
        other => unsupported(format!("a tensor of rank {}; images have rank 4", other.len())),
    }
}

/// Padding by `pads` or `auto_pad`.
fn padding(
    node: &Node,
    image: [usize; 2],
    window: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
) -> Result<Padding, Problem> {
    let mode = node.attributes.text("auto_pad", "NOTSET");
    let same = |upper: bool| {
        let total = |i: usize| {
            let span = (window[i] - 1).saturating_mul(dilations[i]).saturating_add(1);
            let positions = image[i].div_ceil(strides[i]).max(1);
            ((positions - 1) * strides[i]).saturating_add(span).saturating_sub(image[i])
        };
        let [rows, columns] = [total(0), total(1)];
        // The odd one goes after for "upper" and before for "lower".
        let before = |total: usize| if upper { total / 2 } else { total.div_ceil(2) };
        let (top, left) = (before(rows), before(columns));
        Padding { top, left, bottom: rows - top, right: columns - left }
    };
    match mode.as_str() {
        "" | "NOTSET" => match node.attributes.ints("pads") {
            None | Some([]) => Ok(Padding::default()),
            Some(&[top, left, bottom, right]) => {
                let amount = |v: i64| size("padding", v, 0);
                Ok(Padding {
                    top: amount(top)?,
                    left: amount(left)?,
                    bottom: amount(bottom)?,
                    right: amount(right)?,
                })
            }
            Some(other) => invalid(format!("pads {other:?} for an image")),
        },
        "VALID" => Ok(Padding::default()),
        "SAME_UPPER" => Ok(same(true)),
        "SAME_LOWER" => Ok(same(false)),
        other => unsupported(format!("auto_pad '{other}'")),
    }
}

/// A bias is an addition of its own. One-dimensional convolution is that of images of one row.
pub(super) fn conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let image = image(importer, x)?;
    let weights = importer.ty(w);
    let &[outputs, _, height, width] = weights.dims() else {
        return invalid(format!("weights {weights} for an image"));
    };
    let window = node.attributes.pair("kernel_shape", 0, 1)?;
    if node.attributes.ints("kernel_shape").is_some_and(|k| !k.is_empty()) && window != [height, width] {
        return invalid(format!("kernel_shape {window:?} with weights {weights}"));
    }
    if height == 0 || width == 0 {
        return invalid(format!("weights {weights} have a dimension of size zero"));
    }
    let strides = node.attributes.pair("strides", 1, 1)?;
    let dilations = node.attributes.pair("dilations", 1, 1)?;
    let padding = padding(node, image, [height, width], strides, dilations)?;
    let groups = size("group", node.attributes.int("group", 1), 1)?;
    let op = Op::Conv(Conv { strides, dilations, padding, groups, layout: Layout::Nchw });
    let mut y = importer.add(node, op, &[x, w])?;
    if let Some(bias) = node.optional(2) {
        let bias = importer.reshape(node, bias, &[outputs, 1, 1])?;
        y = importer.add(node, Op::Binary(Binary::Add), &[y, bias])?;
    }
    Ok(vec![y])
}

pub(super) fn pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let image = image(importer, x)?;
    let a = node.attributes;
    let window = a.pair("kernel_shape", 0, 1)?;
    if window == [0, 0] {
        return invalid("kernel_shape is missing");
    }
    if node.proto.output.len() > 1 && !node.proto.output[1].is_empty() {
        return unsupported("the positions of largest elements");
    }
    let (strides, dilations) = (a.pair("strides", 1, 1)?, a.pair("dilations", 1, 1)?);
    let count_padding = a.int("count_include_pad", 0) != 0;
    let kind = match node.proto.op_type.as_str() {
        "MaxPool" => PoolKind::Max,
        _ => PoolKind::Average { count_padding },
    };
    let padding = padding(node, image, window, strides, dilations)?;
    let ceil_mode = a.int("ceil_mode", 0) != 0;
    let op = Op::Pool(Pool { kind, window, strides, dilations, padding, ceil_mode, layout: Layout::Nchw });
    Ok(vec![importer.add(node, op, &[x])?])
}

/// In inference; what training would return besides is left out.
pub(super) fn batch_norm(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if node.attributes.int("training_mode", 0) != 0 {
        return unsupported("training");
    }
    if node.attributes.int("spatial", 1) == 0 {
        return unsupported("statistics for each element");
    }
    let inputs = (0..5).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    let op = Op::BatchNorm { epsilon: node.attributes.float("epsilon", 1e-5), axis: 1 };
    Ok(vec![importer.add(node, op, &inputs)?])
}

/// Resize since version 10, Upsample before: scales or sizes of the two spatial dimensions.
pub(super) fn resize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let image = image(importer, x)?;
    let a = node.attributes;
    // Before version 11 the scales come second, without a region of interest.
    let old = importer.opset < 11;
    let (scales_at, sizes_at) = if old { (1, usize::MAX) } else { (2, 3) };
    let scales = match (a.floats("scales"), node.optional(scales_at)) {
        (Some(scales), _) => scales.to_vec(),
        (None, Some(value)) => importer.floats(value, "scales")?,
        (None, None) => Vec::new(),
    };
    if a.ints("axes").is_some() || a.text("keep_aspect_ratio_policy", "stretch") != "stretch" {
        return unsupported("axes or an aspect ratio");
    }
    let (size, scales) = match (&scales[..], node.optional(sizes_at)) {
        (&[n, c, rows, columns], _) => {
            if n != 1.0 || c != 1.0 {
                return unsupported("scaling of batch or channels");
            }
            let scale = [rows, columns];
            let scaled = |i: usize| (image[i] as f64 * f64::from(scale[i])).floor();
            if !scaled(0).is_finite() || !scaled(1).is_finite() || scaled(0) < 0.0 || scaled(1) < 0.0 {
                return invalid(format!("scales {scale:?}"));
            }
            ([scaled(0) as usize, scaled(1) as usize], scale)
        }
        ([], Some(value)) => {
            let sizes = importer.integers(value, "sizes")?;
            let &[n, c, rows, columns] = &sizes[..] else { return invalid(format!("sizes {sizes:?}")) };
            let dims = importer.ty(x);
            if [n, c] != [dims.shape[0] as i64, dims.shape[1] as i64] {
                return unsupported("resizing of batch or channels");
            }
            let one_size = |v: i64| super::super::attributes::size("a size", v, 1);
            let to = [one_size(rows)?, one_size(columns)?];
            (to, [0, 1].map(|i| to[i] as f32 / image[i].max(1) as f32))
        }
        _ => return invalid("scales or sizes of four dimensions are missing"),
    };
    let default = if old { "asymmetric" } else { "half_pixel" };
    let coordinates = match a.text("coordinate_transformation_mode", default).as_str() {
        "half_pixel" => ResizeCoordinates::HalfPixel,
        "pytorch_half_pixel" => ResizeCoordinates::PytorchHalfPixel,
        "align_corners" => ResizeCoordinates::AlignCorners,
        "asymmetric" => ResizeCoordinates::Asymmetric,
        other => return unsupported(format!("coordinates '{other}'")),
    };
    let mode = match a.text("mode", "nearest").as_str() {
        "nearest" => {
            let default = if old { "floor" } else { "round_prefer_floor" };
            ResizeMode::Nearest(match a.text("nearest_mode", default).as_str() {
                "round_prefer_floor" => NearestRounding::RoundPreferFloor,
                "round_prefer_ceil" => NearestRounding::RoundPreferCeil,
                "floor" => NearestRounding::Floor,
                "ceil" => NearestRounding::Ceil,
                other => return unsupported(format!("rounding '{other}'")),
            })
        }
        "linear" | "bilinear" => ResizeMode::Linear,
        other => return unsupported(format!("mode '{other}'")),
    };
    let op = Op::Resize(Resize { mode, coordinates, size, scales, layout: Layout::Nchw });
    Ok(vec![importer.add(node, op, &[x])?])
}
