"""Fixtures for backends, and settings of Hypothesis.

A test with the fixture `backend` runs once on each backend that this environment has. The
environment variable DLSKILLS_TEST_BACKENDS selects some of them, for example
`DLSKILLS_TEST_BACKENDS=numpy,cupy`; it is an error if a selected backend can't be used. With
`DLSKILLS_TEST_NAMING="cupy cuda backend"` only the tests run whose name, fixtures or code contain
one of these words: the others would repeat what another environment has tested.
"""

import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

# Set before NumPy is imported. The tests' products are small, and threads that wait for one another
# make them many times slower where tests run side by side.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")  # no test opens a window

import cupy_stand_in
import hypothesis
import pytest

from dlskills.arrays.backend import Backend, get_backend

# A shell starts its background jobs, such as a lane of CI, with Ctrl-C ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

# HYPOTHESIS_PROFILE=thorough searches longer. CI draws the same examples each time. There are no
# deadlines, since the first call of a kernel compiles it.
hypothesis.settings.register_profile("default", deadline=None, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "default")
)

# The stand-in for a GPU's libraries must be active before CuPy is imported.
HIPEMU_BUILD = os.environ.get("DLSKILLS_HIPEMU_BUILD")
HIPEMU = cupy_stand_in.activate(HIPEMU_BUILD) if HIPEMU_BUILD else None


def strict_backend(xp: Any) -> Backend:
    # Not the default device, whose arrays NumPy converts implicitly. Boolean indexing is disabled,
    # since it would make a GPU wait.
    xp.set_array_api_strict_flags(boolean_indexing=False)
    return get_backend(xp.Device("device1"), xp=xp)


# For each backend, the library that it needs and the function that creates it from the library.
BACKENDS: dict[str, tuple[str, Callable[[ModuleType], Backend]]] = {
    "numpy": ("numpy", lambda xp: get_backend("cpu")),
    "strict": ("array_api_strict", strict_backend),
    "torch": ("torch", lambda xp: get_backend(xp=xp)),
    "cupy": ("cupy", lambda xp: get_backend("cuda")),
}


@cache
def obstacle(name: str) -> str | None:
    """Return why the backend can't be used here, or None if it can."""
    if name not in BACKENDS:
        return f"choose from {', '.join(BACKENDS)}"
    try:
        with warnings.catch_warnings(action="ignore"):  # not about our code
            library = importlib.import_module(BACKENDS[name][0])
        if name == "cupy":
            library.cuda.runtime.getDeviceCount()  # raises if no device answers
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@cache
def selected_backends() -> list[str]:
    wanted = os.environ.get("DLSKILLS_TEST_BACKENDS")
    if not wanted:
        return [name for name in BACKENDS if obstacle(name) is None]
    names = [name.strip() for name in wanted.split(",")]
    for name in names:
        if problem := obstacle(name):
            raise pytest.UsageError(
                f"DLSKILLS_TEST_BACKENDS names {name!r}, which can't be used here: {problem}"
            )
    return names


NEEDED_BY_ALL = re.compile(r"^(?:\w+ = )?pytest\.importorskip\(.*", re.MULTILINE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that name none of the words in DLSKILLS_TEST_NAMING."""
    words = os.environ.get("DLSKILLS_TEST_NAMING", "").split()
    if not words:
        return

    def named(item: pytest.Item) -> bool:
        fixtures, test = getattr(item, "fixturenames", ()), getattr(item, "function", None)
        names = " ".join([item.nodeid, *fixtures, _needed_by_all(item.path), _code(test)]).lower()
        return any(word in names for word in words)

    chosen: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        chosen[named(item)].append(item)
    config.hook.pytest_deselected(items=chosen[False])
    items[:] = chosen[True]


@cache
def _code(test: Callable[..., Any] | None) -> str:
    return inspect.getsource(test) if test else ""


@cache
def _needed_by_all(file: Path) -> str:
    """Return the lines that skip the whole file where a library is missing."""
    return " ".join(NEEDED_BY_ALL.findall(file.read_text(encoding="utf-8")))


def pytest_report_header() -> str:
    stand_in = " (on the CPU, with hipemu)" if HIPEMU else ""
    return f"backends: {', '.join(selected_backends())}{stand_in}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" not in metafunc.fixturenames:
        return
    names = selected_backends()
    if mark := metafunc.definition.get_closest_marker("backends"):
        if unknown := set(mark.args) - set(BACKENDS):
            nodeid = metafunc.definition.nodeid
            raise pytest.UsageError(f"{nodeid}: unknown backends {sorted(unknown)}")
        names = [name for name in names if name in mark.args]
    metafunc.parametrize("backend", names, indirect=True)


@pytest.fixture(scope="session")  # Hypothesis rejects function-scoped fixtures
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each selected backend in turn."""
    library, make = BACKENDS[request.param]
    return make(importlib.import_module(library))


@pytest.fixture
def device_counters() -> ModuleType:
    """Hipemu, which counts the operations of its device; skips the test on all other devices.

    For example: `with device_counters.counting() as added: step()`, after which
    `added["kernel_launches"] == 1` and `added["copies_d2h"] == 0`.
    """
    if HIPEMU is None:
        pytest.skip("only the stand-in for a GPU counts: nox -s tests_cupy")
    HIPEMU.reset_counters()
    return HIPEMU


@pytest.fixture
def run_python(tmp_path):
    """A function that runs code in a new process with an empty cache and returns printed lines."""

    def run(code, **environment):
        inherited = {key: v for key, v in os.environ.items() if not key.startswith("NUMBA_")}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            env=inherited | {"NUMBA_CACHE_DIR": str(tmp_path)} | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr}"
        return done.stdout.splitlines()

    return run
