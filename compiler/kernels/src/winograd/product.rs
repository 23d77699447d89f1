//! The matrix products of a strip and the transform of what they give.
//!
//! Output channels go in groups: the products of a group at all positions stay in cache until they are transformed.

use avocet_ir::TensorType;
use avocet_ir::kernel::{Access, Affine, BufferId, Element, KernelBuilder, ValueId};
use avocet_ir::schedule::Winograd;

use super::points::Points;
use super::strip::Strip;
use super::{Sizes, linear, row_width, spread};
use crate::emitter::{Emitter, Operand};
use crate::epilogue::Epilogue;
use crate::lower::LowerError;
use crate::microkernel::{self, Block, Step};
use crate::problem::{self, Problem};

/// Output channels of a group, vectors filled up.
pub(super) fn group_width(sizes: &Sizes, schedule: &Winograd) -> usize {
    let all = sizes.outputs.next_multiple_of(schedule.tile.lanes);
    (schedule.panels.max(1) * schedule.tile.width()).min(all)
}

/// Output channels that are computed together.
struct Group {
    first: Affine,
    channels: usize,
    /// Elements of a row of products: the channels with the last vector filled up.
    width: usize,
    /// Elements between the products of two positions.
    matrix: usize,
}

/// Calls the kernel on the transformed pixels, the packed weights and memory for products.
pub(super) fn call(
    problem: &Problem,
    sizes: &Sizes,
    points: &Points,
    schedule: &Winograd,
    strip: &Strip,
    [transformed, packed, products]: [Operand; 3],
    emitter: &mut Emitter,
) -> Result<(), LowerError> {
    let tiles = strip.count(sizes);
    let (positions, lanes) = (points.positions(), schedule.tile.lanes);
    let output = of_strip(problem, problem.output, problem.pitch, strip)?;
    let mut inputs = problem.inputs.clone();
    for (ty, &pitch) in inputs.iter_mut().zip(&problem.pitches).skip(2) {
        *ty = of_strip(problem, ty, pitch, strip)?.0;
    }
    let part = Problem { output: &output.0, inputs, ..problem.clone() };

    let mut b = KernelBuilder::new("winograd_product");
    let input_matrix = spread(tiles * row_width(sizes, lanes));
    let weights = positions * sizes.inputs * sizes.outputs.next_multiple_of(lanes);
    let group_width = group_width(sizes, schedule);
    let v = b.buffer("v", Element::F32, positions * input_matrix, Access::Read);
    let w = b.buffer("w", Element::F32, weights, Access::Read);
    let m = b.buffer("m", Element::F32, positions * spread(tiles * group_width), Access::Write);
    let y = b.buffer("y", Element::F32, part.result_length(), Access::Write);
    let mut operands = vec![transformed, packed, products, Operand::Output];
    let epilogue = Epilogue::new(&part, &[1, 1, 1, 1], &mut b, &mut operands)?;
    b.blocks(sizes.outputs, group_width, |b, first, channels| {
        let width = channels.next_multiple_of(lanes);
        let group = Group { first, channels, width, matrix: spread(tiles * width) };
        multiply(b, sizes, positions, schedule, tiles, &group, [v, w, m]);
        each_tile(b, strip.result.len(), sizes.result[1], points.outputs(), |b, at, extents| {
            let tile = &at[0] * sizes.tiles[1] + at[1].clone();
            let corner = at.map(|index| index * points.outputs());
            b.blocks(group.channels, lanes, |b, channel, valid| {
                let from = (m, &tile * group.width + channel.clone());
                let channel = &group.first + channel;
                transform(b, *points, lanes, from, group.matrix, extents, |b, [row, column], value| {
                    let at = [Affine::default(), &corner[0] + row, &corner[1] + column, channel.clone()];
                    let pixel = &at[1] * sizes.result[1] + at[2].clone();
                    let value = epilogue.apply(b, value, &at, valid);
                    b.store_partial(y, pixel * sizes.pitch[1] + channel.clone(), value, valid);
                });
            });
        });
    });

    // Operands that are whole in the strip only because it is small can't take the result's memory.
    let whole = |&(read, _): &(usize, usize)| match operands[read] {
        Operand::Input(i) => problem.is_like_result(i),
        _ => false,
    };
    let in_place = epilogue.in_place(3).into_iter().filter(whole).collect();
    let arguments = operands.iter().map(|&operand| {
        let offset = match operand {
            Operand::Output => Ok(output.1),
            Operand::Input(i) => {
                of_strip(problem, &problem.inputs[i], problem.pitches[i], strip).map(|(_, offset)| offset)
            }
            _ => Ok(0),
        };
        Ok((operand, offset?))
    });
    let arguments = arguments.collect::<Result<Vec<_>, LowerError>>()?;
    emitter.call_at(b.finish(), arguments, in_place);
    Ok(())
}

/// What a strip has of a tensor that broadcasts to the result: its type, and the byte where it begins.
fn of_strip(
    problem: &Problem,
    ty: &TensorType,
    pitch: usize,
    strip: &Strip,
) -> Result<(TensorType, usize), LowerError> {
    let mut dims = ty.dims().to_vec();
    // Batch and height, as far as the tensor has them.
    let missing = 4 - dims.len().min(4);
    let mut offset = 0;
    for (axis, range) in [(0, strip.image..strip.image + 1), (1, strip.result.clone())] {
        let Some(own) = usize::checked_sub(axis, missing).filter(|&own| dims[own] != 1) else { continue };
        offset += range.start * problem::elements_from(ty, own + 1, pitch) * ty.dtype.bytes();
        dims[own] = range.len();
    }
    let shape = avocet_ir::Shape::new(dims).map_err(|e| LowerError::unsupported(problem, e.to_string()))?;
    Ok((TensorType::new(ty.dtype, shape), offset))
}

/// The products at all positions, the weights of each read once in their order.
fn multiply(
    b: &mut KernelBuilder,
    sizes: &Sizes,
    positions: usize,
    schedule: &Winograd,
    tiles: usize,
    group: &Group,
    [v, w, m]: [BufferId; 3],
) {
    let Winograd { tile, .. } = *schedule;
    let input_width = row_width(sizes, tile.lanes);
    let input_matrix = spread(tiles * input_width);
    b.repeat(positions, |b, position| {
        let weights = &group.first * (positions * sizes.inputs) + &position * (group.width * sizes.inputs);
        b.blocks(group.width, tile.width(), |b, column, columns| {
            let vectors = columns / tile.lanes;
            b.blocks(tiles, tile.rows, |b, row, rows| {
                let block = Block {
                    image: (v, &position * input_matrix + &row * input_width),
                    row_stride: input_width,
                    weights: (w, &weights + &column * sizes.inputs),
                    rows,
                    vectors,
                    lanes: tile.lanes,
                    last_valid: tile.lanes,
                };
                let step = Step { count: sizes.inputs, image: 1, weights: columns };
                let zeros = vec![b.f32(block.lanes, 0.0); block.vectors];
                let sums = microkernel::accumulate(b, &block, &[step], &zeros);
                let start = &position * group.matrix + &row * group.width + column.clone();
                for (i, &sum) in sums.iter().enumerate() {
                    b.store(m, &start + i / vectors * group.width + i % vectors * tile.lanes, sum);
                }
            });
        });
    });
}

/// Loops over tiles; the closure gets a tile's row and column and how many rows and columns of the result it has.
fn each_tile(
    b: &mut KernelBuilder,
    rows: usize,
    columns: usize,
    output: usize,
    mut body: impl FnMut(&mut KernelBuilder, [Affine; 2], [usize; 2]),
) {
    along(b, rows, output, &mut |b, row, height| {
        along(b, columns, output, &mut |b, column, width| {
            body(b, [row.clone(), column], [height, width]);
        });
    });
}

/// Calls the closure with the number and the extent of each tile along one axis.
fn along(
    b: &mut KernelBuilder,
    extent: usize,
    output: usize,
    body: &mut dyn FnMut(&mut KernelBuilder, Affine, usize),
) {
    let (whole, rest) = (extent / output, extent % output);
    b.repeat(whole, |b, index| body(b, index, output));
    if rest > 0 {
        body(b, whole.into(), rest);
    }
}

/// Transforms a tile's products back: rows of the result with even numbers, then those with odd ones, so that half of
/// the values are alive at a time. `store` gets the place in the tile and the result.
fn transform(
    b: &mut KernelBuilder,
    points: Points,
    lanes: usize,
    (from, index): (BufferId, Affine),
    matrix: usize,
    [height, width]: [usize; 2],
    mut store: impl FnMut(&mut KernelBuilder, [usize; 2], ValueId),
) {
    let edge = points.edge();
    let numbers = |extent: usize| {
        let of = move |odd: usize| (odd..extent).step_by(2).collect::<Vec<usize>>();
        [of(0), of(1)].into_iter().filter(|numbers| !numbers.is_empty())
    };
    for rows in numbers(height) {
        let columns: Vec<Vec<ValueId>> = (0..edge)
            .map(|column| {
                linear::results(b, lanes, points, &rows, |b, row| {
                    b.load(lanes, from, &index + (row * edge + column) * matrix)
                })
            })
            .collect();
        for (i, &row) in rows.iter().enumerate() {
            for wanted in numbers(width) {
                let values = linear::results(b, lanes, points, &wanted, |_, column| columns[column][i]);
                for (&column, value) in wanted.iter().zip(values) {
                    store(b, [row, column], value);
                }
            }
        }
    }
}
