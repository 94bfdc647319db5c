"""Pages from templates: their frame, and texts in each of a page's languages."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import dlskills
from dlskills.checks import check_choice
from dlskills.experiments.text import Text, Texts
from dlskills.plotting import THEMES

LANGUAGES = {"en": ("en", "English"), "zh": ("zh-Hans", "中文")}
"""For each field of a Text, the language's tag and its own name."""


def say(text: Text, languages: Sequence[str], element: str = "span") -> str:
    """Return a text in each of the page's languages; the style shows one of them."""
    from markupsafe import Markup, escape

    said = [
        (LANGUAGES[language][0], getattr(text, language).replace(" %", "\N{NO-BREAK SPACE}%"))
        for language in languages
    ]
    # text that is the same in all languages, such as a number, is marked with none
    if len({words for _, words in said}) == 1:
        return escape(said[0][1])
    # only the name of the element goes in as it is, which our own templates give
    span = Markup(f'<{element} class="t" lang="{{}}">{{}}</{element}>')  # noqa: S704
    return Markup("").join(span.format(tag, words) for tag, words in said)


def environment(languages: Sequence[str], words: Texts, theme: str | None = None) -> Any:
    """Return the templates, in which ``"key" | say`` is a text of `words`.

    Parameters
    ----------
    languages : sequence of str
        Of the page; the first is shown to a reader who has chosen none.
    words : Texts
    theme : str, optional
        Colours of the page, ``"light"`` or ``"dark"``, until the reader chooses.

    Raises
    ------
    ValueError
        The theme is not one.
    """
    import jinja2

    if theme is not None:
        check_choice("theme", theme, THEMES)

    def filtered(text: Text | str) -> str:
        return say(words(text) if isinstance(text, str) else text, languages)

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("dlskills.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"say": filtered, "first_words": lambda text: getattr(text, languages[0])}
    made.globals |= {
        "WORDS": words,
        "theme": theme,
        "languages": [LANGUAGES[language] for language in languages],
        "versions": _versions(),
    }
    return made


def _versions() -> str:
    import numpy as np

    return (
        f"dlskills {dlskills.__version__}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}"
    )
