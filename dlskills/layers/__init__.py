"""Layers and losses."""

from dlskills.layers.activations import (
    ACTIVATIONS,
    ELU,
    GELU,
    SELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Swish,
    Tanh,
)
from dlskills.layers.affine import Affine
from dlskills.layers.base import Declared, Layer
from dlskills.layers.binary_cross_entropy import BinaryCrossEntropy
from dlskills.layers.cross_entropy import SoftmaxWithLoss
from dlskills.layers.dropout import Dropout
from dlskills.layers.layer_normalization import LayerNormalization, RMSNormalization
from dlskills.layers.losses import Loss, check_takes_weights
from dlskills.layers.normalization import BatchNormalization
from dlskills.layers.regression import (
    HuberLoss,
    MeanAbsoluteError,
    MeanSquaredError,
    RegressionLoss,
)
from dlskills.layers.softmax import Softmax
from dlskills.layers.targets import (
    check_class_count,
    check_labels,
    check_probabilities,
    check_target_rows,
    check_targets,
)

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Affine",
    "BatchNormalization",
    "BinaryCrossEntropy",
    "Declared",
    "Dropout",
    "HuberLoss",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "RMSNormalization",
    "ReLU",
    "RegressionLoss",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "SoftmaxWithLoss",
    "Softplus",
    "Swish",
    "Tanh",
    "check_class_count",
    "check_labels",
    "check_probabilities",
    "check_takes_weights",
    "check_target_rows",
    "check_targets",
]
