"""Normalization of each sample by itself: LayerNorm and RMSNorm."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from dlskills.arrays.backend import Array, namespace
from dlskills.checks import check_count, check_number
from dlskills.formulas import along
from dlskills.initializers import constant, zeros
from dlskills.layers.base import Declared, Layer, saved
from dlskills.layers.normalization import mean_and_variance


class LayerNormalization(Layer):
    r"""Layer Normalization: the features of each sample to mean 0 and variance 1, then scaled.

    :math:`y = \gamma\, (x - \mu) / \sqrt{\sigma^2 + \varepsilon} + \beta`, with the mean and the
    variance over a sample's features: Ba, Kiros & Hinton (2016), "Layer normalization". It needs
    no batch, and behaves alike in training and at inference.

    Parameters
    ----------
    size : int
        The number of features: the length of the last axis of an input (N, ..., size).
    epsilon : float, default 1e-6
    """

    def __init__(self, size: int, epsilon: float = 1e-6) -> None:
        self.size = check_count("size", size)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def declare(self) -> dict[str, Declared]:
        return {
            "gamma": Declared((self.size,), constant(1.0)),
            "beta": Declared((self.size,), zeros()),
        }

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return _check_features(self, self.size, input_shape)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        shape = tuple(x.shape)
        self.output_shape(shape[1:])
        x = namespace(x).reshape(x, (-1, self.size))
        y, mean, var = _layer_norm(
            x, self.params["gamma"], self.params["beta"], self.epsilon, axis=1
        )
        self._saved = x, mean, var
        return namespace(y).reshape(y, shape)

    def backward(self, dout: Array) -> Array:
        x, mean, var = saved(self)
        shape = tuple(dout.shape)
        dout = namespace(dout).reshape(dout, x.shape)
        dx = _layer_norm_dx(dout, x, mean, var, self.params["gamma"], self.epsilon, axis=1)
        out = self.grads["gamma"], self.grads["beta"]
        _layer_norm_sums(dout, x, mean, var, self.epsilon, axis=0, out=out)
        return namespace(dx).reshape(dx, shape)

    def __repr__(self) -> str:
        return f"LayerNormalization({self.size}, epsilon={self.epsilon:g})"


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
    """The gradients by gamma and beta: sums over the samples."""

    def dgamma_and_dbeta(
        dout: Array, x: Array, mean: Array, var: Array, epsilon: float, axis: int
    ) -> tuple[Array, Array]:
        normalized = (x - mean) / xp.sqrt(var + epsilon)
        return (
            xp.sum(dout * normalized, axis=axis, keepdims=True),
            xp.sum(dout, axis=axis, keepdims=True),
        )

    return dgamma_and_dbeta


class RMSNormalization(Layer):
    r"""RMS Normalization: each sample divided by the root mean square of its features.

    :math:`y = \gamma\, x / \sqrt{\overline{x^2} + \varepsilon}`: Zhang & Sennrich (2019), "Root
    mean square layer normalization", equation 4.

    Parameters
    ----------
    size : int
        The number of features: the length of the last axis of an input (N, ..., size).
    epsilon : float, default 1e-6
    """

    def __init__(self, size: int, epsilon: float = 1e-6) -> None:
        self.size = check_count("size", size)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def declare(self) -> dict[str, Declared]:
        return {"gamma": Declared((self.size,), constant(1.0))}

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return _check_features(self, self.size, input_shape)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        shape = tuple(x.shape)
        self.output_shape(shape[1:])
        x = namespace(x).reshape(x, (-1, self.size))
        y, square = _rms_norm(x, self.params["gamma"], self.epsilon, axis=1)
        self._saved = x, square
        return namespace(y).reshape(y, shape)

    def backward(self, dout: Array) -> Array:
        x, square = saved(self)
        shape = tuple(dout.shape)
        dout = namespace(dout).reshape(dout, x.shape)
        dx = _rms_norm_dx(dout, x, square, self.params["gamma"], self.epsilon, axis=1)
        _rms_norm_sum(dout, x, square, self.epsilon, axis=0, out=(self.grads["gamma"],))
        return namespace(dx).reshape(dx, shape)

    def __repr__(self) -> str:
        return f"RMSNormalization({self.size}, epsilon={self.epsilon:g})"


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
    """The gradient by gamma: a sum over the samples."""
    return lambda dout, x, square, epsilon, axis: xp.sum(
        dout * x / xp.sqrt(square + epsilon), axis=axis, keepdims=True
    )


def _check_features(layer: Layer, size: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    if shape[-1:] != (size,):
        raise ValueError(
            f"{layer!r} takes samples whose last axis has {size} features, got {shape}"
        )
    return shape
