"""What tests of the optimizers share: processes of their own, and the engines of a backend."""

import os
import subprocess
import sys
import textwrap

import pytest

from dlskills.optimizers import ENGINES


@pytest.fixture
def run_python(tmp_path):
    """Runs code in a process of its own, with a fresh cache; gives what it printed, as lines."""

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


@pytest.fixture(scope="session")  # so that it goes with hypothesis
def engine_names():
    """The names of the engines that are available for a backend."""

    def names(backend):
        return [
            engine.name
            for engine in ENGINES.values()
            if engine.library in (None, backend.name) and engine.missing() is None
        ]

    return names
