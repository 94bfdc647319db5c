"""A training that kills itself, is resumed, and ends as if it had never stopped.

Run it as it is: it starts itself as a second process, which is killed in the middle of training.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from dlskills import MultiLayerNetExtend, Trainer, load_mnist
from dlskills.training import Checkpoint, EarlyStopping


def make_trainer(folder):
    (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    network = MultiLayerNetExtend(784, [50, 50], 10, use_batchnorm=True, use_dropout=True, seed=0)
    return Trainer(
        network, x_train, t_train, x_test, t_test, epochs=5, optimizer="adam", validation=0.1,
        callbacks=[EarlyStopping(patience=3), Checkpoint(folder, every=20)], verbose=False,
    )  # fmt: skip


def train(folder, kill_at=None):
    trainer = make_trainer(folder)
    step = trainer.resume(folder)
    print(f"training begins at step {step}", flush=True)
    while kill_at is not None:
        trainer.train_step()
        if trainer.step == kill_at:
            os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    trainer.train()
    return trainer


def main():
    with tempfile.TemporaryDirectory() as temporary:
        whole = train(Path(temporary, "whole"))
        folder = Path(temporary, "killed")
        killed = subprocess.run([sys.executable, __file__, folder])  # noqa: S603 - this file itself
        print(f"the second process was killed (exit status {killed.returncode})")
        resumed = train(folder)
    same = np.array_equal(whole.network.params.flat, resumed.network.params.flat)
    print(f"test accuracy {resumed.test_acc:.4f}; {len(resumed.train_loss_list)} losses recorded")
    print(f"the same parameters and losses, bit for bit: {same}")
    if not same or whole.train_loss_list != resumed.train_loss_list:
        sys.exit("the resumed training differs")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(sys.argv[1], kill_at=215)
    else:
        main()
