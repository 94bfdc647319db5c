"""Numbers on a device: appended without waiting, fetched together."""

import math
import weakref

import numpy as np
import pytest

from dlskills.training import device_numbers
from dlskills.training.device_numbers import DeviceNumbers


def test_numbers_come_in_order_as_floats(backend):
    losses = DeviceNumbers()
    assert losses.read() == []
    for number in (0.5, 2.0):
        losses.append(backend.asarray(np.float32(number)))
    assert losses.read() == [0.5, 2.0]
    losses.append(backend.asarray(np.float32(4.0)))
    assert losses.read() == [0.5, 2.0, 4.0]
    assert all(type(number) is float for number in losses.read())
    assert losses.read(1) == [2.0, 4.0]
    assert losses.read(-1) == [4.0]
    losses.append(backend.asarray(np.float32(8.0)))
    np.testing.assert_array_equal(losses.on_host(), [0.5, 2.0, 4.0, 8.0])


def test_what_is_not_read_stays_bounded(backend, monkeypatch):
    monkeypatch.setattr(device_numbers, "_AT_MOST", 4)
    losses, on_device = DeviceNumbers(), []
    for number in range(11):
        array = backend.asarray(float(number), "float32")
        on_device.append(weakref.ref(array))
        losses.append(array)
        del array
        assert sum(kept() is not None for kept in on_device) < 4
    assert len(losses) == 11
    assert losses.read() == [float(number) for number in range(11)]


@pytest.mark.parametrize("dtypes", [["float32"], ["float64"], ["float32", "float64", "float32"]])
def test_numbers_are_kept_exactly(backend, dtypes):
    numbers = [0.1, math.pi, 1e300, math.nan, -math.inf, 1e-45]
    losses, expected = DeviceNumbers(), []
    for dtype in dtypes:
        with np.errstate(over="ignore"):
            expected += np.asarray(numbers, dtype).tolist()
        for number in expected[-len(numbers) :]:
            losses.append(backend.asarray(number, dtype))
        np.testing.assert_array_equal(losses.read(), expected)
    np.testing.assert_array_equal(losses.on_host(), np.asarray(expected))
    np.testing.assert_array_equal(DeviceNumbers(expected).read(), expected)


@pytest.mark.backends("cupy")
def test_reading_is_one_transfer(backend, device_counters):
    losses = DeviceNumbers()
    numbers = [backend.asarray(np.float32(number)) for number in range(5)]
    with device_counters.counting() as added:
        for number in numbers:
            losses.append(number)
    assert added["copies_d2h"] == 0
    for expected in (1, 0):  # and none to read again
        with device_counters.counting() as added:
            losses.read()
        assert added["copies_d2h"] == expected
