"""Networks in files: safetensors, with the structure as JSON in the header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dlskills.arrays.backend import Device, DType, dtype_name
from dlskills.arrays.cuda import DeviceError
from dlskills.arrays.tensors_file import read_tensors, split_state, write_tensors
from dlskills.files import FileFormatError
from dlskills.layers import Layer, Loss
from dlskills.networks.description import described, made_from, plain, registered, restored
from dlskills.networks.structure import check_layers, parameter_names

if TYPE_CHECKING:
    from dlskills.networks.sequential import Sequential

FORMAT = "dlskills network"
VERSION = 1
"""Of the format: a file of a higher one is refused."""


def save_network(network: Sequential, path: str | os.PathLike[str]) -> None:
    """Write a network to a file; see :meth:`Sequential.save`."""
    arrays, values = split_state(network.state_dict())
    metadata = {
        "format": FORMAT, "version": VERSION, "network": described_network(network),
        "values": values,
    }  # fmt: skip
    write_tensors(path, arrays, metadata)


def load_state(network: Sequential, path: str | os.PathLike[str]) -> None:
    """Load the values of a file into a network; see :meth:`Sequential.load_state`."""
    state = _state(*read_tensors(path), str(path))
    try:
        network.load_state_dict(state)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: {error}") from error


def load(
    path: str | os.PathLike[str],
    *,
    device: str | Device | None = None,
    xp: ModuleType | None = None,
    dtype: str | DType | None = None,
) -> Sequential:
    """Make a network from a file that :meth:`Sequential.save` wrote.

    Parameters
    ----------
    path : str or path-like
    device, xp
        Where the network is to live, wherever it was saved; by default NumPy. See
        :func:`dlskills.get_backend`.
    dtype : str or dtype, optional
        Of the parameters, if it is to be another than in the file.

    Returns
    -------
    Sequential
        Or the subclass that was saved. Its outputs, and its training from here on, are those of
        the network that was saved.

    Raises
    ------
    FileFormatError
        The file is damaged, of another format, of a newer version, or holds a class that is not
        registered (:func:`dlskills.register`); the message names it.
    DeviceError
        The device is missing.
    OSError
        The file can't be read.
    """
    arrays, metadata = read_tensors(path)
    return network_of(arrays, metadata, str(path), device=device, xp=xp, dtype=dtype)


def network_of(
    arrays: Mapping[str, Any],
    metadata: Mapping[str, Any],
    path: str,
    *,
    device: str | Device | None = None,
    xp: ModuleType | None = None,
    dtype: str | DType | None = None,
) -> Sequential:
    """The network of a file's content; see :func:`load`.

    Raises
    ------
    FileFormatError, DeviceError
    """
    state = _state(arrays, metadata, path)
    try:
        structure = metadata.get("network")
        network = restored_network(structure, state, device=device, xp=xp, dtype=dtype)
        network.load_state_dict(state)
    except DeviceError:
        raise
    except RecursionError:
        raise FileFormatError(f"{path}: its structure is nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path} can't be loaded: {error}") from error
    return network


def described_network(network: Sequential) -> dict[str, Any]:
    """The structure of a network as plain data."""
    name = type(network).__name__
    return {
        "class": name,
        "settings": {key: plain(f"{name}: {key}", v) for key, v in network.settings().items()},
        "layers": [described(layer) for layer in network.layers],
        "loss": described(network.loss_layer),
        "weight_decay_lambda": network.weight_decay_lambda,
        "seed": network.seed,
        "dtype": dtype_name(network.params.dtype),
        "compute_dtype": dtype_name(network.compute_dtype),
        "loss_scale": network.loss_scale,
    }


def restored_network(
    content: Any,
    state: Mapping[str, Any],
    *,
    device: str | Device | None = None,
    xp: ModuleType | None = None,
    dtype: str | DType | None = None,
) -> Sequential:
    """The network of a structure, without values, once its state is known to fit.

    Parameters
    ----------
    content : dict
        From :func:`described_network`.
    state : mapping
        What :meth:`Sequential.load_state_dict` will be given: no array is made before its
        shapes are known to be those of the layers.
    device, xp, dtype
        See :func:`load`.

    Raises
    ------
    TypeError, ValueError
    """
    from dlskills.networks.sequential import Sequential  # which imports this module

    fields = {
        "class", "settings", "layers", "loss", "weight_decay_lambda", "seed", "dtype",
        "compute_dtype", "loss_scale",
    }  # fmt: skip
    if not isinstance(content, Mapping) or set(content) != fields:
        raise ValueError(f"its structure must have {', '.join(sorted(fields))}")
    if not isinstance(content["layers"], list) or not isinstance(content["settings"], Mapping):
        raise ValueError("its layers must be a list, and its settings an object")
    cls = registered(content["class"], Sequential)
    layers = [made_from(layer, Layer) for layer in content["layers"]]
    _check_shapes(layers, state)
    names = {key: _dtype(key, content[key]) for key in ("dtype", "compute_dtype")}
    mixed = names["compute_dtype"] != names["dtype"]
    return _made(
        cls,
        layers,
        {key: restored(value) for key, value in content["settings"].items()},
        {
            "loss": made_from(content["loss"], Loss),
            "weight_decay_lambda": content["weight_decay_lambda"],
            "seed": content["seed"],
            "loss_scale": content["loss_scale"],
            "dtype": names["dtype"] if dtype is None else dtype,
            "compute_dtype": names["compute_dtype"] if mixed else None,
            "device": device,
            "xp": xp,
        },
    )


def _made(
    cls: type[Sequential], layers: list[Layer], settings: dict[str, Any], common: dict[str, Any]
) -> Sequential:
    constructor: Any = getattr(cls, "__init__")  # noqa: B009 - mypy refuses the plain spelling
    if not constructor.__module__.startswith("dlskills."):
        raise ValueError(
            f"{cls.__name__} has a constructor of its own. Make the network, and call "
            "network.load_state(path)"
        )
    network = cls.__new__(cls)
    network._draws = False
    if hasattr(network, "_make_layers"):  # the tutorial's networks make their layers themselves
        vars(network)["_make_layers"] = lambda: layers
    else:
        settings = settings | {"layers": layers}
    constructor(network, **settings, **common)
    vars(network).pop("_make_layers", None)
    del network._draws
    return network


def _check_shapes(layers: list[Layer], state: Mapping[str, Any]) -> None:
    """Refuse layers that want other parameters than a state has, before any array is made."""
    names = parameter_names(check_layers(layers))
    for layer, own in zip(layers, names, strict=True):
        for name, wanted in layer.declare().items():
            found = getattr(state.get(own[name]), "shape", None)
            if found != wanted.shape:
                raise ValueError(
                    f"{layer!r} has parameters {own[name]} of shape {wanted.shape}, the file "
                    f"{'has none' if found is None else found}"
                )


def _dtype(key: str, name: Any) -> str:
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"{key} must be that of real floating-point numbers, got {name!r:.60}")
    return str(name)


def _state(arrays: Mapping[str, Any], metadata: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The state of the network in a file, which errors call `path`."""
    if metadata.get("format") != FORMAT:
        raise FileFormatError(f"{path} holds no network, got format {metadata.get('format')!r:.60}")
    version, values = metadata.get("version"), metadata.get("values")
    if type(version) is not int or version < 1:
        raise FileFormatError(f"{path} has no version of its format, got {version!r:.60}")
    if version > VERSION:
        raise FileFormatError(
            f"{path} is of version {version:.0f} of its format, this dlskills reads up to "
            f"{VERSION}; update dlskills"
        )
    if not isinstance(values, dict):
        raise FileFormatError(f"{path} has no values beside its arrays")
    return values | dict(arrays)
