"""Matrix products, fully connected layers, batch normalisation."""

from onnx import helper

from .suite import Constant, Suite, normal, uniform, weights

# Name: shape of the left operand, shape of the right operand.
PRODUCTS = {
    "matrix": ((5, 7), (7, 9)),
    "row": ((1, 64), (64, 10)),
    "column": ((33, 16), (16, 1)),
    "inner_one": ((4, 1), (1, 6)),
    "vector_matrix": ((7,), (7, 5)),
    "matrix_vector": ((5, 7), (7,)),
    "vectors": ((9,), (9,)),
    "batched": ((3, 4, 5), (3, 5, 6)),
    "batched_left": ((3, 4, 5), (5, 6)),
    "batched_right": ((4, 5), (2, 5, 6)),
    "broadcast": ((2, 1, 4, 5), (3, 5, 6)),
    "attention": ((1, 2, 9, 8), (1, 2, 8, 9)),
    "odd": ((17, 31), (31, 23)),
    "large": ((24, 200), (200, 72)),
}

# Name: m, k, n, shape of the addend or None, attributes.
GEMMS = {
    "plain": (4, 6, 5, (5,), {}),
    "no_addend": (4, 6, 5, None, {}),
    "transposed_weights": (1, 40, 10, (10,), {"transB": 1}),
    "transposed_left": (3, 8, 5, (5,), {"transA": 1}),
    "transposed_both": (3, 8, 5, (5,), {"transA": 1, "transB": 1}),
    "alpha": (4, 6, 5, (5,), {"alpha": 0.5}),
    "beta": (4, 6, 5, (5,), {"beta": 2.5}),
    "alpha_beta": (4, 6, 5, (4, 5), {"alpha": 0.25, "beta": -1.5, "transB": 1}),
    "beta_zero": (4, 6, 5, (5,), {"beta": 0.0}),
    "addend_matrix": (4, 6, 5, (4, 5), {}),
    "addend_row": (4, 6, 5, (1, 5), {}),
    "addend_column": (4, 6, 5, (4, 1), {}),
    "addend_one": (4, 6, 5, (1,), {}),
    "classifier": (2, 96, 101, (101,), {"transB": 1}),
}
OPSETS = (7, 9, 11, 13, 21)


def add_cases(suite: Suite):
    for index, (name, (left, right)) in enumerate(PRODUCTS.items()):
        opset = OPSETS[index % len(OPSETS)]
        values = {"a": normal(*left), "b": weights(*right)}
        suite.operator(f"matmul_{name}", opset, "MatMul", values)
        if len(left) == len(right):
            suite.operator(f"matmul_{name}_both_inputs", opset, "MatMul", values | {"b": normal(*right)})
    for index, (name, (m, k, n, addend, attributes)) in enumerate(GEMMS.items()):
        left = (k, m) if attributes.get("transA") else (m, k)
        right = (n, k) if attributes.get("transB") else (k, n)
        values = {"a": normal(*left), "b": weights(*right)}
        if addend is not None:
            values["c"] = Constant(normal(*addend))
        # Opset 11 made the addend optional.
        opset = 11 if addend is None else OPSETS[index % len(OPSETS)]
        suite.operator(f"gemm_{name}", opset, "Gemm", values, **attributes)
    _add_batch_normalizations(suite)


def _statistics(channels: int) -> dict:
    return {
        "scale": Constant(normal(channels)),
        "offset": Constant(normal(channels)),
        "mean": Constant(normal(channels)),
        "variance": Constant(uniform(0.1, 3, channels)),
    }


def _add_batch_normalizations(suite: Suite):
    for opset in (7, 9, 14, 15, 21):
        values = {"x": normal(2, 6, 5, 4)} | _statistics(6)
        suite.operator(f"batch_norm_opset{opset}", opset, "BatchNormalization", values)
    values = {"x": normal(1, 8, 3, 3)} | _statistics(8)
    suite.operator("batch_norm_epsilon", 9, "BatchNormalization", values, epsilon=1e-2, momentum=0.99)
    suite.operator("batch_norm_rank2", 15, "BatchNormalization", {"x": normal(3, 7)} | _statistics(7))
    suite.operator("batch_norm_rank3", 15, "BatchNormalization", {"x": normal(2, 7, 5)} | _statistics(7))
    batch_norm = ["scale", "offset", "mean", "variance"]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", *batch_norm], ["n"], epsilon=1e-3),
        helper.make_node("Relu", ["n"], ["y"]),
    ]
    values = {"x": normal(1, 6, 7, 7), "w": weights(10, 6, 3, 3)} | _statistics(10)
    suite.graph("batch_norm_after_conv", 13, nodes, values)
    nodes = [
        helper.make_node("BatchNormalization", ["x", *batch_norm], ["n"]),
        helper.make_node("Conv", ["n", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    values = {"x": normal(1, 6, 7, 7), "w": weights(10, 6, 3, 3)} | _statistics(6)
    suite.graph("batch_norm_before_padded_conv", 13, nodes, values)
    # Initializers listed as inputs, the way models of IR version 3 are written.
    nodes = [helper.make_node("BatchNormalization", ["x", *batch_norm], ["y"])]
    suite.graph("batch_norm_ir3", 7, nodes, {"x": normal(1, 5, 4, 4)} | _statistics(5), ir_version=3)
