//! Attention against the reference interpreter: sizes, masks, blocks of keys, heads that lie in others.

use avocet_ir::op::{Op, SliceAxis};
use avocet_ir::schedule::{Attention, Axis, Schedule, Schedules, Split, Tile, View};
use avocet_ir::{Graph, Shape, Tensor};
use avocet_reference::kernel::{PartOrder, run_program_in};

use super::{Given, Numbers, assert_close, check};
use crate::lower;

fn schedule(scores: Tile, values: Tile, rows: usize, keys: usize) -> Schedule {
    Schedule::Attention(Attention { scores, values, rows, keys })
}

fn schedules() -> [Schedule; 4] {
    [
        schedule(Tile::new(3, 2, 4), Tile::new(2, 1, 4), 6, 64),
        // Several blocks of keys.
        schedule(Tile::new(2, 1, 8), Tile::new(3, 2, 8), 4, 8),
        schedule(Tile::new(1, 3, 4), Tile::new(1, 1, 4), 100, 12),
        schedule(Tile::new(2, 2, 1), Tile::new(2, 3, 1), 3, 6),
    ]
}

/// Queries, keys and values of these sizes.
fn operands(numbers: &mut Numbers, lead: &[usize], [m, n, d, e]: [usize; 4]) -> (Tensor, Tensor, Tensor) {
    let mut tensor = |rows: usize, columns: usize| numbers.tensor(&[lead, &[rows, columns]].concat());
    (tensor(m, d), tensor(n, d), tensor(n, e))
}

#[test]
fn sizes() {
    let mut numbers = Numbers::new(5);
    for (lead, sizes) in [
        (&[][..], [1, 1, 1, 1]),
        (&[], [5, 1, 3, 2]),
        (&[3], [7, 19, 5, 9]),
        (&[2, 2], [1, 13, 4, 4]),
        (&[1, 5], [4, 8, 1, 1]),
        (&[2, 3], [11, 17, 16, 6]),
        // More heads than calls.
        (&[5, 17], [2, 3, 2, 2]),
    ] {
        for schedule in schedules() {
            let (q, k, v) = operands(&mut numbers, lead, sizes);
            let what = format!("{lead:?} {sizes:?} {schedule}");
            let given = [q, k, v].map(Given::Input);
            check(&what, Op::Attention { scale: 0.7 }, &given, vec![], schedule);
        }
    }
}

#[test]
fn masks() {
    let mut numbers = Numbers::new(6);
    let (lead, sizes) = (&[2, 3][..], [6, 13, 4, 5]);
    for mask in
        [&[2, 3, 6, 13][..], &[3, 6, 13], &[2, 1, 6, 13], &[6, 13], &[13], &[6, 1], &[1], &[2, 1, 1, 13]]
    {
        for schedule in schedules() {
            let (q, k, v) = operands(&mut numbers, lead, sizes);
            let values = numbers.tensor(mask);
            // Some keys that may not be seen.
            let values: Vec<f32> = values
                .as_f32()
                .expect("floats")
                .iter()
                .map(|&x| if x > 0.5 { f32::NEG_INFINITY } else { x })
                .collect();
            let values = Tensor::f32(mask, values).expect("small");
            for constant in [false, true] {
                let what = format!("{mask:?} {schedule}");
                let mask =
                    if constant { Given::Constant(values.clone()) } else { Given::Input(values.clone()) };
                let [q, k, v] = [&q, &k, &v].map(|tensor| Given::Input(tensor.clone()));
                let other = Given::Input(numbers.tensor(&[3, 1, 13]));
                let both = [q.clone(), k.clone(), v.clone(), mask.clone(), other];
                check(&what, Op::Attention { scale: 1.5 }, &[q, k, v, mask], vec![], schedule);
                check(&what, Op::Attention { scale: 1.5 }, &both, vec![], schedule);
            }
        }
    }
}

/// A query without keys, NaN in a query, a key, a value and the mask, and infinite scores give NaN where the reference has it,
/// and nowhere else; scores far apart overflow nothing.
#[test]
fn numbers_that_are_none() {
    let mut numbers = Numbers::new(7);
    let sizes = [7, 11, 4, 5];
    let with = |tensor: &Tensor, at: usize, value: f32| {
        let mut data = tensor.as_f32().expect("floats").to_vec();
        data[at] = value;
        Tensor::f32(tensor.shape().dims(), data).expect("small")
    };
    for schedule in schedules() {
        let (q, k, v) = operands(&mut numbers, &[2], sizes);
        let blind: Vec<f32> =
            (0..7 * 11).map(|i| if i / 11 == 2 { f32::NEG_INFINITY } else { 0.0 }).collect();
        let mask = Tensor::f32([7, 11], blind).expect("small");
        let far = |tensor: &Tensor| {
            let data: Vec<f32> = tensor.as_f32().expect("floats").iter().map(|x| x * 300.0).collect();
            Tensor::f32(tensor.shape().dims(), data).expect("small")
        };
        for (what, q, k, v, mask) in [
            ("blind", q.clone(), k.clone(), v.clone(), mask.clone()),
            ("query", with(&q, 9, f32::NAN), k.clone(), v.clone(), mask.clone()),
            ("first key", q.clone(), with(&k, 1, f32::NAN), v.clone(), mask.clone()),
            ("last key", q.clone(), with(&k, 43, f32::NAN), v.clone(), mask.clone()),
            ("value", q.clone(), k.clone(), with(&v, 3, f32::NAN), mask.clone()),
            ("mask", q.clone(), k.clone(), v.clone(), with(&mask, 13, f32::NAN)),
            ("infinite", with(&q, 5, f32::INFINITY), k.clone(), v.clone(), mask.clone()),
            ("far", far(&q), far(&k), v.clone(), mask.clone()),
        ] {
            for masked in [true, false] {
                let what = format!("{what} {masked} {schedule}");
                let mut given = [&q, &k, &v].map(|tensor| Given::Input(tensor.clone())).to_vec();
                given.extend(masked.then(|| Given::Input(mask.clone())));
                check(&what, Op::Attention { scale: 0.5 }, &given, vec![], schedule);
            }
        }
    }
}

/// Heads within one projection, in either order of heads and parts, read in place; keys in columns; the result in the place of a
/// transposition of it.
#[test]
fn heads_in_place() {
    const BATCH: usize = 2;
    const HEADS: usize = 3;
    const WIDTH: usize = 5;
    for queries in [1, 6] {
        for schedule in schedules() {
            let mut numbers = Numbers::new(8);
            let mut graph = Graph::new("test");
            let tensor = numbers.tensor(&[BATCH, queries, 3 * HEADS * WIDTH]);
            let x = graph.add("x", Op::Input(tensor.ty()), &[]).expect("an input");
            let shape = Shape::new([BATCH, queries, 3, HEADS, WIDTH]).expect("small");
            let split = graph.add("split", Op::Reshape { shape }, &[x]).expect("valid");
            let mut schedules = Schedules::default();
            schedules.nodes.insert(split.node, Schedule::Alias);
            let mut parts = Vec::new();
            for part in 0..3 {
                let whole = |count| SliceAxis { start: 0, count, step: 1 };
                let own = SliceAxis { start: part, count: 1, step: 1 };
                let axes = vec![whole(BATCH), whole(queries), own, whole(HEADS), whole(WIDTH)];
                let y = graph.add("part", Op::Slice { axes }, &[split]).expect("valid");
                let shape = Shape::new([BATCH, queries, HEADS, WIDTH]).expect("small");
                let y = graph.add("part", Op::Reshape { shape }, &[y]).expect("valid");
                let y = graph.add("heads", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y]).expect("valid");
                for &node in &[
                    y.node,
                    graph.inputs(y.node)[0].node,
                    graph.inputs(graph.inputs(y.node)[0].node)[0].node,
                ] {
                    schedules.nodes.insert(node, Schedule::Alias);
                }
                let row = 3 * HEADS * WIDTH;
                schedules.views.insert(y.node, View::strided(x.node, part * HEADS * WIDTH));
                schedules.strides.insert(y.node, vec![queries * row, WIDTH, row, 1]);
                parts.push(y);
            }
            let y = graph.add("node", Op::Attention { scale: 0.3 }, &parts).expect("valid");
            schedules.nodes.insert(y.node, schedule);
            let back = graph.add("back", Op::Transpose { perm: vec![0, 2, 1, 3] }, &[y]).expect("valid");
            schedules.nodes.insert(back.node, Schedule::Alias);
            schedules.views.insert(y.node, View::strided(back.node, 0));
            schedules.strides.insert(y.node, vec![queries * HEADS * WIDTH, WIDTH, HEADS * WIDTH, 1]);
            graph.add_output("y", back);
            let inputs = std::slice::from_ref(&tensor);
            let expected = avocet_reference::run(&graph, inputs).expect("valid");
            for parts in [1, 3, 4] {
                let what = format!("{queries} queries, {parts} parts, {schedule}");
                schedules.splits.insert(y.node, Split { axis: Axis::Rows, parts });
                let program = lower(&graph, &schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
                let got = run_program_in(PartOrder::Reversed, &program, inputs);
                let got = got.unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
                assert_close(&what, &got[0], &expected[0]);
            }
        }
    }
}
