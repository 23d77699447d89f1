//! Pooling of channels-last images, channels in vectors; borders are segments of their own.

use avocet_ir::kernel::{Access, Element, KernelBuilder, ValueId};
use avocet_ir::op::{Binary, Layout, Op, PoolKind};
use avocet_ir::schedule::Outer;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::math;
use crate::problem::Problem;
use crate::sliding::Sliding;

/// Positions of a row that are computed together; pooling is bound by memory, so one will do.
/// Windows of up to this many rows are written out; taller ones are a loop over their rows.
const WRITTEN_ROWS: usize = 3;
const COLUMNS: usize = 1;

/// Largest element or mean of each window.
pub(crate) fn generate(problem: &Problem, lanes: usize, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::Pool(pool), [image, ..]) = (problem.op, &problem.inputs[..]) else {
        return Err(LowerError::unsupported(problem, format!("{} as pooling", problem.op.name())));
    };
    if pool.layout != Layout::Nhwc {
        return Err(LowerError::unsupported(problem, "pooling of channels-first images"));
    }
    let mut b = KernelBuilder::new(problem.op.name());
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![Operand::Input(0), Operand::Output];
    let epilogue = Epilogue::new(problem, &[1, 1, 1, 1], &mut b, &mut operands)?;
    let sliding = Sliding::new(
        &image.shape,
        &problem.output.shape,
        pool.window,
        pool.strides,
        pool.dilations,
        pool.padding,
    )
    .with_pitch([problem.pitches[0], problem.pitch]);
    let [tap_row, tap_column] = sliding.tap_strides();
    let order = (COLUMNS, lanes, Outer::Positions);
    sliding.emit(
        &mut b,
        order,
        |_, _| (),
        |b, block, ()| {
            let strip = &block.strip;
            let [rows, columns] = [strip.rows.taps.len(), strip.row.taps.len()];
            let (start, join) = match pool.kind {
                PoolKind::Max => (f32::NEG_INFINITY, Binary::Max),
                PoolKind::Average { .. } => (0.0, Binary::Add),
            };
            let start = b.f32(strip.lanes, start);
            let row_of_taps = |b: &mut KernelBuilder, row: avocet_ir::kernel::Affine, total: ValueId| {
                let mut total = total;
                for tap in 0..columns {
                    let index = &block.image + (&row * tap_row) + tap * tap_column;
                    let pixel = b.load_partial(strip.lanes, strip.valid, x, index);
                    total = math::binary(b, join, total, pixel);
                }
                total
            };
            let total = if rows <= WRITTEN_ROWS {
                (0..rows).fold(start, |total, row| row_of_taps(b, row.into(), total))
            } else {
                b.repeat_carrying(rows, &[start], |b, row, total| vec![row_of_taps(b, row, total[0])])[0]
            };
            let value = match pool.kind {
                PoolKind::Max => total,
                PoolKind::Average { count_padding } => {
                    let count = match count_padding {
                        true => strip.rows.padded_taps * strip.row.padded_taps,
                        false => rows * columns,
                    };
                    // A window over padding alone has the mean 0.
                    let divisor = b.f32(strip.lanes, count.max(1) as f32);
                    b.div(total, divisor)
                }
            };
            let value = epilogue.apply(b, value, &block.at, strip.valid);
            b.store_partial(y, sliding.result(&block.at), value, strip.valid);
        },
    );
    let in_place = epilogue.in_place(1);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
