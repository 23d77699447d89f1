//! What a generator is to compute: one node with everything it may know about it.

use avocet_ir::op::{EpilogueStep, Op};
use avocet_ir::schedule::Schedule;
use avocet_ir::{Graph, NodeId, Tensor, TensorType};

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
            schedule,
        }
    }
}
