//! Tests of the import. Models are made with the messages themselves and run in the reference interpreter.

mod dimensions;
mod hostile;
mod operators;
mod small;
mod structure;
mod unsupported;
mod weights;

use avocet_ir::{Graph, Tensor, TensorData};
use avocet_reference::Reference;
use prost::Message;

use super::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::{OnnxError, Options, from_bytes};

/// Element types by their numbers in the specification.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// A model in the making.
#[derive(Clone)]
struct Builder(ModelProto);

impl Builder {
    fn new(opset: i64) -> Self {
        let opset = OperatorSetIdProto { domain: String::new(), version: opset };
        Builder(ModelProto { ir_version: 8, graph: Some(GraphProto::default()), opset_import: vec![opset] })
    }

    fn graph(&mut self) -> &mut GraphProto {
        self.0.graph.get_or_insert_default()
    }

    /// An input of floats. Negative sizes are left open, without a name.
    fn input(mut self, name: &str, dims: &[i64]) -> Self {
        let dim = dims.iter().map(|&d| DimensionProto { dim_value: Some(d), dim_param: None }).collect();
        self.graph().input.push(value(name, FLOAT, dim));
        self
    }

    /// An input of floats with named dimensions.
    fn symbolic(mut self, name: &str, dims: &[&str]) -> Self {
        let named = |d: &&str| DimensionProto { dim_value: None, dim_param: Some((*d).into()) };
        self.graph().input.push(value(name, FLOAT, dims.iter().map(named).collect()));
        self
    }

    fn weight(mut self, name: &str, tensor: &Tensor) -> Self {
        self.graph().initializer.push(tensor_proto(name, tensor));
        self
    }

    fn raw(mut self, tensor: TensorProto) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    fn node(mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<AttributeProto>) -> Self {
        let strings = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect();
        let (input, output) = (strings(inputs), strings(outputs));
        self.graph().node.push(NodeProto {
            input,
            output,
            op_type: op.into(),
            attribute: attributes,
            ..NodeProto::default()
        });
        self
    }

    fn output(mut self, name: &str) -> Self {
        self.graph().output.push(ValueInfoProto { name: name.into(), r#type: None });
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.encode_to_vec()
    }

    fn import_with(&self, options: &Options) -> Result<Graph, OnnxError> {
        from_bytes(&self.bytes(), "test", None, options, &Reference)
    }

    fn import(&self) -> Result<Graph, OnnxError> {
        self.import_with(&Options::default())
    }

    /// The text of the error that must come.
    fn refused(&self) -> String {
        self.import().expect_err("the model should be refused").to_string()
    }
}

fn value(name: &str, elem_type: i32, dim: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let data_type = match tensor.data() {
        TensorData::F32(_) => FLOAT,
        TensorData::U8(_) => 2,
        TensorData::I32(_) => 6,
        TensorData::I64(_) => INT64,
        TensorData::Bool(_) => 9,
        TensorData::I8(_) => 3,
        TensorData::U16(_) => 4,
        TensorData::I16(_) => 5,
        TensorData::U32(_) => 12,
        TensorData::U64(_) => 13,
    };
    TensorProto {
        dims: tensor.shape().dims().iter().map(|&d| d as i64).collect(),
        data_type,
        name: name.into(),
        raw_data: tensor.data().to_le_bytes().into(),
        ..TensorProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: value, r#type: 2, ..AttributeProto::default() }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), f: value, r#type: 1, ..AttributeProto::default() }
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.into(), s: value.into(), r#type: 3, ..AttributeProto::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: values.into(), r#type: 7, ..AttributeProto::default() }
}

fn floats(name: &str, values: &[f32]) -> AttributeProto {
    AttributeProto { name: name.into(), floats: values.into(), r#type: 6, ..AttributeProto::default() }
}

fn f32s(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::f32(dims, values).expect("data of that shape")
}

fn i64s(values: &[i64]) -> Tensor {
    Tensor::i64([values.len()], values).expect("data of that shape")
}

/// 0, 1, 2, … in that shape.
fn counting(dims: &[usize]) -> Tensor {
    let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|v| v as f32).collect();
    f32s(dims, &values)
}

/// A model of one operator: an input of floats, then constants.
fn one(
    opset: i64,
    op: &str,
    dims: &[usize],
    constants: &[Option<Tensor>],
    attributes: Vec<AttributeProto>,
    outputs: usize,
) -> Builder {
    let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
    let names: Vec<String> = (0..constants.len()).map(|i| format!("c{i}")).collect();
    let mut builder = Builder::new(opset).input("x", &dims);
    let mut inputs = vec!["x"];
    for (name, tensor) in names.iter().zip(constants) {
        inputs.push(if tensor.is_some() { name } else { "" });
        if let Some(tensor) = tensor {
            builder = builder.weight(name, tensor);
        }
    }
    let outputs: Vec<String> = (0..outputs).map(|i| format!("y{i}")).collect();
    let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
    builder = builder.node(op, &inputs, &names, attributes);
    names.iter().fold(builder, |b, name| b.output(name))
}

/// Runs a model of one operator.
fn run(
    opset: i64,
    op: &str,
    x: &Tensor,
    constants: &[Option<Tensor>],
    attributes: Vec<AttributeProto>,
) -> Tensor {
    let graph = one(opset, op, x.shape().dims(), constants, attributes, 1).import().expect("a valid model");
    let outputs = avocet_reference::run(&graph, std::slice::from_ref(x)).expect("a graph that runs");
    outputs.into_iter().next().expect("one output")
}
