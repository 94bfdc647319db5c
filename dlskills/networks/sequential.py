"""A network: a sequence of layers, a loss, and all parameters in one buffer."""

from __future__ import annotations

import copy
import functools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from dlskills import gradients
from dlskills.arrays.backend import (
    Array,
    Device,
    DType,
    check_array,
    detached,
    dtype_name,
    get_backend,
    with_all_operations,
)
from dlskills.arrays.parameters import Parameters, Views
from dlskills.arrays.random import resolve_seed, stream
from dlskills.checks import check_number, known_keywords
from dlskills.formulas import along
from dlskills.initializers import check_initializer
from dlskills.layers import Layer, Loss, SoftmaxWithLoss, check_labels, check_takes_weights
from dlskills.networks import joined, saving, state, structure
from dlskills.networks.keywords import FOR_SEQUENTIAL
from dlskills.networks.summary import Summary, summary
from dlskills.networks.unwritten import UnwrittenGradients

_ROWS = 1000  # per batch in accuracy(), so that the layers' outputs stay in the cache


class Sequential:
    """A network that runs its layers one after the other.

    Parameters
    ----------
    layers : sequence of Layer
        In the order in which they run. A layer belongs to one network.
    loss : Loss, optional
        Default :class:`~dlskills.SoftmaxWithLoss`.
    weight_decay_lambda : float, default 0
        Adds ``lambda / 2 * sum(W**2)`` for each weight ``W`` to the loss, and ``lambda * W`` to
        its gradient. Biases, gamma and beta do not decay.
    seed : int, optional
        Determines the initial weights and the Dropout masks. By default a fresh one is drawn; it
        is kept in the attribute `seed`.
    device, xp
        See :func:`dlskills.get_backend`.
    dtype : str or dtype, default "float32"
        The dtype of parameters and computation. Use ``"float64"`` to check gradients.
    compute_dtype : str or dtype, optional
        The dtype in which layers compute, by default `dtype`; ``"float16"`` gives mixed precision
        (Micikevicius et al., 2018, "Mixed precision training"): each pass casts the parameters to
        it; parameters, gradients, the loss and the outputs stay in `dtype`. It is meant for GPUs,
        as half precision is slow in NumPy.
    loss_scale : float, optional
        A factor that backpropagation multiplies gradients by, and divides out at the end, because
        small gradients underflow in float16. Default 1024 for ``"float16"``, else 1. It is never
        adjusted: if gradients overflow, use a smaller one.

    Attributes
    ----------
    params : Parameters
        All parameters, under the tutorial's names: ``W1``, ``b1``, ...
    grads : Parameters
        The gradients that the last call of :meth:`gradient` wrote.
    backend : Backend
        The library and the device of the network's arrays.
    seed : int

    Examples
    --------
    >>> from dlskills import Affine, Dropout
    >>> network = Sequential([Affine(784, 50), Dropout(0.2), Affine(50, 10)], seed=0)
    >>> network.params["W2"].shape
    (50, 10)
    """

    @known_keywords(FOR_SEQUENTIAL)
    def __init__(
        self,
        layers: Sequence[Layer],
        loss: Loss | None = None,
        weight_decay_lambda: float = 0,
        *,
        seed: int | None = None,
        device: str | Device | None = None,
        dtype: str | DType = "float32",
        compute_dtype: str | DType | None = None,
        loss_scale: float | None = None,
        xp: ModuleType | None = None,
    ) -> None:
        self.layers = structure.check_layers(layers)
        if loss is not None and not isinstance(loss, Loss):
            raise TypeError(f"loss must be a Loss, such as MeanSquaredError(), got {loss!r}")
        self.loss_layer = SoftmaxWithLoss() if loss is None else loss
        self.weight_decay_lambda = check_number(
            "weight_decay_lambda", weight_decay_lambda, at_least=0
        )
        self.seed = resolve_seed(seed)
        self.backend = get_backend(device, xp)
        self._names = structure.parameter_names(self.layers)
        self._shapes = structure.check_shapes(self.layers)
        self._weights = [names["W"] for names in self._names if "W" in names]
        self._first = next((i for i, names in enumerate(self._names) if names), len(self.layers))
        dtype = self.backend.dtype(dtype)
        self.compute_dtype = dtype if compute_dtype is None else self.backend.dtype(compute_dtype)
        if loss_scale is None:
            half = getattr(self.backend.xp, "float16", None)  # which not every library has
            loss_scale = 1024 if self.compute_dtype == half else 1
        self.loss_scale = check_number("loss_scale", loss_scale, above=0)
        self._initialize(dtype)

    def _initialize(self, dtype: DType) -> None:
        declared = {
            name: layer.declare()[own]
            for layer, names in zip(self.layers, self._names, strict=True)
            for own, name in names.items()
        }
        shapes = {name: wanted.shape for name, wanted in declared.items()}
        here = self.backend
        self._params = Parameters.from_shapes(shapes, dtype=dtype, device=here.device, xp=here.xp)
        for name, wanted in declared.items() if self._draws else ():
            initializer = check_initializer(f"the initializer of {name}", wanted.initializer)
            values = initializer(wanted.shape, stream(self.seed, "weights", name))
            self.params[name] = here.asarray(values, dtype)
        self.grads = self.params.zeros_like()
        if self.compute_dtype != dtype:
            self._working, self._working_grads = (
                Parameters.from_shapes(
                    shapes, dtype=self.compute_dtype, device=here.device, xp=here.xp
                )
                for _ in range(2)
            )
        self._bind()
        for i, layer in enumerate(self.layers):
            layer.seed(self.seed, str(i))

    _draws = True  # initial values; loading a network from a file skips this
    _working: Parameters | None = None
    _working_grads: Parameters | None = None

    def _bind(self) -> None:
        """Hand each layer its views of the parameters and gradients."""
        params, grads = self._working or self.params, self._working_grads or self.grads
        for i, (layer, names) in enumerate(zip(self.layers, self._names, strict=True)):
            layer.bind(Views(params, names), Views(grads, names))
            layer.propagates = i > self._first
        self._join()

    def _join(self) -> None:
        """Fuse the layers that can run in one pass."""
        self._joined_of = list(self.layers)
        self._learning = joined.steps(self.layers[self._first :])
        self._steps = [*self.layers[: self._first], *self._learning]
        self._unwritten = UnwrittenGradients(self._learning)

    def _join_again(self) -> None:
        if self.layers != self._joined_of:  # a layer was replaced
            self._join()

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of one sample's output; None if the layers do not declare it."""
        return self._shapes[-1]

    @property
    def output_size(self) -> int | None:
        """The number of outputs per sample; None if the layers do not declare it."""
        shape = self.output_shape
        return None if shape is None else math.prod(shape)

    @property
    def params(self) -> Parameters:
        """All parameters. Assigning to it copies the values into the network's own buffer."""
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
        """Return the outputs (scores, before softmax) for inputs.

        Parameters
        ----------
        x : array, shape (N, ...)
            N samples, on the network's device; cast to `compute_dtype`.
        train_flg : bool, default False
            Whether Dropout and Batch Norm behave as in training.

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
            self._refresh()
            self._join_again()
            for step in self._steps:
                x = step.forward(x, train_flg)
            return self._cast(x, self.params.dtype)

    def outputs(self, x: Array, train_flg: bool = False) -> Iterator[Array]:
        """Yield the output of each layer in turn, to look into the network.

        Parameters
        ----------
        x, train_flg
            See :meth:`predict`. In training, layers draw masks and update running averages as in
            any other forward pass: to leave the network as it is, use a ``copy.deepcopy`` of it.

        Yields
        ------
        array
            In `compute_dtype`; the last equals what :meth:`predict` returns, up to the rounding of
            layers that :meth:`predict` runs in one pass.

        Examples
        --------
        >>> import numpy as np
        >>> from dlskills import MultiLayerNet
        >>> network = MultiLayerNet(4, [8], 2, seed=0)
        >>> [y.shape for y in network.outputs(np.ones((3, 4), "float32"))]
        [(3, 8), (3, 8), (3, 2)]
        """
        x = self._input(x)
        with self.backend.active():
            self._refresh()
        for layer in self.layers:
            with self.backend.active():
                x = layer.forward(x, train_flg)
            yield x

    @property
    def parameter_names(self) -> tuple[Mapping[str, str], ...]:
        """For each layer, its own name of each parameter, and the name in :attr:`params`."""
        return tuple(MappingProxyType(names) for names in self._names)

    def _refresh(self) -> None:
        """Cast the parameters to the dtype of the computation, if it differs."""
        if self._working is not None:
            self._working.flat = self.backend.xp.astype(self.params.flat, self.compute_dtype)

    def _cast(self, array: Array, dtype: DType) -> Array:
        return array if array.dtype == dtype else self.backend.xp.astype(array, dtype)

    def loss(
        self, x: Array, t: Array, train_flg: bool = False, weights: Array | None = None
    ) -> Array:
        """Return the loss, weight decay included.

        Parameters
        ----------
        x : array, shape (N, ...)
        t : array
            Targets as the loss takes them: labels (N,), or one-hot (N, C).
        train_flg : bool, default False
        weights : array, shape (N,), optional
            The weight of each sample, at least 0, for all losses of dlskills: the loss is the mean
            of weight times loss over all N samples (not divided by the sum of the weights).

        Returns
        -------
        array, shape ()
            On the device: ``float(loss)`` or printing it waits for the device.

        Raises
        ------
        TypeError
            `weights` are given, but the network's loss takes none.
        """
        loss = self._data_loss(x, t, train_flg, weights)
        if not self.weight_decay_lambda:
            return loss
        with self.backend.active():
            return loss + self.penalty()

    def _data_loss(
        self, x: Array, t: Array, train_flg: bool, weights: Array | None = None
    ) -> Array:
        """Return the loss without weight decay."""
        if weights is not None:
            check_takes_weights(self.loss_layer)
            check_array("weights", weights, self.backend)
        y = self.predict(x, train_flg)
        if y.shape[0] == 0:
            shape = tuple(x.shape)
            raise ValueError(f"x must hold at least one sample, got an array of shape {shape}")
        check_array("t", t, self.backend)
        if type(t) is np.ndarray and isinstance(self.loss_layer, SoftmaxWithLoss):
            check_labels("t", t, y.shape[1])  # on a GPU, this would wait for it
        with self.backend.active():
            if weights is None:  # a user's loss need not take any
                return self.loss_layer.forward(y, detached(t))
            return self.loss_layer.forward(y, detached(t), weights=detached(weights))

    def penalty(self) -> Array | float:
        """Return what weight decay adds to :meth:`loss`: a 0-d array, or 0.0 without decay.

        Compare losses with different `weight_decay_lambda` only after subtracting this term.
        """
        if not (self.weight_decay_lambda and self._weights):
            return 0.0
        with self.backend.active():
            factor = self.weight_decay_lambda
            return _penalty(self.params.flat, self._is_weight.flat, factor, axis=0)

    @functools.cached_property
    def _is_weight(self) -> Parameters:
        """1 for each element that decays, 0 for the rest."""
        marks = self.params.zeros_like()
        for name in self._weights:
            marks[name] = self.backend.xp.ones_like(marks[name])
        return marks

    def accuracy(self, x: Array, t: Array) -> float:
        """Return the fraction of samples whose highest score is their label's, at inference.

        A sample with NaN scores counts as wrong.

        Parameters
        ----------
        x : array, shape (N, ...)
        t : array, shape (N,) of integers, or one-hot (N, C)

        Returns
        -------
        float
            Waits for the device.

        Raises
        ------
        ValueError
            There are no samples, or `t` does not have one label, or one row, per sample.
        """
        check_array("x", x, self.backend)
        check_array("t", t, self.backend)
        count = x.shape[0]
        if count == 0 or t.shape[0] != count:
            raise ValueError(f"accuracy needs a label for each sample, got {count} samples and "
                             f"{t.shape[0]} labels")  # fmt: skip
        t = with_all_operations(t)
        xp = self.backend.xp
        right: Any = 0
        for start in range(0, count, _ROWS):
            rows = slice(start, min(start + _ROWS, count))
            y = self.predict(x[rows, ...])
            with self.backend.active():
                hits = self.loss_layer.correct(y, t[rows, ...])
                right = right + xp.sum(xp.astype(hits, xp.int64))
        return float(int(right) / count)

    def gradient(self, x: Array, t: Array, weights: Array | None = None) -> Parameters:
        """Return the gradient of the loss by every parameter, in training mode.

        Parameters
        ----------
        x, t, weights : array
            See :meth:`loss`.

        Returns
        -------
        grads : Parameters
            The network's own :attr:`grads`. The next call overwrites them: keep a ``copy()``.
        """
        return self.loss_and_gradient(x, t, weights)[1]

    def loss_and_gradient(
        self, x: Array, t: Array, weights: Array | None = None, *, share: float = 1.0
    ) -> tuple[Array, Parameters]:
        """Return the loss in training mode, and :meth:`gradient`, from one forward pass.

        Parameters
        ----------
        x, t, weights : array
            See :meth:`loss`.
        share : float, default 1.0
            Factor of both: the fraction that these samples are of a batch whose parts are summed.

        Returns
        -------
        loss : array, shape ()
        grads : Parameters
        """
        self._join_again()
        self._unwritten.start()
        loss = self._data_loss(x, t, True, weights)
        with self.backend.active():
            dout = self.loss_layer.backward(self.loss_scale * share)
            dout = self._cast(dout, self.compute_dtype)
            if share != 1:
                loss = loss * share
            for step in reversed(self._learning):
                dout = self._unwritten.backward(step, dout)
            if self._working_grads is not None:
                self.grads.flat = self._cast(self._working_grads.flat, self.params.dtype)
            if self.loss_scale != 1:
                self.grads.flat = self.grads.flat / self.loss_scale
            if self.weight_decay_lambda and self._weights:
                flat = self.grads.flat
                _, loss = _weight_decay(
                    flat, self.params.flat, self._is_weight.flat,
                    self.weight_decay_lambda * share, loss, axis=0, out=(flat, None),
                )  # fmt: skip
        return loss, self.grads

    def numerical_gradient(
        self, x: Array, t: Array, weights: Array | None = None
    ) -> dict[str, Array]:
        """Return the gradient by central differences, for checking :meth:`gradient`.

        Computed on a copy of the network in float64 (if the device has it), in training mode,
        with the Dropout masks of the next call of :meth:`gradient`. It takes two forward passes
        per parameter element: use few samples and a small network.

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
                    layer.set_state(state)  # the same Dropout masks each time
                return network.loss(x, t, train_flg=True, weights=weights)

            return gradients.numerical_gradient(loss, network.params)

    def state_dict(self, *, on_host: bool = True) -> dict[str, Any]:
        """Return all that training changes in the network, under flat names.

        Parameters
        ----------
        on_host : bool, default True
            Whether arrays are copied to NumPy, all parameters in one transfer. With False they
            are copied on the network's device, without waiting for it.

        Returns
        -------
        dict
            The parameters by name; and, as ``layers.INDEX.NAME``, what each layer keeps from step
            to step: running averages (arrays), and counts and positions of random streams (ints
            and lists of ints). Training does not change the returned arrays.
        """
        with self.backend.active():
            return state.state_of(self.params, self.layers, on_host)

    def load_state_dict(self, values: Mapping[str, Any]) -> None:
        """Load a state that :meth:`state_dict` returned for a network of the same shape.

        All of it is loaded or, on an error, nothing. Dropout masks continue those of the saved
        network, whatever this network's seed is.

        Parameters
        ----------
        values : mapping
            Arrays of any library and device; they are cast to the network's dtype.

        Raises
        ------
        ValueError
            The message names what is missing, unexpected, or of another shape.
        """
        with self.backend.active():
            state.check_state(values, self.params, self.layers)
            state.load(values, self.params, self.layers)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments beyond those of :class:`Sequential`, for saving."""
        return {}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file, completely or not at all.

        The file holds :meth:`state_dict` and the structure as JSON, from which
        :func:`dlskills.load` rebuilds the network. To rebuild custom layers, losses and networks,
        register their classes (:func:`dlskills.register`); without that, :meth:`load_state` loads
        the values into an existing network.

        Parameters
        ----------
        path : str or path-like
            Such as ``"net.safetensors"``. A missing folder is created.

        Raises
        ------
        OSError
            The file can't be written; an existing file is unchanged.
        TypeError, ValueError
            A layer's state or settings can't be written.
        """
        saving.save_network(self, path)

    def load_state(self, path: str | os.PathLike[str]) -> None:
        """Load the values from a file that :meth:`save` wrote for a network of the same shape.

        All of it is loaded or, on an error, nothing.

        Parameters
        ----------
        path : str or path-like

        Raises
        ------
        FileFormatError
            The file is damaged, has another format or a newer version, or does not fit the
            network.
        OSError
            The file can't be read.
        """
        saving.load_state(self, path)

    def _copy(self, dtype: DType) -> Sequential:
        """Return a copy of the network in another dtype."""
        network = copy.deepcopy(self)
        xp = self.backend.xp
        network._params = Parameters(
            {name: xp.astype(param, dtype) for name, param in self.params.items()}
        )
        network.grads = network.params.zeros_like()
        network.compute_dtype, network._working, network._working_grads = dtype, None, None
        network._bind()
        return network

    def __getstate__(self) -> dict[str, Any]:
        made_anew = ("_is_weight", "_joined_of", "_learning", "_steps", "_unwritten")
        kept = {key: value for key, value in vars(self).items() if key not in made_anew}
        # by name, as its library may be missing where the network is unpickled
        return kept | {"compute_dtype": dtype_name(self.compute_dtype)}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        vars(self).update(kept)
        self.backend = self._params.backend  # NumPy, if the device is missing here
        self.compute_dtype = self._params.dtype
        if self._working is not None:
            self.compute_dtype = self._working.dtype
        self._bind()

    def _input(self, x: Array) -> Array:
        check_array("x", x, self.backend)
        self.check_input("x", x)
        with self.backend.active():
            return self._cast(detached(x), self.compute_dtype)

    def check_input(self, name: str, x: Array) -> None:
        """Refuse samples of a size that the first layer does not take.

        Parameters
        ----------
        name : str
            The name of `x` in the error.
        x : array, shape (N, ...)
            On any device.

        Raises
        ------
        ValueError
        """
        expected = self._shapes[0]
        if expected is not None and math.prod(x.shape[1:]) != math.prod(expected):
            raise ValueError(
                f"{name} must have {math.prod(expected)} numbers per sample for "
                f"{self.layers[0]!r}, got an array of shape {tuple(x.shape)}"
            )

    def summary(self) -> Summary:
        """Return a table of the layers, their output shapes and parameter counts.

        Returns
        -------
        str
            Notebooks show it as a table.
        """
        where = f"{self.params.dtype} on {self.backend}"
        shapes = self._shapes[1:]
        return summary(self.layers, self.loss_layer, self._names, shapes, self.params, where)

    def _settings(self) -> list[str]:
        dtype, compute_dtype = dtype_name(self.params.dtype), dtype_name(self.compute_dtype)
        shown = {
            f"loss={self.loss_layer!r}": repr(self.loss_layer) != repr(SoftmaxWithLoss()),
            f"weight_decay_lambda={self.weight_decay_lambda:g}": self.weight_decay_lambda != 0,
            f"dtype={dtype!r}": dtype != "float32",
            f"compute_dtype={compute_dtype!r}": compute_dtype != dtype,
            f"loss_scale={self.loss_scale:g}": self.loss_scale != 1,
            f"seed={self.seed}": True,
        }
        return [setting for setting, differs in shown.items() if differs]

    def __repr__(self) -> str:
        layers = "".join(f"    {layer!r},\n" for layer in self.layers)
        return f"{type(self).__name__}([\n{layers}], {', '.join(self._settings())})"


@along
def _penalty(xp: ModuleType) -> Callable[..., Array]:
    return lambda param, is_weight, decay, axis: xp.sum(decay * is_weight * param * param) / 2


@along
def _weight_decay(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """Return the gradient and the loss with weight decay."""

    def gradient_and_loss(
        grad: Array, param: Array, is_weight: Array, decay: float, loss: Array, axis: int
    ) -> tuple[Array, Array]:
        slope = decay * is_weight * param
        return grad + slope, loss + xp.sum(slope * param) / 2

    return gradient_and_loss
