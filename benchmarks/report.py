"""Results: ratios, which bars are reached, tables and a figure."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import imports
from benchmarks.tasks import BARS, TASKS, Bar, LayerPass
from dlskills.files import write_file

OURS = "dlskills"

Rows = dict[str, Any]  # a task's contenders, with their times


def ratio(rows: Rows, name: str, other: str) -> list[float]:
    """Return lower quartile, median and upper quartile of the ratios within each round."""
    pairs = zip(rows[name]["turns"], rows[other]["turns"], strict=True)
    return _quartiles([mine / its for mine, its in pairs])


def _quartiles(values: list[float]) -> list[float]:
    if len(values) < 2:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


@dataclass(frozen=True)
class Verdict:
    """A bar, or the one on importing, with the measured ratio."""

    what: str
    bar: str
    at_most: float
    first: float
    measured: float
    third: float
    layer: tuple[str, str] | None = None  # name and variant, for bars of layers

    @property
    def reached(self) -> bool:
        return self.measured <= self.at_most

    @property
    def doubt(self) -> str:
        """A question mark if the bar lies between the quartiles."""
        return " ?" if self.first <= self.at_most < self.third else ""


def judged(results: Any) -> list[Verdict]:
    """Return verdicts on the bars for this processor whose contenders were both measured."""
    verdicts = []
    for bar in BARS:
        rows = results["tasks"].get(bar.task, {}).get("contenders", {})
        if (
            results["device"] == "cpu"
            and bar.vendor in (None, results["machine"].get("vendor"))
            and {bar.contender, bar.other} <= set(rows)
        ):
            verdicts.append(_verdict(bar, ratio(rows, bar.contender, bar.other)))
    return verdicts + _import_verdict(results)


def _verdict(bar: Bar, quartiles: list[float]) -> Verdict:
    task = TASKS[bar.task]
    where = f" ({bar.vendor})" if bar.vendor else ""
    return Verdict(
        bar.task, f"{bar.contender} ≤ {bar.at_most:.2f} × {bar.other}{where}", bar.at_most,
        *quartiles, layer=(task.layer, task.variant) if isinstance(task, LayerPass) else None,
    )  # fmt: skip


def _import_verdict(results: Any) -> list[Verdict]:
    rows = results["tasks"].get("import", {}).get("contenders", {})
    if not {"dlskills", "numpy"} <= set(rows):
        return []
    pairs = zip(rows["dlskills"]["turns"], rows["numpy"]["turns"], strict=True)
    quartiles = _quartiles([ours - its for ours, its in pairs])
    return [Verdict("import", f"dlskills ≤ {imports.BAR:g} s + numpy", imports.BAR, *quartiles)]


def task_lines(name: str, task: Any) -> list[str]:
    """Return a task for the terminal: all times, and as multiples of dlskills'."""
    rows = task["contenders"]
    lines = [f"{name:<52}{'median ms':>10}{'low ms':>10}{'/ dlskills':>13}"]
    for contender, row in rows.items():
        line = f"  {contender:<50}{1e3 * row['median']:>10.3f}{1e3 * row['low']:>10.3f}"
        if OURS in rows:
            first, median, third = ratio(rows, contender, OURS)
            line += f"{median:>13.2f}  ({first:.2f} to {third:.2f})"
        lines.append(line)
    lines += [f"  {contender}: {error}" for contender, error in task["failed"].items()]
    return lines


def bar_lines(results: Any) -> list[str]:
    """Return the verdicts for the terminal, with one line per layer."""
    verdicts = judged(results)
    if not verdicts:
        return []
    lines = []
    if rows := [verdict for verdict in verdicts if not verdict.layer]:
        lines.append(f"{'bar':<92}{'measured':>9}{'quartiles':>20}")
    for row in rows:
        spread = f"{row.first:.3f} to {row.third:.3f}"
        word = "reached" if row.reached else "missed"
        bar = row.bar.replace("≤", "<=").replace("×", "x")  # for terminals without UTF-8
        lines.append(f"{f'{row.what}: {bar}':<92}{row.measured:>9.3f}{spread:>20}  {word}")
    variants, layers = _by_layer(verdicts)
    if layers:
        titles = [variant.replace("forward and backward", "both") for variant in variants]
        titles = [title.removeprefix("width ").replace(",", "") for title in titles]
        lines += ["", f"{'dlskills / torch-fused':<22}" + "".join(f"{t:>24}" for t in titles)]
    for layer, found in layers.items():
        cells = [_layer_cell(found.get(variant)) for variant in variants]
        lines.append(f"{layer:<22}" + "".join(f"{cell:>24}" for cell in cells))
    return [*lines, "", _reached(verdicts)]


def _layer_cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    sign = "<=" if verdict.reached else "> "
    return f"{verdict.measured:.3f} {sign} {verdict.at_most:.2f}{verdict.doubt or '  '}"


def _reached(verdicts: list[Verdict]) -> str:
    count = sum(verdict.reached for verdict in verdicts)
    return f"{count} of {len(verdicts)} bars reached"


def _by_layer(verdicts: list[Verdict]) -> tuple[list[str], dict[str, dict[str, Verdict]]]:
    """Return the variants that were measured, and the verdicts by layer and variant."""
    layers: dict[str, dict[str, Verdict]] = {}
    variants: dict[str, None] = {}
    for verdict in verdicts:
        if verdict.layer:
            layer, variant = verdict.layer
            layers.setdefault(layer, {})[variant] = verdict
            variants[variant] = None
    return list(variants), layers


def write(path: Path) -> list[Path]:
    """Write Markdown and a figure of a results file next to it; return their paths."""
    results = json.loads(path.read_text(encoding="utf-8"))
    pictures = _draw(results, path)
    text = path.with_suffix(".md")
    write_file(text, page(results, path.stem, bool(pictures)))
    return [text, *pictures]


def page(results: Any, name: str, picture: bool) -> str:
    """Return the Markdown of a results file, whose figure is NAME.svg if it has one."""
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
    lines += _bar_tables(judged(results))
    if picture:
        lines += [f"![Times as multiples of dlskills']({name}.svg)", ""]
    return "\n".join([*lines, *tables(results)]).rstrip() + "\n"


def _bar_tables(verdicts: list[Verdict]) -> list[str]:
    """Return the verdicts as Markdown: a table for the layers, and one for everything else."""
    if not verdicts:
        return []
    lines = ["## Bars", "", f"{_reached(verdicts)}.", ""]
    if rows := [verdict for verdict in verdicts if not verdict.layer]:
        lines += ["| work | bar | measured | quartiles | |", "| --- | --- | ---: | :---: | --- |"]
    for row in rows:
        word = "reached" if row.reached else "**missed**"
        spread = f"{row.first:.3f} to {row.third:.3f}"
        lines.append(f"| {row.what} | {row.bar} | {row.measured:.3f} | {spread} | {word} |")
    lines += [""] * bool(rows)
    variants, layers = _by_layer(verdicts)
    if layers:
        usual = {
            variant: statistics.mode(
                found[variant].at_most for found in layers.values() if variant in found
            )
            for variant in variants
        }
        titles = [f"{variant} (≤ {usual[variant]:.2f})" for variant in variants]
        lines += [
            "Layers, dlskills / torch-fused. Ratios above their bar are bold; `?` marks "
            "a bar between the quartiles.",
            "", f"| layer | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}",
        ]  # fmt: skip
        for layer, found in layers.items():
            cells = [_layer_markdown(found.get(variant), usual[variant]) for variant in variants]
            lines.append(f"| {layer} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def _layer_markdown(verdict: Verdict | None, usual: float) -> str:
    if verdict is None:
        return ""
    measured = f"{verdict.measured:.3f}" if verdict.reached else f"**{verdict.measured:.3f}**"
    own = "" if verdict.at_most == usual else f" (≤ {verdict.at_most:.2f})"
    return f"{measured}{verdict.doubt}{own}"


def tables(results: Any, heading: str = "##") -> list[str]:
    """Return as Markdown a heading and a table per group of tasks, and the failures."""
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
    """Return medians in milliseconds, and in brackets as multiples of dlskills'."""
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
    """Plot all times of Adam's updates and of train steps as multiples of dlskills'."""
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
    from matplotlib.ticker import LogLocator, NullFormatter

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
        low, high = axes.get_xlim()
        low, high = min(low, 0.45), max(high, 2.2)
        axes.set_xlim(low, high)
        subs = (1, 2, 5) if high / low < 50 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=subs))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(f"{name}: {1e3 * contenders[OURS]['median']:.3g} ms", fontsize=11)
        axes.set_xlabel(f"time / time of {OURS}")
    for axes in panels.flat[len(tasks) :]:
        axes.set_visible(False)
    return figure


def _color(name: str, colors: tuple[str, ...]) -> str:
    if name.startswith(OURS):
        return colors[0]
    return colors[2] if name.endswith("floor") else "#999999"
