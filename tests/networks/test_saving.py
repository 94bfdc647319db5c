"""Saved networks: round trips, other devices and libraries, and refused files."""

import copy
import functools
import importlib
import json
import pickle
import subprocess
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlskills
from dlskills import (
    ELU,
    GELU,
    SELU,
    Adam,
    Affine,
    BatchNormalization,
    BinaryCrossEntropy,
    Dropout,
    FileFormatError,
    HuberLoss,
    Layer,
    LayerNormalization,
    LeakyReLU,
    MeanAbsoluteError,
    MeanSquaredError,
    MultiLayerNet,
    MultiLayerNetExtend,
    ReLU,
    RMSNormalization,
    Sequential,
    Sigmoid,
    Softmax,
    SoftmaxWithLoss,
    Softplus,
    Swish,
    Tanh,
    backend_of,
    get_backend,
    initializers,
    layers,
    to_host,
)
from dlskills.arrays.tensors_file import read_tensors, write_tensors
from dlskills.networks import description, saving

NUMPY = get_backend("cpu")


def extended(**more):
    return MultiLayerNetExtend(
        6, [5, 4], 3, "gelu", 0.1, 0.01, use_dropout=True, use_batchnorm=True, seed=3, **more
    )


def everything(**more):
    """A network with each layer, none as it is by default."""
    return Sequential(
        [
            Affine(6, 5, initializers.glorot_uniform()), BatchNormalization(5, 0.8, 1e-5,
            debias=False, correction=1), ReLU(), Dropout(0.25, inverted=True, seed=9),
            Affine(5, 4, "orthogonal"), LeakyReLU(0.2), LayerNormalization(4, 1e-4), Sigmoid(),
            Affine(4, 4, 0.3), RMSNormalization(4, 1e-3), Tanh(), Affine(4, 3, "he_uniform"),
            GELU(), Dropout(0.1),
        ],
        SoftmaxWithLoss(1e-7), 0.01, seed=5, **more,
    )  # fmt: skip


NETWORKS = {
    "MultiLayerNet": lambda **more: MultiLayerNet(6, [5, 4], 3, "tanh", "xavier", seed=2, **more),
    "MultiLayerNetExtend": extended,
    "the book's forms": lambda **more: MultiLayerNetExtend(
        6, [4], 3, use_dropout=True, dropout_ration=0.2, use_batchnorm=True,
        inverted_dropout=True, batchnorm_debias=False, seed=1, **more,
    ),
    "every layer": everything,
    "every other activation": lambda **more: Sequential(
        [
            Affine(6, 5, initializers.he("fan_out"), bias=False),
            BatchNormalization(5, affine=False), ELU(0.7), Affine(5, 5, initializers.identity(0.5)),
            SELU(), Affine(5, 5, initializers.uniform(0.4)), Swish(1.5),
            Affine(5, 4, initializers.truncated_normal(0.4)), Softplus(), Affine(4, 3, "swish"),
            GELU(approximate=True), Softmax(),
        ],
        SoftmaxWithLoss(label_smoothing=0.1, class_weights=[1, 2, 0.5]), seed=4, **more,
    ),
    "Dropout on the input": lambda **more: MultiLayerNetExtend(
        6, [4], 3, "swish", input_dropout_ratio=0.25, loss=HuberLoss(0.5), seed=6, **more
    ),
    "absolute errors": lambda **more: Sequential(
        [Affine(6, 3, np.eye(6, 3))], MeanAbsoluteError(), seed=0, **more
    ),
    "one score": lambda **more: Sequential([Affine(6, 1)], BinaryCrossEntropy(), seed=0, **more),
    "regression": lambda **more: Sequential([Affine(6, 3)], MeanSquaredError(), seed=0, **more),
    "no parameters": lambda **more: Sequential([ReLU(), BatchNormalization(6)], seed=0, **more),
}  # fmt: skip
every_network = pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)


def on(backend, make, **more):
    return make(device=backend.device, xp=backend.xp, **more)


def batch(network, seed=0):
    rng, here = np.random.default_rng(seed), network.backend
    x = here.asarray(rng.standard_normal((8, 6)), network.params.dtype)
    if isinstance(network.loss_layer, BinaryCrossEntropy):
        return x, here.asarray(rng.integers(0, 2, 8))
    if isinstance(network.loss_layer, layers.RegressionLoss):
        return x, here.asarray(rng.standard_normal((8, 3)), network.params.dtype)
    return x, here.asarray(rng.integers(0, 3, 8))


def train(network, steps, optimizer=None):
    """Train, and return what the steps gave and left."""
    optimizer, losses = optimizer or Adam(0.05), []
    for step in steps:
        loss, grads = network.loss_and_gradient(*batch(network, step))
        optimizer.update(network.params, grads)
        losses.append(float(loss))
    return losses, bits(network)


def bits(network):
    """All that training changes, to compare bit for bit."""
    return {
        name: (value.dtype.str, value.shape, value.tobytes()) if hasattr(value, "shape") else value
        for name, value in network.state_dict().items()
    }


# Files


@every_network
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_from_a_file_trains_on_bit_for_bit(backend, make, dtype, tmp_path):
    network = on(backend, make, dtype=dtype)
    train(network, range(3))
    network.save(tmp_path / "net.safetensors")
    loaded = dlskills.load(tmp_path / "net.safetensors", device=backend.device, xp=backend.xp)
    assert type(loaded) is type(network)
    assert repr(loaded) == repr(network)
    assert loaded.summary() == network.summary()
    assert loaded.backend == backend
    assert loaded.seed == network.seed
    assert bits(loaded) == bits(network)
    x, _ = batch(network)
    np.testing.assert_array_equal(to_host(loaded.predict(x)), to_host(network.predict(x)))
    assert train(loaded, range(3, 6)) == train(network, range(3, 6))


def test_every_layer_and_loss_is_among_them():
    made = [layer for make in NETWORKS.values() for layer in make().layers]
    public = [value for value in vars(layers).values() if isinstance(value, type)]
    own = {cls for cls in public if issubclass(cls, Layer)}
    assert own - {Layer, layers.Activation} == {type(layer) for layer in made}
    losses = {cls for cls in public if issubclass(cls, layers.Loss)}
    of_networks = {type(make().loss_layer) for make in NETWORKS.values()}
    assert losses - {layers.Loss, layers.RegressionLoss} == of_networks


@every_network
@pytest.mark.backends("strict", "torch", "cupy")
def test_a_file_moves_to_another_library_and_back(backend, make, tmp_path):
    network = make()
    train(network, range(3))
    network.save(tmp_path / "a")
    there = dlskills.load(tmp_path / "a", device=backend.device, xp=backend.xp)
    assert backend_of(there.params.flat) == backend
    assert bits(there) == bits(network)
    there.save(tmp_path / "b")
    back = dlskills.load(tmp_path / "b")
    assert back.backend == NUMPY
    assert bits(back) == bits(network)
    x, _ = batch(network)
    expected = to_host(there.predict(backend.asarray(x)))
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-4, atol=1e-6)


def test_a_file_in_another_dtype(tmp_path):
    network = extended()
    train(network, range(2))
    network.save(tmp_path / "a")
    wide = dlskills.load(tmp_path / "a", dtype="float64")
    assert wide.params.dtype == wide.compute_dtype == np.float64
    np.testing.assert_array_equal(wide.params["W1"], network.params["W1"])


@pytest.mark.backends("numpy", "torch", "cupy")
def test_mixed_precision(backend, tmp_path):
    network = on(backend, extended, compute_dtype="float16", loss_scale=64)
    train(network, range(3))
    network.save(tmp_path / "a")
    loaded = dlskills.load(tmp_path / "a", device=backend.device, xp=backend.xp)
    assert repr(loaded) == repr(network)
    assert train(loaded, range(3, 5)) == train(network, range(3, 5))


@pytest.mark.backends("torch")
def test_a_bfloat16_network_opens_elsewhere_in_a_dtype_of_its_own(backend, tmp_path):
    network = on(backend, NETWORKS["MultiLayerNet"], dtype="bfloat16")
    network.save(tmp_path / "a")
    again = dlskills.load(tmp_path / "a", xp=backend.xp)
    assert again.params.dtype == backend.xp.bfloat16
    assert bits(again) == bits(network)
    with pytest.raises(FileFormatError, match="a can't be loaded: dtype 'bfloat16' is not known"):
        dlskills.load(tmp_path / "a")
    assert bits(dlskills.load(tmp_path / "a", dtype="float32")) == bits(network)


def test_layers_that_were_changed_or_replaced_are_saved_as_they_are(tmp_path):
    network = extended()
    network.layers[3].dropout_ratio = 0.125
    network.layers[2] = LeakyReLU(0.3)
    network.save(tmp_path / "a")
    loaded = dlskills.load(tmp_path / "a")
    assert list(map(repr, loaded.layers)) == list(map(repr, network.layers))
    assert train(loaded, range(2)) == train(network, range(2))


def test_no_initial_values_are_drawn_when_loading(tmp_path, monkeypatch):
    extended().save(tmp_path / "a")
    monkeypatch.setattr("dlskills.networks.sequential.stream", None)
    dlskills.load(tmp_path / "a")


def test_a_file_is_opened_by_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    network = extended()
    network.save(tmp_path / "net.safetensors")
    found = safetensors.load_file(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(found["W1"], network.params["W1"])
    assert found["layers.1.running_mean"].shape == (5,)


@pytest.mark.backends("numpy")
def test_saving_takes_no_more_memory_than_the_arrays(backend, tmp_path):
    network = MultiLayerNet(500, [1000], 500)
    size = network.params.flat.nbytes
    tracemalloc.start()
    try:
        network.save(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 1.2 * size
        tracemalloc.reset_peak()
        dlskills.load(tmp_path / "a")
        # the file's arrays, the network's parameters and gradients, and those that are staged
        assert tracemalloc.get_traced_memory()[1] < 4.2 * size
    finally:
        tracemalloc.stop()


def test_a_file_is_opened_in_a_new_process(tmp_path):
    network = extended()
    network.save(tmp_path / "a")
    code = """
import sys, dlskills
network = dlskills.load(sys.argv[1])
print(network, end="")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, tmp_path / "a"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == repr(network)


# Own classes


class Scale(Layer):
    """A layer of a user's: with a parameter, a setting, and state that is no array."""

    def __init__(self, size, start=1.0):
        self.size, self.start = size, start
        self.passes = 0

    def declare(self):
        return {"scale": dlskills.Declared((self.size,), initializers.constant(self.start))}

    def forward(self, x, train_flg=True):
        self.passes += train_flg
        self._saved = x
        return x * self.params["scale"]

    def backward(self, dout):
        self.grads["scale"][...] = (dout * self._saved).sum(axis=0)
        return dout * self.params["scale"]

    def get_state(self):
        return {"passes": self.passes}

    def set_state(self, state):
        self.passes = state["passes"]


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(description, "_CLASSES", dict(description._CLASSES))


def with_scale():
    return Sequential([Affine(6, 3), Scale(3, 2.0)], seed=0)


@pytest.mark.usefixtures("registry")
def test_a_registered_layer_is_made_anew(tmp_path):
    assert dlskills.register(Scale) is Scale
    network = with_scale()
    train(network, range(3))
    network.save(tmp_path / "a")
    loaded = dlskills.load(tmp_path / "a")
    assert vars(loaded.layers[1]).items() >= {"size": 3, "start": 2.0, "passes": 3}.items()
    assert train(loaded, range(3, 5)) == train(network, range(3, 5))


@pytest.mark.usefixtures("registry")
def test_without_its_class_the_values_are_loaded_into_a_network_of_the_same_shape(tmp_path):
    network = with_scale()
    train(network, range(3))
    network.save(tmp_path / "a")
    message = r"a can't be loaded: the class 'Scale' is not known.* @dlskills.register .*load_state"
    with pytest.raises(FileFormatError, match=message):
        dlskills.load(tmp_path / "a")
    again = with_scale()
    again.load_state(tmp_path / "a")
    assert bits(again) == bits(network)
    dlskills.register(Scale)
    assert bits(dlskills.load(tmp_path / "a")) == bits(network)


@pytest.mark.usefixtures("registry")
def test_an_activation_a_loss_and_a_network_of_ones_own(tmp_path):
    @dlskills.register
    class Cube(dlskills.Activation):
        keeps = "input"
        function = staticmethod(lambda xp: lambda x: x * x * x)
        derivative = staticmethod(lambda xp: lambda dout, x: dout * 3 * x * x)

    @dlskills.register
    class Halved(MeanSquaredError):
        pass

    @dlskills.register
    class Named(Sequential):
        pass

    network = Named([Affine(6, 3), Cube()], Halved(), seed=0)
    network.save(tmp_path / "a")
    loaded = dlskills.load(tmp_path / "a")
    assert [type(loaded), type(loaded.layers[1]), type(loaded.loss_layer)] == [Named, Cube, Halved]
    assert train(loaded, range(3)) == train(network, range(3))


@pytest.mark.usefixtures("registry")
def test_a_network_with_a_constructor_of_its_own_is_loaded_into_one(tmp_path):
    @dlskills.register
    class Small(Sequential):
        def __init__(self, size):
            super().__init__([Affine(6, size)], seed=0)

    Small(3).save(tmp_path / "a")
    with pytest.raises(FileFormatError, match=r"Small defines its own constructor; make the net"):
        dlskills.load(tmp_path / "a")
    network = Small(3)
    network.load_state(tmp_path / "a")


class Secret(Layer):
    def __init__(self, size):
        self._size = size

    def forward(self, x, train_flg=True):
        return x

    def backward(self, dout):
        return dout


@pytest.mark.usefixtures("registry")
def test_a_layer_that_hides_its_settings(tmp_path):
    network = Sequential([Affine(6, 3), Secret(3)], seed=0)
    network.save(tmp_path / "a")
    dlskills.register(Secret)
    with pytest.raises(FileFormatError, match="the file has no settings of Secret. Register the"):
        dlskills.load(tmp_path / "a")
    with pytest.raises(TypeError, match=r"Secret has no attribute 'size' .* define settings\(\)"):
        network.save(tmp_path / "a")
    again = Sequential([Affine(6, 3), Secret(3)], seed=1)
    again.load_state(tmp_path / "a")
    assert bits(again) == bits(network)


@pytest.mark.usefixtures("registry")
def test_what_is_registered_is_checked():
    with pytest.raises(TypeError, match="register takes a subclass of Layer, Loss or Sequential"):
        dlskills.register(int)
    with pytest.raises(ValueError, match="the name 'Affine' is already taken by dlskills.layers"):
        dlskills.register(type("Affine", (Layer,), {}))
    first, second = (type("Twice", (Layer,), {}) for _ in range(2))
    dlskills.register(first)
    dlskills.register(second)  # the cell of a notebook, run again
    assert description.registered("Twice", Layer) is second


def test_an_initializer_of_ones_own_is_remembered_by_its_name(tmp_path):
    def ones(shape, rng):
        return np.ones(shape)

    network = Sequential([Affine(6, 3, ones)], seed=0)
    network.save(tmp_path / "a")
    loaded = dlskills.load(tmp_path / "a")
    assert bits(loaded) == bits(network)
    assert "ones" in repr(loaded)
    loaded.save(tmp_path / "b")
    assert repr(dlskills.load(tmp_path / "b")) == repr(loaded)
    with pytest.raises(RuntimeError, match="only the name of its initializer, .*ones; pass"):
        loaded.layers[0].weight_init((6, 3), None)


# States


def test_a_state_is_flat_and_a_copy(backend):
    network = on(backend, extended)
    train(network, range(2))
    state, before = network.state_dict(), bits(network)
    assert list(state)[:4] == ["W1", "b1", "gamma1", "beta1"]
    assert state["layers.1.batches"] == 2
    assert {type(v) for name, v in state.items() if hasattr(v, "shape")} == {np.ndarray}
    json.dumps({name: value for name, value in state.items() if not hasattr(value, "shape")})
    kept = copy.deepcopy(state)
    train(network, range(2, 4))
    assert bits(network) != before
    np.testing.assert_equal(state, kept)
    network.load_state_dict(state)
    assert bits(network) == before
    state["W1"][...] = 7
    assert bits(network) == before


def test_a_state_can_stay_on_the_device(backend):
    network = on(backend, extended)
    train(network, range(2))
    before, state = bits(network), network.state_dict(on_host=False)
    assert all(backend_of(v) == backend for v in state.values() if hasattr(v, "shape"))
    train(network, range(2, 4))
    network.load_state_dict(state)
    assert bits(network) == before


def test_the_masks_go_on_whatever_the_seed_of_the_network():
    first, second = extended(), MultiLayerNetExtend(
        6, [5, 4], 3, "gelu", 0.1, 0.01, use_dropout=True, use_batchnorm=True, seed=77
    )  # fmt: skip
    train(first, range(3))
    train(second, range(1))
    second.load_state_dict(first.state_dict())
    assert train(second, range(3, 6)) == train(first, range(3, 6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("b1"), r"it lacks 'b1'$"),
        (lambda s: s.pop("layers.1.running_var"), "it lacks 'layers.1.running_var'"),
        (lambda s: s.clear(), "it lacks 'W1', .* and 14 more"),
        (lambda s: s.update(W9=1), "it has 'W9', which the network lacks"),
        (lambda s: s.update(W1=np.ones((5, 6))), r"'W1' has shape \(5, 6\), expected \(6, 5\)"),
        (lambda s: s.update(W1=3.0), "'W1' must be an array, got a float"),
        (lambda s: s.update({"layers.1.running_mean": np.ones(4)}), r"has shape \(4,\), exp.*5,"),
        (lambda s: s.update({"layers.1.batches": -1}), "batches must be at least 0, got -1"),
        (lambda s: s.update({"layers.3.masks": -1}), "masks must be at least 0, got -1"),
        (lambda s: s.update({"layers.7.key": [1, 2, 3]}), "key must be two numbers, got 3"),
        (lambda s: s.update({"layers.7.key": [2**64, 0]}), "must be less than"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(backend, change, message):
    network = on(backend, extended)
    train(network, range(2))
    state = network.state_dict()
    train(network, range(2, 4))
    before = bits(network)
    change(state)
    with pytest.raises(ValueError, match=message):
        network.load_state_dict(state)
    assert bits(network) == before


def test_a_state_is_a_mapping():
    with pytest.raises(TypeError, match="a network's state is a mapping, got a str"):
        extended().load_state_dict("net.safetensors")


# Pickles


@every_network
def test_a_pickle_holds_arrays_of_numpy_alone(backend, make):
    network = on(backend, make)
    train(network, range(2))
    found = pickle.loads(pickle.dumps(network))
    assert found.backend == backend
    assert bits(found) == bits(network)
    assert train(found, range(2, 4)) == train(copy.deepcopy(network), range(2, 4))


WITHOUT_LIBRARY = """
import sys, warnings
for name in ("torch", "array_api_strict", "cupy"):
    sys.modules[name] = None  # importing it fails, as where it is not installed
import pickle, numpy
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    network, optimizer = pickle.loads(open(sys.argv[1], "rb").read())
assert any("opened on NumPy" in str(w.message) for w in caught), caught
assert type(network.params.flat) is numpy.ndarray
x = numpy.ones((4, 6), "float32")
optimizer.update(network.params, network.gradient(x, numpy.zeros(4, int)))
print(network.backend, optimizer.step, network.layers[1].batches)
"""


@pytest.mark.backends("strict", "torch", "cupy")
@pytest.mark.parametrize("more", [{}, {"compute_dtype": "float64"}])
def test_a_pickle_opens_where_the_library_is_missing(backend, tmp_path, more):
    network, optimizer = on(backend, extended, **more), Adam()
    train(network, range(2), optimizer)
    (tmp_path / "a").write_bytes(pickle.dumps((network, optimizer)))
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LIBRARY, tmp_path / "a"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "cpu (NumPy) 3 3"


def test_a_deep_copy_stays_on_its_device(backend, monkeypatch):
    network = on(backend, NETWORKS["MultiLayerNet"])
    parameters = importlib.import_module("dlskills.arrays.parameters")
    monkeypatch.setattr(parameters, "to_host", None)
    twin = copy.deepcopy(network)
    monkeypatch.undo()
    assert bits(twin) == bits(network)
    train(twin, range(1))
    assert bits(twin) != bits(network)


# Hostile files


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "net.safetensors"
    extended().save(path)
    return path


def changed(good, change, path):
    """The file with other metadata, and a checksum that fits."""
    arrays, metadata = read_tensors(good)
    change(metadata, arrays)
    write_tensors(path, arrays, metadata)
    return path


def structure(key, value):
    return lambda metadata, arrays: metadata["network"].update({key: value})


def layer(i, **settings):
    return lambda metadata, arrays: metadata["network"]["layers"][i]["settings"].update(settings)


REFUSED = {
    "another format": (lambda m, a: m.update(format="x"), "its format is 'x', expected"),
    "no format": (lambda m, a: m.clear(), "its format is None, expected"),
    "a newer version": (
        lambda m, a: m.update(version=saving.VERSION + 1),
        "has format version 2, this dlskills reads up to 1; update dlskills",
    ),
    "a version that is text": (lambda m, a: m.update(version="1"), "version must be a whole"),
    "no values": (lambda m, a: m.update(values=None), "values must be an object, got None"),
    "no structure": (lambda m, a: m.pop("network"), "its structure must have class, compute"),
    "structure without layers": (structure("layers", 3), "its layers must be a list"),
    "no layer": (structure("layers", []), "layers must be a list of at least one layer"),
    "a layer that is a number": (structure("layers", [3]), "must be described by its class"),
    "an unknown class": (structure("class", "os.system"), "the class 'os.system' is not known"),
    "a class that is a list": (structure("class", ["Sequential"]), "is not known"),
    "a layer as network": (structure("class", "Affine"), "Affine is not a Sequential"),
    "a network as layer": (
        structure("layers", [{"class": "Sequential", "settings": {}}]), "Sequential is not a Layer",
    ),
    "a huge layer": (layer(0, input_size=10**12), r"needs .W1. of shape \(1000000000000, 5"),
    "a huge norm": (layer(1, size=10**12), r"needs .gamma1. of shape"),
    "a size below 0": (layer(0, output_size=-1), "output_size must be at least 1, got -1"),
    "a size that is text": (layer(0, output_size="5"), "output_size must be a whole number"),
    "a setting too many": (layer(0, x=1), "Affine has no argument 'x'"),
    "a ratio of 2": (layer(3, dropout_ratio=2), "dropout_ratio must be .* less than 1, got 2"),
    "an unknown initializer": (
        layer(0, weight_init_std={"initializer": "eval", "settings": {}}), "has an unknown form",
    ),
    "a setting of no kind": (layer(0, weight_init_std={"x": 1}), "has an unknown form"),
    "a deep setting": (
        layer(0, weight_init_std=functools.reduce(lambda a, _: [a], range(400), 1)), "loaded",
    ),
    "other sizes": (
        lambda m, a: m["network"]["settings"].update(hidden_size_list="many"), "must be a list",
    ),
    "an activation": (
        lambda m, a: m["network"]["settings"].update(activation="x"), "activation 'x' is not known",
    ),
    "a setting of the network": (
        lambda m, a: m["network"]["settings"].update(x=1), "has no argument 'x'",
    ),
    "a setting twice": (lambda m, a: m["network"]["settings"].update(seed=1), "seed"),
    "a dtype": (structure("dtype", "object"), "dtype must be a real floating-point type"),
    "a seed": (structure("seed", -1), "seed must be at least 0, got -1"),
    "a seed that is text": (structure("seed", "x"), "seed must be a whole number"),
    "a decay": (structure("weight_decay_lambda", None), "weight_decay_lambda must be a number"),
    "a loss": (structure("loss", {"class": "ReLU", "settings": {}}), "ReLU is not a Loss"),
    "an array too few": (lambda m, a: a.pop("b2"), r"needs 'b2' of .*, the file has none"),
    "an array too many": (lambda m, a: a.update(W9=np.ones(1)), "it has 'W9'"),
    "another shape": (lambda m, a: a.update(b2=np.ones(7)), r"the file has \(7,\)"),
    "a value of another kind": (
        lambda m, a: m["values"].update({"layers.3.masks": "x"}), "masks must be a whole number",
    ),
    "a huge position": (lambda m, a: m["values"].update({"layers.3.masks": 2**99}), "less than"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_hostile_files_are_refused_by_name(good, tmp_path, change, message):
    path = changed(good, change, tmp_path / "net.safetensors")
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=message) as error:
            dlskills.load(path)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
    assert str(path) in str(error.value)


def test_a_file_that_does_not_fit_changes_nothing(good, tmp_path):
    network = NETWORKS["the book's forms"]()
    before = bits(network)
    with pytest.raises(FileFormatError, match=r"net\.safetensors: the state does not fit the netw"):
        network.load_state(good)
    assert bits(network) == before


def paths_in(value, path=()):
    """Where all values of nested metadata are."""
    yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from paths_in(item, (*path, key))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["Affine", "ReLU", "float64", "relu", "Sequential", "MultiLayerNet"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["class", "settings", "function", "x"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.data())
def test_metadata_changed_at_any_place_is_read_or_refused_by_name(good, data):
    arrays, metadata = read_tensors(good)
    holder = [metadata]
    *parents, last = (0, *data.draw(st.sampled_from(list(paths_in(metadata)))))
    target = holder
    for key in parents:
        target = target[key]
    target[last] = data.draw(json_values)
    if not isinstance(holder[0], dict):
        holder[0] = {}
    path = good.with_name("changed.safetensors")
    write_tensors(path, arrays, holder[0])
    try:
        network = dlskills.load(path)
    except FileFormatError as error:
        message = str(error)
    else:  # such as another seed, or another activation
        message = f"changed.safetensors gives {network!r}: {network.summary()}"
        network.predict(np.ones((2, 6), np.float32))
    assert "changed.safetensors" in message


def test_an_unknown_device_is_no_fault_of_the_file(good):
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(dlskills.DeviceError, match="device 'nowhere' is not known"):
        dlskills.load(good, device="nowhere", xp=strict)


def test_no_warning_where_the_library_is_installed(backend):
    network = on(backend, extended)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(network))
