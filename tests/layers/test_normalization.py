"""Batch Normalization."""

import contextlib

import numpy as np
import pytest
from gradient_check import assert_backward, assert_same_gradient, bind, normal

from dlskills import (
    Affine,
    BatchNormalization,
    Parameters,
    ReLU,
    Sequential,
    backend_of,
    engine,
    get_backend,
    to_host,
)

SHAPES = [(8, 3), (4, 3, 2, 2)]


def axes(x):
    return (0,) if len(x.shape) == 2 else (0, 2, 3)


def plain(layer, backend, dtype="float64"):
    """Bind the layer to gamma 1 and beta 0."""
    params = Parameters.from_shapes(
        {"gamma": (layer.size,), "beta": (layer.size,)},
        dtype=dtype,
        device=backend.device,
        xp=backend.xp,
    )
    params["gamma"] += 1
    layer.bind(params, params.zeros_like())
    return layer


def batches(backend, count, shape=(8, 3)):
    """Return batches with different means and variances."""
    return [normal(backend, *shape, seed=seed) * (1.0 + seed) + 2.0 * seed for seed in range(count)]


@pytest.mark.parametrize("shape", [*SHAPES, (2, 3), (1, 3, 2, 2)])
@pytest.mark.parametrize("settings", [{}, {"debias": False, "correction": 1, "epsilon": 0.1}])
def test_backward_in_training(backend, shape, settings):
    layer = bind(BatchNormalization(3, **settings), backend)
    assert_backward(layer, normal(backend, *shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_at_inference(backend, shape):
    layer = bind(BatchNormalization(3), backend)
    for batch in batches(backend, 2, shape):
        layer.forward(batch)
    assert_backward(layer, normal(backend, *shape, seed=9), train_flg=False)


@pytest.mark.parametrize("seen", [0, 2])
def test_backward_of_a_batch_of_one(backend, seen):
    layer = bind(BatchNormalization(3), backend)
    for batch in batches(backend, seen):
        layer.forward(batch)
    assert_backward(layer, normal(backend, 1, 3, seed=9))


@pytest.mark.parametrize("shape", SHAPES)
def test_output_has_mean_0_and_variance_1_before_gamma_and_beta(backend, shape):
    x = normal(backend, *shape) * 100 - 50
    y = to_host(plain(BatchNormalization(3, epsilon=1e-300), backend).forward(x))

    np.testing.assert_allclose(y.mean(axis=axes(y)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=axes(y)), 1, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("train_flg", [True, False])
def test_gamma_and_beta_scale_and_shift(backend, shape, train_flg):
    x = normal(backend, *shape)
    normalized = to_host(plain(BatchNormalization(3), backend).forward(x, train_flg))
    layer = bind(BatchNormalization(3), backend)
    gamma, beta = (
        to_host(layer.params[name]).reshape((1, 3) + (1,) * (len(shape) - 2))
        for name in ("gamma", "beta")
    )
    np.testing.assert_allclose(
        to_host(layer.forward(x, train_flg)), gamma * normalized + beta, rtol=1e-12
    )


def test_epsilon_is_added_to_the_variance(backend):
    x = backend.asarray([[-2.0], [2.0]])
    y = plain(BatchNormalization(1, epsilon=12), backend).forward(x)

    assert to_host(y).tolist() == [[-0.5], [0.5]]


def test_a_constant_feature_gives_beta(backend):
    y = plain(BatchNormalization(2), backend).forward(backend.zeros((8, 2), "float64") + 7.0)

    assert not to_host(y).any()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_running_averages_are_weighted_means(backend, shape, momentum):
    layer = plain(BatchNormalization(3, momentum), backend)
    seen = []
    for batch in batches(backend, 5, shape):
        layer.forward(batch)
        x = to_host(batch)
        seen.append((x.mean(axis=axes(x)), x.var(axis=axes(x))))
        weights = [momentum ** (len(seen) - 1 - i) for i in range(len(seen))]
        means, variances = (np.average(s, axis=0, weights=weights) for s in zip(*seen, strict=True))
        np.testing.assert_allclose(to_host(layer.running_mean), means, rtol=1e-12)
        np.testing.assert_allclose(to_host(layer.running_var), variances, rtol=1e-12)


def test_running_averages_without_debiasing_match_the_book(backend):
    layer = plain(BatchNormalization(3, debias=False), backend)
    mean = var = 0
    for batch in batches(backend, 5):
        layer.forward(batch)
        x = to_host(batch)
        mean = 0.9 * mean + 0.1 * x.mean(axis=0)
        var = 0.9 * var + 0.1 * x.var(axis=0)
    np.testing.assert_allclose(to_host(layer.running_mean), mean, rtol=1e-12)
    np.testing.assert_allclose(to_host(layer.running_var), var, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_correction_makes_the_running_variance_unbiased(backend, shape):
    layer = plain(BatchNormalization(3, correction=1), backend)
    (batch,) = batches(backend, 1, shape)
    layer.forward(batch)
    x = to_host(batch)

    np.testing.assert_allclose(to_host(layer.running_var), x.var(axis=axes(x), ddof=1), rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_training_and_inference_match_pytorch(shape):
    torch = pytest.importorskip("torch")
    ours = plain(
        BatchNormalization(3, epsilon=1e-5, debias=False, correction=1), get_backend("cpu")
    )
    theirs = (torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d)(
        3, momentum=0.1, eps=1e-5, dtype=torch.float64
    )
    # PyTorch's running averages start from a batch of mean 0 and variance 1
    ours.set_state({"batches": 1, "running_mean": np.zeros(3), "running_var": np.ones(3)})
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal(shape) * (1 + seed) + seed
        dout = np.random.default_rng(seed + 10).standard_normal(shape)
        tensor = torch.tensor(x, requires_grad=True)
        theirs.zero_grad()
        y = theirs(tensor)
        y.backward(torch.tensor(dout))
        np.testing.assert_allclose(ours.forward(x), y.detach().numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ours.backward(dout), tensor.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.grads["gamma"], theirs.weight.grad.numpy(), rtol=1e-9)
        np.testing.assert_allclose(ours.grads["beta"], theirs.bias.grad.numpy(), rtol=1e-9)
    np.testing.assert_allclose(ours.running_mean, theirs.running_mean.numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours.running_var, theirs.running_var.numpy(), rtol=1e-12)
    theirs.eval()
    np.testing.assert_allclose(
        ours.forward(x, False), theirs(torch.tensor(x)).detach().numpy(), rtol=1e-10
    )


def state(layer):
    return layer.batches, *(to_host(a).tolist() for a in (layer.running_mean, layer.running_var))


def test_inference_uses_the_running_averages_unchanged(backend):
    layer = plain(BatchNormalization(3), backend)
    for batch in batches(backend, 3):
        layer.forward(batch)
    before = state(layer)
    x = normal(backend, 5, 3, seed=9)
    y = layer.forward(x, train_flg=False)
    mean, var = to_host(layer.running_mean), to_host(layer.running_var)

    np.testing.assert_allclose(to_host(y), (to_host(x) - mean) / np.sqrt(var + 1e-6), rtol=1e-12)
    assert state(layer) == before


def test_a_batch_of_one_is_normalized_by_the_running_averages(backend):
    layer = plain(BatchNormalization(3), backend)
    x = normal(backend, 1, 3, seed=9)
    for batch in batches(backend, 2):
        before = state(layer)
        in_training, at_inference = layer.forward(x, True), layer.forward(x, False)
        np.testing.assert_array_equal(to_host(in_training), to_host(at_inference))
        assert to_host(in_training).all()
        assert state(layer) == before
        layer.forward(batch)


@pytest.mark.parametrize("debias", [True, False])
@pytest.mark.parametrize(("count", "train_flg"), [(5, False), (1, True)])
def test_before_the_first_batch_inference_is_nearly_the_identity(backend, debias, count, train_flg):
    x = normal(backend, count, 3)
    y = plain(BatchNormalization(3, debias=debias), backend).forward(x, train_flg)

    np.testing.assert_allclose(to_host(y), to_host(x), rtol=1e-6)


def test_restoring_the_state_restores_the_averages(backend):
    layer = plain(BatchNormalization(3), backend)
    first, second, third = batches(backend, 3)
    layer.forward(first)
    saved, expected = layer.get_state(), state(layer)
    layer.forward(second)
    assert state(layer) != expected
    for _ in range(2):
        layer.set_state(saved)
        assert state(layer) == expected
        layer.forward(third)


def test_a_state_may_have_another_dtype_and_device(backend):
    layer = plain(BatchNormalization(2), backend, "float32")
    layer.set_state({"batches": 3, "running_mean": np.ones(2), "running_var": np.full(2, 4.0)})
    layer.forward(normal(backend, 8, 2, dtype="float32"))

    assert layer.batches == 4
    assert layer.running_var.dtype == backend.dtype("float32")
    y = layer.forward(normal(backend, 8, 2, dtype="float32"), train_flg=False)
    assert y.dtype == backend.dtype("float32")


def test_per_element_statistics_of_images_as_in_the_book(backend):
    x = normal(backend, 8, 3, 2, 2)
    of_elements, of_rows = (
        plain(BatchNormalization(12), backend),
        plain(BatchNormalization(12), backend),
    )
    rows = backend.xp.reshape(x, (8, 12))
    y, y_rows = of_elements.forward(x), of_rows.forward(rows)
    assert tuple(y.shape) == (8, 3, 2, 2)
    np.testing.assert_array_equal(to_host(y).reshape(8, 12), to_host(y_rows))
    np.testing.assert_array_equal(
        to_host(of_elements.backward(x)).reshape(8, 12), to_host(of_rows.backward(rows))
    )
    assert_backward(bind(BatchNormalization(12), backend), x)


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (4, 3, 2, 2), (4,)])
def test_an_input_of_the_wrong_shape_is_rejected(backend, shape):
    with pytest.raises(ValueError, match=r"takes samples of shape \(2,\) or \(2, H, W\), or with"):
        plain(BatchNormalization(2), backend).forward(normal(backend, *shape))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"size": 2, "momentum": 1}, "momentum must be at least 0 and less than 1"),
        ({"size": 2, "epsilon": -1}, "epsilon must be greater than 0"),
        ({"size": 2, "correction": -1}, "correction must be at least 0"),
    ],
)
def test_invalid_settings_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchNormalization(**settings)


@pytest.mark.parametrize("value", [100.1, -7.3, 1234.567, 1e4 + 0.1])
@pytest.mark.parametrize(
    "shape", [(4096, 3), (10_000, 3), (200_000, 3), (500, 3, 4, 5), (20_000, 3, 2, 2)]
)
@pytest.mark.parametrize("name", ["plain", None])
def test_a_constant_feature_is_normalized_to_0(backend, value, shape, name):
    layer = bind(BatchNormalization(3), backend, dtype="float32")
    layer.params["gamma"], layer.params["beta"] = [1, 1, 1], [0, 0, 0]
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    x[:, 1] = value
    with engine(name) if name else contextlib.nullcontext():
        y = to_host(layer.forward(backend.asarray(x)))
    # the rounding error of the value itself remains, divided by the square root of epsilon
    assert np.max(np.abs(y[:, 1])) <= np.spacing(np.float32(abs(value))) / 1e-3
    assert np.std(y[:, 0]) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("epsilon", [0, 0.0, -1e-6])
def test_epsilon_must_be_positive(epsilon):
    # otherwise a feature that is constant over a batch would give 0 / 0
    with pytest.raises(ValueError, match=f"^epsilon must be greater than 0, got {epsilon}$"):
        BatchNormalization(3, epsilon=epsilon)


@pytest.mark.parametrize(("keyword", "own"), [("num_features", "size"), ("eps", "epsilon")])
def test_keywords_of_other_libraries_are_rejected_with_the_right_name(keyword, own):
    with pytest.raises(TypeError, match=f"has no argument '{keyword}'. Write {own}=..."):
        BatchNormalization(**{keyword: 3})


# Without gamma and beta


@pytest.mark.parametrize("shape", [*SHAPES, (1, 3)])
@pytest.mark.parametrize("train_flg", [True, False])
def test_without_parameters_values_are_those_of_gamma_1_and_beta_0(backend, shape, train_flg):
    layer, full = BatchNormalization(3, affine=False), plain(BatchNormalization(3), backend)
    assert layer.declare() == {}
    for batch in [*batches(backend, 2, (8, 3)), normal(backend, *shape, seed=9)]:
        y, y_full = (each.forward(batch, train_flg) for each in (layer, full))
        np.testing.assert_allclose(to_host(y), to_host(y_full), rtol=1e-12, atol=1e-14)
        dx, dx_full = (each.backward(batch) for each in (layer, full))
        np.testing.assert_allclose(to_host(dx), to_host(dx_full), rtol=1e-12, atol=1e-14)
    assert state(layer) == state(full)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward_without_parameters(backend, shape):
    assert_backward(BatchNormalization(3, affine=False), normal(backend, *shape))


@pytest.mark.parametrize("settings", [{"dtype": "float64"}, {"compute_dtype": "float16"}])
def test_a_network_without_gamma_and_beta(backend, settings):
    if "compute_dtype" in settings and backend.name == "array_api_strict":
        pytest.skip("the standard has no half precision")
    layers = [Affine(5, 4, bias=False), BatchNormalization(4, affine=False), ReLU(), Affine(4, 3)]
    network = Sequential(layers, seed=0, device=backend.device, xp=backend.xp, **settings)
    assert list(network.params) == ["W1", "W2", "b1"]
    wide = settings.get("dtype", "float32")
    assert layers[1].running_mean.dtype == backend.dtype(wide)
    assert backend_of(layers[1].running_mean) == backend
    x, t = normal(backend, 8, 5, dtype=wide), backend.asarray([0, 1, 2, 2, 1, 0, 0, 1])
    grads = network.gradient(x, t)
    if wide == "float64":
        for name, expected in network.numerical_gradient(x, t).items():
            assert_same_gradient(grads[name], expected, name)
    saved, before = network.state_dict(), state(layers[1])
    network.gradient(x * 2, t)
    assert state(layers[1]) != before
    network.load_state_dict(saved)
    assert state(layers[1]) == before


def test_affine_must_be_a_bool():
    with pytest.raises(TypeError, match="^affine must be True or False, got 1$"):
        BatchNormalization(3, affine=1)
