//! Convolution and pooling.
//!
//! Both work on images. Sequences (rank 3) are taken as images of one row.

use avocet_ir::DType;
use avocet_ir::Value;
use avocet_ir::op::{Binary, Conv, Layout, Op, Padding, Pool, PoolKind, Unary};

use super::super::attributes::{Attributes, Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::{convolution, unpooling, volumes};

/// Number of spatial dimensions, 1 or 2, of an operator's input.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spatial(usize);

impl Spatial {
    fn of(importer: &Importer, x: Value) -> Result<Self, Problem> {
        match importer.ty(x).shape.rank() {
            rank @ (3 | 4) => Ok(Spatial(rank - 2)),
            rank => unsupported(format!("a tensor of rank {rank}; images have rank 4, sequences 3")),
        }
    }

    /// Images as they are, sequences as images of one row; weights likewise.
    fn image(self, importer: &mut Importer, node: &Node, x: Value) -> Result<Value, Problem> {
        match importer.ty(x).dims() {
            &[n, c, length] if self.0 == 1 => importer.reshape(node, x, &[n, c, 1, length]),
            dims if dims.len() == self.0 + 2 => Ok(x),
            dims => invalid(format!("weights of rank {} for an input of rank {}", dims.len(), self.0 + 2)),
        }
    }

    /// The result as what the input was.
    fn restored(self, importer: &mut Importer, node: &Node, y: Value) -> Result<Value, Problem> {
        match importer.ty(y).dims() {
            &[n, c, 1, length] if self.0 == 1 => importer.reshape(node, y, &[n, c, length]),
            _ => Ok(y),
        }
    }

    /// Sizes of at least 1, rows then columns; `None` if the attribute isn't there.
    fn pair(self, attributes: Attributes, name: &str) -> Result<Option<[usize; 2]>, Problem> {
        match (attributes.ints(name)?, self.0) {
            (None | Some([]), _) => Ok(None),
            (Some(&[rows, columns]), 2) => Ok(Some([size(name, rows, 1)?, size(name, columns, 1)?])),
            (Some(&[columns]), 1) => Ok(Some([1, size(name, columns, 1)?])),
            (Some(other), dims) => invalid(format!("{name} {other:?} for {dims} spatial dimensions")),
        }
    }

    fn pads(self, attributes: Attributes) -> Result<Padding, Problem> {
        let amount = |v: i64| size("padding", v, 0);
        match (attributes.ints("pads")?, self.0) {
            (None | Some([]), _) => Ok(Padding::default()),
            (Some(&[top, left, bottom, right]), 2) => Ok(Padding {
                top: amount(top)?,
                left: amount(left)?,
                bottom: amount(bottom)?,
                right: amount(right)?,
            }),
            (Some(&[left, right]), 1) => {
                Ok(Padding { left: amount(left)?, right: amount(right)?, ..Padding::default() })
            }
            (Some(other), dims) => invalid(format!("pads {other:?} for {dims} spatial dimensions")),
        }
    }
}

/// A window over an image, with the attributes that convolution and pooling share.
struct Window {
    strides: [usize; 2],
    dilations: [usize; 2],
    padding: Padding,
}

impl Window {
    /// `extent` is the size of the image, `window` that of the window.
    fn read(
        spatial: Spatial,
        attributes: Attributes,
        extent: [usize; 2],
        window: [usize; 2],
    ) -> Result<Self, Problem> {
        let strides = spatial.pair(attributes, "strides")?.unwrap_or([1; 2]);
        let dilations = spatial.pair(attributes, "dilations")?.unwrap_or([1; 2]);
        // As many positions as strides begin in the image, with what is missing around it.
        let missing = [0, 1].map(|i| {
            let span = (window[i] - 1).saturating_mul(dilations[i]).saturating_add(1);
            let positions = extent[i].div_ceil(strides[i]).max(1);
            ((positions - 1) * strides[i]).saturating_add(span).saturating_sub(extent[i])
        });
        let padding = match attributes.text("auto_pad", "NOTSET")?.as_str() {
            "" | "NOTSET" => spatial.pads(attributes)?,
            "VALID" => Padding::default(),
            // The odd one goes after for "upper" and before for "lower".
            "SAME_UPPER" => around(missing, missing.map(|total| total / 2)),
            "SAME_LOWER" => around(missing, missing.map(|total| total.div_ceil(2))),
            other => return unsupported(format!("auto_pad '{}'", other.escape_debug())),
        };
        Ok(Window { strides, dilations, padding })
    }
}

fn around(total: [usize; 2], before: [usize; 2]) -> Padding {
    let [top, left] = before;
    Padding { top, left, bottom: total[0] - top, right: total[1] - left }
}

/// The convolution that a node's attributes describe, of an image and weights of rank 4.
fn read_conv(
    importer: &mut Importer,
    node: &Node,
    (x, w): (Value, Value),
) -> Result<(Spatial, Conv, Value, Value), Problem> {
    let spatial = Spatial::of(importer, x)?;
    let (x, w) = (spatial.image(importer, node, x)?, spatial.image(importer, node, w)?);
    let (image, weights) = (importer.ty(x), importer.ty(w));
    let (&[_, _, rows, columns], &[_, _, height, width]) = (image.dims(), weights.dims()) else {
        return invalid(format!("weights {weights} for {image}"));
    };
    let a = node.attributes;
    if spatial.pair(a, "kernel_shape")?.is_some_and(|window| window != [height, width]) {
        return invalid(format!("kernel_shape {:?} with weights {weights}", a.ints("kernel_shape")?));
    }
    if height == 0 || width == 0 {
        return invalid(format!("weights {weights} have a dimension of size zero"));
    }
    let Window { strides, dilations, padding } = Window::read(spatial, a, [rows, columns], [height, width])?;
    let groups = size("group", a.int("group", 1)?, 1)?;
    Ok((spatial, Conv { strides, dilations, padding, groups, layout: Layout::Nchw }, x, w))
}

/// A convolution of images only, with its operands.
pub(super) fn plain_conv(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    w: Value,
) -> Result<(Conv, Value, Value), Problem> {
    match importer.ty(x).shape.rank() {
        4 => read_conv(importer, node, (x, w)).map(|(_, conv, x, w)| (conv, x, w)),
        rank => unsupported(format!("a tensor of rank {rank}; images have rank 4")),
    }
}

/// A bias is an addition of its own.
pub(super) fn conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if importer.ty(node.input(0)?).shape.rank() == 5 {
        return volumes::conv(importer, node);
    }
    let (spatial, conv, x, w) = read_conv(importer, node, (node.input(0)?, node.input(1)?))?;
    let outputs = importer.ty(w).shape[0];
    let y = importer.add(node, Op::Conv(conv), &[x, w])?;
    with_bias(importer, node, spatial, y, outputs)
}

/// The bias, if there is one, and the result's own rank.
fn with_bias(
    importer: &mut Importer,
    node: &Node,
    spatial: Spatial,
    mut y: Value,
    outputs: usize,
) -> Result<Vec<Value>, Problem> {
    if let Some(bias) = node.optional(2) {
        let bias = importer.reshape(node, bias, &[outputs, 1, 1])?;
        y = importer.add(node, Op::Binary(Binary::Add), &[y, bias])?;
    }
    Ok(vec![spatial.restored(importer, node, y)?])
}

/// The convolution whose backward pass this is, from the other side: zeros between the elements, flipped weights. Where the
/// windows of the result don't meet, as in most decoders, there is a shorter way.
pub(super) fn transposed(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if importer.ty(node.input(0)?).shape.rank() == 5 {
        return volumes::transposed(importer, node);
    }
    let spatial = Spatial::of(importer, node.input(0)?)?;
    let x = spatial.image(importer, node, node.input(0)?)?;
    let w = spatial.image(importer, node, node.input(1)?)?;
    let (image, weights) = (importer.ty(x), importer.ty(w));
    let (&[_, channels, rows, columns], &[inputs, per_group, height, width]) = (image.dims(), weights.dims())
    else {
        return invalid(format!("weights {weights} for {image}"));
    };
    let a = node.attributes;
    let groups = size("group", a.int("group", 1)?, 1)?;
    if channels != inputs
        || !inputs.is_multiple_of(groups)
        || height == 0
        || width == 0
        || rows == 0
        || columns == 0
    {
        return invalid(format!("weights {weights} for {image} in {groups} groups"));
    }
    let strides = spatial.pair(a, "strides")?.unwrap_or([1; 2]);
    let dilations = spatial.pair(a, "dilations")?.unwrap_or([1; 2]);
    let wanted = spatial.pair(a, "output_shape")?;
    let further = match (a.ints("output_padding")?, spatial.0) {
        (Some(&[rows, columns]), 2) => {
            [size("output_padding", rows, 0)?, size("output_padding", columns, 0)?]
        }
        (Some(&[columns]), 1) => [0, size("output_padding", columns, 0)?],
        (None | Some([]), _) => [0, 0],
        (Some(other), _) => return invalid(format!("output_padding {other:?}")),
    };
    let auto = a.text("auto_pad", "NOTSET")?;
    let same = matches!(auto.as_str(), "SAME_UPPER" | "SAME_LOWER");
    let given = if same || auto == "VALID" { Padding::default() } else { spatial.pads(a)? };
    let (extents, window) = ([rows, columns], [height, width]);
    let mut pads = [[0i64; 2]; 2];
    for axis in 0..2 {
        let reach = (window[axis] - 1) as i64 * dilations[axis] as i64;
        let given = [[given.top, given.bottom], [given.left, given.right]][axis];
        let mut cut = [given[0] as i64, given[1] as i64];
        let sequence_row = spatial.0 == 1 && axis == 0;
        let wanted = match wanted {
            Some(wanted) => Some(wanted[axis]),
            None if same => extents[axis].checked_mul(strides[axis]),
            None => None,
        };
        if let Some(wanted) = wanted.filter(|_| !sequence_row) {
            let steps = (extents[axis] - 1) as i64 * strides[axis] as i64;
            let total = steps + further[axis] as i64 + reach + 1 - wanted as i64;
            let before = if auto == "SAME_UPPER" { total.div_euclid(2) } else { total - total.div_euclid(2) };
            cut = [before, total - before];
        }
        pads[axis] = [reach - cut[0], reach - cut[1] + further[axis] as i64];
    }
    if window == strides && dilations == [1; 2] && [0, 1].map(|i| [window[i] as i64 - 1; 2]) == pads {
        let y = convolution::apart(importer, node, x, w, groups)?;
        return with_bias(importer, node, spatial, y, per_group * groups);
    }
    let spread = convolution::spread(importer, node, x, strides, pads)?;
    let flipped = convolution::flipped(importer, node, w, groups)?;
    let conv = Conv { strides: [1; 2], dilations, padding: Padding::default(), groups, layout: Layout::Nchw };
    let y = importer.add(node, Op::Conv(conv), &[spread, flipped])?;
    with_bias(importer, node, spatial, y, per_group * groups)
}

/// The p-th root of the sum of p-th powers under a window.
pub(super) fn lp_pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if node.attributes.flag("ceil_mode", false)? {
        return unsupported("ceil_mode");
    }
    let p = node.attributes.int("p", 2)? as f32;
    let sizes = importer.unary(node, Unary::Abs, node.input(0)?)?;
    let powers = importer.with_number(node, Binary::Pow, sizes, p)?;
    let mean = pooled(importer, node, powers, PoolKind::Average { count_padding: true })?;
    let window = node.attributes.ints("kernel_shape")?.unwrap_or_default();
    let count: f32 = window.iter().map(|&extent| extent as f32).product();
    let sum = importer.with_number(node, Binary::Mul, mean, count)?;
    Ok(vec![importer.with_number(node, Binary::Pow, sum, 1.0 / p)?])
}

/// The largest element or the mean under a window; of the largest also the place.
pub(super) fn pool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    if node.operator() != "MaxPool" {
        let kind = PoolKind::Average { count_padding: node.attributes.flag("count_include_pad", false)? };
        return Ok(vec![pooled(importer, node, x, kind)?]);
    }
    if node.proto.output.get(1).is_some_and(|name| !name.is_empty()) {
        return unpooling::pool_with_places(importer, node);
    }
    // Kernels compare f32, in which integers of up to 16 bits are themselves.
    let dtype = importer.ty(x).dtype;
    let x = if dtype.bytes() <= 2 { importer.cast(node, x, DType::F32)? } else { x };
    let y = pooled(importer, node, x, PoolKind::Max)?;
    Ok(vec![importer.cast(node, y, dtype)?])
}

/// The pooling that a node's attributes describe, of images, of sequences as images of one row, and of volumes.
fn pooled(importer: &mut Importer, node: &Node, x: Value, kind: PoolKind) -> Result<Value, Problem> {
    if importer.ty(x).shape.rank() == 5 {
        return volumes::pooled(importer, node, x, kind);
    }
    let spatial = Spatial::of(importer, x)?;
    let x = spatial.image(importer, node, x)?;
    let pool = read_pool(importer, node, (spatial, x), kind)?;
    let y = importer.add(node, Op::Pool(pool), &[x])?;
    spatial.restored(importer, node, y)
}

fn read_pool(
    importer: &Importer,
    node: &Node,
    (spatial, x): (Spatial, Value),
    kind: PoolKind,
) -> Result<Pool, Problem> {
    let image = importer.ty(x);
    let &[_, _, rows, columns] = image.dims() else { return invalid(format!("{image} is not an image")) };
    let a = node.attributes;
    let Some(window) = spatial.pair(a, "kernel_shape")? else { return invalid("kernel_shape is missing") };
    let Window { strides, dilations, padding } = Window::read(spatial, a, [rows, columns], window)?;
    let ceil_mode = a.flag("ceil_mode", false)?;
    Ok(Pool { kind, window, strides, dilations, padding, ceil_mode, layout: Layout::Nchw })
}

/// The pooling of a node whose input is an image or a sequence, as one of an image, and that image.
pub(super) fn pool_of_image(importer: &mut Importer, node: &Node) -> Result<(Pool, Value), Problem> {
    let spatial = Spatial::of(importer, node.input(0)?)?;
    let x = spatial.image(importer, node, node.input(0)?)?;
    Ok((read_pool(importer, node, (spatial, x), PoolKind::Max)?, x))
}
