"""The random search: trials that depend on nothing but seed and number, and an untouched test."""

import numpy as np
import pytest

from dlskills import experiments
from dlskills.experiments import Settings, hyperparameters, judge
from dlskills.plotting import save_figure

QUIET = Settings(verbose=False)


def run(trials, epochs=2, settings=QUIET):
    return hyperparameters.run(settings, epochs=epochs, trials=trials)


@pytest.fixture(scope="module")
def numbers():
    return run([[0, 1], [2]])


@pytest.fixture(scope="module")
def finished(numbers):
    return hyperparameters.finish(QUIET, numbers)


def test_trials_do_not_depend_on_order_or_groups(numbers):
    assert run([[2, 0]])["trials"] == {key: numbers["trials"][key] for key in ("2", "0")}


def test_another_seed_draws_other_trials(numbers):
    other = run([[0]], settings=Settings(1, verbose=False))["trials"]["0"]
    assert other["params"] != numbers["trials"]["0"]["params"]
    assert other["validation_loss"] != numbers["trials"]["0"]["validation_loss"]


def test_trials_of_the_same_rates_have_their_own_weights():
    data, rates = hyperparameters.digits(QUIET), {"lr": 0.01, "weight_decay": 0.0}
    losses = {
        hyperparameters.train(QUIET, number, rates, data, 1)[1]["train_loss"][0]
        for number in range(3)
    }
    assert len(losses) == 3


def test_rates_are_drawn_evenly_on_a_logarithmic_scale():
    drawn = [hyperparameters.draw(0, number) for number in range(400)]
    for name, (low, high) in hyperparameters.RANGES.items():
        values = np.array([params[name] for params in drawn])
        assert low <= values.min() < 1.1 * low
        assert 0.9 * high < values.max() < high
        quarters = np.histogram(np.log10(values), bins=4, range=np.log10([low, high]))[0]
        assert quarters.min() > 75  # of 100 expected: 2.9 standard deviations
    rates = np.log([list(params.values()) for params in drawn])
    assert abs(np.corrcoef(rates.T)[0, 1]) < 0.15


def test_a_trial_is_scored_on_digits_that_it_was_not_trained_on():
    data = hyperparameters.digits(QUIET)
    network, curves = hyperparameters.train(QUIET, 0, {"lr": 0.05, "weight_decay": 0.0}, data, 15)
    x, t = data
    assert x.shape == (500, 784)
    assert curves["train_accuracy"][-1] == pytest.approx(network.accuracy(x[:400], t[:400]))
    assert curves["validation_accuracy"][-1] == pytest.approx(network.accuracy(x[400:], t[400:]))
    assert curves["train_accuracy"][-1] > curves["validation_accuracy"][-1] > 0.5


def test_the_watch_sees_each_epoch_and_can_end_the_training():
    seen = []

    def watch(epoch, accuracy):
        seen.append((epoch, float(accuracy)))
        if epoch == 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        hyperparameters.train(
            QUIET, 0, {"lr": 0.01, "weight_decay": 0.0}, hyperparameters.digits(QUIET), 5, watch
        )
    assert [epoch for epoch, _ in seen] == [0, 1]
    assert all(0 <= accuracy <= 1 for _, accuracy in seen)


def test_the_winner_alone_is_measured_on_test_data(numbers, finished):
    assert "winner" not in numbers
    trials = numbers["trials"]
    score = {key: (t["validation_accuracy"], -t["validation_loss"]) for key, t in trials.items()}
    assert finished["winner"]["trial"] == int(max(score, key=score.__getitem__))
    assert finished["winner"]["test_images"] == 10_000
    assert 0.05 < finished["winner"]["test_accuracy"] < 0.5


def test_a_run_of_the_command_finishes(finished):
    options = {"epochs": 2, "trials": [[0, 1, 2]]}
    (records,) = experiments.run(["hyperparameters"], QUIET, options=options).values()
    assert records[0].numbers == finished


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(50, 100, 0.4038, 0.5962), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval(right, count, low, high):
    # the last one: Newcombe (1998), "Two-sided confidence intervals for the single proportion"
    assert hyperparameters.wilson(right, count) == pytest.approx((low, high), abs=2e-4)


def test_figures_have_names_and_words(finished, tmp_path):
    figures = hyperparameters.plot([finished])
    assert set(figures) == set(hyperparameters.EXPERIMENT.alt)
    save_figure(figures["hyperparameters-rates"], tmp_path, "rates")


def test_the_table_has_the_best_and_the_winners_interval(finished):
    columns, rows = hyperparameters.table(finished).shown()
    assert len(rows) == 3
    assert rows[0][1] == str(finished["winner"]["trial"])
    assert f"{finished['winner']['test_accuracy']:.1%} (" in rows[0][columns.index(columns[-1])]
    assert rows[1][-1] == ""
    assert hyperparameters.table({"trials": finished["trials"]}).rows[0][-1] == ""


def told(validation, test):
    """Numbers of one trial, which a seed's winner stands for."""
    trial = {
        "params": {"lr": 0.01, "weight_decay": 1e-5},
        "validation_accuracy": validation,
        "validation_loss": 1.0,
        "curves": {"train": [1.0], "validation": [validation]},
    }
    winner = {"trial": 0, "test_accuracy": test, "test_images": 10_000}
    return {"trials": {"0": trial}, "winner": winner}


@pytest.mark.parametrize(
    ("runs", "confirmed"),
    [
        (
            [(0.70, 0.68), (0.63, 0.69), (0.74, 0.69), (0.66, 0.68), (0.71, 0.68)],
            True,
        ),  # as luck has it
        ([(0.75, 0.70)] * 5, False),  # each of them might be luck
        ([(0.65, 0.70)] * 5, False),
        ([(0.75, 0.70)], True),
        ([(0.85, 0.70)], False),
    ],
)
def test_a_winners_luck_is_judged_over_all_seeds(runs, confirmed):
    verdict = judge(hyperparameters.CLAIMS, [told(*run) for run in runs])[2]
    assert verdict.confirmed is confirmed


@pytest.mark.backends("cupy")
def test_the_same_on_a_gpu(backend, numbers):
    there = run([[1]], settings=Settings(device="cuda", verbose=False))["trials"]["1"]
    here = numbers["trials"]["1"]
    assert there["params"] == here["params"]
    assert there["validation_loss"] == pytest.approx(here["validation_loss"], rel=1e-4)
    np.testing.assert_allclose(
        there["curves"]["validation"], here["curves"]["validation"], atol=0.011
    )


@pytest.mark.slow
def test_what_the_search_finds_and_that_its_winner_was_lucky():
    (records,) = experiments.run(["hyperparameters"], QUIET).values()
    verdicts = judge(hyperparameters.CLAIMS, [records[0].numbers])
    assert [verdict.confirmed for verdict in verdicts] == [True, True, False]
