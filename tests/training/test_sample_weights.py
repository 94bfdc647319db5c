"""Weights of training samples: through batches, losses, accumulation, and resuming."""

import numpy as np
import pytest

from dlskills import (
    Adam,
    MultiLayerNet,
    MultiLayerNetExtend,
    SoftmaxWithLoss,
    Trainer,
    to_host,
)
from dlskills.files import FileFormatError
from dlskills.layers import Loss
from dlskills.training import Checkpoint, Loop
from dlskills.training.samples import StagedSamples

COUNT = 50
RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((COUNT, 4)), RNG.integers(3, size=COUNT)
WEIGHTS = RNG.uniform(0, 3, COUNT)


def network(**options):
    return MultiLayerNet(4, [6], 3, seed=0, dtype="float64", **options)


def crash_at(step):
    def crash(trainer):
        if trainer.step == step:
            raise RuntimeError("crash")

    return lambda trainer, batch: crash(trainer)


def trainer(weights=WEIGHTS, net=None, x=X, t=T, **options):
    settings = {
        "epochs": 3, "mini_batch_size": 8, "optimizer": "adam", "verbose": False, "seed": 1,
    }  # fmt: skip
    return Trainer(net or network(), x, t, **(settings | options), sample_weights=weights)


@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_step_takes_the_weights_of_its_samples(sampling, accumulate):
    # the index of each sample is its input, so that a batch names its rows
    indices = np.arange(COUNT)[:, None] * np.ones((1, 4)) / COUNT
    seen = []
    made = trainer(
        x=indices, sampling=sampling, accumulate=accumulate, record_loss="both",
        callbacks=[lambda trainer, batch: seen.append(batch)],
    )  # fmt: skip
    by_hand, optimizer = network(), Adam()
    made.train()
    after = []
    for x, t, weights in seen:
        rows = np.rint(x[:, 0] * COUNT).astype(int)
        np.testing.assert_array_equal(weights, WEIGHTS[rows])
        np.testing.assert_array_equal(t, T[rows])
        optimizer.update(by_hand.params, by_hand.gradient(x, t, weights))
        after.append(float(by_hand.loss(x, t, weights=weights)))
    np.testing.assert_allclose(made.network.params.flat, by_hand.params.flat, rtol=1e-9)
    np.testing.assert_allclose(made.eval_loss_list, after, rtol=1e-9)


def test_on_every_backend(backend):
    net = MultiLayerNet(4, [6], 3, seed=0, device=backend.device, xp=backend.xp)
    made = trainer(net=net)
    reference = trainer(net=MultiLayerNet(4, [6], 3, seed=0))
    made.train()
    reference.train()
    np.testing.assert_allclose(made.train_loss_list, reference.train_loss_list, rtol=1e-4)


@pytest.mark.backends("cupy")
def test_staged_samples_bring_their_weights(backend):
    weights = WEIGHTS.astype("f4")
    staged = StagedSamples(backend, X, T, np.float32, 8, weights)
    order = np.random.default_rng(0).permutation(COUNT)
    staged.start_epoch(order, [(0, 8), (8, 13)])
    for position, rows in enumerate((order[:8], order[8:13])):
        np.testing.assert_array_equal(to_host(staged.batch(position)[2]), weights[rows])


def test_weights_of_one_change_nothing_and_a_weight_of_zero_leaves_out_its_sample():
    plain, of_ones = trainer(None), trainer(np.ones(COUNT))
    plain.train()
    of_ones.train()
    assert plain.train_loss_list == of_ones.train_loss_list

    wrong = T.copy()
    wrong[:10] = (wrong[:10] + 1) % 3
    zeros = np.where(np.arange(COUNT) < 10, 0.0, 1.0)
    right, unread = trainer(zeros), trainer(zeros, t=wrong)
    right.train()
    unread.train()
    np.testing.assert_array_equal(right.network.params.flat, unread.network.params.flat)


def test_weights_of_classes_are_those_of_their_samples():
    class_weights = [0.5, 2.0, 1.0]
    by_class = trainer(None, network(loss=SoftmaxWithLoss(class_weights=class_weights)))
    by_sample = trainer(np.asarray(class_weights)[T])
    by_class.train()
    by_sample.train()
    np.testing.assert_allclose(by_class.train_loss_list, by_sample.train_loss_list, rtol=1e-9)


def test_a_validation_fraction_takes_its_weights_along():
    indices = np.arange(COUNT)[:, None] * np.ones((1, 4)) / COUNT
    seen = []
    made = trainer(x=indices, validation=0.2, callbacks=[lambda trainer, batch: seen.append(batch)])
    made.train()
    assert made.train_size == 40
    for x, _, weights in seen:
        np.testing.assert_array_equal(weights, WEIGHTS[np.rint(x[:, 0] * COUNT).astype(int)])


def test_a_list_will_do_and_single_precision_computes_with_it():
    made = trainer(list(WEIGHTS), MultiLayerNet(4, [6], 3, seed=0))
    made.train_step()
    assert made.network.params.dtype == np.float32


def test_a_batch_normalization_takes_weights_too():
    made = trainer(net=MultiLayerNetExtend(4, [6], 3, seed=0, use_batchnorm=True, use_dropout=True))
    made.train()
    assert np.isfinite(made.train_loss_list).all()


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (
            np.ones(3),
            ValueError,
            r"one number per training sample, shape \(50,\), got shape \(3,\)",
        ),
        (np.ones((COUNT, 1)), ValueError, r"shape \(50,\), got shape \(50, 1\)"),
        (2.0, ValueError, r"shape \(50,\), got shape \(\)"),
        (np.full(COUNT, -1), ValueError, "finite and at least 0, got -1 for sample 0"),
        ([*WEIGHTS[:-1], np.nan], ValueError, "at least 0, got nan for sample 49"),
        ([*WEIGHTS[:-1], np.inf], ValueError, "at least 0, got inf for sample 49"),
        (np.zeros(COUNT), ValueError, "sample_weights are all 0"),
        (["a"] * COUNT, TypeError, "a number for each training sample, got dtype <U1"),
        ({0: 1.0}, TypeError, "a number for each training sample, got {0: 1.0}"),
        ([[1], [1, 2]], TypeError, r"a number for each training sample, got \[\[1\], \[1, 2\]\]"),
    ],
)
def test_wrong_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        trainer(weights)


def test_weights_beyond_single_precision_are_refused():
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="finite and at least 0, got 1e\\+39 for sample 0"),
    ):
        trainer(np.full(COUNT, 1e39), MultiLayerNet(4, [6], 3, seed=0))


def test_a_loss_without_weights_is_named():
    class Unweighted(Loss):
        def forward(self, x, t):
            return x.sum()

        def backward(self, dout=1.0):
            return dout

    with pytest.raises(TypeError, match=r"weights were given, but Unweighted\.forward takes only"):
        trainer(net=network(loss=Unweighted()))


@pytest.mark.parametrize("name", ["sample_weight", "class_weight", "class_weights"])
def test_other_names_are_understood(name):
    with pytest.raises(TypeError, match="sample_weights=|SoftmaxWithLoss\\(class_weights="):
        trainer(None, **{name: WEIGHTS})


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, step, accumulate):
    whole = trainer(accumulate=accumulate)
    whole.train()
    broken = trainer(
        accumulate=accumulate, callbacks=[Checkpoint(tmp_path, every=1), crash_at(step)]
    )
    with pytest.raises(RuntimeError, match="crash"):
        broken.train()
    resumed = trainer(
        accumulate=accumulate,
        callbacks=[Checkpoint(tmp_path, every=1), lambda trainer, batch: None],
    )
    assert resumed.resume(tmp_path) == step - 1  # the crash came before the save
    resumed.train()
    assert resumed.network.params.flat.tobytes() == whole.network.params.flat.tobytes()
    assert resumed.train_loss_list == whole.train_loss_list


@pytest.mark.parametrize("other", [None, WEIGHTS * 1.0001, WEIGHTS[::-1]])
def test_a_checkpoint_refuses_other_weights(tmp_path, other):
    made = trainer(callbacks=[Checkpoint(tmp_path)])
    made.train()
    with pytest.raises(FileFormatError, match="of another training.*sample weights: .*here"):
        trainer(other, callbacks=[Checkpoint(tmp_path)]).resume(tmp_path)


def test_a_loop_takes_weighted_batches_and_names_what_is_no_batch():
    loop = Loop(network(), Adam(), [(X, T, WEIGHTS)])
    loop.run()
    assert loop.losses == [pytest.approx(float(network().loss(X, T, weights=WEIGHTS)))]
    loop.train_on(X, T, WEIGHTS)
    assert loop.step == 2
    for batches, found in (
        ([X], r"got a ndarray of shape \(50, 4\)\. Give targets, too"),
        ([(X,)], "got 1 items"),
        ([(X, T, WEIGHTS, T)], "got 4 items"),
        ([{"x": X}], "got a dict"),
    ):
        with pytest.raises(TypeError, match=rf"each batch must be \(x, t\).*{found}"):
            Loop(network(), Adam(), batches).run()


def test_a_monitor_and_the_search_for_a_bad_value_take_weighted_batches():
    from dlskills.diagnostics import Monitor
    from dlskills.training import DivergedError

    net = network()
    trainer(net=net, monitor=Monitor(net, every=1)).train()
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="not finite"):
        trainer(optimizer="sgd", optimizer_param={"lr": 1e300}).train()
