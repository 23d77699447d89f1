//! Winograd convolution against the reference, and its error.

use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding, Unary};
use avocet_ir::schedule::{Schedule, Schedules, Tile, Winograd};
use avocet_ir::{Graph, Tensor};
use proptest::prelude::*;

use super::{Given, Numbers, check, compute};
use crate::lower;

fn convolution(padding: Padding) -> Op {
    Op::Conv(Conv { strides: [1, 1], dilations: [1, 1], padding, groups: 1, layout: Layout::Nhwc })
}

/// Steps on a result of these dimensions.
#[derive(Clone, Copy, Debug)]
enum Epilogue {
    None,
    BiasRelu,
    /// An addition of a tensor as large as the result, then SiLU.
    Residual,
    /// Operands that broadcast over some dimensions only, constant or not.
    Broadcast,
}

fn steps(
    epilogue: Epilogue,
    result: [usize; 4],
    numbers: &mut Numbers,
) -> Vec<(EpilogueStep, Option<Tensor>)> {
    let [batch, height, width, channels] = result;
    let binary = |op| EpilogueStep::Binary { op, operand: 0, swapped: false };
    let unary = |op| (EpilogueStep::Unary(op), None);
    match epilogue {
        Epilogue::None => vec![],
        Epilogue::BiasRelu => {
            vec![(binary(Binary::Add), Some(numbers.tensor(&[channels]))), unary(Unary::Relu)]
        }
        Epilogue::Residual => vec![(binary(Binary::Add), Some(numbers.tensor(&result))), unary(Unary::Silu)],
        Epilogue::Broadcast => vec![
            (binary(Binary::Mul), Some(numbers.tensor(&[batch, 1, 1, channels]))),
            (binary(Binary::Add), Some(numbers.tensor(&[height, 1, 1]))),
            (binary(Binary::Add), Some(numbers.tensor(&[1, 1, width, channels]))),
        ],
    }
}

fn run(image: [usize; 4], outputs: usize, padding: Padding, schedule: Winograd, epilogue: Epilogue) {
    let mut numbers = Numbers::new(5);
    let [batch, height, width, inputs] = image;
    let x = numbers.tensor(&image);
    let w = numbers.tensor(&[outputs, inputs, 3, 3]);
    let result =
        [batch, height + padding.top + padding.bottom - 2, width + padding.left + padding.right - 2, outputs];
    let steps = steps(epilogue, result, &mut numbers);
    let what = format!("{image:?} {outputs} {padding} {schedule} {epilogue:?}");
    let given = [Given::Input(x), Given::Constant(w)];
    check(&what, convolution(padding), &given, steps, Schedule::Winograd(schedule));
}

fn schedules() -> Vec<Winograd> {
    let mut schedules = Vec::new();
    for output in [2, 4] {
        for (rows, vectors, lanes, strip, panels) in [(6, 2, 4, 1, 1), (3, 1, 8, 2, 2), (4, 1, 16, 9, 9)] {
            let tile = Tile::new(rows, vectors, lanes);
            schedules.push(Winograd { tile, output, rows: strip, panels });
        }
    }
    schedules
}

#[test]
fn images_and_paddings() {
    let paddings = [
        Padding::symmetric(1, 1),
        Padding::default(),
        Padding { top: 0, left: 1, bottom: 2, right: 0 },
        Padding { top: 5, left: 0, bottom: 0, right: 7 },
    ];
    for schedule in schedules() {
        for ([height, width], channels, outputs) in
            [([9, 8], 3, 5), ([1, 1], 5, 3), ([2, 3], 17, 4), ([13, 7], 4, 33), ([3, 14], 1, 1)]
        {
            for padding in paddings {
                let fits =
                    height + padding.top + padding.bottom >= 3 && width + padding.left + padding.right >= 3;
                if fits {
                    run([1, height, width, channels], outputs, padding, schedule, Epilogue::None);
                }
            }
        }
    }
}

#[test]
fn epilogues() {
    for schedule in schedules() {
        for epilogue in [Epilogue::BiasRelu, Epilogue::Residual, Epilogue::Broadcast] {
            for image in [[2, 7, 9, 5], [1, 1, 6, 17], [3, 4, 4, 2]] {
                run(image, 19, Padding::symmetric(1, 1), schedule, epilogue);
            }
        }
    }
}

#[test]
fn wrong_schedules_are_refused() {
    let tile = Tile::new(4, 1, 4);
    let mut graph = Graph::new("test");
    let mut numbers = Numbers::new(1);
    let x = graph.add("x", Op::Input(numbers.tensor(&[1, 4, 4, 2]).ty()), &[]).expect("an input");
    let w = graph.constant("w", numbers.tensor(&[2, 2, 3, 3]));
    let node = graph.add("node", convolution(Padding::default()), &[x, w]).expect("a convolution");
    graph.add_output("y", node);
    for (output, rows, panels, works) in
        [(3, 1, 1, false), (0, 1, 1, false), (2, 0, 0, true), (4, 1, 1, true)]
    {
        let mut schedules = Schedules::default();
        schedules.nodes.insert(node.node, Schedule::Winograd(Winograd { tile, output, rows, panels }));
        assert_eq!(lower(&graph, &schedules).is_ok(), works, "{output} {rows} {panels}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        image in (1..3usize, 1..14usize, 1..14usize, 1..20usize),
        outputs in 1..24usize,
        padding in (0..4usize, 0..4usize, 0..4usize, 0..4usize),
        tile in (1..7usize, 1..4usize, 0..5u32),
        schedule in (1..3usize, 1..5usize, 1..4usize),
        epilogue in 0..4usize,
    ) {
        let (top, left, bottom, right) = padding;
        let (batch, height, width, channels) = image;
        prop_assume!(height + top + bottom >= 3 && width + left + right >= 3);
        let (output, rows, panels) = schedule;
        let tile = Tile::new(tile.0, tile.1, 1 << tile.2);
        let schedule = Winograd { tile, output: 2 * output, rows, panels };
        let epilogues = [Epilogue::None, Epilogue::BiasRelu, Epilogue::Residual, Epilogue::Broadcast];
        let padding = Padding { top, left, bottom, right };
        run([batch, height, width, channels], outputs, padding, schedule, epilogues[epilogue]);
    }
}

/// A normal distribution, nearly: a sum of twelve even ones.
pub(super) fn normal(numbers: &mut Numbers, dims: &[usize], map: impl Fn(f32) -> f32) -> Tensor {
    let count = dims.iter().product();
    let data: Vec<f32> =
        (0..count).map(|_| map((0..12).map(|_| numbers.next()).sum::<f32>() / 2.0)).collect();
    Tensor::f32(dims, data).expect("a small shape")
}

/// Largest error relative to the largest result. The weights are spread as those of trained networks are, and the image
/// is what a ReLU leaves: its mean is not zero, which is worse than a symmetric one.
fn error(inputs: usize, schedule: Schedule) -> f64 {
    let mut numbers = Numbers::new(inputs as u64);
    let scale = (2.0 / (9 * inputs) as f32).sqrt();
    let x = normal(&mut numbers, &[1, 9, 9, inputs], |v| v.max(0.0));
    let w = normal(&mut numbers, &[16, inputs, 3, 3], |v| v * scale);
    let given = [Given::Input(x), Given::Constant(w)];
    largest_error(&compute("error", convolution(Padding::symmetric(1, 1)), &given, vec![], schedule))
}

/// Largest difference of what was computed to what was expected, relative to the largest of the latter.
pub(super) fn largest_error([got, expected]: &[Tensor; 2]) -> f64 {
    let (Some(got), Some(expected)) = (got.as_f32(), expected.as_f32()) else { panic!("not f32") };
    let scale = expected.iter().fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
    got.iter().zip(expected).fold(0.0, |m: f64, (g, e)| m.max((f64::from(*g) - f64::from(*e)).abs())) / scale
}

/// The bounds that the module promises.
#[test]
fn errors() {
    let tile = Tile::new(6, 2, 8);
    for inputs in [16, 64, 256, 512] {
        let direct = error(inputs, Schedule::Direct(tile));
        let [two, four] = [2, 4]
            .map(|output| error(inputs, Schedule::Winograd(Winograd { tile, output, rows: 9, panels: 1 })));
        println!("{inputs} channels: direct {direct:.1e}, tiles of 2 {two:.1e}, tiles of 4 {four:.1e}");
        assert!(direct < 2e-6 && two < 2e-6 && four < 1e-5, "{inputs} {direct:.1e} {two:.1e} {four:.1e}");
    }
}
