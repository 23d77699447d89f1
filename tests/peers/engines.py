"""The engines, all behind one face: made for a network, `run` once, give `outputs`. What is timed is `time`: one run, with
inputs already in the engine's own form and outputs left in it, so that no engine pays for Python."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import subprocess
import time

import environment
import numpy
from networks import Network


class Unavailable(Exception):
    """Why an engine is left out."""


@contextlib.contextmanager
def quiet():
    """Keeps what libraries print about themselves off the terminal."""
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


class Engine:
    """A network loaded by one engine. Making one loads the network; its first run may still prepare things."""

    name = ""

    def run(self):
        """Runs the network once."""
        raise NotImplementedError

    def outputs(self) -> list[numpy.ndarray]:
        """Outputs of the last run."""
        raise NotImplementedError

    # What time is read from: perf_counter_ns; or process_time_ns, in which what others do to the processor hardly shows.
    clock = staticmethod(time.perf_counter_ns)

    def time(self) -> int:
        """Nanoseconds of one run."""
        start = self.clock()
        self.run()
        return self.clock() - start

    def close(self):
        """Ends what the engine started."""


class Context(ctypes.Structure):
    """`avocet_context` of the generated headers."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("arena", "weights", "parallel_for", "pool", "sizes")]


class Pool(ctypes.Structure):
    """The fields that tests/peers/pool gives."""

    _fields_ = Context._fields_[2:4]

    @staticmethod
    def of(threads: int) -> "Pool":
        """avocet_runtime's pool of this many threads; with one there is none."""
        if threads == 1:
            return Pool()
        library = ctypes.CDLL(str(environment.WORK / "pool" / "release" / "libpool_peer.so"))
        library.pool_of.argtypes, library.pool_of.restype = [ctypes.c_size_t], Pool
        return library.pool_of(threads)


def aligned(count: int, alignment: int = 64) -> numpy.ndarray:
    """Zeroed bytes that start at a multiple of the alignment."""
    memory = numpy.zeros(count + alignment, numpy.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + count]


def aligned_copy(array: numpy.ndarray) -> numpy.ndarray:
    """The same array at a multiple of 64 bytes: the engines that take it as it is all read it equally fast."""
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class Avocet(Engine):
    """The shared library that `avocet compile` writes, called as a C program calls it."""

    name = "avocet"
    program = environment.ROOT / "target" / "release" / "avocet"
    # Further arguments of `avocet compile`.
    options: list = []

    @classmethod
    def prepare(cls):
        """Builds the pool of threads, and the compiler unless another was named."""
        cargo = ["cargo", "build", "--quiet", "--release", "--manifest-path"]
        pool = [environment.HERE / "pool" / "Cargo.toml", "--target-dir", environment.WORK / "pool"]
        environment.run([*cargo, *pool], "building the pool")
        if cls.program == Avocet.program:
            environment.run([*cargo, environment.ROOT / "Cargo.toml", "--package", "avocet"], "building avocet")

    @classmethod
    def compile(cls, network: Network) -> tuple[pathlib.Path, dict, float]:
        """Compiles the network; gives the folder, the manifest, and the seconds that it took."""
        folder = environment.WORK / "avocet" / network.name
        shutil.rmtree(folder, ignore_errors=True)
        start = time.perf_counter()
        environment.run([cls.program, "compile", network.path, "-o", folder, "--name", "net", *cls.options], "compile")
        seconds = time.perf_counter() - start
        if not (folder / "libnet.so").is_file():
            raise RuntimeError("no shared library: there is no linker (apt-get install gcc)")
        return folder, json.loads((folder / "net.json").read_text()), seconds

    def __init__(self, network: Network, threads: int):
        folder, self.manifest, self.compile_seconds = self.compile(network)
        self.library = ctypes.CDLL(str(folder / "libnet.so"))
        self.function = getattr(self.library, self.manifest["function"])
        self.inputs = [aligned_copy(network.feeds[port["name"]]) for port in self.manifest["inputs"]]
        self.results = [self.output(port) for port in self.manifest["outputs"]]
        self.arena = aligned(self.manifest["arena"]["bytes"])
        pool = Pool.of(threads)
        self.context = Context(self.arena.ctypes.data, None, pool.parallel_for, pool.pool)
        self.arguments = (self.pointers(self.inputs), self.pointers(self.results), ctypes.byref(self.context))

    @staticmethod
    def output(port: dict) -> numpy.ndarray:
        dtype = {"f32": "f4", "i64": "i8", "i32": "i4", "bool": "?", "u8": "u1"}[port["element"]]
        return aligned(port["bytes"]).view(dtype).reshape(port["shape"])

    @staticmethod
    def pointers(arrays: list) -> ctypes.Array:
        return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))

    def run(self):
        status = self.function(*self.arguments)
        if status != 0:
            raise RuntimeError(f"status {status}")

    def outputs(self):
        return self.results


class OnnxRuntime(Engine):
    """ONNX Runtime, inputs and outputs bound once."""

    name = "ONNX Runtime"

    def __init__(self, network: Network, threads: int):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        # Its threads stop waiting for work once a run ends, so that they do not slow the next engine down.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self.session = onnxruntime.InferenceSession(str(network.path), options, providers=["CPUExecutionProvider"])
        self.binding = self.session.io_binding()
        for name, value in network.feeds.items():
            self.binding.bind_cpu_input(name, aligned_copy(value))
        for name in network.outputs:
            self.binding.bind_output(name, "cpu")

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def outputs(self):
        return self.binding.copy_outputs_to_cpu()


class OpenVino(Engine):
    """OpenVINO's CPU plugin, for latency, in f32."""

    name = "OpenVINO"

    def __init__(self, network: Network, threads: int):
        import openvino

        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
        }
        self.request = openvino.Core().compile_model(str(network.path), "CPU", options).create_infer_request()
        # Kept: the tensors share the arrays' memory.
        self.inputs = {name: aligned_copy(value) for name, value in network.feeds.items()}
        for name, value in self.inputs.items():
            self.request.set_tensor(name, openvino.Tensor(value, shared_memory=True))
        self.count = len(network.outputs)

    def run(self):
        self.request.infer(share_inputs=True, share_outputs=True)

    def outputs(self):
        return [self.request.get_output_tensor(number).data for number in range(self.count)]


class Mnn(Engine):
    """MNN's CPU back end in f32; its converter runs before, outside of what is measured."""

    name = "MNN"

    @staticmethod
    def convert(network: Network) -> pathlib.Path:
        """The network in MNN's own format, converted once for each version of the file."""
        converted = environment.WORK / "mnn" / f"{network.name}.mnn"
        if not converted.is_file() or converted.stat().st_mtime < network.path.stat().st_mtime:
            converted.parent.mkdir(parents=True, exist_ok=True)
            tool = environment.VENV / "bin" / "mnnconvert"
            arguments = ["-f", "ONNX", "--modelFile", network.path, "--MNNModel", converted, "--bizCode", "x"]
            environment.run([tool, *arguments], "mnnconvert")
        return converted

    def __init__(self, network: Network, threads: int):
        import MNN

        self.mnn = MNN
        self.interpreter = MNN.Interpreter(str(self.convert(network)))
        settings = {"numThread": threads, "precision": "high", "backend": "CPU"}
        self.session = self.interpreter.createSession(settings)
        for name, value in network.feeds.items():
            kind = {"f4": MNN.Halide_Type_Float, "i8": MNN.Halide_Type_Int64, "i4": MNN.Halide_Type_Int}[value.dtype.str[1:]]
            tensor = MNN.Tensor(value.shape, kind, value, MNN.Tensor_DimensionType_Caffe)
            self.interpreter.getSessionInput(self.session, name).copyFrom(tensor)
        self.tensors = self.interpreter.getSessionOutputAll(self.session)
        self.names = network.outputs

    def run(self):
        self.interpreter.runSession(self.session)

    def outputs(self):
        results = []
        for name in self.names:
            shape = self.tensors[name].getShape()
            empty = numpy.zeros(shape, numpy.float32)
            host = self.mnn.Tensor(shape, self.mnn.Halide_Type_Float, empty, self.mnn.Tensor_DimensionType_Caffe)
            self.tensors[name].copyToHostTensor(host)
            results.append(numpy.array(host.getData(), numpy.float32).reshape(shape))
        return results


class Tract(Engine):
    """tract in a process of its own (tests/peers/tract), which times each run on command."""

    name = "tract"
    program = environment.WORK / "tract" / "release" / "tract-peer"

    @classmethod
    def prepare(cls):
        cargo = ["cargo", "build", "--quiet", "--release", "--target-dir", cls.program.parent.parent]
        environment.run([*cargo, "--manifest-path", environment.HERE / "tract" / "Cargo.toml"], "building tract")

    def __init__(self, network: Network, threads: int):
        if threads != 1:
            raise Unavailable("measured on one thread only")
        folder = environment.WORK / "exchange"
        folder.mkdir(parents=True, exist_ok=True)
        inputs, self.file = folder / f"{network.name}.inputs", folder / f"{network.name}.outputs"
        inputs.write_bytes(b"".join(value.astype("<f4").tobytes() for value in network.feeds.values()))
        command = [self.program, network.path, inputs]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, **pipes)
        answer = self.process.stdout.readline().split()
        if answer[:1] != ["ready"]:
            lines = [line.strip() for line in self.process.stderr.read().splitlines() if line.strip()]
            self.process.wait()
            raise RuntimeError((lines or ["it ended at once"])[0])
        self.cold_seconds = int(answer[1]) / 1e9

    def ask(self, command: str) -> str:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def run(self):
        self.time()

    def time(self):
        if self.clock is time.perf_counter_ns:
            return int(self.ask("run"))
        start = self.on_processor()
        self.ask("run")
        return self.on_processor() - start

    def on_processor(self) -> int:
        """Nanoseconds that the process's thread has run; exact while it waits for a command."""
        return int(pathlib.Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0])

    def outputs(self):
        self.ask(f"write {self.file}")
        return [numpy.fromfile(self.file, "<f4")]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


ENGINES = {engine.name: engine for engine in (Avocet, OnnxRuntime, OpenVino, Mnn, Tract)}


def prepare(names: list[str]) -> dict[str, str]:
    """Builds what has to be built; gives the engines that can't be had, with the reason."""
    missing = {}
    for name in names:
        try:
            getattr(ENGINES[name], "prepare", lambda: None)()
        except (RuntimeError, OSError) as error:
            missing[name] = str(error)
    return missing


def versions() -> dict[str, str]:
    """Version of each engine."""
    import importlib.metadata
    import re

    found = {}
    for name, package in [("ONNX Runtime", "onnxruntime"), ("OpenVINO", "openvino"), ("MNN", "MNN")]:
        try:
            found[name] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    lock = (environment.HERE / "tract" / "Cargo.lock").read_text()
    if match := re.search(r'name = "tract-onnx"\nversion = "([^"]+)"', lock):
        found["tract"] = match[1]
    return found
