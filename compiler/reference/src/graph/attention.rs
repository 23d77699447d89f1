//! Attention: every query's mean of the values, weighted by how well the keys fit it.

use avocet_ir::{Op, Shape, Tensor, TensorType, infer::InferError};

use super::arithmetic::max;
use super::gather::{broadcast_tables, gather};
use super::parallel::for_each_chunk;
use super::{EvaluateError, f32_data};

/// `softmax(q k^T * scale + masks) v`, a query at a time.
pub(super) fn attention(
    op: &Op,
    [q, k, v]: [&Tensor; 3],
    masks: &[&Tensor],
    scale: f32,
    output: &TensorType,
) -> Result<Vec<f32>, EvaluateError> {
    let (queries, keys, values) = (f32_data(op, q)?, f32_data(op, k)?, f32_data(op, v)?);
    let mut out = vec![0.0; output.shape.elements()];
    if out.is_empty() {
        return Ok(out);
    }
    let rank = output.shape.rank();
    let (rows, width) = (output.shape[rank - 2], output.shape[rank - 1]);
    let (count, inner) = (k.shape()[rank - 2], k.shape()[rank - 1]);
    let scores = Shape::new([&output.dims()[..rank - 1], &[count]].concat()).map_err(InferError::from)?;
    let mut whole = Vec::new();
    for mask in masks {
        whole.push(gather(f32_data(op, mask)?, &broadcast_tables(mask.shape(), &scores), 0.0));
    }
    let work = out.len().saturating_mul(count).saturating_add(scores.elements().saturating_mul(inner));
    for_each_chunk(&mut out, width, work, |row, out| {
        let batch = row / rows;
        let query = &queries[row * inner..][..inner];
        let fit = |n: usize| -> f64 {
            let key = &keys[(batch * count + n) * inner..][..inner];
            let product: f64 = query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum();
            let masks = whole.iter().map(|mask: &Vec<f32>| f64::from(mask[row * count + n]));
            masks.fold(product * f64::from(scale), |sum, mask| sum + mask)
        };
        let scores: Vec<f64> = (0..count).map(fit).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut total = vec![0.0f64; width];
        for (n, weight) in weights.iter().enumerate() {
            let value = &values[(batch * count + n) * width..][..width];
            total.iter_mut().zip(value).for_each(|(total, &value)| *total += weight / sum * f64::from(value));
        }
        out.iter_mut().zip(&total).for_each(|(out, &total)| *out = total as f32);
    });
    Ok(out)
}
