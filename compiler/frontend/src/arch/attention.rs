//! Attention that multiplies an image: by channels and positions (CBAM), by channels alone (ECA).

use avocet_ir::Value;
use avocet_ir::op::{Binary, Conv, Layout, Op, Padding, ReduceKind, Unary};
use avocet_ir::{Shape, TensorError};

use super::builder::{BuildError, Builder, ConvSpec, check_range};
use super::schema::{Activation, Block, Cbam, Eca, PaddingRule};
use crate::weights::Role;

/// Largest window over positions or channels.
const MOST_KERNEL: usize = 63;

/// The attention that a block with an addition has before it.
pub(super) fn within(b: &mut Builder, block: &Block, name: &str, y: Value) -> Result<Value, BuildError> {
    match (&block.cbam, &block.eca) {
        (Some(keys), _) => cbam(b, &format!("{name}.cbam"), y, keys),
        (None, Some(keys)) => eca(b, &format!("{name}.eca"), y, keys),
        (None, None) => Ok(y),
    }
}

fn shape(dims: &[usize]) -> Result<Shape, BuildError> {
    Shape::new(dims).map_err(|e: TensorError| e.to_string().into())
}

fn check_window(what: &str, kernel: usize) -> Result<(), BuildError> {
    check_range(what, kernel, MOST_KERNEL)?;
    match kernel % 2 {
        1 => Ok(()),
        _ => Err(format!("{what} is {kernel}, expected an odd number").into()),
    }
}

/// Woo et al., CBAM, 2018.
pub(super) fn cbam(b: &mut Builder, name: &str, x: Value, keys: &Cbam) -> Result<Value, BuildError> {
    let channels = b.channels(x)?;
    check_range("cbam.reduction", keys.reduction, 1024)?;
    check_window("cbam.kernel", keys.kernel)?;
    let batch = b.dims(x)[0];
    let over_positions = |kind| Op::Reduce { kind, axes: vec![2, 3], keep_dims: false };
    let over_channels = |kind| Op::Reduce { kind, axes: vec![1], keep_dims: true };

    // Mean and maximum are rows of one matrix, so that the weights are read once.
    let part = format!("{name}.channel");
    let mean = b.add(&format!("{part}.mean"), over_positions(ReduceKind::Mean), &[x])?;
    let most = b.add(&format!("{part}.max"), over_positions(ReduceKind::Max), &[x])?;
    let both = b.add(&format!("{part}.both"), Op::Concat { axis: 0 }, &[mean, most])?;
    let hidden = (channels / keys.reduction).max(1);
    let y = b.dense(&format!("{part}.reduce"), both, hidden, Activation::Relu)?;
    let y = b.dense(&format!("{part}.expand"), y, channels, Activation::None)?;
    let rows = Op::Reshape { shape: shape(&[2, batch, channels])? };
    let y = b.add(&format!("{part}.rows"), rows, &[y])?;
    let sum = Op::Reduce { kind: ReduceKind::Sum, axes: vec![0], keep_dims: false };
    let y = b.add(&format!("{part}.sum"), sum, &[y])?;
    let y = b.add(&format!("{part}.gate"), Op::Unary(Unary::Sigmoid), &[y])?;
    let as_image = Op::Reshape { shape: shape(&[batch, channels, 1, 1])? };
    let gate = b.add(&format!("{part}.image"), as_image, &[y])?;
    let x = b.add(&part, Op::Binary(Binary::Mul), &[x, gate])?;

    let part = format!("{name}.spatial");
    let most = b.add(&format!("{part}.max"), over_channels(ReduceKind::Max), &[x])?;
    let mean = b.add(&format!("{part}.mean"), over_channels(ReduceKind::Mean), &[x])?;
    let both = b.add(&format!("{part}.both"), Op::Concat { axis: 1 }, &[most, mean])?;
    let spec = ConvSpec {
        out: 1,
        kernel: [keys.kernel; 2],
        stride: [1; 2],
        dilation: 1,
        groups: 1,
        norm: keys.norm,
        bias: true,
        activation: Activation::Sigmoid,
        padding: PaddingRule::Symmetric,
    };
    let gate = b.conv(&part, both, spec)?;
    b.add(name, Op::Binary(Binary::Mul), &[x, gate])
}

/// Wang et al., ECA-Net, 2020.
pub(super) fn eca(b: &mut Builder, name: &str, x: Value, keys: &Eca) -> Result<Value, BuildError> {
    let channels = b.channels(x)?;
    if !(0.01..=100.0).contains(&keys.gamma) || !(-100.0..=100.0).contains(&keys.b) {
        return Err("eca.gamma must be from 0.01 to 100 and eca.b from -100 to 100".into());
    }
    let kernel = keys.kernel.unwrap_or_else(|| usual_kernel(channels, keys.gamma, keys.b));
    check_window("eca.kernel", kernel)?;
    let batch = b.dims(x)[0];
    let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep_dims: true };
    let y = b.add(&format!("{name}.pool"), mean, &[x])?;
    // The channels become the columns of a row.
    let row = Op::Reshape { shape: shape(&[batch, 1, 1, channels])? };
    let y = b.add(&format!("{name}.row"), row, &[y])?;
    let role = Role::Weight { fan_in: kernel, rectified: false };
    let weight = b.tensor_as(&format!("{name}.conv.weight"), &[1, 1, kernel], &[1, 1, 1, kernel], role)?;
    let half = kernel / 2;
    let conv = Op::Conv(Conv {
        strides: [1; 2],
        dilations: [1; 2],
        padding: Padding { left: half, right: half, ..Padding::default() },
        groups: 1,
        layout: Layout::Nchw,
    });
    let y = b.add(&format!("{name}.conv"), conv, &[y, weight])?;
    let y = b.add(&format!("{name}.gate"), Op::Unary(Unary::Sigmoid), &[y])?;
    let as_image = Op::Reshape { shape: shape(&[batch, channels, 1, 1])? };
    let gate = b.add(&format!("{name}.image"), as_image, &[y])?;
    b.add(name, Op::Binary(Binary::Mul), &[x, gate])
}

/// The window that the paper gives a number of channels.
fn usual_kernel(channels: usize, gamma: f64, b: f64) -> usize {
    let nearest = (((channels as f64).log2() + b) / gamma).abs().floor() as usize;
    if nearest.is_multiple_of(2) { nearest + 1 } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_over_channels_are_those_of_the_paper() {
        for (channels, kernel) in [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)] {
            // floor((log2(C) + 1) / 2), the next odd number where even: 64 gives 3, 128 gives 4 and so 5.
            let expected = if channels == 2048 { 7 } else { kernel };
            assert_eq!(usual_kernel(channels, 2.0, 1.0), expected, "{channels}");
        }
    }
}
