//! The graph's verifier: everything the rest of the compiler takes for granted, checked from nothing.

use petgraph::Direction;

use super::{Graph, GraphError, NodeId};
use crate::infer;
use crate::op::{EpilogueStep, Op, Region};

impl Graph {
    /// Checks every invariant of the graph; run after every pass in tests.
    pub fn verify(&self) -> Result<(), GraphError> {
        for id in self.topological()? {
            self.verify_node(id)?;
        }
        for output in &self.outputs {
            self.checked_type(output.value, &output.name)?;
        }
        for &id in &self.inputs {
            if !matches!(self.get(id).map(|n| &n.op), Some(Op::Input(_))) {
                return Err(GraphError::Dangling("the list of inputs".into()));
            }
        }
        Ok(())
    }

    fn verify_node(&self, id: NodeId) -> Result<(), GraphError> {
        let node = self.node(id);
        let broken = |problem: String| GraphError::Broken { name: node.name.clone(), problem };
        let mut numbers: Vec<usize> =
            self.nodes.edges_directed(id, Direction::Incoming).map(|e| e.weight().input).collect();
        numbers.sort_unstable();
        if !numbers.iter().copied().eq(0..numbers.len()) {
            return Err(broken(format!("its inputs are numbered {numbers:?}")));
        }
        let inputs = self.inputs(id);
        let mut types = Vec::with_capacity(inputs.len());
        for &value in &inputs {
            types.push(self.checked_type(value, &node.name)?.clone());
        }
        let own = inputs.len().checked_sub(node.epilogue_operands());
        let own = own.ok_or_else(|| broken("its epilogue has more operands than it has inputs".into()))?;
        let inferred = infer::infer(&node.op, &types[..own]).map_err(|source| GraphError::Infer {
            name: node.name.clone(),
            op: node.op.name(),
            source,
        })?;
        for region in node.op.regions() {
            if region.depth(Region::MAX_DEPTH) > Region::MAX_DEPTH {
                return Err(broken(format!("regions are nested deeper than {}", Region::MAX_DEPTH)));
            }
            region.graph().verify()?;
        }
        if !node.epilogue.is_empty() && node.outputs.len() != 1 {
            return Err(broken("it has an epilogue but not one result".into()));
        }
        if inferred != node.outputs {
            return Err(broken(format!("its type is {:?}, but {inferred:?} is inferred", node.outputs)));
        }
        let mut next = own;
        for step in &node.epilogue {
            let EpilogueStep::Binary { operand, .. } = *step else { continue };
            if operand != next {
                return Err(broken(format!("an epilogue step uses input {operand}, not {next}")));
            }
            next += 1;
            let (ty, result) = (&types[operand], &node.outputs[0]);
            if ty.dtype != result.dtype || !infer::broadcasts_to(&ty.shape, &result.shape) {
                return Err(broken(format!("epilogue operand {ty} does not broadcast to {result}")));
            }
        }
        if matches!(node.op, Op::Input(_)) && !self.inputs.contains(&id) {
            return Err(broken("it is an input that the graph does not list".into()));
        }
        Ok(())
    }
}
