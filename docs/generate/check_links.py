"""Check that every link of the built site leads to a file and an anchor of it, and that the
reference has every public name.

    python docs/generate/check_links.py site
"""

import functools
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        self.links += [values[key] for key in ("href", "src") if values.get(key)]


@functools.cache
def page(path):
    return Page(path.read_text(encoding="utf-8"))


def broken(path, root):
    """Return the links of a page that lead nowhere."""
    found = []
    for link in page(path).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = path
        if parts.path:
            start = root if parts.path.startswith("/") else path.parent
            target = (start / unquote(parts.path).lstrip("/")).resolve()
            target = target / "index.html" if target.is_dir() else target
        anchor = unquote(parts.fragment)
        if not target.exists() or (
            anchor and target.suffix == ".html" and anchor not in page(target).anchors | {"__top"}
        ):
            found.append(link)
    return found


def undocumented(root):
    """Return the public names that the reference does not have."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from generate import api

    anchors = set().union(
        *(page(path).anchors for path in (root / "reference/api").rglob("*.html"))
    )
    paths = {path for names in api.places().values() for path in names.values()}
    return sorted(paths - anchors)


def main():
    root = Path(sys.argv[1]).resolve()
    pages = [path for path in sorted(root.rglob("*.html")) if path.name != "404.html"]
    problems = [
        f"{path.relative_to(root)}: {link}" for path in pages for link in broken(path, root)
    ]
    problems += [f"not in the reference: {name}" for name in undocumented(root)]
    print(*problems, sep="\n")
    if problems or not pages:
        sys.exit(f"{len(problems)} problems in {len(pages)} pages")
    print(f"{len(pages)} pages: all links and all public names found")


if __name__ == "__main__":
    main()
