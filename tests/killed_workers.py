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
import os, random, sys, time
from dlskills.tuning import search, storage
import dlskills.tuning.search as loop
storage._PULSE, loop._PATIENCE = 1, 0.5

def note(*words):
    with open(sys.argv[2], "a") as file:
        file.write(" ".join(map(str, words)) + "\\n")

def score(trial):
    x = trial.suggest_float("x", 0, 1)
    note("begins", os.getpid(), trial.number, repr(x))
    time.sleep(float(sys.argv[4]))
    note("ends", os.getpid(), trial.number, repr(x))
    return x

search(score, trials=int(sys.argv[3]), storage=os.environ["DLSKILLS_STORAGE"], verbose=False)
"""


def run(server, trials, workers, kills, seconds=0.3):
    """Kill workers of a search, start others, and return what became of the trials."""
    import optuna

    from dlskills.tuning.indices import counts, index_of, notes
    from dlskills.tuning.storage import url_of

    opened = SERVERS[server][0]
    with opened() as url, tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.touch()
        begun = time.monotonic()

        def start():
            return subprocess.Popen(
                [sys.executable, "-c", WORKER, "worker", str(log), str(trials), str(seconds)],
                env=os.environ | {"DLSKILLS_STORAGE": url}, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip

        running, killed, draw = [start() for _ in range(workers)], 0, random.Random(0)  # noqa: S311
        every = max(trials // (kills + 2), 1)
        while any(one.poll() is None for one in running):
            ended = log.read_text().count("ends")
            if killed < kills and ended >= (killed + 1) * every:
                alive = [i for i, one in enumerate(running) if one.poll() is None]
                at_work = {line.split()[1] for line in log.read_text().splitlines()}
                chosen = [i for i in alive if str(running[i].pid) in at_work] or alive
                i = draw.choice(chosen)
                running[i].kill()
                running[i].communicate()
                running[i] = start()
                killed += 1
            time.sleep(0.02)
        outputs = [one.communicate()[1] for one in running]
        statuses = [one.returncode for one in running]
        study = optuna.load_study(study_name="dlskills", storage=url_of(url))
        done = collections.Counter(index_of(trial) for trial in study.trials if counts(trial))
        drawn = collections.Counter(
            trial.params["x"] for trial in study.trials if trial.state.name == "COMPLETE"
        )
        lines = [line.split() for line in log.read_text().splitlines()]
        ends = collections.Counter(line[3] for line in lines if line[0] == "ends")
        return {
            "server": server,
            "trials": trials,
            "workers": workers,
            "killed": killed,
            "statuses": statuses,
            "errors": [output for output in outputs if output],
            "lost": sorted(set(range(trials)) - set(done)),
            "doubled": sorted(index for index, times in done.items() if times > 1),
            "different parameters": len(drawn),
            "parameters of two trials": sum(times > 1 for times in drawn.values()),
            "finished twice": sum(times > 1 for times in ends.values()),
            "interrupted": sum(t.state.name == "FAIL" and bool(notes(t)) for t in study.trials),
            "left running": sum(t.state.name == "RUNNING" for t in study.trials),
            "seconds": round(time.monotonic() - begun, 1),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=SERVERS, default="postgresql")
    for name, default in (("trials", 500), ("workers", 8), ("kills", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for key, value in run(**vars(parser.parse_args())).items():
        print(f"{key}: {value}")
