//! Loads and stores: each number of lanes, at each alignment, near and far. Buffers end, and start, at pages that fault.

use avocet_backend_tests::back_ends::back_ends;
use avocet_backend_tests::check::{builder, check_all, compare, floats, interpret, run, unwritten, words};
use avocet_backend_tests::emulator::Memory;
use avocet_backend_tests::memory::Edge;
use avocet_ir::kernel::{Access, Affine, Element, Kernel, KernelBuilder};

const ELEMENTS: [Element; 4] = [Element::F32, Element::I32, Element::I64, Element::U8];

/// Bytes that are all different for a while.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 89 % 251) as u8).collect()
}

/// Buffers with exactly the elements that are touched.
fn check_exactly(element: Element, build: impl Fn(usize, usize) -> Kernel) {
    let most = back_ends().iter().flat_map(|b| b.lanes(element)).max().unwrap_or(0);
    for valid in 1..=most {
        for back_end in back_ends() {
            for lanes in back_end.lanes(element).into_iter().filter(|&lanes| lanes >= valid) {
                let kernel = build(lanes, valid);
                let contents = kernel.buffers.iter().map(|buffer| bytes(buffer.bytes())).collect();
                avocet_backend_tests::check::check(back_end, &kernel, &contents);
            }
        }
    }
}

#[test]
fn partial_loads_read_no_more_and_clear_the_rest() {
    for element in ELEMENTS {
        check_exactly(element, |lanes, valid| {
            let mut b = KernelBuilder::new("test");
            let x = b.buffer("x", element, valid, Access::Read);
            let y = b.buffer("y", element, lanes, Access::Write);
            let value = b.load_partial(lanes, valid, x, 0usize);
            b.store(y, 0usize, value);
            b.finish()
        });
    }
}

#[test]
fn partial_stores_write_no_more() {
    for element in ELEMENTS {
        check_exactly(element, |lanes, valid| {
            let mut b = KernelBuilder::new("test");
            let x = b.buffer("x", element, lanes, Access::Read);
            let y = b.buffer("y", element, valid, Access::Write);
            let value = b.load(lanes, x, 0usize);
            b.store_partial(y, 0usize, value, valid);
            b.finish()
        });
    }
}

#[test]
fn operands_in_memory_read_no_more() {
    // A load that is used once may become a memory operand, which is as wide as the operation.
    for element in [Element::F32, Element::I32] {
        check_exactly(element, |lanes, valid| {
            let mut b = KernelBuilder::new("test");
            let x = b.buffer("x", element, valid, Access::Read);
            let one = b.buffer("one", element, 1, Access::Read);
            let y = b.buffer("y", element, valid, Access::Write);
            let (left, right) =
                (b.load_partial(lanes, valid, x, 0usize), b.load_broadcast(lanes, one, 0usize));
            let sum = b.add(left, right);
            let again = b.load_partial(lanes, valid, x, 0usize);
            let sum = b.sub(sum, again);
            b.store_partial(y, 0usize, sum, valid);
            b.finish()
        });
    }
}

#[test]
fn several_tails_in_one_kernel() {
    for element in [Element::F32, Element::I32] {
        check_all(element, |lanes| {
            let (mut b, [x, y]) = builder(element, 64);
            for valid in (1..=lanes).rev().take(6) {
                let value = b.load_partial(lanes, valid, x, 64 - valid);
                b.store_partial(y, valid, value, valid);
            }
            (b.finish(), vec![bytes(256), bytes(256)])
        });
    }
}

#[test]
fn every_alignment() {
    for element in [Element::F32, Element::I32] {
        check_all(element, |lanes| {
            let (mut b, [x, y]) = builder(element, 16 * lanes + 17);
            for i in 0..16 {
                let (value, other) = (b.load(lanes, x, i * lanes + i), b.load(lanes, x, i));
                let value = b.add(value, other);
                b.store(y, i * lanes + i, value);
            }
            let contents = bytes((16 * lanes + 17) * 4);
            (b.finish(), vec![floats(&vec![1.5; contents.len() / 4]), contents])
        });
    }
}

#[test]
fn loads_come_before_later_stores_to_the_same_place() {
    check_all(Element::F32, |lanes| {
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 32, Access::Read);
        let y = b.buffer("y", Element::F32, 48, Access::Write);
        b.repeat(2, |b, i| {
            let old = b.load(lanes, y, &i * lanes);
            let all = b.load_broadcast(lanes, y, &i * lanes);
            let new = b.load(lanes, x, &i * lanes);
            b.store(y, &i * lanes, new);
            let sum = b.mul_add(all, new, old);
            b.store(y, &i * lanes + 16usize, sum);
            let again = b.load(lanes, y, &i * lanes + 16usize);
            let sum = b.add(again, all);
            b.store(y, &i * lanes + 16usize, sum);
        });
        (b.finish(), vec![floats(&[2.5; 32]), unwritten(48)])
    });
}

#[test]
fn conversions_of_other_elements() {
    check_scalars(|b| {
        let x = b.buffer("x", Element::U8, 16, Access::Read);
        let y = b.buffer("y", Element::I64, 16, Access::Write);
        let z = b.buffer("z", Element::U8, 16, Access::Write);
        b.repeat(16, |b, i| {
            let byte = b.load(1, x, i.clone());
            let int = b.convert(Element::I32, byte);
            let int = b.unary(avocet_ir::kernel::UnaryOp::Neg, int);
            let long = b.convert(Element::I64, int);
            b.store(y, i.clone(), long);
            let int = b.convert(Element::I32, long);
            let byte = b.convert(Element::U8, int);
            b.store(z, i, byte);
        });
    });
}

/// A kernel of scalars of any element, on the back ends that have them.
fn check_scalars(build: impl Fn(&mut KernelBuilder)) {
    for back_end in back_ends().iter().filter(|b| !b.lanes(Element::U8).is_empty()) {
        let mut b = KernelBuilder::new("test");
        build(&mut b);
        let kernel = b.finish();
        let contents = kernel.buffers.iter().map(|buffer| bytes(buffer.bytes())).collect();
        avocet_backend_tests::check::check(back_end, &kernel, &contents);
    }
}

/// A kernel whose buffer is really two pieces of 64 elements, `far` elements apart.
fn far_kernel(lanes: usize, far: usize) -> Kernel {
    let mut b = KernelBuilder::new("test");
    let x = b.buffer("x", Element::F32, far + 64, Access::Read);
    let y = b.buffer("y", Element::F32, far + 64, Access::Write);
    // By the constant of the address, each way that an operand has.
    let (near, other) = (b.load(lanes, x, 16usize), b.load(lanes, x, far));
    let sum = b.add(near, other);
    let all = b.load_broadcast(lanes, x, far + 63);
    let sum = b.mul_add(all, sum, sum);
    b.store(y, far, sum);
    let tail = b.load_partial(lanes, lanes.div_ceil(2), x, far + 64 - lanes.div_ceil(2));
    b.store_partial(y, far + 64 - lanes.div_ceil(2), tail, lanes.div_ceil(2));
    // By the step of a loop, up and down.
    b.repeat(2, |b, i| {
        let value = b.load(lanes, x, &i * far + 8usize);
        b.store(y, &i * far + 16usize, value);
        let down = Affine::from(far + 8) + (&i * far).scaled(-1);
        let value = b.load(lanes, x, down.clone());
        b.store(y, down + 24usize, value);
    });
    b.finish()
}

#[cfg(target_pointer_width = "64")]
#[test]
fn displacements_beyond_32_bits() {
    let pieces = |seed: u32| {
        let piece = |seed: u32| floats(&(0..64).map(|i| (i * seed % 97) as f32 * 0.5).collect::<Vec<_>>());
        (piece(seed), piece(seed + 2))
    };
    let ((x0, x1), (y0, y1)) = (pieces(31), pieces(53));
    // Just within 31 bits, at their end, and beyond 32.
    for far in [1usize << 28, 1 << 29, 1 << 31] {
        for back_end in back_ends() {
            for lanes in back_end.lanes(Element::F32) {
                let near = far_kernel(lanes, 64);
                let expected = interpret(
                    back_end,
                    &near,
                    &vec![[x0.clone(), x1.clone()].concat(), [y0.clone(), y1.clone()].concat()],
                );
                let kernel = far_kernel(lanes, far);
                kernel.verify().expect("valid");
                let sparse = |first: &Vec<u8>, second: &Vec<u8>| Memory {
                    first: first.clone(),
                    second: Some((far * 4, second.clone())),
                };
                let left = run(back_end, &kernel, &[sparse(&x0, &x1), sparse(&y0, &y1)], Edge::Start);
                compare(Element::F32, &left[1].0, &expected[1], &|problem| {
                    panic!("{}: {problem}\n{kernel}", back_end.name());
                });
                assert!(left.iter().all(|(_, intact)| *intact));
            }
        }
    }
}

#[test]
fn negative_coefficients() {
    check_all(Element::I32, |lanes| {
        let (mut b, [x, y]) = builder(Element::I32, 64);
        b.repeat(4, |b, i| {
            b.repeat(3, |b, j| {
                let down = Affine::from(48usize) + (&i * 8).scaled(-1) + (&j * 4).scaled(-1);
                let value = b.load(lanes, x, down.clone());
                b.store(y, down - 1, value);
            });
        });
        (b.finish(), vec![words(0..64), words(100..164)])
    });
}
