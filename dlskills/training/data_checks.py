"""Checks of a trainer's data, made once, before the first step."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from dlskills.arrays.backend import Array, dtype_name, is_dtype, namespace, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_number
from dlskills.data.shuffle import shuffle_dataset
from dlskills.layers import (
    BinaryCrossEntropy,
    RegressionLoss,
    SoftmaxWithLoss,
    check_class_count,
    check_labels,
    check_probabilities,
    check_takes_weights,
    check_target_rows,
)
from dlskills.networks.sequential import Sequential
from dlskills.training.finite import check_finite

Parts = dict[str, tuple[Array, ...]]
"""Inputs and targets by the name of their part: "train", and perhaps "validation" and "test".

Those of "train" may have the samples' weights as a third array.
"""


def checked_parts(
    network: Sequential,
    x_train: Array,
    t_train: Array,
    x_test: Any,
    t_test: Any,
    validation: Any = None,
    seed: int = 0,
    weights: Any = None,
) -> Parts:
    """Return the parts of the data; refuse them if the network can't be trained on them.

    Parameters
    ----------
    network : Sequential
    x_train, t_train, x_test, t_test : array
    validation : float or tuple of array, optional
        See :class:`~dlskills.Trainer`.
    seed : int
        Of the choice of validation samples.
    weights : array, shape (N,), optional
        Of the training samples.
    """
    parts: Parts = {"train": (x_train, t_train)}
    if validation is not None and not isinstance(validation, float | int):
        parts["validation"] = _pair(validation)
    if x_test is not None or t_test is not None:
        if x_test is None or t_test is None:
            given, missing = ("t", "x") if x_test is None else ("x", "t")
            raise ValueError(
                f"x_test and t_test belong together, got {given}_test without {missing}_test. "
                "Give both or neither"
            )
        parts["test"] = (x_test, t_test)
    for part, (x, t) in parts.items():
        _check_arrays(part, x, t)
        network.check_input(f"x_{part}", x)
        computing = network.backend.xp
        check_finite(f"x_{part}", x, network.compute_dtype, computing)
        check_finite(f"t_{part}", t, network.params.dtype, computing)
        _check_targets(network, part, x, t)
    _warn_of_integers(x_train)
    if weights is not None:
        parts["train"] += (checked_weights(network, weights, x_train.shape[0]),)
    if validation is not None and "validation" not in parts:
        parts |= _split(parts["train"], validation, seed)
    return {part: parts[part] for part in ("train", "validation", "test") if part in parts}


def checked_weights(network: Sequential, weights: Any, count: int) -> np.ndarray[Any, Any]:
    """Return the weights of `count` samples on the host; refuse what is no weight.

    Raises
    ------
    TypeError, ValueError
    """
    check_takes_weights(network.loss_layer)
    try:
        given = to_host(weights) if hasattr(weights, "shape") else np.asarray(weights)
    except ValueError:  # of lists of different lengths
        given = np.asarray(None)
    if given.dtype.kind not in "fiub":
        raise TypeError(
            "sample_weights must be an array with a number for each training sample, got "
            + (f"dtype {given.dtype}" if given.shape else f"{weights!r:.60}")
        )
    if given.shape != (count,):
        raise ValueError(
            f"sample_weights must hold one number per training sample, shape ({count},), got "
            f"shape {given.shape}"
        )
    double = dtype_name(network.params.dtype) == "float64"
    checked = given.astype("float64" if double else "float32")
    wrong = np.flatnonzero(~(np.isfinite(checked) & (checked >= 0)))
    if wrong.size:
        raise ValueError(
            f"sample_weights must be finite and at least 0, got {given[wrong[0]]} for sample "
            f"{wrong[0]}"
        )
    if not checked.any():
        raise ValueError("sample_weights are all 0, so that nothing would be learned")
    return checked


def _pair(validation: Any) -> tuple[Array, Array]:
    if not isinstance(validation, tuple | list) or len(validation) != 2:
        raise TypeError(
            "validation must be a fraction such as 0.2, or a pair of arrays (x, t), got "
            f"{type(validation).__name__}"
        )
    return validation[0], validation[1]


def _split(arrays: tuple[Array, ...], fraction: float, seed: int) -> Parts:
    """Return validation and training data, in a random order."""
    check_number("validation", fraction, above=0, below=1)
    size = arrays[0].shape[0]
    count = round(fraction * size)
    if not 0 < count < size:
        raise ValueError(
            f"validation={fraction} of {size} samples are {count}, which leaves nothing for "
            "one of training and validation"
        )
    # one seed gives one order
    mixed = [shuffle_dataset(a, a, seed=stream(seed, "validation"))[0] for a in arrays]
    return {
        "train": tuple(array[count:, ...] for array in mixed),
        "validation": tuple(array[:count, ...] for array in mixed[:2]),
    }


def _check_arrays(part: str, x: Any, t: Any) -> None:
    for name, array in ((f"x_{part}", x), (f"t_{part}", t)):
        if not getattr(array, "shape", ()):
            by_name = isinstance(array, int) and part == "test"
            raise TypeError(
                f"{name} must be an array with one row per sample, got a {type(array).__name__}"
                + ". Without test data, give the next arguments by name: epochs=..." * by_name
            )
    if x.shape[0] != t.shape[0] or x.shape[0] == 0:
        raise ValueError(
            f"x_{part} and t_{part} must have the same number of samples, at least one, got "
            f"{x.shape[0]} and {t.shape[0]}"
        )
    kinds = ("real floating", "integral", "bool")
    for name, array, example in (
        (f"x_{part}", x, "for example as float32"),
        (f"t_{part}", t, "such as labels from 0 on"),
    ):
        if not any(is_dtype(namespace(array), array.dtype, kind) for kind in kinds):
            raise TypeError(f"{name} must hold real numbers, {example}, got {array.dtype}")


def _check_targets(network: Sequential, part: str, x: Array, t: Array) -> None:
    """Raise an error for targets that the loss would reject at the first step."""
    loss = network.loss_layer
    if isinstance(loss, SoftmaxWithLoss) and network.output_size is not None:
        values = to_host(t)
        if type(loss).forward is SoftmaxWithLoss.forward:
            check_class_count(network.output_size)
            _check_classes(f"t_{part}", t, network.output_size)
            check_target_rows(f"t_{part}", values)
        check_labels(f"t_{part}", values, network.output_size)
    if type(loss).forward is BinaryCrossEntropy.forward:
        if math.prod(t.shape) != t.shape[0]:
            raise ValueError(
                f"t_{part} must have shape ({t.shape[0]},), one target per score, got "
                f"{tuple(t.shape)}"
            )
        check_probabilities(f"t_{part}", to_host(t))
    if type(loss).forward is RegressionLoss.forward:
        _check_shape(network, f"t_{part}", x, t)


def _check_classes(name: str, t: Array, classes: int) -> None:
    """Raise an error unless targets are labels or one-hot rows."""
    count, *row = t.shape
    integers = is_dtype(namespace(t), t.dtype, "integral")
    if row == [classes] or (not row and integers):
        return
    if row == [1] and integers:
        remedy = f". Reshape it: {name}.reshape(-1)"
    elif not row:
        remedy = f". Convert it: {name}.astype('int64')"
    else:
        remedy = ""
    raise ValueError(
        f"{name} must hold integers of shape ({count},) or be one-hot of shape "
        f"({count}, {classes}), got {t.dtype} of shape {tuple(t.shape)}{remedy}"
    )


def _check_shape(network: Sequential, name: str, x: Array, t: Array) -> None:
    """Raise an error unless targets have the shape of the outputs."""
    shape = tuple(t.shape[1:])
    if shape == network.output_shape:
        return
    # a user's layers may not declare their output shape: compute one output
    outputs = network.predict(network.backend.asarray(x[:1, ...]))
    expected = tuple(outputs.shape[1:])
    if shape == expected:
        return
    fits = math.prod(shape) == math.prod(expected)
    sizes = ", ".join(map(str, expected))
    raise ValueError(
        f"{name} must have the outputs' shape {(t.shape[0], *expected)}, got {tuple(t.shape)}"
        + f". Reshape it: {name}.reshape(-1, {sizes})" * fits
    )


def _warn_of_integers(x_train: Array) -> None:
    if is_dtype(namespace(x_train), x_train.dtype, "unsigned integer"):
        warnings.warn(
            f"x_train has dtype {x_train.dtype}, like the pixels of image files. Networks learn "
            "best from numbers of about 1: divide pixels by 255",
            stacklevel=5,  # the caller of Trainer, whose __init__ is decorated
        )
