//! 64-bit integers, and accesses of computed indices: scalars, which the wide back end leaves to Cranelift.

use avocet_backend_tests::back_ends::back_ends;
use avocet_backend_tests::check::{Contents, check};
use avocet_ir::kernel::{Access, BinaryOp, Buffer, BufferId, Element, Kernel, KernelBuilder, ValueId};

const NUMBERS: [i64; 12] =
    [0, 1, -1, 2, -2, 7, -7, 63, i64::MAX, i64::MIN, i64::MIN + 1, 0x1234_5678_9abc_def0];

fn bytes(numbers: impl IntoIterator<Item = i64>) -> Vec<u8> {
    numbers.into_iter().flat_map(i64::to_le_bytes).collect()
}

/// Checks a kernel on each back end but those that refuse 64-bit scalars, of which one must be left on each target.
fn check_scalars(kernel: &Kernel, contents: &Contents) {
    let mut taken = 0;
    for back_end in back_ends() {
        match back_end.backend.compile(kernel) {
            Err(error) => assert!(back_end.backend.name().starts_with("x86"), "{error}"),
            Ok(_) => {
                check(back_end, kernel, contents);
                taken += 1;
            }
        }
    }
    assert!(taken > 1, "only {taken} back ends take 64-bit scalars");
}

/// A kernel of a function of all pairs of numbers.
fn each_pair(function: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> ValueId) {
    let count = NUMBERS.len();
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::I64, count, Access::Read);
    let y = b.buffer("y", Element::I64, count * count, Access::Write);
    b.repeat(count, |b, i| {
        let left = b.load(1, x, i.clone());
        b.repeat(count, |b, j| {
            let right = b.load(1, x, j.clone());
            let value = function(b, left, right);
            b.store(y, i * count + j, value);
        });
    });
    check_scalars(&b.finish(), &vec![bytes(NUMBERS), bytes(vec![0; count * count])]);
}

#[test]
fn arithmetic_of_64_bits_is_total() {
    use BinaryOp::{Add, And, Div, Mul, Or, Rem, Sub, Xor};
    for op in [Add, Sub, Mul, Div, Rem, And, Or, Xor] {
        each_pair(|b, x, y| b.binary(op, x, y));
    }
}

#[test]
fn shifts_of_64_bits() {
    for op in [BinaryOp::ShiftLeft, BinaryOp::ShiftRight] {
        each_pair(|b, x, y| {
            let most = b.i64(63);
            let amount = b.binary(BinaryOp::And, y, most);
            b.binary(op, x, amount)
        });
    }
}

#[test]
fn conversions_between_floats_and_64_bits() {
    let floats = [0.0, -0.0, 1.9, -1.9, 3e9, -3e9, 1e19, -1e19, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::F32, floats.len(), Access::Read);
    let n = b.buffer("n", Element::I64, NUMBERS.len(), Access::Read);
    let y = b.buffer("y", Element::I64, floats.len(), Access::Write);
    let z = b.buffer("z", Element::F32, NUMBERS.len(), Access::Write);
    b.repeat(floats.len(), |b, i| {
        let value = b.load(1, x, i.clone());
        let value = b.convert(Element::I64, value);
        b.store(y, i, value);
    });
    b.repeat(NUMBERS.len(), |b, i| {
        let value = b.load(1, n, i.clone());
        let value = b.convert(Element::F32, value);
        b.store(z, i, value);
    });
    let contents = vec![
        floats.iter().flat_map(|v| v.to_le_bytes()).collect(),
        bytes(NUMBERS),
        bytes(vec![0; floats.len()]),
        vec![0; NUMBERS.len() * 4],
    ];
    check_scalars(&b.finish(), &contents);
}

/// Elements that kernels don't compute in, as the wider type and back.
#[test]
fn conversions_of_elements_that_are_widened() {
    for element in [Element::U8, Element::I8, Element::I16, Element::U16, Element::U32] {
        let wider = element.wider().expect("it is widened");
        let count = 24;
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", element, count, Access::Read);
        let wide = b.buffer("wide", wider, count, Access::Write);
        let y = b.buffer("y", element, count, Access::Write);
        b.repeat(count, |b, i| {
            let value = b.load(1, x, i.clone());
            let value = b.convert(wider, value);
            b.store(wide, i.clone(), value);
            let more = b.add(value, value);
            let low = b.convert(element, more);
            b.store(y, i, low);
        });
        let kernel = b.finish();
        let pattern = |buffer: &Buffer| (0..buffer.bytes()).map(|i| (i * 37 + i / 3 * 91) as u8).collect();
        let contents: Contents = kernel.buffers.iter().map(pattern).collect();
        check_scalars(&kernel, &contents);
    }
}

/// Indices within and outside, of buffers of each element type.
#[test]
fn computed_indices_are_clamped() {
    use Element::{F32, I8, I16, I32, I64, U8, U16, U32};
    for element in [F32, I32, I64, U8, I8, I16, U16, U32] {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", element, 5, Access::Read);
        let n = b.buffer("n", Element::I64, NUMBERS.len(), Access::Read);
        let y = b.buffer("y", element, NUMBERS.len(), Access::Write);
        let z = b.buffer("z", element, 5, Access::Write);
        b.repeat(5, |b, i| {
            let value = b.load(1, x, i.clone());
            b.store(z, i, value);
        });
        b.repeat(NUMBERS.len(), |b, i| {
            let index = b.load(1, n, i.clone());
            let value = b.load_at(x, index);
            b.store(y, i, value);
            // What is stored is there at once.
            let one = b.i64(1);
            let next = b.add(index, one);
            let other = b.load_at(z, next);
            b.store_at(z, index, other);
        });
        let kernel = b.finish();
        let mut contents: Contents =
            kernel.buffers.iter().map(|buffer| (0..buffer.bytes()).map(|i| i as u8).collect()).collect();
        contents[1] = bytes(NUMBERS);
        check_scalars(&kernel, &contents);
    }
}

#[test]
fn computed_indices_are_verified() {
    let refused = |make: &dyn Fn(&mut KernelBuilder, BufferId)| {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 5, Access::Read);
        make(&mut b, x);
        b.finish().verify().expect_err("it is wrong").problem
    };
    let problem = refused(&|b, x| {
        let index = b.i32(1, 0);
        b.load_at(x, index);
    });
    assert!(problem.ends_with("x is indexed by a value of i32"), "{problem}");
    let problem = refused(&|b, x| {
        let (index, value) = (b.i64(0), b.f32(1, 0.0));
        b.store_at(x, index, value);
    });
    assert_eq!(problem, "a store to x, which is read-only");
    let problem = refused(&|b, _| {
        let empty = b.buffer("empty", Element::F32, 0, Access::Read);
        let index = b.i64(0);
        b.load_at(empty, index);
    });
    assert!(problem.ends_with("an access to empty, which has no elements"), "{problem}");
}
