"""The fully connected layer."""

from __future__ import annotations

import math
from typing import Any

from dlskills.arrays.backend import Array, namespace
from dlskills.arrays.operations import matmul_into, sum_into
from dlskills.checks import check_count, known_keywords
from dlskills.initializers import Initializer, weight_initializer, zeros
from dlskills.layers.base import Declared, Layer, saved


class Affine(Layer):
    r"""A fully connected layer, :math:`y = x W + b`.

    Its gradients are :math:`\partial L/\partial x = \partial L/\partial y\, W^T`,
    :math:`\partial L/\partial W = x^T\, \partial L/\partial y`, and
    :math:`\partial L/\partial b`, the sum of :math:`\partial L/\partial y` over the samples.

    Parameters
    ----------
    input_size, output_size : int
        W has shape (input_size, output_size) and b has shape (output_size,). An input of any
        shape (N, ...) is flattened to (N, input_size).
    weight_init_std : float, str, array or Initializer, default "relu"
        See :func:`~dlskills.initializers.weight_initializer`; "relu" is He initialization. Biases
        start at 0.
    bias : bool, default True
        Whether there is a b. It has no effect before Batch Norm, which subtracts the mean.
    """

    @known_keywords(
        {
            "in_features": "input_size=...",
            "out_features": "output_size=...",
            "units": "output_size=...",
            "init": 'weight_init_std="he"',
            "kernel_initializer": 'weight_init_std="he"',
            "use_bias": "bias=...",
        }
    )
    def __init__(
        self,
        input_size: int,
        output_size: int,
        weight_init_std: float | str | Array | Initializer = "relu",
        *,
        bias: bool = True,
    ) -> None:
        self.input_size = check_count("input_size", input_size)
        self.output_size = check_count("output_size", output_size)
        self.weight_init = weight_initializer(weight_init_std)
        if not isinstance(bias, bool):
            raise TypeError(f"bias must be True or False, got {bias!r}")
        self.bias = bias

    def declare(self) -> dict[str, Declared]:
        declared = {"W": Declared((self.input_size, self.output_size), self.weight_init)}
        if self.bias:
            declared["b"] = Declared((self.output_size,), zeros())
        return declared

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.input_size,)

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        if math.prod(input_shape) != self.input_size:
            raise ValueError(
                f"{self!r} takes {self.input_size} values per sample, got samples of shape "
                f"{input_shape}"
            )
        return (self.output_size,)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        y = self.product(x)
        if self.bias:
            y += self.params["b"]
        return y

    def backward(self, dout: Array) -> Array:
        dx = self.backward_product(dout)
        if self.bias:
            sum_into(self.grads["b"], dout, axis=0)
        return dx

    # With these methods, a network fuses the bias with the next activation.

    def product(self, x: Array) -> Array:
        """Return the output without the bias."""
        shape = x.shape
        if x.ndim != 2:
            x = namespace(x).reshape(x, (x.shape[0], self.input_size))
        self._saved = x, shape
        return x @ self.params["W"]

    def backward_product(self, dout: Array) -> Array:
        """Like `backward`, but without the gradient of the bias."""
        x, shape = saved(self)
        matmul_into(self.grads["W"], x.T, dout)
        if self.propagates:
            dx = dout @ self.params["W"].T
            return dx if len(shape) == 2 else namespace(dx).reshape(dx, shape)
        return None

    def settings(self) -> dict[str, Any]:
        return {
            "input_size": self.input_size,
            "output_size": self.output_size,
            "weight_init_std": self.weight_init,
            "bias": self.bias,
        }

    def __repr__(self) -> str:
        more = "" if self.bias else ", bias=False"
        return f"Affine({self.input_size}, {self.output_size}, {self.weight_init}{more})"
