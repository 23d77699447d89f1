//! What nodes and networks cost: parameters, multiply-adds, bytes. The one place that counts.
//!
//! Counts are those of the literature: a multiply-add is one multiplication with its addition in a convolution or matrix
//! product; parameters are weights and biases, and scale and offset of batch normalisation (its statistics are not
//! learned and do not count). They are meant for graphs as frontends make them; passes fold parameters into each other.

use std::collections::BTreeSet;

use crate::graph::{Graph, NodeId};
use crate::kernel::{Element, Expression, Kernel, Statement};
use crate::op::{Op, Region};

/// Cost of one node or of a sum of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Learned numbers.
    pub parameters: u64,
    /// Multiplications with an addition, for one inference.
    pub multiply_adds: u64,
    /// Bytes of all constants.
    pub weight_bytes: u64,
    /// Bytes of the results.
    pub activation_bytes: u64,
}

/// Cost of each node that is computed, in topological order, and their sum. A constant that several nodes share is
/// counted with the first. A node that holds graphs costs what they cost: the parameters of all, the work of the dearer branch
/// or of all iterations.
pub fn costs(graph: &Graph) -> (Vec<(NodeId, Cost)>, Cost) {
    let mut seen = BTreeSet::new();
    let mut nodes = Vec::new();
    let mut total = Cost::default();
    for id in graph.topological().unwrap_or_default() {
        if matches!(graph.node(id).op, Op::Input(_) | Op::Constant(_)) {
            continue;
        }
        let cost = node(graph, id, &mut seen);
        total.parameters += cost.parameters;
        total.multiply_adds += cost.multiply_adds;
        total.weight_bytes += cost.weight_bytes;
        total.activation_bytes += cost.activation_bytes;
        nodes.push((id, cost));
    }
    (nodes, total)
}

fn node(graph: &Graph, id: NodeId, seen: &mut BTreeSet<NodeId>) -> Cost {
    let node = graph.node(id);
    let mut cost = Cost {
        multiply_adds: multiply_adds(graph, id),
        activation_bytes: node.outputs.iter().map(|ty| ty.bytes() as u64).sum(),
        ..Cost::default()
    };
    for (number, value) in graph.inputs(id).into_iter().enumerate() {
        let Some(tensor) = graph.as_constant(value) else { continue };
        if !seen.insert(value.node) {
            continue;
        }
        let elements = tensor.shape().elements() as u64;
        let learned = match node.op {
            Op::BatchNorm { .. } => number < 3,
            // A number that scales or shifts a whole tensor is a part of some function, not learned.
            Op::Binary(_) => elements > 1,
            Op::Conv(_) | Op::MatMul { .. } => true,
            _ => false,
        };
        cost.parameters += if learned { elements } else { 0 };
        cost.weight_bytes += tensor.ty().bytes() as u64;
    }
    for region in node.op.regions() {
        let (_, inner) = costs(region.graph());
        cost.parameters += inner.parameters;
        cost.weight_bytes += inner.weight_bytes;
    }
    cost
}

fn multiply_adds(graph: &Graph, id: NodeId) -> u64 {
    let (node, inputs) = (graph.node(id), graph.inputs(id));
    let within = |region: &Region| costs(region.graph()).1.multiply_adds;
    match &node.op {
        // At most: the dearer branch, all iterations.
        Op::If { then, otherwise } => return within(then).max(within(otherwise)),
        Op::Loop(repeated) => return within(&repeated.body).saturating_mul(repeated.count as u64),
        _ => {}
    }
    let results = node.outputs[0].shape.elements() as u64;
    let each = match &node.op {
        Op::Conv(_) => graph.ty(inputs[1]).dims()[1..].iter().map(|&d| d as u64).product(),
        Op::MatMul { transpose_a, .. } => {
            let dims = graph.ty(inputs[0]).dims();
            dims[dims.len() - if *transpose_a { 2 } else { 1 }] as u64
        }
        // The products of queries and keys, and those of weights and values.
        Op::Attention { .. } => {
            let (keys, values) = (graph.ty(inputs[1]).dims(), graph.ty(inputs[2]).dims());
            let width = |dims: &[usize]| dims.last().map_or(0, |&d| d as u64);
            let rows = results.checked_div(width(values)).unwrap_or(0);
            let count = keys[keys.len() - 2] as u64;
            return rows.saturating_mul(count).saturating_mul(width(keys).saturating_add(width(values)));
        }
        _ => 0,
    };
    results.saturating_mul(each)
}

/// Floating-point work that one call of a kernel does, lanes that a tail leaves unused included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Operations; a multiply-add is two.
    pub operations: u64,
    /// Multiply-adds among them.
    pub multiply_adds: u64,
}

/// Counts a kernel's work.
pub fn work(kernel: &Kernel) -> Work {
    block(kernel, &kernel.body)
}

fn block(kernel: &Kernel, statements: &[Statement]) -> Work {
    let mut sum = Work::default();
    for statement in statements {
        let (one, times) = match statement {
            Statement::Let(value, expression) => {
                let ty = kernel.ty(*value);
                let lanes = if ty.element == Element::F32 { ty.lanes as u64 } else { 0 };
                let one = match expression {
                    Expression::MulAdd(..) => Work { operations: 2 * lanes, multiply_adds: lanes },
                    Expression::Unary(..) | Expression::Binary(..) => {
                        Work { operations: lanes, multiply_adds: 0 }
                    }
                    Expression::Reduce(_, vector) => {
                        let joined = lanes * (kernel.ty(*vector).lanes as u64).saturating_sub(1);
                        Work { operations: joined, multiply_adds: 0 }
                    }
                    _ => Work::default(),
                };
                (one, 1)
            }
            Statement::Store { .. } | Statement::StoreAt { .. } => continue,
            Statement::For { count, body, .. } => (block(kernel, body), *count as u64),
        };
        sum.operations = sum.operations.saturating_add(one.operations.saturating_mul(times));
        sum.multiply_adds = sum.multiply_adds.saturating_add(one.multiply_adds.saturating_mul(times));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Binary, Conv, Layout, Padding};
    use crate::tensor::{Tensor, TensorType};

    #[test]
    fn work_of_a_kernel_counts_loops_and_lanes() {
        use crate::kernel::{Access, Horizontal, KernelBuilder};
        let mut b = KernelBuilder::new("test");
        let x = b.buffer("x", Element::F32, 40, Access::Read);
        let y = b.buffer("y", Element::F32, 1, Access::Write);
        let zero = b.f32(4, 0.0);
        let sums = b.repeat_carrying(10, &[zero], |b, i, sums| {
            let value = b.load(4, x, i * 4);
            let value = b.add(value, value);
            vec![b.mul_add(value, value, sums[0])]
        });
        let sum = b.reduce(Horizontal::Add, sums[0]);
        b.store(y, 0usize, sum);
        assert_eq!(work(&b.finish()), Work { operations: 10 * (4 + 8) + 3, multiply_adds: 40 });
    }

    #[test]
    fn a_convolution_with_batch_norm_and_bias() {
        let mut graph = Graph::new("test");
        let x = graph.add("x", Op::Input(TensorType::f32([1, 4, 8, 8]).expect("small")), &[]).expect("valid");
        let constant = |graph: &mut Graph, dims: &[usize]| {
            let count = dims.iter().product();
            graph.constant("c", Tensor::f32(dims, vec![1.0; count]).expect("small"))
        };
        let w = constant(&mut graph, &[6, 2, 3, 3]);
        let conv = Op::Conv(Conv {
            strides: [2, 2],
            dilations: [1, 1],
            padding: Padding::symmetric(1, 1),
            groups: 2,
            layout: Layout::Nchw,
        });
        let y = graph.add("conv", conv, &[x, w]).expect("valid");
        let bn: Vec<_> = (0..4).map(|_| constant(&mut graph, &[6])).collect();
        let norm = Op::BatchNorm { epsilon: 1e-5, axis: 1 };
        let y = graph.add("bn", norm, &[y, bn[0], bn[1], bn[2], bn[3]]).expect("valid");
        let bias = constant(&mut graph, &[6, 1, 1]);
        let half = graph.constant("half", Tensor::scalar_f32(0.5));
        let y = graph.add("bias", Op::Binary(Binary::Add), &[y, bias]).expect("valid");
        let y = graph.add("scale", Op::Binary(Binary::Mul), &[y, half]).expect("valid");
        graph.add_output("y", y);
        let (nodes, total) = costs(&graph);
        assert_eq!(nodes.len(), 4);
        assert_eq!(total.multiply_adds, 6 * 4 * 4 * 2 * 9);
        assert_eq!(total.parameters, 6 * 2 * 9 + 12 + 6);
        assert_eq!(total.weight_bytes, 4 * (6 * 2 * 9 + 24 + 6 + 1));
    }
}
