"""Losses for regression: values, gradients, outliers, half precision."""

import math

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import (
    Affine,
    HuberLoss,
    MeanAbsoluteError,
    MeanSquaredError,
    Sequential,
    Trainer,
    numerical_gradient,
    to_host,
)


def huber(error, delta):
    size = np.abs(error)
    return np.where(size <= delta, size**2 / 2, delta * (size - delta / 2))


LOSSES = {
    "squared": (MeanSquaredError(), lambda e: e**2),
    "absolute": (MeanAbsoluteError(), np.abs),
    "huber": (HuberLoss(), lambda e: huber(e, 1.0)),
    "huber, delta 0.3": (HuberLoss(0.3), lambda e: huber(e, 0.3)),
}
every_loss = pytest.mark.parametrize(("loss", "function"), LOSSES.values(), ids=LOSSES)


@every_loss
@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (1, 3), (2, 3, 2)])
def test_values_and_gradients(backend, loss, function, shape):
    x, t = normal(backend, *shape), normal(backend, *shape, seed=1)
    errors = to_host(x) - to_host(t)

    assert float(loss.forward(x, t)) == pytest.approx(function(errors).mean(), rel=1e-12)
    gradient = loss.backward()
    numerical = numerical_gradient(lambda: loss.forward(x, t), {"x": x})["x"]
    assert_same_gradient(gradient, numerical)


@every_loss
def test_the_gradient_at_an_error_of_0_is_0(backend, loss, function):
    x = normal(backend, 3, 2)
    assert float(loss.forward(x, x)) == 0
    assert not to_host(loss.backward()).any()


@pytest.mark.parametrize(("loss", "slope"), [(MeanAbsoluteError(), 1), (HuberLoss(0.5), 0.5)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_gradient_of_an_outlier_is_bounded(backend, loss, slope, dtype):
    x = backend.asarray([1e30, -1e30, math.inf, 0.0], dtype)
    value = float(loss.forward(x, backend.zeros((4,), dtype)))
    assert value == math.inf
    expected = [slope / 4, -slope / 4, slope / 4, 0]
    np.testing.assert_allclose(to_host(loss.backward()), expected, rtol=1e-6)


@every_loss
def test_nan_is_not_hidden(backend, loss, function):
    x = backend.asarray([math.nan, 1.0])
    assert math.isnan(float(loss.forward(x, backend.zeros((2,), "float64"))))
    gradient = to_host(loss.backward())
    assert math.isnan(gradient[0])
    assert np.isfinite(gradient[1])


@every_loss
@pytest.mark.parametrize("shape", [(40,), (40, 3), (40, 2, 3)])
def test_losses_match_pytorch(loss, function, shape):
    torch = pytest.importorskip("torch")
    theirs = {
        MeanSquaredError: lambda: torch.nn.MSELoss(),
        MeanAbsoluteError: lambda: torch.nn.L1Loss(),
        HuberLoss: lambda: torch.nn.HuberLoss(delta=loss.delta),
    }[type(loss)]()
    rng = np.random.default_rng(0)
    outputs, t = rng.standard_normal(shape) * 3, rng.standard_normal(shape)
    x = torch.tensor(outputs, requires_grad=True)
    value = theirs(x, torch.tensor(t))
    value.backward()
    assert float(loss.forward(outputs, t)) == pytest.approx(value.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(), x.grad.numpy(), rtol=1e-12, atol=1e-17)


@every_loss
def test_a_weight_of_0_leaves_out_targets_that_are_nan(backend, loss, function):
    x, t = normal(backend, 4, 3), to_host(normal(backend, 4, 3, seed=1)).copy()
    t[1] = math.nan
    weights = backend.asarray([1.0, 0.0, 2.0, 0.5])
    found = float(loss.forward(x, backend.asarray(t), weights))
    gradient = to_host(loss.backward())
    errors = function(to_host(x) - t).mean(axis=1)
    assert found == pytest.approx((errors[0] + 2 * errors[2] + 0.5 * errors[3]) / 4, rel=1e-12)
    assert not gradient[1].any()
    assert gradient[[0, 2, 3]].all()


@pytest.mark.backends("numpy", "torch", "cupy")
def test_half_precision_errors_are_squared_in_single_precision(backend):
    x = backend.zeros((2000, 5), "float16") + 300
    loss = MeanSquaredError()

    assert float(loss.forward(x, x - 200)) == 40_000
    np.testing.assert_allclose(to_host(loss.backward()), 2 * 200 / 10_000, rtol=1e-3)


def test_mean_squared_error_rejects_targets_of_another_shape(backend):
    with pytest.raises(ValueError, match=r"shape.*\(5, 3\), got \(5, 1\)$"):
        MeanSquaredError().forward(normal(backend, 5, 3), normal(backend, 5, 1))


@pytest.mark.parametrize("delta", [0, -1, math.nan])
def test_an_invalid_delta_is_rejected(delta):
    with pytest.raises(ValueError, match="^delta must be"):
        HuberLoss(delta)


@every_loss
def test_training_reports_no_accuracy_for_regression(loss, function):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 4)).astype("float32")
    t = (x @ rng.standard_normal((4, 2))).astype("float32")
    network = Sequential([Affine(4, 2)], loss, seed=0)
    before = float(network.loss(x, t))
    trainer = Trainer(network, x, t, x, t, epochs=5, mini_batch_size=20, verbose=False)
    trainer.train()
    assert float(network.loss(x, t)) < before
    assert np.isnan(trainer.train_acc_list).all()
    with pytest.raises(ValueError, match=r"t_train must have the outputs' shape \(60, 2\)"):
        Trainer(network, x, t[:, :1], x, t[:, :1])
