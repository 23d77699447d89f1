//! Reductions over any axes, and softmax.
//!
//! The tensor is seen as alternating kept and reduced groups of axes. When the innermost axis is kept, its elements are
//! the lanes and nothing is reduced within a vector; when it is reduced, lanes are joined at the end. Sums are taken in
//! two levels (along the innermost reduced group, then over the others), which keeps the rounding error of large
//! reductions small.

use avocet_ir::DType;
use avocet_ir::kernel::{Access, Affine, BufferId, Element, Horizontal, KernelBuilder, ValueId};
use avocet_ir::op::{Binary, Op, ReduceKind, Unary};

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::math;
use crate::problem::Problem;
use crate::{scalars, slice, view};

/// Elements that one accumulator takes before it is added to the total.
const RUN: usize = 64;

/// Extent and stride of one axis.
type Axis = (usize, usize);

fn join(kind: ReduceKind) -> (f32, Binary, Horizontal) {
    match kind {
        ReduceKind::Mean | ReduceKind::Sum => (0.0, Binary::Add, Horizontal::Add),
        ReduceKind::Max => (f32::NEG_INFINITY, Binary::Max, Horizontal::Max),
        ReduceKind::Min => (f32::INFINITY, Binary::Min, Horizontal::Min),
        // Elsewhere, see `generate`.
        ReduceKind::Prod => (1.0, Binary::Mul, Horizontal::Add),
    }
}

/// Joins `value` into a carried total over the axes, in runs.
fn over(
    b: &mut KernelBuilder,
    axes: &[Axis],
    start: ValueId,
    operation: Binary,
    index: Affine,
    load: &dyn Fn(&mut KernelBuilder, Affine) -> ValueId,
) -> ValueId {
    match axes {
        [] => {
            let value = load(b, index);
            math::binary(b, operation, start, value)
        }
        &[(extent, stride)] => in_runs(b, extent, &[start], operation, &|b, i, total| {
            let value = load(b, &index + i * stride);
            vec![math::binary(b, operation, total[0], value)]
        })[0],
        [(extent, stride), inner @ ..] => b.repeat_carrying(*extent, &[start], |b, i, total| {
            let sum = over(b, inner, start, operation, &index + &i * *stride, load);
            vec![math::binary(b, operation, total[0], sum)]
        })[0],
    }
}

/// Joins `count` elements into totals, which start so; `step` joins the element of a number into sums. Runs have sums of
/// their own, so that the error grows with the number of runs, not of elements.
pub(crate) fn in_runs(
    b: &mut KernelBuilder,
    count: usize,
    start: &[ValueId],
    operation: Binary,
    step: &impl Fn(&mut KernelBuilder, Affine, &[ValueId]) -> Vec<ValueId>,
) -> Vec<ValueId> {
    let run = |b: &mut KernelBuilder, from: Affine, count: usize, totals: &[ValueId]| -> Vec<ValueId> {
        let sums = b.repeat_carrying(count, start, |b, i, sums| step(b, &from + i, sums));
        totals.iter().zip(sums).map(|(&total, sum)| math::binary(b, operation, total, sum)).collect()
    };
    let (whole, rest) = (count / RUN, count % RUN);
    let totals = b.repeat_carrying(whole, start, |b, i, totals| run(b, i * RUN, RUN, totals));
    if rest > 0 { run(b, (whole * RUN).into(), rest, &totals) } else { totals }
}

/// A lane-wise total becomes one number; NaN in any lane is kept.
fn across(b: &mut KernelBuilder, operation: Binary, horizontal: Horizontal, value: ValueId) -> ValueId {
    let total = b.reduce(horizontal, value);
    if operation == Binary::Add || b.ty(value).lanes == 1 {
        return total;
    }
    // x - x is zero for numbers and NaN for NaN (and infinities, which the clip removes first).
    let lanes = b.ty(value).lanes;
    let finite = math::unary(b, Unary::Clip { low: -1.0, high: 1.0 }, value);
    let zero = b.f32(lanes, 0.0);
    let marks = b.mul(finite, zero);
    let mark = b.reduce(Horizontal::Add, marks);
    b.add(total, mark)
}

/// Groups of positions that are reduced on their own, so that threads can share the work, and the elements from which on.
/// The order of sums does not depend on whether they do.
const GROUPS: usize = 4;
const LARGE: usize = 1 << 14;
/// Vectors of channels that are reduced together.
const VECTORS: usize = 4;

/// Whether a reduction is one that vectors have: of f32, but products, which have no horizontal form.
fn in_vectors(problem: &Problem) -> bool {
    let product = matches!(problem.op, Op::Reduce { kind: ReduceKind::Prod, .. });
    problem.inputs.first().is_some_and(|input| input.dtype == DType::F32) && !product
}

/// Positions and channels of a large reduction of all but the channels of one image; `None` of others.
fn positions(problem: &Problem) -> Option<(usize, usize)> {
    let (Op::Reduce { axes, .. }, [input, ..]) = (problem.op, &problem.inputs[..]) else { return None };
    if !in_vectors(problem) {
        return None;
    }
    let (&channels, positions) = input.dims().split_last()?;
    let all = positions.iter().enumerate().all(|(axis, &extent)| extent == 1 || axes.contains(&axis));
    let is_large = input.shape.elements() >= LARGE && !axes.contains(&positions.len());
    let single = [problem.output.shape.rank()];
    let positions: usize = positions.iter().product();
    (all && is_large && positions >= GROUPS && Epilogue::fits(problem, &single))
        .then_some((positions, channels))
}

/// Whether a reduction is computed in groups, by calls that may run at the same time.
pub(crate) fn is_in_groups(problem: &Problem) -> bool {
    positions(problem).is_some()
}

/// Joins so many rows of `channels` elements, `width` of them from `index` on, into `start`, in runs.
fn rows(
    b: &mut KernelBuilder,
    (count, channels): (usize, usize),
    (start, operation): (f32, Binary),
    (x, index): (BufferId, Affine),
    (width, lanes): (usize, usize),
) -> Vec<ValueId> {
    let vectors = width.div_ceil(lanes);
    let first = vec![b.f32(lanes, start); vectors];
    in_runs(b, count, &first, operation, &|b, i, sums| {
        let row = &index + i * channels;
        let join = |(v, &sum): (usize, &ValueId)| {
            let valid = (width - v * lanes).min(lanes);
            let value = b.load_partial(lanes, valid, x, &row + v * lanes);
            math::binary(b, operation, sum, value)
        };
        sums.iter().enumerate().map(join).collect()
    })
}

/// A reduction of all positions, by groups of them.
fn in_groups(
    problem: &Problem,
    kind: ReduceKind,
    (positions, channels): (usize, usize),
    lanes: usize,
    emitter: &mut Emitter,
) -> Result<(), LowerError> {
    let (start, operation, _) = join(kind);
    let groups = slice::ranges(positions, GROUPS, 1);
    let scratch = emitter.scratch(groups.len() * channels * 4);
    for (group, range) in groups.iter().enumerate() {
        let mut b = KernelBuilder::new(format!("{}_group", problem.op.name()));
        let x = b.buffer("x", Element::F32, range.len() * channels, Access::Read);
        let y = b.buffer("y", Element::F32, channels, Access::Write);
        b.blocks(channels, VECTORS * lanes, |b, channel, width| {
            let from = (x, channel.clone());
            let sums = rows(b, (range.len(), channels), (start, operation), from, (width, lanes));
            for (v, sum) in sums.into_iter().enumerate() {
                b.store_partial(y, &channel + v * lanes, sum, (width - v * lanes).min(lanes));
            }
        });
        let from = (Operand::Input(0), range.start * channels * 4);
        emitter.call_at(b.finish(), vec![from, (scratch, group * channels * 4)], Vec::new());
    }
    emitter.barrier();
    let mut b = KernelBuilder::new(problem.op.name());
    let x = b.buffer("x", Element::F32, groups.len() * channels, Access::Read);
    let y = b.buffer("y", Element::F32, channels, Access::Write);
    let mut operands = vec![scratch, Operand::Output];
    let epilogue = Epilogue::new(problem, &[problem.output.shape.rank()], &mut b, &mut operands)?;
    b.blocks(channels, lanes, |b, channel, valid| {
        let from = (x, channel.clone());
        let total = rows(b, (groups.len(), channels), (start, operation), from, (valid, lanes))[0];
        let value = mean(b, kind, total, positions);
        let value = epilogue.apply(b, value, std::slice::from_ref(&channel), valid);
        b.store_partial(y, channel, value, valid);
    });
    let in_place = epilogue.in_place(1);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}

/// The sum of so many elements as their mean, if that is what is asked for.
fn mean(b: &mut KernelBuilder, kind: ReduceKind, total: ValueId, count: usize) -> ValueId {
    if kind != ReduceKind::Mean {
        return total;
    }
    let count = b.f32(b.ty(total).lanes, count as f32);
    b.div(total, count)
}

/// Mean, sum, largest or smallest over some axes.
pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Reduce { kind, axes, .. }, [input, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as a reduction", problem.op.name())));
    };
    if !in_vectors(problem) {
        return scalars::reduce(problem, emitter);
    }
    if let Some(sizes) = positions(problem) {
        return in_groups(problem, *kind, sizes, lanes, emitter);
    }
    let strides = problem.input_strides(0, input.shape.strides());
    let axis = |i: usize| (input.shape[i], strides[i]);
    let mut kept: Vec<Axis> = (0..input.shape.rank()).filter(|i| !axes.contains(i)).map(axis).collect();
    let mut reduced: Vec<Axis> = axes.iter().map(|&i| axis(i)).collect();
    join_axes(&mut kept);
    join_axes(&mut reduced);
    let (start, operation, horizontal) = join(*kind);
    let count: usize = reduced.iter().map(|a| a.0).product();

    let mut b = KernelBuilder::new(problem.op.name());
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let y = b.buffer("y", Element::F32, problem.output.shape.elements(), Access::Write);
    let mut operands = vec![Operand::Input(0), Operand::Output];
    // The result is one run of elements in the order of the kept axes; an epilogue sees it as that.
    let rank = problem.output.shape.rank();
    let groups = vec![1; rank];
    let single = [rank];
    let flat = Epilogue::fits(problem, &single);
    let epilogue = Epilogue::new(problem, if flat { &single } else { &groups }, &mut b, &mut operands)?;
    if !flat {
        return Err(LowerError::unsupported(problem, "a reduction with this epilogue"));
    }
    let finish = |b: &mut KernelBuilder, total: ValueId, index: Affine, valid: usize| {
        let value = mean(b, *kind, total, count);
        let value = epilogue.apply(b, value, std::slice::from_ref(&index), valid);
        b.store_partial(y, index, value, valid);
    };

    // Lanes run along the innermost axis of the input, whichever it is; its stride is one.
    let innermost_kept = kept.last().is_some_and(|&(_, stride)| stride == 1) || count == 1;
    let kept_strides = |axes: &[Axis]| axes.iter().map(|a| a.1).collect::<Vec<_>>();
    if innermost_kept {
        let (inner, outer) = kept.split_last().map_or(((1, 1), &[][..]), |(last, outer)| (*last, outer));
        let extents: Vec<usize> = outer.iter().map(|a| a.0).collect();
        let result = dense(&extents, inner.0);
        view::nest(&mut b, &extents, |b, at| {
            b.blocks(inner.0, lanes, |b, channel, valid| {
                let index = view::index(&at, &kept_strides(outer)) + channel.clone();
                let start = b.f32(lanes, start);
                let load = |b: &mut KernelBuilder, index: Affine| b.load_partial(lanes, valid, x, index);
                let total = over(b, &reduced, start, operation, index, &load);
                finish(b, total, view::index(&at, &result) + channel, valid);
            });
        });
    } else {
        let extents: Vec<usize> = kept.iter().map(|a| a.0).collect();
        let result = dense(&extents, 1);
        let (inner, outer) = reduced.split_last().map_or(((1, 1), &[][..]), |(last, outer)| (*last, outer));
        view::nest(&mut b, &extents, |b, at| {
            let index = view::index(&at, &kept_strides(&kept));
            let vectors = inner.0 / lanes;
            let mut total = None;
            if vectors > 0 {
                let start = b.f32(lanes, start);
                let load = |b: &mut KernelBuilder, index: Affine| b.load(lanes, x, index);
                let mut axes = outer.to_vec();
                axes.push((vectors, lanes));
                let sum = over(b, &axes, start, operation, index.clone(), &load);
                total = Some(across(b, operation, horizontal, sum));
            }
            let rest = inner.0 % lanes;
            if rest > 0 {
                let start = b.f32(1, start);
                let load = |b: &mut KernelBuilder, index: Affine| b.load(1, x, index);
                let mut axes = outer.to_vec();
                axes.push((rest, 1));
                let sum = over(b, &axes, start, operation, index + vectors * lanes, &load);
                total = Some(match total {
                    Some(total) => math::binary(b, operation, total, sum),
                    None => sum,
                });
            }
            if let Some(total) = total {
                finish(b, total, view::index(&at, &result), 1);
            }
        });
    }
    let in_place = epilogue.in_place(1);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}

/// Joins neighbouring axes that are one run in memory and drops those of one element.
fn join_axes(axes: &mut Vec<Axis>) {
    axes.retain(|a| a.0 != 1);
    let mut joined: Vec<Axis> = Vec::new();
    for &(extent, stride) in axes.iter() {
        match joined.last_mut() {
            Some(last) if last.1 == stride * extent => *last = (last.0 * extent, stride),
            _ => joined.push((extent, stride)),
        }
    }
    *axes = joined;
}

fn dense(extents: &[usize], inner: usize) -> Vec<usize> {
    let mut strides = vec![inner; extents.len()];
    for i in (1..extents.len()).rev() {
        strides[i - 1] = strides[i] * extents[i];
    }
    strides
}

/// `e^(value - largest)`.
fn power(b: &mut KernelBuilder, largest: ValueId, value: ValueId) -> ValueId {
    let below = b.sub(largest, value);
    math::exp_of_distance(b, below, 1.0)
}

/// Softmax: the largest element, the sum of the powers, in runs, the quotients. Lanes run along the axis itself when it is the
/// innermost, along what is inside of it when not.
pub(crate) fn softmax(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Softmax { axis }, [input, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as softmax", problem.op.name())));
    };
    if !problem.epilogue.is_empty() {
        return Err(LowerError::unsupported(problem, "softmax with an epilogue"));
    }
    let dims = input.dims();
    let outer: usize = dims[..*axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let extent = dims[*axis];
    let mut b = KernelBuilder::new("softmax");
    let x = b.buffer("x", Element::F32, input.shape.elements(), Access::Read);
    let y = b.buffer("y", Element::F32, input.shape.elements(), Access::Write);
    b.repeat(outer, |b, o| {
        if inner == 1 {
            let base = o * extent;
            let tail = extent % lanes;
            let vectors = extent / lanes;
            // The tail's missing lanes must not win, so it is done in scalars.
            let parts = [(vectors, lanes, Affine::default()), (tail, 1, Affine::from(vectors * lanes))];
            let mut largest: Option<ValueId> = None;
            for (count, width, from) in &parts {
                if *count == 0 {
                    continue;
                }
                let start = b.f32(*width, f32::NEG_INFINITY);
                let load = |b: &mut KernelBuilder, index: Affine| b.load(*width, x, index);
                let most = over(b, &[(*count, *width)], start, Binary::Max, &base + from.clone(), &load);
                let most = across(b, Binary::Max, Horizontal::Max, most);
                largest = Some(match largest {
                    Some(other) => math::binary(b, Binary::Max, other, most),
                    None => most,
                });
            }
            let Some(largest) = largest else { return };
            let mut sum = b.f32(1, 0.0);
            for (count, width, from) in &parts {
                let largest = b.splat(*width, largest);
                let zero = b.f32(*width, 0.0);
                let part = in_runs(b, *count, &[zero], Binary::Add, &|b, i, sum| {
                    let index = &base + from.clone() + i * *width;
                    let value = b.load(*width, x, index.clone());
                    let power = power(b, largest, value);
                    b.store(y, index, power);
                    vec![b.add(sum[0], power)]
                });
                let part = b.reduce(Horizontal::Add, part[0]);
                sum = b.add(sum, part);
            }
            for (count, width, from) in &parts {
                let sum = b.splat(*width, sum);
                b.repeat(*count, |b, i| {
                    let index = &base + from.clone() + i * *width;
                    let value = b.load(*width, y, index.clone());
                    let value = b.div(value, sum);
                    b.store(y, index, value);
                });
            }
            return;
        }
        b.blocks(inner, lanes, |b, i, valid| {
            let base = &o * (extent * inner) + i;
            let load = |b: &mut KernelBuilder, index: Affine| b.load_partial(lanes, valid, x, index);
            let start = b.f32(lanes, f32::NEG_INFINITY);
            let largest = over(b, &[(extent, inner)], start, Binary::Max, base.clone(), &load);
            let zero = b.f32(lanes, 0.0);
            let sum = in_runs(b, extent, &[zero], Binary::Add, &|b, k, sum| {
                let index = &base + k * inner;
                let value = b.load_partial(lanes, valid, x, index.clone());
                let power = power(b, largest, value);
                b.store_partial(y, index, power, valid);
                vec![b.add(sum[0], power)]
            })[0];
            b.repeat(extent, |b, k| {
                let index = &base + k * inner;
                let value = b.load_partial(lanes, valid, y, index.clone());
                let value = b.div(value, sum);
                b.store_partial(y, index, value, valid);
            });
        });
    });
    emitter.call(b.finish(), &[Operand::Input(0), Operand::Output]);
    Ok(())
}
