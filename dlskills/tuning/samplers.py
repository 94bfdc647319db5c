"""Samplers, which choose hyperparameters, and pruners, which stop trials early.

This module imports Optuna, so it is only imported once a search has found it.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler

from dlskills.arrays.random import stream
from dlskills.experiments.hyperparameters import log_uniform, share
from dlskills.tuning.grid import Grid
from dlskills.tuning.indices import index_of


class IndexedSampler(BaseSampler):  # type: ignore[misc]  # Optuna is untyped here
    """Random search whose values depend only on the seed and the trial index.

    They are independent of the process that runs a trial, of the order, and of interruptions.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, distribution: Any) -> Any:
        """Draw a value uniformly from the range, or log-uniformly."""
        part = share(self._seed, index_of(trial), param_name)
        if isinstance(distribution, FloatDistribution | IntDistribution):
            return _within(distribution, part)
        return distribution.choices[int(part * len(distribution.choices))]


def _within(distribution: Any, part: float) -> float | int:
    low, high = distribution.low, distribution.high
    whole = isinstance(distribution, IntDistribution)
    step = distribution.step
    if distribution.log:
        if not whole:
            return log_uniform(part, low, high)
        return int(min(log_uniform(part, low, high + 1), high))
    if step is None:
        return float(low + part * (high - low))
    chosen = low + step * int(part * (round((high - low) / step) + 1))
    return int(chosen) if whole else float(chosen)


class GridPointSampler(BaseSampler):  # type: ignore[misc]  # Optuna is untyped here
    """The point of a grid with a trial's index; the last hyperparameter varies fastest."""

    def __init__(self, grid: Grid, index: int) -> None:
        self._point: dict[str, Any] = {}
        for name, values in reversed(grid.items()):
            index, position = divmod(index, len(values))
            self._point[name] = values[position]

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, distribution: Any) -> Any:
        """Return the value of the grid.

        Raises
        ------
        ValueError
            The grid has none, or one outside of the range that the objective asks for.
        """
        if param_name not in self._point:
            raise ValueError(
                f"grid must have values of {param_name!r}, for which the objective asks, got "
                f"{', '.join(map(repr, self._point))}"
            )
        value = self._point[param_name]
        try:
            allowed = distribution._contains(distribution.to_internal_repr(value))
        except (TypeError, ValueError):  # of another kind
            allowed = False
        if not allowed:
            raise ValueError(
                f"grid[{param_name!r}] must be within {distribution}, for which the objective "
                f"asks, got {value!r}"
            )
        return value


def make_sampler(name: str, seed: int, index: int, grid: Grid | None = None) -> BaseSampler:
    """Create the sampler for one trial index.

    TPE is recreated for each trial, so that an interrupted search continues identically.
    """
    if grid is not None:
        return GridPointSampler(grid, index)
    if name == "random":
        return IndexedSampler(seed)
    return TPESampler(seed=int(stream(seed, "sampler", index).integers(2**32)), constant_liar=True)


def make_pruner(name: str) -> BasePruner:
    """Create a pruner; ``"median"`` stops trials below the median of the others at a step.

    It starts at the 11th trial and the 11th step, as earlier medians are unreliable.
    """
    return MedianPruner(n_startup_trials=10, n_warmup_steps=10) if name == "median" else NopPruner()
