"""The files that an experiment leaves."""

import csv
import functools
import json
import math
import struct

import pytest

from dlskills import plotting
from dlskills.experiments import (
    BEYOND,
    EXPERIMENTS,
    Record,
    Settings,
    find,
    optimizer_paths,
    results,
    run,
    write_results,
)
from dlskills.experiments.text import language


def record(seed=0, **changes):
    settings = Settings(seed, verbose=False)
    fields = {
        "experiment": "optimizer-paths", "settings": settings,
        "options": dict(EXPERIMENTS["optimizer-paths"].defaults),
        "quick": False, "backend": "cpu (NumPy)", "engine": "numba", "seconds": 1.5,
        "numbers": optimizer_paths.run(settings),
    }  # fmt: skip
    return Record(**(fields | changes))


def written(folder):
    return json.loads((folder / "optimizer-paths.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_an_experiment_leaves_its_numbers_its_verdicts_and_its_figures(tmp_path):
    folder = tmp_path / "made" / "here"
    records = [record(0), record(1)]
    verdicts, paths = write_results(records, folder)
    assert sorted(paths) == sorted(folder.iterdir())
    names = {path.name for path in paths}
    for figure in optimizer_paths.EXPERIMENT.alt:
        assert {f"{figure}.png", f"{figure}.svg"} < names

    document = written(folder)
    assert document["title"] == EXPERIMENTS["optimizer-paths"].title.en
    assert [run["settings"]["seed"] for run in document["runs"]] == [0, 1]
    first = document["runs"][0]
    assert first["options"]["points"] == 30
    assert first["numbers"] == records[0].numbers
    assert (first["backend"], first["engine"], first["seconds"]) == ("cpu (NumPy)", "numba", 1.5)
    assert [claim["confirmed"] for claim in document["claims"]] == [v.confirmed for v in verdicts]
    assert {claim["source"] for claim in document["claims"]} == {"tutorial"}
    (zigzag,) = (c for c in document["claims"] if c["claim"].startswith("SGD moves in a zigzag"))
    assert zigzag["measured"][0] == {
        "what": "fraction of steps at which y changes its sign", "expected": "= 100%",
        "bound": "a zigzag changes side at every step", "value": 1.0,
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
@pytest.mark.slow
def test_figures_of_a_quick_run_say_so(tmp_path, quick):
    write_results([record(quick=quick)], tmp_path)
    for path in tmp_path.glob("*.svg"):
        assert ("quick run" in path.read_text(encoding="utf-8")) is quick
    assert written(tmp_path)["quick"] is quick


@functools.cache
def quick_numbers(name):
    (ran,) = run([name], Settings(verbose=False), quick=True)[name]
    return ran.numbers


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", EXPERIMENTS | BEYOND)
def test_no_words_leave_their_figure(name, narrow, lang):
    look = plotting.Look(narrow=narrow, fonts=plotting.chinese_fonts())
    with plotting.looking(look), language(lang):
        figures = find(name).figures([quick_numbers(name)])
        for figure in figures.values():
            _check_words(figure)


@plotting.styled
def _check_words(figure):
    with plotting.unwarned():
        figure.draw_without_rendering()
    edge = figure.bbox
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.texts)]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += axes.get_legend().texts if axes.get_legend() else []
    for text in texts:
        if text.get_text():
            box = text.get_window_extent()
            assert edge.fully_contains(*box.min), text
            assert edge.fully_contains(*box.max), text


def test_a_mark_is_below_all_axes():
    figure, axes = plotting.new_figure()
    axes.set_xlabel("iteration")
    plotting.mark(figure, "mark")
    figure.draw_without_rendering()
    (text,) = figure.texts
    assert axes.get_tightbbox().y0 > text.get_window_extent().y1


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.slow
def test_figures_have_the_formats_and_the_size_asked_for(tmp_path, kind):
    look = plotting.Look(size=(6, 3), dpi=50, formats=(kind,))
    _, paths = write_results([record()], tmp_path, look=look)
    figures = [path for path in paths if path.suffix != ".json"]
    assert len(figures) == 3
    assert {path.suffix for path in figures} == {f".{kind}"}
    if kind == "png":
        width, height = struct.unpack(">II", figures[0].read_bytes()[16:24])
        assert (width, height) == (300, 150)


def test_curves_are_written_as_csv(tmp_path):
    numbers = record().numbers
    write_results([record()], tmp_path, look=plotting.Look(formats=(), csv=True))
    with (tmp_path / "optimizer-paths.csv").open() as file:
        rows = list(csv.DictReader(file))
    sgd = [(float(row["x"]), float(row["y"])) for row in rows if row["title"].startswith("SGD")]
    assert sgd[:30] == [tuple(point) for point in numbers["paths"]["SGD"]]


@pytest.mark.slow
def test_figures_are_in_the_language_asked_for(tmp_path):
    look = plotting.Look(formats=("svg",))
    for lang, word in (("en", "learning rate 0.95"), ("zh", "学习率 0.95")):
        write_results([record()], tmp_path / lang, look=look, lang=lang)
        text = (tmp_path / lang / "optimizer-paths.svg").read_text(encoding="utf-8")
        assert word in text


@pytest.mark.slow
def test_dark_figures_have_no_black_on_their_dark_paper(tmp_path):
    look = plotting.Look("dark", formats=("svg",))
    write_results([record()], tmp_path, look=look)
    text = (tmp_path / "optimizer-paths.svg").read_text(encoding="utf-8")
    assert "#171717" in text
    assert "#000000" not in text
    assert plotting.COLORS[0].lower() not in text.lower()
