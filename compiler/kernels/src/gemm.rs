//! Matrix products: pointwise convolution, and `MatMul` with constant or computed operands.
//!
//! `C[m, n] = A[m, k] B[k, n]`, in blocks of the tile's size. A constant B is packed in panels; a computed one is read as
//! it lies, after a transposition to scratch where it is transposed.

use avocet_ir::kernel::{Access, Affine, BufferId, Element, KernelBuilder};
use avocet_ir::op::Op;
use avocet_ir::schedule::{Outer, Tile};

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::microkernel::{self, Block, Step};
use crate::movement::{self, Region};
use crate::pack::{Matrix, Packing};
use crate::problem::Problem;
use crate::view;

/// Pointwise convolution: each pixel is a row.
pub(crate) fn pointwise(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let [image, ..] = &problem.inputs[..] else {
        return Err(LowerError::unsupported(problem, "convolution without an image"));
    };
    let (inputs, outputs) = (image.shape[3], problem.output.shape[3]);
    let matrix = Matrix { groups: (1, 0), channels: (outputs, inputs), reduction: &[(inputs, 1)] };
    let packing = Packing::panels(&matrix, tile.width(), tile.lanes);
    let packed_length = packing.length;
    let packed = packing.operand(problem, emitter);

    let groups = [&[3, 1][..], &[1, 2, 1], &[1, 1, 1, 1]].into_iter().find(|g| Epilogue::fits(problem, g));
    let groups = groups.unwrap_or(&[3, 1]);
    let extents = view::extents(&problem.output.shape, groups);
    let mut b = KernelBuilder::new("pointwise");
    let x = b.buffer("x", Element::F32, problem.input_length(0), Access::Read);
    let w = b.buffer("w", Element::F32, packed_length, Access::Read);
    let y = b.buffer("y", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![Operand::Input(0), packed, Operand::Output];
    let epilogue = Epilogue::new(problem, groups, &mut b, &mut operands)?;

    let (&rows, outer) = extents[..extents.len() - 1].split_last().unwrap_or((&1, &[]));
    view::nest(&mut b, outer, |b, coordinates| {
        let first_row = view::index(&coordinates, &dense(outer, rows));
        let product = Product {
            a: (x, &first_row * problem.pitches[0]),
            row_stride: problem.pitches[0],
            k_stride: 1,
            b: (w, Affine::default()),
            columns: Columns::Packed,
            c: (y, &first_row * problem.pitch),
            rows,
            inner: inputs,
            width: outputs,
            pitch: problem.pitch,
        };
        product.emit(b, tile, &epilogue, &coordinates);
    });
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}

/// Row-major strides of leading extents whose elements are blocks of `inner`.
fn dense(extents: &[usize], inner: usize) -> Vec<usize> {
    let mut strides = vec![inner; extents.len()];
    for i in (1..extents.len()).rev() {
        strides[i - 1] = strides[i] * extents[i];
    }
    strides
}

/// How the right operand lies in memory.
#[derive(Clone, Copy)]
enum Columns {
    /// In panels.
    Packed,
    /// As rows of the matrix.
    RowMajor,
}

/// One matrix product within a kernel.
struct Product {
    a: (BufferId, Affine),
    row_stride: usize,
    k_stride: usize,
    b: (BufferId, Affine),
    columns: Columns,
    c: (BufferId, Affine),
    rows: usize,
    inner: usize,
    width: usize,
    /// Elements between rows of the result.
    pitch: usize,
}

impl Product {
    /// Emits the loops over panels and rows. `outer` are the coordinates of the view before row and column.
    fn emit(&self, b: &mut KernelBuilder, tile: Tile, epilogue: &Epilogue, outer: &[Affine]) {
        match tile.outer {
            Outer::Channels => b.blocks(self.width, tile.width(), |b, column, columns| {
                b.blocks(self.rows, tile.rows, |b, row, rows| {
                    self.block(b, tile, epilogue, outer, (row, rows), (column.clone(), columns));
                });
            }),
            Outer::Positions => b.blocks(self.rows, tile.rows, |b, row, rows| {
                b.blocks(self.width, tile.width(), |b, column, columns| {
                    self.block(b, tile, epilogue, outer, (row.clone(), rows), (column, columns));
                });
            }),
        }
    }

    /// Emits one block of the result.
    fn block(
        &self,
        b: &mut KernelBuilder,
        tile: Tile,
        epilogue: &Epilogue,
        outer: &[Affine],
        (row, rows): (Affine, usize),
        (column, columns): (Affine, usize),
    ) {
        let vectors = columns.div_ceil(tile.lanes);
        let last = columns - (vectors - 1) * tile.lanes;
        let (start, k_step, last_valid) = match self.columns {
            Columns::Packed => (&column * self.inner, vectors * tile.lanes, tile.lanes),
            Columns::RowMajor => (column.clone(), self.width, last),
        };
        let block = Block {
            image: (self.a.0, &self.a.1 + &row * self.row_stride),
            row_stride: self.row_stride,
            weights: (self.b.0, &self.b.1 + start),
            rows,
            vectors,
            lanes: tile.lanes,
            last_valid,
        };
        let step = Step { count: self.inner, image: self.k_stride, weights: k_step };
        let place = |r: usize, v: usize| {
            let (row, column) = (&row + r, &column + v * tile.lanes);
            let index = &self.c.1 + &row * self.pitch + column.clone();
            ([outer, &[row, column]].concat(), index)
        };
        microkernel::compute(b, &block, &[step], epilogue, last, (self.c.0, place));
    }
}

/// `MatMul`: batches in loops around the product.
pub(crate) fn matmul(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let (Op::MatMul { transpose_a, transpose_b }, [left, right, ..]) = (problem.op, &problem.inputs[..])
    else {
        return Err(LowerError::unsupported(problem, format!("{} as a matrix product", problem.op.name())));
    };
    let output = &problem.output.shape;
    // The right operand is one matrix, so the rows of all left matrices are rows of one product.
    let single = right.shape.rank() == 2 || right.dims()[..right.shape.rank() - 2].iter().all(|&d| d == 1);
    let whole = [output.rank() - 1, 1];
    let joined = single && !transpose_a && output.rank() > 2 && Epilogue::fits(problem, &whole);
    let batch_rank = if joined { 0 } else { output.rank() - 2 };
    let width = output[output.rank() - 1];
    let rows = if joined { output.elements() / width.max(1) } else { output[batch_rank] };
    let inner = left.shape[left.shape.rank() - if *transpose_a { 2 } else { 1 }];
    let groups: Vec<usize> = if joined { whole.to_vec() } else { vec![1; output.rank()] };

    // The right operand: packed when it is one constant matrix, made row-major otherwise.
    let constant = problem.constants[1].and_then(|t| t.as_f32()).filter(|_| single);
    let (b_operand, b_length, columns) = match constant {
        Some(_) => {
            let (column, depth) = if *transpose_b { (inner, 1) } else { (1, width) };
            let matrix = Matrix { groups: (1, 0), channels: (width, column), reduction: &[(inner, depth)] };
            let packing = Packing::panels(&matrix, tile.width(), tile.lanes);
            (packing.operand(problem, emitter), packing.length, Columns::Packed)
        }
        None if *transpose_b => {
            let elements = right.shape.elements();
            let scratch = emitter.scratch(elements * 4);
            let batches = elements.checked_div(inner * width).unwrap_or(0);
            let copy = Region {
                extents: vec![batches, inner, width],
                from: (0, vec![(inner * width) as i64, 1, inner as i64]),
                to: (0, vec![(inner * width) as i64, width as i64, 1]),
            };
            let kernel =
                movement::copy_box("transpose", Element::F32, elements, elements, &[copy], tile.lanes);
            emitter.call(kernel, &[Operand::Input(1), scratch]);
            (scratch, elements, Columns::RowMajor)
        }
        None => (Operand::Input(1), right.shape.elements(), Columns::RowMajor),
    };

    let mut b = KernelBuilder::new("matmul");
    let x = b.buffer("a", Element::F32, problem.input_length(0), Access::Read);
    let w = b.buffer("b", Element::F32, b_length, Access::Read);
    let y = b.buffer("c", Element::F32, problem.result_length(), Access::Write);
    let mut operands = vec![Operand::Input(0), b_operand, Operand::Output];
    let epilogue = Epilogue::new(problem, &groups, &mut b, &mut operands)?;

    let batch = avocet_ir::Shape::new(&output.dims()[..batch_rank])
        .map_err(|e| LowerError::unsupported(problem, e.to_string()))?;
    // Strides of the batch dimensions, zero where an operand broadcasts.
    let over_batch = |shape: &avocet_ir::Shape, matrix: usize| -> Vec<usize> {
        if batch_rank == 0 {
            return Vec::new();
        }
        let lead = &shape.dims()[..shape.rank() - 2];
        let lead = avocet_ir::Shape::new(lead).ok();
        let strides = lead.and_then(|lead| view::strides(&lead, &batch, &vec![1; batch_rank]));
        strides.unwrap_or_default().iter().map(|s| s * matrix).collect()
    };
    let lines = if *transpose_a { inner } else { rows };
    let (a_strides, b_strides) =
        (over_batch(&left.shape, lines * problem.pitches[0]), over_batch(&right.shape, inner * width));
    let c_strides = dense(batch.dims(), rows * problem.pitch);
    view::nest(&mut b, batch.dims(), |b, coordinates| {
        let b_start = match columns {
            Columns::Packed => Affine::default(),
            Columns::RowMajor => view::index(&coordinates, &b_strides),
        };
        let product = Product {
            a: (x, view::index(&coordinates, &a_strides)),
            row_stride: if *transpose_a { 1 } else { problem.pitches[0] },
            k_stride: if *transpose_a { problem.pitches[0] } else { 1 },
            b: (w, b_start),
            columns,
            c: (y, view::index(&coordinates, &c_strides)),
            rows,
            inner,
            width,
            pitch: problem.pitch,
        };
        product.emit(b, tile, &epilogue, &coordinates);
    });
    let in_place = epilogue.in_place(2);
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}
