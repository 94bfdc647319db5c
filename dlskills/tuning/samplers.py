"""How the hyperparameters of a trial are chosen, and which trials are given up early.

Imports Optuna: only a search that has found it imports this module.
"""

from __future__ import annotations

from typing import Any

from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, TPESampler

from dlskills.arrays.random import stream
from dlskills.experiments.hyperparameters import log_uniform, share
from dlskills.tuning.places import place_of


class PlacedSampler(BaseSampler):  # type: ignore[misc]  # Optuna is not followed
    """Random search in which a trial's values depend on the seed and its place alone.

    Which process runs a trial, and when, changes nothing; nor does an interruption.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, distribution: Any) -> Any:
        """A value evenly from the range, or from its logarithm's."""
        part = share(self._seed, place_of(trial), param_name)
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


def make_sampler(name: str, seed: int, place: int) -> BaseSampler:
    """A sampler for the trial at a place of the search.

    TPE is made anew for each trial, so that an interrupted search goes on as if it had not been.
    """
    if name == "random":
        return PlacedSampler(seed)
    return TPESampler(seed=int(stream(seed, "sampler", place).integers(2**32)), constant_liar=True)


def make_pruner(name: str) -> BasePruner:
    """With ``"median"``, a trial below the median of the others at its epoch is given up.

    From the 11th trial and the 11th epoch on: before, there is too little to go by.
    """
    return MedianPruner(n_startup_trials=10, n_warmup_steps=10) if name == "median" else NopPruner()
