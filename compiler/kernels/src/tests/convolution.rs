use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding, Pool, PoolKind, Unary};
use avocet_ir::schedule::{Outer, Schedule, Tile};

use super::{Given, Numbers, check};

struct Case {
    image: [usize; 4],
    outputs: usize,
    window: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    padding: Padding,
    groups: usize,
}

fn run(case: Case, schedule: Schedule, epilogue: bool) {
    let Case { image, outputs, window, strides, dilations, padding, groups } = case;
    let mut numbers = Numbers::new(1);
    let op = Op::Conv(Conv { strides, dilations, padding, groups, layout: Layout::Nhwc });
    let what = format!("{image:?} {outputs} {window:?} {:?} {schedule}", op.attributes());
    let x = numbers.tensor(&image);
    let w = numbers.tensor(&[outputs, image[3] / groups, window[0], window[1]]);
    let mut steps = Vec::new();
    if epilogue {
        let add = || EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
        steps.push((add(), Some(numbers.tensor(&[outputs]))));
        steps.push((EpilogueStep::Unary(Unary::Relu), None));
        // The batch's own gate: not constant over the batch.
        let gate = numbers.tensor(&[image[0], 1, 1, outputs]);
        steps.push((EpilogueStep::Binary { op: Binary::Sub, operand: 0, swapped: true }, Some(gate)));
    }
    check(&what, op, &[Given::Input(x), Given::Constant(w)], steps, schedule);
}

fn tiles() -> [Tile; 4] {
    [Tile::new(6, 2, 4), Tile::new(1, 4, 4), Tile::new(3, 1, 8), Tile::new(2, 3, 1)]
}

#[test]
fn pointwise() {
    for tile in tiles() {
        for (image, outputs) in [([1, 5, 7, 3], 5), ([2, 1, 1, 17], 9), ([2, 4, 4, 8], 24), ([1, 1, 1, 1], 1)]
        {
            for epilogue in [false, true] {
                let case = Case {
                    image,
                    outputs,
                    window: [1, 1],
                    strides: [1, 1],
                    dilations: [1, 1],
                    padding: Padding::default(),
                    groups: 1,
                };
                run(case, Schedule::Gemm(tile), epilogue);
            }
        }
    }
}

/// Extents of the image, window, strides, dilations, padding.
type Geometry = ([usize; 2], [usize; 2], [usize; 2], [usize; 2], Padding);

/// Windows, strides, dilations and paddings, asymmetric ones and windows larger than the image among them.
fn shapes() -> Vec<Geometry> {
    let odd = Padding { top: 2, left: 0, bottom: 1, right: 3 };
    vec![
        ([9, 8], [3, 3], [1, 1], [1, 1], Padding::symmetric(1, 1)),
        ([9, 8], [3, 3], [2, 2], [1, 1], Padding { top: 0, left: 0, bottom: 1, right: 1 }),
        ([6, 11], [5, 5], [1, 2], [1, 1], Padding::symmetric(2, 2)),
        ([7, 9], [3, 2], [2, 1], [2, 3], odd),
        ([1, 1], [3, 3], [1, 1], [1, 1], Padding::symmetric(1, 1)),
        ([2, 3], [7, 7], [2, 2], [1, 1], Padding::symmetric(3, 3)),
        ([5, 5], [1, 1], [2, 2], [1, 1], Padding::default()),
        ([4, 20], [1, 7], [1, 1], [1, 1], Padding::symmetric(0, 3)),
    ]
}

#[test]
fn direct() {
    for tile in tiles() {
        for ([height, width], window, strides, dilations, padding) in shapes() {
            for (batch, channels, outputs) in [(1, 3, 5), (2, 4, 8), (1, 8, 13)] {
                let image = [batch, height, width, channels];
                let case = Case { image, outputs, window, strides, dilations, padding, groups: 1 };
                run(case, Schedule::Direct(tile), batch == 1);
            }
        }
    }
}

#[test]
fn grouped() {
    for tile in tiles() {
        for ([height, width], window, strides, dilations, padding) in shapes() {
            for (channels, outputs, groups) in [(8, 8, 2), (6, 9, 3), (12, 12, 3), (5, 10, 5)] {
                let image = [1, height, width, channels];
                let case = Case { image, outputs, window, strides, dilations, padding, groups };
                run(case, Schedule::Grouped(tile), true);
            }
        }
    }
}

#[test]
fn packed_groups() {
    for lanes in [4, 8, 16] {
        for ([height, width], window, strides, dilations, padding) in shapes() {
            // Square groups of four and of two, a last vector that is not full, multipliers of two and four, groups of two
            // inputs and four outputs, groups as wide as the vector.
            for (channels, outputs, groups) in [
                (16, 16, 4),
                (12, 12, 6),
                (36, 36, 9),
                (5, 10, 5),
                (6, 24, 6),
                (6, 12, 3),
                (8, 8, 2),
                (3, 3, 3),
            ] {
                let tile = Tile {
                    outer: if height > 5 { Outer::Channels } else { Outer::Positions },
                    ..Tile::new(3, 1, lanes)
                };
                let case = Case {
                    image: [1, height, width, channels],
                    outputs,
                    window,
                    strides,
                    dilations,
                    padding,
                    groups,
                };
                run(case, Schedule::PackedGroups(tile), true);
            }
        }
    }
}

#[test]
fn depthwise() {
    for tile in tiles() {
        for ([height, width], window, strides, dilations, padding) in shapes() {
            for (batch, channels) in [(1, 1), (1, 5), (2, 16), (1, 19)] {
                let (image, groups, outputs) = ([batch, height, width, channels], channels, channels);
                let case = Case { image, outputs, window, strides, dilations, padding, groups };
                run(case, Schedule::Depthwise(tile), batch == 1);
            }
        }
    }
}

#[test]
fn pooling() {
    for lanes in [1, 4, 8] {
        for ([height, width], window, strides, dilations, padding) in shapes() {
            if padding.left >= window[1] || padding.right >= window[1] {
                continue;
            }
            for kind in [
                PoolKind::Max,
                PoolKind::Average { count_padding: true },
                PoolKind::Average { count_padding: false },
            ] {
                for ceil_mode in [false, true] {
                    let op = Op::Pool(Pool {
                        kind,
                        window,
                        strides,
                        dilations,
                        padding,
                        ceil_mode,
                        layout: Layout::Nhwc,
                    });
                    let what = format!("{height}x{width} {:?}", op.attributes());
                    let x = Numbers::new(2).tensor(&[2, height, width, 5]);
                    check(&what, op, &[Given::Input(x)], vec![], Schedule::Vector { lanes });
                }
            }
        }
    }
}

#[test]
fn max_pooling_keeps_nan() {
    let mut data = vec![1.0; 16];
    data[5] = f32::NAN;
    let x = avocet_ir::Tensor::f32([1, 4, 4, 1], data).expect("small");
    let op = Op::Pool(Pool {
        kind: PoolKind::Max,
        window: [2, 2],
        strides: [1, 1],
        dilations: [1, 1],
        padding: Padding::default(),
        ceil_mode: false,
        layout: Layout::Nhwc,
    });
    check("nan", op, &[Given::Input(x)], vec![], Schedule::Vector { lanes: 4 });
}

#[test]
fn resizing() {
    use avocet_ir::op::{NearestRounding, Resize, ResizeCoordinates, ResizeMode};
    for mode in [ResizeMode::Nearest(NearestRounding::RoundPreferFloor), ResizeMode::Linear] {
        for coordinates in
            [ResizeCoordinates::HalfPixel, ResizeCoordinates::AlignCorners, ResizeCoordinates::Asymmetric]
        {
            for ([height, width], size) in
                [([3, 4], [6, 8]), ([5, 7], [3, 2]), ([1, 1], [4, 3]), ([4, 4], [1, 9])]
            {
                let scales = [size[0] as f32 / height as f32, size[1] as f32 / width as f32];
                let op = Op::Resize(Resize { mode, coordinates, size, scales, layout: Layout::Nhwc });
                let what = format!("{height}x{width} {:?}", op.attributes());
                let x = Numbers::new(3).tensor(&[2, height, width, 5]);
                check(&what, op, &[Given::Input(x)], vec![], Schedule::Vector { lanes: 4 });
            }
        }
    }
}
