//! Operators about positions, on elements of any type: elements by computed indices, the largest element's place, order, and
//! what is up to each element along an axis. One element at a time, see [`crate::scalars`].

use avocet_ir::kernel::{Access, Affine, BinaryOp, BufferId, Element, KernelBuilder, Predicate, ValueId};
use avocet_ir::op::{Binary, Op};
use avocet_ir::{DType, Shape};

use crate::emitter::{Emitter, Operand};
use crate::lower::LowerError;
use crate::problem::Problem;
use crate::scalars::{binary, choose, constant, load, narrow, ordered, store, truth, widen};

/// Extents before an axis, of it and after it.
fn around(shape: &Shape, axis: usize) -> [usize; 3] {
    let (before, rest) = shape.dims().split_at(axis);
    [before.iter().product(), rest.first().copied().unwrap_or(1), rest.iter().skip(1).product()]
}

/// A loop whose variable is there as an index and as a value.
fn counted(b: &mut KernelBuilder, count: usize, body: impl FnOnce(&mut KernelBuilder, Affine, ValueId)) {
    let zero = b.i64(0);
    b.repeat_carrying(count, &[zero], |b, index, number| {
        body(b, index, number[0]);
        let one = b.i64(1);
        vec![b.add(number[0], one)]
    });
}

/// Any operator of this family.
pub(crate) fn generate(problem: &Problem, emitter: &mut Emitter) -> Result<(), LowerError> {
    let name = problem.op.name();
    if !problem.epilogue.is_empty() {
        return Err(LowerError::unsupported(problem, format!("{name} with an epilogue")));
    }
    let mut b = KernelBuilder::new(name);
    let mut operands = Vec::new();
    let mut buffers = Vec::new();
    for (number, ty) in problem.inputs.iter().enumerate() {
        buffers.push(b.buffer(format!("x{number}"), ty.dtype.into(), ty.shape.elements(), Access::Read));
        operands.push(Operand::Input(number));
    }
    let y = b.buffer("y", problem.output.dtype.into(), problem.output.shape.elements(), Access::Write);
    operands.push(Operand::Output);
    let (input, dtype) = (&problem.inputs[0].shape, problem.inputs[0].dtype);
    let lines = |b: &mut KernelBuilder, axis: usize, body: &dyn Fn(&mut KernelBuilder, Line)| {
        let [before, extent, after] = around(input, axis);
        let count = problem.output.shape[axis];
        b.repeat(before, |b, outer| {
            b.repeat(after, |b, inner| {
                let (x, y) = (
                    (buffers[0], outer.clone() * (extent * after) + inner.clone()),
                    (y, outer * (count * after) + inner),
                );
                body(b, Line { x, y, extent, stride: after, dtype });
            });
        });
    };
    match (problem.op, &buffers[..]) {
        (Op::Gather { axis }, &[x, places]) => {
            let rows = around(input, *axis);
            gather(&mut b, (x, rows), (places, problem.inputs[1].shape.elements()), y);
        }
        (Op::Scatter { join }, &[x, places, rows]) => {
            let [_, extent, row] = around(input, 0);
            let count = problem.inputs[1].shape.elements();
            let known = scatter(&mut b, (x, rows, y), (extent, row), (places, count), (*join, dtype));
            known.ok_or_else(|| LowerError::unsupported(problem, format!("{name} of {dtype}")))?;
        }
        (Op::ArgReduce { largest, axis, last }, _) => {
            lines(&mut b, *axis, &|b, line| line.best(b, *largest, *last));
        }
        (Op::Rank { largest, axis, count }, _) => {
            lines(&mut b, *axis, &|b, line| line.order(b, *count, *largest));
        }
        (Op::Cumulate { join, axis, exclusive, reverse }, _) if dtype != DType::Bool => {
            lines(&mut b, *axis, &|b, line| line.cumulate(b, *join, *exclusive, *reverse));
        }
        _ => return Err(LowerError::unsupported(problem, format!("{name} of {dtype}"))),
    }
    emitter.call(b.finish(), &operands);
    Ok(())
}

/// The place that an index means: from the end where negative, the nearest where outside.
fn place(b: &mut KernelBuilder, index: ValueId, extent: usize) -> ValueId {
    let (zero, extent) = (b.i64(0), extent as i64);
    let (length, last) = (b.i64(extent), b.i64(extent - 1));
    let wrapped = b.add(index, length);
    let index = b.select(Predicate::Less, (index, zero), wrapped, index);
    let index = b.select(Predicate::Less, (index, zero), zero, index);
    b.select(Predicate::Less, (last, index), last, index)
}

/// `a * factor + c` of 64-bit integers.
fn linear(b: &mut KernelBuilder, a: ValueId, factor: usize, c: ValueId) -> ValueId {
    let factor = b.i64(factor as i64);
    let product = b.mul(a, factor);
    b.add(product, c)
}

fn gather(
    b: &mut KernelBuilder,
    (x, [before, extent, after]): (BufferId, [usize; 3]),
    (places, count): (BufferId, usize),
    y: BufferId,
) {
    counted(b, before, |b, outer, outer_number| {
        b.repeat(count, |b, i| {
            let index = load(b, places, i.clone());
            let index = place(b, index, extent);
            let row = linear(b, outer_number, extent, index);
            counted(b, after, |b, inner, inner_number| {
                let from = linear(b, row, after, inner_number);
                let value = b.load_at(x, from);
                b.store(y, &outer * (count * after) + i.clone() * after + inner, value);
            });
        });
    });
}

/// A copy, then row by row. None where the type can't be joined so.
fn scatter(
    b: &mut KernelBuilder,
    (x, rows, y): (BufferId, BufferId, BufferId),
    (extent, row): (usize, usize),
    (places, count): (BufferId, usize),
    (join, dtype): (Option<Binary>, DType),
) -> Option<()> {
    b.repeat(extent * row, |b, i| {
        let value = b.load(1, x, i.clone());
        b.store(y, i, value);
    });
    let mut known = Some(());
    b.repeat(count, |b, i| {
        let index = load(b, places, i.clone());
        let index = place(b, index, extent);
        counted(b, row, |b, inner, inner_number| {
            let to = linear(b, index, row, inner_number);
            let mut value = load(b, rows, i.clone() * row + inner);
            if let Some(join) = join {
                let there = b.load_at(y, to);
                let there = widen(b, there);
                match binary(b, join, dtype, there, value) {
                    Some(joined) => value = joined,
                    None => known = None,
                }
            }
            let value = narrow(b, b.element(y), value);
            b.store_at(y, to, value);
        });
    });
    known
}

/// The elements along an axis that share all other coordinates.
struct Line {
    /// The source and its first element.
    x: (BufferId, Affine),
    /// The result and its first element.
    y: (BufferId, Affine),
    extent: usize,
    stride: usize,
    dtype: DType,
}

impl Line {
    fn load(&self, b: &mut KernelBuilder, position: &Affine) -> ValueId {
        load(b, self.x.0, &self.x.1 + position.clone() * self.stride)
    }

    /// An integer that is larger where the element comes earlier in the order: NaN is larger than all numbers, zeros are equal.
    fn key(&self, b: &mut KernelBuilder, position: &Affine, largest: bool) -> ValueId {
        let x = self.load(b, position);
        let key = if self.dtype == DType::F32 {
            let zero = b.f32(1, 0.0);
            let x = b.add(x, zero);
            // Bits of negative numbers are in the opposite order.
            let bits = b.bitcast(Element::I32, x);
            let (shift, mask, most) = (b.i32(1, 31), b.i32(1, i32::MAX), b.i32(1, i32::MAX));
            let sign = b.binary(BinaryOp::ShiftRight, bits, shift);
            let flips = b.binary(BinaryOp::And, sign, mask);
            let key = b.binary(BinaryOp::Xor, bits, flips);
            let key = b.select(Predicate::NotEqual, (x, x), most, key);
            b.convert(Element::I64, key)
        } else {
            ordered(b, self.dtype, x)
        };
        if largest {
            return key;
        }
        let flipped = b.i64(-1);
        b.binary(BinaryOp::Xor, key, flipped)
    }

    /// The first position, or the last, of the best element.
    fn best(&self, b: &mut KernelBuilder, largest: bool, last: bool) {
        let first = self.key(b, &Affine::default(), largest);
        let (zero, one) = (b.i64(0), b.i64(1));
        let found = b.repeat_carrying(self.extent, &[first, zero, zero], |b, i, state| {
            let [best, at, number] = *state else { return state.to_vec() };
            let key = self.key(b, &i, largest);
            let predicate = if last { Predicate::LessEqual } else { Predicate::Less };
            let at = b.select(predicate, (best, key), number, at);
            let best = b.select(predicate, (best, key), key, best);
            let number = b.add(number, one);
            vec![best, at, number]
        });
        store(b, self.y.0, self.y.1.clone(), found[1]);
    }

    /// Positions in order: each time the best of those that come after the one before.
    fn order(&self, b: &mut KernelBuilder, count: usize, largest: bool) {
        let (most, none) = (b.i64(i64::MAX), b.i64(-1));
        b.repeat_carrying(count, &[most, none], |b, k, before| {
            let [before_key, before_at] = *before else { return before.to_vec() };
            let (none, zero, one, least) = (b.i64(-1), b.i64(0), b.i64(1), b.i64(i64::MIN));
            let found = b.repeat_carrying(self.extent, &[least, none, zero], |b, i, state| {
                let [best, at, number] = *state else { return state.to_vec() };
                let key = self.key(b, &i, largest);
                let later = truth(b, Predicate::Less, (before_at, number));
                let equal = b.select(Predicate::Equal, (key, before_key), later, zero);
                let comes = b.select(Predicate::Less, (key, before_key), one, equal);
                let better = truth(b, Predicate::Less, (best, key));
                let better = b.select(Predicate::Less, (at, zero), one, better);
                let taken = b.binary(BinaryOp::And, comes, better);
                let (best, at) = (choose(b, taken, key, best), choose(b, taken, number, at));
                let number = b.add(number, one);
                vec![best, at, number]
            });
            store(b, self.y.0, &self.y.1 + k * self.stride, found[1]);
            found[..2].to_vec()
        });
    }

    fn cumulate(&self, b: &mut KernelBuilder, join: Binary, exclusive: bool, reverse: bool) {
        let product = join == Binary::Mul;
        let start = constant(b, self.dtype, f32::from(u8::from(product)), i64::from(product));
        b.repeat_carrying(self.extent, &[start], |b, i, total| {
            let position = match reverse {
                true => Affine::from(self.extent - 1) + i.scaled(-1),
                false => i,
            };
            let value = self.load(b, &position);
            let next = binary(b, join, self.dtype, total[0], value).unwrap_or(value);
            let result = if exclusive { total[0] } else { next };
            store(b, self.y.0, &self.y.1 + position * self.stride, result);
            vec![next]
        });
    }
}
