//! Bodies of If, Loop and Scan: graphs within a node, imported as graphs of their own.
//!
//! ONNX lets a body use any name of the graphs around it. Such names are found before anything is imported; what they stand
//! for becomes an input of the body and an operand of the node, or a constant of the body where it is one.

use std::collections::{HashMap, HashSet};

use avocet_ir::op::Op;
use avocet_ir::tensor::TensorType;
use avocet_ir::{Graph, Value};

use super::attributes::{Problem, invalid, unsupported};
use super::import::{Importer, Named, Node};
use super::order::order;
use super::proto::{GraphProto, NodeProto};

/// Names that a graph uses and does not define, in the order of their first use. The decoder bounds how deep graphs nest.
pub(super) fn free_names(graph: &GraphProto) -> Vec<&str> {
    let mut defined: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    defined.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    defined.extend(graph.node.iter().flat_map(|node| &node.output).map(String::as_str));
    let mut seen = HashSet::new();
    let mut free = Vec::new();
    let results = graph.output.iter().map(|output| output.name.as_str());
    for name in graph.node.iter().flat_map(|node| used_names(node)).chain(results) {
        if !name.is_empty() && !defined.contains(name) && seen.insert(name) {
            free.push(name);
        }
    }
    free
}

/// Names that a node uses: its inputs, and those that its bodies leave free.
pub(super) fn used_names(node: &NodeProto) -> Vec<&str> {
    let own = node.input.iter().map(String::as_str);
    own.chain(node.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)).flat_map(free_names)).collect()
}

/// What a body's inputs are.
pub(super) enum Given {
    /// A tensor that is handed over.
    Tensor(TensorType),
    /// A constant of the graph around it.
    Constant(Value),
}

impl<'a> Importer<'a> {
    /// What the bodies of a node use of the graph around it, each value once, without constants.
    pub(super) fn captured(&self, bodies: &[&'a GraphProto]) -> Result<Vec<(&'a str, Value)>, Problem> {
        let mut captured: Vec<(&str, Value)> = Vec::new();
        for name in bodies.iter().flat_map(|body| free_names(body)) {
            if captured.iter().any(|(known, _)| *known == name) {
                continue;
            }
            match self.name(name) {
                Some(Named::Known(value)) if self.graph.as_constant(value).is_some() => {}
                Some(Named::Known(value)) => captured.push((name, value)),
                Some(_) => {
                    return unsupported(format!("'{}', which it uses, is not there", name.escape_debug()));
                }
                None => return invalid(format!("it uses '{}', which nothing defines", name.escape_debug())),
            }
        }
        Ok(captured)
    }

    /// Imports a body. Its inputs are of these kinds; the captured values become inputs after them.
    pub(super) fn body(
        &mut self,
        node: &Node<'a>,
        proto: &'a GraphProto,
        given: &[Given],
        captured: &[(&'a str, Value)],
    ) -> Result<Graph, Problem> {
        if proto.input.len() != given.len() {
            let (got, expected) = (proto.input.len(), given.len());
            return invalid(format!("its body has {got} inputs instead of {expected}"));
        }
        let mut graph = Graph::new(format!("{}.{}", node.name, proto.name));
        let mut names: HashMap<&'a str, Named> = HashMap::new();
        let add = |graph: &mut Graph, name: &'a str, ty: TensorType| {
            graph.add(name, Op::Input(ty), &[]).map_err(|e| Problem::Invalid(e.to_string()))
        };
        for (input, given) in proto.input.iter().zip(given) {
            let value = match given {
                Given::Tensor(ty) => add(&mut graph, &input.name, ty.clone())?,
                Given::Constant(value) => {
                    let tensor = self.tensor(*value, "an input of its body")?.clone();
                    graph.constant(input.name.clone(), tensor)
                }
            };
            if names.insert(&input.name, Named::Known(value)).is_some() {
                return invalid(format!("'{}' is defined twice in its body", input.name.escape_debug()));
            }
        }
        for &(name, value) in captured {
            let value = add(&mut graph, name, self.ty(value))?;
            names.insert(name, Named::Known(value));
        }
        for name in free_names(proto) {
            if let Some(Named::Known(value)) = self.name(name)
                && let Some(tensor) = self.graph.as_constant(value)
            {
                names.insert(name, Named::Known(graph.constant(name, tensor.clone())));
            }
        }
        let told = self.unsupported.len();
        let outer = (std::mem::replace(&mut self.graph, graph), std::mem::replace(&mut self.names, names));
        let imported = self.nodes(proto);
        let graph = std::mem::replace(&mut self.graph, outer.0);
        self.names = outer.1;
        imported.map_err(|e| Problem::Invalid(format!("in its body: {e}")))?;
        if self.unsupported.len() > told {
            return unsupported("its body holds what is not supported");
        }
        Ok(graph)
    }

    /// Weights, nodes and results of a graph whose inputs are there.
    fn nodes(&mut self, proto: &'a GraphProto) -> Result<(), super::OnnxError> {
        self.weights(proto)?;
        for number in order(proto)? {
            self.node(&proto.node[number], number)?;
        }
        self.outputs(proto)
    }

    /// Builds a graph as the body of a node, in place of the importer's own.
    pub(super) fn build(
        &mut self,
        name: String,
        build: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<Graph, Problem> {
        let outer = std::mem::replace(&mut self.graph, Graph::new(name));
        let built = build(self);
        let graph = std::mem::replace(&mut self.graph, outer);
        built.map(|()| graph)
    }

    /// Adds a node that holds graphs; gives all of its results.
    pub(super) fn add_holder(
        &mut self,
        node: &Node,
        op: Op,
        inputs: &[Value],
    ) -> Result<Vec<Value>, Problem> {
        let value = self.graph.add(node.name.clone(), op, inputs).map_err(|e| match e {
            avocet_ir::GraphError::Infer { source, .. } => source.into(),
            e => Problem::Invalid(e.to_string()),
        })?;
        let count = self.graph.node(value.node).outputs.len();
        Ok((0..count).map(|port| Value { port, ..value }).collect())
    }

    /// Puts a graph in a node's place.
    pub(super) fn splice(
        &mut self,
        node: &Node,
        graph: &Graph,
        inputs: &[Value],
    ) -> Result<Vec<Value>, Problem> {
        let prefix = format!("{}/", node.name);
        self.graph.splice(graph, inputs, &prefix).map_err(|e| Problem::Invalid(e.to_string()))
    }
}
