"""Overfitting on 300 digits."""

import pytest

from dlskills.experiments import Settings, judge, overfitting
from dlskills.plotting import save_figure


def run(epochs, seed=0):
    return overfitting.run(Settings(seed, verbose=False), epochs=epochs)


@pytest.fixture(scope="module")
def numbers():
    return run(4)


def test_one_network_and_an_entry_an_epoch(numbers):
    assert list(numbers["curves"]) == list(numbers["final"]) == ["no regularization"]
    assert len(numbers["curves"]["no regularization"]["test_accuracy"]) == 4


def test_a_seed_repeats_a_run_and_another_does_not(numbers):
    assert run(4) == numbers != run(4, seed=1)


def test_a_short_run_confirms_nothing(numbers):
    assert not any(verdict.confirmed for verdict in judge(overfitting.CLAIMS, [numbers]))


def test_the_claims_look_at_the_right_epochs():
    curve = [0.5] * 100 + [0.98] * 50 + [1.0] * 51
    final = {"train_accuracy": 1.0, "test_accuracy": 0.8}
    numbers = {
        "curves": {"no regularization": {"train_accuracy": curve}},
        "final": {"no regularization": final},
    }
    assert all(verdict.confirmed for verdict in judge(overfitting.CLAIMS, [numbers]))
    curve[180] = 0.98
    final["test_accuracy"] = 0.9
    assert not any(verdict.confirmed for verdict in judge(overfitting.CLAIMS, [numbers]))


def test_figures_have_names_and_words(numbers, tmp_path):
    figures = overfitting.plot([numbers])
    assert set(figures) == set(overfitting.EXPERIMENT.alt)
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)


def test_the_table(numbers):
    columns, ((name, *cells),) = overfitting.table(numbers).shown()
    final = numbers["final"]["no regularization"]
    assert columns == ["network", "train", "test", "gap", "loss", "penalty", "ΣW²"]
    assert name == "no regularization"
    assert cells[:2] == [f"{final['train_accuracy']:.1%}", f"{final['test_accuracy']:.1%}"]


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed():
    verdicts = judge(overfitting.CLAIMS, [run(201)])
    assert all(verdict.confirmed for verdict in verdicts)
