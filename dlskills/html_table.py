"""Tables in HTML, for notebooks."""

from __future__ import annotations

import html
from collections.abc import Iterable


def html_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return headings and cells, which are plain text, as an HTML table.

    Examples
    --------
    >>> html_table(["a < b"], [["1"]])
    '<table><thead><tr><th>a &lt; b</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
