"""Saving and loading networks: safetensors files with the structure as JSON in the header."""

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
"""The version of the format; files of a newer one are refused."""


def save_network(network: Sequential, path: str | os.PathLike[str]) -> None:
    """Write a network to a file; see :meth:`Sequential.save`."""
    arrays, values = split_state(network.state_dict())
    metadata = {
        "format": FORMAT, "version": VERSION, "network": described_network(network),
        "values": values,
    }  # fmt: skip
    write_tensors(path, arrays, metadata)


def load_state(network: Sequential, path: str | os.PathLike[str]) -> None:
    """Load the values from a file into a network; see :meth:`Sequential.load_state`."""
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
    """Rebuild a network from a file that :meth:`Sequential.save` wrote.

    Parameters
    ----------
    path : str or path-like
    device, xp
        The device and library of the new network, by default NumPy, wherever it was saved. See
        :func:`dlskills.get_backend`.
    dtype : str or dtype, optional
        The dtype of the parameters, by default that of the file.

    Returns
    -------
    Sequential
        Or the subclass that was saved. On the same device, its outputs and its further training
        are bit-identical to those of the saved network.

    Raises
    ------
    FileFormatError
        The file is damaged, has another format or a newer version, or needs a class that is not
        registered (:func:`dlskills.register`). The message names the file.
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
    """Rebuild the network from a file's content; see :func:`load`.

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
    """Return the structure of a network as plain data."""
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
    """Rebuild a network, without its values, after checking that its state fits.

    Parameters
    ----------
    content : dict
        From :func:`described_network`.
    state : mapping
        What :meth:`Sequential.load_state_dict` will be given. Nothing is allocated before its
        shapes are known to match the layers.
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
            f"{cls.__name__} defines its own constructor; make the network and call "
            "network.load_state(path)"
        )
    network = cls.__new__(cls)
    network._draws = False
    if hasattr(network, "_make_layers"):  # the tutorial's networks make their own layers
        vars(network)["_make_layers"] = lambda: layers
    else:
        settings = settings | {"layers": layers}
    constructor(network, **settings, **common)
    vars(network).pop("_make_layers", None)
    del network._draws
    return network


def _check_shapes(layers: list[Layer], state: Mapping[str, Any]) -> None:
    """Refuse layers whose parameters differ from those of the state, before allocating any."""
    names = parameter_names(check_layers(layers))
    for layer, own in zip(layers, names, strict=True):
        for name, wanted in layer.declare().items():
            found = getattr(state.get(own[name]), "shape", None)
            if found != wanted.shape:
                raise ValueError(
                    f"{layer!r} needs {own[name]!r} of shape {wanted.shape}, the file has "
                    f"{'none' if found is None else found}"
                )


def _dtype(key: str, name: Any) -> str:
    if name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"{key} must be a real floating-point type, got {name!r:.60}")
    return str(name)


def _state(arrays: Mapping[str, Any], metadata: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the state of the network in a file that errors call `path`."""
    if metadata.get("format") != FORMAT:
        raise FileFormatError(
            f"{path} is not a network's file: its format is {metadata.get('format')!r:.60}, "
            f"expected {FORMAT!r}"
        )
    version, values = metadata.get("version"), metadata.get("values")
    if type(version) is not int or version < 1:
        raise FileFormatError(f"{path}: version must be a whole number, got {version!r:.60}")
    if version > VERSION:
        raise FileFormatError(
            f"{path} has format version {version!r:.20}, this dlskills reads up to {VERSION}; "
            "update dlskills"
        )
    if not isinstance(values, dict):
        raise FileFormatError(f"{path}: values must be an object, got {values!r:.60}")
    return values | dict(arrays)
