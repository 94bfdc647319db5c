"""What an experiment is, and the registry of those that are known."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_choice, suggestion
from dlskills.experiments.claims import Claim
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.tables import Table, over_runs
from dlskills.experiments.text import Text, as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "engine")


@dataclass(frozen=True)
class Option:
    """A keyword argument of an experiment's ``run`` that its command offers.

    Attributes
    ----------
    help : str
    parse : callable, optional
        Checks a value, given as text or as an object, before any work, and returns what ``run``
        gets: plain values that JSON can hold, or objects such as an optimizer.
    flag : str, optional
        Name on the command line, if not that of the keyword argument.
    """

    help: str
    parse: Callable[[Any], Any] | None = None
    flag: str | None = None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """An experiment: how it is run, drawn, tabulated and judged.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and hyphens.
    run : callable
        ``run(settings, *, option=default, ...)`` returns the numbers of one seed, a dict that
        JSON can hold. Defaults are those of a whole run, in the tutorial's settings.
    title, about : str or Text
        What it shows, and how; a plain str is shown in both languages.
    plot : callable, optional
        ``plot(runs)`` takes a list of numbers, one per seed, and returns figures by name. They
        should be drawn with :func:`dlskills.plotting.new_figure` under
        :func:`dlskills.plotting.styled`.
    table : callable, optional
        ``table(numbers)`` returns headings and rows for one run, see
        :class:`~dlskills.experiments.tables.Table`. Over several seeds, cells that are a
        :class:`~dlskills.experiments.tables.Number` become mean and standard deviation.
    claims : sequence of Claim, optional
    alt : mapping of str to str or Text, optional
        Each figure in words.
    options : mapping of str to str or Option, optional
        The keyword arguments of `run` that the command offers, with their help.
    quick : mapping, optional
        Values of options that shorten a run, for ``--quick``.
    random : bool, default True
        Whether the seed matters.
    uses : sequence of str, default ("data", "engine")
        Which of MNIST (``"data"``) and the engine of updates (``"engine"``) play a part.
    split : str, optional
        An option that is a list. Running each item alone and joining the dicts must give the same
        numbers; parallel processes then share the items.
    finish : callable, optional
        ``finish(settings, numbers)`` adds what only the joined numbers allow.
    file : pathlib.Path, optional
        The Python file that defines it, for those outside the package.
    long : bool, default False
        Whether a run takes many minutes, so that a report includes it only when asked to.

    Raises
    ------
    TypeError, ValueError
        A part is missing or does not fit; the message says which and what is expected.
    """

    name: str
    run: Callable[..., Numbers]
    title: str | Text
    about: str | Text = ""
    plot: Callable[[list[Numbers]], dict[str, Figure]] | None = None
    table: Callable[[Numbers], Any] | None = None
    claims: Sequence[Claim] = ()
    alt: Mapping[str, str | Text] = field(default_factory=dict)
    options: Mapping[str, str | Option] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    random: bool = True
    uses: Sequence[str] = USES
    split: str | None = None
    finish: Callable[[Settings, Numbers], Numbers] | None = None
    file: Path | None = None
    long: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(
                "the name of an experiment must be lower-case letters, digits and hyphens, got "
                f"{self.name!r}"
            )
        for part in ("title", "about"):
            value = getattr(self, part)
            if not isinstance(value, str | Text):
                raise TypeError(f"{self.name}: {part} must be a str or a Text, got {value!r}")
            object.__setattr__(self, part, as_text(value))
        for part in ("run", "plot", "table", "finish"):
            value = getattr(self, part)
            if not callable(value) and (part == "run" or value is not None):
                raise TypeError(f"{self.name}: {part} must be a function, got {value!r}")
        self._check_options()
        for claim in self.claims:
            if not isinstance(claim, Claim):
                raise TypeError(f"{self.name}: claims must be of type Claim, got {claim!r}")
        for use in self.uses:
            check_choice(f"{self.name}: uses", use, USES)

    def _check_options(self) -> None:
        parameters = list(inspect.signature(self.run).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):  # fmt: skip
            raise TypeError(f"{self.name}: run must take the settings first: run(settings)")
        for parameter in parameters[1:]:
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or (
                parameter.default is inspect.Parameter.empty
            ):
                raise TypeError(
                    f"{self.name}: {parameter.name!r} of run must be a keyword argument with a "
                    f"default: run(settings, *, {parameter.name}=...)"
                )
        defaults = self.defaults
        given = [*self.options, *self.quick, *([self.split] if self.split else [])]
        for name in given:
            if name not in defaults:
                raise ValueError(
                    f"{self.name}: run has no keyword argument {name!r}"
                    f"{suggestion(name, defaults)}; it has: {', '.join(defaults) or 'none'}"
                )
        for name, value in (defaults | dict(self.quick)).items():
            try:
                json.dumps(value)
            except TypeError:
                raise TypeError(
                    f"{self.name}: the value of {name!r} must be one that JSON can hold, got "
                    f"{value!r}"
                ) from None

    def __reduce_ex__(self, protocol: Any) -> Any:
        # By name, as Python pickles functions: claims hold lambdas, which can't be pickled.
        if registered(self.name) is self:
            return find, (self.name,)
        return super().__reduce_ex__(protocol)

    @property
    def defaults(self) -> dict[str, Any]:
        """The keyword arguments of `run`, whose defaults are the tutorial's settings."""
        parameters = list(inspect.signature(self.run).parameters.values())
        return {parameter.name: parameter.default for parameter in parameters[1:]}

    def option(self, name: str) -> Option | None:
        """Return an option that the command offers; None for the others."""
        found = self.options.get(name)
        return Option(found) if isinstance(found, str) else found

    def figures(self, runs: Sequence[Numbers]) -> dict[str, Figure]:
        """Return the figures of several runs, which differ in their seeds."""
        return self.plot(list(runs)) if self.plot else {}

    def tabulated(self, runs: Sequence[Numbers]) -> Table | None:
        """Return the table of several runs; None if the experiment has none."""
        if self.table is None:
            return None
        return over_runs([Table(*self.table(numbers)) for numbers in runs])

    def words_for(self, figure: str) -> Text:
        """Return a figure in words."""
        return as_text(self.alt.get(figure, self.title))


EXPERIMENTS: dict[str, Experiment] = {}
"""The tutorial's experiments by name, in its order."""

BEYOND: dict[str, Experiment] = {}
"""Experiments on the claims of papers, by name: ``dlskills report --beyond`` includes them."""


def register(experiment: Experiment, *, beyond: bool = False) -> Experiment:
    """Add an experiment to those that ``dlskills run`` and ``dlskills report`` know.

    Parameters
    ----------
    experiment : Experiment
    beyond : bool, default False
        Whether it goes beyond the tutorial.

    Raises
    ------
    ValueError
        Another one has its name.
    """
    known = registered(experiment.name)
    if known is not None and known is not experiment:
        raise ValueError(f"an experiment named {experiment.name!r} is registered already")
    (BEYOND if beyond else EXPERIMENTS)[experiment.name] = experiment
    return experiment


def registered(name: str) -> Experiment | None:
    """Return the registered experiment of this name; None if there is none."""
    return EXPERIMENTS.get(name) or BEYOND.get(name)


def find(name: str | Experiment) -> Experiment:
    """Return an experiment by its name, or itself.

    Raises
    ------
    ValueError
        None has this name; the message has the nearest.
    """
    if isinstance(name, Experiment):
        return name
    known = EXPERIMENTS | BEYOND
    return known[check_choice("experiment", name, known)]
