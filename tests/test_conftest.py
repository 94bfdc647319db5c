"""The fixtures of conftest.py."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlskills.arrays.backend import backend_of, to_host


def test_arrays_round_trip_through_a_backend(backend):
    array = backend.xp.sqrt(backend.asarray([1.0, 4.0, 9.0], dtype="float32"))

    assert backend_of(array) == backend
    np.testing.assert_array_equal(to_host(array), np.asarray([1, 2, 3], dtype=np.float32))


@pytest.mark.backends("strict")
def test_strict_arrays_do_not_convert_to_numpy_implicitly(backend):
    with pytest.raises((RuntimeError, TypeError), match="device"):
        np.asarray(backend.asarray([1.0]))


@pytest.mark.backends("cupy")
def test_the_stand_in_counts_kernels(backend, device_counters):
    array = backend.asarray([1.0, 2.0], dtype="float32")

    with device_counters.counting() as added:
        array += 1

    assert added["kernel_launches"] == 1
    assert added["copies_h2d"] == added["copies_d2h"] == 0


@pytest.mark.parametrize("wanted", ["numpy,nonsense", "numpy,cupy"])
@pytest.mark.slow
def test_a_requested_backend_that_is_missing_is_an_error(wanted):
    # Neither a driver without devices nor a missing CuPy may turn into skipped tests.
    environment = {
        "DLSKILLS_TEST_BACKENDS": wanted,
        "DLSKILLS_HIPEMU_BUILD": "",
        "CUDA_VISIBLE_DEVICES": "",
    }

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:benchmark", "--collect-only", __file__],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"names {wanted.partition(',')[2]!r}, which can't be used here" in result.stderr


@pytest.mark.slow
def test_tests_that_name_none_of_the_words_are_left_out(tmp_path):
    tests = Path(__file__).parent
    (tmp_path / "conftest.py").write_text((tests / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_skipped_without_it.py").write_text(
        'import pytest\n\njson = pytest.importorskip("json")\n\n\ndef test_a():\n    pass\n'
    )
    (tmp_path / "test_some.py").write_text("""
import pytest

@pytest.fixture
def json_file():
    pass

@pytest.fixture
def indirect(json_file):
    pass

def test_json_by_name():
    pass

def test_code():
    import json

def test_fixture(json_file):
    pass

def test_fixture_of_a_fixture(indirect):
    pass

def test_another():
    pass
""")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:benchmark", "--collect-only", "-q", tmp_path],
        env=os.environ | {"DLSKILLS_TEST_NAMING": "yaml json", "PYTHONPATH": str(tests)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert set(re.findall(r"::(test_\w+)", result.stdout)) == {
        "test_a", "test_json_by_name", "test_code", "test_fixture", "test_fixture_of_a_fixture"
    }  # fmt: skip
