//! Elementwise operators and reductions on elements of any type, one element at a time.
//!
//! Vectors are for f32, which networks compute in. Everything else (masks, indices, whatever models do with integers) goes through
//! here: an element is loaded as it is and widened to a 64-bit integer, unless it is f32; what is computed is narrowed to the
//! result's type as it is stored, which is the wrapping that two's complement asks for. Integers without a sign are not below 0
//! when widened, so that the operations of signed ones are theirs too, but those of 64 bits, see [`crate::unsigned`].

use avocet_ir::kernel::{
    Access, Affine, BinaryOp, BufferId, Element, KernelBuilder, Predicate, UnaryOp, ValueId,
};
use avocet_ir::op::{Binary, Comparison, Op, ReduceKind, Unary};
use avocet_ir::{DType, Shape};

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::problem::Problem;
use crate::{math, unsigned, view};

/// A value as an f32 or a 64-bit integer.
pub(crate) fn widen(b: &mut KernelBuilder, value: ValueId) -> ValueId {
    match b.ty(value).element {
        Element::F32 | Element::I64 => value,
        Element::I32 => b.convert(Element::I64, value),
        other => {
            let value = b.convert(other.wider().unwrap_or(Element::I64), value);
            widen(b, value)
        }
    }
}

/// A widened value as an element to be stored.
pub(crate) fn narrow(b: &mut KernelBuilder, element: Element, value: ValueId) -> ValueId {
    match (b.ty(value).element, element) {
        (from, to) if from == to => value,
        (Element::I64, to) if to.wider() == Some(Element::I32) => {
            let value = b.convert(Element::I32, value);
            b.convert(to, value)
        }
        _ => b.convert(element, value),
    }
}

/// The smallest and the largest integer of a type as widened values.
fn widened_bounds(dtype: DType) -> (i64, i64) {
    let (least, most) = dtype.bounds().unwrap_or((0, 0));
    // Of 64 bits without a sign, the same bits.
    (least as i64, most as i64)
}

/// A widened value whose order among signed integers is that of the values of its type.
pub(crate) fn ordered(b: &mut KernelBuilder, dtype: DType, value: ValueId) -> ValueId {
    if dtype == DType::U64 { unsigned::ordered(b, value) } else { value }
}

/// Loads and widens one element.
pub(crate) fn load(b: &mut KernelBuilder, buffer: BufferId, index: impl Into<Affine>) -> ValueId {
    let value = b.load(1, buffer, index);
    widen(b, value)
}

/// Narrows and stores one element.
pub(crate) fn store(b: &mut KernelBuilder, buffer: BufferId, index: impl Into<Affine>, value: ValueId) {
    let value = narrow(b, b.element(buffer), value);
    b.store(buffer, index, value);
}

/// 1 where a comparison holds, else 0, as a 64-bit integer.
pub(crate) fn truth(
    b: &mut KernelBuilder,
    predicate: Predicate,
    (left, right): (ValueId, ValueId),
) -> ValueId {
    if b.ty(left).element == Element::F32 {
        let (one, zero) = (b.i32(1, 1), b.i32(1, 0));
        let holds = b.select(predicate, (left, right), one, zero);
        return b.convert(Element::I64, holds);
    }
    let (one, zero) = (b.i64(1), b.i64(0));
    b.select(predicate, (left, right), one, zero)
}

/// `then` where a 64-bit integer is not 0, else `otherwise`.
pub(crate) fn choose(b: &mut KernelBuilder, holds: ValueId, then: ValueId, otherwise: ValueId) -> ValueId {
    // What is compared must be as wide as what is selected.
    let (holds, zero) = match b.ty(then).element {
        Element::I64 => (holds, b.i64(0)),
        _ => (b.convert(Element::I32, holds), b.i32(1, 0)),
    };
    b.select(Predicate::NotEqual, (holds, zero), then, otherwise)
}

/// The function of a widened value; none where integers have no such function.
fn unary(b: &mut KernelBuilder, function: Unary, dtype: DType, x: ValueId) -> Option<ValueId> {
    if dtype == DType::F32 {
        return Some(math::unary(b, function, x));
    }
    let zero = b.i64(0);
    if dtype == DType::U64 && matches!(function, Unary::Relu | Unary::Abs | Unary::Sign) {
        return Some(if function == Unary::Sign { truth(b, Predicate::NotEqual, (x, zero)) } else { x });
    }
    Some(match function {
        Unary::Relu => b.select(Predicate::Less, (x, zero), zero, x),
        Unary::Neg => b.unary(UnaryOp::Neg, x),
        Unary::Abs => b.unary(UnaryOp::Abs, x),
        Unary::Floor | Unary::Ceil | Unary::Round => x,
        Unary::Not => {
            let flipped = b.i64(if dtype == DType::Bool { 1 } else { -1 });
            b.binary(BinaryOp::Xor, x, flipped)
        }
        Unary::Sign => {
            let (one, minus) = (b.i64(1), b.i64(-1));
            let positive = b.select(Predicate::Less, (zero, x), one, zero);
            b.select(Predicate::Less, (x, zero), minus, positive)
        }
        _ => return None,
    })
}

/// The function of two widened values; none where the type has no such function.
pub(crate) fn binary(
    b: &mut KernelBuilder,
    function: Binary,
    dtype: DType,
    x: ValueId,
    y: ValueId,
) -> Option<ValueId> {
    if dtype == DType::F32 {
        return function.takes_floats().then(|| math::binary(b, function, x, y));
    }
    if dtype == DType::U64
        && let Some(result) = unsigned::binary(b, function, x, y)
    {
        return Some(result);
    }
    Some(match function {
        Binary::Add => b.add(x, y),
        Binary::Sub => b.sub(x, y),
        Binary::Mul => b.mul(x, y),
        Binary::Div => b.div(x, y),
        Binary::Rem => b.binary(BinaryOp::Rem, x, y),
        Binary::Mod => {
            let rest = b.binary(BinaryOp::Rem, x, y);
            let (signs, zero) = (b.binary(BinaryOp::Xor, rest, y), b.i64(0));
            let moved = b.add(rest, y);
            let moved = b.select(Predicate::Less, (signs, zero), moved, rest);
            b.select(Predicate::Equal, (rest, zero), rest, moved)
        }
        Binary::Min => b.select(Predicate::Less, (x, y), x, y),
        Binary::Max => b.select(Predicate::Less, (y, x), x, y),
        Binary::And => b.binary(BinaryOp::And, x, y),
        Binary::Or => b.binary(BinaryOp::Or, x, y),
        Binary::Xor => b.binary(BinaryOp::Xor, x, y),
        Binary::ShiftLeft | Binary::ShiftRight => {
            // Amounts outside of the width, also negative ones, shift everything out but the sign.
            let (zero, most) = (b.i64(0), b.i64(dtype.bytes() as i64 * 8 - 1));
            let inside = b.binary(BinaryOp::And, y, most);
            let inside = truth(b, Predicate::Equal, (inside, y));
            let amount = choose(b, inside, y, most);
            let signed = dtype.bounds().is_some_and(|(least, _)| least < 0);
            match function {
                Binary::ShiftRight if signed => b.binary(BinaryOp::ShiftRight, x, amount),
                Binary::ShiftRight => {
                    let shifted = unsigned::shift_right(b, x, amount);
                    choose(b, inside, shifted, zero)
                }
                _ => {
                    let shifted = b.binary(BinaryOp::ShiftLeft, x, amount);
                    choose(b, inside, shifted, zero)
                }
            }
        }
        Binary::Pow => power(b, x, y),
        Binary::Prelu => return None,
    })
}

/// `x^y` by squares. A negative power is 1 of 1, 1 or -1 of -1, else 0.
fn power(b: &mut KernelBuilder, x: ValueId, y: ValueId) -> ValueId {
    let (one, zero, minus) = (b.i64(1), b.i64(0), b.i64(-1));
    let lowest = b.binary(BinaryOp::And, y, one);
    let exponent = b.select(Predicate::Less, (y, zero), lowest, y);
    let result = b.repeat_carrying(63, &[one, x, exponent], |b, _, state| {
        let [result, base, exponent] = *state else { return state.to_vec() };
        let bit = b.binary(BinaryOp::And, exponent, one);
        let longer = b.mul(result, base);
        let result = b.select(Predicate::NotEqual, (bit, zero), longer, result);
        let base = b.mul(base, base);
        let exponent = b.binary(BinaryOp::ShiftRight, exponent, one);
        vec![result, base, exponent]
    })[0];
    let is_one = truth(b, Predicate::Equal, (x, one));
    let is_minus = truth(b, Predicate::Equal, (x, minus));
    let is_unit = b.binary(BinaryOp::Or, is_one, is_minus);
    let inverse = choose(b, is_unit, result, zero);
    b.select(Predicate::Less, (y, zero), inverse, result)
}

/// A widened value of one type as one of another: floats truncate and saturate, integers keep their low bits.
fn cast(b: &mut KernelBuilder, from: DType, to: DType, x: ValueId) -> ValueId {
    match (from, to) {
        (DType::F32, DType::Bool) => {
            let zero = b.f32(1, 0.0);
            truth(b, Predicate::NotEqual, (x, zero))
        }
        (_, DType::Bool) => {
            let zero = b.i64(0);
            truth(b, Predicate::NotEqual, (x, zero))
        }
        (DType::F32, DType::F32) => x,
        (DType::F32, DType::U64) => unsigned::from_float(b, x),
        (DType::F32, DType::I32) => {
            let value = b.convert(Element::I32, x);
            b.convert(Element::I64, value)
        }
        (DType::F32, DType::I64) => b.convert(Element::I64, x),
        (DType::F32, _) => {
            let (least, most) = widened_bounds(to);
            let (value, least, most) = (b.convert(Element::I64, x), b.i64(least), b.i64(most));
            let value = b.select(Predicate::Less, (value, least), least, value);
            b.select(Predicate::Less, (most, value), most, value)
        }
        (DType::U64, DType::F32) => unsigned::to_float(b, x),
        (_, DType::F32) => b.convert(Element::F32, x),
        _ => x,
    }
}

/// The bits of a widened value of one type as one of another, of the same size. Of integers they are the low bits.
fn bitcast(b: &mut KernelBuilder, from: DType, to: DType, x: ValueId) -> ValueId {
    match (from, to) {
        (DType::F32, DType::F32) => x,
        (DType::F32, _) => {
            let bits = b.bitcast(Element::I32, x);
            widen(b, bits)
        }
        (_, DType::F32) => {
            let bits = b.convert(Element::I32, x);
            b.bitcast(Element::F32, bits)
        }
        _ => x,
    }
}

/// Any elementwise operator: unary, binary, comparison, selection, conversion.
pub(crate) fn elementwise(problem: &Problem, emitter: &mut Emitter) -> Result<(), LowerError> {
    let name = problem.op.name();
    let unsupported = |what: &str| LowerError::unsupported(problem, format!("{name}{what}"));
    if !problem.epilogue.is_empty() {
        return Err(unsupported(" with an epilogue"));
    }
    let shape = &problem.output.shape;
    let shapes: Vec<&Shape> = problem.inputs.iter().map(|ty| &ty.shape).collect();
    let groups = view::collapse(shape, &shapes);
    let mut b = KernelBuilder::new(name);
    let (mut operands, mut sources, mut in_place) = (Vec::new(), Vec::new(), Vec::new());
    for (number, ty) in problem.inputs.iter().enumerate() {
        let strides = view::strides(&ty.shape, shape, &groups).ok_or_else(|| unsupported(" so broadcast"))?;
        let buffer = b.buffer(format!("x{number}"), ty.dtype.into(), ty.shape.elements(), Access::Read);
        // As wide as the result, so that each element is read before it is written.
        if ty.shape == *shape
            && ty.dtype.bytes() == problem.output.dtype.bytes()
            && problem.constants[number].is_none()
        {
            in_place.push((number, problem.inputs.len()));
        }
        operands.push((Operand::Input(number), 0));
        sources.push((buffer, strides));
    }
    let y = b.buffer("y", problem.output.dtype.into(), shape.elements(), Access::Write);
    operands.push((Operand::Output, 0));
    let dense = view::strides(shape, shape, &groups).unwrap_or_default();
    let dtype = problem.inputs.last().map_or(problem.output.dtype, |ty| ty.dtype);
    let mut known = true;
    view::nest(&mut b, &view::extents(shape, &groups), |b, at| {
        let loaded: Vec<ValueId> =
            sources.iter().map(|(buffer, strides)| load(b, *buffer, view::index(&at, strides))).collect();
        let value = match (problem.op, &loaded[..]) {
            (Op::Unary(function), [x]) => unary(b, *function, dtype, *x),
            (Op::Binary(function), [x, y]) => binary(b, *function, dtype, *x, *y),
            (Op::Compare(comparison), [x, y]) => {
                let predicate = match comparison {
                    Comparison::Less => Predicate::Less,
                    Comparison::LessEqual => Predicate::LessEqual,
                    Comparison::Equal => Predicate::Equal,
                };
                let [x, y] = [*x, *y].map(|v| ordered(b, dtype, v));
                Some(truth(b, predicate, (x, y)))
            }
            (Op::Select, [holds, x, y]) => Some(choose(b, *holds, *x, *y)),
            (Op::Cast { to }, [x]) => Some(cast(b, dtype, *to, *x)),
            (Op::Bitcast { to }, [x]) => Some(bitcast(b, dtype, *to, *x)),
            _ => None,
        };
        match value {
            Some(value) => store(b, y, view::index(&at, &dense), value),
            None => known = false,
        }
    });
    if !known {
        return Err(unsupported(&format!(" of {dtype}")));
    }
    emitter.call_at(b.finish(), operands, in_place);
    Ok(())
}

/// What a reduction starts with, and the function that joins; none where the type has no such reduction.
fn joined(kind: ReduceKind, dtype: DType) -> Option<(f32, i64, Binary)> {
    let bounds = widened_bounds(dtype);
    match kind {
        ReduceKind::Max => Some((f32::NEG_INFINITY, bounds.0, Binary::Max)),
        ReduceKind::Min => Some((f32::INFINITY, bounds.1, Binary::Min)),
        _ if dtype == DType::Bool => None,
        ReduceKind::Sum | ReduceKind::Mean => Some((0.0, 0, Binary::Add)),
        ReduceKind::Prod => Some((1.0, 1, Binary::Mul)),
    }
}

/// A constant of the widened type.
pub(crate) fn constant(b: &mut KernelBuilder, dtype: DType, float: f32, integer: i64) -> ValueId {
    if dtype == DType::F32 { b.f32(1, float) } else { b.i64(integer) }
}

/// Reductions over any axes.
pub(crate) fn reduce(problem: &Problem, emitter: &mut Emitter) -> Result<(), LowerError> {
    let unsupported =
        |what: String| LowerError::unsupported(problem, format!("{} {what}", problem.op.name()));
    let (Op::Reduce { kind, axes, .. }, [input]) = (problem.op, &problem.inputs[..]) else {
        return Err(unsupported("with an epilogue".into()));
    };
    let dtype = input.dtype;
    let (float, integer, function) =
        joined(*kind, dtype).ok_or_else(|| unsupported(format!("of {dtype}")))?;
    let strides = input.shape.strides();
    let split = |reduced: bool| -> (Vec<usize>, Vec<usize>) {
        let chosen = (0..input.shape.rank()).filter(|axis| axes.contains(axis) == reduced);
        chosen.map(|axis| (input.shape[axis], strides[axis])).unzip()
    };
    let ((kept, kept_strides), (reduced, reduced_strides)) = (split(false), split(true));
    let mut dense = vec![1; kept.len()];
    for i in (1..kept.len()).rev() {
        dense[i - 1] = dense[i] * kept[i];
    }
    let mut b = KernelBuilder::new(problem.op.name());
    let x = b.buffer("x", dtype.into(), input.shape.elements(), Access::Read);
    let y = b.buffer("y", dtype.into(), problem.output.shape.elements(), Access::Write);
    view::nest(&mut b, &kept, |b, at| {
        let start = constant(b, dtype, float, integer);
        let from = view::index(&at, &kept_strides);
        let total = over(b, (&reduced, &reduced_strides), from, start, &|b, index, total| {
            let value = load(b, x, index);
            binary(b, function, dtype, total, value).unwrap_or(total)
        });
        let total = match kind {
            ReduceKind::Mean => {
                let count: usize = reduced.iter().product();
                let count = constant(b, dtype, count as f32, count.max(1) as i64);
                binary(b, Binary::Div, dtype, total, count).unwrap_or(total)
            }
            _ => total,
        };
        store(b, y, view::index(&at, &dense), total);
    });
    emitter.call(b.finish(), &[Operand::Input(0), Operand::Output]);
    Ok(())
}

/// Carries a total through a nest of loops.
fn over(
    b: &mut KernelBuilder,
    (extents, strides): (&[usize], &[usize]),
    index: Affine,
    total: ValueId,
    step: &dyn Fn(&mut KernelBuilder, Affine, ValueId) -> ValueId,
) -> ValueId {
    let ([extent, extents @ ..], [stride, strides @ ..]) = (extents, strides) else {
        return step(b, index, total);
    };
    b.repeat_carrying(*extent, &[total], |b, i, totals| {
        vec![over(b, (extents, strides), &index + i * *stride, totals[0], step)]
    })[0]
}
