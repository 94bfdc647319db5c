"""The book's shuffle_dataset, for every array library."""

import numpy as np
import pytest

from dlskills import backend_of, shuffle_dataset, to_host


def dataset(count=50, shape=(3,)):
    x = np.arange(count, dtype="float32").reshape(-1, *(1 for _ in shape)) + np.zeros(shape)
    return x.astype("float32"), np.arange(count)


def test_the_books_script_can_split_off_validation_data():
    x_train, t_train = dataset(500, (28, 28))
    validation_num = int(x_train.shape[0] * 0.20)
    x_train, t_train = shuffle_dataset(x_train, t_train)
    x_val, t_val = x_train[:validation_num], t_train[:validation_num]
    x_train, t_train = x_train[validation_num:], t_train[validation_num:]
    assert x_val.shape == (100, 28, 28)
    assert sorted([*t_val, *t_train]) == list(range(500))
    assert np.ptp(t_val) > 300  # spread over all the data
    np.testing.assert_array_equal(x_train[:, 3, 4], t_train)
    np.testing.assert_array_equal(x_val[:, 0, 0], t_val)


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 2)])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "uint16", "float32"])
def test_targets_stay_with_their_inputs(backend, shape, dtype):
    x, t = dataset(40, shape)
    here = backend.asarray(x), backend.asarray(t.astype(dtype))
    shuffled = shuffle_dataset(*here, seed=3)
    for before, after in zip(here, shuffled, strict=True):
        assert backend_of(after) == backend
        assert after.shape == before.shape
    assert shuffled[0].dtype == here[0].dtype
    order = to_host(shuffled[1]).astype(int)
    np.testing.assert_array_equal(to_host(shuffled[0]), x[order])
    assert sorted(order) == list(range(40))
    assert list(order) != list(range(40))
    np.testing.assert_array_equal(
        order, shuffle_dataset(x, t, seed=3)[1]
    )  # the same as on the host
    np.testing.assert_array_equal(to_host(here[1]).astype(int), t)  # a copy


def test_inputs_and_targets_may_be_on_different_devices(backend):
    x, t = dataset()
    shuffled_x, shuffled_t = shuffle_dataset(backend.asarray(x), t, seed=1)
    assert backend_of(shuffled_x) == backend
    assert type(shuffled_t) is np.ndarray
    np.testing.assert_array_equal(to_host(shuffled_x)[:, 0], shuffled_t)


def test_each_call_gives_a_new_order_unless_seeded():
    x, t = dataset()
    assert list(shuffle_dataset(x, t)[1]) != list(shuffle_dataset(x, t)[1])
    assert list(shuffle_dataset(x, t, seed=1)[1]) == list(shuffle_dataset(x, t, seed=1)[1])
    rng = np.random.default_rng(0)
    assert list(shuffle_dataset(x, t, seed=rng)[1]) != list(shuffle_dataset(x, t, seed=rng)[1])


@pytest.mark.parametrize(
    ("x", "t", "error", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2), ValueError, "the same number of samples, .* got 3 and 2$"),
        (np.zeros((0, 2)), np.zeros(0), ValueError, "at least one, got 0 and 0$"),
        ([[1.0]], np.zeros(1), TypeError, "x must be an array .* got a list. Convert it with"),
        (np.zeros((1, 2)), 1.0, TypeError, "t must be an array .* got a float"),
        (np.zeros((1, 2)), None, TypeError, "t must be an array .* got a NoneType"),
        (np.zeros(()), np.zeros(1), TypeError, "x must be an array with one row per sample"),
    ],
)
def test_invalid_data_is_refused(x, t, error, message):
    with pytest.raises(error, match=message):
        shuffle_dataset(x, t)


def test_an_invalid_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        shuffle_dataset(*dataset(), seed=-1)
