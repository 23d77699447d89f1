//! Operators that only ever compute constants: they exist in exported models to calculate shapes and masks.

use std::sync::Arc;

use avocet_ir::op::Op;
use avocet_ir::tensor::{DType, Shape, Tensor, TensorData};
use avocet_ir::{Value, infer};

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::axes;

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

/// The product of all elements, as of a shape: axes as an attribute before version 18, as an input since.
pub(super) fn reduce_prod(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let rank = ty.shape.rank();
    let given = match (node.attributes.ints("axes")?, node.optional(1)) {
        (Some(values), _) => values.to_vec(),
        (None, Some(value)) => importer.integers(value, "a list of axes")?,
        (None, None) => Vec::new(),
    };
    if given.is_empty() && node.attributes.flag("noop_with_empty_axes", false)? {
        return Ok(vec![x]);
    }
    if !given.is_empty() && axes(&given, rank)?.len() != rank {
        return unsupported("a product over some of the axes only");
    }
    let keep = node.attributes.flag("keepdims", true)?;
    let dims = if keep { vec![1; rank] } else { vec![] };
    let product = match importer.tensor(x, "a factor")?.data() {
        TensorData::I64(d) => {
            Tensor::i64(dims, [d.iter().fold(1, |p: i64, &v| p.wrapping_mul(v))].as_slice())?
        }
        TensorData::F32(d) => {
            Tensor::f32(dims, [d.iter().fold(1.0, |p, &v| p * f64::from(v)) as f32].as_slice())?
        }
        _ => return unsupported(format!("element type {}", ty.dtype)),
    };
    Ok(vec![importer.constant(node, product)])
}

/// Constant operands and, for each place of the shape that they broadcast to, which of their elements is used there.
struct Operands {
    shape: Shape,
    tensors: Vec<Tensor>,
    places: Vec<Vec<usize>>,
}

impl Operands {
    fn new<const N: usize>(importer: &mut Importer, node: &Node) -> Result<Self, Problem> {
        let mut tensors = Vec::with_capacity(N);
        let mut shape = Shape::scalar();
        for number in 0..N {
            let tensor = importer.tensor(node.input(number)?, "an operand")?.clone();
            shape = infer::broadcast(&shape, tensor.shape())?;
            tensors.push(tensor);
        }
        // What the lists of places take.
        importer.afford(shape.elements().saturating_mul(N * size_of::<usize>()))?;
        let places = tensors.iter().map(|t| places(t.shape(), &shape)).collect();
        Ok(Operands { shape, tensors, places })
    }

    fn zip<T: Copy, U>(&self, a: &[T], b: &[T], function: impl Fn(T, T) -> U) -> Arc<[U]> {
        self.places[0].iter().zip(&self.places[1]).map(|(&i, &j)| function(a[i], b[j])).collect()
    }

    /// The second operand where the first is true, else the third.
    fn choose<T: Copy>(&self, condition: &[bool], a: &[T], b: &[T]) -> Arc<[T]> {
        let places = self.places[0].iter().zip(&self.places[1]).zip(&self.places[2]);
        places.map(|((&i, &j), &k)| if condition[i] { a[j] } else { b[k] }).collect()
    }

    fn result(self, importer: &mut Importer, node: &Node, data: TensorData) -> Result<Vec<Value>, Problem> {
        Ok(vec![importer.constant(node, Tensor::new(self.shape, data)?)])
    }
}

/// For each place of the larger shape, the number of the element that broadcasting puts there.
fn places(from: &Shape, to: &Shape) -> Vec<usize> {
    let (strides, to_strides, missing) = (from.strides(), to.strides(), to.rank() - from.rank());
    let axes: Vec<(usize, usize, usize)> = (0..from.rank())
        .filter(|&axis| from[axis] != 1)
        .map(|axis| (to_strides[axis + missing], to[axis + missing], strides[axis]))
        .collect();
    (0..to.elements())
        .map(|i| axes.iter().map(|&(to_stride, extent, stride)| i / to_stride % extent * stride).sum())
        .collect()
}

fn differing(operands: &Operands) -> Problem {
    let types: Vec<String> = operands.tensors.iter().map(|t| t.ty().to_string()).collect();
    Problem::Invalid(format!("operands of types {}", types.join(" and ")))
}

/// Comparisons of constants.
pub(super) fn compare(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    fn each<T: Copy + PartialOrd>(operator: &str, o: &Operands, a: &[T], b: &[T]) -> Arc<[bool]> {
        match operator {
            "Equal" => o.zip(a, b, |a, b| a == b),
            "Less" => o.zip(a, b, |a, b| a < b),
            "LessOrEqual" => o.zip(a, b, |a, b| a <= b),
            "Greater" => o.zip(a, b, |a, b| a > b),
            _ => o.zip(a, b, |a, b| a >= b),
        }
    }
    let (o, name) = (Operands::new::<2>(importer, node)?, node.operator());
    let result = match (o.tensors[0].data(), o.tensors[1].data()) {
        (TensorData::F32(a), TensorData::F32(b)) => each(name, &o, a, b),
        (TensorData::I64(a), TensorData::I64(b)) => each(name, &o, a, b),
        (TensorData::I32(a), TensorData::I32(b)) => each(name, &o, a, b),
        (TensorData::U8(a), TensorData::U8(b)) => each(name, &o, a, b),
        (TensorData::Bool(a), TensorData::Bool(b)) => each(name, &o, a, b),
        _ => return Err(differing(&o)),
    };
    o.result(importer, node, TensorData::Bool(result))
}

/// Logic on constants.
pub(super) fn logic(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    if node.operator() == "Not" {
        let o = Operands::new::<1>(importer, node)?;
        let TensorData::Bool(d) = o.tensors[0].data() else { return Err(differing(&o)) };
        let inverse = d.iter().map(|v| !v).collect();
        return o.result(importer, node, TensorData::Bool(inverse));
    }
    let o = Operands::new::<2>(importer, node)?;
    let (TensorData::Bool(a), TensorData::Bool(b)) = (o.tensors[0].data(), o.tensors[1].data()) else {
        return Err(differing(&o));
    };
    let result = match node.operator() {
        "And" => o.zip(a, b, |a, b| a & b),
        "Or" => o.zip(a, b, |a, b| a | b),
        _ => o.zip(a, b, |a, b| a ^ b),
    };
    o.result(importer, node, TensorData::Bool(result))
}

/// A choice between two constants.
pub(super) fn select(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let o = Operands::new::<3>(importer, node)?;
    let TensorData::Bool(condition) = o.tensors[0].data() else { return Err(differing(&o)) };
    let result = match (o.tensors[1].data(), o.tensors[2].data()) {
        (TensorData::F32(a), TensorData::F32(b)) => TensorData::F32(o.choose(condition, a, b)),
        (TensorData::I64(a), TensorData::I64(b)) => TensorData::I64(o.choose(condition, a, b)),
        (TensorData::I32(a), TensorData::I32(b)) => TensorData::I32(o.choose(condition, a, b)),
        (TensorData::U8(a), TensorData::U8(b)) => TensorData::U8(o.choose(condition, a, b)),
        (TensorData::Bool(a), TensorData::Bool(b)) => TensorData::Bool(o.choose(condition, a, b)),
        _ => return Err(differing(&o)),
    };
    o.result(importer, node, result)
}

/// Remainders of constant integers: of the divisor's sign, as in Python, or of the dividend's if `fmod` is set.
pub(super) fn remainder(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let o = Operands::new::<2>(importer, node)?;
    let (TensorData::I64(a), TensorData::I64(b)) = (o.tensors[0].data(), o.tensors[1].data()) else {
        return unsupported("operands other than 64-bit integers");
    };
    if b.contains(&0) {
        return invalid("a remainder by zero");
    }
    let result = match node.attributes.flag("fmod", false)? {
        true => o.zip(a, b, |a, b| a.wrapping_rem(b)),
        false => o.zip(a, b, |a, b| match a.wrapping_rem(b) {
            r if r != 0 && (r < 0) != (b < 0) => r + b,
            r => r,
        }),
    };
    o.result(importer, node, TensorData::I64(result))
}
