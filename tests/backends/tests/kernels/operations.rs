//! Each operation on each value, in each form of its operands.

use avocet_backend_tests::check::{Contents, check_all, floats, unwritten, words};
use avocet_ir::kernel::{
    BinaryOp, Element, Horizontal, Kernel, KernelBuilder, Permutation, Predicate, UnaryOp, ValueId,
};

use crate::operands::{FORMS, Form, INTEGERS, apply, pairs, values};

const F32: Element = Element::F32;
const I32: Element = Element::I32;

/// The contents of the kernel's buffers: inputs, then what is to be overwritten.
fn contents(kernel: &Kernel, inputs: &[&[u8]]) -> Contents {
    let mut contents: Contents = inputs.iter().map(|bytes| bytes.to_vec()).collect();
    contents.extend(kernel.buffers[inputs.len()..].iter().map(|b| unwritten(b.length)));
    contents
}

fn each_unary(from: Element, to: Element, function: impl Fn(&mut KernelBuilder, ValueId) -> ValueId) {
    let input = words(values(from));
    for form in FORMS {
        check_all(from, |lanes| {
            let kernel = apply(lanes, &[(from, form)], to, input.len() / 4, &|b, v| function(b, v[0]));
            let contents = contents(&kernel, &[&input]);
            (kernel, contents)
        });
    }
}

fn each_pair(element: Element, function: impl Fn(&mut KernelBuilder, ValueId, ValueId) -> ValueId) {
    let (left, right) = pairs(element);
    for (a, b) in FORMS.iter().flat_map(|&a| FORMS.map(|b| (a, b))) {
        check_all(element, |lanes| {
            let forms = [(element, a), (element, b)];
            let kernel = apply(lanes, &forms, element, left.len() / 4, &|b, v| function(b, v[0], v[1]));
            let contents = contents(&kernel, &[&left, &right]);
            (kernel, contents)
        });
    }
}

#[test]
fn unary_operations() {
    use UnaryOp::{Abs, Ceil, Floor, Neg, Round, Sqrt};
    for op in [Abs, Ceil, Floor, Neg, Round, Sqrt] {
        each_unary(F32, F32, |b, x| b.unary(op, x));
    }
    for op in [Abs, Neg] {
        each_unary(I32, I32, |b, x| b.unary(op, x));
    }
}

#[test]
fn binary_operations() {
    use BinaryOp::{Add, And, Div, Max, Min, Mul, Or, Sub};
    for op in [Add, Sub, Mul, Div, Max, Min] {
        each_pair(F32, |b, x, y| b.binary(op, x, y));
    }
    for op in [Add, Sub, Mul, And, Or] {
        each_pair(I32, |b, x, y| b.binary(op, x, y));
    }
}

#[test]
fn one_value_as_both_operands() {
    each_unary(F32, F32, |b, x| b.add(x, x));
    each_unary(F32, F32, |b, x| b.mul_add(x, x, x));
    each_unary(I32, I32, |b, x| b.sub(x, x));
    each_unary(I32, I32, |b, x| b.select(Predicate::Less, (x, x), x, x));
}

#[test]
fn shifts() {
    for op in [BinaryOp::ShiftLeft, BinaryOp::ShiftRight] {
        for amount in [0, 1, 7, 23, 31] {
            each_unary(I32, I32, |b, x| {
                let amount = b.i32(b.ty(x).lanes, amount);
                b.binary(op, x, amount)
            });
        }
        // Amounts that are known only when the kernel runs, and differ from lane 0 in the other lanes.
        let input = words(INTEGERS.map(|i| i as u32));
        let amounts = words((0..16).map(|i| i * 7 % 32));
        for form in [Form::Loaded, Form::Kept, Form::Fresh, Form::Broadcast] {
            check_all(I32, |lanes| {
                let forms = [(I32, Form::Fresh), (I32, form)];
                let kernel = apply(lanes, &forms, I32, 16, &|b, v| b.binary(op, v[0], v[1]));
                let contents = contents(&kernel, &[&input, &amounts]);
                (kernel, contents)
            });
        }
    }
}

#[test]
fn selections() {
    use Predicate::{Equal, Less, LessEqual, NotEqual};
    for predicate in [Less, LessEqual, Equal, NotEqual] {
        for (compared, chosen) in [(F32, F32), (I32, I32), (F32, I32), (I32, F32)] {
            let (left, right) = pairs(compared);
            let then = words((0..left.len() as u32 / 4).map(|i| 0x3f00_0000 + i));
            let otherwise = words((0..left.len() as u32 / 4).map(|i| 0xbf00_0000 + i));
            // Each operand in each form, the others computed.
            for (which, form) in (0..4).flat_map(|which| FORMS.map(|form| (which, form))) {
                check_all(F32, |lanes| {
                    let mut forms = [compared, compared, chosen, chosen].map(|e| (e, Form::Fresh));
                    forms[which].1 = form;
                    let kernel = apply(lanes, &forms, chosen, left.len() / 4, &|b, v| {
                        b.select(predicate, (v[0], v[1]), v[2], v[3])
                    });
                    let contents = contents(&kernel, &[&left, &right, &then, &otherwise]);
                    (kernel, contents)
                });
            }
        }
    }
}

#[test]
fn multiply_add() {
    let (left, right) = pairs(F32);
    let mut addend = right.clone();
    addend.rotate_right(3 * 4);
    for (p, q, r) in
        FORMS.iter().flat_map(|&p| FORMS.map(|q| (p, q))).flat_map(|(p, q)| FORMS.map(|r| (p, q, r)))
    {
        check_all(F32, |lanes| {
            let forms = [p, q, r].map(|form| (F32, form));
            let kernel = apply(lanes, &forms, F32, left.len() / 4, &|b, v| b.mul_add(v[0], v[1], v[2]));
            let contents = contents(&kernel, &[&left, &right, &addend]);
            (kernel, contents)
        });
    }
}

#[test]
fn conversions_and_bitcasts() {
    each_unary(F32, I32, |b, x| b.convert(I32, x));
    each_unary(I32, F32, |b, x| b.convert(F32, x));
    each_unary(F32, I32, |b, x| b.bitcast(I32, x));
    each_unary(I32, F32, |b, x| b.bitcast(F32, x));
    // Through a register, both ways.
    each_unary(I32, I32, |b, x| {
        let float = b.bitcast(F32, x);
        let size = b.unary(UnaryOp::Abs, float);
        b.bitcast(I32, size)
    });
}

#[test]
fn splats() {
    for element in [F32, I32] {
        for form in FORMS {
            check_all(element, |lanes| {
                let input = words(values(element));
                let kernel = apply(1, &[(element, form)], element, 16, &|b, v| {
                    let all = b.splat(lanes, v[0]);
                    let sum = b.add(all, all);
                    // Every lane, but a scalar's place to put it.
                    b.store(avocet_ir::kernel::BufferId(1), 0usize, sum);
                    v[0]
                });
                let contents = contents(&kernel, &[&input[..64]]);
                (kernel, contents)
            });
        }
    }
}

#[test]
fn permutations() {
    let runs = [1usize, 2, 3, 4, 8, 16];
    for permutation in
        runs.iter().flat_map(|&run| [0, 1, 2, 4, 8].map(|stride| (run, stride))).flat_map(|(run, stride)| {
            [0, 1, 2, 3, 5, 7].map(|first| Permutation { run, stride, first, phase: first % run })
        })
    {
        for (element, form) in [(F32, FORMS[0]), (I32, FORMS[1]), (F32, FORMS[2])] {
            check_all(element, |lanes| {
                let input = words(values(element));
                // Where the vectors are too short for it, another one.
                let fits = permutation.source(lanes - 1) < lanes;
                let permutation = if fits {
                    permutation
                } else {
                    Permutation { run: lanes, stride: 1, first: lanes - 1, phase: 0 }
                };
                let kernel =
                    apply(lanes, &[(element, form)], element, 16, &|b, v| b.permute(permutation, v[0]));
                let contents = contents(&kernel, &[&input[..64]]);
                (kernel, contents)
            });
        }
    }
}

#[test]
fn reductions() {
    // The order of the tree shows in sums that round, and that of the operands in NaN and in zeros.
    let sums = [1e8, 1.0, -1e8, 3.0, 0.1, 1e-3, -7.5, 2e7, 1e7, -2e7, 5.5, 0.3, 1e8, 9.0, -1e8, 0.7];
    let odd =
        [-0.0, 0.0, f32::NAN, 1.0, 0.0, -0.0, 2.0, f32::NAN, -0.0, -0.0, 0.0, 0.0, f32::NAN, 5.0, 6.0, 7.0];
    for horizontal in [Horizontal::Add, Horizontal::Max, Horizontal::Min] {
        for values in [sums, odd] {
            for form in FORMS {
                check_all(F32, |lanes| {
                    let kernel = apply(lanes, &[(F32, form)], F32, 16, &|b, v| {
                        let one = b.reduce(horizontal, v[0]);
                        b.splat(lanes, one)
                    });
                    let contents = contents(&kernel, &[&floats(&values)]);
                    (kernel, contents)
                });
            }
        }
    }
}
