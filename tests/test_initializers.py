"""Distributions of the initial values, within the error of sampling."""

import math

import numpy as np
import pytest

from dlskills import Affine, Declared, Layer, MultiLayerNet, Sequential, initializers, to_host
from dlskills.arrays.random import stream
from dlskills.layers import ACTIVATIONS

# With 4 million values, the standard error of a variance is 0.07 % (normal) or 0.045 % (uniform),
# so a variance that is off by 1 % fails. The fans differ, so that the wrong one fails, too.
FAN_IN, FAN_OUT = 2500, 1600
VARIANCE = {
    "xavier": 1 / FAN_IN,
    "he": 2 / FAN_IN,
    "he_uniform": 2 / FAN_IN,
    "glorot_normal": 2 / (FAN_IN + FAN_OUT),
    "glorot_uniform": 2 / (FAN_IN + FAN_OUT),
    "lecun_normal": 1 / FAN_IN,
    "lecun_uniform": 1 / FAN_IN,
}
OF_FAN_OUT = {"xavier": 1 / FAN_OUT, "he": 2 / FAN_OUT, "he_uniform": 2 / FAN_OUT}


def draw(initializer, shape=(FAN_IN, FAN_OUT)):
    return initializer(shape, np.random.default_rng(0))


def assert_distribution(values, variance, uniform):
    n = values.size
    assert abs(values.mean()) < 4 * np.sqrt(variance / n)
    kurtosis = 9 / 5 if uniform else 3
    standard_error = variance * np.sqrt((kurtosis - 1) / n)
    assert abs(values.var() - variance) < 4 * standard_error
    assert abs((values**4).mean() / values.var() ** 2 - kurtosis) < 0.1
    if uniform:
        limit = np.sqrt(3 * variance)
        assert 0.999 * limit < np.abs(values).max() <= limit


@pytest.mark.parametrize(("name", "variance"), VARIANCE.items())
def test_variance_follows_the_paper(name, variance):
    values = draw(getattr(initializers, name)())

    assert values.shape == (FAN_IN, FAN_OUT)
    assert values.dtype == np.float64
    assert_distribution(values, variance, uniform=name.endswith("uniform"))


@pytest.mark.parametrize(("name", "variance"), OF_FAN_OUT.items())
def test_mode_fan_out(name, variance):
    initializer = getattr(initializers, name)(mode="fan_out")

    assert_distribution(draw(initializer), variance, uniform=name.endswith("uniform"))
    assert repr(initializer) == f"{name}(mode='fan_out')"
    assert getattr(initializers, name)(mode="fan_in") == getattr(initializers, name)()
    with pytest.raises(ValueError, match=r"^mode 'fan_oot' is not known; did you mean 'fan_out'"):
        getattr(initializers, name)(mode="fan_oot")


@pytest.mark.parametrize("factor", [0.99, 1.01])
@pytest.mark.parametrize("name", ["he", "he_uniform"])
def test_a_variance_off_by_1_percent_is_detected(name, factor):
    values = draw(getattr(initializers, name)()) * np.sqrt(factor)

    with pytest.raises(AssertionError):
        assert_distribution(values, VARIANCE[name], uniform=name.endswith("uniform"))


@pytest.mark.parametrize("std", [0.01, 1, 3.5])
def test_normal(std):
    assert_distribution(draw(initializers.normal(std)), std**2, uniform=False)


@pytest.mark.parametrize("limit", [0.05, 2])
def test_uniform(limit):
    assert_distribution(draw(initializers.uniform(limit)), limit**2 / 3, uniform=True)


@pytest.mark.parametrize("std", [0.02, 1.5])
def test_truncated_normal(std):
    values = draw(initializers.truncated_normal(std))

    assert values.shape == (FAN_IN, FAN_OUT)
    assert 1.99 * std < np.abs(values).max() <= 2 * std
    assert abs(values.mean()) < 4 * std / np.sqrt(values.size)
    # the variance of a standard normal distribution within 2 standard deviations, by its formula
    density, inside = np.exp(-2) / np.sqrt(2 * np.pi), math.erf(np.sqrt(2))
    assert values.var() / std**2 == pytest.approx(1 - 4 * density / inside, rel=0.002)
    assert values.std() / std == pytest.approx(0.88, rel=0.001)


@pytest.mark.parametrize("shape", [(3, 3), (2, 4), (4, 2)])
def test_identity(shape):
    np.testing.assert_array_equal(draw(initializers.identity(), shape), np.eye(*shape))
    np.testing.assert_array_equal(draw(initializers.identity(0.1), shape), 0.1 * np.eye(*shape))


def test_constants():
    np.testing.assert_array_equal(draw(initializers.zeros(), (2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(draw(initializers.constant(0.5), (3,)), np.full(3, 0.5))
    np.testing.assert_array_equal(draw(initializers.normal(0), (3,)), np.zeros(3))


@pytest.mark.parametrize("shape", [(30, 30), (30, 20), (20, 30), (1, 5)])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_orthogonal(shape, gain):
    values = draw(initializers.orthogonal(gain), shape)

    assert values.shape == shape
    product = values.T @ values if shape[0] >= shape[1] else values @ values.T
    np.testing.assert_allclose(product, gain**2 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_has_no_preferred_sign():
    firsts = [draw_seeded(initializers.orthogonal(), seed)[0, 0] for seed in range(400)]

    assert abs(np.mean(np.sign(firsts))) < 4 / np.sqrt(400)


def draw_seeded(initializer, seed):
    return initializer((3, 3), np.random.default_rng(seed))


def test_the_generator_determines_the_values():
    one, two = draw(initializers.he()), draw(initializers.he())
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("relu", "he()"),
        ("ReLU", "he()"),
        (" He ", "he()"),
        ("sigmoid", "xavier()"),
        ("Xavier", "xavier()"),
        ("GLOROT_UNIFORM", "glorot_uniform()"),
        ("Glorot", "glorot_normal()"),
        ("orthogonal", "orthogonal()"),
        (0.01, "normal(0.01)"),
        (1, "normal(1)"),
        (np.float32(0.5), "normal(0.5)"),
        (0, "normal(0)"),
        (initializers.constant(2), "constant(2)"),
        (initializers.constant(0), "zeros()"),
        (initializers.orthogonal(2), "orthogonal(2)"),
        ("Tanh", "xavier()"),
        ("selu", "lecun_normal()"),
        ("swish", "he()"),
        ("identity", "identity()"),
        (initializers.identity(0.5), "identity(0.5)"),
        (initializers.uniform(0.1), "uniform(0.1)"),
        (initializers.truncated_normal(0.02), "truncated_normal(0.02)"),
        (np.ones((3, 2)), "values of shape (3, 2)"),
    ],
)
def test_weight_init_std_and_repr(given, expected):
    assert repr(initializers.weight_initializer(given)) == expected


@pytest.mark.parametrize("name", initializers.BY_NAME)
def test_every_name_gives_an_initializer(name):
    assert draw(initializers.weight_initializer(name), (4, 3)).shape == (4, 3)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("xavir", ValueError, "weight_init_std 'xavir' is not known; did you mean 'xavier'?"),
        ("0.01", ValueError, "weight_init_std '0.01' is not known. Choose from: 'relu'"),
        (-0.1, ValueError, "weight_init_std must be at least 0, got -0.1"),
        (float("nan"), ValueError, "weight_init_std must be finite"),
        (None, TypeError, "weight_init_std must be a number, got None"),
        (True, TypeError, "weight_init_std must be a number, got True"),
    ],
)
def test_an_invalid_weight_init_std_is_rejected(given, error, message):
    with pytest.raises(error) as raised:
        Affine(3, 2, given)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("make", "argument", "error"),
    [
        (initializers.normal, -1, ValueError),
        (initializers.normal, "1", TypeError),
        (initializers.constant, None, TypeError),
        (initializers.orthogonal, float("inf"), ValueError),
        (initializers.uniform, -1, ValueError),
        (initializers.truncated_normal, -1, ValueError),
        (initializers.identity, "1", TypeError),
        (initializers.values, [1.0], TypeError),
        (initializers.values, np.array(["a"]), TypeError),
        (initializers.values, np.array([1.0, np.nan]), ValueError),
    ],
)
def test_invalid_numbers_are_rejected(make, argument, error):
    with pytest.raises(error, match=r"must (be|hold)"):
        make(argument)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), ()])
@pytest.mark.parametrize(
    "initializer", [initializers.he(), initializers.orthogonal(), initializers.identity()]
)
def test_shapes_other_than_2d_are_rejected(initializer, shape):
    with pytest.raises(ValueError, match="shape"):
        draw(initializer, shape)


def test_a_function_serves_as_an_initializer():
    network = MultiLayerNet(3, [], 2, weight_init_std=lambda shape, rng: np.full(shape, 0.25))

    assert (network.params["W1"] == 0.25).all()


OTHERS = [initializers.truncated_normal(0.5), initializers.uniform(0.5), initializers.identity()]


@pytest.mark.parametrize("given", ["relu", "glorot_uniform", "orthogonal", 0.01, *OTHERS])
def test_every_device_starts_from_the_same_values(backend, given):
    there = MultiLayerNet(
        4, [3], 2, weight_init_std=given, seed=5, device=backend.device, xp=backend.xp
    )
    values = initializers.weight_initializer(given)((4, 3), stream(5, "weights", "W1"))

    np.testing.assert_array_equal(to_host(there.params["W1"]), values.astype(np.float32))
    assert not to_host(there.params["b1"]).any()


def test_every_activation_is_the_name_of_an_initializer():
    assert set(ACTIVATIONS) < set(initializers.BY_NAME)


def test_an_array_may_be_declared_as_initial_values(backend):
    start = np.array([1.0, 2.0, 3.0])

    class Shift(Layer):
        def declare(self):
            return {"shift": Declared((3,), backend.asarray(start))}

    network = Sequential([Shift()], device=backend.device, xp=backend.xp)
    np.testing.assert_array_equal(to_host(network.params["shift1"]), start)


def test_given_values_are_copied():
    start = np.ones((2, 3))
    initializer = initializers.values(start)
    start[:] = 7
    first = draw(initializer, (2, 3))
    first[:] = 5
    np.testing.assert_array_equal(draw(initializer, (2, 3)), np.ones((2, 3)))
    message = r"the initial values have shape \(2, 3\), the parameter \(3,\)"
    with pytest.raises(ValueError, match=message):
        draw(initializer, (3,))
    with pytest.raises(TypeError, match="^weight_init_std must hold real numbers, got complex128"):
        Affine(2, 3, np.ones((2, 3)) * 1j)


class Halves:
    def __call__(self, shape, rng):
        return np.full(shape, 0.5)


def halves(shape, rng, scale=0.5):
    return np.full(shape, scale)


@pytest.mark.parametrize("initializer", [Halves(), halves, lambda *args: np.full(args[0], 0.5)])
def test_a_custom_initializer_is_used(initializer):
    assert initializers.weight_initializer(initializer) is initializer
    network = MultiLayerNet(4, [3], 2, weight_init_std=initializer, seed=0)
    assert (network.params["W1"] == 0.5).all()


FACTORIES = [
    "zeros", "constant", "normal", "xavier", "he", "he_uniform", "glorot_normal",
    "glorot_uniform", "lecun_normal", "lecun_uniform", "orthogonal", "truncated_normal",
    "uniform", "identity", "values",
]  # fmt: skip


@pytest.mark.parametrize("name", [*FACTORIES, "Normal", "Constant", "VarianceScaling", "Values"])
def test_a_factory_that_was_not_called_is_rejected(name):
    message = f"is {name}, which creates an initializer. Call it: {name}"
    made = getattr(initializers, name)
    with pytest.raises(TypeError, match=f"^weight_init_std {message}"):
        MultiLayerNet(4, [3], 2, weight_init_std=made)
    with pytest.raises(TypeError, match=f"^weight_init_std {message}"):
        Affine(4, 3, made)

    class Own(Layer):
        def declare(self):
            return {"scale": Declared((3,), made)}

    with pytest.raises(TypeError, match=f"^the initializer of scale1 {message}"):
        Sequential([Own()])


@pytest.mark.parametrize("wrong", [lambda: 1.0, lambda shape: 1.0, Halves, len])
def test_a_function_with_the_wrong_signature_is_rejected(wrong):
    with pytest.raises(TypeError, match="^weight_init_std must be an initializer, a function of a"):
        initializers.weight_initializer(wrong)
