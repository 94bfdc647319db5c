"""CuPy's devices: which there are, and if one can't be used, why not and what to do."""

from __future__ import annotations

from typing import Any

from dlskills.installation import install_command


class DeviceError(RuntimeError):
    """A device that was asked for can't be used; the message says why and what to do."""


def find_device(device: str, number: int) -> Any:
    """CuPy's device of a number.

    Parameters
    ----------
    device : str
        What the user asked for; errors quote it.
    number : int

    Raises
    ------
    DeviceError
        CuPy or its driver is missing, or there is no such device.
    """
    try:
        import cupy
    except ImportError as error:
        if error.name != "cupy":  # installed, and broken: its own message says more than ours
            raise DeviceError(
                f"device {device!r} needs CuPy, which fails to import: {error}"
            ) from error
        raise DeviceError(
            f"device {device!r} needs CuPy, which is not installed; install it with: "
            f"{install_command('gpu')}"
        ) from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device {device!r}: {_why_no_gpu(error)}, or use device='cpu'") from None
    if number >= count:
        there = ", ".join(f"'cuda:{n}'" for n in range(count)) or "none"
        raise DeviceError(f"device {device!r} does not exist; this machine has: {there}")
    return cupy.cuda.Device(number)


def _why_no_gpu(error: Exception) -> str:
    import cupy

    if cupy.cuda.runtime.is_hip:
        return (
            f"CuPy finds no GPU to use ({error}); install or update AMD's driver and ROCm "
            "(rocminfo shows what they find)"
        )
    # of CUDA: what CuPy is linked with counts, not what else is installed
    driver, runtime = versions()
    if driver != (0, 0) and driver[0] < runtime[0]:
        known, needed = ("{}.{}".format(*version) for version in (driver, runtime))
        return (
            f"the NVIDIA driver is too old: it knows CUDA {known}, and this CuPy needs {needed} "
            f"({error}); update the driver"
        )
    return (
        f"CuPy finds no GPU to use ({error}); install or update the NVIDIA driver "
        "(nvidia-smi shows it)"
    )


def platform() -> str:
    """``"CUDA"`` or ``"ROCm"``: what CuPy was built for."""
    import cupy

    return "ROCm" if cupy.cuda.runtime.is_hip else "CUDA"


def versions() -> tuple[tuple[int, int], tuple[int, int]]:
    """The releases, (major, minor), that the driver knows and that CuPy's runtime is of."""
    import cupy

    runtime = cupy.cuda.runtime
    return _release(runtime.driverGetVersion()), _release(runtime.runtimeGetVersion())


def _release(version: int) -> tuple[int, int]:
    if platform() == "ROCm":
        return version // 10_000_000, version // 100_000 % 100
    return version // 1000, version % 1000 // 10
