"""CuPy devices, and the reason and remedy when one can't be used."""

from __future__ import annotations

from typing import Any

from dlskills.installation import install_command


class DeviceError(RuntimeError):
    """The requested device can't be used; the message gives the reason and the remedy."""


def find_device(device: str, number: int) -> Any:
    """Return the CuPy device with this index.

    Parameters
    ----------
    device : str
        The device name that the user gave, quoted in errors.
    number : int
        Index of the device.

    Returns
    -------
    cupy.cuda.Device

    Raises
    ------
    DeviceError
        CuPy or its driver is missing, or the device does not exist.
    """
    try:
        import cupy
    except ImportError as error:
        if error.name != "cupy":  # installed but broken: the original message is more specific
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
        available = ", ".join(f"'cuda:{n}'" for n in range(count)) or "none"
        raise DeviceError(f"device {device!r} does not exist. Available: {available}")
    return cupy.cuda.Device(number)


def _why_no_gpu(error: Exception) -> str:
    import cupy

    if cupy.cuda.runtime.is_hip:
        return (
            f"CuPy found no usable GPU ({error}). Install or update the AMD driver and ROCm "
            "(rocminfo lists the GPUs that they find)"
        )
    # the CUDA runtime that CuPy is linked with, which may differ from an installed toolkit
    driver, runtime = versions()
    if driver != (0, 0) and driver[0] < runtime[0]:
        known, needed = ("{}.{}".format(*version) for version in (driver, runtime))
        return (
            f"the NVIDIA driver is too old: it supports CUDA {known}, but this CuPy needs {needed} "
            f"({error}). Update the driver"
        )
    return (
        f"CuPy found no usable GPU ({error}). Install or update the NVIDIA driver "
        "(nvidia-smi shows its version)"
    )


def platform() -> str:
    """Return the platform that CuPy was built for: ``"CUDA"`` or ``"ROCm"``."""
    import cupy

    return "ROCm" if cupy.cuda.runtime.is_hip else "CUDA"


def versions() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the versions (major, minor) of the driver and of CuPy's runtime."""
    import cupy

    runtime = cupy.cuda.runtime
    return _release(runtime.driverGetVersion()), _release(runtime.runtimeGetVersion())


def _release(version: int) -> tuple[int, int]:
    if platform() == "ROCm":
        return version // 10_000_000, version // 100_000 % 100
    return version // 1000, version % 1000 // 10
