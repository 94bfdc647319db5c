"""Each rule at its own best learning rate, from a few steps and from made-up results."""

import pytest

from dlskills.experiments import Settings, judge
from dlskills.experiments.beyond import learning_rates

RULES = (*learning_rates.PLAIN, *learning_rates.ADAPTIVE)
COUNT = len(learning_rates.RATES)
COMMON, DEFAULT, BEST = 4, 2, 5
"""Indices of the rates 0.01 and 0.001, and of the best in the made-up results."""


def made_up(adam_loss=0.05, at_default=0.945, plain=0.96, adaptive=0.95, common=0.6):
    numbers = {"rates": list(learning_rates.RATES), "loss": {}, "validation": {}, "test": {}}
    for name in RULES:
        validation = [0.9 if i != BEST else 0.95 for i in range(COUNT)]
        test = [0.5] * COUNT
        test[BEST] = plain if name in learning_rates.PLAIN else adaptive
        test[COMMON] = common if name == "SGD" else 0.95
        test[DEFAULT] = at_default
        loss = [None] * COUNT
        loss[BEST] = adam_loss if name == "Adam" else 0.1
        numbers["loss"][name] = loss
        numbers["validation"][name] = validation
        numbers["test"][name] = test
    return numbers


def words(**changes):
    return [verdict.word for verdict in judge(learning_rates.CLAIMS, [made_up(**changes)])]


def test_claims_are_judged_both_ways():
    assert words() == ["confirmed"] * 4
    changed = words(adam_loss=0.2, at_default=0.9, plain=0.94, common=0.94)
    assert changed == ["not confirmed"] * 4


def test_a_rule_that_diverged_at_its_best_is_not_judged_by_its_loss():
    numbers = made_up()
    numbers["loss"]["SGD"] = [None] * COUNT
    assert judge(learning_rates.CLAIMS, [numbers])[0].word == "not judged"


def test_the_rates_include_those_that_claims_name():
    assert learning_rates.RATES[COMMON] == pytest.approx(0.01)
    assert learning_rates.RATES[DEFAULT] == pytest.approx(0.001)


def test_the_best_rate_is_chosen_on_validation_data():
    numbers = made_up()
    numbers["test"]["SGD"][0] = 1.0
    assert learning_rates.best(numbers, "SGD") == BEST


@pytest.mark.slow
def test_a_few_steps_of_two_rules():
    settings = Settings(verbose=False)
    numbers = learning_rates.run(settings, iterations=8, rules=["SGD", "Adam"])
    for what in ("loss", "validation", "test"):
        assert list(numbers[what]) == ["SGD", "Adam"]
        assert all(len(values) == COUNT for values in numbers[what].values())
    assert numbers["loss"]["SGD"][0] == pytest.approx(2.4, abs=0.3)  # hardly learned
    assert numbers["loss"]["SGD"][-1] is None or numbers["loss"]["SGD"][-1] > 2  # far too fast
    alone = learning_rates.run(settings, iterations=8, rules=["Adam"])
    assert alone["test"]["Adam"] == numbers["test"]["Adam"]
    (figure,) = learning_rates.plot([numbers]).values()
    assert [len(panel.get_lines()) for panel in figure.axes] == [2, 2]
    _, rows = learning_rates.table(numbers).shown()
    assert [row[0] for row in rows] == ["SGD", "Adam"]
