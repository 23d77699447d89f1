//! What a generator is to compute: one node with everything it may know about it.

use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::schedule::Schedule;
use avocet_ir::{Graph, NodeId, Shape, Tensor, TensorType};

/// One node, as its generator sees it. What is computed is kept apart from how: the latter is `schedule`.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// The node's name, for messages and kernel names.
    pub name: &'a str,
    /// The operator.
    pub op: &'a Op,
    /// Elementwise steps on the result.
    pub epilogue: &'a [EpilogueStep],
    /// Types of the node's inputs: the operator's own, then those of the epilogue.
    pub inputs: Vec<TensorType>,
    /// The inputs that are constants.
    pub constants: Vec<Option<&'a Tensor>>,
    /// Type of the result.
    pub output: &'a TensorType,
    /// Elements between rows of the result: its last dimension, or more where it is columns of a wider matrix. Then
    /// operands of the epilogue that have rows have this pitch, too. For a reduction it is that of the image, since the
    /// result has no rows, for depthwise convolution of both. Only matrix products, reductions and depthwise convolutions
    /// are asked for columns.
    pub pitch: usize,
    /// How it is to be computed.
    pub schedule: Schedule,
}

impl<'a> Problem<'a> {
    /// The problem that a node poses.
    pub(crate) fn new(graph: &'a Graph, id: NodeId, schedule: Schedule) -> Self {
        let node = graph.node(id);
        let inputs = graph.inputs(id);
        Problem {
            name: &node.name,
            op: &node.op,
            epilogue: &node.epilogue,
            constants: inputs.iter().map(|&value| graph.as_constant(value)).collect(),
            inputs: inputs.iter().map(|&value| graph.ty(value).clone()).collect(),
            output: &node.outputs[0],
            pitch: node.outputs[0].dims().last().copied().unwrap_or(1),
            schedule,
        }
    }

    /// Elements from the first to the last of a tensor with the result's pitch: of the result itself, or of an operand
    /// that has its rows.
    pub(crate) fn pitched(&self, shape: &Shape) -> usize {
        match self.output.dims().last() {
            Some(&width) if self.has_rows(shape) => (shape.elements() / width - 1) * self.pitch + width,
            _ => shape.elements(),
        }
    }

    /// These strides of a tensor, made wider by the pitch where it has rows; the last is that within a row.
    pub(crate) fn pitched_strides(&self, shape: &Shape, mut strides: Vec<usize>) -> Vec<usize> {
        if let (true, [outer @ .., _], Some(width)) =
            (self.has_rows(shape), &mut strides[..], self.output.dims().last())
        {
            outer.iter_mut().for_each(|stride| *stride = *stride / width * self.pitch);
        }
        strides
    }

    /// Whether a tensor of this shape has rows as the result has, and so its pitch.
    pub(crate) fn has_rows(&self, shape: &Shape) -> bool {
        let last = shape.dims().last();
        shape.elements() > 0 && last == self.output.dims().last() && last != Some(&self.pitch)
    }
}
