"""Figures: smoothing, files, and a style that is independent of the user's settings."""

import itertools
import struct
import subprocess
import sys
from xml.etree import ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dlskills import smooth_curve
from dlskills.plotting import (
    COLORS,
    MARKERS,
    STYLE,
    Look,
    looking,
    mark,
    new_figure,
    plain,
    plot_curves,
    save_figure,
    styled,
)


def smoothed_as_in_the_book(x):
    s = np.concatenate([x[10:0:-1], x, x[-1:-11:-1]])
    w = np.kaiser(11, 2)
    return np.convolve(w / w.sum(), s, mode="valid")[5:-5]


def noisy(count):
    return 1 / np.arange(1, count + 1) + np.random.default_rng(count).normal(0, 0.1, count)


# smooth_curve


@pytest.mark.parametrize("count", [11, 12, 20, 100, 2000])
def test_smooth_curve_agrees_with_the_book(count):
    x = noisy(count)
    smoothed = smooth_curve(x)
    assert smoothed.shape == (count,)
    assert smoothed.dtype == np.float64
    np.testing.assert_allclose(smoothed, smoothed_as_in_the_book(x), rtol=1e-13)
    np.testing.assert_array_equal(x, noisy(count))  # unchanged


def test_smooth_curve_reduces_noise_and_keeps_a_constant():
    x = noisy(500)
    assert np.std(np.diff(smooth_curve(x))) < 0.3 * np.std(np.diff(x))
    np.testing.assert_allclose(smooth_curve(np.full(30, 2.5)), 2.5)


@pytest.mark.parametrize("make", [list, tuple, lambda x: [float(v) for v in x]])
def test_smooth_curve_accepts_sequences_of_numbers(make):
    x = noisy(50)
    np.testing.assert_allclose(smooth_curve(make(x)), smoothed_as_in_the_book(x), rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smooth_curve_accepts_losses_on_any_device(backend, dtype):
    x = noisy(50).astype(dtype)
    expected = smoothed_as_in_the_book(x.astype(np.float64))
    whole = backend.asarray(x)
    for losses in (whole, [whole[i, ...] for i in range(50)]):
        smoothed = smooth_curve(losses)
        assert type(smoothed) is np.ndarray
        np.testing.assert_allclose(smoothed, expected, rtol=1e-12)


@pytest.mark.parametrize("count", range(11))
def test_short_curves_are_returned_unchanged(count, backend):
    x = noisy(count)
    np.testing.assert_array_equal(smooth_curve(x), x)
    np.testing.assert_array_equal(smooth_curve(list(x)), x)
    np.testing.assert_array_equal(smooth_curve(backend.asarray(x)), x)


# Files


@styled
def draw():
    figure, axes = new_figure()
    plot_curves(axes, range(100), {"one": np.arange(100.0), "two": np.ones(100)})
    axes.set(title="A title", xlabel="the abscissa")
    return figure


def test_a_figure_is_saved_as_png_and_svg(tmp_path):
    png, svg = save_figure(draw(), tmp_path, "a.name")
    assert (png, svg) == (tmp_path / "a.name.png", tmp_path / "a.name.svg")
    content = png.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", content[16:24]) == (1200, 750)
    root = ET.parse(svg).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"A title", "the abscissa", "one", "two"} <= set(texts)  # text is stored as text


def test_saved_figures_are_reproducible(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        save_figure(draw(), folder, "figure")
    for name in ("figure.svg", "figure.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.slow
def test_figures_are_drawn_without_pyplot(tmp_path):
    script = """
import pathlib, sys
import dlskills
assert "matplotlib" not in sys.modules, "import dlskills imports matplotlib"
from dlskills.experiments import Settings, run, write_results
records = run(["optimizer-paths"], Settings(verbose=False))["optimizer-paths"]
write_results(records, pathlib.Path(sys.argv[1]))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules, "pyplot is imported"
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert (tmp_path / "optimizer-paths.png").exists()


# Style


def test_the_style_applies_only_while_drawing():
    before = dict(mpl.rcParams)
    assert before["axes.grid"] != STYLE["axes.grid"]

    @styled
    def look():
        """Docstring."""
        return mpl.rcParams["axes.grid"], mpl.rcParams["svg.fonttype"]

    assert look() == (True, "none")
    assert look.__doc__ == "Docstring."
    assert dict(mpl.rcParams) == before


def lightness(color):
    """L* of CIELAB, from 0 (black) to 100 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    y = np.dot([0.2126, 0.7152, 0.0722], linear)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def test_colours_and_markers_are_distinguishable():
    assert len(set(COLORS)) == len(COLORS) == len(set(MARKERS)) == len(MARKERS) >= 6
    for one, other in itertools.combinations(map(to_rgb, COLORS), 2):
        assert np.linalg.norm(np.subtract(one, other)) > 0.25
    # Only yellow is pale on white, and it comes last.
    assert all(lightness(color) < 75 for color in COLORS[:7])


def test_each_curve_has_its_own_colour_marker_and_legend_entry():
    figure, axes = new_figure()
    names = [f"curve {i}" for i in range(6)]
    plot_curves(axes, range(200), {name: np.zeros(200) for name in names}, markers=10)
    lines = axes.get_lines()
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines})
    assert len({line.get_color() for line in lines}) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
    assert all(line.get_markevery() == 20 for line in lines)
    assert figure.axes == [axes]


def test_more_curves_than_colours_can_be_plotted():
    _, axes = new_figure()
    plot_curves(axes, range(3), {str(i): [1, 2, 3] for i in range(10)})
    assert len(axes.get_lines()) == 10


def test_a_figure_may_have_several_panels():
    figure, axes = new_figure(2, 3, size=(6, 4), sharex=True)
    assert axes.shape == (2, 3)
    assert tuple(figure.get_size_inches()) == (6, 4)


# The user's settings, and text given by the user


def pictures(folder, draw):
    return [path.read_bytes() for path in save_figure(draw(), folder, "figure")]


USERS = {
    "usetex": {"text.usetex": True},
    "dark": {
        "axes.facecolor": "black", "figure.facecolor": "black", "savefig.facecolor": "black",
        "text.color": "white", "axes.labelcolor": "white", "xtick.color": "white",
        "axes.edgecolor": "white",
    },
    "other shapes": {"savefig.bbox": "tight", "lines.linestyle": "--", "font.size": 20},
    "ticks": {"xtick.direction": "in", "axes.labelpad": 20, "axes.formatter.limits": [0, 1]},
}  # fmt: skip


@pytest.mark.parametrize("settings", USERS.values(), ids=USERS)
@pytest.mark.slow
def test_the_users_settings_do_not_affect_figures(tmp_path, settings):
    expected = pictures(tmp_path, draw)
    with mpl.rc_context(settings):
        assert pictures(tmp_path, draw) == expected
        assert {name: mpl.rcParams[name] for name in settings} == settings


@pytest.mark.slow
def test_a_matplotlibrc_does_not_affect_figures(tmp_path):
    code = """
import pathlib, sys
from dlskills.experiments import Settings, run, write_results
write_results(run(["optimizer-paths"], Settings(verbose=False))["optimizer-paths"],
              pathlib.Path(sys.argv[1]))
"""
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfigure.facecolor: black\n")
    for folder, cwd in (("own", tmp_path), ("plain", tmp_path.parent)):
        command = [sys.executable, "-c", code, tmp_path / folder]
        subprocess.run(command, check=True, cwd=cwd, timeout=120)
    for path in (tmp_path / "plain").glob("*.[ps][nv]g"):
        assert path.read_bytes() == (tmp_path / "own" / path.name).read_bytes()


NAMES = ["$5 to $9", r"$\alph$", r"a\$b$", "cost $", "$$", "a_b^c", "_Mine", "_$x$", "my_child",
         "_child0"]  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_names_are_drawn_and_written_as_they_are(tmp_path, text):
    @styled
    def drawn():
        figure, axes = new_figure()
        plot_curves(axes, range(3), {text: [1, 2, 3]})
        axes.set_title(plain(text))
        return figure

    with looking(Look(csv=True)):
        _, svg, table = save_figure(drawn(), tmp_path, "figure")
    root = ET.parse(svg).getroot()
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [shown.strip("\N{ZERO WIDTH SPACE}") for shown in texts].count(text) == 2
    assert table.read_text(encoding="utf-8").splitlines()[1] == f"1,{text},{text},0,1"


def extents(figure):
    """Return the lowest and the highest pixel row of note, legend and panel."""
    figure.draw_without_rendering()
    (note,), (legend,), (panel,) = figure.texts, figure.legends, figure.axes
    boxes = [one.get_tightbbox() for one in (note, legend, panel)]
    return [row for box in boxes for row in (box.y0, box.y1)]


@pytest.mark.parametrize("size", [None, (5, 3), (12, 9)])
@pytest.mark.parametrize("names", ["ab", "abcdef"])
def test_a_note_is_below_the_legend_and_the_legend_below_the_panels(size, names):
    @styled
    def drawn():
        figure, panel = new_figure()
        plot_curves(panel, range(20), {name: np.zeros(20) for name in names})
        handles, labels = panel.get_legend_handles_labels()
        panel.get_legend().remove()
        panel.set(xlabel="iteration")
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure

    with looking(Look(size=size)):
        figure = drawn()
        mark(figure, "a note")
    rows = extents(figure)
    assert rows == sorted(rows)
    assert rows[0] >= 0
    assert figure.get_figwidth() == (8 if size is None else size[0])
    assert size is None or figure.get_figheight() == size[1]


def test_a_note_may_be_in_chinese():
    with looking(Look(fonts=["Some Font"])):
        figure, _ = new_figure()
        mark(figure, "快速运行")
    assert "Some Font" in figure.texts[0].get_fontfamily()
