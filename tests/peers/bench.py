#!/usr/bin/env python3
"""Times avocet and its peers side by side on the same ONNX files and inputs, and compares their results.

    python3 tests/peers/bench.py                         the networks that pip packages carry
    python3 tests/peers/bench.py --export                makes 23 more with torch, torchvision and timm, then measures all
    python3 tests/peers/bench.py --cold a.onnx b.onnx    these; cold start, library size and memory too

Engines: avocet (the shared library that `avocet compile` writes), ONNX Runtime, OpenVINO, MNN, tract. What can't be had is
left out, with the reason. Everything that is made or installed lies in target/peers. In each round every engine has a turn,
in changing order: a warm-up run, then timed ones. Exit code 1 when avocet's output differs from ONNX Runtime's."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import environment

NAMES = ["avocet", "ONNX Runtime", "OpenVINO", "MNN", "tract"]


def shape(text: str) -> tuple[str, list[int]]:
    name, _, sizes = text.rpartition("=")
    try:
        return name, [int(size) for size in sizes.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected INPUT=SIZE,SIZE,…") from None


def engine(text: str) -> str:
    found = [name for name in NAMES if name.lower().replace(" ", "") == text.lower().replace(" ", "")]
    if not found:
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(NAMES)}")
    return found[0]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, metavar="FILE.onnx")
    parser.add_argument("--threads", type=int, default=1, help="threads of each engine (default 1)")
    parser.add_argument("--cpus", help="processors to stay on, such as 2,3 (default: the last ones allowed, one a thread)")
    parser.add_argument("--seconds", type=float, default=6, help="time for each network, all engines together (default 6)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds at least, whatever the time (default 10)")
    parser.add_argument("--turn", type=int, default=2, help="timed runs of an engine in a round (default 2)")
    parser.add_argument("--warm", type=int, default=1, help="untimed runs before them (default 1; 0: caches are others')")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                        help="cpu: time on the processor, for one thread on a machine that others use (default wall)")  # fmt: skip
    parser.add_argument("--engines", nargs="+", type=engine, default=NAMES, metavar="ENGINE", help=", ".join(NAMES))
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=1,3,…", help="shape of an input with open dimensions")
    parser.add_argument("--cold", action="store_true", help="measure first result, library and memory of fresh processes too")
    parser.add_argument("--processes", type=int, default=5, help="fresh processes of each engine for --cold (default 5)")
    parser.add_argument("--export", action="store_true", help="make the zoo's networks first (installs torch: gigabytes)")
    parser.add_argument("--avocet", type=pathlib.Path, help="the avocet program (default: built in release mode)")
    parser.add_argument("--avocet-option", action="append", default=[], metavar="OPTION", help="one more argument of `avocet compile`")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write all figures")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the tables; between its markers if it has them")
    parser.add_argument("--probe", type=engine, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in ("threads", "rounds", "turn", "processes"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.clock == "cpu" and options.threads != 1:
        parser.error("--clock cpu adds the threads' times up; it says something of one thread only")
    options.shapes = dict(map(shape, options.shape))
    return options


def pin(options: argparse.Namespace) -> list[int]:
    """Keeps this process, and all that it starts, on a few processors; before any engine starts threads."""
    allowed = sorted(os.sched_getaffinity(0))
    cpus = [int(cpu) for cpu in options.cpus.split(",")] if options.cpus else allowed[-options.threads :]
    if len(cpus) < options.threads:
        print(f"warning: {options.threads} threads on {len(cpus)} processors", file=sys.stderr)
    os.sched_setaffinity(0, cpus)
    return cpus


def unique(networks: list) -> list:
    """Gives networks of the same name different ones: their files are kept by name."""
    seen = {}
    for network in networks:
        seen[network.name] = seen.get(network.name, 0) + 1
        if seen[network.name] > 1:
            network.name += f"-{seen[network.name]}"
    return networks


def save(options: argparse.Namespace, data: dict, report):
    """Writes what there is so far: a long run that is broken off leaves the networks that it got to."""
    data["means"] = report.means(data["networks"])
    if options.json:
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    if options.markdown:
        report.write_markdown(options.markdown, report.markdown(data))


def main() -> int:
    options = arguments()
    environment.enter("requirements.txt")
    if options.export:
        environment.install("requirements-export.txt")
        zoo = environment.WORK / "zoo"
        subprocess.run([sys.executable, "-B", environment.HERE / "export_zoo.py", zoo], check=True)

    import cold
    import engines
    import measure
    import networks
    import report

    if options.probe:
        network = networks.open_network(options.files[0], options.shapes)
        print(json.dumps(cold.probe(options.probe, network)))
        return 0
    engines.Avocet.options = options.avocet_option
    if options.avocet:
        engines.Avocet.program = options.avocet.resolve()
    if options.clock == "cpu":
        engines.Engine.clock = staticmethod(time.process_time_ns)
    missing = engines.prepare(options.engines)
    cpus = pin(options)
    data = {
        "machine": report.machine(),
        "versions": engines.versions(),
        "threads": options.threads,
        "cpus": cpus,
        **{name: getattr(options, name) for name in ("clock", "seconds", "rounds", "turn", "warm")},
        "networks": [],
    }
    names = [name for name in NAMES if name in options.engines and name not in missing]
    files = options.files or networks.default_files()
    wrong = False
    for network in unique([networks.open_network(file, options.shapes) for file in files]):
        result = {"name": network.name, **measure.measure(network, names, dict(missing), options)}
        if options.cold:
            there = list(result["engines"])
            result["cold"] = cold.measure(network, there, options.processes, options.shape)
        data["networks"].append(result)
        report.show(result)
        wrong |= not result["engines"].get("avocet", {"agrees": True})["agrees"]
        save(options, data, report)
    if (mean := data.get("means", {})).get("to_best"):
        each = ", ".join(f"{value:.2f} of {name}" for name, value in mean["to"].items())
        print(f"\ngeometric means over {mean['networks']} networks: {mean['to_best']:.2f} of the best peer; {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
