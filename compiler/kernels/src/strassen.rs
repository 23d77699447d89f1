//! Matrix products by the method of Strassen in Winograd's form: seven products of quarters instead of eight.
//!
//! Two rows of blocks, two of columns: with `A = [A11 A12; A21 A22]`, `B` and `C` likewise,
//!
//! ```text
//! S1 = A21 + A22   T1 = B12 - B11   P1 = A11 B11   P5 = S1 T1   C11 = P1 + P2
//! S2 = S1 - A11    T2 = B22 - T1    P2 = A12 B21   P6 = S2 T2   C21 = P1 + P6 + P7 - P4
//! S3 = A11 - A21   T3 = B22 - B12   P3 = S4 B22    P7 = S3 T3   C22 = P1 + P6 + P7 + P5
//! S4 = A12 - S2    T4 = T2 - B21    P4 = A22 T4                 C12 = P1 + P6 + P5 + P3
//! ```
//!
//! (V. Strassen, "Gaussian elimination is not optimal", 1969; in the form of S. Winograd, with one level, as in Huang et
//! al., "Strassen's algorithm reloaded", SC 2016, but without its updates of C in memory.) The quarters of A are the upper
//! and lower rows of each double block of rows, so what passes between the products of a block is a few vectors that stay in
//! the first cache, what is read of the image is near together, and each element of the result is written once, through
//! the epilogue. The kernel makes the sums of A, once for each double block. The sums of B are made here, in f64, so the
//! weights are seven quarters of what they were: made by the kernel for each pair of panels they cost 5 % where an operator
//! is in four parts, and made while they are read they cost all that the method saves (measured on Zen 4).
//!
//! Error, relative to the largest result, measured against f64 on what a ReLU leaves of normally distributed pixels and
//! weights as in trained networks: 9e-7 for sums of 512 terms and 2.3e-6 for 2048, where the plain product has 6e-7 and 9e-7.
//! The bound is 4e-6; the test `errors` holds it below. An infinity or NaN spreads to the other row of its pair.

use std::ops::Range;

use avocet_ir::TensorType;
use avocet_ir::kernel::{Access, Affine, BufferId, Element, KernelBuilder, ValueId};
use avocet_ir::op::Op;
use avocet_ir::schedule::{Outer, Tile};
use avocet_ir::tensor::TensorData;

use crate::emitter::{Emitter, Operand};
use crate::epilogue::{self, Epilogue};
use crate::lower::LowerError;
use crate::microkernel::{self, Block, Step};
use crate::problem::Problem;
use crate::winograd::spread;
use crate::{gemm, pack};

/// Products.
const PRODUCTS: usize = 7;
/// Sums of quarters of A for each row of a half block.
const SUMS: usize = 4;

/// Sizes of a product whose rows all lie one after the other.
struct Sizes {
    rows: usize,
    /// Elements between rows of the left operand.
    stride: usize,
    inner: usize,
    width: usize,
}

/// The right operand: weight of column `n` at `k`.
type Weight<'a> = Box<dyn Fn(usize, usize) -> f32 + 'a>;

/// The product that a problem is, when it can be computed so.
fn product<'a>(problem: &'a Problem) -> Option<(Sizes, Weight<'a>)> {
    let weights = problem.constants.get(1).copied().flatten()?.as_f32()?;
    let left: &TensorType = problem.inputs.first()?;
    let width = *problem.output.dims().last()?;
    let (inner, transposed) = match problem.op {
        Op::Conv(_) => (*left.dims().last()?, true),
        Op::MatMul { transpose_a: false, transpose_b } => (*left.dims().last()?, *transpose_b),
        _ => return None,
    };
    let rows = problem.output.shape.elements().checked_div(width)?;
    let whole = [problem.output.shape.rank() - 1, 1];
    let halves = inner.is_multiple_of(2) && width.is_multiple_of(2) && rows >= 2;
    let single = weights.len() == inner * width && left.shape.elements() == rows * inner;
    (halves && single && Epilogue::fits(problem, &whole)).then(|| {
        let at = move |n: usize, k: usize| weights[if transposed { n * inner + k } else { k * width + n }];
        (Sizes { rows, stride: problem.pitches[0], inner, width }, Box::new(at) as Weight)
    })
}

/// A pointwise convolution, or a product with one constant matrix. What can't be halved is computed in the plain way: parts
/// of a node may be of odd sizes.
pub(crate) fn generate(problem: &Problem, tile: Tile, emitter: &mut Emitter) -> Result<(), LowerError> {
    let Some((sizes, weight)) = product(problem) else {
        return match problem.op {
            Op::Conv(_) => gemm::pointwise(problem, tile, emitter),
            _ => gemm::matmul(problem, tile, emitter),
        };
    };
    let Sizes { rows, inner, width, .. } = sizes;
    let (half_inner, half_width) = (inner / 2, width / 2);
    let packed = pack_products(&sizes, tile, weight);
    let packed_length = packed.len();
    let packed = emitter.constant(packed);
    let groups = [problem.output.shape.rank() - 1, 1];

    let pitch = spread(half_inner);
    let tiles = match tile.outer {
        Outer::Positions => 1,
        Outer::Channels => rows.div_ceil(2).div_ceil(tile.rows),
    };
    let block = tile.rows * tile.width();
    let lengths = [tiles * SUMS * tile.rows * pitch, 2 * block];
    let scratch = lengths.map(|length| emitter.scratch(length * 4));

    let mut b = KernelBuilder::new("strassen");
    let a = b.buffer("a", Element::F32, problem.input_length(0), Access::Read);
    let w = b.buffer("w", Element::F32, packed_length, Access::Read);
    let c = b.buffer("c", Element::F32, problem.result_length(), Access::Write);
    let [s, u] =
        [("s", 0), ("u", 1)].map(|(name, i)| b.buffer(name, Element::F32, lengths[i], Access::Write));
    let mut operands = vec![Operand::Input(0), packed, Operand::Output, scratch[0], scratch[1]];
    let epilogue = Epilogue::new(problem, &groups, &mut b, &mut operands)?;
    let strassen = Strassen { sizes, tile, pitch, result_pitch: problem.pitch, a, w, c, s, u, epilogue };
    match tile.outer {
        Outer::Channels => {
            strassen.blocks(&mut b, |b, block| strassen.sums(b, &block));
            b.blocks(half_width, tile.width(), |b, column, columns| {
                let panel = strassen.panel(&column, columns);
                strassen.blocks(b, |b, block| strassen.products(b, &block, &panel));
            });
        }
        Outer::Positions => {
            strassen.blocks(&mut b, |b, block| {
                let block = HalfBlock { sums: Affine::default(), ..block };
                strassen.sums(b, &block);
                b.blocks(half_width, tile.width(), |b, column, columns| {
                    strassen.products(b, &block, &strassen.panel(&column, columns));
                });
            });
        }
    }
    // Where halves overlap, elements of the result are written twice.
    let overlaps = !rows.is_multiple_of(2);
    let in_place = if overlaps { Vec::new() } else { strassen.epilogue.in_place(2) };
    epilogue::call(emitter, b.finish(), operands, in_place);
    Ok(())
}

/// Panels of the right operands of the seven products, those of the same columns of either half together, in the order in
/// which they are read: B11, B21, T2, T3, -T4, T1, B22.
fn pack_products(sizes: &Sizes, tile: Tile, weight: Weight) -> TensorData {
    let (half_inner, half_width) = (sizes.inner / 2, sizes.width / 2);
    let mut packed = Vec::with_capacity(PRODUCTS * half_inner * half_width.next_multiple_of(tile.lanes));
    for start in (0..half_width).step_by(tile.width()) {
        let columns = (half_width - start).min(tile.width());
        for product in 0..PRODUCTS {
            let panel = pack::panels(columns, half_inner, tile.width(), tile.lanes, |column, inner| {
                let quarter = |right: usize, lower: usize| {
                    f64::from(weight(start + column + right * half_width, inner + lower * half_inner))
                };
                let [b11, b12, b21, b22] = [quarter(0, 0), quarter(1, 0), quarter(0, 1), quarter(1, 1)];
                let value = match product {
                    0 => b11,
                    1 => b21,
                    2 => b22 - b12 + b11,
                    3 => b22 - b12,
                    4 => b21 - (b22 - b12 + b11),
                    5 => b12 - b11,
                    _ => b22,
                };
                value as f32
            });
            if let TensorData::F32(panel) = panel {
                packed.extend_from_slice(&panel);
            }
        }
    }
    TensorData::F32(packed.into())
}

/// A block of rows, the upper half and the lower one.
#[derive(Clone)]
struct HalfBlock {
    /// First row of the upper half.
    first: Affine,
    /// Rows from there to the first one of the lower half: one less than those of a half where both have a row in common.
    lower: usize,
    /// Rows of a half.
    rows: usize,
    /// Where its sums of A are.
    sums: Affine,
}

/// Columns of the left half of the result, and those in the same places of the right half.
struct Panel {
    column: Affine,
    columns: usize,
    /// Elements of a row of the panel.
    width: usize,
}

struct Strassen {
    sizes: Sizes,
    tile: Tile,
    /// Elements between rows of sums of A.
    pitch: usize,
    /// Elements between rows of the result.
    result_pitch: usize,
    a: BufferId,
    w: BufferId,
    c: BufferId,
    s: BufferId,
    u: BufferId,
    epilogue: Epilogue,
}

impl Strassen {
    fn half_inner(&self) -> usize {
        self.sizes.inner / 2
    }

    /// Calls the closure for each block of rows, as few as the tile allows and all of nearly the same size. With an odd number
    /// of rows the halves of the last block have a row in common.
    fn blocks(&self, b: &mut KernelBuilder, mut body: impl FnMut(&mut KernelBuilder, HalfBlock)) {
        let rows = self.sizes.rows;
        let pairs = rows.div_ceil(2);
        let blocks = pairs.div_ceil(self.tile.rows);
        let (small, larger) = (pairs / blocks, pairs % blocks);
        let sums = SUMS * self.tile.rows * self.pitch;
        let mut run =
            |b: &mut KernelBuilder, blocks: Range<usize>, rows: usize, first: usize, lower: usize| {
                b.repeat(blocks.len(), |b, index| {
                    let first = &index * (2 * rows) + first;
                    body(b, HalfBlock { first, lower, rows, sums: (index + blocks.start) * sums });
                });
            };
        let odd = rows % 2;
        let of_larger = 2 * larger * (small + 1);
        run(b, 0..larger, small + 1, 0, small + 1);
        run(b, larger..blocks - odd, small, of_larger, small);
        run(b, blocks - odd..blocks, small, rows + odd - 2 * small, small - 1);
    }

    fn panel(&self, column: &Affine, columns: usize) -> Panel {
        let width = columns.next_multiple_of(self.tile.lanes);
        Panel { column: column.clone(), columns, width }
    }

    /// Where the right operand of a product is.
    fn weights(&self, panel: &Panel, product: usize) -> Affine {
        (&panel.column * PRODUCTS + product * panel.width) * self.half_inner()
    }

    /// S1 to S4 of a block.
    fn sums(&self, b: &mut KernelBuilder, block: &HalfBlock) {
        let (stride, half) = (self.sizes.stride, self.half_inner());
        let lanes = self.tile.lanes;
        b.repeat(block.rows, |b, row| {
            let upper = (&block.first + row.clone()) * stride;
            let lower = (&block.first + row.clone() + block.lower) * stride;
            b.blocks(half, lanes, |b, k, valid| {
                let mut load = |start: &Affine, right: usize| {
                    b.load_partial(lanes, valid, self.a, start + k.clone() + right * half)
                };
                let [a11, a12] = [0, 1].map(|right| load(&upper, right));
                let [a21, a22] = [0, 1].map(|right| load(&lower, right));
                let s1 = b.add(a21, a22);
                let s2 = b.sub(s1, a11);
                let s3 = b.sub(a11, a21);
                let s4 = b.sub(a12, s2);
                for (number, sum) in [s1, s2, s3, s4].into_iter().enumerate() {
                    let row = (&row + number * block.rows) * self.pitch;
                    b.store_partial(self.s, &block.sums + row + k.clone(), sum, valid);
                }
            });
        });
    }

    /// The products of a block and a panel, and all four parts of the result.
    fn products(&self, b: &mut KernelBuilder, block: &HalfBlock, panel: &Panel) {
        let (lanes, stride, half) = (self.tile.lanes, self.sizes.stride, self.half_inner());
        let vectors = panel.width / lanes;
        let image = |lower: bool, right: bool| {
            let row = &block.first + if lower { block.lower } else { 0 };
            ((self.a, row * stride + if right { half } else { 0 }), stride)
        };
        let sum = |number: usize| ((self.s, &block.sums + number * block.rows * self.pitch), self.pitch);
        let weights = |product| (self.w, self.weights(panel, product));
        let add = |b: &mut KernelBuilder,
                   (image, row_stride): ((BufferId, Affine), usize),
                   weights: (BufferId, Affine),
                   sums: Vec<ValueId>| {
            let rows = block.rows;
            let block = Block { image, row_stride, weights, rows, vectors, lanes, last_valid: lanes };
            let step = Step { count: half, image: 1, weights: panel.width };
            microkernel::add_to(b, &block, &[step], sums)
        };
        let last = panel.columns - (vectors - 1) * lanes;
        let save = |b: &mut KernelBuilder, sums: &[ValueId], slot: usize| {
            for (i, &sum) in sums.iter().enumerate() {
                b.store(self.u, (slot * block.rows * vectors + i) * lanes, sum);
            }
        };
        let saved = |b: &mut KernelBuilder, i: usize, slot: usize| {
            b.load(lanes, self.u, (slot * block.rows * vectors + i) * lanes)
        };
        // One vector of a quarter of the result.
        let store = |b: &mut KernelBuilder, i: usize, sum: ValueId, lower: bool, right: bool| {
            let (r, v) = (i / vectors, i % vectors);
            let valid = if v + 1 == vectors { last } else { lanes };
            let row = &block.first + r + if lower { block.lower } else { 0 };
            let column = &panel.column + v * lanes + if right { self.sizes.width / 2 } else { 0 };
            let index = &row * self.result_pitch + column.clone();
            let value = self.epilogue.apply(b, sum, &[row, column], valid);
            b.store_partial(self.c, index, value, valid);
        };
        let zeros = |b: &mut KernelBuilder| vec![b.f32(lanes, 0.0); block.rows * vectors];

        let start = zeros(b);
        let p1 = add(b, image(false, false), weights(0), start);
        save(b, &p1, 0);
        let c11 = add(b, image(false, true), weights(1), p1);
        epilogue::each(b, &c11, |b, i, sum| store(b, i, sum, false, false));
        let p1: Vec<ValueId> = (0..c11.len()).map(|i| saved(b, i, 0)).collect();
        let u2 = add(b, sum(1), weights(2), p1);
        save(b, &u2, 0);
        let u3 = add(b, sum(2), weights(3), u2);
        save(b, &u3, 1);
        let c21 = add(b, image(true, true), weights(4), u3);
        epilogue::each(b, &c21, |b, i, sum| store(b, i, sum, true, false));
        let start = zeros(b);
        let p5 = add(b, sum(0), weights(5), start);
        let mut with_u2 = Vec::with_capacity(p5.len());
        epilogue::each(b, &p5, |b, i, sum| {
            let u3 = saved(b, i, 1);
            let c22 = b.add(sum, u3);
            store(b, i, c22, true, true);
            let u2 = saved(b, i, 0);
            with_u2.push(b.add(sum, u2));
        });
        let c12 = add(b, sum(3), weights(6), with_u2);
        epilogue::each(b, &c12, |b, i, sum| store(b, i, sum, false, true));
    }
}
