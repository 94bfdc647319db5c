"""`dlskills tune`."""

import re
import sys

import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.installation import install_command

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own


def invoke(*args):
    result = CliRunner().invoke(cli.app, ["tune", *map(str, args)])
    assert result.exit_code == 0, result.output
    return ESCAPES.sub("", result.stdout)


def test_help_says_what_can_be_searched_and_how():
    out = invoke("--help")
    for expected in ("module:function or file.py:function", "--trials", "--sampler", "tpe",
                     "--pruner", "--storage", "OUT/tuning.db", "--study", "--jobs", "--seed",
                     "--device", "dlskills tune my.py:score"):  # fmt: skip
        assert expected in out


def test_without_optuna_one_line_says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(sys, "argv", ["dlskills", "tune", "--out", str(tmp_path / "new")])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (1, "")
    assert ESCAPES.sub("", err) == (
        "error: a search needs Optuna, which is not installed; install it with: "
        f"{install_command('tune')}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_an_own_function_is_searched_shown_and_gone_on_with(own_file, tmp_path):
    pytest.importorskip("optuna")
    out = tmp_path / "out"
    text = invoke(f"{own_file}:score", "--trials", 3, "--study", "mine", "--out", out)
    assert "3 trials: 3 complete" in text
    assert re.search(r"\n1 +\d +[\d.e-]+ +-[\d.e-]+ *\n", text)
    names = {path.name for path in out.iterdir()}
    assert names == {"tuning.db", *(f"tuning-mine-{name}.{kind}" for name in ("rates", "parallel")
                                    for kind in ("png", "svg"))}  # fmt: skip
    assert "no curves: they are of scores that a function gives to trial.report" in text
    again = invoke(f"{own_file}:score", "--trials", 4, "--study", "mine", "--out", out)
    assert "goes on from 3 trials" in again
    assert "4 trials: 4 complete" in again
    assert "has its 4 trials; ask for more" in invoke(
        f"{own_file}:score", "--trials", 4, "--study", "mine", "--out", out
    )


def test_why_trials_failed_is_said_and_where_all_did_the_status_is_1(tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "mine.py").write_text("def score(trial):\n    return 1 / 0\n", encoding="utf-8")
    args = ["tune", f"{tmp_path / 'mine.py'}:score", "--trials", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == 1
    assert "2 trials: 2 fail" in result.output
    assert "trial 1 failed: ZeroDivisionError: division by zero" in result.output


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_an_own_function_is_placed(monkeypatch, capsys, tmp_path, jobs):
    pytest.importorskip("optuna")
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n\ndef score(trial):\n    trial.suggest_float('lr', 1, 1)\n"
        "    return np.ones(2) @ np.ones(3)\n",
        encoding="utf-8",
    )
    argv = ["dlskills", "tune", f"{tmp_path / 'mine.py'}:score", "--trials", "2"]
    monkeypatch.setattr(sys, "argv", [*argv, "--out", str(tmp_path), "--jobs", str(jobs)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    err = ESCAPES.sub("", capsys.readouterr().err)
    assert err.startswith("error: matmul: ")
    assert re.search(
        r"\n  in trial [01], with \{'lr': 1.0\}, at .*mine.py:5: return np.ones\(2\) @ np.ones", err
    )


def test_studies_have_figures_of_their_own(own_file, tmp_path):
    pytest.importorskip("optuna")
    studies = ("dlskills", "a-b", "a b", "a/b", "中文", "-")
    for study in studies:  # a warning, such as of a glyph that no font has, would be an error
        invoke(f"{own_file}:score", "--trials", 1, f"--study={study}", "--out", tmp_path)
    names = {path.name for path in tmp_path.glob("tuning-*rates.png")}
    assert len(names) == len(studies)
    assert {"tuning-rates.png", "tuning-a-b-rates.png"} < names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--device", "cuda", "--epochs", 7], "--epochs 7 and --device cuda: of the tutorial's"),
        (["--subset", "sample"], "--subset sample: of the tutorial's task alone"),
        (["--study", " "], "--study must be a name"),
    ],
)
def test_options_that_mean_nothing_are_refused(own_file, tmp_path, given, message):
    pytest.importorskip("optuna")
    words = ["tune", f"{own_file}:score", "--out", str(tmp_path / "new"), *map(str, given)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2
    assert message in ESCAPES.sub("", result.output)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--subset", "smaple"], 'subset must be .* Did you mean "sample"'),
        (["--subset", "full"], "no files here"),
        (["--device", "cuda"], "device 'cuda' needs CuPy"),
    ],
)
def test_what_the_task_lacks_is_said_before_a_study_is_made(tmp_path, monkeypatch, given, message):
    pytest.importorskip("optuna")

    def missing(data_dir):
        raise OSError("no files here")

    monkeypatch.setattr("dlskills.data.mnist.read_full", missing)
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = CliRunner().invoke(cli.app, ["tune", "--out", str(tmp_path), *given])
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "tuning.db").exists()


def test_the_tutorials_task(tmp_path):
    pytest.importorskip("optuna")
    text = invoke("--trials", 1, "--epochs", 1, "--out", tmp_path, "--sampler", "TPE")
    assert "weight_decay" in text
    assert (tmp_path / "tuning-curves.png").is_file()
