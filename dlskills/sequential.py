"""A network: layers in a row, a loss behind them, all parameters in one buffer."""

from __future__ import annotations

import collections
import copy
import functools
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from dlskills import gradients
from dlskills.backend import Array, Device, DType, check_array, get_backend
from dlskills.checks import check_number
from dlskills.layers import Layer, Loss, SoftmaxWithLoss, check_labels
from dlskills.parameters import Parameters, Views
from dlskills.random import resolve_seed, stream

_ROWS = 1000  # of a batch in accuracy(): keeps what the layers compute in the cache


class Sequential:
    """Layers in a row.

    Parameters
    ----------
    layers : sequence of Layer
        In the order in which an input goes through them. A layer belongs to one network.
    loss : Loss, optional
        Default :class:`~dlskills.SoftmaxWithLoss`.
    weight_decay_lambda : float, default 0
        Adds half of lambda times the sum of squares of each weight ``W`` to the loss, and lambda
        times ``W`` to its gradient. Biases, gamma and beta do not decay.
    seed : int, optional
        Of initial weights and Dropout masks. A fresh one is drawn if not given; either way it
        stands in `seed`.
    device, xp
        See :func:`dlskills.get_backend`.
    dtype : str or dtype, default "float32"
        Of parameters and computation. ``"float64"`` for checks of gradients.

    Attributes
    ----------
    params : Parameters
        All parameters: the first layer's ``W1``, ``b1``, ..., in the page's names.
    grads : Parameters
        The gradients that the last call of :meth:`gradient` wrote.
    backend : Backend
        Where the network lives.
    seed : int

    Examples
    --------
    >>> from dlskills import Affine, Dropout
    >>> network = Sequential([Affine(784, 50), Dropout(0.2), Affine(50, 10)], seed=0)
    >>> network.params["W2"].shape
    (50, 10)
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        loss: Loss | None = None,
        weight_decay_lambda: float = 0,
        *,
        seed: int | None = None,
        device: str | Device | None = None,
        dtype: str | DType = "float32",
        xp: ModuleType | None = None,
    ) -> None:
        self.layers = _check_layers(layers)
        if loss is not None and not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss, such as MeanSquaredError(), got {loss!r}")
        self.loss_layer = SoftmaxWithLoss() if loss is None else loss
        self.weight_decay_lambda = check_number(
            "weight_decay_lambda", weight_decay_lambda, at_least=0
        )
        self.seed = resolve_seed(seed)
        self.backend = get_backend(device, xp)
        self._names = _parameter_names(self.layers)
        self._shapes = _check_shapes(self.layers)
        self._weights = [names["W"] for names in self._names if "W" in names]
        self._first = next((i for i, names in enumerate(self._names) if names), len(self.layers))
        self._initialize(self.backend.dtype(dtype))

    def _initialize(self, dtype: DType) -> None:
        declared = {
            name: layer.declare()[own]
            for layer, names in zip(self.layers, self._names, strict=True)
            for own, name in names.items()
        }
        shapes = {name: wanted.shape for name, wanted in declared.items()}
        here = self.backend
        self._params = Parameters.from_shapes(shapes, dtype=dtype, device=here.device, xp=here.xp)
        for name, wanted in declared.items():
            values = wanted.initializer(wanted.shape, stream(self.seed, "weights", name))
            self.params[name] = here.asarray(values, dtype)
        self.grads = self.params.zeros_like()
        self._bind()
        for i, layer in enumerate(self.layers):
            layer.seed(self.seed, str(i))

    def _bind(self) -> None:
        """Hand each layer its views of the parameters and gradients."""
        for i, (layer, names) in enumerate(zip(self.layers, self._names, strict=True)):
            layer.bind(Views(self.params, names), Views(self.grads, names))
            layer.propagates = i > self._first

    @property
    def output_size(self) -> int | None:
        """The number of outputs of a sample, None where the layers don't say."""
        shape = self._shapes[-1]
        return None if shape is None else math.prod(shape)

    @property
    def params(self) -> Parameters:
        """All parameters. Setting it copies the values in: the layers hold views of this memory."""
        return self._params

    @params.setter
    def params(self, values: Mapping[str, Array]) -> None:
        if set(values) != set(self._params):
            raise ValueError(
                f"the network has parameters {', '.join(self._params)}, got {', '.join(values)}"
            )
        for name, value in values.items():
            self._params[name] = value

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """The outputs (scores, before softmax) for inputs.

        Parameters
        ----------
        x : array, shape (N, ...)
            N samples, on the network's device; cast to its dtype.
        train_flg : bool, default False
            Whether Dropout and Batch Norm act as in training.

        Returns
        -------
        array, shape (N, output_size)

        Raises
        ------
        TypeError
            `x` is on another device or of another library.
        ValueError
            The samples have the wrong shape.
        """
        x = self._input(x)
        with self.backend.active():
            for layer in self.layers:
                x = layer.forward(x, train_flg)
        return x

    def loss(self, x: Array, t: Array, train_flg: bool = False) -> Array:
        """The loss, weight decay included.

        Parameters
        ----------
        x : array, shape (N, ...)
        t : array
            Targets as the loss takes them: labels (N,), or one-hot (N, C).
        train_flg : bool, default False

        Returns
        -------
        array, shape ()
            On the device: printing it or ``float()`` waits for the device.
        """
        y = self.predict(x, train_flg)
        check_array("t", t, self.backend)
        if type(t) is np.ndarray and isinstance(self.loss_layer, SoftmaxWithLoss):
            check_labels("t", t, y.shape[1])  # on a GPU, the look would wait for it
        with self.backend.active():
            loss = self.loss_layer.forward(y, t)
            return loss + self._penalty() if self.weight_decay_lambda else loss

    def _penalty(self) -> Array | float:
        if not self._weights:
            return 0.0
        xp = self.backend.xp
        squares = [xp.sum(self.params[name] * self.params[name]) for name in self._weights]
        return 0.5 * self.weight_decay_lambda * functools.reduce(lambda a, b: a + b, squares)

    def accuracy(self, x: Array, t: Array) -> float:
        """The share of samples whose highest score is that of their label, in test mode.

        Parameters
        ----------
        x : array, shape (N, ...)
        t : array, shape (N,) of integers, or one-hot (N, C)

        Returns
        -------
        float
            Waits for the device.
        """
        check_array("x", x, self.backend)
        check_array("t", t, self.backend)
        count = x.shape[0]
        if count == 0 or t.shape[0] != count:
            raise ValueError(f"accuracy needs a label for each sample, got {count} samples and "
                             f"{t.shape[0]} labels")  # fmt: skip
        xp = self.backend.xp
        right: Any = 0
        for start in range(0, count, _ROWS):
            rows = slice(start, min(start + _ROWS, count))
            y, labels = self.predict(x[rows, ...]), t[rows, ...]
            with self.backend.active():
                if labels.ndim > 1:
                    labels = xp.argmax(labels, axis=1)
                best = xp.argmax(y, axis=1)
                right = right + xp.sum(xp.astype(best == xp.astype(labels, best.dtype), xp.int64))
        return float(int(right) / count)

    def gradient(self, x: Array, t: Array) -> Parameters:
        """The gradient of the loss by every parameter, by backpropagation, in training mode.

        Parameters
        ----------
        x, t : array
            See :meth:`loss`.

        Returns
        -------
        grads : Parameters
            The network's own :attr:`grads`: the next call writes into the same buffer, so take a
            ``copy()`` of what is to be kept.
        """
        return self.loss_and_gradient(x, t)[1]

    def loss_and_gradient(self, x: Array, t: Array) -> tuple[Array, Parameters]:
        """The loss in training mode, and :meth:`gradient`, from one forward pass.

        Parameters
        ----------
        x, t : array
            See :meth:`loss`.

        Returns
        -------
        loss : array, shape ()
        grads : Parameters
        """
        loss = self.loss(x, t, train_flg=True)
        with self.backend.active():
            dout = self.loss_layer.backward()
            for layer in reversed(self.layers[self._first :]):
                dout = layer.backward(dout)
            if self.weight_decay_lambda > 0:
                for name in self._weights:
                    self.grads[name] += self.weight_decay_lambda * self.params[name]
        return loss, self.grads

    def numerical_gradient(self, x: Array, t: Array) -> dict[str, Array]:
        """The gradient by central differences, to check :meth:`gradient` by.

        Computed on a copy of the network in float64 (if the device has it), in training mode,
        with the Dropout masks of the next call of :meth:`gradient`. It takes two forward passes
        for each parameter: use it on a few samples and a small network.

        Returns
        -------
        dict of str to array
        """
        with self.backend.active():
            double = getattr(self.backend.xp, "float64", self.params.dtype)
            network = self._copy(double)
            states = [layer.get_state() for layer in network.layers]

            def loss() -> Array:
                for layer, state in zip(network.layers, states, strict=True):
                    layer.set_state(state)  # the same masks each time
                return network.loss(x, t, train_flg=True)

            return gradients.numerical_gradient(loss, network.params)

    def _copy(self, dtype: DType) -> Sequential:
        """The same network in another dtype."""
        network = copy.deepcopy(self)
        xp = self.backend.xp
        network._params = Parameters(
            {name: xp.astype(param, dtype) for name, param in self.params.items()}
        )
        network.grads = network.params.zeros_like()
        network._bind()
        return network

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._bind()

    def _input(self, x: Array) -> Array:
        check_array("x", x, self.backend)
        expected = self._shapes[0]
        if expected is not None and math.prod(x.shape[1:]) != math.prod(expected):
            raise ValueError(
                f"x must have {math.prod(expected)} numbers a sample, as {self.layers[0]!r} takes, "
                f"got an array of shape {tuple(x.shape)}"
            )
        if x.dtype != self.params.dtype:
            x = self.backend.xp.astype(x, self.params.dtype)
        return x

    def summary(self) -> str:
        """A table of the layers, the shapes of their outputs, and their numbers of parameters."""
        rows = [("layer", "output shape", "parameters")]
        for layer, names, shape in zip(self.layers, self._names, self._shapes[1:], strict=True):
            size = sum(math.prod(self.params[name].shape) for name in names.values())
            sizes = ", ".join(names.values())
            output = "any" if shape is None else str(("N", *shape)).replace("'", "")
            rows.append((repr(layer), output, f"{size:,} ({sizes})" if names else "0"))
        rows.append((repr(self.loss_layer), "()", "0"))
        width = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True)) for row in rows
        ]
        lines.insert(1, "  ".join("-" * w for w in width))
        lines.append(f"{self.params.size:,} parameters, {self.params.dtype} on {self.backend}")
        return "\n".join(line.rstrip() for line in lines)

    def _settings(self) -> list[str]:
        decay = self.weight_decay_lambda
        return [f"weight_decay_lambda={decay:g}"] * bool(decay) + [f"seed={self.seed}"]

    def __repr__(self) -> str:
        layers = "".join(f"    {layer!r},\n" for layer in self.layers)
        return f"{type(self).__name__}([\n{layers}], {', '.join(self._settings())})"


def _check_layers(layers: Any) -> list[Layer]:
    if not isinstance(layers, Sequence) or not layers or isinstance(layers, str):
        raise TypeError(f"layers must be a list of at least one layer, got {layers!r}")
    for i, layer in enumerate(layers):
        if isinstance(layer, Loss):
            raise TypeError(f"layers[{i}] is a loss, {layer!r}; give it to the network as loss=...")
        if not isinstance(layer, Layer):
            hint = f"; did you mean {layer.__name__}()?" if isinstance(layer, type) else ""
            raise TypeError(f"layers[{i}] must be a layer, got {layer!r}{hint}")
        if "params" in vars(layer) or any(layer is other for other in layers[:i]):
            raise ValueError(
                f"layers[{i}], {layer!r}, has its place in a network already; make a new one"
            )
    return list(layers)


def _parameter_names(layers: Sequence[Layer]) -> list[dict[str, str]]:
    """For each layer its parameters' names, and those in the network: W -> W1, W2, ..."""
    seen: collections.Counter[str] = collections.Counter()
    names = []
    for layer in layers:
        own = list(layer.declare())
        seen.update(own)
        names.append({name: f"{name}{seen[name]}" for name in own})
    counted = collections.Counter(name for full in names for name in full.values())
    if repeated := [name for name, count in counted.items() if count > 1]:
        raise ValueError(
            f"two parameters of the network would be called {repeated[0]!r}; declare names without "
            "digits at the end"
        )
    return names


def _check_shapes(layers: Sequence[Layer]) -> list[tuple[int, ...] | None]:
    """The shape of a sample before the first layer and behind each, None where it may be any."""
    # what stands before the first layer with a size of its own takes, and gives, that size
    shape = next((layer.input_shape for layer in layers if layer.input_shape is not None), None)
    shapes = [shape]
    for i, layer in enumerate(layers):
        if shape is None:
            shape = layer.input_shape
        if shape is not None:
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"layers[{i}] does not fit: {error}") from None
        shapes.append(shape)
    return shapes
