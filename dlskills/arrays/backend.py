"""Backends: an array library, identified by its Array API namespace, and one of its devices.

``device="cpu"`` selects NumPy, ``"cuda"`` and ``"cuda:1"`` select CuPy, and ``xp=`` takes any other
Array API namespace. The layers above ask an array for its namespace (:func:`namespace`) and use
only functions of the standard; differences between array libraries are handled here.
"""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from dlskills.arrays import cuda
from dlskills.arrays.cuda import DeviceError

Array: TypeAlias = Any  # the standard defines no array type for annotations
DType: TypeAlias = Any
Device: TypeAlias = Any


@dataclass(frozen=True)
class Backend:
    """An Array API namespace and one of its devices.

    Created by :func:`get_backend` and :func:`backend_of`.

    Attributes
    ----------
    name : str
        Name of the library: ``"numpy"``, ``"cupy"``, ``"torch"``, ``"array_api_strict"``, ...
    xp : module
        The library's Array API namespace.
    device : object
        The library's device object; None for the library's default device.
    """

    name: str
    xp: ModuleType
    device: Device

    def dtype(self, dtype: str | DType) -> DType:
        """Return the library's dtype for a name such as ``"float32"``."""
        if not isinstance(dtype, str):
            return dtype
        found = getattr(self.xp, dtype, None)
        if found is None:
            raise ValueError(
                f"dtype {dtype!r} is not known to {self.name}. Use a floating-point dtype, such as "
                "'float32' or 'float64'"
            )
        return found

    def asarray(self, values: Any, dtype: str | DType | None = None) -> Array:
        """Return the values as an array on this backend.

        Parameters
        ----------
        values : number, nested sequence of numbers, or array of any library
        dtype : str or dtype, optional
            By default, the dtype of `values`.

        Returns
        -------
        array
            `values` itself, not a copy, if it is already on this backend and has this dtype. A
            PyTorch tensor that requires a gradient is returned detached and shares its memory.
        """
        if not isinstance(values, np.ndarray | np.generic) and hasattr(values, "shape"):
            if backend_of(values) == self:
                values = detached(values)
                if dtype is None:
                    return values
                with self.active():
                    return self.xp.astype(values, self.dtype(dtype), copy=False)
            values = to_host(values)
        if self.name != "numpy" and isinstance(values, np.ndarray):
            values = _normalized_memory(values)
        wanted = None if dtype is None else self.dtype(dtype)
        with self.active():
            return self.xp.asarray(values, dtype=wanted, **self._device_argument())

    def empty(self, shape: tuple[int, ...], dtype: str | DType) -> Array:
        """Return an uninitialized array of this shape and dtype."""
        with self.active():
            return self.xp.empty(shape, dtype=self.dtype(dtype), **self._device_argument())

    def zeros(self, shape: tuple[int, ...], dtype: str | DType) -> Array:
        """Return an array of zeros of this shape and dtype."""
        with self.active():
            return self.xp.zeros(shape, dtype=self.dtype(dtype), **self._device_argument())

    def synchronize(self) -> None:
        """Wait until the device has finished all pending work."""
        if self.name == "cupy":
            self.device.synchronize()
        elif self.name == "torch" and getattr(self.device, "type", "cpu") == "cuda":
            self.xp.cuda.synchronize(self.device)

    def active(self) -> AbstractContextManager[Any]:
        """Return a context that makes this device current in CuPy and disables PyTorch's autograd.

        dlskills computes gradients itself. Autograd would reject in-place updates of leaf tensors
        and would keep every step in memory.
        """
        if self.name == "torch":
            return _without_gradients(self.xp)
        return self.device if self.name == "cupy" else _NOTHING

    def _device_argument(self) -> dict[str, Device]:
        # CuPy's creation functions take no device: active() selects it.
        return {} if self.device is None or self.name == "cupy" else {"device": self.device}

    def __deepcopy__(self, memo: dict[int, Any]) -> Backend:
        return self  # modules can't be copied

    def __reduce__(self) -> tuple[Any, ...]:
        number = self.device.id if self.name == "cupy" else None
        device = None if self.device is None or self.name == "cupy" else str(self.device)
        return _restore, (self.name, device, number)

    def __str__(self) -> str:
        if self.name == "numpy":
            return "cpu (NumPy)"
        if self.name == "cupy":
            return f"cuda:{self.device.id} (CuPy)"
        return f"{self.device} ({self.name})"


def _without_gradients(xp: ModuleType) -> AbstractContextManager[Any]:
    context: AbstractContextManager[Any] = xp.no_grad()
    return context


def _normalized_memory(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array in native byte order with no negative strides, which PyTorch rejects."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array) if any(step < 0 for step in array.strides) else array


def _restore(name: str, device: str | None, number: int | None) -> Backend:
    wanted = f"cuda:{number}" if name == "cupy" else f"{device} ({name})"
    try:
        if name == "cupy":
            return get_backend(wanted)
        return get_backend(device, importlib.import_module(name))
    except (DeviceError, ImportError) as error:
        warnings.warn(
            f"what was pickled on {wanted} is opened on NumPy, as {wanted} is not available here: "
            f"{error}",
            stacklevel=2,
        )
        return _NUMPY


_NOTHING: AbstractContextManager[None] = nullcontext()
_NUMPY = Backend("numpy", np, None)
_NAMESPACES: dict[type, ModuleType] = {np.ndarray: np}


def get_backend(device: str | Device | None = None, xp: ModuleType | None = None) -> Backend:
    """Return the backend for a device.

    Parameters
    ----------
    device : str or object, optional
        ``"cpu"`` (default: NumPy), ``"cuda"`` or ``"cuda:N"`` (CuPy). With `xp`, a device object
        of that library or its name; by default, the library's default device.
    xp : module, optional
        Any namespace that follows the Array API standard, such as ``array_api_strict`` or
        ``torch``.

    Returns
    -------
    Backend

    Raises
    ------
    DeviceError
        The device does not exist, or CuPy or its driver is missing.
    ValueError
        `device` is not a device name, or `xp` is not an Array API namespace.
    """
    if xp is not None and not (hasattr(xp, "__name__") and hasattr(xp, "empty")):
        raise ValueError(f"xp must be an Array API namespace, got {xp!r}")
    library = None if xp is None else _library(xp)
    if xp is not None and library not in ("numpy", "cupy"):
        return _backend_of_namespace(xp, device)
    if library == "cupy":
        device = "cuda" if device is None else device
        device = f"cuda:{device.id}" if hasattr(device, "id") else device
    elif device is None or str(device).lower() == "cpu":
        return _NUMPY
    match = re.fullmatch(r"cuda(?::(\d+))?", device.lower()) if isinstance(device, str) else None
    if match is None or library == "numpy":
        raise ValueError(_no_such_device(device, library))
    found = cuda.find_device(device, int(match[1] or 0))
    import array_api_compat.cupy as cupy_xp

    return Backend("cupy", cupy_xp, found)


def _no_such_device(device: Any, library: str | None) -> str:
    if library == "numpy":
        return f"device must be 'cpu' for NumPy, got {device!r}"
    if library == "cupy":
        return f"device must be 'cuda' or 'cuda:N' for CuPy, got {device!r}"
    hint = "; did you mean 'cuda'?" if re.match("gpu|nvidia|cud", str(device).lower()) else ""
    return f"device must be 'cpu', 'cuda' or 'cuda:N', got {device!r}{hint}"


def _backend_of_namespace(xp: ModuleType, device: str | Device | None) -> Backend:
    probe = xp.empty(0)  # xp itself may not follow the standard; its arrays' namespace does
    xp = namespace(probe)
    if isinstance(device, str):
        device = _device_by_name(xp, device)
    if device is not None:
        probe = xp.empty(0, device=device)
    return backend_of(probe)


def _device_by_name(xp: ModuleType, name: str) -> Device:
    devices = xp.__array_namespace_info__().devices()
    for candidate in devices:
        # array-api-strict prints a device as "array_api_strict.Device('device1')"
        if name == str(candidate) or f"'{name}'" in str(candidate):
            return candidate
    available = ", ".join(map(str, devices))
    raise DeviceError(f"device {name!r} is not known to {_library(xp)}. Available: {available}")


def namespace(array: Array) -> ModuleType:
    """Return the Array API namespace of an array.

    Raises
    ------
    TypeError
        `array` is not an array of a library that follows the standard.
    """
    try:
        return _NAMESPACES[type(array)]
    except KeyError:
        pass
    from array_api_compat import array_namespace, is_array_api_obj

    if not is_array_api_obj(array):
        raise TypeError(
            "expected an array of NumPy, CuPy or another Array API library, got a "
            f"{type(array).__name__}. Create one with numpy.asarray(...)"
        )
    # NumPy 2 follows the standard itself, and calls without wrappers have less overhead.
    xp = np if isinstance(array, np.ndarray | np.generic) else array_namespace(array)
    _NAMESPACES[type(array)] = xp
    return xp


def backend_of(array: Array) -> Backend:
    """Return the backend of an array."""
    xp = namespace(array)
    if xp is np:
        return _NUMPY
    return Backend(_library(xp), xp, device_of(array))


@functools.cache
def is_dtype(xp: ModuleType, dtype: DType, kind: str) -> bool:
    """Return ``xp.isdtype(dtype, kind)``, cached: NumPy's call is slower than a small sum."""
    return bool(xp.isdtype(dtype, kind))


@functools.cache
def sum_dtype(xp: ModuleType, dtype: DType) -> DType:
    """Return the dtype to accumulate sums in: float32 for half precision, else `dtype` itself.

    float16 has 11 significant bits and a maximum of 65504: a sum of several thousand values loses
    digits or overflows.
    """
    if xp.isdtype(dtype, "real floating") and xp.finfo(dtype).bits < 32:
        return xp.float32
    return dtype


def dtype_name(dtype: DType) -> str:
    """The name of a dtype of any library, such as ``"float32"``."""
    return getattr(dtype, "__name__", None) or str(dtype).rpartition(".")[2]


def library_of(array: Array) -> str:
    """Return the name of an array's library, such as ``"numpy"``."""
    return "numpy" if type(array) is np.ndarray else _library(namespace(array))


def device_of(array: Array) -> Device:
    """Return the device of an array, as the ``device=`` argument of creation functions takes it."""
    if type(array) is np.ndarray:
        return "cpu"
    from array_api_compat import device

    return device(array)


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Return the array's values as a NumPy array; waits for the device.

    All transfers from a device to the host go through this function.

    Parameters
    ----------
    array : array, number, or sequence of 0-d arrays
        Of any library and device.

    Returns
    -------
    numpy.ndarray
        In the dtype of `array`, or float32 for PyTorch's bfloat16. A NumPy array is returned as it
        is, not copied.
    """
    if isinstance(array, np.ndarray):
        return array
    if isinstance(array, list | tuple) and array and hasattr(array[0], "shape"):
        with backend_of(array[0]).active():
            return to_host(namespace(array[0]).stack(array))
    if not hasattr(array, "shape"):
        return np.asarray(array)
    here = backend_of(array)
    if here.name == "cupy":
        return np.asarray(array.get())
    if here.name == "torch":
        if array.dtype == here.xp.bfloat16:  # NumPy has no bfloat16
            array = array.to(here.xp.float32)
        return np.asarray(array.detach().cpu().numpy())
    if here.name == "array_api_strict":
        array = array.to_device(here.xp.Device("CPU_DEVICE"))
    return np.asarray(array)


def to_device(
    array: Array, device: str | Device | None = None, xp: ModuleType | None = None
) -> Array:
    """Return the array's values on a device; see :func:`get_backend` for the arguments."""
    return get_backend(device, xp).asarray(array)


def detached(array: Array) -> Array:
    """Return the array, or a detached view of a PyTorch tensor that requires a gradient."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def with_all_operations(array: Array) -> Array:
    """Return the array, as int64 if its library can store its dtype but not compute in it.

    PyTorch can't index, compare or sort uint16, uint32 and uint64.
    """
    if library_of(array) != "torch":
        return array
    xp = namespace(array)
    if array.dtype not in (xp.uint16, xp.uint32, xp.uint64):
        return array
    return xp.astype(array, xp.int64)


def check_array(name: str, array: Array, expected: Backend) -> None:
    """Raise an error if an array is not on the expected backend.

    Parameters
    ----------
    name : str
        Name of the array in the error message.
    array : array
    expected : Backend

    Raises
    ------
    TypeError
        `array` belongs to another library or device, or is not an array.
    """
    if expected is _NUMPY and type(array) is np.ndarray:
        return
    try:
        found = backend_of(array)
    except TypeError:
        raise TypeError(
            f"{name} must be an array on {expected}, got a {type(array).__name__}"
        ) from None
    if found != expected:
        move = "dlskills.to_host(...)" if expected is _NUMPY else "network.backend.asarray(...)"
        raise TypeError(
            f"{name} must be on {expected}, got an array on {found}. Move it with {move}"
        )


def _library(xp: ModuleType) -> str:
    parts = xp.__name__.split(".")
    return parts[1] if parts[0] == "array_api_compat" else parts[0]
