"""A small training on generated points, for tests of what goes on around it."""

from pathlib import Path

import numpy as np

from dlskills import MultiLayerNetExtend, Trainer, to_host

CLASSES = 3


def points(count, seed=0):
    """Points in three clouds, and the number of each one's cloud."""
    rng = np.random.default_rng(seed)
    t = np.arange(count) % CLASSES
    return rng.normal(0, 1, (count, 4)) + 3 * np.eye(CLASSES, 4)[t], t.astype(np.int64)


def make_network(xp=None, device=None, **options):
    """Dropout, Batch Normalization and weight decay: everything that has a state."""
    given = {
        "use_dropout": True, "dropout_ratio": 0.2, "use_batchnorm": True,
        "weight_decay_lambda": 0.01, "seed": 1, "dtype": "float64",
    } | options  # fmt: skip
    return MultiLayerNetExtend(4, [8], CLASSES, xp=xp, device=device, **given)


def finding(values, part="validation", metric="loss"):
    """Options with which the evaluations of a training find these values, one after another."""
    found = iter(values)
    data = {"validation": points(9, 2)} if part == "validation" else {}
    return data | {
        "metrics": {metric: lambda outputs, targets: next(found, np.nan)},
        "evaluate_on": part,
    }


def make_trainer(network=None, **options):
    given = {"epochs": 3, "mini_batch_size": 8, "optimizer": "adam", "verbose": False} | options
    x, t = points(42)
    return Trainer(make_network() if network is None else network, x, t, *points(9, 1), **given)


def outcome(trainer):
    """Everything that two equal trainings must have in common, bit for bit."""
    return {
        "step": trainer.step,
        "params": to_host(trainer.network.params.flat).tolist(),
        "layers": [as_plain(layer.get_state()) for layer in trainer.network.layers],
        "optimizer": as_plain(trainer.optimizer.state_dict()),
        "losses": list(trainer.train_loss_list),
        "losses before": list(trainer.losses),
        "history": repr(trainer.history.to_dict()),  # NaN is NaN
    }


def as_plain(value):
    """Arrays as lists."""
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(item) for item in value]
    return to_host(value).tolist() if hasattr(value, "shape") else value


def write_script(folder, *lines):
    """Write a script for a process of its own; it has make_trainer and Checkpoint."""
    script = folder / "script.py"
    head = [
        "import sys",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        "from small_run import make_trainer",
        "from dlskills.training import Checkpoint",
    ]
    script.write_text("\n".join([*head, *lines, ""]))
    return script
