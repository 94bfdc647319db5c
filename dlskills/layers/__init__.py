"""Layers and losses."""

from dlskills.layers.activations import (
    ACTIVATIONS,
    GELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Tanh,
)
from dlskills.layers.affine import Affine
from dlskills.layers.base import Declared, Layer
from dlskills.layers.dropout import Dropout
from dlskills.layers.layer_normalization import LayerNormalization, RMSNormalization
from dlskills.layers.losses import (
    BinaryCrossEntropy,
    Loss,
    MeanSquaredError,
    SoftmaxWithLoss,
    check_labels,
    check_targets,
)
from dlskills.layers.normalization import BatchNormalization

__all__ = [
    "ACTIVATIONS",
    "GELU",
    "Activation",
    "Affine",
    "BatchNormalization",
    "BinaryCrossEntropy",
    "Declared",
    "Dropout",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Loss",
    "MeanSquaredError",
    "RMSNormalization",
    "ReLU",
    "Sigmoid",
    "SoftmaxWithLoss",
    "Tanh",
    "check_labels",
    "check_targets",
]
