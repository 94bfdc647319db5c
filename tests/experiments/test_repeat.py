"""Repeating the runs of a result file: the same bits, or what differs and why."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import dlskills
from dlskills import cli
from dlskills.experiments import EXPERIMENTS, Settings, load_experiments, results, run
from dlskills.experiments.environment import environment
from dlskills.experiments.repeat import repeat
from dlskills.experiments.result_files import read_results
from dlskills.files import FileFormatError
from dlskills.optimizers import SGD

OWN = """
import random
import numpy as np
from dlskills.experiments import Experiment

def run(settings, *, factor=2.0):
    numbers = np.random.default_rng(settings.seed).random(4) * factor
    return {"values": numbers.tolist(), "nothing": float("nan"), "word": "x"}

experiment = Experiment(name="own", title="Own", run=run)
"""
RULE = """
from dlskills import Optimizer

class SignMomentum(Optimizer):
    def update(self, params, grads):
        for name in params:
            params[name] = params[name] - 0.1 * grads[name]
"""


@pytest.fixture(autouse=True)
def undrawn(monkeypatch, tmp_path):
    monkeypatch.setattr(results, "save_figure", lambda figure, folder, name: [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


def written(folder, name="optimizer-paths", experiment=None, seeds=1, **options):
    """Run an experiment and return its result file."""
    experiment = experiment or EXPERIMENTS[name]
    settings = Settings(3, verbose=False)
    records = run([experiment], settings, seeds=seeds, options=options)[experiment.name]
    results.write_results(records, folder, experiment=experiment)
    return folder / f"{experiment.name}.json"


def of_own_experiment(folder, **options):
    file = folder / "own_for_repeat.py"
    file.write_text(OWN)
    (own,) = load_experiments(file)
    return written(folder, experiment=own, **options)


def edited(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def command(*args):
    return CliRunner().invoke(cli.app, ["repeat", *map(str, args)])


def test_the_same_bits_come_out_again(tmp_path):
    path = written(tmp_path, points=10)
    found = repeat(read_results(path))
    assert (found.differences, found.environment) == ([], {})
    assert found.count > 100
    done = command(path)
    assert done.exit_code == 0
    assert f"all {found.count:,} values are the same, bit for bit" in done.output


def test_several_seeds_and_options_are_repeated(tmp_path):
    path = of_own_experiment(tmp_path, seeds=3, factor=3.0)
    found = repeat(read_results(path), trust=True)
    assert (found.count, found.differences) == (3 * 6, [])
    assert [run["settings"]["seed"] for run in json.loads(path.read_text())["runs"]] == [3, 4, 5]


def test_the_last_bit_and_a_missing_value_are_found(tmp_path):
    path = of_own_experiment(tmp_path, seeds=2)
    value = json.loads(path.read_text())["runs"][1]["numbers"]["values"][2]
    other = value * (1 + 2**-52)
    assert other != value

    def change(content):
        content["runs"][1]["numbers"]["values"][2] = other
        del content["runs"][0]["numbers"]["word"]

    edited(path, change)
    found = repeat(read_results(path), trust=True)
    word, number = found.differences
    assert (word.seed, word.where, word.there, word.here) == (3, "word", None, "x")
    assert (number.seed, number.where, number.there, number.here) == (4, "values/2", other, value)
    assert 0 < number.relative < 3e-16
    done = command(path, "--trust")
    assert done.exit_code == 1
    assert "2 of 12 values differ" in done.output
    assert repr(other) in done.output
    assert "The versions, the BLAS library and the processor are the same." in done.output


def test_what_differs_in_the_environment_is_shown(tmp_path):
    def change(content):
        content["environment"] |= {"numpy": "0.1", "processor": "Pentium"}
        content["environment"].pop("BLAS")
        content["runs"][0]["engine"] = "abacus"

    path = edited(written(tmp_path, points=5), change)
    found = repeat(read_results(path))
    assert not found.differences
    here = environment()
    assert found.environment == {
        "numpy": ("0.1", here["numpy"]), "processor": ("Pentium", here["processor"]),
        "BLAS": ("not installed", here["BLAS"]),
        "engine": ("abacus", found.environment["engine"][1]),
    }  # fmt: skip
    output = command(path).output
    assert "Pentium" in output
    assert "abacus" in output


def test_a_forced_engine_is_forced_again(tmp_path):
    with dlskills.engine("plain"):
        path = written(tmp_path, points=5)
    assert read_results(path).forced_engine == "plain"
    assert not repeat(read_results(path)).environment


def test_the_environment_names_what_rounds():
    found = environment()
    assert found["dlskills"] == dlskills.__version__
    assert {"Python", "numpy", "BLAS", "system", "processor"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())


# Code of the user's


def test_own_code_is_run_only_if_it_is_trusted(tmp_path):
    path = of_own_experiment(tmp_path)
    with pytest.raises(
        ValueError, match=r"names code that a repetition runs: .*own_for_repeat\.py"
    ):
        repeat(read_results(path))
    assert repeat(read_results(path), trust=True).differences == []


@pytest.mark.parametrize("kind", ["experiment", "rule"])
def test_a_file_that_changed_or_is_gone_is_named(tmp_path, kind):
    if kind == "experiment":
        file, path = tmp_path / "own_for_repeat.py", of_own_experiment(tmp_path)
    else:
        file = tmp_path / "rules_for_repeat.py"
        file.write_text(RULE)
        path = written(tmp_path, points=5, optimizers=["rules_for_repeat.py:SignMomentum", "SGD"])
        assert repeat(read_results(path), trust=True).differences == []
    file.write_text(file.read_text() + "# changed\n")
    with pytest.raises(ValueError, match=rf"{file.name}, which has changed since"):
        repeat(read_results(path), trust=True)
    file.unlink()
    with pytest.raises(ValueError, match=rf"{file.name}, which is gone"):
        repeat(read_results(path), trust=True)


@pytest.mark.parametrize("text", ["evil.py:Rule", "evil.py:Rule, SGD", "SGD, evil.py:Rule"])
def test_a_file_can_not_smuggle_in_code(tmp_path, text):
    (tmp_path / "evil.py").write_text("raise SystemExit('executed')")
    path = edited(
        written(tmp_path, points=5),
        lambda content: content["runs"][0]["options"].update(optimizers=text),
    )
    for trust in (False, True):
        with pytest.raises(FileFormatError, match=r"no digest of the file in '.*evil\.py"):
            repeat(read_results(path), trust=trust)


def test_objects_are_named(tmp_path):
    path = written(tmp_path, points=5, optimizers=[SGD(lr=0.5)])
    with pytest.raises(ValueError, match=r"was made with an object, SGD\(lr=0\.5\)"):
        repeat(read_results(path))


# Files that are no result files


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "is of version 2, and this dlskills reads up to 1"),
        (lambda c: c.update(version=True), "has no version, got True"),
        (lambda c: c.pop("kind"), r"is no result file; `dlskills run NAME` writes them"),
        (lambda c: c.update(runs=[]), "has no runs"),
        (lambda c: c.update(quick=1), "is damaged: quick is 1"),
        (lambda c: c["runs"][0].pop("numbers"), "is damaged: numbers is None"),
        (lambda c: c["runs"][0]["settings"].update(seed=-1), "is damaged: .*seed"),
        (lambda c: c["runs"][0]["settings"].update(subset="all"), "is damaged: .*subset"),
        (lambda c: c["runs"].append(c["runs"][0]), "must have runs that differ only in"),
        (lambda c: c["environment"].update(x=1), "is damaged: 'x' in environment is 1"),
        (lambda c: c.update(own_experiment=True), "is of an experiment of your own"),
    ],
)
@pytest.mark.slow
def test_a_bad_file_is_refused_by_name(tmp_path, change, message):
    path = edited(written(tmp_path, points=5), change)
    with pytest.raises(FileFormatError, match=rf"optimizer-paths\.json {message}"):
        read_results(path)


def test_a_cut_file_and_other_json_are_refused(tmp_path):
    path = written(tmp_path, points=5)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FileFormatError, match=r"optimizer-paths\.json is not valid JSON"):
        read_results(path)
    for text in ("[]", "3", "{}"):
        path.write_text(text)
        with pytest.raises(FileFormatError, match="is no result file"):
            read_results(path)


def test_an_option_or_experiment_that_is_unknown_is_named(tmp_path):
    path = edited(
        written(tmp_path, points=5), lambda content: content["runs"][0]["options"].update(pints=1)
    )
    with pytest.raises(ValueError, match="has no option 'pints'"):
        repeat(read_results(path))
    edited(path, lambda content: content.update(experiment="no-such"))
    with pytest.raises(ValueError, match="no-such"):
        repeat(read_results(path))


def test_the_command_prints_errors_without_a_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dlskills", "repeat", str(tmp_path / "missing.json")],
        capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "300"},
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert "missing.json" in done.stderr
    assert "Traceback" not in done.stderr
