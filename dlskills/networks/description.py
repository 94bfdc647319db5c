"""Layers, losses and settings as plain data, and the registry of classes to rebuild them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from dlskills import initializers
from dlskills import layers as own
from dlskills.checks import suggestion
from dlskills.layers import Layer, Loss

_Class = TypeVar("_Class", bound=type)

_CLASSES: dict[str, type] = {
    made.__name__: made
    for made in (
        own.Affine, own.ReLU, own.LeakyReLU, own.ELU, own.SELU, own.Softplus, own.Sigmoid,
        own.Tanh, own.GELU, own.Swish, own.Softmax, own.BatchNormalization,
        own.LayerNormalization, own.RMSNormalization, own.Dropout, own.SoftmaxWithLoss,
        own.BinaryCrossEntropy, own.MeanSquaredError, own.MeanAbsoluteError, own.HuberLoss,
    )
}  # fmt: skip
_BUILT_IN = set(_CLASSES)
_INITIALIZERS: dict[str, Callable[..., Any]] = {
    made.__name__: made
    for made in (
        initializers.constant, initializers.normal, initializers.truncated_normal,
        initializers.uniform, initializers.identity, initializers.xavier, initializers.he,
        initializers.he_uniform, initializers.glorot_normal, initializers.glorot_uniform,
        initializers.lecun_normal, initializers.lecun_uniform, initializers.orthogonal,
    )
}  # fmt: skip


def register(cls: _Class) -> _Class:
    """Let :func:`dlskills.load` rebuild objects of a custom class, found by its name.

    A decorator for layers, losses and networks. Registering a class with the same name and module
    again, as rerunning a notebook cell does, replaces it.

    Parameters
    ----------
    cls : type
        A subclass of :class:`~dlskills.Layer`, :class:`~dlskills.Loss` or
        :class:`~dlskills.Sequential`. Layers and losses are rebuilt by calling the class with
        what `settings()` returned; a network must not define its own constructor.

    Returns
    -------
    type
        `cls` itself.

    Raises
    ------
    TypeError
        `cls` is not such a subclass.
    ValueError
        Another class has this name.

    Examples
    --------
    >>> import dlskills
    >>> @dlskills.register
    ... class Scale(dlskills.Layer):
    ...     def __init__(self, factor):
    ...         self.factor = factor
    ...
    ...     def forward(self, x, train_flg=True):
    ...         return x * self.factor
    ...
    ...     def backward(self, dout):
    ...         return dout * self.factor
    """
    from dlskills.networks.sequential import Sequential  # which imports this module

    if not isinstance(cls, type) or not issubclass(cls, Layer | Loss | Sequential):
        raise TypeError(f"register takes a subclass of Layer, Loss or Sequential, got {cls!r}")
    name = cls.__name__
    known = _CLASSES.get(name)
    if known is not None and known.__module__ != cls.__module__:
        raise ValueError(
            f"the name {name!r} is already taken by {known.__module__}.{name}; rename the class"
        )
    _CLASSES[name] = cls
    return cls


def registered(name: Any, kind: type) -> type:
    """Return the class of this name; refuse an unknown one, or one of another kind.

    Raises
    ------
    ValueError
    """
    found = _CLASSES.get(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(
            f"the class {name!r:.80} is not known{suggestion(str(name)[:80], _CLASSES)}. If it is "
            "your own, put @dlskills.register above it, or make the network and call "
            "network.load_state(path)"
        )
    if not issubclass(found, kind):
        raise ValueError(f"{name} is not a {kind.__name__}")
    return found


def described(made: Any) -> dict[str, Any]:
    """Return a layer or a loss as plain data, without settings if it can't provide them."""
    name = type(made).__name__
    try:
        settings = {key: plain(f"{name}: {key}", v) for key, v in made.settings().items()}
    except TypeError:
        if _CLASSES.get(name) is type(made):
            raise
        return {"class": name}
    return {"class": name, "settings": settings}


def made_from(described: Any, kind: type) -> Any:
    """Rebuild the layer or the loss of a description.

    Raises
    ------
    TypeError, ValueError
    """
    if not isinstance(described, Mapping) or not set(described) <= {"class", "settings"}:
        raise ValueError(f"a {kind.__name__} must be described by its class and its settings")
    cls = registered(described.get("class"), kind)
    settings = described.get("settings")
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"the file has no settings of {cls.__name__}. Register the class before saving, or "
            "make the network and call network.load_state(path)"
        )
    return cls(**{key: restored(value) for key, value in settings.items()})


def plain(what: str, value: Any) -> Any:
    """Return a setting as plain data."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(what, item) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": {str(key): plain(what, item) for key, item in value.items()}}
    match value:
        case initializers.Constant():
            return {"initializer": "constant", "settings": {"value": value.value}}
        case initializers.Normal():
            return {"initializer": "normal", "settings": {"std": value.std}}
        case initializers.TruncatedNormal():
            return {"initializer": "truncated_normal", "settings": {"std": value.std}}
        case initializers.Uniform():
            return {"initializer": "uniform", "settings": {"limit": value.limit}}
        case initializers.Identity():
            return {"initializer": "identity", "settings": {"gain": value.gain}}
        case initializers.Orthogonal():
            return {"initializer": "orthogonal", "settings": {"gain": value.gain}}
        case initializers.VarianceScaling() if value.name in _INITIALIZERS:
            return {"initializer": value.name, "settings": value.settings()}
        case initializers.Values():  # the file has the parameter itself
            return {"function": repr(value)}
        case Forgotten():
            return {"function": value.name}
    if inspect.isroutine(value):  # an initializer, whose values are saved anyway
        return {"function": value.__qualname__}
    raise TypeError(
        f"{what} can't be saved, got {value!r}; settings() must return numbers, strings, lists, "
        "dicts or initializers"
    )


def restored(value: Any) -> Any:
    """Rebuild a setting from plain data.

    Raises
    ------
    TypeError, ValueError
    """
    if isinstance(value, list):
        return [restored(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    match value:
        case {"mapping": Mapping() as items}:
            return {key: restored(item) for key, item in items.items()}
        case {"function": str(name)}:
            return Forgotten(name)
        case {"initializer": str(name), "settings": Mapping() as settings} if name in _INITIALIZERS:
            return _INITIALIZERS[name](**settings)
    raise ValueError("a setting has an unknown form")


class Forgotten:
    """A custom initializer of which a file holds only the name; calling it is an error."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        raise RuntimeError(
            f"the file that the layer was loaded from holds only the name of its initializer, "
            f"{self.name}; pass the function to a new layer"
        )

    def __repr__(self) -> str:
        return self.name
