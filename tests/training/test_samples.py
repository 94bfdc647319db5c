"""Data on a device, or on the host with each batch copied ahead: the same training."""

import numpy as np
import pytest

from dlskills import MultiLayerNetExtend, Trainer, to_host
from dlskills.training.samples import SamplesOnDevice, StagedSamples, place_samples


def data(count=70, size=5, one_hot=False):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=count)
    t = np.eye(3, dtype=np.float32)[labels] if one_hot else labels
    return rng.standard_normal((count, size), np.float32), t


def make(backend, kind, x, t, batch_size=8):
    if kind == "staged":
        return StagedSamples(backend, x, t, backend.dtype("float32"), batch_size)
    return SamplesOnDevice(backend, x, t, backend.dtype("float32"))


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("one_hot", [True, False])
def test_staged_batches_are_those_of_the_order(backend, one_hot):
    x, t = data(one_hot=one_hot)
    samples = make(backend, "staged", x, t)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(70)
        samples.start_epoch(order)
        for start in range(0, 70, 8):
            stop = min(start + 8, 70)
            batch, labels = samples.batch(start, stop)
            np.testing.assert_array_equal(to_host(batch), x[order[start:stop]])
            np.testing.assert_array_equal(to_host(labels), t[order[start:stop]])


def test_batches_on_the_device_are_those_of_the_order(backend):
    x, t = data()
    samples = make(backend, "on device", x, t)
    order = np.random.default_rng(0).permutation(70)
    samples.start_epoch(order)
    batch, labels = samples.batch(16, 20)
    np.testing.assert_array_equal(to_host(batch), x[order[16:20]])
    np.testing.assert_array_equal(to_host(labels), t[order[16:20]])
    for part, whole in zip(samples.part(3, 9), (x, t), strict=True):
        np.testing.assert_array_equal(to_host(part), whole[3:9])


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
def test_staged_training_is_the_same_training(backend, sampling):
    x, t = data()
    runs = []
    for on_device in (True, False):
        network = MultiLayerNetExtend(
            5, [6], 3, device="cuda", seed=0, use_dropout=True, use_batchnorm=True
        )
        trainer = Trainer(
            network, x, t, x, t, epochs=3, mini_batch_size=16, sampling=sampling, verbose=False,
            data_on_device=on_device,
        )  # fmt: skip
        trainer.train()
        runs.append((trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc))
        np.testing.assert_array_equal(to_host(trainer.x_train), x)
    assert runs[0] == runs[1]


@pytest.mark.backends("cupy")
def test_staging_copies_each_batch_and_nothing_else(backend, device_counters):
    x, t = data()
    samples = make(backend, "staged", x, t)
    samples.start_epoch(np.arange(64))
    samples.batch(0, 8)
    with device_counters.counting() as added:
        for start in range(8, 56, 8):
            samples.batch(start, start + 8)
    assert added["copies_h2d"] == 2 * 6
    assert added["copies_d2h"] == added["kernel_launches"] == 0


@pytest.mark.backends("cupy")
def test_what_does_not_fit_is_staged(backend, device_counters):
    import cupy

    x, t = data(size=1000)
    dtype = backend.dtype("float32")
    assert isinstance(place_samples(backend, x, t, dtype, 8, None), SamplesOnDevice)
    cupy.get_default_memory_pool().free_all_blocks()
    free = device_counters.counters()["bytes_in_use"] + x.nbytes  # of which half may be taken
    with device_counters.memory_limit(free):
        assert isinstance(place_samples(backend, x, t, dtype, 8, None), StagedSamples)
    assert isinstance(place_samples(backend, x, t, dtype, 8, False), StagedSamples)


@pytest.mark.backends("numpy", "strict", "torch")
def test_on_the_host_nothing_is_staged(backend):
    x, t = data()
    samples = place_samples(backend, x, t, backend.dtype("float32"), 8, False)
    assert isinstance(samples, SamplesOnDevice)
