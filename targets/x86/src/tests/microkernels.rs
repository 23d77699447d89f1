//! The code of the loops that matter: golden text, and what an iteration costs, by counting instructions.

use avocet_ir::backend::Backend;
use avocet_ir::kernel::{Access, Element, Kernel, KernelBuilder, UnaryOp, ValueId};
use avocet_target_spec::Target;

use super::objdump::{Line, disassemble};
use crate::X86;

fn x86(target: &str) -> X86 {
    X86::new(&Target::by_name(target).expect("built in")).expect("wide")
}

/// `rows` rows of the left matrix times panels of `columns` vectors: the inner loop of a pointwise convolution, `unroll`
/// steps of the depth in one iteration.
fn product(rows: usize, columns: usize, lanes: usize, unroll: usize) -> Kernel {
    let depth = 16;
    let mut b = KernelBuilder::new("product");
    let a = b.buffer("a", Element::F32, rows * depth, Access::Read);
    let w = b.buffer("w", Element::F32, depth * columns * lanes, Access::Read);
    let y = b.buffer("y", Element::F32, rows * columns * lanes, Access::Write);
    let zero = b.f32(lanes, 0.0);
    let sums = b.repeat_carrying(depth / unroll, &vec![zero; rows * columns], |b, k, sums| {
        let mut sums = sums.to_vec();
        for step in 0..unroll {
            let weights: Vec<ValueId> = (0..columns)
                .map(|c| b.load(lanes, w, &k * (unroll * columns * lanes) + (step * columns + c) * lanes))
                .collect();
            for row in 0..rows {
                let value = b.load_broadcast(lanes, a, &k * unroll + (row * depth + step));
                for (column, &weight) in weights.iter().enumerate() {
                    let place = row * columns + column;
                    sums[place] = b.mul_add(value, weight, sums[place]);
                }
            }
        }
        sums
    });
    for (i, &sum) in sums.iter().enumerate() {
        b.store(y, i * lanes, sum);
    }
    b.finish()
}

/// The instructions of the first loop that has no other in it.
fn inner_loop(lines: &[Line]) -> &[Line] {
    for (end, line) in lines.iter().enumerate() {
        if let Some(target) = line.text.strip_prefix("jne 0x") {
            let target = usize::from_str_radix(target, 16).expect("an address");
            let start = lines.iter().position(|line| line.address == target).expect("a target");
            assert!(start < end);
            return &lines[start..=end];
        }
    }
    panic!("no loop in {lines:#?}");
}

/// Counts of the inner loop: multiply-adds, and all instructions. Besides what computes, there are only loads, one
/// addition for each pointer, and the two instructions of the counter: nothing is spilled or moved about.
fn counts(target: &str, kernel: &Kernel) -> (usize, usize) {
    kernel.verify().expect("valid");
    let lines = disassemble(&x86(target).compile(kernel).expect("compiles").bytes);
    let lines = inner_loop(&lines);
    for Line { text, .. } in lines {
        assert!(!text.contains("[rsp"), "a spill: {text}");
        let known = ["vfmadd", "vbroadcastss", "vmovups", "add ", "dec ", "jne "];
        assert!(known.iter().any(|k| text.starts_with(k)), "{text}");
        assert!(!text.starts_with("vmovups") || text.contains("PTR ["), "a move: {text}");
    }
    let multiply_adds = lines.iter().filter(|line| line.text.starts_with("vfmadd231ps")).count();
    (multiply_adds, lines.len())
}

#[test]
fn avx2_blocks_spend_nothing_on_moves() {
    // Six rows of two vectors: each step needs its 12 multiply-adds, two loads and six broadcasts, since AVX2 has no
    // memory operand that is one element for all lanes; these issue beside the multiply-adds. An iteration adds to two
    // pointers and counts.
    for unroll in [1, 4] {
        let expected = (12 * unroll, (12 + 2 + 6) * unroll + 4);
        assert_eq!(counts("x86-64-v3", &product(6, 2, 8, unroll)), expected);
    }
}

#[test]
fn avx512_blocks_are_nearly_all_multiply_adds() {
    // With one vector a row, the broadcast is part of the multiply-add.
    for (rows, unroll) in [(14, 1), (14, 4), (28, 2)] {
        let (multiply_adds, all) = counts("x86-64-v4", &product(rows, 1, 16, unroll));
        assert_eq!((multiply_adds, all), (rows * unroll, (rows + 1) * unroll + 4));
        assert!(multiply_adds * 100 >= all * 70, "{multiply_adds} of {all}");
    }
    // With two, one broadcast serves two multiply-adds.
    let (multiply_adds, all) = counts("x86-64-v4", &product(12, 2, 16, 4));
    assert_eq!((multiply_adds, all), (24 * 4, (24 + 2 + 12) * 4 + 4));
}

#[test]
fn golden_text() {
    for (target, lanes) in [("x86-64-v3", 8), ("x86-64-v4", 16)] {
        let mut b = KernelBuilder::new("relu");
        let (x, y) =
            (b.buffer("x", Element::F32, 29, Access::Read), b.buffer("y", Element::F32, 29, Access::Write));
        b.blocks(29, lanes, |b, i, valid| {
            let (value, zero) = (b.load_partial(lanes, valid, x, i.clone()), b.f32(lanes, 0.0));
            let value = b.max(zero, value);
            let value = b.unary(UnaryOp::Neg, value);
            b.store_partial(y, i, value, valid);
        });
        for kernel in [b.finish(), product(4, 2, lanes, 1)] {
            let code = x86(target).compile(&kernel).expect("compiles");
            insta::assert_snapshot!(format!("{}_{target}", kernel.name), code.assembly);
        }
    }
}
