"""Pages made of the repository's other files, and links that lead to them.

Pages link to files by their paths in the repository, as GitHub does; on the site, such a link
leads to the page that shows the file.
"""

import json
import posixpath
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[([^\[\]]*)\]\((?!https?://|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
FILES = {  # path in the repository: page
    "CHANGELOG.md": "reference/changelog.md",
    "CONTRIBUTING.md": "reference/contributing.md",
    "benchmarks/README.md": "benchmarks/index.md",
}


def _results():
    return sorted((ROOT / "benchmarks" / "results").glob("*.md"))


def _examples():
    return sorted((ROOT / "examples").glob("*.py"))


def pages():
    """Return the Markdown of each page."""
    found = {page: _read(ROOT / path) for path, page in FILES.items()}
    found |= {f"benchmarks/{path.name}": _times(path) for path in _results()}
    found["reference/examples.md"] = _shown_examples()
    found["reference/citation.md"] = _citation()
    return found


def _citation():
    """Return how to cite, in BibTeX and as in the repository."""
    text = _read(ROOT / "CITATION.cff").rstrip()
    known = yaml.safe_load(text)
    authors = " and ".join(f"{{{author['name']}}}" for author in known["authors"])
    entry = [
        "@software{dlskills,", f"  title   = {{{known['title']}}},", f"  author  = {{{authors}}},",
        f"  version = {{{known['version']}}},", "}",
    ]  # fmt: skip
    return "\n".join(
        ["# How to cite", "", "BibTeX:", "", "```bibtex", *entry, "```", "", "CITATION.cff:", "",
         "```yaml", text, "```", ""]
    )  # fmt: skip


def _read(path):
    return path.read_text(encoding="utf-8")


def _times(path):
    """Return a page of times, made anew from its JSON file if `benchmarks report` made it."""
    data = path.with_suffix(".json")
    results = json.loads(_read(data)) if data.exists() else {}
    if "tasks" not in results:
        return _read(path)
    sys.path.insert(0, str(ROOT))
    from benchmarks.report import page

    return page(results, path.stem, path.with_suffix(".svg").exists())


def _shown_examples():
    lines = ["# Examples", "", "Scripts that run as they are; `python NAME.py` in `examples/`.", ""]
    for path in _examples():
        lines += [f"## {path.name}", "", "```python", _read(path).rstrip(), "```", ""]
    lines += [
        "## Notebooks",
        "",
        "In `examples/notebooks/`, in English (`en`) and Chinese (`zh`):",
        "",
    ]
    lines += [
        f"- `{path.name}`" for path in sorted((ROOT / "examples/notebooks/en").glob("*.ipynb"))
    ]
    return "\n".join(lines)


def pictures():
    """Return the pictures of those pages: path in the site's sources, file."""
    return {f"benchmarks/{path.name}": path for path in (ROOT / "benchmarks/results").glob("*.svg")}


def _page_of(path):
    """Return the site's source, with an anchor, that shows a file of the repository."""
    if path in FILES:
        return FILES[path], ""
    if path == "CITATION.cff":
        return "reference/citation.md", ""
    if path.startswith("docs/"):
        return path.removeprefix("docs/"), ""
    if path in ("README.md", "README.zh.md"):
        return path.replace("README", "index"), ""
    if path.startswith("benchmarks/results/"):
        return f"benchmarks/{posixpath.basename(path)}", ""
    if path.startswith("examples"):
        name = posixpath.basename(path)
        anchor = f"#{name.replace('.', '')}" if name.endswith(".py") else ""
        return "reference/examples.md", anchor
    return None


def _file_of(page):
    """Return the repository's file that a page of the site shows."""
    shown = {own: path for path, own in FILES.items()}
    if page in shown:
        return shown[page]
    if page.startswith("benchmarks/"):
        return f"benchmarks/results/{posixpath.basename(page)}"
    return f"docs/{page}"


def links_within_the_site(markdown, page):
    """Return a page whose links to files of the repository lead to pages of the site."""
    if page.startswith("reference/api/"):
        return markdown
    file = _file_of(page)
    # the plugin for languages finds the page in the reader's language
    markdown = re.sub(r"(\]\([^)\s]+)\.zh\.md", r"\1.md", markdown)

    def link(found):
        words, path, anchor = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), path))
        target = _page_of(path)
        if target is None:
            return words  # a file that the site does not show
        uri = posixpath.relpath(target[0], posixpath.dirname(page) or ".")
        return f"[{words}]({uri}{anchor or target[1]})"

    return LINK.sub(link, markdown)
