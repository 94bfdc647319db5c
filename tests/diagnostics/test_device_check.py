"""The examination of a device: what works is said, what does not with what to do."""

import re

import pytest
from two_gpus import with_two_gpus
from typer.testing import CliRunner

from dlskills import DeviceError, cli
from dlskills.diagnostics import device_check
from dlskills.diagnostics.device_check import check_device
from dlskills.installation import install_command


def failing(message, error=RuntimeError):
    def fail(*args, **kwargs):
        raise error(message)

    return fail


def test_the_cpu_works():
    found = dict(check_device("cpu"))
    assert found["device"] == "cpu (NumPy)"
    assert list(found) == ["device", "matrix products", "updates"]


@pytest.mark.backends("cupy")
def test_a_gpu_works(backend):
    found = dict(check_device("cuda"))
    assert list(found) == [
        "device", "driver", "runtime", "memory", "compiler", "matrix products", "updates",
    ]  # fmt: skip
    assert found["device"] == "cuda:0 (CuPy)"
    assert "MiB free" in found["memory"]


@pytest.mark.backends("cupy")
def test_the_second_gpu_works_by_itself(backend, device_counters):
    with_two_gpus(
        """
        from dlskills.diagnostics.device_check import check_device

        found = dict(check_device("cuda:1"))
        assert found["device"] == "cuda:1 (CuPy)", found
        assert "updates" in found, found
        """
    )


@pytest.mark.backends("cupy")
def test_a_compiler_that_fails_is_named_with_what_to_install(backend, monkeypatch):
    import cupy

    monkeypatch.setattr(cupy, "ElementwiseKernel", failing("no\n  nvrtc here"))
    examined = []
    extra = "gpu-rocm" if cupy.cuda.runtime.is_hip else "gpu"
    command = re.escape(install_command(extra))
    message = rf"compiler on 'cuda' fails: no nvrtc here; install its .*: {command}$"
    with pytest.raises(DeviceError, match=message):
        examined.extend(what for what, _ in check_device("cuda"))
    assert examined == ["device", "driver", "runtime", "memory"]


@pytest.mark.backends("cupy")
def test_a_driver_too_old_is_told(backend, monkeypatch):
    import cupy

    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 11_080)
    monkeypatch.setattr(cupy.cuda.runtime, "runtimeGetVersion", lambda: 12_040)
    monkeypatch.setattr(device_check.cuda, "platform", lambda: "CUDA")
    with pytest.raises(DeviceError, match="the driver knows CUDA 11.8, and this CuPy needs 12.4"):
        list(check_device("cuda"))


@pytest.mark.backends("cupy")
def test_full_memory_is_told(backend, monkeypatch, device_counters):
    with (
        device_counters.memory_limit(32 << 20),
        pytest.raises(DeviceError, match="MiB are free; end other programs"),
    ):
        list(check_device("cuda"))


def test_an_update_that_computes_something_else_is_told(monkeypatch):
    monkeypatch.setattr(device_check.Adam, "update", lambda self, params, grads: None)
    monkeypatch.setattr(device_check, "_matrices", lambda backend: "")
    wrong = {"updates": (lambda backend: device_check._expect(1.0, 2.0), "report this")}
    monkeypatch.setattr(device_check, "_ANY", wrong)
    with pytest.raises(
        DeviceError, match=r"updates on 'cpu' fails: got .1.., expected 2.0; report"
    ):
        list(check_device("cpu"))


def test_the_command(monkeypatch):
    result = CliRunner().invoke(cli.app, ["info", "--device", "cpu"])
    assert result.exit_code == 0
    assert "ok  matrix products: multiplies matrices" in result.output
    assert "device 'cpu' works" in result.output
    result = CliRunner().invoke(cli.app, ["info", "--device", "gpu"])
    assert isinstance(result.exception, ValueError)
