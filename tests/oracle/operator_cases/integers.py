"""Integers and booleans: arithmetic, comparisons, logic, choices, conversions and reductions."""

import numpy
from onnx import TensorProto

from .suite import Constant, Draw, Suite, floats, integers, normal

INTEGERS = (numpy.int32, numpy.int64)
INFINITE = floats([-numpy.inf, -1.5, -0.0, 0.0, 2.0, numpy.inf, numpy.nan])


def _drawn(dtype, low: int, high: int, *shape: int) -> Draw:
    return lambda random: random.integers(low, high, shape).astype(dtype)


def _booleans(*shape: int) -> Draw:
    return _drawn(numpy.bool_, 0, 2, *shape)


def _divisors(dtype, *shape: int) -> Draw:
    """Numbers of both signs, none of them zero."""
    return lambda random: (random.integers(1, 9, shape) * random.choice([-1, 1], shape)).astype(dtype)


def add_cases(suite: Suite):
    for dtype in INTEGERS:
        name = numpy.dtype(dtype).name
        for op_type in ("Add", "Sub", "Mul", "Min", "Max"):
            values = {"a": _drawn(dtype, -99, 99, 2, 3, 5), "b": _drawn(dtype, -99, 99, 3, 1)}
            suite.operator(f"{op_type.lower()}_{name}", 14, op_type, values)
        for op_type in ("Div", "Mod"):
            values = {"a": _drawn(dtype, -99, 99, 4, 7), "b": _divisors(dtype, 7)}
            suite.operator(f"{op_type.lower()}_{name}", 13, op_type, values)
        values = {"a": _drawn(dtype, -99, 99, 4, 7), "b": _divisors(dtype, 7)}
        suite.operator(f"mod_of_c_{name}", 13, "Mod", values, fmod=1)
        suite.operator(f"pow_{name}", 13, "Pow", {"a": _drawn(dtype, -5, 5, 12), "b": _drawn(dtype, 0, 6, 12)})
        for op_type in ("Abs", "Neg", "Sign"):
            suite.operator(f"{op_type.lower()}_{name}", 13, op_type, {"x": _drawn(dtype, -9, 9, 3, 7)})
        for op_type in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"):
            # Axes are an input of sums since version 13, of the others since 18.
            axes = {"axes": Constant(integers([0, 2]))}
            values = {"x": _drawn(dtype, -4, 5, 3, 4, 5)} | axes
            suite.operator(f"{op_type.lower()}_{name}", 18, op_type, values, keepdims=0)
    limits = numpy.iinfo(numpy.int32)
    edges = lambda _: numpy.array([limits.min, limits.max, -1, 0, 1], numpy.int32)
    for op_type in ("Add", "Sub", "Mul"):
        suite.operator(f"{op_type.lower()}_int32_wraps", 14, op_type, {"a": edges, "b": edges})
    _add_comparisons(suite)
    _add_casts(suite)
    suite.operator("not", 7, "Not", {"x": _booleans(3, 5)})
    for op_type in ("And", "Or", "Xor"):
        suite.operator(op_type.lower(), 7, op_type, {"a": _booleans(3, 5), "b": _booleans(5)})
    for op_type in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        values = {"a": _drawn(numpy.int32, -99, 99, 3, 5), "b": _drawn(numpy.int32, -99, 99, 5)}
        suite.operator(f"{op_type.lower()}_int32", 18, op_type, values)
    suite.operator("bitwisenot_int64", 18, "BitwiseNot", {"x": _drawn(numpy.int64, -99, 99, 9)})
    for direction in ("LEFT", "RIGHT"):
        values = {"a": _drawn(numpy.uint8, 0, 256, 9), "b": _drawn(numpy.uint8, 0, 8, 9)}
        suite.operator(f"bit_shift_{direction.lower()}_uint8", 11, "BitShift", values, direction=direction)
    for name, draw in (("float", normal(4, 1, 5)), ("int64", _drawn(numpy.int64, -9, 9, 4, 1, 5))):
        suite.operator(f"where_{name}", 9, "Where", {"c": _booleans(3, 5), "a": draw, "b": draw})
    suite.operator("concat_int64", 13, "Concat", {"a": _drawn(numpy.int64, 0, 9, 3, 5), "b": integers([[1] * 4] * 3)}, axis=1)
    suite.operator("transpose_uint8", 13, "Transpose", {"x": _drawn(numpy.uint8, 0, 256, 3, 17, 5)}, perm=[2, 0, 1])
    suite.operator("transpose_bool", 13, "Transpose", {"x": _booleans(3, 17, 5)}, perm=[2, 0, 1])


def _add_comparisons(suite: Suite):
    for op_type in ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
        stem = op_type.lower()
        for dtype in INTEGERS:
            values = {"a": _drawn(dtype, 0, 4, 3, 1, 5), "b": _drawn(dtype, 0, 4, 4, 1)}
            suite.operator(f"{stem}_{numpy.dtype(dtype).name}", 16, op_type, values)
        suite.operator(f"{stem}_float", 16, op_type, {"a": normal(3, 5), "b": normal(5)})
        column = lambda random: INFINITE(random).reshape(-1, 1)
        suite.operator(f"nan_{stem}", 16, op_type, {"a": INFINITE, "b": column})
    suite.operator("nan_is_nan", 13, "IsNaN", {"x": INFINITE})
    suite.operator("nan_is_inf", 10, "IsInf", {"x": INFINITE})
    suite.operator("nan_is_inf_positive", 10, "IsInf", {"x": INFINITE}, detect_negative=0)
    suite.operator("nan_is_inf_negative", 10, "IsInf", {"x": INFINITE}, detect_positive=0)
    suite.operator("nan_where", 9, "Where", {"c": _booleans(7), "a": INFINITE, "b": normal(7)})


def _add_casts(suite: Suite):
    types = {"bool": numpy.bool_, "uint8": numpy.uint8, "int32": numpy.int32, "int64": numpy.int64}
    for source, dtype in types.items():
        for target in types:
            if source != target:
                low, high = (0, 2) if source == "bool" else (0 if source == "uint8" else -300, 300)
                values = {"x": _drawn(dtype, low, min(high, 256) if source == "uint8" else high, 5, 7)}
                to = getattr(TensorProto, target.upper())
                suite.operator(f"cast_{source}_to_{target}", 13, "Cast", values, to=to)
