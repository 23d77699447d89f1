use avocet_ir::op::{NearestRounding, Resize, ResizeCoordinates, ResizeMode};

use super::*;

/// A resize of a single row of pixels.
fn row(mode: ResizeMode, coordinates: ResizeCoordinates, from: usize, to: usize) -> Op {
    let scales = [1.0, to as f32 / from as f32];
    Op::Resize(Resize { mode, coordinates, size: [1, to], scales, layout: Layout::Nchw })
}

const FLOOR: ResizeMode = ResizeMode::Nearest(NearestRounding::Floor);

#[test]
fn nearest_with_each_rounding() {
    let x = t(&[1, 1, 1, 2], &[1., 2.]);
    check(&row(FLOOR, ResizeCoordinates::Asymmetric, 2, 4), &[&x], &[1, 1, 1, 4], &[1., 1., 2., 2.]);
    let ceil = ResizeMode::Nearest(NearestRounding::Ceil);
    check(&row(ceil, ResizeCoordinates::Asymmetric, 2, 4), &[&x], &[1, 1, 1, 4], &[1., 2., 2., 2.]);
    // Coordinates 0, 1/2, 1, 3/2: ties.
    let down = ResizeMode::Nearest(NearestRounding::RoundPreferFloor);
    check(&row(down, ResizeCoordinates::Asymmetric, 2, 4), &[&x], &[1, 1, 1, 4], &[1., 1., 2., 2.]);
    let up = ResizeMode::Nearest(NearestRounding::RoundPreferCeil);
    check(&row(up, ResizeCoordinates::Asymmetric, 2, 4), &[&x], &[1, 1, 1, 4], &[1., 2., 2., 2.]);
}

/// The quotient 4 / (8/7) is 3.5, but 3.4999998 in f32; the elements are those that ONNX Runtime 1.32 takes.
#[test]
fn ties_that_f32_misses_are_ties() {
    let x = t(&[1, 1, 1, 7], &[0., 1., 2., 3., 4., 5., 6.]);
    let up = ResizeMode::Nearest(NearestRounding::RoundPreferCeil);
    check(
        &row(up, ResizeCoordinates::Asymmetric, 7, 8),
        &[&x],
        &[1, 1, 1, 8],
        &[0., 1., 2., 3., 4., 4., 5., 6.],
    );
}

/// The examples of the ONNX operator specification (upsampling 2x2 by 2, mode linear).
#[test]
fn linear_as_in_the_specification() {
    let x = t(&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    let op = |coordinates| {
        let (size, scales) = ([4, 4], [2.0, 2.0]);
        Op::Resize(Resize { mode: ResizeMode::Linear, coordinates, size, scales, layout: Layout::Nchw })
    };
    let half_pixel = [1.0, 1.25, 1.75, 2.0, 1.5, 1.75, 2.25, 2.5, 2.5, 2.75, 3.25, 3.5, 3.0, 3.25, 3.75, 4.0];
    check(&op(ResizeCoordinates::HalfPixel), &[&x], &[1, 1, 4, 4], &half_pixel);
    check(&op(ResizeCoordinates::PytorchHalfPixel), &[&x], &[1, 1, 4, 4], &half_pixel);
    let corners = values(&op(ResizeCoordinates::AlignCorners), &[&x]);
    let expected = [
        1.0,
        1.333_333_4,
        1.666_666_6,
        2.0,
        1.666_666_6,
        2.0,
        2.333_333_3,
        2.666_666_7,
        2.333_333_3,
        2.666_666_7,
        3.0,
        3.333_333_3,
        3.0,
        3.333_333_3,
        3.666_666_7,
        4.0,
    ];
    for (got, expected) in corners.iter().zip(expected) {
        assert!((got - expected).abs() < 1e-6, "{got} instead of {expected}");
    }
}

#[test]
fn one_element_of_output() {
    let x = t(&[1, 1, 1, 4], &[1., 2., 3., 4.]);
    let one = |coordinates| row(ResizeMode::Linear, coordinates, 4, 1);
    check(&one(ResizeCoordinates::HalfPixel), &[&x], &[1, 1, 1, 1], &[2.5]);
    check(&one(ResizeCoordinates::PytorchHalfPixel), &[&x], &[1, 1, 1, 1], &[1.]);
    check(&one(ResizeCoordinates::AlignCorners), &[&x], &[1, 1, 1, 1], &[1.]);
}

#[test]
fn nhwc_equals_transposed_nchw() {
    let x = ramp(&[2, 3, 4, 5]);
    for mode in [FLOOR, ResizeMode::Linear] {
        let op = |layout| {
            let (size, scales) = ([7, 3], [7.0 / 4.0, 3.0 / 5.0]);
            Op::Resize(Resize { mode, coordinates: ResizeCoordinates::HalfPixel, size, scales, layout })
        };
        let nchw = eval(&op(Layout::Nchw), &[&x]);
        let nhwc = eval(&op(Layout::Nhwc), &[&eval(&transpose(&[0, 2, 3, 1]), &[&x])]);
        assert_eq!(eval(&transpose(&[0, 3, 1, 2]), &[&nhwc]), nchw);
    }
}
