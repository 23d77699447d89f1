//! The importer: nodes in topological order, each through the operator table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use avocet_ir::op::Op;
use avocet_ir::tensor::{Shape, Tensor, TensorType};
use avocet_ir::{Evaluate, Graph, GraphError, TensorData, Value};

use super::attributes::{Attributes, Problem, describe, invalid};
use super::error::{OnnxError, Unsupported};
use super::proto::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use super::{Options, operators, tensors};

/// Versions of the operator set that are known.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=21;
/// Most nodes of a model.
const MOST_NODES: usize = 1 << 20;
/// Constants of more bytes than this are not made on the way in.
const MOST_FOLDED_BYTES: usize = 64 << 20;

fn refuse(problem: String) -> OnnxError {
    OnnxError::Invalid { file: String::new(), problem }
}

/// What an ONNX name stands for.
#[derive(Clone, Copy)]
enum Named {
    Known(Value),
    /// The result of something unsupported.
    Unknown,
}

/// What operator functions work with.
pub(super) struct Importer<'a> {
    pub(super) graph: Graph,
    /// Version of the operator set.
    pub(super) opset: i64,
    pub(super) folder: Option<&'a Path>,
    evaluate: &'a dyn Evaluate,
    names: HashMap<String, Named>,
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
}

impl Importer<'_> {
    /// Adds an operator, or its result when all of its inputs are constants.
    pub(super) fn add(&mut self, node: &Node, op: Op, inputs: &[Value]) -> Result<Value, Problem> {
        let constants: Option<Vec<&Tensor>> = inputs.iter().map(|&v| self.graph.as_constant(v)).collect();
        if let Some(constants) = constants.filter(|c| !c.is_empty()) {
            let types: Vec<TensorType> = constants.iter().map(|t| t.ty()).collect();
            let types = avocet_ir::infer::infer(&op, &types).map_err(|e| Problem::Invalid(e.to_string()))?;
            if types.iter().all(|ty| ty.bytes() <= MOST_FOLDED_BYTES)
                && let Ok(results) = self.evaluate.evaluate(&op, &constants)
                && let Some(result) = results.into_iter().next()
            {
                return Ok(self.graph.constant(node.name.clone(), result));
            }
        }
        self.graph.add(node.name.clone(), op, inputs).map_err(|e| match e {
            GraphError::Infer { source, .. } => Problem::Invalid(source.to_string()),
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

    /// The integers of an input that must be constant.
    pub(super) fn integers(&self, value: Value, what: &str) -> Result<Vec<i64>, Problem> {
        match self.graph.as_constant(value).map(|t| t.data()) {
            Some(TensorData::I64(data)) => Ok(data.to_vec()),
            Some(TensorData::I32(data)) => Ok(data.iter().map(|&v| v.into()).collect()),
            Some(_) => invalid(format!("{what} is not of integers")),
            None => Err(Problem::Unsupported(format!("{what} that is computed from the input"))),
        }
    }

    /// The numbers of an input that must be constant.
    pub(super) fn floats(&self, value: Value, what: &str) -> Result<Vec<f32>, Problem> {
        match self.graph.as_constant(value).map(|t| t.data()) {
            Some(TensorData::F32(data)) => Ok(data.to_vec()),
            Some(TensorData::I64(data)) => Ok(data.iter().map(|&v| v as f32).collect()),
            Some(_) => invalid(format!("{what} is not of floats")),
            None => Err(Problem::Unsupported(format!("{what} that is computed from the input"))),
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
    model: ModelProto,
    name: &str,
    folder: Option<&Path>,
    options: &Options,
    evaluate: &dyn Evaluate,
) -> Result<Graph, OnnxError> {
    let versions = model.opset_import.iter().filter(|o| o.domain.is_empty() || o.domain == "ai.onnx");
    let opset = versions.map(|o| o.version).max().ok_or_else(|| refuse("it names no operator set".into()))?;
    if !OPSETS.contains(&opset) {
        let (low, high) = (OPSETS.start(), OPSETS.end());
        return Err(refuse(format!(
            "it uses operator set {opset}; {low} to {high} are supported (convert it)"
        )));
    }
    let proto = model.graph.ok_or_else(|| refuse("it holds no graph".into()))?;
    if proto.node.len() > MOST_NODES {
        return Err(refuse(format!("{} nodes; at most {MOST_NODES} are read", proto.node.len())));
    }
    let mut importer = Importer { graph: Graph::new(name), opset, folder, evaluate, names: HashMap::new() };
    importer.initializers(&proto)?;
    importer.inputs(&proto, options)?;
    let mut unsupported = Vec::new();
    for &number in &order(&proto)? {
        importer.node(&proto.node[number], number, &mut unsupported)?;
    }
    if !unsupported.is_empty() {
        return Err(OnnxError::Unsupported { file: String::new(), nodes: unsupported });
    }
    importer.outputs(&proto)?;
    let mut graph = importer.graph;
    remove_unused_constants(&mut graph);
    graph.verify().map_err(|e| refuse(e.to_string()))?;
    Ok(graph)
}

/// Numbers of the nodes in an order in which each follows those that it depends on. The specification demands that order
/// of the file; files that are merely out of order are accepted.
fn order(proto: &GraphProto) -> Result<Vec<usize>, OnnxError> {
    let mut maker: HashMap<&str, usize> = HashMap::new();
    for (number, node) in proto.node.iter().enumerate() {
        for output in node.output.iter().filter(|o| !o.is_empty()) {
            if maker.insert(output, number).is_some() {
                return Err(refuse(format!("two nodes compute '{}'", output.escape_debug())));
            }
        }
    }
    let mut waiting = vec![0usize; proto.node.len()];
    let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
    for (number, node) in proto.node.iter().enumerate() {
        let sources: HashSet<usize> =
            node.input.iter().filter_map(|i| maker.get(i.as_str()).copied()).collect();
        waiting[number] = sources.len();
        sources.into_iter().for_each(|source| users.entry(source).or_default().push(number));
    }
    // The smallest number first, so that a file in order stays in order.
    let mut ready: std::collections::BTreeSet<usize> =
        (0..waiting.len()).filter(|&number| waiting[number] == 0).collect();
    let mut order = Vec::with_capacity(waiting.len());
    while let Some(number) = ready.pop_first() {
        order.push(number);
        for &user in users.get(&number).into_iter().flatten() {
            waiting[user] -= 1;
            if waiting[user] == 0 {
                ready.insert(user);
            }
        }
    }
    match waiting.iter().position(|&count| count > 0) {
        Some(number) if order.len() < waiting.len() => Err(refuse(format!(
            "the graph has a cycle through node '{}'",
            display_name(&proto.node[number], number)
        ))),
        _ => Ok(order),
    }
}

fn display_name(node: &NodeProto, number: usize) -> String {
    match (node.name.as_str(), node.output.first()) {
        ("", Some(output)) if !output.is_empty() => output.clone(),
        ("", _) => format!("{} #{number}", node.op_type),
        (name, _) => name.into(),
    }
}

/// Constants that were folded into others, or read as attributes.
fn remove_unused_constants(graph: &mut Graph) {
    let unused: Vec<_> = graph
        .ids()
        .filter(|&id| {
            matches!(graph.node(id).op, Op::Constant(_))
                && graph.users(id.into()).is_empty()
                && !graph.is_output(id.into())
        })
        .collect();
    for id in unused {
        // Just seen to be unused, so it can't be refused.
        let _ = graph.remove(id);
    }
}

impl Importer<'_> {
    fn bind(&mut self, name: &str, value: Named) -> Result<(), OnnxError> {
        match self.names.insert(name.into(), value) {
            None => Ok(()),
            Some(_) => Err(refuse(format!("'{}' is defined twice", name.escape_debug()))),
        }
    }

    fn initializers(&mut self, proto: &GraphProto) -> Result<(), OnnxError> {
        for tensor in &proto.initializer {
            let read = tensors::read(tensor, self.folder);
            let read = read.map_err(|e| refuse(format!("weight '{}': {e}", tensor.name.escape_debug())))?;
            let value = self.graph.constant(tensor.name.clone(), read);
            self.bind(&tensor.name, Named::Known(value))?;
        }
        Ok(())
    }

    fn inputs(&mut self, proto: &GraphProto, options: &Options) -> Result<(), OnnxError> {
        for input in &proto.input {
            // Before IR version 4 weights were listed as inputs too.
            if self.names.contains_key(&input.name) {
                continue;
            }
            let ty = input_type(input, &options.dims)
                .map_err(|e| refuse(format!("input '{}': {e}", input.name.escape_debug())))?;
            let value =
                self.graph.add(input.name.clone(), Op::Input(ty), &[]).map_err(|e| refuse(e.to_string()))?;
            self.bind(&input.name, Named::Known(value))?;
        }
        Ok(())
    }

    fn node(
        &mut self,
        proto: &NodeProto,
        number: usize,
        unsupported: &mut Vec<Unsupported>,
    ) -> Result<(), OnnxError> {
        let name = display_name(proto, number);
        let mut inputs = Vec::with_capacity(proto.input.len());
        let mut unknown = false;
        for input in &proto.input {
            inputs.push(match self.names.get(input) {
                _ if input.is_empty() => None,
                Some(Named::Known(value)) => Some(*value),
                Some(Named::Unknown) => {
                    unknown = true;
                    None
                }
                None => {
                    let (input, name) = (input.escape_debug(), name.escape_debug());
                    return Err(refuse(format!("node '{name}' uses '{input}', which nothing defines")));
                }
            });
        }
        let standard = proto.domain.is_empty() || proto.domain == "ai.onnx";
        let function = if standard { operators::find(&proto.op_type) } else { None };
        let result = match function {
            None => Err(Problem::Unsupported(String::new())),
            Some(_) if unknown => {
                return proto
                    .output
                    .iter()
                    .filter(|o| !o.is_empty())
                    .try_for_each(|o| self.bind(o, Named::Unknown));
            }
            Some(function) => {
                let node = Node { name: name.clone(), proto, attributes: Attributes(proto), inputs };
                function(self, &node)
            }
        };
        match result {
            Ok(values) => {
                let mut values = values.into_iter();
                for output in &proto.output {
                    let value = values.next().map_or(Named::Unknown, Named::Known);
                    if !output.is_empty() {
                        self.bind(output, value)?;
                    }
                }
                Ok(())
            }
            Err(Problem::Unsupported(reason)) => {
                let operator = if standard {
                    proto.op_type.clone()
                } else {
                    format!("{}.{}", proto.domain, proto.op_type)
                };
                unsupported.push(Unsupported { node: name, operator, attributes: describe(proto), reason });
                proto.output.iter().filter(|o| !o.is_empty()).try_for_each(|o| self.bind(o, Named::Unknown))
            }
            Err(Problem::Invalid(problem)) => {
                Err(refuse(format!("node '{}' ({}): {problem}", name.escape_debug(), proto.op_type)))
            }
        }
    }

    fn outputs(&mut self, proto: &GraphProto) -> Result<(), OnnxError> {
        if proto.output.is_empty() {
            return Err(refuse("the graph has no output".into()));
        }
        for output in &proto.output {
            let name = output.name.escape_debug();
            match self.names.get(&output.name) {
                Some(&Named::Known(value)) => self.graph.add_output(output.name.clone(), value),
                Some(Named::Unknown) => {
                    return Err(refuse(format!("output '{name}' is one that avocet leaves out")));
                }
                None => return Err(refuse(format!("output '{name}' is not defined"))),
            }
        }
        Ok(())
    }
}

/// Type of an input with its symbolic dimensions bound.
fn input_type(input: &ValueInfoProto, bound: &BTreeMap<String, usize>) -> Result<TensorType, String> {
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()).ok_or("it is not a tensor")?;
    let dtype = tensors::dtype(tensor.elem_type)?;
    let shape = tensor.shape.as_ref().ok_or("it has no shape")?;
    let mut dims = Vec::with_capacity(shape.dim.len().min(Shape::MAX_RANK + 1));
    for (axis, dim) in shape.dim.iter().enumerate() {
        let position = format!("{}.{axis}", input.name);
        // Some exporters write a question mark for "unknown", on every such dimension.
        let name = dim.dim_param.as_deref().filter(|p| !p.is_empty() && *p != "?");
        let size = match (dim.dim_value, name) {
            (Some(value), None) if value > 0 => match bound.get(&position) {
                Some(&size) if size as i64 != value => {
                    return Err(format!("dimension {axis} is {value} and can't be bound to {size}"));
                }
                _ => value as usize,
            },
            (Some(0), None) => return Err(format!("dimension {axis} has size zero")),
            (_, name) => {
                let by_name = name.and_then(|name| bound.get(name));
                match by_name.or_else(|| bound.get(&position)) {
                    Some(0) => return Err(format!("dimension {axis} is bound to size zero")),
                    Some(&size) => size,
                    None if axis == 0 => 1,
                    None => {
                        let name = name.map_or(position, str::to_string);
                        return Err(format!("dimension {axis} is symbolic; bind it with --dim {name}=SIZE"));
                    }
                }
            }
        };
        dims.push(size);
    }
    Ok(TensorType::new(dtype, Shape::new(dims).map_err(|e| e.to_string())?))
}
