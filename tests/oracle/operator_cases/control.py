"""Choices, repetitions, and recurrent layers."""

import numpy
from onnx import TensorProto, helper

from .suite import Constant, Suite, floats, integers, normal, uniform, weights

node = helper.make_node


def boolean(value: bool):
    return lambda _: numpy.array(value)


def value(name, dims, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, dims)


def add_cases(suite: Suite):
    _add_recurrent(suite)
    _add_choices(suite)
    _add_loops(suite)
    _add_results_of_two_widths(suite)
    _add_scans(suite)


def _add_recurrent(suite: Suite):
    time, batch, inputs, hidden = 7, 2, 12, 20
    for op_type, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4)):
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            values = {
                "x": normal(time, batch, inputs),
                "w": weights(count, gates * hidden, inputs),
                "r": weights(count, gates * hidden, hidden),
                "b": Constant(normal(count, 2 * gates * hidden, scale=0.3)),
                "lengths": None,
                "h": normal(count, batch, hidden),
            }
            if op_type == "LSTM":
                values |= {"c": normal(count, batch, hidden), "p": Constant(normal(count, 3 * hidden, scale=0.3))}
            outputs = 3 if op_type == "LSTM" else 2
            attributes = {"hidden_size": hidden, "direction": direction}
            suite.operator(f"{op_type.lower()}_{direction}", 14, op_type, values, outputs, **attributes)
    values = {"x": normal(5, 1, 9), "w": weights(1, 48, 9), "r": weights(1, 48, 16), "b": Constant(normal(1, 96))}
    suite.operator("gru_linear_before_reset", 14, "GRU", values, 2, hidden_size=16, linear_before_reset=1)
    values["lengths"] = Constant(lambda _: numpy.array([3], numpy.int32))
    suite.operator("gru_lengths", 14, "GRU", values, 2, hidden_size=16)
    values = {"x": normal(5, 1, 9), "w": normal(1, 64, 9, scale=0.3), "r": normal(1, 64, 16, scale=0.3)}
    suite.operator("lstm_computed_weights", 14, "LSTM", values, 3, hidden_size=16, clip=0.5)
    values = {"x": normal(5, 1, 9), "w": weights(1, 16, 9), "r": weights(1, 16, 16)}
    suite.operator("rnn_relu", 14, "RNN", values, 2, hidden_size=16, activations=["Relu"])


def _add_choices(suite: Suite):
    """A residual block that is skipped, or not: images go in and out."""
    for holds in (True, False):
        residual = [
            node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"]),
            node("Conv", ["b", "w2"], ["c"]),
            node("Add", ["x", "c"], ["then_y"]),
        ]
        then = helper.make_graph(residual, "then", [], [value("then_y", [1, 6, 5, 7])])
        skip = helper.make_graph([node("Identity", ["x"], ["else_y"])], "else", [], [value("else_y", [1, 6, 5, 7])])
        nodes = [
            node("Conv", ["image", "w0"], ["x"], strides=[2, 2]),
            node("If", ["condition"], ["z"], then_branch=then, else_branch=skip),
            node("Conv", ["z", "w3"], ["y"]),
        ]
        values = {
            "image": normal(1, 3, 11, 15),
            "condition": boolean(holds),
            "w0": weights(6, 3, 3, 3),
            "w1": weights(10, 6, 3, 3),
            "w2": weights(6, 10, 1, 1),
            "w3": weights(4, 6, 1, 1),
        }
        suite.graph(f"if_residual_{holds}", 13, nodes, values)
        two = helper.make_graph(
            [node("Add", ["a", "b"], ["s"]), node("Mul", ["a", "b"], ["p"])], "two", [], [value("s", [3, 4]), value("p", [3, 4])]
        )
        other = helper.make_graph(
            [node("Sub", ["a", "b"], ["s"]), node("Identity", ["b"], ["p"])], "other", [], [value("s", [3, 4]), value("p", [3, 4])]
        )
        nodes = [node("If", ["condition"], ["u", "v"], then_branch=two, else_branch=other), node("Div", ["u", "v"], ["y"])]
        values = {"condition": boolean(holds), "a": normal(3, 4), "b": uniform(1, 2, 3, 4)}
        suite.graph(f"if_two_results_{holds}", 13, nodes, values, ["y", "u", "v"])


def _add_results_of_two_widths(suite: Suite):
    """What reads a loop's second result, whose rows are of another length than the first's."""
    body = helper.make_graph(
        [
            node("Mul", ["a", "half"], ["a1"]),
            node("Add", ["b", "b"], ["b1"]),
            node("Identity", ["on"], ["still"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("a", [2, 3]), value("b", [4, 5])],
        [value("still", [], TensorProto.BOOL), value("a1", [2, 3]), value("b1", [4, 5])],
    )
    nodes = [
        node("Loop", ["count", "", "a0", "b0"], ["a2", "b2"], body=body),
        node("Relu", ["b2"], ["y"]),
        node("Transpose", ["b2"], ["t"], perm=[1, 0]),
        node("Concat", ["b2", "y"], ["c"], axis=1),
    ]
    values = {"count": integers(3), "a0": normal(2, 3), "b0": normal(4, 5), "half": Constant(floats(0.5))}
    suite.graph("loop_results_of_two_widths", 13, nodes, values, ("a2", "y", "t", "c"))


def _add_loops(suite: Suite):
    body = helper.make_graph(
        [
            node("Mul", ["state", "half"], ["h"]),
            node("Add", ["h", "outer"], ["next"]),
            node("Identity", ["next"], ["row"]),
            node("Identity", ["on"], ["still"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("state", [2, 5])],
        [value("still", [], TensorProto.BOOL), value("next", [2, 5]), value("row", [2, 5])],
    )
    values = {
        "count": Constant(integers(6)),
        "start": Constant(boolean(True)),
        "first": normal(2, 5),
        "outer": normal(5),
        "half": Constant(floats(0.5)),
    }
    nodes = [node("Loop", ["count", "start", "first"], ["y", "rows"], body=body)]
    suite.graph("loop_rows", 13, nodes, values, ["y", "rows"])
    for count in (0, 3, 100):
        body = helper.make_graph(
            [
                node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
                node("Add", ["state", "f"], ["next"]),
                node("ReduceSum", ["next"], ["sum"], keepdims=0),
                node("Less", ["sum", "most"], ["still"]),
            ],
            "body",
            [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("state", [2, 5])],
            [value("still", [], TensorProto.BOOL), value("next", [2, 5])],
        )
        values = {
            "count": integers(count),
            "start": boolean(True),
            "first": normal(2, 5),
            "most": Constant(floats(200.0)),
        }
        nodes = [node("Loop", ["count", "start", "first"], ["y"], body=body)]
        suite.graph(f"loop_while_{count}", 13, nodes, values)
    # A loop in a branch in a loop; the inner one uses names of both graphs around it.
    inner = helper.make_graph(
        [node("Add", ["a", "x"], ["b"]), node("Mul", ["b", "scale"], ["c"]), node("Identity", ["go"], ["gone"])],
        "inner",
        [value("j", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("a", [4])],
        [value("gone", [], TensorProto.BOOL), value("c", [4])],
    )
    then = helper.make_graph([node("Loop", ["three", "", "state"], ["t"], body=inner)], "then", [], [value("t", [4])])
    other = helper.make_graph([node("Neg", ["state"], ["n"])], "other", [], [value("n", [4])])
    outer = helper.make_graph(
        [
            node("Mod", ["i", "two"], ["rest"]),
            node("Equal", ["rest", "zero"], ["even"]),
            node("If", ["even"], ["next"], then_branch=then, else_branch=other),
            node("Identity", ["next"], ["row"]),
            node("Identity", ["on"], ["still"]),
        ],
        "outer",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("state", [4])],
        [value("still", [], TensorProto.BOOL), value("next", [4]), value("row", [4])],
    )
    values = {
        "count": Constant(integers(5)),
        "three": Constant(integers(3)),
        "two": Constant(integers(2)),
        "zero": Constant(integers(0)),
        "first": normal(4),
        "x": normal(4),
        "scale": Constant(floats(0.7)),
    }
    nodes = [node("Loop", ["count", "", "first"], ["y", "rows"], body=outer)]
    suite.graph("loop_nested", 13, nodes, values, ["y", "rows"])


def _add_scans(suite: Suite):
    body = helper.make_graph(
        [node("Add", ["s", "u"], ["t"]), node("Mul", ["t", "v"], ["w"]), node("Identity", ["t"], ["o"])],
        "body",
        [value("s", [3]), value("u", [3]), value("v", [3])],
        [value("t", [3]), value("w", [3]), value("o", [3])],
    )
    values = {"first": normal(3), "a": normal(6, 3), "b": normal(3, 6)}
    attributes = {
        "num_scan_inputs": 2,
        "scan_input_axes": [0, 1],
        "scan_input_directions": [0, 1],
        "scan_output_axes": [1, 0],
        "scan_output_directions": [0, 1],
    }
    nodes = [node("Scan", ["first", "a", "b"], ["y", "p", "q"], body=body, **attributes)]
    suite.graph("scan_axes", 11, nodes, values, ["y", "p", "q"])
