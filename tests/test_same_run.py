"""Training on the host and on a GPU gives the same values at every step.

The largest difference, relative to a tensor's largest value, is at most 1e-5 in float32 and 1e-12
in float64.
"""

import contextlib

import numpy as np
import pytest

from dlskills import (
    GELU,
    Affine,
    BatchNormalization,
    Dropout,
    HuberLoss,
    MeanSquaredError,
    MultiLayerNetExtend,
    Sequential,
    SoftmaxWithLoss,
    Swish,
    Tanh,
    engine,
    load_mnist,
    make_optimizer,
    schedules,
    to_host,
)
from dlskills.optimizers import OPTIMIZERS

pytestmark = pytest.mark.backends("cupy")

STEPS, BATCH = 50, 50
TOLERANCES = {"float32": 1e-5, "float64": 1e-12}
MODIFIED = {"weight_decay": 0.01, "clip_norm": 0.5, "clip_value": 0.05, "grad_scale": 0.7}
# At RMSprop's default rate of 0.01, the first step changes every weight by 0.1. Training is then
# unstable, and rounding differences grow tenfold in a few steps.
SETTINGS = {"rmsprop": {"lr": 0.001}}


def extended(**options):
    return lambda **device: MultiLayerNetExtend(784, [20, 20], 10, seed=0, **options, **device)


def layers(make, loss=None):
    return lambda **device: Sequential(make(), loss, seed=1, **device)


NETWORKS = {
    **{
        name: extended(activation=name)
        for name in (
            "relu",
            "leakyrelu",
            "sigmoid",
            "tanh",
            "gelu",
            "elu",
            "selu",
            "swish",
            "softplus",
        )
    },
    "Batch Norm": extended(use_batchnorm=True),
    "Dropout": extended(use_dropout=True, dropout_ratio=0.3),
    "weight decay": extended(weight_decay_lambda=0.1),
    "the other forms": layers(
        lambda: [
            Affine(784, 20, "glorot_uniform"),
            BatchNormalization(20, correction=1, debias=False),
            GELU(),
            Dropout(0.2, inverted=True),
            Affine(20, 10),
        ],
        SoftmaxWithLoss(epsilon=1e-7),
    ),
    "label smoothing and class weights": layers(
        lambda: [
            Affine(784, 20, bias=False),
            BatchNormalization(20, affine=False),
            Swish(),
            Affine(20, 10),
        ],
        SoftmaxWithLoss(label_smoothing=0.1, class_weights=[0.5, 1.5] * 5),
    ),
    "Huber loss": layers(lambda: [Affine(784, 20), Tanh(), Affine(20, 10)], HuberLoss(0.5)),
    "squared error": layers(lambda: [Affine(784, 20), Tanh(), Affine(20, 10)], MeanSquaredError()),
    "one-hot": extended(),
}
ONE_HOT = ("Huber loss", "squared error", "one-hot")


@pytest.fixture(scope="module")
def batches():
    (x, t), _ = load_mnist(subset="sample")
    rows = np.random.default_rng(0).integers(len(x), size=(STEPS, BATCH))
    return [(x[own], t[own]) for own in rows]


def states(network, optimizer, batches, dtype, forced, one_hot):
    """Yield the loss, the gradient and the parameters after each step, on the host."""
    asarray = network.backend.asarray
    for x, t in batches:
        t = np.eye(10)[t] if one_hot else t
        loss, grads = network.loss_and_gradient(asarray(x, dtype), asarray(t))
        gradient = to_host(grads.flat).copy()
        with engine(forced) if forced else contextlib.nullcontext():
            optimizer.update(network.params, grads)
        yield {
            "loss": float(loss),
            "gradient": gradient,
            "parameters": to_host(network.params.flat).copy(),
        }


def assert_same_run(make, make_optimizer, batches, dtype, forced=None, one_hot=False):
    host, here = (
        states(
            make(device=device, dtype=dtype), make_optimizer(), batches, dtype,
            forced if device == "cuda" else None, one_hot,
        )
        for device in ("cpu", "cuda")
    )  # fmt: skip
    for step, (ours, theirs) in enumerate(zip(host, here, strict=True), 1):
        for name, values in ours.items():
            assert np.all(np.isfinite(values))
            error = np.max(np.abs(values - theirs[name])) / np.max(np.abs(values))
            assert error <= TOLERANCES[dtype], f"step {step}, {name}: {error:.2g}"


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_the_same_on_host_and_gpu(backend, batches, dtype, name):
    sgd = lambda: make_optimizer("sgd", lr=0.01)  # noqa: E731
    assert_same_run(NETWORKS[name], sgd, batches, dtype, one_hot=name in ONE_HOT)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("forced", "modifiers"),
    [("plain", {}), ("cuda", {}), ("cuda", MODIFIED)],
    ids=["plain", "cuda", "cuda, modified"],
)
def test_optimizers_train_the_same_on_host_and_gpu(
    backend, batches, dtype, name, forced, modifiers
):
    settings = SETTINGS.get(name.lower(), {})
    make = lambda: make_optimizer(name, **settings, **modifiers)  # noqa: E731
    assert_same_run(extended(activation="tanh"), make, batches, dtype, forced)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_schedules_train_the_same_on_host_and_gpu(backend, batches, dtype):
    rate = schedules.Warmup(10, schedules.CosineDecay(0.01, steps=STEPS))
    make = lambda: make_optimizer("adam", lr=rate)  # noqa: E731
    assert_same_run(extended(activation="tanh"), make, batches, dtype)
