//! Each operator against values worked out by hand, and against other operators that must agree with it.

mod conv;
mod elementwise;
mod hostile;
mod integers;
mod matmul;
mod movement;
mod pool;
mod reduce;
mod resize;
mod run;

use avocet_ir::op::{Conv, Layout, Padding};
use avocet_ir::{DType, Op, Shape, Tensor, TensorData};

use super::evaluate;

/// An f32 tensor.
fn t(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::f32(dims, data).expect("test tensor")
}

/// An i64 tensor.
fn ti(dims: &[usize], data: &[i64]) -> Tensor {
    Tensor::i64(dims, data).expect("test tensor")
}

/// A tensor of small integers that differ from place to place, so that f32 sums of them are exact.
fn ramp(dims: &[usize]) -> Tensor {
    let elements = dims.iter().product::<usize>();
    t(dims, &(0..elements).map(|i| ((i * 7 + 3) % 19) as f32 - 9.0).collect::<Vec<_>>())
}

fn eval(op: &Op, inputs: &[&Tensor]) -> Tensor {
    evaluate(op, inputs).unwrap_or_else(|e| panic!("{}: {e}", op.name()))
}

/// The elements of the f32 result.
fn values(op: &Op, inputs: &[&Tensor]) -> Vec<f32> {
    eval(op, inputs).as_f32().expect("f32 result").to_vec()
}

/// Dimensions and elements of the f32 result.
fn check(op: &Op, inputs: &[&Tensor], dims: &[usize], expected: &[f32]) {
    let result = eval(op, inputs);
    assert_eq!(result.shape().dims(), dims, "{}", op.name());
    assert_eq!(result.as_f32().expect("f32 result"), expected, "{}", op.name());
}

/// A convolution that steps by one, without padding, of one group.
fn plain_conv(layout: Layout) -> Conv {
    Conv { strides: [1, 1], dilations: [1, 1], padding: Padding::default(), groups: 1, layout }
}

fn transpose(perm: &[usize]) -> Op {
    Op::Transpose { perm: perm.to_vec() }
}

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).expect("test shape")
}
