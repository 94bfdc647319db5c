"""The page: its structure, its languages, and that it needs nothing beside it."""

import itertools
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
import small_experiments

from dlskills.experiments import EXPERIMENTS, Experiment, Record, Settings
from dlskills.experiments.tables import Table
from dlskills.report import write_report

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The elements of a page, with their attributes and the text of each."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        assert self.open == []  # all closed, in order

    def handle_starttag(self, tag, attributes):
        inside = [element for _, element in self.open]
        element = {"tag": tag, "text": "", "inside": inside, **dict(attributes)}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append((tag, element))

    def handle_startendtag(self, tag, attributes):
        self.elements.append({"tag": tag, "text": "", "inside": [], **dict(attributes)})

    def handle_endtag(self, tag):
        opened, _ = self.open.pop()
        assert opened == tag

    def handle_data(self, data):
        for _, element in self.open:
            element["text"] += data

    def find(self, **attributes):
        return [
            element
            for element in self.elements
            if all(element.get(name.rstrip("_")) == value for name, value in attributes.items())
        ]

    def one(self, **attributes):
        (element,) = self.find(**attributes)
        return element


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page with its figures: parsed, and its text."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, experiment in small_experiments.EXPERIMENTS.items():
            monkeypatch.setitem(EXPERIMENTS, name, experiment)
        write_report(small_experiments.RECORDS, path)
    text = path.read_text(encoding="utf-8")
    return Page(text), text


@pytest.fixture
def written(small, undrawn, tmp_path):
    """Writes a page without figures and reads it again: parsed, and its text."""

    def written(records=small, **options):
        write_report(records, tmp_path / "report.html", **options)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        return Page(text), text

    return written


def said(text, language):
    """What elements with a language say in it, in one string."""
    return " ".join(e["text"] for e in text.elements if e.get("lang") == language)


def test_every_experiment_has_a_section_in_order(whole):
    page, _ = whole
    assert [e["id"] for e in page.find(tag="section")] == ["summary", "one", "two"]
    for name in ("one", "two"):
        section = page.one(tag="section", id=name)
        title = page.one(id=section["aria-labelledby"])
        assert f"Title <of> {name}" in title["text"]
        assert f"About {name} & more." in section["text"]
    links = [e["href"] for e in page.find(tag="a") if e["inside"][-1]["tag"] == "li"]
    assert links == ["#summary", "#one", "#two"]


def test_links_and_labels_point_at_what_is_there_and_ids_are_unique(whole):
    page, text = whole
    ids = Counter(e["id"] for e in page.elements if "id" in e)
    assert [id for id, count in ids.items() if count > 1] == []
    for element in page.elements:
        for id in element.get("aria-labelledby", "").split():
            assert id in ids
        if element.get("href", "").startswith("#"):
            assert element["href"][1:] in ids
    inside = re.findall(r"url\(#(.*?)\)", text)
    assert inside
    assert set(inside) <= set(ids)


def test_nothing_is_loaded_from_elsewhere(whole):
    page, text = whole
    for element in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            assert re.match(r"#|data:", element.get(name, "#")), element
    assert re.findall(r"url\((?!#)|@import|@font-face|fetch\(|https?://", text) == []


def test_every_figure_has_alternative_text_in_both_languages(whole):
    page, _ = whole
    assert len(page.find(tag="svg", role="img")) == len(page.find(tag="svg")) == 8
    assert len(page.find(tag="svg", class_="narrow")) == 4  # one of each pair is shown
    figures = page.find(tag="svg", class_="wide")
    for figure, (name, en, zh) in zip(
        figures,
        [("one", "falls", "下降"), ("one", "rises", "上升"),
         ("two", "falls", "下降"), ("two", "rises", "上升")],
        strict=True,
    ):  # fmt: skip
        label = page.one(id=figure["aria-labelledby"])
        texts = {e["lang"]: e["text"] for e in page.elements if label in e["inside"]}
        assert texts == {"en": f"{name} {en}", "zh-Hans": f"{name} {zh}"}


def test_all_claims_have_a_verdict_in_words_and_their_numbers(whole):
    page, _ = whole
    for name in ("one", "two"):
        text = page.one(tag="section", id=name)["text"]
        for claim in small_experiments.CLAIMS:
            assert claim.says.en in text
            assert claim.says.zh in text
            for check in claim.checks:
                assert check.what.en in text
                assert check.what.zh in text
                assert check.bounds in text
        assert "It is <not>." in text
    cells = [
        [e["text"].strip() for e in page.elements
         if row in e["inside"] and e["tag"] in ("td", "th") and e.get("class") == "number"]
        for row in page.find(tag="tr")
    ]  # fmt: skip
    # the median, or what the check has in place of it; the spread; the range
    assert ["2", "1.25 … 4", "1.5 … 5"] in cells
    assert ["4 (highest最大值)", "1.25 … 4", "≤ 9"] in cells
    assert ["2", "–", "1.5 … 5"] in cells
    off = [e["text"] for e in page.find(tag="td", class_="number off")]
    assert off == ["2", "2"]


def test_the_summary_counts_what_is_confirmed(whole):
    page, _ = whole
    summary = page.one(tag="section", id="summary")
    verdicts = [
        (e["class"], e["text"]) for e in page.find(tag="span")
        if summary in e["inside"] and e.get("class", "").startswith("verdict")
    ]  # fmt: skip
    yes, no = ("verdict yes", "✓ confirmed已证实"), ("verdict no", "✗ not confirmed未证实")
    assert verdicts == [yes, no, yes, no]
    assert "the tutorial: 2 of 2 claims confirmed" in summary["text"]
    assert "ours: 0 of 2 claims confirmed" in summary["text"]
    assert "教程：2 个说法中 2 个得到证实" in summary["text"]


def test_numbers_and_settings_are_there(whole):
    page, _ = whole
    one, two = (page.one(tag="section", id=name)["text"] for name in ("one", "two"))
    for text in ("a & b", "2.417 ± 1.422", "<b>2</b>", "0, 1, 2", 'iterations = 7, name = "<a>"',
                 "cpu (NumPy)", "plain", "sample", "4.5 s", "f(<x>)"):  # fmt: skip
        assert text in one
    assert "nothing here is random" in two
    assert "1.5 s" in two
    assert page.find(tag="b") == []  # what looks like markup is text


def test_numbers_stand_in_line_at_their_right(small, undrawn, tmp_path, monkeypatch):
    def sides(cells):
        table = Table(["row", "column"], [["a", cell] for cell in cells])
        changed = small_experiments.experiment("one", table=lambda numbers: table)
        monkeypatch.setitem(EXPERIMENTS, "one", changed)
        write_report({"one": small["one"]}, tmp_path / "report.html")
        page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
        (numbers,) = page.find(tag="table", class_="numbers")
        within = [e for e in page.find(tag="td") if numbers in e["inside"]]
        assert len(within) == len(cells)
        return {element["class"] for element in within}

    assert sides(["1.5", "-2", "(-0.4, 3)", "≥ 3", "nan", "12%"]) == {"right"}
    assert sides(["1.5", "diverged", "never"]) == {"right"}
    assert sides(["1.5", "std 1"]) == {"left"}


def test_a_page_of_both_languages_begins_in_english(whole):
    page, _ = whole
    assert page.one(tag="html")["lang"] == "en"
    assert [e["lang"] for e in page.find(tag="button") if "lang" in e] == ["en", "zh-Hans"]
    spans = page.find(tag="span", class_="t")
    assert Counter(e["lang"] for e in spans)["en"] == Counter(e["lang"] for e in spans)["zh-Hans"]
    assert "总览" in said(page, "zh-Hans")


@pytest.mark.parametrize(
    ("language", "tag", "there", "absent"),
    [("en", "en", "Summary", "总览"), ("zh", "zh-Hans", "总览", "Summary")],
)
def test_a_page_of_one_language_has_no_other(written, language, tag, there, absent):
    page, text = written(languages=[language])
    assert page.one(tag="html")["lang"] == tag
    assert page.find(class_="t") == []
    assert [e for e in page.find(tag="button") if "lang" in e] == []
    assert there in text
    assert absent not in text
    title = page.one(tag="title")["text"]
    assert page.one(tag="h1")["text"] == title


def test_landmarks_and_a_way_past_the_contents(whole):
    page, _ = whole
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert len(page.find(tag=tag)) == 1
    skip = page.find(tag="a")[0]
    assert page.one(tag="main")["id"] == skip["href"][1:]
    levels = [int(e["tag"][1]) for e in page.elements if re.fullmatch(r"h\d", e["tag"])]
    after = levels[levels.index(1) :]
    assert all(b - a <= 1 for a, b in itertools.pairwise(after))
    for box in page.find(class_="scroll"):  # what scrolls can be reached, and has a name
        assert (box["tabindex"], box["role"]) == ("0", "region")
        assert "aria-labelledby" in box
    assert all(e["scope"] for e in page.find(tag="th"))


def test_a_quick_run_says_so_on_top(written, small):
    quick = {name: [small_experiments.record(name, quick=True)] for name in small}
    page, text = written(quick)
    assert "Quick runs" in page.one(class_="quick")["text"]
    assert "too short to show what the tutorial shows" in text  # in the figures, too
    # and where a figure's words are of a full run
    assert "A shortened run. Of a full one: one falls" in text
    assert "这是缩短的运行。完整的运行：one 下降" in text
    page, text = written()
    assert page.find(class_="quick") == []
    assert "A shortened run" not in text
    assert "too short to show" not in page.one(tag="main")["text"]


def test_few_seeds_are_called_an_indication(written, small):
    few = "Of fewer than 3 seeds"
    page, _ = written()
    assert few not in page.one(tag="main")["text"]
    page, _ = written({"one": small["one"][:2], "two": small["two"]})
    assert few in page.one(tag="section", id="one")["text"]
    assert few not in page.one(tag="section", id="two")["text"]  # nothing random there


def test_what_has_no_number_is_not_judged(written):
    page, _ = written({"one": [small_experiments.record("one", n=float("nan"))]})
    summary = page.one(id="summary")["text"]
    assert "the tutorial: 0 of 1 claims confirmed, 1 not judged" in summary
    assert "not judged未判定" in summary
    off = [e["text"] for e in page.find(tag="td", class_="number off")]
    assert off == ["no number无数值"] * 3


@pytest.mark.slow
def test_the_same_records_give_the_same_file(small, tmp_path):
    for name in ("a.html", "b.html"):
        write_report(small, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_no_id_stands_twice(whole):
    ids = re.findall(r'\bid="([^"]*)"', whole[1])
    assert len(ids) > 20
    assert len(set(ids)) == len(ids)


def test_labels_of_figures_are_in_each_language(whole):
    assert re.search(
        r'<text[^>]*><tspan class="t" lang="en">learning rate</tspan>'
        r'<tspan class="t" lang="zh-Hans">学习率</tspan></text>',
        whole[1],
    )
    assert re.search(r"<text[^>]*>title of first</text>", whole[1])  # which has no translation
    assert re.search(r"<text[^>]*>a &lt; b &amp; c</text>", whole[1])


def test_many_values_of_an_option_are_summed_up(written):
    few, many = small_experiments.record("one"), small_experiments.record("one")
    few.options["name"] = [[1, 2], [3]]
    many.options["name"] = [[10.0**-i, 0.5] for i in range(10)]
    assert "name = [[1, 2], [3]]" in written({"one": [few]})[0].one(id="one")["text"]
    text = written({"one": [many]})[0].one(id="one")["text"]
    assert "name = 20 values, 1 … 0.5" in text
    assert "name = 20 个值，1 … 0.5" in text
    many.options["name"] = ["sgd"] * 9 + [None]
    assert 'name = 10 values, "sgd" … null' in written({"one": [many]})[0].one(id="one")["text"]


@pytest.mark.parametrize(("uses", "none"), [(("data", "engine"), 0), ((), 2), (("data",), 1)])
def test_what_played_no_part_is_not_listed(written, monkeypatch, uses, none):
    monkeypatch.setitem(EXPERIMENTS, "one", small_experiments.experiment("one", uses=uses))
    page, _ = written({"one": [small_experiments.record("one")]})
    values = [cell["text"] for cell in page.find(tag="dd")]
    assert values.count("none无") == none


def test_other_settings_than_the_tutorials_are_not_judged(written):
    page, _ = written({"one": [small_experiments.record("one", iterations=8)]})
    assert "0 of 1 claims confirmed, 1 not judged" in page.one(id="summary")["text"]
    said = page.one(tag="section", id="one")["text"]
    assert "only at the tutorial's settings; these differ: iterations" in said


def test_a_claim_that_does_not_hold_links_to_its_remark(whole):
    page, _ = whole
    links = [e["href"] for e in page.find(tag="a") if "remark" in e.get("href", "")]
    assert links == ["#one-remark-2", "#two-remark-2"]
    assert "It is <not>." in page.one(id="one-remark-2")["text"]


def test_each_claim_says_whose_it_is_and_where_its_range_comes_from(whole):
    page, _ = whole
    claims = page.one(tag="section", id="one")["text"]
    assert "[the tutorial: Momentum教程：Momentum]" in claims
    assert "[ours本项目]" in claims
    assert "ours: the sentence gives no number" in claims


def test_an_experiment_without_figures_table_or_claims(written):
    bare = Experiment(name="bare", title="Bare", run=lambda settings: {})
    settings = Settings(verbose=False)
    record = Record("bare", settings, {}, False, "cpu (NumPy)", "plain", 1.0, {})
    page, _ = written({"bare": [record]}, experiments=[bare])
    assert "Bare" in page.one(tag="section", id="bare")["text"]


def test_it_tells_what_it_does(small, undrawn, tmp_path, capsys):
    verdicts = write_report(small, tmp_path / "r.html", verbose=True)
    assert [verdict.confirmed for verdict in verdicts] == [True, False, True, False]
    assert "report: drew two" in capsys.readouterr().out
