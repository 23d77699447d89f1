use avocet_ir::Tensor;
use avocet_ir::op::{Binary, EpilogueStep, Op, ReduceKind, Unary};
use avocet_ir::schedule::Schedule;

use super::{Given, Numbers, check};

/// Layer norm and root-mean-square norm, with scale, offset and an addition of their own kind.
#[test]
fn norms() {
    let mut numbers = Numbers::new(31);
    for dims in [&[1][..], &[7], &[3, 16], &[1, 9, 40], &[2, 3, 4, 5], &[5, 1], &[2, 4, 300], &[1, 2, 1, 130]]
    {
        for lanes in [1, 4, 8, 16] {
            for centered in [true, false] {
                let x = numbers.tensor(dims);
                let width = *dims.last().expect("not a scalar");
                let binary = |op| EpilogueStep::Binary { op, operand: 0, swapped: false };
                let mut epilogue = vec![
                    (binary(Binary::Mul), Some(numbers.tensor(&[width]))),
                    (binary(Binary::Add), Some(numbers.tensor(&[width]))),
                ];
                if let [_, middle @ .., _] = dims {
                    // One that broadcasts along the first of several dimensions.
                    let partial = [&[1][..], middle, &[width]].concat();
                    epilogue.push((binary(Binary::Add), Some(numbers.tensor(&partial))));
                }
                let what = format!("norm of {dims:?}, {lanes} lanes, {centered}");
                let op = Op::Normalize { epsilon: 1e-5, centered };
                check(&what, op, &[Given::Input(x)], epilogue, Schedule::Vector { lanes });
            }
        }
    }
}

#[test]
fn reductions_over_any_axes() {
    let dims = [2, 5, 7, 13];
    for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min] {
        for mask in 1..16 {
            for (lanes, keep_dims) in [(1, true), (4, false), (8, true)] {
                let axes: Vec<usize> = (0..4).filter(|i| mask >> i & 1 == 1).collect();
                let op = Op::Reduce { kind, axes, keep_dims };
                let what = format!("{:?} {:?} {lanes}", kind, op.attributes());
                let x = Numbers::new(4).tensor(&dims);
                let steps = vec![(EpilogueStep::Unary(Unary::Relu), None)];
                check(&what, op, &[Given::Input(x)], steps, Schedule::Vector { lanes });
            }
        }
    }
}

/// Global pooling: what is divided into ranges of channels.
#[test]
fn pooling_of_whole_images() {
    for channels in [1, 5, 16, 37] {
        for keep_dims in [true, false] {
            let op = Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims };
            let x = Numbers::new(6).tensor(&[1, 9, 8, channels]);
            let operand = Numbers::new(7).tensor(&[channels]);
            let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
            let steps = vec![(EpilogueStep::Unary(Unary::Relu), None), (add, Some(operand))];
            check(
                &format!("{channels} {keep_dims}"),
                op,
                &[Given::Input(x)],
                steps,
                Schedule::Vector { lanes: 4 },
            );
        }
    }
}

/// Large enough for groups of positions, the last one shorter; channels that fill vectors and blocks of them, and not.
#[test]
fn pooling_in_groups() {
    for kind in [ReduceKind::Mean, ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min] {
        for (dims, lanes) in
            [([1, 37, 31, 16], 4), ([1, 9, 83, 37], 8), ([1, 1, 5, 4099], 16), ([1, 130, 127, 1], 1)]
        {
            let op = Op::Reduce { kind, axes: vec![1, 2], keep_dims: true };
            let x = Numbers::new(8).tensor(&dims);
            let operand = Numbers::new(9).tensor(&[dims[3]]);
            let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
            let steps = vec![(EpilogueStep::Unary(Unary::Relu), None), (add, Some(operand))];
            check(&format!("{kind:?} {dims:?}"), op, &[Given::Input(x)], steps, Schedule::Vector { lanes });
        }
    }
}

#[test]
fn large_sums_stay_accurate() {
    let data: Vec<f32> = (0..100_000).map(|i| 1.0 + (i % 7) as f32 * 0.1).collect();
    for dims in [[1, 100_000], [100_000, 1], [50_000, 2]] {
        let x = Tensor::f32(dims, data.clone()).expect("small");
        let axes = if dims[0] == 1 { vec![1] } else { vec![0] };
        let op = Op::Reduce { kind: ReduceKind::Sum, axes, keep_dims: false };
        check(&format!("{dims:?}"), op, &[Given::Input(x)], vec![], Schedule::Vector { lanes: 4 });
    }
}

#[test]
fn extremes_keep_nan() {
    for kind in [ReduceKind::Max, ReduceKind::Min] {
        for position in [0, 3, 8] {
            for axes in [vec![0], vec![1]] {
                let mut data = vec![0.5, f32::INFINITY, -1.0, 2.0, 0.0, f32::NEG_INFINITY, 1.0, 1.0, 3.0];
                data[position] = f32::NAN;
                for dims in [[1, 9], [9, 1], [3, 3]] {
                    let x = Tensor::f32(dims, data.clone()).expect("small");
                    let op = Op::Reduce { kind, axes: axes.clone(), keep_dims: true };
                    let what = format!("{kind:?} {position} {axes:?} {dims:?}");
                    check(&what, op, &[Given::Input(x)], vec![], Schedule::Vector { lanes: 4 });
                }
            }
        }
    }
}

#[test]
fn softmax_over_any_axis() {
    for dims in [vec![3, 10], vec![2, 5, 7], vec![1, 1], vec![4, 3, 8, 5]] {
        for axis in 0..dims.len() {
            for lanes in [1, 4] {
                let mut x = Numbers::new(5).tensor(&dims);
                if let Some(data) = x.as_f32() {
                    let wide: Vec<f32> = data.iter().map(|v| v * 60.0).collect();
                    x = Tensor::f32(dims.clone(), wide).expect("same shape");
                }
                let what = format!("{dims:?} {axis}");
                check(&what, Op::Softmax { axis }, &[Given::Input(x)], vec![], Schedule::Vector { lanes });
            }
        }
    }
}

/// One class stands out of as many as a text recognition has; added one by one, the others would lose 1e-4 next to it.
#[test]
fn softmax_of_many_classes_stays_accurate() {
    let data: Vec<f32> = (0..18_710).map(|i| if i == 0 { 13.0 } else { (i % 5) as f32 * 0.1 }).collect();
    for (dims, axis) in [([1, 18_710], 1), ([18_710, 1], 0)] {
        let x = Tensor::f32(dims, data.clone()).expect("small");
        for lanes in [1, 4] {
            let op = Op::Softmax { axis };
            check(&format!("{dims:?}"), op, &[Given::Input(x.clone())], vec![], Schedule::Vector { lanes });
        }
    }
}
