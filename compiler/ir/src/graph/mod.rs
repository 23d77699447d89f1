//! The graph: a network as operators and the tensors between them.
//!
//! A [`Graph`] is a petgraph `StableDiGraph`, so that node identities survive the passes. An edge leads from the node
//! that produces a tensor to a node that consumes it and carries which output and which input it joins. Result types
//! are kept on the nodes and are always those that [`crate::infer`] gives: every way to change a graph infers again.
//!
//! Invariants (checked by [`Graph::verify`]): no cycles; each node's inputs are numbered without gaps; types are as
//! inferred; every graph output exists.

mod splice;
mod text;
mod verify;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use thiserror::Error;

use crate::infer::{self, InferError};
use crate::op::{EpilogueStep, Op};
use crate::tensor::{Tensor, TensorType};

/// Identity of a node, stable until the node is removed.
pub type NodeId = NodeIndex<u32>;

/// One output of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The node.
    pub node: NodeId,
    /// Which of its outputs.
    pub port: usize,
}

impl From<NodeId> for Value {
    /// The first output.
    fn from(node: NodeId) -> Self {
        Value { node, port: 0 }
    }
}

/// An operator in the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Name from the model, for messages; for an input of the network, the input's name.
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Elementwise steps applied to the (only) result, in order.
    pub epilogue: Vec<EpilogueStep>,
    /// Types of the outputs, after the epilogue.
    pub outputs: Vec<TensorType>,
}

impl Node {
    /// Number of the node's inputs that epilogue steps use; they follow the operator's own.
    pub fn epilogue_operands(&self) -> usize {
        self.epilogue.iter().filter(|step| matches!(step, EpilogueStep::Binary { .. })).count()
    }
}

/// A named result of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Name from the model.
    pub name: String,
    /// What it is.
    pub value: Value,
}

/// Which output and which input an edge joins.
#[derive(Clone, Copy, Debug)]
struct Edge {
    port: usize,
    input: usize,
}

/// Why a graph is not valid or could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GraphError {
    /// The operator can't be applied to these inputs.
    #[error("node '{name}' ({op}): {source}")]
    Infer {
        /// Name of the node.
        name: String,
        /// Name of its operator.
        op: &'static str,
        /// What is wrong.
        source: InferError,
    },
    /// The graph has a cycle.
    #[error("the graph has a cycle through node '{0}'")]
    Cycle(String),
    /// A node or output that does not exist was referred to.
    #[error("{0} refers to a tensor that does not exist")]
    Dangling(String),
    /// The result of a node that is to be removed is still used.
    #[error("node '{0}' can't be removed: its result is used")]
    Used(String),
    /// An invariant does not hold; the text says which.
    #[error("node '{name}': {problem}")]
    Broken {
        /// Name of the node.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// A network.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    name: String,
    nodes: StableDiGraph<Node, Edge>,
    /// Nodes of `Op::Input`, in the order of the model's signature.
    inputs: Vec<NodeId>,
    outputs: Vec<Output>,
}

impl Graph {
    /// An empty graph. The name becomes the default name of what is compiled from it.
    pub fn new(name: impl Into<String>) -> Self {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a node and infers its result type.
    pub fn add(&mut self, name: impl Into<String>, op: Op, inputs: &[Value]) -> Result<Value, GraphError> {
        let name = name.into();
        let types =
            inputs.iter().map(|&v| self.checked_type(v, &name).cloned()).collect::<Result<Vec<_>, _>>()?;
        let outputs = infer::infer(&op, &types).map_err(|source| GraphError::Infer {
            name: name.clone(),
            op: op.name(),
            source,
        })?;
        let is_input = matches!(op, Op::Input(_));
        let id = self.nodes.add_node(Node { name, op, epilogue: Vec::new(), outputs });
        for (input, value) in inputs.iter().enumerate() {
            self.nodes.add_edge(value.node, id, Edge { port: value.port, input });
        }
        if is_input {
            self.inputs.push(id);
        }
        Ok(id.into())
    }

    /// Adds a constant; can't fail, because a tensor carries its type.
    pub fn constant(&mut self, name: impl Into<String>, tensor: Tensor) -> Value {
        let outputs = vec![tensor.ty()];
        let node = Node { name: name.into(), op: Op::Constant(tensor), epilogue: Vec::new(), outputs };
        self.nodes.add_node(node).into()
    }

    /// Makes a value a result of the network, after those that are there.
    pub fn add_output(&mut self, name: impl Into<String>, value: Value) {
        self.outputs.push(Output { name: name.into(), value });
    }

    /// Makes another value of the same type the network's result of this number.
    pub fn set_output(&mut self, index: usize, value: Value) -> Result<(), GraphError> {
        let Some(output) = self.outputs.get(index) else {
            return Err(GraphError::Dangling(format!("result {index}")));
        };
        let (old, new) =
            (self.checked_type(output.value, &output.name)?, self.checked_type(value, &output.name)?);
        if old != new {
            let problem = format!("result '{}' is {old} and can't become {new}", output.name);
            return Err(GraphError::Broken { name: self.nodes[value.node].name.clone(), problem });
        }
        self.outputs[index].value = value;
        Ok(())
    }

    /// The network's results, in order.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The network's inputs, in order.
    pub fn input_nodes(&self) -> &[NodeId] {
        &self.inputs
    }

    /// The node of this identity.
    ///
    /// # Panics
    /// When the node was removed: identities are not to be kept beyond that.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The node of this identity, if it exists.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.node_weight(id)
    }

    /// The node's name; free to change.
    pub fn set_name(&mut self, id: NodeId, name: impl Into<String>) {
        self.nodes[id].name = name.into();
    }

    /// All nodes by ascending identity.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.node_indices()
    }

    /// Type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.nodes[value.node].outputs[value.port]
    }

    /// The inputs of a node, in order: the operator's own, then those of epilogue steps.
    pub fn inputs(&self, id: NodeId) -> Vec<Value> {
        let mut edges: Vec<(usize, Value)> = self
            .nodes
            .edges_directed(id, Direction::Incoming)
            .map(|e| (e.weight().input, Value { node: e.source(), port: e.weight().port }))
            .collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, value)| value).collect()
    }

    /// Where a value is used: node and number of the input, sorted. Results of the network don't count.
    pub fn users(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut users: Vec<(NodeId, usize)> = self
            .nodes
            .edges_directed(value.node, Direction::Outgoing)
            .filter(|e| e.weight().port == value.port)
            .map(|e| (e.target(), e.weight().input))
            .collect();
        users.sort_unstable();
        users
    }

    /// Whether the value is a result of the network.
    pub fn is_output(&self, value: Value) -> bool {
        self.outputs.iter().any(|output| output.value == value)
    }

    /// The only use of a value, if it has exactly one and is not a result of the network.
    pub fn only_user(&self, value: Value) -> Option<(NodeId, usize)> {
        match self.users(value)[..] {
            [user] if !self.is_output(value) => Some(user),
            _ => None,
        }
    }

    /// The constant that a value is, if it is one.
    pub fn as_constant(&self, value: Value) -> Option<&Tensor> {
        self.node(value.node).op.as_constant()
    }

    /// Replaces a node's operator and inputs and drops its epilogue; its result type must stay the same.
    pub fn replace(&mut self, id: NodeId, op: Op, inputs: &[Value]) -> Result<(), GraphError> {
        let name = self.nodes[id].name.clone();
        let types =
            inputs.iter().map(|&v| self.checked_type(v, &name).cloned()).collect::<Result<Vec<_>, _>>()?;
        let outputs = infer::infer(&op, &types).map_err(|source| GraphError::Infer {
            name: name.clone(),
            op: op.name(),
            source,
        })?;
        if outputs != self.nodes[id].outputs {
            let problem = format!("replacing it by {} would change its type to {}", op.name(), outputs[0]);
            return Err(GraphError::Broken { name, problem });
        }
        self.set_edges(id, inputs);
        let node = &mut self.nodes[id];
        node.op = op;
        node.epilogue.clear();
        Ok(())
    }

    /// Redirects one input of a node to another value of the same type.
    pub fn set_input(&mut self, id: NodeId, input: usize, value: Value) -> Result<(), GraphError> {
        let mut inputs = self.inputs(id);
        let name = &self.nodes[id].name;
        let Some(slot) = inputs.get_mut(input) else {
            return Err(GraphError::Broken {
                name: name.clone(),
                problem: format!("it has no input {input}"),
            });
        };
        let (old, new) = (self.checked_type(*slot, name)?, self.checked_type(value, name)?);
        if old != new {
            let problem = format!("input {input} is {old} and can't become {new}");
            return Err(GraphError::Broken { name: name.clone(), problem });
        }
        *slot = value;
        self.set_edges(id, &inputs);
        Ok(())
    }

    /// Lets all users of `from`, and the network's results, use `to` instead. Both have the same type.
    pub fn replace_uses(&mut self, from: Value, to: Value) -> Result<(), GraphError> {
        for (user, input) in self.users(from) {
            if user != to.node {
                self.set_input(user, input, to)?;
            }
        }
        for output in &mut self.outputs {
            if output.value == from {
                output.value = to;
            }
        }
        Ok(())
    }

    /// Appends a step to a node's epilogue: `Unary`, or `Binary` with the value of its operand.
    ///
    /// The `operand` index of a binary step is set here, to the new last input.
    pub fn push_epilogue(
        &mut self,
        id: NodeId,
        step: EpilogueStep,
        operand: Option<Value>,
    ) -> Result<(), GraphError> {
        let mut inputs = self.inputs(id);
        let step = match (step, operand) {
            (EpilogueStep::Binary { op, swapped, .. }, Some(value)) => {
                let (name, result) = (&self.nodes[id].name, &self.nodes[id].outputs[0]);
                let ty = self.checked_type(value, name)?;
                if ty.dtype != result.dtype || !infer::broadcasts_to(&ty.shape, &result.shape) {
                    let problem = format!("epilogue operand {ty} does not broadcast to {result}");
                    return Err(GraphError::Broken { name: name.clone(), problem });
                }
                inputs.push(value);
                EpilogueStep::Binary { op, operand: inputs.len() - 1, swapped }
            }
            (step @ EpilogueStep::Unary(_), None) => step,
            (step, _) => {
                let problem = format!("epilogue step {step:?} and its operand do not match");
                return Err(GraphError::Broken { name: self.nodes[id].name.clone(), problem });
            }
        };
        self.set_edges(id, &inputs);
        self.nodes[id].epilogue.push(step);
        Ok(())
    }

    /// Puts an input of another type in the place, and under the name, of the network's input of this number. Gives the new
    /// input and the old: whoever calls this lets what is computed from the new one take the place of the old, and removes
    /// that.
    pub fn exchange_input(&mut self, number: usize, ty: TensorType) -> Result<[Value; 2], GraphError> {
        let Some(&old) = self.inputs.get(number) else {
            return Err(GraphError::Dangling(format!("input {number}")));
        };
        let new = self.add(self.nodes[old].name.clone(), Op::Input(ty), &[])?;
        self.inputs.swap_remove(number);
        Ok([new, old.into()])
    }

    /// Removes a node whose results are not used.
    pub fn remove(&mut self, id: NodeId) -> Result<(), GraphError> {
        let used = self.nodes.edges_directed(id, Direction::Outgoing).next().is_some()
            || self.outputs.iter().any(|output| output.value.node == id);
        if used || self.inputs.contains(&id) {
            return Err(GraphError::Used(self.nodes[id].name.clone()));
        }
        self.nodes.remove_node(id);
        Ok(())
    }

    /// Removes an input that nothing uses from the signature.
    pub fn remove_input(&mut self, id: NodeId) -> Result<(), GraphError> {
        let place = self.inputs.iter().position(|&input| input == id);
        let place = place.ok_or_else(|| GraphError::Dangling("an input that is to be removed".into()))?;
        self.inputs.remove(place);
        self.remove(id).inspect_err(|_| self.inputs.insert(place, id))
    }

    /// Nodes in an order in which each follows its inputs; among those that are free to go, the oldest first, so that
    /// the order depends on nothing but the graph.
    pub fn topological(&self) -> Result<Vec<NodeId>, GraphError> {
        let mut waiting: HashMap<NodeId, usize> = HashMap::with_capacity(self.len());
        let mut ready = BinaryHeap::new();
        for id in self.nodes.node_indices() {
            let count = self.nodes.edges_directed(id, Direction::Incoming).count();
            waiting.insert(id, count);
            if count == 0 {
                ready.push(Reverse(id));
            }
        }
        let mut order = Vec::with_capacity(self.len());
        while let Some(Reverse(id)) = ready.pop() {
            waiting.remove(&id);
            order.push(id);
            for edge in self.nodes.edges_directed(id, Direction::Outgoing) {
                if let Some(count) = waiting.get_mut(&edge.target()) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(Reverse(edge.target()));
                    }
                }
            }
        }
        match waiting.keys().min() {
            Some(&id) => Err(GraphError::Cycle(self.nodes[id].name.clone())),
            None => Ok(order),
        }
    }

    fn checked_type(&self, value: Value, user: &str) -> Result<&TensorType, GraphError> {
        let node = self.nodes.node_weight(value.node);
        node.and_then(|n| n.outputs.get(value.port))
            .ok_or_else(|| GraphError::Dangling(format!("node '{user}'")))
    }

    fn set_edges(&mut self, id: NodeId, inputs: &[Value]) {
        let old: Vec<_> = self.nodes.edges_directed(id, Direction::Incoming).map(|e| e.id()).collect();
        for edge in old {
            self.nodes.remove_edge(edge);
        }
        for (input, value) in inputs.iter().enumerate() {
            self.nodes.add_edge(value.node, id, Edge { port: value.port, input });
        }
    }
}

#[cfg(test)]
mod tests;
