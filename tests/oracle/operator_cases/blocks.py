"""Building blocks of efficient networks: several nodes that a compiler would like to fuse, and shapes of graph that
forbid it."""

from onnx import helper

from .suite import Constant, Suite, floats, integers, normal, weights

node = helper.make_node


def add_cases(suite: Suite):
    for groups, channels in ((2, 8), (3, 12), (4, 20)):
        suite.graph(f"channel_shuffle_{groups}_of_{channels}", 13, *_channel_shuffle(groups, channels))
    _add_squeeze_excite(suite)
    _add_inverted_residuals(suite)
    _add_residuals(suite)
    _add_attention(suite)


def _channel_shuffle(groups, channels):
    nodes = [
        node("Reshape", ["x", "apart"], ["a"]),
        node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["t", "together"], ["y"]),
    ]
    values = {
        "x": normal(1, channels, 4, 5),
        "apart": Constant(integers([1, groups, channels // groups, 4, 5])),
        "together": Constant(integers([1, channels, 4, 5])),
    }
    return nodes, values


def _add_squeeze_excite(suite: Suite):
    conv_values = {
        "x": normal(1, 16, 6, 6),
        "w1": weights(4, 16, 1, 1),
        "b1": Constant(normal(4)),
        "w2": weights(16, 4, 1, 1),
        "b2": Constant(normal(16)),
    }
    for name, pool, gate in (
        ("sigmoid", node("GlobalAveragePool", ["x"], ["p"]), node("Sigmoid", ["e"], ["g"])),
        ("hard_sigmoid", node("ReduceMean", ["x"], ["p"], axes=[2, 3]), node("HardSigmoid", ["e"], ["g"], alpha=1 / 6)),
    ):
        nodes = [
            pool,
            node("Conv", ["p", "w1", "b1"], ["r"]),
            node("Relu", ["r"], ["rr"]),
            node("Conv", ["rr", "w2", "b2"], ["e"]),
            gate,
            node("Mul", ["x", "g"], ["y"]),
        ]
        suite.graph(f"squeeze_excite_{name}", 13, nodes, conv_values)
    nodes = [
        node("GlobalAveragePool", ["x"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("Gemm", ["f", "w1", "b1"], ["r"], transB=1),
        node("Relu", ["r"], ["rr"]),
        node("Gemm", ["rr", "w2", "b2"], ["e"], transB=1),
        node("Sigmoid", ["e"], ["s"]),
        node("Reshape", ["s", "shape"], ["g"]),
        node("Mul", ["g", "x"], ["y"]),
    ]
    dense_values = conv_values | {
        "w1": weights(4, 16), "w2": weights(16, 4), "shape": Constant(integers([0, -1, 1, 1])),
    }
    suite.graph("squeeze_excite_dense", 13, nodes, dense_values)


def _add_inverted_residuals(suite: Suite):
    """Expand 1x1, depthwise, project 1x1, with the activations of the mobile networks."""
    activations = {
        "relu6": lambda x, y: [node("Clip", [x, "zero", "six"], [y])],
        "relu": lambda x, y: [node("Relu", [x], [y])],
        "silu": lambda x, y: [node("Sigmoid", [x], [f"{y}_gate"]), node("Mul", [x, f"{y}_gate"], [y])],
        "hard_swish": lambda x, y: [node("HardSwish", [x], [y])],
    }
    for activation, act in activations.items():
        for kernel, stride, residual in ((3, 1, True), (3, 2, False), (5, 1, True)):
            channels, hidden = 8, 24
            before, after = ((kernel - stride) // 2, (kernel - stride + 1) // 2)
            nodes = [
                node("Conv", ["x", "w1", "b1"], ["c1"]),
                *act("c1", "a1"),
                node("Conv", ["a1", "w2", "b2"], ["c2"], group=hidden, strides=[stride, stride],
                     pads=[before, before, after, after]),
                *act("c2", "a2"),
                node("Conv", ["a2", "w3", "b3"], ["c3"]),
                node("Add", ["x", "c3"], ["y"]) if residual else node("Identity", ["c3"], ["y"]),
            ]
            values = {
                "x": normal(1, channels, 10, 12),
                "w1": weights(hidden, channels, 1, 1),
                "b1": Constant(normal(hidden)),
                "w2": weights(hidden, 1, kernel, kernel),
                "b2": Constant(normal(hidden)),
                "w3": weights(channels, hidden, 1, 1),
                "b3": Constant(normal(channels)),
            }
            if activation == "relu6":
                values |= {"zero": Constant(floats(0.0)), "six": Constant(floats(6.0))}
            suite.graph(f"inverted_residual_{activation}_{kernel}x{kernel}_stride{stride}", 14, nodes, values)


def _add_residuals(suite: Suite):
    values = {"x": normal(1, 8, 7, 7), "w1": weights(8, 8, 3, 3), "w2": weights(8, 8, 3, 3)}
    suite.graph(
        "residual_relu_after_add",
        13,
        [
            node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
            node("Relu", ["c1"], ["r1"]),
            node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4),
            node("Add", ["c2", "x"], ["a"]),
            node("Relu", ["a"], ["y"]),
        ],
        values,
    )
    suite.graph("residual_add_itself", 13,
                [node("Conv", ["x", "w1"], ["c"], pads=[1] * 4), node("Add", ["c", "c"], ["y"])],
                {key: values[key] for key in ("x", "w1")})
    suite.graph(
        "residual_intermediate_is_output",
        13,
        [node("Conv", ["x", "w1"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"]), node("Add", ["r", "x"], ["y"])],
        {key: values[key] for key in ("x", "w1")},
        outputs=["y", "c"],
    )
    suite.graph(
        "residual_of_two_convolutions",
        13,
        [
            node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4),
            node("Conv", ["x", "w2"], ["c2"], pads=[1] * 4),
            node("Add", ["c1", "c2"], ["y"]),
        ],
        values,
    )
    suite.graph(
        "shuffle_unit",
        13,
        [
            node("Split", ["x"], ["left", "right"], axis=1),
            node("Conv", ["right", "w"], ["c"], pads=[1] * 4, group=4),
            node("Relu", ["c"], ["r"]),
            node("Concat", ["left", "r"], ["j"], axis=1),
            node("Reshape", ["j", "apart"], ["a"]),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["t", "together"], ["y"]),
        ],
        {
            "x": normal(1, 8, 6, 6),
            "w": weights(4, 1, 3, 3),
            "apart": Constant(integers([0, 2, 4, 6, 6])),
            "together": Constant(integers([0, -1, 6, 6])),
        },
    )
    suite.graph(
        "fire_module",
        13,
        [
            node("Conv", ["x", "ws"], ["s"]),
            node("Relu", ["s"], ["rs"]),
            node("Conv", ["rs", "w1"], ["e1"]),
            node("Relu", ["e1"], ["r1"]),
            node("Conv", ["rs", "w3"], ["e3"], pads=[1] * 4),
            node("Relu", ["e3"], ["r3"]),
            node("Concat", ["r1", "r3"], ["y"], axis=1),
        ],
        {"x": normal(1, 12, 7, 7), "ws": weights(4, 12, 1, 1), "w1": weights(8, 4, 1, 1), "w3": weights(8, 4, 3, 3)},
    )


def _add_attention(suite: Suite):
    """One head, with layer normalisation written out."""
    suite.graph(
        "attention_head",
        13,
        [
            node("MatMul", ["x", "wq"], ["q"]),
            node("MatMul", ["x", "wk"], ["k"]),
            node("MatMul", ["x", "wv"], ["v"]),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["s"]),
            node("Div", ["s", "root"], ["d"]),
            node("Softmax", ["d"], ["p"], axis=-1),
            node("MatMul", ["p", "v"], ["y"]),
        ],
        {
            "x": normal(1, 9, 16),
            "wq": weights(16, 16),
            "wk": weights(16, 16),
            "wv": weights(16, 16),
            "root": Constant(floats(4.0)),
        },
    )
    suite.graph(
        "layer_norm_expanded",
        13,
        [
            node("ReduceMean", ["x"], ["m"], axes=[-1]),
            node("Sub", ["x", "m"], ["c"]),
            node("Pow", ["c", "two"], ["sq"]),
            node("ReduceMean", ["sq"], ["v"], axes=[-1]),
            node("Add", ["v", "epsilon"], ["ve"]),
            node("Sqrt", ["ve"], ["sd"]),
            node("Div", ["c", "sd"], ["n"]),
            node("Mul", ["n", "scale"], ["ns"]),
            node("Add", ["ns", "offset"], ["y"]),
        ],
        {
            "x": normal(2, 5, 16),
            "two": Constant(floats(2.0)),
            "epsilon": Constant(floats(1e-5)),
            "scale": Constant(normal(16)),
            "offset": Constant(normal(16)),
        },
    )
