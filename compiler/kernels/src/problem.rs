//! What a generator is to compute: one node with everything it may know about it.

use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::schedule::{Schedule, Schedules};
use avocet_ir::{Graph, NodeId, Shape, Tensor, TensorType, Value};

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
    /// Elements between rows of the result: its last dimension, or more where it is columns of a wider tensor.
    pub pitch: usize,
    /// The same of each input.
    pub pitches: Vec<usize>,
    /// Elements from one channel of the first input to the next, where that is an image whose channels come first in memory.
    /// Its pitch is 1 then.
    pub plane: Option<usize>,
    /// Elements from one index of each dimension to the next, of the inputs where these are neither as the shape nor as the
    /// pitch says.
    pub strides: Vec<Option<Vec<usize>>>,
    /// The same of the result.
    pub own_strides: Option<Vec<usize>>,
    /// How it is to be computed.
    pub schedule: Schedule,
}

impl<'a> Problem<'a> {
    /// The problem that a node poses.
    pub(crate) fn new(graph: &'a Graph, id: NodeId, schedule: Schedule, schedules: &Schedules) -> Self {
        let node = graph.node(id);
        let inputs = graph.inputs(id);
        // Only first results lie in others; further ones, those of branches and loops, are dense.
        let pitch = |value: Value| match value.port {
            0 => schedules.pitch(graph, value.node),
            _ => width(&graph.ty(value).shape),
        };
        let first = |value: &Value| value.port == 0;
        Problem {
            name: &node.name,
            op: &node.op,
            epilogue: &node.epilogue,
            constants: inputs.iter().map(|&value| graph.as_constant(value)).collect(),
            inputs: inputs.iter().map(|&value| graph.ty(value).clone()).collect(),
            output: &node.outputs[0],
            pitch: pitch(id.into()),
            pitches: inputs.iter().map(|&value| pitch(value)).collect(),
            strides: inputs
                .iter()
                .map(|value| schedules.strides.get(&value.node).filter(|_| first(value)).cloned())
                .collect(),
            own_strides: schedules.strides.get(&id).cloned(),
            plane: inputs
                .first()
                .filter(|value| first(value))
                .and_then(|value| schedules.plane(graph, value.node)),
            schedule,
        }
    }

    /// Elements from the first to the last of the result.
    pub(crate) fn result_length(&self) -> usize {
        length(&self.output.shape, self.pitch)
    }

    /// Elements from the first to the last of an input.
    pub(crate) fn input_length(&self, number: usize) -> usize {
        if let (0, Some(plane), [batch, height, width, channels]) =
            (number, self.plane, self.inputs[0].dims())
        {
            return (batch * channels).saturating_sub(1) * plane + height * width;
        }
        length(&self.inputs[number].shape, self.pitches[number])
    }

    /// Strides of an input over a view, made wider by its pitch: all but the last, which is that within a row.
    pub(crate) fn input_strides(&self, number: usize, strides: Vec<usize>) -> Vec<usize> {
        widened(&self.inputs[number].shape, self.pitches[number], strides)
    }

    /// The same of the result.
    pub(crate) fn result_strides(&self, strides: Vec<usize>) -> Vec<usize> {
        widened(&self.output.shape, self.pitch, strides)
    }

    /// Whether all tensors are whole, none columns of another.
    pub(crate) fn is_dense(&self) -> bool {
        let inputs = self.inputs.iter().map(|ty| &ty.shape).zip(&self.pitches);
        inputs.chain([(&self.output.shape, &self.pitch)]).all(|(shape, &pitch)| pitch == width(shape))
    }

    /// Whether an input lies in memory as the result does.
    pub(crate) fn is_like_result(&self, number: usize) -> bool {
        self.inputs[number].shape == self.output.shape && self.pitches[number] == self.pitch
    }
}

/// Elements of a row.
pub(crate) fn width(shape: &Shape) -> usize {
    shape.dims().last().copied().unwrap_or(1)
}

fn length(shape: &Shape, pitch: usize) -> usize {
    let width = width(shape);
    match shape.elements().checked_div(width) {
        Some(rows) if rows > 0 && pitch != width => (rows - 1) * pitch + width,
        _ => shape.elements(),
    }
}

fn widened(shape: &Shape, pitch: usize, mut strides: Vec<usize>) -> Vec<usize> {
    let width = width(shape);
    if let ([outer @ .., _], true) = (&mut strides[..], pitch != width && width > 0) {
        outer.iter_mut().for_each(|stride| *stride = *stride / width * pitch);
    }
    strides
}

/// Elements of memory from one index of a dimension to the next, `axis` being the first of the dimensions within; the last
/// dimension is not cut.
pub(crate) fn elements_from(ty: &TensorType, axis: usize, pitch: usize) -> usize {
    match ty.dims()[axis..].split_last() {
        Some((_, rows)) => rows.iter().product::<usize>() * pitch,
        None => 1,
    }
}
