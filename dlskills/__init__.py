"""dlskills: a small deep-learning framework for studying how networks train.

It provides optimizers, weight initialization, Batch Normalization, weight decay and Dropout. Each
formula is written once and runs on NumPy, CuPy, PyTorch and any other library that follows the
Python Array API standard.
"""

import importlib
from typing import Any

from dlskills import initializers, moved
from dlskills.arrays.backend import Backend, backend_of, get_backend, namespace, to_device, to_host
from dlskills.arrays.cuda import DeviceError
from dlskills.arrays.parameters import Parameters
from dlskills.data import Batches, load_mnist, shuffle_dataset
from dlskills.files import FileFormatError
from dlskills.formulas import EngineMissingError, along, elementwise, engine
from dlskills.gradients import numerical_gradient, relative_error
from dlskills.layers import (
    ELU,
    GELU,
    SELU,
    Activation,
    Affine,
    BatchNormalization,
    BinaryCrossEntropy,
    Declared,
    Dropout,
    HuberLoss,
    Layer,
    LayerNormalization,
    LeakyReLU,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    ReLU,
    RMSNormalization,
    Sigmoid,
    SiLU,
    Softmax,
    SoftmaxWithLoss,
    Softplus,
    Swish,
    Tanh,
)
from dlskills.networks import MultiLayerNet, MultiLayerNetExtend, Sequential, load, register
from dlskills.optimizers import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    Adamax,
    AdamW,
    Adan,
    AMSGrad,
    Lion,
    Momentum,
    NAdam,
    Nesterov,
    Optimizer,
    RAdam,
    RMSprop,
    Yogi,
    make_optimizer,
    schedules,
)
from dlskills.optimizers.clipping import clip_factor
from dlskills.plotting import smooth_curve
from dlskills.training import DeviceMemoryError, DivergedError, Trainer

__version__ = "0.1.0"

moved.install()


def __getattr__(name: str) -> Any:
    if name == "diagnostics":  # imported on first access, to keep `import dlskills` fast
        return importlib.import_module("dlskills.diagnostics")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [  # noqa: RUF022 - by subject
    # update rules
    "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "AdaDelta",
    "Adam", "AdamW", "AMSGrad", "NAdam", "Adamax", "RAdam", "Yogi", "Adan", "Lion",
    "Optimizer", "make_optimizer", "schedules", "clip_factor",
    # layers and losses
    "Affine", "BatchNormalization", "LayerNormalization", "RMSNormalization", "Dropout",
    "ReLU", "LeakyReLU", "ELU", "SELU", "Softplus", "Sigmoid", "Tanh", "GELU", "Swish", "SiLU",
    "Softmax", "SoftmaxWithLoss", "BinaryCrossEntropy", "MeanSquaredError", "MeanAbsoluteError",
    "HuberLoss", "Layer", "Activation", "Loss", "Declared",
    # formulas and engines
    "elementwise", "along", "engine", "EngineMissingError",
    # networks
    "Sequential", "MultiLayerNet", "MultiLayerNetExtend", "Parameters", "initializers",
    "numerical_gradient", "relative_error", "load", "register", "FileFormatError",
    # data and training
    "load_mnist", "shuffle_dataset", "Batches", "Trainer", "DivergedError", "diagnostics",
    "smooth_curve",
    # arrays, backends and devices
    "get_backend", "Backend", "backend_of", "namespace", "to_device", "to_host", "DeviceError",
    "DeviceMemoryError",
]  # fmt: skip
