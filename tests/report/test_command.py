"""`dlskills report`."""

import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.experiments import BEYOND, EXPERIMENTS


@pytest.fixture
def report(small, undrawn, monkeypatch, tmp_path):
    """Runs the command with the work left out; what it asked for, what it printed, the page."""
    asked = {}

    def run(names, settings, **options):
        asked.update(names=names, settings=settings, **options)
        return small

    monkeypatch.setattr(cli.run, "run_experiments", run)

    monkeypatch.setattr(cli.report, "cores", lambda: 1)  # no processes that draw

    def report(*args):
        result = CliRunner().invoke(cli.app, ["report", "--out", str(tmp_path), *map(str, args)])
        path = tmp_path / "report.html"
        return asked, result, path.read_text(encoding="utf-8") if path.exists() else None

    return report


def test_all_experiments_with_five_seeds_and_both_languages(report, tmp_path):
    asked, result, page = report()
    assert result.exit_code == 0, result.output
    assert [one.name for one in asked["names"]] == list(EXPERIMENTS)
    assert asked["seeds"] == 5
    assert not asked["quick"]
    assert asked["cache"] == tmp_path / "cache"
    assert asked["settings"].device == "cpu"
    assert "the tutorial: 2 of 2 claims confirmed" in result.stdout
    assert "ours: 0 of 2 claims confirmed" in result.stdout
    assert f"wrote {tmp_path / 'report.html'}" in result.stdout
    assert "Summary" in page
    assert "总览" in page
    assert 'href="play.html"' in page
    assert "<html" in (tmp_path / "play.html").read_text(encoding="utf-8")


def test_options_are_passed_on(report):
    asked, result, page = report(
        "--quick", "--seed", 3, "--seeds", 2, "--jobs", 1, "--subset", "full", "--lang", "zh"
    )
    assert (asked["quick"], asked["seeds"], asked["jobs"]) == (True, 2, 1)
    assert (asked["settings"].seed, asked["settings"].subset) == (3, "full")
    assert "This was a quick run" in result.stdout
    assert "Summary" not in page
    assert "总览" in page


def test_a_quick_report_has_one_seed(report):
    assert report("--quick")[0]["seeds"] == 1


@pytest.mark.slow
def test_fresh_is_passed_on(report):
    assert not report()[0]["fresh"]
    assert report("--fresh")[0]["fresh"]


def test_an_unknown_language_is_a_usage_error(report):
    _, result, page = report("--lang", "fr")
    assert result.exit_code == 2
    assert page is None


def test_experiments_of_a_file_replace_the_tutorials(report, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dlskills.experiments import Experiment\n"
        "mine = Experiment(name='mine', title='Mine', run=lambda settings: {})\n"
    )
    asked, _, _ = report(path)
    assert [one.name for one in asked["names"]] == ["mine"]


@pytest.mark.slow
def test_experiments_on_papers_are_added_on_request_and_long_ones_apart(report):
    asked, _, _ = report("--beyond")
    names = [one.name for one in asked["names"]]
    assert names == [*EXPERIMENTS, *(name for name, one in BEYOND.items() if not one.long)]
    assert "dropout-mnist" not in names
    asked, _, _ = report("--beyond", "--long")
    assert [one.name for one in asked["names"]] == [*EXPERIMENTS, *BEYOND]


def test_long_experiments_are_refused_without_beyond(report):
    _, result, page = report("--long")
    assert result.exit_code != 0
    assert "--long must be combined with --beyond" in str(result.exception or result.output)
    assert page is None


@pytest.mark.slow
def test_the_theme_is_that_of_both_pages_until_the_reader_chooses(report, tmp_path):
    def themes():
        pages = [tmp_path / "report.html", tmp_path / "play.html"]
        return ["data-theme=" in path.read_text("utf-8").partition("<head>")[0] for path in pages]

    _, _, page = report("--theme", "dark")
    assert '<html lang="en" data-theme="dark">' in page
    assert themes() == [True, True]
    report()
    assert themes() == [False, False]


def test_an_unknown_theme_is_a_usage_error(report):
    _, result, page = report("--theme", "blue")
    assert result.exit_code == 2
    assert page is None


@pytest.mark.slow
def test_curves_are_written_beside_the_report(report, tmp_path):
    report()
    assert list(tmp_path.glob("*.csv")) == []
    report("--csv")
    files = sorted(tmp_path.glob("*.csv"))
    assert [file.name for file in files] == ["first.csv", "second.csv"]
    assert files[0].read_text(encoding="utf-8").startswith("panel,title,curve,x,y\n1,")
