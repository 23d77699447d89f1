use avocet_ir::kernel::{
    Access, BinaryOp, BufferId, Element, Horizontal, Kernel, KernelBuilder, Predicate, UnaryOp,
};

use super::*;

fn floats(values: &[f32]) -> Memory {
    Memory::filled(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn read(memory: &Memory) -> Vec<f32> {
    memory.bytes().chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// Runs a kernel of one input and one output.
fn run(kernel: &Kernel, x: &[f32]) -> Result<Vec<f32>, KernelRunError> {
    let mut memories = [floats(x), Memory::new(kernel.buffers[1].bytes())];
    run_kernel(kernel, &mut memories, &[(0, 0), (1, 0)])?;
    Ok(read(&memories[1]))
}

fn builder(inputs: usize, outputs: usize) -> (KernelBuilder, BufferId, BufferId) {
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::F32, inputs, Access::Read);
    let y = b.buffer("y", Element::F32, outputs, Access::Write);
    (b, x, y)
}

#[test]
fn tails_load_zeros_and_store_only_what_is_valid() {
    let (mut b, x, y) = builder(6, 6);
    b.blocks(6, 4, |b, index, valid| {
        let value = b.load_partial(4, valid, x, index.clone());
        let one = b.f32(4, 1.0);
        let sum = b.add(value, one);
        b.store_partial(y, index, sum, valid);
    });
    assert_eq!(run(&b.finish(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), Ok(vec![2.0, 3.0, 4.0, 5.0, 6.0, 7.0]));
}

#[test]
fn loops_carry_and_swap() {
    let (mut b, x, y) = builder(2, 2);
    let (first, second) = (b.load(1, x, 0usize), b.load(1, x, 1usize));
    let pair = b.repeat_carrying(3, &[first, second], |_, _, carried| vec![carried[1], carried[0]]);
    b.store(y, 0usize, pair[0]);
    b.store(y, 1usize, pair[1]);
    assert_eq!(run(&b.finish(), &[1.0, 2.0]), Ok(vec![2.0, 1.0]));
}

#[test]
fn operations_on_special_values() {
    let (mut b, x, y) = builder(4, 20);
    let value = b.load(4, x, 0usize);
    let zero = b.f32(4, 0.0);
    let relu = b.max(zero, value);
    b.store(y, 0usize, relu);
    let other = b.max(value, zero);
    b.store(y, 4usize, other);
    let whole = b.convert(Element::I32, value);
    let whole = b.convert(Element::F32, whole);
    b.store(y, 8usize, whole);
    let is_nan = b.select(Predicate::NotEqual, (value, value), zero, value);
    b.store(y, 12usize, is_nan);
    let rounded = b.unary(UnaryOp::Round, value);
    b.store(y, 16usize, rounded);
    let got = run(&b.finish(), &[f32::NAN, -2.5, 2.5, f32::INFINITY]).expect("valid");
    assert!(got[0].is_nan() && got[1..4] == [0.0, 2.5, f32::INFINITY], "{got:?}");
    assert_eq!(got[4..8], [0.0, 0.0, 2.5, f32::INFINITY]);
    assert_eq!(got[8..12], [0.0, -2.0, 2.0, i32::MAX as f32]);
    assert_eq!(got[12..16], [0.0, -2.5, 2.5, f32::INFINITY]);
    assert!(got[16].is_nan() && got[17..] == [-2.0, 2.0, f32::INFINITY], "{got:?}");
}

#[test]
fn reductions_join_lanes_as_a_tree() {
    let (mut b, x, y) = builder(4, 1);
    let value = b.load(4, x, 0usize);
    let sum = b.reduce(Horizontal::Add, value);
    b.store(y, 0usize, sum);
    // (1e8 + -1e8) + (1 + 1): in order from the left the ones would be lost.
    assert_eq!(run(&b.finish(), &[1e8, 1.0, -1e8, 1.0]), Ok(vec![2.0]));
}

#[test]
fn integer_shifts() {
    let (mut b, x, y) = builder(1, 1);
    let value = b.load(1, x, 0usize);
    let bits = b.bitcast(Element::I32, value);
    let amount = b.i32(1, 23);
    let exponent = b.binary(BinaryOp::ShiftRight, bits, amount);
    let exponent = b.convert(Element::F32, exponent);
    b.store(y, 0usize, exponent);
    assert_eq!(run(&b.finish(), &[8.0]), Ok(vec![130.0]));
}

#[test]
fn wrong_accesses_are_reported() {
    let (mut b, x, y) = builder(4, 4);
    b.repeat(2, |b, i| {
        let value = b.load(4, x, i * 1);
        b.store(y, 0usize, value);
    });
    let error = run(&b.finish(), &[0.0; 4]).expect_err("the second load ends at 5");
    assert_eq!(error.to_string(), "kernel 'test': x[1] (4 elements, at i0) is out of bounds of 4 elements");

    let (mut b, x, y) = builder(4, 4);
    let value = b.load(4, y, 0usize);
    b.store(x, 0usize, value);
    let error = run(&b.finish(), &[0.0; 4]).expect_err("y is unwritten");
    assert_eq!(error.to_string(), "kernel 'test': y[0] was never written");
}
