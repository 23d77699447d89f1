"""Operators that move elements: shapes, permutations, joins, cuts, and the arithmetic on shapes around them."""

import numpy
import onnx
from onnx import helper, numpy_helper

from .suite import Constant, Suite, floats, integers, normal

PERMUTATIONS = {
    "reverse": ((2, 3, 4), None),
    "matrix": ((5, 7), [1, 0]),
    "nchw_to_nhwc": ((1, 6, 4, 5), [0, 2, 3, 1]),
    "nhwc_to_nchw": ((1, 4, 5, 6), [0, 3, 1, 2]),
    "identity": ((2, 3, 4), [0, 1, 2]),
    "rank5": ((1, 2, 3, 4, 5), [0, 2, 1, 3, 4]),
    "batch": ((3, 4, 5), [1, 0, 2]),
}

# Name: starts, ends, axes or None, steps or None; of a tensor of shape 4, 6, 8.
SLICES = {
    "first": ([1], [3], [0], None),
    "all_axes": ([0, 1, 2], [4, 5, 7], None, None),
    "two_axes": ([1, 0], [4, 5], [1, 2], None),
    "negative_bounds": ([-3], [-1], [2], None),
    "end_clamped": ([2], [9223372036854775807], [1], None),
    "start_clamped": ([-100], [2], [1], None),
    "negative_axis": ([1], [3], [-1], None),
    "empty": ([3], [3], [1], None),
    "steps": ([0, 1], [6, 8], [1, 2], [2, 3]),
    "reversed": ([-1], [-9223372036854775808], [2], [-1]),
    "negative_step": ([7], [0], [2], [-2]),
    "negative_step_clamped": ([100], [-100], [1], [-3]),
}


def add_cases(suite: Suite):
    for index, (name, (shape, perm)) in enumerate(PERMUTATIONS.items()):
        attributes = {} if perm is None else {"perm": perm}
        suite.operator(f"transpose_{name}", (7, 13, 21)[index % 3], "Transpose", {"x": normal(*shape)}, **attributes)
    _add_reshapes(suite)
    _add_joins_and_cuts(suite)
    _add_slices(suite)
    _add_pads(suite)
    _add_gathers(suite)
    _add_shape_arithmetic(suite)


def _add_reshapes(suite: Suite):
    for name, opset, shape, target in (
        ("plain", 7, (2, 6), [3, 4]),
        ("minus_one", 7, (2, 3, 4), [2, -1]),
        ("zero_copies", 13, (2, 3, 4), [0, -1]),
        ("zeros", 14, (2, 3, 4), [0, 0, 2, 2]),
        ("to_vector", 21, (2, 3, 4), [-1]),
        ("to_rank5", 9, (1, 8, 3, 3), [1, 2, 4, 3, 3]),
        ("ones", 13, (1, 8, 1, 1), [1, 8]),
    ):
        suite.operator(f"reshape_{name}", opset, "Reshape", {"x": normal(*shape), "shape": Constant(integers(target))})
    for name, opset, attributes in (("default", 7, {}), ("axis0", 9, {"axis": 0}), ("axis2", 13, {"axis": 2}),
                                    ("axis_negative", 11, {"axis": -1}), ("axis_rank", 21, {"axis": 4})):
        suite.operator(f"flatten_{name}", opset, "Flatten", {"x": normal(2, 3, 2, 2)}, **attributes)
    suite.operator("squeeze_attribute", 7, "Squeeze", {"x": normal(1, 6, 1, 1)}, axes=[2, 3])
    suite.operator("squeeze_all", 7, "Squeeze", {"x": normal(1, 6, 1, 4)})
    suite.operator("squeeze_negative", 11, "Squeeze", {"x": normal(2, 6, 1)}, axes=[-1])
    suite.operator("squeeze_input", 13, "Squeeze", {"x": normal(1, 6, 1, 1), "axes": Constant(integers([2, -1]))})
    suite.operator("squeeze_all_opset13", 13, "Squeeze", {"x": normal(1, 6, 1, 4)})
    suite.operator("unsqueeze_attribute", 7, "Unsqueeze", {"x": normal(3, 4)}, axes=[0, 3])
    suite.operator("unsqueeze_negative", 11, "Unsqueeze", {"x": normal(3, 4)}, axes=[-1, 1])
    suite.operator("unsqueeze_input", 13, "Unsqueeze", {"x": normal(3, 4), "axes": Constant(integers([2, 3]))})
    for name, shape, target in (
        ("channels", (3, 1, 1), [2, 3, 4, 4]),
        ("smaller_target", (2, 3, 4), [3, 1]),
        ("scalar", (), [2, 3]),
        ("same", (2, 3), [2, 3]),
    ):
        suite.operator(f"expand_{name}", 8, "Expand", {"x": normal(*shape), "shape": Constant(integers(target))})
    suite.operator("tile_two_axes", 13, "Tile", {"x": normal(2, 3), "repeats": Constant(integers([2, 3]))})


def _add_joins_and_cuts(suite: Suite):
    for name, opset, shapes, axis in (
        ("channels", 7, [(1, 3, 4, 4), (1, 5, 4, 4)], 1),
        ("three", 11, [(2, 3), (2, 1), (2, 4)], -1),
        ("batch", 13, [(1, 3, 2), (2, 3, 2)], 0),
        ("width", 13, [(1, 2, 3, 4), (1, 2, 3, 1)], 3),
        ("one", 13, [(2, 3)], 0),
    ):
        values = {f"x{index}": normal(*shape) for index, shape in enumerate(shapes)}
        suite.operator(f"concat_{name}", opset, "Concat", values, axis=axis)
    x = {"x": normal(1, 6, 4)}
    suite.operator("split_equal", 7, "Split", x, outputs=2, axis=1)
    suite.operator("split_attribute", 11, "Split", x, outputs=3, axis=1, split=[1, 2, 3])
    suite.operator("split_input", 13, "Split", x | {"split": Constant(integers([2, 4]))}, outputs=2, axis=-2)
    suite.operator("split_num_outputs", 18, "Split", {"x": normal(1, 7, 4)}, outputs=3, axis=1, num_outputs=3)
    suite.operator("split_default_axis", 13, "Split", {"x": normal(4, 3)}, outputs=2)


def _add_slices(suite: Suite):
    for index, (name, (starts, ends, axes, steps)) in enumerate(SLICES.items()):
        x = {"x": normal(4, 6, 8)}
        if steps is None and index % 2:
            attributes = {"starts": starts, "ends": ends} | ({} if axes is None else {"axes": axes})
            suite.operator(f"slice_{name}_attributes", 9, "Slice", x, **attributes)
        inputs = {"starts": Constant(integers(starts)), "ends": Constant(integers(ends))}
        if axes is not None:
            inputs["axes"] = Constant(integers(axes))
        if steps is not None:
            inputs["steps"] = Constant(integers(steps))
        suite.operator(f"slice_{name}", (10, 11, 13)[index % 3], "Slice", x | inputs)


def _add_pads(suite: Suite):
    x = {"x": normal(1, 3, 4, 5)}
    amounts = [0, 0, 1, 2, 0, 0, 3, 1]
    suite.operator("pad_attributes", 7, "Pad", x, pads=amounts, value=1.5)
    suite.operator("pad_attributes_edge", 9, "Pad", x, pads=amounts, mode="edge")
    suite.operator("pad_attributes_reflect", 10, "Pad", x, pads=amounts, mode="reflect")
    pads = {"pads": Constant(integers(amounts))}
    suite.operator("pad_default_zero", 11, "Pad", x | pads)
    suite.operator("pad_constant", 13, "Pad", x | pads | {"value": Constant(floats(-2.0))}, mode="constant")
    suite.operator("pad_edge", 13, "Pad", x | pads, mode="edge")
    suite.operator("pad_reflect", 13, "Pad", x | pads, mode="reflect")
    suite.operator("pad_axes", 18, "Pad", x | {
        "pads": Constant(integers([1, 2, 3, 0])), "value": Constant(floats(0.5)), "axes": Constant(integers([1, -1])),
    })
    suite.operator("pad_channels", 13, "Pad", x | {"pads": Constant(integers([0, 2, 0, 0, 0, 1, 0, 0]))})
    suite.operator("pad_negative", 13, "Pad", x | {"pads": Constant(integers([0, 0, -1, 0, 0, 0, 1, -2]))})
    node = helper.make_node
    nodes = [node("Pad", ["x", "pads"], ["p"]), node("Conv", ["p", "w"], ["y"], strides=[2, 2])]
    values = {"x": normal(1, 3, 8, 8), "w": Constant(normal(4, 3, 3, 3)),
              "pads": Constant(integers([0, 0, 0, 0, 0, 0, 1, 1]))}
    suite.graph("pad_before_conv", 13, nodes, values)


def _add_gathers(suite: Suite):
    x = {"x": normal(4, 5, 3)}
    suite.operator("gather_rows", 7, "Gather", x | {"indices": Constant(integers([2, 0]))})
    suite.operator("gather_axis", 11, "Gather", x | {"indices": Constant(integers([4, -1, 1]))}, axis=1)
    suite.operator("gather_scalar", 13, "Gather", x | {"indices": Constant(integers(1))}, axis=2)


def _constant(name: str, array) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(numpy.array(array), name))


def _add_shape_arithmetic(suite: Suite):
    """Shapes computed within the model, as exporters write `x.view(x.size(0), -1)` and the like."""
    node = helper.make_node
    x = {"x": normal(2, 3, 4, 4)}
    suite.graph(
        "shape_gather_concat_reshape",
        9,
        [
            node("Shape", ["x"], ["s"]),
            _constant("zero", numpy.int64(0)),
            node("Gather", ["s", "zero"], ["n"], axis=0),
            node("Unsqueeze", ["n"], ["n1"], axes=[0]),
            _constant("rest", [-1]),
            node("Concat", ["n1", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["y"]),
        ],
        x,
    )
    suite.graph(
        "shape_slice_cast_reshape",
        11,
        [
            node("Shape", ["x"], ["s"]),
            node("Cast", ["s"], ["s32"], to=6),
            *(_constant(name, [value]) for name, value in (("start", 0), ("end", 1), ("axis", 0), ("step", 1))),
            node("Slice", ["s32", "start", "end", "axis", "step"], ["n32"]),
            node("Cast", ["n32"], ["n"], to=7),
            _constant("rest", [48]),
            node("Concat", ["n", "rest"], ["target"], axis=-1),
            node("Reshape", ["x", "target"], ["y"]),
        ],
        x,
    )
    suite.graph(
        "shape_arithmetic_reshape",
        13,
        [
            node("Shape", ["x"], ["s"]),
            _constant("indices", [0, 1, 2]),
            node("Gather", ["s", "indices"], ["nch"]),
            _constant("factors", [1, 1, 2]),
            node("Mul", ["nch", "factors"], ["scaled"]),
            _constant("rest", [-1]),
            node("Concat", ["scaled", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["y"]),
        ],
        x,
    )
    suite.graph("shape_start_end_expand", 15,
                [node("Shape", ["x"], ["s"], start=0, end=4), node("Expand", ["one", "s"], ["y"])],
                x | {"one": Constant(floats([1.5]))})
    suite.graph(
        "constant_of_shape_add",
        9,
        [
            node("Shape", ["x"], ["s"]),
            node("ConstantOfShape", ["s"], ["c"], value=numpy_helper.from_array(numpy.array([2.5], numpy.float32))),
            node("Add", ["x", "c"], ["y"]),
        ],
        x,
    )
    suite.graph("constant_of_shape_default", 9,
                [_constant("s", [2, 3, 4, 4]), node("ConstantOfShape", ["s"], ["c"]), node("Sub", ["c", "x"], ["y"])],
                x)
    suite.graph("constant_node_add", 13,
                [_constant("c", numpy.arange(4, dtype=numpy.float32)), node("Add", ["x", "c"], ["y"])], x)
    suite.graph("constant_value_floats", 13,
                [node("Constant", [], ["c"], value_floats=[1.0, 2.0, 3.0, 4.0]), node("Mul", ["x", "c"], ["y"])], x)
    suite.graph("constant_value_ints", 13,
                [node("Constant", [], ["t"], value_ints=[2, -1]), node("Reshape", ["x", "t"], ["y"])], x)
