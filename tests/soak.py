"""A long training with a checkpoint every 10 seconds: only its record of losses may grow.

python tests/soak.py --minutes 30
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from dlskills import MultiLayerNetExtend, Trainer, load_mnist
from dlskills.training import Callback, Checkpoint

WARM_UP = 120  # seconds in which caches fill
MOST = 5.0  # MB that it may grow by afterwards, beside the losses that it records
BYTES_PER_LOSS = 4  # each step's, before the update and after it
EVERY = 10.0  # seconds between checkpoints


def resident():
    """Return this process's resident memory in MB (on Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1000
    raise OSError("/proc/self/status has no line VmRSS")


class Watch(Callback):
    """Saves and looks at the memory every few seconds, and stops when the time is over."""

    def __init__(self, checkpoint, seconds):
        self.checkpoint, self.seconds = checkpoint, seconds
        self.start = self.saved_at = time.monotonic()
        self.memory = []

    def after_step(self, trainer, batch):
        now = time.monotonic()
        if now - self.saved_at >= EVERY:
            self.checkpoint.save(trainer)
            self.saved_at = now
            self.memory.append((now - self.start, resident()))
            print(f"{now - self.start:5.0f} s: step {trainer.step}, {self.memory[-1][1]:.1f} MB",
                  flush=True)  # fmt: skip
        return now - self.start >= self.seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="default: %(default)s")
    seconds = 60 * parser.parse_args().minutes
    (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    network = MultiLayerNetExtend(784, [100, 100], 10, use_batchnorm=True, use_dropout=True, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(folder, every=10**9, keep=3)
        watch = Watch(checkpoint, seconds)
        trainer = Trainer(
            network, x_train, t_train, x_test, t_test, steps=10**9, optimizer="adam",
            verbose=False, evaluate="last", evaluate_every=20, callbacks=[watch, checkpoint],
        )  # fmt: skip
        trainer.train()
    warm = [memory for at, memory in watch.memory if at >= WARM_UP]
    if not warm:
        sys.exit(f"it must run for more than {WARM_UP} s, which are left out as the warm-up")
    grown = max(warm) - warm[0]
    losses = BYTES_PER_LOSS * (len(trainer.losses) + len(trainer.train_loss_list)) / 1e6
    print(f"{trainer.step} steps, {len(watch.memory)} checkpoints: {warm[0]:.1f} MB after the "
          f"warm-up, at most {grown:.1f} MB more until the end, {losses:.1f} MB of them recorded "
          f"losses; allowed beside them: {MOST:.0f} MB")  # fmt: skip
    sys.exit(grown - losses >= MOST)


if __name__ == "__main__":
    main()
