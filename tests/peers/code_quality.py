#!/usr/bin/env python3
"""Writes docs/code_quality.md: the machine code of MobileNetV2 on every target, beside what C compilers make of a pointwise
convolution and beside other libraries' kernels, by counts of instructions: no real machine is needed.

    python3 tests/peers/code_quality.py --markdown docs/code_quality.md
        --library 'XNNPACK 20220216 (Debian)=f32_gemm_minmax=libXNNPACK.so' ...

It takes `cargo build --release`, gcc and the cross compilers of the tests, clang with llvm-objdump, and qemu-user. What is
executed by C code is counted by the tests' plugin of qemu, avocet's by `avocet bench --simulate`, which a test holds against
the same plugin. Of a library the loop with the most multiply-adds is shown of each function whose name matches the pattern; with
an empty pattern, for libraries that keep no names, the one of all its code, by multiply-adds of vectors."""

import argparse
import json
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
AVOCET = ROOT / "target/release/avocet"
LAYER = "blocks.11.expand.conv"

# avocet's target; gcc and its flags; clang's flags; lanes, rows and vectors of the hand-blocked loop; the emulator.
ARM, RISCV = "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc"
VECTORS = "vext_spec=v1.0,elen=64"
TARGETS = [
    ("aarch64", ARM, ["-mcpu=generic"], ["-mcpu=generic"], (4, 7, 3), ["qemu-aarch64"]),
    ("cortex-a53", ARM, ["-mcpu=cortex-a53"], ["-mcpu=cortex-a53"], (4, 7, 3), ["qemu-aarch64"]),
    ("cortex-a72", ARM, ["-mcpu=cortex-a72"], ["-mcpu=cortex-a72"], (4, 7, 3), ["qemu-aarch64"]),
    ("cortex-a76", ARM, ["-mcpu=cortex-a76"], ["-mcpu=cortex-a76"], (4, 7, 3), ["qemu-aarch64"]),
    ("neoverse-n1", ARM, ["-mcpu=neoverse-n1"], ["-mcpu=neoverse-n1"], (4, 7, 3), ["qemu-aarch64"]),
    ("apple-m1", None, [], ["-mcpu=apple-m1"], (4, 7, 3), ["qemu-aarch64", "-cpu", "max"]),
    ("rv64gc", RISCV, ["-march=rv64gc"], ["-march=rv64gc"], (1, 4, 4), ["qemu-riscv64"]),
    ("rv64gcv", None, [], ["-march=rv64gcv"], (4, 7, 3), ["qemu-riscv64", "-cpu", f"rv64,v=true,{VECTORS},vlen=128"]),
    ("rv64gcv-zvl256b", None, [], ["-march=rv64gcv_zvl256b"], (8, 7, 3),
     ["qemu-riscv64", "-cpu", f"rv64,v=true,{VECTORS},vlen=256"]),
    ("rv64gcv-zvl512b", None, [], ["-march=rv64gcv_zvl512b"], (16, 7, 3),
     ["qemu-riscv64", "-cpu", f"rv64,v=true,{VECTORS},vlen=512"]),
    ("x86-64", "gcc", ["-march=x86-64"], ["-march=x86-64"], (4, 4, 2), ["qemu-x86_64"]),
    ("x86-64-v3", "gcc", ["-march=x86-64-v3"], ["-march=x86-64-v3"], (8, 4, 3), ["qemu-x86_64", "-cpu", "max"]),
    ("x86-64-v4", "gcc", ["-march=x86-64-v4"], ["-march=x86-64-v4", "-mprefer-vector-width=512"], (16, 7, 3), None),
]  # fmt: skip


def run(*command, **options) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **options).stdout


def version(compiler: str) -> str:
    return run(compiler, "--version").splitlines()[0]


FUSED = re.compile(r"^(fmla|fmadd|vfmacc|vfmadd|fmadd\.s)")
FUSED_VECTORS = re.compile(r"^(fmla|vfmacc|vfmadd)")
JUMP = re.compile(r"(?:0x)?([0-9a-f]+) <")


# What LLVM's disassembler must be told of RISC-V.
FEATURES = "+v,+m,+a,+f,+d,+c,+zvfh"


class Function:
    """A function's instructions as `(address, text)`."""

    def __init__(self, name: str):
        self.name, self.code = name, []

    def inner_loop(self, multiplies: re.Pattern = FUSED) -> tuple[int, int] | None:
        """Instructions and multiply-adds of the loop with the most of them that has no other within."""
        places = {address: number for number, (address, _) in enumerate(self.code)}
        loops = []
        for number, (_, text) in enumerate(self.code):
            target = JUMP.search(text)
            start = places.get(int(target[1], 16)) if target and not text.startswith(("call", "bl ", "bl\t")) else None
            if start is not None and start <= number:
                loops.append((start, number))
        inner = [l for l in loops if not any(o != l and l[0] <= o[0] and o[1] <= l[1] for o in loops)]
        is_one = lambda text: bool(multiplies.match(text))
        counted = [(end - start + 1, sum(is_one(t) for _, t in self.code[start : end + 1])) for start, end in inner]
        # Of several with as many, the one with the least besides: others begin or end.
        return max((c for c in counted if c[1]), key=lambda c: (c[1], -c[0]), default=None)


def functions(path: pathlib.Path, objdump: str, *options: str) -> list[Function]:
    found: list[Function] = []
    for line in run(objdump, "-d", "--no-show-raw-insn", "--mattr=" + FEATURES, *options, path).splitlines():
        if head := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            found.append(Function(head[1]))
        elif found and (part := re.match(r"^\s*([0-9a-f]+):\s+(.*)$", line)):
            found[-1].code.append((int(part[1], 16), part[2].strip()))
    return found


def share(pair: tuple[int, int] | None) -> str:
    return f"{pair[1]} of {pair[0]}: {pair[1] / pair[0]:.0%}".replace("%", " %") if pair else "none"


class Bench:
    """C code, compiled and counted."""

    def __init__(self, folder: pathlib.Path, clang: str, objdump: str):
        self.folder, self.clang, self.objdump = folder, clang, objdump
        self.source = ROOT / "tests/peers/pointwise.c"
        self.plugin = folder / "count.so"
        source = ROOT / "tests/suite/src/count_executed.c"
        run("cc", "-O2", "-shared", "-fPIC", "-DINTERFACE=1", source, "-o", self.plugin)

    def counted(self, compiler: list[str], linker: list[str], shape, emulator) -> tuple[int | None, tuple | None]:
        """Executed instructions of the function, and its inner loop."""
        flags = ["-DPLAIN"] if shape is None else [f"-D{n}={v}" for n, v in zip(("LANES", "ROWS", "VECTORS"), shape)]
        code, host, program = (self.folder / name for name in ("code.o", "host.c", "program"))
        run(*compiler, "-O3", *flags, "-c", self.source, "-o", code)
        host.write_text(
            "void pointwise(const float *, const float *, const float *, float *);\n"
            "static float x[196 * 96], w[96 * 576], b[576], y[196 * 576];\n"
            "int main(void) { pointwise(x, w, b, y); return 0; }\n"
        )
        run(*linker, "-O1", "-static", host, code, "-o", program)
        [function] = functions(program, self.objdump, "--disassemble-symbols=pointwise")
        loop = function.inner_loop(re.compile("mulps") if "-march=x86-64" in compiler else FUSED)
        if not emulator:
            return None, loop
        symbols = run("nm" if linker[0] == "gcc" else linker[0].replace("gcc", "nm"), "-S", program)
        start, size = re.search(r"^([0-9a-f]+) ([0-9a-f]+) T pointwise$", symbols, re.M).groups()
        out = self.folder / "executed"
        begin, end = int(start, 16), int(start, 16) + int(size, 16)
        run(*emulator, "-plugin", f"{self.plugin},from={begin},to={end},out={out}", program)
        return int(out.read_text()), loop


def simulations() -> dict[str, dict]:
    found = {}
    for target, *_ in TARGETS:
        found[target] = json.loads(
            run(AVOCET, "bench", ROOT / "examples/mobilenet_v2.toml", "--simulate", "--json", "--target", target)
        )
    return found


def millions(number: int | None) -> str:
    return "" if number is None else f"{number / 1e6:.1f}" if number >= 1e7 else f"{number / 1e6:.2f}"


def percent(part: int, of: int) -> str:
    return f"{part / max(of, 1):.1%}".replace("%", " %")


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def network_table(found: dict[str, dict]) -> str:
    rows = []
    for target, simulation in found.items():
        total, kinds = simulation["total"], {k["name"]: k for k in simulation["kinds"]}
        inner = lambda k: percent(kinds[k]["inner_multiply_add_instructions"], kinds[k]["inner_instructions"])
        stack = kinds["pointwise"]["inner_stack_instructions"]
        rows.append([
            target, millions(total["instructions"]), f"{simulation['needed_multiply_adds'] / total['instructions']:.2f}",
            millions(total["multiply_add_instructions"]), inner("pointwise"), inner("conv"), inner("depthwise"),
            "none" if stack == 0 else f"{stack / kinds['pointwise']['inner_instructions'] * 100:.3f} %",
        ])  # fmt: skip
    head = ["target", "instructions, millions", "multiply-adds for each", "multiply-add instructions, millions",
            "of inner loops: pointwise", "stem", "depthwise", "stack, pointwise"]  # fmt: skip
    return table(head, rows)


def layer_table(found: dict[str, dict], bench: Bench) -> str:
    rows = []
    for target, gcc, gcc_flags, clang_flags, shape, emulator in TARGETS:
        node = next(n for n in found[target]["nodes"] if n["name"] == LAYER)
        pair = (node["inner_instructions"], node["inner_multiply_add_instructions"])
        row = [target, f"{millions(node['instructions'])} ({percent(pair[1], pair[0])})"]
        triple = "riscv64-linux-gnu" if target.startswith("rv") else "x86_64-linux-gnu" if target.startswith("x86") else "aarch64-linux-gnu"
        linker = ["gcc"] if triple.startswith("x86") else [f"{triple}-gcc"]
        clang = [bench.clang, f"--target={triple}", *clang_flags]
        for compiler in ([gcc, *gcc_flags] if gcc else None, clang):
            for form in (None, shape):
                if compiler is None:
                    row.append("–")
                    continue
                executed, loop = bench.counted(compiler, linker, form, emulator)
                row.append(f"{millions(executed)} ({share(loop)})".strip())
        rows.append(row)
    return table(["target", "avocet", "gcc, plain", "gcc, blocked", "clang, plain", "clang, blocked"], rows)


def library_table(libraries: list[str], objdump: str) -> str:
    rows = []
    for library in libraries:
        label, pattern, path = library.split("=", 2)
        found = functions(pathlib.Path(path), objdump)
        kind = FUSED if pattern else FUSED_VECTORS
        loops = [(f"`{f.name}`", f.inner_loop(kind)) for f in found if re.search(pattern, f.name)]
        loops = [(name, loop) for name, loop in loops if loop]
        if not pattern:
            loops = [("the largest of vectors", max((loop for _, loop in loops), key=lambda loop: loop[1]))]
        for name, (instructions, multiply_adds) in loops:
            rows.append([f"{label}: {name}", str(multiply_adds), str(instructions), percent(multiply_adds, instructions)])
    return table(["kernel", "multiply-adds", "instructions", "share"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang", default="clang", help="clang, which makes code for all targets (default: clang)")
    parser.add_argument("--objdump", default="llvm-objdump", help="LLVM's disassembler (default: llvm-objdump)")
    parser.add_argument("--library", action="append", default=[], metavar="LABEL=PATTERN=FILE", help="a peer (repeatable)")
    parser.add_argument("--markdown", type=pathlib.Path, metavar="FILE", help="write the tables between its markers")
    options = parser.parse_args()
    found = simulations()
    with tempfile.TemporaryDirectory() as folder:
        layer = layer_table(found, Bench(pathlib.Path(folder), options.clang, options.objdump))
    compilers = ", ".join(version(c) for c in (ARM, RISCV, "gcc", options.clang))
    tables = {
        "network": network_table(found),
        "layer": f"{layer}\n{compilers}; `-O3`.\n",
        "libraries": library_table(options.library, options.objdump),
    }
    if not options.markdown:
        print("\n".join(tables.values()))
        return
    text = options.markdown.read_text()
    for name, content in tables.items():
        begin, end = f"<!-- {name}: begin (written by tests/peers/code_quality.py) -->", f"<!-- {name}: end -->"
        head, rest = text.split(begin)
        text = head + begin + "\n" + content + end + rest.split(end)[1]
    options.markdown.write_text(text)


if __name__ == "__main__":
    main()
