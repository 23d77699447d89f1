//! Operators that move data.

use avocet_ir::op::{Op, PadMode, SliceAxis};
use avocet_ir::tensor::{DType, Shape};
use avocet_ir::{TensorData, Value};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axis;

/// The input itself; no operator is needed for it.
pub(super) fn identity(_: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    Ok(vec![node.input(0)?])
}

/// Nothing in inference. Since version 12 the mode is an input.
pub(super) fn dropout(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let training = match node.optional(2) {
        Some(mode) => {
            matches!(importer.tensor(mode, "a mode")?.data(), TensorData::Bool(d) if d.contains(&true))
        }
        None => false,
    };
    if training {
        let ratio = match node.optional(1) {
            Some(ratio) => importer.floats(ratio, "a ratio")?.first().copied().unwrap_or(0.5),
            None => 0.5,
        };
        if ratio != 0.0 {
            return unsupported("training");
        }
    }
    let mut results = identity(importer, node)?;
    if node.proto.output.len() > 1 && importer.opset >= 10 {
        let kept = importer.number(node, DType::Bool, 1.0)?;
        let shape = importer.ty(results[0]).shape;
        results.push(importer.add(node, Op::Broadcast { shape }, &[kept])?);
    }
    Ok(results)
}

/// The dimensions are reversed when no permutation is given.
pub(super) fn transpose(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let perm = match node.attributes.ints("perm")? {
        Some(perm) => perm.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![importer.add(node, Op::Transpose { perm }, &[x])?])
}

pub(super) fn concat(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let inputs = node.all()?;
    let axis = axis(node.attributes.int("axis", 1)?, importer.ty(node.input(0)?).shape.rank())?;
    match inputs[..] {
        [one] => Ok(vec![one]),
        _ => Ok(vec![importer.add(node, Op::Concat { axis }, &inputs)?]),
    }
}

/// All of every dimension.
pub(super) fn whole(shape: &Shape) -> Vec<SliceAxis> {
    shape.dims().iter().map(|&count| SliceAxis { start: 0, count, step: 1 }).collect()
}

/// Sizes as an attribute before version 13, as an input since, or by a number of outputs since 18.
pub(super) fn split(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let axis = axis(node.attributes.int("axis", 0)?, shape.rank())?;
    let extent = shape[axis];
    let sizes = match (node.attributes.ints("split")?, node.optional(1)) {
        (Some(sizes), _) => sizes.to_vec(),
        (None, Some(value)) => importer.integers(value, "sizes of parts")?,
        (None, None) => {
            let count = node.proto.output.len();
            let wanted = node.attributes.int("num_outputs", count as i64)?;
            if count == 0 || wanted != count as i64 {
                return invalid(format!("num_outputs is {wanted}, but the node has {count} outputs"));
            }
            // Equal parts, except for the last.
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
    let numbers = |name: &str, number: usize| match (node.attributes.ints(name)?, node.optional(number)) {
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
    let given = match (node.attributes.ints("pads")?, node.optional(1)) {
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
    let computed = node.optional(2).filter(|&value| importer.graph.as_constant(value).is_none());
    let mode = match node.attributes.text("mode", "constant")?.as_str() {
        "wrap" => return wrapped(importer, node, x, &pads),
        "constant" => PadMode::Constant(match node.optional(2) {
            Some(_) if computed.is_some() => 0.0,
            Some(value) => importer.floats(value, "a value")?.first().copied().unwrap_or(0.0),
            None => node.attributes.float("value", 0.0)?,
        }),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflect,
        other => return unsupported(format!("mode '{}'", other.escape_debug())),
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
    let y = importer.add(node, Op::Pad { amounts: amounts.clone(), mode }, &[x])?;
    let Some(value) = computed.filter(|_| matches!(mode, PadMode::Constant(_))) else { return Ok(vec![y]) };
    // A value that is computed goes where there is no element of the input.
    let inside = importer.number(node, DType::Bool, 1.0)?;
    let inside = importer.broadcast(node, inside, importer.ty(x).dims())?;
    let inside = importer.padded(node, inside, amounts, 0.0)?;
    let value = importer.reshape(node, value, &[])?;
    Ok(vec![importer.choose(node, inside, y, value)?])
}

/// The tensor repeated in all directions, and of that what the amounts say.
fn wrapped(importer: &mut Importer, node: &Node, x: Value, pads: &[i64]) -> Result<Vec<Value>, Problem> {
    let shape = importer.ty(x).shape;
    let mut y = x;
    for (axis, &extent) in shape.dims().iter().enumerate() {
        let (before, after) = (pads[axis], pads[axis + shape.rank()]);
        if (before, after) == (0, 0) {
            continue;
        }
        let length = before.checked_add(after).and_then(|both| both.checked_add_unsigned(extent as u64));
        let Some(length) = length.and_then(|length| usize::try_from(length).ok()).filter(|_| extent > 0)
        else {
            return invalid(format!("pads {pads:?} of {shape}"));
        };
        let places =
            importer.table(node, &[length], |at| (at[0] as i64 - before).rem_euclid(extent as i64))?;
        y = importer.add(node, Op::Gather { axis }, &[y, places])?;
    }
    Ok(vec![y])
}

/// The middle of a tensor, or zeros around it, so that axes have given sizes.
pub(super) fn center_crop_pad(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let shape = importer.ty(x).shape;
    let sizes = importer.integers(node.input(1)?, "a shape")?;
    let axes = match node.attributes.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| axis(a, shape.rank())).collect::<Result<Vec<_>, _>>()?,
        None => (0..shape.rank()).collect(),
    };
    if axes.len() != sizes.len() {
        return invalid(format!("sizes {sizes:?} for {} axes", axes.len()));
    }
    let mut y = x;
    let mut amounts = vec![(0, 0); shape.rank()];
    for (&axis, &wanted) in axes.iter().zip(&sizes) {
        let (extent, wanted) = (shape[axis], size("a size", wanted, 0)?);
        let (more, less) = (wanted.saturating_sub(extent), extent.saturating_sub(wanted));
        y = importer.part(node, y, axis, (if wanted == 0 { 0 } else { less / 2 }, extent - less))?;
        amounts[axis] = (more / 2, more - more / 2);
    }
    Ok(vec![importer.padded(node, y, amounts, 0.0)?])
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
    let repeats = importer.integers(node.input(1)?, "a number of repeats")?;
    let shape = importer.ty(x).shape;
    if repeats.len() != shape.rank() {
        return invalid(format!("{} repeats for {shape}", repeats.len()));
    }
    let (mut split, mut wide, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (&dim, &repeat) in shape.dims().iter().zip(&repeats) {
        let repeat = size("a number of repeats", repeat, 0)?;
        if repeat != 1 && dim != 1 {
            split.push(1);
            wide.push(repeat);
        }
        split.push(dim);
        wide.push(if dim == 1 { repeat } else { dim });
        let product = dim.checked_mul(repeat);
        joined.push(product.ok_or_else(|| Problem::Invalid(format!("repeats {repeats:?} of {shape}")))?);
    }
    if joined == shape.dims() {
        return Ok(vec![x]);
    }
    let y = importer.reshape(node, x, &split)?;
    let y = importer.add(node, Op::Broadcast { shape: Shape::new(wide)? }, &[y])?;
    Ok(vec![importer.reshape(node, y, &joined)?])
}
