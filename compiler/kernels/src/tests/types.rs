//! Elements of other types than f32, and operators about positions, against the reference interpreter.

use avocet_ir::op::{Binary, Comparison, Op, ReduceKind, Unary};
use avocet_ir::schedule::Schedule;
use avocet_ir::{DType, Shape, Tensor, TensorData};

use super::{Given, Numbers, check};

const TYPES: [DType; 10] = [
    DType::F32,
    DType::I64,
    DType::I32,
    DType::U8,
    DType::Bool,
    DType::I8,
    DType::I16,
    DType::U16,
    DType::U32,
    DType::U64,
];

fn integers() -> impl Iterator<Item = DType> {
    TYPES.into_iter().filter(|dtype| dtype.is_integer())
}

/// Numbers as elements of a type: their low bits.
fn elements(dtype: DType, values: &[i64]) -> TensorData {
    match dtype {
        DType::F32 => TensorData::F32(values.iter().map(|&v| v as f32).collect()),
        DType::Bool => TensorData::Bool(values.iter().map(|&v| v > 0).collect()),
        _ => {
            let low = |v: &i64| v.to_le_bytes()[..dtype.bytes()].to_vec();
            TensorData::from_le_bytes(dtype, &values.iter().flat_map(low).collect::<Vec<u8>>())
        }
    }
}

/// Small numbers of a type, of both signs where it has them.
fn tensor(numbers: &mut Numbers, dtype: DType, dims: &[usize]) -> Tensor {
    let floats = numbers.tensor(dims);
    let values: Vec<i64> = floats.as_f32().expect("f32").iter().map(|v| (v * 9.0) as i64).collect();
    Tensor::new(Shape::new(dims).expect("small"), elements(dtype, &values)).expect("as many")
}

/// The ends of a type's range and what lies around them, as one dimension.
fn edges(dtype: DType) -> Tensor {
    let (least, most) = dtype.bounds().expect("integers");
    let middle = (least + most + 1) / 2;
    let values =
        [least, least + 1, middle - 1, middle, middle + 1, most - 1, most, 0, 1, 2, 3, 7, 31, 63, 100];
    let values = values.map(|v| v as i64);
    Tensor::new(Shape::new([values.len()]).expect("small"), elements(dtype, &values)).expect("as many")
}

#[test]
fn the_ends_of_ranges() {
    use Binary::{Add, And, Div, Max, Min, Mod, Mul, Or, Pow, Rem, ShiftLeft, ShiftRight, Sub, Xor};
    use ReduceKind::{Max as Largest, Mean, Min as Smallest, Prod, Sum};
    for dtype in integers() {
        let row = edges(dtype);
        let count = row.shape().elements();
        let column = row.reshaped(Shape::new([count, 1]).expect("small")).expect("as many");
        let pair = || vec![column.clone(), row.clone()];
        for op in [Add, Sub, Mul, Div, Rem, Mod, Min, Max, Pow, And, Or, Xor, ShiftLeft, ShiftRight] {
            run(Op::Binary(op), pair());
        }
        for comparison in [Comparison::Less, Comparison::LessEqual, Comparison::Equal] {
            run(Op::Compare(comparison), pair());
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Not, Unary::Relu, Unary::Round] {
            run(Op::Unary(op), vec![row.reshaped(Shape::new([3, 5]).expect("small")).expect("as many")]);
        }
        for to in TYPES {
            run(Op::Cast { to }, vec![row.clone()]);
        }
        for largest in [true, false] {
            run(Op::Rank { largest, axis: 0, count }, vec![row.clone()]);
        }
        for kind in [Sum, Mean, Largest, Smallest, Prod] {
            run(Op::Reduce { kind, axes: vec![0], keep_dims: false }, vec![row.clone()]);
        }
    }
}

fn run(op: Op, given: Vec<Tensor>) {
    let types: Vec<String> = given.iter().map(|tensor| tensor.ty().to_string()).collect();
    let what = format!("{} {:?} of {}", op.name(), op.attributes(), types.join(", "));
    let given: Vec<Given> = given.into_iter().map(Given::Input).collect();
    check(&what, op, &given, vec![], Schedule::Vector { lanes: 4 });
}

#[test]
fn arithmetic_of_integers() {
    use Binary::{Add, And, Div, Max, Min, Mod, Mul, Or, Pow, Rem, ShiftLeft, ShiftRight, Sub, Xor};
    let mut numbers = Numbers::new(1);
    for dtype in integers() {
        for op in [Add, Sub, Mul, Div, Rem, Mod, Min, Max, Pow, And, Or, Xor, ShiftLeft, ShiftRight] {
            let (a, b) = (tensor(&mut numbers, dtype, &[3, 4, 5]), tensor(&mut numbers, dtype, &[4, 1]));
            run(Op::Binary(op), vec![a, b]);
        }
        for op in [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Not, Unary::Relu, Unary::Round] {
            run(Op::Unary(op), vec![tensor(&mut numbers, dtype, &[3, 7])]);
        }
    }
    for op in [Binary::And, Binary::Or, Binary::Xor] {
        let pair = [0, 1].map(|_| tensor(&mut numbers, DType::Bool, &[3, 7]));
        run(Op::Binary(op), pair.to_vec());
    }
    run(Op::Unary(Unary::Not), vec![tensor(&mut numbers, DType::Bool, &[3, 7])]);
}

#[test]
fn comparisons_choices_and_conversions() {
    let mut numbers = Numbers::new(2);
    for dtype in TYPES {
        for comparison in [Comparison::Less, Comparison::LessEqual, Comparison::Equal] {
            let (a, b) = (tensor(&mut numbers, dtype, &[3, 4, 5]), tensor(&mut numbers, dtype, &[4, 1]));
            run(Op::Compare(comparison), vec![a, b]);
        }
        let condition = tensor(&mut numbers, DType::Bool, &[4, 5]);
        let (a, b) = (tensor(&mut numbers, dtype, &[3, 1, 5]), tensor(&mut numbers, dtype, &[]));
        run(Op::Select, vec![condition, a, b]);
        for to in TYPES {
            run(Op::Cast { to }, vec![tensor(&mut numbers, dtype, &[3, 7])]);
        }
    }
    for (from, to) in TYPES.iter().flat_map(|&from| TYPES.map(|to| (from, to))) {
        if from.bytes() == to.bytes() && to != DType::Bool {
            run(Op::Bitcast { to }, vec![tensor(&mut numbers, from, &[3, 7])]);
        }
    }
    let edges = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -0.0,
        0.9,
        -0.9,
        255.9,
        256.0,
        3e9,
        -3e9,
        1e30,
        127.5,
        -128.5,
        65_535.5,
        -32_769.0,
        9.3e18,
        1.7e19,
        1.9e19,
    ];
    for to in TYPES {
        run(Op::Cast { to }, vec![Tensor::f32([edges.len()], edges).expect("small")]);
    }
}

#[test]
fn reductions_of_other_types() {
    use ReduceKind::{Max, Mean, Min, Prod, Sum};
    let mut numbers = Numbers::new(3);
    for kind in [Sum, Mean, Max, Min, Prod] {
        for dtype in TYPES {
            let defined = match dtype {
                DType::F32 => kind == Prod,
                DType::Bool => matches!(kind, Max | Min),
                _ => true,
            };
            for axes in [vec![0], vec![1, 2], vec![0, 2], vec![0, 1, 2]] {
                if defined {
                    let x = tensor(&mut numbers, dtype, &[2, 3, 4]);
                    run(Op::Reduce { kind, axes, keep_dims: false }, vec![x]);
                }
            }
        }
    }
}

#[test]
fn positions_and_computed_indices() {
    let mut numbers = Numbers::new(4);
    for dtype in TYPES {
        let mut x = || tensor(&mut numbers, dtype, &[3, 5, 4]);
        for (largest, other) in [(true, false), (true, true), (false, false), (false, true)] {
            for axis in 0..3 {
                run(Op::ArgReduce { largest, axis, last: other }, vec![x()]);
                run(Op::Rank { largest, axis, count: 3 }, vec![x()]);
                if dtype != DType::Bool {
                    for join in [Binary::Add, Binary::Mul] {
                        run(Op::Cumulate { join, axis, exclusive: largest, reverse: other }, vec![x()]);
                    }
                }
            }
        }
        // Also from the end, and outside.
        let indices = Tensor::i64([2, 3], [0, -1, 2, 1, 99, -99].as_slice()).expect("small");
        for axis in 0..3 {
            run(Op::Gather { axis }, vec![x(), indices.clone()]);
        }
        let indices = Tensor::i64([5], [0, -1, 0, 99, -99].as_slice()).expect("small");
        for join in [None, Some(Binary::Add), Some(Binary::Mul), Some(Binary::Min), Some(Binary::Max)] {
            let rows = tensor(&mut Numbers::new(5), dtype, &[5, 4]);
            let x = tensor(&mut Numbers::new(6), dtype, &[3, 4]);
            if dtype != DType::Bool || join.is_none() {
                run(Op::Scatter { join }, vec![x, indices.clone(), rows]);
            }
        }
    }
    let odd = [f32::NAN, 1.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0];
    let odd = Tensor::f32([odd.len()], odd).expect("small");
    for largest in [true, false] {
        run(Op::Rank { largest, axis: 0, count: 7 }, vec![odd.clone()]);
        run(Op::ArgReduce { largest, axis: 0, last: false }, vec![odd.clone()]);
    }
}
