//! The importer: nodes in topological order, each through the operator table.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use avocet_ir::op::Op;
use avocet_ir::tensor::{Shape, Tensor, TensorType};
use avocet_ir::{Evaluate, Graph, GraphError, TensorData, Value};

use super::attributes::{Attributes, Problem, describe, invalid};
use super::error::{OnnxError, Unsupported};
use super::folding::{BUDGET, Cost};
use super::order::{node_name, order};
use super::proto::{GraphProto, ModelProto, NodeProto};
use super::tensors::Reader;
use super::{Options, operators, signature};

/// Versions of the operator set that are known.
pub(super) const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;
/// What an ONNX name stands for.
#[derive(Clone, Copy)]
pub(super) enum Named {
    Known(Value),
    /// The result of something unsupported.
    Unknown,
    /// A result that is left out because inference has no use for it.
    LeftOut,
}

/// What operator functions work with.
pub(super) struct Importer<'a> {
    pub(super) graph: Graph,
    /// Version of the operator set.
    pub(super) opset: i64,
    pub(super) reader: Reader<'a>,
    pub(super) evaluate: &'a dyn Evaluate,
    /// What may still be spent on computing constants.
    pub(super) left: Cost,
    /// Rows of results whose number only the data decides, by name.
    pub(super) selections: HashMap<&'a str, usize>,
    pub(super) names: HashMap<&'a str, Named>,
    pub(super) unsupported: Vec<Unsupported>,
}

/// One node, as an operator function sees it.
pub(super) struct Node<'a> {
    /// Name for messages and the graph.
    pub(super) name: String,
    pub(super) proto: &'a NodeProto,
    pub(super) attributes: Attributes<'a>,
    /// Inputs; those left out are `None`.
    pub(super) inputs: Vec<Option<Value>>,
}

impl Node<'_> {
    /// The operator's name.
    pub(super) fn operator(&self) -> &str {
        &self.proto.op_type
    }

    /// An input that must be there.
    pub(super) fn input(&self, number: usize) -> Result<Value, Problem> {
        match self.optional(number) {
            Some(value) => Ok(value),
            None => invalid(format!("input {number} is missing")),
        }
    }

    /// An input that may be left out.
    pub(super) fn optional(&self, number: usize) -> Option<Value> {
        self.inputs.get(number).copied().flatten()
    }

    /// All inputs, none of which may be left out.
    pub(super) fn all(&self) -> Result<Vec<Value>, Problem> {
        (0..self.inputs.len()).map(|number| self.input(number)).collect()
    }
}

impl Importer<'_> {
    /// Adds an operator, or its result when all of its inputs are constants.
    pub(super) fn add(&mut self, node: &Node, op: Op, inputs: &[Value]) -> Result<Value, Problem> {
        if let Some(result) = self.folded(&op, inputs)? {
            return Ok(self.constant(node, result));
        }
        self.graph.add(node.name.clone(), op, inputs).map_err(|e| match e {
            GraphError::Infer { source, .. } => source.into(),
            e => Problem::Invalid(e.to_string()),
        })
    }

    /// Adds a constant.
    pub(super) fn constant(&mut self, node: &Node, tensor: Tensor) -> Value {
        self.graph.constant(node.name.clone(), tensor)
    }

    /// Type of a value.
    pub(super) fn ty(&self, value: Value) -> TensorType {
        self.graph.ty(value).clone()
    }

    /// The tensor of an input that must be constant.
    pub(super) fn tensor(&self, value: Value, what: &str) -> Result<&Tensor, Problem> {
        let computed = || Problem::Unsupported(format!("{what} that is not constant"));
        self.graph.as_constant(value).ok_or_else(computed)
    }

    /// The integers of an input that must be constant.
    pub(super) fn integers(&self, value: Value, what: &str) -> Result<Vec<i64>, Problem> {
        match self.tensor(value, what)?.data() {
            TensorData::I64(data) => Ok(data.to_vec()),
            TensorData::I32(data) => Ok(data.iter().map(|&v| v.into()).collect()),
            _ => invalid(format!("{what} is not of integers")),
        }
    }

    /// The numbers of an input that must be constant.
    pub(super) fn floats(&self, value: Value, what: &str) -> Result<Vec<f32>, Problem> {
        match self.tensor(value, what)?.data().to_floats() {
            Some(numbers) => Ok(numbers),
            None => invalid(format!("{what} is not of numbers")),
        }
    }

    /// The value under another shape.
    pub(super) fn reshape(&mut self, node: &Node, value: Value, dims: &[usize]) -> Result<Value, Problem> {
        let shape = Shape::new(dims)?;
        if self.graph.ty(value).shape == shape {
            return Ok(value);
        }
        self.add(node, Op::Reshape { shape }, &[value])
    }
}

/// Imports a model.
pub(super) fn import(
    model: &ModelProto,
    name: &str,
    folder: Option<&Path>,
    options: &Options,
    evaluate: &dyn Evaluate,
) -> Result<Graph, OnnxError> {
    let proto = model.graph.as_ref().ok_or_else(|| OnnxError::invalid("it holds no graph"))?;
    let versions = model.opset_import.iter().filter(|o| is_standard(&o.domain));
    let opset =
        versions.map(|o| o.version).max().ok_or_else(|| OnnxError::invalid("it names no operator set"))?;
    if !OPSETS.contains(&opset) {
        let (first, last) = (*OPSETS.start(), *OPSETS.end());
        return Err(OnnxError::Opset { file: String::new(), found: opset, first, last });
    }
    let name = [name, &proto.name, "model"].into_iter().find(|n| !n.is_empty()).unwrap_or_default();
    let mut importer = Importer {
        graph: Graph::new(name),
        opset,
        reader: Reader::new(folder),
        evaluate,
        left: BUDGET,
        selections: HashMap::new(),
        names: HashMap::new(),
        unsupported: Vec::new(),
    };
    importer.weights(proto)?;
    importer.inputs(proto, options)?;
    for number in order(proto)? {
        importer.node(&proto.node[number], number)?;
    }
    importer.outputs(proto)?;
    if !importer.unsupported.is_empty() {
        return Err(OnnxError::Unsupported { file: String::new(), nodes: importer.unsupported });
    }
    let mut graph = importer.graph;
    remove_unused_constants(&mut graph);
    graph.verify().map_err(|e| OnnxError::invalid(e.to_string()))?;
    Ok(graph)
}

fn is_standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

/// Constants that were folded into others, or read as attributes.
fn remove_unused_constants(graph: &mut Graph) {
    let unused = |id: &_| {
        let value = Value::from(*id);
        graph.as_constant(value).is_some() && graph.users(value).is_empty() && !graph.is_output(value)
    };
    let unused: Vec<_> = graph.ids().filter(unused).collect();
    for id in unused {
        // Just seen to be unused, so it can't be refused.
        let _ = graph.remove(id);
    }
}

impl<'a> Importer<'a> {
    /// What a name stands for, if anything defines it.
    pub(super) fn name(&self, name: &str) -> Option<Named> {
        self.names.get(name).copied()
    }

    /// Gives a name its meaning; an empty name stands for a result that nobody asks for.
    fn bind(&mut self, name: &'a str, value: Named) -> Result<(), OnnxError> {
        if !name.is_empty() && self.names.insert(name, value).is_some() {
            let name = name.escape_debug();
            return Err(OnnxError::invalid(format!("'{name}' is defined twice; names must be unique")));
        }
        Ok(())
    }

    pub(super) fn weights(&mut self, proto: &'a GraphProto) -> Result<(), OnnxError> {
        for tensor in &proto.initializer {
            let value = match self.reader.read(tensor) {
                Ok(read) => Named::Known(self.graph.constant(tensor.name.clone(), read)),
                Err(Problem::Unsupported(reason)) => {
                    self.unsupported.push(Unsupported::other("weight", &tensor.name, reason));
                    Named::Unknown
                }
                Err(Problem::Invalid(problem)) => {
                    let name = tensor.name.escape_debug();
                    return Err(OnnxError::invalid(format!("weight '{name}': {problem}")));
                }
            };
            self.bind(&tensor.name, value)?;
        }
        for tensor in proto.sparse_initializer.iter().filter_map(|t| t.values.as_ref()) {
            self.unsupported.push(Unsupported::other("weight", &tensor.name, "sparse weights"));
            self.bind(&tensor.name, Named::Unknown)?;
        }
        Ok(())
    }

    fn inputs(&mut self, proto: &'a GraphProto, options: &Options) -> Result<(), OnnxError> {
        self.selections = signature::selections(proto, &options.dims);
        for (name, ty) in signature::inputs(proto, &options.dims, &mut self.unsupported)? {
            let value = match ty {
                Some(ty) => {
                    let value = self.graph.add(name, Op::Input(ty.clone()), &[]);
                    let value = value.map_err(|e| OnnxError::invalid(e.to_string()))?;
                    // What has no elements is known.
                    let empty = Tensor::empty(&ty).map(|empty| self.graph.constant(name, empty));
                    Named::Known(empty.unwrap_or(value))
                }
                None => Named::Unknown,
            };
            self.bind(name, value)?;
        }
        Ok(())
    }

    pub(super) fn node(&mut self, proto: &'a NodeProto, number: usize) -> Result<(), OnnxError> {
        let name = node_name(proto, number);
        let mut inputs = Vec::with_capacity(proto.input.len());
        let (mut unknown, mut left_out) = (false, None);
        for input in &proto.input {
            inputs.push(match self.names.get(input.as_str()) {
                _ if input.is_empty() => None,
                Some(Named::Known(value)) => Some(*value),
                Some(Named::Unknown) => {
                    unknown = true;
                    None
                }
                Some(Named::LeftOut) => {
                    left_out = Some(format!("'{}', which it uses, is left out", input.escape_debug()));
                    None
                }
                None => {
                    let (input, name) = (input.escape_debug(), name.escape_debug());
                    let problem = format!("node '{name}' uses '{input}', which nothing defines");
                    return Err(OnnxError::invalid(problem));
                }
            });
        }
        let result = match (self.function(proto), left_out) {
            (Err(reason), _) | (Ok(_), Some(reason)) => Err(Problem::Unsupported(reason)),
            // Already told of, where it comes from.
            (Ok(_), None) if unknown => {
                self.refuse_within(proto, &name);
                return proto.output.iter().try_for_each(|o| self.bind(o, Named::Unknown));
            }
            (Ok(function), None) => {
                let node = Node { name: name.clone(), proto, attributes: Attributes(proto), inputs };
                function(self, &node)
            }
        };
        match result {
            Ok(values) => {
                let mut values = values.into_iter();
                proto.output.iter().try_for_each(|output| {
                    let value = values.next().map_or(Named::LeftOut, Named::Known);
                    self.bind(output, value)
                })
            }
            Err(Problem::Unsupported(reason)) => {
                self.refuse(proto, &name, reason);
                proto.output.iter().try_for_each(|o| self.bind(o, Named::Unknown))
            }
            Err(Problem::Invalid(problem)) => {
                let (name, operator) = (name.escape_debug(), proto.op_type.escape_debug());
                Err(OnnxError::invalid(format!("node '{name}' ({operator}): {problem}")))
            }
        }
    }

    /// The function that imports a node, or why there is none (empty: nobody knows the operator).
    fn function(&self, proto: &NodeProto) -> Result<operators::Function, String> {
        match is_standard(&proto.domain) {
            true => operators::find(&proto.op_type, self.opset),
            false => Err(String::new()),
        }
    }

    /// Adds a node that can't be imported to the list, and those that can't be within its bodies.
    fn refuse(&mut self, proto: &NodeProto, name: &str, reason: String) {
        let domain = if is_standard(&proto.domain) { "" } else { &proto.domain };
        let operator = [domain, &proto.op_type].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>();
        self.unsupported.push(Unsupported {
            node: name.into(),
            operator: operator.join("."),
            attributes: describe(proto),
            reason,
        });
        self.refuse_within(proto, name);
    }

    /// Adds what can't be imported within a node's bodies to the list.
    fn refuse_within(&mut self, proto: &NodeProto, name: &str) {
        // The decoder bounds the depth of bodies within bodies.
        for body in proto.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs)) {
            for (number, inner) in body.node.iter().enumerate() {
                let name = format!("{name}/{}", node_name(inner, number));
                match self.function(inner) {
                    Err(reason) => self.refuse(inner, &name, reason),
                    Ok(_) => self.refuse_within(inner, &name),
                }
            }
        }
    }

    pub(super) fn outputs(&mut self, proto: &GraphProto) -> Result<(), OnnxError> {
        if proto.output.is_empty() {
            return Err(OnnxError::invalid("the graph has no output"));
        }
        let mut seen = HashSet::new();
        for output in &proto.output {
            let name = output.name.escape_debug();
            if !seen.insert(&output.name) {
                return Err(OnnxError::invalid(format!("output '{name}' is listed twice")));
            }
            match self.names.get(output.name.as_str()) {
                Some(&Named::Known(value)) => self.graph.add_output(output.name.clone(), value),
                Some(Named::Unknown) => {}
                Some(Named::LeftOut) => {
                    let reason = "a second result that inference has no use for";
                    self.unsupported.push(Unsupported::other("output", &output.name, reason));
                }
                None => return Err(OnnxError::invalid(format!("output '{name}' is not defined"))),
            }
        }
        Ok(())
    }
}
