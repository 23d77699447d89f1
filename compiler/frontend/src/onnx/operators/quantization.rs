//! Quantised tensors: conversion from and to integers, and products of integers.
//!
//! Conversions are elementwise operators. Products of 8-bit integers are exact: they are products of f32, each over so few
//! elements that no sum is as large as 2^24, which is where f32 stops counting; these are then added as 32-bit integers.

use avocet_ir::Value;
use avocet_ir::op::{Binary, ReduceKind, Unary};
use avocet_ir::tensor::{DType, Shape, TensorType};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::super::tensors;
use super::{axis, convolution, spatial};

/// Elements that one product of f32 is over. Differences of 8-bit integers are at most 255 apart from 0, so 256 would do; fewer,
/// since Strassen's method adds operands before it multiplies them.
const EXACT: usize = 64;
/// Elements that a product of integers may be over.
const MOST: usize = 1 << 18;

/// A scale or a zero point, as it applies to the elements of a tensor: one for all, one for each place of an axis, or one for
/// each block along it.
fn applied(
    importer: &mut Importer,
    node: &Node,
    parameter: Value,
    (shape, axis, block): (&Shape, usize, usize),
) -> Result<Value, Problem> {
    let own = importer.ty(parameter).shape;
    let mut dims = vec![1; shape.rank()];
    if own.elements() == 1 && block == 0 {
        return importer.reshape(node, parameter, &[]);
    }
    if own.rank() == 1 && block == 0 && shape.rank() > axis && own[0] == shape[axis] {
        dims[axis] = own[0];
        return importer.reshape(node, parameter, &dims);
    }
    let blocks = |i: usize| if i == axis { shape[i].div_ceil(block.max(1)) } else { shape[i] };
    if block == 0 || own.rank() != shape.rank() || (0..own.rank()).any(|i| own[i] != blocks(i)) {
        return invalid(format!("a scale or zero point of {own} for {shape} along axis {axis}"));
    }
    let (mut split, mut wide, mut flat) = (own.dims().to_vec(), own.dims().to_vec(), own.dims().to_vec());
    split.insert(axis + 1, 1);
    wide.insert(axis + 1, block);
    flat[axis] = own[axis].saturating_mul(block);
    let each = importer.reshape(node, parameter, &split)?;
    let each = importer.broadcast(node, each, &wide)?;
    let each = importer.reshape(node, each, &flat)?;
    importer.part(node, each, axis, (0, shape[axis]))
}

/// The axis and the size of blocks that the attributes name.
fn granularity(node: &Node, shape: &Shape, scale: &Shape) -> Result<(usize, usize), Problem> {
    let block = size("block_size", node.attributes.int("block_size", 0)?, 0)?;
    let of_one = scale.elements() == 1 && block == 0;
    let number = node.attributes.int("axis", 1)?;
    Ok((if of_one { 0 } else { axis(number, shape.rank())? }, block))
}

/// `(x - zero point) * scale`.
pub(super) fn dequantize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, scale) = (node.input(0)?, node.input(1)?);
    let (ty, scales) = (importer.ty(x), importer.ty(scale));
    let (axis, block) = granularity(node, &ty.shape, &scales.shape)?;
    let scale = applied(importer, node, scale, (&ty.shape, axis, block))?;
    let centred = match node.optional(2) {
        Some(zero) => {
            let zero = applied(importer, node, zero, (&ty.shape, axis, block))?;
            difference(importer, node, x, zero)?
        }
        None => x,
    };
    let centred = importer.cast(node, centred, DType::F32)?;
    Ok(vec![importer.binary(node, Binary::Mul, centred, scale)?])
}

/// The difference of two tensors of integers, as 32-bit integers.
fn difference(importer: &mut Importer, node: &Node, x: Value, zero: Value) -> Result<Value, Problem> {
    let (x, zero) = (importer.cast(node, x, DType::I32)?, importer.cast(node, zero, DType::I32)?);
    importer.binary(node, Binary::Sub, x, zero)
}

/// `x / scale + zero point`, rounded to even and saturated. The arguments have the shapes in which they apply.
fn quantized(
    importer: &mut Importer,
    node: &Node,
    x: Value,
    (scale, zero): (Value, Option<Value>),
    to: DType,
) -> Result<Value, Problem> {
    let Some((least, most)) = to.bounds().filter(|_| to.is_integer() && to.bytes() <= 2) else {
        return unsupported(format!("quantisation to {to}"));
    };
    let x = importer.cast(node, x, DType::F32)?;
    let steps = importer.binary(node, Binary::Div, x, scale)?;
    let mut y = importer.unary(node, Unary::Round, steps)?;
    if let Some(zero) = zero {
        let zero = importer.cast(node, zero, DType::F32)?;
        y = importer.binary(node, Binary::Add, y, zero)?;
    }
    let y = importer.unary(node, Unary::Clip { low: least as f32, high: most as f32 }, y)?;
    importer.cast(node, y, to)
}

/// Quantisation with given scales; the zero point's type, or an attribute, says to which type.
pub(super) fn quantize(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, scale, zero) = (node.input(0)?, node.input(1)?, node.optional(2));
    let (ty, scales) = (importer.ty(x), importer.ty(scale));
    let (axis, block) = granularity(node, &ty.shape, &scales.shape)?;
    let to = match (zero, node.attributes.int("output_dtype", 0)?) {
        (Some(zero), _) => importer.ty(zero).dtype,
        (None, 0) => DType::U8,
        (None, number) => tensors::dtype(i32::try_from(number).unwrap_or(0)).map_err(Problem::Unsupported)?,
    };
    let scale = importer.cast(node, scale, DType::F32)?;
    let scale = applied(importer, node, scale, (&ty.shape, axis, block))?;
    let zero = match zero {
        Some(zero) => Some(applied(importer, node, zero, (&ty.shape, axis, block))?),
        None => None,
    };
    Ok(vec![quantized(importer, node, x, (scale, zero), to)?])
}

/// Quantisation to bytes with the scale and zero point that the elements ask for.
pub(super) fn dynamic(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let axes: Vec<usize> = (0..importer.ty(x).shape.rank()).collect();
    let end = |importer: &mut Importer, kind, op| {
        let end = importer.reduced(node, kind, x, &axes)?;
        let end = importer.reshape(node, end, &[])?;
        importer.with_number(node, op, end, 0.0)
    };
    let low = end(importer, ReduceKind::Min, Binary::Min)?;
    let high = end(importer, ReduceKind::Max, Binary::Max)?;
    let range = importer.binary(node, Binary::Sub, high, low)?;
    let scale = importer.with_number(node, Binary::Div, range, 255.0)?;
    let negative = importer.unary(node, Unary::Neg, low)?;
    let zero = quantized(importer, node, negative, (scale, None), DType::U8)?;
    Ok(vec![quantized(importer, node, x, (scale, Some(zero)), DType::U8)?, scale, zero])
}

/// 8-bit integers less their zero point, as f32.
fn centred(importer: &mut Importer, node: &Node, x: Value, zero: Option<Value>) -> Result<Value, Problem> {
    let dtype = importer.ty(x).dtype;
    if !matches!(dtype, DType::U8 | DType::I8) {
        return unsupported(format!("products of {dtype}"));
    }
    let x = match zero {
        Some(zero) => difference(importer, node, x, zero)?,
        None => x,
    };
    importer.cast(node, x, DType::F32)
}

/// A zero point of the rows or columns of a matrix: one for all, or one for each.
fn of_matrix(importer: &mut Importer, node: &Node, zero: Value, rows: bool) -> Result<Value, Problem> {
    match importer.ty(zero).dims() {
        &[count] if rows && count > 1 => importer.reshape(node, zero, &[count, 1]),
        _ => Ok(zero),
    }
}

/// The product of two matrices of whole numbers from -255 to 255, as 32-bit integers.
fn exact_product(importer: &mut Importer, node: &Node, a: Value, b: Value) -> Result<Value, Problem> {
    let (left, right) = (importer.ty(a).shape, importer.ty(b).shape);
    if left.rank() < 2 || right.rank() < 2 || left[left.rank() - 1] != right[right.rank() - 2] {
        return invalid(format!("a product of {left} and {right}"));
    }
    let depth = left[left.rank() - 1];
    if depth > MOST {
        return unsupported(format!(
            "products of integers over {depth} elements; at most {MOST} are supported"
        ));
    }
    let mut sums = Vec::new();
    for start in (0..depth.max(1)).step_by(EXACT) {
        let part = (start, EXACT.min(depth - start));
        let a = importer.part(node, a, left.rank() - 1, part)?;
        let b = importer.part(node, b, right.rank() - 2, part)?;
        let product = importer.product(node, a, b)?;
        sums.push(importer.cast(node, product, DType::I32)?);
    }
    importer.sum(node, &sums)
}

/// MatMulInteger: 32-bit sums.
pub(super) fn matmul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    Ok(vec![integer_product(importer, node, (a, node.optional(2)), (b, node.optional(3)))?])
}

fn integer_product(
    importer: &mut Importer,
    node: &Node,
    (a, a_zero): (Value, Option<Value>),
    (b, b_zero): (Value, Option<Value>),
) -> Result<Value, Problem> {
    let a_zero = a_zero.map(|zero| of_matrix(importer, node, zero, true)).transpose()?;
    let (a, b) = (centred(importer, node, a, a_zero)?, centred(importer, node, b, b_zero)?);
    exact_product(importer, node, a, b)
}

/// 32-bit sums as quantised numbers: what they stand for is `sums * scale / result's scale`.
fn requantized(
    importer: &mut Importer,
    node: &Node,
    sums: Value,
    scale: Value,
    (result_scale, zero): (Value, Value),
) -> Result<Value, Problem> {
    let sums = importer.cast(node, sums, DType::F32)?;
    let result_scale = importer.reshape(node, result_scale, &[])?;
    let ratio = importer.binary(node, Binary::Div, scale, result_scale)?;
    let numbers = importer.binary(node, Binary::Mul, sums, ratio)?;
    let to = importer.ty(zero).dtype;
    let (one, zero) = (importer.number(node, DType::F32, 1.0)?, importer.reshape(node, zero, &[])?);
    quantized(importer, node, numbers, (one, Some(zero)), to)
}

/// QLinearMatMul: quantised operands, quantised result.
pub(super) fn linear_matmul(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (a, b) = ((node.input(0)?, Some(node.input(2)?)), (node.input(3)?, Some(node.input(5)?)));
    let sums = integer_product(importer, node, a, b)?;
    let a_scale = of_matrix(importer, node, node.input(1)?, true)?;
    let scale = importer.binary(node, Binary::Mul, a_scale, node.input(4)?)?;
    Ok(vec![requantized(importer, node, sums, scale, (node.input(6)?, node.input(7)?))?])
}

/// A convolution of whole numbers, exact.
fn exact_conv(importer: &mut Importer, node: &Node, x: Value, w: Value) -> Result<Value, Problem> {
    let (conv, x, w) = spatial::plain_conv(importer, node, x, w)?;
    let windows = convolution::windows(importer, node, &conv, x, &importer.ty(w))?;
    let weights = windows.weights(importer, node, w)?;
    let sums = exact_product(importer, node, weights, windows.taps)?;
    importer.reshape(node, sums, &windows.result)
}

/// ConvInteger: 32-bit sums. The zero point of the weights may be one for each output.
pub(super) fn conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let x_zero = node.optional(2).map(|zero| importer.reshape(node, zero, &[])).transpose()?;
    let w_zero =
        node.optional(3).map(|zero| of_outputs(importer, node, zero, &importer.ty(w))).transpose()?;
    let (x, w) = (centred(importer, node, x, x_zero)?, centred(importer, node, w, w_zero)?);
    Ok(vec![exact_conv(importer, node, x, w)?])
}

/// A parameter of a convolution's weights: one for all, or one for each output.
fn of_outputs(
    importer: &mut Importer,
    node: &Node,
    parameter: Value,
    weights: &TensorType,
) -> Result<Value, Problem> {
    applied(importer, node, parameter, (&weights.shape, 0, 0))
}

/// QLinearConv: quantised operands, quantised result; a bias of 32-bit integers in steps of both scales.
pub(super) fn linear_conv(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let (x, w) = (node.input(0)?, node.input(3)?);
    let weights = importer.ty(w);
    let x_zero = importer.reshape(node, node.input(2)?, &[])?;
    let w_zero = of_outputs(importer, node, node.input(5)?, &weights)?;
    let (x, w) = (centred(importer, node, x, Some(x_zero))?, centred(importer, node, w, Some(w_zero))?);
    let mut sums = exact_conv(importer, node, x, w)?;
    // One for each output, along the result's second dimension.
    let rank = importer.ty(sums).shape.rank();
    let along_outputs = |importer: &mut Importer, value: Value| match importer.ty(value).shape.elements() {
        1 => importer.reshape(node, value, &[]),
        count => {
            let mut dims = vec![1; rank];
            dims[1] = count;
            importer.reshape(node, value, &dims)
        }
    };
    if let Some(bias) = node.optional(8) {
        let bias = along_outputs(importer, bias)?;
        sums = importer.binary(node, Binary::Add, sums, bias)?;
    }
    let (x_scale, w_scale) =
        (importer.reshape(node, node.input(1)?, &[])?, along_outputs(importer, node.input(4)?)?);
    let scale = importer.binary(node, Binary::Mul, x_scale, w_scale)?;
    Ok(vec![requantized(importer, node, sums, scale, (node.input(6)?, node.input(7)?))?])
}
