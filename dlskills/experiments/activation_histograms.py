"""What initial weights make of activations: their distribution, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dlskills.arrays.backend import Array, get_backend, to_host
from dlskills.arrays.random import stream
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.text import Text
from dlskills.layers import ACTIVATIONS, Affine
from dlskills.networks.sequential import Sequential
from dlskills.plotting import COLORS, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Activations of each layer", "各层激活值的分布")
ABOUT = Text(
    "1000 inputs of 100 standard normal numbers go through 5 layers of 100 units, without a bias. "
    "The weights are drawn with standard deviation 1, 0.01, Xavier's and He's: the same normal "
    "numbers, scaled. A histogram has the range of its activation function; what lies outside is "
    "counted in its title. A normal gradient sent back from the last layer shows what reaches the "
    "first. Figures show the first of several draws of weights and inputs; claims are judged on "
    "all of them, but for the shape of tanh's histograms, which is the first one's.",
    "1000 个输入，每个是 100 个标准正态随机数，经过 5 层，每层 100 个神经元，没有偏置。"
    "权重的标准差分别取 1、0.01、Xavier 和 He：由同一组正态随机数缩放得到。"
    "直方图的范围与激活函数相适应，范围之外的比例写在标题中。"
    "从最后一层送回一个正态的梯度，可以看到有多少传到第一层。"
    "图中是多次抽样中的第一次；各论断由全部抽样判断，只有 tanh 直方图的形状以第一次为准。",
)
RANDOM = True
USES: tuple[str, ...] = ()
QUICK = {"draws": 1}
OPTIONS = {"draws": "How often weights and inputs are drawn."}
INITS: dict[str, float | str] = {"std 1": 1.0, "std 0.01": 0.01, "Xavier": "xavier", "He": "he"}
FUNCTIONS = {"sigmoid": "sigmoid", "tanh": "tanh", "relu": "ReLU"}
INPUTS, UNITS, LAYERS, BINS = 1000, 100, 5, 30


def run(settings: Settings, *, draws: int = 8) -> Numbers:
    """Send inputs forward and a gradient back through every network.

    Parameters
    ----------
    settings : Settings
        `subset` plays no part.
    draws : int, default 8
        How often weights and inputs are drawn.

    Returns
    -------
    dict
        ``statistics``: for each activation function, spread of weights and name of a statistic
        (see :func:`describe`), its value for each draw and layer; ``histograms``: for each
        function and spread, of the first draw, ``edges``, and for each layer ``counts``, the
        share of ``zeros``, and what share of the values counted lies ``outside`` the edges.
    """
    count = check_count("draws", draws)
    backend = get_backend(settings.device)
    seeds = [int(seed) for seed in stream(settings.seed, "draws").integers(2**32, size=count)]
    cases = [(function, init) for function in FUNCTIONS for init in INITS]
    statistics: Numbers = {function: {init: {} for init in INITS} for function in FUNCTIONS}
    histograms: Numbers = {function: {} for function in FUNCTIONS}
    progress = Progress(count * len(cases), "activation-histograms", show=settings.verbose)
    with progress, backend.active():
        for seed in seeds:
            x, dout = (
                backend.asarray(stream(seed, what).standard_normal((INPUTS, UNITS)), "float64")
                for what in ("inputs", "gradient")
            )
            for function, init in cases:
                passed = _pass(function, INITS[init], x, dout, seed, settings.device)
                for name, values in describe(function, *passed).items():
                    statistics[function][init].setdefault(name, []).append(values)
                if seed == seeds[0]:
                    histograms[function][init] = _histograms(function, passed[0])
                progress.advance()
    return {"statistics": statistics, "histograms": histograms}


def _pass(
    function: str, init: float | str, x: Array, dout: Array, seed: int, device: str
) -> tuple[list[Array], list[Array], list[Array]]:
    """Activations, derivatives and gradients at each layer's output, on the host."""
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
    for affine, activation in zip(layers[::2], layers[1::2], strict=True):
        x = activation.forward(affine.forward(x))
        activations.append(to_host(x))
        derivatives.append(to_host(activation.backward(xp.ones_like(x))))
    for layer in reversed(layers):
        if layer in layers[1::2]:
            gradients.insert(0, to_host(dout))
        dout = layer.backward(dout)
    return activations, derivatives, gradients


def describe(
    function: str, activations: list[Array], derivatives: list[Array], gradients: list[Array]
) -> dict[str, list[float]]:
    """Statistics of each layer.

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
        ``mean``, ``std`` and ``skewness`` of all values; ``centred``, the share from 0.4 to 0.6;
        ``saturated``, the share within a tenth of the function's range from one of its ends (0
        for ReLU, which has none); ``dead``, the share of units that are 0 for all inputs;
        ``signal``, the standard deviation of a unit over the inputs, of all units the root mean
        square; ``correlation``, the mean size of the correlation of two units; ``derivative``,
        the mean of the function's; ``gradient``, the root mean square.
    """
    statistics: dict[str, list[float]] = {}
    for values, derivative, gradient in zip(activations, derivatives, gradients, strict=True):
        mean, std = np.mean(values), np.std(values)
        centred = values - mean
        tenth = {"sigmoid": (0.1, 0.9), "tanh": (-0.8, 0.8), "relu": (-np.inf, np.inf)}[function]
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
    """The mean size of the correlation of two units, of those that are not constant."""
    varying = a[:, np.std(a, axis=0) > 0]
    if varying.shape[1] < 2:
        return np.nan
    between = np.abs(np.corrcoef(varying, rowvar=False))
    return float(np.mean(between[np.triu_indices_from(between, 1)]))


def _histograms(function: str, activations: list[Array]) -> Numbers:
    # ReLU has no end: from 0 to where all but a hundredth of the first layer's values lie
    end = np.quantile(activations[0], 0.99)
    low, high = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, end)}[function]
    edges = np.linspace(low, high, BINS + 1)
    found: Numbers = {"edges": edges.tolist(), "counts": [], "outside": [], "zeros": []}
    for a in activations:
        # half of what ReLU gives is exactly 0, and would hide all the rest
        shown = a[a > 0] if function == "relu" else a
        found["counts"].append(np.histogram(shown, edges)[0].tolist())
        outside = np.sum((shown < low) | (shown > high)) / max(shown.size, 1)
        found["outside"].append(float(outside))
        found["zeros"].append(float(np.mean(a == 0)))
    return found


ALT = {
    "activation-histograms-sigmoid": Text(
        "Histograms of sigmoid's output, four spreads of weights by five layers. Standard "
        "deviation 1: piled up at 0 and 1. Standard deviation 0.01: one peak at 0.5. Xavier and "
        "He: broad hills around 0.5.",
        "sigmoid 输出的直方图，四种权重尺度、五层。标准差为 1 时堆积在 0 和 1；"
        "标准差为 0.01 时只有 0.5 处一个尖峰；Xavier 和 He 是 0.5 附近的宽峰。",
    ),
    "activation-histograms-tanh": Text(
        "Histograms of tanh's output. Standard deviation 1: piled up at -1 and 1. Standard "
        "deviation 0.01: a peak at 0 that narrows to a line. Xavier and He: symmetric about 0, "
        "at first flat or highest at the ends, with Xavier later a bell.",
        "tanh 输出的直方图。标准差为 1 时堆积在 -1 和 1；标准差为 0.01 时 0 处的峰越来越窄；"
        "Xavier 和 He 关于 0 对称，前几层平坦或两端较高，Xavier 的后几层呈吊钟形。",
    ),
    "activation-histograms-relu": Text(
        "Histograms of ReLU's positive outputs, each row to where its first layer ends. Standard "
        "deviation 1: most of them lie outside from the second layer on, nearly all from the "
        "third. Standard deviation 0.01: they shrink to 0. Xavier: they shrink slowly. He: the "
        "same in all layers.",
        "ReLU 正输出的直方图，每行的范围由第一层决定。"
        "标准差为 1 时从第二层起大多超出范围，从第三层起几乎全部超出；"
        "标准差为 0.01 时迅速缩小到 0；Xavier 时慢慢缩小；He 时各层相同。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """A figure an activation function: a row a spread of weights, a column a layer."""
    return {
        f"activation-histograms-{function}": _plot(numbers, function)
        for function in numbers["histograms"]
    }


def _plot(numbers: Numbers, function: str) -> Figure:
    figure, axes = new_figure(len(INITS), LAYERS, size=(9, 8.4), sharex="row", sharey="row")
    for row, (init, found), color in zip(
        axes, numbers["histograms"][function].items(), COLORS, strict=False
    ):
        edges = np.asarray(found["edges"])
        std = numbers["statistics"][function][init]["std"][0]
        for i, panel in enumerate(row):
            shares = np.asarray(found["counts"][i]) / (INPUTS * UNITS)
            panel.stairs(shares, edges, fill=True, color=color)
            note = f"std {float(f'{std[i]:.2g}'):,g}"  # 2,300, not 2.3e+03
            if found["outside"][i] >= 0.0005:  # else it would read 0.0%
                note += f"\n{found['outside'][i]:.1%} outside"
            panel.set_title(note, fontsize=9)
            panel.tick_params(labelsize=9)
            panel.locator_params(nbins=3)
            panel.yaxis.set_major_formatter("{x:.0%}")
            panel.set_xlim(edges[0], edges[-1])
        row[0].set_ylabel(f"weights: {init}\nshare of values")
    for i, panel in enumerate(axes[-1]):
        panel.set_xlabel(f"layer {i + 1}", fontsize=12)
    positive = ", values greater than 0" if function == "relu" else ""
    figure.suptitle(f"{TITLE}: {FUNCTIONS[function]}{positive}")
    return figure


def table(numbers: Numbers) -> Table:
    """Of each network the spread in the first and last layer, and what of the gradient arrives."""
    rows = []
    for function, inits in numbers["statistics"].items():
        for init in inits:
            std = np.median(_all(numbers, function, init, "std"), axis=0)
            saturated = np.max(np.median(_all(numbers, function, init, "saturated"), axis=0))
            arrives = _through(numbers, function, init, "gradient", backwards=True)
            rows.append(
                [FUNCTIONS[function], init, f"{std[0]:.2g}", f"{std[-1]:.2g}", f"{saturated:.0%}",
                 f"{arrives:.1e}"]
            )  # fmt: skip
    columns = ["function", "weights", "std, layer 1", f"layer {LAYERS}", "saturated",
               "gradient left"]  # fmt: skip
    return columns, rows


def _all(numbers: Numbers, function: str, init: str, name: str) -> Array:
    """A statistic of all draws and layers."""
    return np.asarray(numbers["statistics"][function][init][name])


def _through(
    numbers: Numbers, function: str, init: str, name: str, *, backwards: bool = False
) -> float:
    """The geometric mean over draws of a statistic's last layer over its first, or vice versa."""
    values = _all(numbers, function, init, name)
    logs = np.log(values[:, -1]) - np.log(values[:, 0])
    return float(np.exp(np.mean(-logs if backwards else logs)))


def _highest(numbers: Numbers, function: str, init: str, name: str, first: int = 1) -> float:
    """The highest size of a statistic in any layer from `first` on, in the median draw."""
    return float(np.median(np.max(np.abs(_all(numbers, function, init, name)[:, first - 1 :]), 1)))


def _lowest(numbers: Numbers, function: str, init: str, name: str, first: int = 1) -> float:
    return float(np.median(np.min(np.abs(_all(numbers, function, init, name)[:, first - 1 :]), 1)))


def _size(numbers: Numbers, function: str, layer: int) -> float:
    """The size of the skewness with Xavier's weights, in the median draw."""
    return float(np.median(np.abs(_all(numbers, function, "Xavier", "skewness")[:, layer])))


def _bells(numbers: Numbers, function: str, init: str) -> float:
    """The number of layers whose histogram is highest in the middle third of its range."""
    peaks = np.argmax(np.asarray(numbers["histograms"][function][init]["counts"]), axis=1)
    return float(np.sum((peaks >= BINS // 3) & (peaks < BINS - BINS // 3)))


GRADIENT_LEFT = Text("gradient at layer 1 over that at layer 5", "第 1 层的梯度与第 5 层的梯度之比")

CLAIMS = (
    Claim(
        Text(
            "Sigmoid, standard deviation 1: activations pile up at 0 and 1, where the derivative "
            "is small.",
            "sigmoid，标准差为 1：激活值偏向 0 和 1，那里的导数很小。",
        ),
        (
            Check(
                Text(
                    "share below 0.1 or above 0.9, lowest of the layers",
                    "小于 0.1 或大于 0.9 的比例（各层最低）",
                ),
                lambda n: _lowest(n, "sigmoid", "std 1", "saturated"),
                at_least=0.65,
                form=".0%",
            ),
            Check(
                Text(
                    "mean derivative (at most 0.25), highest of the layers",
                    "导数的平均值（最大可能 0.25；各层最高）",
                ),
                lambda n: _highest(n, "sigmoid", "std 1", "derivative"),
                at_most=0.08,
            ),
        ),
    ),
    Claim(
        Text("There, the gradient vanishes on its way back.", "此时梯度在反向传播中消失。"),
        (
            Check(
                GRADIENT_LEFT,
                lambda n: _through(n, "sigmoid", "std 1", "gradient", backwards=True),
                at_most=0.1,
                form=".2g",
            ),
        ),
        remark=Text(
            "The derivative is small, but on its way through a layer the gradient is multiplied "
            "by the weights, too, and they are large here: √100 × 1 × 0.1 (the derivative's root "
            "mean square) makes about 1 a layer, so that what leaves the last layer arrives at "
            "the first. It is saturated units that learn slowly, not early layers.",
            "导数确实很小，但梯度每经过一层还要乘以权重，而这里的权重很大："
            "√100 × 1 × 0.1（导数的均方根）约为每层 1 倍，因此最后一层的梯度能完整到达第一层。"
            "学得慢的是饱和的神经元，而不是靠前的层。",
        ),
    ),
    Claim(
        Text(
            "Sigmoid, standard deviation 0.01: activations concentrate at 0.5, units give nearly "
            "the same value, and can express little.",
            "sigmoid，标准差为 0.01：激活值集中在 0.5 附近，各神经元的输出几乎相同，表现力受限。",
        ),
        (
            Check(
                Text(
                    "share from 0.4 to 0.6, lowest of layers 2-5",
                    "0.4 到 0.6 之间的比例（第 2~5 层最低）",
                ),
                lambda n: _lowest(n, "sigmoid", "std 0.01", "centred", first=2),
                at_least=0.999,
                form=".1%",
            ),
            Check(
                Text("standard deviation, highest of layers 2-5", "标准差（第 2~5 层最高）"),
                lambda n: _highest(n, "sigmoid", "std 0.01", "std", first=2),
                at_most=0.02,
            ),
            Check(
                Text(
                    "variation of a unit over the inputs, layer 5's over layer 1's",
                    "单个神经元随输入的变化：第 5 层与第 1 层之比",
                ),
                lambda n: _through(n, "sigmoid", "std 0.01", "signal"),
                at_most=1e-4,
                form=".2g",
            ),
        ),
        remark=Text(
            "Two units are not copies of each other (their correlation is below 0.2 in all "
            "layers); but what tells one input from another has all but gone by the fifth layer.",
            "两个神经元并不是彼此的复制品（各层的相关系数平均都低于 0.2），"
            "但到第 5 层时，区分不同输入的信息几乎消失了。",
        ),
    ),
    Claim(
        Text("There, the gradient does not vanish.", "此时不会发生梯度消失。"),
        (
            Check(
                GRADIENT_LEFT,
                lambda n: _through(n, "sigmoid", "std 0.01", "gradient", backwards=True),
                at_least=0.1,
                form=".2g",
            ),
        ),
        remark=Text(
            "The derivative is at its largest, 0.25, but each layer also multiplies the gradient "
            "by weights of 0.01: √100 × 0.01 × 0.25 = 0.025 a layer. It is here that it vanishes.",
            "导数处于最大值 0.25，但每层还要乘以 0.01 左右的权重：√100 × 0.01 × 0.25 = 0.025。"
            "梯度恰恰是在这里消失的。",
        ),
    ),
    Claim(
        Text(
            "Sigmoid, Xavier: activations spread wider than with 0.01, without being saturated.",
            "sigmoid，Xavier 初始值：激活值的分布比 0.01 时更广，而且没有饱和。",
        ),
        (
            Check(
                Text(
                    "standard deviation in layer 5 over that with 0.01",
                    "第 5 层的标准差与 0.01 时之比",
                ),
                lambda n: float(
                    np.median(
                        _all(n, "sigmoid", "Xavier", "std")[:, -1]
                        / _all(n, "sigmoid", "std 0.01", "std")[:, -1]
                    )
                ),
                at_least=5,
            ),
            Check(
                Text(
                    "share below 0.1 or above 0.9, highest of the layers",
                    "小于 0.1 或大于 0.9 的比例（各层最高）",
                ),
                lambda n: _highest(n, "sigmoid", "Xavier", "saturated"),
                at_most=0.05,
                form=".1%",
            ),
        ),
        remark=Text(
            "The width of later layers is one between units, whose inputs all lie near 0.5 and "
            "differ in their weights. A single unit varies over the inputs 300 times less in "
            "layer 5 than in layer 1, and of the gradient 0.3 % arrives: Xavier's weights are "
            "made for a function with slope 1 at 0, and sigmoid's is 0.25.",
            "后面各层的广度主要是神经元之间的差异：它们的输入都在 0.5 附近，只是权重不同。"
            "单个神经元随输入的变化，第 5 层只有第 1 层的约三百分之一，梯度也只有 0.3 % 能到达。"
            "Xavier 初始值适合在 0 处斜率为 1 的函数，而 sigmoid 的斜率是 0.25。",
        ),
    ),
    Claim(
        Text("Its later layers are a little skewed.", "越靠后的层，分布越有些歪斜。"),
        (
            Check(
                Text("size of the skewness in layer 5", "第 5 层偏度的绝对值"),
                lambda n: _size(n, "sigmoid", -1),
                at_least=0.03,
                form=".2g",
            ),
            Check(
                Text("the same in layer 1", "第 1 层偏度的绝对值"),
                lambda n: _size(n, "sigmoid", 0),
                at_most=0.03,
                form=".2g",
            ),
        ),
    ),
    Claim(
        Text("With tanh this skew is gone.", "使用 tanh 后，歪斜得到改善。"),
        (
            Check(
                Text("size of the skewness, highest of the layers", "偏度绝对值（各层最高）"),
                lambda n: _highest(n, "tanh", "Xavier", "skewness"),
                at_most=0.05,
            ),
            Check(
                Text("size of the mean, highest of the layers", "均值绝对值（各层最高）"),
                lambda n: _highest(n, "tanh", "Xavier", "mean"),
                at_most=0.01,
            ),
            Check(
                Text("standard deviation, lowest of the layers", "标准差（各层最低）"),
                lambda n: _lowest(n, "tanh", "Xavier", "std"),
                at_least=0.25,
            ),
        ),
    ),
    Claim(
        Text("With tanh, the distribution is a bell.", "使用 tanh 后，分布呈吊钟形。"),
        (
            Check(
                Text("layers whose histogram is highest in the middle", "直方图在中间最高的层数"),
                lambda n: _bells(n, "tanh", "Xavier"),
                at_least=LAYERS,
                form=".0f",
            ),
        ),
        remark=Text(
            "The later layers are bells. What the first layer squeezes has standard deviation 1, "
            "too much for tanh: its histogram is highest towards the ends.",
            "靠后的层确实呈吊钟形。第一层的输入标准差为 1，对 tanh 来说偏大，"
            "因此它的直方图在两端较高。",
        ),
    ),
    Claim(
        Text(
            "ReLU, standard deviation 0.01: activations become very small, and so do gradients.",
            "ReLU，标准差为 0.01：各层激活值非常小，梯度也同样很小。",
        ),
        (
            Check(
                Text("standard deviation in layer 5 over layer 1", "第 5 层与第 1 层的标准差之比"),
                lambda n: _through(n, "relu", "std 0.01", "std"),
                at_most=1e-4,
                form=".2g",
            ),
            Check(
                GRADIENT_LEFT,
                lambda n: _through(n, "relu", "std 0.01", "gradient", backwards=True),
                at_most=1e-3,
                form=".2g",
            ),
        ),
    ),
    Claim(
        Text(
            "ReLU, Xavier: the deeper the layer, the smaller the activations.",
            "ReLU，Xavier 初始值：层越深，激活值越偏向 0。",
        ),
        (
            Check(
                Text("standard deviation in layer 5 over layer 1", "第 5 层与第 1 层的标准差之比"),
                lambda n: _through(n, "relu", "Xavier", "std"),
                at_least=0.15,
                at_most=0.4,
            ),
        ),
        remark=Text(
            "ReLU halves the mean square; Xavier's weights make up for none of it: √½ a layer, "
            "(√½)⁴ = 0.25 from the first to the fifth.",
            "ReLU 使均方减半，而 Xavier 初始值没有补偿：每层 √½ 倍，"
            "从第 1 层到第 5 层为 (√½)⁴ = 0.25。",
        ),
    ),
    Claim(
        Text(
            "ReLU, He: the same spread in all layers, forwards and backwards.",
            "ReLU，He 初始值：各层分布的广度相同，反向传播时也会传递合适的值。",
        ),
        (
            Check(
                Text("standard deviation in layer 5 over layer 1", "第 5 层与第 1 层的标准差之比"),
                lambda n: _through(n, "relu", "He", "std"),
                at_least=0.85,
                at_most=1.15,
            ),
            Check(
                GRADIENT_LEFT,
                lambda n: _through(n, "relu", "He", "gradient", backwards=True),
                at_least=0.85,
                at_most=1.15,
            ),
        ),
        remark=Text(
            "Judged on the geometric mean over the draws: with 100 units a single draw is "
            "off by 15 % (its standard deviation).",
            "以多次抽样的几何平均来判断：每层 100 个神经元时，单次抽样的标准差约为 15 %。",
        ),
    ),
)
