use avocet_ir::op::{Op, PadMode, SliceAxis};
use avocet_ir::schedule::Schedule;
use avocet_ir::{Shape, Tensor};

use super::{Given, Numbers, check};

fn moved(op: Op, dims: &[usize]) {
    for lanes in [1, 4] {
        let x = Numbers::new(6).tensor(dims);
        let what = format!("{} {:?} of {dims:?}", op.name(), op.attributes());
        check(&what, op.clone(), &[Given::Input(x)], vec![], Schedule::Vector { lanes });
    }
}

#[test]
fn transposes() {
    for perm in [[0, 2, 3, 1], [0, 3, 1, 2], [3, 2, 1, 0], [0, 1, 2, 3], [1, 0, 2, 3]] {
        moved(Op::Transpose { perm: perm.to_vec() }, &[2, 3, 5, 7]);
    }
    moved(Op::Transpose { perm: vec![1, 0] }, &[1, 9]);
}

#[test]
fn slices() {
    let axis = |start, count, step| SliceAxis { start, count, step };
    moved(Op::Slice { axes: vec![axis(1, 2, 1), axis(0, 7, 1)] }, &[4, 7]);
    moved(Op::Slice { axes: vec![axis(3, 2, -2), axis(6, 7, -1)] }, &[4, 7]);
    moved(Op::Slice { axes: vec![axis(0, 1, 1), axis(0, 3, 2), axis(2, 3, 1)] }, &[1, 5, 6]);
}

#[test]
fn broadcasts_and_shuffles() {
    moved(Op::Broadcast { shape: Shape::new([2, 3, 5]).expect("small") }, &[3, 1]);
    moved(Op::Broadcast { shape: Shape::new([4, 6]).expect("small") }, &[6]);
    moved(Op::ChannelShuffle { groups: 2, axis: 3 }, &[1, 3, 3, 8]);
    moved(Op::ChannelShuffle { groups: 3, axis: 1 }, &[2, 12, 5]);
}

/// Runs side by side in vectors, with and without rests, at each width; more than four runs go one by one.
#[test]
fn interleaving() {
    for lanes in [4, 8, 16] {
        for (op, dims) in [
            (Op::Transpose { perm: vec![0, 2, 3, 1] }, [1, 3, 7, 9]),
            (Op::Transpose { perm: vec![0, 2, 3, 1] }, [2, 2, 4, 8]),
            (Op::Transpose { perm: vec![0, 2, 3, 1] }, [1, 4, 5, 5]),
            (Op::Transpose { perm: vec![0, 2, 3, 1] }, [1, 5, 5, 5]),
            (Op::Transpose { perm: vec![0, 2, 3, 1] }, [1, 3, 96, 97]),
            (Op::ChannelShuffle { groups: 2, axis: 3 }, [1, 3, 2, 58]),
            (Op::ChannelShuffle { groups: 3, axis: 3 }, [1, 2, 2, 57]),
            (Op::ChannelShuffle { groups: 4, axis: 3 }, [1, 1, 2, 64]),
            (Op::ChannelShuffle { groups: 3, axis: 1 }, [1, 51, 1, 1]),
        ] {
            let x = Numbers::new(6).tensor(&dims);
            let what = format!("{} {:?} of {dims:?}, {lanes} lanes", op.name(), op.attributes());
            check(&what, op, &[Given::Input(x)], vec![], Schedule::Vector { lanes });
        }
    }
}

#[test]
fn pads() {
    for mode in [PadMode::Constant(1.5), PadMode::Edge, PadMode::Reflect] {
        moved(Op::Pad { amounts: vec![(0, 0), (1, 2), (2, 0)], mode }, &[2, 4, 5]);
        moved(Op::Pad { amounts: vec![(3, 1)], mode }, &[4]);
    }
}

#[test]
fn concatenation_of_unequal_parts() {
    for axis in 0..3 {
        let mut numbers = Numbers::new(7);
        let parts: Vec<Given> = [1, 4, 3]
            .iter()
            .map(|&extent| {
                let mut dims = [2, 3, 5];
                dims[axis] = extent;
                Given::Input(numbers.tensor(&dims))
            })
            .collect();
        check("concat", Op::Concat { axis }, &parts, vec![], Schedule::Vector { lanes: 4 });
    }
}

#[test]
fn other_element_types_move_too() {
    let x = Tensor::i64([2, 3], vec![1, 2, 3, 4, 5, 6]).expect("small");
    check(
        "i64",
        Op::Transpose { perm: vec![1, 0] },
        &[Given::Input(x)],
        vec![],
        Schedule::Vector { lanes: 4 },
    );
}
