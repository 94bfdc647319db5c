"""The scripts of the tutorial and of the book's chapter 6, with the tutorial's names and defaults.

Each is shortened to a few iterations on the bundled sample and checked for what the tutorial
shows with it. A seed, which the tutorial does not use, makes the numbers reproducible.
"""

import numpy as np
import pytest

from dlskills import (
    SGD,
    AdaGrad,
    Adam,
    Dropout,
    Momentum,
    MultiLayerNet,
    MultiLayerNetExtend,
    ReLU,
    Sigmoid,
    Tanh,
    Trainer,
    initializers,
    load_mnist,
    shuffle_dataset,
    smooth_curve,
)


@pytest.fixture(scope="module")
def mnist():
    return load_mnist(normalize=True, subset="sample")


def test_four_optimizers_on_a_surface():
    """optimizer_compare_naive: a dict of floats is updated in place."""
    optimizers = {
        "SGD": SGD(lr=0.95),
        "Momentum": Momentum(lr=0.1),
        "AdaGrad": AdaGrad(lr=1.5),
        "Adam": Adam(lr=0.3),
    }
    params, grads = {}, {"x": 0, "y": 0}
    paths = {}
    for key, optimizer in optimizers.items():
        params["x"], params["y"] = -7.0, 2.0
        path = []
        for _ in range(30):
            path.append((params["x"], params["y"]))
            grads["x"], grads["y"] = params["x"] / 10.0, 2.0 * params["y"]
            optimizer.update(params, grads)
        assert all(type(value) is float for value in params.values())
        paths[key] = np.array(path)

    steps = np.arange(30)
    np.testing.assert_allclose(paths["SGD"][:, 0], -7 * 0.905**steps, rtol=0, atol=1e-12)
    np.testing.assert_allclose(paths["SGD"][:, 1], 2 * (-0.9) ** steps, rtol=0, atol=1e-12)

    crossings = {key: np.sum(np.diff(np.sign(path[:, 1])) != 0) for key, path in paths.items()}
    assert crossings == {"SGD": 29, "Momentum": 4, "AdaGrad": 0, "Adam": 2}
    heights = {key: path[-1, 0] ** 2 / 20 + path[-1, 1] ** 2 for key, path in paths.items()}
    assert min(heights, key=heights.__getitem__) == "AdaGrad"


def test_four_optimizers_on_mnist(mnist):
    """optimizer_compare_mnist: one network per optimizer; SGD learns slowest."""
    (x_train, t_train), _ = mnist
    train_size = x_train.shape[0]
    batch_size = 128
    max_iterations = 60

    optimizers = {}
    optimizers["SGD"] = SGD()
    optimizers["Momentum"] = Momentum()
    optimizers["AdaGrad"] = AdaGrad()
    optimizers["Adam"] = Adam()
    networks, train_loss = {}, {}
    for key in optimizers:
        networks[key] = MultiLayerNet(
            input_size=784, hidden_size_list=[100, 100, 100, 100], output_size=10, seed=1
        )
        train_loss[key] = []

    rng = np.random.default_rng(1)
    for i in range(max_iterations):
        batch_mask = rng.choice(train_size, batch_size)
        x_batch, t_batch = x_train[batch_mask], t_train[batch_mask]
        for key in optimizers:
            grads = networks[key].gradient(x_batch, t_batch)
            optimizers[key].update(networks[key].params, grads)
            loss = networks[key].loss(x_batch, t_batch)
            train_loss[key].append(loss)
        if i % 100 == 0:  # a loss prints as a plain number
            assert all(2 < float(str(train_loss[key][i])) < 3 for key in optimizers)

    curves = {key: smooth_curve(train_loss[key]) for key in optimizers}
    assert all(curve.shape == (max_iterations,) for curve in curves.values())
    for key in ("Momentum", "AdaGrad", "Adam"):
        assert np.mean(curves[key][-20:]) < 0.5 * np.mean(curves["SGD"][-20:])
    assert curves["SGD"][-1] < curves["SGD"][0] - 0.3  # slow, but it learns


def test_activations_of_five_layers():
    """weight_init_activation_histogram: activations of random inputs by initial weights."""
    rng = np.random.default_rng(0)
    input_data = rng.standard_normal((1000, 100))
    node_num, hidden_layer_size = 100, 5

    def layers(initializer, activation):
        activations = {}
        x = input_data
        for i in range(hidden_layer_size):
            if i != 0:
                x = activations[i - 1]
            w = initializer((node_num, node_num), rng)
            a = np.dot(x, w)
            activations[i] = activation.forward(a)
        return [z.flatten() for z in activations.values()]

    saturated = layers(initializers.normal(1), Sigmoid())
    assert all(np.mean((z < 0.1) | (z > 0.9)) > 0.65 for z in saturated)

    alike = layers(initializers.normal(0.01), Sigmoid())
    assert all(np.mean(np.abs(z - 0.5) < 0.1) > 0.999 for z in alike[1:])
    assert all(np.std(z) < 0.02 for z in alike[1:])

    spread = layers(initializers.xavier(), Sigmoid())
    assert all(
        np.std(z) > 5 * np.std(other) for z, other in zip(spread[1:], alike[1:], strict=True)
    )
    assert all(np.mean((z < 0.05) | (z > 0.95)) < 0.05 for z in spread)

    bell = layers(initializers.xavier(), Tanh())
    assert all(np.abs(np.mean(z)) < 0.01 and np.std(z) > 0.25 for z in bell)

    def last_over_first(initializer):
        zs = layers(initializer, ReLU())
        return np.std(zs[-1]) / np.std(zs[0])

    assert last_over_first(initializers.normal(0.01)) < 1e-4
    assert 0.15 < last_over_first(initializers.xavier()) < 0.4
    assert 0.6 < last_over_first(initializers.he()) < 1.5


@pytest.mark.slow
def test_initial_weights_on_mnist(mnist):
    """weight_init_compare: one SGD for three networks; std=0.01 does not learn, He does."""
    (x_train, t_train), _ = mnist
    train_size = x_train.shape[0]
    batch_size = 128
    max_iterations = 150

    weight_init_types = {"std=0.01": 0.01, "Xavier": "sigmoid", "He": "relu"}
    optimizer = SGD(lr=0.01)
    networks, train_loss = {}, {}
    for key, weight_type in weight_init_types.items():
        networks[key] = MultiLayerNet(
            input_size=784,
            hidden_size_list=[100, 100, 100, 100],
            output_size=10,
            weight_init_std=weight_type,
            seed=0,
        )
        train_loss[key] = []

    rng = np.random.default_rng(0)
    for _ in range(max_iterations):
        batch_mask = rng.choice(train_size, batch_size)
        x_batch, t_batch = x_train[batch_mask], t_train[batch_mask]
        for key in weight_init_types:
            grads = networks[key].gradient(x_batch, t_batch)
            optimizer.update(networks[key].params, grads)
            train_loss[key].append(networks[key].loss(x_batch, t_batch))

    curves = {key: smooth_curve(train_loss[key]) for key in weight_init_types}
    assert np.all(np.abs(curves["std=0.01"] - np.log(10)) < 0.01)
    learned = {key: curve[0] - curve[-1] for key, curve in curves.items()}
    assert learned["He"] > 0.5 > learned["Xavier"] > 0.03


def test_batch_normalization_over_weight_scales(mnist):
    """batch_norm_test: with Batch Norm, networks learn at these scales; without it, at none."""
    (x_train, t_train), _ = mnist
    x_train, t_train = x_train[:1000], t_train[:1000]
    max_epochs = 6
    train_size = x_train.shape[0]
    batch_size = 100
    learning_rate = 0.01
    rng = np.random.default_rng(0)

    def train(weight_init_std):
        bn_network = MultiLayerNetExtend(
            input_size=784,
            hidden_size_list=[100, 100, 100, 100, 100],
            output_size=10,
            weight_init_std=weight_init_std,
            use_batchnorm=True,
            seed=0,
        )
        network = MultiLayerNetExtend(
            input_size=784,
            hidden_size_list=[100, 100, 100, 100, 100],
            output_size=10,
            weight_init_std=weight_init_std,
            seed=0,
        )
        optimizer = SGD(lr=learning_rate)
        train_acc_list, bn_train_acc_list = [], []
        iter_per_epoch = max(train_size / batch_size, 1)
        epoch_cnt = 0
        for i in range(1000000000):
            batch_mask = rng.choice(train_size, batch_size)
            x_batch, t_batch = x_train[batch_mask], t_train[batch_mask]
            for net in (bn_network, network):
                grads = net.gradient(x_batch, t_batch)
                optimizer.update(net.params, grads)
            if i % iter_per_epoch == 0:
                train_acc_list.append(network.accuracy(x_train, t_train))
                bn_train_acc_list.append(bn_network.accuracy(x_train, t_train))
                epoch_cnt += 1
                if epoch_cnt >= max_epochs:
                    break
        assert i == (max_epochs - 1) * iter_per_epoch
        return train_acc_list, bn_train_acc_list

    weight_scale_list = np.logspace(0, -4, num=16)
    for w in weight_scale_list[[5, 7, 9]]:  # NumPy scalars 0.046, 0.014 and 0.004
        train_acc_list, bn_train_acc_list = train(w)
        assert len(train_acc_list) == len(bn_train_acc_list) == max_epochs
        assert bn_train_acc_list[-1] > 0.6
        assert train_acc_list[-1] < 0.3


@pytest.mark.slow
def test_overfitting_and_weight_decay(mnist):
    """overfit_weight_decay: 300 images are memorized; decay keeps the weights small."""
    (x_train, t_train), (x_test, t_test) = mnist
    x_train, t_train = x_train[:300], t_train[:300]
    x_test, t_test = x_test[:1000], t_test[:1000]

    def train(weight_decay_lambda):
        network = MultiLayerNet(
            input_size=784,
            hidden_size_list=[100, 100, 100, 100, 100, 100],
            output_size=10,
            weight_decay_lambda=weight_decay_lambda,
            seed=0,
        )
        optimizer = SGD(lr=0.01)
        max_epochs = 61
        train_size = x_train.shape[0]
        batch_size = 100
        train_acc_list, test_acc_list = [], []
        iter_per_epoch = max(train_size / batch_size, 1)
        epoch_cnt = 0
        rng = np.random.default_rng(0)
        for i in range(1000000000):
            batch_mask = rng.choice(train_size, batch_size)
            grads = network.gradient(x_train[batch_mask], t_train[batch_mask])
            optimizer.update(network.params, grads)
            if i % iter_per_epoch == 0:
                train_acc_list.append(network.accuracy(x_train, t_train))
                test_acc_list.append(network.accuracy(x_test, t_test))
                epoch_cnt += 1
                if epoch_cnt >= max_epochs:
                    break
        assert len(train_acc_list) == len(test_acc_list) == max_epochs
        gap = np.mean(train_acc_list[-5:]) - np.mean(test_acc_list[-5:])
        weights = sum(
            float(np.sum(value**2)) for key, value in network.params.items() if key[0] == "W"
        )
        return train_acc_list[-1], gap, weights

    plain_acc, plain_gap, plain_weights = train(0)
    decayed_acc, decayed_gap, decayed_weights = train(0.1)
    assert plain_acc > 0.85
    assert plain_gap > 0.2
    assert decayed_acc < plain_acc
    assert decayed_gap < plain_gap - 0.02
    assert decayed_weights < 0.8 * plain_weights


@pytest.mark.slow
def test_overfitting_and_dropout(mnist, capsys):
    """overfit_dropout: the Trainer, with the tutorial's spelling of the ratio and optimizer."""
    (x_train, t_train), (x_test, t_test) = mnist
    x_train, t_train = x_train[:300], t_train[:300]
    x_test, t_test = x_test[:1000], t_test[:1000]

    def train(use_dropout, dropout_ratio):
        network = MultiLayerNetExtend(
            input_size=784,
            hidden_size_list=[100, 100, 100, 100, 100, 100],
            output_size=10,
            use_dropout=use_dropout,
            dropout_ration=dropout_ratio,
            seed=0,
        )
        ratios = [layer.dropout_ratio for layer in network.layers if isinstance(layer, Dropout)]
        assert ratios == 6 * use_dropout * [dropout_ratio]
        trainer = Trainer(
            network, x_train, t_train, x_test, t_test,
            epochs=61, mini_batch_size=100,
            optimizer="sgd", optimizer_param={"lr": 0.01}, verbose=True,
        )  # fmt: skip
        trainer.train()
        # one accuracy per epoch, after its first step, and one loss per step, three per epoch
        assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 61
        assert len(trainer.train_loss_list) == 183
        assert trainer.train_acc_list[0] < 0.3  # after one step only
        gap = np.mean(trainer.train_acc_list[-5:]) - np.mean(trainer.test_acc_list[-5:])
        return trainer.train_acc_list[-1], gap

    plain_acc, plain_gap = train(False, 0.2)
    dropped_acc, dropped_gap = train(True, 0.2)
    assert plain_acc > 0.85
    assert plain_gap > 0.2
    assert dropped_acc < plain_acc - 0.1
    assert dropped_gap < plain_gap - 0.1
    assert "epoch 61/61" in capsys.readouterr().out


def test_gradients_of_batch_normalization():
    """batch_norm_gradient_check: a single sample with a one-hot label."""
    (x_train, t_train), _ = load_mnist(normalize=True, one_hot_label=True, subset="sample")
    x_batch, t_batch = x_train[:1, 300:320], t_train[:1]
    network = MultiLayerNetExtend(
        input_size=20, hidden_size_list=[6, 5], output_size=10, use_batchnorm=True, seed=0
    )
    grad_backprop = network.gradient(x_batch, t_batch)
    grad_numerical = network.numerical_gradient(x_batch, t_batch)
    assert set(grad_numerical.keys()) == set(network.params.keys())
    for key in grad_numerical.keys():  # noqa: SIM118
        assert np.average(np.abs(grad_backprop[key] - grad_numerical[key])) < 1e-4
    assert np.any(grad_backprop["b3"])


def test_random_search_for_hyperparameters(mnist):
    """hyperparameter_optimization: shuffled data, a validation part, sorted results."""
    (x_train, t_train), _ = mnist
    x_train, t_train = x_train[:500], t_train[:500]
    validation_num = int(x_train.shape[0] * 0.20)
    x_train, t_train = shuffle_dataset(x_train, t_train, seed=0)
    x_val, t_val = x_train[:validation_num], t_train[:validation_num]
    x_train, t_train = x_train[validation_num:], t_train[validation_num:]

    results = {}
    for lr in (1e-6, 0.03):
        network = MultiLayerNet(
            input_size=784, hidden_size_list=[100] * 6, output_size=10,
            weight_decay_lambda=1e-6, seed=0,
        )  # fmt: skip
        trainer = Trainer(
            network, x_train, t_train, x_val, t_val,
            epochs=15, mini_batch_size=100,
            optimizer="sgd", optimizer_param={"lr": lr}, verbose=False, seed=0,
        )  # fmt: skip
        trainer.train()
        assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 15
        results[f"lr:{lr}"] = trainer.test_acc_list
    ranked = sorted(results.items(), key=lambda item: item[1][-1], reverse=True)
    assert [key for key, _ in ranked] == ["lr:0.03", "lr:1e-06"]
    assert float(str(ranked[0][1][-1])) > 0.3
