"""README, docs and the files beside them: links resolve, examples run, numbers have a source."""

import ast
import importlib.util
import json
import re
import shlex
import shutil
import textwrap
import tomllib
import urllib.parse
from pathlib import Path

import pytest

import dlskills
from dlskills.networks import description

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh.md")
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("benchmarks/*.md"))
)
CHINESE = [page for page in PAGES if page.startswith("docs/") and page.endswith(".zh.md")]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
COMMANDS = re.compile(r"^( *)```sh\n(.*?)^\1```", re.DOTALL | re.MULTILINE)


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(page):
    """Return a page's examples in Python, also those in an indented answer to an exercise."""
    return [textwrap.dedent(code) for _, code in BLOCK.findall(read(page))]


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


# README.zh.md and the Chinese pages have the same examples, see below.
QUICK = (
    "README.md", "docs/explanation/flat-buffer", "docs/explanation/numerics",
    "docs/explanation/randomness", "docs/tutorial/",
)  # fmt: skip
EXECUTED = [
    pytest.param(page, marks=() if page.startswith(QUICK) else pytest.mark.slow)
    for page in PAGES
    if blocks(page) and not page.endswith(".zh.md")
]


@pytest.mark.parametrize("page", EXECUTED)
def test_the_examples_of_a_page_run_one_after_the_other(page, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(description, "_CLASSES", dict(description._CLASSES))  # what it registers
    names = {"__name__": "__main__"}
    for block in blocks(page):
        for library, use in {"optuna": "import optuna", "torch": "import torch",
                             "mpi4py": "import mpi\n"}.items():  # fmt: skip
            if use in block:
                pytest.importorskip(library)
        try:
            exec(compile(block, page, "exec"), names)
        except dlskills.DeviceError as error:
            pytest.skip(str(error))
    output = capsys.readouterr().out
    if page == "README.md":
        assert float(re.search(r"([\d.]+)%", output)[1]) > 90
        assert names["network"].accuracy(names["x_test"], names["t_test"]) > 0.9


def without_words(block):
    """Return an example's syntax tree; comments, and the words of f-strings, are left out."""
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if not isinstance(part, ast.Constant)]
    return ast.dump(tree)


@pytest.mark.parametrize("page", CHINESE)
def test_a_chinese_page_has_the_examples_commands_and_results_of_the_english_one(page):
    english = page.replace(".zh.md", ".md")
    assert list(map(without_words, blocks(page))) == list(map(without_words, blocks(english)))
    assert commands(page) == commands(english)
    directives = [re.findall(r"<!-- .* -->", read(name)) for name in (page, english)]
    assert directives[0] == directives[1]


def test_pages_exist_in_both_languages():
    english_only = (
        "docs/reference/", "docs/explanation/devices.md", "docs/explanation/performance.md",
    )  # fmt: skip
    english = [
        page
        for page in PAGES
        if page.startswith("docs/") and not page.startswith(english_only)
        and not page.endswith(".zh.md")
    ]  # fmt: skip
    assert len(english) >= 20
    assert sorted(CHINESE) == sorted(page.replace(".md", ".zh.md") for page in english)


def commands(page):
    """Return the lines of a page's shell examples without their comments."""
    lines = [line for _, text in COMMANDS.findall(read(page)) for line in text.splitlines()]
    return [" ".join(shlex.split(line, comments=True)) for line in lines]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if "dlskills " in " ".join(commands(page)) and page not in CHINESE],
)
def test_the_command_line_has_the_options_that_pages_use(page, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from dlskills.cli import app

    monkeypatch.chdir(tmp_path)
    for name in ("my.py", "my_experiment.py", "another.py"):
        shutil.copy(ROOT / "examples" / "own_experiment.py", tmp_path / name)
    for _, text in COMMANDS.findall(read(page)):
        for line in text.splitlines():
            program, *arguments = shlex.split(line, comments=True) or [""]
            if program == "dlskills":
                result = CliRunner().invoke(app, [*arguments, "--help"])
                assert result.exit_code == 0, f"{line}: {result.output}"


def errors():
    return tomllib.loads(read("docs/reference/errors.toml"))["errors"]


def raised(entry, monkeypatch, folder):
    """Return the error that an entry's code raises."""
    import numpy as np

    import dlskills.experiments
    import dlskills.training
    import dlskills.tuning

    monkeypatch.chdir(folder)
    data = np.ones((5, 4), dtype="float32"), np.array([0, 1, 2, 0, 1])

    def make_trainer(units):
        return dlskills.Trainer(
            dlskills.MultiLayerNet(4, [units], 3, seed=0), *data, epochs=1, verbose=False,
            callbacks=[dlskills.training.Checkpoint("checkpoints")],
        )  # fmt: skip

    names = {
        "dlskills": dlskills, "np": np, "Path": Path, "Trainer": dlskills.Trainer,
        "make_trainer": make_trainer, "network": dlskills.MultiLayerNet(4, [10], 3, seed=0),
    }  # fmt: skip
    with np.errstate(all="ignore"), pytest.raises(Exception) as found:  # noqa: PT011
        exec(compile(entry["code"], "errors.toml", "exec"), names)
    return found.value


@pytest.mark.parametrize("entry", errors(), ids=lambda entry: entry["message"][:40])
def test_the_errors_in_the_table_are_those_raised(entry, monkeypatch, tmp_path):
    if "needs" in entry:
        pytest.importorskip(entry["needs"])
    if "without" in entry and importlib.util.find_spec(entry["without"]):
        pytest.skip(f"{entry['without']} is installed")
    error = raised(entry, monkeypatch, tmp_path)
    assert type(error).__name__ == entry["type"]
    message = error.args[0] if isinstance(error, KeyError) else str(error)
    pattern = ".*".join(map(re.escape, entry["message"].split("…")))
    assert re.fullmatch(pattern, message, re.DOTALL), message


def test_every_public_kind_of_error_is_in_the_table():
    import dlskills.training
    import dlskills.tuning

    public = {
        name
        for module in (dlskills, dlskills.training, dlskills.tuning)
        for name in module.__all__
        if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), Exception)
    }
    assert len(public) >= 6
    assert public <= {entry["type"] for entry in errors()}


def test_the_reference_has_every_public_name():
    from generate import api

    text = "\n".join(api.pages().values())
    shown = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    packages = ("dlskills", "dlskills.layers", "dlskills.optimizers", "dlskills.training",
                "dlskills.diagnostics", "dlskills.tuning", "dlskills.experiments")  # fmt: skip
    assert set(packages) <= set(api.packages())
    things = {id(getattr(importlib.import_module(path.rpartition(".")[0]), path.split(".")[-1]))
              for path in shown}  # fmt: skip
    for package in packages:
        module = importlib.import_module(package)
        missing = [name for name in module.__all__ if id(getattr(module, name)) not in things]
        assert missing == [], package


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
    english, chinese = (
        sorted({link.replace(".zh.md", ".md") for link in LINK.findall(read(page))} - {"README.md"})
        for page in READMES
    )
    assert english == chinese
    assert list(map(without_words, blocks("README.md"))) == list(
        map(without_words, blocks("README.zh.md"))
    )
    shown = [re.findall(r"^    (.+)$", BLOCK.sub("", read(page)), re.MULTILINE) for page in READMES]
    assert shown[0] == shown[1]


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
    assert "](https://example.org/owner/dlskills/blob/main/docs/how-to/index.md)" in text
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


def test_each_language_has_an_index_of_its_own(tmp_path):
    from generate import search

    locations = ["tutorial/", "zh/tutorial/", "zh/tutorial/#dropout", "zhongshan/"]
    index = {"config": {"lang": ["en", "zh"]}, "docs": [{"location": one} for one in locations]}
    path = tmp_path / search.INDEX
    path.parent.mkdir()
    path.write_text(json.dumps(index), encoding="utf-8")
    for _ in range(2):  # what is split is left as it is
        search.split(tmp_path)
        for folder, expected in {
            "": ["tutorial/", "zhongshan/"], "zh": ["tutorial/", "tutorial/#dropout"],
        }.items():  # fmt: skip
            found = json.loads((tmp_path / folder / search.INDEX).read_text(encoding="utf-8"))
            assert [entry["location"] for entry in found["docs"]] == expected
            assert found["config"] == index["config"]
