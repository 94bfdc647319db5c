"""Numbers of a training: appended without waiting, fetched together."""

import numpy as np
import pytest

from dlskills.training.history import History


def test_numbers_come_in_order_as_floats(backend):
    history = History()
    assert history.read() == []
    for number in (0.5, 2.0):
        history.append(backend.asarray(np.float32(number)))
    assert history.read() == [0.5, 2.0]
    history.append(backend.asarray(np.float32(4.0)))
    assert history.read() == [0.5, 2.0, 4.0]
    assert all(type(number) is float for number in history.read())


@pytest.mark.backends("cupy")
def test_reading_is_one_transfer(backend, device_counters):
    history = History()
    numbers = [backend.asarray(np.float32(number)) for number in range(5)]
    with device_counters.counting() as added:
        for number in numbers:
            history.append(number)
    assert added["copies_d2h"] == 0
    for expected in (1, 0):  # and none to read again
        with device_counters.counting() as added:
            history.read()
        assert added["copies_d2h"] == expected
