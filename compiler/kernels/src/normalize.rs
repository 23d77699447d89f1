//! Layer norm and root-mean-square norm: each row of the last dimension in three passes, of which the first alone reads
//! memory that is not in the first cache: the mean, the mean of the squares of what is left, the quotients.
//!
//! A few rows take turns, since sums are chains. Their order is the same whatever rows are together.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, Horizontal, KernelBuilder, UnaryOp, ValueId};
use avocet_ir::op::{Binary, Op};
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::math;
use crate::problem::{Problem, width};
use crate::reduce::in_runs;
use crate::view;

/// Rows that take turns.
const TOGETHER: usize = 4;

/// Some rows of the input.
struct Rows<'a> {
    x: BufferId,
    /// The first element of each.
    starts: &'a [Affine],
    width: usize,
    lanes: usize,
    /// Ones in the lanes of the last vector that there are elements for; none where these are all.
    ones: Option<ValueId>,
}

impl Rows<'_> {
    /// The sums of what the closure makes of a row's vectors: `i` is the number of the row, and the mask of a vector that is not
    /// full is given.
    fn sums(
        &self,
        b: &mut KernelBuilder,
        step: impl Fn(&mut KernelBuilder, usize, ValueId, Option<ValueId>, ValueId) -> ValueId,
    ) -> Vec<ValueId> {
        let (whole, rest) = (self.width / self.lanes, self.width % self.lanes);
        let zeros = vec![b.f32(self.lanes, 0.0); self.starts.len()];
        let sums = in_runs(b, whole, &zeros, Binary::Add, &|b, i, sums| {
            let add = |(r, &sum): (usize, &ValueId)| {
                let value = b.load(self.lanes, self.x, &self.starts[r] + &i * self.lanes);
                step(b, r, value, None, sum)
            };
            sums.iter().enumerate().map(add).collect()
        });
        let add = |(r, sum): (usize, ValueId)| {
            let sum = match self.ones {
                Some(ones) => {
                    let index = &self.starts[r] + whole * self.lanes;
                    let value = b.load_partial(self.lanes, rest, self.x, index);
                    step(b, r, value, Some(ones), sum)
                }
                None => sum,
            };
            b.reduce(Horizontal::Add, sum)
        };
        sums.into_iter().enumerate().map(add).collect()
    }
}

pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Normalize { epsilon, centered }, shape) = (problem.op, &problem.output.shape) else {
        return Err(LowerError::unsupported(problem, format!("{} as a norm", problem.op.name())));
    };
    let (rank, width) = (shape.rank(), width(shape));
    let joined = vec![rank - 1, 1];
    let groups = if Epilogue::fits(problem, &joined) { joined } else { vec![1; rank] };
    let extents = view::extents(shape, &groups);
    let mut b = KernelBuilder::new(problem.op.name());
    let x = b.buffer("x", Element::F32, shape.elements(), Access::Read);
    let y = b.buffer("y", Element::F32, shape.elements(), Access::Write);
    let mut operands = vec![Operand::Input(0), Operand::Output];
    let ones = (!width.is_multiple_of(lanes)).then(|| {
        operands.push(emitter.constant(TensorData::F32(vec![1.0; lanes].into())));
        let ones = b.buffer("ones", Element::F32, lanes, Access::Read);
        b.load_partial(lanes, width % lanes, ones, 0usize)
    });
    let epilogue = Epilogue::new(problem, &groups, &mut b, &mut operands)?;
    let (&rows, outer) = extents[..extents.len() - 1].split_last().unwrap_or((&1, &[]));
    let strides = view::strides(shape, shape, &groups).unwrap_or_default();
    view::nest(&mut b, outer, |b, coordinates| {
        b.blocks(rows, TOGETHER, |b, first, count| {
            let at = |r: usize| [&coordinates[..], &[&first + r]].concat();
            let starts: Vec<Affine> = (0..count).map(|r| view::index(&at(r), &strides)).collect();
            let rows = Rows { x, starts: &starts, width, lanes, ones };
            let share = 1.0 / width as f32;
            let means: Option<Vec<ValueId>> = centered.then(|| {
                let sums = rows.sums(b, |b, _, value, _, sum| b.add(sum, value));
                let mean = |sum| {
                    let mean = math::scale(b, sum, share);
                    b.splat(lanes, mean)
                };
                sums.into_iter().map(mean).collect()
            });
            let squares = rows.sums(b, |b, r, mut value, ones, sum| {
                if let Some(means) = &means {
                    let mean = ones.map_or(means[r], |ones| b.mul(means[r], ones));
                    value = b.sub(value, mean);
                }
                b.mul_add(value, value, sum)
            });
            let factor = |sum| {
                let (share, epsilon, one) = (b.f32(1, share), b.f32(1, *epsilon), b.f32(1, 1.0));
                let variance = b.mul_add(sum, share, epsilon);
                let deviation = b.unary(UnaryOp::Sqrt, variance);
                let factor = b.div(one, deviation);
                b.splat(lanes, factor)
            };
            let factors: Vec<ValueId> = squares.into_iter().map(factor).collect();
            b.blocks(width, lanes, |b, column, valid| {
                b.interleaved(count, |b, r| {
                    let index = &starts[r] + column.clone();
                    let mut value = b.load_partial(lanes, valid, x, index.clone());
                    if let Some(means) = &means {
                        value = b.sub(value, means[r]);
                    }
                    value = b.mul(value, factors[r]);
                    let at = [&at(r)[..], std::slice::from_ref(&column)].concat();
                    let value = epilogue.apply(b, value, &at, valid);
                    b.store_partial(y, index, value, valid);
                });
            });
        });
    });
    let in_place = epilogue.in_place(1).into_iter().chain([(0, 1)]);
    let in_place = in_place.collect();
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
