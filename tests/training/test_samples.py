"""Data on a device, or on the host with each batch copied ahead: the same training."""

import contextlib
import gc
import sys
import types
import weakref

import numpy as np
import pytest

from dlskills import MultiLayerNetExtend, Trainer, to_host
from dlskills.training.samples import SamplesOnDevice, StagedSamples, place_samples


def data(count=70, size=5, one_hot=False):
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=count)
    t = np.eye(3, dtype=np.float32)[labels] if one_hot else labels
    return rng.standard_normal((count, size), np.float32), t


def cuts(stop, batch_size=8):
    """Where batches begin and end."""
    return [(start, min(start + batch_size, stop)) for start in range(0, stop, batch_size)]


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
        bounds = [*cuts(56), (56, 57), (57, 65), (65, 70)]  # of any size up to the largest
        samples.start_epoch(order, bounds)
        for place, (start, stop) in enumerate(bounds):
            batch, labels = samples.batch(place)
            np.testing.assert_array_equal(to_host(batch), x[order[start:stop]])
            np.testing.assert_array_equal(to_host(labels), t[order[start:stop]])


def test_batches_on_the_device_are_those_of_the_order(backend):
    x, t = data()
    samples = make(backend, "on device", x, t)
    order = np.random.default_rng(0).permutation(70)
    samples.start_epoch(order, [(0, 16), (16, 20)])
    batch, labels = samples.batch(1)
    np.testing.assert_array_equal(to_host(batch), x[order[16:20]])
    np.testing.assert_array_equal(to_host(labels), t[order[16:20]])
    for rows in (slice(3, 9), np.array([2, 3, 50])):
        for part, whole in zip(samples.part(rows), (x, t), strict=True):
            np.testing.assert_array_equal(to_host(part), whole[rows])


@pytest.mark.backends("cupy")
@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "replacement"},
        {"sampling": "epoch"},
        {"sampling": "epoch", "remainder": "fold"},
        {"evaluate_sample_num_per_epoch": 11, "evaluate_samples": "random"},
    ],
)
def test_staged_training_is_the_same_training(backend, options):
    x, t = data()
    runs = []
    for on_device in (True, False):
        network = MultiLayerNetExtend(
            5, [6], 3, device="cuda", seed=0, use_dropout=True, use_batchnorm=True
        )
        trainer = Trainer(
            network, x, t, x, t, epochs=3, mini_batch_size=16, verbose=False,
            data_on_device=on_device, **options,
        )  # fmt: skip
        trainer.train()
        runs.append((trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc))
        np.testing.assert_array_equal(to_host(trainer.x_train), x)
    assert runs[0] == runs[1]


@pytest.mark.backends("cupy")
def test_staging_copies_each_batch_and_nothing_else(backend, device_counters):
    x, t = data()
    samples = make(backend, "staged", x, t)
    samples.start_epoch(np.arange(64), cuts(64))
    samples.batch(0)
    with device_counters.counting() as added:
        for place in range(1, 7):
            samples.batch(place)
    assert added["copies_h2d"] == 2 * 6
    assert added["copies_d2h"] == added["kernel_launches"] == 0


# Where the data go


@pytest.fixture
def no_spare_memory(monkeypatch):
    """CuPy without blocks that it keeps of what other tests have freed, and would use first."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    monkeypatch.setattr(cupy, "get_default_memory_pool", cupy.cuda.MemoryPool)


def place(backend, on_device=None, **parts):
    placed = place_samples(backend, parts, backend.dtype("float32"), 8, on_device)
    return [type(samples) for samples in placed]


@pytest.mark.backends("cupy")
def test_what_does_not_fit_is_staged(backend, device_counters, no_spare_memory):
    x, t = data(size=1000)
    assert place(backend, train=(x, t)) == [SamplesOnDevice]
    free = device_counters.counters()["bytes_in_use"] + x.nbytes  # half of it may be used
    with device_counters.memory_limit(free):
        assert place(backend, train=(x, t)) == [StagedSamples]
    assert place(backend, False, train=(x, t)) == [StagedSamples]


@pytest.mark.backends("cupy")
def test_parts_that_do_not_fit_together_are_all_staged(backend, device_counters, no_spare_memory):
    x, t = data(size=1000)
    free = device_counters.counters()["bytes_in_use"] + 3 * x.nbytes
    with device_counters.memory_limit(free):
        assert place(backend, train=(x, t)) == [SamplesOnDevice]
        assert place(backend, train=(x, t), test=(x, t)) == [StagedSamples] * 2


@pytest.mark.backends("cupy")
def test_data_on_the_device_stay_there_and_take_no_memory(
    backend, device_counters, no_spare_memory
):
    x, t = data(size=1000)
    there = backend.asarray(x), backend.asarray(t)
    free = device_counters.counters()["bytes_in_use"] + 3 * x.nbytes
    with device_counters.memory_limit(free):
        assert place(backend, train=there, test=(x, t)) == [SamplesOnDevice] * 2
        assert place(backend, train=there, test=(x, t), more=(x, t)) == [
            SamplesOnDevice, StagedSamples, StagedSamples,
        ]  # fmt: skip
        cast = there[0].astype("float64"), there[1]  # which is copied after all
        assert place(backend, train=cast, test=(x, t)) == [StagedSamples] * 2


def test_data_on_the_device_are_not_copied(backend):
    x, t = (backend.asarray(part) for part in data())
    [samples] = place_samples(backend, {"train": (x, t)}, backend.dtype("float32"), 8)
    assert samples.x is x
    assert samples.t is t


@pytest.mark.backends("numpy", "strict", "torch")
def test_on_the_host_nothing_is_staged(backend):
    assert place(backend, False, train=data(), test=data()) == [SamplesOnDevice] * 2


@pytest.mark.backends("cupy")
@pytest.mark.parametrize("rows", [slice(3, 9), np.array([2, 3, 50])])
def test_a_part_is_cast_on_the_host(backend, device_counters, rows):
    x, t = data(size=1000)
    samples = make(backend, "staged", x.astype("float64"), t)
    with device_counters.counting() as added:
        inputs, labels = samples.part(rows)
    assert inputs.dtype == np.float32
    assert added["kernel_launches"] == 0
    assert added["bytes_h2d"] == inputs.nbytes + labels.nbytes
    np.testing.assert_array_equal(to_host(inputs), x[rows])
    np.testing.assert_array_equal(to_host(labels), t[rows])


# Copies that are late: a device whose streams run as late as they may, or as early


class Stream:
    """Work is done when somebody has to wait for it; with `early`, as soon as it is given."""

    def __init__(self, early=False, non_blocking=True):
        self.early, self.work, self.done = early, [], 0

    def give(self, work):
        self.work.append(work)
        if self.early:
            self.synchronize()

    def wait_event(self, event):
        self.give(event.moment())

    def synchronize(self, until=None):
        while self.done < (len(self.work) if until is None else until):
            self.done += 1
            self.work[self.done - 1]()


class Event:
    moment_recorded = None

    def record(self, stream):
        self.moment_recorded = (stream, len(stream.work))

    def moment(self):
        stream, until = self.moment_recorded or (Stream(), 0)
        return lambda: stream.synchronize(until)

    def synchronize(self):
        self.moment()()


class DeviceArray(np.ndarray):
    def set(self, host, stream):
        # weak, as on a device a copy does not keep its memory from being used otherwise
        array, locked, count = weakref.ref(self.base), weakref.ref(host.base), len(self)

        def copy():
            assert array() is not None, "the copy's memory was freed before it ran"
            assert locked() is not None, "the copy's memory was freed before it ran"
            array()[:count] = locked()[:count]

        stream.give(copy)


@pytest.fixture
def device(monkeypatch):
    """A backend with a current stream `here`, and streams that `start` early or late."""
    device = types.SimpleNamespace(
        name="cupy", active=contextlib.nullcontext, asarray=np.asarray, here=Stream(), early=False
    )

    def empty(shape, dtype):
        return np.full(shape, -1, dtype).view(DeviceArray)

    fake = types.ModuleType("cupy")
    fake.cuda = types.SimpleNamespace(
        Stream=lambda non_blocking: Stream(device.early),
        Event=Event,
        get_current_stream=lambda: device.here,
    )
    fake.empty = empty
    pinned = types.ModuleType("cupyx")
    pinned.empty_pinned = empty
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setitem(sys.modules, "cupyx", pinned)
    return device


def run_epoch(device, samples, order, stop, seen):
    """Ask for batches of 8, and have the stream of the network look at each, some time."""
    samples.start_epoch(order, cuts(len(order)))
    for place, (start, end) in enumerate(cuts(stop)):
        batch = samples.batch(place)
        device.here.give(lambda batch=batch, rows=order[start:end]: seen.append(
            (rows, *(np.array(part) for part in batch))
        ))  # fmt: skip


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("stop", [70, 24])  # 24: the first epoch ends with a copy ahead under way
def test_no_copy_overtakes_another(device, early, stop):
    device.early, seen = early, []
    x, t = data()
    samples = StagedSamples(device, x, t, np.float32, 8)
    for seed in range(3):
        run_epoch(device, samples, np.random.default_rng(seed).permutation(70), stop, seen)
    device.here.synchronize()
    assert len(seen) == 3 * -(-stop // 8)
    for rows, inputs, labels in seen:
        np.testing.assert_array_equal(inputs, x[rows])
        np.testing.assert_array_equal(labels, t[rows])


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("failing", ["x", "t"])
@pytest.mark.parametrize("at", [0, 1, 2])  # the first batch, or the one ahead of that asked for
@pytest.mark.parametrize("then", [1, 2])
def test_after_an_error_the_batches_are_right(device, early, failing, at, then):
    device.early, seen = early, []
    x, t = data()
    samples = StagedSamples(device, x, t, np.float32, 8)
    whole = getattr(samples, failing)
    setattr(samples, failing, whole[: 8 * at + 4])  # as if memory were short just then
    samples.start_epoch(np.arange(70), cuts(70))
    if at == 2:
        samples.batch(0)
    with pytest.raises(IndexError):
        samples.batch(max(at - 1, 0))
    setattr(samples, failing, whole)
    for place in range(then, 8):
        batch = samples.batch(place)
        device.here.give(lambda batch=batch: seen.append([np.array(part) for part in batch]))
    device.here.synchronize()
    np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in seen]), x[8 * then : 64])
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in seen]), t[8 * then : 64])


def test_what_was_copied_ahead_is_not_of_the_next_epoch(device):
    x, t = data()
    samples = StagedSamples(device, x, t, np.float32, 8)
    samples.start_epoch(np.arange(70), cuts(70))
    samples.batch(0)
    samples.start_epoch(np.arange(70)[::-1], cuts(70))
    inputs, _ = samples.batch(1)
    device.here.synchronize()
    np.testing.assert_array_equal(inputs, x[::-1][8:16])


def test_work_given_before_ends_before_the_first_copies(device):
    """It may be with the memory that the samples' arrays now have."""
    done = []
    device.here.give(lambda: done.append(True))
    device.early = True
    samples = StagedSamples(device, *data(), np.float32, 8)
    samples.start_epoch(np.arange(8), cuts(8))  # nothing is copied ahead
    assert not done
    samples.batch(0)
    assert done


def test_memory_is_freed_after_the_copies(device):
    samples = StagedSamples(device, *data(), np.float32, 8)
    samples.start_epoch(np.arange(70), cuts(70))
    samples.batch(0)
    copies = samples._copies
    assert copies.done < len(copies.work)
    del samples
    gc.collect()
    assert copies.done == len(copies.work)


def test_what_was_not_made_is_no_trouble(device):
    with pytest.raises(TypeError):
        StagedSamples(device, *data(), np.float32, "8")
    gc.collect()  # an error there would be one of this test


@pytest.mark.parametrize(
    ("shape", "dtype", "rows"),
    [((784,), np.float32, 10_000), ((3, 224, 224), np.float16, 111), ((9_000_000,), np.float32, 1)],
)
def test_a_part_is_bounded_in_bytes(device, shape, dtype, rows):
    x = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.uint8), (300, *shape), (0,) * (1 + len(shape))
    )
    samples = StagedSamples(device, x, np.zeros(300, np.int64), dtype, 1)
    assert samples.rows_at_a_time == rows
