"""Use of the command: names, options and exit status."""

import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from dlskills import cli
from dlskills.data.idx import DataError
from dlskills.experiments import BEYOND, EXPERIMENTS, find
from dlskills.processes import WorkerLostError


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own


@pytest.fixture
def status(monkeypatch, capsys):
    """Run a command as the shell does; return its exit status and output."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["dlskills", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out + err

    return run


def python(*args, **environment):
    return subprocess.run(
        [sys.executable, *map(str, args)], capture_output=True, text=True, encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["dlskills", "dlskills.cli"])
@pytest.mark.slow
def test_the_package_runs_as_a_command(module):
    done = python("-m", module, "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "optimizer-paths" in done.stdout
    assert "Usage: dlskills run" in python("-m", module, "run", "-h").stdout


@pytest.mark.parametrize(
    "command",
    [[], *([name] for name in ("run", "tune", "compare", "info", "play", "repeat", "report",
                               "list")), ["run", "symmetry"]],
)  # fmt: skip
def test_h_is_short_for_help(command):
    short, long = (CliRunner().invoke(cli.app, [*command, h]) for h in ("-h", "--help"))
    assert short.exit_code == 0
    assert short.output == long.output
    assert "Usage: " in short.output


OPTIONS = {
    "": ["--install-completion", "optimizers, initial weights"],
    "run": ["--executor", "mpi|dask://HOST:PORT", "--subset"],
    "run optimizer-mnist": ["my.py:MyRule:lr=0.002", "--optimizers", "--executor"],
    "run mine.py": ["--executor", "--theme", "--format"],
    "tune": ["postgresql://user@host/name", "--sampler", "my.py:score"],
    "play": ["--activation", "FILE.py:CLASS[:setting=value]"],
    "report": ["--executor", "--beyond"],
    "repeat": ["results/optimizer-mnist.json", "--trust"],
    "compare": ["--tolerance", "--batchnorm"],
}
OWN_EXPERIMENT = """
from dlskills.experiments import Experiment
def run(settings):
    return {}
mine = Experiment(name="mine", title="Mine", about="It.", run=run, plot=lambda runs: {}, alt={})
"""


@pytest.mark.parametrize("columns", [40, pytest.param(60, marks=pytest.mark.slow), 80])
@pytest.mark.parametrize("command", OPTIONS)
def test_help_is_legible_in_narrow_terminals(status, tmp_path, monkeypatch, command, columns):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", columns)
    monkeypatch.setattr(cli.app, "rich_markup_mode", "rich")
    (tmp_path / "mine.py").write_text(OWN_EXPERIMENT)
    code, said = status(*command.split(), "-h")
    assert code == 0
    assert "…" not in said
    said = re.sub(r"[\s│]", "", said)  # long words may be broken, but not cut
    for expected in OPTIONS[command]:
        assert expected.replace(" ", "") in said


def test_completion_can_be_installed():
    # Showing or installing completion needs a known parent shell, which CI may lack.
    assert "--install-completion" in CliRunner().invoke(cli.app, ["--help"]).output
    done = python(
        "-m", "dlskills", COMP_WORDS="dlskills run sym", COMP_CWORD="2",
        _DLSKILLS_COMPLETE="complete_bash",
    )  # fmt: skip
    assert done.stdout.split() == ["symmetry"]


# Options


@pytest.mark.parametrize("name", EXPERIMENTS | BEYOND)
def test_help_shows_only_options_that_apply_to_the_experiment(name):
    out = CliRunner().invoke(cli.app, ["run", name, "--help"]).output
    module = find(name)
    uses_data = "data" in module.uses
    assert ("--seed " in out) == ("--seeds" in out) == module.random
    assert ("--subset" in out) == uses_data
    assert ("--quick" in out) == bool(module.quick)
    assert ("--jobs" in out) == (module.random or module.split is not None)
    assert "--device" in out
    assert "--fresh" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["optimizer-paths", "--seed", 3],
         "--seed 3 does not apply to optimizer-paths, which involves no randomness"),
        (["optimizer-paths", "--seeds", 2, "--jobs", 2],
         "--seeds 2 and --jobs 2 do not apply to optimizer-paths, which involves no randomness and "
         "which consists of a single run"),
        (["activation-histograms", "--subset", "full"],
         "--subset full does not apply to activation-histograms, which does not use MNIST"),
    ],
)  # fmt: skip
def test_options_that_do_not_apply_are_refused_with_the_reason(status, tmp_path, args, message):
    code, said = status("run", *args, "--out", tmp_path / "new")
    assert code == 2
    assert message in said
    assert not (tmp_path / "new").exists()


def test_options_hidden_for_one_experiment_are_shown_for_others():
    assert "--seed " not in CliRunner().invoke(cli.app, ["run", "optimizer-paths", "--help"]).output
    assert "--seed " in CliRunner().invoke(cli.app, ["run", "symmetry", "--help"]).output


# Exit status


OWN = """
def score(trial):
    return [1][trial.suggest_int("n", 3, 3)]
def wrong(trial):
    raise ValueError("a mistake of the function")
"""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run symmetry --subset ful", "subset must be"),
        ("run symmetry --device gpu", "device must be"),
        ("run optimizer-mnist --optimizers adm", "optimizer 'adm' is not known"),
        ("run --all --subset ful", "subset must be"),
        ("report --device gpu --quick", "device must be"),
        ("report --subset ful", "subset must be"),
        ("compare --engine no --engine plain", "engine"),
        ("compare --optimizer adm --engine plain --engine blocked", "optimizer 'adm'"),
        ("compare --dropout 1 --engine plain --engine blocked", "dropout must be"),
        ("compare --subset ful --engine plain --engine blocked", "subset must be"),
        ("compare", "the two runs must differ"),
        ("info --device gpu", "device must be"),
        ("repeat nothing.json", "there is no file 'nothing.json'"),
        ("repeat .", "there is no file '.'"),
        ("play adm", "optimizer 'adm'"),
        ("play my.py:Rule --no-open", "my.py has no 'Rule'"),
        ("play --theme blue", "'blue' is not one of"),
        ("report nothing.py", "there is no file 'nothing.py'"),
        ("report --long", "--long must be combined with --beyond"),
        ("run symmetry --size big", "size must be WIDTHxHEIGHT"),
        ("run symmetry --format gif", "format 'gif' is not known"),
        ("tune --sampler grid", "sampler 'grid'"),
        ("tune --pruner mean", "pruner 'mean'"),
        ("tune --subset ful", "subset must be"),
        ("tune --device gpu", "device must be"),
        ("tune nothing.py:score", "does not exist"),
        ("tune score", "module:function"),
        ("tune my.py:scre", "did you mean 'score'"),
        ("tune my.py:score --grid n=1,1", "must have different values"),
        ("tune my.py:score --epochs 3", "can't be combined with"),
        ("run symmetry --iterations 0", "must be at least 1"),
        ("nothing", "No such command"),
        ("list --nothing", "No such option"),
    ],
)
def test_wrong_usage_has_exit_status_2(status, tmp_path, monkeypatch, command, message):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(OWN)
    code, said = status(*command.split())
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("a damaged file"), 1),
        (OSError("a full disk"), 1),
        (WorkerLostError("worker 1 of 2 was killed"), 1),
        (MemoryError(), 1),
        (ImportError("no CuPy"), 1),
    ],
)
def test_failures_have_exit_status_1(status, tmp_path, monkeypatch, error, code):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr(cli.run, "run_experiments", fail)
    assert status("run", "symmetry", "--out", tmp_path)[0] == code


def test_an_error_in_a_users_objective_has_exit_status_1(status, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(OWN)
    code, said = status("tune", "my.py:wrong", "--trials", 1)
    assert code == 1
    assert "error: a mistake of the function\n  in trial 0" in said


@pytest.mark.parametrize(
    "command", ["run bad.py", "report bad.py", "play bad.py:Rule", "tune bad.py:score"]
)
def test_a_syntax_error_in_a_users_file_is_one_line(status, tmp_path, monkeypatch, command):
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.py").write_text("x = 1\ndef score(:\n")
    assert status(*command.split()) == (
        1, f"error: {tmp_path / 'bad.py'}, line 2: invalid syntax\n"
    )  # fmt: skip


FAILING_RUN = """
from dlskills.experiments import Experiment

def run(settings):
    return {"a": int("many")}

EXPERIMENT = Experiment(name="own", title="Own", run=run)
"""


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_an_error_in_a_users_experiment_has_exit_status_1_and_names_the_line(
    status, tmp_path, monkeypatch, jobs
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FAILING_RUN)
    code, told = status("run", "own.py", "--seeds", "2", "--jobs", jobs)
    assert code == 1
    assert told == (
        "error: invalid literal for int() with base 10: 'many'\n"
        f'  raised at {tmp_path / "own.py"}:5: return {{"a": int("many")}}\n'
    )


def test_a_missing_home_folder_gives_no_traceback(status, monkeypatch):
    def homeless(*args, **options):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cli, "app", homeless)
    assert status("--install-completion") == (1, "error: no home folder was found. Set HOME\n")
