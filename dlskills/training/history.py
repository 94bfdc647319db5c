"""What was measured while training: columns of equal length, as a dict, a CSV file or a figure."""

from __future__ import annotations

import csv
import html
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from dlskills.files import expanded, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class History(Mapping[str, list[float]]):
    """Columns of numbers, one row per evaluation.

    A trainer's columns are ``step``, ``epoch``, ``loss`` (the mean of the recorded losses of the
    steps since the row before), ``lr``, ``penalty`` (what weight decay adds to the loss), and for
    each part of the data and each metric one such as ``test_accuracy``.

    Examples
    --------
    >>> from dlskills.training import History
    >>> history = History()
    >>> history.add({"step": 1, "test_accuracy": 0.5})
    >>> history.add({"step": 2, "test_accuracy": 0.75})
    >>> history["test_accuracy"]
    [0.5, 0.75]
    >>> history.latest
    {'step': 2.0, 'test_accuracy': 0.75}
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[float]] = {}
        self._rows = 0

    def add(self, row: Mapping[str, float]) -> None:
        """Add a row; a number is NaN in the rows that lack it."""
        numbers = {name: float(number) for name, number in row.items()}
        for name in numbers:
            self._columns.setdefault(name, [math.nan] * self._rows)
        for name, column in self._columns.items():
            column.append(numbers.get(name, math.nan))
        self._rows += 1

    @property
    def latest(self) -> dict[str, float]:
        """The newest row, empty if there is none."""
        return {name: column[-1] for name, column in self._columns.items()}

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self._rows

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._columns[name]
        except KeyError:
            there = ", ".join(self._columns) or "none yet"
            raise KeyError(f"the history has no column {name!r}; it has: {there}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def to_dict(self) -> dict[str, list[float]]:
        """Return the columns as lists of their own."""
        return {name: list(column) for name, column in self._columns.items()}

    def load_dict(self, columns: Mapping[str, Iterable[float]]) -> None:
        """Replace all rows by those of :meth:`to_dict`."""
        loaded = {name: list(map(float, column)) for name, column in columns.items()}
        lengths = {len(column) for column in loaded.values()}
        if len(lengths) > 1:
            raise ValueError(
                f"the columns of a history must be equally long, got {sorted(lengths)}"
            )
        self._columns, self._rows = loaded, lengths.pop() if lengths else 0

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the rows to a CSV file, with the names of the columns in the first line.

        Parameters
        ----------
        path : str or path-like
            Replaced if it exists.

        Raises
        ------
        OSError
            The file can't be written; what was there is unchanged.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self._columns)
        writer.writerows(zip(*self._columns.values(), strict=True))
        write_file(expanded(path), text.getvalue())

    def plot(self) -> Figure:
        """Return a figure with a panel per metric, such as loss and accuracy, over the epochs.

        Columns that never change, such as a constant learning rate, are left out.

        Raises
        ------
        ValueError
            There is no row.
        """
        from dlskills.training.history_figure import plot

        if not self._rows:
            raise ValueError("nothing was recorded yet; train first")
        return plot(self)

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self._columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{number:.6g}</td>" for number in row) + "</tr>"
            for row in zip(*self._columns.values(), strict=True)
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        return f"<History of {self._rows} rows: {', '.join(self._columns) or 'no columns'}>"
