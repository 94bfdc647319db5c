"""What every experiment is told, and what it leaves: its numbers and its figure in files."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from dlskills.backend import get_backend
from dlskills.checks import check_count
from dlskills.plotting import save_figure
from dlskills.random import resolve_seed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Numbers: TypeAlias = dict[str, Any]
"""An experiment's outcome, in plain Python numbers, strings, lists and dicts."""

Table: TypeAlias = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""


@dataclasses.dataclass
class Settings:
    """What every experiment may be told.

    Attributes
    ----------
    iterations : int or None
        Steps of training; None for as many as on the page.
    seed : int
        Of initial values and batches; a fresh one if made with None.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    subset : str
        Of MNIST: ``"sample"``, bundled, or ``"full"``.
    verbose : bool
        Whether to show progress.
    """

    iterations: int | None = None
    seed: int | None = 0
    device: str = "cpu"
    subset: str = "sample"
    verbose: bool = True

    def __post_init__(self) -> None:
        if self.iterations is not None:
            check_count("iterations", self.iterations)
        self.seed = resolve_seed(self.seed)


def write_results(
    name: str, experiment: ModuleType, settings: Settings, folder: Path, **options: Any
) -> tuple[Numbers, list[Path]]:
    """Run an experiment, and write ``name.json``, ``name.png`` and ``name.svg``.

    Parameters
    ----------
    name : str
        Of the files.
    experiment : module
        See :mod:`dlskills.experiments`.
    settings : Settings
    folder : pathlib.Path
        Made if it is not there.
    **options
        For the experiment's ``run``.

    Returns
    -------
    numbers : dict
    paths : list of pathlib.Path
    """
    backend = get_backend(settings.device)
    folder.mkdir(parents=True, exist_ok=True)  # before the work: a bad folder shows at once
    start = time.perf_counter()
    numbers = experiment.run(settings, **options)
    seconds = time.perf_counter() - start
    figure: Figure = experiment.plot(numbers)
    record = {
        "experiment": name,
        "title": experiment.TITLE,
        "settings": dataclasses.asdict(settings)
        | {"iterations": settings.iterations or experiment.ITERATIONS}
        | options,
        "backend": str(backend),
        "seconds": round(seconds, 3),
        "numbers": _finite(numbers),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return numbers, [*save_figure(figure, folder, name), path]


def _finite(value: Any) -> Any:
    """The value as strict JSON has it: null for a number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
