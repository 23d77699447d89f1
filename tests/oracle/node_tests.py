"""Writes the ONNX backend node tests: small models with inputs and expected outputs, made by the package `onnx` itself.

Out, into the given folder: for each test that is in scope a folder of its name with `model.onnx`, the inputs `input_N.npy`,
the outputs `output_N.npy` and their lists `inputs.json` and `outputs.json`; and `cases.json` with the name of every test, why
it is out of scope where it is, and which of its inputs became part of the model.

Node tests hand over everything as an input, also what a network would hold: the shape of a Reshape, the axes of a Squeeze.
Avocet's shapes are static, so inputs that decide shapes become initializers here; what is computed stays computed.
"""

import argparse
import json
import pathlib
import warnings

import numpy
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from values import ELEMENT_TYPES, write_values

ELEMENTS = {onnx.helper.np_dtype_to_tensor_dtype(dtype) for dtype in ELEMENT_TYPES.values()}

# Inputs, by number, whose values decide the shape of a result, or which dimension is meant.
SHAPES = {
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "ConstantOfShape": (0,),
    "CumProd": (1,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "HammingWindow": (0,),
    "HannWindow": (0,),
    "Loop": (0,),
    "MaxUnpool": (2,),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "STFT": (1, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Upsample": (1,),
} | {
    f"Reduce{kind}": (1,)
    for kind in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
}

# Tests whose expected values contradict ONNX Runtime, which avocet follows.
DISPUTED = {
    "test_resize_downsample_scales_linear_align_corners": "corners are aligned by a size that is not a whole number",
    "test_resize_downsample_scales_cubic_align_corners": "corners are aligned by a size that is not a whole number",
}

# Operators that are no part of what avocet compiles, each with the reason.
LEFT_OUT = {
    "Bernoulli": "random numbers",
    "Compress": "dynamic shapes: the values of an input decide the shape of the result",
    "ImageDecoder": "image decoding",
    "NonZero": "dynamic shapes: the values of an input decide the shape of the result",
    "RandomNormal": "random numbers",
    "RandomUniform": "random numbers",
    "TfIdfVectorizer": "text",
    "Unique": "dynamic shapes: the values of an input decide the shape of the result",
}


def graphs(graph):
    """The graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.type == attribute.GRAPH else attribute.graphs:
                yield from graphs(body)


def out_of_scope(model: onnx.ModelProto) -> str | None:
    """Why a test asks for what avocet leaves out; by its types and operators, whether they are supported or not."""
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    for node in nodes:
        if node.op_type in LEFT_OUT:
            return LEFT_OUT[node.op_type]
    domains = {entry.domain for entry in model.opset_import} - {"", "ai.onnx"}
    if domains:
        return "training" if "training" in min(domains) else f"operators of {min(domains)}"
    elements = {attribute.t.data_type for node in nodes for attribute in node.attribute if attribute.type == attribute.TENSOR}
    elements |= {attribute.i for node in nodes if node.op_type == "Cast" for attribute in node.attribute if attribute.name == "to"}
    for graph in graphs(model.graph):
        elements |= {tensor.data_type for tensor in graph.initializer}
        for value in [*graph.input, *graph.output]:
            kind = value.type.WhichOneof("value")
            if kind in ("sequence_type", "optional_type"):
                return "sequences" if kind == "sequence_type" else "optional values"
            elements.add(value.type.tensor_type.elem_type)
    other = elements - ELEMENTS - {TensorProto.UNDEFINED}
    if other:
        return f"element type {TensorProto.DataType.Name(min(other)).lower()}"
    for value in model.graph.input:
        if any(not dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim):
            return "dynamic shapes: an input has no fixed size"
    return None


def deciding_inputs(model: onnx.ModelProto) -> set[str]:
    """The model's inputs from which shapes are computed."""
    wanted = set()
    for node in reversed(model.graph.node):
        if node.op_type not in ("Shape", "Size") and wanted.intersection(node.output):
            wanted.update(node.input)
        wanted.update(node.input[number] for number in SHAPES.get(node.op_type, ()) if number < len(node.input))
    return wanted.intersection(value.name for value in model.graph.input)


def write(case, parent: pathlib.Path) -> dict:
    """Writes a test into a folder of its name; returns its entry in the list of all."""
    (inputs, outputs), reason = case.data_sets[0], out_of_scope(case.model)
    if not reason and any(numpy.asarray(array).dtype.kind not in "biuf" for array in [*inputs, *outputs]):
        reason = "element type string"
    if case.name in DISPUTED:
        reason = f"ONNX Runtime says otherwise: {DISPUTED[case.name]}"
    if reason:
        return {"name": case.name, "out_of_scope": reason, "given": []}
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    deciding = deciding_inputs(model)
    values = {value.name: numpy.asarray(array) for value, array in zip(graph.input, inputs)}
    given = [name for name in values if name in deciding]
    for name in given:
        graph.initializer.append(numpy_helper.from_array(values.pop(name), name))
    remaining = [value for value in graph.input if value.name not in deciding]
    del graph.input[:]
    graph.input.extend(remaining)
    folder = parent / case.name
    folder.mkdir()
    onnx.save(model, folder / "model.onnx")
    write_values(folder, "input", values)
    write_values(folder, "output", {value.name: numpy.asarray(array) for value, array in zip(graph.output, outputs)})
    return {"name": case.name, "out_of_scope": None, "given": given}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="folder to write into; made when missing")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    # The tests' own arithmetic overflows and divides by zero on purpose.
    warnings.simplefilter("ignore")
    entries = [write(case, output) for case in collect_testcases(None)]
    (output / "cases.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
