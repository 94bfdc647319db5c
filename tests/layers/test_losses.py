"""Losses: their values, exact for huge scores too, and their gradients."""

import math

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import MeanSquaredError, SoftmaxWithLoss, backend_of, numerical_gradient, to_host


def targets(backend, kind, dtype="float64"):
    labels = [2, 0, 1, 1, 2]
    if kind == "labels":
        return backend.asarray(labels)
    if kind == "one-hot":
        return backend.asarray(np.eye(3)[labels], dtype)
    smooth = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    return backend.asarray(smooth, dtype)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "probabilities"])
def test_cross_entropy(backend, kind):
    x, t, loss = normal(backend, 5, 3), targets(backend, kind), SoftmaxWithLoss()
    exps = np.exp(to_host(x))
    log_p = np.log(exps / exps.sum(axis=1, keepdims=True))
    rows = np.eye(3)[to_host(t)] if kind == "labels" else to_host(t)
    expected = -(log_p * rows).sum() / 5

    assert float(loss.forward(x, t)) == pytest.approx(expected, rel=1e-12)
    assert_same_gradient(
        loss.backward(), numerical_gradient(lambda: SoftmaxWithLoss().forward(x, t), {"x": x})["x"]
    )


@pytest.mark.parametrize("kind", ["labels", "one-hot", "probabilities"])
@pytest.mark.parametrize("epsilon", [1e-7, 0.1])
def test_cross_entropy_with_the_books_small_number_inside(backend, kind, epsilon):
    x, t, loss = normal(backend, 5, 3), targets(backend, kind), SoftmaxWithLoss(epsilon)
    exps = np.exp(to_host(x))
    p = exps / exps.sum(axis=1, keepdims=True)
    rows = np.eye(3)[to_host(t)] if kind == "labels" else to_host(t)
    expected = -(np.log(p + epsilon) * rows).sum() / 5

    assert float(loss.forward(x, t)) == pytest.approx(expected, rel=1e-12)
    differences = numerical_gradient(lambda: SoftmaxWithLoss(epsilon).forward(x, t), {"x": x})
    assert_same_gradient(loss.backward(), differences["x"])


def test_the_books_small_number_caps_the_loss(backend):
    x = backend.asarray([[1000.0, 0.0, 0.0]], "float32")
    t = backend.asarray([1])
    assert float(SoftmaxWithLoss().forward(x, t)) == 1000
    assert float(SoftmaxWithLoss(1e-7).forward(x, t)) == pytest.approx(16.118, abs=1e-3)
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        SoftmaxWithLoss(-1)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 3, 2)])
def test_mean_squared_error(backend, shape):
    x, t, loss = normal(backend, *shape), normal(backend, *shape, seed=1), MeanSquaredError()

    assert float(loss.forward(x, t)) == pytest.approx(((to_host(x) - to_host(t)) ** 2).mean())
    assert_same_gradient(
        loss.backward(), numerical_gradient(lambda: MeanSquaredError().forward(x, t), {"x": x})["x"]
    )


@pytest.mark.parametrize("loss", [SoftmaxWithLoss(), SoftmaxWithLoss(0.1), MeanSquaredError()])
def test_backward_multiplies(backend, loss):
    loss.forward(normal(backend, 5, 3), targets(backend, "one-hot"))

    np.testing.assert_allclose(
        to_host(loss.backward(2.5)), 2.5 * to_host(loss.backward()), rtol=1e-14
    )


@pytest.mark.parametrize("loss", [SoftmaxWithLoss(), SoftmaxWithLoss(0.1), MeanSquaredError()])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("t_dtype", ["float32", "float64", "int64", "uint8"])
def test_the_loss_stays_on_its_device_in_its_dtype(backend, loss, dtype, t_dtype):
    value = loss.forward(normal(backend, 5, 3, dtype=dtype), targets(backend, "one-hot", t_dtype))

    assert tuple(value.shape) == ()
    for array in (value, loss.backward()):
        assert backend_of(array) == backend
        assert array.dtype == backend.dtype(dtype)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
def test_labels_of_every_integer_dtype_are_as_good_as_one_hot(backend, dtype):
    x, loss = normal(backend, 5, 3, dtype="float32"), SoftmaxWithLoss()
    of_labels = loss.forward(x, backend.asarray([2, 0, 1, 1, 2], dtype))
    gradient = to_host(loss.backward())

    assert float(of_labels) == float(loss.forward(x, targets(backend, "one-hot", "float32")))
    np.testing.assert_array_equal(gradient, to_host(loss.backward()))


def test_the_number_of_classes_may_change(backend):
    loss, labels = SoftmaxWithLoss(), backend.asarray([0, 1])
    for classes in (3, 5, 2):
        value = loss.forward(backend.zeros((2, classes), "float64"), labels)
        assert float(value) == pytest.approx(math.log(classes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e4, 1e30])
def test_huge_scores_stay_finite_and_exact(backend, dtype, scale):
    x = backend.asarray([[scale, 0, -scale], [0, scale, 0], [-scale, -scale, -scale]], dtype)
    loss = SoftmaxWithLoss()
    right = float(loss.forward(x, backend.asarray([0, 1, 2])))
    assert right == pytest.approx(math.log(3) / 3, rel=1e-6)
    expected = np.asarray([[0, 0, 0], [0, 0, 0], [1 / 9, 1 / 9, -2 / 9]])
    np.testing.assert_allclose(to_host(loss.backward()), expected, atol=1e-7)

    wrong = float(loss.forward(x[:2, :], backend.asarray([2, 1])))
    assert wrong == pytest.approx(scale, rel=1e-6)  # (2 * scale + 0) / 2


def test_the_loss_of_a_sure_mistake_is_not_capped(backend):
    # the book adds 1e-7 inside the logarithm, which caps it at 16.1
    x = backend.asarray([[0.0, 100.0]], "float64")

    assert float(SoftmaxWithLoss().forward(x, backend.asarray([0]))) == pytest.approx(100)


def test_even_scores_cost_the_logarithm_of_the_classes(backend):
    x = backend.zeros((4, 10), "float64")

    assert float(SoftmaxWithLoss().forward(x, backend.asarray([0, 3, 6, 9]))) == pytest.approx(
        math.log(10)
    )


@pytest.mark.parametrize(
    ("t", "got"),
    [
        ([0, 1], r"int64 of shape \(2,\)"),
        ([0.0] * 5, r"float\d\d of shape \(5,\)"),
        ([[0, 1]] * 5, r"int64 of shape \(5, 2\)"),
        ([[0]] * 5, r"int64 of shape \(5, 1\)"),
        ([True] * 5, r"bool of shape \(5,\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused(backend, t, got):
    message = rf"integers of shape \(5,\) or one-hot of shape \(5, 3\), got .*{got}$"
    with pytest.raises(ValueError, match=message):
        SoftmaxWithLoss().forward(normal(backend, 5, 3), backend.asarray(t))


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
@pytest.mark.parametrize("label", [-1, 3, 1000])
def test_a_label_that_is_no_class_shows_as_nan(backend, epsilon, label):
    loss = SoftmaxWithLoss(epsilon)
    value = loss.forward(normal(backend, 3, 3), backend.asarray([0, label, 2]))
    dx = to_host(loss.backward())

    assert math.isnan(float(value))
    assert np.isnan(dx[1]).all()
    assert np.isfinite(dx[[0, 2]]).all()


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("epsilon", [0.0, 1e-7])
def test_half_precision_tells_thousands_of_classes_apart(backend, epsilon):
    x, labels = normal(backend, 3, 5000, dtype="float16"), [2049, 2051, 4999]
    results = []
    for scores in (x, backend.asarray(x, "float64")):
        loss = SoftmaxWithLoss(epsilon)
        value = loss.forward(scores, backend.asarray(labels))
        assert value.dtype == loss.backward().dtype == scores.dtype
        results.append((float(value), to_host(loss.backward())))
    (value, dx), (expected, expected_dx) = results

    assert value == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-3, atol=1e-7)
    assert (dx < 0).nonzero()[1].tolist() == labels


@pytest.mark.backends("numpy", "torch", "cupy")
def test_half_precision_squares_in_single(backend):
    x = backend.zeros((2000, 5), "float16") + 300
    loss = MeanSquaredError()

    assert float(loss.forward(x, x - 200)) == 40_000
    np.testing.assert_allclose(to_host(loss.backward()), 2 * 200 / 10_000, rtol=1e-3)


def test_targets_of_another_shape_are_refused(backend):
    with pytest.raises(ValueError, match=r"shape.*\(5, 3\), got \(5, 1\)$"):
        MeanSquaredError().forward(normal(backend, 5, 3), normal(backend, 5, 1))
