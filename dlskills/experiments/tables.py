"""Tables of an experiment's results: of one run, or mean and spread over several seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from dlskills.experiments.text import Text


class Number(NamedTuple):
    """A number in a table, and how it is written."""

    value: float
    form: str = ".3g"

    def __str__(self) -> str:
        return format(self.value, self.form)


Cell: TypeAlias = str | Text | Number


class Table(NamedTuple):
    """Headings and rows.

    Attributes
    ----------
    columns : list of str or Text
    rows : list of list of str, Text or Number
    merges : bool, default True
        Whether the same cell of several runs is the same quantity.
    """

    columns: Sequence[str | Text]
    rows: Sequence[Sequence[Cell]]
    merges: bool = True

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """Return headings and cells in the current language."""
        return list(map(str, self.columns)), [list(map(str, row)) for row in self.rows]


def over_runs(tables: Sequence[Table]) -> Table:
    """Return one table of several runs: mean and standard deviation of each number.

    A cell that is a word in some run, such as "never", is counted: "2/3: never". Of tables that
    can't be merged the first is returned.
    """
    first = tables[0]
    shape = [len(row) for row in first.rows]
    if not first.merges or any([len(row) for row in table.rows] != shape for table in tables):
        return first._replace(merges=len(tables) == 1)
    rows = [
        [_merged([table.rows[i][j] for table in tables]) for j in range(len(row))]
        for i, row in enumerate(first.rows)
    ]
    return Table(first.columns, rows)


def _merged(cells: Sequence[Cell]) -> Cell:
    if all(isinstance(cell, Number) for cell in cells):
        values = [cell.value for cell in cells if isinstance(cell, Number)]
        form = next(cell.form for cell in cells if isinstance(cell, Number))
        if len(set(values)) == 1 or any(map(math.isnan, values)):
            return cells[0]
        return f"{statistics.fmean(values):{form}} ± {statistics.stdev(values):{form}}"
    if len(set(cells)) == 1:
        return cells[0]
    words = [cell for cell in cells if not isinstance(cell, Number)]
    numbers = [cell for cell in cells if isinstance(cell, Number)]
    said = Text("", "")
    for word in dict.fromkeys(words):
        count = f"{words.count(word)}/{len(cells)}: "
        en, zh = (word.en, word.zh) if isinstance(word, Text) else (word, word)
        said = Text(f"{said.en}; {count}{en}".strip("; "), f"{said.zh}；{count}{zh}".strip("；"))
    if numbers:
        rest = str(_merged(numbers))
        said = Text(f"{rest} ({said.en})", f"{rest}（{said.zh}）")
    return said
