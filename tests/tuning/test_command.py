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


def test_help_shows_the_options_and_an_example():
    out = invoke("--help")
    for expected in ("module:function or file.py:function", "--trials", "--grid", "--sampler",
                     "tpe",
                     "--pruner", "--storage", "OUT/tuning.db", "--study", "--jobs", "--seed",
                     "--device", "dlskills tune my.py:score"):  # fmt: skip
        assert expected in out


def test_without_optuna_a_one_line_error_gives_the_install_command(monkeypatch, capsys, tmp_path):
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


def test_a_users_objective_is_searched_shown_and_resumed(own_file, tmp_path):
    pytest.importorskip("optuna")
    out = tmp_path / "out"
    text = invoke(f"{own_file}:score", "--trials", 3, "--study", "mine", "--out", out)
    assert "3 trials: 3 complete" in text
    assert re.search(r"\n1 +\d +[\d.e-]+ +-[\d.e-]+ *\n", text)
    names = {path.name for path in out.iterdir()}
    assert names == {"tuning.db", *(f"tuning-mine-{name}.{kind}" for name in ("rates", "parallel")
                                    for kind in ("png", "svg"))}  # fmt: skip
    assert "no curves, as the objective never called trial.report" in text
    again = invoke(f"{own_file}:score", "--trials", 4, "--study", "mine", "--out", out)
    assert "resumes after 3 trials" in again
    assert "4 trials: 4 complete" in again
    assert "already has 4 trials; increase trials" in invoke(
        f"{own_file}:score", "--trials", 4, "--study", "mine", "--out", out
    )


def test_a_grid_is_searched_completely_and_drawn_as_a_heat_map(tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "two.py").write_text(
        "def score(trial):\n    lr = trial.suggest_float('lr', 1e-4, 1, log=True)\n"
        "    return trial.suggest_int('units', 1, 99) - lr\n",
        encoding="utf-8",
    )
    args = [f"{tmp_path / 'two.py'}:score", "--out", tmp_path, "--study", "g",
            "--grid", "lr=0.1,0.01", "--grid", "units=5,7,9"]  # fmt: skip
    text = invoke(*args, "--trials", 4)
    assert "4 trials: 4 complete" in text
    text = invoke(*args)  # all points
    assert "6 trials: 6 complete" in text
    assert re.search(r"\n1 +5 +0\.01 +9 +8\.99 *\n", text)
    assert (tmp_path / "tuning-g-heat-map.png").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--grid", "lr"], "grid must be NAME=VALUE,VALUE,..."),
        (["--grid", "lr=0.1,0.01", "--trials", "3"], "trials must be at most 2"),
        (["--grid", "lr=0.1", "--sampler", "tpe"], "--sampler tpe can't be combined with --grid"),
    ],
)
def test_wrong_grids_are_refused_before_a_study_is_created(
    own_file, tmp_path, monkeypatch, capsys, given, message
):
    pytest.importorskip("optuna")
    out = tmp_path / "new"
    argv = ["dlskills", "tune", f"{own_file}:score", "--out", str(out), *given]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert message in ESCAPES.sub("", capsys.readouterr().err)
    assert not out.exists()


def test_errors_of_trials_are_shown_and_if_all_failed_the_exit_status_is_1(tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "mine.py").write_text("def score(trial):\n    return 1 / 0\n", encoding="utf-8")
    args = ["tune", f"{tmp_path / 'mine.py'}:score", "--trials", "2", "--out", str(tmp_path)]
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == 1
    assert "2 trials: 2 fail" in result.output
    assert "trial 1 failed: ZeroDivisionError: division by zero" in result.output


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_in_a_users_objective_is_shown_with_its_line(monkeypatch, capsys, tmp_path, jobs):
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


def test_each_study_has_its_own_figures(own_file, tmp_path):
    pytest.importorskip("optuna")
    studies = ("dlskills", "a-b", "a b", "a/b", "中文", "-")
    for study in studies:  # warnings, such as about missing glyphs, are errors
        invoke(f"{own_file}:score", "--trials", 1, f"--study={study}", "--out", tmp_path)
    names = {path.name for path in tmp_path.glob("tuning-*rates.png")}
    assert len(names) == len(studies)
    assert {"tuning-rates.png", "tuning-a-b-rates.png"} < names


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ["--device", "cuda", "--epochs", 7],
            "--epochs 7 and --device cuda can't be combined with",
        ),
        (["--subset", "sample"], "only the tutorial's task uses this option"),
        (["--study", " "], "--study must be a non-empty name"),
    ],
)
def test_options_that_do_not_apply_are_refused(own_file, tmp_path, given, message):
    pytest.importorskip("optuna")
    words = ["tune", f"{own_file}:score", "--out", str(tmp_path / "new"), *map(str, given)]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 2
    assert message in ESCAPES.sub("", result.output)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--subset", "smaple"], 'subset must be .* did you mean "sample"'),
        (["--subset", "full"], "no files"),
        (["--device", "cuda"], "device 'cuda' needs CuPy"),
    ],
)
def test_missing_data_or_devices_are_reported_before_a_study_is_created(
    tmp_path, monkeypatch, given, message
):
    pytest.importorskip("optuna")

    def missing(data_dir):
        raise OSError("no files")

    monkeypatch.setattr("dlskills.data.mnist.read_full", missing)
    monkeypatch.setitem(sys.modules, "cupy", None)
    result = CliRunner().invoke(cli.app, ["tune", "--out", str(tmp_path), *given])
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "tuning.db").exists()


def test_the_tutorials_task_can_be_searched(tmp_path):
    pytest.importorskip("optuna")
    text = invoke("--trials", 1, "--epochs", 1, "--out", tmp_path, "--sampler", "TPE")
    assert "weight_decay" in text
    assert (tmp_path / "tuning-curves.png").is_file()
