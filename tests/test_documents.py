"""README, docs and the files beside them: links resolve, examples run, numbers have a source."""

import re
import tomllib
import urllib.parse
from pathlib import Path

import pytest

import dlskills

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT, ROOT / "docs", ROOT / "benchmarks")
    for path in folder.glob("*.md")
)
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def headings(text):
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    for link in LINK.findall(read(page)):
        path, _, anchor = urllib.parse.unquote(link).partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target.read_text(encoding="utf-8")), link


BLOCKS = [
    pytest.param(block, id=f"docs/guide.md-{i}")
    for i, block in enumerate(BLOCK.findall(read("docs/guide.md")))
]


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS)
def test_examples_run(block, tmp_path, monkeypatch):
    if "import optuna" in block:
        pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    try:
        exec(compile(block, "<example>", "exec"), {"__name__": "__main__"})
    except dlskills.DeviceError as error:
        pytest.skip(str(error))


# README.zh.md has the same examples
@pytest.mark.parametrize(
    "page", ["README.md", pytest.param("docs/training.md", marks=pytest.mark.slow)]
)
def test_the_examples_of_a_page_run_one_after_the_other(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    for block in BLOCK.findall(read(page)):
        exec(compile(block, page, "exec"), names)
    output = capsys.readouterr().out
    if page == "README.md":
        assert float(re.search(r"([\d.]+)%", output)[1]) > 90
        assert names["network"].accuracy(names["x_test"], names["t_test"]) > 0.9


def table(page):
    """Return the rows of a page's table, without its head."""
    rows = [line for line in read(page).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_numbers_in_the_readme_are_among_the_results():
    results = "".join(
        path.read_text(encoding="utf-8")
        for path in [*(ROOT / "benchmarks").glob("results/*.md"), ROOT / "benchmarks/README.md"]
    )
    rows = table("README.md")
    assert len(rows) >= 5
    for _, measured, _ in rows:
        for number in re.findall(r"\d+\.\d+|\d+(?= ulp)", measured):
            assert re.search(rf"(?<![\d.]){re.escape(number)}(?![\d.])", results), number


def test_both_readmes_say_the_same():
    english, chinese = (
        [re.findall(r"\d+\.\d+", row[1]) for row in table(page)] for page in READMES
    )
    assert english == chinese
    english, chinese = (sorted(set(LINK.findall(read(page))) - set(READMES)) for page in READMES)
    assert english == chinese
    commands = [
        re.findall(r"^    (.+)$", BLOCK.sub("", read(page)), re.MULTILINE) for page in READMES
    ]
    assert commands[0] == commands[1]


def test_the_readme_is_short():
    text = BLOCK.sub("", read("README.md"))
    prose = [line for line in text.splitlines() if not line.startswith(("|", "    "))]
    assert len(re.findall(r"\w[\w'.-]*", LINK.sub("]", "\n".join(prose)))) <= 600


def test_an_index_gets_absolute_links():
    pytest.importorskip("hatchling")
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.syspath_prepend(ROOT)
        from hatch_build import absolute_links
    text = absolute_links(read("README.md"), "https://example.org/owner/dlskills/")
    assert not LINK.search(text)
    assert "](https://example.org/owner/dlskills/raw/main/docs/optimizer-mnist.png)" in text
    assert "](https://example.org/owner/dlskills/blob/main/docs/guide.md)" in text
    assert "](https://data-apis.org/array-api/latest/)" in text


def test_the_citation_has_the_version_of_the_package():
    assert (
        re.search(r"^version: (.+)$", read("CITATION.cff"), re.MULTILINE)[1] == dlskills.__version__
    )


def test_pre_commit_pins_the_tools_that_nox_pins():
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    pinned = re.findall(
        r"additional_dependencies: \[([\w-]+==[\d.*]+)\]", read(".pre-commit-config.yaml")
    )
    assert len(pinned) >= 3
    assert set(pinned) <= set(extras["dev"])
