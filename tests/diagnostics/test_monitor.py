"""The monitor: when it observes, what it measures, and that training is unaffected."""

import copy

import numpy as np
import pytest

from dlskills import (
    SGD,
    Adam,
    Affine,
    BatchNormalization,
    Dropout,
    MultiLayerNet,
    ReLU,
    Sequential,
    Sigmoid,
    SoftmaxWithLoss,
    Tanh,
    Trainer,
    backend_of,
    get_backend,
    to_host,
)
from dlskills.diagnostics import MEASURES, PERCENTILES, Monitor, measures, monitor
from dlskills.training import Loop

CPU = get_backend("cpu")
HALF = pytest.mark.backends("numpy", "torch", "cupy")


def batch(backend, size=20):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(size, 6)).astype("float32"), np.arange(size) % 3
    return backend.asarray(x), backend.asarray(t)


def everything(backend, activation=ReLU, **options):
    """Return a network with layers of every kind."""
    layers = [
        Affine(6, 8), BatchNormalization(8), activation(), Dropout(0.25),
        Affine(8, 5), activation(), Affine(5, 3),
    ]  # fmt: skip
    return Sequential(layers, seed=0, device=backend.device, xp=backend.xp, **options)


def train(network, steps=7, observer=None, optimizer=None, backend=None):
    optimizer = optimizer or Adam(lr=0.01)
    x, t = batch(network.backend)
    losses = []
    for _ in range(steps):
        loss, grads = network.loss_and_gradient(x, t)
        optimizer.update(network.params, grads)
        if observer is not None:
            observer.observe(x, t)
        losses.append(loss)
    return to_host(losses)


def test_the_monitor_observes_at_intervals(backend):
    network = everything(backend)
    observer = Monitor(network, every=3)
    assert observer.steps == []
    train(network, 8, observer)
    assert observer.steps == [0, 1, 4, 7]
    assert list(observer.samples) == [0, 7]
    assert observer.layers[:3] == ["layer 1 (Affine)", "layer 2 (BatchNormalization)",
                                   "layer 3 (ReLU)"]  # fmt: skip
    for measure in MEASURES:
        assert observer.history(measure).shape == (4, 7)
        assert observer.history(measure).dtype == np.float64


def test_training_stays_bit_identical(backend):
    plain, watched = everything(backend), everything(backend)
    observer = Monitor(watched, every=2)
    losses, watched_losses = train(plain), train(watched, observer=observer)
    np.testing.assert_array_equal(watched_losses, losses)
    np.testing.assert_array_equal(to_host(watched.params.flat), to_host(plain.params.flat))
    for layer, other in zip(plain.layers, watched.layers, strict=True):
        assert str(layer.get_state()) == str(other.get_state())


def test_an_observation_does_not_change_the_network(backend):
    network = everything(backend)
    x, t = batch(backend)
    network.gradient(x, t)
    before = [np.array(to_host(flat)) for flat in (network.params.flat, network.grads.flat)]
    states = [str(layer.get_state()) for layer in network.layers]
    Monitor(network).observe(x, t)
    for flat, old in zip((network.params.flat, network.grads.flat), before, strict=True):
        np.testing.assert_array_equal(to_host(flat), old)
    assert [str(layer.get_state()) for layer in network.layers] == states
    # the values kept for backward are still those of the network's own pass
    assert network.layers[0].backward(backend.zeros((20, 8), "float32")) is None


@pytest.mark.backends("numpy", "strict")
def test_between_observations_the_monitor_only_counts(backend, monkeypatch):
    network = everything(backend)
    observer = Monitor(network, every=4)
    x, t = batch(backend)
    observer.observe(x, t)
    monkeypatch.setattr(copy, "deepcopy", None)  # fails if called
    monkeypatch.setattr(monitor, "to_host", None)
    observer.observe(x, t)
    observer.observe(x, t)
    assert observer.steps == [0, 1]


@pytest.mark.backends("numpy", "strict")
def test_each_observation_takes_one_transfer(backend, monkeypatch):
    transfers = []

    def counted(array):
        transfers.append(array.shape)
        return to_host(array)

    monkeypatch.setattr(monitor, "to_host", counted)
    network = everything(backend)
    train(network, 5, Monitor(network, every=2))
    assert len(transfers) == 4


@pytest.mark.backends("cupy")
def test_each_observation_takes_one_copy_from_the_gpu(backend, device_counters):
    network = everything(backend)
    observer = Monitor(network, every=2)
    x, t = batch(backend)
    observer.observe(x, t)
    with device_counters.counting() as added:
        observer.observe(x, t)
    assert added["copies_d2h"] == 0
    with device_counters.counting() as added:
        observer.observe(x, t)
    assert added["copies_d2h"] == 1


def test_measures_agree_with_numpy(backend):
    layers = [Affine(6, 8), ReLU(), Affine(8, 4), Tanh(), Affine(4, 3)]
    network = Sequential(layers, seed=1, device=backend.device, xp=backend.xp, dtype="float64")
    x, t = batch(backend)
    observer = Monitor(network, every=1)
    before = {name: np.array(to_host(p)) for name, p in network.params.items()}
    SGD(lr=0.5).update(network.params, network.gradient(x, t))
    observer.observe(x, t)

    p = {name: np.array(to_host(p)) for name, p in network.params.items()}
    outputs, last = [], np.array(to_host(x), dtype="float64")
    for n in (1, 2, 3):
        outputs.append(last @ p[f"W{n}"] + p[f"b{n}"])
        last = [np.maximum(outputs[-1], 0), np.tanh(outputs[-1]), None][n - 1]
        outputs += [last] * (n < 3)
    for i, y in enumerate(outputs):
        for measure, number in (("activation_mean", np.mean(y)), ("activation_std", np.std(y))):
            assert observer.history(measure)[-1, i] == pytest.approx(number)
    dead, saturated = observer.history("dead")[-1], observer.history("saturated")[-1]
    assert dead[1] == pytest.approx(np.mean(np.all(outputs[1] == 0, axis=0)))
    assert saturated[3] == pytest.approx(np.mean(1 - outputs[3] ** 2 < 0.1))
    assert np.isnan(np.delete(dead, 1)).all()
    assert np.isnan(np.delete(saturated, 3)).all()

    scores = np.exp(outputs[4]) / np.exp(outputs[4]).sum(axis=1, keepdims=True)
    gradients = [(scores - np.eye(3)[np.array(to_host(t))]) / 20]
    gradients.append(gradients[-1] @ p["W3"].T)
    gradients.append(gradients[-1] * (1 - outputs[3] ** 2))
    gradients.append(gradients[-1] @ p["W2"].T)
    gradients.append(gradients[-1] * (outputs[0] > 0))
    inputs = np.array(to_host(x), dtype="float64"), outputs[1], outputs[3]
    for values, gradient, i in zip(inputs, gradients[::-2], (0, 2, 4), strict=True):
        found = observer.history("weight_gradient_std")[-1, i]
        assert found == pytest.approx(np.std(values.T @ gradient))
    for i, y in enumerate(outputs):
        expected = np.percentile(y, PERCENTILES)
        np.testing.assert_allclose(observer.percentiles()[-1, i], expected, rtol=1e-12)
    for i, gradient in enumerate(reversed(gradients)):
        assert observer.history("gradient_std")[-1, i] == pytest.approx(np.std(gradient))
        assert observer.history("gradient_mean")[-1, i] == pytest.approx(
            np.mean(gradient), abs=1e-12
        )
    for n, i in ((1, 0), (2, 2), (3, 4)):
        change = np.linalg.norm(p[f"W{n}"] - before[f"W{n}"]) / np.linalg.norm(before[f"W{n}"])
        assert observer.history("update_ratio")[-1, i] == pytest.approx(change)


def halves(backend, layers, **options):
    """Return the same network in half and in single precision, and a batch."""
    made = [
        Sequential(copy.deepcopy(layers), seed=0, device=backend.device, xp=backend.xp,
                   compute_dtype=dtype, **options)
        for dtype in ("float16", None)
    ]  # fmt: skip
    return *made, batch(backend, 200)


@HALF
@pytest.mark.parametrize("scale", [1.0, 1e-6])  # at 1e-6, gradients underflow in float16
def test_measures_in_half_precision_agree_with_single_precision(backend, scale):
    layers = [Affine(6, 8), BatchNormalization(8), Tanh(), Affine(8, 5), Sigmoid(), Affine(5, 3)]
    half, single, (x, t) = halves(backend, layers)
    observers = []
    with backend.active():
        single.params["W3"] *= scale
    half.params = single.params
    grads = single.gradient(x, t).copy()
    for network in (half, single):
        observers.append(Monitor(network, every=1))
        for _ in range(2):  # a large step, so that stale half-precision copies show
            SGD(lr=0.5).update(network.params, grads)
            observers[-1].observe(x, t)
    for measure in MEASURES:
        found, expected = (observer.history(measure) for observer in observers)
        atol = 0.0
        if measure.endswith("mean"):  # the mean may be near 0, the spread is not
            atol = 5e-4 * np.nanmax(observers[1].history(measure.replace("mean", "std")))
        # at step 0, gradients scaled by 1e-6 are subnormal in float16
        np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-2, atol=atol, err_msg=measure)
        np.testing.assert_allclose(found[0], expected[0], rtol=3e-2, atol=atol, err_msg=measure)
    for sample in observers[0].samples[2]:
        assert sample.dtype == np.float32


@HALF
def test_measures_do_not_overflow_in_half_precision(backend):
    half, single, _ = halves(backend, [Affine(6, 8), ReLU(), Affine(8, 3)])
    x = backend.asarray(np.random.default_rng(0).normal(size=(20_000, 6)), "float32")
    t = backend.zeros((20_000,), "int64")
    histories = []
    for network in (half, single):
        with backend.active():
            network.params["W1"] *= 1000.0
        observer = Monitor(network)
        observer.observe(x, t)
        histories.append([observer.history(name) for name in MEASURES if name[:2] in ("ac", "de")])
    assert np.nanmin(histories[1][1][0]) > 256
    for found, expected in zip(*histories, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1.0)


@HALF
def test_the_loss_is_not_computed_in_half_precision(backend):
    seen = []

    class Watched(SoftmaxWithLoss):
        def forward(self, x, t):
            seen.append(x.dtype)
            return super().forward(x, t)

    half, single, (x, t) = halves(backend, [Affine(6, 3)], loss=Watched())
    Monitor(half).observe(x, t)
    assert seen == [single.params.dtype] * 2  # steps 0 and 1


@HALF
def test_updates_of_half_precision_parameters_are_measured(backend):
    layers = [Affine(6, 8), ReLU(), Affine(8, 3)]
    network = Sequential(layers, device=backend.device, xp=backend.xp, dtype="float16")
    with backend.active():
        network.params["W1"][...] = 300.0
    observer = Monitor(network)
    with backend.active():
        network.params["W1"][...] = 600.0
    observer.observe(*batch(backend))
    assert observer.history("update_ratio")[-1, 0] == pytest.approx(1)


def test_saturated_sigmoid_outputs_are_counted(backend):
    network = everything(backend, Sigmoid)
    network.params["gamma1"] = [10.0] * 8
    observer = Monitor(network)
    x, t = batch(backend)
    observer.observe(x, t)
    y = observer.samples[1][2]
    assert observer.history("saturated")[-1, 2] == pytest.approx(np.mean(y * (1 - y) < 0.025))
    assert 0.5 < observer.history("saturated")[-1, 2] < 1


def test_the_update_ratio_is_independent_of_the_interval(backend):
    ratios = []
    for every in (1, 5):
        network = everything(backend)
        observer = Monitor(network, every=every)
        train(network, 6, observer, SGD(lr=0.1))
        ratios.append(dict(zip(observer.steps, observer.history("update_ratio"), strict=True)))
    assert np.isnan(ratios[0][0]).all()  # no update yet
    for step in (1, 6):
        np.testing.assert_allclose(ratios[0][step], ratios[1][step], rtol=1e-5)


def test_layers_before_the_first_weights_have_no_gradient():
    layers = [Dropout(0.5), Tanh(), Affine(6, 3)]
    network = Sequential(layers, seed=0)
    observer = Monitor(network)
    observer.observe(*batch(network.backend))
    assert np.isnan(observer.history("gradient_std")[-1]).tolist() == [True, True, False]


@pytest.mark.parametrize("units", [100, 7])
def test_samples_include_all_units(units):
    network = MultiLayerNet(6, [units], 3, seed=0)
    network.params["W1"] = np.zeros((6, units), "float32")
    network.params["b1"] = list(range(units))  # each unit outputs its own index
    observer = Monitor(network)
    observer.observe(np.zeros((3000, 6), "float32"), np.zeros(3000, dtype=int))
    sample = observer.samples[1][1]
    assert measures.SAMPLE / 2 < sample.shape[0] <= measures.SAMPLE
    assert set(sample) == set(range(units))


def test_a_trainer_with_a_monitor_trains_identically(backend):
    x, t = batch(backend, 9)

    def trainer(**options):
        network = everything(backend)
        watch = Monitor(network, every=2) if options.pop("watched", False) else None
        return Trainer(network, x, t, x, t, epochs=2, mini_batch_size=4, monitor=watch,
                       verbose=False, **options)  # fmt: skip

    plain, watched = trainer(), trainer(watched=True)
    plain.train()
    watched.train()
    assert watched.monitor.steps == [0, 1, 3, 5]
    assert watched.train_loss_list == plain.train_loss_list
    assert watched.test_acc_list == plain.test_acc_list
    np.testing.assert_array_equal(
        to_host(watched.network.params.flat), to_host(plain.network.params.flat)
    )


def test_step_0_is_the_network_before_the_first_update(backend):
    layers = [Affine(6, 8), BatchNormalization(8), ReLU(), Affine(8, 3)]
    network, untouched = (
        Sequential(copy.deepcopy(layers), seed=0, device=backend.device, xp=backend.xp)
        for _ in range(2)
    )
    x, t = batch(backend)
    observer = Monitor(network, every=5)
    train(network, 1, observer, SGD(lr=1.0))
    other = Monitor(untouched, every=5)
    other.observe(x, t)
    for measure in MEASURES:
        if measure != "update_ratio":
            np.testing.assert_array_equal(observer.history(measure)[0], other.history(measure)[1])
    assert (observer.history("activation_std")[0] != observer.history("activation_std")[1]).any()


def test_a_monitor_is_a_callback_of_any_loop():
    network = everything(CPU)
    observer = Monitor(network, every=2)
    Loop(network, SGD(), [batch(CPU)] * 3, [observer]).run(epochs=1)
    assert observer.steps == [0, 1, 3]
    loop = Loop(everything(CPU), SGD(), [batch(CPU)], [observer])
    with pytest.raises(ValueError, match=r"got one of another network. Create it with Monitor\("):
        loop.run(epochs=1)


@pytest.mark.parametrize("done", [0, 2, 3])
def test_a_resumed_monitor_goes_on_as_if_never_stopped(done):
    def made():
        network = everything(CPU)
        return Loop(network, Adam(), [batch(CPU)] * 6, [Monitor(network, every=2)])

    whole, first, second = made(), made(), made()
    whole.run(steps=6)
    if done:
        first.run(steps=done)
    second.load_state_dict(first.state_dict())
    second.run(steps=6 - done)
    ours, theirs = second.callbacks[0], whole.callbacks[0]
    assert ours.steps == theirs.steps == [0, 1, 3, 5]
    for measure in MEASURES:
        np.testing.assert_array_equal(ours.history(measure), theirs.history(measure))
    np.testing.assert_array_equal(ours.percentiles(), theirs.percentiles())
    for step, samples in theirs.samples.items():
        for sample, other in zip(samples, ours.samples[step], strict=True):
            np.testing.assert_array_equal(sample, other)


def test_a_notebook_shows_the_last_observation_and_its_warnings():
    network = everything(CPU)
    observer = Monitor(network)
    assert "none yet" in observer._repr_html_()
    network.params["b2"] = [-100.0] * 5
    observer.observe(*batch(CPU))
    shown = observer._repr_html_()
    assert shown.count("<tr>") == 1 + len(network.layers)
    assert f"{observer.history('activation_std')[-1, 0]:.3g}" in shown
    assert "<li>layer 6 (ReLU): 100% of the units are dead" in shown
    assert "nan" not in shown


def test_a_trainer_accepts_any_object_with_observe():
    seen = []

    class Watcher:
        def observe(self, x, t):
            seen.append((x.shape, t.shape, backend_of(x).name))

    network = MultiLayerNet(6, [4], 3, seed=0)
    x, t = batch(network.backend, 6)
    Trainer(network, x, t, x, t, 1, 3, monitor=Watcher(), verbose=False).train()
    assert seen == [((3, 6), (3,), "numpy")] * 2


@pytest.mark.parametrize(
    ("activation", "measure"), [("relu", "dead"), ("sigmoid", "saturated"), ("tanh", "saturated")]
)
def test_nan_counts_as_neither_dead_nor_saturated(backend, activation, measure):
    net = MultiLayerNet(
        6, [5], 3, activation, seed=0, dtype="float64", device=backend.device, xp=backend.xp
    )
    x, t = batch(backend)
    net.params["b1"] = backend.asarray(np.array([np.nan, -100, 0, 0, 100]))
    observer = Monitor(net, every=1)
    observer.observe(x, t)
    assert np.isnan(observer.history(measure)).all()


def test_mistakes_are_refused():
    network, other = (MultiLayerNet(6, [4], 3, seed=0) for _ in range(2))
    x, t = batch(network.backend, 6)
    with pytest.raises(ValueError, match="another network"):
        Trainer(network, x, t, x, t, monitor=Monitor(other), verbose=False)
    with pytest.raises(ValueError, match="every"):
        Monitor(network, every=0)
    with pytest.raises(ValueError, match="nothing has been observed yet"):
        Monitor(network).plot()
    with pytest.raises(
        ValueError, match="measure 'spread' is not known.* Choose from: 'activation_mean'"
    ):
        Monitor(network).history("spread")
    assert Monitor(network).history("dead").shape == (0, 3)
    assert Monitor(network).warnings() == []
