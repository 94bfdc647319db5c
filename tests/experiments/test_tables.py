"""Tables of one run, and of several seeds."""

import math

from dlskills.experiments import Number, Table, Text
from dlskills.experiments.tables import over_runs
from dlskills.experiments.text import language


def shown(*cells):
    return over_runs([Table(["a"], [[cell]]) for cell in cells]).shown()[1][0][0]


def test_numbers_become_mean_and_standard_deviation():
    assert shown(Number(0.5, ".1%")) == "50.0%"
    assert shown(Number(1.0, ".2f"), Number(3.0, ".2f")) == f"2.00 ± {math.sqrt(2):.2f}"
    assert shown(Number(2, ".0f"), Number(2, ".0f")) == "2"


def test_words_are_counted_where_they_differ():
    assert shown("SGD", "SGD") == "SGD"
    never = Text("never", "从未")
    assert shown(never, never) == "never"
    assert shown(Number(4, ".0f"), Number(6, ".0f"), never) == "5 ± 1 (1/3: never)"
    with language("zh"):
        assert shown(Number(4, ".0f"), never) == "4（1/2: 从未）"


def test_tables_that_do_not_merge_are_the_first_runs():
    tables = [Table(["a"], [[Number(n)]], merges=False) for n in (1, 2)]
    assert over_runs(tables).shown()[1] == [["1"]]
    longer = [Table(["a"], [["x"]]), Table(["a"], [["x"], ["y"]])]
    assert over_runs(longer).shown()[1] == [["x"]]
