"""The summary of a network: a table, as text and for notebooks."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from dlskills.arrays.backend import Array
from dlskills.html_table import html_table
from dlskills.layers import Layer, Loss

_HEAD = ("layer", "output shape", "parameters")


class Summary(str):
    """A table of layers as text; notebooks show it as a table of HTML."""

    rows: list[tuple[str, ...]]
    total: str

    def __new__(cls, rows: list[tuple[str, ...]], total: str) -> Summary:
        width = [max(len(row[i]) for row in [_HEAD, *rows]) for i in range(len(_HEAD))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, width, strict=True))
            for row in [_HEAD, tuple("-" * w for w in width), *rows]
        ]
        text = super().__new__(cls, "\n".join(line.rstrip() for line in [*lines, total]))
        text.rows, text.total = rows, total
        return text

    def _repr_html_(self) -> str:
        return f"{html_table(_HEAD, self.rows)}<p>{html.escape(self.total)}</p>"


def summary(
    layers: Sequence[Layer],
    loss: Loss,
    names: Sequence[Mapping[str, str]],
    shapes: Sequence[tuple[int, ...] | None],
    params: Mapping[str, Array],
    where: str,
) -> Summary:
    """Return the layers, output shapes and parameters; the device is on the last line."""
    rows: list[tuple[str, ...]] = []
    total = 0
    for layer, own, shape in zip(layers, names, shapes, strict=True):
        size = sum(math.prod(params[name].shape) for name in own.values())
        total += size
        output = "any" if shape is None else str(("N", *shape)).replace("'", "")
        rows.append((repr(layer), output, f"{size:,} ({', '.join(own.values())})" if own else "0"))
    rows.append((repr(loss), "()", "0"))
    return Summary(rows, f"{total:,} parameters, {where}")
