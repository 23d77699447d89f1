//! Packing of weights at compile time, in the order in which kernels read them.

use avocet_ir::tensor::TensorData;

/// Output channels in panels of `width`, each panel one output channel block after another along the reduction:
/// element `(panel, k, i)` is the weight of channel `panel * width + i` at position `k` of the reduction. The last panel
/// is as wide as the vectors of `lanes` that it needs; missing channels are zero.
///
/// `weight(channel, k)` gives the weights.
pub(crate) fn panels(
    channels: usize,
    reduction: usize,
    width: usize,
    lanes: usize,
    weight: impl Fn(usize, usize) -> f32,
) -> TensorData {
    let mut packed = Vec::with_capacity(channels.next_multiple_of(lanes) * reduction);
    for start in (0..channels).step_by(width) {
        let columns = (channels - start).min(width).next_multiple_of(lanes);
        for k in 0..reduction {
            for channel in start..start + columns {
                packed.push(if channel < channels { weight(channel, k) } else { 0.0 });
            }
        }
    }
    TensorData::F32(packed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_panel_is_narrower() {
        let packed = panels(5, 2, 4, 2, |channel, k| (channel * 10 + k) as f32);
        let expected = [0.0, 10.0, 20.0, 30.0, 1.0, 11.0, 21.0, 31.0, 40.0, 0.0, 41.0, 0.0];
        assert_eq!(packed, TensorData::F32(expected.as_slice().into()));
    }
}
