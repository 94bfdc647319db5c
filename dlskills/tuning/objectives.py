"""What a search tries to make large: the page's task, or a function of the user's."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import io
import pickle
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

from dlskills.arrays.backend import Array
from dlskills.checks import suggestion
from dlskills.experiments import hyperparameters
from dlskills.experiments.settings import Settings
from dlskills.files import expanded
from dlskills.processes import one_thread
from dlskills.tuning.places import place_of

Objective: TypeAlias = Callable[[Any], float]
"""Takes an Optuna trial and gives a score, the higher the better."""

# what a process has loaded serves all of its trials
_digits = functools.cache(hyperparameters.digits)


@dataclass(frozen=True)
class PageTask:
    """Learning rate and weight decay of a 7-layer network on 400 digits, judged on 100 others.

    With the sampler ``"random"``, no pruning and the same seed, trial for trial the experiment
    ``hyperparameters``.

    Parameters
    ----------
    settings : Settings
    epochs : int, default 50
        Of each trial.
    """

    settings: Settings
    epochs: int = 50

    def prepare(self) -> None:
        """Find the device and the digits, so that what is missing shows before a study is made."""
        _digits(self.settings)

    def __call__(self, trial: Any) -> float:
        """Train the network of an Optuna trial; its accuracy on the validation digits."""
        from optuna import TrialPruned

        params = {
            name: trial.suggest_float(name, low, high, log=True)
            for name, (low, high) in hyperparameters.RANGES.items()
        }

        def watch(epoch: int, accuracy: Array) -> None:
            trial.report(float(accuracy), epoch)  # waits for the device: once an epoch
            if trial.should_prune():
                raise TrialPruned

        with one_thread():  # as the experiment
            _, curves = hyperparameters.train(
                self.settings, place_of(trial), params, _digits(self.settings), self.epochs, watch
            )
        return float(curves["validation_accuracy"][-1])


def name_of(objective: Any) -> str:
    """What tells an objective from others, in this call of the program and the next."""
    if isinstance(objective, PageTask):
        settings, epochs = objective.settings, objective.epochs
        # the device is left out: a search may go on elsewhere
        return f"the page's task, {epochs} epochs, {settings.subset}, seed {settings.seed}"
    if isinstance(objective, str):
        return objective
    if isinstance(objective, functools.partial):
        given = [*map(_plain, objective.args)]
        given += [f"{name}={_plain(value)}" for name, value in sorted(objective.keywords.items())]
        return f"{name_of(objective.func)} of {', '.join(given)}"
    name: str = getattr(objective, "__qualname__", type(objective).__qualname__)
    if "<" in name and hasattr(objective, "__code__"):  # <lambda> and <locals> may be many
        name += f", code {_digest(objective.__code__)}"
    return name


def _plain(value: Any) -> str:
    simple = isinstance(value, bool | int | float | str | None)
    return repr(value) if simple else type(value).__qualname__


def _digest(code: CodeType) -> str:
    """Of what a function does; not of where it stands."""
    constants = (
        _digest(constant) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    )
    words = [code.co_code.hex(), *code.co_names, *constants]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:8]


def pickled(objective: Any) -> bytes:
    """Return an objective as bytes for other processes.

    Raises
    ------
    ValueError
        Other processes can't import it: a lambda, or a function of a notebook.
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
        raise _not_importable("one that they don't find", error) from None


def _not_importable(given: str, error: Exception) -> ValueError:
    return ValueError(
        f"several jobs need an objective that other processes can import, got {given} ({error}); "
        "define it with def in a module, or give jobs=1"
    )


def _main_is_a_file() -> bool:
    """Return whether other processes can import ``__main__``: not that of a notebook or stdin."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    return getattr(main, "__spec__", None) is not None or (
        file is not None and Path(file).is_file()
    )


class _OutsideMain(pickle.Unpickler):
    """Refuses what ``__main__`` defines."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            raise AttributeError(f"{name} is defined in a notebook or on standard input")
        return super().find_class(module, name)


def load_objective(name: str) -> Callable[[Any], float]:
    """A function by the name ``module:function`` or ``file.py:function``.

    Raises
    ------
    ValueError
        There is no such module, file or function; the message says which.
    """
    place, colon, function = name.rpartition(":")
    if place.endswith(".py"):
        place = str(expanded(place, "the objective's file"))
    if not (colon and place and function):
        raise ValueError(
            f"the objective must be 'module:function' or 'file.py:function', got {name!r}"
        )
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, function, None)
    if not callable(found):
        there = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise ValueError(
            f"{place} has no function {function!r}{suggestion(function, there)}; it has: "
            f"{', '.join(there) or 'none'}"
        )
    objective: Callable[[Any], float] = found
    return objective


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r} to take the objective from")
    path = path.resolve()
    name, known = path.stem, sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) != str(path):
        name = f"{path.stem}_{zlib.crc32(str(path).encode()):08x}"  # another has the plain one
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(path)!r} cannot be loaded as Python")
    _search_in(path.parent)  # as for a script: it may import what lies beside it
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    return module


def _load_module(name: str) -> ModuleType:
    _search_in(Path.cwd())  # as `python -m` has it, and an installed command has not
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there; what it imports is not
        raise ValueError(f"there is no module {name!r} to take the objective from") from None


def _search_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
