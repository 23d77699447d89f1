"""Attention as exporters write it: heads in one projection, scales and masks in several places."""

import numpy
from onnx import helper

from .suite import Constant, Suite, floats, integers, normal, weights

node = helper.make_node

# Name: batch, heads, queries, keys, width of keys, width of values.
SIZES = {
    "one_key": (1, 2, 5, 1, 4, 3),
    "one_query": (2, 3, 1, 19, 8, 8),
    "odd": (2, 2, 13, 21, 5, 7),
    "many_heads": (3, 24, 3, 5, 2, 2),
    "long": (1, 1, 9, 1100, 8, 4),
}


def add_cases(suite: Suite):
    for index, (name, (batch, heads, queries, keys, width, values)) in enumerate(SIZES.items()):
        tensors = {
            "q": normal(batch, heads, queries, width),
            "k": normal(batch, heads, keys, width),
            "v": normal(batch, heads, keys, values),
        }
        suite.graph(f"attention_{name}", 13, _written_out(False), tensors | {"scale": Constant(floats(0.5))})
        masks = [(queries, keys), (batch, 1, 1, keys), (heads, queries, keys), (1, 1, queries, keys), (keys,)]
        tensors |= {"scale": Constant(floats(0.5)), "mask": _mask(*masks[index])}
        suite.graph(f"attention_{name}_masked", 13, _written_out(True), tensors)
    _add_projections(suite)
    # Channels as rows, as convolutions leave them.
    nodes = [
        node("Transpose", ["q"], ["qt"], perm=[0, 2, 1]),
        node("MatMul", ["qt", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("Transpose", ["p"], ["pt"], perm=[0, 2, 1]),
        node("MatMul", ["v", "pt"], ["y"]),
    ]
    suite.graph("attention_channels", 13, nodes, {name: normal(2, width, 11) for name, width in zip("qkv", (4, 4, 6))})
    causal = numpy.triu(numpy.full((7, 7), -numpy.inf, numpy.float32), 1)
    tensors = {name: normal(2, 2, 7, 4) for name in "qkv"}
    tensors |= {"scale": Constant(floats(0.5)), "mask": Constant(lambda _: causal)}
    suite.graph("attention_causal", 13, _written_out(True), tensors)
    suite.operator("attention_onnx", 23, "Attention", {name: normal(2, 3, 6, 8) for name in "qkv"}, is_causal=1)


def _mask(*shape: int):
    """Numbers, and minus infinity for some keys, but never for all."""

    def draw(random):
        mask = random.standard_normal(shape).astype(numpy.float32)
        mask[..., ::3] = numpy.where(mask[..., ::3] > 0.5, -numpy.inf, mask[..., ::3])
        mask[..., -1] = 0
        return mask

    return draw


def _written_out(masked: bool):
    nodes = [
        node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "kt"], ["raw"]),
        node("Mul", ["raw", "scale"], ["scaled"]),
    ]
    if masked:
        nodes.append(node("Add", ["scaled", "mask"], ["scores"]))
    nodes.append(node("Softmax", ["scores" if masked else "scaled"], ["p"], axis=-1))
    nodes.append(node("MatMul", ["p", "v"], ["y"]))
    return nodes


def _add_projections(suite: Suite):
    """One projection of queries, keys and values; heads inside of the three, or outside."""
    batch, positions, heads, width = 2, 11, 3, 8
    for name, split, order in (
        ("inside", [batch, positions, 3, heads, width], [2, 0, 3, 1, 4]),
        ("outside", [batch, positions, heads, 3, width], [3, 0, 2, 1, 4]),
    ):
        nodes = [
            node("MatMul", ["x", "w"], ["qkv"]),
            node("Reshape", ["qkv", "apart"], ["parts"]),
            node("Transpose", ["parts"], ["ordered"], perm=order),
            node("Split", ["ordered"], ["q5", "k5", "v5"], axis=0),
            *[node("Squeeze", [f"{part}5", "zero"], [part]) for part in "qkv"],
            node("Mul", ["q", "root"], ["qs"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
            node("Mul", ["kt", "root"], ["ks"]),
            node("MatMul", ["qs", "ks"], ["s"]),
            node("Softmax", ["s"], ["p"], axis=-1),
            node("MatMul", ["p", "v"], ["heads"]),
            node("Transpose", ["heads"], ["back"], perm=[0, 2, 1, 3]),
            node("Reshape", ["back", "together"], ["joined"]),
            node("MatMul", ["joined", "wo"], ["y"]),
        ]
        values = {
            "x": normal(batch, positions, heads * width),
            "w": weights(heads * width, 3 * heads * width),
            "wo": weights(heads * width, heads * width),
            "apart": Constant(integers(split)),
            "together": Constant(integers([batch, positions, heads * width])),
            "zero": Constant(integers([0])),
            "root": Constant(floats(width**-0.25)),
        }
        suite.graph(f"attention_heads_{name}", 13, nodes, values)
