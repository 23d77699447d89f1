"""Tensors in folders, and ONNX Runtime sessions: what the other scripts share.

A list of tensors is stored as `PREFIX_0.npy`, `PREFIX_1.npy`, … (dense, row-major, little-endian) in the order of the
model's inputs or outputs, because value names may hold characters that file names may not. `PREFIXs.json` next to them
lists name, file, dtype and shape of each.
"""

import json
import pathlib

import numpy
import onnxruntime

ELEMENT_TYPES = {
    "tensor(float)": numpy.dtype("<f4"),
    "tensor(int64)": numpy.dtype("<i8"),
    "tensor(int32)": numpy.dtype("<i4"),
    "tensor(bool)": numpy.dtype("?"),
    "tensor(uint8)": numpy.dtype("u1"),
    "tensor(int8)": numpy.dtype("i1"),
    "tensor(int16)": numpy.dtype("<i2"),
    "tensor(uint16)": numpy.dtype("<u2"),
    "tensor(uint32)": numpy.dtype("<u4"),
    "tensor(uint64)": numpy.dtype("<u8"),
}


def write_values(folder: pathlib.Path, prefix: str, values: dict[str, numpy.ndarray]):
    """Stores named tensors as `PREFIX_N.npy` and their list as `PREFIXs.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, (name, value) in enumerate(values.items()):
        array = numpy.asarray(value, order="C")
        if array.dtype.newbyteorder("<") not in ELEMENT_TYPES.values():
            raise TypeError(f"value {name!r} is of type {array.dtype}, which the harness does not compare")
        file = f"{prefix}_{index}.npy"
        numpy.save(folder / file, array)
        entries.append({"name": name, "file": file, "dtype": str(array.dtype), "shape": list(array.shape)})
    (folder / f"{prefix}s.json").write_text(json.dumps(entries, indent=1) + "\n")


def read_values(folder: pathlib.Path, prefix: str, count: int) -> list[numpy.ndarray]:
    """Loads `PREFIX_0.npy` up to `PREFIX_{count-1}.npy`."""
    return [numpy.load(folder / f"{prefix}_{index}.npy", allow_pickle=False) for index in range(count)]


def open_session(
    model: str | bytes, optimize: bool = True, bindings: dict[str, int] | None = None
) -> onnxruntime.InferenceSession:
    """A session of one thread on the CPU; `bindings` fixes free dimensions by their names."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, size in (bindings or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(session: onnxruntime.InferenceSession, inputs: list[numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Runs the model on inputs in its own order; returns its outputs by name, in its own order."""
    names = [value.name for value in session.get_inputs()]
    if len(names) != len(inputs):
        raise ValueError(f"the model has {len(names)} inputs ({', '.join(names)}); {len(inputs)} were given")
    results = session.run(None, dict(zip(names, inputs)))
    return {value.name: result for value, result in zip(session.get_outputs(), results)}


def random_value(random: numpy.random.Generator, element_type: numpy.dtype, shape: list[int]) -> numpy.ndarray:
    """Standard normal floats, any byte, either boolean, small non-negative integers."""
    if element_type.kind == "f":
        return random.standard_normal(shape, element_type)
    high = {"b": 2, "u": 256, "i": 10}[element_type.kind]
    return random.integers(0, high, shape).astype(element_type)
