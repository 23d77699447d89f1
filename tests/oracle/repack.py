"""Reads an archive of arrays and writes it again, compressed: a check of both by NumPy itself."""

import argparse
import pathlib

import numpy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=pathlib.Path, help="an .npz file")
    parser.add_argument("output", type=pathlib.Path, help="the .npz file to write")
    arguments = parser.parse_args()
    with numpy.load(arguments.archive, allow_pickle=False) as arrays:
        numpy.savez_compressed(arguments.output, **{name: arrays[name] for name in arrays.files})


if __name__ == "__main__":
    main()
