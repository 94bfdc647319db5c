"""Optimizers on the surface f(x, y) = x**2 / 20 + y**2, and on others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, get_backend, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.checks import check_count
from dlskills.experiments.choices import (
    optimizers as make_optimizers,
)
from dlskills.experiments.choices import (
    parse_optimizers,
    parse_point,
)
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import folded, legend_below, panels, titled
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.surfaces import SURFACES, Surface, surface_of
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.optimizers import SGD, AdaGrad, Momentum, RMSprop
from dlskills.plotting import color, current_look, new_figure, plain, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXTS = Texts("optimizer-paths")
FOUR = ("SGD", "Momentum", "AdaGrad", "Adam")
BOWL = SURFACES["bowl"]
POINTS = 30


def run(
    settings: Settings,
    *,
    points: int = POINTS,
    function: str = "bowl",
    start: Sequence[float] | None = None,
    optimizers: Sequence[Any] | None = None,
) -> Numbers:
    """Follow each method along the exact gradient.

    Parameters
    ----------
    settings : Settings
        `seed` and `subset` play no part.
    points : int, default 30
        Of each path, the start among them.
    function : str, default "bowl"
        A name, or a function of a file: see :func:`~dlskills.experiments.surfaces.surface_of`.
    start : sequence of float, optional
        x and y; by default the surface's own, (-7, 2) for the bowl.
    optimizers : sequence of str or optimizer, optional
        See :func:`~dlskills.experiments.choices.parse_optimizers`; by default SGD, Momentum,
        AdaGrad and Adam at rates that suit the surface, the tutorial's for the bowl.

    Returns
    -------
    dict
        ``paths``: for each method its points, in float64; ``lr``: its learning rate; ``function``;
        on the bowl also ``at_rates``: the height at the end of some methods at other rates, and
        ``constant``: how far each step of AdaGrad and RMSprop goes under a constant gradient.
    """
    surface = surface_of(function)
    chosen = optimizers or [f"{name}:lr={rate}" for name, rate in surface.rates.items()]
    methods = make_optimizers(chosen)
    count = check_count("points", points)
    begin = tuple(start or surface.start)
    numbers: Numbers = {"function": function, "paths": {}, "lr": {}}
    with Progress(len(methods), "optimizer-paths", show=settings.verbose) as progress:
        for name, optimizer in methods.items():
            numbers["lr"][name] = getattr(optimizer, "lr", None)
            numbers["paths"][name] = _follow(settings, surface, optimizer, begin, count)
            progress.advance()
    if surface is BOWL:
        numbers["at_rates"] = {
            name: float(BOWL.value(*_follow(settings, BOWL, rule, BOWL.start, POINTS)[-1]))
            for name, rule in {
                "SGD, 0.01": SGD(lr=0.01), "SGD, 0.95": SGD(lr=0.95), "SGD, 1.05": SGD(lr=1.05),
                "AdaGrad, 0.1": AdaGrad(lr=0.1), "Momentum, 0.1": Momentum(lr=0.1),
            }.items()
        }  # fmt: skip
        numbers["constant"] = {
            type(rule).__name__: _steps_of_constant(rule) for rule in (AdaGrad(0.1), RMSprop(0.1))
        }
    return numbers


def parse_function(value: Any) -> str:
    """Check a surface's name, or ``FILE.py:NAME``."""
    if not isinstance(value, str):
        raise TypeError(f"function must be a name or 'FILE.py:NAME', got {value!r}")
    surface_of(value)
    return value


def _follow(
    settings: Settings, surface: Surface, optimizer: Any, start: Sequence[float], count: int
) -> list[list[float]]:
    """Return the points of a path; it ends early where numbers are no longer finite."""
    backend = get_backend(settings.device)
    with backend.active(), np.errstate(over="ignore", invalid="ignore"):
        begin = {k: backend.asarray(v, "float64") for k, v in zip("xy", start, strict=True)}
        params = Parameters(begin)
        grads = params.zeros_like()
        path = []
        for _ in range(count):
            path.append(backend.xp.stack([params["x"], params["y"]]))
            grads["x"], grads["y"] = surface.gradient(params["x"], params["y"])
            optimizer.update(params, grads)
        found = np.asarray(to_host(path))
    finite = np.all(np.abs(found) < 1e100, axis=1)
    kept: list[list[float]] = found[: len(found) if finite.all() else np.argmin(finite)].tolist()
    return kept


def _steps_of_constant(optimizer: Any, count: int = 1000) -> list[float]:
    params, lengths = {"x": 0.0}, []
    for _ in range(count):
        before = params["x"]
        optimizer.update(params, {"x": 1.0})
        lengths.append(abs(params["x"] - before))
    return lengths


def gradient_field() -> tuple[Array, Array, Array, Array]:
    """Return points of a grid over the bowl's window, and its gradient: x, y, df/dx, df/dy."""
    x, y = np.meshgrid(np.arange(-10.0, 10.5, 1.0), np.arange(-5.0, 5.25, 0.5))
    return x, y, *BOWL.gradient(x, y)


# Figures


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw the paths over contours of the surface; the surface; its gradient."""
    surface = surface_of(runs[0].get("function", "bowl"))
    return {
        "optimizer-paths": _plot_paths(runs[0], surface),
        "optimizer-paths-surface": _plot_surface(surface),
        "optimizer-paths-gradient": _plot_gradient(surface),
    }


def _plot_paths(numbers: Numbers, surface: Surface) -> Figure:
    paths = numbers["paths"]
    columns = 2 if len(paths) <= 4 else 3
    figure, axes = panels(
        len(paths), columns=columns, size=(9 / columns, 2.6), xlabel="x", ylabel="y",
        title=TEXTS("paths", formula=surface.formula, count=max(map(len, paths.values()))),
    )  # fmt: skip
    ink = current_look().ink
    for i, (panel, (name, path)) in enumerate(zip(axes, paths.items(), strict=True)):
        _contours(panel, surface)
        points = np.asarray(path)
        panel.plot(points[:, 0], points[:, 1], "o-", color=color(i), markersize=4)
        panel.plot(*points[0], "s", color=ink, label=str(TEXTS("start")))
        _mark_minimum(panel, surface)
        rate = numbers["lr"][name]
        panel.set_title(
            plain(name if rate is None else str(TEXTS("at-rate", name=name, rate=rate)))
        )
    layout: Any = figure.get_layout_engine()
    layout.set(h_pad=0.1)  # titles nearer to their own panel than to the one above
    legend_below(figure, axes[0])
    return figure


def _mark_minimum(panel: Axes, surface: Surface) -> None:
    if surface.minimum is not None:
        panel.plot(*surface.minimum, "+", color=current_look().ink, markersize=11,
                   markeredgewidth=2, label=str(TEXTS("minimum")))  # fmt: skip


def _grid(surface: Surface, count: int) -> tuple[Array, Array]:
    left, right, low, high = surface.window
    x, y = np.meshgrid(np.linspace(left, right, count), np.linspace(low, high, count))
    return x, y


def _contours(panel: Any, surface: Surface) -> None:
    x, y = _grid(surface, 201)
    panel.contour(x, y, surface.value(x, y), levels=surface.levels, linewidths=0.8,
                  colors=current_look().muted)  # fmt: skip
    left, right, low, high = surface.window
    panel.set(xlim=(left, right), ylim=(low, high), aspect="equal")


def _plot_surface(surface: Surface) -> Figure:
    figure, (left, right) = new_figure(
        1, 2, size=(4.0, 6.4) if current_look().narrow else (9.6, 3.8),
        per_subplot_kw={"a": {"projection": "3d"}}, mosaic="a;b" if current_look().narrow else "ab",
        **({} if current_look().narrow else {"width_ratios": [1, 1.15]}),
    )  # fmt: skip
    x, y = _grid(surface, 81)
    left.plot_surface(x, y, surface.value(x, y), cmap="viridis", rstride=2, cstride=2, linewidth=0)
    left.set(xlabel="x", ylabel="y", zlabel="f(x, y)")
    left.set_box_aspect(None, zoom=0.86)  # else the label of z overlaps the next panel's of y
    for axis in (left.xaxis, left.yaxis, left.zaxis):
        axis.set_pane_color(current_look().paper)
        axis.line.set_color(current_look().ink)
    _contours(right, surface)
    _mark_minimum(right, surface)
    levels = ", ".join(f"{level:g}" for level in surface.levels)
    right.set(xlabel="x", ylabel="y")
    figure.suptitle(folded(TEXTS("surface", formula=surface.formula, levels=levels), figure))
    return figure


def _plot_gradient(surface: Surface) -> Figure:
    """Arrows of one length, which shows directions; their colour shows the size."""
    from matplotlib.colors import LogNorm

    figure, panel = new_figure(size=(8, 4.6))
    left, right, low, high = surface.window
    step = (right - left) / (12 if current_look().narrow else 20)
    x, y = np.meshgrid(np.arange(left, right + step / 2, step),
                       np.arange(low, high + step / 2, step))  # fmt: skip
    dx, dy = surface.gradient(x, y)
    size = np.hypot(dx, dy)
    steep = size > 1e-9 * np.max(size)
    x, y, dx, dy, size = (part[steep] for part in (x, y, dx, dy, size))
    arrows = panel.quiver(
        x, y, -dx / size, -dy / size, size, angles="xy", scale_units="xy", scale=1.25 / step,
        pivot="middle", width=0.008 if current_look().narrow else 0.004, norm=LogNorm(),
        cmap="viridis" if current_look().theme == "dark" else "viridis_r",
    )  # fmt: skip
    beside = {"orientation": "horizontal"} if current_look().narrow else {"shrink": 0.8}
    figure.colorbar(arrows, ax=panel, label=str(TEXTS("gradient-size")), **beside)
    _mark_minimum(panel, surface)
    titled(panel, TEXTS("gradient", formula=surface.formula))
    panel.set(xlabel="x", ylabel="y", aspect="equal", xlim=(left - step / 2, right + step / 2),
              ylim=(low - step / 2, high + step / 2))  # fmt: skip
    return figure


def table(numbers: Numbers) -> Table:
    """Return where each path ends, how long it is, how often it crosses the valley."""
    surface = surface_of(numbers["function"])
    rows: list[list[Any]] = []
    for name, path in numbers["paths"].items():
        points, rate = np.asarray(path), numbers["lr"][name]
        length = np.sum(np.hypot(*np.diff(points, axis=0).T))
        end = points[-1]
        rows.append(
            [name, "–" if rate is None else f"{rate:g}", f"({end[0]:.3f}, {end[1]:.3f})",
             Number(float(surface.value(*end)), ".2e"), Number(float(length), ".1f"),
             Number(_turns(numbers, name), ".0f")]
        )  # fmt: skip
    columns = ["method", "lr", "last-point", "f-there", "path-length", "crossed"]
    return Table([TEXTS(column) for column in columns], rows)


# Claims


def _path(numbers: Numbers, name: str) -> Array:
    return np.asarray(numbers["paths"][name])


def _turns(numbers: Numbers, name: str, axis: int = 1) -> float:
    """Return how often y, or x, changes its sign."""
    return float(np.sum(np.diff(np.sign(_path(numbers, name)[:, axis])) != 0))


def _beyond(numbers: Numbers, name: str) -> float:
    return float(-np.min(_path(numbers, name)[:, 1]))


def _sway(numbers: Numbers, name: str) -> float:
    return float(np.sum(np.abs(np.diff(_path(numbers, name)[:, 1]))))


def _detour(numbers: Numbers, name: str) -> float:
    path = _path(numbers, name)
    return float(np.sum(np.hypot(*np.diff(path, axis=0).T)) / np.hypot(*path[0]))


def _end(numbers: Numbers, name: str) -> float:
    return float(BOWL.value(*_path(numbers, name)[-1]))


def _speed_up(numbers: Numbers) -> float:
    """Return Momentum's longest step along x over its first."""
    steps = np.abs(np.diff(_path(numbers, "Momentum")[:, 0]))
    return float(np.max(steps) / steps[0])


def _step_sizes(numbers: Numbers) -> Array:
    """Return AdaGrad's effective learning rate in y: step over gradient."""
    y = _path(numbers, "AdaGrad")[:, 1]
    return np.abs(np.diff(y) / (2 * y[:-1]))


def _off_the_minimum(_: Numbers) -> float:
    x, y, dx, dy = (part.ravel() for part in gradient_field())
    there = np.hypot(x, y) > 0
    cosine = (x * dx + y * dy)[there] / (np.hypot(x, y) * np.hypot(dx, dy))[there]
    return float(np.mean(np.degrees(np.arccos(np.clip(cosine, -1, 1))) > 15))


def _steepness(_: Numbers) -> float:
    _, _, dx, dy = gradient_field()
    return float(np.sqrt(np.mean(dy**2) / np.mean(dx**2)))


def _ratio_of_axes(_: Numbers) -> float:
    """Return length over height of the contour f = 1, found on the surface itself."""
    along = np.linspace(0, 10, 100_001)
    x_end = along[np.searchsorted(BOWL.value(along, 0 * along), 1.0)]
    y_end = along[np.searchsorted(BOWL.value(0 * along, along), 1.0)]
    return float(x_end / y_end)


WEAKNESS, MOMENTUM, ADAGRAD, WHICH = map(tutorial, ("sgd-weakness", "momentum", "adagrad", "which"))

CLAIMS = (
    claim(TEXTS, "bowl", WEAKNESS,
          Check("axes", _ratio_of_axes, 4.42, 4.52, bound="sqrt-20")),
    claim(TEXTS, "gradient", WEAKNESS,
          Check("steepness", _steepness, at_least=5, bound="steepness"),
          Check("off", _off_the_minimum, at_least=0.75, form=".0%", bound="off-15")),
    claim(TEXTS, "zigzag", WEAKNESS,
          Check("y-flips", lambda n: _turns(n, "SGD") / (len(n["paths"]["SGD"]) - 1), 1, 1, ".0%",
                bound="every-step"),
          Check("x-flips", lambda n: _turns(n, "SGD", 0), at_most=0, form=".0f",
                bound="every-step"),
          Check("detour", lambda n: _detour(n, "SGD"), at_least=4, bound="detour")),
    claim(TEXTS, "rolls", MOMENTUM,
          Check("y-flips", lambda n: _turns(n, "Momentum"), at_most=6, form=".0f",
                bound="fewer-turns"),
          Check("sway", lambda n: _sway(n, "Momentum") / _sway(n, "SGD"), at_most=0.5,
                bound="visible")),
    claim(TEXTS, "speeds-up", MOMENTUM,
          Check("longest", _speed_up, at_least=2, bound="momentum-gain")),
    claim(TEXTS, "faster-x", MOMENTUM,
          Check("left",
                lambda n: abs(n["paths"]["SGD"][10][0]) - abs(n["paths"]["Momentum"][10][0]),
                at_least=0.01, bound="ahead")),
    claim(TEXTS, "rate", ADAGRAD,
          Check("small", lambda n: n["at_rates"]["SGD, 0.01"] / n["at_rates"]["SGD, 0.95"],
                at_least=10, bound="tenfold"),
          Check("large", lambda n: n["at_rates"]["SGD, 1.05"] / BOWL.value(*BOWL.start),
                at_least=10, bound="tenfold")),
    claim(TEXTS, "decays", ADAGRAD,
          Check("rise", lambda n: float(np.max(np.diff(_step_sizes(n)))), at_most=1e-12,
                bound="rounding"),
          Check("constant", lambda n: n["constant"]["AdaGrad"][999] / n["constant"]["AdaGrad"][499],
                0.70, 0.714, bound="root-of-steps")),
    claim(TEXTS, "rmsprop", ADAGRAD,
          Check("constant", lambda n: n["constant"]["RMSprop"][999] / n["constant"]["RMSprop"][499],
                at_least=0.99, bound="steady")),
    claim(TEXTS, "adagrad", ADAGRAD,
          Check("y-flips", lambda n: _turns(n, "AdaGrad"), at_most=0, form=".0f", bound="straight"),
          Check("detour", lambda n: _detour(n, "AdaGrad"), at_most=1.1, bound="straight"),
          Check("uphill",
                lambda n: float(np.sum(np.diff(BOWL.value(*_path(n, "AdaGrad").T)) > 0)),
                at_most=0, form=".0f", bound="never")),
    claim(TEXTS, "adam", tutorial("adam"),
          Check("sway", lambda n: _sway(n, "Adam") / _sway(n, "Momentum"), at_most=0.75,
                bound="quarter-less"),
          Check("beyond", lambda n: _beyond(n, "Adam") / _beyond(n, "Momentum"), at_most=0.75,
                bound="quarter-less"),
          Check("y-flips", lambda n: _turns(n, "Adam"), 1, 3, ".0f", bound="fewer-than-momentum")),
    claim(TEXTS, "best", WHICH,
          Check("end",
                lambda n: (
                    _end(n, "AdaGrad")
                    / min(_end(n, name) for name in n["paths"] if name != "AdaGrad")
                ),
                at_most=0.5, bound="visible")),
    claim(TEXTS, "other-rates", WHICH,
          Check("end", lambda n: n["at_rates"]["AdaGrad, 0.1"] / n["at_rates"]["Momentum, 0.1"],
                at_least=2, bound="visible")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="optimizer-paths",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "points": "Points of each path, the start among them.",
            "optimizers": Option(
                "Update rules, such as 'SGD:lr=0.5, my.py:SignMomentum:lr=0.1'; one panel each.",
                parse_optimizers,
            ),
            "function": Option(
                f"Surface: {', '.join(SURFACES)}, or 'my.py:f', a function f(x, y) of your own.",
                parse_function,
            ),
            "start": Option("Start point, such as '-7, 2'.", parse_point),
        },
        random=False,
        uses=(),
    )
)
