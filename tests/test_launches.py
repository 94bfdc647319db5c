"""Kernel launches per training step on a GPU, without copies or synchronization.

The stand-in counts kernels and library calls (for which a GPU runs kernels, too). The table in
docs/explanation/devices.md has the same numbers.
"""

import numpy as np
import pytest

from dlskills import (
    ELU,
    GELU,
    SELU,
    Affine,
    BatchNormalization,
    Dropout,
    HuberLoss,
    LayerNormalization,
    LeakyReLU,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiLayerNet,
    MultiLayerNetExtend,
    ReLU,
    RMSNormalization,
    Sigmoid,
    Softmax,
    SoftmaxWithLoss,
    Softplus,
    Swish,
    Tanh,
    Trainer,
)
from dlskills.optimizers import OPTIMIZERS

pytestmark = pytest.mark.backends("cupy")

LAYERS = {
    "Affine": (lambda: Affine(30, 30), 2, 3),
    "Affine without bias": (lambda: Affine(30, 30, bias=False), 1, 2),
    "ReLU": (ReLU, 1, 1),
    "LeakyReLU": (LeakyReLU, 1, 1),
    "Sigmoid": (Sigmoid, 1, 1),
    "Tanh": (Tanh, 1, 1),
    "GELU": (GELU, 1, 1),
    "approximate GELU": (lambda: GELU(approximate=True), 1, 1),
    "ELU": (ELU, 1, 1),
    "SELU": (SELU, 1, 1),
    "Softplus": (Softplus, 1, 1),
    "Swish": (Swish, 1, 1),
    "Softmax": (Softmax, 1, 1),
    "BatchNormalization": (lambda: BatchNormalization(30), 1, 1),
    "BatchNormalization without parameters": (lambda: BatchNormalization(30, affine=False), 1, 1),
    "LayerNormalization": (lambda: LayerNormalization(30), 1, 2),
    "RMSNormalization": (lambda: RMSNormalization(30), 1, 2),
    "Dropout": (lambda: Dropout(0.2), 1, 1),
}


def count(device_counters, work):
    work()  # compiles
    with device_counters.counting() as added:
        result = work()
    assert added["copies_h2d"] == added["copies_d2h"] == 0
    assert added["synchronizations"] == 0
    return added["kernel_launches"] + added["library_calls"], result


@pytest.mark.parametrize("name", LAYERS)
def test_number_of_launches_per_layer(backend, device_counters, name):
    from gradient_check import bind

    make, forward, backward = LAYERS[name]
    layer = bind(make(), backend, dtype="float32")
    x = backend.asarray(np.random.default_rng(0).standard_normal((20, 30)), "float32")
    assert count(device_counters, lambda: layer.forward(x))[0] == forward
    assert count(device_counters, lambda: layer.backward(x))[0] == backward


LOSSES = {
    "softmax": SoftmaxWithLoss,
    "capped softmax": lambda: SoftmaxWithLoss(1e-7),
    "softmax with options": lambda: SoftmaxWithLoss(label_smoothing=0.1, class_weights=[1] * 10),
    "squared": MeanSquaredError,
    "absolute": MeanAbsoluteError,
    "huber": HuberLoss,
}


@pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_loss_and_its_gradient_take_one_launch(backend, device_counters, make, weighted):
    loss = make()
    x = backend.asarray(np.random.default_rng(0).standard_normal((20, 10)), "float32")
    is_softmax = isinstance(loss, SoftmaxWithLoss)
    t = backend.asarray(np.arange(20) % 10) if is_softmax else x * 2
    weights = backend.asarray(np.linspace(0, 2, 20), "float32") if weighted else None
    assert count(device_counters, lambda: loss.forward(x, t, weights))[0] == 1
    assert count(device_counters, loss.backward)[0] == 0  # forward has computed the gradient


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("layers", [1, 6])
def test_an_update_takes_one_launch_for_any_number_of_layers(
    backend, device_counters, name, layers
):
    network = MultiLayerNet(20, [10] * layers, 5, device="cuda", seed=0)
    optimizer = OPTIMIZERS[name]()
    update = lambda: optimizer.update(network.params, network.grads)  # noqa: E731
    assert count(device_counters, update)[0] == 1


def trainer(**network):
    rng = np.random.default_rng(0)
    x, t = rng.random((600, 784), np.float32), rng.integers(10, size=600)
    network = MultiLayerNetExtend(784, [100] * 4, 10, device="cuda", seed=0, **network)
    return Trainer(
        network, x, t, x, t, optimizer="adam", optimizer_param={"lr": 0.001}, verbose=False,
        record_loss="before", mini_batch_size=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "launches"),
    [
        ({}, 28),
        ({"weight_decay_lambda": 0.01}, 29),
        ({"use_batchnorm": True, "use_dropout": True, "dropout_ratio": 0.2}, 52),
        ({"compute_dtype": "float16"}, 34),
        ({"compute_dtype": "float16", "use_batchnorm": True, "use_dropout": True}, 58),
    ],
)
def test_number_of_launches_per_training_step_with_adam(
    backend, device_counters, settings, launches
):
    training = trainer(**settings)
    training.train_step()  # the first step of an epoch evaluates
    assert count(device_counters, training.train_step)[0] == launches


def test_steps_between_evaluations_copy_nothing_and_do_not_wait(backend, device_counters):
    training = trainer(use_batchnorm=True, use_dropout=True, dropout_ratio=0.2)
    training.train_step()
    with device_counters.counting() as added:
        for _ in range(training.iter_per_epoch - 1):
            training.train_step()
    assert added["copies_h2d"] == added["copies_d2h"] == 0
    assert added["synchronizations"] == 0


def test_a_new_epoch_copies_only_its_order_to_the_device(backend, device_counters):
    training = trainer()
    training.evaluate_every = 1000  # no evaluation after the first
    training.train_step()
    with device_counters.counting() as added:
        for _ in range(training.iter_per_epoch - 1):
            training.train_step()
        training._update(
            None
        )  # the next epoch's first step, without the transfer of losses after it
    assert added["copies_h2d"] == 1
    assert added["bytes_h2d"] == 600 * 8
    assert added["copies_d2h"] == 0
