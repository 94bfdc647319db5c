"""Who takes part: each a module of this folder, with options.

A module has a function for each kind of task that it takes part in, ``train_step(task, ...)`` or
``update(task, ...)``. It sets the work up and returns two functions: ``step()``, which is timed,
and ``result()``, numbers to check that all contenders compute the same: the loss of the last
step, or the first thousand parameters. A new peer is a new module and a line here.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Work = tuple[Callable[[], Any], Callable[[], Any]]


@dataclass(frozen=True)
class Contender:
    module: str
    needs: str
    options: dict[str, Any] = field(default_factory=dict)
    does: tuple[str, ...] = ("train_step", "update")

    def missing(self) -> bool:
        return importlib.util.find_spec(self.needs) is None

    def work(self, task: Any) -> Work:
        module = importlib.import_module(f"{__name__}.{self.module}")
        return getattr(module, task.kind)(task, **self.options)


CONTENDERS = {
    "dlskills": Contender("ours", "dlskills", {"engine": "plain"}),
    "dlskills-dict": Contender("ours_dict", "dlskills", {"engine": "plain"}, does=("update",)),
    "torch-fused": Contender("torch_eager", "torch", {"fused": True}),
    "torch-foreach": Contender("torch_eager", "torch", {"foreach": True}),
    "book": Contender("book", "numpy"),
    "book-decay": Contender("book", "numpy", {"decay": True}, does=("train_step",)),
}
