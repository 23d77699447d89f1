//! Operators that move data.

use avocet_ir::Value;
use avocet_ir::op::{Op, PadMode, SliceAxis};
use avocet_ir::tensor::Shape;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// Identity, and Dropout in inference.
pub(super) fn identity(_: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    Ok(vec![node.input(0)?])
}

/// The dimensions are reversed when no permutation is given.
pub(super) fn transpose(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let perm = match node.attributes.ints("perm") {
        Some(perm) => perm.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![importer.add(node, Op::Transpose { perm }, &[x])?])
}

pub(super) fn concat(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let inputs = (0..node.inputs.len()).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    let axis = axis(node.attributes.int("axis", 1), importer.ty(node.input(0)?).shape.rank())?;
    match inputs[..] {
        [one] => Ok(vec![one]),
        _ => Ok(vec![importer.add(node, Op::Concat { axis }, &inputs)?]),
    }
}

/// All of every dimension.
fn whole(shape: &Shape) -> Vec<SliceAxis> {
    shape.dims().iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect()
}

/// Sizes as an attribute before version 13, as an input since, or by a number of outputs since 18.
pub(super) fn split(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", 0), shape.rank())?;
    let extent = shape[axis];
    let sizes = match (node.attributes.ints("split"), node.optional(1)) {
        (Some(sizes), _) => sizes.to_vec(),
        (None, Some(value)) => importer.integers(value, "sizes of parts")?,
        (None, None) => {
            let count = node.attributes.int("num_outputs", node.proto.output.len() as i64).max(1) as usize;
            let part = extent.div_ceil(count);
            (0..count).map(|i| part.min(extent.saturating_sub(i.saturating_mul(part))) as i64).collect()
        }
    };
    let mut start = 0usize;
    let mut parts = Vec::with_capacity(sizes.len().min(node.proto.output.len()));
    for &part in &sizes {
        let count = size("a part", part, 0)?;
        let Some(end) = start.checked_add(count).filter(|&end| end <= extent) else {
            return invalid(format!("parts {sizes:?} of {extent} elements"));
        };
        let mut axes = whole(&shape);
        axes[axis] = SliceAxis { start, count, step: 1 };
        parts.push(importer.add(node, Op::Slice { axes }, &[x])?);
        start = end;
    }
    if start != extent {
        return invalid(format!("parts {sizes:?} of {extent} elements"));
    }
    Ok(parts)
}

/// Attributes before version 10, inputs since. Ends beyond the tensor are clamped.
pub(super) fn slice(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let numbers = |name: &str, number: usize| match (node.attributes.ints(name), node.optional(number)) {
        (Some(values), _) => Ok(Some(values.to_vec())),
        (None, Some(value)) => importer.integers(value, name).map(Some),
        (None, None) => Ok(None),
    };
    let (Some(starts), Some(ends)) = (numbers("starts", 1)?, numbers("ends", 2)?) else {
        return invalid("starts or ends are missing");
    };
    let given = numbers("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = numbers("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), given.len(), steps.len()] != [starts.len(); 3] {
        return invalid("starts, ends, axes and steps differ in length");
    }
    let mut axes = whole(&shape);
    for (((&start, &end), &number), &step) in starts.iter().zip(&ends).zip(&given).zip(&steps) {
        let number = axis(number, shape.rank())?;
        let extent = shape[number] as i64;
        if step == 0 {
            return invalid("a step of 0");
        }
        let wrap = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
        // Backwards, the first element is at most the last, and the end may be before the first.
        let (low, high) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
        let (start, end) = (wrap(start).clamp(low.max(0), high.max(0)), wrap(end).clamp(low, high.max(low)));
        let distance = if step > 0 { end - start } else { start - end };
        let count = if distance <= 0 || extent == 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
        // The step of a single element does not matter and may be anything.
        let step = if count <= 1 { 1 } else { step as isize };
        axes[number] =
            SliceAxis { start: if count == 0 { 0 } else { start as usize }, count: count as usize, step };
    }
    Ok(vec![importer.add(node, Op::Slice { axes }, &[x])?])
}

/// Attributes before version 11, inputs since; negative amounts cut.
pub(super) fn pad(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let mut x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let rank = shape.rank();
    let given = match (node.attributes.ints("pads"), node.optional(1)) {
        (Some(pads), _) => pads.to_vec(),
        (None, Some(value)) => importer.integers(value, "pads")?,
        (None, None) => return invalid("pads are missing"),
    };
    let mut pads = vec![0i64; rank * 2];
    match node.optional(3) {
        Some(value) => {
            let chosen = importer.integers(value, "axes")?;
            if given.len() != chosen.len() * 2 {
                return invalid(format!("{} pads for {} axes", given.len(), chosen.len()));
            }
            for (i, &number) in chosen.iter().enumerate() {
                let axis = axis(number, rank)?;
                (pads[axis], pads[axis + rank]) = (given[i], given[i + chosen.len()]);
            }
        }
        None if given.len() == pads.len() => pads = given,
        None => return invalid(format!("{} pads for rank {rank}", given.len())),
    }
    let mode = match node.attributes.text("mode", "constant").as_str() {
        "constant" => PadMode::Constant(match node.optional(2) {
            Some(value) => importer.floats(value, "a value")?.first().copied().unwrap_or(0.0),
            None => node.attributes.float("value", 0.0),
        }),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        other => return unsupported(format!("mode '{other}'")),
    };
    if pads.iter().any(|&p| p < 0) {
        let mut axes = whole(&shape);
        for (i, axis) in axes.iter_mut().enumerate() {
            let cut = |p: i64| usize::try_from(p.min(0).unsigned_abs()).unwrap_or(usize::MAX);
            let (before, after) = (cut(pads[i]), cut(pads[i + rank]));
            let left = before.checked_add(after).and_then(|both| axis.count.checked_sub(both));
            let Some(count) = left else { return invalid(format!("pads {pads:?} of {shape}")) };
            (axis.start, axis.count) = (if count == 0 { 0 } else { before }, count);
        }
        x = importer.add(node, Op::Slice { axes }, &[x])?;
    }
    let amount = |p: i64| p.max(0) as usize;
    let amounts: Vec<(usize, usize)> = (0..rank).map(|i| (amount(pads[i]), amount(pads[i + rank]))).collect();
    if amounts.iter().all(|&a| a == (0, 0)) {
        return Ok(vec![x]);
    }
    Ok(vec![importer.add(node, Op::Pad { amounts, mode }, &[x])?])
}

/// Constant indices that are one element, or a run of them; any for constant data.
pub(super) fn gather(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let (shape, index_shape) = (importer.ty(x).shape, importer.ty(indices).shape);
    let axis = axis(node.attributes.int("axis", 0), shape.rank())?;
    let extent = shape[axis] as i64;
    let mut places = Vec::new();
    for index in importer.integers(indices, "indices")? {
        let place = if index < 0 { index.saturating_add(extent) } else { index };
        if !(0..extent).contains(&place) {
            return invalid(format!("index {index} of {extent} elements"));
        }
        places.push(place as usize);
    }
    // Runs of indices with equal steps are slices.
    let mut parts = Vec::new();
    let mut rest = &places[..];
    while let Some(&start) = rest.first() {
        let step = rest.get(1).map_or(1, |&next| next as isize - start as isize);
        let step = if step == 0 { 1 } else { step };
        let run =
            rest.iter().enumerate().take_while(|&(i, &p)| p as isize == start as isize + i as isize * step);
        let count = run.count();
        let mut axes = whole(&shape);
        axes[axis] = SliceAxis { start, count, step };
        parts.push(importer.add(node, Op::Slice { axes }, &[x])?);
        rest = &rest[count..];
        if parts.len() > 256 {
            return unsupported("so many scattered indices");
        }
    }
    let gathered = match parts[..] {
        [] => return unsupported("no indices"),
        [one] => one,
        _ => importer.add(node, Op::Concat { axis }, &parts)?,
    };
    let mut dims = shape.dims().to_vec();
    dims.splice(axis..=axis, index_shape.dims().iter().copied());
    Ok(vec![importer.reshape(node, gathered, &dims)?])
}

/// The shape broadcasts both ways.
pub(super) fn expand(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let dims = importer.integers(node.input(1)?, "a shape")?;
    let dims = dims.iter().map(|&d| size("a dimension", d, 0)).collect::<Result<Vec<_>, _>>()?;
    let (from, to) = (importer.ty(x).shape, Shape::new(dims)?);
    let shape = avocet_ir::infer::broadcast(&from, &to).map_err(|e| Problem::Invalid(e.to_string()))?;
    if shape == from {
        return Ok(vec![x]);
    }
    Ok(vec![importer.add(node, Op::Broadcast { shape }, &[x])?])
}

/// Each dimension repeated: a dimension of one before it, broadcast, and the two made one.
pub(super) fn tile(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let repeats = importer.integers(node.input(1)?, "repeats")?;
    let shape = importer.ty(x).shape;
    if repeats.len() != shape.rank() {
        return invalid(format!("{} repeats for {shape}", repeats.len()));
    }
    let (mut split, mut wide, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (&dim, &repeat) in shape.dims().iter().zip(&repeats) {
        let repeat = size("a repeat", repeat, 0)?;
        split.extend([1, dim]);
        wide.extend([repeat, dim]);
        let product = dim.checked_mul(repeat);
        joined.push(product.ok_or_else(|| Problem::Invalid(format!("repeats {repeats:?} of {shape}")))?);
    }
    let y = importer.reshape(node, x, &split)?;
    let y = importer.add(node, Op::Broadcast { shape: Shape::new(wide)? }, &[y])?;
    Ok(vec![importer.reshape(node, y, &joined)?])
}

/// Channels, height, width and the block's size, when they fit.
fn blocks(importer: &Importer, node: &Node) -> Result<([usize; 4], usize), Problem> {
    let ty = importer.ty(node.input(0)?);
    let &[n, c, h, w] = ty.dims() else { return invalid(format!("{ty} is not an image")) };
    Ok(([n, c, h, w], size("blocksize", node.attributes.int("blocksize", 1), 1)?))
}

pub(super) fn depth_to_space(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let ([n, c, h, w], block) = blocks(importer, node)?;
    let square = block.saturating_mul(block);
    if !c.is_multiple_of(square) {
        return invalid(format!("{c} channels in blocks of {block} by {block}"));
    }
    let (depth, x) = (c / square, node.input(0)?);
    let (split, perm) = match node.attributes.text("mode", "DCR").as_str() {
        "DCR" => ([n, block, block, depth, h, w], vec![0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, block, block, h, w], vec![0, 1, 4, 2, 5, 3]),
        other => return unsupported(format!("mode '{other}'")),
    };
    let y = importer.reshape(node, x, &split)?;
    let y = importer.add(node, Op::Transpose { perm }, &[y])?;
    Ok(vec![importer.reshape(node, y, &[n, depth, h * block, w * block])?])
}

pub(super) fn space_to_depth(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let ([n, c, h, w], block) = blocks(importer, node)?;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return invalid(format!("an image of {h} by {w} in blocks of {block}"));
    }
    let y = importer.reshape(node, node.input(0)?, &[n, c, h / block, block, w / block, block])?;
    let y = importer.add(node, Op::Transpose { perm: vec![0, 3, 5, 1, 2, 4] }, &[y])?;
    Ok(vec![importer.reshape(node, y, &[n, c * block * block, h / block, w / block])?])
}
