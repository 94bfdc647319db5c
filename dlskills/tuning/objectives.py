"""Objectives of a search: the tutorial's task, or a function given by the user."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import io
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

from dlskills.arrays.backend import Array
from dlskills.checks import suggestion
from dlskills.experiments import hyperparameters
from dlskills.experiments.loading import run_file, search_in
from dlskills.experiments.settings import Settings
from dlskills.files import expanded
from dlskills.processes import one_thread
from dlskills.tuning.indices import index_of

Objective: TypeAlias = Callable[[Any], float]
"""Takes an Optuna trial and returns a score to maximize."""

TUTORIAL_TASK = "the tutorial's task"

# The data is loaded once per process.
_digits = functools.cache(hyperparameters.digits)


@dataclass(frozen=True)
class TutorialTask:
    """The tutorial's task: learning rate and weight decay of a 7-layer network on 500 digits.

    The network is trained on 400 digits and scored on 100 others. With the sampler ``"random"``,
    no pruning and the same seed, the trials equal those of the experiment ``hyperparameters``.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 50
        Number of epochs per trial.
    """

    settings: Settings
    epochs: int = 50

    def prepare(self) -> None:
        """Load the device and the data, so that errors surface before a study is created."""
        _digits(self.settings)

    def __call__(self, trial: Any) -> float:
        """Train the network of an Optuna trial and return its validation accuracy."""
        from optuna import TrialPruned

        params = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in hyperparameters.RANGES.items()
        }

        def watch(epoch: int, accuracy: Array) -> None:
            trial.report(float(accuracy), epoch)  # synchronizes the device, once per epoch
            if trial.should_prune():
                raise TrialPruned

        with one_thread():  # like the experiment
            _, curves = hyperparameters.train(
                self.settings, index_of(trial), params, _digits(self.settings), self.epochs, watch
            )
        return float(curves["validation_accuracy"][-1])


def name_of(objective: Any) -> str:
    """Return a name that identifies an objective, stable across runs of the program."""
    if isinstance(objective, TutorialTask):
        settings, epochs = objective.settings, objective.epochs
        # Without the device, as a search may be continued on another one.
        return f"{TUTORIAL_TASK}, {epochs} epochs, {settings.subset}, seed {settings.seed}"
    if isinstance(objective, str):
        return objective
    if isinstance(objective, functools.partial):
        given = [*map(_plain, objective.args)]
        given += [f"{name}={_plain(value)}" for name, value in sorted(objective.keywords.items())]
        return f"{name_of(objective.func)} of {', '.join(given)}"
    name: str = getattr(objective, "__qualname__", type(objective).__qualname__)
    if "<" in name and hasattr(objective, "__code__"):  # <lambda> and <locals> are not unique
        name += f", code {_digest(objective.__code__)}"
    return name


def _plain(value: Any) -> str:
    simple = isinstance(value, bool | int | float | str | None)
    return repr(value) if simple else type(value).__qualname__


def _digest(code: CodeType) -> str:
    """Return a digest of what a function does, independent of its location."""
    constants = (
        _digest(constant) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    )
    words = [code.co_code.hex(), *code.co_names, *constants]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def pickled(objective: Any) -> bytes:
    """Pickle an objective for other processes.

    Raises
    ------
    ValueError
        Other processes can't import it, such as a lambda or a function defined in a notebook.
    """
    try:
        data = pickle.dumps(objective)
        if not _main_is_a_file():
            _OutsideMain(io.BytesIO(data)).load()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise _not_importable(repr(objective), error) from None
    return data


def unpickled(data: bytes) -> Any:
    """Return the objective that another process pickled."""
    try:
        return pickle.loads(data)  # noqa: S301 - from this program's own process
    except (AttributeError, ImportError) as error:  # defined below `if __name__ == "__main__"`
        raise _not_importable("one that can't be found", error) from None


def _not_importable(given: str, error: Exception) -> ValueError:
    return ValueError(
        f"with several jobs, other processes must be able to import the objective, got {given} "
        f"({error}). Define it with def in a module, or use jobs=1"
    )


def _main_is_a_file() -> bool:
    """Return whether other processes can import ``__main__``: not from a notebook or stdin."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or (
        file is not None and Path(file).is_file()
    )


class _OutsideMain(pickle.Unpickler):
    """An unpickler that refuses objects defined in ``__main__``."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            raise AttributeError(f"{name} is defined in a notebook or on standard input")
        return super().find_class(module, name)


def load_objective(name: str) -> Callable[[Any], float]:
    """Import a function given as ``module:function`` or ``file.py:function``.

    Raises
    ------
    ValueError
        The module, file or function does not exist; the message says which.
    """
    source, colon, function = name.rpartition(":")
    if source.endswith(".py"):
        source = str(expanded(source, "the objective's file"))
    if not (colon and source and function):
        raise ValueError(
            f"the objective must be 'module:function' or 'file.py:function', got {name!r}"
        )
    module = _load_file(Path(source)) if source.endswith(".py") else _load_module(source)
    found = getattr(module, function, None)
    if not callable(found):
        known = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise ValueError(
            f"{source} has no function {function!r}{suggestion(function, known) or '.'} "
            "Choose from: "
            f"{', '.join(known) or 'none'}"
        )
    objective: Callable[[Any], float] = found
    return objective


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"the file of the objective, {str(path)!r}, does not exist")
    return run_file(path.resolve())


def _load_module(name: str) -> ModuleType:
    search_in(Path.cwd())  # as with `python -m`; installed commands lack it
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module exists, but something it imports does not
        raise ValueError(f"the module of the objective, {name!r}, does not exist") from None
