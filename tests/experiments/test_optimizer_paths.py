"""The paths of four optimizers on x²/20 + y²: the figures of the tutorial, as numbers."""

import numpy as np
import pytest

from dlskills.experiments import Settings, judge, optimizer_paths
from dlskills.experiments.surfaces import SURFACES

METHODS = ["SGD", "Momentum", "AdaGrad", "Adam"]


@pytest.fixture(scope="module")
def numbers():
    return optimizer_paths.run(Settings(verbose=False))


@pytest.fixture(scope="module")
def paths(numbers):
    return {name: np.array(path) for name, path in numbers["paths"].items()}


@pytest.fixture(scope="module")
def rows(numbers):
    columns, rows = optimizer_paths.table(numbers).shown()
    return {row[0]: dict(zip(columns, row, strict=True)) for row in rows}


def path_by_hand(update, count=30):
    """A path in plain Python, from the update of one coordinate: its value, gradient, state."""
    position, states, path = [-7.0, 2.0], [{}, {}], []
    for step in range(1, count + 1):
        path.append(list(position))
        grads = [position[0] / 10, position[1] * 2]
        for i in range(2):
            position[i] = update(position[i], grads[i], states[i], step)
    return np.array(path)


def sgd(x, grad, state, step):
    return x - 0.95 * grad


def momentum(x, grad, state, step):
    state["v"] = 0.9 * state.get("v", 0) - 0.1 * grad
    return x + state["v"]


def adagrad(x, grad, state, step):
    state["h"] = state.get("h", 0) + grad**2
    return x - 1.5 * grad / (state["h"] ** 0.5 + 1e-7)


def adam(x, grad, state, step):
    state["m"] = state.get("m", 0) + 0.1 * (grad - state.get("m", 0))
    state["v"] = state.get("v", 0) + 0.001 * (grad**2 - state.get("v", 0))
    lr = 0.3 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
    return x - lr * state["m"] / (state["v"] ** 0.5 + 1e-7)


RULES = [("SGD", sgd), ("Momentum", momentum), ("AdaGrad", adagrad), ("Adam", adam)]


def test_thirty_points_each_from_the_start(numbers, paths):
    assert list(paths) == METHODS
    assert all(path.shape == (30, 2) for path in paths.values())
    assert all(tuple(path[0]) == (-7, 2) for path in paths.values())
    assert numbers["lr"] == {"SGD": 0.95, "Momentum": 0.1, "AdaGrad": 1.5, "Adam": 0.3}


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_paths_are_those_computed_by_hand(paths, name, rule):
    np.testing.assert_allclose(paths[name], path_by_hand(rule), rtol=0, atol=1e-12)


@pytest.mark.backends("numpy", "cupy")
def test_paths_are_the_same_on_every_device(backend, paths):
    device = "cuda" if backend.name == "cupy" else "cpu"
    here = optimizer_paths.run(Settings(verbose=False, device=device))
    for name, path in paths.items():
        np.testing.assert_allclose(here["paths"][name], path, rtol=0, atol=1e-12)


def test_sgd_zigzags_at_every_step(paths):
    steps = np.arange(30)
    np.testing.assert_allclose(paths["SGD"][:, 1], 2 * (-0.9) ** steps, rtol=0, atol=1e-12)
    assert np.all(np.diff(paths["SGD"][:, 0]) > 0)


def test_the_table_has_the_figures_of_the_tutorial(rows, paths):
    columns = ["method", "lr", "last point", "f there", "path length", "y = 0 crossed"]
    assert all(list(row) == columns for row in rows.values())
    assert [row["path length"] for row in rows.values()] == ["36.8", "12.6", "7.6", "8.2"]
    assert [row["y = 0 crossed"] for row in rows.values()] == ["29", "4", "0", "2"]
    assert [row["lr"] for row in rows.values()] == ["0.95", "0.1", "1.5", "0.3"]
    f = {name: path[-1, 0] ** 2 / 20 + path[-1, 1] ** 2 for name, path in paths.items()}
    assert f == pytest.approx(
        {"SGD": 0.0164, "Momentum": 0.108, "AdaGrad": 9.27e-4, "Adam": 0.104}, rel=5e-3
    )
    assert {name: float(row["f there"]) for name, row in rows.items()} == pytest.approx(f, rel=5e-3)
    assert rows["SGD"]["last point"] == "(-0.387, -0.094)"


def test_the_tutorials_claims_are_confirmed_except_for_one(numbers):
    verdicts = judge(optimizer_paths.CLAIMS, [numbers])
    doubted = [str(v.claim.says) for v in verdicts if not v.confirmed]
    assert doubted == ["Compared with SGD, Momentum approaches faster along x."]
    measured = {str(m.check.what): m.value for verdict in verdicts for m in verdict.measured}
    assert measured["length of a contour over its height"] == pytest.approx(20**0.5, rel=1e-3)
    assert measured["fraction of the grid where it is more than 15° off"] == pytest.approx(
        0.88, abs=0.02
    )
    assert measured["distance travelled along y over SGD's"] == pytest.approx(8.9 / 36.2, rel=0.02)
    assert measured["distance travelled along y over Momentum's"] == pytest.approx(
        3.7 / 8.9, rel=0.02
    )
    after_ten = "distance left along x after 10 steps, SGD's minus Momentum's"
    assert measured[after_ten] == pytest.approx(2.58 - 4.35, abs=0.01)


def test_a_claim_can_come_out_false(numbers):
    """The paths of another method in SGD's place zig-zag less than the tutorial says."""
    paths = numbers["paths"] | {"SGD": numbers["paths"]["AdaGrad"]}
    verdicts = judge(optimizer_paths.CLAIMS, [numbers | {"paths": paths}])
    doubted = [str(v.claim.says) for v in verdicts if not v.confirmed]
    assert "SGD moves in a zigzag towards the minimum, quite an inefficient path." in doubted
    assert (
        "Momentum moves like a ball rolling in a bowl; the zigzag is weaker than SGD's." in doubted
    )


@pytest.mark.parametrize("count", [1, 2, 45])
def test_paths_of_any_length(count, paths):
    numbers = optimizer_paths.run(Settings(verbose=False), points=count)
    for name, path in numbers["paths"].items():
        assert len(path) == count
        both = min(count, 30)
        np.testing.assert_array_equal(path[:both], paths[name][:both])
    _, rows = optimizer_paths.table(numbers).shown()
    assert len(rows) == 4
    optimizer_paths.plot([numbers])


def test_nothing_is_random(numbers):
    assert optimizer_paths.run(Settings(seed=99, verbose=False)) == numbers


def test_the_figure_names_everything(numbers):
    figures = optimizer_paths.plot([numbers])
    assert set(figures) == set(optimizer_paths.EXPERIMENT.alt)
    figure = figures["optimizer-paths"]
    assert figure.get_suptitle() == "Paths on x²/20 + y²: the first 30 points"
    panels = figure.axes
    assert [panel.get_title().split(" (")[0] for panel in panels] == METHODS
    assert "learning rate 0.95" in panels[0].get_title()
    assert [panel.get_ylabel() for panel in panels] == ["y", "", "y", ""]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "x", "x"]
    (legend,) = figure.legends  # below all panels, where it hides no contour
    assert [text.get_text() for text in legend.get_texts()] == ["start", "minimum"]
    colors = set()
    for panel, path in zip(panels, numbers["paths"].values(), strict=True):
        line = panel.get_lines()[0]
        np.testing.assert_array_equal(line.get_xydata(), path)
        colors.add(line.get_color())
        assert panel.get_aspect() == 1
    assert len(colors) == 4


def test_the_surface_and_its_gradient_are_drawn(numbers):
    figures = optimizer_paths.plot([numbers])
    surface, contours = figures["optimizer-paths-surface"].axes
    assert surface.get_zlabel() == "f(x, y)"
    assert contours.get_xlabel() == "x"
    panel = figures["optimizer-paths-gradient"].axes[0]
    (arrows,) = panel.collections
    x, y = arrows.XY.T
    size = np.hypot(x / 10, 2 * y)
    np.testing.assert_allclose(arrows.U, -x / 10 / size)
    np.testing.assert_allclose(arrows.V, -2 * y / size)
    np.testing.assert_allclose(arrows.get_array(), size)
    assert np.all(size > 0)


def test_arrows_do_not_overlap(numbers):
    figure = optimizer_paths.plot([numbers])["optimizer-paths-gradient"]
    (arrows,) = figure.axes[0].collections
    lengths = np.hypot(arrows.U, arrows.V) / arrows.scale
    x, _ = arrows.XY.T
    assert np.max(lengths) < np.min(np.diff(np.unique(x)))


# Other surfaces, rules and start points


@pytest.mark.parametrize("name", SURFACES)
def test_gradients_of_surfaces_are_right(name):
    surface, step = SURFACES[name], 1e-6
    left, right, low, high = surface.window
    rng = np.random.default_rng(0)
    for x, y in zip(rng.uniform(left, right, 20), rng.uniform(low, high, 20), strict=True):
        by_x = (surface.value(x + step, y) - surface.value(x - step, y)) / (2 * step)
        by_y = (surface.value(x, y + step) - surface.value(x, y - step)) / (2 * step)
        np.testing.assert_allclose(surface.gradient(x, y), (by_x, by_y), rtol=1e-5, atol=1e-5)
    if surface.minimum:
        np.testing.assert_allclose(surface.gradient(*surface.minimum), 0, atol=1e-12)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.slow
def test_every_surface_can_be_run_and_drawn(name):
    numbers = optimizer_paths.run(Settings(verbose=False), points=5, function=name)
    surface = SURFACES[name]
    assert all(tuple(path[0]) == surface.start for path in numbers["paths"].values())
    for figure in optimizer_paths.plot([numbers]).values():
        figure.draw_without_rendering()
    assert len(optimizer_paths.table(numbers).rows) == 4
    ends = [surface.value(*path[-1]) for path in numbers["paths"].values()]
    assert all(end < surface.value(*surface.start) for end in ends)


def test_as_many_panels_as_methods():
    names = ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"]
    numbers = optimizer_paths.run(
        Settings(verbose=False), points=3, optimizers=[f"{name}:lr=0.1" for name in names]
    )
    assert list(numbers["paths"]) == names
    assert len(optimizer_paths.plot([numbers])["optimizer-paths"].axes) == 6


def test_any_name_of_a_method_is_drawn(numbers):
    name = r"Mine label=$\frac{a}$"
    renamed = {key: {name: numbers[key]["SGD"]} for key in ("paths", "lr")}
    figure = optimizer_paths.plot([numbers | renamed])["optimizer-paths"]
    figure.draw_without_rendering()
    assert figure.axes[0].get_title().replace(r"\$", "$").startswith(name)


def test_a_start_point_of_ones_own():
    numbers = optimizer_paths.run(Settings(verbose=False), points=2, start=[1.0, -1.0])
    assert all(path[0] == [1, -1] for path in numbers["paths"].values())


def test_a_path_that_diverges_ends():
    numbers = optimizer_paths.run(
        Settings(verbose=False), points=2000, optimizers=["SGD:lr=2", "Adam:lr=0.3"]
    )
    assert len(numbers["paths"]["SGD"]) < 300
    assert len(numbers["paths"]["Adam"]) == 2000


def test_progress_is_shown_if_wanted(capsys):
    optimizer_paths.run(Settings(verbose=False), points=2)
    assert capsys.readouterr() == ("", "")
