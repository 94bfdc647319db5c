"""Dropout and max-norm in the paper's size, from a few steps and from made-up results."""

import pytest

from dlskills.experiments import BEYOND, Settings, judge
from dlskills.experiments.beyond import dropout_mnist


def words(plain, dropout, constrained, digits=60_000):
    error = {"plain": [plain], "Dropout": [dropout], "Dropout, max-norm": [constrained]}
    made_up = {"error": error, "digits": digits}
    return [verdict.word for verdict in judge(dropout_mnist.CLAIMS, [made_up])]


def test_claims_are_judged_both_ways():
    assert words(0.0160, 0.0125, 0.0106) == ["confirmed"] * 3
    assert words(0.0160, 0.0170, 0.0180) == ["not confirmed"] * 3


def test_the_papers_numbers_are_judged_on_all_of_mnist_only():
    assert words(0.0160, 0.0125, 0.0106, digits=10_000)[2] == "not judged"


def test_it_is_long_so_that_a_report_leaves_it_out():
    assert [name for name, one in BEYOND.items() if one.long] == ["dropout-mnist"]


@pytest.fixture(scope="module")
def numbers():
    return dropout_mnist.run(Settings(verbose=False), epochs=2, units=16)


def test_a_few_epochs_of_a_small_network(numbers):
    assert numbers["digits"] == 10_000
    assert all(len(error) == 2 for error in numbers["error"].values())
    assert numbers["error"]["plain"][-1] < 0.15
    assert numbers["error"]["Dropout"] != numbers["error"]["plain"]


def test_the_figure_and_the_table(numbers):
    (figure,) = dropout_mnist.plot([numbers]).values()
    assert len(figure.axes[0].get_lines()) == 3
    _, rows = dropout_mnist.table(numbers).shown()
    assert rows[0][1] == f"{numbers['error']['plain'][-1]:.2%}"
