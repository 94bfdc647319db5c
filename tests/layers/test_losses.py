"""Behavior that all losses share: device and dtype, and the weights of samples."""

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal
from hypothesis import given
from hypothesis import strategies as st

from dlskills import (
    Affine,
    BinaryCrossEntropy,
    HuberLoss,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    ReLU,
    Sequential,
    SoftmaxWithLoss,
    backend_of,
    engine,
    layers,
    to_host,
)
from dlskills.formulas import ENGINES

LOSSES = {
    "softmax": SoftmaxWithLoss,
    "capped softmax": lambda: SoftmaxWithLoss(0.1),
    "smoothed softmax": lambda: SoftmaxWithLoss(label_smoothing=0.1),
    "weighted softmax": lambda: SoftmaxWithLoss(class_weights=[0.5, 1, 2]),
    "binary": BinaryCrossEntropy,
    "squared": MeanSquaredError,
    "absolute": MeanAbsoluteError,
    "huber": lambda: HuberLoss(0.7),
}
every_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)


def batch(backend, make, count=5, dtype="float64", t_dtype="float64"):
    """Return outputs and targets that the loss takes."""
    columns = 1 if make is BinaryCrossEntropy else 3
    x = normal(backend, count, columns, dtype=dtype)
    rows = np.eye(3)[np.arange(count) % 3][:, :columns]
    return x, backend.asarray(rows, t_dtype)


def test_every_public_loss_is_tested():
    public = {value for value in vars(layers).values() if isinstance(value, type)}
    losses = {kind for kind in public if issubclass(kind, Loss)}
    assert losses - {Loss, layers.RegressionLoss} == {type(make()) for make in LOSSES.values()}


@every_loss
def test_backward_multiplies_by_dout(backend, make):
    loss = make()
    loss.forward(*batch(backend, make))

    np.testing.assert_allclose(
        to_host(loss.backward(2.5)), 2.5 * to_host(loss.backward()), rtol=1e-14
    )


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("t_dtype", "weights_dtype"),
    [
        ("float32", None), ("float64", "float32"), ("int64", "float64"), ("uint8", "int64"),
        ("uint8", "bool"),
    ],
)  # fmt: skip
def test_the_loss_stays_on_its_device_in_its_dtype(backend, make, dtype, t_dtype, weights_dtype):
    loss = make()
    weights = weights_dtype and backend.asarray([1, 0, 1, 1, 1], weights_dtype)
    value = loss.forward(*batch(backend, make, dtype=dtype, t_dtype=t_dtype), weights)

    assert tuple(value.shape) == ()
    for array in (value, loss.backward()):
        assert backend_of(array) == backend
        assert array.dtype == backend.dtype(dtype)


# Weights of samples


@every_loss
@pytest.mark.parametrize("count", [1, 2, 7, 1500])
def test_the_weighted_loss_is_the_mean_of_weight_times_loss(backend, make, count):
    loss, (x, t) = make(), batch(backend, make, count)
    host = np.linspace(0, 2, count) if count > 1 else np.array([1.5])
    weights = backend.asarray(host, "float64")
    found = float(loss.forward(x, t, weights))
    gradient = to_host(loss.backward()).copy()
    single = []
    for i in range(min(count, 7)):
        single.append(float(loss.forward(x[i : i + 1, ...], t[i : i + 1, ...])))
        expected = host[i] * to_host(loss.backward())[0] / count
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-9, atol=1e-16)
    if count <= 7:
        assert found == pytest.approx(np.mean(host * single), rel=1e-12)
    loss.forward(x, t)
    unweighted = to_host(loss.backward())
    np.testing.assert_allclose(gradient, unweighted * host[:, None], rtol=1e-9, atol=1e-16)


@every_loss
def test_weights_of_1_change_nothing(backend, make):
    loss, (x, t) = make(), batch(backend, make)
    plain, gradient = float(loss.forward(x, t)), to_host(loss.backward()).copy()
    weighted = float(loss.forward(x, t, backend.asarray(np.ones(5))))
    assert weighted == pytest.approx(plain, rel=1e-14)
    np.testing.assert_allclose(to_host(loss.backward()), gradient, rtol=1e-13, atol=1e-17)


@every_loss
@pytest.mark.backends("numpy", "cupy")
@given(st.integers(1, 300), st.integers(1, 40), st.booleans(), st.integers(0, 99))
def test_all_engines_agree(backend, make, count, classes, weighted, seed):
    rng, loss = np.random.default_rng(seed), make()
    if isinstance(loss, SoftmaxWithLoss):
        classes = 3 if loss.class_weights else max(classes, 2)
    classes = 1 if isinstance(loss, BinaryCrossEntropy) else classes
    x = rng.standard_normal((count, classes))
    rows = np.eye(classes)[rng.integers(0, classes, count)] * (rng.random((count, 1)) > 0.2)
    weights = backend.asarray(rng.random(count)) if weighted else None
    targets = [backend.asarray(rows)]
    if isinstance(loss, SoftmaxWithLoss):
        targets.append(backend.asarray(rng.integers(0, classes, count)))
    for t in targets:
        results = {}
        for name, made in ENGINES.items():
            if made.library in (None, backend.name) and made.missing() is None:
                with engine(name):
                    value = float(loss.forward(backend.asarray(x), t, weights))
                    results[name] = value, to_host(loss.backward()).copy()
        value, gradient = results["plain"]
        for name, (own, dx) in results.items():
            assert own == pytest.approx(value, rel=1e-11, abs=1e-14), name
            np.testing.assert_allclose(dx, gradient, rtol=1e-10, atol=1e-15, err_msg=name)


@every_loss
def test_weights_in_a_network(backend, make):
    network = Sequential(
        [Affine(4, 6), ReLU(), Affine(6, 1 if make is BinaryCrossEntropy else 3)], make(), 0.01,
        seed=0, dtype="float64", device=backend.device, xp=backend.xp,
    )  # fmt: skip
    network.params["b1"] = normal(backend, 6)
    x, (_, t) = normal(backend, 5, 4), batch(backend, make)
    weights = backend.asarray([0.0, 1.0, 2.0, 0.5, 3.0])
    loss, grads = network.loss_and_gradient(x, t, weights)
    assert float(loss) == pytest.approx(float(network.loss(x, t, weights=weights)), rel=1e-12)
    assert float(loss) != pytest.approx(float(network.loss(x, t)))
    grads = grads.copy()
    for name, expected in network.numerical_gradient(x, t, weights).items():
        assert_same_gradient(grads[name], expected, name)
    again = network.gradient(x, t, weights)
    np.testing.assert_array_equal(to_host(again.flat), to_host(grads.flat))


class WithoutWeights(Loss):
    """A loss that takes (x, t) only."""

    def forward(self, x, t):
        self._saved = 2 * (x - t)
        return ((x - t) ** 2).sum()

    def backward(self, dout=1.0):
        return dout * self._saved


def test_weights_for_a_loss_that_takes_none_are_rejected():
    network = Sequential([Affine(4, 3)], WithoutWeights(), seed=0)
    x, t = np.ones((5, 4)), np.zeros((5, 3))
    network.loss_and_gradient(x, t)
    network.loss(x, t)
    message = r"weights were given, but WithoutWeights.forward takes only \(x, t\). Define it as"
    for call in (network.loss, network.loss_and_gradient, network.gradient):
        with pytest.raises(TypeError, match=message):
            call(x, t, weights=np.ones(5))


@every_loss
@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(4), ValueError, r"one number per sample, shape \(5,\), got \(4,\)"),
        (np.ones((5, 1)), ValueError, r"one number per sample, shape \(5,\), got \(5, 1\)"),
        (np.array([1, 1, -1, 1, 1]), ValueError, "weights must be at least 0, got -1"),
        (np.array([1, 1, np.nan, 1, 1]), ValueError, "weights must be at least 0, got nan"),
        (np.array(["a"] * 5), TypeError, "weights must hold real numbers, got <U1"),
        ([1] * 5, TypeError, "weights must be an array, got a list"),
    ],
)
def test_invalid_weights_are_rejected(make, weights, error, message):
    backend = backend_of(np.zeros(1))
    with pytest.raises(error, match=message):
        make().forward(*batch(backend, make), weights)


@pytest.mark.backends("torch", "cupy")
def test_weights_of_another_library_are_rejected(backend):
    network = Sequential([Affine(4, 3)], device=backend.device, xp=backend.xp, seed=0)
    x, t = normal(backend, 5, 4, dtype="float32"), backend.asarray([0, 1, 2, 1, 0])
    with pytest.raises(TypeError, match="weights"):
        network.loss(x, t, weights=np.ones(5))


@pytest.mark.parametrize("loss", [MeanSquaredError, SoftmaxWithLoss])
def test_one_score_has_no_accuracy(backend, loss):
    y = backend.zeros((3, 1), "float32")
    for t in ([0, 0, 0], [[1], [1], [1]]):
        with pytest.raises(ValueError, match="accuracies need scores for at least 2 classes"):
            loss().correct(y, backend.asarray(np.array(t)))
