"""Errors of the real CuPy on a machine without an NVIDIA driver."""

import re
import warnings

import pytest
from typer.testing import CliRunner

from dlskills import DeviceError, cli, engine, get_backend

MESSAGE = (
    r"device 'cuda': CuPy found no usable GPU \(cudaErrorInsufficientDriver: .+\)\. Install or "
    r"update the NVIDIA driver \(nvidia-smi shows its version\), or use device='cpu'"
)


@pytest.fixture(autouse=True)
def no_driver():
    with warnings.catch_warnings(action="ignore"):  # not about our code
        cupy = pytest.importorskip("cupy", exc_type=ImportError)
    if cupy.cuda.runtime.is_hip:
        pytest.skip("this CuPy is built for ROCm")
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        if "cudaErrorInsufficientDriver" in str(error):
            return
    pytest.skip("a driver is installed")


def test_the_device_is_rejected_with_the_reason():
    with pytest.raises(DeviceError, match=f"^{MESSAGE}$"):
        get_backend("cuda")


def test_an_outdated_driver_is_distinguished_from_a_missing_one(monkeypatch):
    import cupy

    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 11_080)
    message = (
        r"^device 'cuda': the NVIDIA driver is too old: it supports CUDA 11.8, but this CuPy needs "
        r"1[23]\.\d+ \(cudaErrorInsufficientDriver: .+\)\. Update the driver, or use device='cpu'$"
    )
    with pytest.raises(DeviceError, match=message):
        get_backend("cuda")


def test_the_engine_is_rejected_with_the_reason():
    message = f"^engine 'cuda' is not available: {MESSAGE}$"
    with pytest.raises(RuntimeError, match=message), engine("cuda"):
        pass


def test_info_shows_the_reason(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")  # no line is wrapped
    result = CliRunner().invoke(cli.app, ["info"])

    assert result.exit_code == 0, result.output
    assert re.search(r"cupy +1\d\.\S+ \(cupy-cuda1\dx\)", result.stdout)
    assert re.search(f"device cuda +not available: {MESSAGE}", result.stdout)
    assert re.search(f"engine cuda +not available: {MESSAGE}", result.stdout)
