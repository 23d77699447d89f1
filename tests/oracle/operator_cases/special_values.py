"""Inputs with NaN, infinities, zeros of both signs and subnormals. Their cases start with `nan_`."""

import numpy
from onnx import helper

from .suite import Constant, Draw, Suite, floats, normal, uniform, weights

SPECIAL = numpy.array(
    [numpy.nan, numpy.inf, -numpy.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38, 1.0, -1.0], numpy.float32
)

# Name: opset, operator, attributes.
UNARY = {
    "relu": (13, "Relu", {}),
    "leaky_relu": (13, "LeakyRelu", {"alpha": 0.1}),
    "elu": (13, "Elu", {}),
    "sigmoid": (13, "Sigmoid", {}),
    "hard_sigmoid": (13, "HardSigmoid", {}),
    "hard_swish": (14, "HardSwish", {}),
    "tanh": (13, "Tanh", {}),
    "exp": (13, "Exp", {}),
    "log": (13, "Log", {}),
    "sqrt": (13, "Sqrt", {}),
    "abs": (13, "Abs", {}),
    "neg": (13, "Neg", {}),
    "erf": (13, "Erf", {}),
    "softplus": (13, "Softplus", {}),
    "floor": (13, "Floor", {}),
    "ceil": (13, "Ceil", {}),
    "reciprocal": (13, "Reciprocal", {}),
    "mish": (18, "Mish", {}),
    "gelu": (20, "Gelu", {}),
    "identity": (13, "Identity", {}),
    "clip": (7, "Clip", {"min": 0.0, "max": 6.0}),
}


def _scattered(values: numpy.ndarray, *shape: int) -> Draw:
    """Normal floats with each of these values at some place, or as many as there is room for."""

    def draw(random):
        array = normal(*shape)(random)
        places = random.permutation(array.size)[: len(values)]
        array.reshape(-1)[places] = values[: len(places)]
        return array

    return draw


def _special(*shape: int) -> Draw:
    """Every special value, for functions of single elements."""
    return _scattered(SPECIAL, *shape)


def _not_finite(*shape: int) -> Draw:
    """One NaN and both infinities, for sums, which too many of them would turn into nothing but NaN."""
    return _scattered(SPECIAL[:3], *shape)


def add_cases(suite: Suite):
    for name, (opset, op_type, attributes) in UNARY.items():
        suite.operator(f"nan_{name}", opset, op_type, {"x": _special(1, 5, 3, 3)}, **attributes)
    for op_type in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        suite.operator(f"nan_{op_type.lower()}", 13, op_type, {"a": _special(13, 3), "b": _special(13, 3)})
    suite.operator("nan_prelu", 9, "PRelu", {"x": _special(1, 5, 3, 3), "slope": Constant(normal(5, 1, 1))})
    suite.operator("nan_conv_3x3", 13, "Conv", {"x": _not_finite(1, 4, 12, 12), "w": weights(8, 4, 3, 3)}, pads=[1] * 4)
    suite.operator("nan_conv_1x1", 13, "Conv", {"x": _not_finite(1, 8, 6, 6), "w": weights(16, 8, 1, 1)})
    suite.operator("nan_conv_depthwise", 13, "Conv", {"x": _not_finite(1, 8, 8, 8), "w": weights(8, 1, 3, 3)},
                   pads=[1] * 4, group=8)
    suite.operator("nan_matmul", 13, "MatMul", {"a": _not_finite(9, 6), "b": weights(6, 5)})
    suite.operator("nan_gemm", 13, "Gemm", {"a": _not_finite(9, 6), "b": weights(6, 5), "c": Constant(normal(5))})
    suite.operator("nan_global_average_pool", 13, "GlobalAveragePool", {"x": _not_finite(2, 5, 3, 3)})
    suite.operator("nan_reduce_mean", 13, "ReduceMean", {"x": _not_finite(5, 4)}, axes=[1])
    rows = floats([[1, numpy.nan, 0], [0, -numpy.inf, 1], [1, 2, 3]])
    suite.operator("nan_softmax", 13, "Softmax", {"x": rows}, axis=1)
    suite.operator("nan_transpose", 13, "Transpose", {"x": _special(5, 4)}, perm=[1, 0])
    suite.operator("nan_pad", 13, "Pad", {"x": _special(4, 4), "pads": Constant(lambda _: numpy.array([1, 0, 0, 1]))})
    suite.operator("nan_concat", 13, "Concat", {"a": _special(3, 4), "b": normal(3, 4)}, axis=0)
    statistics = {
        "scale": Constant(normal(4)), "offset": Constant(normal(4)),
        "mean": Constant(normal(4)), "variance": Constant(uniform(0.1, 2, 4)),
    }
    suite.operator("nan_batch_norm", 13, "BatchNormalization", {"x": _not_finite(1, 4, 3, 3)} | statistics)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])]
    suite.graph("nan_conv_relu", 13, nodes, {"x": _not_finite(1, 4, 9, 9), "w": weights(8, 4, 3, 3)})
