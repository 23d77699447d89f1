//! One operator at a time, each with what differs between its versions. Values are worked out by hand; the same
//! operators against ONNX Runtime are the task of the suite in `tests/`.

use super::*;

fn constant(op: &str, opset: i64, inputs: &[Tensor], attributes: Vec<AttributeProto>) -> Tensor {
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("c{i}")).collect();
    let mut builder = Builder::new(opset).input("x", &[1]).output("y");
    for (name, tensor) in names.iter().zip(inputs) {
        builder = builder.weight(name, tensor);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let graph = builder.node(op, &names, &["y"], attributes).import().expect("a valid model");
    graph.as_constant(graph.outputs()[0].value).expect("a constant").clone()
}

/// Both are close, NaN to NaN.
fn close(got: &Tensor, dims: &[usize], expected: &[f32]) {
    assert_eq!(got.shape().dims(), dims);
    let got = got.as_f32().expect("floats");
    let near =
        |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    assert!(got.iter().zip(expected).all(|(&a, &b)| near(a, b)), "{got:?} is not {expected:?}");
}

#[test]
fn convolution_adds_its_bias() {
    let (w, b) = (f32s(&[2, 1, 1, 1], &[2.0, 3.0]), f32s(&[2], &[0.5, -1.0]));
    let y = run(11, "Conv", &f32s(&[1, 1, 1, 2], &[1.0, 2.0]), &[Some(w), Some(b)], vec![]);
    close(&y, &[1, 2, 1, 2], &[2.5, 4.5, 2.0, 5.0]);
}

#[test]
fn auto_pad_puts_the_odd_one_where_it_belongs() {
    let w = || Some(f32s(&[1, 1, 1, 2], &[1.0, 1.0]));
    let x = f32s(&[1, 1, 1, 3], &[1.0, 2.0, 4.0]);
    let y = |mode| run(11, "Conv", &x, &[w()], vec![text("auto_pad", mode)]);
    close(&y("SAME_UPPER"), &[1, 1, 1, 3], &[3.0, 6.0, 4.0]);
    close(&y("SAME_LOWER"), &[1, 1, 1, 3], &[1.0, 3.0, 6.0]);
    close(&y("VALID"), &[1, 1, 1, 2], &[3.0, 6.0]);
}

#[test]
fn sequences_are_images_of_one_row() {
    let (x, w) = (f32s(&[1, 1, 4], &[1.0, 2.0, 3.0, 4.0]), f32s(&[1, 1, 2], &[1.0, 10.0]));
    let y = run(11, "Conv", &x, &[Some(w)], vec![ints("strides", &[2]), ints("pads", &[1, 0])]);
    close(&y, &[1, 1, 2], &[10.0, 32.0]);
    let y = run(11, "MaxPool", &x, &[], vec![ints("kernel_shape", &[2]), ints("strides", &[2])]);
    close(&y, &[1, 1, 2], &[2.0, 4.0]);
}

#[test]
fn pooling() {
    let x = counting(&[1, 1, 3, 3]);
    let attributes = |extra: Vec<AttributeProto>| [vec![ints("kernel_shape", &[2, 2])], extra].concat();
    close(&run(7, "MaxPool", &x, &[], attributes(vec![])), &[1, 1, 2, 2], &[4.0, 5.0, 7.0, 8.0]);
    let ceil = vec![ints("strides", &[2, 2]), int("ceil_mode", 1)];
    close(&run(10, "AveragePool", &x, &[], attributes(ceil)), &[1, 1, 2, 2], &[2.0, 3.5, 6.5, 8.0]);
    let padded = |count| vec![ints("pads", &[1, 1, 0, 0]), int("count_include_pad", count)];
    let corner = |count| run(7, "AveragePool", &f32s(&[1, 1, 1, 1], &[4.0]), &[], attributes(padded(count)));
    close(&corner(0), &[1, 1, 1, 1], &[4.0]);
    close(&corner(1), &[1, 1, 1, 1], &[1.0]);
    close(&run(7, "GlobalAveragePool", &x, &[], vec![]), &[1, 1, 1, 1], &[4.0]);
    close(&run(7, "GlobalMaxPool", &x, &[], vec![]), &[1, 1, 1, 1], &[8.0]);
}

#[test]
fn gemm_drops_factors_of_one_and_an_offset_times_zero() {
    let (x, w) = (f32s(&[1, 2], &[1.0, 2.0]), || Some(f32s(&[1, 2], &[3.0, 4.0])));
    let c = || Some(f32s(&[1], &[5.0]));
    let plain = vec![int("transB", 1)];
    let graph = one(13, "Gemm", &[1, 2], &[w(), c()], plain.clone(), 1).import().expect("a valid model");
    assert_eq!(graph.len(), 5, "input, two constants, product, sum:\n{graph}");
    close(&run(13, "Gemm", &x, &[w(), c()], plain), &[1, 1], &[16.0]);
    let factors = |beta| vec![int("transB", 1), float("alpha", 0.5), float("beta", beta)];
    close(&run(13, "Gemm", &x, &[w(), c()], factors(2.0)), &[1, 1], &[15.5]);
    close(&run(13, "Gemm", &x, &[w(), c()], factors(0.0)), &[1, 1], &[5.5]);
}

#[test]
fn products_of_vectors_lose_their_dimension() {
    let v = || Some(f32s(&[2], &[3.0, 4.0]));
    close(&run(13, "MatMul", &f32s(&[2], &[1.0, 2.0]), &[v()], vec![]), &[], &[11.0]);
    close(&run(13, "MatMul", &counting(&[2, 2]), &[v()], vec![]), &[2], &[4.0, 18.0]);
}

#[test]
fn clip_takes_its_limits_from_attributes_or_inputs() {
    let x = f32s(&[3], &[-2.0, 0.5, f32::INFINITY]);
    close(&run(7, "Clip", &x, &[], vec![float("max", 1.0)]), &[3], &[-2.0, 0.5, 1.0]);
    close(&run(7, "Clip", &x, &[], vec![]), &[3], &[-2.0, 0.5, f32::INFINITY]);
    let zero = Some(Tensor::scalar_f32(0.0));
    close(&run(11, "Clip", &x, &[zero], vec![]), &[3], &[0.0, 0.5, f32::INFINITY]);
    let high = Tensor::i64([], [4].as_slice()).expect("a scalar");
    let low = Tensor::i64([], [2].as_slice()).expect("a scalar");
    assert_eq!(constant("Clip", 12, &[i64s(&[1, 3, 9]), low, high], vec![]), i64s(&[2, 3, 4]));
}

#[test]
fn functions_made_of_others() {
    let x = f32s(&[3], &[-1.0, 0.0, 2.0]);
    close(&run(18, "Mish", &x, &[], vec![]), &[3], &[-0.303_401_5, 0.0, 1.943_958_9]);
    close(&run(20, "Gelu", &x, &[], vec![]), &[3], &[-0.158_655_25, 0.0, 1.954_499_7]);
    let tanh = vec![text("approximate", "tanh")];
    close(&run(20, "Gelu", &x, &[], tanh), &[3], &[-0.158_808, 0.0, 1.954_597_7]);
    close(&run(7, "Softsign", &x, &[], vec![]), &[3], &[-0.5, 0.0, 2.0 / 3.0]);
    close(&run(7, "Selu", &x, &[], vec![]), &[3], &[-1.111_330_7, 0.0, 2.101_402]);
    let others = [Some(f32s(&[1], &[1.0])), Some(f32s(&[3], &[0.0, 5.0, 2.0]))];
    close(&run(8, "Mean", &x, &others, vec![]), &[3], &[0.0, 2.0, 5.0 / 3.0]);
    close(&run(8, "Max", &x, &others, vec![]), &[3], &[1.0, 5.0, 2.0]);
}

#[test]
fn softmax_flattens_before_version_13() {
    let x = f32s(&[1, 2, 2], &[0.0, 0.0, 0.0, 0.0]);
    close(&run(11, "Softmax", &x, &[], vec![]), &[1, 2, 2], &[0.25; 4]);
    close(&run(13, "Softmax", &x, &[], vec![]), &[1, 2, 2], &[0.5; 4]);
    // Small probabilities have a logarithm.
    let x = f32s(&[1, 2], &[0.0, 200.0]);
    close(&run(13, "LogSoftmax", &x, &[], vec![]), &[1, 2], &[-200.0, 0.0]);
}

#[test]
fn reductions_take_axes_from_attributes_or_inputs() {
    let x = counting(&[2, 3]);
    close(&run(11, "ReduceMean", &x, &[], vec![ints("axes", &[-1])]), &[2, 1], &[1.0, 4.0]);
    close(&run(18, "ReduceMax", &x, &[Some(i64s(&[0]))], vec![int("keepdims", 0)]), &[3], &[3.0, 4.0, 5.0]);
    close(&run(13, "ReduceSum", &x, &[], vec![]), &[1, 1], &[15.0]);
    let noop = vec![int("noop_with_empty_axes", 1)];
    close(&run(13, "ReduceSum", &x, &[], noop), &[2, 3], x.as_f32().expect("floats"));
    close(&run(13, "ReduceL2", &f32s(&[2], &[3.0, -4.0]), &[], vec![]), &[1], &[5.0]);
    assert_eq!(
        constant("ReduceProd", 18, &[i64s(&[2, 3, 4])], vec![int("keepdims", 0)]).as_i64(),
        Some(&[24][..])
    );
}

#[test]
fn normalisations() {
    let x = f32s(&[1, 2, 1, 2], &[1.0, 3.0, 10.0, 30.0]);
    let (scale, offset) = (|| Some(f32s(&[2], &[1.0, 2.0])), || Some(f32s(&[2], &[0.0, 5.0])));
    let epsilon = || vec![float("epsilon", 0.0)];
    let y = run(7, "InstanceNormalization", &x, &[scale(), offset()], epsilon());
    close(&y, &[1, 2, 1, 2], &[-1.0, 1.0, 3.0, 7.0]);
    let y = run(17, "LayerNormalization", &x, &[scale(), offset()], epsilon());
    close(&y, &[1, 2, 1, 2], &[-1.0, 7.0, -1.0, 7.0]);
    let groups = [epsilon(), vec![int("num_groups", 2)]].concat();
    let y = run(21, "GroupNormalization", &x, &[scale(), offset()], groups);
    close(&y, &[1, 2, 1, 2], &[-1.0, 1.0, 3.0, 7.0]);
    let (mean, variance) = (Some(f32s(&[2], &[1.0, 10.0])), Some(f32s(&[2], &[4.0, 100.0])));
    let y = run(9, "BatchNormalization", &x, &[scale(), offset(), mean, variance], epsilon());
    close(&y, &[1, 2, 1, 2], &[0.0, 1.0, 5.0, 9.0]);
}

#[test]
fn reshape_keeps_and_completes_dimensions() {
    let dims = |opset, wanted: &[i64], attributes| {
        run(opset, "Reshape", &counting(&[2, 3, 4]), &[Some(i64s(wanted))], attributes)
            .shape()
            .dims()
            .to_vec()
    };
    assert_eq!(dims(7, &[0, -1], vec![]), [2, 12]);
    assert_eq!(dims(14, &[4, 1, -1], vec![int("allowzero", 1)]), [4, 1, 6]);
    let refused = |wanted: &[i64], attributes| {
        one(14, "Reshape", &[2, 3, 4], &[Some(i64s(wanted))], attributes, 1).refused()
    };
    assert!(refused(&[-1, -1], vec![]).contains("two dimensions"));
    assert!(refused(&[5, -1], vec![]).contains("can't take the shape"));
    assert!(refused(&[0, -1], vec![int("allowzero", 1)]).contains("can't take the shape"));
    assert!(refused(&[1, 1, 1, 0], vec![]).contains("which has none"));
}

#[test]
fn shapes_lose_and_gain_ones() {
    let shape = |opset, op, constants: &[Option<Tensor>], attributes| {
        run(opset, op, &counting(&[1, 2, 1]), constants, attributes).shape().dims().to_vec()
    };
    assert_eq!(shape(7, "Squeeze", &[], vec![]), [2]);
    assert_eq!(shape(7, "Squeeze", &[], vec![ints("axes", &[0])]), [2, 1]);
    assert_eq!(shape(13, "Squeeze", &[Some(i64s(&[-1]))], vec![]), [1, 2]);
    assert_eq!(shape(13, "Unsqueeze", &[Some(i64s(&[-1, 0]))], vec![]), [1, 1, 2, 1, 1]);
    assert_eq!(shape(13, "Flatten", &[], vec![int("axis", 2)]), [2, 1]);
    assert_eq!(shape(13, "Flatten", &[], vec![int("axis", 3)]), [2, 1]);
    assert_eq!(shape(13, "Flatten", &[], vec![int("axis", 0)]), [1, 2]);
}

#[test]
fn slices_count_from_either_end_and_are_clamped() {
    let x = counting(&[5]);
    let slice = |start, end, step| {
        let inputs = [start, end, 0, step].map(|v| Some(i64s(&[v])));
        run(13, "Slice", &x, &inputs, vec![]).as_f32().expect("floats").to_vec()
    };
    assert_eq!(slice(1, -1, 1), [1.0, 2.0, 3.0]);
    assert_eq!(slice(-2, i64::MAX, 1), [3.0, 4.0]);
    assert_eq!(slice(-1, i64::MIN, -2), [4.0, 2.0, 0.0]);
    assert_eq!(slice(i64::MAX, 2, -1), [4.0, 3.0]);
    assert_eq!(slice(0, 5, i64::MAX), [0.0]);
    assert_eq!(slice(3, 1, 1), [0.0; 0]);
    let old = vec![ints("starts", &[1]), ints("ends", &[100])];
    close(&run(7, "Slice", &x, &[], old), &[4], &[1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn split_by_sizes_or_into_equal_parts() {
    let parts = |opset, constants: &[Option<Tensor>], attributes, count| {
        let graph = one(opset, "Split", &[5], constants, attributes, count).import().expect("a valid model");
        graph.outputs().iter().map(|o| graph.ty(o.value).dims()[0]).collect::<Vec<_>>()
    };
    assert_eq!(parts(7, &[], vec![ints("split", &[2, 3])], 2), [2, 3]);
    assert_eq!(parts(13, &[Some(i64s(&[4, 1]))], vec![], 2), [4, 1]);
    assert_eq!(parts(18, &[], vec![int("num_outputs", 2)], 2), [3, 2]);
    assert!(
        one(18, "Split", &[5], &[], vec![int("num_outputs", i64::MAX)], 2).refused().contains("2 outputs")
    );
    assert!(one(13, "Split", &[5], &[Some(i64s(&[4, 2]))], vec![], 2).refused().contains("of 5 elements"));
}

#[test]
fn pads_may_cut() {
    let x = counting(&[3]);
    let old = vec![ints("pads", &[1, 0]), float("value", 7.0)];
    close(&run(7, "Pad", &x, &[], old), &[4], &[7.0, 0.0, 1.0, 2.0]);
    let pads = Some(i64s(&[-1, 2]));
    close(&run(13, "Pad", &x, std::slice::from_ref(&pads), vec![]), &[4], &[1.0, 2.0, 0.0, 0.0]);
    close(&run(13, "Pad", &x, &[pads], vec![text("mode", "edge")]), &[4], &[1.0, 2.0, 2.0, 2.0]);
    let mirrored = run(13, "Pad", &x, &[Some(i64s(&[2, 1]))], vec![text("mode", "reflect")]);
    close(&mirrored, &[6], &[2.0, 1.0, 0.0, 1.0, 2.0, 1.0]);
}

#[test]
fn gather_of_computed_data_is_slices() {
    let x = counting(&[2, 3]);
    let scalar = Tensor::i64([], [-1].as_slice()).expect("a scalar");
    close(&run(13, "Gather", &x, &[Some(scalar)], vec![int("axis", 1)]), &[2], &[2.0, 5.0]);
    let scattered = run(13, "Gather", &x, &[Some(i64s(&[2, 0, 0]))], vec![int("axis", 1)]);
    close(&scattered, &[2, 3], &[2.0, 0.0, 0.0, 5.0, 3.0, 3.0]);
    assert!(one(13, "Gather", &[2, 3], &[Some(i64s(&[2]))], vec![], 1).refused().contains("index 2 of 2"));
}

#[test]
fn gather_of_constants_takes_any_indices() {
    let taken = constant("Gather", 13, &[i64s(&[10, 20, 30]), i64s(&[2, -3, 2, 1])], vec![]);
    assert_eq!(taken, i64s(&[30, 10, 30, 20]));
    let inner = constant("Gather", 13, &[counting(&[2, 2, 2]), i64s(&[1])], vec![int("axis", 1)]);
    close(&inner, &[2, 1, 2], &[2.0, 3.0, 6.0, 7.0]);
}

#[test]
fn repetition() {
    let x = counting(&[2, 1]);
    close(
        &run(13, "Tile", &x, &[Some(i64s(&[2, 3]))], vec![]),
        &[4, 3],
        &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0],
    );
    close(&run(13, "Expand", &x, &[Some(i64s(&[1, 2]))], vec![]), &[2, 2], &[0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn blocks_become_channels_and_back() {
    let x = counting(&[1, 4, 1, 1]);
    for mode in ["DCR", "CRD"] {
        let attributes = vec![int("blocksize", 2), text("mode", mode)];
        close(&run(11, "DepthToSpace", &x, &[], attributes), &[1, 1, 2, 2], &[0.0, 1.0, 2.0, 3.0]);
    }
    let y = run(13, "SpaceToDepth", &counting(&[1, 1, 2, 2]), &[], vec![int("blocksize", 2)]);
    close(&y, &[1, 4, 1, 1], &[0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn resizing_by_scales_or_sizes() {
    let x = f32s(&[1, 1, 1, 2], &[1.0, 3.0]);
    let up = vec![floats("scales", &[1.0, 1.0, 1.0, 2.0])];
    close(&run(7, "Upsample", &x, &[], up), &[1, 1, 1, 4], &[1.0, 1.0, 3.0, 3.0]);
    let sizes = Some(i64s(&[1, 1, 1, 4]));
    let linear = vec![text("mode", "linear")];
    close(&run(13, "Resize", &x, &[None, None, sizes], linear.clone()), &[1, 1, 1, 4], &[1.0, 1.5, 2.5, 3.0]);
    let some = [linear, vec![ints("axes", &[3])]].concat();
    let scales = Some(f32s(&[1], &[2.0]));
    close(&run(18, "Resize", &x, &[None, scales], some), &[1, 1, 1, 4], &[1.0, 1.5, 2.5, 3.0]);
    let nothing = Some(f32s(&[4], &[1.0, 1.0, 1.0, 0.1]));
    assert!(one(13, "Resize", &[1, 1, 1, 2], &[None, nothing], vec![], 1).refused().contains("scales"));
}

#[test]
fn constants_are_computed_on_the_way() {
    assert_eq!(constant("ConstantOfShape", 9, &[i64s(&[2])], vec![]), f32s(&[2], &[0.0, 0.0]));
    let number = |v: i64| Tensor::i64([], [v].as_slice()).expect("a scalar");
    assert_eq!(constant("Range", 11, &[number(3), number(-3), number(-2)], vec![]), i64s(&[3, 1, -1]));
    assert_eq!(constant("Mod", 10, &[i64s(&[-7, 7]), i64s(&[3, -3])], vec![]), i64s(&[2, -2]));
    assert_eq!(constant("Mod", 10, &[i64s(&[-7]), i64s(&[3])], vec![int("fmod", 1)]), i64s(&[-1]));
    assert_eq!(constant("Div", 7, &[i64s(&[9]), i64s(&[2])], vec![]), i64s(&[4]));
    let less = constant("Less", 9, &[i64s(&[1, 5]), i64s(&[3])], vec![]);
    assert_eq!(
        constant("Where", 9, &[less.clone(), counting(&[2]), f32s(&[1], &[9.0])], vec![]),
        f32s(&[2], &[0.0, 9.0])
    );
    assert_eq!(constant("Cast", 13, &[less], vec![int("to", 7)]), i64s(&[1, 0]));
}

#[test]
fn shapes_are_constants() {
    // Batch by -1, as exporters write Flatten.
    let graph = Builder::new(13)
        .input("x", &[2, 3, 4])
        .weight("first", &i64s(&[0]))
        .weight("minus", &i64s(&[-1]))
        .node("Shape", &["x"], &["shape"], vec![])
        .node("Gather", &["shape", "first"], &["batch"], vec![])
        .node("Concat", &["batch", "minus"], &["wanted"], vec![int("axis", 0)])
        .node("Reshape", &["x", "wanted"], &["y"], vec![])
        .output("y")
        .import()
        .expect("a valid model");
    assert_eq!(graph.len(), 2, "{graph}");
    assert_eq!(graph.ty(graph.outputs()[0].value).dims(), [2, 12]);
    let part = constant("Shape", 15, &[counting(&[2, 3, 4])], vec![int("start", -2), int("end", 100)]);
    assert_eq!(part, i64s(&[3, 4]));
}
