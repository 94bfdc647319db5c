"""The command line: what a newcomer types, with and without mistakes."""

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import dlskills
from dlskills import cli, files
from dlskills.experiments import BEYOND, EXPERIMENTS, results, runner
from dlskills.installation import install_command

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Disable wrapping, so that whole sentences can be matched."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer sets its own


@pytest.fixture
def in_terminal(monkeypatch):
    """Draw tables as in a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def invoke(*args):
    """Run a command that should succeed and return its output."""
    result = CliRunner().invoke(cli.app, [str(arg) for arg in args])
    assert result.exit_code == 0, result.output
    return ESCAPES.sub("", result.stdout)


@pytest.fixture
def fail(monkeypatch, capsys):
    """Run a failing command as the shell does; return its exit status and message."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["dlskills", *map(str, args)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        return caught.value.code, ESCAPES.sub("", err)

    return run


@pytest.mark.parametrize("kind", ["OutOfMemoryError", "MemoryError"])
def test_out_of_memory_gives_a_one_line_error(fail, monkeypatch, tmp_path, kind):
    error = type(kind, (RuntimeError if kind == "OutOfMemoryError" else MemoryError,), {})

    def starved(*args, **options):
        raise error("Out of memory allocating 99 bytes")

    monkeypatch.setattr("dlskills.cli.run.run_experiments", starved)
    status, message = fail("run", "overfitting", "--out", tmp_path)
    assert status == 1
    assert message.startswith("error: out of memory: Out of memory allocating 99 bytes. Close")


def shell(*args, **environment):
    return subprocess.run(
        [sys.executable, "-m", "dlskills.cli", *map(str, args)],
        capture_output=True, text=True, encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | environment,
    )  # fmt: skip


@pytest.fixture
def undrawn(monkeypatch):
    """Skip drawing figures, to save time."""
    monkeypatch.setattr(results, "save_figure", lambda figure, folder, name: [])


def replace(monkeypatch, name, **changes):
    """Put a changed experiment in the place of one."""
    changed = dataclasses.replace(EXPERIMENTS[name], **changes)
    monkeypatch.setitem(EXPERIMENTS, name, changed)
    command = cli.run.command_of(changed)
    for info in cli.run.app.registered_commands:
        if info.name == name:
            monkeypatch.setattr(info, "callback", command)


# Information


def test_list_shows_every_experiment_with_its_title():
    out = invoke("list")
    for name, module in (EXPERIMENTS | BEYOND).items():
        assert re.search(rf"{name}\W+{re.escape(str(module.title))}", out)
    assert "dlskills run NAME" in out


COMMANDS = {
    (): ["list", "info", "run"],
    ("list",): ["List the experiments"],
    ("info",): ["versions, devices, engines"],
    ("run",): [*EXPERIMENTS, "Beyond the tutorial", *BEYOND],
    ("run", "optimizer-paths"): ["--out", "--device", "--points", "(-7, 2)"],
    ("run", "optimizer-mnist"): ["--out", "--device", "--iterations", "--seeds", "--subset",
                                 "--quick", "--jobs", "--fresh", "--optimizers",
                                 "SGD, Momentum, AdaGrad, Adam", "six"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    out = invoke(*command, "--help")
    for expected in COMMANDS[command]:
        assert expected in out


def test_help_is_written_for_80_columns():
    """All paragraphs but the first keep the line breaks of the docstring."""
    commands = typer.main.get_command(cli.app).commands
    assert "play" in commands
    for name, command in commands.items():
        lines = (command.help or "").partition("\n\n")[2].splitlines()
        assert [line for line in lines if len(line) > 78] == [], name


def test_every_experiment_is_a_command_with_help():
    for name in EXPERIMENTS:
        assert "--out" in invoke("run", name, "--help")


def test_info_shows_versions_devices_engines_and_data(no_cupy, in_terminal):
    out = invoke("info")
    for label, value in {
        "dlskills": dlskills.__version__,
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "numpy": r"\d+\.\d+",
        "array-api-compat": r"\d+\.\d+",
        "numba": r"(\d+\.\d+|not installed)",
        "cupy": r"(\d+\.\d+|not installed)",
        "torch": r"(\d+\.\d+|not installed)",
        "device cpu": r"cpu \(NumPy\)",
        "device cuda": "not available: device 'cuda' needs CuPy",
        "engine plain": "ready",
        "engine blocked": "ready",
        "MNIST, sample": r".*sample",
        "MNIST, full": r"\S",
    }.items():
        assert re.search(rf"│ {re.escape(label)} +│ {value}", out), f"{label}: {value}\n{out}"


@pytest.mark.parametrize("columns", ["80", "300"])
def test_the_command_to_install_cupy_can_be_copied(no_cupy, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    # the path of this environment or clone may be longer than a line
    text = "".join(invoke("info").replace("│", " ").split())
    assert "".join(f"install it with: {install_command('gpu')}".split()) in text


@pytest.mark.backends("cupy")
def test_info_shows_an_available_device(backend):
    assert re.search(r"device cuda +cuda:0 \(CuPy\)", invoke("info"))


def test_info_finds_the_full_set_in_a_folder_with_brackets_in_its_name(tmp_path, monkeypatch):
    folder = tmp_path / "data [full]"  # rich would interpret the brackets as markup
    monkeypatch.setenv("DLSKILLS_DATA_DIR", str(folder))
    assert "not downloaded yet" in invoke("info")
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").touch()
    assert str(folder) in invoke("info")


# Experiments


@pytest.mark.slow
def test_optimizer_paths_runs_and_writes_its_results(tmp_path, in_terminal):
    out = invoke("run", "optimizer-paths", "--out", tmp_path / "new" / "folder")
    for suffix in ("png", "svg", "json"):
        path = tmp_path / "new" / "folder" / f"optimizer-paths.{suffix}"
        assert path.stat().st_size > 0
        assert f"wrote {path}" in out
    assert re.search(r"AdaGrad +│ 1.5 +│ .*9.27e-04", out)


def test_tables_fit_80_columns(tmp_path, monkeypatch, undrawn, in_terminal):
    monkeypatch.setenv("COLUMNS", "80")
    paths = invoke("run", "optimizer-paths", "--out", tmp_path)
    assert "│ (-0.387, -0.094) │" in paths  # in one piece
    mnist = invoke("run", "optimizer-mnist", "--iterations", 1, "--out", tmp_path)
    for out, methods in ((paths, 4), (mnist, 4)):
        table = out[: out.index("└")] + "└"
        lines = [line for line in table.splitlines() if line[:1] in "┏┃┡│└"]
        assert len(lines) == methods + 4
        assert max(map(len, lines)) <= 80


def test_optimizer_mnist_runs_and_writes_its_results(tmp_path):
    out = invoke(
        "run", "optimizer-mnist", "--iterations", 5, "--seed", 3, "--out", tmp_path,
        "--optimizers", "adam, NESTEROV",
    )  # fmt: skip
    suffixes = sorted(path.suffix for path in tmp_path.iterdir() if path.is_file())
    assert suffixes == [".json", ".png", ".svg"]
    record = json.loads((tmp_path / "optimizer-mnist.json").read_text(encoding="utf-8"))
    (run,) = record["runs"]
    assert run["options"]["iterations"] == 5
    assert run["options"]["optimizers"] == ["adam", "NESTEROV"]
    assert run["settings"]["seed"] == 3
    assert {len(losses) for losses in run["numbers"]["train_loss"].values()} == {5}
    assert list(run["numbers"]["lr"]) == ["Adam", "Nesterov"]
    assert re.search(r"\nAdam +0.001 ", out)
    assert "iteration 0, loss: Adam 2." in out


def test_optimizers_six_runs_the_six_of_the_tutorial(tmp_path, undrawn, in_terminal):
    out = invoke(
        "run", "optimizer-mnist", "--iterations", 1, "--optimizers", "Six", "--out", tmp_path
    )
    for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"):
        assert re.search(rf"│ {name} +│", out)


@pytest.mark.backends("cupy")
def test_an_experiment_runs_on_a_gpu(backend, tmp_path, undrawn):
    invoke("run", "optimizer-paths", "--device", "cuda", "--out", tmp_path)
    record = json.loads((tmp_path / "optimizer-paths.json").read_text(encoding="utf-8"))
    assert record["runs"][0]["backend"] == "cuda:0 (CuPy)"


def test_verdicts_are_shown_with_measured_numbers(tmp_path, undrawn, in_terminal):
    out = invoke("run", "optimizer-paths", "--out", tmp_path)
    assert re.search(
        r"SGD moves in a zigzag .*y changes its sign: 100% \[expected = 100%\] +│ confirmed", out
    )
    assert re.search(r"-1.77 \[expected ≥ 0.01\] +│ not confirmed", out)
    assert "[the tutorial: Momentum]" in out
    assert "Based on" not in out  # this experiment involves no randomness


def test_a_remark_is_shown_with_its_claim(tmp_path, undrawn, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    out = invoke("run", "optimizer-paths", "--out", tmp_path)
    remarks = [claim.remark.en for claim in EXPERIMENTS["optimizer-paths"].claims if claim.remark]
    found = json.loads((tmp_path / "optimizer-paths.json").read_text(encoding="utf-8"))["claims"]
    assert [claim["remark"] for claim in found if claim["remark"]] == remarks
    assert remarks
    assert all(remark.split(". ")[0][:30] in out for remark in remarks)


@pytest.mark.slow
def test_few_seeds_give_a_warning(tmp_path, undrawn):
    few = ["run", "activation-histograms", "--out", tmp_path]
    assert "Based on 1 seed only" in invoke(*few)
    assert "Based on 2 seeds only" in invoke(*few, "--seeds", 2)
    assert "Based on" not in invoke(*few, "--seeds", 3)


def test_a_quick_run_is_short_and_labelled(tmp_path, monkeypatch):
    replace(monkeypatch, "optimizer-mnist", quick={"iterations": 4})
    out = invoke("run", "optimizer-mnist", "--quick", "--out", tmp_path)
    assert "This was a quick run" in out
    assert "quick run" in (tmp_path / "optimizer-mnist.svg").read_text(encoding="utf-8")
    record = json.loads((tmp_path / "optimizer-mnist.json").read_text(encoding="utf-8"))
    assert record["quick"] is True
    assert record["runs"][0]["options"]["iterations"] == 4


def test_options_before_the_name_are_refused(tmp_path):
    args = ["run", "--seeds", "3", "--quick", "overfitting", "--out", str(tmp_path)]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(cli.app, args)
    assert result.exit_code == 2
    expected = "options must follow the name: dlskills run overfitting --seeds 3 --quick"
    assert expected in ESCAPES.sub("", result.output)


@pytest.mark.parametrize("folder", ["", "cache"])
def test_an_unwritable_folder_fails_before_the_work(fail, tmp_path, monkeypatch, folder):
    (tmp_path / "cache").mkdir()

    def read_only(dir):
        if Path(dir) == tmp_path / folder:
            raise OSError(30, "Read-only file system", str(dir))
        return contextlib.nullcontext()

    monkeypatch.setattr(files.tempfile, "TemporaryFile", read_only)
    monkeypatch.setattr(cli.run, "run_experiments", None)  # fails if called
    status, err = fail("run", "optimizer-paths", "--out", tmp_path)
    assert status == 1
    assert "Read-only file system" in err


@pytest.mark.parametrize(
    ("kept", "more", "message"),
    [
        (0, [], "nothing was finished yet; the same command will start over"),
        (1, [], "1 finished run or parts of runs kept; the same command will resume from"),
        (
            2,
            ["--fresh"],
            "2 finished runs .*; the same command will start over; without --fresh it reuses",
        ),
        (0, ["--fresh"], "nothing was finished yet; the same command will start over$"),
    ],
)
def test_an_interrupted_run_says_how_to_resume(tmp_path, monkeypatch, kept, more, message):
    def interrupted(*args, cache, **options):
        cache.mkdir()
        for number in range(kept):
            (cache / f"{number}.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.run, "run_experiments", interrupted)
    result = CliRunner().invoke(cli.app, ["run", "--all", *more, "--out", str(tmp_path)])
    assert result.exit_code == 130
    assert re.search(f"^interrupted; {message}", result.output)


@pytest.mark.parametrize(
    ("more", "message"),
    [([], "nothing more was finished; the same command will reuse what earlier runs kept"),
     (["--fresh"], "nothing was finished yet; the same command will start over")],
)  # fmt: skip
def test_results_of_earlier_runs_are_not_forgotten(tmp_path, monkeypatch, more, message):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "earlier.json").touch()
    monkeypatch.setattr(cli.run, "run_experiments", interrupted)
    result = CliRunner().invoke(cli.app, ["run", "--all", *more, "--out", str(tmp_path)])
    assert result.output == f"interrupted; {message}\n"


@pytest.mark.slow
def test_options_that_differ_from_the_tutorials_are_reported(tmp_path, undrawn):
    out = invoke("run", "optimizer-paths", "--points", 5, "--out", tmp_path)
    assert "Claims are judged only at the tutorial's settings; points differs." in out
    assert "confirmed" not in out
    found = json.loads((tmp_path / "optimizer-paths.json").read_text(encoding="utf-8"))["claims"]
    assert {claim["verdict"] for claim in found} == {"not judged"}
    assert "Claims are judged only" not in invoke("run", "optimizer-paths", "--out", tmp_path)
    # this experiment has no shortened run
    assert "quick run" not in invoke("run", "optimizer-paths", "--quick", "--out", tmp_path)


def test_claims_without_numbers_are_not_judged(tmp_path, undrawn, monkeypatch):
    replace(monkeypatch, "optimizer-mnist", quick={"iterations": 2, "optimizers": ["SGD", "Adam"]})
    out = invoke("run", "optimizer-mnist", "--quick", "--out", tmp_path)
    assert "not judged" in out
    assert "no number [expected" in out
    assert "nan" not in out


def test_a_second_run_is_read_from_the_cache_unless_fresh(tmp_path, monkeypatch, undrawn):
    again = ["run", "optimizer-paths", "--out", tmp_path]
    first = invoke(*again)

    def not_wanted(*args, **options):
        raise RuntimeError("run again")

    monkeypatch.setattr(runner, "run_job", not_wanted)
    assert invoke(*again) == first
    result = CliRunner().invoke(cli.app, [*map(str, again), "--fresh"])
    assert str(result.exception) == "run again"


@pytest.mark.slow
def test_figures_in_chinese_dark_small_and_as_csv(tmp_path):
    options = ["--lang", "zh", "--theme", "dark", "--size", "6x3", "--format", "svg", "--csv"]
    out = invoke("run", "optimizer-paths", *options, "--out", tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert "optimizer-paths.svg" in names
    assert "optimizer-paths.csv" in names
    assert not {name for name in names if name.endswith(".png")}
    text = (tmp_path / "optimizer-paths.svg").read_text(encoding="utf-8")
    assert "学习率" in text
    assert 'width="432pt" height="216pt"' in text
    assert f"wrote {tmp_path / 'optimizer-paths.csv'}" in out


OWN = """
from dlskills.experiments import Experiment, Number, Table

def run(settings, *, factor=1):
    return {"n": factor * settings.seed}

experiment = Experiment(
    name="tripled", title="A multiple of the seed", run=run, options={"factor": "Factor."},
    table=lambda numbers: Table(["n"], [[Number(numbers["n"], ".0f")]]),
)
"""


def test_a_users_experiment_runs_from_its_file(tmp_path, undrawn):
    path = tmp_path / "cli_own.py"
    path.write_text(OWN)
    out = invoke("run", path, "--factor", 3, "--seed", 2, "--out", tmp_path)
    assert "\nn\n6\n" in out
    assert "--factor" in invoke("run", path, "--help")
    assert (tmp_path / "tripled.json").exists()


def test_a_file_that_is_missing_is_wrong_use(fail):
    assert fail("run", "nothing.py") == (
        2,
        "error: there is no file 'nothing.py' to take experiments from\n",
    )


def test_run_all_runs_every_experiment(tmp_path, monkeypatch, undrawn):
    few = {"optimizer-paths": EXPERIMENTS["optimizer-paths"]}
    monkeypatch.setattr(cli.run, "EXPERIMENTS", few)
    out = invoke("run", "--all", "--out", tmp_path, "--jobs", 1)
    assert "optimizer-paths.json" in out


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--device", "gpu"],
            "error: device must be 'cpu', 'cuda' or 'cuda:N', got 'gpu'; did you",
        ),
        (["--device", "cuda:x"], "error: device must be 'cpu', 'cuda' or 'cuda:N', got 'cuda:x'"),
        (
            ["--subset", "ful"],
            'error: subset must be "full" or "sample", got \'ful\'; did you mean "full"?',
        ),
        (["--size", "wide"], "error: size must be WIDTHxHEIGHT, such as 8x4.5, got 'wide'"),
        (["--format", "gif"], "error: format 'gif' is not known. Choose from: 'png', 'svg', 'pdf'"),
        (["--hidden", "many"], "error: hidden must be a whole number, got 'many'"),
        (["--activation", "rleu"], "error: activation 'rleu' is not known; did you mean 'relu'"),
        (["--optimizers", "adm"], "error: optimizer 'adm' is not known; did you mean 'adam'?"),
        (["--optimizers", "sgd,,adam"], "error: optimizer '' is not known. Choose from: 'sgd'"),
    ],
)
def test_a_wrong_name_gives_a_one_line_error_with_the_choices(fail, tmp_path, options, message):
    status, err = fail("run", "optimizer-mnist", "--out", tmp_path, *options)
    assert status == 2
    assert err.startswith(message)
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_cuda_without_cupy_gives_the_install_command(fail, no_cupy, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    status, err = fail("run", "optimizer-paths", "--device", "cuda", "--out", tmp_path)
    assert status == 1
    assert err.endswith(f"not installed; install it with: {install_command('gpu')}\n")
    assert err.count("\n") == 1  # not wrapped, so that it can be copied


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["run", "optimizer-maths"], "No such command 'optimizer-maths'"),
        (["lst"], "Did you mean 'list'?"),
        (["run", "optimizer-paths", "--points", "many"], "'--points'"),
        (["run", "optimizer-paths", "--seeds", "0"], "'--seeds'"),
        (["run", "--quick"], "dlskills list"),
        (["run", "--all", "optimizer-paths"], "not both"),
        (["run", "optimizer-paths", "--seed", "-1"], "'--seed'"),
        (["run", "optimizer-paths", "--steps", "3"], "--steps"),
        (["run", "overfitting", "--optimizers", "sgd"], "--optimizers"),
    ],
)
def test_a_wrong_command_or_value_is_a_usage_error(fail, args, message):
    status, err = fail(*args)
    assert status == 2
    assert message in err
    assert "Usage: " in err


def test_out_must_be_a_folder(fail, tmp_path):
    path = tmp_path / "file"
    path.write_text("mine")
    status, err = fail("run", "optimizer-paths", "--out", path)
    assert status == 2
    assert "'--out'" in err
    assert "is a file" in err
    status, err = fail("run", "optimizer-paths", "--out", path / "folder")
    assert status == 1
    assert err.startswith("error: ")
    assert path.read_text() == "mine"


def test_no_command_shows_help():
    result = CliRunner().invoke(cli.app, [])
    assert "Commands" in result.output
    assert "Error" not in result.output


def test_diverged_training_gives_a_one_line_error(fail, monkeypatch, tmp_path):
    def diverge(*args, **options):
        raise dlskills.DivergedError("the loss is nan [at step 3]")

    monkeypatch.setattr(cli.run, "write_results", diverge)
    assert fail("run", "optimizer-paths", "--out", tmp_path) == (
        1,
        "error: the loss is nan [at step 3]\n",
    )


# In a separate process


@pytest.mark.slow
def test_the_module_runs_as_a_command(tmp_path):
    done = shell("run", "optimizer-paths", "--points", 3, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "optimizer-paths.png" in done.stdout
    assert len(list(tmp_path.glob("optimizer-paths*.*"))) == 7


def test_a_wrong_value_gives_one_line_in_the_shell(tmp_path):
    done = shell("run", "optimizer-paths", "--device", "gpu", "--out", tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert ESCAPES.sub("", done.stderr).startswith("error: device must be")
    assert done.stderr.count("\n") == 1


def test_an_unknown_experiment_gives_no_traceback_in_the_shell():
    done = shell("run", "nothing")
    assert done.returncode == 2
    assert "No such command 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
