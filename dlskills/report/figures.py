"""Figures as parts of an HTML page: SVG whose colours follow the page's, light or dark."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dlskills.experiments.text import Text
from dlskills.plotting import COLORS, DARK_COLORS, styled, unwarned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The grey that black and white become on a dark page; all other greys lie between.
DARK_INK, DARK_PAPER = 0xE6, 0x17
# The palette's colours, but for black, which is a grey.
_PALETTE = {light.lower(): i for i, light in enumerate(COLORS) if light != "#000000"}

_TEXT = re.compile(r"(<text\b[^>]*>)([^<]+)(</text>)")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b", re.IGNORECASE)


@styled
def inline_svg(figure: Figure, prefix: str, attributes: Mapping[str, str]) -> str:
    """Return a figure as an ``<svg>`` element for an HTML page with other figures.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    prefix : str
        Prefix of every id in it: two figures of Matplotlib have ids in common.
    attributes : mapping of str to str
        For the element itself; they must need no escaping.

    Returns
    -------
    str
        Its greys, black and white among them, and the colours of the palette are CSS variables,
        see :func:`colour_variables`. Text and lines without a colour take that of the page's text.
    """
    file = io.StringIO()
    # without metadata, which has addresses of other sites
    none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with unwarned():
        figure.savefig(file, format="svg", metadata=none)
    svg = re.sub(r"<metadata>.*?</metadata>", "", file.getvalue(), flags=re.DOTALL)
    # Matplotlib's rule for `*` would apply to the whole page; the page's own style has it
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # equal images have equal ids, which nothing refers to
    svg = re.sub(r'(<image\b[^>]*?)\s+id="[^"]*"', r"\1", svg)
    # the fonts of the machine that draws are not the reader's
    svg = re.sub(r"'DejaVu Sans'(?:, '[^']*')*, sans-serif", "'DejaVu Sans', sans-serif", svg)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'\b(?:xlink:)?href="#', f'href="#{prefix}-', svg)
    svg = svg.replace("xlink:href=", "href=").replace("url(#", f"url(#{prefix}-")
    svg = _GREY.sub(lambda match: f"var(--grey-{match[1].lower()})", svg)
    svg = re.sub(
        "|".join(_PALETTE),
        lambda match: f"var(--colour-{_PALETTE[match[0].lower()]})",
        svg,
        flags=re.IGNORECASE,
    )
    opening = re.search(r"<svg\b[^>]*>", svg)
    view_box = re.search(r'viewBox="0 0 (\S+) (\S+)"', svg)
    if opening is None or view_box is None:
        raise RuntimeError("Matplotlib wrote an SVG without a viewBox")
    width = float(view_box[1]) * 100 / 72  # points; new_figure's inch is 100 pixels
    own = {"viewBox": view_box[0].split('"')[1], "style": f"--width: {width:.0f}px", **attributes}
    start = "".join(f' {name}="{value}"' for name, value in own.items())
    return f"<svg{start}>{svg[opening.end() :].strip()}"


def say_texts(svg: str, say: Callable[[str], str]) -> str:
    """Return the figure with each of its texts replaced by the markup that `say` returns."""
    return _TEXT.sub(lambda found: found[1] + say(html.unescape(found[2])) + found[3], svg)


def lines_in_both(english: Figure, chinese: Figure) -> dict[str, Text]:
    """Return each line of text of a figure with that of the same figure drawn in Chinese.

    Raises
    ------
    RuntimeError
        The two figures do not have the same parts.
    """
    said: dict[str, Text] = {}
    pairs = zip(_labels(english), _labels(chinese), strict=True)
    for en, zh in ((en.get_text(), zh.get_text()) for en, zh in pairs):
        if en == zh:
            continue
        lines, others = en.split("\n"), zh.split("\n")
        # a title may take more lines in one of the languages
        others += [""] * (len(lines) - len(others))
        others[len(lines) - 1 :] = ["".join(others[len(lines) - 1 :])]
        for line, other in zip(lines, others, strict=True):
            if said.setdefault(line, Text(line, other)).zh != other:
                raise RuntimeError(f"{line!r} has two translations: {said[line].zh!r}, {other!r}")
    return said


def _labels(figure: Any) -> Iterator[Any]:
    """Yield the texts of a figure but for the numbers along its axes, which take long to make."""
    yield from figure.texts
    legends = [*figure.legends]
    for axes in figure.axes:
        yield axes.title
        names = ("xaxis", "yaxis", "zaxis")
        yield from (getattr(axes, name).label for name in names if hasattr(axes, name))
        yield from axes.texts
        legends += [axes.get_legend()] if axes.get_legend() else []
    for legend in legends:
        yield from legend.texts


def colour_variables(svgs: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return the CSS variables in figures: name, colour on a light page, on a dark one."""
    found = {name for svg in svgs for name in re.findall(r"var\(--grey-(..)\)", svg)}
    rows = []
    for name in sorted(found | {"00", "ff"}):
        share = int(name, 16) / 255
        dark = round(DARK_INK + share * (DARK_PAPER - DARK_INK))
        rows.append((f"--grey-{name}", f"#{name * 3}", f"#{dark:02x}{dark:02x}{dark:02x}"))
    return [*rows, *((f"--colour-{i}", COLORS[i], DARK_COLORS[i]) for i in _PALETTE.values())]
