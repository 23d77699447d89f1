//! Chains strip by strip against the same nodes one by one, to the bit, and those against the reference.

use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding, Unary};
use avocet_ir::schedule::{Chain, Schedule, Schedules, Tile};
use avocet_ir::{Graph, NodeId, Tensor, TensorType, Value};
use avocet_reference::kernel::{PartOrder, run_program, run_program_in};
use proptest::prelude::*;

use super::{Numbers, assert_close, assert_same};
use crate::lower;

/// An inverted residual and how it is computed.
#[derive(Clone, Debug)]
struct Block {
    image: [usize; 2],
    /// Channels before, between and after.
    channels: [usize; 3],
    window: [usize; 2],
    strides: [usize; 2],
    padding: Padding,
    /// First and last of the three nodes that are computed together.
    nodes: (usize, usize),
    rows: usize,
    parts: usize,
    /// The expansion is a 3x3 convolution, as the first of a network is.
    is_stem: bool,
}

struct Network {
    graph: Graph,
    input: Tensor,
    nodes: [NodeId; 3],
    schedules: Schedules,
}

fn conv(strides: [usize; 2], padding: Padding, groups: usize) -> Op {
    Op::Conv(Conv { strides, dilations: [1, 1], padding, groups, layout: Layout::Nhwc })
}

/// Adds a convolution with a bias and an activation; returns it.
fn add(graph: &mut Graph, name: &str, op: Op, x: Value, weights: Tensor, bias: Tensor) -> Value {
    let (w, b) = (graph.constant("w", weights), graph.constant("b", bias));
    let y = graph.add(name, op, &[x, w]).expect("valid");
    let step = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
    graph.push_epilogue(y.node, step, Some(b)).expect("valid");
    graph.push_epilogue(y.node, EpilogueStep::Unary(Unary::Relu), None).expect("valid");
    y
}

fn network(block: &Block) -> Option<Network> {
    let [height, width] = block.image;
    let [before, between, after] = block.channels;
    let mut numbers = Numbers::new(7);
    let mut graph = Graph::new("test");
    let input = numbers.tensor(&[1, height, width, before]);
    let x = graph.add("x", Op::Input(TensorType::f32([1, height, width, before]).ok()?), &[]).ok()?;
    let (window, padding) = match block.is_stem {
        true => (3, Padding::symmetric(1, 1)),
        false => (1, Padding::default()),
    };
    let weights = numbers.tensor(&[between, before, window, window]);
    let bias = |numbers: &mut Numbers, channels: usize| numbers.tensor(&[channels]);
    let b = bias(&mut numbers, between);
    let expand = add(&mut graph, "expand", conv([1, 1], padding, 1), x, weights, b);
    let fits = [0, 1].iter().all(|&i| {
        let around = [padding_of(block)[i][0], padding_of(block)[i][1]];
        block.image[i] + around[0] + around[1] >= block.window[i]
    });
    if !fits {
        return None;
    }
    let weights = numbers.tensor(&[between, 1, block.window[0], block.window[1]]);
    let b = bias(&mut numbers, between);
    let depthwise = conv(block.strides, block.padding, between);
    let depthwise = add(&mut graph, "depthwise", depthwise, expand, weights, b);
    let weights = numbers.tensor(&[after, between, 1, 1]);
    let b = bias(&mut numbers, after);
    let project = add(&mut graph, "project", conv([1, 1], Padding::default(), 1), depthwise, weights, b);
    if graph.ty(project) == graph.ty(x) {
        let step = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
        graph.push_epilogue(project.node, step, Some(x)).ok()?;
    }
    graph.add_output("y", project);
    let mut schedules = Schedules::default();
    let tile = Tile::new(3, 2, 4);
    let first = if block.is_stem { Schedule::Direct(tile) } else { Schedule::Gemm(tile) };
    schedules.nodes.insert(expand.node, first);
    schedules.nodes.insert(depthwise.node, Schedule::Depthwise(Tile::new(4, 1, 4)));
    schedules.nodes.insert(project.node, Schedule::Gemm(tile));
    Some(Network { graph, input, nodes: [expand.node, depthwise.node, project.node], schedules })
}

fn padding_of(block: &Block) -> [[usize; 2]; 2] {
    let Padding { top, left, bottom, right } = block.padding;
    [[top, bottom], [left, right]]
}

fn check(block: &Block) {
    let Some(Network { graph, input, nodes, mut schedules }) = network(block) else { return };
    let what = format!("{block:?}");
    let inputs = [input];
    let program = lower(&graph, &schedules).expect("supported");
    assert_eq!(program.steps.len(), 3);
    let expected = run_program(&program, &inputs).unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
    let reference = avocet_reference::run(&graph, &inputs).expect("valid");
    assert_close(&what, &expected[0], &reference[0]);

    let chain =
        Chain { nodes: nodes[block.nodes.0..=block.nodes.1].to_vec(), rows: block.rows, parts: block.parts };
    schedules.chains.push(chain);
    let program = lower(&graph, &schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
    for order in [PartOrder::Written, PartOrder::Interleaved] {
        let got = run_program_in(order, &program, &inputs);
        let got = got.unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
        assert_same(&what, &got[0], &expected[0]);
    }
}

fn block() -> Block {
    Block {
        image: [12, 9],
        channels: [5, 10, 5],
        window: [3, 3],
        strides: [1, 1],
        padding: Padding::symmetric(1, 1),
        nodes: (0, 2),
        rows: 4,
        parts: 1,
        is_stem: false,
    }
}

#[test]
fn an_inverted_residual_is_one_step() {
    let block = block();
    let Network { graph, nodes, mut schedules, .. } = network(&block).expect("valid");
    schedules.chains.push(Chain { nodes: nodes.to_vec(), rows: 4, parts: 1 });
    let text = schedules.to_text(&graph);
    assert!(text.ends_with("  chain expand -> depthwise -> project ; strips of 4 rows, 1 parts\n"), "{text}");
    let program = lower(&graph, &schedules).expect("supported");
    assert_eq!(program.steps.len(), 1);
    assert_eq!(program.steps[0].name(), "expand + depthwise + project");
    // Rows 0 to 4, then two that are kept and four more; then the depthwise result's four.
    assert_eq!(program.temporaries, [6 * 9 * 10 * 4, 4 * 9 * 10 * 4]);
    let kernel = |call: &avocet_ir::program::Call| {
        program.kernels[call.kernel].name.split('_').next().map(String::from)
    };
    let names: Vec<_> = program.calls().filter_map(kernel).collect();
    assert_eq!(
        names.join(" "),
        "pointwise depthwise pointwise keep pointwise depthwise pointwise keep pointwise depthwise pointwise"
    );
    check(&block);
}

#[test]
fn windows_of_all_kinds() {
    let odd = Padding { top: 2, left: 0, bottom: 1, right: 3 };
    for (window, padding) in [
        ([3, 3], Padding::symmetric(1, 1)),
        ([5, 5], Padding::symmetric(2, 2)),
        ([7, 7], Padding::symmetric(3, 3)),
        ([3, 3], odd),
        ([2, 3], Padding::default()),
        ([1, 3], Padding::symmetric(0, 1)),
    ] {
        for strides in [[1, 1], [2, 2], [3, 1]] {
            for (rows, parts) in [(1, 1), (1, 3), (2, 2), (3, 1), (5, 4), (100, 2)] {
                check(&Block { window, padding, strides, rows, parts, ..block() });
            }
        }
    }
}

#[test]
fn stems_with_their_scratch() {
    for rows in [1, 3, 5] {
        check(&Block { is_stem: true, rows, parts: 2, ..block() });
    }
}

#[test]
fn what_is_read_elsewhere_is_not_fused() {
    let Network { mut graph, nodes, mut schedules, .. } = network(&block()).expect("valid");
    graph.add_output("expanded", nodes[0].into());
    schedules.chains.push(Chain { nodes: nodes.to_vec(), rows: 4, parts: 1 });
    assert_eq!(lower(&graph, &schedules).expect("supported").steps.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_block_in_any_strips(
        image in [2usize..14, 1usize..9],
        channels in [1usize..9, 1usize..12, 1usize..9],
        same_channels in any::<bool>(),
        window in [1usize..8, 1usize..6],
        strides in [1usize..4, 1usize..3],
        around in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
        nodes in prop_oneof![Just((0, 2)), Just((0, 1)), Just((1, 2))],
        (rows, parts) in (1usize..8, 1usize..6),
        is_stem in any::<bool>(),
    ) {
        let after = if same_channels { channels[0] } else { channels[2] };
        let padding = Padding { top: around[0], left: around[1], bottom: around[2], right: around[3] };
        let channels = [channels[0], channels[1], after];
        check(&Block { image, channels, window, strides, padding, nodes, rows, parts, is_stem });
    }
}
