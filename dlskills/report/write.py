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
from dlskills.files import expanded, write_file
from dlskills.plotting import mark
from dlskills.report.chinese import both, with_names
from dlskills.report.figures import grey_variables, inline_svg, say_texts
from dlskills.report.words import WORDS
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
    rows: list[list[Text]]
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
            sections.append(_section(name, runs, languages))
            progress.advance()
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    page = _environment(languages).get_template("report.html").render(
        languages=[LANGUAGES[language] for language in languages],
        sections=sections,
        quick=any(record.quick for runs in records.values() for record in runs),
        score=_score(verdicts),
        few=_filled(WORDS["few"], enough=ENOUGH),
        greys=grey_variables(picture.svg for section in sections for picture in section.pictures),
        versions=_versions(),
    )  # fmt: skip
    write_file(expanded(path), page)
    return verdicts


def _section(name: str, runs: Sequence[Record], languages: Sequence[str]) -> Section:
    experiment, first = EXPERIMENTS[name], runs[0]

    def say_svg(words: str) -> str:
        return str(_say(both(words), languages, "tspan"))  # Markup would escape what it is added to

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
        svg = say_texts(inline_svg(figure, label, attributes), say_svg)
        pictures.append(Picture(label, svg, alternative))
    columns, rows = experiment.table(first.numbers)
    return Section(
        name=name,
        title=experiment.TITLE,
        about=experiment.ABOUT,
        pictures=pictures,
        columns=[
            (both(heading), _alignment([row[place] for row in rows]))
            for place, heading in enumerate(columns)
        ],
        rows=[list(map(both, row)) for row in rows],
        verdicts=judge(experiment.CLAIMS, [record.numbers for record in runs]),
        seed=first.settings.seed if experiment.RANDOM else None,
        few=experiment.RANDOM and len(runs) < ENOUGH,
        facts=_facts(runs, experiment),
    )


def _alignment(cells: Sequence[str]) -> str:
    """Numbers stand in line at their right, words at their left."""
    cells = [cell for cell in cells if not cell.startswith("diverged")]  # in place of a number
    return "right" if cells and all(re.search(r"\d|nan", cell[:3]) for cell in cells) else "left"


def _facts(runs: Sequence[Record], experiment: Any) -> list[tuple[Text, Text]]:
    """How the runs were made: labels and values."""
    first, none = runs[0], WORDS["none"]
    seeds = _same(", ".join(str(record.settings.seed) for record in runs))
    options = {option: _option(value) for option, value in first.options.items()}
    told = Text(*(
        ", ".join(f"{option} = {getattr(value, language)}" for option, value in options.items())
        for language in Text._fields
    ))  # fmt: skip
    used = getattr(experiment, "USES", ("data", "engine"))
    return [
        (WORDS["seeds"], seeds if experiment.RANDOM else WORDS["not random"]),
        (WORDS["options"], told if options else none),
        (WORDS["data"], both(first.settings.subset) if "data" in used else none),
        (WORDS["backend"], _same(first.backend)),
        (WORDS["engine"], _same(first.engine) if "engine" in used else none),
        (WORDS["time"], _same(f"{sum(record.seconds for record in runs):.1f} s")),
    ]


def _option(value: Any) -> Text:
    """An option's value, of many the first and the last."""
    values = _flat(value)
    if len(values) <= 8:
        return _same(json.dumps(value, ensure_ascii=False))
    first, last = (
        f"{item:.3g}" if isinstance(item, float) else json.dumps(item, ensure_ascii=False)
        for item in (values[0], values[-1])
    )
    return _filled(WORDS["many"], count=len(values), first=first, last=last)


def _flat(value: Any) -> list[Any]:
    return [item for part in value for item in _flat(part)] if isinstance(value, list) else [value]


def _score(verdicts: Sequence[Verdict]) -> Text:
    words = [verdict.word for verdict in verdicts]
    score = _filled(WORDS["score"], confirmed=words.count("confirmed"), all=len(words))
    if "not judged" not in words:
        return score
    more = _filled(WORDS["unjudged"], count=words.count("not judged"))
    return Text(score.en + more.en, score.zh + more.zh)


def _say(text: Text, languages: Sequence[str], element: str = "span") -> str:
    """A text in each of the page's languages, of which the style shows one."""
    from markupsafe import Markup, escape

    said = [
        (LANGUAGES[language][0], getattr(text, language).replace(" %", "\N{NO-BREAK SPACE}%"))
        for language in languages
    ]
    # what is the same in all of them is in none of them: numbers, names
    if len({words for _, words in said}) == 1:
        return escape(said[0][1])
    # only the name of the element goes in as it is, which our own templates give
    span = Markup(f'<{element} class="t" lang="{{}}">{{}}</{element}>')  # noqa: S704
    return Markup("").join(span.format(tag, words) for tag, words in said)


def _environment(languages: Sequence[str]) -> Any:
    import jinja2

    def say(text: Text | str) -> str:
        return _say(WORDS[text] if isinstance(text, str) else with_names(text), languages)

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


def _filled(text: Text, **values: object) -> Text:
    return Text(text.en.format(**values), text.zh.format(**values))
