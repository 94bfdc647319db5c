"""The counterexample of AMSGrad's paper, from a few rounds and from made-up results."""

import numpy as np
import pytest

from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import adam_counterexample


@pytest.fixture(scope="module")
def numbers():
    return adam_counterexample.run(Settings(verbose=False), iterations=1515)


def words(adam, amsgrad, late, regret):
    made_up = {
        "end": {"Adam": adam, "AMSGrad": amsgrad},
        "late": {"Adam": late},
        "regret": {"AMSGrad": regret},
    }
    return [verdict.word for verdict in judge(adam_counterexample.CLAIMS, [made_up])]


def test_claims_are_judged_both_ways():
    assert words(0.99, -0.98, 0.2, [1.0, 0.5, 0.35]) == ["confirmed"] * 3
    assert words(-0.99, 0.98, 0.2, [1.0, 0.5, 0.5]) == ["not confirmed"] * 3
    assert words(0.99, -0.98, 0.01, [1.0, 0.5, 0.35])[2] == "not confirmed"


def test_adam_follows_the_papers_algorithm(numbers):
    x = m = v = largest = 0.0
    for name, keeps in (("Adam", False), ("AMSGrad", True)):
        x = m = v = largest = 0.0
        path = []
        for t in range(1, 1516):
            path.append(x)
            gradient = 1010.0 if t % 101 == 1 else -10.0
            m, v = 0.9 * m + 0.1 * gradient, 0.99 * v + 0.01 * gradient**2
            largest = max(largest, v) if keeps else v
            x = float(np.clip(x - 0.5 / np.sqrt(t) * m / np.sqrt(largest), -1, 1))
        drawn = np.asarray(path)[np.asarray(numbers["rounds"]) - 1]
        np.testing.assert_allclose(numbers["x"][name], drawn, atol=1e-6)
        assert numbers["end"][name] == pytest.approx(x, abs=1e-6)


def test_the_regret_is_that_of_the_best_point(numbers):
    assert numbers["regret"]["Adam"][0] == 1010  # f(0) - f(-1) in the first round


def test_the_figure_and_the_table(numbers):
    (figure,) = adam_counterexample.plot([numbers]).values()
    left, right = figure.axes
    assert [len(panel.get_lines()) for panel in (left, right)] == [2, 2]
    _, rows = adam_counterexample.table(numbers).shown()
    assert [row[0] for row in rows] == ["Adam", "AMSGrad"]


@pytest.mark.slow
def test_what_the_paper_says_is_confirmed():
    numbers = adam_counterexample.run(Settings(verbose=False))
    assert all(verdict.confirmed for verdict in judge(adam_counterexample.CLAIMS, [numbers]))
