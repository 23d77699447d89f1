"""Reductions over axes, softmax and its logarithm."""

from .suite import Constant, Suite, integers, normal

# Name: shape, axes or None for all, keepdims.
REDUCTIONS = {
    "spatial": ((1, 6, 5, 4), [2, 3], 1),
    "spatial_dropped": ((2, 6, 5, 4), [2, 3], 0),
    "channels": ((1, 7, 4, 4), [1], 1),
    "last": ((3, 5, 9), [-1], 0),
    "first": ((3, 5, 9), [0], 0),
    "apart": ((2, 3, 4, 5), [0, 2], 1),
    "all": ((2, 3, 4), None, 1),
    "all_dropped": ((2, 3, 4), None, 0),
}
# The first opset at which each operator takes its axes as an input.
AXES_AS_INPUT = {"ReduceMean": 18, "ReduceSum": 13, "ReduceMax": 18, "ReduceMin": 18}


def add_cases(suite: Suite):
    for op_type, since in AXES_AS_INPUT.items():
        stem = op_type.lower().replace("reduce", "reduce_")
        for index, (name, (shape, axes, keepdims)) in enumerate(REDUCTIONS.items()):
            x = {"x": normal(*shape)}
            if index % 2 == 0:
                attributes = {} if axes is None else {"axes": axes}
                # Negative axes came with opset 11.
                suite.operator(f"{stem}_{name}", 11, op_type, x, keepdims=keepdims, **attributes)
            else:
                values = x if axes is None else x | {"axes": Constant(integers(axes))}
                suite.operator(f"{stem}_{name}", since, op_type, values, keepdims=keepdims)
    suite.operator("reduce_mean_axes_attribute_opset7", 7, "ReduceMean", {"x": normal(1, 4, 3, 3)}, axes=[2, 3])
    suite.operator("reduce_mean_axes_input_opset21", 21, "ReduceMean",
                   {"x": normal(1, 4, 3, 3), "axes": Constant(integers([-2, -1]))})
    suite.operator("reduce_sum_no_axes_is_noop", 13, "ReduceSum",
                   {"x": normal(2, 3), "axes": Constant(integers([]))}, noop_with_empty_axes=1)

    for op_type, stem in (("Softmax", "softmax"), ("LogSoftmax", "log_softmax")):
        # Below opset 13 the input is seen as a matrix, split before the axis, which is 1 unless given.
        suite.operator(f"{stem}_opset7_default", 7, op_type, {"x": normal(2, 5, 3)})
        suite.operator(f"{stem}_opset7_logits", 7, op_type, {"x": normal(2, 10)})
        suite.operator(f"{stem}_opset11_image", 11, op_type, {"x": normal(1, 4, 3, 3)}, axis=1)
        suite.operator(f"{stem}_opset11_negative", 11, op_type, {"x": normal(2, 3, 5)}, axis=-1)
        suite.operator(f"{stem}_opset13_default", 13, op_type, {"x": normal(2, 5, 3)})
        suite.operator(f"{stem}_opset13_channels", 13, op_type, {"x": normal(1, 6, 3, 4)}, axis=1)
        suite.operator(f"{stem}_opset21_first", 21, op_type, {"x": normal(5, 3)}, axis=0)
        suite.operator(f"{stem}_large_inputs", 13, op_type, {"x": normal(3, 17, scale=100)}, axis=-1)
    suite.operator("softmax_thousand_classes", 13, "Softmax", {"x": normal(1, 1000, scale=4)}, axis=1)
    suite.operator("softmax_one_class", 13, "Softmax", {"x": normal(3, 1)}, axis=1)
