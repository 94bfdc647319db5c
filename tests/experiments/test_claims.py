"""Claims: what is measured, over which runs, and what comes out."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlskills.experiments import (
    BEYOND,
    EXPERIMENTS,
    Check,
    Claim,
    Measured,
    Settings,
    Source,
    Text,
    find,
    judge,
    run,
)
from dlskills.experiments.claims import KINDS, together
from dlskills.experiments.outcome import judged

WHAT = Text("a number", "一个数")
SAYS = Text("It is so.", "是这样的。")


def value(numbers):
    return numbers["value"]


def verdict(values, *checks):
    runs = [{"value": value} for value in values]
    (verdict,) = judge([Claim(SAYS, checks or (Check(WHAT, value, at_least=2),))], runs)
    return verdict


@pytest.mark.parametrize(
    ("values", "confirmed"),
    [([2], True), ([1.9], False), ([0, 2, 9], True), ([0, 1, 9], False), ([1, 3], True)],
)
def test_the_median_of_all_runs_decides(values, confirmed):
    assert verdict(values).confirmed is confirmed


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), st.floats(-1e6, 1e6))
def test_at_least_and_at_most_include_the_bound(values, bound):
    median = statistics.median(values)
    low, high = Check(WHAT, value, at_least=bound), Check(WHAT, value, at_most=bound)
    assert verdict(values, low).confirmed is (median >= bound)
    assert verdict(values, high).confirmed is (median <= bound)
    assert verdict(values, Check(WHAT, value, median, median)).confirmed


def test_all_checks_must_hold():
    low, high = Check(WHAT, value, at_least=2), Check(WHAT, value, at_most=1)
    both = verdict([3], low, high)
    assert not both.confirmed
    assert [measured.holds for measured in both.measured] == [True, False]


@pytest.mark.parametrize("check", [Check(WHAT, value, at_least=0), Check(WHAT, value, at_most=9)])
@pytest.mark.parametrize("values", [[math.nan], [1, math.nan, 1]])
def test_what_is_not_a_number_confirms_nothing(check, values):
    (measured,) = verdict(values, check).measured
    assert math.isnan(measured.value)
    assert not measured.holds


@pytest.mark.parametrize(
    "measure",
    [lambda n: n["missing"], lambda n: [1][5], lambda n: 1 / 0, lambda n: statistics.mean([])],
)
def test_what_a_run_does_not_have_confirms_nothing(measure):
    assert not verdict([1], Check(WHAT, measure, at_least=-1e9)).confirmed


def test_a_number_that_is_missing_refutes_nothing():
    missing = verdict([math.nan])
    assert (missing.word, missing.confirmed) == ("not judged", False)
    assert str(missing.measured[0]) == "no number"
    assert [verdict([n]).word for n in (3, 1)] == ["confirmed", "not confirmed"]
    gone = Check(WHAT, lambda n: n["missing"], at_least=1)
    assert verdict([3], Check(WHAT, value, at_least=2), gone).word == "not judged"
    assert verdict([1], Check(WHAT, value, at_least=2), gone).word == "not confirmed"


def test_a_faulty_measure_is_not_hidden():
    with pytest.raises(AttributeError):
        verdict([1], Check(WHAT, lambda n: n.value))


def test_runs_may_be_combined_otherwise():
    check = Check(WHAT, value, at_least=4, combine=max)
    assert verdict([0, 0, 4], check).confirmed


@pytest.mark.parametrize(
    ("bounds", "text"),
    [({"at_least": 2}, "≥ 2"), ({"at_most": 0.05}, "≤ 0.05"), ({}, "≥ -inf"),
     ({"at_least": 0.85, "at_most": 1.15}, "0.85 … 1.15"), ({"at_least": 1, "at_most": 1}, "= 1"),
     ({"at_least": 0.15 - 1e-6, "at_most": 0.15 + 1e-6}, "≈ 0.15")],
)  # fmt: skip
def test_the_range_in_signs(bounds, text):
    assert Check(WHAT, value, **bounds).bounds == text


def test_the_spread_is_shown_where_there_is_one():
    check = Check(WHAT, value, form=".1%")
    assert str(Measured(check, (0.25,))) == "25.0%"
    assert str(Measured(check, (0.25, 0.25))) == "25.0%"
    assert str(Measured(check, (0.5, 0.25, 0.75))) == "50.0% (25.0% … 75.0%)"
    check = Check(WHAT, value, form=".0f", combine=together)
    assert str(Measured(check, (2, 2, 2, 4))) == "5, together of (2 … 4)"


@pytest.mark.parametrize("name", EXPERIMENTS | BEYOND)
def test_every_claim_can_come_out_false_and_says_whose_it_is(name):
    claims = find(name).claims
    assert claims
    for claim in claims:
        assert claim.checks
        assert claim.source.kind in KINDS
        assert (claim.source.where is None) == (claim.source.kind == "ours")
        for check in claim.checks:
            assert check.at_least > -math.inf or check.at_most < math.inf
            assert check.bound.en != "ours"  # where the range comes from is said in words
    says = [claim.says for claim in claims]
    assert len(set(says)) == len(says)


def test_the_unfinished_section_of_the_tutorial_claims_nothing():
    kinds = {claim.source.kind for claim in EXPERIMENTS["hyperparameters"].claims}
    assert kinds == {"book", "ours"}


def test_a_source_is_one_of_four_kinds():
    with pytest.raises(ValueError, match="the source of a claim 'mine' is not known"):
        Source("mine")


def test_without_the_tutorials_settings_no_claim_is_judged():
    experiment = EXPERIMENTS["optimizer-paths"]
    settings = Settings(verbose=False)
    (changed,) = run([experiment], settings, options={"points": 31}).values()
    assert {verdict.word for verdict in judged(experiment, changed)} == {"not judged"}
    assert not any(verdict.measured for verdict in judged(experiment, changed))
    (same,) = run([experiment], settings, options={"points": 30}).values()
    assert "confirmed" in {verdict.word for verdict in judged(experiment, same)}


@pytest.mark.parametrize(
    ("scores", "expected"), [([1.5], 1.5), ([1, 1, 1, 1], 2), ([2, -2], 0), ([3, 1, -1, 1], 2)]
)
def test_scores_add_up_where_they_agree(scores, expected):
    assert together(scores) == pytest.approx(expected)
