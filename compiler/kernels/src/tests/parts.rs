//! That operators are really divided, and into what; that parts compute the same is checked with each generator.

use avocet_ir::op::{Binary, Conv, EpilogueStep, Layout, Op, Padding};
use avocet_ir::program::Program;
use avocet_ir::schedule::{Axis, Schedule, Schedules, Split, Tile};
use avocet_ir::{Graph, Tensor, TensorType};

use crate::lower;

const TILE: Tile = Tile::new(6, 2, 4);

fn conv(groups: usize, stride: usize, padding: usize) -> Op {
    let padding = Padding::symmetric(padding, padding);
    Op::Conv(Conv { strides: [stride; 2], dilations: [1, 1], padding, groups, layout: Layout::Nhwc })
}

fn input(graph: &mut Graph, dims: &[usize]) -> avocet_ir::Value {
    graph.add("x", Op::Input(TensorType::f32(dims).expect("small")), &[]).expect("an input")
}

fn constant(graph: &mut Graph, dims: &[usize]) -> avocet_ir::Value {
    graph.constant("w", Tensor::f32(dims, vec![0.5; dims.iter().product()]).expect("small"))
}

/// A convolution with a residual addition, divided.
fn divided(op: Op, image: [usize; 4], weights: [usize; 4], schedule: Schedule, split: Split) -> Program {
    let mut graph = Graph::new("test");
    let x = input(&mut graph, &image);
    let w = constant(&mut graph, &weights);
    let y = graph.add("node", op, &[x, w]).expect("valid");
    let residual = graph.ty(y).clone();
    let residual = graph.add("residual", Op::Input(residual), &[]).expect("an input");
    let add = EpilogueStep::Binary { op: Binary::Add, operand: 0, swapped: false };
    graph.push_epilogue(y.node, add, Some(residual)).expect("valid");
    graph.add_output("y", y);
    let mut schedules = Schedules::default();
    schedules.nodes.insert(y.node, schedule);
    schedules.splits.insert(y.node, split);
    let text = schedules.to_text(&graph);
    assert!(text.contains(&format!(" in {split} ")), "{text}");
    lower(&graph, &schedules).expect("supported")
}

#[test]
fn pixels_are_divided_between_tiles() {
    let split = Split { axis: Axis::Rows, parts: 4 };
    let program = divided(conv(1, 1, 0), [1, 14, 14, 8], [8, 8, 1, 1], Schedule::Gemm(TILE), split);
    let offsets: Vec<usize> =
        program.steps[0].parts.iter().map(|calls| calls[0].arguments[0].offset / (8 * 4)).collect();
    // 196 pixels are 33 tiles: 9 and three times 8.
    assert_eq!(offsets, [0, 54, 102, 150]);
    // The packed weights are there once.
    assert_eq!(program.constants.len(), 1);
}

#[test]
fn columns_have_weights_of_their_own() {
    let split = Split { axis: Axis::Columns, parts: 4 };
    let program = divided(conv(1, 1, 0), [1, 3, 3, 8], [64, 8, 1, 1], Schedule::Gemm(TILE), split);
    assert_eq!(program.steps[0].parts.len(), 4);
    assert_eq!(program.kernels.len(), 1, "all parts are the same code");
    assert_eq!(program.constants.iter().map(|c| c.len()).sum::<usize>(), 64 * 8 / 4);
}

#[test]
fn rows_inside_are_the_same_code() {
    let split = Split { axis: Axis::Rows, parts: 8 };
    let tile = Tile::new(4, 1, 4);
    let program = divided(conv(8, 2, 1), [1, 32, 9, 8], [8, 1, 3, 3], Schedule::Depthwise(tile), split);
    assert_eq!(program.steps[0].parts.len(), 8);
    // The first part touches the padding above, the others no padding below: 2 * 15 + 3 is 33.
    assert_eq!(program.kernels.len(), 2);
    let image: Vec<usize> =
        program.steps[0].parts.iter().map(|calls| calls[0].arguments[0].offset / (9 * 8 * 4)).collect();
    assert_eq!(image, [0, 3, 7, 11, 15, 19, 23, 27]);
}

#[test]
fn fewer_rows_than_parts() {
    let split = Split { axis: Axis::Rows, parts: 8 };
    let tile = Tile::new(4, 1, 4);
    let program = divided(conv(8, 1, 1), [1, 3, 9, 8], [8, 1, 3, 3], Schedule::Depthwise(tile), split);
    assert_eq!(program.steps[0].parts.len(), 3);
}

#[test]
fn what_cannot_be_divided_is_one_part() {
    // Two pictures: a range of rows would not be one piece of memory.
    let split = Split { axis: Axis::Rows, parts: 2 };
    let tile = Tile::new(4, 1, 4);
    let program = divided(conv(8, 1, 1), [2, 4, 4, 8], [8, 1, 3, 3], Schedule::Depthwise(tile), split);
    assert_eq!(program.steps[0].parts.len(), 1);
}
