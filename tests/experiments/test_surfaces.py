"""Surfaces: their gradients, and functions of a user's file."""

import numpy as np
import pytest

from dlskills.experiments import Settings, optimizer_paths
from dlskills.experiments.surfaces import SURFACES, surface_of

FILE = """
import numpy as np

from dlskills.experiments.surfaces import Surface


def waves(x, y):
    return np.sin(x) + y**2 / 10 + abs(x) / 5


def total(x, y):
    return np.sum(x + y)


def one(x):
    return x


def undefined(x, y):
    return np.log(-1 - x * x)


number = 3

quartic = Surface(
    "x⁴ + y²", lambda x, y: x**4 + y**2, lambda x, y: (4 * x**3, 2 * y), (1.0, 1.0), (0.0, 0.0),
    (-2, 2, -2, 2), (0.1, 1, 4), {"SGD": 0.1},
)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own_surfaces.py"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SURFACES)
def test_the_gradient_is_that_of_the_value(name):
    surface = SURFACES[name]
    x, y = np.random.default_rng(0).uniform(-2, 2, (2, 50))
    h = 1e-6
    by_x = (surface.value(x + h, y) - surface.value(x - h, y)) / (2 * h)
    by_y = (surface.value(x, y + h) - surface.value(x, y - h)) / (2 * h)
    np.testing.assert_allclose(surface.gradient(x, y), [by_x, by_y], rtol=1e-6, atol=1e-6)


def test_a_function_of_a_file(file):
    surface = surface_of(f"{file}:waves")
    x, y = np.random.default_rng(0).uniform(0.1, 2, (2, 50))
    np.testing.assert_allclose(
        surface.gradient(x, y), [np.cos(x) + 0.2, y / 5], rtol=1e-8, atol=1e-9
    )
    assert list(surface.levels) == sorted(set(surface.levels))


def test_paths_over_a_function_of_a_file(file):
    numbers = optimizer_paths.run(
        Settings(verbose=False), function=f"{file}:waves", optimizers=["SGD:lr=0.1"], start=(1, 2)
    )
    path = np.asarray(numbers["paths"]["SGD"])
    expected = path[0] - 0.1 * np.array([np.cos(1) + 0.2, 2 / 5])
    np.testing.assert_allclose(path[1], expected, rtol=1e-9)
    assert set(optimizer_paths.plot([numbers])) > {"optimizer-paths"}
    assert optimizer_paths.table(numbers).rows[0][0] == "SGD"


def test_a_surface_of_a_file(file):
    numbers = optimizer_paths.run(Settings(verbose=False), function=f"{file}:quartic")
    assert numbers["paths"]["SGD"][1] == pytest.approx([0.6, 0.8])


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("total", ValueError, r"a real number for each point, .* got float64 of shape \(\)"),
        ("one", TypeError, "must be a function of arrays x and y: .*2 were given"),
        ("undefined", ValueError, "is finite nowhere in x and y from -5 to 5"),
        ("number", TypeError, "must be a function f.* or a Surface, got 3"),
        ("waves2", ValueError, "has no 'waves2'"),
    ],
)
def test_what_is_no_surface_is_refused(file, name, error, message):
    with pytest.raises(error, match=message):
        optimizer_paths.parse_function(f"{file}:{name}")


def test_a_misspelt_name_and_a_missing_file():
    with pytest.raises(ValueError, match="did you mean 'bowl'"):
        optimizer_paths.parse_function("bowel")
    with pytest.raises(ValueError, match="no file 'nowhere.py'"):
        optimizer_paths.parse_function("nowhere.py:f")
    with pytest.raises(TypeError, match="function must be a name"):
        optimizer_paths.parse_function(len)
