"""Checkpoints: a training saved while it runs, and resumed bit for bit."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_count
from dlskills.distributed.communicator import on_rank_0, restored_on_ranks
from dlskills.files import FileFormatError
from dlskills.training.best import Best, as_value
from dlskills.training.callbacks import Callback
from dlskills.training.checkpoint_folder import CheckpointFolder, Shards
from dlskills.training.shards import split, with_shards
from dlskills.training.state_file import read_state

if TYPE_CHECKING:
    from dlskills.networks.sequential import Sequential
    from dlskills.training.loop import Loop


class Checkpoint(Callback):
    """Save the whole training at intervals, at its end, and when Ctrl-C ends it.

    ``trainer.resume(folder)`` goes on from the newest checkpoint, bit for bit: with the same
    parameters, losses, history and random numbers as if it had never stopped. Each checkpoint is a
    safetensors file ``step-00001200.safetensors``, written whole or not at all, with a checksum.

    Where several ranks train together, rank 0 writes; with ``sharded=True`` each rank writes its
    part of the optimizer's state into a file of its own beside it, ``shard-00001200.0-of-4``, so
    the folder must be one that all ranks see. Any number of ranks can go on from either.

    Parameters
    ----------
    folder : str or path-like
        Of this training alone. Made if it is missing.
    every : int, optional
        The number of steps from one checkpoint to the next; by default an epoch.
    keep : int, default 3
        The number of newest checkpoints that are kept.
    best_by : str, optional
        A column of ``trainer.history``, such as ``"validation_loss"``: each evaluation that is
        better than all before is saved, too, and the best one is kept.
    mode : {"min", "max"}, optional
        Whether smaller or larger values of `best_by` are better; known for losses and accuracies.
    background : bool, default True
        Whether a thread writes the file while training goes on. Training then waits only for the
        copy of the state, and for the write before, if that is not finished. An error is raised
        after the step during which it occurred.

    Attributes
    ----------
    best_file : pathlib.Path or None
        The best checkpoint by `best_by`.

    Raises
    ------
    RuntimeError
        When training begins: another training uses the folder, or it holds checkpoints of another
        run.
    OSError
        When training begins or a checkpoint is due: nothing can be written to the folder.
    """

    runs_last = True  # so that its state includes what other callbacks did

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int | None = None,
        keep: int = 3,
        best_by: str | None = None,
        *,
        mode: str | None = None,
        background: bool = True,
    ) -> None:
        self._folder = CheckpointFolder(folder)
        self.every = None if every is None else check_count("every", every)
        self.keep = check_count("keep", keep)
        self.background = background
        self._best = None if best_by is None else Best(best_by, mode)
        self.needs_evaluations = best_by is not None
        self.follows = best_by
        self._best_step: int | None = None
        self._best_written = self._best_of_now()  # what of it is on the disk
        self._training = False
        self._saved_step: int | None = None
        self._improved = False
        self._about: dict[str, Any] | None = None
        self._writer: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    @property
    def folder(self) -> Path:
        """Where the checkpoints are."""
        return self._folder.path

    @property
    def best_file(self) -> Path | None:
        """The best checkpoint by `best_by` that is written; None before the first."""
        step = self._best_written[1]
        return None if step is None else self._folder.file(step)

    def _best_of_now(self) -> tuple[float, int | None]:
        """Return the value of the best evaluation so far, and its step."""
        return math.nan if self._best is None else self._best.value, self._best_step

    def load_best(self, network: Sequential) -> None:
        """Load the state that the network had in the best checkpoint.

        Parameters
        ----------
        network : Sequential
            Of the same layers, such as ``trainer.network``. Only the network changes: training
            does not go back.

        Raises
        ------
        ValueError
            There is no best checkpoint yet.
        FileFormatError
            The file is damaged, or of another network.
        """
        self._wait()
        if self.best_file is None:
            raise ValueError("there is no best checkpoint; give best_by=..., and train first")
        state = read_state(self.best_file)
        try:
            network.load_state_dict(state["state"]["network"])
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"{self.best_file} does not fit {network!r}: {error}") from error

    def before_training(self, trainer: Loop) -> None:
        if not callable(getattr(trainer.optimizer, "state_dict", None)):
            raise TypeError(
                f"a checkpoint needs the optimizer's state, and {trainer.optimizer!r} has no "
                "state_dict() and load_state_dict(state); derive it from dlskills.Optimizer, or "
                "write these methods"
            )
        about = trainer.about()
        trainer.run_id = on_rank_0(trainer.communicator, lambda: self._begin(trainer.run_id, about))
        self._about, self._training = about, True

    def kind(self) -> str:
        return super().kind() + ("" if self._best is None else f" by {self._best}")

    def _begin(self, own: str | None, about: dict[str, Any]) -> str:
        """Claim the folder for a run, a new one if none is given, and return its name."""
        self._folder.lock()
        there = self._folder.run()
        files = self._folder.files()
        if files and own != there:
            self._folder.unlock()
            raise RuntimeError(
                f"{self.folder} holds checkpoints of another run, the newest is {files[0].name}; "
                "trainer.resume(folder) continues it, another folder starts a new run"
            )
        return self._folder.begin(own, about)

    def after_evaluation(self, trainer: Loop) -> None:
        if self._best is not None and self._best.improves(self._best.latest(trainer)):
            self._best_step, self._improved = trainer.step, True

    def step_complete(self, trainer: Loop) -> None:
        if self._writing is not None and self._writing.done():
            self._wait()
        every = self.every or trainer.batches.steps_per_epoch
        if self._improved or (every and trainer.step % every == 0):
            self.save(trainer)

    def after_training(self, trainer: Loop) -> None:
        # also after the last step: other callbacks may have restored the best parameters
        self.save(trainer)
        self._wait()

    def interrupted(self, trainer: Loop) -> None:
        if trainer.communicator is not None and trainer.communicator.size > 1:
            return  # the ranks may have been interrupted at different steps
        if self._saved_step != trainer.step:
            self.save(trainer)
        self._wait()

    def close(self, trainer: Loop) -> None:
        try:
            self._wait()
        finally:
            self._training = False
            if self._writer is not None:
                self._writer.shutdown()
                self._writer = None
            self._folder.unlock()

    def save(self, trainer: Loop) -> None:
        """Save now; without `background` the file is complete when this returns."""
        if self._training:
            self._save(trainer)
            return
        self.before_training(trainer)  # no train(), but steps by hand: the folder may be taken
        try:
            self._save(trainer)
        finally:
            self.close(trainer)

    def _save(self, trainer: Loop) -> None:
        self._wait()
        rank, ranks = 0, 1
        if trainer.communicator is not None:
            rank, ranks = trainer.communicator.rank, trainer.communicator.size
        state = trainer.state_dict()  # on all ranks, as it may take all of them
        if rank > 0 and "pieces" not in state:
            return
        write = functools.partial(
            self._write, trainer.step, str(trainer.run_id), state, self._best_of_now(),
            rank, ranks,
        )  # fmt: skip
        if self._writer is None:
            self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing = self._writer.submit(write)
        if not self.background:
            self._wait()
        self._improved, self._saved_step = False, trainer.step  # last: an error may end this

    def _write(
        self,
        step: int,
        run: str,
        state: Any,
        best: tuple[float, int | None],
        rank: int,
        ranks: int,
    ) -> None:
        shards = 0
        if "pieces" in state:
            shards = ranks
            state, own = split(state)
            self._folder.write_shard(step, run, own, rank, ranks)
        if rank == 0:
            self._folder.write(step, run, self._about or {}, state, shards)
            self._best_written = best
            self._folder.prune(self.keep, step, best[1])

    def _wait(self) -> None:
        """Wait for the file that is being written, and raise its error."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except BaseException:
            if self._best is not None:  # so that the next evaluation is saved if it is better
                self._best.value, self._best_step = self._best_written
            raise

    def state_dict(self) -> dict[str, Any]:
        if self._best is None:
            return {}
        return {"best": self._best.value, "best_step": self._best_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if self._best is not None:
            step = state["best_step"]
            self._best_step = None if step is None else check_count("best_step", step, at_least=0)
            self._best.value = as_value(state["best"])
            self._best_written = self._best_of_now()

    def __repr__(self) -> str:
        every = "" if self.every is None else f", every={self.every}"
        return f"Checkpoint({str(self.folder)!r}{every}, keep={self.keep})"


def resume(trainer: Loop, folder: str | os.PathLike[str]) -> int:
    """Load the newest good checkpoint of a folder into a training; return its step, 0 if none."""
    checkpoints, communicator = CheckpointFolder(folder), trainer.communicator

    def load(state: Mapping[str, Any], rest: Shards | None) -> None:
        if rest is not None:
            wanted = trainer.optimizer_pieces
            state = with_shards(state, rest.files, state["step"], rest.run, wanted)
        trainer.load_state_dict(state)

    if communicator is None:
        found = _restored(checkpoints, trainer.about(), load)
    else:
        found = restored_on_ranks(
            communicator, lambda load: _restored(checkpoints, trainer.about(), load), load
        )
    if found is not None:
        trainer.run_id = found
    return 0 if found is None else trainer.step


def _restored(checkpoints: CheckpointFolder, about: Mapping[str, Any], load: Any) -> str | None:
    """Load the newest good checkpoint; return the name of its run, None if there is none."""
    if checkpoints.path.is_file():
        raise NotADirectoryError(
            f"resume takes the folder of the checkpoints, got a file, {str(checkpoints.path)!r}"
        )
    if not checkpoints.files():
        return None
    checkpoints.lock()
    try:
        return checkpoints.restore(about, load)
    finally:
        checkpoints.unlock()
