"""Named arrays in one flat buffer: parameters, gradients and optimizer state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dlskills.arrays.arithmetic import Arithmetic
from dlskills.arrays.backend import (
    Array,
    Backend,
    Device,
    DType,
    backend_of,
    check_array,
    dtype_name,
    get_backend,
    to_host,
)
from dlskills.checks import suggestion

Shape = tuple[int, ...]

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register of a CPU
STEP = 32  # elements: 64 bytes in half precision and more in others; the layout suits every dtype


class Parameters(Arithmetic, MutableMapping[str, Array]):
    """A mapping of names to arrays that are shaped views of one flat buffer.

    An operation on all parameters (an update, a norm, a sum over processes) is one pass over
    :attr:`flat`; an operation on one parameter uses its view. Setting an item writes into the view.

    Each array starts at a multiple of 32 elements, which is at least 64 bytes, from the start of
    the buffer, and a NumPy buffer is itself aligned to 64 bytes. The elements between the arrays
    are padding: zeros that belong to no array.

    Parameters
    ----------
    arrays : mapping of str to array
        Of one library, one device and one dtype. Their values are copied.

    Raises
    ------
    TypeError
        The arrays differ in library, device or dtype, or a value is not an array.
    ValueError
        `arrays` is empty.

    See Also
    --------
    Parameters.from_shapes : Zeros of the given shapes.

    Examples
    --------
    >>> import numpy as np
    >>> params = Parameters({"W": np.ones((2, 3)), "b": np.zeros(3)})
    >>> params["b"] = [1, 2, 3]
    >>> params.size, params.flat.shape
    (9, (35,))
    >>> params.flat[32:]
    array([1., 2., 3.])
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        if not arrays:
            raise ValueError("Parameters needs at least one array, got none")
        kinds = {}
        for name, array in arrays.items():
            try:
                kinds[name] = (backend_of(array), array.dtype)
            except TypeError:
                raise TypeError(
                    f"parameter {name!r} must be an array, got a {type(array).__name__}. Create "
                    "one with numpy.asarray(..., dtype='float32')"
                ) from None
        first = next(iter(kinds))
        for name, kind in kinds.items():
            if kind != kinds[first]:
                raise TypeError(
                    "all parameters share one buffer and must have one device and dtype: "
                    f"{first!r} is {_described(*kinds[first])}, {name!r} is {_described(*kind)}"
                )
        backend, dtype = kinds[first]
        shapes = {name: tuple(array.shape) for name, array in arrays.items()}
        self._lay_out(shapes, _zeros(shapes, dtype, backend), backend)
        for name, array in arrays.items():
            self[name] = array

    @classmethod
    def from_shapes(
        cls,
        shapes: Mapping[str, Shape],
        *,
        dtype: str | DType = "float32",
        device: str | Device | None = None,
        xp: ModuleType | None = None,
    ) -> Parameters:
        """Return zeros of the given shapes.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
        dtype : str or dtype, default "float32"
        device, xp
            See :func:`dlskills.get_backend`.
        """
        backend = get_backend(device, xp)
        shapes = {name: tuple(shape) for name, shape in shapes.items()}
        return cls._of(shapes, _zeros(shapes, dtype, backend), backend)

    @classmethod
    def _of(cls, shapes: dict[str, Shape], flat: Array, backend: Backend) -> Parameters:
        made = cls.__new__(cls)
        made._lay_out(shapes, flat, backend)
        return made

    def _lay_out(self, shapes: dict[str, Shape], flat: Array, backend: Backend) -> None:
        if not backend.xp.isdtype(flat.dtype, "real floating"):
            raise TypeError(
                f"parameters must be floating-point numbers, got {flat.dtype}. Convert them to "
                "float32 or float64"
            )
        self.backend = backend
        self._flat = flat
        self._shapes = shapes
        self._views = {}
        self._bounds = _bounds(shapes)
        with backend.active():
            for (name, shape), (start, stop) in zip(shapes.items(), self._bounds, strict=True):
                self._views[name] = backend.xp.reshape(flat[start:stop], shape)

    @property
    def flat(self) -> Array:
        """The 1-D buffer: all arrays in the order of the mapping, each in C order, and padding.

        Setting it copies the values into the existing buffer, so the views stay valid. Sums over
        `flat` include the padding, which must therefore stay 0; the :attr:`flat` of another
        `Parameters` with this layout has zeros there. :meth:`runs` returns the ranges that belong
        to arrays.
        """
        return self._flat

    @flat.setter
    def flat(self, values: Array) -> None:
        if values is self._flat:
            return
        check_array("flat", values, self.backend)
        if tuple(values.shape) != tuple(self._flat.shape):
            raise ValueError(
                f"flat has shape {tuple(self._flat.shape)}, got an array of shape "
                f"{tuple(values.shape)}"
            )
        with self.backend.active():
            self._flat[...] = self.backend.xp.astype(values, self.dtype, copy=False)

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each array, by name."""
        return dict(self._shapes)

    @property
    def dtype(self) -> DType:
        """The common dtype of all arrays."""
        return self.flat.dtype

    @property
    def size(self) -> int:
        """The total number of elements of all arrays, without padding."""
        return sum(stop - start for start, stop in self._bounds)

    def runs(self, groups: Sequence[int | None] | None = None) -> list[tuple[int, int, int]]:
        """Return the longest ranges of :attr:`flat` that contain no padding.

        Parameters
        ----------
        groups : sequence of int or None, optional
            The group of each entry; None excludes the entry. By default, all are in group 0.

        Returns
        -------
        list of (int, int, int)
            Start, stop and group of each run of adjacent entries of one group.
        """
        found: list[tuple[int, int, int]] = []
        groups = [0] * len(self._shapes) if groups is None else groups
        for (start, stop), group in zip(self._bounds, groups, strict=True):
            if group is None or start == stop:
                continue
            if found and found[-1][1:] == (start, group):
                start = found.pop()[0]
            found.append((start, stop, group))
        return found

    def pairs_with(self, other: Any) -> bool:
        """Return whether `other` is Parameters of the same layout, dtype and device.

        If so, the elements of both :attr:`flat` correspond one to one.
        """
        return (
            isinstance(other, Parameters)
            and (
                self._shapes is other._shapes
                or list(self._shapes.items()) == list(other._shapes.items())
            )
            and self.backend == other.backend
            and self.dtype == other.dtype
        )

    def zeros_like(self, dtype: str | DType | None = None) -> Parameters:
        """Return zeros of the same names, shapes and device, by default of the same dtype.

        The positions of the arrays in :attr:`flat` do not depend on the dtype.
        """
        dtype = self.dtype if dtype is None else dtype
        return self._of(self._shapes, _zeros(self._shapes, dtype, self.backend), self.backend)

    def section(self, start: int, stop: int) -> Parameters:
        """Return a range of :attr:`flat` as Parameters that share its memory.

        Parameters
        ----------
        start, stop : int
            `start` is a multiple of 32, so that the entries keep their alignment.

        Each entry of the result is the 1-D part that lies in the range; its size may be 0.
        """
        if start % STEP or not 0 <= start <= stop <= self._flat.shape[0]:
            raise ValueError(
                f"a section must start at a multiple of {STEP} and lie within the "
                f"{self._flat.shape[0]} elements of flat, got {start} to {stop}"
            )
        shapes: dict[str, Shape] = {
            name: (max(min(stop, end) - max(start, begin), 0),)
            for name, (begin, end) in zip(self._shapes, self._bounds, strict=True)
        }
        return self._of(shapes, self._flat[start:stop], self.backend)

    def pieces(self, start: int, stop: int) -> dict[str, tuple[int, int]]:
        """Return which elements of each flattened array lie in a range of :attr:`flat`."""
        found = {}
        for name, (begin, end) in zip(self._shapes, self._bounds, strict=True):
            first = min(max(start, begin), end) - begin
            found[name] = first, max(min(stop, end) - begin, first)
        return found

    def copy(self) -> Parameters:
        """Return a copy with a buffer of its own."""
        made = self.zeros_like()
        made.flat = self.flat
        return made

    def on_host(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all arrays as NumPy arrays, from one transfer; they share one buffer."""
        flat = to_host(self._flat)
        if self.backend.name != "cupy":  # whose memory the host can't share
            flat = flat.copy()
        return {
            name: flat[start:stop].reshape(shape)
            for (name, shape), (start, stop) in zip(self._shapes.items(), self._bounds, strict=True)
        }

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name]
        except KeyError:
            raise KeyError(self._unknown(name)) from None

    def __setitem__(self, name: str, value: Any) -> None:
        view = self[name]
        if value is view:  # params["W"] -= step has already written into the view
            return
        if not hasattr(value, "shape") or isinstance(value, np.generic):
            value = self.backend.asarray(value, dtype=self.dtype)
        elif backend_of(value) != self.backend:
            raise TypeError(
                f"parameter {name!r} is on {self.backend}, got an array on {backend_of(value)}. "
                "Move it with params.backend.asarray(...)"
            )
        if tuple(value.shape) != self._shapes[name]:
            raise ValueError(
                f"parameter {name!r} has shape {self._shapes[name]}, got an array of shape "
                f"{tuple(value.shape)}. Parameters keep their shapes"
            )
        with self.backend.active():
            if value.dtype != self.dtype:
                value = self.backend.xp.astype(value, self.dtype)
            view[...] = value

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"parameter {name!r} is part of one buffer and can't be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __contains__(self, name: object) -> bool:
        return name in self._views

    # by identity: elementwise comparison would give arrays, not a bool
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {shape}" for name, shape in self._shapes.items())
        return f"Parameters({shapes}; {self.size:,} x {self.dtype} on {self.backend})"

    # Copying attribute by attribute would separate the views from the buffer.
    def __getstate__(self) -> dict[str, Any]:
        # The values are on the host, so that they can be opened without the device or the library.
        return {
            "shapes": self._shapes,
            "flat": to_host(self._flat),
            "dtype": dtype_name(self.dtype),
            "backend": self.backend,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        backend, flat = state["backend"], state["flat"]
        dtype = state.get("dtype")  # which older pickles lack
        if dtype is not None and not hasattr(backend.xp, dtype):  # bfloat16 that is now on NumPy
            dtype = None
        flat = backend.asarray(flat, dtype)
        if isinstance(flat, np.ndarray) and flat.ctypes.data % ALIGNMENT:
            flat, values = _zeros(state["shapes"], flat.dtype, state["backend"]), flat
            flat[...] = values
        self._lay_out(state["shapes"], flat, state["backend"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameters:
        return self.copy()

    def __copy__(self) -> Parameters:
        return self._of(self._shapes, self._flat, self.backend)  # shallow: of the same memory

    def _unknown(self, name: str) -> str:
        hint = suggestion(str(name), self) or "."
        return f"parameter {name!r} does not exist{hint} Available: {', '.join(self)}"


class Views(dict[str, Array]):
    """The views of one layer's arrays, under the layer's own names.

    Setting an item writes into the network's buffer, as with :class:`Parameters`.
    """

    def __init__(self, owner: Parameters, names: Mapping[str, str]) -> None:
        super().__init__({own: owner[name] for own, name in names.items()})
        self._owner, self._names = owner, names

    @property
    def backend(self) -> Backend:
        """Where the network lives."""
        return self._owner.backend

    @property
    def dtype(self) -> DType:
        """The dtype of all of the network's arrays."""
        return self._owner.dtype

    def __setitem__(self, own: str, value: Any) -> None:
        if own not in self._names:
            declared = ", ".join(self)
            raise KeyError(f"the layer declares no parameter {own!r}. It declares: {declared}")
        self._owner[self._names[own]] = value


def _bounds(shapes: Mapping[str, Shape]) -> list[tuple[int, int]]:
    """Return the start and stop of each array in the buffer."""
    bounds, start = [], 0
    for shape in shapes.values():
        stop = start + math.prod(shape)
        bounds.append((start, stop))
        start = -(-stop // STEP) * STEP
    return bounds


def _zeros(shapes: Mapping[str, Shape], dtype: str | DType, backend: Backend) -> Array:
    """Return a zeroed buffer for arrays of these shapes."""
    size = max((stop for _, stop in _bounds(shapes)), default=0)
    if backend.name != "numpy":  # other libraries align their allocations
        return backend.zeros((size,), dtype)
    kind = np.dtype(backend.dtype(dtype))
    raw = np.zeros(size * kind.itemsize + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size * kind.itemsize].view(kind)


def _described(backend: Backend, dtype: DType) -> str:
    return f"{dtype} on {backend}"
