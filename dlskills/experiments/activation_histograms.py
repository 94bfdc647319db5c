"""What initial weights make of activations: their distribution, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, get_backend, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.choices import (
    activation_label,
    activation_name,
    init_label,
    parse_activations,
)
from dlskills.experiments.claims import Check, claim, tutorial
from dlskills.experiments.drawing import folded
from dlskills.experiments.experiment import Experiment, Option, register
from dlskills.experiments.options import WEIGHT_INITS
from dlskills.experiments.settings import Numbers, Settings
from dlskills.experiments.tables import Number, Table
from dlskills.experiments.text import Texts
from dlskills.layers import ACTIVATIONS, Affine
from dlskills.networks.sequential import Sequential
from dlskills.plotting import color, current_look, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXTS = Texts("activation-histograms")
INPUTS, UNITS, LAYERS, BINS = 1000, 100, 5, 30
ENDS = {"sigmoid": (0, 1), "tanh": (-1, 1)}
"""Functions with a bounded range; of others, positive values are shown on a logarithmic axis."""


def run(
    settings: Settings,
    *,
    draws: int = 8,
    weight_init: Sequence[float | str] = (1.0, 0.01, "xavier", "he"),
    activation: Sequence[str] = ("sigmoid", "tanh", "relu"),
) -> Numbers:
    """Send inputs forward and a gradient back through every network.

    Parameters
    ----------
    settings : Settings
        `subset` plays no part.
    draws : int, default 8
        How often weights and inputs are drawn.
    weight_init : sequence of float or str, default (1.0, 0.01, "xavier", "he")
    activation : sequence of str or class, default ("sigmoid", "tanh", "relu")

    Returns
    -------
    dict
        ``statistics``: for each activation function, scale of weights and name of a statistic
        (see :func:`describe`), its value for each draw and layer; ``histograms``: for each
        function and scale, of the first draw, ``edges``, and for each layer ``counts``, the
        fraction of ``zeros``, and what fraction of the values counted lies ``outside`` the edges;
        ``labels``: what to call each function.
    """
    count = check_count("draws", draws)
    backend = get_backend(settings.device)
    seeds = [int(seed) for seed in stream(settings.seed, "draws").integers(2**32, size=count)]
    inits = {init_label(choice): choice for choice in weight_init}
    functions = {activation_name(choice): activation_label(choice) for choice in activation}
    cases = [(function, init) for function in functions for init in inits]
    statistics: Numbers = {function: {init: {} for init in inits} for function in functions}
    histograms: Numbers = {function: {} for function in functions}
    progress = Progress(count * len(cases), "activation-histograms", show=settings.verbose)
    with progress, backend.active():
        for seed in seeds:
            x, dout = (
                backend.asarray(stream(seed, what).standard_normal((INPUTS, UNITS)), "float64")
                for what in ("inputs", "gradient")
            )
            for function, init in cases:
                passed = _pass(function, inits[init], x, dout, seed, settings.device)
                for name, values in describe(function, *passed).items():
                    statistics[function][init].setdefault(name, []).append(values)
                if seed == seeds[0]:
                    histograms[function][init] = _histograms(function, passed[0])
                progress.advance()
    return {"statistics": statistics, "histograms": histograms, "labels": functions}


def _pass(
    function: str, init: Any, x: Array, dout: Array, seed: int, device: str
) -> tuple[list[Array], list[Array], list[Array]]:
    """Return activations, derivatives and gradients at each layer's output, on the host."""
    layers = [
        layer
        for _ in range(LAYERS)
        for layer in (Affine(UNITS, UNITS, init), ACTIVATIONS[function]())
    ]
    # in float64: what sigmoid makes of weights of 0.01 is lost in the rounding of float32
    network = Sequential(layers, seed=seed, device=device, dtype="float64")
    xp = network.backend.xp
    activations, derivatives = [], []
    gradients: list[Array] = []
    for affine, layer in zip(layers[::2], layers[1::2], strict=True):
        x = layer.forward(affine.forward(x))
        activations.append(to_host(x))
        derivatives.append(to_host(layer.backward(xp.ones_like(x))))
    for layer in reversed(layers):
        if layer in layers[1::2]:
            gradients.insert(0, to_host(dout))
        dout = layer.backward(dout)
    return activations, derivatives, gradients


def describe(
    function: str, activations: list[Array], derivatives: list[Array], gradients: list[Array]
) -> dict[str, list[float]]:
    """Return statistics of each layer.

    Parameters
    ----------
    function : str
        The activation function.
    activations, derivatives, gradients : list of numpy.ndarray, shape (inputs, units)
        Of each layer: the values, the function's derivative there, and the gradient that arrives
        from above.

    Returns
    -------
    dict of str to list of float
        ``mean``, ``std`` and ``skewness`` of all values; ``centred``, the fraction from 0.4 to 0.6;
        ``saturated``, the fraction within a tenth of the function's range from one of its ends (0
        without ends, as for ReLU); ``dead``, the fraction of units that are 0 for all inputs;
        ``signal``, the standard deviation of a unit over the inputs, of all units the root mean
        square; ``correlation``, the mean size of the correlation of two units; ``derivative``,
        the mean of the function's; ``gradient``, the root mean square.
    """
    statistics: dict[str, list[float]] = {}
    for values, derivative, gradient in zip(activations, derivatives, gradients, strict=True):
        mean, std = np.mean(values), np.std(values)
        centred = values - mean
        tenth = {"sigmoid": (0.1, 0.9), "tanh": (-0.8, 0.8)}.get(function, (-np.inf, np.inf))
        found = {
            "mean": mean,
            "std": std,
            "skewness": np.mean(centred * centred * centred) / std**3,
            "centred": np.mean(np.abs(values - 0.5) <= 0.1),
            "saturated": np.mean((values < tenth[0]) | (values > tenth[1])),
            "dead": np.mean(np.all(values == 0, axis=0)),
            "signal": np.sqrt(np.mean(np.var(values, axis=0))),
            "correlation": _correlation(values),
            "derivative": np.mean(derivative),
            "gradient": np.sqrt(np.mean(gradient * gradient)),
        }
        for name, value in found.items():
            statistics.setdefault(name, []).append(float(value))
    return statistics


def _correlation(a: Array) -> float:
    """Return the mean absolute correlation of two units, of those that are not constant."""
    varying = a[:, np.std(a, axis=0) > 0]
    if varying.shape[1] < 2:
        return np.nan
    between = np.abs(np.corrcoef(varying, rowvar=False))
    return float(np.mean(between[np.triu_indices_from(between, 1)]))


def _histograms(function: str, activations: list[Array]) -> Numbers:
    # half of what ReLU returns is exactly 0, and would hide all the rest
    bounded = function in ENDS
    shown = [a if bounded else a[a > 0] for a in activations]
    if bounded:
        edges = np.linspace(*ENDS[function], BINS + 1)
    else:  # from layer to layer the values may shrink or grow a thousandfold
        seen = [values for values in shown if values.size]
        low = min((float(np.quantile(values, 0.002)) for values in seen), default=0.1)
        high = max((float(np.quantile(values, 0.999)) for values in seen), default=1.0)
        edges = np.geomspace(low, max(high, 1.01 * low), 2 * BINS + 1)
    found: Numbers = {"edges": edges.tolist(), "counts": [], "outside": [], "zeros": []}
    for a, values in zip(activations, shown, strict=True):
        found["counts"].append(np.histogram(values, edges)[0].tolist())
        outside = np.sum((values < edges[0]) | (values > edges[-1])) / max(values.size, 1)
        found["outside"].append(float(outside))
        found["zeros"].append(float(np.mean(a == 0)))
    return found


@styled
def plot(runs: list[Numbers]) -> dict[str, Figure]:
    """Draw one figure per activation function; rows are scales of weights, columns are layers."""
    return {
        f"activation-histograms-{function}": _plot(runs[0], function)
        for function in runs[0]["histograms"]
    }


def _plot(numbers: Numbers, function: str) -> Figure:
    inits = numbers["histograms"][function]
    narrow = current_look().narrow
    shared: dict[str, Any] = {} if narrow else {"sharex": "row", "sharey": "row"}
    if narrow:  # two panels per row
        shape, size = (-(-len(inits) * LAYERS // 2), 2), (4.0, 0.8 * len(inits) * LAYERS)
    else:
        shape, size = (len(inits), LAYERS), (9, 0.9 + 1.9 * len(inits))
    figure, axes = new_figure(
        *shape, size=size, squeeze=False,
        **shared,
    )  # fmt: skip
    bounded = function in ENDS
    panels = list(axes.flat)
    for panel in panels[len(inits) * LAYERS :]:
        panel.remove()
    for row, init in enumerate(inits):
        for layer in range(LAYERS):
            panel = panels[row * LAYERS + layer]
            _draw(panel, numbers, function, init, layer, color(row))
            if not bounded:
                panel.set_xscale("log")
            if narrow:
                place = TEXTS("init-and-layer", init=TEXTS.name(init), layer=layer + 1)
                panel.set_title(f"{place}\n{panel.get_title()}", fontsize=9)
            elif layer == 0:
                panel.set_ylabel(f"{TEXTS('weights', init=TEXTS.name(init))}\n{TEXTS('share')}")
    if not narrow:
        for layer, panel in enumerate(axes[-1]):
            panel.set_xlabel(str(TEXTS("layer", layer=layer + 1)), fontsize=12)
    key = "figure" if bounded else "figure-positive"
    title = TEXTS(key, function=numbers["labels"][function])
    figure.suptitle(folded(f"{title}\n{TEXTS('figure-note')}", figure, 13))
    return figure


def _draw(panel: Axes, numbers: Numbers, function: str, init: str, layer: int, shade: str) -> None:
    found = numbers["histograms"][function][init]
    edges = np.asarray(found["edges"])
    shares = np.asarray(found["counts"][layer]) / (INPUTS * UNITS)
    panel.stairs(shares, edges, fill=True, color=shade, label=f"{init}, layer {layer + 1}")
    std = numbers["statistics"][function][init]["std"][0][layer]
    note = f"σ = {_two_digits(std)}"
    if found["outside"][layer] >= 0.005:  # else it would read 0%
        note += f"\n{TEXTS('outside', share=found['outside'][layer])}"
    panel.set_title(note, fontsize=9)
    panel.tick_params(labelsize=9)
    if function in ENDS:
        panel.locator_params(nbins=3)
    panel.yaxis.set_major_formatter("{x:.0%}")
    panel.set_xlim(edges[0], edges[-1])


def _two_digits(value: float) -> str:
    """Return 2,300 or 0.029; powers of ten only for the very small."""
    return f"{value:.1e}" if value < 1e-4 else f"{float(f'{value:.2g}'):,g}"


def table(numbers: Numbers) -> Table:
    """Return the spread in the first and last layer, and how much of the gradient arrives."""
    rows: list[list[Any]] = []
    for function, inits in numbers["statistics"].items():
        for init in inits:
            std = np.median(_all(numbers, function, init, "std"), axis=0)
            saturated = np.max(np.median(_all(numbers, function, init, "saturated"), axis=0))
            arrives = _through(numbers, function, init, "gradient", backwards=True)
            rows.append(
                [numbers["labels"][function], TEXTS.name(init), Number(float(std[0]), ".2g"),
                 Number(float(std[-1]), ".2g"), Number(float(saturated), ".0%"),
                 Number(arrives, ".1e")]
            )  # fmt: skip
    columns = [
        TEXTS("function"), TEXTS("initial-weights"), TEXTS("std-layer", layer=1),
        TEXTS("std-layer", layer=LAYERS), TEXTS("saturated"), TEXTS("gradient-left"),
    ]  # fmt: skip
    return Table(columns, rows)


def _all(numbers: Numbers, function: str, init: str, name: str) -> Array:
    """Return a statistic of all draws and layers."""
    return np.asarray(numbers["statistics"][function][init][name])


def _through(
    numbers: Numbers, function: str, init: str, name: str, *, backwards: bool = False
) -> float:
    """Return the geometric mean over draws of the last layer's statistic over the first's."""
    values = _all(numbers, function, init, name)
    logs = np.log(values[:, -1]) - np.log(values[:, 0])
    return float(np.exp(np.mean(-logs if backwards else logs)))


def _highest(numbers: Numbers, function: str, init: str, name: str, first: int = 1) -> float:
    """Return the largest size of a statistic in any layer from `first` on, in the median draw."""
    return float(np.median(np.max(np.abs(_all(numbers, function, init, name)[:, first - 1 :]), 1)))


def _lowest(numbers: Numbers, function: str, init: str, name: str, first: int = 1) -> float:
    return float(np.median(np.min(np.abs(_all(numbers, function, init, name)[:, first - 1 :]), 1)))


def _size(numbers: Numbers, function: str, layer: int) -> float:
    """Return the absolute skewness with Xavier's weights, in the median draw."""
    return float(np.median(np.abs(_all(numbers, function, "Xavier", "skewness")[:, layer])))


def _bells(numbers: Numbers, function: str, init: str) -> float:
    """Return the number of layers whose histogram peaks in the middle third of its range."""
    peaks = np.argmax(np.asarray(numbers["histograms"][function][init]["counts"]), axis=1)
    return float(np.sum((peaks >= BINS // 3) & (peaks < BINS - BINS // 3)))


def _gradient_left(
    function: str, init: str, low: float = -np.inf, high: float = np.inf, *, bound: str
) -> Check:
    return Check(
        TEXTS("gradient-ratio"),
        lambda n: _through(n, function, init, "gradient", backwards=True),
        low,
        high,
        form=".2g",
        bound=bound,
    )


DISTRIBUTION, RELU = tutorial("distribution"), tutorial("relu-init")

CLAIMS = (
    claim(TEXTS, "sigmoid-1", DISTRIBUTION,
          Check("saturated", lambda n: _lowest(n, "sigmoid", "std 1", "saturated"), at_least=0.65,
                form=".0%", bound="two-thirds"),
          Check("derivative", lambda n: _highest(n, "sigmoid", "std 1", "derivative"),
                at_most=0.08, bound="third-of-slope")),
    claim(TEXTS, "sigmoid-1-gradient", DISTRIBUTION,
          _gradient_left("sigmoid", "std 1", -np.inf, 0.1, bound="vanish")),
    claim(TEXTS, "sigmoid-001", DISTRIBUTION,
          Check("centred", lambda n: _lowest(n, "sigmoid", "std 0.01", "centred", first=2),
                at_least=0.999, form=".1%", bound="nearly-all"),
          Check("std", lambda n: _highest(n, "sigmoid", "std 0.01", "std", first=2), at_most=0.02,
                bound="narrow"),
          Check("signal", lambda n: _through(n, "sigmoid", "std 0.01", "signal"), at_most=1e-4,
                form=".2g", bound="signal")),
    claim(TEXTS, "sigmoid-001-gradient", DISTRIBUTION,
          _gradient_left("sigmoid", "std 0.01", 0.1, bound="vanish")),
    claim(TEXTS, "sigmoid-xavier", DISTRIBUTION,
          Check("std",
                lambda n: float(
                    np.median(
                        _all(n, "sigmoid", "Xavier", "std")[:, -1]
                        / _all(n, "sigmoid", "std 0.01", "std")[:, -1]
                    )
                ),
                at_least=5, bound="five-times"),
          Check("saturated", lambda n: _highest(n, "sigmoid", "Xavier", "saturated"),
                at_most=0.05, form=".1%", bound="one-in-20")),
    claim(TEXTS, "sigmoid-skew", DISTRIBUTION,
          Check("last", lambda n: _size(n, "sigmoid", -1), at_least=0.03, form=".2g", bound="skew"),
          Check("first", lambda n: _size(n, "sigmoid", 0), at_most=0.03, form=".2g", bound="skew")),
    claim(TEXTS, "tanh-skew", DISTRIBUTION,
          Check("skewness", lambda n: _highest(n, "tanh", "Xavier", "skewness"), at_most=0.05,
                bound="symmetric"),
          Check("mean", lambda n: _highest(n, "tanh", "Xavier", "mean"), at_most=0.01,
                bound="symmetric"),
          Check("std", lambda n: _lowest(n, "tanh", "Xavier", "std"), at_least=0.25,
                bound="eighth")),
    claim(TEXTS, "tanh-bell", DISTRIBUTION,
          Check("bells", lambda n: _bells(n, "tanh", "Xavier"), at_least=LAYERS, form=".0f",
                bound="all-layers")),
    claim(TEXTS, "relu-001", RELU,
          Check("std", lambda n: _through(n, "relu", "std 0.01", "std"), at_most=1e-4, form=".2g",
                bound="tenfold-a-layer"),
          _gradient_left("relu", "std 0.01", -np.inf, 1e-3, bound="tenfold-a-layer")),
    claim(TEXTS, "relu-xavier", RELU,
          Check("std", lambda n: _through(n, "relu", "Xavier", "std"), 0.15, 0.4,
                bound="quarter")),
    claim(TEXTS, "relu-xavier-gradient", RELU,
          _gradient_left("relu", "Xavier", -np.inf, 0.5, bound="half-left")),
    claim(TEXTS, "relu-he", RELU,
          Check("std", lambda n: _through(n, "relu", "He", "std"), 0.85, 1.15, bound="unity"),
          _gradient_left("relu", "He", 0.85, 1.15, bound="unity")),
)  # fmt: skip

EXPERIMENT = register(
    Experiment(
        name="activation-histograms",
        title=TEXTS("title"),
        about=TEXTS("about"),
        run=run,
        plot=plot,
        table=table,
        claims=CLAIMS,
        alt=TEXTS.group("alt"),
        options={
            "draws": "How often weights and inputs are drawn.",
            "weight_init": WEIGHT_INITS,
            "activation": Option(
                "Functions to compare: sigmoid, tanh, relu, ..., or my.py:CLASS.", parse_activations
            ),
        },
        quick={"draws": 1},
        uses=(),
    )
)
