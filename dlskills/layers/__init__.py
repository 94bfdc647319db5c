"""Layers and losses."""

from dlskills.layers.activations import ACTIVATIONS, GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from dlskills.layers.affine import Affine
from dlskills.layers.base import Declared, Layer
from dlskills.layers.dropout import Dropout
from dlskills.layers.losses import (
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
    "Affine",
    "BatchNormalization",
    "Declared",
    "Dropout",
    "Layer",
    "LeakyReLU",
    "Loss",
    "MeanSquaredError",
    "ReLU",
    "Sigmoid",
    "SoftmaxWithLoss",
    "Tanh",
    "check_labels",
    "check_targets",
]
