//! Winograd convolution against the reference, and its error.

use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding, Unary};
use avocet_ir::schedule::{Schedule, Tile, Winograd};
use avocet_ir::Tensor;

use super::{Given, Numbers, check};

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

fn steps(epilogue: Epilogue, result: [usize; 4], numbers: &mut Numbers) -> Vec<(EpilogueStep, Option<Tensor>)> {
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
    let result = [
        batch,
        height + padding.top + padding.bottom - 2,
        width + padding.left + padding.right - 2,
        outputs,
    ];
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
                let fits = height + padding.top + padding.bottom >= 3 && width + padding.left + padding.right >= 3;
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
