//! Signals: windows, Fourier transforms, and the weights of mel bands.
//!
//! Windows and weights depend on sizes alone and are constants. A Fourier transform is a product with the matrix of its sines
//! and cosines, which is exact to the last place or so and, for frames of speech, about as much work as a fast one would be.

use std::f64::consts::TAU;

use avocet_ir::Value;
use avocet_ir::op::{Binary, Op};
use avocet_ir::tensor::DType;

use super::super::attributes::{Problem, invalid, size, unsupported};
use super::super::import::{Importer, Node};
use super::super::tensors;
use super::axis;

/// The constant as the element type that an attribute names.
fn as_asked(importer: &mut Importer, node: &Node, value: Value) -> Result<Vec<Value>, Problem> {
    let number = i32::try_from(node.attributes.int("output_datatype", 1)?).unwrap_or(0);
    let to = tensors::dtype(number).map_err(Problem::Unsupported)?;
    Ok(vec![importer.cast(node, value, to)?])
}

/// One number that decides a shape.
fn number(importer: &Importer, node: &Node, input: usize, what: &str) -> Result<usize, Problem> {
    match importer.integers(node.input(input)?, what)?[..] {
        [one] => size(what, one, 0),
        _ => invalid(format!("{what} that is not one number")),
    }
}

/// HannWindow, HammingWindow, BlackmanWindow: sums of cosines.
pub(super) fn window(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let count = number(importer, node, 0, "a size")?;
    let factors: [f64; 3] = match node.operator() {
        "HannWindow" => [0.5, -0.5, 0.0],
        "HammingWindow" => [25.0 / 46.0, -21.0 / 46.0, 0.0],
        _ => [0.42, -0.5, 0.08],
    };
    let period = if node.attributes.flag("periodic", true)? { count } else { count.saturating_sub(1) };
    importer.afford(count.saturating_mul(4))?;
    let at = |i: usize| {
        let angle = TAU * i as f64 / period.max(1) as f64;
        (factors[0] + factors[1] * angle.cos() + factors[2] * (2.0 * angle).cos()) as f32
    };
    let window = importer.floats_of(node, &[count], (0..count).map(at).collect())?;
    as_asked(importer, node, window)
}

/// MelWeightMatrix: for each frequency of a transform, its shares of triangular bands.
pub(super) fn mel_weights(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let bands = number(importer, node, 0, "a number of bands")?;
    let length = number(importer, node, 1, "a length")?;
    let rate = number(importer, node, 2, "a sample rate")?;
    let edge = |importer: &Importer, input: usize| -> Result<f64, Problem> {
        match importer.floats(node.input(input)?, "a frequency")?[..] {
            [one] => Ok(f64::from(one)),
            _ => invalid("a frequency that is not one number"),
        }
    };
    let (low, high) = (edge(importer, 3)?, edge(importer, 4)?);
    let mel = |hertz: f64| 2595.0 * (hertz / 700.0).ln_1p() / std::f64::consts::LN_10;
    let (low, high) = (mel(low), mel(high));
    let rows = length / 2 + 1;
    importer.afford(rows.saturating_mul(bands).saturating_mul(4))?;
    let step = (high - low) / (bands as f64 + 2.0);
    let edges: Vec<usize> = (0..bands + 2)
        .map(|i| {
            let hertz = 700.0 * ((low + i as f64 * step) / 2595.0 * std::f64::consts::LN_10).exp_m1();
            // Saturates, so that NaN and what is below zero become 0.
            ((length as f64 + 1.0) * hertz / rate.max(1) as f64).floor() as usize
        })
        .collect();
    if edges.iter().any(|&edge| edge >= rows) {
        return invalid("bands above half of the sample rate");
    }
    let mut weights = vec![0.0; rows * bands];
    for band in 0..bands {
        let [left, centre, right] = [edges[band], edges[band + 1], edges[band + 2]];
        if left == centre {
            weights[centre * bands + band] = 1.0;
        }
        for row in left..=centre {
            if left < centre {
                weights[row * bands + band] = (row - left) as f32 / (centre - left) as f32;
            }
        }
        for row in centre..right {
            weights[row * bands + band] = (right - row) as f32 / (right - centre) as f32;
        }
    }
    let weights = importer.floats_of(node, &[rows, bands], weights)?;
    as_asked(importer, node, weights)
}

/// What a Fourier transform is to give.
#[derive(Clone, Copy)]
struct Transform {
    /// Elements of the whole signal.
    length: usize,
    inverse: bool,
    /// Only the half of the frequencies that is not the other's conjugate: given by the inverse's input, else by the result.
    onesided: bool,
}

/// The transform of `[.., elements, parts]` along the elements; parts are one of real numbers, two of complex ones.
fn transformed(importer: &mut Importer, node: &Node, x: Value, how: Transform) -> Result<Value, Problem> {
    let Transform { length, inverse, onesided } = how;
    let ty = importer.ty(x);
    let Some((outer, &[extent, parts])) = ty.dims().split_last_chunk() else {
        return invalid(format!("a transform of {ty}"));
    };
    if length == 0 || !(1..=2).contains(&parts) || ty.dtype != DType::F32 {
        return invalid(format!("a transform of {ty} to {length} elements"));
    }
    let half = length / 2 + 1;
    let taken = if inverse && onesided { half } else { length };
    let given = if onesided && !inverse { half } else { length };
    let to_real = inverse && onesided;
    let rank = ty.shape.rank();
    let x = importer.part(node, x, rank - 2, (0, extent.min(taken)))?;
    let mut amounts = vec![(0, 0); rank];
    amounts[rank - 2].1 = taken.saturating_sub(extent);
    let x = importer.padded(node, x, amounts, 0.0)?;
    let results = if to_real { 1 } else { 2 };
    importer.afford(taken.saturating_mul(parts).saturating_mul(given).saturating_mul(results * 4))?;
    let mut matrix = Vec::with_capacity(taken * parts * given * results);
    for from in 0..taken {
        // Of a half, all but the first and the middle one stand for two.
        let twice = to_real && from > 0 && from * 2 != length;
        let scale = if twice { 2.0 } else { 1.0 } / if inverse { length as f64 } else { 1.0 };
        for part in 0..parts {
            for to in 0..given {
                let turn = (from as u128 * to as u128 % length as u128) as f64 / length as f64 * TAU;
                let (sine, cosine) = (if inverse { turn } else { -turn }).sin_cos();
                let (real, imaginary) = if part == 0 { (cosine, sine) } else { (-sine, cosine) };
                matrix.push((real * scale) as f32);
                if !to_real {
                    matrix.push((imaginary * scale) as f32);
                }
            }
        }
    }
    let matrix = importer.constant(node, avocet_ir::Tensor::f32([taken * parts, given * results], matrix)?);
    let count: usize = outer.iter().product();
    let flat = importer.reshape(node, x, &[count, taken * parts])?;
    let y = importer.product(node, flat, matrix)?;
    importer.reshape(node, y, &[outer, &[given, results]].concat())
}

/// DFT along an axis, which is an attribute before version 20, and an input since.
pub(super) fn dft(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let rank = importer.ty(x).shape.rank();
    let along = match node.optional(2) {
        Some(value) => importer.integers(value, "an axis")?.first().copied().unwrap_or(-2),
        None if importer.opset < 20 => node.attributes.int("axis", 1)?,
        None => -2,
    };
    let along = axis(along, rank)?;
    if rank < 2 || along == rank - 1 {
        return invalid(format!("a transform along axis {along} of {}", importer.ty(x)));
    }
    let (inverse, onesided) =
        (node.attributes.flag("inverse", false)?, node.attributes.flag("onesided", false)?);
    let extent = importer.ty(x).shape[along];
    let length = match node.optional(1) {
        Some(_) => number(importer, node, 1, "a length")?,
        None if inverse && onesided => extent.saturating_sub(1) * 2,
        None => extent,
    };
    // The axis comes before the parts of complex numbers, and goes back.
    let mut perm: Vec<usize> = (0..rank).filter(|&i| i != along).collect();
    perm.insert(rank - 2, along);
    let mut back = vec![0; rank];
    perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
    let x = importer.transposed(node, x, &perm)?;
    let y = transformed(importer, node, x, Transform { length, inverse, onesided })?;
    Ok(vec![importer.transposed(node, y, &back)?])
}

/// STFT: transforms of frames that overlap, each times a window.
pub(super) fn stft(importer: &mut Importer, node: &Node) -> Result<Vec<Value>, Problem> {
    let x = node.input(0)?;
    let ty = importer.ty(x);
    let (signal, parts) = match *ty.dims() {
        [_, signal] => (signal, 1),
        [_, signal, parts] => (signal, parts),
        _ => return invalid(format!("a signal {ty}")),
    };
    let step = number(importer, node, 1, "a step")?;
    let window = node.optional(2);
    let length = match (node.optional(3), window) {
        (Some(_), _) => number(importer, node, 3, "a length")?,
        (None, Some(window)) => importer.ty(window).shape.elements(),
        (None, None) => signal,
    };
    if step == 0 || length == 0 || length > signal {
        return invalid(format!("frames of {length} elements, {step} apart, of {signal}"));
    }
    if window.is_some_and(|window| importer.ty(window).dims() != [length]) {
        return unsupported(format!("a window of another length than a frame's {length}"));
    }
    let frames = (signal - length) / step + 1;
    let x = importer.reshape(node, x, &[ty.shape[0], signal, parts])?;
    let places = importer.table(node, &[frames, length], |at| (at[0] * step + at[1]) as i64)?;
    let mut framed = importer.add(node, Op::Gather { axis: 1 }, &[x, places])?;
    if let Some(window) = window {
        let window = importer.reshape(node, window, &[length, 1])?;
        framed = importer.binary(node, Binary::Mul, framed, window)?;
    }
    let onesided = node.attributes.flag("onesided", true)?;
    Ok(vec![transformed(importer, node, framed, Transform { length, inverse: false, onesided })?])
}
