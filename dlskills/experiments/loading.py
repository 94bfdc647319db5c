"""Python files of the user's: experiments, update rules and layers in them."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

from dlskills.checks import suggestion
from dlskills.experiments.experiment import Experiment
from dlskills.files import expanded


def load_module(path: str | Path, what: str = "it") -> ModuleType:
    """Run a Python file and return it as a module; a file that was loaded before is not run again.

    Parameters
    ----------
    path : str or pathlib.Path
        Modules beside it can be imported by it, as by a script.
    what : str, default "it"
        What is to be taken from it, for the error message.

    Raises
    ------
    ValueError
        There is no such file.
    """
    file = expanded(path).resolve()
    if not file.is_file():
        raise ValueError(f"there is no file {str(path)!r} to take {what} from")
    name, known = file.stem, sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) != str(file):
        name = f"{file.stem}_{zlib.crc32(str(file).encode()):08x}"  # another has the plain name
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ValueError(f"{str(path)!r} cannot be loaded as Python")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def load_name(path: str, name: str, what: str) -> Any:
    """Return what a Python file defines under a name.

    Raises
    ------
    ValueError
        There is no such file, or it does not define the name.
    """
    module = load_module(path, what)
    if not hasattr(module, name):
        there = [
            key
            for key, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
        ]
        raise ValueError(
            f"{path} has no {name!r}{suggestion(name, there)}; it has: {', '.join(there) or 'none'}"
        )
    return getattr(module, name)


def load_experiments(path: str | Path) -> list[Experiment]:
    """Return the experiments that a Python file defines, in its order.

    Raises
    ------
    ValueError
        There is no such file, or no :class:`Experiment` in it.
    """
    module = load_module(path, "experiments")
    found = dict.fromkeys(
        id(value) for value in vars(module).values() if isinstance(value, Experiment)
    )
    experiments = [
        value
        for value in vars(module).values()
        if isinstance(value, Experiment) and found.pop(id(value), "taken") is None
    ]
    if not experiments:
        raise ValueError(
            f"{path} defines no experiment; it must have one at its top level: "
            "experiment = Experiment(name=..., title=..., run=...)"
        )
    for experiment in experiments:
        object.__setattr__(experiment, "file", expanded(path).resolve())
    return experiments
