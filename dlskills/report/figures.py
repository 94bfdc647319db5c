"""Figures as parts of an HTML page: SVG whose colours follow the page's, light or dark."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from dlskills.plotting import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The grey that black and white become on a dark page; all other greys lie between.
DARK_INK, DARK_PAPER = 0xE6, 0x17

_TEXT = re.compile(r"(<text\b[^>]*>)([^<]+)(</text>)")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b", re.IGNORECASE)


@styled
def inline_svg(figure: Figure, prefix: str, attributes: Mapping[str, str]) -> str:
    """A figure as an ``<svg>`` element to stand in an HTML page beside others.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    prefix : str
        Put before every id in it: two figures of Matplotlib have ids in common.
    attributes : mapping of str to str
        For the element itself; they must need no escaping.

    Returns
    -------
    str
        Its greys are CSS variables, see :func:`grey_variables`, black and white among them. What
        is black by default takes the colour of the page's text.
    """
    file = io.StringIO()
    # without metadata, which names the outside world
    none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=none)
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    # Matplotlib's rule for `*` would hold for the whole page; the page's own style has it
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # equal images have equal ids, which nothing refers to
    svg = re.sub(r'(<image\b[^>]*?)\s+id="[^"]*"', r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'\b(?:xlink:)?href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("xlink:href=", "href=").replace("url(#", f"url(#{prefix}-")
    svg = _GREY.sub(lambda match: f"var(--grey-{match[1].lower()})", svg)
    opening = re.search(r"<svg\b[^>]*>", svg)
    view_box = re.search(r'viewBox="0 0 (\S+) (\S+)"', svg)
    if opening is None or view_box is None:
        raise RuntimeError("Matplotlib wrote an SVG without a viewBox")
    width = float(view_box[1]) * 100 / 72  # points; new_figure's inch is 100 pixels
    own = {"viewBox": view_box[0].split('"')[1], "style": f"--width: {width:.0f}px", **attributes}
    start = "".join(f' {name}="{value}"' for name, value in own.items())
    return f"<svg{start}>{svg[opening.end() :].strip()}"


def say_texts(svg: str, say: Callable[[str], str]) -> str:
    """The figure with what `say` makes of each of its texts, in markup, in their places."""
    return _TEXT.sub(lambda found: found[1] + say(html.unescape(found[2])) + found[3], svg)


def grey_variables(svgs: Iterable[str]) -> list[tuple[str, str, str]]:
    """The variables of the greys in figures: name, colour on a light page, on a dark one."""
    found = {name for svg in svgs for name in re.findall(r"var\(--grey-(..)\)", svg)}
    rows = []
    for name in sorted(found | {"00", "ff"}):
        share = int(name, 16) / 255
        dark = round(DARK_INK + share * (DARK_PAPER - DARK_INK))
        rows.append((f"--grey-{name}", f"#{name * 3}", f"#{dark:02x}{dark:02x}{dark:02x}"))
    return rows
