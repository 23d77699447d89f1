//! Every generator against the reference interpreter: one-node graphs, lowered and run by the kernel interpreter.

mod attention;
mod chains;
mod control;
mod convolution;
mod functions;
mod movement;
mod parts;
mod products;
mod reductions;
mod remainder;
mod strassen;
mod types;
mod views;
mod winograd;

use avocet_ir::kernel::{Expression, Statement};
use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::schedule::{Axis, Schedule, Schedules, Split};
use avocet_ir::{Graph, Tensor, TensorType, Value};
use avocet_reference::kernel::{PartOrder, run_program, run_program_in};

use crate::lower;

/// A sequence of numbers that repeats from run to run: a linear congruential generator (Knuth's MMIX constants).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Numbers(seed)
    }

    /// From -1 to 1.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    pub(crate) fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let count = dims.iter().product();
        let data: Vec<f32> = (0..count).map(|_| self.next()).collect();
        Tensor::f32(dims, data).expect("a small shape")
    }
}

/// What a node of a test works on.
#[derive(Clone)]
pub(crate) enum Given {
    /// An input of the network.
    Input(Tensor),
    /// A constant.
    Constant(Tensor),
}

/// Asserts that two tensors agree within 1e-5 of the larger one's scale, NaN and infinities in the same places.
pub(crate) fn assert_close(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.ty(), expected.ty(), "{what}");
    let (Some(got), Some(expected)) = (got.as_f32(), expected.as_f32()) else {
        assert_eq!(got.data(), expected.data(), "{what}");
        return;
    };
    let scale = expected.iter().filter(|v| v.is_finite()).fold(1e-20f32, |m, v| m.max(v.abs()));
    for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
        let same = (g.is_nan() && e.is_nan()) || g == e || (g - e).abs() <= 1e-5 * scale;
        assert!(same, "{what}: element {i} is {g}, expected {e} (scale {scale})");
    }
}

/// Lowers one node with an epilogue and compares what its kernels compute with the reference interpreter.
pub(crate) fn check(
    what: &str,
    op: Op,
    given: &[Given],
    epilogue: Vec<(EpilogueStep, Option<Tensor>)>,
    schedule: Schedule,
) {
    let [got, expected] = compute(what, op, given, epilogue, schedule);
    assert_close(what, &got, &expected);
}

/// What the kernels of one node compute, and what the reference interpreter does.
pub(crate) fn compute(
    what: &str,
    op: Op,
    given: &[Given],
    epilogue: Vec<(EpilogueStep, Option<Tensor>)>,
    schedule: Schedule,
) -> [Tensor; 2] {
    let mut graph = Graph::new("test");
    let mut inputs = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut add = |graph: &mut Graph, given: &Given| match given {
        Given::Constant(tensor) => graph.constant("c", tensor.clone()),
        Given::Input(tensor) => {
            inputs.push(tensor.clone());
            let ty: TensorType = tensor.ty();
            graph.add(format!("x{}", inputs.len()), Op::Input(ty), &[]).expect("an input")
        }
    };
    for g in given {
        values.push(add(&mut graph, g));
    }
    let node = graph.add("node", op, &values).unwrap_or_else(|e| panic!("{what}: {e}"));
    for (step, operand) in epilogue {
        let operand = operand.map(|tensor| match tensor.shape().rank() {
            // Whole tensors come from the network, small ones are constants.
            4 => add(&mut graph, &Given::Input(tensor)),
            _ => add(&mut graph, &Given::Constant(tensor)),
        });
        graph.push_epilogue(node.node, step, operand).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    graph.add_output("y", node);
    let mut schedules = Schedules::default();
    schedules.nodes.insert(node.node, schedule);
    let program = lower(&graph, &schedules).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut expected = avocet_reference::run(&graph, &inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
    let mut got = run_program(&program, &inputs).unwrap_or_else(|e| panic!("{what}: {e}\n{program}"));
    // In parts, which run in any order, the same bits; by Strassen's method the parts decide which rows are paired.
    for (axis, parts, order) in [
        (Axis::Rows, 2, PartOrder::Reversed),
        (Axis::Rows, 5, PartOrder::Interleaved),
        (Axis::Columns, 3, PartOrder::Reversed),
    ] {
        schedules.splits.insert(node.node, Split { axis, parts });
        let program = lower(&graph, &schedules).unwrap_or_else(|e| panic!("{what}, {parts} parts: {e}"));
        let divided = run_program_in(order, &program, &inputs);
        let divided = divided.unwrap_or_else(|e| panic!("{what}, {parts} parts: {e}\n{program}"));
        let what = format!("{what}, {parts} parts of {axis:?}");
        match schedule {
            Schedule::Strassen(_) => {
                assert_close(&what, &divided[0], &expected[0]);
                let in_order = run_program(&program, &inputs).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_same(&what, &divided[0], &in_order[0]);
            }
            _ => assert_same(&what, &divided[0], &got[0]),
        }
    }
    [got.swap_remove(0), expected.swap_remove(0)]
}

/// Asserts that two tensors are the same bits.
pub(crate) fn assert_same(what: &str, got: &Tensor, expected: &Tensor) {
    assert_eq!(got.ty(), expected.ty(), "{what}");
    assert_eq!(got.data().to_le_bytes(), expected.data().to_le_bytes(), "{what}");
}

/// Multiply-adds that are executed.
fn multiply_adds(body: &[Statement]) -> usize {
    let count = |statement: &Statement| match statement {
        Statement::For { count, body, .. } => count * multiply_adds(body),
        Statement::Let(_, Expression::MulAdd(..)) => 1,
        _ => 0,
    };
    body.iter().map(count).sum()
}
