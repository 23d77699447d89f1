//! Small models built from the messages themselves: what is read, and what is refused with which words.

use avocet_ir::tensor::TensorData;
use avocet_reference::Reference;
use proptest::prelude::*;
use prost::Message;

use super::super::proto::*;
use super::super::*;

fn dimension(size: i64) -> DimensionProto {
    DimensionProto { dim_value: Some(size), dim_param: None }
}

fn symbol(name: &str) -> DimensionProto {
    DimensionProto { dim_value: None, dim_param: Some(name.into()) }
}

fn value(name: &str, dims: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor_type = Some(TensorTypeProto { elem_type: 1, shape: Some(TensorShapeProto { dim: dims }) });
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type }) }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        op_type: operator.into(),
        ..NodeProto::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), ints: values.to_vec(), r#type: 7, ..AttributeProto::default() }
}

fn weight(name: &str, dims: &[i64], data: Vec<f32>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: data,
        ..TensorProto::default()
    }
}

/// `y = relu(conv(x, w))` on an image of one channel.
fn small() -> ModelProto {
    let mut conv = node("Conv", &["x", "w"], "c");
    conv.attribute = vec![ints("pads", &[1, 1, 1, 1]), ints("kernel_shape", &[3, 3])];
    let graph = GraphProto {
        node: vec![conv, node("Relu", &["c"], "y")],
        name: "small".into(),
        initializer: vec![weight("w", &[2, 1, 3, 3], vec![0.5; 18])],
        input: vec![value("x", vec![symbol("N"), dimension(1), dimension(4), dimension(4)])],
        output: vec![value("y", vec![])],
        ..GraphProto::default()
    };
    model(graph)
}

fn model(graph: GraphProto) -> ModelProto {
    let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
    ModelProto { ir_version: 8, graph: Some(graph), opset_import }
}

fn read(model: &ModelProto, dims: &[(&str, usize)]) -> Result<Graph, OnnxError> {
    let dims = dims.iter().map(|&(name, size)| (name.to_string(), size)).collect();
    from_bytes(&model.encode_to_vec(), "model", None, &Options { dims }, &Reference)
}

fn error(change: impl FnOnce(&mut GraphProto)) -> String {
    let mut model = small();
    change(model.graph.as_mut().expect("it has one"));
    read(&model, &[]).expect_err("it is wrong").to_string()
}

#[test]
fn a_symbolic_batch_is_one_unless_bound() {
    let dims = |bound: &[(&str, usize)]| {
        let graph = read(&small(), bound).unwrap_or_else(|e| panic!("{e}"));
        graph.ty(graph.outputs()[0].value).dims().to_vec()
    };
    assert_eq!(dims(&[]), [1, 2, 4, 4]);
    assert_eq!(dims(&[("N", 3)]), [3, 2, 4, 4]);
    assert_eq!(dims(&[("x.0", 5)]), [5, 2, 4, 4]);
    let error = read(&small(), &[("x.2", 9)]).expect_err("it is 4").to_string();
    assert_eq!(
        error,
        "sizes of dimensions:\n  dimension 2 of input 'x' is 4 in the model and can't be bound to 9"
    );
}

#[test]
fn shapes_that_the_model_computes_vanish() {
    // y = reshape(x, concat(shape(x)[0:1], [-1])).
    let mut constant = node("Constant", &[], "rest");
    let tensor = TensorProto { dims: vec![1], data_type: 7, int64_data: vec![-1], ..TensorProto::default() };
    constant.attribute = vec![AttributeProto {
        name: "value".into(),
        t: Some(tensor),
        r#type: 4,
        ..AttributeProto::default()
    }];
    let mut slice = node("Slice", &["shape", "zero", "one"], "batch");
    slice.attribute = vec![];
    let integers = |name: &str, v: i64| TensorProto {
        name: name.into(),
        dims: vec![1],
        data_type: 7,
        int64_data: vec![v],
        ..TensorProto::default()
    };
    let mut concat = node("Concat", &["batch", "rest"], "target");
    concat.attribute =
        vec![AttributeProto { name: "axis".into(), i: 0, r#type: 2, ..AttributeProto::default() }];
    let graph = GraphProto {
        node: vec![
            node("Shape", &["x"], "shape"),
            slice,
            constant,
            concat,
            node("Reshape", &["x", "target"], "y"),
        ],
        name: String::new(),
        initializer: vec![integers("zero", 0), integers("one", 1)],
        input: vec![value("x", vec![symbol("N"), dimension(3), dimension(5)])],
        output: vec![value("y", vec![])],
        ..GraphProto::default()
    };
    let graph = read(&model(graph), &[("N", 2)]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(graph.len(), 2, "{graph}");
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [2, 15]);
}

#[test]
fn everything_unsupported_is_told_at_once() {
    let text = error(|graph| {
        graph.node[1] = node("Bernoulli", &["c"], "d");
        graph.node[1].attribute = vec![AttributeProto {
            name: "equation".into(),
            s: b"ii".to_vec(),
            r#type: 3,
            ..AttributeProto::default()
        }];
        graph.node.push(node("Relu", &["d"], "e"));
        let mut custom = node("Magic", &["e"], "y");
        (custom.domain, custom.name) = ("com.acme".into(), "wand".into());
        graph.node.push(custom);
    });
    assert_eq!(
        text,
        "the model uses what avocet does not support:\n  Bernoulli (node 'Bernoulli_d', equation=ii)\n  com.acme.Magic (node 'wand')"
    );
}

#[test]
fn impossible_models_are_refused_with_their_place() {
    let float = |name: &str, dims: &[i64], data: Vec<f32>| weight(name, dims, data);
    for (text, expected) in [
        (error(|g| g.node[0].input[0] = "y".into()), "the graph has a cycle through node 'Conv_c'"),
        (error(|g| g.node[1].input[0] = "z".into()), "node 'Relu_y' uses 'z', which nothing defines"),
        (error(|g| g.node[1].output[0] = "c".into()), "two nodes compute 'c'"),
        (error(|g| g.initializer.push(g.initializer[0].clone())), "'w' is defined twice"),
        (error(|g| g.output[0].name = "q".into()), "output 'q' is not defined"),
        (error(|g| g.output.clear()), "the graph has no output"),
        (
            error(|g| g.initializer[0].float_data.truncate(17)),
            "weight 'w': 17 elements for shape [2,1,3,3], which has 18",
        ),
        (error(|g| g.initializer[0].dims[0] = -2), "weight 'w': a dimension is -2, expected at least 0"),
        (
            error(|g| g.initializer[0].dims = vec![1 << 40, 1 << 40]),
            "weight 'w': shape [1099511627776, 1099511627776] has more elements than can be addressed",
        ),
        (
            error(|g| g.initializer[0].data_type = 99),
            "the model uses what avocet does not support:\n  weight 'w': element type 99",
        ),
        (
            error(|g| g.initializer[0] = float("w", &[2, 3, 3, 3], vec![0.0; 54])),
            "node 'Conv_c' (Conv): weights f32[2,3,3,3] take 3 channels a group, but the input has 1",
        ),
        (
            error(|g| g.input[0] = value("x", vec![dimension(1), dimension(1), dimension(0), dimension(4)])),
            "node 'Conv_c' (Conv): a window of 3 (dilation 1) does not fit in 0 elements padded by 1 and 1",
        ),
        (
            error(|g| g.input[0] = value("x", vec![dimension(1), dimension(1), symbol("H"), dimension(4)])),
            "sizes of dimensions:\n  dimension 2 of input 'x' has no fixed size; bind it with --dim H=SIZE",
        ),
        (
            error(|g| g.node[0].attribute[0].ints[0] = -1),
            "node 'Conv_c' (Conv): padding is -1, expected at least 0",
        ),
        (error(|g| g.node[0].attribute[0].ints[0] = i64::MAX), "node 'Conv_c' (Conv): "),
        (
            error(|g| g.node[0].attribute.push(ints("strides", &[0, 1]))),
            "node 'Conv_c' (Conv): strides is 0, expected at least 1",
        ),
    ] {
        assert!(text.starts_with(expected), "{text}\nexpected: {expected}");
    }
    let mut old = small();
    old.opset_import[0].version = 6;
    let text = read(&old, &[]).expect_err("too old").to_string();
    assert!(text.starts_with("it uses operator set 6; 7 to 28 are supported (convert it"), "{text}");
    assert!(from_bytes(b"hello", "m", None, &Options::default(), &Reference).is_err());
    assert!(from_bytes(b"", "m", None, &Options::default(), &Reference).is_err());
}

#[test]
fn a_nan_weight_is_kept() {
    let mut model = small();
    model.graph.as_mut().expect("it has one").initializer[0].float_data[3] = f32::NAN;
    let graph = read(&model, &[]).expect("valid");
    let kept = graph.ids().any(|id| match graph.node(id).op.as_constant().map(|t| t.data()) {
        Some(TensorData::F32(data)) => data.iter().any(|v| v.is_nan()),
        _ => false,
    });
    assert!(kept);
}

/// The small model with its weight in a file beside it.
fn external(location: &str, more: &[(&str, &str)]) -> ModelProto {
    let mut model = small();
    let tensor = &mut model.graph.as_mut().expect("it has one").initializer[0];
    tensor.float_data.clear();
    tensor.data_location = 1;
    let entry = |(key, value): (&str, &str)| StringStringEntryProto { key: key.into(), value: value.into() };
    tensor.external_data = [("location", location)].iter().chain(more).map(|&e| entry(e)).collect();
    model
}

#[test]
fn external_data_stays_in_the_folder() {
    let outer = tempfile::tempdir().expect("a folder");
    let folder = outer.path().join("model");
    std::fs::create_dir(&folder).expect("writable");
    let data: Vec<u8> = (0..20).flat_map(|i| (i as f32).to_le_bytes()).collect();
    std::fs::write(folder.join("w.bin"), &data).expect("writable");
    std::fs::write(outer.path().join("secret.bin"), &data).expect("writable");
    let read = |model: ModelProto| {
        let file = folder.join("m.onnx");
        std::fs::write(&file, model.encode_to_vec()).expect("writable");
        from_file(&file, &Options::default(), &Reference)
    };
    let graph =
        read(external("w.bin", &[("offset", "8"), ("length", "72")])).unwrap_or_else(|e| panic!("{e}"));
    let first = graph.ids().find_map(|id| graph.node(id).op.as_constant()?.as_f32()?.first().copied());
    assert_eq!(first, Some(2.0));
    let mut cases = vec![
        (external("missing.bin", &[]), "missing.bin': No such file"),
        (external("../secret.bin", &[]), "is outside the model's folder, which is refused"),
        (external("/etc/passwd", &[]), "is outside the model's folder, which is refused"),
        (
            external("w.bin", &[("offset", "9"), ("length", "72")]),
            "has 80 bytes, but 72 from byte 9 on are wanted",
        ),
        (external("w.bin", &[("length", "71")]), "external data 'w.bin' of 71 bytes for a tensor of 72"),
        (external("w.bin", &[("offset", "18446744073709551615")]), "are wanted"),
        (external("w.bin", &[("offset", "-1")]), "external data with offset '-1'"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outer.path().join("secret.bin"), folder.join("link.bin"))
            .expect("writable");
        cases.push((external("link.bin", &[]), "leads out of the model's folder, which is refused"));
    }
    for (model, expected) in cases {
        let error = read(model).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn damaged_files_are_never_a_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let mut bytes = small().encode_to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = from_bytes(&bytes, "m", None, &Options::default(), &Reference);
        let _ = from_bytes(&bytes[..cut.index(bytes.len())], "m", None, &Options::default(), &Reference);
    }
}
