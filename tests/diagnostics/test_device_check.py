"""The device check: reports what works, and what fails with a remedy."""

import re

import pytest
from two_gpus import with_two_gpus
from typer.testing import CliRunner

from dlskills import Adam, DeviceError, cli
from dlskills.diagnostics import device_check
from dlskills.diagnostics.device_check import check_device
from dlskills.installation import install_command


def failing(message, error=RuntimeError):
    def fail(*args, **kwargs):
        raise error(message)

    return fail


def test_the_cpu_passes():
    found = dict(check_device("cpu"))
    assert found["device"] == "cpu (NumPy)"
    assert list(found) == ["device", "matrix products", "updates"]


@pytest.mark.backends("cupy")
def test_a_gpu_passes(backend):
    found = dict(check_device("cuda"))
    assert list(found) == [
        "device", "driver", "runtime", "memory", "compiler", "matrix products", "updates",
    ]  # fmt: skip
    assert found["device"] == "cuda:0 (CuPy)"
    assert "MiB free" in found["memory"]


@pytest.mark.backends("cupy")
def test_the_second_gpu_passes(backend, device_counters):
    with_two_gpus(
        """
        from dlskills.diagnostics.device_check import check_device

        found = dict(check_device("cuda:1"))
        assert found["device"] == "cuda:1 (CuPy)", found
        assert "updates" in found, found
        """
    )


@pytest.mark.backends("cupy")
def test_a_failing_compiler_is_reported_with_the_package_to_install(backend, monkeypatch):
    import cupy

    monkeypatch.setattr(cupy, "ElementwiseKernel", failing("no\n  nvrtc here"))
    examined = []
    extra = "gpu-rocm" if cupy.cuda.runtime.is_hip else "gpu"
    command = re.escape(install_command(extra))
    message = rf"compiler on 'cuda' failed: no nvrtc here; install its .*: {command}$"
    with pytest.raises(DeviceError, match=message):
        examined.extend(what for what, _ in check_device("cuda"))
    assert examined == ["device", "driver", "runtime", "memory"]


@pytest.mark.backends("cupy")
def test_an_old_driver_is_reported(backend, monkeypatch):
    import cupy

    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 11_080)
    monkeypatch.setattr(cupy.cuda.runtime, "runtimeGetVersion", lambda: 12_040)
    monkeypatch.setattr(device_check.cuda, "platform", lambda: "CUDA")
    with pytest.raises(DeviceError, match="the driver must support CUDA 12.4, which .*, got 11.8"):
        list(check_device("cuda"))


@pytest.mark.backends("cupy")
def test_full_memory_is_reported(backend, monkeypatch, device_counters):
    with (
        device_counters.memory_limit(32 << 20),
        pytest.raises(
            DeviceError, match="64 MiB of device memory must be free, got .*. Close other programs"
        ),
    ):
        list(check_device("cuda"))


def test_a_wrong_update_is_reported(monkeypatch):
    right = Adam.update

    def wrong(self, params, grads):
        right(self, params, grads)
        calls.append(params)
        if len(calls) == 1:
            params["w"] += 1

    calls = []
    monkeypatch.setattr(Adam, "update", wrong)
    with pytest.raises(DeviceError, match=r"updates on 'cpu' failed: got .*, expected .*; report"):
        list(check_device("cpu"))


def test_the_command_checks_a_device():
    result = CliRunner().invoke(cli.app, ["info", "--device", "cpu"])
    assert result.exit_code == 0
    assert "ok  matrix products: multiplied matrices" in result.output
    assert "device 'cpu' works" in result.output
    result = CliRunner().invoke(cli.app, ["info", "--device", "gpu"])
    assert isinstance(result.exception, ValueError)
