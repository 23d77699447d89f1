"""How an operator case is described and written.

A case is a model of one or a few nodes with inputs and the outputs that ONNX Runtime gives for them, its graph
optimizations off. A value that flows into the model is described by a function from a random generator to an array; the
generator is seeded by the case's name, so that a case does not change when others come or go.
"""

import pathlib
import typing
import zlib

import numpy
import onnx
from onnx import helper, numpy_helper

from values import open_session, run_session, write_values

Draw = typing.Callable[[numpy.random.Generator], numpy.ndarray]


class Constant(typing.NamedTuple):
    """A value that the model holds as an initializer, rather than takes as an input."""

    draw: Draw


def normal(*shape: int, scale: float = 1) -> Draw:
    """Normally distributed floats of this standard deviation."""
    return lambda random: random.standard_normal(shape, numpy.float32) * numpy.float32(scale)


def uniform(low: float, high: float, *shape: int) -> Draw:
    """Floats between the bounds."""
    return lambda random: random.uniform(low, high, shape).astype(numpy.float32)


def floats(values) -> Draw:
    """These floats; a list of lists, a list or a scalar."""
    return lambda _: numpy.array(values, numpy.float32)


def integers(values) -> Draw:
    """These 64-bit integers; a list or a scalar."""
    return lambda _: numpy.array(values, numpy.int64)


def weights(*shape: int) -> Constant:
    """An initializer of normal floats, scaled so that a sum over all but the first dimension stays near 1."""
    terms = max(1, int(numpy.prod(shape[1:])))
    return Constant(normal(*shape, scale=terms**-0.5))


class Case(typing.NamedTuple):
    """A finished case."""

    name: str
    opset: int
    model: onnx.ModelProto
    inputs: dict[str, numpy.ndarray]
    outputs: dict[str, numpy.ndarray]

    def write(self, parent: pathlib.Path) -> dict:
        """Writes the case into a folder of its name; returns its entry in the list of all cases."""
        folder = parent / self.name
        folder.mkdir()
        onnx.save(self.model, folder / "model.onnx")
        write_values(folder, "input", self.inputs)
        write_values(folder, "output", self.outputs)
        operators = sorted({node.op_type for node in self.model.graph.node})
        return {"name": self.name, "opset": self.opset, "operators": operators}


class Suite:
    """Builds cases, runs them and keeps them in the order of their making."""

    def __init__(self):
        self.cases = {}

    def operator(self, name: str, opset: int, op_type: str, values: dict, outputs: int = 1, **attributes):
        """Adds a case of a single node.

        `values` holds the node's inputs in order: a `Draw` for an input of the model, a `Constant` for an initializer,
        `None` for an optional input that is left out.
        """
        inputs = ["" if value is None else key for key, value in values.items()]
        names = [f"y{index}" for index in range(outputs)] if outputs > 1 else ["y"]
        node = helper.make_node(op_type, inputs, names, **attributes)
        self.graph(name, opset, [node], {key: value for key, value in values.items() if value is not None}, names)

    def graph(
        self,
        name: str,
        opset: int,
        nodes: list[onnx.NodeProto],
        values: dict,
        outputs: typing.Sequence[str] = ("y",),
        ir_version: int | None = None,
    ):
        """Adds a case of several nodes; `values` holds inputs and initializers as in `operator`."""
        if name in self.cases:
            raise ValueError(f"two cases are named {name}")
        random = numpy.random.default_rng(zlib.crc32(name.encode()))
        inputs, initializers = {}, {}
        for key, value in values.items():
            kind, draw = (initializers, value.draw) if isinstance(value, Constant) else (inputs, value)
            kind[key] = numpy.asarray(draw(random))
        # IR version 3 lists the initializers among the inputs, as all exporters once did; later ones need not.
        ir_version = ir_version or max(4, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
        listed = inputs | initializers if ir_version == 3 else inputs

        def model(output_infos):
            graph = helper.make_graph(
                nodes,
                name,
                [_value_info(key, array) for key, array in listed.items()],
                output_infos,
                [numpy_helper.from_array(array, key) for key, array in initializers.items()],
            )
            return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)

        try:
            # The first model leaves the types of its outputs to ONNX Runtime; the results then supply them.
            draft = model([onnx.ValueInfoProto(name=output) for output in outputs])
            session = open_session(draft.SerializeToString(), optimize=False)
            results = run_session(session, list(inputs.values()))
            final = model([_value_info(key, array) for key, array in results.items()])
            onnx.checker.check_model(final, full_check=True)
        except Exception as error:
            error.add_note(f"in the operator case {name}")
            raise
        self.cases[name] = Case(name, opset, final, inputs, results)


def _value_info(name: str, array: numpy.ndarray) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
