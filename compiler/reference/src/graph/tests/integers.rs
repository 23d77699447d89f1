use avocet_ir::op::{Binary, ReduceKind, Unary};

use super::*;

fn ints(op: &Op, inputs: &[&Tensor]) -> Vec<i64> {
    eval(op, inputs).as_i64().expect("i64 result").to_vec()
}

#[test]
fn arithmetic_wraps_and_divides_towards_zero() {
    let (a, b) = (ti(&[3], &[7, -7, i64::MAX]), ti(&[3], &[2, 2, 3]));
    let op = Op::Binary;
    assert_eq!(ints(&op(Binary::Add), &[&a, &b]), [9, -5, i64::MIN + 2]);
    assert_eq!(ints(&op(Binary::Sub), &[&a, &b]), [5, -9, i64::MAX - 3]);
    assert_eq!(ints(&op(Binary::Mul), &[&a, &b]), [14, -14, i64::MAX.wrapping_mul(3)]);
    assert_eq!(ints(&op(Binary::Div), &[&a, &b]), [3, -3, i64::MAX / 3]);
    assert_eq!(ints(&op(Binary::Min), &[&a, &b]), [2, -7, 3]);
    assert_eq!(ints(&op(Binary::Max), &[&a, &b]), [7, 2, i64::MAX]);
    assert_eq!(ints(&op(Binary::Pow), &[&a, &b])[..2], [49, 49]);
    assert_eq!(ints(&op(Binary::Div), &[&ti(&[], &[i64::MIN]), &ti(&[], &[-1])]), [i64::MIN]);
    assert_eq!(ints(&Op::Unary(Unary::Neg), &[&a])[..2], [-7, 7]);
    assert_eq!(ints(&Op::Unary(Unary::Abs), &[&a])[..2], [7, 7]);
}

#[test]
fn arithmetic_is_total() {
    let (a, zero) = (ti(&[3], &[1, -7, i64::MIN]), ti(&[], &[0]));
    for op in [Binary::Div, Binary::Rem, Binary::Mod] {
        assert_eq!(ints(&Op::Binary(op), &[&a, &zero]), [0, 0, 0]);
    }
    let (bases, powers) = (ti(&[5], &[1, -1, -1, 2, 0]), ti(&[5], &[-3, -3, -2, -1, -1]));
    assert_eq!(ints(&Op::Binary(Binary::Pow), &[&bases, &powers]), [1, -1, 1, 0, 0]);
    assert_eq!(ints(&Op::Binary(Binary::Mod), &[&ti(&[2], &[-7, 7]), &ti(&[2], &[3, -3])]), [2, -2]);
    assert_eq!(ints(&Op::Binary(Binary::Rem), &[&ti(&[2], &[-7, 7]), &ti(&[2], &[3, -3])]), [-1, 1]);
    let (ones, amounts) = (ti(&[4], &[1, 1, -8, -8]), ti(&[4], &[64, -1, 1, 99]));
    assert_eq!(ints(&Op::Binary(Binary::ShiftLeft), &[&ones, &amounts]), [0, 0, -16, 0]);
    assert_eq!(ints(&Op::Binary(Binary::ShiftRight), &[&ones, &amounts]), [0, 0, -4, -1]);
    let error = evaluate(&Op::Unary(Unary::Exp), &[&ti(&[], &[1])]).expect_err("exp of an integer");
    assert_eq!(error.to_string(), "exp is not evaluated on elements of type i64");
}

#[test]
fn numbers_without_a_sign() {
    let u = |values: &[u8]| {
        Tensor::new(shape(&[values.len()]), TensorData::U8(values.into())).expect("test tensor")
    };
    let binary = |op, a: &[u8], b: &[u8]| eval(&Op::Binary(op), &[&u(a), &u(b)]).data().clone();
    assert_eq!(binary(Binary::Sub, &[1, 200], &[2, 100]), TensorData::U8([255, 100].into()));
    assert_eq!(binary(Binary::Div, &[200, 255], &[3, 0]), TensorData::U8([66, 0].into()));
    assert_eq!(
        binary(Binary::ShiftRight, &[200, 200, 200], &[1, 8, 255]),
        TensorData::U8([100, 0, 0].into())
    );
    let large = Tensor::new(shape(&[2]), TensorData::U64([u64::MAX, 1].into())).expect("test tensor");
    let most = eval(&Op::Reduce { kind: ReduceKind::Max, axes: vec![0], keep_dims: false }, &[&large]);
    assert_eq!(most.data(), &TensorData::U64([u64::MAX].into()));
    let cast = eval(&Op::Cast { to: DType::I8 }, &[&u(&[127, 128, 255])]);
    assert_eq!(cast.data(), &TensorData::I8([127, -128, -1].into()));
}

#[test]
fn reductions() {
    let x = ti(&[2, 3], &[1, 2, 4, -1, -2, -4]);
    let op = |kind| Op::Reduce { kind, axes: vec![1], keep_dims: false };
    assert_eq!(ints(&op(ReduceKind::Sum), &[&x]), [7, -7]);
    assert_eq!(ints(&op(ReduceKind::Mean), &[&x]), [2, -2]);
    assert_eq!(ints(&op(ReduceKind::Max), &[&x]), [4, -1]);
    assert_eq!(ints(&op(ReduceKind::Min), &[&x]), [1, -4]);
}

#[test]
fn casts_go_as_in_c() {
    let cast = |x: &Tensor, to| eval(&Op::Cast { to }, &[x]).data().clone();
    let x = t(&[5], &[1.9, -1.9, 0.0, f32::NAN, 1e30]);
    assert_eq!(cast(&x, DType::I64), TensorData::I64([1, -1, 0, 0, i64::MAX].into()));
    assert_eq!(cast(&x, DType::I32), TensorData::I32([1, -1, 0, 0, i32::MAX].into()));
    assert_eq!(cast(&x, DType::U8), TensorData::U8([1, 0, 0, 0, 255].into()));
    assert_eq!(cast(&x, DType::Bool), TensorData::Bool([true, true, false, true, true].into()));
    let x = ti(&[3], &[0, 258, 1 << 32]);
    assert_eq!(cast(&x, DType::F32), TensorData::F32([0.0, 258.0, 4_294_967_296.0].into()));
    assert_eq!(cast(&x, DType::I32), TensorData::I32([0, 258, 0].into()));
    assert_eq!(cast(&x, DType::U8), TensorData::U8([0, 2, 0].into()));
    let x = Tensor::new(shape(&[2]), TensorData::Bool([true, false].into())).expect("test tensor");
    assert_eq!(cast(&x, DType::F32), TensorData::F32([1.0, 0.0].into()));
    assert_eq!(cast(&x, DType::Bool), x.data().clone());
}

/// What exporters write for `x.view(x.size(0), -1)`: shape arithmetic by movement of i64.
#[test]
fn movement_of_shapes() {
    use avocet_ir::op::{PadMode, SliceAxis};
    let dims = ti(&[4], &[1, 64, 7, 7]);
    let first = eval(&Op::Slice { axes: vec![SliceAxis { start: 0, count: 1, step: 1 }] }, &[&dims]);
    assert_eq!(ints(&Op::Concat { axis: 0 }, &[&first, &ti(&[1], &[-1])]), [1, -1]);
    let op = Op::Pad { amounts: vec![(1, 1)], mode: PadMode::Constant(-2.0) };
    assert_eq!(ints(&op, &[&dims]), [-2, 1, 64, 7, 7, -2]);
    assert_eq!(ints(&Op::Broadcast { shape: shape(&[2, 1]) }, &[&first]), [1, 1]);
    assert_eq!(ints(&Op::Identity, &[&dims]), [1, 64, 7, 7]);
}
