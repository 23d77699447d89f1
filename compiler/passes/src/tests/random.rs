//! Random small graphs through the whole pipeline, compared by the reference interpreter.

use avocet_ir::op::{Binary, PadMode, ReduceKind, SliceAxis, Unary};
use avocet_ir::{Op, Shape, TensorType, Value};
use proptest::prelude::*;

use super::compiled;
use crate::testing::Network;

/// Largest tensor that a random graph may hold.
const MAX_ELEMENTS: usize = 4096;

const UNARY: &[Unary] = &[
    Unary::Relu,
    Unary::Sigmoid,
    Unary::Tanh,
    Unary::HardSwish,
    Unary::Neg,
    Unary::Abs,
    Unary::Clip { low: 0.0, high: 6.0 },
    Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
];

const BINARY: &[Binary] = &[Binary::Add, Binary::Sub, Binary::Mul, Binary::Min, Binary::Max];

/// Adds an operator chosen by `kind`, with details from `a` and `b`; what the choice does not fit is left out.
fn grow(net: &mut Network, values: &mut Vec<Value>, (kind, x, a, b): (u8, usize, usize, usize)) {
    let x = values[x % values.len()];
    let other = values[a % values.len()];
    let dims = net.dims(x);
    let rank = dims.len();
    let is_image = rank == 4 && dims.iter().all(|&d| d > 0);
    let per_channel = |net: &mut Network| {
        let mut shape = vec![1; rank.saturating_sub(1)];
        if let Some(first) = shape.first_mut() {
            *first = dims[1];
        }
        net.random(shape)
    };
    let inputs = [x];
    let op = match kind % 20 {
        0 if is_image => return values.push(net.conv(x, 1 + a % 4, 1 + 2 * (b % 2), 1 + a % 2, 1)),
        1 if is_image => return values.push(net.conv(x, dims[1], 3, 1, dims[1])),
        2 if is_image => return values.push(net.max_pool(x)),
        3 if rank >= 2 => return values.push(net.batch_norm(x)),
        4 | 5 => {
            let constant = per_channel(net);
            let (p, q) = if b % 2 == 0 { (x, constant) } else { (constant, x) };
            return values.push(net.binary(BINARY[a % BINARY.len()], p, q));
        }
        6 | 7 => {
            let fits = avocet_ir::infer::broadcast(&net.graph.ty(x).shape, &net.graph.ty(other).shape);
            if fits.is_ok_and(|shape| shape.elements() <= MAX_ELEMENTS) {
                values.push(net.binary(BINARY[b % BINARY.len()], x, other));
            }
            return;
        }
        8 => {
            let gate = net.unary(Unary::Sigmoid, x);
            return values.push(net.binary(Binary::Mul, gate, x));
        }
        9 => Op::Unary(UNARY[a % UNARY.len()]),
        10 => {
            // One of the permutations that rotate, swap or restore.
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.rotate_left(if rank > 0 { a % rank } else { 0 });
            if rank > 1 {
                perm.swap(b % rank, (b / 4) % rank);
            }
            Op::Transpose { perm }
        }
        11 if rank >= 2 => {
            // Merge two neighbours.
            let mut dims = dims.clone();
            let next = dims.remove(1 + a % (rank - 1));
            dims[a % (rank - 1)] *= next;
            Op::Reshape { shape: Shape::new(dims).expect("as many elements") }
        }
        12 if rank < 4 => {
            // Split a dimension.
            let mut dims = dims.clone();
            let at = a % (rank + 1);
            let factor = dims.get(at).map_or(1, |&d| if d % 2 == 0 { 2 } else { 1 });
            if let Some(dim) = dims.get_mut(at) {
                *dim /= factor;
            }
            dims.insert(at, factor);
            Op::Reshape { shape: Shape::new(dims).expect("as many elements") }
        }
        13 => {
            let axes = (0..rank).filter(|axis| b >> axis & 1 == 1).collect();
            Op::Reduce { kind: ReduceKind::Mean, axes, keep_dims: a % 2 == 0 }
        }
        14 => {
            let shape = &net.graph.ty(x).shape;
            let axis = if rank > 0 { a % rank } else { return };
            let alike = values.iter().copied().filter(|&v| net.graph.ty(v).shape == *shape);
            let parts: Vec<Value> = alike.take(1 + b % 3).collect();
            if shape.elements() * parts.len() <= MAX_ELEMENTS {
                values.push(net.add(Op::Concat { axis }, &parts));
            }
            return;
        }
        15 => {
            let axes = dims.iter().enumerate().map(|(i, &d)| match i == a % rank && d > 1 {
                true => SliceAxis { start: b % 2, count: d - 1, step: 1 },
                false => SliceAxis { start: 0, count: d, step: 1 },
            });
            Op::Slice { axes: axes.collect() }
        }
        16 if rank > 0 && net.graph.ty(x).shape.elements() < MAX_ELEMENTS / 4 => {
            let mut amounts = vec![(0, 0); rank];
            amounts[a % rank] = (b % 2, 1);
            Op::Pad { amounts, mode: PadMode::Constant((b % 3 / 2) as f32) }
        }
        17 if rank > 0 => Op::Softmax { axis: a % rank },
        18 if rank > 0 && dims[a % rank].is_multiple_of(2) => {
            Op::ChannelShuffle { groups: 2, axis: a % rank }
        }
        19 if rank >= 2 => return values.push(net.dense(x, 1 + a % 4)),
        _ => return,
    };
    let types: Vec<TensorType> = vec![net.graph.ty(x).clone()];
    if avocet_ir::infer::infer(&op, &types).is_ok() {
        values.push(net.add(op, &inputs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pipeline_keeps_the_meaning(
        steps in prop::collection::vec((any::<u8>(), 0usize..64, 0usize..64, 0usize..64), 1..24),
        size in 2usize..6,
    ) {
        let mut net = Network::new();
        let mut values = vec![net.input("x", [1, 4, size, 4])];
        for step in steps {
            grow(&mut net, &mut values, step);
        }
        let last = *values.last().expect("there is the input");
        let mut graph = net.finish(last);
        // Something from the middle is a result as well.
        graph.add_output("middle", values[values.len() / 2]);
        compiled(&graph);
    }
}
