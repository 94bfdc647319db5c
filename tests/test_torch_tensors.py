"""PyTorch tensors from user code: leaves, transposed weights, unsigned labels."""

import numpy as np
import pytest

from dlskills import (
    SGD,
    Adam,
    Affine,
    MeanSquaredError,
    MultiLayerNet,
    Parameters,
    Sequential,
    Trainer,
    clip_factor,
    get_backend,
    numerical_gradient,
    to_device,
    to_host,
)

torch = pytest.importorskip("torch")

LABELS = np.array([0, 1, 2, 0, 1, 2])
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]


def make_network(**options):
    return MultiLayerNet(4, [5], 3, seed=0, xp=torch, **options)


def inputs():
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def linear(inputs=4, outputs=5):
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs)


def assert_equal(actual, expected):
    np.testing.assert_array_equal(to_host(actual), to_host(expected))


# Parameters that require grad


@pytest.mark.parametrize("rule", [SGD, Adam, lambda: SGD(clip_norm=0.1, weight_decay=0.1)])
def test_an_optimizer_updates_the_parameters_of_a_module(rule):
    module = linear()
    params = dict(module.named_parameters())
    grads = {name: torch.ones_like(param) for name, param in params.items()}
    expected = {name: to_host(param).copy() for name, param in params.items()}
    rule().update(expected, {name: np.ones_like(param) for name, param in expected.items()})
    rule().update(params, grads)
    for name, param in params.items():
        np.testing.assert_allclose(to_host(param), expected[name], rtol=1e-6)
        assert param.requires_grad
        assert param.grad_fn is None
    module(inputs()).sum().backward()  # the module still works in PyTorch


def test_gradients_that_require_grad_are_not_tracked():
    params = {"w": torch.ones(3)}
    Adam().update(params, {"w": 2 * torch.ones(3, requires_grad=True)})
    assert not params["w"].requires_grad
    assert not clip_factor({"w": torch.ones(3, requires_grad=True)}, 1.0).requires_grad


def assigned_one():
    network = make_network()
    network.params["W1"] = linear().weight.T
    return network


def assigned_all():
    network = make_network()
    network.params = {"W1": linear().weight.T} | {
        name: param.clone().requires_grad_()
        for name, param in network.params.items()
        if name != "W1"
    }
    return network


def assigned_flat():
    network = assigned_one()
    values = network.params.flat.clone().requires_grad_()
    network.params.flat = values
    return network


@pytest.mark.parametrize("make", [assigned_one, assigned_all, assigned_flat])
def test_a_network_copies_the_weights_of_a_module(make):
    network = make()
    assert_equal(network.params["W1"], linear().weight.T)
    assert not network.params.flat.requires_grad
    labels = torch.from_numpy(LABELS)
    before = float(network.loss(inputs(), labels))
    optimizer = SGD(lr=0.1)
    for _ in range(5):
        optimizer.update(network.params, network.gradient(inputs(), labels))
    assert float(network.loss(inputs(), labels)) < before
    assert linear().weight.requires_grad


def test_parameters_from_module_tensors_are_detached():
    module = linear()
    params = Parameters(dict(module.named_parameters()))
    assert not params.flat.requires_grad
    assert_equal(params["weight"], module.weight)


def test_the_numerical_gradient_accepts_parameters_that_require_grad():
    weight = linear(3, 2).weight.double().detach().requires_grad_()
    found = numerical_gradient(lambda: torch.sum(weight**2), {"w": weight})["w"]
    np.testing.assert_allclose(to_host(found), 2 * to_host(weight), rtol=1e-8)


# Inputs that require grad


def test_inputs_that_require_grad_give_the_same_numbers():
    network, labels = make_network(weight_decay_lambda=0.1), torch.from_numpy(LABELS)
    x = inputs()
    leaf = x.clone().requires_grad_()
    for of_leaf, plain in (
        (network.predict(leaf), network.predict(x)),
        (network.loss(leaf, labels), network.loss(x, labels)),
        (network.gradient(leaf, labels).flat.clone(), network.gradient(x, labels).flat),
    ):
        assert_equal(of_leaf, plain)
        assert not of_leaf.requires_grad
    assert network.accuracy(leaf, labels) == network.accuracy(x, labels)
    assert leaf.grad is None


def test_layers_and_losses_receive_detached_tensors():
    seen = []

    class Watching(MeanSquaredError):
        def forward(self, x, t):
            seen.append(t.requires_grad)
            return super().forward(x, t)

    class Spy(Affine):
        def forward(self, x, train_flg=True):
            seen.append(x.requires_grad)
            return super().forward(x, train_flg)

    network = Sequential([Spy(4, 4)], Watching(), seed=0, xp=torch)
    network.gradient(inputs().requires_grad_(), inputs().requires_grad_())
    assert seen == [False, False]


@pytest.mark.parametrize("xp", [torch, None], ids=["torch", "numpy"])
def test_a_trainer_accepts_inputs_and_targets_that_require_grad(xp):
    losses = []
    for requires_grad in (False, True):
        x = inputs().requires_grad_(requires_grad)
        t = (2 * inputs()[:, :1]).requires_grad_(requires_grad)
        network = Sequential([Affine(4, 1)], MeanSquaredError(), seed=0, xp=xp)
        trainer = Trainer(network, x, t, x, t, epochs=2, mini_batch_size=3, verbose=False)
        trainer.train()
        losses.append(trainer.train_loss_list)
    assert losses[0] == losses[1]


def test_to_device_detaches_without_copying():
    weight = linear().weight
    here = to_device(weight, xp=torch)
    assert not here.requires_grad
    assert here.data_ptr() == weight.data_ptr()
    assert weight.requires_grad


def test_autograd_is_disabled_in_the_backends_context():
    with get_backend(xp=torch).active():
        assert not (2 * linear().weight).requires_grad
    assert (2 * linear().weight).requires_grad


# Unsigned labels


@pytest.mark.parametrize("dtype", UNSIGNED)
@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_unsigned_labels_match_signed_labels(dtype, one_hot, library):
    labels = np.eye(3, dtype=int)[LABELS] if one_hot else LABELS
    unsigned = labels.astype(dtype)
    unsigned = torch.from_numpy(unsigned) if library == "torch" else unsigned
    options = {
        "epochs": 2, "mini_batch_size": 2, "sampling": "epoch", "verbose": False,
        "evaluate_sample_num_per_epoch": 3, "evaluate_samples": "random",
    }  # fmt: skip
    lists = []
    for t in (labels, unsigned):
        trainer = Trainer(make_network(), inputs(), t, inputs(), t, **options)
        trainer.train()
        lists.append((trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc))
    assert lists[0] == lists[1]
    if library == "torch":
        network, signed = make_network(), torch.from_numpy(labels)
        assert network.accuracy(inputs(), unsigned) == network.accuracy(inputs(), signed)
        assert_equal(network.loss(inputs(), unsigned), network.loss(inputs(), signed))


# Overlapping views


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:1].expand(6, 4),
        lambda a: a[:, :1].expand(6, 4),
        lambda a: a.as_strided((6, 4), (1, 1)),
    ],
)
def test_inputs_may_overlap(view):
    network, labels, x = make_network(), torch.from_numpy(LABELS), view(inputs())
    found = network.gradient(x, labels).flat.clone()
    assert_equal(found, network.gradient(x.clone(), labels).flat)


def test_a_parameter_may_be_set_to_an_expanded_tensor():
    network = make_network()
    network.params["b1"] = torch.full((1,), 3.0).expand(5)
    assert_equal(network.params["b1"], torch.full((5,), 3.0))


def test_the_numerical_gradient_rejects_an_expanded_tensor():
    x = torch.zeros(1, dtype=torch.float64).expand(3)
    with pytest.raises(ValueError, match="params has elements that share memory. Pass a copy"):
        numerical_gradient(torch.sum, x)
