//! Damaged and hostile files: an error or a valid graph, never a panic, and nothing that takes for ever.

use proptest::prelude::*;

use super::super::proto::GraphProto;
use super::*;

/// A model with one of most kinds of nodes, weights stored in both ways, and shapes computed from shapes.
fn sample() -> Builder {
    Builder::new(18)
        .symbolic("x", &["batch"])
        .input("image", &[1, 2, 5, 5])
        .weight("w", &counting(&[4, 1, 3, 3]))
        .weight("b", &counting(&[4]))
        .weight("scale", &counting(&[5]))
        .weight("two", &i64s(&[2]))
        .weight("one", &i64s(&[1]))
        .weight("wanted", &i64s(&[2, -1, 5]))
        .raw(TensorProto {
            dims: vec![4],
            data_type: INT64,
            name: "repeats".into(),
            int64_data: vec![1, 2, 1, 3],
            ..TensorProto::default()
        })
        .node("Conv", &["image", "w", "b"], &["conv"], vec![ints("pads", &[1, 1, 1, 1]), int("group", 2)])
        .node("MaxPool", &["conv"], &["pool"], vec![ints("kernel_shape", &[2, 2]), ints("strides", &[1, 1])])
        .node(
            "AveragePool",
            &["conv"],
            &["mean"],
            vec![ints("kernel_shape", &[3, 2]), text("auto_pad", "SAME_LOWER"), int("ceil_mode", 1)],
        )
        .node("Shape", &["pool"], &["shape"], vec![int("start", 1)])
        .node("Gather", &["shape", "two"], &["gathered"], vec![int("axis", 0)])
        .node("Concat", &["gathered", "two"], &["joined"], vec![int("axis", 0)])
        .node("Tile", &["mean", "repeats"], &["tiled"], vec![])
        .node("Slice", &["mean", "one", "gathered", "two"], &["sliced"], vec![])
        .node("Reshape", &["mean", "wanted"], &["reshaped"], vec![int("allowzero", 0)])
        .node("Softmax", &["reshaped"], &["softmax"], vec![int("axis", -1)])
        .node("Transpose", &["softmax"], &["transposed"], vec![ints("perm", &[2, 0, 1])])
        .node("Split", &["conv"], &["p", "q"], vec![int("axis", 1), int("num_outputs", 2)])
        .node("DepthToSpace", &["conv"], &["space"], vec![int("blocksize", 2)])
        .node("Clip", &["p"], &["clipped"], vec![])
        .node("ReduceMean", &["q", "two"], &["reduced"], vec![int("keepdims", 0)])
        .node("ConstantOfShape", &["joined"], &["filled"], vec![])
        .node(
            "LayerNormalization",
            &["mean", "scale"],
            &["normal"],
            vec![int("axis", 1), float("epsilon", 1e-3)],
        )
        .output("transposed")
        .output("clipped")
        .output("reduced")
}

/// Imports it, with whatever result.
fn survives(bytes: &[u8]) {
    if let Ok(graph) = from_bytes(bytes, "test", None, &Options::default(), &Reference) {
        graph.verify().expect("what is imported is valid");
    }
}

/// Numbers at which arithmetic on sizes breaks.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        // Mostly numbers that can be right, so that much is imported.
        20 => -1..5i64,
        1 => Just(i64::MAX),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX - 1),
        1 => (0..63u32).prop_map(|bits| 1 << bits),
        1 => (0..63u32).prop_map(|bits| -1 << bits),
    ]
}

/// Every operator, with the attributes that any of them has.
const OPERATORS: &[&str] = &[
    "AveragePool",
    "BatchNormalization",
    "Clip",
    "Concat",
    "ConstantOfShape",
    "Conv",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Gemm",
    "GroupNormalization",
    "InstanceNormalization",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "Mod",
    "Pad",
    "Range",
    "ReduceMean",
    "ReduceProd",
    "ReduceSum",
    "Reshape",
    "Resize",
    "Shape",
    "Slice",
    "Softmax",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Upsample",
    "Where",
];
const LISTS: &[&str] =
    &["axes", "dilations", "ends", "kernel_shape", "pads", "perm", "split", "starts", "strides"];
const NUMBERS: &[&str] =
    &["axis", "blocksize", "ceil_mode", "end", "group", "keepdims", "num_groups", "num_outputs", "start"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = sample().bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        survives(&bytes);
    }

    #[test]
    fn flipped_bits(at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let mut bytes = sample().bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        survives(&bytes);
    }

    #[test]
    fn cut_off(at in any::<prop::sample::Index>()) {
        let bytes = sample().bytes();
        survives(&bytes[..at.index(bytes.len())]);
    }

    #[test]
    fn nonsense(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&bytes);
    }

    #[test]
    fn operators_with_any_numbers(
        op in prop::sample::select(OPERATORS),
        opset in 7..=21i64,
        constant in any::<bool>(),
        dims in prop::collection::vec(1..5usize, 0..5),
        constants in prop::collection::vec(prop::option::of(prop::collection::vec(number(), 0..5)), 0..5),
        lists in prop::collection::vec((prop::sample::select(LISTS), prop::collection::vec(number(), 0..5)), 0..4),
        numbers in prop::collection::vec((prop::sample::select(NUMBERS), number()), 0..3),
        floating in any::<bool>(),
    ) {
        let attributes = lists.iter().map(|(name, values)| ints(name, values));
        let attributes = attributes.chain(numbers.iter().map(|&(name, value)| int(name, value))).collect();
        let tensors: Vec<Option<Tensor>> = constants
            .iter()
            .map(|values| values.as_ref().map(|values| match floating {
                true => f32s(&[values.len()], &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
                false => i64s(values),
            }))
            .collect();
        let mut model = one(opset, op, &dims, &tensors, attributes, 1);
        if constant {
            let first = TensorProto { name: "x".into(), ..tensor_proto("x", &counting(&dims)) };
            model = model.raw(first);
        }
        survives(&model.bytes());
    }
}

#[test]
fn the_sample_is_valid() {
    let graph = sample().import().expect("a valid model");
    assert_eq!(graph.outputs().len(), 3);
}

#[test]
fn bodies_within_bodies_end() {
    let mut body = GraphProto::default();
    for _ in 0..500 {
        let attribute =
            AttributeProto { name: "body".into(), g: Some(body), r#type: 5, ..AttributeProto::default() };
        let node = NodeProto { op_type: "Loop".into(), attribute: vec![attribute], ..NodeProto::default() };
        body = GraphProto { node: vec![node], ..GraphProto::default() };
    }
    let mut model = Builder::new(13);
    *model.graph() = body;
    assert!(matches!(model.import(), Err(OnnxError::Encoding { .. })));
}

#[test]
fn constants_that_grow_are_not_computed() {
    // 2^40 bytes after ten steps; only the first few are small enough to be computed on the way.
    let mut model = Builder::new(13).weight("c0", &counting(&[1, 1024])).weight("by", &i64s(&[8, 1]));
    for step in 0..9 {
        let (from, to) = (format!("c{step}"), format!("c{}", step + 1));
        model = model.node("Tile", &[&from, "by"], &[&to], vec![]);
    }
    let graph = model.output("c9").import().expect("a valid model");
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [1 << 27, 1024]);
    let filled = Builder::new(13)
        .weight("shape", &i64s(&[1 << 20, 1 << 20]))
        .node("ConstantOfShape", &["shape"], &["y"], vec![])
        .output("y");
    assert!(filled.import().expect("a valid model").len() <= 2);
}

#[test]
fn work_on_constants_is_bounded() {
    // Each product is small enough to keep, but takes 2^33 multiplications.
    let mut model = Builder::new(13)
        .weight("one", &counting(&[1, 1]))
        .weight("wide", &i64s(&[2048, 2048]))
        .node("Expand", &["one", "wide"], &["m0"], vec![]);
    for step in 0..4 {
        let (from, to) = (format!("m{step}"), format!("m{}", step + 1));
        model = model.node("MatMul", &[&from, &from], &[&to], vec![]);
    }
    assert!(model.output("m4").import().expect("a valid model").len() > 4);
}
