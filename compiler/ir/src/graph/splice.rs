//! Copies of graphs in graphs.

use std::collections::HashMap;

use super::{Graph, GraphError, Node, Value};
use crate::op::{EpilogueStep, Op};

impl Graph {
    /// Copies all nodes of another graph but its inputs, whose places these values take; the result is what its results are
    /// here. Names get the prefix.
    pub fn splice(
        &mut self,
        other: &Graph,
        inputs: &[Value],
        prefix: &str,
    ) -> Result<Vec<Value>, GraphError> {
        let expected = other.input_nodes().len();
        if expected != inputs.len() {
            let problem = format!("it has {expected} inputs, but {} values take their places", inputs.len());
            return Err(GraphError::Broken { name: other.name().into(), problem });
        }
        let mut copies: HashMap<Value, Value> = HashMap::new();
        for (&id, &value) in other.input_nodes().iter().zip(inputs) {
            let (node, given) = (other.node(id), self.checked_type(value, other.name())?);
            if node.outputs[0] != *given {
                let problem = format!("it is {}, but {given} takes its place", node.outputs[0]);
                return Err(GraphError::Broken { name: node.name.clone(), problem });
            }
            copies.insert(id.into(), value);
        }
        for id in other.topological()? {
            let Node { name, op, epilogue, outputs } = other.node(id);
            if matches!(op, Op::Input(_)) {
                continue;
            }
            let operands: Option<Vec<Value>> =
                other.inputs(id).iter().map(|value| copies.get(value).copied()).collect();
            let operands = operands.ok_or_else(|| GraphError::Dangling(format!("node '{name}'")))?;
            let own = operands.len().saturating_sub(other.node(id).epilogue_operands());
            let copy = self.add(format!("{prefix}{name}"), op.clone(), &operands[..own])?;
            for step in epilogue {
                let operand = match step {
                    EpilogueStep::Binary { operand, .. } => operands.get(*operand).copied(),
                    EpilogueStep::Unary(_) => None,
                };
                self.push_epilogue(copy.node, step.clone(), operand)?;
            }
            for port in 0..outputs.len() {
                copies.insert(Value { node: id, port }, Value { node: copy.node, port });
            }
        }
        let result = |output: &super::Output| {
            copies.get(&output.value).copied().ok_or_else(|| GraphError::Dangling(output.name.clone()))
        };
        other.outputs().iter().map(result).collect()
    }
}
