"""Writes the operator cases: small models with inputs and the outputs that ONNX Runtime gives.

Out, into the given folder: for each case a folder of its name with `model.onnx`, the inputs `input_N.npy`, the outputs
`output_N.npy` and their lists `inputs.json` and `outputs.json`; and `cases.json` with name, opset and operators of all
cases. Cases and values are the same in every run.
"""

import argparse
import json
import pathlib

from operator_cases import MODULES
from operator_cases.suite import Suite


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=pathlib.Path, help="folder to write into; made when missing")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    suite = Suite()
    for module in MODULES:
        module.add_cases(suite)
    entries = [case.write(output) for case in suite.cases.values()]
    (output / "cases.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
