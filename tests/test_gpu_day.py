"""Full validation on a GPU: whatever happens to a step, the others reach the page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The package benchmarks of this checkout. The path is removed again, so that an installed dlskills
# is tested if there is one.
sys.path.insert(0, str(ROOT))
import benchmarks.__main__  # noqa: E402
from benchmarks import gpu_day  # noqa: E402

sys.path.remove(str(ROOT))

STEPS = list(gpu_day.steps(gpu_day.parse_options(["--quick"]), Path("folder")))
EXPERIMENTS = {"experiments on the CPU": "cpu", "experiments on CUDA": "cuda"}

RESULTS = {
    "claims": [{"claim": "It learns.", "confirmed": True, "measured": [{"value": 0.5}]}],
    "runs": [{"seconds": 1.25}, {"seconds": 2.0}],
}
WRITES = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
path.parent.mkdir(exist_ok=True)
path.write_text(sys.argv[2])
"""


def command(step, folder):
    """Return a stand-in for a step, which prints its name and writes the step's files."""
    says = ["-c", f"print({step!r})\n"]
    if step in EXPERIMENTS:
        target = folder / EXPERIMENTS[step] / "dropout.json"
        says = ["-c", says[1] + WRITES, str(target), json.dumps(RESULTS)]
    if step == "benchmarks":
        target = folder / "benchmarks.json"
        says = ["-c", says[1] + WRITES, str(target), '{"tasks": {}}']
    return [sys.executable, "-I", "-S", *says]  # starts in half the time


FAULTS = {
    "fails": lambda done: [*done[:4], "print('oh no')\nraise SystemExit(3)"],
    "dies while it writes": lambda done: [
        *done[:4], done[4] + "\nimport os\nos.kill(os.getpid(), 9)", *done[5:6],
        *(text[: len(text) // 2] for text in done[6:]),
    ],
    "hangs": lambda done: [*done[:4], "import time\ntime.sleep(60)"],
}  # fmt: skip


@pytest.fixture
def day(monkeypatch, tmp_path):
    """Run stand-ins for the steps, some with faults; return JSON, page and exit status."""
    monkeypatch.setattr(gpu_day, "_device_name", lambda device: "some-gpu")

    def day(faults=(), timeout=30, out=tmp_path / "out"):
        def steps(options, folder):
            commands = {step: command(step, folder) for step in STEPS}
            return commands | {step: fault(commands[step]) for step, fault in dict(faults).items()}

        monkeypatch.setattr(gpu_day, "steps", steps)
        status = 0
        try:
            gpu_day.main(["--out", str(out), "--timeout", str(timeout)])
        except SystemExit as error:
            status = error.code
        return read(out), (out / "gpu-some-gpu.md").read_text(), status

    return day


def read(out):
    return json.loads((out / "gpu-some-gpu.json").read_text())


def test_a_run_without_faults(day, tmp_path):
    document, page, status = day()
    assert status == 0
    assert [step["status"] for step in document["steps"].values()] == [0] * len(STEPS)
    assert all(step["output"] == f"{name}\n" for name, step in document["steps"].items())
    assert document["benchmarks"] == {"tasks": {}}
    assert document["claims"] == [
        {
            "experiment": "dropout", "claim": "It learns.", "cpu": True, "cuda": True,
            "values": [[0.5], [0.5]], "seconds": [3.25, 3.25],
        }
    ]  # fmt: skip
    assert "| dropout | 3.2 | 3.2 |" in page
    assert "| dropout | It learns. | confirmed | confirmed |" in page
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        *((step, "fails") for step in STEPS),
        *((step, "dies while it writes") for step in (*EXPERIMENTS, "benchmarks")),
        ("experiments on CUDA", "hangs"),
    ],
)
@pytest.mark.slow
def test_whatever_a_step_does_the_others_are_on_the_page(day, step, fault):
    document, page, status = day({step: FAULTS[fault]}, timeout=3 if fault == "hangs" else 30)
    assert status == 1
    done = [name for name, found in document["steps"].items() if found["status"] == 0]
    assert done == [name for name in STEPS if name != step]
    word = "timed out" if fault == "hangs" else "failed"
    assert f"| {step} | **{word}** | " in page
    assert all(f"| {name} | ok | " in page for name in done)
    sides = ["–" if step == name else "confirmed" for name in EXPERIMENTS]
    assert f"| dropout | It learns. | {' | '.join(sides)} |" in page
    assert (document["benchmarks"] is None) == (step == "benchmarks")
    if fault == "fails":
        assert "oh no" in document["steps"][step]["output"]


def test_the_page_says_if_no_experiment_wrote_results(day):
    document, page, _ = day(dict.fromkeys(EXPERIMENTS, FAULTS["fails"]))
    assert document["claims"] == []
    assert "No experiment wrote results." in page


def test_results_of_an_earlier_call_are_not_used(day):
    first, _, _ = day()
    assert first["claims"]
    assert first["benchmarks"]
    second, _, _ = day(dict.fromkeys([*EXPERIMENTS, "benchmarks"], FAULTS["fails"]))
    assert second["claims"] == []
    assert second["benchmarks"] is None


def test_each_step_is_written_before_the_next_one_runs(day, monkeypatch, tmp_path):
    run, count = gpu_day.run_step, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(gpu_day, "run_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        day()
    statuses = [found and found["status"] for found in read(tmp_path / "out")["steps"].values()]
    assert statuses == [0, 0] + [None] * (len(STEPS) - 2)
    page = (tmp_path / "out" / "gpu-some-gpu.md").read_text()
    assert f"| {STEPS[1]} | ok | " in page
    assert f"| {STEPS[2]} | not run | – |" in page


def test_a_failed_write_keeps_the_previous_file(tmp_path):
    path = tmp_path / "page.md"
    gpu_day.write_file(path, "before")
    with pytest.raises(UnicodeEncodeError):
        gpu_day.write_file(path, "half of it \ud800")
    assert path.read_text() == "before"


@pytest.mark.slow
def test_a_hanging_step_is_terminated_with_its_workers(day, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    lock = tmp_path / "lock"
    holds = "import fcntl, sys, time; file = open(sys.argv[1], 'w'); fcntl.flock(file, 2); "
    worker = [sys.executable, "-c", holds + "print('held', flush=True); time.sleep(60)", str(lock)]
    hangs = f"import subprocess, time\nsubprocess.Popen({worker!r})\ntime.sleep(60)"
    document, _, _ = day({STEPS[0]: lambda done: [*done[:4], hangs]}, timeout=2)
    assert document["steps"][STEPS[0]]["status"] == "timed out"
    assert document["steps"][STEPS[0]]["output"] == "held\n"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if the worker still holds it


def test_no_folder_of_this_machine_is_written(day, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names = [ROOT / "dlskills", sys.prefix, json.__file__, tmp_path / "home" / "x", pytest.__file__]
    # so long that its beginning is cut off within a name
    text = " ".join(map(str, names)) + "\n" + f"{ROOT}/tests\n" * 1000
    says = f"print({text!r})"
    out = tmp_path / "out"
    document, page, _ = day({STEPS[0]: lambda done: [*done[:4], says]}, out=out)
    assert document["steps"][STEPS[0]]["output"].count("./tests\n") >= gpu_day.KEPT // 8 - 1
    assert "<scratch>/cpu/dropout.json" in page
    for written in (page, (out / "gpu-some-gpu.json").read_text()):
        for place in (ROOT, tmp_path, sys.executable, Path(json.__file__).parent):
            assert str(place) not in written
        assert not re.search(rf"{ROOT.name}/tests", written)


def test_only_whole_folder_names_are_replaced(tmp_path):
    places = gpu_day.folders_here(tmp_path)
    named = {"at": [f"{ROOT}/docs:3", f"{ROOT}", f"{tmp_path}/cpu", 3, None]}
    assert gpu_day.without_folders(places, named) == {
        "at": ["./docs:3", ".", "<scratch>/cpu", 3, None]
    }
    assert gpu_day.without_folders({"/a/b": "."}, "/a/b-other /a/b.") == "/a/b-other .."


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_uncommitted_changes_are_marked(day, tmp_path, monkeypatch):
    monkeypatch.delenv("BENCHMARKS_COMMIT", raising=False)
    folder = tmp_path / "repository"
    (folder / "results").mkdir(parents=True)
    monkeypatch.setattr(benchmarks.__main__, "RESULTS", folder / "results")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    (folder / "code.py").write_text("x = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Begin"]):
        subprocess.run([*git, *words], check=True)
    document, page, _ = day()
    assert re.fullmatch("[0-9a-f]{12}", document["commit"])
    assert "uncommitted" not in page
    (folder / "code.py").write_text("x = 2\n")
    changed, page, _ = day()
    assert changed["commit"] == document["commit"] + "+"
    assert f"commit {document['commit']}+\n\nThe `+` marks uncommitted changes." in page


def test_without_git_the_commit_is_unknown(day, monkeypatch):
    monkeypatch.setattr(gpu_day, "commit_measured", lambda: None)
    document, page, status = day()
    assert document["commit"] is None
    assert page.startswith("# some-gpu, commit unknown\n")
    assert status == 0


def test_times_are_on_the_page(day):
    times = {"median": 0.002, "low": 0.001, "turns": [0.002, 0.002]}
    task = {
        "group": "updates by Adam", "contenders": {"dlskills": times}, "failed": {"other": "no"}
    }  # fmt: skip
    text = json.dumps({"tasks": {"Adam, network": task}})
    _, page, _ = day({"benchmarks": lambda done: [*done[:-1], text]})
    assert "### Updates by Adam" in page
    assert "| Adam, network | 2.000 |" in page
    assert "Adam, network: other failed: no" in page


@pytest.mark.parametrize("jobs", [1, 3])
def test_experiments_have_equal_jobs_on_both_devices(jobs, day):
    commands = gpu_day.steps(gpu_day.parse_options(["--jobs", str(jobs)]), Path("folder"))
    cpu, cuda = ([*commands[name]] for name in EXPERIMENTS)
    assert cuda.pop(cuda.index("--device") + 1) == "cuda"
    cuda.remove("--device")
    assert cpu[-4:-1] == ["--jobs", str(jobs), "--out"]
    assert cpu[:-1] == cuda[:-1]  # the last is the folder
    _, page, _ = day()
    assert "on CPU and CUDA alike in 1 process, with" in page


@pytest.mark.parametrize("installed", [True, False])
def test_tests_share_the_jobs_if_xdist_is_installed(installed, monkeypatch):
    monkeypatch.setattr(gpu_day.importlib.util, "find_spec", lambda name: installed or None)
    words = gpu_day.steps(gpu_day.parse_options(["--jobs", "3"]), Path("folder"))["tests on CuPy"]
    assert ("-n 3" in " ".join(words)) == installed


def test_a_run_can_be_shortened():
    given = ["--seeds", "2", "--rounds", "4", "--marks", "not slow"]
    commands = gpu_day.steps(gpu_day.parse_options(given), Path("folder"))
    assert commands["tests on CuPy"][-2:] == ["-m", "not slow"]
    for name in EXPERIMENTS:
        assert "--seeds 2 " in " ".join(commands[name])
    assert "--rounds 4 " in " ".join(commands["benchmarks"])


def test_an_environment_variable_states_the_commit_without_git(day, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmarks.__main__, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("BENCHMARKS_COMMIT", "0123456789ab")
    assert day()[0]["commit"] == "0123456789ab"


@pytest.mark.slow  # two minutes
@pytest.mark.backends("cupy")
def test_everything_runs_on_the_stand_in(backend, device_counters, tmp_path):
    home = os.environ["DLSKILLS_HIPEMU_BUILD"]
    environment = os.environ | {  # so that every child process finds the stand-in
        "LD_LIBRARY_PATH": f"{home}/lib", "LD_PRELOAD": f"{home}/lib/libhipemu_cupy.so.0",
        "ROCM_HOME": home, "PATH": f"{home}/bin{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.gpu_day", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = tmp_path.glob("gpu-*.json")
    document, page = json.loads(path.read_text()), path.with_suffix(".md").read_text()
    assert document["device"] != "none"
    assert list(document["steps"]) == STEPS
    assert all(f"| {step} | ok | " in page for step in STEPS)
    assert " passed" in document["steps"]["tests on CuPy"]["output"]
    assert len({claim["experiment"] for claim in document["claims"]}) > 5
    assert all(claim["cpu"] is not None is not claim["cuda"] for claim in document["claims"])
    assert "dlskills" in document["benchmarks"]["tasks"]["Adam, network"]["contenders"]
    for place in (ROOT, tmp_path, sys.prefix, home):
        assert str(place) not in page + path.read_text()
