//! Remainders of f32, to the bit.

use avocet_ir::op::{Binary, Op};
use avocet_ir::schedule::{Schedule, Schedules};
use avocet_ir::{Graph, Tensor};

fn check(op: Binary, pairs: &[(f32, f32)]) {
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let inputs = [x, y].map(|v| Tensor::f32([v.len()], v).expect("small"));
    let mut graph = Graph::new("test");
    let [x, y] = [0, 1].map(|i| graph.add("x", Op::Input(inputs[i].ty()), &[]).expect("valid"));
    let z = graph.add("z", Op::Binary(op), &[x, y]).expect("valid");
    graph.add_output("z", z);
    let mut schedules = Schedules::default();
    schedules.nodes.insert(z.node, Schedule::Vector { lanes: 4 });
    let program = crate::lower(&graph, &schedules).expect("lowers");
    let got = avocet_reference::kernel::run_program(&program, &inputs).expect("runs");
    let expected = avocet_reference::run(&graph, &inputs).expect("runs");
    let (got, expected) = (got[0].as_f32().expect("f32"), expected[0].as_f32().expect("f32"));
    for ((pair, got), expected) in pairs.iter().zip(got).zip(expected) {
        let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
        assert!(same, "{op:?} of {pair:?} is {got:e}, expected {expected:e}");
    }
}

#[test]
fn remainders_are_exact() {
    let mut numbers: u64 = 1;
    let mut next = || {
        numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (numbers >> 32) as u32
    };
    // Any bits, and numbers whose quotients are small or whole.
    let mut pairs: Vec<(f32, f32)> =
        (0..20_000).map(|_| (f32::from_bits(next()), f32::from_bits(next()))).collect();
    pairs.extend((0..20_000).map(|_| {
        let y = f32::from_bits(0x3f80_0000 | next() >> 9);
        ((next() >> 20) as f32 * y, y)
    }));
    pairs.extend((0..20_000).map(|_| ((next() >> 8) as f32 * 0.25, (next() >> 24) as f32 - 128.0)));
    let special = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        3.0,
        -3.0,
        0.1,
        8_388_609.0,
        1e-45,
        -1e-45,
        1e-40,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    pairs.extend(special.iter().flat_map(|&x| special.map(|y| (x, y))));
    for op in [Binary::Rem, Binary::Mod] {
        check(op, &pairs);
    }
}
