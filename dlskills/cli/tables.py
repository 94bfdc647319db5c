"""Tables that stay legible in narrow terminals, and plain text outside a terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console

PROSE = 12
"""Minimum width of a prose column, in characters."""


def show_table(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    title: str | None = None,
    prose: Collection[int] = (),
    first_dropped: Sequence[int] = (),
    header: bool = True,
    lines: bool = False,
) -> None:
    """Print a table without truncating any cell.

    If the table is too wide, headings and prose are wrapped; if that isn't enough, whole columns
    are omitted and named below the table.

    Parameters
    ----------
    console : rich.console.Console
        Borders are drawn only in a terminal.
    columns : sequence of str
        Column headings.
    rows : sequence of sequence of str or rich.text.Text
    title : str, optional
    prose : collection of int
        Indices of columns whose cells may be wrapped.
    first_dropped : sequence of int
        Indices of the columns to omit first, in this order. After them, columns are omitted from
        the right; the first two are always kept.
    header : bool, default True
        Whether to show the headings.
    lines : bool, default False
        Whether to draw a line between rows.
    """
    boxed = console.is_terminal
    heads = columns if header else [""] * len(columns)
    others = [i for i in reversed(range(2, len(columns))) if i not in first_dropped]
    order = [*first_dropped, *others]
    shown, widths = _fit(heads, rows, prose, order, console.width, frame=boxed)
    look: dict[str, Any] = {} if boxed else {"box": None, "padding": (0, 2, 0, 0)}
    table = Table(
        title=title if boxed else None, show_header=header, show_lines=lines and boxed,
        pad_edge=boxed, **look,
    )  # fmt: skip
    for i in shown:
        table.add_column(heads[i], width=widths[i], overflow="fold")
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    if boxed:
        console.print(table)
    else:
        if title:
            console.print(title)
        with console.capture() as captured:
            console.print(table)
        lines_of_text = [line.rstrip() for line in captured.get().splitlines()]
        console.print(Text("\n".join(lines_of_text)), soft_wrap=True)
    if left_out := [columns[i] for i in range(len(columns)) if i not in shown]:
        console.print(f"Omitted at a width of {console.width}: {', '.join(left_out)}.")


def _fit(
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    prose: Collection[int],
    order: Sequence[int],
    width: int,
    *,
    frame: bool,
) -> tuple[list[int], dict[int, int]]:
    """Return the columns to show and the width of each."""
    cells = {i: max((_width(row[i]) for row in rows), default=0) for i in range(len(heads))}
    whole = {i: max(cells[i], cell_len(head)) for i, head in enumerate(heads)}
    words = {i: max(map(cell_len, re.split(r"\s", head))) for i, head in enumerate(heads)}
    least = {
        i: min(whole[i], max(PROSE, words[i])) if i in prose else max(cells[i], words[i])
        for i in whole
    }
    shown = list(whole)
    for i in order:
        if len(shown) <= 2 or sum(least[j] for j in shown) <= _room(width, len(shown), frame):
            break
        shown.remove(i)
    room = _room(width, len(shown), frame)
    widths = {i: least[i] for i in shown}
    if (
        excess := sum(widths.values()) - room
    ) > 0:  # two columns that do not fit a very narrow terminal
        widest = max(widths, key=widths.__getitem__)
        widths[widest] = max(widths[widest] - excess, 1)
    left = max(room - sum(widths.values()), 0)
    missing = {i: whole[i] - least[i] for i in shown}
    # Widen headings first, then share the rest among prose columns.
    growing = sorted(shown, key=lambda i: (i in prose, missing[i]))
    for count, i in enumerate(growing):
        share = left // (len(growing) - count) if i in prose else left
        more = min(share, missing[i])
        widths[i] += more
        left -= more
    return shown, widths


def _room(width: int, columns: int, frame: bool) -> int:
    """Return the number of characters left for cells, without borders and padding."""
    return width - (3 * columns + 1 if frame else 2 * columns)


def _width(cell: Any) -> int:
    return max(map(cell_len, str(cell).split("\n")))
