"""Runs an ONNX model by ONNX Runtime, on one thread.

In: the model and a folder of inputs `input_0.npy`, `input_1.npy`, … in the order of the model's inputs. Out: a folder
of outputs `output_0.npy`, … with their names, types and shapes in `outputs.json`. With --seed the inputs are drawn at
random and written to the folder of inputs first.
"""

import argparse
import pathlib

import numpy
import onnxruntime

from values import ELEMENT_TYPES, open_session, random_value, read_values, run_session, write_values


def binding(text: str) -> tuple[str, int]:
    """Parses NAME=SIZE."""
    name, separator, size = text.rpartition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=SIZE")
    return name, int(size)


def shape(text: str) -> tuple[str, list[int]]:
    """Parses NAME=1,3,224,224; an empty list after the sign is a scalar."""
    name, separator, sizes = text.rpartition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=SIZE,SIZE,...")
    return name, [int(size) for size in sizes.split(",") if size]


def random_inputs(
    session: onnxruntime.InferenceSession, seed: int, shapes: dict[str, list[int]]
) -> dict[str, numpy.ndarray]:
    """Draws every input; dimensions that the model leaves open must be given."""
    random = numpy.random.default_rng(seed)
    values = {}
    for value in session.get_inputs():
        sizes = shapes.get(value.name, value.shape)
        if not all(isinstance(size, int) and size >= 0 for size in sizes):
            raise ValueError(f"input {value.name!r} has open dimensions {sizes}: give --shape or --bind")
        values[value.name] = random_value(random, ELEMENT_TYPES[value.type], sizes)
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path, help="the ONNX file")
    parser.add_argument("inputs", type=pathlib.Path, help="folder with input_N.npy")
    parser.add_argument("outputs", type=pathlib.Path, help="folder to write output_N.npy into; made when missing")
    parser.add_argument("--no-optimization", action="store_true", help="run the graph as it is written")
    parser.add_argument("--bind", type=binding, action="append", default=[], metavar="NAME=SIZE",
                        help="fix the free dimension of this name")
    parser.add_argument("--seed", type=int, help="draw the inputs from this seed and write them to INPUTS")
    parser.add_argument("--shape", type=shape, action="append", default=[], metavar="INPUT=1,3,48,192",
                        help="shape of an input to draw whose dimensions are open")
    arguments = parser.parse_args()
    session = open_session(str(arguments.model), not arguments.no_optimization, dict(arguments.bind))
    if arguments.seed is not None:
        write_values(arguments.inputs, "input", random_inputs(session, arguments.seed, dict(arguments.shape)))
    inputs = read_values(arguments.inputs, "input", len(session.get_inputs()))
    write_values(arguments.outputs, "output", run_session(session, inputs))


if __name__ == "__main__":
    main()
