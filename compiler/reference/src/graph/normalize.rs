//! Operators that rescale along an axis: softmax, batch normalisation and layer norm.

use avocet_ir::{Op, Tensor};

use super::arithmetic::max;
use super::{EvaluateError, f32_data};

/// Elements before, along and after an axis: element `[a, i, b]` lies at `(a * along + i) * after + b`.
fn split_at(x: &Tensor, axis: usize) -> (usize, usize, usize) {
    let dims = x.shape().dims();
    (dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product())
}

/// `exp(x - max) / sum of exp(x - max)` along the axis; the maximum is taken off so that nothing overflows.
pub(super) fn softmax(op: &Op, x: &Tensor, axis: usize) -> Result<Vec<f32>, EvaluateError> {
    let data = f32_data(op, x)?;
    let mut out = vec![0.0; data.len()];
    if data.is_empty() {
        return Ok(out);
    }
    let (before, along, after) = split_at(x, axis);
    for start in (0..before).flat_map(|a| (0..after).map(move |b| a * along * after + b)) {
        let values: Vec<f64> = (0..along).map(|i| f64::from(data[start + i * after])).collect();
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, max);
        let powers: Vec<f64> = values.iter().map(|v| (v - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        for (i, power) in powers.iter().enumerate() {
            out[start + i * after] = (power / sum) as f32;
        }
    }
    Ok(out)
}

/// `(x - mean) / sqrt(mean of the squares of that + epsilon)` of each row, or the same without the mean.
pub(super) fn normalize(
    op: &Op,
    x: &Tensor,
    epsilon: f32,
    centered: bool,
) -> Result<Vec<f32>, EvaluateError> {
    let data = f32_data(op, x)?;
    let width = x.shape().dims().last().copied().unwrap_or(1).max(1);
    let row = |row: &[f32]| -> Vec<f32> {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / width as f64;
        let center = if centered { mean(&mut row.iter().map(|&x| f64::from(x))) } else { 0.0 };
        let square = mean(&mut row.iter().map(|&x| (f64::from(x) - center).powi(2)));
        let deviation = (square + f64::from(epsilon)).sqrt();
        row.iter().map(|&x| ((f64::from(x) - center) / deviation) as f32).collect()
    };
    Ok(data.chunks(width).flat_map(row).collect())
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + offset`, with the parameters of each channel.
pub(super) fn batch_norm(
    op: &Op,
    x: &Tensor,
    [scale, offset, mean, variance]: [&Tensor; 4],
    epsilon: f32,
    axis: usize,
) -> Result<Vec<f32>, EvaluateError> {
    let data = f32_data(op, x)?;
    let (scale, offset) = (f32_data(op, scale)?, f32_data(op, offset)?);
    let (mean, variance) = (f32_data(op, mean)?, f32_data(op, variance)?);
    let (_, channels, after) = split_at(x, axis);
    let value = |(i, &x): (usize, &f32)| {
        let channel = i / after % channels;
        let [scale, offset, mean, variance] = [scale, offset, mean, variance].map(|p| f64::from(p[channel]));
        let deviation = (variance + f64::from(epsilon)).sqrt();
        ((f64::from(x) - mean) / deviation * scale + offset) as f32
    };
    Ok(data.iter().enumerate().map(value).collect())
}
