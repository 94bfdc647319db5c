"""Figures for a page: no colours of their own for black and white, no names in common."""

import re
from xml.etree import ElementTree as ET

import pytest
import small_experiments

from dlskills.report.figures import grey_variables, inline_svg


@pytest.fixture(scope="module")
def svg():
    figure = small_experiments.plot({"n": 2.0})["first"]
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


def test_greys_are_variables_and_colours_are_not(svg):
    assert re.findall(r"#(..)\1\1\b", svg) == []
    assert {"var(--grey-ff)", "var(--grey-cc)"} <= set(re.findall(r"var\(.*?\)", svg))
    figure = small_experiments.plot({"n": 2.0})["first"]
    figure.axes[0].axhline(1, color="#0072B2")
    assert "#0072b2" in inline_svg(figure, "p", {})


def test_light_greys_are_dark_on_a_dark_page():
    rows = grey_variables(["fill: var(--grey-cc)", "stroke: var(--grey-99); fill: var(--grey-cc)"])
    assert [name for name, _, _ in rows] == ["--grey-00", "--grey-99", "--grey-cc", "--grey-ff"]
    assert [light for _, light, _ in rows] == ["#000000", "#999999", "#cccccc", "#ffffff"]
    dark = [int(colour[1:3], 16) for _, _, colour in rows]
    assert dark == sorted(dark, reverse=True)
    assert dark[0] > 200 > 50 > dark[-1]
