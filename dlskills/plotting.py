"""The common style of all figures, and functions to draw and save them."""

from __future__ import annotations

import base64
import contextlib
import contextvars
import csv
import functools
import html
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.checks import check_choice, check_number
from dlskills.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

# Okabe & Ito (2008), "Color universal design": distinguishable with any kind of colour vision. In
# black and white, the markers distinguish the curves.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
# The same hues, light enough for a dark page (a contrast of 4.5 or more against #171717).
DARK_COLORS = (
    "#4DA9E0", "#FF8A3D", "#2EC79A", "#E39AC2", "#9AD4F7", "#F3B73E", "#E6E6E6", "#F7EE7D",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")

THEMES = ("light", "dark")
FORMATS = ("png", "svg", "pdf")
NARROW = 4.0
"""Width of a narrow figure in inches, at 100 pixels each."""

# Fonts with Chinese characters, of the common systems; those that are installed are used.
CHINESE_FONTS = (
    "Noto Sans CJK SC", "Source Han Sans SC", "Source Han Sans CN", "Microsoft YaHei", "SimHei",
    "PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)  # fmt: skip

_CHINESE_FILES = re.compile(
    "NotoSansCJK|SourceHanSans|msyh|simhei|PingFang|Hiragino|Heiti|wqy", re.IGNORECASE
)

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "axes.unicode_minus": False,  # fonts with Chinese characters may lack the sign
    "figure.dpi": 100,
    "figure.titlesize": 13,
    "font.size": 11,
    "grid.alpha": 0.5,
    "grid.color": "#cccccc",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "svg.hashsalt": "dlskills",  # makes the files reproducible
}


@dataclass(frozen=True)
class Look:
    """How figures are drawn and saved.

    Attributes
    ----------
    theme : str, default "light"
        ``"light"`` or ``"dark"``.
    size : tuple of float, optional
        Width and height of every figure in inches, in place of its own.
    dpi : float, default 150
        Of PNG files.
    formats : sequence of str, default ("png", "svg")
        Also ``"pdf"``.
    csv : bool, default False
        Whether every curve is also written to a CSV file.
    narrow : bool, default False
        Whether figures are 4 inches wide, their panels stacked.
    fonts : sequence of str, default ()
        Fonts for characters that DejaVu Sans lacks, such as :func:`chinese_fonts`.
    """

    theme: str = "light"
    size: tuple[float, float] | None = None
    dpi: float = 150
    formats: Sequence[str] = ("png", "svg")
    csv: bool = False
    narrow: bool = False
    fonts: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_choice("theme", self.theme, THEMES)
        check_number("dpi", self.dpi, at_least=10, below=2401)
        for name in self.formats:
            check_choice("format", name, FORMATS)
        for length in self.size or ():
            check_number("size", length, at_least=1, below=101)

    @property
    def ink(self) -> str:
        """The colour of texts and axes."""
        return "#e6e6e6" if self.theme == "dark" else "#000000"

    @property
    def paper(self) -> str:
        """The colour behind them."""
        return "#171717" if self.theme == "dark" else "#ffffff"

    @property
    def muted(self) -> str:
        """The colour of what stays in the background."""
        return "#8a8a8a" if self.theme == "dark" else "#777777"


_look: contextvars.ContextVar[Look | None] = contextvars.ContextVar("look", default=None)


def current_look() -> Look:
    """Return how figures are drawn now."""
    return _look.get() or Look()


@contextlib.contextmanager
def looking(look: Look) -> Iterator[None]:
    """Draw and save figures in this way."""
    token = _look.set(look)
    try:
        yield
    finally:
        _look.reset(token)


def color(i: int) -> str:
    """Return the i-th colour of the theme; they repeat."""
    colors = DARK_COLORS if current_look().theme == "dark" else COLORS
    return colors[i % len(colors)]


def marker(i: int) -> str:
    """Return the i-th marker; they repeat with another period than the colours."""
    return MARKERS[(i + i // len(COLORS)) % len(MARKERS)]


# Settings of the program that displays figures, not of the figures themselves.
_NOT_STYLE = ("backend", "backend_fallback", "interactive", "toolbar", "timezone")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Return a drawing function that uses the common style.

    The style starts from Matplotlib's built-in defaults: it ignores the user's matplotlibrc and
    ``style.use``, and leaves them unchanged.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib as mpl

        settings: Any = _defaults() | STYLE | _of_look(current_look())
        with mpl.rc_context(settings):
            return draw(*args, **kwargs)

    return drawn


def _of_look(look: Look) -> dict[str, Any]:
    own: dict[str, Any] = {
        # named one by one: Matplotlib looks for missing characters only in these
        "font.family": ["DejaVu Sans", *look.fonts, "sans-serif"],
        "savefig.dpi": look.dpi,
    }
    if look.theme == "dark":
        own |= dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"),
                             look.paper)  # fmt: skip
        own |= dict.fromkeys(
            ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color",
             "ytick.color"), look.ink,
        )  # fmt: skip
        own["grid.color"] = "#555555"
    return own


@functools.cache
def chinese_fonts() -> list[str]:
    """Return the installed ones of `CHINESE_FONTS`."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    if not installed & set(CHINESE_FONTS):  # perhaps installed after Matplotlib made its list
        for path in font_manager.findSystemFonts():
            if _CHINESE_FILES.search(Path(path).name):
                font_manager.fontManager.addfont(path)
        installed = set(font_manager.get_font_names())
    return [name for name in CHINESE_FONTS if name in installed]


@functools.cache
def _defaults() -> dict[str, Any]:
    import matplotlib as mpl

    with warnings.catch_warnings(action="ignore"):  # about deprecated settings
        known = dict(mpl.rcParamsDefault.items())
    return {name: value for name, value in known.items() if name not in _NOT_STYLE}


def plain(text: str) -> str:
    """Escape text, so that Matplotlib draws it as it is.

    A dollar sign would start a formula, and legends omit labels that start with an underscore.
    """
    return _UNSEEN * text.startswith("_") + text.replace("$", r"\$")


_UNSEEN = "\N{ZERO WIDTH SPACE}"


def _unescaped(text: str) -> str:
    """Return the text that :func:`plain` escaped."""
    return text.removeprefix(_UNSEEN).replace(r"\$", "$")


def new_figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (8, 5), **options: Any
) -> tuple[Figure, Any]:
    """Create a figure and its axes without pyplot, and thus without a display.

    Parameters
    ----------
    rows, columns : int, default 1
        Number of panels.
    size : tuple of float, default (8, 5)
        Width and height in inches, at 100 pixels each.
    **options
        Passed to ``Figure.subplots``, such as ``sharex=True``; or, if they include `mosaic`, such
        as ``"ab"``, to ``Figure.subplot_mosaic``.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : matplotlib.axes.Axes, or an array of them, shape (rows, columns)
    """
    from matplotlib.figure import Figure

    look = current_look()
    if look.narrow:
        width, height = size
        size = (NARROW, height if width <= NARROW else 4.2)
    figure = Figure(figsize=look.size or size, layout="constrained")
    if "mosaic" in options:
        return figure, list(figure.subplot_mosaic(**options).values())
    return figure, figure.subplots(rows, columns, **options)


def plot_curves(
    axes: Axes,
    x: Sequence[float],
    curves: dict[str, Any],
    *,
    looks: Sequence[int] | None = None,
    markers: int = 20,
) -> None:
    """Draw one curve per name, each with its own colour and about `markers` markers.

    `looks` are indices into `COLORS` and `MARKERS`, for methods that should look the same in
    several figures.
    """
    looks = range(len(curves)) if looks is None else looks
    for i, (name, y) in zip(looks, curves.items(), strict=True):
        axes.plot(
            x,
            y,
            color=color(i),
            marker=marker(i),
            markevery=max(len(x) // markers, 1),
            label=plain(name),
        )
    axes.legend()


@styled
def mark(figure: Figure, text: str) -> None:
    """Write a note along the lower edge of a figure, below its panels and legends."""
    inches = 0.28  # of one line of text
    if current_look().size is None:
        figure.set_figheight(figure.get_figheight() + inches)
    height = inches / figure.get_figheight()
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, height, 1, 1 - height))
    for legend in figure.legends:  # the engine leaves them at the edge of the figure
        legend.borderaxespad += 72 * inches / legend.prop.get_size_in_points()
    figure.text(0.99, 0.01, text, ha="right", va="bottom", fontsize=9, color="#D55E00")


class Figures(dict[str, Any]):
    """A dict of figures by name, which notebooks show one below the other.

    Examples
    --------
    >>> list(Figures(curve=new_figure()[0]))
    ['curve']
    """

    @styled
    def _repr_html_(self) -> str:
        return "".join(
            f'<img alt="{html.escape(name)}" src="data:image/png;base64,{_png(figure)}">'
            for name, figure in self.items()
        )


def _png(figure: Figure) -> str:
    """Return a figure as PNG in base64."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi="figure")
    return base64.b64encode(content.getvalue()).decode()


@styled
def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure in the formats of the current look, PNG and SVG by default.

    Returns
    -------
    list of pathlib.Path
        Of the files; with ``Look(csv=True)`` the last one has the curves.
    """
    look = current_look()
    contents: dict[Path, bytes] = {}
    with unwarned():
        for kind in look.formats:
            file = io.BytesIO()
            dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
            figure.savefig(file, format=kind, metadata=dated)
            contents[folder / f"{name}.{kind}"] = file.getvalue()
    if look.csv:
        contents[folder / f"{name}.csv"] = curves_as_csv(figure).encode()
    for path, content in contents.items():
        write_file(path, content)
    return list(contents)


@contextlib.contextmanager
def unwarned() -> Iterator[None]:
    """Ignore what Matplotlib says of fonts.

    A user-given name may be in any script. SVG holds it as text, which browsers can show.
    """
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)  # of a font without the weight "normal"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
            yield
    finally:
        log.setLevel(before)


def curves_as_csv(figure: Figure) -> str:
    """Return the points of all curves and the heights of all bars of a figure, one per line.

    The columns are the panel (counted from 1), its title, the curve, x and y. A band around a
    median appears as two curves, ``NAME, lowest`` and ``NAME, highest``.
    """
    from matplotlib.patches import StepPatch

    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["panel", "title", "curve", "x", "y"])
    for number, axes in enumerate(figure.axes, 1):
        title = _unescaped(" ".join(axes.get_title().split()))
        curves: list[tuple[str, Any, Any]] = [
            (_label(line), line.get_xdata(), line.get_ydata()) for line in axes.lines
        ]
        for band in axes.collections:
            if (points := getattr(band, "dlskills_band", None)) is not None:
                label, x, lowest, highest = points
                curves += [(f"{label}, lowest", x, lowest), (f"{label}, highest", x, highest)]
        for bars in axes.patches:
            if isinstance(bars, StepPatch):
                values, edges, _ = bars.get_data()
                curves.append((_label(bars), edges[:-1], values))
        for label, x, y in curves:
            pairs = zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True)
            rows.writerows([number, title, label, *pair] for pair in pairs)
    return file.getvalue()


def _label(artist: Any) -> str:
    """Return the name of a curve; Matplotlib calls one without a name ``_child0``."""
    return _unescaped(re.sub("^_child", "curve ", str(artist.get_label())))


def smooth_curve(x: Array | Sequence[Array | float]) -> np.ndarray[Any, Any]:
    """Smooth a curve by a moving average over 11 points, weighted by a Kaiser window.

    Parameters
    ----------
    x : sequence of float or of 0-d array, or array of shape (N,)
        For example a list of losses, on any device.

    Returns
    -------
    numpy.ndarray, shape (N,)
        float64, equal to the result of the book's function of this name: at its ends, the curve is
        extended by reflection. Fewer than 11 points are returned unchanged.
    """
    values = np.asarray(to_host(x), dtype=np.float64)
    width = 11
    if values.shape[0] < width:
        return values
    half = width // 2
    padded = np.concatenate([values[half:0:-1], values, values[: -half - 1 : -1]])
    window = np.kaiser(width, 2)
    return np.convolve(padded, window / window.sum(), mode="valid")
