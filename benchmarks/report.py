"""What the measurements say: ratios, which bars are reached, a table and a picture."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import imports
from benchmarks.tasks import BARS, Bar

OURS = "dlskills"

Rows = dict[str, Any]  # a task's contenders, with their times


def ratio(rows: Rows, name: str, other: str) -> list[float]:
    """Lower quartile, median and upper quartile of the ratios of the turns of one round."""
    pairs = zip(rows[name]["turns"], rows[other]["turns"], strict=True)
    ratios = [mine / its for mine, its in pairs]
    if len(ratios) < 2:
        return ratios * 3
    return statistics.quantiles(ratios, n=4, method="inclusive")


def judged(results: Any) -> Iterator[tuple[Bar, list[float]]]:
    """The bars whose contenders were both measured, with the quartiles of their ratio."""
    for bar in BARS:
        rows = results["tasks"].get(bar.task, {}).get("contenders", {})
        if results["device"] == "cpu" and {bar.contender, bar.other} <= set(rows):
            yield bar, ratio(rows, bar.contender, bar.other)


def task_lines(name: str, task: Any) -> list[str]:
    """A task for the terminal: the times of all, and as multiples of ours."""
    rows = task["contenders"]
    lines = [f"{name:<42}{'median ms':>10}{'low ms':>10}{'/ dlskills':>13}"]
    for contender, row in rows.items():
        line = f"  {contender:<40}{1e3 * row['median']:>10.3f}{1e3 * row['low']:>10.3f}"
        if OURS in rows:
            first, median, third = ratio(rows, contender, OURS)
            line += f"{median:>13.2f}  ({first:.2f} to {third:.2f})"
        lines.append(line)
    lines += [f"  {contender}: {error}" for contender, error in task["failed"].items()]
    return lines


def bar_lines(results: Any) -> list[str]:
    lines = [f"{'bar':<66}{'measured':>9}{'quartiles':>20}"]
    for bar, (first, median, third) in judged(results):
        what = f"{bar.task}: {bar.contender} <= {bar.at_most:.2f} x {bar.other}"
        verdict = "reached" if median <= bar.at_most else "missed"
        lines.append(f"{what:<66}{median:>9.3f}{f'{first:.3f} to {third:.3f}':>20}  {verdict}")
    more = _import_more(results)
    if more is not None:
        verdict = "reached" if more <= imports.BAR else "missed"
        what = f"import: dlskills at most {imports.BAR:g} s more than numpy"
        lines.append(f"{what:<66}{more:>9.3f}{'':>20}  {verdict}")
    return lines if len(lines) > 1 else []


def _import_more(results: Any) -> float | None:
    rows = results["tasks"].get("import", {}).get("contenders", {})
    if {"dlskills", "numpy"} <= set(rows):
        return rows["dlskills"]["median"] - rows["numpy"]["median"]
    return None


def write(path: Path) -> list[Path]:
    """A page and a picture of a file of results, beside it."""
    results = json.loads(path.read_text(encoding="utf-8"))
    pictures = _draw(results, path)
    page = path.with_suffix(".md")
    page.write_text(_page(results, path.stem, bool(pictures)), encoding="utf-8")
    return [page, *pictures]


def _page(results: Any, name: str, picture: bool) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    threads = ", ".join(f"{k}={v}" for k, v in machine["environment"].items())
    lines = [
        f"# Times on {machine['device'] or machine['processor']}", "",
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; Python "
        f"{machine['python']}, {versions}; threads: {threads or 'as the libraries choose'}; "
        f"commit {machine['commit']}; {results['rounds']} rounds.",
        "", "What is measured, and how, is in [the benchmarks' README](../README.md).", "",
    ]  # fmt: skip
    if bars := list(judged(results)):
        lines += ["## Bars", "", "| work | bar | measured | quartiles | |"]
        lines += ["| --- | --- | ---: | :---: | --- |"]
        for bar, (first, median, third) in bars:
            verdict = "reached" if median <= bar.at_most else "**missed**"
            lines.append(
                f"| {bar.task} | {bar.contender} ≤ {bar.at_most:.2f} × {bar.other} "
                f"| {median:.3f} | {first:.3f} to {third:.3f} | {verdict} |"
            )
        lines.append("")
    if picture:
        lines += [f"![Times as multiples of dlskills']({name}.svg)", ""]
    return "\n".join([*lines, *tables(results)]).rstrip() + "\n"


def tables(results: Any, heading: str = "##") -> list[str]:
    """For Markdown, a heading and a table for each group of tasks, and what failed."""
    groups: dict[str, Rows] = {}
    for task, measured in results["tasks"].items():
        groups.setdefault(measured["group"], {})[task] = measured
    lines = []
    for group, tasks in groups.items():
        lines += [f"{heading} {group[0].upper()}{group[1:]}", "", *_table(tasks), ""]
        failed = [
            f"{task}: {contender} failed: {error}"
            for task, measured in tasks.items()
            for contender, error in measured["failed"].items()
        ]
        lines += [*failed, ""] if failed else []
    return lines


def _table(tasks: Rows) -> list[str]:
    """Medians in milliseconds, and in brackets how many times ours."""
    contenders = list(dict.fromkeys(name for task in tasks.values() for name in task["contenders"]))
    cells = {
        (task, name): f"{1e3 * row['median']:.3f} ({ratio(rows, name, OURS)[1]:.2f})"
        if name != OURS and OURS in rows
        else f"{1e3 * row['median']:.3f}"
        for task, rows in ((task, measured["contenders"]) for task, measured in tasks.items())
        for name, row in rows.items()
    }
    across, down = contenders, list(tasks)
    if len(contenders) > len(tasks):
        across, down = down, across
        cells = {(name, task): cell for (task, name), cell in cells.items()}
    lines = [
        f"| ms (× {OURS}) | {' | '.join(across)} |",
        f"| --- |{' ---: |' * len(across)}",
    ]
    for first in down:
        row = [cells.get((first, second), "") for second in across]
        lines.append(f"| {first} | {' | '.join(row)} |")
    return lines


def _draw(results: Any, path: Path) -> list[Path]:
    """Everyone's time as a multiple of ours, for Adam's updates and the train steps."""
    from dlskills.plotting import save_figure, styled

    shown = {
        name: task["contenders"]
        for name, task in results["tasks"].items()
        if task["group"] in ("updates by Adam", "train steps") and OURS in task["contenders"]
    }
    if not shown:
        return []
    return save_figure(styled(_figure)(shown), path.parent, path.stem)


def _figure(tasks: Rows) -> Any:
    from dlskills.plotting import COLORS, new_figure

    columns = 2
    rows = math.ceil(len(tasks) / columns)
    figure, panels = new_figure(rows, columns, size=(10, 0.6 + 2.7 * rows), squeeze=False)
    for axes, (name, contenders) in zip(panels.flat, tasks.items(), strict=False):
        spreads = {other: ratio(contenders, other, OURS) for other in contenders}
        names = sorted(spreads, key=lambda other: -spreads[other][1])
        for other in names:
            first, median, third = spreads[other]
            spread = [[median - first], [third - median]]
            axes.errorbar(median, other, xerr=spread, fmt="o", color=_color(other, COLORS))
            text = f"{median:.2f}" if median < 10 else f"{median:.0f}"
            axes.annotate(text, (third, other), (6, 0), va="center", fontsize=9,
                          textcoords="offset points")  # fmt: skip
        axes.set_xscale("log")
        axes.margins(x=0.15, y=0.1)
        axes.set_title(f"{name}: {1e3 * contenders[OURS]['median']:.3g} ms")
        axes.set_xlabel(f"time / that of {OURS}")
    for axes in panels.flat[len(tasks) :]:
        axes.set_visible(False)
    return figure


def _color(name: str, colors: tuple[str, ...]) -> str:
    if name.startswith(OURS):
        return colors[0]
    return colors[2] if name.endswith("floor") else "#999999"
