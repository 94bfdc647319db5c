"""The notebooks are stripped, the same in both languages, and run without an error."""

import ast
import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "examples" / "notebooks"
NAMES = sorted(path.stem for path in (FOLDER / "en").glob("*.ipynb"))
PATHS = sorted(FOLDER.glob("*/*.ipynb"))


def read(lang, name):
    return json.loads((FOLDER / lang / f"{name}.ipynb").read_text(encoding="utf-8"))


def code(notebook):
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


class WithoutLabels(ast.NodeTransformer):
    """Blanks what may be in another language: strings that are not keys or keyword arguments."""

    def visit_JoinedStr(self, node):
        node.values = [part for part in node.values if not isinstance(part, ast.Constant)]
        self.generic_visit(node)
        return node

    def visit_Call(self, node):
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "print":
            node.args = [
                ast.Constant("") if isinstance(value, ast.Constant) else value
                for value in node.args
            ]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "show":
            node.args = []
        return node


def unlabelled(source):
    return ast.dump(WithoutLabels().visit(ast.parse(source)))


def test_each_section_has_a_notebook_in_both_languages():
    assert sorted(path.stem for path in (FOLDER / "zh").glob("*.ipynb")) == NAMES
    assert [name[0] for name in NAMES] == list("12345")


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebooks_are_stored_without_outputs(path):
    notebook = read(path.parent.name, path.stem)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert cell["metadata"] == {}


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_code_apart_from_labels(name):
    english, chinese = read("en", name), read("zh", name)
    kinds = [[cell["cell_type"] for cell in notebook["cells"]] for notebook in (english, chinese)]
    assert kinds[0] == kinds[1]
    assert list(map(unlabelled, code(english))) == list(map(unlabelled, code(chinese)))
    for lang, notebook in (("en", english), ("zh", chinese)):
        shown = [source for source in code(notebook) if ".show(" in source]
        assert shown
        assert all(f'.show("{lang}")' in source for source in shown)


@pytest.mark.slow
@pytest.mark.skipif(
    "DLSKILLS_TEST_NOTEBOOKS" not in os.environ, reason="run by the nox session notebooks"
)
@pytest.mark.filterwarnings("default")  # of Jupyter's packages
@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_notebooks_run(path, tmp_path):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources=resources
    ).execute()
    for cell in notebook.cells:
        if ".show(" in cell.source:
            (output,) = (output for output in cell.outputs if "data" in output)
            assert '<img alt="' in output["data"]["text/html"]
    if folder := os.environ.get("DLSKILLS_NOTEBOOKS_OUT"):
        nbformat.write(notebook, Path(folder) / f"{path.parent.name}-{path.name}")
