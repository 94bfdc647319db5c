"""An experiment for executors, as a user's file, and comparisons of what runs of it give."""

import json

EXPERIMENT = """
import os, signal, time
from pathlib import Path
import numpy as np
from threadpoolctl import threadpool_info
from dlskills.experiments import Experiment

def run(settings, *, scales=(1.0, 2.0, 3.0), how="well", mark=""):
    rng = np.random.default_rng(settings.seed)
    x = rng.normal(size=(300, 300)).astype(np.float32)
    if mark:
        (Path(mark) / f"{os.getpid()}-{scales[0]}").touch()
    if how == "dies" and scales == [2.0]:
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "fails" and scales == [2.0]:
        raise ValueError("no such scale")
    if how == "waits":
        time.sleep(300)
    threads = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    product = {str(s): (s * x @ x).sum(0).tolist() for s in scales}
    return {"products": product, "threads": sorted(set(threads))}

work = Experiment(
    name="work", title="Work", about="Products.", run=run, split="scales", alt={},
    plot=lambda runs: {}, options={"how": "How it ends.", "mark": "Folder of marks."},
)
"""


def write_experiment(folder):
    path = folder / "work.py"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def saved(folder):
    """Return everything that a run saved, but for the time that it took."""
    (path,) = folder.glob("*.json")
    return without_seconds(json.loads(path.read_text(encoding="utf-8")))


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value
