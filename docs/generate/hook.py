"""What MkDocs calls while it builds the site: see `hooks` in mkdocs.yml.

Pages hold comments such as ``<!-- claims: dropout -->``, which become figures, tables and verdicts.
Pages that consist of generated content only are added to the site's files.
"""

import atexit
import functools
import re
import shutil
import sys
import tempfile
from pathlib import Path

from mkdocs.plugins import event_priority

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from generate import api, command_line, errors, experiments, play, repository, search  # noqa: E402
from generate.formulas import from_docstrings, mathml  # noqa: E402

DIRECTIVE = re.compile(r"<!-- (figure|numbers|claims|summary|play): ([\w ./-]+?) -->")
ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):<code>(~?[\w.]+)</code>")
_CHINESE = r"[\u2014\u201c\u201d\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
BREAK = re.compile(rf"(?<={_CHINESE})\n(?={_CHINESE})")
ALTERNATE = re.compile(r'<link rel="alternate"[^>]* hreflang=[^>]*>\s*')
BASE = re.compile(r'"base": ?"\.\./?([^"]*)"')
API = "reference/api/"
english_api = {}
MARKED = re.compile(r"<!-- (errors|api-index|beyond|command-line) -->")


def language_of(config):
    return str(config.theme.get("language", "en"))[:2]


@functools.cache
def generated():
    """Return the text of each generated page by its path in the site's sources."""
    return {**api.pages(), **repository.pages()}


@functools.cache
def sources():
    """Return a folder with the pages of docs/ and the generated ones; it is deleted at the end.

    The plugin for languages takes no files but those in such a folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="dlskills-docs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, dirs_exist_ok=True)
    for path, text in generated().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    for path, picture in repository.pictures().items():
        shutil.copy(picture, folder / path)
    (folder / "assets" / "figures.css").write_text(experiments.colours(), encoding="utf-8")
    play.write(folder)
    return folder


def on_config(config):
    config.docs_dir = str(sources())
    config.nav = [_filled(entry, list(generated())) for entry in config.nav]
    config.nav = [entry for entry in config.nav if entry is not None]
    return config


def _filled(entry, pages):
    """Return an entry of `nav` with its generated pages; None for a page that does not exist."""
    if isinstance(entry, str):
        return entry
    ((title, target),) = entry.items()
    if isinstance(target, list):
        filled = (_filled(child, pages) for child in target)
        return {title: [child for child in filled if child is not None]}
    if target in ("api", "benchmarks"):
        folder = {"api": API, "benchmarks": "benchmarks/"}[target]
        return {title: sorted((page for page in pages if page.startswith(folder)), key=_order)}
    exists = target in pages or (ROOT / "docs" / target).exists()
    return entry if exists else None


def _order(page):
    return (not page.endswith(("index.md", "top-level.md")), page)


def on_page_markdown(markdown, page, config, files):
    if _is_copied(page, config):
        return f"# {page.title}"
    if not page.file.src_uri.startswith(("reference/", "benchmarks/")):
        page.meta.setdefault("search", {"boost": 3})  # a search finds what to do before the API

    def fill(found):
        match found[1]:
            case "errors":
                return errors.table()
            case "api-index":
                return api.index()
            case "command-line":
                return command_line.text()
            case _:
                return experiments.beyond(language_of(config))

    markdown = MARKED.sub(fill, markdown)
    return repository.links_within_the_site(markdown, page.file.src_uri)


def on_post_page(output, page, config):
    # For each such link Material asks for a sitemap that the site does not have; the switch of
    # languages leads to the same page without it.
    output = ALTERNATE.sub("", output)
    if language_of(config) == "en":
        return output
    # where search.split() puts the index of the language
    return BASE.sub(_below, output)


def _below(base):
    """Return Material's setting `base`, the root of the site, one folder further down."""
    return f'"base":"{base[1] or "."}"'


@event_priority(-100)
def on_post_build(config):
    search.split(Path(config.site_dir))


def on_page_content(html, page, config, files):
    if _is_copied(page, config):
        html, page.toc, page.present_anchor_ids = english_api[page.file.src_uri]
        return html
    if page.file.src_uri.startswith(API):
        html = from_docstrings(ROLE.sub(_reference, html))
        english_api[page.file.src_uri] = html, page.toc, page.present_anchor_ids
    language = language_of(config)

    def fill(found):
        what, names = found[1], found[2].split()
        if what == "play":
            return play.frame(*names, page.file.src_uri, language=language)
        return getattr(experiments, what)(*names, language=language)

    html = mathml(DIRECTIVE.sub(fill, html))
    return joined(html) if language == "zh" else html


def joined(html):
    """Return Chinese text without the spaces that browsers put for line breaks."""
    parts = re.split(r"(<pre.*?</pre>)", html, flags=re.DOTALL)
    return "".join(part if part.startswith("<pre") else BREAK.sub("", part) for part in parts)


def _reference(role):
    """Return a cross-reference of a docstring as MkDocs' plugin for references writes them."""
    path = role[1]
    shown = path.rpartition(".")[2] if path.startswith("~") else path
    return f'<autoref optional identifier="{path.lstrip("~")}"><code>{shown}</code></autoref>'


def _is_copied(page, config):
    """Return whether a page of the API is that of the English site, which was built before."""
    return page.file.src_uri.startswith(API) and language_of(config) != "en"
