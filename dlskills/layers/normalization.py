"""Batch Normalization."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import Any

from dlskills.arrays import share
from dlskills.arrays.backend import (
    Array,
    Backend,
    DType,
    backend_of,
    get_backend,
    namespace,
    sum_dtype,
    to_host,
)
from dlskills.arrays.parameters import Views
from dlskills.checks import check_count, check_flag, check_number, known_keywords
from dlskills.formulas import along
from dlskills.initializers import constant, zeros
from dlskills.layers import shared_statistics
from dlskills.layers.base import Declared, Layer, saved


class BatchNormalization(Layer):
    r"""Batch Normalization: normalizes each feature over the batch, then scales and shifts it.

    :math:`y = \gamma \hat x + \beta` with
    :math:`\hat x = (x - \mu) / \sqrt{\sigma^2 + \varepsilon}`: Ioffe & Szegedy (2015), "Batch
    normalization", algorithm 1. In training, :math:`\mu` and :math:`\sigma^2` are the batch's mean
    and variance; at inference, they are running averages over the training batches.

    Parameters
    ----------
    size : int
        Number of features D for an input of shape (N, D), or of channels C for an input of shape
        (N, C, H, W), whose statistics are over N, H and W. With size C * H * W, each element of a
        sample has its own statistics, as in the book.
    momentum : float, default 0.9
        Weight of the *old* value in the running averages, as in the book. (PyTorch's momentum is 1
        minus this.)
    epsilon : float, default 1e-6
        Added to the variance. The tutorial writes it as 10e-7.
    debias : bool, default True
        Whether to correct the running averages for starting at 0: batch t gets the weight
        (1 - momentum) / (1 - momentum**t), so the averages are weighted means from the first batch
        on. If False, as in the book, they are far too small for the first few dozen batches.
    correction : int, default 0
        Subtracted from the number of values when the running variance is computed: 0 uses the
        batch variance (book, Keras), 1 the unbiased estimate (PyTorch). The forward pass always
        uses 0.
    affine : bool, default True
        Whether the normalized values are scaled by gamma and shifted by beta. If False, the layer
        has no parameters and returns the normalized values.

    Notes
    -----
    A single value has no variance: normalized by its own statistics, it would always give `beta`
    and gradients of 0. In training, a batch with one value per feature is therefore normalized by
    the running averages (0 and 1 before the first batch), which it does not change.

    In half precision, the square of 256 overflows and the square of 0.0002 underflows. For half
    precision inputs, the layer therefore computes in float32, keeps float32 running averages, and
    rounds only its output.

    In data-parallel training the statistics are those of the batch on all ranks, unless
    ``sync=False`` is given there: see :class:`~dlskills.distributed.DataParallel`.
    """

    @known_keywords(
        {
            "num_features": "size=...",
            "eps": "epsilon=...",
            "scale": "affine=...",
            "center": "affine=...",
        }
    )
    def __init__(
        self,
        size: int,
        momentum: float = 0.9,
        epsilon: float = 10e-7,
        *,
        debias: bool = True,
        correction: int = 0,
        affine: bool = True,
    ) -> None:
        self.size = check_count("size", size)
        self.momentum = check_number("momentum", momentum, at_least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, above=0)
        self.debias = debias
        self.correction = check_count("correction", correction, at_least=0)
        self.affine = check_flag("affine", affine)
        self.batches = 0
        self.running_mean: Array = None
        self.running_var: Array = None
        if not affine:  # the layer may be used without being bound to parameters
            here = get_backend("cpu")
            self._place(here, here.dtype("float64"))

    _in_network = False

    def declare(self) -> dict[str, Declared]:
        if not self.affine:
            return {}
        return {
            "gamma": Declared((self.size,), constant(1.0)),
            "beta": Declared((self.size,), zeros()),
        }

    def bind(self, params: MutableMapping[str, Array], grads: MutableMapping[str, Array]) -> None:
        super().bind(params, grads)
        if self.affine:
            self._place(backend_of(params["gamma"]), params["gamma"].dtype)
        elif isinstance(params, Views):  # of a network
            self._place(params.backend, params.dtype)
            self._in_network = True

    def _place(self, here: Backend, dtype: DType) -> None:
        """Make the running averages, or move them to where the layer computes."""
        dtype = sum_dtype(here.xp, dtype)
        if self.running_mean is None:
            self.running_mean = here.zeros((self.size,), dtype)
            # used only before the first batch
            self.running_var = here.asarray([1.0] * self.size, dtype)
        else:
            self.running_mean = here.asarray(self.running_mean, dtype)
            self.running_var = here.asarray(self.running_var, dtype)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        fits = self.size in (*input_shape[:1], math.prod(input_shape))
        if len(input_shape) not in (1, 3) or not fits:
            raise ValueError(
                f"{self!r} takes samples of shape ({self.size},) or ({self.size}, H, W), or with "
                f"{self.size} elements, got samples of shape {input_shape}"
            )
        return input_shape

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        shape = tuple(x.shape)
        self.output_shape(shape[1:])
        if not (self.affine or self._in_network):
            self._place(backend_of(x), x.dtype)
        x = self._flatten_elements(x)
        axes = (0,) if x.ndim == 2 else (0, 2, 3)
        count = math.prod(x.shape) // self.size
        gamma = self._broadcastable(self.params["gamma"], x) if self.affine else 1.0
        beta = self._broadcastable(self.params["beta"], x) if self.affine else 0.0
        part = share.current() if train_flg else None
        if part is not None and part.add is not None and part.covers(shape):
            count = count // shape[0] * part.total
        else:
            part = None
        own_statistics = train_flg and count > 1
        if own_statistics and part is not None:
            y, mean, var = self._forward_shared(x, part, count, axes)
        elif own_statistics:
            rate, unbiased = self._next_rate(count)
            running = (self._broadcastable(a, x) for a in (self.running_mean, self.running_var))
            # images' sums are short: over one sample, and then over the samples
            normalize = _normalize_long if x.ndim == 2 and count > _LONG else _normalize
            y, mean, var, *averages = normalize(
                x, gamma, beta, *running, rate, unbiased, self.epsilon, axis=axes
            )
            xp = namespace(x)
            self.running_mean, self.running_var = (xp.reshape(a, (self.size,)) for a in averages)
        else:
            mean, var = (self._broadcastable(a, x) for a in (self.running_mean, self.running_var))
            y = _normalize_by(x, mean, var, gamma, beta, self.epsilon, axis=axes)
        self._saved = x, mean, var, count if own_statistics else 0, part
        return y if y.ndim == len(shape) else namespace(y).reshape(y, shape)

    def _forward_shared(
        self, x: Array, part: share.Share, count: int, axes: tuple[int, ...]
    ) -> tuple[Array, Array, Array]:
        """Return output, mean and variance by the statistics of a batch on several processes."""
        mean, var = shared_statistics.mean_and_variance(x, part, count, axes)
        gamma = self._broadcastable(self.params["gamma"], x) if self.affine else 1.0
        beta = self._broadcastable(self.params["beta"], x) if self.affine else 0.0
        y = _normalize_by(x, mean, var, gamma, beta, self.epsilon, axis=axes)
        rate, unbiased = self._next_rate(count)
        xp = namespace(x)
        own_mean, own_var = (xp.reshape(a, (self.size,)) for a in (mean, var))
        self.running_mean = self.running_mean + rate * (own_mean - self.running_mean)
        self.running_var = self.running_var + rate * (unbiased * own_var - self.running_var)
        return y, mean, var

    def _next_rate(self, count: int) -> tuple[float, float]:
        """Return the batch's weight in the running averages and the factor of its variance."""
        if self.batches == 0:
            self.running_var = namespace(self.running_var).zeros_like(self.running_var)
        self.batches += 1
        rate = 1 - self.momentum
        if self.debias:
            rate /= 1 - self.momentum**self.batches
        return rate, count / max(count - self.correction, 1)

    def backward(self, dout: Array) -> Array:
        x, mean, var, count, part = saved(self)
        shape = tuple(dout.shape)
        dout = self._flatten_elements(dout)
        axes = (0,) if dout.ndim == 2 else (0, 2, 3)
        # the batch's mean and variance depend on x; running averages do not
        per_value = 1 / count if count else 0.0
        if part is not None and count:
            dx = self._backward_shared(dout, x, mean, var, part, per_value, axes)
        else:
            gamma, into = 1.0, (None, None, None)
            if self.affine:
                gamma = self._broadcastable(self.params["gamma"], x)
                into = None, self.grads["gamma"], self.grads["beta"]
            dx, _, _ = _gradients(
                dout, x, mean, var, gamma, self.epsilon, per_value, axis=axes, out=into
            )
        return dx if dx.ndim == len(shape) else namespace(dx).reshape(dx, shape)

    def _backward_shared(
        self, dout: Array, x: Array, mean: Array, var: Array,
        part: share.Share, per_value: float, axes: tuple[int, ...],
    ) -> Array:  # fmt: skip
        """Return the gradient by x where the batch is on several processes."""
        own, sums = shared_statistics.gradient_sums(part, dout, x, mean, var, self.epsilon, axes)
        gamma = 1.0
        if self.affine:
            gamma = self._broadcastable(self.params["gamma"], x)
            for name, grad in zip(("gamma", "beta"), own, strict=True):
                self.grads[name][...] = namespace(grad).reshape(grad, (self.size,))
        dx = shared_statistics.input_gradient(
            dout, x, mean, var, gamma, *sums, self.epsilon, per_value, axis=axes
        )
        # a row without weight is none that the statistics depend on
        return dx if part.count else namespace(dx).zeros_like(dx)

    def _flatten_elements(self, x: Array) -> Array:
        """Return the input with each sample flattened if every element has its own statistics."""
        if x.ndim == 2 or x.shape[1] == self.size:
            return x
        return namespace(x).reshape(x, (x.shape[0], self.size))

    def _broadcastable(self, feature: Array, like: Array) -> Array:
        """Return per-feature values in a shape that broadcasts against `like`."""
        if like.ndim == 2:
            return feature
        return namespace(feature).reshape(feature, (1, self.size, 1, 1))

    def get_state(self) -> dict[str, Any]:
        names = ("batches", "running_mean", "running_var")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: Mapping[str, Any]) -> None:
        here, dtype = backend_of(self.running_mean), self.running_mean.dtype
        batches = check_count("batches", state["batches"], at_least=0)
        if batches >= 2**63:
            raise ValueError(f"batches must be less than 2**63, got {batches}")
        averages = [here.asarray(state[name], dtype) for name in ("running_mean", "running_var")]
        for array in averages:
            if tuple(array.shape) != (self.size,):
                raise ValueError(
                    f"{self!r} has averages of shape ({self.size},), got {array.shape}"
                )
        self.batches, (self.running_mean, self.running_var) = batches, averages

    def __getstate__(self) -> dict[str, Any]:
        # on the host, so that a network from a GPU opens without one; bind() moves them back
        state = super().__getstate__()
        for name in ("running_mean", "running_var"):
            if state[name] is not None:
                state[name] = to_host(state[name])
        return state

    def __deepcopy__(self, memo: dict[int, Any]) -> BatchNormalization:
        # stays on the device, where __getstate__ would wait for it
        twin = type(self).__new__(type(self))
        vars(twin).update(copy.deepcopy(super().__getstate__(), memo))
        return twin

    def __repr__(self) -> str:
        more = f", correction={self.correction}" if self.correction else ""
        more += "" if self.affine else ", affine=False"
        return (
            f"BatchNormalization({self.size}, momentum={self.momentum:g}, "
            f"epsilon={self.epsilon:g}, debias={self.debias}{more})"
        )


_LONG = 32_768  # values per feature, above which one correction of the mean is not enough


def mean_and_variance(
    xp: ModuleType, x: Array, axis: Any, corrections: int = 0
) -> tuple[Array, Array]:
    """Return the mean and the variance by the corrected two-pass algorithm.

    More corrections of the mean may come before it. Each takes another pass over `x`.

    In single precision, the rounding error of the sum shifts the mean: for a feature that is 100.1
    in each of 10,000 samples, by more than the square root of epsilon. Chan, Golub & LeVeque
    (1983), "Algorithms for computing the sample variance", equation 1.7.
    """
    near = xp.mean(x, axis=axis, keepdims=True)
    for _ in range(corrections):
        near = near + xp.mean(x - near, axis=axis, keepdims=True)
    rest = xp.mean(x - near, axis=axis, keepdims=True)
    var = xp.mean((x - near) ** 2, axis=axis, keepdims=True) - rest**2
    return near + rest, xp.maximum(var, 0.0)


def _normalizing(xp: ModuleType, corrections: int) -> Callable[..., tuple[Array, ...]]:
    """The output, the batch's mean and variance, and the new running averages."""

    def output_and_statistics(
        x: Array, gamma: Array, beta: Array, running_mean: Array, running_var: Array,
        rate: float, unbiased: float, epsilon: float, axis: tuple[int, ...],
    ) -> tuple[Array, ...]:  # fmt: skip
        mean, var = mean_and_variance(xp, x, axis, corrections)
        y = (x - mean) * (gamma / xp.sqrt(var + epsilon)) + beta
        return (
            y, mean, var,
            running_mean + rate * (mean - running_mean),
            running_var + rate * (unbiased * var - running_var),
        )  # fmt: skip

    return output_and_statistics


@along
def _normalize(xp: ModuleType) -> Callable[..., tuple[Array, ...]]:
    return _normalizing(xp, 0)


@along
def _normalize_long(xp: ModuleType) -> Callable[..., tuple[Array, ...]]:
    return _normalizing(xp, 1)


@along
def _normalize_by(xp: ModuleType) -> Callable[..., Array]:
    """The output, normalized by a given mean and variance."""
    return lambda x, mean, var, gamma, beta, epsilon, axis: (
        (x - mean) * (gamma / xp.sqrt(var + epsilon)) + beta
    )


@along
def _gradients(xp: ModuleType) -> Callable[..., tuple[Array, ...]]:
    """The gradients with respect to x, gamma and beta.

    Simplified from Ioffe & Szegedy (2015), section 3. `share` is 1 over the number of values per
    feature, or 0 for running averages.
    """

    def dx_dgamma_dbeta(
        dout: Array, x: Array, mean: Array, var: Array, gamma: Array,
        epsilon: float, share: float, axis: tuple[int, ...],
    ) -> tuple[Array, ...]:  # fmt: skip
        inverse = 1 / xp.sqrt(var + epsilon)
        normalized = (x - mean) * inverse
        dgamma = xp.sum(dout * normalized, axis=axis, keepdims=True)
        dbeta = xp.sum(dout, axis=axis, keepdims=True)
        through_both = normalized * (share * dgamma) + share * dbeta
        return (dout - through_both) * (gamma * inverse), dgamma, dbeta

    return dx_dgamma_dbeta
