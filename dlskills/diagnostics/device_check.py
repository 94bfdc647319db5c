"""Check of a device: driver, runtime, compiler, memory, and a kernel that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dlskills.arrays import cuda
from dlskills.arrays.backend import Backend, get_backend, to_host
from dlskills.arrays.cuda import DeviceError
from dlskills.installation import install_command
from dlskills.optimizers import Adam, engine


def check_device(device: str) -> Iterator[tuple[str, str]]:
    """Check a device step by step.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Yields
    ------
    what, found : str
        The item checked, and the finding.

    Raises
    ------
    DeviceError
        A check failed; the message says what is wrong and what to do.
    """
    backend = get_backend(device)
    yield "device", str(backend)
    checks = _CUDA if backend.name == "cupy" else {}
    for what, (check, remedy) in (checks | _ANY).items():
        try:
            found = check(backend)
        except DeviceError:
            raise
        except Exception as error:  # a broken installation can raise anything
            problem = " ".join(str(error).split()) or type(error).__name__
            extra = "gpu-rocm" if backend.name == "cupy" and cuda.platform() == "ROCm" else "gpu"
            todo = remedy.format(command=install_command(extra))
            raise DeviceError(f"{what} on {device!r} failed: {problem}; {todo}") from error
        yield what, found


def _driver(backend: Backend) -> str:
    return f"{cuda.platform()} {_text(cuda.versions()[0])}"


def _runtime(backend: Backend) -> str:
    import cupy

    driver, runtime = cuda.versions()
    if runtime[0] > driver[0]:  # only minor releases of CUDA are compatible
        raise DeviceError(
            f"the driver must support {cuda.platform()} {_text(runtime)}, which this CuPy needs, "
            f"got {_text(driver)}. Update the driver, or install CuPy for an older release"
        )
    return f"{cuda.platform()} {_text(runtime)}, CuPy {cupy.__version__}"


def _text(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))


def _memory(backend: Backend) -> str:
    free, total = backend.device.mem_info
    if free < 64 << 20:
        raise DeviceError(
            f"at least 64 MiB of device memory must be free, got {free >> 20} of {total >> 20} "
            "MiB. Close other programs "
            f"that use it ({'rocm-smi' if cuda.platform() == 'ROCm' else 'nvidia-smi'} lists them)"
        )
    return f"{free >> 20:,} of {total >> 20:,} MiB free"


def _compiler(backend: Backend) -> str:
    import cupy

    twice = cupy.ElementwiseKernel("T x", "T y", "y = 2 * x", "dlskills_check")
    with backend.active():
        _expect(to_host(twice(backend.asarray(np.arange(4.0)))), [0, 2, 4, 6])
    return "compiled and ran a kernel"


def _matrices(backend: Backend) -> str:
    with backend.active():
        a = backend.asarray(np.arange(6.0, dtype=np.float32).reshape(2, 3))
        _expect(to_host(a @ a.T), [[5, 14], [14, 50]])
    return "multiplied matrices"


def _updates(backend: Backend) -> str:
    params, grads = ({"w": backend.asarray(np.ones(5000, np.float32))} for _ in range(2))
    Adam(0.1).update(params, grads)
    expected = {"w": np.ones(5000, np.float32)}
    with engine("plain"):
        Adam(0.1).update(expected, {"w": np.ones(5000, np.float32)})
    _expect(to_host(params["w"]), expected["w"])
    return "an update of Adam agrees with the formula"


def _expect(found: Any, expected: Any) -> None:
    if not np.allclose(found, expected, rtol=1e-5):
        raise ArithmeticError(f"got {np.asarray(found).ravel()[:4]}, expected {expected}")


Check = Callable[[Backend], str]

_CUDA: dict[str, tuple[Check, str]] = {
    "driver": (_driver, "install the vendor's driver"),
    "runtime": (_runtime, "install CuPy with its libraries: {command}"),
    "memory": (_memory, "restart the programs that use the device"),
    "compiler": (
        _compiler,
        "install its compiler and headers with CuPy: {command}",
    ),
}
_ANY: dict[str, tuple[Check, str]] = {
    "matrix products": (
        _matrices, "install CuPy with its libraries: {command}",
    ),
    "updates": (_updates, "report this with the output of dlskills info"),
}  # fmt: skip
