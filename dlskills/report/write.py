"""Gathers what the report shows, and writes the page."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dlskills
from dlskills.experiments import EXPERIMENTS
from dlskills.experiments.claims import ENOUGH, Measured, Verdict, judge
from dlskills.experiments.results import QUICK
from dlskills.experiments.runner import Record
from dlskills.experiments.text import Text
from dlskills.plotting import mark
from dlskills.report.figures import grey_variables, inline_svg
from dlskills.report.words import WORDS, column
from dlskills.training.progress import Progress

LANGUAGES = {"en": ("en", "English"), "zh": ("zh-Hans", "中文")}
"""For each field of a Text the language's tag, and its name in itself."""


@dataclass(frozen=True)
class Picture:
    """A figure, and what it shows in words."""

    id: str
    svg: str
    alt: Text


@dataclass(frozen=True)
class Section:
    """What the page shows of one experiment."""

    name: str
    title: Text
    about: Text
    pictures: list[Picture]
    columns: list[tuple[Text, str]]
    rows: list[list[str]]
    verdicts: list[Verdict]
    seed: int | None
    few: bool
    facts: list[tuple[Text, Text]]


def write_report(
    records: Mapping[str, Sequence[Record]],
    path: Path,
    *,
    languages: Sequence[str] = tuple(LANGUAGES),
    verbose: bool = False,
) -> list[Verdict]:
    """Write one HTML page that needs nothing beside it: no network, no other file.

    Parameters
    ----------
    records : mapping of str to sequence of Record
        Of :func:`dlskills.experiments.run`: for each experiment a record a seed. The figures and
        tables are those of the first. The page has them in this order.
    path : pathlib.Path
        The same records always give the same file.
    languages : sequence of str, default ("en", "zh")
        Of the page; the first is shown where the reader has chosen none.
    verbose : bool, default False
        Whether to show progress.

    Returns
    -------
    list of Verdict
        On all claims.
    """
    with Progress(len(records), "report", show=verbose) as progress:
        sections = []
        for name, runs in records.items():
            progress.note(f"drawing {name}")
            sections.append(_section(name, runs))
            progress.advance()
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    page = _environment(languages).get_template("report.html").render(
        languages=[LANGUAGES[language] for language in languages],
        sections=sections,
        quick=any(record.quick for runs in records.values() for record in runs),
        score=_filled(
            WORDS["score"], confirmed=sum(v.confirmed for v in verdicts), all=len(verdicts)
        ),
        few=_filled(WORDS["few"], enough=ENOUGH),
        greys=grey_variables(picture.svg for section in sections for picture in section.pictures),
        versions=_versions(),
    )  # fmt: skip
    path.write_text(page, encoding="utf-8")
    return verdicts


def _section(name: str, runs: Sequence[Record]) -> Section:
    experiment, first = EXPERIMENTS[name], runs[0]
    pictures = []
    for number, (file, figure) in enumerate(experiment.plot(first.numbers).items(), 1):
        alternative = experiment.ALT[file]
        if first.quick:
            mark(figure, QUICK)
            # a figure's text knows what a full run shows
            alternative = Text(
                WORDS["of a full run"].en.format(alternative=alternative.en),
                WORDS["of a full run"].zh.format(alternative=alternative.zh),
            )
        label = f"{name}-figure-{number}"
        attributes = {"role": "img", "aria-labelledby": f"{label}-text", "id": label}
        pictures.append(Picture(label, inline_svg(figure, label, attributes), alternative))
    columns, rows = experiment.table(first.numbers)
    return Section(
        name=name,
        title=experiment.TITLE,
        about=experiment.ABOUT,
        pictures=pictures,
        columns=[
            (column(heading), _alignment([row[place] for row in rows]))
            for place, heading in enumerate(columns)
        ],
        rows=rows,
        verdicts=judge(experiment.CLAIMS, [record.numbers for record in runs]),
        seed=first.settings.seed if experiment.RANDOM else None,
        few=experiment.RANDOM and len(runs) < ENOUGH,
        facts=_facts(runs, random=experiment.RANDOM),
    )


def _alignment(cells: Sequence[str]) -> str:
    """Numbers stand in line at their right, words at their left."""
    return "right" if all(re.search(r"\d|nan", cell[:3]) for cell in cells) else "left"


def _facts(runs: Sequence[Record], *, random: bool) -> list[tuple[Text, Text]]:
    """How the runs were made: labels and values."""
    first = runs[0]
    seeds = _same(", ".join(str(record.settings.seed) for record in runs))
    options = ", ".join(
        f"{option} = {json.dumps(value, ensure_ascii=False)}"
        for option, value in first.options.items()
    )
    return [
        (WORDS["seeds"], seeds if random else WORDS["not random"]),
        (WORDS["options"], _same(options) if options else WORDS["none"]),
        (WORDS["data"], _same(first.settings.subset)),
        (WORDS["backend"], _same(first.backend)),
        (WORDS["engine"], _same(first.engine)),
        (WORDS["time"], _same(f"{sum(record.seconds for record in runs):.1f} s")),
    ]


def _environment(languages: Sequence[str]) -> Any:
    import jinja2
    from markupsafe import Markup

    span = Markup('<span class="t" lang="{}">{}</span>')

    def say(text: Text | str) -> str:
        """A text in each of the page's languages, of which the style shows one."""
        if isinstance(text, str):
            text = WORDS[text]
        said = [(LANGUAGES[language][0], getattr(text, language)) for language in languages]
        # what is the same in all of them is in none of them: numbers, names
        if len({words for _, words in said}) == 1:
            return str(said[0][1])
        return Markup("").join(span.format(tag, words) for tag, words in said)

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dlskills.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"say": say, "first_words": lambda text: getattr(text, languages[0])}
    environment.globals |= {"WORDS": WORDS, "value": _value, "spread": _spread, "how": _how}
    return environment


def _value(measured: Measured) -> Text:
    if math.isnan(measured.value):
        return WORDS["no number"]
    return _same(format(measured.value, measured.check.form))


def _spread(measured: Measured) -> str:
    """The lowest and the highest of several values."""
    if len(measured.values) == 1 or any(map(math.isnan, measured.values)):
        return "–"
    form = measured.check.form
    return f"{min(measured.values):{form}} … {max(measured.values):{form}}"


def _how(measured: Measured) -> Text | None:
    """What was made of the values, if not their median."""
    name = measured.check.combine.__name__
    if len(measured.values) == 1 or name == "median":
        return None
    return WORDS.get(name, _same(name))


def _versions() -> str:
    import numpy as np

    return (
        f"dlskills {dlskills.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}"
    )


def _same(words: str) -> Text:
    return Text(words, words)


def _filled(text: Text, **values: int) -> Text:
    return Text(text.en.format(**values), text.zh.format(**values))
