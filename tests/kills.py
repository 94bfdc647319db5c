"""Kill trainings with SIGKILL again and again: ``python kills.py FOLDER COUNT``.

Each run is a process of its own, forked from this one so that it starts within milliseconds. It
resumes from the folder, trains, and is killed after a random time; the next one resumes, until a
training is complete and is compared with one that was never stopped. The counts are printed as
JSON; an inexact or lost resume ends this program with an error.
"""

import hashlib
import json
import os
import select
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from small_run import make_trainer, outcome

from dlskills.training import Checkpoint

EPOCHS = 12
KILLS = 15  # of each training, about, however busy the machine is
CONFIGURATIONS = [
    {"optimizer": "adam", "background": True},
    {"optimizer": "momentum", "background": False, "sampling": "epoch", "evaluate": "last"},
    {"optimizer": "nadam", "background": True, "record_loss": "both", "accumulate": 2},
    {"optimizer": "amsgrad", "background": False, "every": 1},
]


def made(folder, optimizer, background, every=2, **options):
    checkpoint = Checkpoint(folder, every=every, keep=2, background=background)
    return make_trainer(epochs=EPOCHS, optimizer=optimizer, callbacks=[checkpoint], **options)


def digest(trainer):
    return hashlib.sha256(repr(outcome(trainer)).encode()).hexdigest()


def run(folder, configuration, pipe):
    """What each process does: resume, train, and send how it ended."""
    trainer = made(folder, **configuration)
    os.write(pipe, f"{trainer.resume(folder)}\n".encode())
    trainer.train()
    os.write(pipe, digest(trainer).encode())


def forked(folder, configuration):
    """Start a process; return its number and the end of a pipe to read from."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    try:
        run(folder, configuration, writing)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def received(pipe, seconds):
    """What a process sends within some time; None if it sends nothing, "" at its end."""
    ready, _, _ = select.select([pipe], [], [], seconds)
    return os.read(pipe, 1000).decode() if ready else None


def newest_step(folder):
    steps = [int(file.stem.partition("-")[2]) for file in folder.glob("step-*.safetensors")]
    return max(steps, default=0)


def main(parent, count):
    rng = np.random.default_rng(0)
    counts = {"kills": 0, "in_saves": 0, "trainings": 0, "runs": 0}
    while counts["kills"] < count or counts["trainings"] < len(CONFIGURATIONS):
        number = counts["trainings"]
        configuration = CONFIGURATIONS[number % len(CONFIGURATIONS)]
        whole = made(parent / f"whole-{number}", **configuration)
        start = time.perf_counter()
        whole.train()
        mean = (time.perf_counter() - start) / KILLS
        folder, ended = parent / f"killed-{number}", None
        while not ended:
            expected, parts = newest_step(folder), set(folder.glob(".*.part"))
            process, pipe = forked(folder, configuration)
            counts["runs"] += 1
            begins = received(pipe, 60)
            if begins is None or not begins.strip().isdigit() or int(begins) != expected:
                sys.exit(f"a run began at {begins!r}, expected step {expected}: {configuration}")
            ended = received(pipe, float(rng.exponential(mean)))
            if ended is None:
                os.kill(process, signal.SIGKILL)
                ended = received(pipe, 60)  # it may have ended just before
            _, status = os.waitpid(process, 0)
            os.close(pipe)
            if os.WIFSIGNALED(status):
                counts["kills"] += 1
                counts["in_saves"] += bool(set(folder.glob(".*.part")) - parts)
            elif status:
                sys.exit(f"a run failed: {configuration}")
        if ended != digest(whole):
            sys.exit(f"a training that was killed ended differently: {configuration}")
        counts["trainings"] += 1
        shutil.rmtree(folder)
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
