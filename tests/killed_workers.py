"""A search by several workers that are killed again and again: nothing is lost or doubled.

python tests/killed_workers.py --server postgresql --trials 500 --workers 8 --kills 20
"""

import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from database_servers import SERVERS

# A trial writes a line when it begins and one when it ends, so that what ran is known from outside
# the database.
WORKER = """
import os, sys, time
from dlskills.tuning import search, storage
storage._PULSE, sys.modules["dlskills.tuning.search"]._PATIENCE = 1, 0.5

def note(*words):
    with open(sys.argv[1], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

def score(trial):
    x = trial.suggest_float("x", 0, 1)
    note("begins", os.getpid(), trial.number, repr(x))
    time.sleep(float(sys.argv[3]))
    note("ends", os.getpid(), trial.number, repr(x))
    return x

search(score, trials=int(sys.argv[2]), storage=os.environ["DLSKILLS_STORAGE"], verbose=False)
"""


class _Workers:
    """The processes of a search; some are killed while they run a trial."""

    def __init__(self, url, folder, workers, trials, seconds):
        self.log = folder / "log"
        self.log.touch()
        self._arguments = [str(self.log), str(trials), str(seconds)]
        self._url, self._errors = url, folder / "errors"
        self._running = [self._start() for _ in range(workers)]
        self._draw = random.Random(0)  # noqa: S311

    def _start(self):
        with self._errors.open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-c", WORKER, *self._arguments],
                env=os.environ | {"DLSKILLS_STORAGE": self._url}, stderr=errors,
            )  # fmt: skip

    def lines(self, word):
        """Return the trials' lines that start with this word, split."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [line for line in lines if line[0] == word]

    def run(self, every, kills, limit):
        """Kill a worker after every `every` trials, and wait for the end; return the kills."""
        deadline, killed = time.monotonic() + limit, 0
        while any(one.poll() is None for one in self._running):
            assert time.monotonic() < deadline, f"not done after {limit} s\n{self.errors}"
            if killed < kills and len(self.lines("ends")) >= (killed + 1) * every:
                killed += self._kill()
            time.sleep(0.02)
        return killed

    def _kill(self):
        """Kill a worker that is in a trial, and start another; return whether there was one."""
        last = {line[1]: line for line in self.lines("begins")}
        ended = {tuple(line[1:]) for line in self.lines("ends")}
        at_work = {pid for pid, line in last.items() if tuple(line[1:]) not in ended}
        chosen = [i for i, one in enumerate(self._running) if str(one.pid) in at_work]
        if not chosen:
            return False
        i = self._draw.choice(chosen)
        self._running[i].kill()
        self._running[i].wait()
        self._running[i] = self._start()
        return True

    @property
    def statuses(self):
        return [one.returncode for one in self._running]

    @property
    def errors(self):
        return self._errors.read_text()

    def close(self):
        for one in self._running:
            one.kill()
            one.wait()


def run(server, trials, workers, kills, seconds=0.05, limit=1800):
    """Kill workers of a search, start others, and return what became of the trials."""
    with SERVERS[server][0]() as url, tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        search = _Workers(url, Path(folder), workers, trials, seconds)
        try:
            killed = search.run(max(trials // (kills + 2), 1), kills, limit)
            took = round(time.monotonic() - begun, 1)
        finally:
            search.close()
        ends = collections.Counter(line[3] for line in search.lines("ends"))
        return {
            "server": server,
            "trials": trials,
            "workers": workers,
            "killed": killed,
            "statuses": search.statuses,
            "errors": search.errors,
            **_outcome(url, trials),
            "run to their end twice": sum(times > 1 for times in ends.values()),
            "seconds": took,
        }


def _outcome(url, trials):
    """Return what the database has of the trials."""
    import optuna

    from dlskills.tuning.indices import counts, index_of, notes
    from dlskills.tuning.storage import url_of

    study = optuna.load_study(study_name="dlskills", storage=url_of(url))
    found = closed(study)
    done = collections.Counter(index_of(trial) for trial in found if counts(trial))
    drawn = collections.Counter(t.params["x"] for t in found if t.state.name == "COMPLETE")
    return {
        "lost": sorted(set(range(trials)) - set(done)),
        "doubled": sorted(index for index, times in done.items() if times > 1),
        "different parameters": len(drawn),
        "parameters of two trials": sum(times > 1 for times in drawn.values()),
        "failed and repeated": sum(t.state.name == "FAIL" and bool(notes(t)) for t in found),
        "left running": sum(t.state.name == "RUNNING" for t in found),
    }


def closed(study):
    """Close the connections of a study in a database, and return its trials."""
    trials = study.trials
    study._storage._backend.engine.dispose()
    return trials


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=SERVERS, default="postgresql")
    for name, default in (("trials", 500), ("workers", 8), ("kills", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=0.05, help="of work per trial")
    became = run(**vars(parser.parse_args()))
    for key, value in became.items():
        print(f"{key}: {value}")
    if any(became[key] for key in ("lost", "doubled", "parameters of two trials", "errors")):
        raise SystemExit(1)
