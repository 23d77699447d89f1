use avocet_ir::op::{Binary, EpilogueStep, Op, Unary};
use avocet_ir::schedule::{Schedule, Tile};

use super::{Given, Numbers, check};

#[test]
fn all_forms() {
    let shapes: &[(&[usize], &[usize], &[usize])] = &[
        // Batch of a, batch of b, [m, k, n].
        (&[], &[], &[1, 1, 1]),
        (&[], &[], &[1, 32, 19]),
        (&[], &[], &[7, 12, 9]),
        (&[3], &[], &[5, 8, 6]),
        (&[2, 1], &[3], &[4, 5, 7]),
        (&[1], &[2], &[13, 3, 4]),
    ];
    for tile in [Tile::new(4, 2, 4), Tile::new(1, 5, 4), Tile::new(3, 1, 1)] {
        for (lead_a, lead_b, size) in shapes {
            for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
                for constant in [false, true] {
                    let mut numbers = Numbers::new(3);
                    let [m, k, n] = [size[0], size[1], size[2]];
                    let a = if transpose_a { [k, m] } else { [m, k] };
                    let b = if transpose_b { [n, k] } else { [k, n] };
                    let a = numbers.tensor(&[*lead_a, &a[..]].concat());
                    let b = numbers.tensor(&[*lead_b, &b[..]].concat());
                    let b = if constant { Given::Constant(b) } else { Given::Input(b) };
                    let op = Op::MatMul { transpose_a, transpose_b };
                    let what =
                        format!("{lead_a:?} {lead_b:?} {size:?} {:?} {constant} {tile}", op.attributes());
                    let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
                    let steps =
                        vec![(add, Some(numbers.tensor(&[n]))), (EpilogueStep::Unary(Unary::Relu), None)];
                    check(&what, op, &[Given::Input(a), b], steps, Schedule::Gemm(tile));
                }
            }
        }
    }
}
