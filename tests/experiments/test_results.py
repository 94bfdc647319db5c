"""The files that an experiment leaves."""

import json
import math

import pytest

from dlskills import plotting
from dlskills.experiments import (
    EXPERIMENTS,
    Record,
    Settings,
    Text,
    optimizer_paths,
    results,
    run,
    write_results,
)


def record(seed=0, **changes):
    settings = Settings(seed, verbose=False)
    fields = {
        "experiment": "optimizer-paths", "settings": settings, "options": {"points": 30},
        "quick": False, "backend": "cpu (NumPy)", "engine": "numba", "seconds": 1.5,
        "numbers": optimizer_paths.run(settings),
    }  # fmt: skip
    return Record(**(fields | changes))


def written(folder):
    return json.loads((folder / "optimizer-paths.json").read_text(encoding="utf-8"))


def test_an_experiment_leaves_its_numbers_its_verdicts_and_its_figures(tmp_path):
    folder = tmp_path / "made" / "here"
    records = [record(0), record(1)]
    verdicts, paths = write_results(records, folder)
    assert sorted(paths) == sorted(folder.iterdir())
    names = {path.name for path in paths}
    for figure in optimizer_paths.ALT:
        assert {f"{figure}.png", f"{figure}.svg"} < names

    document = written(folder)
    assert document["title"] == optimizer_paths.TITLE.en
    assert [run["settings"]["seed"] for run in document["runs"]] == [0, 1]
    first = document["runs"][0]
    assert first["options"] == {"points": 30}
    assert first["numbers"] == records[0].numbers
    assert (first["backend"], first["engine"], first["seconds"]) == ("cpu (NumPy)", "numba", 1.5)
    assert [claim["confirmed"] for claim in document["claims"]] == [v.confirmed for v in verdicts]
    (zigzag,) = (c for c in document["claims"] if c["claim"].startswith("SGD zig-zags"))
    assert zigzag["measured"][0] == {
        "what": "share of steps at which y changes its sign", "expected": "= 100%", "value": 1.0,
        "values": [1.0, 1.0], "holds": True,
    }  # fmt: skip


@pytest.fixture
def undrawn(monkeypatch):
    """Saves the time that figures take."""
    monkeypatch.setattr(results, "save_figure", lambda figure, folder, name: [])


@pytest.mark.usefixtures("undrawn")
def test_files_are_replaced(tmp_path):
    for seed in (1, 2):
        write_results([record(seed)], tmp_path)
    assert written(tmp_path)["runs"][0]["settings"]["seed"] == 2


@pytest.mark.usefixtures("undrawn")
def test_a_number_that_is_none_is_null(tmp_path):
    numbers = record().numbers
    paths = numbers["paths"] | {"SGD": [[math.nan, math.nan]] * 30}
    write_results([record(numbers=numbers | {"paths": paths})], tmp_path)
    document = written(tmp_path)
    assert document["runs"][0]["numbers"]["paths"]["SGD"][0] == [None, None]
    assert None in [m["value"] for claim in document["claims"] for m in claim["measured"]]


@pytest.mark.parametrize("quick", [True, False])
def test_figures_of_a_quick_run_say_so(tmp_path, quick):
    write_results([record(quick=quick)], tmp_path)
    for path in tmp_path.glob("*.svg"):
        assert ("quick run" in path.read_text(encoding="utf-8")) is quick
    assert written(tmp_path)["quick"] is quick


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_no_words_leave_their_figure(name):
    (ran,) = run([name], Settings(verbose=False), quick=True)[name]
    for figure in EXPERIMENTS[name].plot(ran.numbers).values():
        figure.draw_without_rendering()
        edge = figure.bbox
        texts = [*figure.texts, *(text for legend in figure.legends for text in legend.texts)]
        for axes in figure.axes:
            texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            texts += axes.get_legend().texts if axes.get_legend() else []
        for box in (text.get_window_extent() for text in texts if text.get_text()):
            assert edge.fully_contains(*box.min)
            assert edge.fully_contains(*box.max)


def test_a_mark_is_below_all_axes():
    figure, axes = plotting.new_figure()
    axes.set_xlabel("iteration")
    plotting.mark(figure, "mark")
    figure.draw_without_rendering()
    (text,) = figure.texts
    assert axes.get_tightbbox().y0 > text.get_window_extent().y1


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_what_an_experiment_needs(name):
    module = EXPERIMENTS[name]
    assert isinstance(module.TITLE, Text)
    assert isinstance(module.ABOUT, Text)
    assert isinstance(module.RANDOM, bool)
    assert all(callable(getattr(module, name)) for name in ("run", "plot", "table"))
    assert all(figure.startswith(name) for figure in module.ALT)


def test_titles_differ():
    titles = [module.TITLE for module in EXPERIMENTS.values()]
    assert len(set(titles)) == len(titles)
