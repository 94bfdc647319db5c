"""What comes out of an experiment: the records of its runs, and how notebooks show them."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlskills.checks import check_choice
from dlskills.experiments.choices import plain
from dlskills.experiments.claims import Verdict, judge
from dlskills.experiments.experiment import Experiment
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.text import LANGUAGES, Texts, language
from dlskills.html_table import html_table
from dlskills.plotting import Figures, Look, chinese_fonts, looking, mark, unwarned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUICK = Texts("labels")("quick")


@dataclass(frozen=True)
class Record:
    """One run of an experiment: its settings, where it ran, and its numbers.

    Attributes
    ----------
    experiment : str
    settings : Settings
    options : dict
        All keyword arguments of the experiment's ``run``, as JSON can hold them: an object is
        described by its settings and a digest of its source code.
    quick : bool
        Whether the run was shortened, so that its numbers prove nothing.
    backend, engine : str
        Where the arrays were, and the engine of updates of large arrays.
    seconds : float
        Of work, summed over processes.
    numbers : dict
    """

    experiment: str
    settings: Settings
    options: dict[str, Any]
    quick: bool
    backend: str
    engine: str
    seconds: float
    numbers: Numbers


def changed_options(record: Record, experiment: Experiment) -> list[str]:
    """Return the options that differ from the tutorial's, so that no claim can be judged."""
    defaults = plain(experiment.defaults)
    if record.quick:
        defaults |= plain(dict(experiment.quick))
    return [name for name, value in record.options.items() if value != defaults[name]]


def judged(experiment: Experiment, records: Sequence[Record]) -> list[Verdict]:
    """Judge an experiment's claims by runs; without the tutorial's settings none is judged."""
    if changed_options(records[0], experiment):
        return [Verdict(claim, ()) for claim in experiment.claims]
    return judge(experiment.claims, [record.numbers for record in records])


def drawn(experiment: Experiment, records: Sequence[Record]) -> dict[str, Figure]:
    """Return the figures of runs, in the current look and language; of quick runs, they say so."""
    figures = experiment.figures([record.numbers for record in records])
    if records[0].quick:
        for figure in figures.values():
            mark(figure, str(QUICK))
    return figures


class Outcome(list[Record]):
    """The records of one experiment, one per seed.

    A notebook shows its figures, its table and, at the tutorial's settings, the verdicts on its
    claims; :meth:`show` does so in Chinese, too.

    Parameters
    ----------
    experiment : Experiment
    records : iterable of Record

    Examples
    --------
    >>> from dlskills.experiments import run
    >>> paths = run(["optimizer-paths"])["optimizer-paths"]
    >>> paths[0].numbers["paths"]["SGD"][0]
    [-7.0, 2.0]
    """

    def __init__(self, experiment: Experiment, records: Iterable[Record]) -> None:
        super().__init__(records)
        self.experiment = experiment

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdict on each claim."""
        return judged(self.experiment, self)

    def show(self, lang: str = "en") -> Shown:
        """Return figures, table and verdicts for a notebook.

        Parameters
        ----------
        lang : str, default "en"
            ``"en"`` or ``"zh"``.
        """
        check_choice("lang", lang, LANGUAGES)
        return Shown(self, lang)

    def figures(self, lang: str = "en") -> Figures:
        """Return the figures by name, which a notebook shows one below the other."""
        check_choice("lang", lang, LANGUAGES)
        with _as_in(lang):
            return Figures(drawn(self.experiment, self))

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()

    def __repr__(self) -> str:
        return f"<Outcome of {self.experiment.name}: {len(self)} run(s)>"


@dataclass(frozen=True)
class Shown:
    """An outcome in one language, for a notebook."""

    outcome: Outcome
    lang: str

    def _repr_html_(self) -> str:
        with _as_in(self.lang):
            experiment = self.outcome.experiment
            parts = [f"<h4>{html.escape(str(experiment.title))}</h4>"]
            parts.append(self.outcome.figures(self.lang)._repr_html_())
            table = experiment.tabulated([record.numbers for record in self.outcome])
            if table is not None:
                parts.append(html_table(*table.shown()))
            parts.append(_verdicts(self.outcome))
        return "\n".join(filter(None, parts))


def _verdicts(outcome: Outcome) -> str:
    """Return the verdicts as a table; nothing where the runs are not suited to judge."""
    if outcome[0].quick or changed_options(outcome[0], outcome.experiment):
        return ""
    words = Texts("report")
    rows = [
        [
            str(verdict.claim.says),
            "\n".join(measured.check.bounds for measured in verdict.measured),
            "\n".join(str(measured) for measured in verdict.measured),
            str(words(verdict.word)),
        ]
        for verdict in outcome.verdicts
    ]
    headings = [str(words(name)) for name in ("claim", "expected", "measured", "verdict")]
    return html_table(headings, rows) if rows else ""


@contextlib.contextmanager
def _as_in(lang: str) -> Iterator[None]:
    """Draw and write in a language."""
    look = Look(dpi=100, formats=("png",), fonts=chinese_fonts() if lang == "zh" else ())
    with looking(look), language(lang), unwarned():
        yield
