"""Checks of a layer's or loss's gradients against numerical gradients in float64."""

import numpy as np

from dlskills import Parameters, backend_of, numerical_gradient, to_host

TOLERANCE = 1e-6
NEGLIGIBLE = 1e-2  # minimum scale, for gradients that are 0 up to rounding errors


def assert_same_gradient(actual, expected, what="gradient"):
    actual, expected = to_host(actual), to_host(expected)
    assert actual.shape == expected.shape, what
    scale = max(np.linalg.norm(actual), np.linalg.norm(expected), NEGLIGIBLE)
    error = np.linalg.norm(actual - expected) / scale
    assert error < TOLERANCE, f"{what}: {error}"


def normal(backend, *shape, seed=0, dtype="float64"):
    """Return normal random numbers away from 0, where some derivatives jump."""
    values = np.random.default_rng(seed).standard_normal(shape)
    return backend.asarray(values + 0.1 * np.sign(values), dtype)


def bind(layer, backend, dtype="float64", seed=1):
    """Bind the layer to random parameters and to arrays for their gradients."""
    shapes = {name: declared.shape for name, declared in layer.declare().items()}
    if shapes:
        params = Parameters(
            {
                name: normal(backend, *shape, seed=seed, dtype=dtype)
                for name, shape in shapes.items()
            }
        )
        layer.bind(params, params.zeros_like())
    return layer


def assert_backward(layer, x, train_flg=True):
    """Check every gradient of `backward`, for a loss that weights the outputs randomly."""
    backend = backend_of(x)
    xp = backend.xp
    state = layer.get_state()

    def forward():
        layer.set_state(state)  # the same mask each time
        return layer.forward(x, train_flg)

    y = forward()
    weights = normal(backend, *y.shape, seed=2)
    dx = layer.backward(weights)
    assert_same_gradient(
        dx, numerical_gradient(lambda: xp.sum(forward() * weights), {"x": x})["x"], "x"
    )
    expected = numerical_gradient(lambda: xp.sum(forward() * weights), layer.params)
    for name, gradient in expected.items():
        assert_same_gradient(layer.grads[name], gradient, name)
