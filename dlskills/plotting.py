"""The common style of all figures, and helpers to draw and save them."""

from __future__ import annotations

import base64
import functools
import html
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from dlskills.arrays.backend import Array, to_host
from dlskills.files import write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

# Okabe & Ito (2008), "Color universal design": distinguishable with any kind of colour vision. In
# black and white, the markers distinguish the curves.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 11,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "figure.dpi": 100,
    "figure.titlesize": 13,
    "font.size": 11,
    "grid.alpha": 0.5,
    "grid.color": "#cccccc",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "dlskills",  # makes the files reproducible
}


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

        settings: Any = _defaults() | STYLE
        with mpl.rc_context(settings):
            return draw(*args, **kwargs)

    return drawn


@functools.cache
def _defaults() -> dict[str, Any]:
    import matplotlib as mpl

    with warnings.catch_warnings(action="ignore"):  # about deprecated settings
        known = dict(mpl.rcParamsDefault.items())
    return {name: value for name, value in known.items() if name not in _NOT_STYLE}


def plain(text: str) -> str:
    """Escape dollar signs, so that Matplotlib draws them instead of starting a formula."""
    return text.replace("$", r"\$")


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

    figure = Figure(figsize=size, layout="constrained")
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
            color=COLORS[i % len(COLORS)],
            marker=MARKERS[i % len(MARKERS)],
            markevery=max(len(x) // markers, 1),
            label=plain(name),
        )
    axes.legend()


def mark(figure: Figure, text: str) -> None:
    """Write a note along the lower edge of a figure, below its panels."""
    height = 0.28 / figure.get_figheight()  # of one line of text, as a fraction of the figure
    engine: Any = figure.get_layout_engine()
    engine.set(rect=(0, height, 1, 1 - height))
    figure.text(0.99, 0.01, text, ha="right", va="bottom", fontsize=9, color="#D55E00")


class Figures(dict[str, Any]):
    """A dict of figures by name, which notebooks show one below the other.

    Examples
    --------
    >>> Figures(curve=new_figure()[0])["curve"].get_figwidth()
    8.0
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
    """Save a figure as PNG and SVG; return both paths."""
    paths = {folder / f"{name}.png": io.BytesIO(), folder / f"{name}.svg": io.BytesIO()}
    png, svg = paths.values()
    with warnings.catch_warnings():
        # Names given by users may be in any script. SVG stores them as text for the browser.
        warnings.filterwarnings("ignore", r"Glyph .* missing from", UserWarning)
        figure.savefig(png, format="png")
        figure.savefig(svg, format="svg", metadata={"Date": None})
    for path, content in paths.items():
        write_file(path, content.getvalue())
    return list(paths)


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
