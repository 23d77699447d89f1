//! Loops: carried values in every constellation, nests, sharing of pointers.

use avocet_backend_tests::check::{builder, check_all, floats, unwritten};
use avocet_ir::kernel::{Carried, Element, Kernel, KernelBuilder, Statement, ValueId, Variable};

fn input(elements: usize) -> Vec<u8> {
    floats(&(0..elements).map(|i| (i * 37 % 64) as f32 * 0.25 - 7.0).collect::<Vec<f32>>())
}

/// Checks a kernel over a buffer to read and one to write.
fn check(elements: usize, build: impl Fn(&mut KernelBuilder, usize, [avocet_ir::kernel::BufferId; 2])) {
    check_all(Element::F32, |lanes| {
        let (mut b, buffers) = builder(Element::F32, elements);
        build(&mut b, lanes, buffers);
        (b.finish(), vec![input(elements), unwritten(elements)])
    });
}

fn store_all(b: &mut KernelBuilder, y: avocet_ir::kernel::BufferId, values: &[ValueId]) {
    for (i, &value) in values.iter().enumerate() {
        let lanes = b.ty(value).lanes;
        b.store(y, i * lanes, value);
    }
}

#[test]
fn permutations_of_carried_values() {
    // What each value becomes: swaps, rotations, several cycles at once, values that are doubled or lost.
    let permutations: [&[usize]; 8] = [
        &[1, 0],
        &[1, 2, 0],
        &[2, 0, 1],
        &[1, 0, 3, 2],
        &[1, 2, 3, 4, 0, 6, 5],
        &[0, 0, 1],
        &[1, 1, 0, 0],
        &[3, 2, 1, 0, 4],
    ];
    for permutation in permutations {
        for count in [2, 3, 7] {
            check(256, |b, lanes, [x, y]| {
                let initial: Vec<ValueId> =
                    (0..permutation.len()).map(|i| b.load(lanes, x, i * lanes + i)).collect();
                let results = b.repeat_carrying(count, &initial, |_, _, values| {
                    permutation.iter().map(|&from| values[from]).collect()
                });
                store_all(b, y, &results);
            });
        }
    }
}

#[test]
fn carried_values_of_all_kinds() {
    check(256, |b, lanes, [x, y]| {
        let outside = b.load(lanes, x, 3usize);
        let constant = b.f32(lanes, 2.5);
        let zero = b.f32(lanes, 0.0);
        // The same value twice, constants, one that becomes what is outside, one that becomes a constant, one that
        // stays, one that is never used again.
        let initial = [outside, outside, constant, zero, zero, outside, zero];
        let results = b.repeat_carrying(5, &initial, |b, i, v| {
            let loaded = b.load(lanes, x, i * lanes);
            let seven = b.f32(lanes, 7.0);
            let sum = b.mul_add(v[0], v[2], loaded);
            vec![sum, v[0], constant, outside, seven, v[5], loaded]
        });
        store_all(b, y, &results);
    });
}

#[test]
fn carried_values_through_nests() {
    check(512, |b, lanes, [x, y]| {
        let initial = [0, 1, 2].map(|i| b.load(lanes, x, i * 5usize));
        let results = b.repeat_carrying(3, &initial, |b, i, outer| {
            let inner = b.repeat_carrying(4, &[outer[1], outer[0]], |b, j, v| {
                let loaded = b.load(lanes, x, &i * 20 + &j * 3);
                let sum = b.add(v[0], loaded);
                vec![v[1], sum]
            });
            b.store(y, &i * lanes + 200usize, inner[1]);
            vec![outer[2], inner[0], inner[1]]
        });
        store_all(b, y, &results);
    });
}

#[test]
fn loops_of_one_iteration() {
    // Builders write them out, but nothing forbids them.
    check_all(Element::F32, |lanes| {
        let (mut b, [x, y]) = builder(Element::F32, 64);
        let [p, q] = [0usize, 16].map(|i| b.load(lanes, x, i));
        let results = b.repeat_carrying(2, &[p, q], |_, _, v| vec![v[1], v[0]]);
        store_all(&mut b, y, &results);
        let mut kernel = b.finish();
        for statement in &mut kernel.body {
            if let Statement::For { count, .. } = statement {
                *count = 1;
            }
        }
        (kernel, vec![input(64), unwritten(64)])
    });
}

#[test]
fn a_result_that_is_used_in_the_next_loop() {
    check(256, |b, lanes, [x, y]| {
        let zero = b.f32(lanes, 0.0);
        let mut sum = zero;
        for start in [0usize, 40, 90] {
            sum = b.repeat_carrying(4, &[sum], |b, i, v| {
                let loaded = b.load(lanes, x, i * lanes + start);
                vec![b.add(v[0], loaded)]
            })[0];
            b.store(y, start, sum);
        }
        b.store(y, 150usize, sum);
    });
}

#[test]
fn nested_loops_share_pointers() {
    check(64, |b, lanes, [x, y]| {
        b.repeat(4, |b, i| {
            b.blocks(7, lanes, |b, j, valid| {
                let zero = b.f32(lanes, 0.0);
                let sum = b.repeat_carrying(5, &[zero], |b, k, sum| {
                    let left = b.load_broadcast(lanes, x, &i * 8 + k.clone());
                    let right = b.load_partial(lanes, valid, x, &j + &k * 2 + 20usize);
                    let product = b.mul(left, right);
                    vec![b.add(sum[0], product)]
                });
                b.store_partial(y, &i * 8 + j, sum[0], valid);
            });
            let zero = b.f32(1, 0.0);
            b.store(y, i * 8 + 7usize, zero);
        });
    });
}

/// A nest of `depth` loops of two iterations each, whose innermost body adds one element to another.
fn deep(depth: usize, lanes: usize) -> Kernel {
    let (mut b, [x, y]) = builder(Element::F32, 64);
    fn nest(
        b: &mut KernelBuilder,
        depth: usize,
        index: avocet_ir::kernel::Affine,
        inner: &dyn Fn(&mut KernelBuilder, avocet_ir::kernel::Affine),
    ) {
        match depth {
            0 => inner(b, index),
            _ => b.repeat(2, |b, i| nest(b, depth - 1, index + i, inner)),
        }
    }
    nest(&mut b, depth, 0usize.into(), &|b, index| {
        let (old, value) = (b.load(lanes, y, index.clone()), b.load(lanes, x, index.clone() + 3usize));
        let sum = b.add(old, value);
        b.store(y, index, sum);
    });
    b.finish()
}

#[test]
fn deep_nests() {
    for depth in [6, 10] {
        check_all(Element::F32, |lanes| (deep(depth, lanes), vec![input(64), unwritten(64)]));
    }
}

#[test]
fn a_carried_value_of_an_empty_body() {
    // Two loops that do nothing but carry, by hand: the result is the parameter itself.
    check_all(Element::F32, |lanes| {
        let (mut b, [x, y]) = builder(Element::F32, 64);
        let [initial, parameter, result] = [0usize, 8, 16].map(|i| b.load(lanes, x, i));
        b.store(y, 0usize, result);
        let mut kernel = b.finish();
        // The loads of the parameter and of the result make way for the loop that defines them.
        kernel.body.drain(1..3);
        let carried = vec![Carried { parameter, initial, next: parameter, result }];
        kernel.body.insert(1, Statement::For { variable: Variable(0), count: 9, carried, body: vec![] });
        (kernel, vec![input(64), unwritten(64)])
    });
}
