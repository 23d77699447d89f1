//! Products by Strassen's method against the reference, and their error.

use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding, Unary};
use avocet_ir::schedule::{Outer, Schedule, Tile};
use avocet_ir::{Graph, Tensor, TensorType};
use proptest::prelude::*;

use super::winograd::{largest_error, normal};
use super::{Given, Numbers, check, compute};
use crate::lower;

fn pointwise() -> Op {
    let padding = Padding::default();
    Op::Conv(Conv { strides: [1, 1], dilations: [1, 1], padding, groups: 1, layout: Layout::Nhwc })
}

fn run(image: [usize; 4], outputs: usize, tile: Tile, epilogue: usize) {
    let mut numbers = Numbers::new(7);
    let [batch, height, width, inputs] = image;
    let x = numbers.tensor(&image);
    let w = numbers.tensor(&[outputs, inputs, 1, 1]);
    let mut add = |dims: &[usize]| {
        let step = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
        (step, Some(numbers.tensor(dims)))
    };
    let relu = || (EpilogueStep::Unary(Unary::Relu), None);
    let steps = match epilogue {
        0 => vec![],
        1 => vec![add(&[outputs]), relu()],
        // As large as the result, whose memory it may share.
        2 => vec![add(&[outputs]), add(&[batch, height, width, outputs])],
        // Not the same for all rows, nor one for each.
        _ => vec![add(&[batch, 1, 1, outputs]), relu()],
    };
    let what = format!("{image:?} {outputs} {tile} epilogue {epilogue}");
    check(&what, pointwise(), &[Given::Input(x), Given::Constant(w)], steps, Schedule::Strassen(tile));
}

fn tiles() -> Vec<Tile> {
    let sizes = [(6, 2, 4), (1, 1, 8), (3, 4, 1), (4, 1, 16)];
    let orders = [Outer::Channels, Outer::Positions];
    sizes.iter().flat_map(|&(r, v, l)| orders.map(|outer| Tile { outer, ..Tile::new(r, v, l) })).collect()
}

#[test]
fn images() {
    for tile in tiles() {
        // Even and odd numbers of pixels, one block and several, a rest of one row; channels that can't be halved, too.
        for (image, outputs) in [
            ([1, 5, 5, 8], 24),
            ([1, 1, 2, 2], 2),
            ([1, 1, 3, 34], 10),
            ([2, 7, 4, 6], 66),
            ([1, 1, 13, 10], 12),
            ([1, 1, 1, 8], 8),
            ([1, 4, 4, 7], 8),
            ([1, 4, 4, 8], 7),
        ] {
            for epilogue in 0..4 {
                run(image, outputs, tile, epilogue);
            }
        }
    }
}

#[test]
fn matrices() {
    for tile in tiles() {
        for (lead, [m, k, n]) in [(&[][..], [9, 12, 10]), (&[2, 3], [5, 8, 6]), (&[1], [4, 6, 36])] {
            for transpose_b in [false, true] {
                let mut numbers = Numbers::new(3);
                let a = numbers.tensor(&[lead, &[m, k]].concat());
                let b = numbers.tensor(&if transpose_b { [n, k] } else { [k, n] });
                let op = Op::MatMul { transpose_a: false, transpose_b };
                let what = format!("{lead:?} {m} {k} {n} {transpose_b} {tile}");
                check(&what, op, &[Given::Input(a), Given::Constant(b)], vec![], Schedule::Strassen(tile));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(
        image in (1..3usize, 1..9usize, 1..9usize, 1..20usize),
        outputs in 1..40usize,
        tile in (1..7usize, 1..4usize, 0..5u32, proptest::bool::ANY),
        epilogue in 0..4usize,
    ) {
        let (batch, height, width, inputs) = image;
        let outer = if tile.3 { Outer::Channels } else { Outer::Positions };
        let tile = Tile { outer, ..Tile::new(tile.0, tile.1, 1 << tile.2) };
        run([batch, height, width, inputs], outputs, tile, epilogue);
    }
}

#[test]
fn seven_products_are_made_of_each_block() {
    let mut graph = Graph::new("test");
    let x = graph.add("x", Op::Input(TensorType::f32([1, 2, 6, 32]).expect("small")), &[]).expect("an input");
    let w = graph.constant("w", Tensor::f32([64, 32, 1, 1], vec![0.5; 64 * 32]).expect("small"));
    let y = graph.add("node", pointwise(), &[x, w]).expect("valid");
    graph.add_output("y", y);
    let multiply_adds = |schedule: Schedule| {
        let mut schedules = avocet_ir::schedule::Schedules::default();
        schedules.nodes.insert(y.node, schedule);
        let program = lower(&graph, &schedules).expect("supported");
        let counts = program.kernels.iter().map(|kernel| super::multiply_adds(&kernel.body));
        counts.sum::<usize>()
    };
    let tile = Tile::new(6, 2, 16);
    assert_eq!(multiply_adds(Schedule::Gemm(tile)), 12 * 32 * 64 / 16);
    assert_eq!(multiply_adds(Schedule::Strassen(tile)), 12 * 32 * 64 / 16 / 8 * 7);
}

/// The bound that the module promises.
#[test]
fn errors() {
    let tile = Tile::new(6, 2, 8);
    for inputs in [16, 128, 512, 2048] {
        let error = |schedule: Schedule| {
            let mut numbers = Numbers::new(inputs as u64);
            let scale = (2.0 / inputs as f32).sqrt();
            let x = normal(&mut numbers, &[1, 7, 7, inputs], |v| v.max(0.0));
            let w = normal(&mut numbers, &[32, inputs, 1, 1], |v| v * scale);
            let given = [Given::Input(x), Given::Constant(w)];
            largest_error(&compute("error", pointwise(), &given, vec![], schedule))
        };
        let (plain, strassen) = (error(Schedule::Gemm(tile)), error(Schedule::Strassen(tile)));
        println!("{inputs} channels: plain {plain:.1e}, Strassen {strassen:.1e}");
        assert!(plain < 2e-6 && strassen < 4e-6, "{inputs} {plain:.1e} {strassen:.1e}");
    }
}
