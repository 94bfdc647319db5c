"""What the tutorial says of a figure, in a form that can come out false."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlskills.experiments.text import Text

ENOUGH = 3
"""Runs, each of a seed of its own, from which on the median settles a claim."""


def together(scores: Sequence[float]) -> float:
    """One standard score of several: their sum over the root of their number.

    Stouffer et al. (1949), "The American soldier", volume 1. Of independent scores with mean 0 and
    standard deviation 1 it has these, too; what they have in common adds up.
    """
    return sum(scores) / math.sqrt(len(scores))


@dataclass(frozen=True)
class Check:
    """One number of a run, and the range in which the claim has it.

    Attributes
    ----------
    what : Text
        What the number is, such as "steps at which y changes its sign".
    measure : callable
        Gives it from a run's numbers. NaN, which fails the check, where they have it not: a run
        may be told to leave out a method, or to stop early.
    at_least, at_most : float
        The range.
    form : str, default ".3g"
        How the number is written: a format specification of Python.
    combine : callable, default statistics.median
        Makes one number of those of all runs.
    """

    what: Text
    measure: Callable[[dict[str, Any]], float]
    at_least: float = -math.inf
    at_most: float = math.inf
    form: str = ".3g"
    combine: Callable[[Sequence[float]], float] = statistics.median

    @property
    def bounds(self) -> str:
        """The range in signs: "≥ 4", "≤ 0.05" or "0.85 … 1.15"."""
        low, high = (format(bound, self.form) for bound in (self.at_least, self.at_most))
        if self.at_least == self.at_most:
            return f"= {low}"
        if low == high:  # a little more or less than what is written
            return f"≈ {low}"
        if self.at_most == math.inf:
            return f"≥ {low}"
        return f"≤ {high}" if self.at_least == -math.inf else f"{low} … {high}"


@dataclass(frozen=True)
class Claim:
    """A sentence of the tutorial and what must be measured for it to hold.

    Attributes
    ----------
    says : Text
        What the tutorial says, in our words.
    checks : tuple of Check
        All of them must hold.
    remark : Text, optional
        What a reader should know of it, whether it holds or not.
    """

    says: Text
    checks: tuple[Check, ...]
    remark: Text | None = None


@dataclass(frozen=True)
class Measured:
    """A check, and what came out: one value a run, and the number that they were judged by."""

    check: Check
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The values combined; NaN if one of them is."""
        return math.nan if any(map(math.isnan, self.values)) else self.check.combine(self.values)

    @property
    def holds(self) -> bool:
        """Whether that is in the range; NaN is not."""
        return self.check.at_least <= self.value <= self.check.at_most

    def __str__(self) -> str:
        form = self.check.form
        if math.isnan(self.value):
            return "no number"
        text = format(self.value, form)
        if len(self.values) > 1 and min(self.values) != max(self.values):
            how = self.check.combine.__name__
            text += f", {how.replace('_', ' ')} of" if how != "median" else ""
            text += f" ({min(self.values):{form}} … {max(self.values):{form}})"
        return text


@dataclass(frozen=True)
class Verdict:
    """A claim, and what was measured for it."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def confirmed(self) -> bool:
        """Whether all checks hold."""
        return all(measured.holds for measured in self.measured)

    @property
    def word(self) -> str:
        """``"confirmed"``, ``"not confirmed"``; ``"not judged"`` if a missing number decides."""
        there = [measured for measured in self.measured if not math.isnan(measured.value)]
        if not all(measured.holds for measured in there):
            return "not confirmed"
        return "confirmed" if len(there) == len(self.measured) else "not judged"


def judge(claims: Sequence[Claim], runs: Sequence[dict[str, Any]]) -> list[Verdict]:
    """Hold claims against the numbers of one or more runs, which differ in their seeds."""
    return [
        Verdict(
            claim,
            tuple(
                Measured(check, tuple(_measure(check, numbers) for numbers in runs))
                for check in claim.checks
            ),
        )
        for claim in claims
    ]


def _measure(check: Check, numbers: dict[str, Any]) -> float:
    try:
        return float(check.measure(numbers))
    except (LookupError, ArithmeticError, ValueError):  # of a method or a step that is not there
        return math.nan
