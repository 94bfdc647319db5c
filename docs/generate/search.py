"""The index of the search, one per language: a reader finds pages in the language of the page."""

import json

INDEX = "search/search_index.json"


def split(site, prefix="zh/"):
    """Move the entries of a language from the site's index to one below its folder.

    Parameters
    ----------
    site : pathlib.Path
        The built site; nothing is done if it has no index.
    prefix : str
        Of the language's pages. In its index, locations are relative to its folder.
    """
    path = site / INDEX
    if not path.exists():
        return
    index = json.loads(path.read_text(encoding="utf-8"))
    own = [entry for entry in index["docs"] if entry["location"].startswith(prefix)]
    if not own:
        return
    others = [entry for entry in index["docs"] if not entry["location"].startswith(prefix)]
    moved = [entry | {"location": entry["location"].removeprefix(prefix)} for entry in own]
    for where, entries in ((path, others), (site / prefix / INDEX, moved)):
        where.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(index | {"docs": entries}, ensure_ascii=False)
        where.write_text(text, encoding="utf-8")
