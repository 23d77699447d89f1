//! What the passes' tests share: a short way to write graphs, and the check that a pass keeps their meaning.

use avocet_ir::op::{Binary, Conv, Layout, Padding, Pool, PoolKind, ReduceKind, Unary};
use avocet_ir::{Graph, Op, Shape, Tensor, TensorType, Value};

use crate::pass::{Context, Outcome, PassError};
use crate::schedule::Machine;

/// A graph under construction in which every node is valid and named by a number.
pub(crate) struct Network {
    pub(crate) graph: Graph,
    count: u32,
}

/// A machine with AVX2 and a second cache of 256 KiB.
pub(crate) const AVX2: Machine = Machine {
    lanes: 8,
    registers: 16,
    multiply_add: 2,
    loads: 2,
    l2: 1 << 18,
    permutes: true,
    strassen: true,
};
/// One with AVX-512 and 1 MiB.
pub(crate) const AVX512: Machine =
    Machine { lanes: 16, registers: 32, multiply_add: 1, loads: 1, l2: 1 << 20, ..AVX2 };

/// Numbers between -1 and 1 that look random and never change.
pub(crate) fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

impl Network {
    pub(crate) fn new() -> Self {
        Network { graph: Graph::new("test"), count: 0 }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("n{}", self.count)
    }

    pub(crate) fn input(&mut self, name: &str, dims: impl Into<Vec<usize>>) -> Value {
        let ty = TensorType::f32(dims).expect("a small shape");
        self.graph.add(name, Op::Input(ty), &[]).expect("an input")
    }

    pub(crate) fn add(&mut self, op: Op, inputs: &[Value]) -> Value {
        let name = self.name();
        self.graph.add(name, op, inputs).expect("a valid node")
    }

    pub(crate) fn constant(&mut self, dims: impl Into<Vec<usize>>, data: &[f32]) -> Value {
        self.graph.constant("", Tensor::f32(dims, data).expect("as many elements as the shape says"))
    }

    pub(crate) fn scalar(&mut self, value: f32) -> Value {
        self.graph.constant("", Tensor::scalar_f32(value))
    }

    pub(crate) fn random(&mut self, dims: impl Into<Vec<usize>>) -> Value {
        self.count += 1;
        let dims = dims.into();
        let data = noise(dims.iter().product(), self.count);
        self.constant(dims, &data)
    }

    pub(crate) fn relu(&mut self, x: Value) -> Value {
        self.unary(Unary::Relu, x)
    }

    pub(crate) fn unary(&mut self, op: Unary, x: Value) -> Value {
        self.add(Op::Unary(op), &[x])
    }

    pub(crate) fn binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        self.add(Op::Binary(op), &[a, b])
    }

    pub(crate) fn reshape(&mut self, x: Value, dims: impl Into<Vec<usize>>) -> Value {
        self.add(Op::Reshape { shape: Shape::new(dims).expect("a small shape") }, &[x])
    }

    pub(crate) fn transpose(&mut self, x: Value, perm: &[usize]) -> Value {
        self.add(Op::Transpose { perm: perm.to_vec() }, &[x])
    }

    pub(crate) fn mean(&mut self, x: Value, axes: &[usize], keep_dims: bool) -> Value {
        self.add(Op::Reduce { kind: ReduceKind::Mean, axes: axes.to_vec(), keep_dims }, &[x])
    }

    pub(crate) fn dims(&self, x: Value) -> Vec<usize> {
        self.graph.ty(x).dims().to_vec()
    }

    /// A square NCHW convolution with random weights and the padding that keeps the size at stride 1; no bias.
    pub(crate) fn conv(
        &mut self,
        x: Value,
        out: usize,
        window: usize,
        stride: usize,
        groups: usize,
    ) -> Value {
        let channels = self.dims(x)[1];
        let weights = self.random([out, channels / groups, window, window]);
        let conv = Conv {
            strides: [stride; 2],
            dilations: [1; 2],
            padding: Padding::symmetric(window / 2, window / 2),
            groups,
            layout: Layout::Nchw,
        };
        self.add(Op::Conv(conv), &[x, weights])
    }

    pub(crate) fn max_pool(&mut self, x: Value) -> Value {
        let (window, strides, dilations) = ([3; 2], [2; 2], [1; 2]);
        let padding = Padding::symmetric(1, 1);
        let (kind, layout) = (PoolKind::Max, Layout::Nchw);
        self.add(Op::Pool(Pool { kind, window, strides, dilations, padding, ceil_mode: false, layout }), &[x])
    }

    /// Batch normalisation over axis 1 with made-up statistics.
    pub(crate) fn batch_norm(&mut self, x: Value) -> Value {
        let channels = self.dims(x)[1];
        let scale = self.random([channels]);
        let offset = self.random([channels]);
        let mean = self.random([channels]);
        let variance: Vec<f32> = noise(channels, 99).iter().map(|v| v.abs() + 0.25).collect();
        let variance = self.constant([channels], &variance);
        self.add(Op::BatchNorm { epsilon: 1e-5, axis: 1 }, &[x, scale, offset, mean, variance])
    }

    /// Matrix product with random weights, and a bias.
    pub(crate) fn dense(&mut self, x: Value, out: usize) -> Value {
        let features = *self.dims(x).last().expect("not a scalar");
        let weights = self.random([features, out]);
        let y = self.add(Op::MatMul { transpose_a: false, transpose_b: false }, &[x, weights]);
        let bias = self.random([out]);
        self.binary(Binary::Add, y, bias)
    }

    pub(crate) fn finish(mut self, result: Value) -> Graph {
        self.graph.add_output("y", result);
        self.graph
    }
}

/// A tensor for each input of the network.
pub(crate) fn inputs(graph: &Graph) -> Vec<Tensor> {
    let each = graph.input_nodes().iter().enumerate().map(|(i, &id)| {
        let ty = &graph.node(id).outputs[0];
        // Beyond the knees of the activations on both sides.
        let data: Vec<f32> = noise(ty.shape.elements(), 1000 + i as u32).iter().map(|v| v * 5.0).collect();
        Tensor::f32(ty.dims(), data).expect("as many elements as the shape says")
    });
    each.collect()
}

/// Both graphs give the same on the same inputs, up to rounding relative to the largest element.
pub(crate) fn assert_same_meaning(before: &Graph, after: &Graph) {
    let inputs = inputs(before);
    let expected = avocet_reference::run(before, &inputs).expect("runs before");
    let got = avocet_reference::run(after, &inputs).expect("runs after");
    assert_eq!(expected.len(), got.len(), "number of results");
    for (e, g) in expected.iter().zip(&got) {
        assert_eq!(e.ty(), g.ty(), "type of a result");
        let (Some(e), Some(g)) = (e.as_f32(), g.as_f32()) else {
            assert_eq!(e, g);
            continue;
        };
        let scale = e.iter().filter(|v| v.is_finite()).fold(1.0f32, |m, v| m.max(v.abs()));
        for (i, (e, g)) in e.iter().zip(g).enumerate() {
            let close = (e - g).abs() <= 2e-5 * scale || e == g || (e.is_nan() && g.is_nan());
            assert!(close, "element {i}: {e} before, {g} after\n{before}\n{after}");
        }
    }
}

/// Runs a pass on a copy; the result is valid, means the same, and running the pass again changes nothing.
pub(crate) fn check(
    pass: fn(&mut Graph, &Context<'_>) -> Result<Outcome, PassError>,
    graph: &Graph,
) -> (Graph, Outcome) {
    let context = Context::new(&avocet_reference::Reference);
    graph.verify().expect("valid before");
    let mut after = graph.clone();
    let outcome = pass(&mut after, &context).expect("the pass runs");
    after.verify().expect("valid after");
    assert_same_meaning(graph, &after);
    let text = after.to_string();
    assert_eq!(outcome.changes == 0, text == graph.to_string(), "changes are counted: {outcome}\n{text}");
    let mut twice = after.clone();
    let again = pass(&mut twice, &context).expect("the pass runs again");
    assert_eq!((again.changes, twice.to_string()), (0, text), "idempotent");
    // Constants that lost their users would only clutter the golden text.
    crate::dead_code::run(&mut after, &context).expect("dead code can be removed");
    (after, outcome)
}
