//! Data movement: transposition, slices, concatenation, padding, channel shuffle, broadcasting and plain copies.
//!
//! All of it is copying boxes: a box has extents, and a start and strides in the source and in the result. Boxes whose
//! innermost stride is one in both are copied in vectors.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, Kernel, KernelBuilder};
use avocet_ir::op::{Op, PadMode};
use avocet_ir::program::ALIGNMENT;
use avocet_ir::{Shape, TensorType};

use crate::emitter::{Emitter, Operand};
use crate::interleave::Interleaved;
use crate::lower::LowerError;
use crate::problem::Problem;
use crate::{scalars, slice, view};

/// A box to be copied. Steps in the source may be negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Region {
    /// Extents, outermost first.
    pub(crate) extents: Vec<usize>,
    /// First element and strides in the source.
    pub(crate) from: (i64, Vec<i64>),
    /// First element and strides in the result.
    pub(crate) to: (i64, Vec<i64>),
}

impl Region {
    /// Drops dimensions of one element and joins those that are contiguous in source and result.
    pub(crate) fn simplified(&self) -> Self {
        let mut out = Region { extents: vec![], from: (self.from.0, vec![]), to: (self.to.0, vec![]) };
        for (i, &extent) in self.extents.iter().enumerate() {
            let (from, to) = (self.from.1[i], self.to.1[i]);
            if extent == 1 {
                continue;
            }
            let joins = out.extents.last().is_some_and(|_| {
                let last = out.extents.len() - 1;
                out.from.1[last] == from * extent as i64 && out.to.1[last] == to * extent as i64
            });
            if joins {
                let last = out.extents.len() - 1;
                out.extents[last] *= extent;
                (out.from.1[last], out.to.1[last]) = (from, to);
            } else {
                out.extents.push(extent);
                out.from.1.push(from);
                out.to.1.push(to);
            }
        }
        out
    }

    /// Where the box starts in source and result, and the elements from there to its end; `None` when it has steps back, or
    /// nothing to copy.
    pub(crate) fn forward(&self) -> Option<([usize; 2], [usize; 2])> {
        let side = |(start, strides): &(i64, Vec<i64>)| -> Option<(usize, usize)> {
            let forward = !self.extents.contains(&0) && strides.iter().all(|&stride| stride >= 0);
            let last: i64 = self.extents.iter().zip(strides).map(|(&d, &s)| (d as i64 - 1) * s).sum();
            forward.then_some((usize::try_from(*start).ok()?, usize::try_from(last + 1).ok()?))
        };
        let (from, to) = (side(&self.from)?, side(&self.to)?);
        Some(([from.0, to.0], [from.1, to.1]))
    }
}

/// Elements from which on a copy is made in pieces, and how many.
const LARGE: usize = 1 << 14;
const PIECES: usize = 4;

/// Rows of up to so many elements that are copied one by one are written out: the channels of a picture.
const WRITTEN: usize = 8;

/// Elements of longer rows that are copied between two branches.
const TOGETHER: usize = 4;

/// Copies a contiguous run.
pub(crate) fn run(
    b: &mut KernelBuilder,
    from: (BufferId, Affine),
    to: (BufferId, Affine),
    count: usize,
    lanes: usize,
) {
    b.blocks(count, lanes, |b, index, valid| {
        let value = b.load_partial(lanes, valid, from.0, &from.1 + index.clone());
        b.store_partial(to.0, &to.1 + index, value, valid);
    });
}

/// A kernel that copies boxes from `x` of `from` elements to `y` of `to` elements.
pub(crate) fn copy_box(
    name: &str,
    element: Element,
    from: usize,
    to: usize,
    boxes: &[Region],
    lanes: usize,
) -> Kernel {
    let mut b = KernelBuilder::new(name);
    let x = b.buffer("x", element, from, Access::Read);
    let y = b.buffer("y", element, to, Access::Write);
    for copied in boxes {
        emit(&mut b, x, y, copied, lanes);
    }
    b.finish()
}

/// A kernel that copies all of `x` to `y`.
pub(crate) fn copy(name: &str, element: Element, count: usize, lanes: usize) -> Kernel {
    let all = Region { extents: vec![count], from: (0, vec![1]), to: (0, vec![1]) };
    copy_box(name, element, count, count, &[all], lanes)
}

/// Copies a box within a kernel.
pub(crate) fn emit(b: &mut KernelBuilder, x: BufferId, y: BufferId, copied: &Region, lanes: usize) {
    if copied.extents.contains(&0) {
        return;
    }
    let mut copied = copied.simplified();
    if copied.extents.is_empty() {
        copied = Region { extents: vec![1], from: (copied.from.0, vec![1]), to: (copied.to.0, vec![1]) };
    }
    let last = copied.extents.len() - 1;
    let (inner, outer) = (copied.extents[last], &copied.extents[..last]);
    let (from, to) = (copied.from.1[last], copied.to.1[last]);
    view::nest(b, outer, |b, coordinates| {
        let at = |(start, strides): &(i64, Vec<i64>)| {
            let start = Affine::from(*start);
            coordinates.iter().zip(strides).fold(start, |sum, (c, &stride)| sum + c.scaled(stride))
        };
        let (source, target) = (at(&copied.from), at(&copied.to));
        match (from, to) {
            (1, 1) => run(b, (x, source), (y, target), inner, lanes),
            (0, 1) => b.blocks(inner, lanes, |b, index, valid| {
                let value = b.load_broadcast(lanes, x, source.clone());
                b.store_partial(y, &target + index, value, valid);
            }),
            _ => {
                let one = |b: &mut KernelBuilder, index: Affine| {
                    let value = b.load(1, x, &source + index.scaled(from));
                    b.store(y, &target + index.scaled(to), value);
                };
                if inner <= WRITTEN {
                    (0..inner).for_each(|index| one(b, index.into()));
                } else {
                    b.blocks(inner, TOGETHER, |b, index, count| {
                        (0..count).for_each(|i| one(b, &index + i));
                    });
                }
            }
        }
    });
}

fn signed(strides: &[usize]) -> Vec<i64> {
    strides.iter().map(|&s| s as i64).collect()
}

/// Any operator of this family.
pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    if !problem.epilogue.is_empty() {
        return Err(LowerError::unsupported(problem, format!("{} with an epilogue", problem.op.name())));
    }
    let element = Element::from(problem.output.dtype);
    let lanes = match element {
        Element::F32 | Element::I32 => lanes.clamp(1, ALIGNMENT / element.bytes()),
        // No wider than every back end's vectors: only those of 32-bit elements may be.
        _ if lanes == 1 => 1,
        _ => 16 / element.bytes(),
    };
    let (input, output) = (&problem.inputs[0], problem.output);
    let elements = output.shape.elements();
    let to = (0, signed(&problem.result_strides(output.shape.strides())));
    let strides = signed(&problem.input_strides(0, input.shape.strides()));
    let whole = |extents: Vec<usize>, from: (i64, Vec<i64>)| Region { extents, from, to: to.clone() };
    let copied = match problem.op {
        Op::Transpose { perm } => {
            whole(output.dims().to_vec(), (0, perm.iter().map(|&p| strides[p]).collect()))
        }
        Op::Identity | Op::Reshape { .. } => {
            Region { extents: vec![elements], from: (0, vec![1]), to: (0, vec![1]) }
        }
        Op::Broadcast { .. } => whole(output.dims().to_vec(), (0, broadcast(&input.shape, &output.shape))),
        Op::Slice { axes } => {
            let start = axes.iter().zip(&strides).map(|(a, &s)| a.start as i64 * s).sum();
            let steps = axes.iter().zip(&strides).map(|(a, &s)| a.step as i64 * s).collect();
            whole(output.dims().to_vec(), (start, steps))
        }
        Op::ChannelShuffle { groups, axis } => {
            // The axis seen as [groups, n] becomes [n, groups].
            let n = output.shape[*axis] / groups;
            let split = |strides: &[i64], outer: usize, inner: usize| {
                let (mut all, step) = (strides.to_vec(), strides[*axis]);
                all.splice(axis..=axis, [step * outer as i64, step * inner as i64]);
                all
            };
            let mut extents = output.dims().to_vec();
            extents.splice(axis..=axis, [n, *groups]);
            Region { extents, from: (0, split(&strides, 1, n)), to: (0, split(&to.1, *groups, 1)) }
        }
        Op::Concat { axis } => return concat(problem, *axis, lanes, emitter),
        Op::Pad { amounts, mode } => return pad(problem, amounts, *mode, lanes, emitter),
        op => return Err(LowerError::unsupported(problem, format!("{} as data movement", op.name()))),
    };
    let name = problem.op.name();
    for piece in pieces(&copied) {
        let Some((starts, reach)) = piece.forward() else {
            let (from, to) = (problem.input_length(0), problem.result_length());
            let kernel = copy_box(name, element, from, to, &[piece], lanes);
            emitter.call(kernel, &[Operand::Input(0), Operand::Output]);
            continue;
        };
        // Seen from the first element on, so that pieces of one size are the same code.
        let piece = Region { from: (0, piece.from.1), to: (0, piece.to.1), ..piece };
        let offsets = starts.map(|start| start * element.bytes());
        let interleaved = Interleaved::of(&piece, lanes).filter(|_| element == Element::F32);
        if let Some(interleaved) = interleaved {
            interleaved.emit(name, offsets, reach, lanes, emitter);
            continue;
        }
        let kernel = copy_box(name, element, reach[0], reach[1], &[piece], lanes);
        let arguments = vec![(Operand::Input(0), offsets[0]), (Operand::Output, offsets[1])];
        emitter.call_at(kernel, arguments, Vec::new());
    }
    Ok(())
}

/// A large box in a few pieces along its outermost dimension, each a call of its own, so that they can be parts of a step.
fn pieces(copied: &Region) -> Vec<Region> {
    let elements: usize = copied.extents.iter().product();
    let Some(axis) = copied.extents.iter().position(|&extent| extent > 1) else {
        return vec![copied.clone()];
    };
    if elements < LARGE || copied.forward().is_none() {
        return vec![copied.clone()];
    }
    let piece = |range: std::ops::Range<usize>| {
        let mut piece = copied.clone();
        piece.extents[axis] = range.len();
        piece.from.0 += range.start as i64 * copied.from.1[axis];
        piece.to.0 += range.start as i64 * copied.to.1[axis];
        piece
    };
    slice::ranges(copied.extents[axis], PIECES, 1).into_iter().map(piece).collect()
}

/// Strides of a shape over one that it broadcasts to.
fn broadcast(input: &Shape, output: &Shape) -> Vec<i64> {
    let (strides, missing) = (input.strides(), output.rank() - input.rank());
    (0..output.rank())
        .map(|i| match i.checked_sub(missing) {
            Some(i) if input[i] != 1 => strides[i] as i64,
            _ => 0,
        })
        .collect()
}

/// One copy for each input, to its place in the result.
fn concat(problem: &Problem, axis: usize, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let output = problem.output;
    let strides = signed(&problem.result_strides(output.shape.strides()));
    let element = Element::from(output.dtype);
    let mut start = 0;
    for (number, input) in problem.inputs.iter().enumerate() {
        let copied = Region {
            extents: input.dims().to_vec(),
            from: (0, signed(&problem.input_strides(number, input.shape.strides()))),
            to: (0, strides.clone()),
        };
        // The kernel sees the result from this input's first element on, so that equal inputs share a kernel.
        let offset = start * strides[axis] as usize;
        // Nothing of an empty one.
        let Some((_, [_, reach])) = copied.forward() else { continue };
        let kernel = copy_box("concat", element, problem.input_length(number), reach, &[copied], lanes);
        let arguments = vec![(Operand::Input(number), 0), (Operand::Output, offset * element.bytes())];
        emitter.call_at(kernel, arguments, Vec::new());
        start += input.shape[axis];
    }
    Ok(())
}

/// Where one axis of a padded tensor comes from: extent, first source element, step in the source, first result element.
type Segment = (usize, i64, i64, usize);

fn pad(
    problem: &Problem,
    amounts: &[(usize, usize)],
    mode: PadMode,
    lanes: usize,
    emitter: &mut Emitter,
) -> Result<(), LowerError> {
    let (input, output): (&TensorType, &TensorType) = (&problem.inputs[0], problem.output);
    let element = Element::from(output.dtype);
    let (from, to) = (signed(&input.shape.strides()), signed(&output.shape.strides()));
    let mut b = KernelBuilder::new("pad");
    let x = b.buffer("x", element, input.shape.elements(), Access::Read);
    let y = b.buffer("y", element, output.shape.elements(), Access::Write);
    if let PadMode::Constant(value) = mode {
        let count = output.shape.elements();
        if element == Element::F32 {
            b.blocks(count, lanes, |b, index, valid| {
                let value = b.f32(lanes, value);
                b.store_partial(y, index, value, valid);
            });
        } else {
            let value = b.i64(value as i64);
            let value = scalars::narrow(&mut b, element, value);
            b.repeat(count, |b, index| b.store(y, index, value));
        }
    }
    // All combinations of the parts of each axis.
    let mut boxes = vec![Region { extents: vec![], from: (0, vec![]), to: (0, vec![]) }];
    for (axis, (&(before, after), &extent)) in amounts.iter().zip(input.dims()).enumerate() {
        let last = extent as i64 - 1;
        let segments: Vec<Segment> = match mode {
            PadMode::Constant(_) => vec![(extent, 0, 1, before)],
            PadMode::Edge => {
                vec![(before, 0, 0, 0), (extent, 0, 1, before), (after, last, 0, before + extent)]
            }
            PadMode::Reflect => {
                vec![
                    (before, before as i64, -1, 0),
                    (extent, 0, 1, before),
                    (after, last - 1, -1, before + extent),
                ]
            }
        };
        let mut next = Vec::new();
        for done in &boxes {
            for &(count, source, step, target) in segments.iter().filter(|s| s.0 > 0) {
                let mut part: Region = done.clone();
                part.extents.push(count);
                part.from.0 += source * from[axis];
                part.from.1.push(step * from[axis]);
                part.to.0 += target as i64 * to[axis];
                part.to.1.push(to[axis]);
                next.push(part);
            }
        }
        boxes = next;
    }
    for part in &boxes {
        emit(&mut b, x, y, part, lanes);
    }
    emitter.call(b.finish(), &[Operand::Input(0), Operand::Output]);
    Ok(())
}
