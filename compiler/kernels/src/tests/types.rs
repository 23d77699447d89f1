//! Elements of other types than f32, and operators about positions, against the reference interpreter.

use avocet_ir::op::{Binary, Comparison, Op, ReduceKind, Unary};
use avocet_ir::schedule::Schedule;
use avocet_ir::{DType, Shape, Tensor, TensorData};

use super::{Given, Numbers, check};

const TYPES: [DType; 5] = [DType::F32, DType::I64, DType::I32, DType::U8, DType::Bool];

/// Small numbers of a type, of both signs where it has them.
fn tensor(numbers: &mut Numbers, dtype: DType, dims: &[usize]) -> Tensor {
    let floats = numbers.tensor(dims);
    let values: Vec<i64> = floats.as_f32().expect("f32").iter().map(|v| (v * 9.0) as i64).collect();
    let data = match dtype {
        DType::F32 => TensorData::F32(values.iter().map(|&v| v as f32).collect()),
        DType::I64 => TensorData::I64(values.into()),
        DType::I32 => TensorData::I32(values.iter().map(|&v| v as i32).collect()),
        DType::U8 => TensorData::U8(values.iter().map(|&v| v as u8).collect()),
        DType::Bool => TensorData::Bool(values.iter().map(|&v| v > 0).collect()),
    };
    Tensor::new(Shape::new(dims).expect("small"), data).expect("as many")
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
    for dtype in [DType::I64, DType::I32, DType::U8] {
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
    let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.9, -0.9, 255.9, 256.0, 3e9, -3e9, 1e30];
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
