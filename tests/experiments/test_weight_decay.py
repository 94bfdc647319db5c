"""Weight decay against overfitting."""

import numpy as np
import pytest

from dlskills.experiments import Settings, judge, overfitting, weight_decay
from dlskills.plotting import save_figure


def run(epochs, **options):
    return weight_decay.run(Settings(verbose=False), epochs=epochs, **options)


@pytest.fixture(scope="module")
def numbers():
    return run(4)


def test_without_decay_it_is_the_experiment_of_overfitting(numbers):
    plain = overfitting.run(Settings(verbose=False), epochs=4)
    assert numbers["curves"]["λ = 0"] == plain["curves"]["no regularization"]
    assert numbers["final"]["λ = 0"] == plain["final"]["no regularization"]


def test_each_step_of_decay_takes_its_share_of_the_weights(numbers):
    plain, decayed = (numbers["curves"][name]["squares"] for name in ("λ = 0", "λ = 0.1"))
    shrinking = (1 - 0.01 * 0.1) ** 2  # learning rate times lambda, of W, and so of W²
    steps = np.array([1, 4, 7, 10])
    np.testing.assert_allclose(np.array(decayed) / plain, shrinking**steps, rtol=2e-3)


def test_parts_alone_are_the_parts_of_the_whole(numbers):
    alone = run(4, decay=[0.1])
    assert alone["curves"]["λ = 0.1"] == numbers["curves"]["λ = 0.1"]
    assert alone["final"] == {"λ = 0.1": numbers["final"]["λ = 0.1"]}


def test_figures_have_names_and_words(numbers, tmp_path):
    figures = weight_decay.plot([numbers])
    assert set(figures) == set(weight_decay.EXPERIMENT.alt)
    for name, figure in figures.items():
        save_figure(figure, tmp_path, name)
    left, right = figures["weight-decay-loss"].axes
    assert [line.get_label() for line in left.get_lines()] == [
        "λ = 0: data", "λ = 0.1: data", "λ = 0.1: penalty ½λΣW²",
    ]  # fmt: skip
    for line, own in zip(right.get_lines(), numbers["curves"].values(), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), own["squares"])


def test_the_table_has_a_row_for_each_lambda(numbers):
    _, rows = weight_decay.table(numbers).shown()
    assert [row[0] for row in rows] == ["λ = 0", "λ = 0.1"]
    assert rows[0][5] == "0.00"
    assert float(rows[1][5]) == pytest.approx(0.05 * float(rows[1][6]), rel=0.01)


@pytest.mark.slow
def test_the_tutorials_claims_are_confirmed_except_for_better_generalization():
    verdicts = judge(weight_decay.CLAIMS, [run(201)])
    doubted = [str(verdict.claim.says) for verdict in verdicts if not verdict.confirmed]
    assert len(doubted) == 1
    assert doubted[0].startswith("Weight decay is a technique")
