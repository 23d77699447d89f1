//! Operators that only ever compute constants: they exist in exported models to calculate shapes and masks.

use avocet_ir::Value;
use avocet_ir::op::Op;
use avocet_ir::tensor::{DType, Shape, Tensor};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};

/// A constant by one of its attributes.
pub(super) fn constant(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let a = node.attributes;
    let tensor = if let Some(tensor) = a.tensor("value")? {
        importer.reader.read(tensor)?
    } else if a.has("value_float") {
        Tensor::scalar_f32(a.float("value_float", 0.0)?)
    } else if let Some(values) = a.floats("value_floats")? {
        Tensor::f32([values.len()], values)?
    } else if a.has("value_int") {
        Tensor::i64([], [a.int("value_int", 0)?].as_slice())?
    } else if let Some(values) = a.ints("value_ints")? {
        Tensor::i64([values.len()], values)?
    } else {
        return unsupported("a constant that is neither a tensor nor numbers");
    };
    Ok(vec![importer.constant(node, tensor)])
}

/// One value in each place: a broadcast, so that a large one takes no memory here.
pub(super) fn constant_of_shape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let dims = importer.integers(node.input(0)?, "a shape")?;
    let dims = dims.iter().map(|&d| size("a dimension", d, 0)).collect::<Result<Vec<_>, _>>()?;
    let value = match node.attributes.tensor("value")? {
        Some(tensor) => importer.reader.read(tensor)?,
        None => Tensor::scalar_f32(0.0),
    };
    if value.shape().elements() != 1 {
        return invalid(format!("a value of shape {}, expected one number", value.shape()));
    }
    let value = importer.constant(node, value.reshaped(Shape::new(vec![1; dims.len()])?)?);
    Ok(vec![importer.add(node, Op::Broadcast { shape: Shape::new(dims)? }, &[value])?])
}

/// Numbers from start to limit by steps.
pub(super) fn range(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let bounds = [node.input(0)?, node.input(1)?, node.input(2)?];
    let dtype = importer.ty(bounds[0]).dtype;
    if bounds.iter().any(|&b| importer.ty(b).dtype != dtype || importer.ty(b).shape.elements() != 1) {
        return invalid("bounds that are not single numbers of one type");
    }
    if dtype == DType::F32 {
        let bound = |at: usize| Ok::<f64, Problem>(importer.floats(bounds[at], "a bound")?[0].into());
        let (start, limit, step) = (bound(0)?, bound(1)?, bound(2)?);
        let count = ((limit - start) / step).ceil().max(0.0);
        // Beyond 2^53 the conversion below would not be exact; a length of NaN is refused too.
        if count.is_nan() || count > 9e15 {
            return invalid(format!("a range from {start} to {limit} by {step}"));
        }
        importer.afford((count as usize).saturating_mul(4))?;
        let values: Vec<f32> = (0..count as usize).map(|i| (start + i as f64 * step) as f32).collect();
        return Ok(vec![importer.constant(node, Tensor::f32([values.len()], values)?)]);
    }
    let bound = |at: usize| Ok::<i128, Problem>(importer.integers(bounds[at], "a bound")?[0].into());
    let (start, limit, step) = (bound(0)?, bound(1)?, bound(2)?);
    if step == 0 {
        return invalid("a step of 0");
    }
    let distance = if step > 0 { limit - start } else { start - limit };
    let count = if distance <= 0 { 0 } else { (distance - 1) / step.abs() + 1 };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    importer.afford(count.saturating_mul(8))?;
    // Between start and limit, so within 64 bits.
    let values: Vec<i64> = (0..count as i128).map(|i| (start + i * step) as i64).collect();
    let range = importer.constant(node, Tensor::i64([values.len()], values)?);
    Ok(vec![if dtype == DType::I64 {
        range
    } else {
        importer.add(node, Op::Cast { to: dtype }, &[range])?
    }])
}

/// Whether an optional value is there: a tensor always is, an input left out never.
pub(super) fn has_element(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let there = node.optional(0).is_some();
    Ok(vec![importer.number(node, DType::Bool, f32::from(u8::from(there)))?])
}
