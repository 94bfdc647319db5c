"""Callbacks that write a history while it grows: to a CSV file, or for TensorBoard."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dlskills.files import expanded
from dlskills.training.callbacks import Callback

if TYPE_CHECKING:
    from dlskills.training.loop import Loop


class CSVLogger(Callback):
    """Keep a CSV file of ``trainer.history``, complete after each evaluation.

    The file is replaced as a whole, so that it is never half written, and after
    ``trainer.resume(folder)`` it has no row twice.

    Parameters
    ----------
    path : str or path-like
        Replaced if it exists. The folder is made if it is missing.

    Raises
    ------
    OSError
        The file can't be written.
    """

    rank_0_only = True
    needs_evaluations = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = expanded(path)

    def after_evaluation(self, trainer: Loop) -> None:
        trainer.history.to_csv(self.path)

    def __repr__(self) -> str:
        return f"CSVLogger({str(self.path)!r})"


class TensorBoardLogger(Callback):
    """Write each row of ``trainer.history`` for TensorBoard.

    Parameters
    ----------
    folder : str or path-like
        A folder per run: TensorBoard shows those below the one it is given.

    Raises
    ------
    ImportError
        Neither tensorboardX nor PyTorch with tensorboard is installed.
    """

    rank_0_only = True
    needs_evaluations = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = expanded(folder)
        self._writer: Any = None
        self._make = _writer_class()

    def after_evaluation(self, trainer: Loop) -> None:
        if self._writer is None:
            self._writer = self._make(str(self.folder))
        for name, number in trainer.history.latest.items():
            if name not in ("step", "epoch"):
                part, _, metric = name.partition("_")
                tag = f"{metric}/{part}" if metric else name
                self._writer.add_scalar(tag, number, trainer.step)

    def close(self, trainer: Loop) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __repr__(self) -> str:
        return f"TensorBoardLogger({str(self.folder)!r})"


def _writer_class() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError(
                "TensorBoardLogger needs a writer of TensorBoard's files, and neither tensorboardX "
                "nor PyTorch with tensorboard is installed; pip install tensorboardX"
            ) from None
    return SummaryWriter
