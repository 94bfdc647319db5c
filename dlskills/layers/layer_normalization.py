"""Per-sample normalization: LayerNorm and RMSNorm."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array, namespace
from dlskills.checks import check_count, check_number
from dlskills.formulas import along
from dlskills.initializers import constant, zeros
from dlskills.layers.base import Declared, Layer, saved
from dlskills.layers.normalization import mean_and_variance


class _SampleNormalization(Layer):
    """Normalization over the last axis of an input of shape (N, ..., size)."""

    def __init__(self, size: int, epsilon: float = 1e-6) -> None:
        self.size = check_count("size", size)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        if input_shape[-1:] != (self.size,):
            raise ValueError(
                f"{self!r} takes samples whose last axis has {self.size} features, got samples of "
                f"shape {input_shape}"
            )
        return input_shape

    def _rows(self, x: Array) -> Array:
        return namespace(x).reshape(x, (-1, self.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size}, epsilon={self.epsilon:g})"


class LayerNormalization(_SampleNormalization):
    r"""Layer Normalization: normalizes the features of each sample, then scales and shifts them.

    :math:`y = \gamma\, (x - \mu) / \sqrt{\sigma^2 + \varepsilon} + \beta`, with the mean and the
    variance over a sample's features: Ba, Kiros & Hinton (2016), "Layer normalization". It does
    not depend on the batch and behaves the same in training and at inference.

    Parameters
    ----------
    size : int
        Number of features, the length of the last axis of an input of shape (N, ..., size).
    epsilon : float, default 1e-6
        Added to the variance.
    """

    def declare(self) -> dict[str, Declared]:
        return {
            "gamma": Declared((self.size,), constant(1.0)),
            "beta": Declared((self.size,), zeros()),
        }

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self.output_shape(tuple(x.shape[1:]))
        rows, gamma, beta = self._rows(x), self.params["gamma"], self.params["beta"]
        y, mean, var = _layer_norm(rows, gamma, beta, self.epsilon, axis=1)
        self._saved = rows, mean, var
        return namespace(y).reshape(y, x.shape)

    def backward(self, dout: Array) -> Array:
        rows, mean, var = saved(self)
        shape, dout = dout.shape, self._rows(dout)
        dx = _layer_norm_dx(dout, rows, mean, var, self.params["gamma"], self.epsilon, axis=1)
        out = self.grads["gamma"], self.grads["beta"]
        _layer_norm_sums(dout, rows, mean, var, self.epsilon, axis=0, out=out)
        return namespace(dx).reshape(dx, shape)


@along
def _layer_norm(xp: ModuleType) -> Callable[..., tuple[Array, ...]]:
    def forward(
        x: Array, gamma: Array, beta: Array, epsilon: float, axis: int
    ) -> tuple[Array, ...]:
        mean, var = mean_and_variance(xp, x, axis)
        return gamma * (x - mean) * (1 / xp.sqrt(var + epsilon)) + beta, mean, var

    return forward


@along
def _layer_norm_dx(xp: ModuleType) -> Callable[..., Array]:
    def dx(
        dout: Array, x: Array, mean: Array, var: Array, gamma: Array, epsilon: float, axis: int
    ) -> Array:
        inverse = 1 / xp.sqrt(var + epsilon)
        normalized = (x - mean) * inverse
        slope = gamma * dout
        through_mean = xp.mean(slope, axis=axis, keepdims=True)
        through_var = xp.mean(slope * normalized, axis=axis, keepdims=True)
        return (slope - through_mean - normalized * through_var) * inverse

    return dx


@along
def _layer_norm_sums(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    """The gradients with respect to gamma and beta, which are sums over the samples."""

    def dgamma_and_dbeta(
        dout: Array, x: Array, mean: Array, var: Array, epsilon: float, axis: int
    ) -> tuple[Array, Array]:
        normalized = (x - mean) / xp.sqrt(var + epsilon)
        return (
            xp.sum(dout * normalized, axis=axis, keepdims=True),
            xp.sum(dout, axis=axis, keepdims=True),
        )

    return dgamma_and_dbeta


class RMSNormalization(_SampleNormalization):
    r"""RMS Normalization: divides each sample by the root mean square of its features.

    :math:`y = \gamma\, x / \sqrt{\overline{x^2} + \varepsilon}`: Zhang & Sennrich (2019), "Root
    mean square layer normalization", equation 4.

    Parameters
    ----------
    size : int
        Number of features, the length of the last axis of an input of shape (N, ..., size).
    epsilon : float, default 1e-6
        Added to the mean square.
    """

    def declare(self) -> dict[str, Declared]:
        return {"gamma": Declared((self.size,), constant(1.0))}

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self.output_shape(tuple(x.shape[1:]))
        rows = self._rows(x)
        y, square = _rms_norm(rows, self.params["gamma"], self.epsilon, axis=1)
        self._saved = rows, square
        return namespace(y).reshape(y, x.shape)

    def backward(self, dout: Array) -> Array:
        rows, square = saved(self)
        shape, dout = dout.shape, self._rows(dout)
        dx = _rms_norm_dx(dout, rows, square, self.params["gamma"], self.epsilon, axis=1)
        _rms_norm_sum(dout, rows, square, self.epsilon, axis=0, out=(self.grads["gamma"],))
        return namespace(dx).reshape(dx, shape)


@along
def _rms_norm(xp: ModuleType) -> Callable[..., tuple[Array, Array]]:
    def forward(x: Array, gamma: Array, epsilon: float, axis: int) -> tuple[Array, Array]:
        square = xp.mean(x * x, axis=axis, keepdims=True)
        return gamma * x * (1 / xp.sqrt(square + epsilon)), square

    return forward


@along
def _rms_norm_dx(xp: ModuleType) -> Callable[..., Array]:
    def dx(dout: Array, x: Array, square: Array, gamma: Array, epsilon: float, axis: int) -> Array:
        inverse = 1 / xp.sqrt(square + epsilon)
        normalized = x * inverse
        slope = gamma * dout
        through_square = xp.mean(slope * normalized, axis=axis, keepdims=True)
        return (slope - normalized * through_square) * inverse

    return dx


@along
def _rms_norm_sum(xp: ModuleType) -> Callable[..., Array]:
    """The gradient with respect to gamma, which is a sum over the samples."""
    return lambda dout, x, square, epsilon, axis: xp.sum(
        dout * x / xp.sqrt(square + epsilon), axis=axis, keepdims=True
    )
