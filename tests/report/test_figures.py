"""Figures for a page: no colours of their own for black and white, no names in common."""

import re
from xml.etree import ElementTree as ET

import pytest
import small_experiments
from matplotlib.figure import Figure

from dlskills.experiments.text import Text, in_each_language
from dlskills.report.figures import colour_variables, inline_svg, lines_in_both


@pytest.fixture(scope="module")
def svg():
    figure = small_experiments.plot([{"n": 2.0}])["first"]
    return inline_svg(figure, "p", {"role": "img", "id": "p"})


def test_it_is_one_element_with_the_attributes_asked_for(svg):
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert root.attrib == {
        "viewBox": "0 0 288 216", "style": "--width: 400px", "role": "img", "id": "p"
    }  # fmt: skip


def test_text_is_text(svg):
    texts = {"".join(text.itertext()).strip() for text in ET.fromstring(svg).iter("text")}
    assert {"title of first", "a < b & c"} <= texts


def test_nothing_of_it_reaches_the_page_around_it(svg):
    assert "<style" not in svg
    assert "http" not in svg
    names = [element.get("id") for element in ET.fromstring(svg).iter()]
    names = [name for name in names if name is not None]
    assert len(names) == len(set(names))
    assert all(name == "p" or name.startswith("p-") for name in names)
    used = re.findall(r'(?:href="|url\()#([^")]+)', svg)
    assert used
    assert set(used) <= set(names)


def test_greys_and_the_palette_are_variables(svg):
    assert re.findall(r"#(..)\1\1\b", svg) == []
    assert {"var(--grey-ff)", "var(--grey-cc)"} <= set(re.findall(r"var\(.*?\)", svg))
    figure = small_experiments.plot([{"n": 2.0}])["first"]
    figure.axes[0].axhline(1, color="#0072B2")
    assert "var(--colour-0)" in inline_svg(figure, "p", {})


def test_light_greys_are_dark_on_a_dark_page():
    rows = [
        row
        for row in colour_variables(["fill: var(--grey-cc)", "stroke: var(--grey-99)"])
        if "grey" in row[0]
    ]
    assert [name for name, _, _ in rows] == ["--grey-00", "--grey-99", "--grey-cc", "--grey-ff"]
    assert [light for _, light, _ in rows] == ["#000000", "#999999", "#cccccc", "#ffffff"]
    dark = [int(colour[1:3], 16) for _, _, colour in rows]
    assert dark == sorted(dark, reverse=True)
    assert dark[0] > 200 > 50 > dark[-1]


def test_texts_are_paired_with_those_of_the_figure_in_chinese():
    def plot():
        return small_experiments.plot([{"n": 2.0}])["first"]

    said = lines_in_both(*in_each_language(plot))
    assert said == {"learning rate": Text("learning rate", "学习率")}


def test_titles_of_different_lengths_are_paired():
    english, chinese = Figure(), Figure()
    english.suptitle("one\ntwo")
    chinese.suptitle("一")
    assert lines_in_both(english, chinese) == {"one": Text("one", "一"), "two": Text("two", "")}
    assert lines_in_both(chinese, english) == {"一": Text("一", "onetwo")}


def test_two_translations_of_one_text_are_an_error():
    english, chinese = Figure(), Figure()
    for figure, words in ((english, "aa"), (chinese, "bc")):
        for word in words:
            figure.text(0, 0, word)
    with pytest.raises(RuntimeError, match="'a' has two translations"):
        lines_in_both(english, chinese)
