//! Pooling that tells where its results come from, and the way back: MaxPool with places, MaxUnpool, Col2Im.

use avocet_ir::Value;
use avocet_ir::op::{Binary, Conv, Op, Padding};
use avocet_ir::tensor::{DType, Shape, TensorType};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::{convolution, spatial};

/// MaxPool with a second result: the numbers of the elements taken, in the whole input.
pub(super) fn pool_with_places(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if importer.ty(node.input(0)?).shape.rank() != 4 {
        return unsupported("places in tensors that are not images");
    }
    let (pool, x) = spatial::pool_of_image(importer, node)?;
    let ty = importer.ty(x);
    let &[batch, channels, rows, columns] = ty.dims() else { return invalid(format!("{ty}")) };
    if pool.ceil_mode || ty.dtype != DType::F32 {
        return unsupported("places with ceil_mode or of integers");
    }
    let Padding { top, left, bottom, right } = pool.padding;
    let columns_first = node.attributes.flag("storage_order", false)?;
    let [height, width] = pool.window;
    // Each channel is an image of its own, whose windows are those of a convolution.
    let images = importer.reshape(node, x, &[batch * channels, 1, rows, columns])?;
    let amounts = vec![(0, 0), (0, 0), (top, bottom), (left, right)];
    let images = importer.padded(node, images, amounts, f32::NEG_INFINITY)?;
    let conv = Conv {
        strides: pool.strides,
        dilations: pool.dilations,
        padding: Padding::default(),
        groups: 1,
        layout: pool.layout,
    };
    let weights = TensorType::f32([1, 1, height, width])?;
    let windows = convolution::windows(importer, node, &conv, images, &weights)?;
    let (taps, out_columns) = (height * width, windows.result[3]);
    let positions = windows.result[2] * out_columns;
    let stack = importer.reshape(node, windows.taps, &[batch * channels, taps, positions])?;
    let best = importer.add(node, Op::ArgReduce { largest: true, axis: 1, last: false }, &[stack])?;
    let largest = importer.reduced(node, avocet_ir::op::ReduceKind::Max, stack, &[1])?;
    // The element that a tap of a position is, in its image.
    let numbers = importer.table(node, &[positions, taps], |at| {
        let row = at[0] / out_columns * pool.strides[0] + at[1] / width * pool.dilations[0];
        let column = at[0] % out_columns * pool.strides[1] + at[1] % width * pool.dilations[1];
        let (row, column) = (row as i64 - top as i64, column as i64 - left as i64);
        if columns_first { column * rows as i64 + row } else { row * columns as i64 + column }
    })?;
    let first = importer.table(node, &[1, 1, positions], |at| (at[2] * taps) as i64)?;
    let which = importer.binary(node, Binary::Add, best, first)?;
    let places = importer.take(node, numbers, which)?;
    let images = importer.table(node, &[batch * channels, 1, 1], |at| (at[0] * rows * columns) as i64)?;
    let places = importer.binary(node, Binary::Add, places, images)?;
    let dims = [batch, channels, windows.result[2], out_columns];
    Ok(vec![importer.reshape(node, largest, &dims)?, importer.reshape(node, places, &dims)?])
}

/// MaxUnpool: elements put back at the places that MaxPool told, zeros elsewhere.
pub(super) fn unpool(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, places) = (node.input(0)?, node.input(1)?);
    let ty = importer.ty(x);
    let rank = ty.shape.rank();
    if rank < 3 || importer.ty(places).shape != ty.shape {
        return invalid(format!("{ty} with places {}", importer.ty(places)));
    }
    let sizes = |name: &str, least: usize| -> Result<Option<Vec<usize>>, Problem> {
        let values = node.attributes.ints(name)?.filter(|values| !values.is_empty());
        values.map(|values| values.iter().map(|&v| size(name, v, least)).collect()).transpose()
    };
    let spatial = rank - 2;
    let window = sizes("kernel_shape", 1)?.unwrap_or_default();
    let strides = sizes("strides", 1)?.unwrap_or_else(|| vec![1; spatial]);
    let pads = sizes("pads", 0)?.unwrap_or_else(|| vec![0; spatial * 2]);
    if window.len() != spatial || strides.len() != spatial || pads.len() != spatial * 2 {
        return invalid(format!("a window of {window:?} for {ty}"));
    }
    let mut dims = ty.dims()[..2].to_vec();
    for i in 0..spatial {
        let end = ty.shape[i + 2].saturating_sub(1).saturating_mul(strides[i]).saturating_add(window[i]);
        dims.push(end.saturating_sub(pads[i].saturating_add(pads[i + spatial])));
    }
    let (shape, count) = (Shape::new(dims)?, ty.shape.elements());
    let zeros = importer.number(node, ty.dtype, 0.0)?;
    let zeros = importer.broadcast(node, zeros, &[shape.elements()])?;
    let (x, places) = (importer.reshape(node, x, &[count])?, importer.reshape(node, places, &[count])?);
    let y = importer.add(node, Op::Scatter { join: None }, &[zeros, places, x])?;
    let mut y = importer.reshape(node, y, shape.dims())?;
    // The places count in a tensor of that size; of another that is asked for, it is the beginning.
    if let Some(wanted) = node.optional(2) {
        let wanted = importer.integers(wanted, "a shape")?;
        if wanted.len() != rank {
            return invalid(format!("a result of shape {wanted:?} for {ty}"));
        }
        let mut amounts = vec![(0, 0); rank];
        for (axis, &extent) in wanted.iter().enumerate() {
            let extent = size("a dimension", extent, 0)?;
            y = importer.part(node, y, axis, (0, extent.min(shape[axis])))?;
            amounts[axis].1 = extent.saturating_sub(shape[axis]);
        }
        y = importer.padded(node, y, amounts, 0.0)?;
    }
    Ok(vec![y])
}

/// Col2Im: blocks of an image of any number of dimensions, added where they belong.
pub(super) fn col2im(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let sizes = |importer: &Importer, number: usize, what: &str| -> Result<Vec<usize>, Problem> {
        let values = importer.integers(node.input(number)?, what)?;
        values.iter().map(|&v| size(what, v, 1)).collect()
    };
    let (image, block) = (sizes(importer, 1, "an image's size")?, sizes(importer, 2, "a block's size")?);
    let spatial = image.len();
    let given = |name: &str, least: usize, count: usize, default: usize| -> Result<Vec<usize>, Problem> {
        match node.attributes.ints(name)? {
            None | Some([]) => Ok(vec![default; count]),
            Some(values) if values.len() == count => values.iter().map(|&v| size(name, v, least)).collect(),
            Some(values) => invalid(format!("{name} {values:?} for {spatial} spatial dimensions")),
        }
    };
    let (strides, dilations) = (given("strides", 1, spatial, 1)?, given("dilations", 1, spatial, 1)?);
    let pads = given("pads", 0, spatial * 2, 0)?;
    let &[batch, rows, positions] = ty.dims() else { return invalid(format!("blocks {ty}")) };
    let taps = Shape::new(block.clone())?.elements();
    if block.len() != spatial || rows == 0 || !rows.is_multiple_of(taps) {
        return invalid(format!("blocks {ty} of {block:?} in an image of {image:?}"));
    }
    let (mut padded, mut counts) = (Vec::new(), Vec::new());
    for i in 0..spatial {
        let extent = image[i].saturating_add(pads[i]).saturating_add(pads[i + spatial]);
        let span = (block[i] - 1).saturating_mul(dilations[i]);
        let Some(last) = extent.checked_sub(1).and_then(|last| last.checked_sub(span)) else {
            return invalid(format!("blocks of {block:?} in an image of {image:?}"));
        };
        padded.push(extent);
        counts.push(last / strides[i] + 1);
    }
    let (counts, padded) = (Shape::new(counts)?, Shape::new(padded)?);
    if counts.elements() != positions {
        return invalid(format!("{positions} blocks where {} fit", counts.elements()));
    }
    let (steps, inner, outer) = (counts.strides(), Shape::new(block.clone())?.strides(), padded.strides());
    let places = importer.table(node, &[taps * positions], |at| {
        let (tap, position) = (at[0] / positions, at[0] % positions);
        let along = |i: usize| {
            let start = position / steps[i] % counts[i] * strides[i];
            (start + tap / inner[i] % block[i] * dilations[i]) * outer[i]
        };
        (0..spatial).map(along).sum::<usize>() as i64
    })?;
    // What is in one place, of all channels, is a row.
    let channels = rows / taps;
    let x = importer.reshape(node, x, &[batch * channels, taps * positions])?;
    let x = importer.transposed(node, x, &[1, 0])?;
    let zeros = importer.number(node, ty.dtype, 0.0)?;
    let zeros = importer.broadcast(node, zeros, &[padded.elements(), batch * channels])?;
    let y = importer.add(node, Op::Scatter { join: Some(Binary::Add) }, &[zeros, places, x])?;
    let y = importer.transposed(node, y, &[1, 0])?;
    let mut y = importer.reshape(node, y, &[&[batch, channels], padded.dims()].concat())?;
    for i in 0..spatial {
        y = importer.part(node, y, i + 2, (pads[i], image[i]))?;
    }
    Ok(vec![y])
}
