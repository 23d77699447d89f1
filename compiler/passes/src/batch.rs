//! Whether the images of a batch have nothing to do with each other, so that one after the other gives what all at once do.
//!
//! Asked of a network as it was read with one image and with several. Each tensor either is the same in both, or has one
//! dimension that is as many times as long: there the images lie, one after the other. Every operator must keep them apart.
//! What is not known to do so is taken not to.

use std::collections::HashMap;

use avocet_ir::op::{Loop, Op};
use avocet_ir::{Graph, NodeId, Shape, Tensor, Value};

/// Which inputs are of several images, when the network of `several` computes for each of `factor` images what that of `one`
/// computes, all results included. Images lie in the first dimension of inputs and results.
pub fn independent(one: &Graph, several: &Graph, factor: usize) -> Option<Vec<bool>> {
    let axes = Axes::new(one, several, factor)?;
    let first = |value: Value| axes.of(value);
    let inputs = several.input_nodes().iter().map(|&id| match first(id.into()) {
        Some(0) => (several.node(id).outputs[0].shape[0] == factor).then_some(true),
        None => Some(false),
        Some(_) => None,
    });
    let inputs: Vec<bool> = inputs.collect::<Option<_>>()?;
    let apart = several
        .outputs()
        .iter()
        .all(|output| first(output.value) == Some(0) && several.ty(output.value).shape[0] == factor);
    (apart && inputs.contains(&true)).then_some(inputs)
}

/// In which dimension of each tensor the images lie.
struct Axes<'a> {
    several: &'a Graph,
    axes: HashMap<Value, usize>,
}

impl<'a> Axes<'a> {
    /// `None` when the networks differ otherwise, or an operator may mix images.
    fn new(one: &Graph, several: &'a Graph, factor: usize) -> Option<Self> {
        let (order, other) = (several.topological().ok()?, one.topological().ok()?);
        if order.len() != other.len() || several.outputs().len() != one.outputs().len() {
            return None;
        }
        let twins: HashMap<NodeId, NodeId> = order.iter().copied().zip(other).collect();
        let mut axes = Axes { several, axes: HashMap::new() };
        for &id in &order {
            let (node, twin) = (several.node(id), one.node(twins[&id]));
            let inputs = several.inputs(id).into_iter().map(|v| Value { node: twins[&v.node], ..v });
            let same_inputs = inputs.eq(one.inputs(twins[&id]));
            // These say in their attributes how long dimensions are.
            let of_shapes = matches!(node.op, Op::Reshape { .. } | Op::Broadcast { .. } | Op::Slice { .. });
            let alike = node.op.name() == twin.op.name() && node.epilogue == twin.epilogue;
            let alike = alike && (of_shapes || node.op.attributes() == twin.op.attributes());
            if !same_inputs || !alike || node.outputs.len() != twin.outputs.len() {
                return None;
            }
            for (port, (ty, single)) in node.outputs.iter().zip(&twin.outputs).enumerate() {
                if ty.dtype != single.dtype {
                    return None;
                }
                if let Some(axis) = multiplied(&single.shape, &ty.shape, factor)? {
                    axes.axes.insert(Value { node: id, port }, axis);
                }
            }
            let apart = match (&node.op, &twin.op) {
                (Op::Constant(tensor), Op::Constant(single)) => {
                    is_repeated(single, tensor, axes.of(id.into()), factor)
                }
                (op, twin) => axes.keeps_apart(id, op)? && axes.regions(id, op, twin, factor)?,
            };
            if !apart {
                return None;
            }
        }
        let outputs = several.outputs().iter().map(|o| Value { node: twins[&o.value.node], ..o.value });
        outputs.eq(one.outputs().iter().map(|o| o.value)).then_some(axes)
    }

    fn of(&self, value: Value) -> Option<usize> {
        self.axes.get(&value).copied()
    }

    /// Whether regions keep images apart too.
    fn regions(&self, id: NodeId, op: &Op, twin: &Op, factor: usize) -> Option<bool> {
        let inputs = self.several.inputs(id);
        let decides = match op {
            Op::If { .. } => 1,
            Op::Loop(repeated) => repeated.controls(),
            _ => return Some(true),
        };
        if inputs[..decides].iter().any(|&value| self.of(value).is_some()) {
            return Some(false);
        }
        if let Op::Loop(repeated) = op {
            let sliced = &inputs[decides + repeated.carried..Loop::own_inputs(repeated)];
            if sliced.iter().any(|&value| self.of(value) == Some(0)) {
                return Some(false);
            }
        }
        for (one, several) in twin.regions().into_iter().zip(op.regions()) {
            let axes = Axes::new(one.graph(), several.graph(), factor)?;
            // What decides on the next iteration may not differ between images.
            let flags = usize::from(matches!(op, Op::Loop(repeated) if repeated.conditional));
            if several.graph().outputs().iter().take(flags).any(|output| axes.of(output.value).is_some()) {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Whether an operator computes for each image from that image alone. `None` where a dimension is not there.
    fn keeps_apart(&self, id: NodeId, op: &Op) -> Option<bool> {
        let graph = self.several;
        let inputs = graph.inputs(id);
        let axis = |number: usize| inputs.get(number).and_then(|&value| self.of(value));
        let result = self.of(id.into());
        let images = inputs.iter().any(|&value| self.of(value).is_some());
        if !images && !matches!(op, Op::Input(_) | Op::Broadcast { .. }) {
            // From what is the same for all comes what is the same for all.
            return Some(
                (0..graph.node(id).outputs.len()).all(|port| self.of(Value { node: id, port }).is_none()),
            );
        }
        let rank = |number: usize| graph.ty(inputs[number]).shape.rank();
        let rest_is_same = (1..inputs.len()).all(|number| axis(number).is_none());
        Some(match op {
            Op::Input(_) | Op::Constant(_) => true,
            Op::If { .. } | Op::Loop(_) => true,
            Op::Conv(_) | Op::Pool(_) | Op::Resize(_) => {
                axis(0) == Some(0) && result == Some(0) && rest_is_same
            }
            Op::BatchNorm { axis: channels, .. } => {
                axis(0)? != *channels && result == axis(0) && rest_is_same
            }
            Op::Unary(_) | Op::Identity | Op::Cast { .. } | Op::Reshape { .. } => {
                // The images are outermost within their dimension, and as many elements are before them.
                let before = |shape: &Shape, axis: usize| shape.dims()[..axis].iter().product::<usize>();
                let (from, to) = (&graph.ty(inputs[0]).shape, &graph.node(id).outputs[0].shape);
                before(from, axis(0)?) == before(to, result?)
            }
            Op::Binary(_) | Op::Compare(_) | Op::Select | Op::Broadcast { .. } => {
                let place = result?;
                let all = graph.node(id).outputs[0].shape.rank();
                inputs.iter().enumerate().all(|(number, &value)| match axis(number) {
                    Some(axis) => axis + all - rank(number) == place,
                    None => {
                        let shape = &graph.ty(value).shape;
                        (place + shape.rank()).checked_sub(all).is_none_or(|own| shape[own] == 1)
                    }
                })
            }
            Op::Reduce { axes, keep_dims, .. } => {
                let own = axis(0)?;
                let gone = if *keep_dims { 0 } else { axes.iter().filter(|&&axis| axis < own).count() };
                !axes.contains(&own) && result == Some(own - gone)
            }
            Op::Softmax { axis: along }
            | Op::ArgReduce { axis: along, .. }
            | Op::Rank { axis: along, .. }
            | Op::Cumulate { axis: along, .. }
            | Op::ChannelShuffle { axis: along, .. } => axis(0)? != *along && result == axis(0),
            Op::Transpose { perm } => perm.get(result?) == axis(0).as_ref(),
            Op::Concat { axis: along } => {
                let place = result?;
                place != *along && (0..inputs.len()).all(|number| axis(number) == Some(place))
            }
            Op::Slice { axes } => {
                let own = axis(0)?;
                let whole = axes[own].start == 0 && axes[own].step == 1;
                whole && axes[own].count == graph.ty(inputs[0]).shape[own] && result == axis(0)
            }
            Op::Pad { amounts, .. } => amounts[axis(0)?] == (0, 0) && result == axis(0),
            Op::Gather { axis: along } => match (axis(0), axis(1)) {
                (Some(own), None) => {
                    own != *along && {
                        let more = if own > *along { rank(1).checked_sub(1)? } else { 0 };
                        result == Some(own + more)
                    }
                }
                (None, Some(own)) => result == Some(along + own),
                _ => false,
            },
            Op::MatMul { transpose_a, .. } => {
                let (place, all) = (result?, graph.node(id).outputs[0].shape.rank());
                let rows = all - 2;
                if place < rows {
                    // Whole matrices, each with its own or with one for all.
                    (0..2).all(|number| match axis(number) {
                        Some(axis) => axis + all - rank(number) == place,
                        None => {
                            let shape = &graph.ty(inputs[number]).shape;
                            (place + shape.rank()).checked_sub(all).is_none_or(|own| shape[own] == 1)
                        }
                    })
                } else {
                    // Rows of the left matrix.
                    let own = if *transpose_a { rank(0) - 1 } else { rank(0) - 2 };
                    place == rows && axis(0) == Some(own) && axis(1).is_none()
                }
            }
            _ => false,
        })
    }
}

/// The dimension that is `factor` times as long, if one is and all others are the same; the outer `None` for anything else.
#[allow(clippy::option_option)]
fn multiplied(one: &Shape, several: &Shape, factor: usize) -> Option<Option<usize>> {
    if one.rank() != several.rank() {
        return None;
    }
    let mut differing = one.dims().iter().zip(several.dims()).enumerate().filter(|(_, (a, b))| a != b);
    match (differing.next(), differing.next()) {
        (None, _) => Some(None),
        (Some((axis, (&a, &b))), None) if a.checked_mul(factor) == Some(b) => Some(Some(axis)),
        _ => None,
    }
}

/// Whether a constant is another one, over and over along an axis.
fn is_repeated(one: &Tensor, several: &Tensor, axis: Option<usize>, factor: usize) -> bool {
    let (bytes, all) = (one.data().to_le_bytes(), several.data().to_le_bytes());
    let Some(axis) = axis else { return bytes == all };
    let outer: usize = one.shape().dims()[..axis].iter().product();
    let run = bytes.len() / outer.max(1);
    if run == 0 {
        return all.is_empty();
    }
    all.chunks_exact(run * factor)
        .zip(bytes.chunks_exact(run))
        .all(|(all, one)| all.chunks_exact(run).all(|part| part == one))
}
