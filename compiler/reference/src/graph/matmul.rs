//! Batched matrix product.

use avocet_ir::{Op, Shape, Tensor, TensorType};

use super::gather::{broadcast_tables, gather};
use super::parallel::for_each_chunk;
use super::{EvaluateError, f32_data};

/// `a @ b`, each with its last two dimensions exchanged first if the flag beside it says so.
pub(super) fn matmul(
    op: &Op,
    (a, transpose_a): (&Tensor, bool),
    (b, transpose_b): (&Tensor, bool),
    output: &TensorType,
) -> Result<Vec<f32>, EvaluateError> {
    let (a_data, b_data) = (f32_data(op, a)?, f32_data(op, b)?);
    if output.shape.elements() == 0 {
        return Ok(Vec::new());
    }
    let split = output.shape.rank() - 2;
    let (m, n) = (output.dims()[split], output.dims()[split + 1]);
    let k = a.shape()[a.shape().rank() - if transpose_a { 2 } else { 1 }];
    let (a_starts, b_starts) = (starts(a, output)?, starts(b, output)?);
    // Element [i, l] of `a` and [l, j] of `b` within their matrices.
    let a_at = |i: usize, l: usize| if transpose_a { l * m + i } else { i * k + l };

    let mut out = vec![0.0; output.shape.elements()];
    let work = out.len().saturating_mul(k);
    for_each_chunk(&mut out, n, work, |row, out| {
        let (batch, i) = (row / m, row % m);
        let (a, b) = (&a_data[a_starts[batch]..], &b_data[b_starts[batch]..]);
        // Two loop orders, so that the inner loop runs along memory in both forms of `b`.
        if transpose_b {
            for (j, out) in out.iter_mut().enumerate() {
                let column = &b[j * k..(j + 1) * k];
                let products =
                    column.iter().enumerate().map(|(l, &b)| f64::from(a[a_at(i, l)]) * f64::from(b));
                *out = products.sum::<f64>() as f32;
            }
        } else {
            let mut sums = vec![0.0f64; n];
            for l in 0..k {
                let factor = f64::from(a[a_at(i, l)]);
                for (sum, &b) in sums.iter_mut().zip(&b[l * n..(l + 1) * n]) {
                    *sum += factor * f64::from(b);
                }
            }
            out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = sum as f32);
        }
    });
    Ok(out)
}

/// Offset of the operand's matrix for each matrix of the result, in order. The result is not empty.
fn starts(operand: &Tensor, output: &TensorType) -> Result<Vec<usize>, EvaluateError> {
    let leading =
        |dims: &[usize]| Shape::new(&dims[..dims.len() - 2]).map_err(avocet_ir::infer::InferError::from);
    let (own, all) = (leading(operand.shape().dims())?, leading(output.dims())?);
    let matrix: usize = operand.shape().dims()[own.rank()..].iter().product();
    let offsets: Vec<usize> = (0..own.elements()).map(|i| i * matrix).collect();
    Ok(gather(&offsets, &broadcast_tables(&own, &all), 0))
}
