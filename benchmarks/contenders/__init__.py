"""The contenders: each is a module of this folder, with options.

A module has a function for each kind of task that it takes part in: ``update(task, device)``,
``train_step(task, device)``, ``layer(task, device)``, with the options by keyword. The function
sets up the work and returns two functions. ``step()`` is timed. ``result()`` returns named arrays
that must be the same for all contenders, such as the loss of the last step; None for a floor,
which does other work. To add a peer, add a module, a line here, and its name in the tasks it takes
part in.
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
    needs: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    cuda: str | None = None  # the library whose events time it on a GPU; None if it can't run there

    def missing(self) -> list[str]:
        """Return the required packages that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def work(self, task: Any, device: str) -> Work:
        module = importlib.import_module(f"{__name__}.{self.module}")
        return getattr(module, task.kind)(task, device, **self.options)


CONTENDERS = {
    "dlskills": Contender("ours", cuda="cupy"),
    "dlskills-dict": Contender("ours", ("numba",), {"container": dict}, cuda="cupy"),
    "dlskills-blocked": Contender("ours", (), {"engine": "blocked"}),
    "dlskills-plain": Contender("ours", (), {"engine": "plain"}, cuda="cupy"),
    "torch-default": Contender("torch_eager", ("torch",)),
    "torch-foreach": Contender("torch_eager", ("torch",), {"foreach": True}, cuda="torch"),
    "torch-fused": Contender("torch_eager", ("torch",), {"fused": True}, cuda="torch"),
    "torch-compile": Contender("torch_eager", ("torch",), {"fused": True, "compiled": True}),
    "optax": Contender("jax_optax", ("jax", "optax")),
    "numba-loop": Contender("numba_loop", ("numba",)),
    "book": Contender("book"),
    "book-decay": Contender("book", (), {"decay": True}),
    "memory-floor": Contender("floors", ("numba",), cuda="cupy"),
    "blas-floor": Contender("floors"),
}
