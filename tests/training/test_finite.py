"""NaN and infinity in data: found once, with array and row."""

import numpy as np
import pytest

from dlskills import MeanSquaredError, MultiLayerNet, Trainer
from dlskills.training import finite
from dlskills.training.finite import check_finite


def check(array, dtype="float32"):
    check_finite("x_train", array, np.dtype(dtype), np)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(9,), (9, 3), (9, 2, 2, 2)])
@pytest.mark.parametrize("row", [0, 5, 8])
@pytest.mark.parametrize("rows_at_a_time", [1, 4, 100])
def test_the_first_bad_row_is_named(backend, monkeypatch, value, shape, row, rows_at_a_time):
    monkeypatch.setattr(finite, "_PART", 8 * rows_at_a_time * int(np.prod(shape[1:])))
    x = np.random.default_rng(0).normal(size=shape)
    check(backend.asarray(x, "float32"))
    x.reshape(9, -1)[row:, -1] = value
    with pytest.raises(
        ValueError, match=f"^x_train must be finite, got {value} in row {row}. Remove such rows"
    ):
        check(backend.asarray(x, "float32"))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool"])
def test_integers_are_finite(backend, dtype):
    check(backend.asarray(np.ones((3, 2), dtype)))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3)])
def test_no_elements_are_finite(backend, shape):
    check(backend.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("value", "dtype", "kind"), [(1e300, "float64", "float32"), (-7e4, "float32", "float16")]
)
def test_numbers_too_large_to_compute_with_are_distinguished(backend, value, dtype, kind):
    x = backend.asarray([[1.0], [value], [2.0]], dtype)
    check(x, dtype)
    with pytest.raises(
        ValueError, match=f"x_train must be finite, got .* in row 1, which is .* {kind}. Scale"
    ):
        check(x, kind)


def test_the_largest_numbers_are_finite():
    check(np.full((2, 2), np.finfo(np.float32).max))
    check(np.full((2, 2), np.finfo(np.float32).max, np.float64))
    check(np.full((2, 2), 65504, np.float16))


def test_half_precision_of_pytorch_is_looked_at_too():
    torch = pytest.importorskip("torch")
    x = torch.ones((4, 2), dtype=torch.bfloat16)
    check_finite("x_train", x, torch.bfloat16, torch)
    x[2, 1] = torch.nan
    with pytest.raises(ValueError, match="x_train must be finite, got nan in row 2"):
        check_finite("x_train", x, torch.bfloat16, torch)


@pytest.mark.backends("cupy")
def test_a_device_is_waited_for_once(backend, monkeypatch, device_counters):
    monkeypatch.setattr(finite, "_PART", 64)
    x = backend.zeros((1000, 4), "float32")
    with device_counters.counting() as added:
        check_finite("x_train", x, backend.dtype("float32"), backend.xp)
    assert added["copies_d2h"] == 1


# In a Trainer


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4))
    return {"x_train": x, "t_train": x[:, :2] * 2, "x_test": x.copy(), "t_test": x[:, :2] * 3}


@pytest.mark.parametrize("name", ["x_train", "t_train", "x_test", "t_test"])
@pytest.mark.parametrize("where", ["host", "device"])
def test_a_trainer_names_array_and_row(backend, name, where):
    arrays = data()
    arrays[name][7, 1] = np.nan
    if where == "device":
        arrays = {key: backend.asarray(array) for key, array in arrays.items()}
    network = MultiLayerNet(
        4, [3], 2, loss=MeanSquaredError(), device=backend.device, xp=backend.xp
    )
    with pytest.raises(
        ValueError, match=f"^{name} must be finite, got nan in row 7. Remove such rows, or"
    ):
        Trainer(network, **arrays, verbose=False)


def test_a_trainer_looks_at_what_the_network_computes_in():
    arrays = data()
    arrays["x_train"][3] = 1e200
    Trainer(MultiLayerNet(4, [3], 2, loss=MeanSquaredError(), dtype="float64"), **arrays)
    with pytest.raises(
        ValueError, match="x_train must be finite, got 1e.200 in row 3, which is infinite in"
    ):
        Trainer(MultiLayerNet(4, [3], 2, loss=MeanSquaredError()), **arrays)
    arrays = data()
    arrays["x_train"][2] = 1e5
    half = MultiLayerNet(4, [3], 2, loss=MeanSquaredError(), compute_dtype="float16")
    with pytest.raises(
        ValueError, match="x_train must be finite, got 100000.0 in row 2, .* infinite in float16"
    ):
        Trainer(half, **arrays)


def test_the_data_are_looked_at_once(monkeypatch):
    from dlskills.training import data_checks

    seen = []
    monkeypatch.setattr(data_checks, "check_finite", lambda name, *rest: seen.append(name))
    network = MultiLayerNet(4, [3], 2, loss=MeanSquaredError(), seed=0)
    Trainer(network, **data(), epochs=3, verbose=False).train()
    assert seen == ["x_train", "t_train", "x_test", "t_test"]
