"""An ill-conditioned quadratic: contraction and steps, from a smaller condition number."""

import math

import numpy as np
import pytest

from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import conditioning


@pytest.fixture(scope="module")
def numbers():
    return conditioning.run(Settings(verbose=False), condition=100.0)


def test_each_rule_contracts_as_theory_says(numbers):
    assert numbers["theory"] == pytest.approx(
        {"SGD": 99 / 101, "Momentum": 9 / 11, "Nesterov": 0.9}
    )
    assert numbers["contraction"] == pytest.approx(numbers["theory"], abs=1e-9)
    assert all(verdict.confirmed for verdict in judge(conditioning.CLAIMS, [numbers])[:3])


def test_steps_are_those_of_the_exact_solution(numbers):
    # SGD multiplies the coordinate of an eigenvalue by 1 - lr * eigenvalue in each step
    factors = 1 - 2 / 1.01 * np.logspace(-2, 0, 41)
    steps = numbers["steps"]["SGD"]
    distance = [np.linalg.norm(factors**n) / math.sqrt(41) for n in (steps - 1, steps)]
    assert distance[0] > 1e-6 >= distance[1]
    assert numbers["steps"]["Momentum"] < numbers["steps"]["Nesterov"] < steps


def test_the_contraction_of_a_known_recurrence():
    t = np.arange(200)
    double = (1 + t) * 0.9**t  # two equal roots
    turning = 0.8**t * np.cos(t)  # conjugate roots
    path = np.stack([double, turning], axis=1)
    assert conditioning.contraction(path, 2) == pytest.approx(0.9, abs=1e-9)
    assert conditioning.contraction(path[:, 1:], 2) == pytest.approx(0.8, abs=1e-9)
    assert conditioning.contraction(0.7 ** t[:, None], 1) == pytest.approx(0.7)


def test_claims_are_judged_both_ways(numbers):
    off = {name: rate + 2e-6 for name, rate in numbers["theory"].items()}
    slow = {"SGD": 1000, "Momentum": 900, "Nesterov": 900}
    words = [v.word for v in judge(conditioning.CLAIMS, [numbers | {"contraction": off}])]
    assert words[:3] == ["not confirmed"] * 3
    assert judge(conditioning.CLAIMS, [numbers | {"steps": slow}])[3].word == "not confirmed"
    fast = slow | {"Momentum": 100}
    assert judge(conditioning.CLAIMS, [numbers | {"steps": fast}])[3].word == "confirmed"
    never = slow | {"SGD": None}
    assert judge(conditioning.CLAIMS, [numbers | {"steps": never}])[3].word == "not judged"


def test_a_run_that_is_cut_short_never_arrives():
    numbers = conditioning.run(Settings(verbose=False), condition=100.0, steps=50)
    assert numbers["steps"]["SGD"] is None
    _, rows = conditioning.table(numbers).shown()
    assert rows[0][-1] == "never"


def test_the_figure_has_theory_beside_each_curve(numbers):
    (figure,) = conditioning.plot([numbers]).values()
    (panel,) = figure.axes
    assert len(panel.get_lines()) == 6
