"""Quantised tensors: conversions, and products and convolutions of 8-bit integers."""

import numpy

from .suite import Constant, Draw, Suite, normal

BYTES = (numpy.uint8, numpy.int8)


def _drawn(dtype, *shape: int) -> Draw:
    """Any numbers of the type."""
    limits = numpy.iinfo(dtype)
    return lambda random: random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _scale(*shape: int) -> Draw:
    return lambda random: random.uniform(0.01, 0.1, shape).astype(numpy.float32)


def add_cases(suite: Suite):
    x = {"x": normal(2, 3, 4)}
    for dtype in (*BYTES, numpy.uint16, numpy.int16):
        name, opset = numpy.dtype(dtype).name, 13 if dtype in BYTES else 21
        suite.operator(f"quantize_{name}", opset, "QuantizeLinear", x | {"scale": _scale(), "zero": _drawn(dtype)})
        suite.operator(f"quantize_axis_{name}", opset, "QuantizeLinear",
                       x | {"scale": _scale(3), "zero": _drawn(dtype, 3)}, axis=1)
        values = {"x": _drawn(dtype, 2, 3, 4), "scale": _scale(), "zero": _drawn(dtype)}
        suite.operator(f"dequantize_{name}", opset, "DequantizeLinear", values)
        values = {"x": _drawn(dtype, 2, 3, 4), "scale": Constant(_scale(4)), "zero": Constant(_drawn(dtype, 4))}
        suite.operator(f"dequantize_axis_{name}", opset, "DequantizeLinear", values, axis=-1)
    suite.operator("quantize_without_zero", 13, "QuantizeLinear", x | {"scale": _scale()})
    values = {"x": _drawn(numpy.int8, 4, 6), "scale": _scale(4, 2), "zero": _drawn(numpy.int8, 4, 2)}
    suite.operator("dequantize_blocked", 21, "DequantizeLinear", values, axis=1, block_size=3)
    suite.operator("dynamic_quantize", 11, "DynamicQuantizeLinear", {"x": normal(3, 5)}, outputs=3)
    for left in BYTES:
        name = numpy.dtype(left).name
        values = {"a": _drawn(left, 5, 300), "b": _drawn(numpy.uint8, 300, 7), "a_zero": _drawn(left),
                  "b_zero": _drawn(numpy.uint8)}
        suite.operator(f"matmul_integer_{name}", 10, "MatMulInteger", values)
        values = {"a": _drawn(left, 2, 5, 9), "a_scale": _scale(), "a_zero": _drawn(left), "b": _drawn(left, 9, 7),
                  "b_scale": _scale(), "b_zero": _drawn(left), "y_scale": _scale(), "y_zero": _drawn(left)}
        suite.operator(f"qlinear_matmul_{name}", 10, "QLinearMatMul", values)
    values = {"x": _drawn(numpy.uint8, 1, 8, 9, 7), "w": Constant(_drawn(numpy.uint8, 6, 4, 3, 3)),
              "x_zero": _drawn(numpy.uint8), "w_zero": Constant(_drawn(numpy.uint8))}
    suite.operator("conv_integer", 10, "ConvInteger", values, pads=[1, 1, 1, 1], strides=[2, 1], group=2)
    values = {"x": _drawn(numpy.uint8, 1, 3, 8, 8), "x_scale": Constant(_scale()),
              "x_zero": Constant(_drawn(numpy.uint8)), "w": Constant(_drawn(numpy.uint8, 5, 3, 3, 3)),
              "w_scale": Constant(_scale()), "w_zero": Constant(_drawn(numpy.uint8)),
              "y_scale": Constant(lambda _: numpy.float32(2.5)), "y_zero": Constant(_drawn(numpy.uint8)),
              "bias": Constant(lambda random: random.integers(-999, 999, 5).astype(numpy.int32))}
    suite.operator("qlinear_conv", 10, "QLinearConv", values, pads=[1, 1, 1, 1])
