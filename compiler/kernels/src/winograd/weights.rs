//! The transform of the weights, at compile time, and their packing in the order of use.

use avocet_ir::schedule::Winograd;
use avocet_ir::tensor::TensorData;

use super::points::Points;
use super::{Sizes, product};
use crate::pack;

/// Weights `[out, in, 3, 3]` transformed: for each group of output channels, for each position, panels of the tile's width.
pub(super) fn pack(sizes: &Sizes, points: &Points, weights: &[f32], schedule: &Winograd) -> TensorData {
    let transformed = transform(points, weights);
    let filters = sizes.inputs * sizes.outputs;
    let (tile, group) = (schedule.tile, product::group_width(sizes, schedule));
    let mut packed = Vec::new();
    for start in (0..sizes.outputs).step_by(group) {
        let channels = group.min(sizes.outputs - start);
        for position in 0..points.positions() {
            let own = &transformed[position * filters..][..filters];
            let weight = |channel: usize, k: usize| own[(start + channel) * sizes.inputs + k];
            let panels = pack::panels(channels, sizes.inputs, tile.width(), tile.lanes, weight);
            if let TensorData::F32(panels) = panels {
                packed.extend_from_slice(&panels);
            }
        }
    }
    TensorData::F32(packed.into())
}

/// The filters at each position, positions outermost.
fn transform(points: &Points, weights: &[f32]) -> Vec<f32> {
    let edge = points.edge();
    let rows: Vec<[f64; 3]> = (0..edge).map(|position| points.weight_row(position)).collect();
    let filters = weights.len() / 9;
    let mut transformed = vec![0.0; filters * edge * edge];
    for (number, filter) in weights.chunks_exact(9).enumerate() {
        for (i, row) in rows.iter().enumerate() {
            // Over the filter's rows, then over what is left of its columns.
            let column = |k: usize| -> f64 { (0..3).map(|r| row[r] * f64::from(filter[3 * r + k])).sum() };
            let columns = [column(0), column(1), column(2)];
            for (j, other) in rows.iter().enumerate() {
                let value: f64 = columns.iter().zip(other).map(|(a, b)| a * b).sum();
                transformed[(i * edge + j) * filters + number] = value as f32;
            }
        }
    }
    transformed
}
