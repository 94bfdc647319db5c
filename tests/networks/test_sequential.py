"""Sequential networks: passes, gradients, accuracy, copies, and refused arguments."""

import copy
import pickle
import re

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import (
    GELU,
    Adam,
    Affine,
    BatchNormalization,
    Dropout,
    MeanSquaredError,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxWithLoss,
    Tanh,
    backend_of,
    get_backend,
    initializers,
    relative_error,
    to_host,
)

LABELS = [0, 1, 1, 0, 1, 0, 0, 1, 1]


def network(backend, *layers, **settings):
    layers = layers or (
        Affine(6, 5),
        BatchNormalization(5),
        Sigmoid(),
        Dropout(0.3),
        Affine(5, 2),
    )
    settings = {"seed": 3, "dtype": "float64"} | settings
    return Sequential(layers, device=backend.device, xp=backend.xp, **settings)


def batch(backend, dtype="float64"):
    return normal(backend, len(LABELS), 6, seed=4, dtype=dtype), backend.asarray(LABELS)


# Passes


def test_predict_runs_the_layers_in_order(backend):
    net = network(backend, Affine(6, 4), Tanh(), Affine(4, 2))
    x, _ = batch(backend)
    p = {name: to_host(array) for name, array in net.params.items()}
    expected = np.tanh(to_host(x) @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"]

    y = net.predict(x)
    assert backend_of(y) == backend == net.backend
    np.testing.assert_allclose(to_host(y), expected, rtol=1e-12)


def test_inputs_of_any_rank_are_flattened(backend):
    net, (x, _) = network(backend), batch(backend)
    flat, image = net.predict(x), net.predict(backend.xp.reshape(x, (9, 1, 2, 3)))

    np.testing.assert_array_equal(to_host(image), to_host(flat))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x_dtype", ["float32", "float64", "uint8", "int64"])
def test_inputs_are_cast_to_the_networks_dtype(backend, dtype, x_dtype):
    net = network(backend, dtype=dtype)
    x = backend.asarray(np.arange(54).reshape(9, 6) % 7, x_dtype)
    t = backend.asarray(LABELS)
    loss, grads = net.loss_and_gradient(x, t)

    for array in (net.predict(x), net.loss(x, t), loss, grads.flat, net.params.flat):
        assert array.dtype == backend.dtype(dtype)
        assert backend_of(array) == backend
    assert x.dtype == backend.dtype(x_dtype)


def test_inference_changes_nothing(backend):
    net, (x, t) = network(backend), batch(backend)
    net.gradient(x, t)
    params, states = to_host(net.params.flat).copy(), [layer.get_state() for layer in net.layers]
    first = to_host(net.predict(x))
    net.loss(x, t)
    net.accuracy(x, t)

    np.testing.assert_array_equal(to_host(net.predict(x)), first)
    np.testing.assert_array_equal(to_host(net.params.flat), params)
    for layer, state in zip(net.layers, states, strict=True):
        assert_same_state(layer.get_state(), state)
    net.predict(x, train_flg=True)
    assert net.layers[1].batches == states[1]["batches"] + 1


def assert_same_state(actual, expected):
    host = {key: to_host(v) if hasattr(v, "shape") else v for key, v in actual.items()}
    other = {key: to_host(v) if hasattr(v, "shape") else v for key, v in expected.items()}
    np.testing.assert_equal(host, other)


def test_training_differs_from_inference(backend):
    net, (x, t) = network(backend), batch(backend)

    assert float(net.loss(x, t, train_flg=True)) != float(net.loss(x, t))


# Gradients


@pytest.mark.parametrize("decay", [0, 0.3])
@pytest.mark.parametrize("kind", ["labels", "one-hot"])
def test_gradients_equal_central_differences(backend, decay, kind):
    net, (x, t) = network(backend, weight_decay_lambda=decay), batch(backend)
    if kind == "one-hot":
        t = backend.asarray(np.eye(2)[LABELS])
    expected = net.numerical_gradient(x, t)
    grads = net.gradient(x, t)

    assert list(grads) == list(expected) == list(net.params)
    for name, gradient in expected.items():
        assert_same_gradient(grads[name], gradient, name)


def test_a_float32_network_is_checked_in_float64(backend):
    net, (x, t) = network(backend, dtype="float32"), batch(backend, "float32")
    expected = net.numerical_gradient(x, t)
    grads = net.gradient(x, t)

    for name in ("W1", "W2", "b2", "gamma1", "beta1"):
        assert expected[name].dtype == backend.dtype("float64")
        assert relative_error(grads[name], expected[name]) < 1e-5


def test_numerical_gradients_leave_the_network_unchanged(backend):
    net, (x, t) = network(backend), batch(backend)
    net.gradient(x, t)
    params, grads = to_host(net.params.flat).copy(), to_host(net.grads.flat).copy()
    states = [layer.get_state() for layer in net.layers]
    net.numerical_gradient(x, t)

    np.testing.assert_array_equal(to_host(net.params.flat), params)
    np.testing.assert_array_equal(to_host(net.grads.flat), grads)
    for layer, state in zip(net.layers, states, strict=True):
        assert_same_state(layer.get_state(), state)


def test_another_loss(backend):
    net = network(backend, Affine(6, 2), loss=MeanSquaredError())
    x, t = batch(backend)[0], normal(backend, 9, 2)
    for name, expected in net.numerical_gradient(x, t).items():
        assert_same_gradient(net.gradient(x, t)[name], expected, name)


def test_the_loss_and_its_gradient_come_from_one_pass(backend):
    net, twin, (x, t) = network(backend), network(backend), batch(backend)
    loss, grads = net.loss_and_gradient(x, t)
    expected = twin.gradient(x, t)

    np.testing.assert_array_equal(to_host(grads.flat), to_host(expected.flat))
    # the same masks: the loss of the pass that the gradient belongs to
    assert float(loss) == float(network(backend).loss(x, t, train_flg=True))
    assert tuple(loss.shape) == ()


def test_gradients_are_written_into_one_buffer(backend):
    net, (x, t) = network(backend), batch(backend)
    flat, views = net.grads.flat, dict(net.params)
    first = net.gradient(x, t)
    kept = first.copy()
    second = net.gradient(x, t)  # with other masks

    assert first is second is net.grads
    assert net.grads.flat is flat
    assert relative_error(kept, second) > 0.01
    assert all(net.params[name] is view for name, view in views.items())
    net.params.flat[...] = 0.0
    assert not to_host(net.predict(x)).any()


@pytest.mark.parametrize(
    ("make_layers", "computed"),
    [
        (lambda: [Affine(6, 4), Affine(4, 2)], [False, True]),
        (lambda: [ReLU(), Affine(6, 2), Tanh()], [False, False, True]),
    ],
)
def test_backward_stops_at_the_first_layer_with_parameters(
    backend, make_layers, computed, monkeypatch
):
    net, (x, t) = network(backend, *make_layers()), batch(backend)
    assert [layer.propagates for layer in net.layers] == computed
    results = {}

    def record(layer, backward):
        def recording(dout):
            results[layer] = backward(dout)
            return results[layer]

        return recording

    for layer in net.layers:
        monkeypatch.setattr(layer, "backward", record(layer, layer.backward))
    net.gradient(x, t)
    first = next(layer for layer in net.layers if layer.params)

    assert results[first] is None
    assert set(results) == set(net.layers[net.layers.index(first) :])


def test_only_weights_decay(backend):
    plain, decaying = (network(backend, weight_decay_lambda=decay) for decay in (0, 0.3))
    x, t = batch(backend)
    for net in (plain, decaying):
        net.params["gamma1"] += 1
        net.params["b2"] += 1
    squares = sum(float((to_host(plain.params[name]) ** 2).sum()) for name in ("W1", "W2"))
    penalty = float(decaying.loss(x, t)) - float(plain.loss(x, t))
    assert penalty == pytest.approx(0.5 * 0.3 * squares)

    a, b = plain.gradient(x, t), decaying.gradient(x, t)
    for name in plain.params:
        decay = 0.3 * to_host(plain.params[name]) if name.startswith("W") else 0
        np.testing.assert_allclose(to_host(b[name]), to_host(a[name]) + decay, atol=1e-14)


@pytest.mark.parametrize("make_layer", [ReLU, lambda: BatchNormalization(6)])
def test_a_network_without_weights(backend, make_layer):
    net = network(backend, make_layer(), weight_decay_lambda=0.1)
    x, _ = batch(backend)
    loss, grads = net.loss_and_gradient(x, backend.asarray(LABELS))

    assert np.isfinite(float(loss))
    assert list(grads) == list(net.params)


def test_it_learns(backend):
    net, (x, t) = network(backend, Affine(6, 16), ReLU(), Affine(16, 2)), batch(backend)
    optimizer = Adam(lr=0.05)
    for _ in range(60):
        optimizer.update(net.params, net.gradient(x, t))

    assert net.accuracy(x, t) == 1
    assert float(net.loss(x, t)) < 0.05


@pytest.mark.backends("cupy")
def test_a_step_stays_on_the_device(backend, device_counters):
    layers = [Affine(6, 5), BatchNormalization(5), GELU(), Affine(5, 2)]
    net, (x, t) = (
        network(backend, *layers, dtype="float32", weight_decay_lambda=0.1),
        batch(backend),
    )
    optimizer = Adam()
    optimizer.update(net.params, net.gradient(x, t))
    with device_counters.counting() as added:
        _, grads = net.loss_and_gradient(x, t)
        optimizer.update(net.params, grads)

    assert added["copies_h2d"] == added["copies_d2h"] == 0
    assert added["kernel_launches"] > 0
    with device_counters.counting() as added:
        net.accuracy(x, t)
    assert added["copies_d2h"] == 1


# Accuracy


@pytest.mark.parametrize("size", [1, 999, 1000, 1001])
@pytest.mark.parametrize("kind", ["int64", "uint8", "one-hot", "one-hot bool"])
def test_accuracy_is_the_fraction_of_correct_answers(backend, size, kind):
    rng = np.random.default_rng(size)
    net = network(backend, Affine(6, 4), seed=0)
    x, labels = rng.standard_normal((size, 6)), rng.integers(0, 4, size)
    p = {name: to_host(array) for name, array in net.params.items()}
    right = (np.argmax(x @ p["W1"] + p["b1"], axis=1) == labels).mean()
    one_hot = {"one-hot": np.eye(4), "one-hot bool": np.eye(4) > 0}
    t = one_hot[kind][labels] if kind in one_hot else labels.astype(kind)
    accuracy = net.accuracy(backend.asarray(x, "float64"), backend.asarray(t))

    assert type(accuracy) is float
    assert accuracy == pytest.approx(right)


def test_accuracy_knows_more_classes_than_a_byte():
    net = Sequential([Affine(1, 300, initializers.zeros())])
    net.params["b1"][256] = 1.0

    assert net.accuracy(np.ones((2, 1)), np.zeros(2, dtype=np.uint8)) == 0


def test_nan_scores_count_as_wrong(backend):
    net = network(backend, Affine(6, 4), seed=0)
    net.params["b1"] = backend.asarray(np.full(4, np.nan))
    x = backend.asarray(np.ones((3, 6)))
    assert net.accuracy(x, backend.asarray([0, 0, 1])) == 0  # argmax of NaN is 0


def test_accuracy_takes_labels_as_the_loss_does(backend):
    net, (x, _) = network(backend, Affine(6, 4)), batch(backend)
    count = x.shape[0]
    for wrong in (np.zeros((count, 1), int), np.eye(5)[np.zeros(count, int)], np.zeros(count)):
        with pytest.raises(ValueError, match=r"labels for scores of shape \(9, 4\) must be"):
            net.accuracy(x, backend.asarray(wrong))


# Refused arguments


@pytest.mark.backends("strict", "torch", "cupy")
def test_arrays_from_elsewhere_are_refused(backend):
    net, (x, t) = network(backend), batch(backend)
    here, labels = to_host(x), to_host(t)
    for call in (
        lambda: net.predict(here),
        lambda: net.loss(here, t),
        lambda: net.accuracy(here, t),
        lambda: net.gradient(here, t),
        lambda: Sequential([Affine(6, 2)]).predict(x),
    ):
        with pytest.raises(TypeError, match=r"^x must be on .*, got an array on .*\. Move it with"):
            call()
    for call in (net.loss, net.accuracy, net.gradient, net.numerical_gradient):
        with pytest.raises(TypeError, match=r"^t must be on .*, got .* on cpu \(NumPy\)\. Move it"):
            call(x, labels)


@pytest.mark.parametrize("method", ["loss", "accuracy", "gradient"])
def test_lists_are_refused(backend, method):
    net, (x, t) = network(backend), batch(backend)
    with pytest.raises(TypeError, match="^x must be an array on .*, got a list$"):
        getattr(net, method)([[1.0] * 6] * 9, t)
    with pytest.raises(TypeError, match="^t must be an array on .*, got a list$"):
        getattr(net, method)(x, LABELS)


@pytest.mark.parametrize("shape", [(9, 7), (9, 2, 2), (6,), (9, 0)])
def test_samples_of_the_wrong_size_are_refused(backend, shape):
    net = network(backend)
    message = r"x must have 6 numbers per sample for Affine\(6, 5, he\(\)\), got an array of sh"
    with pytest.raises(ValueError, match=message):
        net.predict(backend.zeros(shape, "float64"))


def test_accuracy_needs_a_label_for_each_sample(backend):
    net, (x, t) = network(backend), batch(backend)
    for rows in (0, 8):
        with pytest.raises(ValueError, match=f"a label for each sample, got 9 samples and {rows}"):
            net.accuracy(x, t[:rows])
    with pytest.raises(ValueError, match="got 0 samples and 0 labels"):
        net.accuracy(x[:0, :], t[:0])


def test_a_batch_without_samples_is_refused(backend):
    net, (x, t) = network(backend), batch(backend)
    message = r"^x must hold at least one sample, got an array of shape \(0, 6\)$"
    for compute in (net.loss, net.gradient, net.loss_and_gradient):
        with pytest.raises(ValueError, match=message):
            compute(x[:0, :], t[:0])


def test_layers_have_to_fit():
    message = r"^layers\[1\] does not fit: Affine\(5, 2, he\(\)\) takes 5 values per sample, got"
    with pytest.raises(ValueError, match=message):
        Sequential([Affine(6, 4), Affine(5, 2)])
    with pytest.raises(ValueError, match=r"^layers\[2\] does not fit: BatchNormalization\(5"):
        Sequential([Affine(6, 4), ReLU(), BatchNormalization(5)])
    with pytest.raises(ValueError, match=r"^layers\[2\] does not fit: Affine\(5, 2"):
        Sequential([Dropout(), Affine(5, 4), Affine(5, 2)])


def test_layers_before_one_that_flattens_take_images(backend):
    net = network(backend, BatchNormalization(2), ReLU(), Affine(18, 4), seed=0)
    x = backend.asarray(np.random.default_rng(0).standard_normal((5, 2, 3, 3)))
    assert tuple(net.predict(x).shape) == (5, 4)
    assert tuple(net.gradient(x, backend.asarray([0, 1, 2, 3, 0]))["W1"].shape) == (18, 4)
    with pytest.raises(ValueError, match=r"BatchNormalization\(2.* got .*\(18,\)"):
        net.predict(backend.asarray(np.ones((5, 18))))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], r"must be a list of at least one layer, got \[\]"),
        ("relu", "must be a list of at least one layer, got 'relu'"),
        ([Affine(3, 2), ReLU], r"layers\[1\] must be a layer, got .*; did you mean ReLU\(\)\?"),
        ([Affine(3, 2), SoftmaxWithLoss()], r"layers\[1\] is a loss, .* as loss=\.\.\."),
    ],
)
def test_anything_but_layers_is_refused(layers, message):
    with pytest.raises(TypeError, match=message):
        Sequential(layers)


def test_a_layer_belongs_to_one_network():
    layer = Affine(6, 6)
    with pytest.raises(ValueError, match=r"layers\[1\], Affine.*, belongs to a network"):
        Sequential([layer, layer])
    Sequential([layer])
    with pytest.raises(ValueError, match=r"layers\[0\], Affine.*, belongs to a network"):
        Sequential([layer])


def test_setting_params_copies_them_in(backend):
    a, b = network(backend, seed=1), network(backend, seed=2)
    x, _ = batch(backend)
    a.params = b.params

    np.testing.assert_array_equal(to_host(a.predict(x)), to_host(b.predict(x)))
    assert a.params is not b.params
    with pytest.raises(ValueError, match="the network has parameters W1"):
        a.params = {}


def test_labels_out_of_range_are_refused_on_the_host():
    net = Sequential([Affine(6, 3)], seed=0)
    x = np.zeros((2, 6), "float32")
    for labels in ([0, 3], [-1, 0]):
        with pytest.raises(ValueError, match="t must hold labels from 0 to 2"):
            net.gradient(x, np.array(labels))


def test_a_pickle_leaves_out_the_last_batch():
    net = Sequential([Affine(6, 3), ReLU()], seed=0)
    before = len(pickle.dumps(net))
    net.loss(np.zeros((1000, 6), "float32"), np.zeros(1000, "int64"))
    assert len(pickle.dumps(net)) < before + 1000


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"weight_decay_lambda": -1}, ValueError, "weight_decay_lambda must be at least 0, got -1"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number, got 1.5"),
        ({"dtype": "float23"}, ValueError, "dtype 'float23' is not known to "),
        ({"dtype": "int32"}, TypeError, "parameters must be floating-point numbers, .*int32"),
    ],
)
def test_bad_settings_are_refused(backend, settings, error, message):
    with pytest.raises(error, match=message):
        network(backend, **settings)


# Copies


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["deep", "pickle"],
)
@pytest.mark.parametrize("steps", [0, 2])
def test_a_copy_is_a_network_of_its_own(backend, duplicate, steps, dtype):
    net, (x, t) = network(backend, dtype=dtype), batch(backend)
    optimizer = Adam(lr=0.1)
    for _ in range(steps):
        optimizer.update(net.params, net.gradient(x, t))
    twin, twins_optimizer = duplicate((net, optimizer))

    np.testing.assert_array_equal(to_host(twin.predict(x)), to_host(net.predict(x)))
    np.testing.assert_array_equal(to_host(twin.grads.flat), to_host(net.grads.flat))
    assert twin.summary() == net.summary()
    # The copy's layers read and write its own buffers,
    kept = to_host(net.params.flat).copy(), to_host(net.grads.flat).copy(), to_host(net.predict(x))
    for _ in range(2):
        twins_optimizer.update(twin.params, twin.gradient(x, t))
    for name, view in twin.layers[0].params.items():
        assert view is twin.params[f"{name}1"]
    for name, view in twin.layers[0].grads.items():
        assert view is twin.grads[f"{name}1"]
    after = to_host(net.params.flat), to_host(net.grads.flat), to_host(net.predict(x))
    np.testing.assert_equal(after, kept)
    # and it trains on as the original does, with the same masks and running averages.
    for _ in range(2):
        optimizer.update(net.params, net.gradient(x, t))
    np.testing.assert_array_equal(to_host(twin.params.flat), to_host(net.params.flat))
    np.testing.assert_array_equal(to_host(twin.predict(x)), to_host(net.predict(x)))


def test_a_pickle_holds_the_parameters_once():
    net = Sequential([Affine(100, 100)])

    assert len(pickle.dumps(net)) < 2.2 * 4 * net.params.size  # with the gradients


# Summary and repr


def test_summary():
    layers = [Affine(784, 50), BatchNormalization(50), ReLU(), Dropout(0.2), Affine(50, 10)]
    lines = Sequential(layers).summary().splitlines()
    rows = [re.split(r"\s{2,}", line) for line in lines]

    assert rows == [
        ["layer", "output shape", "parameters"],
        ["-" * len(repr(layers[1])), "-" * 12, "-" * 19],
        ["Affine(784, 50, he())", "(N, 50)", "39,250 (W1, b1)"],
        [repr(layers[1]), "(N, 50)", "100 (gamma1, beta1)"],
        ["ReLU()", "(N, 50)", "0"],
        ["Dropout(0.2)", "(N, 50)", "0"],
        ["Affine(50, 10, he())", "(N, 10)", "510 (W2, b2)"],
        ["SoftmaxWithLoss()", "()", "0"],
        ["39,860 parameters, float32 on cpu (NumPy)"],
    ]
    assert len({line.index("(N,") for line in lines if "(N," in line}) == 1


def test_summary_in_a_notebook():
    html = Sequential([Affine(4, 3, "he"), ReLU(), Affine(3, 2)]).summary()._repr_html_()
    assert html.count("<tr>") == 5
    assert "<td>Affine(4, 3, he())</td><td>(N, 3)</td><td>15 (W1, b1)</td>" in html
    assert "23 parameters, " in html


def test_summary_of_unknown_shapes():
    assert "any" in Sequential([ReLU()]).summary()
    assert "(N, 3)" in Sequential([ReLU(), Affine(3, 2)]).summary()


def test_repr():
    net = Sequential([Affine(3, 2), ReLU()], weight_decay_lambda=0.1, seed=7)

    assert repr(net) == (
        "Sequential([\n    Affine(3, 2, he()),\n    ReLU(),\n], weight_decay_lambda=0.1, seed=7)"
    )


def test_output_size():
    assert Sequential([Affine(3, 2), ReLU()]).output_size == 2
    assert Sequential([ReLU()]).output_size is None


def test_keywords_of_other_libraries_get_the_name_used_here():
    with pytest.raises(TypeError, match="Sequential has no argument 'criterion'. Write loss=..."):
        Sequential([Affine(2, 2)], criterion=MeanSquaredError())


# Looking into a network


@pytest.mark.parametrize("compute_dtype", [None, "float32"])
@pytest.mark.parametrize("train_flg", [False, True])
def test_outputs_are_those_of_each_layer(backend, compute_dtype, train_flg):
    net = network(backend, compute_dtype=compute_dtype)
    twin = copy.deepcopy(net)
    x, _ = batch(backend)
    outputs = list(net.outputs(x, train_flg))
    assert [tuple(y.shape) for y in outputs] == [(9, 5)] * 4 + [(9, 2)]
    assert all(y.dtype == backend.dtype(compute_dtype or "float64") for y in outputs)
    rounding = 1e-6 if compute_dtype else 1e-12
    expected = to_host(twin.predict(x, train_flg))
    np.testing.assert_allclose(to_host(outputs[-1]), expected, rtol=rounding, atol=rounding)


def test_parameter_names_are_given_per_layer():
    net = network(get_backend("cpu"))
    assert [dict(names) for names in net.parameter_names] == [
        {"W": "W1", "b": "b1"}, {"gamma": "gamma1", "beta": "beta1"}, {}, {},
        {"W": "W2", "b": "b2"},
    ]  # fmt: skip
    with pytest.raises(TypeError):
        net.parameter_names[0]["W"] = "other"
