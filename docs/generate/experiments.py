"""Figures, numbers and verdicts of the experiments, run by the build.

``DLSKILLS_DOCS=whole`` runs them in full with the seeds that a verdict takes. Otherwise
they are shortened, and the pages say so. Runs are kept in results/cache.
"""

import functools
import html
import math
import os
from pathlib import Path

from dlskills.experiments import BEYOND, EXPERIMENTS, Settings, run
from dlskills.experiments.claims import ENOUGH
from dlskills.experiments.outcome import judged
from dlskills.experiments.text import Text
from dlskills.experiments.text import language as speaking
from dlskills.plotting import Look, looking
from dlskills.processes import cores
from dlskills.report.figures import colour_variables, inline_svg, lines_in_both, say_texts
from dlskills.report.words import WORDS, score_by_source, source_words

ROOT = Path(__file__).resolve().parents[2]
WHOLE = os.environ.get("DLSKILLS_DOCS") == "whole"
KNOWN = EXPERIMENTS | BEYOND
MARKS = {"confirmed": ("yes", "✓"), "not confirmed": ("no", "✗"), "not judged": ("unjudged", "–")}
HEADINGS = {
    "claim": WORDS("claim"), "verdict": WORDS("verdict"), "quantity": WORDS("quantity"),
    "median": WORDS("median"), "expected": WORDS("expected"),
}  # fmt: skip


def _is_run(name):
    """Return whether the build runs an experiment: whole runs of the long ones take hours."""
    return not (WHOLE and KNOWN[name].long)


@functools.cache
def records():
    """Return the runs of all experiments by name."""
    return run(
        list(filter(_is_run, KNOWN)), Settings(verbose=False), seeds=ENOUGH if WHOLE else 1,
        quick=not WHOLE, jobs=cores(), cache=ROOT / "results" / "cache",
    )  # fmt: skip


def _say(text, language):
    return html.escape(getattr(text, language) if isinstance(text, Text) else str(text))


@functools.cache
def _drawn(name, language, narrow):
    with looking(Look(narrow=narrow)), speaking(language):
        return KNOWN[name].figures([record.numbers for record in records()[name]])


@functools.cache
def _english(name, narrow):
    """Return the figures of an experiment as SVG."""
    kind, svgs = "narrow" if narrow else "wide", {}
    for file, drawn in _drawn(name, "en", narrow).items():
        own = f"{file}-{kind}"
        label = {"role": "img", "aria-labelledby": f"{file}-text", "id": own, "class": kind}
        svgs[file] = inline_svg(drawn, own, label)
    return svgs


@functools.cache
def _figures(name, language, narrow):
    """Return the figures with their words in a language: drawn once, as drawing takes long."""
    svgs = _english(name, narrow)
    if language == "en":
        return svgs
    said = {}
    english, chinese = (_drawn(name, spoken, narrow) for spoken in ("en", "zh"))
    for file in svgs:
        lines = lines_in_both(english[file], chinese[file])
        said[file] = say_texts(
            svgs[file], lambda words, lines=lines: _say(lines.get(words, words), "zh")
        )
    return said


def figure(name, *files, language):
    """Return figures of an experiment, wide and narrow, with what they show in words.

    Without `files` all of them; the first is named as the experiment.
    """
    wide, narrow = (_figures(name, language, slim) for slim in (False, True))
    parts = []
    for file in files or wide:
        alt = KNOWN[name].words_for(file)
        if records()[name][0].quick:
            alt = WORDS("of a full run", alternative=alt)
        parts.append(
            f'<figure class="program" data-search-exclude>{wide[file]}{narrow[file]}'
            f'<figcaption id="{file}-text">{_say(alt, language)}</figcaption></figure>'
        )
    return "".join(parts)


def numbers(name, *, language):
    """Return the table of an experiment."""
    runs = records()[name]
    with speaking(language):
        table = KNOWN[name].tabulated([record.numbers for record in runs])
        if table is None:
            return ""
        columns, rows = table.shown()
    which = ""
    if KNOWN[name].random:
        which = WORDS("of-one-seed", seed=runs[0].settings.seed)
        if len(runs) > 1 and table.merges:
            which = WORDS("mean-and-spread", count=len(runs))
    return (
        f"<p><strong>{_say(WORDS('numbers'), language)}</strong> {_say(which, language)}</p>"
        f"{_rows(columns, rows)}"
    )


def _rows(columns, rows):
    head = "".join(f"<th>{html.escape(str(column))}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def claims(name, *, language):
    """Return an experiment's claims: whose they are, what was measured, and the verdicts."""
    runs = records()[name]
    verdicts = judged(KNOWN[name], runs)
    if not verdicts:
        return ""
    note = ""
    if runs[0].quick:
        note = _say(WORDS("quick"), language)
    elif KNOWN[name].random and len(runs) < ENOUGH:
        note = _say(WORDS("few", enough=ENOUGH), language)
    note = note and f'<div class="admonition warning"><p>{note}</p></div>'
    head = "".join(f"<th>{_say(text, language)}</th>" for text in HEADINGS.values())
    body = "".join(_claim(verdict, language) for verdict in verdicts)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'{note}<div class="claims">{table}</div>'


def _claim(verdict, language):
    claim = verdict.claim
    kind, sign = MARKS[verdict.word]
    rows = []
    span = max(1, len(verdict.measured))
    first = (
        f'<td rowspan="{span}">{_say(claim.says, language)}'
        f"<br><small>{_say(source_words(claim.source), language)}</small></td>"
        f'<td rowspan="{span}" class="verdict {kind}">{sign} '
        f"{_say(WORDS(verdict.word), language)}</td>"
    )
    for measured in verdict.measured:
        check = measured.check
        value = "–" if math.isnan(measured.value) else format(measured.value, check.form)
        rows.append(
            f"<tr>{first}<td>{_say(check.what, language)}</td><td>{value}</td>"
            f"<td>{html.escape(check.bounds)}</td></tr>"
        )
        first = ""
    if not rows:
        rows.append(f"<tr>{first}<td></td><td></td><td></td></tr>")
    if claim.remark:
        rows.append(
            f'<tr class="remark"><td colspan="5"><strong>{_say(WORDS("remark"), language)}:'
            f"</strong> {_say(claim.remark, language)}</td></tr>"
        )
    return "".join(rows)


def summary(which, *, language):
    """Return how many claims of each source are confirmed, for the tutorial's experiments."""
    verdicts = [
        verdict for name in EXPERIMENTS for verdict in judged(EXPERIMENTS[name], records()[name])
    ]
    items = "".join(f"<li>{_say(score, language)}</li>" for score in score_by_source(verdicts))
    note = _say(WORDS("quick"), language) if records()["optimizer-mnist"][0].quick else ""
    note = note and f'<div class="admonition warning"><p>{note}</p></div>'
    return f"{note}<ul>{items}</ul>"


def beyond(language):
    """Return, as Markdown, a section per experiment that the tutorial does not have."""
    parts = []
    for name in filter(_is_run, BEYOND):
        experiment = BEYOND[name]
        with speaking(language):
            parts += [f"## {experiment.title}", "", f"{experiment.about}", ""]
        parts += [f"    dlskills run {name}", ""]
        parts += [f"<!-- {what}: {name} -->\n" for what in ("figure", "numbers", "claims")]
    return "\n".join(parts)


def colours():
    """Return the style sheet with the colours of figures, on light and on dark pages."""
    rows = colour_variables(f"var(--grey-{grey:02x})" for grey in range(256))
    light = "\n".join(f"  {name}: {value};" for name, value, _ in rows)
    dark = "\n".join(f"  {name}: {value};" for name, _, value in rows)
    return (
        f":root {{\n{light}\n}}\n"
        f'[data-md-color-scheme="slate"] {{\n{dark}\n  --grey-ff: var(--md-default-bg-color);\n}}\n'
    )
