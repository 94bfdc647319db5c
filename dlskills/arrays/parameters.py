"""Named arrays in one flat buffer: parameters, gradients and the state of optimizers."""

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

ALIGNMENT = 64  # bytes: a line of the cache, and the widest vector of a CPU
STEP = 32  # elements: 64 bytes of half precision, more of others; so layouts agree in all dtypes


class Parameters(Arithmetic, MutableMapping[str, Array]):
    """A mapping of names to arrays that are views, shaped, of one flat buffer.

    Whatever works on every parameter (an update, a norm, a sum over processes) is one pass over
    :attr:`flat`; whatever works on one takes its view. Setting an item writes into the view.

    Each array begins at a multiple of 32 elements, so of 64 bytes or more from the start of the
    buffer, and a NumPy buffer itself begins at a multiple of 64 bytes. The elements between the
    arrays are padding: zeros, that belong to no array.

    Parameters
    ----------
    arrays : mapping of str to array
        Of one library, one device and one dtype. Their values are copied.

    Raises
    ------
    TypeError
        The arrays differ in library, device or dtype, or are none.
    ValueError
        There are no arrays.

    See Also
    --------
    Parameters.from_shapes : zeros of declared shapes.

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
        places = {}
        for name, array in arrays.items():
            try:
                places[name] = (backend_of(array), array.dtype)
            except TypeError:
                raise TypeError(
                    f"parameter {name!r} must be an array, got a {type(array).__name__}; make one "
                    "with numpy.asarray(..., dtype='float32')"
                ) from None
        first = next(iter(places))
        for name, place in places.items():
            if place != places[first]:
                raise TypeError(
                    "all parameters share one buffer, so one device and dtype: "
                    f"{first!r} is {_place(*places[first])}, {name!r} is {_place(*place)}"
                )
        backend, dtype = places[first]
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
        """Zeros of the declared shapes.

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
                f"parameters must be floating-point numbers, as they take small steps, got "
                f"{flat.dtype}; convert them to float32 or float64"
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
        """The buffer, 1-D: all arrays in the order of their names, each in C order, and padding.

        Setting it writes the values into it, as the views belong to this memory. Nothing reads
        the padding by itself, but sums over `flat` do: values that are written to all of it should
        be 0 there, as those of another :attr:`flat` of this layout are. :meth:`runs` has the parts
        that belong to arrays.
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
        """The one dtype of all arrays."""
        return self.flat.dtype

    @property
    def size(self) -> int:
        """The number of elements of all arrays together, without padding."""
        return sum(stop - start for start, stop in self._bounds)

    def runs(self, groups: Sequence[int | None] | None = None) -> list[tuple[int, int, int]]:
        """The parts of :attr:`flat` without padding, as long as possible.

        Parameters
        ----------
        groups : sequence of int or None, optional
            A group for each entry; None leaves it out. By default all are in group 0.

        Returns
        -------
        list of (int, int, int)
            Where a run of adjacent entries of one group begins and ends, and the group.
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
        """Whether `other` is Parameters of the same layout, dtype and device: then so is `flat`."""
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
        """Zeros of the same names, shapes and device, by default of the same dtype.

        The positions of arrays in :attr:`flat` are the same in every dtype.
        """
        dtype = self.dtype if dtype is None else dtype
        return self._of(self._shapes, _zeros(self._shapes, dtype, self.backend), self.backend)

    def copy(self) -> Parameters:
        """The same values in a buffer of their own."""
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
        if value is view:  # as after params["W"] -= step, which has written the view already
            return
        if not hasattr(value, "shape") or isinstance(value, np.generic):
            value = self.backend.asarray(value, dtype=self.dtype)
        elif backend_of(value) != self.backend:
            raise TypeError(
                f"parameter {name!r} lives on {self.backend}, got an array on {backend_of(value)}; "
                "move it with params.backend.asarray(...)"
            )
        if tuple(value.shape) != self._shapes[name]:
            raise ValueError(
                f"parameter {name!r} has shape {self._shapes[name]}, got an array of shape "
                f"{tuple(value.shape)}; parameters keep their shapes"
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

    # by identity: whether all elements agree is an array's answer, not a bool
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}: {shape}" for name, shape in self._shapes.items())
        return f"Parameters({shapes}; {self.size:,} x {self.dtype} on {self.backend})"

    # Views and buffer must stay one memory, which copying attribute by attribute would undo.
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
        return f"no parameter {name!r}{suggestion(str(name), self)}; there are: {', '.join(self)}"


class Views(dict[str, Array]):
    """Some of a network's arrays, by the names that a layer knows them by.

    Setting one writes into the network's buffer, as with :class:`Parameters`.
    """

    def __init__(self, owner: Parameters, names: Mapping[str, str]) -> None:
        super().__init__({own: owner[name] for own, name in names.items()})
        self._owner, self._names = owner, names

    def __setitem__(self, own: str, value: Any) -> None:
        if own not in self._names:
            raise KeyError(f"the layer declared no parameter {own!r}, only: {', '.join(self)}")
        self._owner[self._names[own]] = value


def _bounds(shapes: Mapping[str, Shape]) -> list[tuple[int, int]]:
    """Where each array begins and ends in the buffer."""
    bounds, start = [], 0
    for shape in shapes.values():
        stop = start + math.prod(shape)
        bounds.append((start, stop))
        start = -(-stop // STEP) * STEP
    return bounds


def _zeros(shapes: Mapping[str, Shape], dtype: str | DType, backend: Backend) -> Array:
    """A buffer for arrays of these shapes."""
    size = max((stop for _, stop in _bounds(shapes)), default=0)
    if backend.name != "numpy":  # other libraries align all arrays
        return backend.zeros((size,), dtype)
    kind = np.dtype(backend.dtype(dtype))
    raw = np.zeros(size * kind.itemsize + ALIGNMENT, np.uint8)
    skip = -raw.ctypes.data % ALIGNMENT
    return raw[skip : skip + size * kind.itemsize].view(kind)


def _place(backend: Backend, dtype: DType) -> str:
    return f"{dtype} on {backend}"
