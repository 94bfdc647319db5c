"""Out-of-memory errors: their messages, and what survives."""

import contextlib

import numpy as np
import pytest

from dlskills import (
    Adam,
    DeviceMemoryError,
    MultiLayerNet,
    MultiLayerNetExtend,
    Trainer,
    get_backend,
    to_host,
)
from dlskills.optimizers import optimizer
from dlskills.training.memory import memory_explained


class Steps:
    """A monitor that counts, and needs memory for it."""

    def __init__(self):
        self.seen = 0

    def observe(self, x, t):
        self.seen += 1
        return x + 1


def trainer(backend, **options):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((60, 30), np.float32), rng.integers(3, size=60)
    network = MultiLayerNetExtend(
        30, [2000], 3, use_batchnorm=True, use_dropout=True, seed=0,
        device=backend.device, xp=backend.xp,
    )  # fmt: skip
    return Trainer(
        network, x, t, x, t, epochs=4, mini_batch_size=20, optimizer=Adam(), verbose=False,
        sampling="epoch", monitor=Steps(), **options,
    )  # fmt: skip


def outcome(training):
    layers = [layer.get_state() for layer in training.network.layers]
    return {
        "losses": training.train_loss_list,
        "accuracies": [training.train_acc_list, training.test_acc_list, training.test_acc],
        "parameters": to_host(training.network.params.flat).tolist(),
        "layers": [{k: to_host(v).tolist() for k, v in state.items()} for state in layers],
    }


GRADIENT = (
    r"for step {next} with mini_batch_size=20: .*\. Make mini_batch_size smaller. Parameters and "
    r"history are as after step {done}$"
)
LATER = r"for the {what} after step {next}: .*\. Free some, and train\(\) continues. .*that step$"
# what runs out of memory, after how many steps, and what is said
PLACES = {
    "gradient, first step": ("network", "loss_and_gradient", 0, GRADIENT),
    "gradient, first of an epoch": ("network", "loss_and_gradient", 6, GRADIENT),
    "gradient, last of an epoch": ("network", "loss_and_gradient", 5, GRADIENT),
    "update, first step": ("optimizer", "update", 0, GRADIENT),
    "update": ("optimizer", "update", 4, GRADIENT),
    "loss": ("network", "loss", 4, LATER.replace("{what}", "loss")),
    "loss, with accuracies due": ("network", "loss", 6, LATER.replace("{what}", "loss")),
    "monitor": ("monitor", "observe", 6, LATER.replace("{what}", "callbacks")),
    "accuracy": ("network", "accuracy", 6, LATER.replace("{what}", "accuracies")),
}


@pytest.mark.parametrize("record_loss", ["after", "before"])
@pytest.mark.parametrize("place", PLACES)
def test_after_an_error_training_goes_on_as_without_it(backend, monkeypatch, place, record_loss):
    owner, name, done, message = PLACES[place]
    if name == "loss" and record_loss == "before":
        pytest.skip("no loss is computed after the update")
    undisturbed, training = (trainer(backend, record_loss=record_loss) for _ in range(2))
    undisturbed.train()
    for _ in range(done):
        training.train_step()
    work = getattr(getattr(training, owner), name)

    def starved(*args, **options):
        if name == "loss" and options:  # a part of the gradient
            return work(*args, **options)
        if name != "update":  # which happens as a whole or not at all
            work(*args, **options)
        raise MemoryError("no more")

    monkeypatch.setattr(getattr(training, owner), name, starved)
    expected = message.format(done=done, next=done + 1)
    for _ in range(1 if name == "observe" else 2):
        with pytest.raises(DeviceMemoryError, match=rf"out of memory {expected}"):
            training.train()
    monkeypatch.undo()
    training.train()  # with memory again
    assert outcome(training) == outcome(undisturbed)
    assert training.monitor.seen == undisturbed.monitor.seen


def test_an_update_whose_second_pass_fails_is_not_made_twice(monkeypatch):
    def starved(*args):
        raise MemoryError("no more")

    training = trainer(get_backend())
    training.optimizer.max_weight_norm = 0.5
    training.train_step()
    monkeypatch.setattr(optimizer, "limit_norms", starved)
    with pytest.raises(DeviceMemoryError, match="Parameters are undefined; go on from a checkpo"):
        training.train_step()
    monkeypatch.undo()
    params = training.network.params.flat.copy()
    with pytest.raises(RuntimeError, match="step 2 was broken off within its update"):
        training.train()
    np.testing.assert_array_equal(training.network.params.flat, params)
    assert training.step == 1


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("place", PLACES)
def test_parameters_and_history_survive_on_a_device(backend, device_counters, monkeypatch, place):
    import cupy

    owner, name, done, message = PLACES[place]
    undisturbed, training = trainer(backend), trainer(backend)
    undisturbed.train()
    for _ in range(done):
        training.train_step()
    before = to_host(training.network.params.flat).copy()
    work = getattr(getattr(training, owner), name)

    def starved(*args, **options):
        if name == "loss" and options:  # a part of the gradient
            return work(*args, **options)
        filling = []
        with device_counters.memory_limit(device_counters.counters()["bytes_in_use"]):
            for size in (1 << 20, 1 << 14, 1 << 9):  # what CuPy keeps is taken, too
                with contextlib.suppress(cupy.cuda.memory.OutOfMemoryError):
                    while True:
                        filling.append(cupy.empty(size, "uint8"))
            return work(*args, **options)

    monkeypatch.setattr(getattr(training, owner), name, starved)
    if name == "update":  # one kernel in place, which needs no memory after the first
        try:
            training.train_step()
        except DeviceMemoryError:  # for the table of addresses, some kilobytes
            assert done == 0
            np.testing.assert_array_equal(to_host(training.network.params.flat), before)
    else:
        expected = message.format(done=done, next=done + 1).replace(": .*", ": Out of memory .*", 1)
        with pytest.raises(DeviceMemoryError, match=rf"^cuda:0 \(CuPy\) .* memory {expected}"):
            training.train()
        if message == GRADIENT:
            np.testing.assert_array_equal(to_host(training.network.params.flat), before)
    monkeypatch.undo()
    training.train()  # with memory again
    assert outcome(training) == outcome(undisturbed)


@pytest.mark.backends("cupy")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"data_on_device": True},
            r"the train data, \(1000, 30000\) numbers: .*\. Give data_on_device=False",
        ),
        (
            {"data_on_device": False, "mini_batch_size": 500},
            r"two batches of 500 of the train data, .*\. Make mini_batch_size smaller",
        ),
    ],
    ids=["on the device", "staged"],
)
def test_data_that_do_not_fit_are_named(backend, device_counters, options, message):
    in_use = device_counters.counters()["bytes_in_use"]
    x, t = np.ones((1000, 30_000), np.float32), np.zeros(1000, int)
    with device_counters.memory_limit(in_use + (64 << 20)):
        network = MultiLayerNet(30_000, [2], 3, device="cuda")
        with pytest.raises(DeviceMemoryError, match=message):
            Trainer(network, x, t, x, t, **options)


@pytest.mark.backends("cupy")
def test_a_state_that_does_not_fit_is_named(backend, device_counters):
    network = MultiLayerNet(3_000, [2_000], 3, device="cuda")  # whose state takes 48 MB
    x, t = np.ones((1, 3_000), np.float32), np.zeros(1, int)
    with (
        device_counters.memory_limit(device_counters.counters()["bytes_in_use"] + (8 << 20)),
        pytest.raises(DeviceMemoryError, match=r"memory for the state of Adam: .*\. Free some, or"),
    ):
        Trainer(network, x, t, x, t, optimizer="adam")


@pytest.mark.parametrize(
    "error", [MemoryError("no more"), type("OutOfMemoryError", (RuntimeError,), {})("no\n  more.")]
)
def test_a_librarys_error_is_explained(error):
    with (
        pytest.raises(
            DeviceMemoryError, match=r"^cpu \(NumPy\) is out of memory for it: no more\. Do that$"
        ),
        memory_explained(get_backend(), "it", "Do that"),
    ):
        raise error


def test_other_errors_come_through():
    with pytest.raises(KeyError), memory_explained(get_backend(), "it", "Do that"):
        raise KeyError("x")
