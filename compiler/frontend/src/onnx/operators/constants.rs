//! Operators that only ever compute constants: they exist in exported models to calculate shapes.

use avocet_ir::tensor::{Shape, Tensor, TensorData};
use avocet_ir::{Value, infer};

use super::super::attributes::{Problem, invalid, unsupported};
use super::super::import::{Importer, Node};
use super::super::tensors;
use super::elementwise::scalar;

/// Most elements of a constant that is made here.
const MOST_ELEMENTS: usize = 1 << 24;

/// A constant by one of its attributes.
pub(super) fn constant(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let a = node.attributes;
    let tensor = if let Some(tensor) = a.tensor("value") {
        tensors::read(tensor, importer.folder).map_err(Problem::Invalid)?
    } else if let Some(value) = a.get("value_float") {
        Tensor::scalar_f32(value.f)
    } else if let Some(values) = a.floats("value_floats") {
        Tensor::f32([values.len()], values)?
    } else if let Some(value) = a.get("value_int") {
        Tensor::i64([], [value.i].as_slice())?
    } else if let Some(values) = a.ints("value_ints") {
        Tensor::i64([values.len()], values)?
    } else {
        return unsupported("a constant that is neither a tensor nor numbers");
    };
    Ok(vec![importer.constant(node, tensor)])
}

/// One value in each place.
pub(super) fn constant_of_shape(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let dims = importer.integers(node.input(0)?, "a shape")?;
    let dims: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let Some(dims) = dims else { return invalid("a negative dimension") };
    let shape = Shape::new(dims)?;
    let count = shape.elements();
    if count > MOST_ELEMENTS {
        return invalid(format!("a constant of shape {shape}"));
    }
    let value = match node.attributes.tensor("value") {
        Some(tensor) => tensors::read(tensor, importer.folder).map_err(Problem::Invalid)?.data().clone(),
        None => TensorData::F32([0.0].as_slice().into()),
    };
    let data = match value {
        TensorData::F32(v) if v.len() == 1 => TensorData::F32(vec![v[0]; count].into()),
        TensorData::I64(v) if v.len() == 1 => TensorData::I64(vec![v[0]; count].into()),
        TensorData::I32(v) if v.len() == 1 => TensorData::I32(vec![v[0]; count].into()),
        TensorData::Bool(v) if v.len() == 1 => TensorData::Bool(vec![v[0]; count].into()),
        TensorData::U8(v) if v.len() == 1 => TensorData::U8(vec![v[0]; count].into()),
        _ => return invalid("a value that is not one number"),
    };
    Ok(vec![importer.constant(node, Tensor::new(shape, data)?)])
}

fn data(importer: &Importer, value: Value) -> Result<Tensor, Problem> {
    let computed = || Problem::Unsupported("an operand that is computed from the input".into());
    importer.graph.as_constant(value).cloned().ok_or_else(computed)
}

/// Numbers from start to limit by steps.
pub(super) fn range(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let mut numbers = [0.0; 3];
    let mut whole = true;
    for (number, slot) in numbers.iter_mut().enumerate() {
        let tensor = data(importer, node.input(number)?)?;
        whole &= tensor.as_i64().is_some();
        let value = scalar(tensor.data());
        *slot = value.ok_or_else(|| Problem::Invalid("a bound that is not one number".into()))?;
    }
    let [start, limit, step] = numbers;
    let count = ((limit - start) / step).ceil().max(0.0);
    if !count.is_finite() || count > MOST_ELEMENTS as f64 {
        return invalid(format!("a range from {start} to {limit} by {step}"));
    }
    let values = (0..count as usize).map(|i| start + i as f64 * step);
    let tensor = match whole {
        true => Tensor::i64([count as usize], values.map(|v| v as i64).collect::<Vec<_>>())?,
        false => Tensor::f32([count as usize], values.map(|v| v as f32).collect::<Vec<_>>())?,
    };
    Ok(vec![importer.constant(node, tensor)])
}

/// The product of all elements.
pub(super) fn reduce_prod(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let tensor = data(importer, node.input(0)?)?;
    let all = node.attributes.ints("axes").is_none_or(|axes| axes.len() == tensor.shape().rank());
    let (Some(values), true, None) = (tensor.as_i64(), all, node.optional(1)) else {
        return unsupported("a product over anything but all elements of a shape");
    };
    let product = values.iter().fold(1i64, |p, &v| p.wrapping_mul(v));
    let keep = node.attributes.int("keepdims", 1) != 0;
    let dims = if keep { vec![1; tensor.shape().rank()] } else { vec![] };
    Ok(vec![importer.constant(node, Tensor::i64(dims, [product].as_slice())?)])
}

/// Integers and booleans as integers.
fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    Some(match tensor.data() {
        TensorData::I64(d) => d.to_vec(),
        TensorData::I32(d) => d.iter().map(|&v| v.into()).collect(),
        TensorData::Bool(d) => d.iter().map(|&v| v.into()).collect(),
        TensorData::U8(d) => d.iter().map(|&v| v.into()).collect(),
        TensorData::F32(_) => return None,
    })
}

/// Comparisons, logic and selection of constants of integers and booleans, with broadcasting.
pub(super) fn fold(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let mut operands = Vec::with_capacity(node.inputs.len());
    for number in 0..node.inputs.len() {
        operands.push(data(importer, node.input(number)?)?);
    }
    let mut shape = Shape::scalar();
    for operand in &operands {
        shape = infer::broadcast(&shape, operand.shape()).map_err(|e| Problem::Invalid(e.to_string()))?;
    }
    if shape.elements() > MOST_ELEMENTS {
        return invalid(format!("a constant of shape {shape}"));
    }
    let values: Option<Vec<Vec<i64>>> =
        operands.iter().map(|t| Some(spread(&integers(t)?, t.shape(), &shape))).collect();
    let Some(values) = values else { return unsupported("operands of floats") };
    let at = |operand: usize, i: usize| values.get(operand).map_or(0, |v| v[i]);
    let each = |function: &dyn Fn(usize) -> i64| (0..shape.elements()).map(function).collect::<Vec<i64>>();
    let (result, logical) = match node.proto.op_type.as_str() {
        "And" => (each(&|i| at(0, i) & at(1, i)), true),
        "Or" => (each(&|i| at(0, i) | at(1, i)), true),
        "Not" => (each(&|i| 1 - at(0, i)), true),
        "Equal" => (each(&|i| (at(0, i) == at(1, i)).into()), true),
        "Less" => (each(&|i| (at(0, i) < at(1, i)).into()), true),
        "Greater" => (each(&|i| (at(0, i) > at(1, i)).into()), true),
        "Mod" => {
            if (0..shape.elements()).any(|i| at(1, i) == 0) {
                return invalid("a remainder by zero");
            }
            // The sign follows the divisor, as in Python, unless `fmod` is set.
            let python = node.attributes.int("fmod", 0) == 0;
            let remainder = |i: usize| {
                let r = at(0, i).wrapping_rem(at(1, i));
                if python && r != 0 && (r < 0) != (at(1, i) < 0) { r + at(1, i) } else { r }
            };
            (each(&remainder), false)
        }
        "Where" => (each(&|i| if at(0, i) != 0 { at(1, i) } else { at(2, i) }), false),
        other => return unsupported(format!("{other} of constants")),
    };
    let data = match logical {
        true => TensorData::Bool(result.iter().map(|&v| v != 0).collect()),
        false => TensorData::I64(result.into()),
    };
    Ok(vec![importer.constant(node, Tensor::new(shape, data)?)])
}

/// The elements of an operand at each place of the shape that it broadcasts to.
fn spread(values: &[i64], from: &Shape, to: &Shape) -> Vec<i64> {
    let (strides, missing) = (from.strides(), to.rank() - from.rank());
    let to_strides = to.strides();
    (0..to.elements())
        .map(|i| {
            let index: usize = (0..from.rank())
                .filter(|&axis| from[axis] != 1)
                .map(|axis| i / to_strides[axis + missing] % to[axis + missing] * strides[axis])
                .sum();
            values[index]
        })
        .collect()
}
