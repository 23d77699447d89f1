//! Every generator that takes rows which are apart: on a slice of an input, with an operand that is one too, into columns of a
//! concatenation; whole and in parts.

use avocet_ir::op::{
    Binary, Conv, EpilogueStep, Layout, Op, Padding, Pool, PoolKind, ReduceKind, SliceAxis, Unary,
};
use avocet_ir::schedule::{Axis, Schedule, Schedules, Split, Tile, View, Winograd};
use avocet_ir::{Graph, TensorType, Value};
use avocet_reference::kernel::{PartOrder, run_program_in};

use super::{Numbers, assert_close};
use crate::lower;

const CHANNELS: usize = 12;

struct Net {
    graph: Graph,
    schedules: Schedules,
    inputs: Vec<avocet_ir::Tensor>,
    numbers: Numbers,
}

impl Net {
    /// Channels of a new, wider input, read in place.
    fn columns(&mut self, dims: &[usize]) -> Value {
        let (&channels, rows) = dims.split_last().expect("not a scalar");
        let wide = [rows, &[channels + 5]].concat();
        let tensor = self.numbers.tensor(&wide);
        let name = format!("x{}", self.inputs.len());
        let x = self.graph.add(&name, Op::Input(tensor.ty()), &[]).expect("an input");
        self.inputs.push(tensor);
        let whole = rows.iter().map(|&count| SliceAxis { start: 0, count, step: 1 });
        let axes = whole.chain([SliceAxis { start: 3, count: channels, step: 1 }]).collect();
        let y = self.graph.add(format!("{name}.slice"), Op::Slice { axes }, &[x]).expect("a slice");
        self.schedules.nodes.insert(y.node, Schedule::Alias);
        self.schedules.views.insert(y.node, View::columns(x.node, 3));
        y
    }

    /// The node's result and a copy of some columns, joined in place.
    fn finish(mut self, what: &str, node: Value) {
        let dims = self.graph.ty(node).dims().to_vec();
        let (&width, _) = dims.split_last().expect("not a scalar");
        let other = self.columns(&dims);
        let other = self.graph.add("other", Op::Unary(Unary::Relu), &[other]).expect("valid");
        self.schedules.nodes.insert(other.node, Schedule::Vector { lanes: 4 });
        let joined = self.graph.add("y", Op::Concat { axis: dims.len() - 1 }, &[other, node]).expect("valid");
        self.schedules.nodes.insert(joined.node, Schedule::Alias);
        self.schedules.views.insert(other.node, View::columns(joined.node, 0));
        self.schedules.views.insert(node.node, View::columns(joined.node, width));
        self.graph.add_output("y", joined);
        let expected =
            avocet_reference::run(&self.graph, &self.inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
        let splits = [None, Some((Axis::Rows, 2)), Some((Axis::Rows, 3)), Some((Axis::Columns, 3))];
        for split in splits {
            self.schedules.splits.clear();
            if let Some((axis, parts)) = split {
                self.schedules.splits.insert(node.node, Split { axis, parts });
            }
            let what = format!("{what}, {split:?}");
            let program = lower(&self.graph, &self.schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
            let names = program.kernels.iter().map(|kernel| &kernel.name);
            assert!(
                names.clone().all(|name| !name.starts_with("concat") && !name.starts_with("slice")),
                "{what}"
            );
            let got = run_program_in(PartOrder::Reversed, &program, &self.inputs);
            let got = got.unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
            assert_close(&what, &got[0], &expected[0]);
        }
    }
}

/// An operator on columns, with an addition of columns and a ReLU behind it.
fn check(op: Op, image: &[usize], weights: Option<&[usize]>, schedule: Schedule) {
    let what = format!("{} {image:?} {weights:?} {schedule}", op.name());
    let mut net = Net {
        graph: Graph::new("test"),
        schedules: Schedules::default(),
        inputs: Vec::new(),
        numbers: Numbers::new(11),
    };
    let mut operands = vec![net.columns(image)];
    if let Some(dims) = weights {
        let weights = net.numbers.tensor(dims);
        operands.push(net.graph.constant("w", weights));
    }
    if matches!(op, Op::Binary(_)) {
        operands.push(net.columns(image));
    }
    let node = net.graph.add("node", op, &operands).unwrap_or_else(|e| panic!("{what}: {e}"));
    net.schedules.nodes.insert(node.node, schedule);
    let result: TensorType = net.graph.ty(node).clone();
    let bias = net.numbers.tensor(&[*result.dims().last().expect("not a scalar")]);
    let bias = net.graph.constant("bias", bias);
    let residual = net.columns(result.dims());
    for operand in [bias, residual] {
        let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
        net.graph.push_epilogue(node.node, add, Some(operand)).expect("valid");
    }
    net.graph.push_epilogue(node.node, EpilogueStep::Unary(Unary::Relu), None).expect("valid");
    net.finish(&what, node);
}

fn conv(groups: usize, stride: usize, padding: usize) -> Op {
    let padding = Padding::symmetric(padding, padding);
    Op::Conv(Conv { strides: [stride; 2], dilations: [1, 1], padding, groups, layout: Layout::Nhwc })
}

#[test]
fn convolutions() {
    let image = [1, 7, 6, CHANNELS];
    for tile in [Tile::new(4, 2, 4), Tile::new(3, 1, 8), Tile::new(2, 3, 1)] {
        for schedule in [Schedule::Gemm(tile), Schedule::Strassen(tile)] {
            check(conv(1, 1, 0), &image, Some(&[10, CHANNELS, 1, 1]), schedule);
            check(conv(1, 1, 0), &[2, 3, 3, CHANNELS], Some(&[10, CHANNELS, 1, 1]), schedule);
        }
        for (stride, padding) in [(1, 1), (2, 0)] {
            let direct = Some(&[9, CHANNELS, 3, 3][..]);
            check(conv(1, stride, padding), &image, direct, Schedule::Direct(tile));
            let grouped = Some(&[8, CHANNELS / 4, 3, 3][..]);
            check(conv(4, stride, padding), &image, grouped, Schedule::Grouped(tile));
            let depthwise = Some(&[CHANNELS, 1, 3, 3][..]);
            check(conv(CHANNELS, stride, padding), &image, depthwise, Schedule::Depthwise(tile));
        }
    }
    for output in [2, 4] {
        let winograd = Winograd { tile: Tile::new(4, 2, 4), output, rows: 1, panels: 1 };
        check(conv(1, 1, 1), &image, Some(&[10, CHANNELS, 3, 3]), Schedule::Winograd(winograd));
    }
    let packed = Schedule::PackedGroups(Tile::new(3, 1, 4));
    check(conv(3, 1, 1), &image, Some(&[CHANNELS, 4, 3, 3]), packed);
}

#[test]
fn others() {
    let image = [1, 6, 5, CHANNELS];
    let lanes = Schedule::Vector { lanes: 4 };
    let pool = |kind| Pool {
        kind,
        ceil_mode: false,
        window: [3, 3],
        strides: [1, 1],
        dilations: [1, 1],
        padding: Padding::symmetric(1, 1),
        layout: Layout::Nhwc,
    };
    check(Op::Pool(pool(PoolKind::Max)), &image, None, lanes);
    check(Op::Pool(pool(PoolKind::Average { count_padding: true })), &image, None, lanes);
    check(Op::Unary(Unary::Abs), &image, None, lanes);
    check(Op::Binary(Binary::Mul), &image, None, lanes);
    let product = Op::MatMul { transpose_a: false, transpose_b: false };
    for schedule in [Schedule::Gemm(Tile::new(3, 2, 4)), Schedule::Strassen(Tile::new(3, 2, 4))] {
        check(product.clone(), &[9, 8], Some(&[8, 10]), schedule);
        check(product.clone(), &[1, 9, 8], Some(&[8, 10]), schedule);
    }
}

#[test]
fn reductions_and_movement_read_columns() {
    for (op, dims) in [
        (Op::Reduce { kind: ReduceKind::Mean, axes: vec![1, 2], keep_dims: true }, [1, 4, 3, CHANNELS]),
        (Op::Reduce { kind: ReduceKind::Max, axes: vec![3], keep_dims: true }, [1, 4, 3, CHANNELS]),
        (Op::ChannelShuffle { groups: 3, axis: 3 }, [1, 2, 3, CHANNELS]),
        (Op::Transpose { perm: vec![0, 3, 1, 2] }, [1, 2, 3, CHANNELS]),
    ] {
        let mut net = Net {
            graph: Graph::new("test"),
            schedules: Schedules::default(),
            inputs: Vec::new(),
            numbers: Numbers::new(11),
        };
        let x = net.columns(&dims);
        let what = op.name();
        let node = net.graph.add("node", op, &[x]).expect("valid");
        net.schedules.nodes.insert(node.node, Schedule::Vector { lanes: 4 });
        net.graph.add_output("y", node);
        let expected = avocet_reference::run(&net.graph, &net.inputs).expect("valid");
        let program = lower(&net.graph, &net.schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
        let got = run_program_in(PartOrder::Reversed, &program, &net.inputs).expect("valid");
        assert_close(what, &got[0], &expected[0]);
    }
}

/// Generators that take whole tensors only say so.
#[test]
fn others_refuse_columns() {
    let mut net = Net {
        graph: Graph::new("test"),
        schedules: Schedules::default(),
        inputs: Vec::new(),
        numbers: Numbers::new(11),
    };
    let x = net.columns(&[2, 6]);
    let node = net.graph.add("node", Op::Softmax { axis: 1 }, &[x]).expect("valid");
    net.schedules.nodes.insert(node.node, Schedule::Vector { lanes: 4 });
    net.graph.add_output("y", node);
    let error = lower(&net.graph, &net.schedules).expect_err("not supported").to_string();
    assert_eq!(error, "node 'node': no kernel for softmax on columns of a tensor");
}

/// Direct convolutions of images whose channels come first, whole and in parts.
#[test]
fn planes() {
    for tile in [Tile::new(4, 2, 4), Tile::new(3, 1, 8), Tile::new(5, 1, 1)] {
        for (image, window, stride, padding) in [
            ([1, 3, 9, 8], [3, 3], 2, Padding::symmetric(1, 1)),
            ([1, 3, 9, 8], [3, 3], 1, Padding::default()),
            ([1, 1, 7, 5], [7, 5], 1, Padding { top: 3, left: 0, bottom: 2, right: 4 }),
            ([2, 4, 6, 6], [1, 1], 2, Padding::default()),
            ([3, 2, 5, 7], [2, 4], 1, Padding { top: 1, left: 2, bottom: 0, right: 0 }),
        ] {
            let mut numbers = Numbers::new(17);
            let mut graph = Graph::new("test");
            let tensor = numbers.tensor(&image);
            let x = graph.add("x", Op::Input(tensor.ty()), &[]).expect("an input");
            let last = graph.add("last", Op::Transpose { perm: vec![0, 2, 3, 1] }, &[x]).expect("valid");
            let weights = numbers.tensor(&[10, image[1], window[0], window[1]]);
            let weights = graph.constant("w", weights);
            let conv =
                Conv { strides: [stride; 2], dilations: [1, 1], padding, groups: 1, layout: Layout::Nhwc };
            let node = graph.add("node", Op::Conv(conv), &[last, weights]).expect("valid");
            graph.add_output("y", node);
            let mut schedules = Schedules::default();
            schedules.nodes.insert(last.node, Schedule::Alias);
            schedules.views.insert(last.node, View::planes(x.node));
            schedules.nodes.insert(node.node, Schedule::Direct(tile));
            let expected = avocet_reference::run(&graph, std::slice::from_ref(&tensor)).expect("valid");
            for parts in [1, 2, 3] {
                let what = format!("{image:?} {window:?} {stride} {padding} {tile}, {parts} parts");
                schedules.splits.insert(node.node, Split { axis: Axis::Rows, parts });
                let program = lower(&graph, &schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
                let got = run_program_in(PartOrder::Reversed, &program, std::slice::from_ref(&tensor));
                let got = got.unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
                assert_close(&what, &got[0], &expected[0]);
            }
        }
    }
}

/// A slice that is a run of elements, under another shape, and one of a constant.
#[test]
fn runs() {
    let mut numbers = Numbers::new(23);
    let mut graph = Graph::new("test");
    let tensor = numbers.tensor(&[3, 4, 5]);
    let x = graph.add("x", Op::Input(tensor.ty()), &[]).expect("an input");
    let c = numbers.tensor(&[3, 4, 5]);
    let c = graph.constant("c", c);
    let mut schedules = Schedules::default();
    let mut parts = Vec::new();
    for (source, start) in [(x, 2), (c, 1)] {
        let whole = [4, 5].map(|count| SliceAxis { start: 0, count, step: 1 });
        let axes = [SliceAxis { start, count: 1, step: 1 }].into_iter().chain(whole).collect();
        let part = graph.add("part", Op::Slice { axes }, &[source]).expect("a slice");
        schedules.nodes.insert(part.node, Schedule::Alias);
        schedules.views.insert(part.node, View::run(source.node, start * 20));
        let shape = avocet_ir::Shape::new([20]).expect("small");
        let part = graph.add("flat", Op::Reshape { shape }, &[part]).expect("a reshape");
        schedules.nodes.insert(part.node, Schedule::Alias);
        parts.push(part);
    }
    let y = graph.add("y", Op::Binary(Binary::Sub), &parts).expect("valid");
    schedules.nodes.insert(y.node, Schedule::Vector { lanes: 8 });
    graph.add_output("y", y);
    graph.add_output("part", parts[0]);
    let inputs = std::slice::from_ref(&tensor);
    let expected = avocet_reference::run(&graph, inputs).expect("valid");
    let program = lower(&graph, &schedules).expect("supported");
    let got = run_program_in(PartOrder::Reversed, &program, inputs).expect("valid");
    assert_close("difference", &got[0], &expected[0]);
    assert_close("part", &got[1], &expected[1]);
}
