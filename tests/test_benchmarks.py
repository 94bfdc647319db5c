"""The benchmarks' command: wrong names and failing contenders."""

import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import benchmarks.__main__ as command
import dlskills
from benchmarks import tasks, turns
from benchmarks.contenders import CONTENDERS, Contender

TASK = tasks.Update("Adam", "tiny", {"W1": (100,)}, ("first", "second", "third"), steps=1)


class FakeWorker:
    """A contender in this process, which fails as `faults` says for its name."""

    faults: dict = {}  # noqa: RUF012
    made: list = []  # noqa: RUF012

    def __init__(self, name, device="cpu"):
        self.name, self.device, self.alive = name, device, True
        self.made.append(name)
        self.fault = self.faults.get(name)

    def prepare(self, task):
        if self.fault == "cannot prepare" and task:
            raise turns.ContenderError("ValueError: not for me")
        if not self.alive:
            raise turns.ContenderError("its process has died")

    def result(self):
        change = np.ones(5)
        if self.fault == "other results":
            change = change * 10
        return {"change of the parameters": change}

    def run(self, steps, wake=0):
        if self.fault == "dies":
            self.alive = False
            raise turns.ContenderError("its process has died (exit status -9)")
        return [0.001] * steps

    def close(self):
        pass


@pytest.fixture
def bench(monkeypatch, tmp_path, capsys):
    """Run the command with fake contenders; return its status, output and results."""
    monkeypatch.setattr(turns, "Worker", FakeWorker)
    monkeypatch.setattr(turns, "PAUSE", 0)
    monkeypatch.setattr(FakeWorker, "faults", {})
    monkeypatch.setattr(FakeWorker, "made", [])
    second = tasks.Update("SGD", "tiny", TASK.shapes, ("first", "second"), steps=1)
    for module in (command, tasks):
        monkeypatch.setattr(module, "TASKS", {t.name: t for t in (TASK, second)})
    monkeypatch.setattr(command, "CONTENDERS", {
        name: Contender("ours") for name in ("first", "second", "third", "fourth")
    })  # fmt: skip
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(command, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(command.imports, "take_turns", lambda rounds: {})

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *args, "--rounds", "2"])
        try:
            command.main()
            status = 0
        except SystemExit as error:
            status = error.code
        out, err = capsys.readouterr()
        found = {p: json.loads(p.read_text()) for p in tmp_path.rglob("*.json")}
        return status, out + err, found

    return run


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nosuch"], "no task has 'nosuch' in its name; tasks are: "),
        (["adm"], "no task has 'adm' in its name; did you mean 'adam'?"),
        (["adam", "nosuch"], "no task has 'nosuch'"),
        (["reprt"], "did you mean 'report'?"),
        (["--contenders", "fourth"], "fourth takes part in none of these tasks"),
        (["sgd", "--contenders", "first", "third"],
         "third takes part in none of these tasks; their contenders are: first, second"),
        (["import", "--contenders", "first"], "none that can be chosen"),
        (["--contenders", "nobody"], "invalid choice: 'nobody'"),
        (["adam", "--threads", "0"], "must be a whole number of at least 1, got '0'"),
        (["report", "nosuch.json"], "there is no file nosuch.json"),
        (["profile", "wide"], "profile takes a width, a whole number of at least 1, got wide"),
        (["profile", "0"], "profile takes a width"),
        (["saving", "nosuch"], "saving takes an existing folder, got nosuch"),
        (["loop", "adam"], "loop takes no other words, got adam"),
    ],
)  # fmt: skip
def test_names_that_match_nothing_are_errors(bench, tmp_path, args, message):
    earlier = tmp_path / "scratch" / "earlier.json"
    earlier.parent.mkdir()
    earlier.write_text("{}")
    status, said, found = bench(*args)
    assert status == 2
    assert message in said
    assert found == {earlier: {}}
    assert FakeWorker.made == []


def test_the_cost_of_a_loop_is_told_for_each_kind(bench):
    status, said, found = bench("loop")
    assert (status, found) == (0, {})
    rows = re.findall(r"^  (.+?) +-?[\d.]+ +-?[\d.]+  (?:reached|missed)$", said, re.MULTILINE)
    assert rows == ["no callbacks", "Batch Norm and Dropout", "a callback per step"]


def test_without_failures_the_status_is_0(bench):
    status, _, found = bench()
    assert status == 0
    (results,) = found.values()
    assert list(results["tasks"]) == ["import", "Adam, tiny", "SGD, tiny"]
    assert list(results["tasks"]["Adam, tiny"]["contenders"]) == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("other results", "second and first do not compute the same"),
        ("dies", "its process has died (exit status -9)"),
        ("cannot prepare", "ValueError: not for me"),
    ],
)
def test_a_failure_is_named_and_the_rest_is_measured(bench, fault, message):
    FakeWorker.faults["second"] = fault
    status, said, found = bench()
    assert status == 1
    assert said.count("second: ") >= 2
    (results,) = found.values()
    for task, others in (("Adam, tiny", ["first", "third"]), ("SGD, tiny", ["first"])):
        assert list(results["tasks"][task]["contenders"]) == others
        assert message in results["tasks"][task]["failed"]["second"]
        assert all(len(row["turns"]) == 2 for row in results["tasks"][task]["contenders"].values())
    assert FakeWorker.made.count("second") == (2 if fault == "dies" else 1)


@pytest.mark.parametrize("make", [
    lambda: io.TextIOWrapper(io.BytesIO(), "gbk"), lambda: io.TextIOWrapper(io.BytesIO(), "cp1252"),
    lambda: io.TextIOWrapper(io.BytesIO(), "ascii"), lambda: None,
])  # fmt: skip
def test_results_are_written_with_any_standard_output(bench, monkeypatch, tmp_path, make):
    monkeypatch.setattr(sys, "stdout", make())
    path = tmp_path / "é中²"
    assert bench("--json", str(path))[0] == 0
    assert list(json.loads(path.read_text())["tasks"]) == ["import", "Adam, tiny", "SGD, tiny"]


def test_if_all_fail_the_earlier_results_stay(bench, tmp_path):
    bench("adam")
    (earlier,) = (tmp_path / "scratch").iterdir()
    text = earlier.read_text()
    FakeWorker.faults |= dict.fromkeys(["first", "second", "third"], "dies")
    status, said, _ = bench("adam")
    assert status == 1
    assert "nothing was measured, so nothing is written" in said
    assert earlier.read_text() == text


def test_missing_contenders_leave_the_earlier_results(bench, monkeypatch, tmp_path):
    missing = Contender("ours", ("no_such_package",))
    monkeypatch.setitem(command.CONTENDERS, "first", missing)
    status, said, found = bench("adam", "--contenders", "first")
    assert status == 1
    assert "skipped: first, as no_such_package is not installed" in said
    assert found == {}


def test_an_interruption_keeps_what_was_measured(bench, monkeypatch, tmp_path):
    real = turns.take_turns

    def interrupted(task, *args):
        if task.name.startswith("SGD"):
            raise KeyboardInterrupt
        return real(task, *args)

    monkeypatch.setattr(turns, "take_turns", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench()
    results = json.loads((tmp_path / "scratch" / "interrupted.json").read_text())
    assert list(results["tasks"]) == ["import", "Adam, tiny"]
    assert not (tmp_path / "results").exists()


# The comparison of results, with real updates


def changed(task, steps=None, scale=1.0, **settings):
    """Return the result of some steps with dlskills' optimizer, with other settings."""
    optimizer = dlskills.make_optimizer(task.optimizer, **settings)
    optimizer.lr = optimizer.lr * scale
    params, grads = task.params(), task.grads()
    for _ in range(task.checked if steps is None else steps):
        optimizer.update(params, grads)
    return task.result(params.values())


def task_of(name):
    full = REAL_TASKS[f"{name}, 1 x 10M"]
    return tasks.Update(name, "1 x 10M", {"W1": (1000,)}, (), steps=1, checked=full.checked)


REAL_TASKS = dict(tasks.TASKS)
OPTIMIZERS = ["Adam", *tasks.OTHERS]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("wrong", [{"steps": 0}, {"scale": 10.0}, {"scale": 1.1}], ids=str)
def test_a_step_that_does_nothing_or_too_much_is_refused(name, wrong):
    task = task_of(name)
    right = changed(task)
    assert turns._mismatches(task, {"right": right, "other": right}) == {}
    assert list(turns._mismatches(task, {"right": right, "wrong": changed(task, **wrong)})) == [
        "wrong"
    ]


@pytest.mark.parametrize("name", ["Adam", "AdamW", "AMSGrad", "NAdam"])
def test_a_missing_bias_correction_is_refused(name):
    task = task_of(name)
    results = {"right": changed(task), "wrong": changed(task, bias_correction=False)}
    assert list(turns._mismatches(task, results)) == ["wrong"]


def test_a_missing_weight_decay_is_refused():
    task = task_of("AdamW")
    results = {"right": changed(task), "wrong": changed(task, weight_decay=0.0)}
    assert list(turns._mismatches(task, results)) == ["wrong"]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_first_contender_is_no_reference_if_it_does_nothing(name):
    task = task_of(name)
    results = {"idle": changed(task, steps=0), "right": changed(task)}
    assert turns._mismatches(task, results) == {
        "idle": f"{name}, 1 x 10M: the step of idle changes nothing"
    }
    assert list(turns._mismatches(task, {"idle": results["idle"]})) == ["idle"]


@pytest.mark.parametrize("scale", [0.1, 1.1, 10.0, -1.0])
def test_an_optimizer_without_peers_is_compared_with_its_formula(scale):
    task = task_of("Lion")
    assert tasks.OTHERS["Lion"] == ()
    right = changed(task)
    assert turns._mismatches(task, {"dlskills": right}) == {}
    (error,) = turns._mismatches(
        task, {"dlskills": {what: scale * value for what, value in right.items()}}
    ).values()
    assert "dlskills and the formula do not compute the same" in error


def _dies(at, task):
    os._exit(7)


def test_a_real_worker_that_dies_says_how():
    with turns.Worker(next(iter(CONTENDERS))) as worker:
        worker._send(_dies, None)
        with pytest.raises(turns.ContenderError, match=r"has died \(exit status (7|1)\)"):
            worker.result()
        assert not worker.alive
        with pytest.raises(turns.ContenderError, match="has died"):
            worker.run(1)
