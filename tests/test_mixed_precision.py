"""Networks that compute in half precision with parameters in single precision."""

import copy

import numpy as np
import pytest

from dlskills import (
    Adam,
    BatchNormalization,
    MultiLayerNet,
    MultiLayerNetExtend,
    Parameters,
    Trainer,
    load_mnist,
    to_host,
)
from dlskills.arrays.operations import sum_into

HALF = pytest.mark.backends("numpy", "torch", "cupy")


def make(backend, compute_dtype="float16", **options):
    return MultiLayerNetExtend(
        784, [20, 20], 10, seed=0, device=backend.device, xp=backend.xp, use_batchnorm=True,
        compute_dtype=compute_dtype, **options,
    )  # fmt: skip


def batch(backend):
    (x, t), _ = load_mnist(subset="sample")
    return backend.asarray(x[:40]), backend.asarray(t[:40])


@HALF
def test_parameters_gradients_loss_and_outputs_are_single_precision(backend):
    network, (x, t) = make(backend), batch(backend)
    loss, grads = network.loss_and_gradient(x, t)
    single = backend.dtype("float32")
    assert network.compute_dtype == backend.dtype("float16")
    assert network.params.dtype == grads.dtype == loss.dtype == single
    assert network.predict(x).dtype == single
    assert network.layers[0].params["W"].dtype == backend.dtype("float16")


@HALF
def test_results_match_single_precision_up_to_half_precision_rounding(backend):
    smooth = {"activation": "tanh"}  # rounding can flip a ReLU, which changes its gradient
    (x, t), half, single = batch(backend), make(backend, **smooth), make(backend, None, **smooth)
    loss, grads = half.loss_and_gradient(x, t)
    expected_loss, expected = single.loss_and_gradient(x, t)
    assert float(loss) == pytest.approx(float(expected_loss), rel=0.02)
    assert float(loss) != float(expected_loss)
    for name, grad in expected.items():
        if name in ("b1", "b2"):  # before Batch Norm, these are 0 up to rounding
            continue
        scale = np.abs(to_host(grad)).max()
        np.testing.assert_allclose(to_host(grads[name]), to_host(grad), atol=0.02 * scale)


@HALF
@pytest.mark.parametrize("shape", [(3000, 4), (40, 4, 12, 12)])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 300.0])  # squares underflow and overflow in half
def test_batch_norm_in_half_precision_keeps_single_precision_statistics(backend, shape, spread):
    if len(shape) == 4 and spread > 1:
        shape = (200, 4, 12, 12)  # their count can't be represented in half precision
    half, single = (_batch_norm(backend, dtype) for dtype in ("float16", "float32"))
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(shape) * spread).astype("float16")
    dout = rng.standard_normal(shape).astype("float16")
    for layer, dtype in ((half, "float16"), (single, "float32")):
        y = layer.forward(backend.asarray(x, dtype))
        dx = layer.backward(backend.asarray(dout, dtype))
        assert y.dtype == dx.dtype == backend.dtype(dtype)
        assert layer.running_mean.dtype == layer.running_var.dtype == backend.dtype("float32")
        layer.found = [to_host(a).astype("float64") for a in (y, dx, *layer.grads.values())]
    for mine, theirs in zip(half.found, single.found, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-3 * np.abs(theirs).max())
    for name in ("running_mean", "running_var"):
        mine, theirs = to_host(getattr(half, name)), to_host(getattr(single, name))
        # sums in different orders differ by the rounding of their largest terms
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7 * spread)
    at_inference = [
        to_host(layer.forward(backend.asarray(x, dtype), False)).astype("float32")
        for layer, dtype in ((half, "float16"), (single, "float32"))
    ]
    np.testing.assert_allclose(at_inference[0], at_inference[1], rtol=2e-3, atol=2e-3)


def _batch_norm(backend, dtype):
    layer = BatchNormalization(4)
    params = Parameters.from_shapes(
        {"gamma": (4,), "beta": (4,)}, dtype=dtype, device=backend.device, xp=backend.xp
    )
    params["gamma"] += 1
    layer.bind(params, params.zeros_like())
    return layer


@HALF
def test_bias_gradients_are_summed_in_single_precision(backend):
    ones = backend.zeros((5000, 3), "float16") + 1  # in half precision, 2048 + 1 is 2048
    out = backend.zeros((3,), "float16")
    sum_into(out, ones, axis=0)
    assert to_host(out).tolist() == [5000] * 3


@HALF
def test_small_steps_are_not_lost(backend):
    """1 + 1e-4 rounds to 1 in half precision, so only single precision keeps such steps."""
    network, (x, t) = make(backend), batch(backend)
    before = to_host(network.params["gamma1"]).copy()
    for _ in range(5):
        Adam(1e-5).update(network.params, network.gradient(x, t))
    assert (to_host(network.params["gamma1"]) != before).any()
    assert np.abs(to_host(network.params["gamma1"]) - before).max() < 5e-4


@pytest.mark.backends("torch", "cupy")  # NumPy takes minutes
def test_training_learns(backend):
    (x, t), (x_test, t_test) = load_mnist(subset="sample")
    trainer = Trainer(
        make(backend), x[:500], t[:500], x_test[:200], t_test[:200], epochs=10,
        optimizer="adam", optimizer_param={"lr": 0.003}, verbose=False,
    )  # fmt: skip
    assert trainer.x_train.dtype == backend.dtype("float16")
    trainer.train()
    assert trainer.test_acc > 0.7


@HALF
def test_the_loss_scale_keeps_small_gradients_from_underflowing(backend):
    x, t = batch(backend)
    scaled, unscaled = make(backend), make(backend, loss_scale=1)
    assert scaled.loss_scale == 1024
    for network in (scaled, unscaled):
        network.params["W3"] *= 1e-6  # gradients below it underflow: float16's minimum is 6e-8
    zeros = [np.mean(to_host(network.gradient(x, t)["W2"]) == 0) for network in (scaled, unscaled)]
    assert zeros[0] < 0.2 < 0.5 < zeros[1]


def test_the_loss_scale_does_not_change_single_precision_gradients(backend):
    x, t = batch(backend)
    one, two = (
        MultiLayerNet(784, [20], 10, seed=0, device=backend.device, xp=backend.xp, loss_scale=s)
        for s in (1, 2**10)
    )
    np.testing.assert_allclose(
        to_host(one.gradient(x, t).flat), to_host(two.gradient(x, t).flat), rtol=1e-5, atol=1e-8
    )


@HALF
def test_a_copied_network_with_weight_decay_takes_the_same_step(backend):
    x, t = batch(backend)
    network = make(backend, weight_decay_lambda=0.1)
    twin = copy.deepcopy(network)
    Adam().update(network.params, network.gradient(x, t))
    Adam().update(twin.params, twin.gradient(x, t))
    np.testing.assert_array_equal(to_host(twin.params.flat), to_host(network.params.flat))


@HALF
def test_the_numerical_gradient_is_computed_in_double_precision(backend):
    x = backend.asarray(np.random.default_rng(0).normal(size=(4, 3)), "float32")
    t = backend.asarray([0, 1, 1, 0])
    half, double = (
        MultiLayerNet(
            3, [4], 2, "tanh", "xavier", 0.1, seed=0, device=backend.device, xp=backend.xp, **dtypes
        )
        for dtypes in ({"compute_dtype": "float16"}, {"dtype": "float64"})
    )
    double.params = half.params
    numerical = half.numerical_gradient(x, t)
    for name, grad in double.gradient(x, t).items():
        assert numerical[name].dtype == backend.dtype("float64")
        np.testing.assert_allclose(to_host(numerical[name]), to_host(grad), rtol=1e-6, atol=1e-9)


@pytest.mark.backends("torch")
def test_bfloat16_on_pytorch(backend):
    network, (x, t) = make(backend, "bfloat16"), batch(backend)
    assert network.loss_scale == 1
    expected, _ = make(backend, None).loss_and_gradient(x, t)
    assert float(network.loss_and_gradient(x, t)[0]) == pytest.approx(float(expected), rel=0.05)


@pytest.mark.backends("numpy")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_dtype": "half16"}, "dtype 'half16' is not known to numpy"),
        ({"compute_dtype": "int32"}, "floating-point"),
        ({"compute_dtype": "float16", "loss_scale": 0}, "loss_scale must be .*greater than 0"),
    ],
)
def test_invalid_settings_are_rejected(backend, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        MultiLayerNet(3, [2], 2, **options)
