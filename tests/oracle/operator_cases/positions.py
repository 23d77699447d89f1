"""Computed indices, and operators that find positions."""

import numpy

from .suite import Constant, Draw, Suite, floats, integers, normal

RANKS = {"float": normal(3, 6, 4), "int64": lambda random: random.integers(-5, 5, (3, 6, 4))}


def _indices(extent: int, *shape: int) -> Draw:
    """Indices from either end."""
    return lambda random: random.integers(-extent, extent, shape)


def _distinct(extent: int, *shape: int) -> Draw:
    """Different indices along the last dimension."""
    return lambda random: random.permuted(numpy.broadcast_to(numpy.arange(extent), (*shape[:-1], extent)), axis=-1)[
        ..., : shape[-1]
    ]


def add_cases(suite: Suite):
    for name, draw in RANKS.items():
        for op_type in ("ArgMax", "ArgMin"):
            stem = f"{op_type.lower()}_{name}"
            suite.operator(stem, 13, op_type, {"x": draw}, axis=1)
            suite.operator(f"{stem}_last", 13, op_type, {"x": draw}, axis=-1, select_last_index=1, keepdims=0)
        for largest in (0, 1):
            values = {"x": draw, "k": Constant(integers([3]))}
            suite.operator(f"top_k_{name}_{largest}", 11, "TopK", values, outputs=2, axis=1, largest=largest)
        for flags in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
            stem = "_".join(["cumsum", name, *flags])
            suite.operator(stem, 14, "CumSum", {"x": draw, "axis": Constant(integers(1))}, **flags)
        suite.operator(f"gather_computed_{name}", 13, "Gather", {"x": draw, "i": _indices(6, 2, 3)}, axis=1)
        suite.operator(f"gather_elements_{name}", 13, "GatherElements", {"x": draw, "i": _indices(6, 3, 2, 4)}, axis=1)
        suite.operator(f"gather_nd_{name}", 13, "GatherND", {"x": draw, "i": _indices(3, 5, 2)})
        suite.operator(f"gather_nd_batch_{name}", 13, "GatherND", {"x": draw, "i": _indices(4, 3, 5, 2)}, batch_dims=1)
        # Different places, since the order in which equal ones are written is not said.
        values = {"x": draw, "i": lambda random: random.permuted(numpy.tile(numpy.arange(6), (3, 4, 1)), axis=2)
                  .transpose(0, 2, 1)[:, :2], "u": lambda random, draw=draw: draw(random)[:, :2]}
        suite.operator(f"scatter_elements_{name}", 13, "ScatterElements", values, axis=1)
        for reduction in ("add", "mul"):
            suite.operator(f"scatter_elements_{name}_{reduction}", 16, "ScatterElements", values, axis=1, reduction=reduction)
        values = {"x": draw, "i": lambda _: numpy.array([[0, 1], [2, 5], [1, 0]]), "u": lambda random, draw=draw: draw(random)[:, 0]}
        suite.operator(f"scatter_nd_{name}", 13, "ScatterND", values)
    suite.operator("hardmax", 13, "Hardmax", {"x": normal(3, 6, 4)}, axis=1)
    suite.operator("hardmax_old", 11, "Hardmax", {"x": normal(3, 6, 4)})
    values = {"i": _indices(5, 3, 4), "depth": Constant(integers(5)), "values": floats([-1.0, 2.0])}
    suite.operator("one_hot", 11, "OneHot", values, axis=1)
    for upper in (0, 1):
        suite.operator(f"trilu_{upper}", 14, "Trilu", {"x": normal(2, 4, 5), "k": Constant(integers(1))}, upper=upper)
    suite.operator("eye_like", 9, "EyeLike", {"x": normal(4, 5)}, k=1)
    suite.operator("reduce_log_sum_exp", 13, "ReduceLogSumExp", {"x": normal(3, 4, 5, scale=50)}, axes=[1])
    suite.operator("reduce_log_sum", 13, "ReduceLogSum", {"x": lambda random: random.uniform(1, 9, (3, 4)).astype("f4")}, axes=[1])
    suite.operator("reduce_prod", 13, "ReduceProd", {"x": normal(3, 4, 5)}, axes=[0, 2])
    suite.operator("celu", 12, "Celu", {"x": normal(40, scale=3)}, alpha=0.7)
    suite.operator("shrink", 9, "Shrink", {"x": normal(40)}, lambd=0.4, bias=0.1)
    suite.operator("clip_computed", 13, "Clip", {"x": normal(40), "low": floats(-0.5), "high": floats(0.7)})
    suite.operator("lp_normalization", 7, "LpNormalization", {"x": normal(3, 4)}, axis=1, p=2)
    suite.operator("layer_normalization_statistics", 17, "LayerNormalization", {"x": normal(3, 8), "s": normal(8)}, outputs=3)
    suite.operator("conv_computed_weights", 13, "Conv", {"x": normal(2, 4, 7, 6), "w": normal(6, 2, 3, 3), "b": normal(6)},
                   group=2, strides=[2, 1], pads=[1, 0, 1, 2])
    for name, image, shape, attributes in (
        ("1x1", (1, 13, 5, 7), (27, 13, 1, 1), {}),
        ("1x1_wide", (2, 24, 4, 5), (72, 24, 1, 1), {}),
        ("3x3", (1, 16, 9, 8), (24, 16, 3, 3), {"pads": [1, 1, 1, 1]}),
        ("3x3_of_images", (1, 3, 13, 12), (37, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("dilated", (1, 5, 11, 9), (7, 5, 3, 3), {"dilations": [2, 1]}),
        ("groups", (1, 16, 7, 7), (24, 8, 3, 3), {"group": 2}),
        ("groups_of_few", (1, 16, 7, 7), (16, 2, 3, 3), {"group": 8, "pads": [1, 1, 1, 1]}),
        ("depthwise", (1, 19, 8, 9), (19, 1, 3, 3), {"group": 19, "pads": [1, 1, 1, 1]}),
        ("depthwise_5x5", (1, 16, 9, 9), (16, 1, 5, 5), {"group": 16, "strides": [2, 2], "pads": [2, 2, 2, 2]}),
    ):
        suite.operator(f"conv_computed_weights_{name}", 13, "Conv", {"x": normal(*image), "w": normal(*shape)}, **attributes)
    for name, attributes in (("plain", {}), ("strides", {"strides": [2, 3], "output_padding": [1, 0]}),
                             ("pads", {"strides": [2, 2], "pads": [1, 2, 0, 1]}), ("dilations", {"dilations": [2, 1]}),
                             ("groups", {"group": 2, "strides": [2, 2]}), ("apart", {"strides": [3, 2]}),
                             ("apart_groups", {"group": 2, "strides": [3, 2]})):
        values = {"x": normal(1, 4, 5, 4), "w": Constant(normal(4, 3, 3, 2)), "b": Constant(normal(3 * attributes.get("group", 1)))}
        suite.operator(f"conv_transpose_{name}", 11, "ConvTranspose", values, **attributes)
    for name, stride in (("sequence", 2), ("sequence_apart", 3)):
        suite.operator(f"conv_transpose_{name}", 11, "ConvTranspose", {"x": normal(1, 4, 9), "w": Constant(normal(4, 3, 3))}, strides=[stride])
    suite.operator("conv_transpose_apart_computed", 11, "ConvTranspose", {"x": normal(2, 4, 3, 5), "w": normal(4, 3, 2, 2)}, strides=[2, 2])
