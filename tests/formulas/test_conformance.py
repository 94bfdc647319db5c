"""Behavior that all engines share: which operands they accept and what they do with them.

A new engine is tested here as soon as it is in ENGINES.
"""

import numpy as np
import pytest
from gradient_check import normal
from hypothesis import given
from hypothesis import strategies as st

from dlskills import (
    ELU,
    GELU,
    SELU,
    Affine,
    BatchNormalization,
    Dropout,
    LeakyReLU,
    Optimizer,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    Softplus,
    Swish,
    Tanh,
    along,
    elementwise,
    engine,
    to_host,
)
from dlskills.formulas import ENGINES, UnsuitedFormulaError
from dlskills.layers import ACTIVATIONS

SIZES = pytest.mark.parametrize("size", [5, 20_000])  # below and above a block


def engines_for(backend):
    fit = [e for e in ENGINES.values() if e.library in (None, backend.name)]
    return [e.name for e in fit if e.missing() is None]


def on_each(backend):
    for name in engines_for(backend):
        with engine(name):
            yield name


@elementwise
def swish(xp):
    return lambda x: x / (1 + xp.exp(-x))


@pytest.mark.backends("numpy", "cupy")
@pytest.mark.parametrize("size", [(), 5, 20_000])
def test_integer_operands_give_floating_point_results(backend, size):
    values = np.arange(size) % 7 if size != () else np.asarray(3)
    for name in on_each(backend):
        found = to_host(swish(backend.asarray(values)))
        np.testing.assert_allclose(found, values / (1 + np.exp(-values)), err_msg=name)


@SIZES
@pytest.mark.backends("numpy", "torch", "cupy")
def test_returned_operands_are_copied(backend, size):
    swapped = elementwise(lambda xp: lambda a, b: (b, a))
    same = elementwise(lambda xp: lambda a: a)
    for name in on_each(backend):
        a, b = (normal(backend, size, seed=seed) for seed in (0, 1))
        before = to_host(a).copy(), to_host(b).copy()
        swapped(a, b, out=(a, b))
        np.testing.assert_array_equal(to_host(a), before[1], err_msg=name)
        np.testing.assert_array_equal(to_host(b), before[0], err_msg=name)
        copy = same(a)
        a += 1
        np.testing.assert_array_equal(to_host(copy), before[1], err_msg=name)


class Remembering(Optimizer):
    """Gradient descent that stores the previous parameters."""

    lr: float = 0.1
    slots = ("before",)

    def coefficients(self, step):
        return (self.lr,)

    @staticmethod
    def rule(xp):
        return lambda param, grad, before, lr: (param - lr * grad, param)


@SIZES
def test_a_rule_may_store_the_old_parameter_in_a_slot(backend, size):
    for name in on_each(backend):
        optimizer = Remembering()
        params = {"w": backend.zeros((size,), "float64") + 1.0}
        optimizer.update(params, {"w": backend.zeros((size,), "float64") + 1.0})
        before = optimizer.state_dict()["before/w"]
        np.testing.assert_allclose(before, 1.0, err_msg=name)
        np.testing.assert_allclose(to_host(params["w"]), 0.9, err_msg=name)


@SIZES
@pytest.mark.backends("numpy", "torch", "cupy")
def test_integer_operands_are_cast_to_the_first_operands_dtype(backend, size):
    shifted = elementwise(lambda xp: lambda x, a, b: x + (a - b))
    x = backend.zeros((size,), "float32") + 0.5
    a, b = (backend.asarray(np.full(size, value, np.uint8)) for value in (3, 5))
    for name in on_each(backend):
        found = shifted(x, a, b)
        assert found.dtype == x.dtype, name
        assert to_host(found)[0] == -1.5, name


@SIZES
@pytest.mark.backends("numpy", "torch", "cupy")
def test_all_results_have_the_first_operands_dtype(backend, size):
    @along
    def kinds(xp):
        def results(x, n, axis):
            return (
                x > 0,
                xp.sum(xp.astype(x > 0, x.dtype), axis=axis, keepdims=True) + n,
                xp.sum(x),
            )

        return results

    x = normal(backend, 4, size, dtype="float32")
    n = backend.asarray(np.arange(4)[:, None])
    for name in on_each(backend):
        assert {str(r.dtype).rpartition(".")[2] for r in kinds(x, n, axis=1)} == {"float32"}, name


@pytest.mark.backends("numpy", "cupy")
def test_arithmetic_on_conditions_is_rejected_by_engines_that_trace(backend):
    votes = elementwise(lambda xp: lambda x: (x > 0) + (x > 1))
    for name in set(engines_for(backend)) - {"plain"}:
        with engine(name), pytest.raises(UnsuitedFormulaError, match="xp.astype.condition"):
            votes(normal(backend, 20_000))


@pytest.mark.backends("numpy", "cupy")
def test_a_mean_of_per_line_values_falls_back_to_plain(backend):
    if not any(ENGINES[name].fuses for name in engines_for(backend)):
        pytest.skip("no engine that compiles formulas")
    spread = along(lambda xp: lambda x, axis: xp.mean(xp.var(x, axis=axis, keepdims=True)))
    x = normal(backend, 50, 400)
    with pytest.warns(UserWarning, match="xp.mean without an axis"):
        found = float(spread(x, axis=1))
    assert found == pytest.approx(np.mean(np.var(to_host(x), axis=1)), rel=1e-12)


def test_prepared_calls_distinguish_shapes_and_types(tmp_path):
    add = elementwise(lambda xp: lambda x, y: x + y)
    x = np.zeros((100, 100))
    stored = np.memmap(tmp_path / "y", dtype="float64", shape=(100,), mode="w+")
    stored[:] = np.arange(100)
    for name in ("numba", None):
        if name and ENGINES[name].missing():
            continue
        for shape in ((1, 100), (100, 1)):
            found = add(x, stored.reshape(shape))
            np.testing.assert_array_equal(found, x + np.arange(100.0).reshape(shape))
        assert add(x, 2.0)[3, 4] == add(x, 2)[3, 4] == 2


@pytest.mark.skipif(ENGINES["numba"].missing() is not None, reason="numba is not available")
def test_an_unusual_operand_does_not_disable_the_engine():
    add = elementwise(lambda xp: lambda x, y: x + y)
    x = np.ones(5000, "float32")
    assert add(x, x.astype("float16"))[0] == 2
    assert add(x, x.astype(">f8"))[0] == 2
    read_only = np.zeros(5000, "float32")
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="result 0 can't be written to a read-only array"):
        add(x, x, out=(read_only,))
    with engine("numba"), pytest.raises(TypeError, match="operand 1 .* got a list"):
        add(x, [1.0])
    assert not add.unsuited


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("axis", [2, -3, (0, 2)])
def test_an_axis_out_of_range_is_rejected(backend, axis):
    total = along(lambda xp: lambda x, axis: xp.sum(x, axis=axis, keepdims=True))
    x = normal(backend, 80, 90)
    for _ in on_each(backend):
        with pytest.raises((ValueError, IndexError)):
            total(x, axis=axis)


@pytest.mark.backends("numpy", "cupy")
def test_a_mean_over_a_long_line_is_accurate(backend):
    mean = along(lambda xp: lambda x, axis: xp.mean(x, axis=axis, keepdims=True))
    x = backend.asarray(np.full((1, 3_000_000), 0.1, "float32"))
    for name in on_each(backend):
        if ENGINES[name].fuses and name != "cuda":
            assert float(mean(x, axis=1)[0, 0]) == pytest.approx(np.float32(0.1), rel=1e-6)


# Networks


ACTIVATIONS_AND_SETTINGS = {
    "ReLU": ReLU, "LeakyReLU": lambda: LeakyReLU(0.2), "ELU": lambda: ELU(0.7), "SELU": SELU,
    "Softplus": Softplus, "Sigmoid": Sigmoid, "Tanh": Tanh, "GELU": GELU,
    "approximate GELU": lambda: GELU(approximate=True), "Swish": lambda: Swish(1.3),
    "Softmax": Softmax,
}  # fmt: skip


def test_every_activation_is_among_them():
    assert set(ACTIVATIONS.values()) < {type(make()) for make in ACTIVATIONS_AND_SETTINGS.values()}


@pytest.mark.backends("numpy", "cupy")
@pytest.mark.parametrize("make", ACTIVATIONS_AND_SETTINGS.values(), ids=ACTIVATIONS_AND_SETTINGS)
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 90)),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_activations_agree_on_every_engine(backend, make, shape, dtype, scale):
    layer = make()
    x = normal(backend, *shape, dtype="float64") * scale
    dout = normal(backend, *shape, seed=1, dtype="float64")
    eps, tiny = (float(getattr(np.finfo(dtype), name)) for name in ("eps", "smallest_normal"))
    sizes = 0 if isinstance(layer, Softmax) else np.abs(to_host(x)), np.abs(to_host(dout))
    expected = None
    for name in on_each(backend):
        y = layer.forward(backend.xp.astype(x, backend.dtype(dtype)))
        found = y, layer.backward(backend.xp.astype(dout, backend.dtype(dtype)))
        assert found[0].dtype == found[1].dtype == backend.dtype(dtype), name
        found = [to_host(array).astype("float64") for array in found]
        if expected is None:
            expected = found
        for one, other, size in zip(found, expected, sizes, strict=True):
            bound = 64 * eps * np.maximum(np.abs(other), size) + tiny
            assert np.all(np.abs(one - other) <= bound), name


@pytest.mark.backends("numpy", "cupy")
@pytest.mark.parametrize("shape", [(1, 3), (40, 3), (3000, 7), (6, 3, 5, 4)])
def test_batch_norm_without_parameters_agrees_on_every_engine(backend, shape):
    expected = None
    for name in on_each(backend):
        layer = BatchNormalization(shape[1], affine=False)
        y = layer.forward(normal(backend, *shape))
        found = [to_host(a).copy() for a in (y, layer.backward(normal(backend, *shape, seed=1)))]
        expected = found if expected is None else expected
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.backends("numpy", "torch", "cupy")
@pytest.mark.parametrize("compute_dtype", [None, "float16"])
def test_dropout_gives_the_same_gradients_on_every_engine(backend, compute_dtype):
    layers = [Affine(20, 300), ReLU(), Dropout(0.5, seed=1), Affine(300, 3)]
    here = {"device": backend.device, "xp": backend.xp}
    network = Sequential(layers, seed=0, compute_dtype=compute_dtype, **here)
    x, t = normal(backend, 100, 20, dtype="float32"), backend.asarray(np.arange(100) % 3)
    state = layers[2].get_state()
    expected = None
    for name in on_each(backend):
        layers[2].set_state(state)
        found = to_host(network.gradient(x, t).flat).astype("float64")
        if expected is None:
            expected = found
        tolerance = 1e-5 if compute_dtype is None else 5e-3
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "kind",
    [GELU, lambda: GELU(approximate=True), LeakyReLU, ReLU, Tanh, ELU, SELU, Swish, Softplus],
)
def test_layers_can_run_backward_after_a_fused_forward(backend, kind):
    here = {"device": backend.device, "xp": backend.xp}
    network = Sequential([Affine(8, 300), kind(), Affine(300, 3)], seed=0, dtype="float64", **here)
    network.params["b1"] = normal(backend, 300)
    x, t = normal(backend, 40, 8), backend.asarray(np.arange(40) % 3)
    expected = {name: to_host(g).copy() for name, g in network.gradient(x, t).items()}
    network.loss(x, t, train_flg=True)
    dout = network.loss_layer.backward()
    for layer in reversed(network.layers):
        dout = layer.backward(dout)
    for name, grad in expected.items():
        np.testing.assert_allclose(to_host(network.grads[name]), grad, rtol=1e-9, atol=1e-12)


def test_a_replaced_layer_is_used(backend):
    here = {"device": backend.device, "xp": backend.xp}
    network = Sequential([Affine(8, 300), ReLU(), Affine(300, 3)], seed=0, dtype="float64", **here)
    x = normal(backend, 40, 8)
    network.predict(x)
    network.layers[1] = Tanh()
    y = x
    for layer in network.layers:
        y = layer.forward(y)
    np.testing.assert_allclose(to_host(network.predict(x)), to_host(y), rtol=1e-12)


def test_a_hook_on_a_fused_layer_is_called(backend):
    here = {"device": backend.device, "xp": backend.xp}
    network = Sequential([Affine(8, 300), ReLU(), Affine(300, 3)], seed=0, **here)
    x, calls = normal(backend, 40, 8, dtype="float32"), []
    expected = to_host(network.predict(x)).copy()
    for layer in network.layers:
        run = layer.forward
        layer.forward = lambda x, train_flg=True, run=run: calls.append(run) or run(x, train_flg)
    np.testing.assert_allclose(to_host(network.predict(x)), expected, rtol=1e-5, atol=1e-6)
    assert len(calls) == 3
