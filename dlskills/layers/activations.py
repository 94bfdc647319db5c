"""All activation functions, and their names."""

from __future__ import annotations

from dlskills.layers.activation import Activation
from dlskills.layers.gates import GELU, SiLU, Swish
from dlskills.layers.rectifiers import ELU, SELU, LeakyReLU, ReLU, Softplus
from dlskills.layers.sigmoids import Sigmoid, Tanh

__all__ = [
    "ACTIVATIONS", "ELU", "GELU", "SELU", "Activation", "LeakyReLU", "ReLU", "SiLU", "Sigmoid",
    "Softplus", "Swish", "Tanh",
]  # fmt: skip

ACTIVATIONS: dict[str, type[Activation]] = {
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "gelu": GELU,
    "elu": ELU,
    "selu": SELU,
    "swish": Swish,
    "silu": SiLU,
    "softplus": Softplus,
}
"""The names that :class:`~dlskills.MultiLayerNet` takes for its argument `activation`."""
