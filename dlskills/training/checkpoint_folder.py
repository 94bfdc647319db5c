"""A folder of checkpoints: names, lock, which to keep, and the newest good one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dlskills.files import FileFormatError, check_folder, expanded, write_file
from dlskills.strict_json import read_json
from dlskills.training.shards import shard_name, write_shard
from dlskills.training.state_file import read_state, write_state

VERSION = 2
_WHOLE = 1  # the version of files that hold all of a training; those of 2 have shards beside them
_KIND = "dlskills training checkpoint"
_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_SHARD = re.compile(r"shard-(\d{8,})\.\d+-of-\d+\.safetensors")
_MOST_SHARDS = 1_000_000
_RUN = "run.json"
_ADDED = {"dtype", "compute dtype", "remainder"}  # settings that older checkpoints don't name


class Shards(NamedTuple):
    """Where the rest of a checkpoint is: the files of all ranks, and their run."""

    files: list[Path]
    run: str


class CheckpointFolder:
    """The checkpoints of one run, each a file of its own.

    ``run.json`` names the run; each file repeats the name, so that one of another run that came
    into the folder is found out.

    Parameters
    ----------
    path : str or path-like
        Made when the first checkpoint is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expanded(path, "the folder of checkpoints")
        self._lock: Any = None

    def lock(self) -> None:
        """Claim the folder for this process, until :meth:`unlock` or the end of the process.

        Raises
        ------
        RuntimeError
            Another training has it.
        OSError
            Nothing can be written there.
        """
        if self._lock is not None:
            return
        from filelock import FileLock, Timeout

        check_folder(self.path, "Checkpoint(folder)")
        lock = FileLock(self.path / ".lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise RuntimeError(
                f"another training writes its checkpoints to {self.path}; wait for its end, or "
                "give each a folder of its own"
            ) from None
        self._lock = lock

    def unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def files(self) -> list[Path]:
        """Return the checkpoints, the newest first."""
        found = self.path.iterdir() if self.path.is_dir() else ()
        return sorted((file for file in found if _step(file) >= 0), key=_step, reverse=True)

    def file(self, step: int) -> Path:
        """Return the path of the checkpoint of a step."""
        return self.path / f"step-{step:08d}.safetensors"

    def run(self) -> str | None:
        """Return the name of the run that the folder belongs to; None if it has none yet."""
        stated = self._stated_run()
        return self._run_of_files() if stated is None else stated

    def _stated_run(self) -> str | None:
        try:
            run = read_json(self.path / _RUN)["run"]
            return run if isinstance(run, str) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _run_of_files(self) -> str | None:
        """Return the run of the newest good file, for a folder whose ``run.json`` is not."""
        for file in self.files():
            with contextlib.suppress(FileFormatError, OSError):
                head = read_state(file).get("head")
                if isinstance(head, dict) and isinstance(head.get("run"), str):
                    return str(head["run"])
        return None

    def begin(self, run: str | None, about: Mapping[str, Any]) -> str:
        """Make the folder one of a run, a new one if no name is given; return the name."""
        run = secrets.token_hex(8) if run is None else run
        if self._stated_run() != run:
            text = json.dumps({"kind": _KIND, "run": run, "about": about}, indent=1)
            write_file(self.path / _RUN, text + "\n")
        return run

    def write(
        self,
        step: int,
        run: str,
        about: Mapping[str, Any],
        state: Mapping[str, Any],
        shards: int = 0,
    ) -> None:
        """Write the checkpoint of a step.

        With `shards`, as many files of :meth:`write_shard` hold the rest of it.
        """
        head = {
            "kind": _KIND, "version": VERSION if shards else _WHOLE, "run": run, "about": about
        } | ({"shards": shards} if shards else {})  # fmt: skip
        write_state(self.file(step), {"head": head, "state": state})

    def write_shard(
        self, step: int, run: str, own: Mapping[str, Any], rank: int, ranks: int
    ) -> None:
        """Write the part of a checkpoint that one rank keeps."""
        check_folder(self.path, "Checkpoint(folder)")
        write_shard(self.path / shard_name(step, rank, ranks), step, run, own)

    def prune(self, keep: int, newest: int, best: int | None) -> None:
        """Remove all but the newest ones, and the best one, and what broken-off writes left.

        Files of later steps than `newest` were refused by :meth:`restore`. They stay until
        training reaches their steps, and do not count among the `keep`.
        """
        files = [file for file in self.files() if _step(file) <= newest]
        kept = set(files[:keep]) | ({self.file(best)} if best is not None else set())
        for file in files:
            if file not in kept:
                with contextlib.suppress(OSError):
                    file.unlink()
        names = {file.name for file in kept}
        for file in self.path.iterdir():
            match = _SHARD.fullmatch(file.name)
            # other ranks may be ahead, so newer shards stay
            stale = match and int(match[1]) < newest and self.file(int(match[1])).name not in names
            if stale or (file.name.startswith(".step-") and file.suffix == ".part"):
                with contextlib.suppress(OSError):
                    file.unlink()

    def restore(
        self, about: Mapping[str, Any], load: Callable[[Mapping[str, Any], Shards | None], None]
    ) -> str | None:
        """Load the newest good checkpoint.

        Parameters
        ----------
        about : mapping
            What the training is of; a checkpoint of something else is refused.
        load : callable
            Takes the state, and where the rest of it is; raises an error, and changes nothing, if
            it does not fit.

        Returns
        -------
        str or None
            The name of the run; None if there is no checkpoint.

        Warns
        -----
        UserWarning
            Newer checkpoints were refused; the message names them and says why.

        Raises
        ------
        FileFormatError
            There are checkpoints, and none is good; the message says why.
        """
        refused: list[str] = []
        expected = self.run()
        for file in self.files():
            try:
                run = load_checked(read_state(file), str(file), expected, about, load)
            except (FileFormatError, OSError) as error:
                refused.append(str(error))
                continue
            if refused:
                warnings.warn(
                    f"checkpoints were refused, and {file.name} was taken: {'; '.join(refused)}",
                    stacklevel=5,
                )
            return run
        if refused:
            raise FileFormatError(
                f"no checkpoint in {self.path} is good: {'; '.join(refused)}. To start anew, give "
                "an empty folder"
            )
        return None


def _step(file: Path) -> int:
    match = _NAME.fullmatch(file.name)
    return -1 if match is None else int(match[1])


def load_checked(
    content: Mapping[str, Any],
    file: str,
    expected: str | None,
    about: Mapping[str, Any],
    load: Callable[[Mapping[str, Any], Shards | None], None],
) -> str:
    """Load the content of a checkpoint; return the name of its run.

    Raises
    ------
    FileFormatError
        It is of another kind, version, run or training, or the state does not fit.
    """
    head, state = content.get("head"), content.get("state")
    if (
        not isinstance(head, dict)
        or not isinstance(state, dict)
        or not isinstance(head.get("kind"), str)  # it may be an array
        or head["kind"] != _KIND
    ):
        raise FileFormatError(f"{file} is no checkpoint of a training")
    version, run = head.get("version"), head.get("run")
    if not isinstance(version, int) or not isinstance(run, str):
        raise FileFormatError(f"{file} has no version, or names no run")
    if version > VERSION:
        raise FileFormatError(
            f"{file} is of version {version}, and this dlskills reads up to {VERSION}; update it"
        )
    if expected is not None and run != expected:
        raise FileFormatError(f"{file} is of another run than the folder")
    own = head.get("about")
    if not isinstance(own, dict):
        raise FileFormatError(f"{file} must say what it is a checkpoint of, got {own!r:.60}")
    not_compared = _ADDED - own.keys()
    # as text: what a file holds may be anything, and an array is equal to nothing
    there, here = (
        {k: repr(v) for k, v in known.items() if k not in not_compared} for known in (own, about)
    )
    if there != here:
        differing = [
            f"{key}: {there.get(key)} there, {here.get(key)} here"
            for key in {**here, **there}
            if there.get(key) != here.get(key)
        ]
        raise FileFormatError(f"{file} is of another training ({'; '.join(differing)})")
    shards, step = head.get("shards", 0), state.get("step")
    rest = None
    if shards:
        if not (isinstance(shards, int) and isinstance(step, int) and 0 < shards <= _MOST_SHARDS):
            raise FileFormatError(f"{file} does not say of which step it is, or in how many parts")
        names = [shard_name(step, rank, shards) for rank in range(shards)]
        rest = Shards([Path(file).parent / name for name in names], run)
    try:
        load(state, rest)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FileFormatError(f"{file} does not fit this training: {reason}") from error
    return run
