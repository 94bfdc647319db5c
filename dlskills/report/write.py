"""Gathers what the report shows, and writes the page."""

from __future__ import annotations

import concurrent.futures
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlskills.experiments.claims import ENOUGH, Measured, Verdict
from dlskills.experiments.experiment import Experiment, find, registered
from dlskills.experiments.outcome import Record, changed_options, drawn, judged
from dlskills.experiments.text import Text, as_text, in_each_language, language
from dlskills.experiments.workers import pool
from dlskills.files import expanded, write_file
from dlskills.plotting import Look, chinese_fonts, curves_as_csv, looking
from dlskills.report.figures import colour_variables, inline_svg, lines_in_both, say_texts
from dlskills.report.templates import LANGUAGES, environment, say
from dlskills.report.words import WORDS, score_by_source, source_words
from dlskills.training.progress import Progress


@dataclass(frozen=True)
class Picture:
    """A figure, wide and narrow, what it shows in words, and its curves as CSV if asked for."""

    id: str
    file: str
    svgs: list[str]
    alt: Text
    curves: str | None


@dataclass(frozen=True)
class Section:
    """What the page shows of one experiment."""

    name: str
    title: Text
    about: Text
    pictures: list[Picture]
    columns: list[tuple[Text, str]]
    rows: list[list[Text]]
    which: Text
    verdicts: list[Verdict]
    changed: list[str]
    few: bool
    facts: list[tuple[Text, Text]]


def write_report(
    records: Mapping[str, Sequence[Record]],
    path: Path,
    *,
    experiments: Sequence[Experiment] = (),
    languages: Sequence[str] = tuple(LANGUAGES),
    jobs: int = 1,
    verbose: bool = False,
    executor: concurrent.futures.Executor | None = None,
    play: str | None = None,
    theme: str | None = None,
    csv: bool = False,
) -> list[Verdict]:
    """Write one HTML page that needs no network and no other file.

    Parameters
    ----------
    records : mapping of str to sequence of Record
        Of :func:`dlskills.experiments.run`: for each experiment one record per seed. The page has
        them in this order.
    path : pathlib.Path
        The same records always give the same file.
    experiments : sequence of Experiment, optional
        Those among the records' that are not registered.
    languages : sequence of str, default ("en", "zh")
        Of the page; the first is shown to a reader who has chosen none.
    jobs : int, default 1
        Number of processes that draw; experiments of no file are drawn in this one.
    verbose : bool, default False
        Whether to show progress.
    executor : concurrent.futures.Executor, optional
        Takes the place of the processes, as for :func:`dlskills.experiments.run`.
    play : str, optional
        Address of the page of :func:`~dlskills.report.write_play`, to link to.
    theme : str, optional
        ``"light"`` or ``"dark"``: the page's colours until the reader chooses. By default those
        of the reader's system.
    csv : bool, default False
        Whether to write the curves of each figure beside the page, as ``FIGURE.csv``.

    Returns
    -------
    list of Verdict
        On all claims.
    """
    own = {experiment.name: experiment for experiment in experiments}
    found = [own.get(name) or find(name) for name in records]
    sections = []
    with Progress(len(records), "report", show=verbose) as progress:
        for experiment, pictures in _drawn(found, records, languages, jobs, executor, csv):
            progress.note(f"drew {experiment.name}")
            sections.append(_section(experiment, records[experiment.name], pictures))
            progress.advance()
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    pictures = [picture for section in sections for picture in section.pictures]
    page = environment(languages, WORDS, theme).get_template("report.html").render(
        sections=sections,
        quick=any(record.quick for runs in records.values() for record in runs),
        scores=score_by_source(verdicts),
        few=WORDS("few", enough=ENOUGH),
        colours=colour_variables(svg for picture in pictures for svg in picture.svgs),
        play=play,
        value=_value,
        spread=_spread,
        how=_how,
        source=source_words,
        Text=Text,
    )  # fmt: skip
    path = expanded(path)
    write_file(path, page)
    for picture in pictures:
        if picture.curves is not None:
            write_file(path.with_name(f"{picture.file}.csv"), picture.curves)
    return verdicts


def _drawn(
    experiments: Sequence[Experiment],
    records: Mapping[str, Sequence[Record]],
    languages: Sequence[str],
    jobs: int,
    executor: concurrent.futures.Executor | None,
    csv: bool,
) -> Iterator[tuple[Experiment, list[Picture]]]:
    """Yield each experiment with its pictures, drawn by several processes where they know it."""
    shared = [one.name for one in experiments if registered(one.name) is one]
    if (jobs == 1 and executor is None) or len(shared) < 2:
        for experiment in experiments:
            yield experiment, _pictures(experiment, records[experiment.name], languages, csv)
        return
    with pool(executor, jobs) as drawing:
        futures = {
            name: drawing.submit(_pictures_of, name, records[name], languages, csv)
            for name in shared
        }
        for experiment in experiments:
            name = experiment.name
            if name in futures:
                yield experiment, drawing.result(futures[name])
            else:
                yield experiment, _pictures(experiment, records[name], languages, csv)


def _pictures_of(
    name: str, runs: Sequence[Record], languages: Sequence[str], csv: bool
) -> list[Picture]:
    return _pictures(find(name), runs, languages, csv)


def _section(experiment: Experiment, runs: Sequence[Record], pictures: list[Picture]) -> Section:
    first = runs[0]
    columns, rows, which = _table(experiment, runs)
    return Section(
        name=experiment.name,
        title=as_text(experiment.title),
        about=as_text(experiment.about),
        pictures=pictures,
        columns=[
            (heading, _alignment([row[i].en for row in rows])) for i, heading in enumerate(columns)
        ],
        rows=rows,
        which=which,
        verdicts=judged(experiment, runs),
        changed=changed_options(first, experiment),
        few=experiment.random and len(runs) < ENOUGH,
        facts=_facts(runs, experiment),
    )


def _pictures(
    experiment: Experiment, runs: Sequence[Record], languages: Sequence[str], csv: bool
) -> list[Picture]:
    """Return the figures, each wide and narrow, in each language of the page."""
    svgs: dict[str, list[str]] = {}
    curves: dict[str, str] = {}
    fonts = chinese_fonts() if languages[0] == "zh" else ()
    for narrow in (False, True):
        with looking(Look(narrow=narrow, fonts=fonts)):
            figures = {}
            for name in languages:
                with language(name):
                    figures[name] = drawn(experiment, runs)
        for number, (file, figure) in enumerate(figures[languages[0]].items(), 1):
            if csv and not narrow:
                curves[file] = curves_as_csv(figure)
            label = f"{experiment.name}-figure-{number}"
            said = (
                lines_in_both(figures["en"][file], figures["zh"][file]) if len(figures) > 1 else {}
            )
            own = f"{label}-narrow" if narrow else label
            attributes = {
                "role": "img", "aria-labelledby": f"{label}-text", "id": own,
                "class": "narrow" if narrow else "wide",
            }  # fmt: skip
            svg = inline_svg(figure, own, attributes)
            svg = say_texts(svg, lambda words, said=said: str(  # type: ignore[misc]
                say(said.get(words, as_text(words)), languages, "tspan")
            ))  # fmt: skip
            svgs.setdefault(file, []).append(svg)
    pictures = []
    for number, (file, both) in enumerate(svgs.items(), 1):
        alt = experiment.words_for(file)
        if runs[0].quick:  # a figure's text describes a full run
            alt = WORDS("of a full run", alternative=alt)
        label = f"{experiment.name}-figure-{number}"
        pictures.append(Picture(label, file, both, alt, curves.get(file)))
    return pictures


def _table(
    experiment: Experiment, runs: Sequence[Record]
) -> tuple[list[Text], list[list[Text]], Text]:
    """Return headings, rows, and a note that says which seeds the table covers."""
    table = experiment.tabulated([record.numbers for record in runs])
    if table is None:
        return [], [], as_text("")
    which = as_text("")
    if experiment.random:
        which = WORDS("of-one-seed", seed=runs[0].settings.seed)
        if len(runs) > 1 and table.merges:
            which = WORDS("mean-and-spread", count=len(runs))
    (columns, rows), (others, lines) = in_each_language(table.shown)
    return (
        list(map(Text, columns, others)),
        [list(map(Text, row, line)) for row, line in zip(rows, lines, strict=True)],
        which,
    )


def _alignment(cells: Sequence[str]) -> str:
    """Return the side at which a column is aligned: numbers right, words left."""
    cells = [cell for cell in cells if "diverged" not in cell and cell != "never"]
    return "right" if cells and all(re.search(r"\d|nan", cell[:3]) for cell in cells) else "left"


def _facts(runs: Sequence[Record], experiment: Experiment) -> list[tuple[Text, Text]]:
    """Return how the runs were made: labels and values."""
    first, none, used = runs[0], WORDS("none"), experiment.uses
    seeds = as_text(", ".join(str(record.settings.seed) for record in runs))
    options = {option: _option(value) for option, value in first.options.items()}
    told = Text(*(
        ", ".join(f"{option} = {getattr(value, name)}" for option, value in options.items())
        for name in LANGUAGES
    ))  # fmt: skip
    return [
        (WORDS("seeds"), seeds if experiment.random else WORDS("not random")),
        (WORDS("options"), told if options else none),
        (WORDS("data"), WORDS(first.settings.subset) if "data" in used else none),
        (WORDS("backend"), as_text(first.backend)),
        (WORDS("engine"), as_text(first.engine) if "engine" in used else none),
        (WORDS("time"), as_text(f"{sum(record.seconds for record in runs):.1f} s")),
    ]


def _option(value: Any) -> Text:
    """Return an option's value, of a long list the first and the last."""
    values = _flat(value)
    if len(values) <= 8:
        return as_text(json.dumps(value, ensure_ascii=False))
    first, last = (
        f"{item:.3g}" if isinstance(item, float) else json.dumps(item, ensure_ascii=False)
        for item in (values[0], values[-1])
    )
    return WORDS("many", count=len(values), first=first, last=last)


def _flat(value: Any) -> list[Any]:
    return [item for part in value for item in _flat(part)] if isinstance(value, list) else [value]


def _value(measured: Measured) -> Text:
    if math.isnan(measured.value):
        return WORDS("no number")
    return as_text(format(measured.value, measured.check.form))


def _spread(measured: Measured) -> str:
    """Return the lowest and the highest of several values."""
    if len(measured.values) == 1 or any(map(math.isnan, measured.values)):
        return "–"
    form = measured.check.form
    return f"{min(measured.values):{form}} … {max(measured.values):{form}}"


def _how(measured: Measured) -> Text | None:
    """Return how the values were reduced to one, if not by their median."""
    name = measured.check.combine.__name__
    if len(measured.values) == 1 or name == "median":
        return None
    return WORDS(name) if name in WORDS else as_text(name)
