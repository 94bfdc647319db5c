r"""Initial values of parameters.

An initializer is a function of a shape and a random generator that returns a float64 NumPy array.
Values are drawn on the host, so every device starts from the same ones.

The names follow the literature, with one exception. The initializer that the tutorial (like Caffe)
calls *Xavier* uses only the fan-in, with standard deviation :math:`\sqrt{1/n}`, and so equals
LeCun's. The paper by Xavier Glorot uses the average of fan-in and fan-out; here that initializer is
named after his last name.

============================================  ====================================================
`xavier`, `lecun_normal`, `lecun_uniform`     variance 1 / fan_in
`glorot_normal`, `glorot_uniform`             variance 2 / (fan_in + fan_out)
`he`, `he_uniform`                            variance 2 / fan_in
============================================  ====================================================

A weight matrix has shape (fan_in, fan_out), as in an :class:`~dlskills.layers.Affine` layer.
"""

from dlskills.initializers.arguments import BY_NAME, check_initializer, weight_initializer
from dlskills.initializers.functions import (
    constant,
    glorot_normal,
    glorot_uniform,
    he,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    truncated_normal,
    uniform,
    values,
    xavier,
    zeros,
)
from dlskills.initializers.kinds import (
    Constant,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    Values,
    VarianceScaling,
    fans,
)

__all__ = [
    "BY_NAME",
    "Constant",
    "Identity",
    "Initializer",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "Values",
    "VarianceScaling",
    "check_initializer",
    "constant",
    "fans",
    "glorot_normal",
    "glorot_uniform",
    "he",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "values",
    "weight_initializer",
    "xavier",
    "zeros",
]
