"""Claims: whose sentence it is, and what must be measured for it to hold."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dlskills.checks import check_choice
from dlskills.experiments.text import Text, Texts, as_text

ENOUGH = 3
"""Minimum number of seeds for a verdict."""

KINDS = ("tutorial", "book", "literature", "ours")
"""Whose claims there are, in the order in which they are counted and shown."""


def together(scores: Sequence[float]) -> float:
    """Combine several standard scores into one: their sum over the root of their number.

    Stouffer et al. (1949), "The American soldier", volume 1. If the scores are independent with
    mean 0 and standard deviation 1, the result has the same; a deviation that they share adds up.
    """
    return sum(scores) / math.sqrt(len(scores))


@dataclass(frozen=True)
class Source:
    """Whose sentence a claim is.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    where : Text, optional
        The tutorial's section, or the publication.
    """

    kind: str
    where: Text | None = None

    def __post_init__(self) -> None:
        check_choice("the source of a claim", self.kind, KINDS)


OURS = Source("ours")
BOOK = Source("book", Texts("sources")("book"))


def tutorial(section: str) -> Source:
    """Return a section of the tutorial as a source, by its key in ``texts/sources.toml``."""
    return Source("tutorial", Texts("sources")(f"tutorial.{section}"))


def literature(publication: str) -> Source:
    """Return a publication as a source, by its key in ``texts/sources.toml``."""
    return Source("literature", Texts("sources")(f"literature.{publication}"))


@dataclass(frozen=True)
class Check:
    """A number measured on a run, and the range in which the claim expects it.

    Attributes
    ----------
    what : Text or str
        What the number is, such as "steps at which y changes its sign".
    measure : callable
        Returns it from a run's numbers. NaN fails the check, and so does a lookup or an
        arithmetic error: a run may have been told to leave out a method or to stop early.
    at_least, at_most : float
        The range.
    form : str, default ".3g"
        Format specification of the number.
    combine : callable, default statistics.median
        Reduces the numbers of all runs to one.
    bound : Text or str, default "ours"
        Where the range comes from; a string is a key in ``texts/bounds.toml`` if it has one.
    """

    what: Text | str
    measure: Callable[[dict[str, Any]], float]
    at_least: float = -math.inf
    at_most: float = math.inf
    form: str = ".3g"
    combine: Callable[[Sequence[float]], float] = statistics.median
    bound: Text | str = "ours"

    def __post_init__(self) -> None:
        if isinstance(self.bound, str):
            bounds = Texts("bounds")
            found = bounds(self.bound) if self.bound in bounds else as_text(self.bound)
            object.__setattr__(self, "bound", found)

    @property
    def bounds(self) -> str:
        """The range in signs: "≥ 4", "≤ 0.05" or "0.85 … 1.15"."""
        low, high = (format(bound, self.form) for bound in (self.at_least, self.at_most))
        if self.at_least == self.at_most:
            return f"= {low}"
        if low == high:  # too narrow for the format
            return f"≈ {low}"
        if self.at_most == math.inf:
            return f"≥ {low}"
        return f"≤ {high}" if self.at_least == -math.inf else f"{low} … {high}"


@dataclass(frozen=True)
class Claim:
    """A sentence, whose it is, and what must be measured for it to hold.

    Attributes
    ----------
    says : Text or str
        A short, faithful paraphrase.
    checks : sequence of Check
        All of them must hold.
    source : Source, default OURS
    remark : Text or str, optional
        What a reader should know about it, whether it holds or not.
    """

    says: Text | str
    checks: Sequence[Check]
    source: Source = OURS
    remark: Text | str | None = None


def claim(texts: Texts, key: str, source: Source, *checks: Check) -> Claim:
    """Make a claim of the catalogue's entry ``claims.KEY``.

    Parameters
    ----------
    texts : Texts
        Has ``says``, maybe ``remark``, and ``NAME.what`` for each check whose `what` is a NAME.
    key : str
    source : Source
    *checks : Check
    """
    prefix = f"claims.{key}"
    named = [
        dataclasses.replace(check, what=texts(f"{prefix}.{check.what}.what"))
        if isinstance(check.what, str)
        else check
        for check in checks
    ]
    remark = texts(f"{prefix}.remark") if f"{prefix}.remark" in texts else None
    return Claim(texts(f"{prefix}.says"), tuple(named), source, remark)


@dataclass(frozen=True)
class Measured:
    """A check, and its value for each run."""

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
    """A claim, and what was measured for it; nothing if the runs are not suited to judge it."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def confirmed(self) -> bool:
        """Whether all checks hold."""
        return self.word == "confirmed"

    @property
    def word(self) -> str:
        """``"confirmed"``, ``"not confirmed"``; ``"not judged"`` if a missing number decides."""
        if not self.measured:
            return "not judged"
        there = [measured for measured in self.measured if not math.isnan(measured.value)]
        if not all(measured.holds for measured in there):
            return "not confirmed"
        return "confirmed" if len(there) == len(self.measured) else "not judged"


def judge(claims: Sequence[Claim], runs: Sequence[dict[str, Any]]) -> list[Verdict]:
    """Judge claims by the numbers of one or more runs, which differ in their seeds."""
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
    except (LookupError, ArithmeticError, ValueError):  # a method or step was left out
        return math.nan
