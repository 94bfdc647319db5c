"""Commands in unusual environments: encodings, missing streams, names, home folders."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")

pytestmark = pytest.mark.slow  # each test starts a process


def shell(*args, cwd=None, **environment):
    """Run a command and capture its output as bytes."""
    return subprocess.run(
        [sys.executable, "-m", "dlskills", *map(str, args)], capture_output=True, cwd=cwd,
        env=os.environ | environment, timeout=300,
    )  # fmt: skip


# Encodings


OWN = """
def score(trial):
    trial.suggest_categorical("kind²中", ["→", "é[/b]"])
    return trial.suggest_float("lr→", 0, 1)
"""
COMMANDS = {
    "list": "optimizer-paths",
    "--help": "Study how networks train",
    "run --help": "optimizer-paths",
    "tune --help": "module:function",
    "play --help": "RULE",
    "info": "dlskills",
    "run optimizer-paths --points 3 --csv --out ü²中": "wrote",
    "run symmetry --quick": "wrote",
    "compare --engine plain --engine blocked --steps 2": "they agree",
    "tune own.py:score --trials 2 --study é→² --out ü²中": "2 complete",
    "tune own.py:score --grid lr→=0.1,0.5 --grid kind²中=→": "2 complete",
    "play --no-open --out ü²中": "wrote",
}


@pytest.mark.parametrize("encoding", ["gbk", "cp1252", "ascii"])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands_print_in_any_encoding(tmp_path, command, encoding):
    if command.startswith("tune"):
        pytest.importorskip("optuna")
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    done = shell(*command.split(), cwd=tmp_path, PYTHONIOENCODING=encoding, COLUMNS="100")
    assert (done.returncode, done.stderr) == (0, b"")
    assert COMMANDS[command] in done.stdout.decode(encoding)


def test_a_run_is_repeated_in_any_encoding(tmp_path):
    run = ("run", "optimizer-paths", "--points", 3, "--out", "ü²中")
    assert shell(*run, cwd=tmp_path, PYTHONIOENCODING="ascii").returncode == 0
    done = shell("repeat", "ü²中/optimizer-paths.json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"are the same, bit for bit" in done.stdout


@pytest.mark.parametrize("encoding", ["gbk", "cp1252"])
def test_errors_are_printed_in_any_encoding(encoding):
    done = shell("run", "optimizer-paths", "--device=é→", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert re.match(rb"error: device must be .* got '.+'", done.stderr)
    done = shell("run", "é→²", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"No such command" in done.stderr


# No standard output


@pytest.mark.skipif(os.name != "posix", reason="needs sh")
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_commands_work_without_standard_output(tmp_path, closed):
    command = f'exec "$0" -m dlskills run optimizer-paths --points 3 --out "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, tmp_path], timeout=300)
    assert done.returncode == 0
    assert (tmp_path / "optimizer-paths.json").stat().st_size > 0


NONE = """
import sys
sys.stdout = sys.stderr = None
sys.argv = ["dlskills", *sys.argv[1:]]
from dlskills.cli import main
main()
"""


@pytest.mark.parametrize(
    ("command", "status"),
    [("list", 0), ("--version", 0), ("info", 0), ("--help", 0), ("nothing", 2),
     ("run symmetry --subset x", 2)],
)  # fmt: skip
def test_commands_have_the_right_exit_status_if_all_streams_are_none(command, status):
    done = subprocess.run([sys.executable, "-c", NONE, *command.split()], timeout=300)
    assert done.returncode == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_standard_output_is_named():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dlskills", "list"], stdout=full, stderr=subprocess.PIPE,
            timeout=300,
        )  # fmt: skip
    assert done.returncode != 0
    assert b"error: standard output can't be written to: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


# Names


OBJECTIVE = """
def score(trial):
    trial.suggest_categorical("kind[/]", ["[red]a", "[/b]", "$c$"])
    rate = trial.suggest_float("lr[encoder]", 0, 1)
    if trial.number == 1:
        raise ArithmeticError("loss[/nan] of [bold]all")
    return rate
"""


@pytest.mark.parametrize("study", ["cifar[/aug]", ":smile: [red]"])
def test_brackets_in_names_are_shown(tmp_path, study):
    pytest.importorskip("optuna")
    (tmp_path / "my[a].py").write_text(OBJECTIVE)
    done = shell(
        "tune", "my[a].py:score", "--trials", 3, f"--study={study}", "--out", "out[/b]",
        cwd=tmp_path, COLUMNS="200", FORCE_COLOR="1", PYTHONIOENCODING="utf-8",
    )  # fmt: skip
    out = ESCAPES.sub("", done.stdout.decode())
    assert done.returncode == 0, done.stderr.decode()
    for text in (study, "kind[/]", "lr[encoder]", "loss[/nan] of [bold]all", "wrote out[/b]"):
        assert text in out
    assert re.search(r"\[red\]a|\[/b\]|\$c\$", out)


@pytest.mark.parametrize("wrong", ["[/red]", "[bold]x[/bold]"])
@pytest.mark.parametrize("option", ["--device", "--optimizers"])
def test_brackets_in_errors_are_shown(tmp_path, option, wrong):
    done = shell("run", "optimizer-mnist", option, wrong, cwd=tmp_path, COLUMNS="200")
    assert done.returncode == 2
    assert wrong in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


# Home folders


@pytest.mark.parametrize("given", ["--out=~/x", "--out=~"])
def test_a_tilde_is_expanded(tmp_path, given):
    home = tmp_path / "home"
    home.mkdir()
    args = ("run", "optimizer-paths", "--points", 3, given)
    done = shell(*args, cwd=tmp_path, HOME=str(home), USERPROFILE=str(home))
    assert done.returncode == 0, done.stderr
    assert (home / given[8:] / "optimizer-paths.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_file_in_the_home_folder_is_refused_as_a_folder(tmp_path):
    (tmp_path / "x").write_text("mine")
    done = shell("run", "optimizer-paths", "--out=~/x", HOME=str(tmp_path), COLUMNS="200")
    assert done.returncode == 2
    assert b"must be a folder, got the file" in done.stderr
    done = shell("run", "optimizer-paths", "--out=~nobody-of-this-name/x", cwd=tmp_path)
    assert done.returncode == 1
    assert b"error: --out '~nobody-of-this-name/x' starts with a home folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
