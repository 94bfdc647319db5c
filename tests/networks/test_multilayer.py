"""The tutorial's networks: names, seeds, gradients, and the tutorial's own calls."""

import numpy as np
import pytest
from gradient_check import assert_same_gradient, normal

from dlskills import (
    GELU,
    SELU,
    Affine,
    BatchNormalization,
    Dropout,
    LeakyReLU,
    MultiLayerNet,
    MultiLayerNetExtend,
    ReLU,
    Sigmoid,
    SoftmaxWithLoss,
    Swish,
    Tanh,
    to_host,
)
from dlskills.layers import ACTIVATIONS

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]


def on(backend, kind=MultiLayerNet, sizes=(5, [4, 3], 3), **settings):
    settings = {"seed": 1, "dtype": "float64"} | settings
    return kind(*sizes, device=backend.device, xp=backend.xp, **settings)


def assert_gradients(net, backend):
    for name in ("b1", "b2", "b3"):
        net.params[name] += 0.1  # away from ReLU's kink at 0
    x, t = normal(backend, 8, 5, seed=3), backend.asarray(LABELS)
    expected = net.numerical_gradient(x, t)
    grads = net.gradient(x, t)
    for name, gradient in expected.items():
        assert_same_gradient(grads[name], gradient, name)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("decay", [0, 0.1])
def test_gradients_of_the_plain_network(backend, activation, decay):
    assert_gradients(on(backend, activation=activation, weight_decay_lambda=decay), backend)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "swish"])
@pytest.mark.parametrize(
    "extras",
    [
        {},
        {"use_batchnorm": True},
        {"use_dropout": True, "dropout_ratio": 0.3},
        {"use_dropout": True, "use_batchnorm": True, "weight_decay_lambda": 0.1},
        {"use_dropout": True, "inverted_dropout": True, "use_batchnorm": True},
        {"input_dropout_ratio": 0.4},
    ],
    ids=lambda extras: ",".join(extras) or "none",
)
@pytest.mark.slow
def test_gradients_of_the_extended_network(backend, activation, extras):
    assert_gradients(on(backend, MultiLayerNetExtend, activation=activation, **extras), backend)


def test_names_and_shapes():
    net = MultiLayerNet(784, [100, 50], 10)

    assert net.params.shapes == {
        "W1": (784, 100),
        "b1": (100,),
        "W2": (100, 50),
        "b2": (50,),
        "W3": (50, 10),
        "b3": (10,),
    }
    assert net.grads.shapes == net.params.shapes
    assert net.params.dtype == np.float32


def test_names_and_shapes_with_batch_normalization():
    net = MultiLayerNetExtend(784, [100, 50], 10, use_batchnorm=True)
    names = ["W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3"]

    assert list(net.params) == names
    assert net.params["gamma2"].tolist() == [1] * 50
    assert net.params["beta2"].tolist() == net.params["b2"].tolist() == [0] * 50


def test_no_hidden_layer():
    net = MultiLayerNet(5, [], 3)

    assert net.params.shapes == {"W1": (5, 3), "b1": (3,)}
    assert net.predict(np.ones((2, 5))).shape == (2, 3)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("relu", ReLU),
        ("ReLU", ReLU),
        ("Sigmoid", Sigmoid),
        ("tanh", Tanh),
        ("LeakyReLU", LeakyReLU),
        ("GELU", GELU),
        ("swish", Swish),
        ("SiLU", Swish),
        ("selu", SELU),
    ],
)
def test_layers_of_the_plain_network(given, kind):
    kinds = [type(layer) for layer in MultiLayerNet(5, [4, 4], 3, given).layers]

    assert kinds == [Affine, kind, Affine, kind, Affine]


@pytest.mark.parametrize(
    ("extras", "between"),
    [
        ({}, [ReLU]),
        ({"use_batchnorm": True}, [BatchNormalization, ReLU]),
        ({"use_dropout": True}, [ReLU, Dropout]),
        ({"use_dropout": True, "use_batchnorm": True}, [BatchNormalization, ReLU, Dropout]),
    ],
)
def test_layers_of_the_extended_network(extras, between):
    kinds = [type(layer) for layer in MultiLayerNetExtend(5, [4, 4], 3, **extras).layers]

    assert kinds == [Affine, *between, Affine, *between, Affine]


@pytest.mark.parametrize("inverted", [False, True])
def test_dropout_on_the_input(inverted):
    net = MultiLayerNetExtend(
        500, [4], 3, input_dropout_ratio=0.2, inverted_dropout=inverted, seed=1, dtype="float64"
    )
    assert [type(layer) for layer in net.layers] == [Dropout, Affine, ReLU, Affine]
    first, x = net.layers[0], np.ones((200, 500))
    dropped = first.forward(x, True)
    assert np.mean(dropped == 0) == pytest.approx(0.2, abs=0.01)
    kept = 1.0 if inverted else 0.8
    np.testing.assert_allclose(first.forward(x, False), kept)
    shown = ", input_dropout_ratio=0.2" + ", inverted_dropout=True" * inverted
    assert shown in repr(net)
    plain = MultiLayerNetExtend(500, [4], 3, seed=1, dtype="float64")
    np.testing.assert_array_equal(net.params.flat, plain.params.flat)
    with pytest.raises(ValueError, match="input_dropout_ratio must be at least 0 and less than 1"):
        MultiLayerNetExtend(5, [4], 3, input_dropout_ratio=1)
    message = r"no argument 'input_dropout_ratio'. Write MultiLayerNetExtend\(..., input_dropout_r"
    with pytest.raises(TypeError, match=message):
        MultiLayerNet(5, [4], 3, input_dropout_ratio=0.2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [MultiLayerNet, MultiLayerNetExtend])
def test_a_seed_gives_the_same_network_everywhere(backend, kind, dtype):
    here, there = kind(5, [4, 3], 3, seed=1, dtype=dtype), on(backend, kind, dtype=dtype)

    np.testing.assert_array_equal(to_host(there.params.flat), here.params.flat)
    assert (kind(5, [4, 3], 3, seed=2).params["W1"] != here.params["W1"]).all()
    assert (kind(5, [4, 3], 3).params["W1"] != kind(5, [4, 3], 3).params["W1"]).all()


def test_adding_layers_does_not_change_the_initial_weights():
    plain = MultiLayerNet(5, [4, 3], 3, seed=1)
    full = MultiLayerNetExtend(5, [4, 3], 3, use_dropout=True, use_batchnorm=True, seed=1)
    for name, array in plain.params.items():
        np.testing.assert_array_equal(full.params[name], array)


def test_a_seed_gives_the_same_gradients_everywhere(backend):
    extras = {"use_dropout": True, "use_batchnorm": True}
    here = MultiLayerNetExtend(5, [4, 3], 3, seed=1, dtype="float64", **extras)
    there = on(backend, MultiLayerNetExtend, **extras)
    x, t = np.random.default_rng(0).standard_normal((8, 5)), np.asarray(LABELS)
    for _ in range(2):
        expected = here.gradient(x, t)
        grads = there.gradient(backend.asarray(x, "float64"), backend.asarray(t))
        np.testing.assert_allclose(to_host(grads.flat), expected.flat, atol=1e-13)
    np.testing.assert_allclose(
        to_host(there.predict(backend.asarray(x, "float64"))), here.predict(x), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("given", "std"), [("relu", np.sqrt(2 / 400)), ("sigmoid", np.sqrt(1 / 400)), (0.01, 0.01)]
)
def test_weight_init_std(given, std):
    W = MultiLayerNet(400, [300], 10, weight_init_std=given, seed=0).params["W1"]

    assert W.std() == pytest.approx(std, rel=4 / np.sqrt(2 * W.size))


def test_the_tutorials_calls():
    """With the tutorial's argument order and spelling."""
    net = MultiLayerNetExtend(
        784, [10, 10], 10, "relu", "relu", 0.1, True, 0.2, True
    )  # fmt: skip
    assert (net.weight_decay_lambda, net.use_dropout, net.dropout_ratio) == (0.1, True, 0.2)
    assert net.use_batchnorm
    net = MultiLayerNetExtend(
        input_size=784,
        hidden_size_list=[100, 100, 100, 100, 100, 100],
        output_size=10,
        use_dropout=True,
        dropout_ration=0.2,
    )
    assert [layer.dropout_ratio for layer in net.layers if isinstance(layer, Dropout)] == [0.2] * 6
    x, t = np.zeros((3, 784)), np.eye(10)[[0, 1, 2]]
    assert net.predict(x, train_flg=True).shape == (3, 10)
    assert float(net.loss(x, t)) == pytest.approx(np.log(10), rel=1e-6)
    assert 0 <= net.accuracy(x, t) <= 1
    assert set(net.gradient(x, t)) == set(net.params)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (
            MultiLayerNet(784, (100,), 10, "ReLU", 0.01, 0.1, seed=1),
            "MultiLayerNet(784, [100], 10, activation='relu', weight_init_std=0.01, "
            "weight_decay_lambda=0.1, seed=1)",
        ),
        (
            MultiLayerNetExtend(784, [100], 10, seed=1),
            "MultiLayerNetExtend(784, [100], 10, activation='relu', weight_init_std='relu', "
            "seed=1)",
        ),
        (
            MultiLayerNetExtend(
                784, [100], 10, use_dropout=True, use_batchnorm=True, inverted_dropout=True, seed=1
            ),
            "MultiLayerNetExtend(784, [100], 10, activation='relu', weight_init_std='relu', "
            "use_dropout=True, dropout_ratio=0.5, inverted_dropout=True, use_batchnorm=True, "
            "seed=1)",
        ),
        (
            MultiLayerNetExtend(
                784,
                [9],
                10,
                use_batchnorm=True,
                batchnorm_debias=False,
                loss=SoftmaxWithLoss(epsilon=1e-7),
                seed=1,
            ),
            "MultiLayerNetExtend(784, [9], 10, activation='relu', weight_init_std='relu', "
            "loss=SoftmaxWithLoss(epsilon=1e-07), use_batchnorm=True, batchnorm_debias=False, "
            "seed=1)",
        ),
        (
            MultiLayerNet(784, [9], 10, dtype="float64", compute_dtype="float16", seed=1),
            "MultiLayerNet(784, [9], 10, activation='relu', weight_init_std='relu', "
            "dtype='float64', compute_dtype='float16', loss_scale=1024, seed=1)",
        ),
    ],
)
def test_repr_can_be_read_and_run(net, expected):
    assert repr(net) == expected
    twin = eval(expected)
    assert repr(twin) == expected
    np.testing.assert_array_equal(twin.params.flat, net.params.flat)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, [4], 3), ValueError, "input_size must be at least 1, got 0"),
        ((5, [4, 0], 3), ValueError, "each size in hidden_size_list must be at least 1, got 0"),
        ((5, [4.0], 3), TypeError, "each size in hidden_size_list must be a whole number"),
        ((5, [4], 0), ValueError, "output_size must be at least 1, got 0"),
        ((5, [4], 3, "rleu"), ValueError, r"activation 'rleu' is not known; did you mean 'relu'\?"),
        (
            (5, [4], 3, "relu", "xavie"),
            ValueError,
            r"weight_init_std 'xavie' is not known; did you",
        ),
        ((5, [4], 3, "relu", "relu", -1), ValueError, "weight_decay_lambda must be at least 0"),
        ((5, [4], 3, "relu", "relu", 0, True, 1), ValueError, "dropout_ratio must be at least 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        MultiLayerNetExtend(*arguments)


@pytest.mark.parametrize(
    ("kind", "keyword", "remedy"),
    [
        (MultiLayerNet, "hidden_sizes", r"hidden_size_list=\[...\]"),
        (MultiLayerNet, "num_classes", "output_size=..."),
        (MultiLayerNet, "weight_decay", "weight_decay_lambda=..."),
        (MultiLayerNet, "dropout_rate", r"MultiLayerNetExtend\(..., use_dropout=True, dropout_r"),
        (MultiLayerNet, "use_batchnorm", r"MultiLayerNetExtend\(..., use_batchnorm=True\)"),
        (MultiLayerNet, "learning_rate", "lr=... for the optimizer"),
        (MultiLayerNetExtend, "dropout", "use_dropout=True, dropout_ratio=..."),
        (MultiLayerNetExtend, "batch_norm", "use_batchnorm=True"),
        (MultiLayerNetExtend, "random_state", "seed=..."),
    ],
)
def test_keywords_of_other_libraries_get_the_name_used_here(kind, keyword, remedy):
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no argument .* Write {remedy}"):
        kind(5, [4], 3, **{keyword: 1})


def test_a_misspelled_keyword_gets_the_nearest():
    with pytest.raises(TypeError, match="'activaton'; did you mean 'activation'"):
        MultiLayerNet(5, [4], 3, activaton="relu")


@pytest.mark.parametrize(
    "sizes", [(4, 3), np.array([4, 3]), [np.int64(4), np.uint8(3)], (n for n in (4, 3))]
)
def test_sizes_may_be_of_numpy(sizes):
    network = MultiLayerNet(np.int64(5), sizes, np.int32(2), seed=np.int64(0))
    assert repr(network).startswith("MultiLayerNet(5, [4, 3], 2,")
    assert network.params["W3"].shape == (3, 2)


@pytest.mark.parametrize("sizes", [5, np.int64(5), np.array(5), 5.0, None, "55"])
def test_sizes_that_are_no_list_are_refused(sizes):
    with pytest.raises(
        TypeError, match=r"hidden_size_list must be a list, such as \[100, 100\], g"
    ):
        MultiLayerNet(5, sizes, 2)
