"""A trainer on several ranks, here threads, against one process."""

import numpy as np
import pytest
from rank_threads import on_ranks
from small_run import make_network, make_trainer

from dlskills import SGD
from dlskills.training import Callback, CSVLogger, EarlyStopping


def summary(trainer):
    return {
        "params": np.array(trainer.network.params.flat),
        "losses": trainer.train_loss_list,
        "history": trainer.history.to_dict(),
        "state": trainer.network.state_dict(),
        "final": trainer.test_acc,
    }


def on_trainers(ranks, change=lambda trainer: None, **options):
    def run(communicator):
        trainer = make_trainer(communicator=communicator, **options)
        change(trainer)
        trainer.train()
        return summary(trainer)

    return on_ranks(ranks, run)


def assert_alike(found, expected):
    for name in ("params", "losses"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-10)
    for name, column in expected["history"].items():
        np.testing.assert_allclose(found["history"][name], column, rtol=1e-9)
    for name, value in expected["state"].items():
        np.testing.assert_allclose(found["state"][name], value, rtol=1e-8, atol=1e-10)
    assert found["final"] == expected["final"]


OPTIONS = [
    {"sampling": "epoch", "remainder": "fold", "record_loss": "both"},
    {"sampling": "replacement", "record_loss": "before", "evaluate": "last"},
    {"optimizer": SGD(0.1, clip_norm=0.1), "metrics": ["accuracy", "loss"], "validation": 0.2},
    {"evaluate_sample_num_per_epoch": 10, "evaluate_samples": "random"},
    {"accumulate": 3, "sampling": "epoch", "remainder": "fold", "record_loss": "both"},
    {"accumulate": 100, "mini_batch_size": 9, "validation": 0.2},
]


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("options", OPTIONS)
def test_ranks_follow_one_process(options, ranks, sharded):
    given = {"optimizer": "momentum"} | options
    alone = make_trainer(**given)
    alone.train()

    def run(communicator):
        own = dict(given)
        if not isinstance(own["optimizer"], str):
            own["optimizer"] = SGD(0.1, clip_norm=0.1)
        trainer = make_trainer(communicator=communicator, sharded=sharded, **own)
        trainer.train()
        return summary(trainer)

    for found in on_ranks(ranks, run):
        assert_alike(found, summary(alone))


def test_a_batch_of_your_own_is_a_whole_one():
    batch = np.ones((5, 4)), np.array([0, 1, 2, 1, 0])
    alone = make_trainer(optimizer="momentum")
    alone.train_on(*batch)

    def run(communicator):
        trainer = make_trainer(communicator=communicator, optimizer="momentum")
        trainer.train_on(*batch)
        return summary(trainer)

    for found in on_ranks(2, run):
        assert_alike(found, summary(alone))


@pytest.mark.parametrize("sharded", [False, True])
def test_gradients_of_all_parts_are_summed_in_one_operation(sharded):
    def run(communicator):
        trainer = make_trainer(
            make_network(use_batchnorm=False), communicator=communicator, sharded=sharded,
            epochs=1, accumulate=4, record_loss="before",
        )  # fmt: skip
        communicator.calls.clear()
        trainer.train_on(np.ones((8, 4)), np.zeros(8, int))
        return communicator.calls, trainer.network.params.flat.shape

    for calls, shape in on_ranks(2, run):
        gradient = "reduce_scatter" if sharded else "allreduce"
        assert calls == [("allreduce", (1,)), (gradient, shape)]  # the loss, and then


def test_only_rank_0_prints(capsys):
    on_trainers(2, verbose=True)
    assert capsys.readouterr().out.count("epoch 1/3") == 1


def test_only_rank_0_writes(tmp_path):
    def run(communicator):
        path = tmp_path / f"{communicator.rank}.csv"
        make_trainer(communicator=communicator, callbacks=[CSVLogger(path)]).train()

    on_ranks(2, run)
    assert [file.name for file in tmp_path.iterdir()] == ["0.csv"]


class StopOnRank0(Callback):
    rank_0_only = True

    def after_step(self, trainer, batch):
        return trainer.step == 4


def test_a_rank_that_stops_stops_all():
    def run(communicator):
        trainer = make_trainer(communicator=communicator, callbacks=[StopOnRank0()])
        trainer.train()
        return trainer.step

    assert on_ranks(2, run) == [4, 4]


def test_early_stopping_restores_the_best_on_all_ranks():
    def run(communicator):
        trainer = make_trainer(
            communicator=communicator, epochs=20, validation=0.3, evaluate="last",
            optimizer=SGD(1.0), callbacks=[EarlyStopping(patience=2)],
        )  # fmt: skip
        trainer.train()
        return trainer.step, np.array(trainer.network.params.flat)

    (step, params), (other_step, other_params) = on_ranks(2, run)
    assert step == other_step < 20 * 5
    np.testing.assert_allclose(params, other_params, rtol=1e-12)


def test_the_communicator_is_notified_of_steps():
    def run(communicator):
        make_trainer(communicator=communicator, epochs=1).train()
        return communicator.steps

    assert on_ranks(2, run) == [[1, 2, 3, 4, 5, 6, None]] * 2


@pytest.mark.parametrize(
    ("differing", "named"),
    [
        (
            lambda rank: {"network": make_network(seed=rank)},
            "the seed of the network is 1 on rank 1",
        ),
        (lambda rank: {"mini_batch_size": 8 + rank}, "mini_batch_size' is 9 on rank 1 and 8"),
        (lambda rank: {"seed": rank}, "the seed of the batches is 1 on rank 1 and 0 on rank 0"),
        (lambda rank: {"validation": 0.2 + 0.1 * rank}, "the setting 'train data' is"),
        (lambda rank: {"epochs": 1 + rank}, "epochs is 2 on rank 1 and 1 on rank 0"),
        (lambda rank: {"accumulate": 1 + rank}, "accumulate is 2 on rank 1 and 1 on rank 0"),
    ],
)
def test_ranks_that_differ_are_refused_by_name(differing, named):
    def run(communicator):
        with pytest.raises(ValueError, match="all ranks must run the same training") as error:
            make_trainer(communicator=communicator, **differing(communicator.rank))
        return str(error.value)

    for message in on_ranks(2, run):
        assert named in message


def test_another_version_is_refused():
    class Rank1Older:
        """Threads share a module, so the version differs as it is sent."""

        def __init__(self, communicator):
            self._own = communicator

        def __getattr__(self, name):
            return getattr(self._own, name)

        def allgather_object(self, value):
            if self._own.rank == 1 and isinstance(value, dict):
                value = value | {"the version of dlskills": "'0.0.1'"}
            return self._own.allgather_object(value)

    def run(communicator):
        with pytest.raises(ValueError, match="the version of dlskills is '0.0.1' on rank 1 and"):
            make_trainer(communicator=Rank1Older(communicator))

    on_ranks(2, run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"capture": True}, "capture does not go with a communicator"),
        ({"sample_weights": [1.0]}, "sample_weights does not go with a communicator"),
        ({"sharded": 1}, "sharded must be True or False, got 1"),
    ],
)
def test_options_that_do_not_go_together(options, message):
    def run(communicator):
        make_trainer(communicator=communicator, **options)

    with pytest.raises((ValueError, TypeError), match=message):
        on_ranks(1, run)


def test_sharding_needs_ranks():
    with pytest.raises(ValueError, match="give communicator=mpi"):
        make_trainer(sharded=True)


def test_a_function_is_no_communicator():
    with pytest.raises(TypeError, match=r"such as mpi\(\), got <built-in"):
        make_trainer(communicator=len)
