//! More of everything than there are registers.

use avocet_backend_tests::check::{builder, check_all, floats, unwritten};
use avocet_ir::kernel::{Access, BufferId, Element, KernelBuilder, ValueId};

fn input(elements: usize) -> Vec<u8> {
    floats(&(0..elements).map(|i| (i * 29 % 101) as f32 * 0.5 - 20.0).collect::<Vec<f32>>())
}

#[test]
fn more_values_than_registers() {
    for count in [17, 33, 48] {
        check_all(Element::F32, |lanes| {
            let elements = count * lanes + count;
            let (mut b, [x, y]) = builder(Element::F32, elements);
            let values: Vec<ValueId> = (0..count).map(|i| b.load(lanes, x, i * lanes)).collect();
            // Each is used twice, far from where it was loaded.
            let mut sum = values[0];
            for &value in &values {
                sum = b.mul_add(value, value, sum);
            }
            for (i, &value) in values.iter().enumerate().rev() {
                let difference = b.sub(sum, value);
                b.store(y, i * lanes, difference);
            }
            (b.finish(), vec![input(elements), unwritten(elements)])
        });
    }
}

#[test]
fn more_carried_values_than_registers_in_a_cycle() {
    for count in [18, 36, 45] {
        check_all(Element::F32, |lanes| {
            let elements = count * lanes + 16;
            let (mut b, [x, y]) = builder(Element::F32, elements);
            let initial: Vec<ValueId> = (0..count).map(|i| b.load(lanes, x, i * lanes)).collect();
            let results = b.repeat_carrying(5, &initial, |b, i, v| {
                let factor = b.load_broadcast(lanes, x, i);
                let mut next: Vec<ValueId> = v.iter().map(|&v| b.mul(v, factor)).collect();
                next.rotate_left(1);
                next.swap(3, 4);
                next[0] = v[count - 1];
                next[7] = v[2];
                next
            });
            for (i, &value) in results.iter().enumerate() {
                b.store(y, i * lanes, value);
            }
            (b.finish(), vec![input(elements), unwritten(elements)])
        });
    }
}

#[test]
fn scalars_and_vectors_spilled_together() {
    check_all(Element::F32, |lanes| {
        let elements = 24 * lanes + 24;
        let (mut b, [x, y]) = builder(Element::F32, elements);
        let scalars: Vec<ValueId> = (0..24usize).map(|i| b.load(1, x, i)).collect();
        let vectors: Vec<ValueId> = (0..24).map(|i| b.load(lanes, x, i * lanes)).collect();
        for i in (0..24).rev() {
            let all = b.splat(lanes, scalars[i]);
            let value = b.mul_add(all, vectors[i], vectors[23 - i]);
            b.store(y, i * lanes, value);
        }
        (b.finish(), vec![input(elements), unwritten(elements)])
    });
}

#[test]
fn more_buffers_than_argument_registers() {
    for count in [1, 3, 4, 5, 6, 7, 11, 20] {
        check_all(Element::F32, |lanes| {
            let mut b = KernelBuilder::new("test");
            let access = |i: usize| if i % 3 == 1 { Access::Write } else { Access::Read };
            let buffers: Vec<BufferId> =
                (0..count).map(|i| b.buffer(format!("b{i}"), Element::F32, 40, access(i))).collect();
            b.repeat(2, |b, i| {
                let mut sum = b.load(lanes, buffers[0], &i * lanes);
                for (number, &buffer) in buffers.iter().enumerate() {
                    if access(number) == Access::Write {
                        b.store(buffer, &i * lanes, sum);
                    } else {
                        let value = b.load(lanes, buffer, &i * (number % 5) + number % 4);
                        sum = b.add(sum, value);
                    }
                }
            });
            let contents = (0..count).map(|i| floats(&[i as f32 + 0.5; 40])).collect();
            (b.finish(), contents)
        });
    }
}

#[test]
fn more_pointers_than_registers() {
    // Each stride is a pointer of its own, which the loop carries.
    check_all(Element::F32, |lanes| {
        let (mut b, [x, y]) = builder(Element::F32, 400);
        b.repeat(5, |b, i| {
            let zero = b.f32(lanes, 0.0);
            let sum = b.repeat_carrying(3, &[zero], |b, j, v| {
                let mut sum = v[0];
                for stride in 1..24 {
                    let value = b.load(lanes, x, &i * stride + &j * (25 - stride));
                    sum = b.add(sum, value);
                }
                vec![sum]
            });
            b.store(y, i * lanes, sum[0]);
        });
        (b.finish(), vec![input(400), unwritten(400)])
    });
}

#[test]
fn a_block_of_a_matrix_product() {
    // The shape of the kernels that matter: as many accumulators as registers, and more.
    for (rows, columns) in [(4, 2), (6, 2), (14, 2), (5, 5)] {
        check_all(Element::F32, |lanes| {
            let depth = 9;
            let mut b = KernelBuilder::new("product");
            let a = b.buffer("a", Element::F32, rows * depth, Access::Read);
            let w = b.buffer("w", Element::F32, depth * columns * lanes, Access::Read);
            let y = b.buffer("y", Element::F32, rows * columns * lanes, Access::Write);
            let zero = b.f32(lanes, 0.0);
            let sums = b.repeat_carrying(depth, &vec![zero; rows * columns], |b, k, sums| {
                let weights: Vec<ValueId> =
                    (0..columns).map(|c| b.load(lanes, w, &k * (columns * lanes) + c * lanes)).collect();
                let mut next = sums.to_vec();
                for row in 0..rows {
                    let value = b.load_broadcast(lanes, a, &k + row * depth);
                    for (column, &weight) in weights.iter().enumerate() {
                        let place = row * columns + column;
                        next[place] = b.mul_add(value, weight, sums[place]);
                    }
                }
                next
            });
            for (i, &sum) in sums.iter().enumerate() {
                b.store(y, i * lanes, sum);
            }
            let contents = [rows * depth, depth * columns * lanes].map(input).into_iter();
            (b.finish(), contents.chain([unwritten(rows * columns * lanes)]).collect())
        });
    }
}
