//! Where resizing samples: the coordinates of ONNX Resize, as ONNX Runtime computes them.
//!
//! Part of the operator's definition, and so of the vocabulary: whoever computes a resize takes these. Coordinates are
//! computed in f32 and in ONNX Runtime's order of operations, since the nearest element is a choice that flips when
//! `x / scale` rounds differently.

use super::{NearestRounding, ResizeCoordinates};

/// The input coordinate that output coordinate `at` samples; may lie outside the image.
pub fn source(coordinates: ResizeCoordinates, at: usize, extent: usize, size: usize, scale: f32) -> f32 {
    let x = at as f32;
    match coordinates {
        ResizeCoordinates::HalfPixel => (x + 0.5) / scale - 0.5,
        ResizeCoordinates::PytorchHalfPixel if size > 1 => (x + 0.5) / scale - 0.5,
        ResizeCoordinates::PytorchHalfPixel => 0.0,
        ResizeCoordinates::AlignCorners if size > 1 => {
            x * (extent.saturating_sub(1)) as f32 / (size - 1) as f32
        }
        ResizeCoordinates::AlignCorners => 0.0,
        ResizeCoordinates::Asymmetric => x / scale,
    }
}

/// How far from a half a coordinate still counts as a tie. Division in f32 misses halves by an ULP or so, and ONNX
/// Runtime makes up for it. The value was found by experiment with its version 1.32, not in its documentation: of 0,
/// 1e-6, 3e-6, 1e-5 and 1e-4 it alone agreed on all pairs of extents from 1 to 39; it then also agreed on 1,497 random
/// pairs that had no part in the choice (from 40 to 300 elements, to 2 to 300).
const TIE: f32 = 1e-6;

/// The element nearest to a coordinate, at most `last`.
pub fn nearest(rounding: NearestRounding, at: f32, last: usize) -> usize {
    let (below, fraction) = (at.floor(), at - at.floor());
    let rounded = match rounding {
        NearestRounding::RoundPreferFloor => below + f32::from(u8::from(fraction > 0.5 + TIE)),
        NearestRounding::RoundPreferCeil => below + f32::from(u8::from(fraction >= 0.5 - TIE)),
        NearestRounding::Floor => below,
        NearestRounding::Ceil => at.ceil(),
    };
    // The conversion saturates: what lies below zero becomes 0.
    (rounded as usize).min(last)
}
