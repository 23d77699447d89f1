"""Folders, and the Python environment of the comparison: made under target/peers on first use, by the standard library alone."""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target" / "peers"
VENV = WORK / "venv"
PYTHON = VENV / "bin" / "python"


def stamp(requirements: pathlib.Path) -> str:
    """What an installation depends on: the packages wanted and the interpreter."""
    return f"{sys.version}\n{requirements.read_text()}"


def pip_install(requirements: pathlib.Path):
    """Installs the packages of a file. Where not all can be had, each is tried alone: one missing peer is no reason to
    go without the others."""
    pip = [PYTHON, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--requirement", requirements]).returncode == 0:
        return
    lines = [line.strip() for line in requirements.read_text().splitlines()]
    for package in [line for line in lines if line and not line.startswith("#")]:
        if subprocess.run([*pip, package]).returncode != 0:
            print(f"{package} can't be installed; going on without it", file=sys.stderr)


def install(requirements: str):
    """Makes the environment have these packages, unless it has them already."""
    path = HERE / requirements
    done = VENV / f"{path.stem}.stamp"
    if done.is_file() and done.read_text() == stamp(path):
        return
    WORK.mkdir(parents=True, exist_ok=True)
    if not PYTHON.exists():
        print(f"making {VENV} …", file=sys.stderr)
        subprocess.run([sys.executable, "-I", "-m", "venv", VENV], check=True)
    print(f"installing {path.name} …", file=sys.stderr)
    pip_install(path)
    done.write_text(stamp(path))


def enter(requirements: str):
    """Goes on in the environment: returns if this process runs in it, else replaces the process by one that does."""
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    install(requirements)
    os.execve(PYTHON, [str(PYTHON), "-B", *sys.argv], clean_variables())


def clean_variables() -> dict:
    """The environment's variables without those that would bring in other packages or more threads."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "OMP_NUM_THREADS", "RUST_BACKTRACE")
    return {name: value for name, value in os.environ.items() if name not in unwanted}


def run(command: list, what: str):
    """Runs a command; its failure becomes a RuntimeError with the last line that says something."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("error")] or lines[-1:]
        raise RuntimeError(f"{what}: {errors[0] if errors else f'exit code {done.returncode}'}")
    return done.stdout
