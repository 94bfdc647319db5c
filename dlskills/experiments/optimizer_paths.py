"""Four optimizers on the surface f(x, y) = x**2 / 20 + y**2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dlskills.arrays.backend import Array, get_backend, to_host
from dlskills.arrays.parameters import Parameters
from dlskills.checks import check_count
from dlskills.experiments.claims import Check, Claim
from dlskills.experiments.settings import Numbers, Settings, Table
from dlskills.experiments.text import Text
from dlskills.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer
from dlskills.plotting import COLORS, new_figure, styled
from dlskills.training.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = Text("Paths of four optimizers on x²/20 + y²", "四种优化方法在 x²/20 + y² 上的路径")
ABOUT = Text(
    "The surface is a bowl stretched along x: steep in y, nearly flat in x, so that most gradients "
    "do not point at the minimum. From (-7, 2), each method follows the exact gradient with the "
    "learning rate that the tutorial gives it. Nothing here is random.",
    "这个曲面是沿 x 轴拉长的碗：y 方向陡，x 方向几乎是平的，因此大多数梯度并不指向最小值。"
    "四种方法都从 (-7, 2) 出发，沿精确的梯度前进，学习率与教程相同。这里没有任何随机性。",
)
RANDOM = False
USES: tuple[str, ...] = ()
QUICK: dict[str, Any] = {}
OPTIONS = {"points": "Points of each path, the start among them."}
START = (-7.0, 2.0)


def optimizers() -> dict[str, Optimizer]:
    """The four methods, at the page's learning rates."""
    return {
        "SGD": SGD(lr=0.95),
        "Momentum": Momentum(lr=0.1),
        "AdaGrad": AdaGrad(lr=1.5),
        "Adam": Adam(lr=0.3),
    }


def run(settings: Settings, *, points: int = 30) -> Numbers:
    """Follow each method from (-7, 2).

    Parameters
    ----------
    settings : Settings
        `seed` and `subset` play no part.
    points : int, default 30
        Of each path, the start among them.

    Returns
    -------
    dict
        ``paths``: for each method its points, in float64; ``lr``: its learning rate.
    """
    backend = get_backend(settings.device)
    count = check_count("points", points)
    methods = optimizers()
    paths = {}
    progress = Progress(len(methods), "optimizer-paths", show=settings.verbose)
    with progress, backend.active():
        for name, optimizer in methods.items():
            start = {k: backend.asarray(v, "float64") for k, v in zip("xy", START, strict=True)}
            params = Parameters(start)
            grads = params.zeros_like()
            path = []
            for _ in range(count):
                path.append(backend.xp.stack([params["x"], params["y"]]))
                grads["x"] = params["x"] / 10
                grads["y"] = params["y"] * 2
                optimizer.update(params, grads)
            paths[name] = to_host(path).tolist()
            progress.advance()
    return {"paths": paths, "lr": {name: optimizer.lr for name, optimizer in methods.items()}}


def height(x: Array, y: Array) -> Array:
    """The surface."""
    return x**2 / 20 + y**2


def gradient_field() -> tuple[Array, Array, Array, Array]:
    """Points of a grid over the figure's window, and the gradient there: x, y, df/dx, df/dy."""
    x, y = np.meshgrid(np.arange(-10.0, 10.5, 1.0), np.arange(-5.0, 5.25, 0.5))
    return x, y, x / 10, 2 * y


ALT = {
    "optimizer-paths": Text(
        "Four panels with contours of the bowl. SGD zig-zags across the valley at every step; "
        "Momentum swings past it in wide curves; AdaGrad runs nearly straight to the minimum; Adam "
        "swings less than Momentum.",
        "四个带等高线的小图：SGD 每一步都横穿谷底，呈“之”字形；Momentum 大幅摆动；"
        "AdaGrad 几乎笔直地到达最小值；Adam 的摆动比 Momentum 小。",
    ),
    "optimizer-paths-surface": Text(
        "Left the surface, a bowl stretched along x; right its contours, ellipses 4.47 times as "
        "long as they are high.",
        "左图是沿 x 轴拉长的碗状曲面；右图是它的等高线，椭圆的长轴是短轴的 4.47 倍。",
    ),
    "optimizer-paths-gradient": Text(
        "Arrows of the negative gradient on a grid: nearly vertical almost everywhere, and few of "
        "them point at the minimum in the middle.",
        "网格上负梯度的箭头：几乎处处接近竖直，只有少数指向中央的最小值。",
    ),
}


@styled
def plot(numbers: Numbers) -> dict[str, Figure]:
    """The paths over contours of the surface; the surface; its gradient."""
    return {
        "optimizer-paths": _plot_paths(numbers),
        "optimizer-paths-surface": _plot_surface(),
        "optimizer-paths-gradient": _plot_gradient(),
    }


def _plot_paths(numbers: Numbers) -> Figure:
    figure, axes = new_figure(2, 2, size=(9, 5.4), sharex=True, sharey=True)
    for panel, (name, path), color in zip(
        axes.flat, numbers["paths"].items(), COLORS, strict=False
    ):
        _contours(panel)
        points = np.asarray(path)
        panel.plot(points[:, 0], points[:, 1], "o-", color=color, markersize=4)
        panel.plot(*points[0], "s", color="black", label="start")
        panel.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=2, label="minimum")
        panel.set(title=f"{name}, learning rate {numbers['lr'][name]:g}")
    for panel in axes[:, 0]:
        panel.set_ylabel("y")
    for panel in axes[-1]:
        panel.set_xlabel("x")
    axes[0, 0].legend(loc="upper right", fontsize=9, frameon=True, framealpha=1, edgecolor="none")
    layout: Any = figure.get_layout_engine()
    layout.set(h_pad=0.1)  # titles nearer to their own panel than to the one above
    figure.suptitle(f"{TITLE}: the first {len(points)} points")
    return figure


def _contours(panel: Any) -> None:
    x, y = np.meshgrid(np.linspace(-10, 10, 201), np.linspace(-5, 5, 201))
    levels = [0.1, 0.5, 1, 2, 4, 8, 16]
    panel.contour(x, y, height(x, y), levels=levels, colors="#999999", linewidths=0.8)
    panel.set(xlim=(-10, 10), ylim=(-5, 5), xticks=range(-8, 9, 4), aspect="equal")


def _plot_surface() -> Figure:
    figure, (left, right) = new_figure(
        1,
        2,
        size=(9.6, 3.8),
        width_ratios=[1, 1.15],
        per_subplot_kw={"a": {"projection": "3d"}},
        mosaic="ab",
    )
    x, y = np.meshgrid(np.linspace(-10, 10, 81), np.linspace(-5, 5, 81))
    left.plot_surface(x, y, height(x, y), cmap="viridis", rstride=2, cstride=2, linewidth=0)
    left.set(xlabel="x", ylabel="y", zlabel="f(x, y)", title="f(x, y) = x²/20 + y²")
    left.set_box_aspect(None, zoom=0.86)  # else the label of z is at the next panel's of y
    _contours(right)
    right.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=2)
    right.set(xlabel="x", ylabel="y", title="contours at 0.1, 0.5, 1, 2, 4, 8 and 16")
    return figure


def _plot_gradient() -> Figure:
    figure, panel = new_figure(size=(8, 4.4))
    x, y, dx, dy = (part[::2, ::2] for part in gradient_field())
    panel.quiver(x, y, -dx, -dy, angles="xy", color=COLORS[0], width=0.003)
    panel.plot(0, 0, "+", color="black", markersize=11, markeredgewidth=2)
    panel.set(xlabel="x", ylabel="y", title="Downhill: the negative gradient of x²/20 + y²")
    panel.set(xlim=(-10.5, 10.5), ylim=(-6.5, 6.5), aspect="equal")
    return figure


def table(numbers: Numbers) -> Table:
    """Where each path ends, how long it is, how often it crosses the valley."""
    rows = []
    for name, path in numbers["paths"].items():
        points = np.asarray(path)
        length = np.sum(np.hypot(*np.diff(points, axis=0).T))
        crossings = np.sum(np.diff(np.sign(points[:, 1])) != 0)
        end = points[-1]
        rows.append(
            [name, f"{numbers['lr'][name]:g}", f"({end[0]:.3f}, {end[1]:.3f})",
             f"{height(*end):.2e}", f"{length:.1f}", str(crossings)]
        )  # fmt: skip
    columns = ["method", "lr", "last point", "f there", "path length", "y = 0 crossed"]
    return columns, rows


def _path(numbers: Numbers, name: str) -> Array:
    return np.asarray(numbers["paths"][name])


def _turns(numbers: Numbers, name: str, axis: int = 1) -> float:
    """How often y, or x, changes its sign."""
    return float(np.sum(np.diff(np.sign(_path(numbers, name)[:, axis])) != 0))


def _beyond(numbers: Numbers, name: str) -> float:
    return float(-np.min(_path(numbers, name)[:, 1]))


def _sway(numbers: Numbers, name: str) -> float:
    return float(np.sum(np.abs(np.diff(_path(numbers, name)[:, 1]))))


def _detour(numbers: Numbers, name: str) -> float:
    path = _path(numbers, name)
    return float(np.sum(np.hypot(*np.diff(path, axis=0).T)) / np.hypot(*START))


def _end(numbers: Numbers, name: str) -> float:
    return float(height(*_path(numbers, name)[-1]))


def _off_the_minimum(_: Numbers) -> float:
    x, y, dx, dy = (part.ravel() for part in gradient_field())
    there = np.hypot(x, y) > 0
    cosine = (x * dx + y * dy)[there] / (np.hypot(x, y) * np.hypot(dx, dy))[there]
    return float(np.mean(np.degrees(np.arccos(np.clip(cosine, -1, 1))) > 15))


def _steepness(_: Numbers) -> float:
    _, _, dx, dy = gradient_field()
    return float(np.sqrt(np.mean(dy**2) / np.mean(dx**2)))


def _ratio_of_axes(_: Numbers) -> float:
    """Of the contour f = 1, found on the surface itself."""
    along = np.linspace(0, 10, 100_001)
    x_end = along[np.searchsorted(height(along, 0 * along), 1.0)]
    y_end = along[np.searchsorted(height(0 * along, along), 1.0)]
    return float(x_end / y_end)


CLAIMS = (
    Claim(
        Text("The surface is a bowl stretched along x.", "曲面是沿 x 轴方向延伸的碗。"),
        (
            Check(
                Text("length of a contour over its height", "等高线的长轴与短轴之比"),
                _ratio_of_axes,
                at_least=4.42,
                at_most=4.52,
            ),
        ),
    ),
    Claim(
        Text(
            "Its gradient is large in y and small in x, and mostly does not point at the minimum.",
            "梯度在 y 方向大、x 方向小，并且大多不指向最小值。",
        ),
        (
            Check(
                Text("root mean square of ∂f/∂y over that of ∂f/∂x", "∂f/∂y 与 ∂f/∂x 的均方根之比"),
                _steepness,
                at_least=5,
            ),
            Check(
                Text("share of the grid more than 15° off", "偏离最小值方向 15° 以上的网格点比例"),
                _off_the_minimum,
                at_least=0.75,
                form=".0%",
            ),
        ),
    ),
    Claim(
        Text(
            "SGD zig-zags towards the minimum, an inefficient path.",
            "SGD 呈“之”字形移动，路径低效。",
        ),
        (
            Check(
                Text("share of steps at which y changes its sign", "y 变号的步数比例"),
                lambda n: _turns(n, "SGD") / (len(n["paths"]["SGD"]) - 1),
                at_least=1,
                at_most=1,
                form=".0%",
            ),
            Check(
                Text("changes of x's sign", "x 变号的次数"),
                lambda n: _turns(n, "SGD", 0),
                at_most=0,
                form=".0f",
            ),
            Check(
                Text("length of its path over the straight line", "路径长度与直线距离之比"),
                lambda n: _detour(n, "SGD"),
                at_least=4,
            ),
        ),
    ),
    Claim(
        Text(
            "Momentum rolls like a ball in a bowl: the zig-zag is weaker than SGD's.",
            "Momentum 像小球在碗中滚动：“之”字形比 SGD 弱。",
        ),
        (
            Check(
                Text("changes of y's sign", "y 变号的次数"),
                lambda n: _turns(n, "Momentum"),
                at_most=6,
                form=".0f",
            ),
            Check(
                Text("way travelled along y over SGD's", "沿 y 方向的总行程与 SGD 之比"),
                lambda n: _sway(n, "Momentum") / _sway(n, "SGD"),
                at_most=0.5,
            ),
        ),
    ),
    Claim(
        Text(
            "Momentum approaches the minimum faster along x than SGD.",
            "与 SGD 相比，Momentum 沿 x 轴方向更快地靠近最小值。",
        ),
        (
            Check(
                Text(
                    "distance left along x after 10 steps, SGD's minus Momentum's",
                    "10 步后沿 x 方向的剩余距离：SGD 减 Momentum",
                ),
                lambda n: abs(n["paths"]["SGD"][10][0]) - abs(n["paths"]["Momentum"][10][0]),
                at_least=0.01,
            ),
        ),
        remark=Text(
            "At the plotted learning rates (0.1 for Momentum, 0.95 for SGD) SGD is ahead along x. "
            "A step of Momentum is worth up to 1 / (1 - 0.9) = 10 steps of its learning rate, so "
            "the sentence is true for the same learning rate: for 0.1, SGD has 6.3 left after 10 "
            "steps, Momentum 4.4.",
            "在图中的学习率（Momentum 0.1，SGD 0.95）下，SGD 沿 x 方向领先。"
            "Momentum 的一步最多相当于学习率的 1 / (1 - 0.9) = 10 倍，"
            "因此这句话在学习率相同时成立："
            "学习率同为 0.1 时，10 步后 SGD 还剩 6.3，Momentum 还剩 4.4。",
        ),
    ),
    Claim(
        Text(
            "AdaGrad goes to the minimum efficiently; its movement along y is damped.",
            "AdaGrad 高效地走向最小值，y 方向的变动被抑制。",
        ),
        (
            Check(
                Text("changes of y's sign", "y 变号的次数"),
                lambda n: _turns(n, "AdaGrad"),
                at_most=0,
                form=".0f",
            ),
            Check(
                Text("length of its path over the straight line", "路径长度与直线距离之比"),
                lambda n: _detour(n, "AdaGrad"),
                at_most=1.1,
            ),
            Check(
                Text("steps that go uphill", "函数值上升的步数"),
                lambda n: float(np.sum(np.diff(height(*_path(n, "AdaGrad").T)) > 0)),
                at_most=0,
                form=".0f",
            ),
        ),
    ),
    Claim(
        Text(
            "Adam moves like Momentum, but sways less.",
            "Adam 的移动与 Momentum 类似，但摇晃较小。",
        ),
        (
            Check(
                Text("way travelled along y over Momentum's", "沿 y 方向的总行程与 Momentum 之比"),
                lambda n: _sway(n, "Adam") / _sway(n, "Momentum"),
                at_most=0.75,
            ),
            Check(
                Text(
                    "how far it swings beyond y = 0, over Momentum's",
                    "越过 y = 0 的最大距离与 Momentum 之比",
                ),
                lambda n: _beyond(n, "Adam") / _beyond(n, "Momentum"),
                at_most=0.75,
            ),
            Check(
                Text("changes of y's sign", "y 变号的次数"),
                lambda n: _turns(n, "Adam"),
                at_least=1,
                at_most=3,
                form=".0f",
            ),
        ),
    ),
    Claim(
        Text("Of the four, AdaGrad looks best here.", "四种方法中，这里 AdaGrad 看起来最好。"),
        (
            Check(
                Text(
                    "f at AdaGrad's last point over the lowest of the others",
                    "AdaGrad 终点的函数值与其他方法中最低者之比",
                ),
                lambda n: (
                    _end(n, "AdaGrad")
                    / min(_end(n, name) for name in n["paths"] if name != "AdaGrad")
                ),
                at_most=0.5,
            ),
        ),
    ),
)
