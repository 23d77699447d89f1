//! A whole network, node by node in topological order.

use std::collections::HashMap;

use avocet_ir::graph::{GraphError, Node, Value};
use avocet_ir::op::EpilogueStep;
use avocet_ir::{Graph, Op, Tensor, TensorType};
use thiserror::Error;

use super::{EvaluateError, control, evaluate};

/// Why a network could not be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// The graph itself is broken.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A number of inputs that the network does not have.
    #[error("the network has {expected} inputs, but {got} tensors were given")]
    InputCount {
        /// Number of inputs that the network has.
        expected: usize,
        /// Number of tensors given.
        got: usize,
    },
    /// A tensor that is not of its input's type.
    #[error("input '{name}' is {expected}, but a tensor {got} was given")]
    InputType {
        /// Name of the input.
        name: String,
        /// Its type.
        expected: TensorType,
        /// Type of the tensor given.
        got: TensorType,
    },
    /// A node can't be evaluated.
    #[error("node '{name}' ({op}): {source}")]
    Node {
        /// Name of the node.
        name: String,
        /// Name of its operator.
        op: &'static str,
        /// What is wrong.
        source: EvaluateError,
    },
    /// A node's result is not what the graph says, or refers to tensors that don't exist.
    #[error("node '{name}': {problem}")]
    Broken {
        /// Name of the node.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// The network's results, in the order of [`Graph::outputs`], on inputs in the order of [`Graph::input_nodes`].
///
/// Each tensor is dropped after its last use, so memory stays close to what the network needs at its widest point.
pub fn run(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunError> {
    let mut values: HashMap<Value, Tensor> = given(graph, inputs)?;
    let order = graph.topological()?;
    // How often each value is still to be read; results of the network are kept.
    let mut uses: HashMap<Value, usize> = HashMap::new();
    for value in order.iter().flat_map(|&id| graph.inputs(id)) {
        *uses.entry(value).or_default() += 1;
    }
    for id in order {
        let node = graph.node(id);
        let read = graph.inputs(id);
        let operands: Option<Vec<&Tensor>> = read.iter().map(|value| values.get(value)).collect();
        let operands = operands.ok_or_else(|| GraphError::Dangling(format!("node '{}'", node.name)))?;
        let results = match (&node.op, values.get(&Value::from(id))) {
            (Op::Input(_), Some(tensor)) => vec![apply_epilogue(node, tensor.clone(), &operands)?],
            (Op::If { .. } | Op::Loop(_), _) => control::run(node, &operands)?,
            _ => vec![run_node(node, &operands)?],
        };
        check_results(node, &results)?;
        for (port, result) in results.into_iter().enumerate() {
            let value = Value { node: id, port };
            if uses.contains_key(&value) || graph.is_output(value) {
                values.insert(value, result);
            }
        }
        for value in read {
            let left = uses.get_mut(&value).map_or(0, |left| {
                *left -= 1;
                *left
            });
            if left == 0 && !graph.is_output(value) {
                values.remove(&value);
            }
        }
    }
    let result = |output: &avocet_ir::graph::Output| {
        values.get(&output.value).cloned().ok_or_else(|| GraphError::Dangling(output.name.clone()).into())
    };
    graph.outputs().iter().map(result).collect()
}

/// The given tensors as the values of the input nodes.
fn given(graph: &Graph, inputs: &[Tensor]) -> Result<HashMap<Value, Tensor>, RunError> {
    let ids = graph.input_nodes();
    if ids.len() != inputs.len() {
        return Err(RunError::InputCount { expected: ids.len(), got: inputs.len() });
    }
    for (&id, tensor) in ids.iter().zip(inputs) {
        let node = graph.node(id);
        if let Op::Input(expected) = &node.op
            && *expected != tensor.ty()
        {
            let (name, expected) = (node.name.clone(), expected.clone());
            return Err(RunError::InputType { name, expected, got: tensor.ty() });
        }
    }
    Ok(ids.iter().map(|&id| id.into()).zip(inputs.iter().cloned()).collect())
}

/// One node with its epilogue: the operator's own inputs come first among `operands`.
fn run_node(node: &Node, operands: &[&Tensor]) -> Result<Tensor, RunError> {
    let own = operands.len().checked_sub(node.epilogue_operands()).ok_or_else(|| RunError::Broken {
        name: node.name.clone(),
        problem: "its epilogue has more operands than it has inputs".into(),
    })?;
    let result =
        evaluate(&node.op, &operands[..own]).map_err(|source| failed(node, node.op.name(), source))?;
    apply_epilogue(node, result, operands)
}

/// The epilogue, each step an operator that rounds its result.
fn apply_epilogue(node: &Node, mut result: Tensor, operands: &[&Tensor]) -> Result<Tensor, RunError> {
    for step in &node.epilogue {
        result = match *step {
            EpilogueStep::Unary(unary) => evaluate(&Op::Unary(unary), &[&result])
                .map_err(|source| failed(node, unary.name(), source))?,
            EpilogueStep::Binary { op, operand, swapped } => {
                let other = *operands.get(operand).ok_or_else(|| RunError::Broken {
                    name: node.name.clone(),
                    problem: format!("an epilogue step uses input {operand}, which does not exist"),
                })?;
                let pair = if swapped { [other, &result] } else { [&result, other] };
                evaluate(&Op::Binary(op), &pair).map_err(|source| failed(node, op.name(), source))?
            }
        };
    }
    Ok(result)
}

fn failed(node: &Node, op: &'static str, source: EvaluateError) -> RunError {
    RunError::Node { name: node.name.clone(), op, source }
}

/// The results have the types that the graph promises.
fn check_results(node: &Node, results: &[Tensor]) -> Result<(), RunError> {
    if results.iter().map(Tensor::ty).eq(node.outputs.iter().cloned()) {
        return Ok(());
    }
    let got: Vec<TensorType> = results.iter().map(Tensor::ty).collect();
    let problem = format!("its results are {got:?}, but the graph says {:?}", node.outputs);
    Err(RunError::Broken { name: node.name.clone(), problem })
}
