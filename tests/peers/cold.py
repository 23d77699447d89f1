"""Cold start and memory: what a fresh process pays before its first result. Files are in the page cache, for all alike."""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import engines
import environment
from networks import Network

HOST = environment.WORK / "cold_host"


def peak_kib(process: int | str = "self") -> int:
    """Peak of a process's resident memory."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def probe(name: str, network: Network) -> dict:
    """In a fresh process: imports the engine, loads the network, runs it once."""
    package = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "MNN": "MNN"}[name]
    start = time.perf_counter()
    with engines.quiet():
        __import__(package)
        imported, before = time.perf_counter(), peak_kib()
        engines.ENGINES[name](network, 1).run()
    end = time.perf_counter()
    return {"import_s": imported - start, "first_s": end - imported, "before_kib": before, "peak_kib": peak_kib()}


def probe_tract(network: Network) -> dict:
    """One fresh process of tract, which tells itself what loading and the first run took."""
    engine = engines.Tract(network, 1)
    try:
        return {"first_s": engine.cold_seconds, "peak_kib": peak_kib(engine.process.pid)}
    finally:
        engine.close()


def probe_peer(name: str, network: Network, shapes: list[str]) -> dict:
    """One fresh process of a peer."""
    if name == "tract":
        return probe_tract(network)
    script = environment.HERE / "bench.py"
    words = [sys.executable, "-B", script, "--probe", name, network.path, *(f"--shape={shape}" for shape in shapes)]
    return json.loads(environment.run(words, name).splitlines()[-1])


def build_host():
    """Compiles the C host."""
    source = environment.HERE / "cold_host.c"
    if not HOST.is_file() or HOST.stat().st_mtime < source.stat().st_mtime:
        environment.run(["cc", "-O2", "-o", HOST, source, "-ldl"], "compiling cold_host.c")


def probe_avocet(folder: pathlib.Path, manifest: dict, network: Network) -> dict:
    """One fresh process of the compiled library."""
    inputs, outputs = folder / "inputs.raw", folder / "outputs.raw"
    if not inputs.is_file():
        inputs.write_bytes(b"".join(network.feeds[port["name"]].tobytes() for port in manifest["inputs"]))
    ports = [manifest["inputs"], manifest["outputs"]]
    sizes = [port["bytes"] for side in ports for port in side]
    words = [HOST, folder / "libnet.so", manifest["function"], manifest["arena"]["bytes"], inputs, outputs]
    text = environment.run([*words, *map(len, ports), *sizes], "cold_host")
    load, first, second, before, peak = map(int, text.split())
    return {
        "load_s": load / 1e9,
        "first_s": (load + first) / 1e9,
        "second_s": second / 1e9,
        "before_kib": before,
        "peak_kib": peak,
    }


def middle(samples: list[dict]) -> dict:
    """Median of each figure; the times' minimum too."""
    found = {key: statistics.median(sample[key] for sample in samples) for key in samples[0]}
    return {**found, "least_first_s": min(sample["first_s"] for sample in samples), "processes": len(samples)}


def measure(network: Network, names: list[str], repeat: int, shapes: list[str]) -> dict:
    """First result, library and memory of each engine, each from several fresh processes that take turns."""
    folder = environment.WORK / "avocet" / network.name
    samples, failed = {}, {}
    if "avocet" in names:
        build_host()
        manifest = json.loads((folder / "net.json").read_text())
    for _ in range(repeat):
        for name in [name for name in names if name not in failed]:
            try:
                one = probe_avocet(folder, manifest, network) if name == "avocet" else probe_peer(name, network, shapes)
                samples.setdefault(name, []).append(one)
            except (engines.Unavailable, RuntimeError, subprocess.SubprocessError) as error:
                failed[name] = str(error)
    found = {name: middle(list_) for name, list_ in samples.items()}
    if "avocet" in found:
        library = (folder / "libnet.so").stat().st_size
        weights, arena = manifest["weights"]["bytes"], manifest["arena"]["bytes"]
        found["avocet"] |= {"library_bytes": library, "weight_bytes": weights, "arena_bytes": arena}
        found["avocet"]["library_over_weights"] = library - weights
        found["avocet"]["peak_over_weights_and_arena"] = int(found["avocet"]["peak_kib"] * 1024) - weights - arena
    return found
