"""Experiments of the user's: from a file, and from Python."""

import json
from pathlib import Path

import pytest

from dlskills.experiments import EXPERIMENTS, Experiment, Settings, load_experiments, run
from dlskills.experiments.outcome import judged

QUIET = Settings(verbose=False)
OWN = """
from dlskills.experiments import Check, Claim, Experiment, Number, Table

def numbers(settings, *, factor=2):
    return {"n": factor * settings.seed}

experiment = Experiment(
    name="doubled",
    title="Twice the seed",
    run=numbers,
    table=lambda numbers: Table(["n"], [[Number(numbers["n"], ".1f")]]),
    claims=[Claim("n is positive", [Check("n", lambda n: n["n"], at_least=1)])],
    options={"factor": "Factor."},
)
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "own_doubled.py"
    path.write_text(OWN)
    return path


def test_an_experiment_in_a_file_is_run_over_seeds(path):
    (experiment,) = load_experiments(path)
    records = run([experiment], Settings(3, verbose=False), seeds=2)["doubled"]
    assert [record.numbers for record in records] == [{"n": 6}, {"n": 8}]
    table = experiment.tabulated([record.numbers for record in records])
    assert table.shown() == (["n"], [["7.0 ± 1.4"]])


def test_a_file_is_run_once(path):
    assert load_experiments(path)[0] is load_experiments(path)[0]


@pytest.mark.slow  # starts processes
def test_other_processes_run_it_too(path):
    (experiment,) = load_experiments(path)
    told = {"seeds": 3, "options": {"factor": 5}}
    alone, together = (run([experiment], QUIET, jobs=jobs, **told)["doubled"] for jobs in (1, 2))
    assert [record.numbers for record in alone] == [record.numbers for record in together]


def test_another_version_of_the_file_is_another_run(path, tmp_path):
    cache = tmp_path / "cache"
    (experiment,) = load_experiments(path)
    run([experiment], QUIET, cache=cache)
    run([experiment], QUIET, cache=cache)
    assert len(list(cache.iterdir())) == 1
    path.write_text(OWN + "# changed\n")
    run([experiment], QUIET, cache=cache)
    assert len(list(cache.iterdir())) == 2


def test_an_experiment_without_a_file_runs_here(tmp_path):
    def work(settings):
        return {"seed": settings.seed}

    experiment = Experiment(name="here", title="Here", run=work)
    (records,) = run([experiment], QUIET, seeds=2, jobs=2, cache=tmp_path).values()
    assert [record.numbers for record in records] == [{"seed": 0}, {"seed": 1}]
    assert "here" not in EXPERIMENTS


@pytest.mark.parametrize(
    ("returned", "message"),
    [(3, "run must return a dict, got 3"), ({"x": {1, 2}}, "run must return what JSON can hold")],
)
def test_what_cannot_be_kept_is_refused(returned, message):
    experiment = Experiment(name="bad", title="Bad", run=lambda settings: returned)
    with pytest.raises(TypeError, match=message):
        run([experiment], QUIET)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x = 1", ValueError, "defines no experiment; it must have one at its top level"),
        ("def f(:", SyntaxError, "invalid syntax"),
        ("import nothing_of_this_name", ModuleNotFoundError, "nothing_of_this_name"),
    ],
)
def test_files_that_are_none(tmp_path, text, error, message):
    path = tmp_path / "own_bad.py"
    path.write_text(text)
    with pytest.raises(error, match=message):
        load_experiments(path)


def test_a_file_that_is_missing():
    with pytest.raises(ValueError, match="there is no file 'nothing.py' to take experiments from"):
        load_experiments("nothing.py")


def test_its_numbers_can_be_kept(path):
    (experiment,) = load_experiments(path)
    json.dumps(experiment.defaults)


EXAMPLE = Path(__file__).parents[2] / "examples" / "own_experiment.py"


def test_the_example_runs_and_can_be_drawn_and_judged():
    (experiment,) = load_experiments(EXAMPLE)
    (records,) = run([experiment], QUIET, seeds=2, quick=True).values()
    numbers = [record.numbers for record in records]
    (figure,) = experiment.figures(numbers).values()
    assert len(figure.axes[0].get_lines()) == 3
    assert len(experiment.tabulated(numbers).rows) == 3
    (verdict,) = judged(experiment, records)
    assert verdict.confirmed
