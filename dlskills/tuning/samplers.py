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


def make_sampler(name: str, seed: int, index: int) -> BaseSampler:
    """Create the sampler for one trial index.

    TPE is recreated for each trial, so that an interrupted search continues identically.
    """
    if name == "random":
        return IndexedSampler(seed)
    return TPESampler(seed=int(stream(seed, "sampler", index).integers(2**32)), constant_liar=True)


def make_pruner(name: str) -> BasePruner:
    """Create a pruner; ``"median"`` stops trials below the median of the others at a step.

    It starts at the 11th trial and the 11th step, as earlier medians are unreliable.
    """
    return MedianPruner(n_startup_trials=10, n_warmup_steps=10) if name == "median" else NopPruner()
