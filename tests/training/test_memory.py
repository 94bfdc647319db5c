"""A device without memory: what is said, and what survives."""

import contextlib

import numpy as np
import pytest

from dlskills import Adam, DeviceMemoryError, MultiLayerNet, Trainer, get_backend, to_host
from dlskills.training.memory import memory_explained


def trainer(backend, mini_batch_size=20, **options):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((60, 30), np.float32), rng.integers(3, size=60)
    device = "cuda" if backend.name == "cupy" else "cpu"
    network = MultiLayerNet(30, [2000], 3, device=device, seed=0)
    return Trainer(
        network, x, t, x, t, epochs=5, mini_batch_size=mini_batch_size, optimizer=Adam(),
        verbose=False, **options,
    )  # fmt: skip


@pytest.mark.backends("cupy")
@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            "gradient",
            r"for step 5 with mini_batch_size=20: Out of memory allocating [0-9,]+ bytes"
            r".*; make mini_batch_size smaller; parameters and history are as after step 4$",
        ),
        (
            "accuracy",
            r"for the accuracies after step 7: Out of memory allocating [0-9,]+ bytes"
            r".*; free some, and train\(\) goes on; parameters are as after that step$",
        ),
    ],
)
def test_parameters_and_history_survive(backend, device_counters, monkeypatch, where, message):
    import cupy

    undisturbed, training = trainer(backend), trainer(backend)
    undisturbed.train()
    done = {"gradient": 4, "accuracy": 6}[where]
    for _ in range(done):
        training.train_step()
    before = to_host(training.network.params.flat).copy()
    name = {"gradient": "loss_and_gradient", "accuracy": "accuracy"}[where]
    work = getattr(training.network, name)

    def starved(*args):
        filling = []
        with device_counters.memory_limit(device_counters.counters()["bytes_in_use"]):
            for size in (1 << 20, 1 << 14, 1 << 9):  # what CuPy keeps is taken, too
                with contextlib.suppress(cupy.cuda.memory.OutOfMemoryError):
                    while True:
                        filling.append(cupy.empty(size, "uint8"))
            return work(*args)

    monkeypatch.setattr(training.network, name, starved)
    with pytest.raises(DeviceMemoryError, match=rf"^cuda:0 \(CuPy\) has no memory left {message}"):
        training.train()
    if where == "gradient":
        np.testing.assert_array_equal(to_host(training.network.params.flat), before)
        assert training.train_loss_list == undisturbed.train_loss_list[:done]
    monkeypatch.undo()
    training.train()  # with memory again
    assert training.train_loss_list == undisturbed.train_loss_list
    assert training.train_acc_list == undisturbed.train_acc_list
    assert training.test_acc_list == undisturbed.test_acc_list
    assert training.test_acc == undisturbed.test_acc


@pytest.mark.backends("cupy")
def test_data_that_do_not_fit_are_named(backend, device_counters):
    in_use = device_counters.counters()["bytes_in_use"]
    x, t = np.ones((1000, 30_000), np.float32), np.zeros(1000, int)
    with device_counters.memory_limit(in_use + (64 << 20)):
        network = MultiLayerNet(30_000, [2], 3, device="cuda")
        with pytest.raises(DeviceMemoryError, match=r"the train data, \(1000, 30000\) numbers: .*; "
                           "give data_on_device=False"):  # fmt: skip
            Trainer(network, x, t, x, t, data_on_device=True)


@pytest.mark.parametrize(
    "error", [MemoryError("no more"), type("OutOfMemoryError", (RuntimeError,), {})("no\n  more.")]
)
def test_a_librarys_error_is_explained(error):
    with (
        pytest.raises(DeviceMemoryError, match=r"^cpu \(NumPy\) .* for it: no more; do that$"),
        memory_explained(get_backend(), "it", "do that"),
    ):
        raise error


def test_other_errors_come_through():
    with pytest.raises(KeyError), memory_explained(get_backend(), "it", "do that"):
        raise KeyError("x")
