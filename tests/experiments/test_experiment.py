"""What an experiment is, and the errors of one that is not."""

import pytest

from dlskills.experiments import EXPERIMENTS, Experiment, Text, find, register
from dlskills.experiments.experiment import Option


def run(settings, *, steps=3, rates=(1, 2)):
    return {"steps": steps}


def make(**changes):
    return Experiment(**({"name": "mine", "title": "Mine", "run": run} | changes))


def test_words_in_one_language_are_words_in_both():
    assert make().title == Text("Mine", "Mine")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "My experiment"}, ValueError, "lower-case letters, digits and hyphens, got 'My"),
        ({"title": None}, TypeError, "mine: title must be a str or a Text, got None"),
        ({"run": 3}, TypeError, "mine: run must be a function, got 3"),
        ({"plot": "x"}, TypeError, "mine: plot must be a function, got 'x'"),
        ({"run": lambda *, n=1: {}}, TypeError, "run must take the settings first"),
        ({"run": lambda settings, n: {}}, TypeError, "'n' of run must be a keyword argument"),
        ({"run": lambda settings, *, n: {}}, TypeError, "with a default: run(settings, *, n=...)"),
        ({"run": lambda s, *, n={1}: {}}, TypeError, "the value of 'n' must be one that JSON can"),
        ({"options": {"step": "Steps."}}, ValueError, "no keyword argument 'step'; did you mean"),
        ({"quick": {"epochs": 1}}, ValueError, "run has no keyword argument 'epochs'; it has:"),
        ({"split": "parts"}, ValueError, "run has no keyword argument 'parts'"),
        ({"claims": ["it is so"]}, TypeError, "claims must be of type Claim, got 'it is so'"),
        ({"uses": ["dat"]}, ValueError, "uses 'dat' is not known; did you mean 'data'"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(changes, error, message):
    with pytest.raises(error) as caught:
        make(**changes)
    assert message in str(caught.value)


def test_defaults_and_options():
    experiment = make(options={"steps": "Steps.", "rates": Option("Rates.", flag="rate")})
    assert experiment.defaults == {"steps": 3, "rates": (1, 2)}
    assert experiment.option("steps") == Option("Steps.")
    assert experiment.option("rates").flag == "rate"
    assert experiment.option("other") is None


def test_only_a_name_is_needed_to_find_one(monkeypatch):
    assert find("symmetry") is EXPERIMENTS["symmetry"]
    experiment = make()
    assert find(experiment) is experiment
    with pytest.raises(ValueError, match="'symmtry' is not known; did you mean 'symmetry'"):
        find("symmtry")


def test_two_of_one_name_are_refused(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "mine", first := make())
    register(first)
    with pytest.raises(ValueError, match="'mine' is registered already"):
        register(make())


def test_the_tutorials_order_and_titles_that_differ():
    assert list(EXPERIMENTS)[:2] == ["optimizer-paths", "optimizer-mnist"]
    assert list(EXPERIMENTS)[-1] == "hyperparameters"
    assert len({experiment.title for experiment in EXPERIMENTS.values()}) == 10
    for name, experiment in EXPERIMENTS.items():
        assert all(figure.startswith(name) for figure in experiment.alt)
