"""The Trainer: what it records and when, what it draws, what it refuses, and on which device."""

import re
from functools import partial

import numpy as np
import pytest

from dlskills import (
    SGD,
    Adam,
    Affine,
    BatchNormalization,
    BinaryCrossEntropy,
    DivergedError,
    Dropout,
    Layer,
    MeanSquaredError,
    Momentum,
    MultiLayerNet,
    MultiLayerNetExtend,
    ReLU,
    RMSprop,
    Sequential,
    Trainer,
    make_optimizer,
    to_host,
)
from dlskills.training import device_numbers

CLASSES = 3


def blobs(count, seed=0):
    """Points in three clouds; the first number of each is its index, times a little."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) % CLASSES
    x = rng.normal(0, 0.5, (count, 4)) + 3 * np.eye(CLASSES, 4)[t]
    return x, t.astype(np.int64)


def make_network(**options):
    return MultiLayerNet(4, [8], CLASSES, **({"seed": 0, "dtype": "float64"} | options))


def make_trainer(network=None, count=10, **options):
    x, t = blobs(count)
    options = {"epochs": 2, "mini_batch_size": 3, "verbose": False} | options
    return Trainer(network or make_network(), x, t, *blobs(7, seed=1), **options)


class Spy(MultiLayerNet):
    """Notes what it is asked for."""

    def __init__(self, **options):
        self.calls = []
        super().__init__(4, [8], CLASSES, seed=0, dtype="float64", **options)

    def loss_and_gradient(self, x, t):
        self.calls.append(("gradient", np.array(x)))
        return super().loss_and_gradient(x, t)

    def accuracy(self, x, t):
        self.calls.append(("accuracy", np.array(x)))
        return super().accuracy(x, t)

    def batches(self):
        return [x for what, x in self.calls if what == "gradient"]

    def evaluations(self):
        return [x for what, x in self.calls if what == "accuracy"]


class Modes(Layer):
    """Changes nothing and notes the mode."""

    def __init__(self):
        self.seen = []

    def forward(self, x, train_flg=True):
        self.seen.append((x.shape[0], train_flg))
        return x

    def backward(self, dout):
        return dout


def sample_numbers(batch, x):
    """Which rows of `x` a batch consists of."""
    return [int(np.flatnonzero(np.all(x == row, axis=1))[0]) for row in batch]


# Results


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("evaluate", ["first", "last"])
@pytest.mark.parametrize(
    ("count", "batch_size", "epochs", "steps_per_epoch"),
    [(10, 3, 2, 4), (9, 3, 2, 3), (10, 10, 1, 1), (10, 100, 3, 1), (10, 3, 1, 4), (10, 1, 1, 10)],
)
def test_one_loss_a_step_and_one_accuracy_an_epoch(
    count, batch_size, epochs, steps_per_epoch, evaluate, sampling
):
    trainer = make_trainer(
        count=count, mini_batch_size=batch_size, epochs=epochs, evaluate=evaluate, sampling=sampling
    )
    trainer.train()
    assert trainer.iter_per_epoch == steps_per_epoch
    assert trainer.max_iter == trainer.current_iter == epochs * steps_per_epoch
    assert trainer.current_epoch == epochs
    assert len(trainer.train_loss_list) == epochs * steps_per_epoch
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == epochs
    for numbers in (trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc_list):
        assert all(type(number) is float for number in numbers)
    assert type(trainer.test_acc) is float


def test_before_training_there_is_nothing():
    trainer = make_trainer()
    assert trainer.train_loss_list == trainer.train_acc_list == trainer.test_acc_list == []
    assert trainer.test_acc is None


@pytest.mark.parametrize(("evaluate", "step"), [("first", 0), ("last", 3)])
def test_accuracies_are_those_after_one_step_of_each_epoch(evaluate, step):
    trainer = make_trainer(evaluate=evaluate, epochs=3)
    (x, t), (x_test, t_test) = blobs(10), blobs(7, seed=1)
    after = []
    for _ in range(trainer.max_iter):
        trainer.train_step()
        after.append((trainer.network.accuracy(x, t), trainer.network.accuracy(x_test, t_test)))
    expected = after[step :: trainer.iter_per_epoch]
    assert len(set(after)) > 3  # else this would show nothing
    assert list(zip(trainer.train_acc_list, trainer.test_acc_list, strict=True)) == expected


def test_the_final_accuracy_is_of_all_test_data():
    trainer = make_trainer(evaluate_sample_num_per_epoch=2)
    trainer.train()
    assert trainer.test_acc == trainer.network.accuracy(*blobs(7, seed=1))


@pytest.mark.parametrize("evaluate_sample_num", [1, 5, 7, 100])
def test_accuracies_are_of_the_first_samples_if_asked_for(evaluate_sample_num):
    network = Spy()
    make_trainer(network, evaluate_sample_num_per_epoch=evaluate_sample_num, epochs=1).train()
    train, test, final = network.evaluations()
    np.testing.assert_array_equal(train, blobs(10)[0][:evaluate_sample_num])
    np.testing.assert_array_equal(test, blobs(7, seed=1)[0][:evaluate_sample_num])
    np.testing.assert_array_equal(final, blobs(7, seed=1)[0])


def test_accuracies_are_of_samples_drawn_once_if_asked_for():
    networks = [Spy(), Spy(), Spy()]
    for network, seed in zip(networks, (0, 0, 1), strict=True):
        options = {"evaluate_sample_num_per_epoch": 5, "evaluate_samples": "random", "seed": seed}
        make_trainer(network, count=40, **options).train()
    train, test, train_again, test_again, final = networks[0].evaluations()
    np.testing.assert_array_equal(train, train_again)
    np.testing.assert_array_equal(test, test_again)
    np.testing.assert_array_equal(final, blobs(7, seed=1)[0])
    rows = sample_numbers(train, blobs(40)[0])
    assert len(set(rows)) == 5
    assert rows != list(range(5))
    np.testing.assert_array_equal(networks[1].evaluations()[0], train)
    assert not np.array_equal(networks[2].evaluations()[0], train)


def test_which_samples_are_evaluated_changes_no_step():
    losses = []
    for which in ("first", "random"):
        options = {"evaluate_sample_num_per_epoch": 5, "evaluate_samples": which}
        trainer = make_trainer(**options)
        trainer.train()
        losses.append(trainer.train_loss_list)
    assert losses[0] == losses[1]


@pytest.mark.parametrize(("evaluate", "epochs"), [("first", [0, 3, 6]), ("last", [2, 5])])
def test_accuracies_are_measured_every_so_many_epochs(evaluate, epochs):
    options = {"epochs": 7, "evaluate": evaluate}
    each = make_trainer(**options)
    each.train()
    some = make_trainer(evaluate_every=3, **options)
    some.train()
    assert some.train_acc_list == [each.train_acc_list[epoch] for epoch in epochs]
    assert some.test_acc_list == [each.test_acc_list[epoch] for epoch in epochs]
    assert some.train_loss_list == each.train_loss_list
    assert some.current_epoch == 7


def test_the_penalty_is_recorded_apart():
    network = make_network(weight_decay_lambda=0.1)
    trainer = make_trainer(network, evaluate="last")
    trainer.train()
    assert len(trainer.penalty_list) == 2
    squares = sum(float(np.sum(network.params[name] ** 2)) for name in ("W1", "W2"))
    assert trainer.penalty_list[-1] == pytest.approx(0.05 * squares, rel=1e-12)
    plain = make_trainer()
    plain.train()
    assert plain.penalty_list == [0.0, 0.0]


def test_evaluation_is_in_test_mode_and_training_is_not():
    modes = Modes()
    layers = [Affine(4, 8), BatchNormalization(8), ReLU(), Dropout(0.5), modes, Affine(8, CLASSES)]
    trainer = make_trainer(Sequential(layers, seed=0), epochs=1, count=12)
    trainer.train()
    # four steps of three samples, each with its loss after it; accuracies after the first
    step = [(3, True), (3, False)]
    assert modes.seen == step + [(12, False), (7, False)] + 3 * step + [(7, False)]


@pytest.mark.parametrize("record_loss", ["after", "before"])
def test_recorded_losses_are_those_of_the_batch_before_or_after_its_update(record_loss):
    # weight decay, so that the loss is more than the cross entropy
    network = make_network(weight_decay_lambda=0.1)
    twin = make_network(weight_decay_lambda=0.1)
    spy = Spy(weight_decay_lambda=0.1)
    make_trainer(spy).train()
    trainer = make_trainer(network, record_loss=record_loss)
    trainer.train()

    x, t = blobs(10)
    optimizer = SGD(lr=0.01)
    expected = []
    for batch in spy.batches():
        rows = sample_numbers(batch, x)
        loss, grads = twin.loss_and_gradient(x[rows], t[rows])
        optimizer.update(twin.params, grads)
        expected.append(loss if record_loss == "before" else twin.loss(x[rows], t[rows]))
    assert len(expected) == 8
    np.testing.assert_allclose(trainer.train_loss_list, expected, rtol=1e-12)


def test_both_losses_can_be_recorded():
    lists = []
    for record_loss in ("before", "after", "both"):
        layers = [Affine(4, 8), ReLU(), Dropout(0.5), Affine(8, CLASSES)]
        trainer = make_trainer(Sequential(layers, seed=0), record_loss=record_loss)
        trainer.train()
        lists.append((trainer.train_loss_list, trainer.eval_loss_list))
    (before, none), (after, nothing), both = lists
    assert none == nothing == []
    assert both == (before, after)
    assert before != after


def test_recording_before_saves_a_pass():
    modes = Modes()
    trainer = make_trainer(
        Sequential([modes, Affine(4, CLASSES)], seed=0), record_loss="before", epochs=1, count=3
    )
    trainer.train()
    assert modes.seen == [(3, True), (3, False), (7, False), (7, False)]


# Batches


def test_batches_are_drawn_with_replacement_and_always_full():
    network = Spy()
    make_trainer(network, epochs=30, mini_batch_size=3).train()
    batches = network.batches()
    assert [len(batch) for batch in batches] == 30 * 4 * [3]
    rows = [sample_numbers(batch, blobs(10)[0]) for batch in batches]
    assert any(len(set(row)) < 3 for row in rows)  # drawn twice
    assert {number for row in rows for number in row} == set(range(10))


def test_a_batch_may_be_larger_than_the_data():
    network = Spy()
    make_trainer(network, mini_batch_size=25, epochs=1).train()
    assert [len(batch) for batch in network.batches()] == [25]


def test_sampling_by_epoch_takes_each_sample_once_with_a_smaller_last_batch():
    network = Spy()
    make_trainer(network, sampling="epoch", epochs=2).train()
    batches = network.batches()
    assert [len(batch) for batch in batches] == 2 * [3, 3, 3, 1]
    rows = sample_numbers(np.concatenate(batches), blobs(10)[0])
    first, second = rows[:10], rows[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second != list(range(10))


@pytest.mark.parametrize(("remainder", "sizes"), [("drop", [3, 3, 3]), ("fold", [3, 3, 4])])
def test_what_is_left_over_of_an_epoch_is_dropped_or_folded_in(remainder, sizes):
    network = Spy()
    trainer = make_trainer(network, sampling="epoch", remainder=remainder, epochs=2)
    trainer.train()
    assert trainer.iter_per_epoch == 3
    assert [len(batch) for batch in network.batches()] == 2 * sizes


def test_labels_stay_with_their_samples():
    # the labels follow from the inputs alone, so that any mismatch would hinder this
    trainer = make_trainer(epochs=60, count=30, mini_batch_size=10, optimizer="adam")
    trainer.optimizer.lr = 0.05
    trainer.train()
    assert trainer.test_acc == 1
    assert trainer.train_loss_list[-1] < 0.1


# Seeds


def test_the_networks_seed_is_the_default_and_repeats_a_run():
    one, two = make_trainer(make_network(seed=5)), make_trainer(make_network(seed=5))
    one.train()
    two.train()
    assert one.seed == two.seed == 5
    assert one.train_loss_list == two.train_loss_list
    assert np.array_equal(one.network.params.flat, two.network.params.flat)


def test_a_seed_of_its_own_changes_the_batches_and_not_the_weights():
    one, two, three = (make_trainer(seed=seed) for seed in (None, 1, 1))
    assert (one.seed, two.seed) == (0, 1)
    assert np.array_equal(one.network.params.flat, two.network.params.flat)
    for trainer in (one, two, three):
        trainer.train()
    assert one.train_loss_list != two.train_loss_list
    assert two.train_loss_list == three.train_loss_list


def test_without_any_seed_the_one_drawn_is_recorded():
    first = make_trainer(make_network(seed=None))
    first.train()
    again = make_trainer(make_network(seed=first.network.seed), seed=first.seed)
    again.train()
    assert first.train_loss_list == again.train_loss_list


def test_masks_are_repeated_too():
    losses = []
    for _ in range(2):
        network = MultiLayerNetExtend(4, [8], CLASSES, use_dropout=True, seed=3)
        trainer = make_trainer(network, record_loss="before")
        trainer.train()
        losses.append(trainer.train_loss_list)
    assert losses[0] == losses[1]


# Optimizers


@pytest.mark.parametrize(
    ("name", "kind"), [("SGD", "SGD"), ("sgd", "SGD"), ("AdaGrad", "AdaGrad"), ("ADAM", "Adam"),
                       ("rmsprop", "RMSprop"), ("nesterov", "Nesterov"), ("momentum", "Momentum")]
)  # fmt: skip
def test_an_optimizer_by_name_in_any_case(name, kind):
    trainer = make_trainer(optimizer=name, optimizer_param={"lr": 0.002})
    assert type(trainer.optimizer).__name__ == kind
    assert trainer.optimizer.lr == 0.002


def test_the_default_is_the_tutorials_sgd():
    optimizer = make_trainer().optimizer
    assert (type(optimizer), optimizer.lr) == (SGD, 0.01)


def test_the_tutorials_misspelling_is_taken_with_a_warning():
    with pytest.warns(DeprecationWarning, match="'rmsprpo'"):
        assert type(make_trainer(optimizer="rmsprpo").optimizer) is RMSprop


def test_an_optimizer_itself():
    optimizer = Adam(lr=0.02)
    trainer = make_trainer(optimizer=optimizer)
    trainer.train()
    assert trainer.optimizer is optimizer
    assert optimizer.step == 8


def test_the_state_is_complete_before_the_first_step():
    trainer = make_trainer(optimizer="adam", optimizer_param={"lr": 0.01})
    state = trainer.optimizer.state_dict()
    slots = {f"{slot}/{name}" for slot in "mv" for name in trainer.network.params}
    assert {name for name in state if "/" in name} == slots
    with pytest.raises(RuntimeError, match="Create one optimizer per network"):
        make_trainer(optimizer=trainer.optimizer)


def test_an_unknown_hyperparameter_is_named():
    with pytest.raises(TypeError, match=r"SGD has no argument 'momentum'. Write Momentum"):
        make_trainer(optimizer="sgd", optimizer_param={"lr": 0.1, "momentum": 0.9})


@pytest.mark.parametrize("param", [{}, {"lr": 0.01}, {"lr": 0.5}])
def test_hyperparameters_are_refused_beside_an_optimizer(param):
    with pytest.raises(ValueError, match="optimizer_param is for the name .* Give the hyperp"):
        make_trainer(optimizer=Momentum(), optimizer_param=param)


@pytest.mark.parametrize("param", [0.01, [("lr", 0.01)], "lr"])
def test_hyperparameters_that_are_no_dict_are_refused(param):
    with pytest.raises(TypeError, match="optimizer_param must be a dict such as {'lr': 0.01}, got"):
        make_trainer(optimizer="adam", optimizer_param=param)


def test_the_class_of_an_optimizer_is_refused_with_the_remedy():
    with pytest.raises(TypeError, match=r"got the class SGD. Create one: SGD\(...\)"):
        make_trainer(optimizer=SGD)


@pytest.mark.parametrize("optimizer", [None, {"lr": 0.01}, 0.01])
def test_what_is_no_optimizer_is_refused(optimizer):
    with pytest.raises(TypeError, match="optimizer must be a name or an Optimizer, got"):
        make_trainer(optimizer=optimizer)


@pytest.mark.parametrize(
    ("name", "lr"),
    [("sgd", 0.01), ("momentum", 0.01), ("Adam", 0.001), ("adamw", 0.001), ("lion", 1e-4),
     ("adadelta", 1.0), ("nadam", 0.002)],
)  # fmt: skip
def test_an_optimizer_by_name_has_its_own_default_rate(name, lr):
    assert make_trainer(optimizer=name).optimizer.lr == lr
    assert make_trainer(optimizer=name, optimizer_param={}).optimizer.lr == lr
    assert make_trainer(optimizer=name, optimizer_param=None).optimizer.lr == lr
    assert repr(make_trainer(optimizer=name).optimizer) == repr(make_optimizer(name))


def test_the_tutorials_rate_applies_to_every_optimizer_where_it_is_given():
    trainer = make_trainer(optimizer="adam", optimizer_param={"lr": 0.01})
    assert trainer.optimizer.lr == 0.01
    x, t = blobs(10)
    by_position = Trainer(make_network(), x, t, x, t, 2, 3, "adam", {"beta1": 0.5}, verbose=False)
    assert (by_position.optimizer.lr, by_position.optimizer.beta1) == (0.001, 0.5)


def test_changing_one_trainers_rate_changes_no_other():
    one, two = make_trainer(), make_trainer()
    one.optimizer.lr = 1
    assert two.optimizer.lr == make_trainer().optimizer.lr == 0.01


def test_hyperparameters_given_are_left_as_they_are():
    param = {"lr": 0.5, "momentum": 0.5}
    make_trainer(optimizer="momentum", optimizer_param=param).train()
    assert param == {"lr": 0.5, "momentum": 0.5}


# Refusals


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be a whole number, got 1.5"),
        ({"mini_batch_size": 0}, ValueError, "mini_batch_size must be at least 1, got 0"),
        ({"mini_batch_size": "3"}, TypeError, "mini_batch_size must be a whole number, got '3'"),
        ({"evaluate_sample_num_per_epoch": 0}, ValueError, "evaluate_sample_num_per_epoch must be"),
        ({"sampling": "epok"}, ValueError, "sampling 'epok' is not known; did you mean 'epoch'"),
        ({"record_loss": "now"}, ValueError, "record_loss 'now' is not known"),
        ({"remainder": "dorp"}, ValueError, "remainder 'dorp' is not known; did you mean 'drop'"),
        ({"remainder": "drop"}, ValueError, "remainder must be 'keep' for batches with"),
        ({"evaluate_samples": "last"}, ValueError, "evaluate_samples 'last' is not known"),
        ({"evaluate_every": 0}, ValueError, "evaluate_every must be at least 1, got 0"),
        ({"evaluate": "lst"}, ValueError, "evaluate 'lst' is not known; did you mean 'last'"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_a_wrong_argument_is_named(change, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**change)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("wrong", [CLASSES, -1])
def test_labels_out_of_range_are_refused(part, wrong):
    data = {"x_train": 0, "t_train": 0, "x_test": 0, "t_test": 0}
    data["x_train"], data["t_train"] = blobs(10)
    data["x_test"], data["t_test"] = blobs(7)
    data[f"t_{part}"][2] = wrong
    with pytest.raises(ValueError, match=f"t_{part} must hold labels from 0 to 2.*got labels from"):
        Trainer(make_network(), **data, verbose=False)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("count", [0, 9])
def test_each_sample_needs_a_label(part, count):
    x, t = blobs(10)
    parts = {"train": (x, t), "test": (x, t), part: (x[: min(count, 9)], t[: count and 10])}
    with pytest.raises(ValueError, match=rf"x_{part} and t_{part} must have .* at least one, got"):
        Trainer(make_network(), *parts["train"], *parts["test"], verbose=False)


@pytest.mark.parametrize("part", ["train", "test"])
def test_samples_of_another_size_are_refused_with_their_name(part):
    x, t = blobs(10)
    parts = {"train": (x, t), "test": (x, t), part: (x[:, :3], t)}
    with pytest.raises(ValueError, match=rf"x_{part} must have 4 numbers per sample .*\(10, 3\)"):
        Trainer(make_network(), *parts["train"], *parts["test"], verbose=False)


def test_labels_that_are_words_are_refused():
    x, t = blobs(10)
    with pytest.raises(
        TypeError, match="t_test must hold real numbers, such as labels from 0 on, got"
    ):
        Trainer(make_network(), x, t, x, t.astype(str), verbose=False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[7, 3, 0], [1, 0, 0]], "with integers in 2-D must be one-hot .*, got 7. Pass labels"),
        ([[-1, 1, 0], [1, 0, 0]], "must be at least 0, got -1"),
        ([[0.5, -0.1, 0], [1, 0, 0]], "must be at least 0, got -0.1"),
    ],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_targets_of_no_class_are_refused_before_the_first_step(backend, part, rows, message):
    # on a device, the loss itself does not look at the values
    t = np.resize(np.eye(3), (10, 3)).astype(np.asarray(rows).dtype)
    x, wrong = np.ones((10, 4), "float32"), np.concatenate([t[:8], rows])
    targets = {"train": t, "test": t, part: wrong}
    network = make_network(device=backend.device, xp=backend.xp)
    with pytest.raises(ValueError, match=f"t_{part} {message}"):
        Trainer(network, x, backend.asarray(targets["train"]), x, backend.asarray(targets["test"]))


@pytest.mark.parametrize(
    ("t", "message"),
    [
        (np.arange(6) % 3, "t_train must hold values from 0 to 1, got values from 0 to 2"),
        (np.eye(2)[[0, 1] * 3], r"t_train must have shape \(6,\), one target per score, got"),
    ],
)
def test_targets_of_binary_cross_entropy_are_checked_before_the_first_step(backend, t, message):
    network = Sequential([Affine(4, 1)], BinaryCrossEntropy(), device=backend.device, xp=backend.xp)
    with pytest.raises(ValueError, match=message):
        Trainer(network, np.ones((6, 4), "float32"), backend.asarray(t))


@pytest.mark.parametrize("t", [[0, 1] * 3, [[0], [1]] * 3, [[1.0]] * 6])
def test_softmax_with_one_output_is_refused_with_the_remedy(backend, t):
    network = Sequential([Affine(4, 1)], device=backend.device, xp=backend.xp)
    x, t = backend.asarray(np.ones((6, 4), "float32")), backend.asarray(np.array(t))
    message = r"at least 2 classes, got 1.* 2 outputs, or use BinaryCrossEntropy\(\)"
    for run in (network.loss, network.gradient, network.accuracy, partial(Trainer, network)):
        with pytest.raises(ValueError, match=message):
            run(x, t)


@pytest.mark.parametrize("dtype", ["complex64", "object", "U1"])
def test_inputs_that_are_not_real_numbers_are_refused(dtype):
    x, t = blobs(10)
    with pytest.raises(TypeError, match="x_train must hold real numbers, .*float32, got"):
        Trainer(make_network(), x.astype(dtype), t)


def test_pixels_of_files_get_a_hint():
    x, t = blobs(10)
    with pytest.warns(UserWarning, match="x_train has dtype uint8.*by 255") as caught:
        Trainer(make_network(), np.abs(x).astype(np.uint8), t, x, t, verbose=False)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.array])
def test_sizes_of_numpy_are_sizes(kind):
    lists = []
    for number in (int, kind):
        trainer = make_trainer(
            epochs=number(2), mini_batch_size=number(3), seed=number(4),
            evaluate_sample_num_per_epoch=number(5), evaluate_every=number(1),
        )  # fmt: skip
        trainer.train()
        lists.append((trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc_list))
    assert lists[0] == lists[1]


def test_repr_says_where_the_training_stands():
    trainer = make_trainer()
    trainer.train_step()
    expected = "<Trainer of a MultiLayerNet by SGD(lr=0.01): epoch 1 of 2, step 1 of 8>"
    assert repr(trainer) == expected


def test_lists_are_refused_with_their_name():
    x, t = blobs(10)
    with pytest.raises(TypeError, match=r"t_train must be an array .* got a list"):
        Trainer(make_network(), x, t.tolist(), x, t, verbose=False)
    with pytest.raises(TypeError, match=r"x_test must be an array .* got a list"):
        Trainer(make_network(), x, t, x.tolist(), t, verbose=False)


def test_one_hot_labels_train_as_their_integers_do():
    (x, t), (x_test, t_test) = blobs(10), blobs(7, seed=1)
    labels = make_trainer()
    rows = Trainer(
        make_network(), x, np.eye(CLASSES)[t], x_test, np.eye(CLASSES)[t_test],
        epochs=2, mini_batch_size=3, verbose=False,
    )  # fmt: skip
    labels.train()
    rows.train()
    np.testing.assert_allclose(rows.train_loss_list, labels.train_loss_list, rtol=1e-12)
    assert rows.train_acc_list == labels.train_acc_list
    assert rows.test_acc_list == labels.test_acc_list


@pytest.mark.parametrize(
    ("keyword", "value", "remedy"),
    [
        ("batch_size", 32, "mini_batch_size=..."),
        ("learning_rate", 0.1, r"optimizer_param={'lr': ...}, or optimizer=Adam\(lr=...\)"),
        ("lr", 0.1, "optimizer_param={'lr': ...}"),
        ("num_epochs", 3, "epochs=..."),
        ("betas", (0.9, 0.99), "optimizer_param={'beta1': ..., 'beta2': ...}"),
        ("momentum", 0.9, "optimizer_param={'momentum': ...}"),
        ("clip_norm", 1.0, "optimizer_param={'clip_norm': ...}"),
        ("validation_data", None, r"validation=\(x, t\)"),
        ("shuffle", True, 'sampling="epoch"'),
        ("criterion", None, "loss=... for the network"),
        ("weight_decay", 0.1, "weight_decay_lambda=... for the network"),
    ],
)
def test_keywords_of_other_libraries_get_the_name_used_here(keyword, value, remedy):
    message = f"^Trainer has no argument '{keyword}'. Write {remedy}"
    with pytest.raises(TypeError, match=message):
        make_trainer(**{keyword: value})
    with pytest.raises(TypeError, match=message):  # even where arguments are missing
        Trainer(make_network(), **{keyword: value})


def test_a_misspelled_keyword_gets_the_nearest():
    with pytest.raises(TypeError, match="no argument 'epoch'; did you mean 'epochs'.* It takes: "):
        make_trainer(epoch=3)
    with pytest.raises(TypeError, match="missing . required positional argument.*'t_train'"):
        Trainer(make_network(), blobs(3)[0])


# Divergence


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy tells of overflow, too
def test_a_diverging_run_stops_and_says_where(backend):
    network = make_network(device=backend.device, xp=backend.xp)
    trainer = make_trainer(network, optimizer="momentum", optimizer_param={"lr": 1e150}, epochs=50)
    with pytest.raises(DivergedError, match="the loss is (nan|inf) at step") as caught:
        trainer.train()
    losses = trainer.train_loss_list
    first = next(i for i, loss in enumerate(losses) if not np.isfinite(loss))
    before = losses[first - 1] if first else None
    assert f"at step {first + 1} (before it: {before})" in str(caught.value)
    assert "Momentum(lr=1e+150, momentum=0.9" in str(caught.value)
    assert "smaller learning rate" in str(caught.value)
    assert len(losses) == trainer.current_iter < trainer.max_iter
    assert len(trainer.train_acc_list) == trainer.current_epoch >= 0
    assert trainer.test_acc is None


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_in_the_last_epoch_is_found_as_well():
    trainer = make_trainer(optimizer=SGD(lr=1e200), epochs=1, record_loss="before")
    with pytest.raises(DivergedError):
        trainer.train()
    assert len(trainer.train_loss_list) == trainer.current_iter <= 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_in_the_last_update_is_found_as_well(backend):
    network = make_network(device=backend.device, xp=backend.xp)
    trainer = make_trainer(
        network, optimizer=SGD(lr=1e308), epochs=1, mini_batch_size=10, record_loss="before"
    )
    network.params["b2"] = backend.asarray(np.full(CLASSES, np.finfo(np.float64).max))
    with pytest.raises(DivergedError, match="a parameter is not finite after step 1, with SGD"):
        trainer.train()
    assert len(trainer.train_loss_list) == 1
    assert np.isfinite(trainer.train_loss_list).all()
    assert trainer.test_acc is None


def test_divergence_is_an_arithmetic_error():
    assert issubclass(DivergedError, ArithmeticError)


# Devices


def extended(xp=None, device=None):
    return MultiLayerNetExtend(
        4, [8, 8], CLASSES, weight_decay_lambda=0.01, use_dropout=True, dropout_ratio=0.2,
        use_batchnorm=True, seed=1, dtype="float64", xp=xp, device=device,
    )  # fmt: skip


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
def test_the_same_run_on_every_backend(backend, sampling):
    # not Adam: it makes whole steps of rounding errors where a gradient is 0 (before Batch Norm)
    options = {"optimizer": "momentum", "sampling": sampling, "count": 20, "mini_batch_size": 8}
    here = make_trainer(extended(backend.xp, backend.device), **options)
    host = make_trainer(extended(), **options)
    here.train()
    host.train()
    np.testing.assert_allclose(here.train_loss_list, host.train_loss_list, rtol=1e-11)
    assert here.train_acc_list == host.train_acc_list
    assert here.test_acc_list == host.test_acc_list
    assert here.test_acc == host.test_acc
    np.testing.assert_allclose(
        to_host(here.network.params.flat), host.network.params.flat, rtol=1e-9, atol=1e-12
    )
    assert all(type(loss) is float for loss in here.train_loss_list)


def test_data_on_the_device_already_is_not_moved(backend):
    network = make_network(device=backend.device, xp=backend.xp)
    x, t = blobs(10)
    x, t = backend.asarray(x, "float64"), backend.asarray(t)
    trainer = Trainer(network, x, t, x, t, verbose=False)
    assert trainer.t_train is t
    trainer.train()


def test_losses_are_fetched_once_an_epoch(monkeypatch):
    trainer = make_trainer(epochs=3)
    fetched = []

    def counting(losses):
        fetched.append(len(losses))
        return to_host(losses)

    monkeypatch.setattr(device_numbers, "to_host", counting)
    trainer.train()
    # those until an epoch's evaluation after its first step, and the rest at the end
    assert fetched == [1, 4, 4, 3]
    assert len(trainer.train_loss_list) == 12
    assert fetched == [1, 4, 4, 3]  # reading again fetches nothing


@pytest.mark.backends("cupy")
def test_between_evaluations_a_gpu_is_not_waited_for(backend, device_counters):
    network = make_network(device=backend.device, xp=backend.xp)
    trainer = make_trainer(network, count=30, optimizer="adam")
    trainer.train_step()  # the first step of an epoch evaluates
    with device_counters.counting() as added:
        for _ in range(5):
            trainer.train_step()
    assert added["copies_d2h"] == 0


# By hand


def test_steps_by_hand_are_the_same_training():
    whole, steps = make_trainer(), make_trainer()
    whole.train()
    for step in range(1, 4):
        steps.train_step()
        assert len(steps.train_loss_list) == steps.current_iter == step
    steps.train()  # the rest
    assert steps.train_loss_list == whole.train_loss_list
    assert steps.train_acc_list == whole.train_acc_list
    assert steps.test_acc == whole.test_acc


def test_training_is_not_begun_again():
    trainer = make_trainer()
    trainer.train()
    losses = list(trainer.train_loss_list)
    trainer.train()
    assert trainer.train_loss_list == losses


def test_a_regression(backend):
    rng = np.random.default_rng(0)
    weight, bias = np.array([[1.0], [-2.0], [0.5]]), 0.3
    x = rng.normal(size=(60, 3))
    t = x @ weight + bias
    network = Sequential(
        [Affine(3, 1, 0.1)], MeanSquaredError(), seed=0, dtype="float64",
        device=backend.device, xp=backend.xp,
    )  # fmt: skip
    trainer = Trainer(network, x, t, x, t, 30, 20, "momentum", {"lr": 0.05}, verbose=False)
    trainer.train()
    assert trainer.train_loss_list[-1] < 1e-3 * trainer.train_loss_list[0]
    np.testing.assert_allclose(to_host(network.params["W1"]), weight, atol=0.02)
    np.testing.assert_allclose(to_host(network.params["b1"]), [bias], atol=0.02)
    # one output has no highest of several, so no accuracy either
    assert len(trainer.test_acc_list) == 30
    assert np.isnan(trainer.test_acc_list).all()
    assert len(trainer.test_loss_list) == 30
    assert trainer.test_loss_list[-1] < 1e-3 * trainer.test_loss_list[0]
    here = network.backend.asarray
    expected = float(network.loss(here(x, "float64"), here(t, "float64")))
    assert trainer.test_loss == pytest.approx(expected, rel=1e-12)


def regression(count=12, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 4)), rng.normal(size=(count, outputs))


def regressor(outputs=1, **options):
    return Sequential([Affine(4, outputs, 0.1)], MeanSquaredError(), seed=0, **options)


@pytest.mark.parametrize("evaluate", ["first", "last"])
def test_a_regression_records_losses_on_test_data(evaluate):
    network = regressor(weight_decay_lambda=0.1, dtype="float64")
    x_test, t_test = regression(2500, seed=1)  # more than are computed at a time
    trainer = Trainer(
        network, *regression(), x_test, t_test, 3, 5, evaluate=evaluate, verbose=False
    )
    expected = []
    for step in range(trainer.max_iter):
        trainer.train_step()
        if step % 3 == {"first": 0, "last": 2}[evaluate]:
            expected.append(network.loss(x_test, t_test))
    trainer.train()
    np.testing.assert_allclose(trainer.test_loss_list, expected, rtol=1e-12)
    assert all(type(loss) is float for loss in trainer.test_loss_list)
    assert trainer.test_loss == pytest.approx(network.loss(x_test, t_test), rel=1e-12)


@pytest.mark.parametrize("shape", [(60,), (60, 1)])
def test_two_classes_of_one_score_have_accuracies_and_losses(backend, shape):
    x = np.random.default_rng(0).normal(size=(60, 4))
    t = (x[:, 0] > x[:, 1]).astype(int).reshape(shape)
    network = MultiLayerNet(
        4, [8], 1, loss=BinaryCrossEntropy(), seed=0, device=backend.device, xp=backend.xp
    )
    trainer = Trainer(network, x, t, x, t, 30, 10, "adam", {"lr": 0.01}, verbose=False)
    trainer.train()
    assert trainer.train_acc_list[-1] > 0.9 > trainer.train_acc_list[0]
    assert trainer.test_acc > 0.9
    assert trainer.test_loss_list[-1] < 0.5 * trainer.test_loss_list[0]


def test_losses_on_test_data_are_of_the_samples_asked_for():
    network, (x, t) = regressor(dtype="float64"), regression(10)
    trainer = Trainer(network, x, t, x, t, 1, 10, evaluate_sample_num_per_epoch=4, verbose=False)
    trainer.train()
    assert trainer.test_loss_list == [pytest.approx(network.loss(x[:4], t[:4]), rel=1e-12)]


def test_a_classification_records_no_losses_on_test_data():
    trainer = make_trainer()
    trainer.train()
    assert trainer.test_loss_list == []
    assert trainer.test_loss is None


@pytest.mark.parametrize("one_hot", [True, False])
def test_mean_squared_error_has_accuracies_for_one_hot_targets_alone(one_hot):
    (x, t), network = blobs(12), regressor(CLASSES)
    t = np.eye(CLASSES)[t] if one_hot else regression(12, CLASSES)[1]
    trainer = Trainer(network, x, t, x, t, 2, 5, verbose=False)
    trainer.train()
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 2
    assert np.isfinite([*trainer.train_acc_list, trainer.test_acc]).all() == one_hot
    assert len(trainer.test_loss_list) == 2


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("make", [make_network, regressor])
def test_without_test_data(make, verbose, capsys):
    x, t = blobs(12) if make is make_network else regression()
    trainer = Trainer(make(), x, t, epochs=3, mini_batch_size=4, verbose=verbose)
    trainer.train()
    with_test = Trainer(make(), x, t, x, t, epochs=3, mini_batch_size=4, verbose=False)
    with_test.train()
    assert trainer.train_loss_list == with_test.train_loss_list
    np.testing.assert_array_equal(trainer.train_acc_list, with_test.train_acc_list)
    assert trainer.test_acc_list == trainer.test_loss_list == []
    assert trainer.x_test is trainer.t_test is trainer.test_acc is trainer.test_loss is None
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3 * verbose
    assert "test" not in out


def test_half_of_the_test_data_is_refused():
    (x, t), message = blobs(6), "x_test and t_test belong together, got {} without {}. Give both"
    with pytest.raises(ValueError, match=message.format("x_test", "t_test")):
        Trainer(make_network(), x, t, x)
    with pytest.raises(ValueError, match=message.format("t_test", "x_test")):
        Trainer(make_network(), x, t, t_test=t)
    with pytest.raises(TypeError, match="x_test must be an array .* a int. Without test .*epochs="):
        Trainer(make_network(), x, t, 20, 100)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("outputs", "shape", "remedy"),
    [
        (1, (12,), r". Reshape it: t_{part}.reshape\(-1, 1\)$"),
        (1, (12, 1, 1), r". Reshape it: t_{part}.reshape\(-1, 1\)$"),
        (1, (12, 2), "$"),
        (3, (12,), "$"),
        (4, (12, 2, 2), r". Reshape it: t_{part}.reshape\(-1, 4\)$"),
    ],
)
def test_numbers_of_another_shape_than_the_outputs_are_refused(part, outputs, shape, remedy):
    x, t = regression(12, outputs)
    parts = {"train": (x, t), "test": (x, t), part: (x, np.zeros(shape))}
    message = (
        rf"t_{part} must have the outputs' shape \(12, {outputs}\), got {re.escape(str(shape))}"
    )
    with pytest.raises(ValueError, match=message + remedy.format(part=part)):
        Trainer(regressor(outputs), *parts["train"], *parts["test"], verbose=False)


class Average(Layer):
    """Doesn't declare the shape of its output."""

    def forward(self, x, train_flg=True):
        self._shape = x.shape
        return np.mean(x, axis=1, keepdims=True)

    def backward(self, dout):
        return np.broadcast_to(dout / self._shape[1], self._shape).copy()


class OfColumns(MeanSquaredError):
    """Takes other targets than its base."""

    def forward(self, x, t):
        return super().forward(x, t[:, None])


def test_what_a_users_own_layer_or_loss_takes_is_not_refused():
    x, t = regression()
    own_layer = Sequential([Affine(4, 4), Average()], MeanSquaredError(), seed=0)
    Trainer(own_layer, x, t, epochs=1, verbose=False).train()
    with pytest.raises(ValueError, match=r"outputs' shape \(12, 1\), got \(12,\)"):
        Trainer(own_layer, x, t[:, 0])
    own_loss = Sequential([Affine(4, 1)], OfColumns(), seed=0)
    Trainer(own_loss, x, t[:, 0], epochs=1, verbose=False).train()


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize(
    ("change", "given", "remedy"),
    [
        (lambda t: t[:, None], r"int64 of shape \(9, 1\)", r"Reshape it: t_{}.reshape\(-1\)"),
        (lambda t: t.astype("float64"), r"float64 of shape \(9,\)", r"Convert it: t_{}.astype"),
        (lambda t: np.eye(4)[t], r"float64 of shape \(9, 4\)$", ""),
    ],
)
def test_labels_of_a_shape_that_fits_no_class_are_refused(part, change, given, remedy):
    x, t = blobs(9)
    parts = {"train": (x, t), "test": (x, t), part: (x, change(t))}
    message = rf"t_{part} must hold integers of shape \(9,\) or .* \(9, 3\), got {given}"
    with pytest.raises(ValueError, match=message + ".*" + remedy.format(part)):
        Trainer(make_network(), *parts["train"], *parts["test"], verbose=False)


# What it shows (test_progress.py has the rest)


@pytest.mark.parametrize(("evaluate", "steps"), [("first", (1, 5)), ("last", (4, 8))])
@pytest.mark.parametrize("record_loss", ["after", "before", "both"])
def test_each_epoch_is_printed_at_its_end(capsys, evaluate, steps, record_loss):
    printed = []

    class Watcher:
        def observe(self, x, t):
            printed.append(len(capsys.readouterr().out.splitlines()))

    trainer = make_trainer(
        epochs=2, verbose=True, evaluate=evaluate, record_loss=record_loss, monitor=Watcher()
    )
    trainer.train()
    # step 5 finds the line of epoch 1, no other step finds one
    assert printed == [0, 0, 0, 0, 1, 0, 0, 0]
    out, err = capsys.readouterr()
    losses, train, test = trainer.train_loss_list, trainer.train_acc_list, trainer.test_acc_list
    assert out.splitlines() == [
        f"training: epoch 2/2, mean loss {np.mean(losses[4:]):.4f}; at step {steps[1]}: "
        f"train accuracy {train[1]:.4f}, test {test[1]:.4f}",
        f"training: final test accuracy {trainer.test_acc:.4f}",
    ]
    assert "\r" not in out
    assert "\x1b" not in out
    assert err == ""


def test_it_says_after_which_step_it_continues(capsys):
    trainer = make_trainer(epochs=3, verbose=True)
    trainer.train_step()
    trainer.train()
    assert capsys.readouterr().out.startswith("training: continues after step 1\ntraining: epoch")
    trainer.train()  # nothing is left to do
    assert "continues" not in capsys.readouterr().out


def test_a_line_does_not_show_the_first_step_as_the_epochs_result(capsys):
    # one epoch of 200 steps; after the first step the network still guesses
    trainer = make_trainer(
        count=200, mini_batch_size=1, epochs=1, verbose=True, optimizer_param={"lr": 0.1}
    )
    trainer.train()
    line, final = capsys.readouterr().out.splitlines()
    assert trainer.train_acc_list[0] < 0.7
    assert trainer.test_acc > 0.9
    assert trainer.train_loss_list[0] > 2 * np.mean(trainer.train_loss_list)
    assert line.startswith(
        f"training: epoch 1/1, mean loss {np.mean(trainer.train_loss_list):.4f}; at step 1: train"
    )
    assert final == f"training: final test accuracy {trainer.test_acc:.4f}"


def test_a_line_has_no_accuracies_of_earlier_epochs(capsys):
    make_trainer(epochs=4, evaluate_every=3, verbose=True).train()
    lines = capsys.readouterr().out.splitlines()
    assert ["accuracy" in line for line in lines] == [True, False, False, True, True]
    assert "at step 13: train accuracy" in lines[3]


def test_a_regressions_line_has_its_loss_on_test_data(capsys):
    x, t = regression()
    trainer = Trainer(regressor(), x, t, x, t, epochs=1, mini_batch_size=6)
    trainer.train()
    line, final = capsys.readouterr().out.splitlines()
    assert line.endswith(f"; at step 1: test loss {trainer.test_loss_list[0]:.4f}")
    assert final == f"training: final test loss {trainer.test_loss:.4f}"


def test_steps_by_hand_in_mid_epoch_count_for_its_line(capsys):
    trainer = make_trainer(epochs=2, verbose=True)
    for _ in range(6):
        trainer.train_step()
    assert capsys.readouterr().out == ""
    trainer.train()
    _, line, _ = capsys.readouterr().out.splitlines()
    assert f"epoch 2/2, mean loss {np.mean(trainer.train_loss_list[4:]):.4f}; at step 5" in line


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_epoch_that_diverged_gets_no_line(capsys):
    trainer = make_trainer(epochs=2, verbose=True)
    trainer.train_step()
    trainer.optimizer.lr = 1e200
    with pytest.raises(DivergedError, match="the loss is"):
        trainer.train()
    assert trainer.current_iter < trainer.iter_per_epoch
    assert capsys.readouterr().out == "training: continues after step 1\n"


def test_not_verbose_prints_nothing(capsys):
    make_trainer(verbose=False).train()
    assert capsys.readouterr() == ("", "")
