"""Batch Norm as in its paper, from a few steps and from made-up results."""

import pytest

from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import batch_norm_steps


def words(plain, normed, steps=(1000, 2000, 3000, 4000)):
    made_up = {"steps": list(steps), "accuracy": {"plain": plain, "Batch Norm": normed}}
    return [verdict.word for verdict in judge(batch_norm_steps.CLAIMS, [made_up])]


def test_claims_are_judged_both_ways():
    assert words([0.5, 0.7, 0.8, 0.9], [0.9, 0.92, 0.93, 0.93]) == ["confirmed"] * 2
    assert words([0.9, 0.91, 0.92, 0.93], [0.91, 0.91, 0.9, 0.92]) == ["not confirmed"] * 2
    late = words([0.5, 0.7, 0.8, 0.9], [0.8, 0.8, 0.9, 0.95])
    assert late == ["not confirmed", "confirmed"]  # three quarters of the steps


def test_a_run_too_short_is_not_judged():
    assert words([0.5, 0.6], [0.9, 0.9], steps=[250, 500])[0] == "not judged"


@pytest.mark.slow
def test_a_few_steps():
    numbers = batch_norm_steps.run(Settings(verbose=False), iterations=150, units=20)
    assert numbers["steps"] == [100, 150]
    accuracy = numbers["accuracy"]
    assert accuracy["Batch Norm"][-1] > accuracy["plain"][-1] + 0.2
    (figure,) = batch_norm_steps.plot([numbers]).values()
    assert len(figure.axes[0].get_lines()) == 2
    columns, rows = batch_norm_steps.table(numbers).shown()
    assert columns[1] == "accuracy after 100 steps"
    assert rows[0][1] == f"{accuracy['plain'][0]:.1%}"
    assert (
        accuracy
        == batch_norm_steps.run(Settings(verbose=False), iterations=150, units=20)["accuracy"]
    )


@pytest.mark.slow
def test_what_the_paper_says_is_confirmed():
    numbers = batch_norm_steps.run(Settings(verbose=False))
    assert all(verdict.confirmed for verdict in judge(batch_norm_steps.CLAIMS, [numbers]))
