"""Elementwise functions of one, two and more operands."""

import numpy
from onnx import TensorProto, helper

from .suite import Constant, Draw, Suite, floats, normal, uniform

SHAPE = (2, 5, 4, 3)


def _over(low: float, high: float) -> Draw:
    """Evenly spaced floats, so that every part of a function's range is met."""
    return lambda _: numpy.linspace(low, high, 120, dtype=numpy.float32).reshape(SHAPE)


# Name: opset, operator, inputs, attributes.
UNARY = {
    "relu": (7, "Relu", _over(-3, 3), {}),
    "relu_opset14": (14, "Relu", normal(1, 7, 3, 3), {}),
    "leaky_relu": (7, "LeakyRelu", _over(-3, 3), {}),
    "leaky_relu_alpha": (16, "LeakyRelu", _over(-3, 3), {"alpha": 0.2}),
    "leaky_relu_negative_alpha": (7, "LeakyRelu", _over(-3, 3), {"alpha": -0.5}),
    "elu": (7, "Elu", _over(-12, 4), {}),
    "elu_alpha": (7, "Elu", _over(-12, 4), {"alpha": 0.3}),
    "sigmoid": (7, "Sigmoid", _over(-20, 20), {}),
    "sigmoid_opset13": (13, "Sigmoid", _over(-100, 100), {}),
    "hard_sigmoid": (7, "HardSigmoid", _over(-5, 5), {}),
    "hard_sigmoid_sixth": (13, "HardSigmoid", _over(-5, 5), {"alpha": 1 / 6, "beta": 0.5}),
    "hard_swish": (14, "HardSwish", _over(-5, 5), {}),
    "tanh": (7, "Tanh", _over(-12, 12), {}),
    "tanh_small": (13, "Tanh", _over(-1e-3, 1e-3), {}),
    "exp": (7, "Exp", _over(-20, 5), {}),
    "exp_tiny_results": (13, "Exp", _over(-86, -60), {}),
    "exp_large_results": (13, "Exp", _over(60, 88), {}),
    "log": (7, "Log", _over(1e-3, 10), {}),
    "log_extreme": (13, "Log", lambda _: numpy.logspace(-37, 38, 60, dtype=numpy.float32), {}),
    "sqrt": (7, "Sqrt", _over(0, 100), {}),
    "abs": (7, "Abs", _over(-3, 3), {}),
    "neg": (7, "Neg", _over(-3, 3), {}),
    "erf": (9, "Erf", _over(-5, 5), {}),
    "erf_small": (13, "Erf", _over(-0.01, 0.01), {}),
    "softplus": (7, "Softplus", _over(-20, 20), {}),
    "softplus_extreme": (7, "Softplus", _over(-100, 100), {}),
    "softsign": (7, "Softsign", _over(-20, 20), {}),
    "selu": (7, "Selu", _over(-12, 4), {}),
    "thresholded_relu": (10, "ThresholdedRelu", _over(-3, 3), {"alpha": 0.7}),
    "mish": (18, "Mish", _over(-20, 20), {}),
    "gelu": (20, "Gelu", _over(-6, 6), {}),
    "gelu_tanh": (20, "Gelu", _over(-6, 6), {"approximate": "tanh"}),
    "floor": (7, "Floor", _over(-3, 3), {}),
    "ceil": (7, "Ceil", _over(-3, 3), {}),
    "floor_halves": (13, "Floor", floats([-2.5, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 2.5, 1e9, -1e9]), {}),
    "round": (11, "Round", floats([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49, 3.51]), {}),
    "sign": (13, "Sign", floats([-2.0, -0.0, 0.0, 3.0, -1e-30, 1e30]), {}),
    "sin": (7, "Sin", _over(-20, 20), {}),
    "sin_far": (7, "Sin", _over(-8000, 8000), {}),
    "cos": (7, "Cos", _over(-20, 20), {}),
    "tan": (7, "Tan", _over(-1.5, 1.5), {}),
    "asin": (7, "Asin", _over(-1, 1), {}),
    "acos": (7, "Acos", _over(-1, 1), {}),
    "atan": (7, "Atan", _over(-20, 20), {}),
    "sinh": (9, "Sinh", _over(-10, 10), {}),
    "sinh_small": (9, "Sinh", _over(-0.01, 0.01), {}),
    "cosh": (9, "Cosh", _over(-10, 10), {}),
    "asinh": (9, "Asinh", _over(-20, 20), {}),
    "acosh": (9, "Acosh", _over(1, 20), {}),
    "atanh": (9, "Atanh", _over(-0.99, 0.99), {}),
    "reciprocal": (7, "Reciprocal", _over(0.1, 20), {}),
    "reciprocal_negative": (13, "Reciprocal", _over(-20, -0.1), {}),
    "identity": (7, "Identity", normal(*SHAPE), {}),
    "dropout_opset7": (7, "Dropout", normal(2, 10), {"ratio": 0.3}),
    "dropout_opset12": (12, "Dropout", normal(2, 10), {}),
    "clip_attributes": (7, "Clip", _over(-3, 9), {"min": 0.0, "max": 6.0}),
    "clip_attribute_min": (10, "Clip", _over(-3, 9), {"min": -1.0}),
    "clip_no_attributes": (7, "Clip", _over(-3, 9), {}),
    "scalar_sigmoid": (13, "Sigmoid", floats(0.3), {}),
    "vector_tail_exp": (13, "Exp", normal(13), {}),
}

# Name: shapes of the two operands.
BROADCASTS = {
    "same": ((1, 5, 4, 3), (1, 5, 4, 3)),
    "channels": ((1, 6, 4, 4), (6, 1, 1)),
    "scalar": ((2, 5, 3), ()),
    "row": ((2, 5, 7), (7,)),
    "outer": ((5, 1), (1, 7)),
    "gate": ((2, 8, 5, 5), (2, 8, 1, 1)),
    "smaller_left": ((1, 6, 1, 1), (2, 6, 3, 3)),
}
OPSETS = (7, 13, 14, 21)


def add_cases(suite: Suite):
    for name, (opset, op_type, draw, attributes) in UNARY.items():
        suite.operator(name, opset, op_type, {"x": draw}, **attributes)
    _add_clips(suite)
    _add_binary(suite)
    _add_prelus(suite)
    _add_expanded_activations(suite)
    for target, name in ((TensorProto.INT32, "int32"), (TensorProto.INT64, "int64"), (TensorProto.FLOAT, "float")):
        suite.operator(f"cast_float_to_{name}", 13, "Cast", {"x": uniform(-50, 50, 3, 7)}, to=target)
    suite.operator("cast_float_to_bool", 13, "Cast", {"x": floats([0.0, -0.0, 1.0, -2.5, 0.25])}, to=TensorProto.BOOL)
    for dtype in (numpy.uint8, numpy.int32, numpy.int64, numpy.bool_):
        draw = lambda random, dtype=dtype: random.integers(0, 2 if dtype is numpy.bool_ else 200, (2, 9)).astype(dtype)
        suite.operator(f"cast_{numpy.dtype(dtype).name}_to_float", 9, "Cast", {"x": draw}, to=TensorProto.FLOAT)


def _add_clips(suite: Suite):
    low, high = Constant(floats(-0.5)), Constant(floats(1.5))
    for name, opset, bounds in (
        ("clip_inputs", 11, {"low": low, "high": high}),
        ("clip_inputs_opset13", 13, {"low": low, "high": high}),
        ("clip_input_low", 12, {"low": low}),
        ("clip_input_high", 13, {"low": None, "high": high}),
        ("clip_inputs_none", 13, {}),
        # The specification: where low exceeds high, all elements become high.
        ("clip_inputs_crossed", 13, {"low": high, "high": low}),
    ):
        suite.operator(name, opset, "Clip", {"x": _over(-3, 3)} | bounds)
    nodes = [
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], value_float=6.0),
        helper.make_node("Clip", ["x", "low", "high"], ["y"]),
    ]
    suite.graph("clip_constant_nodes", 13, nodes, {"x": _over(-3, 9)})


def _add_binary(suite: Suite):
    for op_type in ("Add", "Sub", "Mul", "Div"):
        for index, (name, (left, right)) in enumerate(BROADCASTS.items()):
            divisor = uniform(0.5, 3, *right) if op_type == "Div" else normal(*right)
            right_value = Constant(divisor) if index % 2 else divisor
            opset = OPSETS[index % len(OPSETS)]
            suite.operator(f"{op_type.lower()}_{name}", opset, op_type, {"a": normal(*left), "b": right_value})
    suite.operator("sub_from_constant", 13, "Sub", {"a": Constant(floats(1.0)), "b": normal(3, 5)})
    suite.operator("div_from_constant", 13, "Div", {"a": Constant(floats(1.0)), "b": uniform(0.5, 3, 3, 5)})
    suite.operator("pow_square", 7, "Pow", {"a": normal(3, 5), "b": Constant(floats(2.0))})
    suite.operator("pow_cube", 13, "Pow", {"a": normal(3, 5), "b": Constant(floats(3.0))})
    suite.operator("pow_half", 12, "Pow", {"a": uniform(0, 5, 3, 5), "b": Constant(floats(0.5))})
    suite.operator("pow_elementwise", 15, "Pow", {"a": uniform(0.1, 5, 3, 5), "b": normal(3, 5)})
    suite.operator("pow_broadcast", 13, "Pow", {"a": uniform(0.1, 5, 2, 4, 3), "b": normal(4, 1)})
    for op_type in ("Max", "Min"):
        stem = op_type.lower()
        suite.operator(f"{stem}_two", 8, op_type, {"a": normal(2, 3, 4), "b": normal(2, 3, 4)})
        suite.operator(f"{stem}_broadcast", 13, op_type, {"a": normal(2, 3, 4), "b": Constant(normal(3, 1))})
        suite.operator(f"{stem}_scalar", 13, op_type, {"a": normal(3, 4), "b": Constant(floats(0.25))})
        suite.operator(f"{stem}_three", 8, op_type, {"a": normal(3, 4), "b": normal(4), "c": normal(3, 1)})
        suite.operator(f"{stem}_one", 13, op_type, {"a": normal(3, 4)})
    suite.operator("sum_three", 8, "Sum", {"a": normal(3, 4), "b": normal(4), "c": normal(3, 1)})


def _add_prelus(suite: Suite):
    for name, opset, shape, slope in (
        ("channels", 9, (1, 6, 4, 4), (6, 1, 1)),
        ("one", 9, (1, 6, 4, 4), (1,)),
        ("same", 16, (2, 3, 5), (2, 3, 5)),
        ("rank2", 7, (3, 5), (5,)),
    ):
        suite.operator(f"prelu_{name}", opset, "PRelu", {"x": normal(*shape), "slope": Constant(normal(*slope))})


def _add_expanded_activations(suite: Suite):
    """Activations written out by their definitions, as exporters of old opsets do."""
    node = helper.make_node
    nodes = [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])]
    suite.graph("silu_expanded", 13, nodes, {"x": _over(-9, 9)})
    suite.graph(
        "hard_swish_expanded",
        13,
        [
            node("Add", ["x", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["c"]),
            node("Div", ["c", "six"], ["d"]),
            node("Mul", ["x", "d"], ["y"]),
        ],
        {"x": _over(-5, 5), **{name: Constant(floats(v)) for name, v in (("zero", 0.0), ("three", 3.0), ("six", 6.0))}},
    )
    suite.graph(
        "gelu_expanded",
        13,
        [
            node("Div", ["x", "root2"], ["d"]),
            node("Erf", ["d"], ["e"]),
            node("Add", ["e", "one"], ["a"]),
            node("Mul", ["x", "a"], ["m"]),
            node("Mul", ["m", "half"], ["y"]),
        ],
        {"x": _over(-6, 6), **{n: Constant(floats(v)) for n, v in (("root2", 2**0.5), ("one", 1.0), ("half", 0.5))}},
    )
    suite.graph(
        "hard_swish_by_hard_sigmoid",
        11,
        [node("HardSigmoid", ["x"], ["h"], alpha=1 / 6, beta=0.5), node("Mul", ["x", "h"], ["y"])],
        {"x": _over(-5, 5)},
    )
    suite.graph(
        "mish_expanded",
        13,
        [node("Softplus", ["x"], ["s"]), node("Tanh", ["s"], ["t"]), node("Mul", ["x", "t"], ["y"])],
        {"x": _over(-20, 20)},
    )
