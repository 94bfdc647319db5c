"""Formulas in TeX as MathML, which browsers show without a script."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL
)
# As docstrings write formulas, and as Python-Markdown then shows them.
BLOCK = re.compile(r'<p>\.\. math::</p>\s*<div class="highlight">(.*?)</div>', re.DOTALL)
ROLE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)


def from_docstrings(page):
    """Return a page of the API with the formulas of docstrings as MathML."""
    page = BLOCK.sub(lambda found: _shown(re.sub("<.*?>", "", found[1]), "block"), page)
    return ROLE.sub(lambda found: _shown(found[1], "inline"), page)


def _shown(tex, display):
    tag = "div" if display == "block" else "span"
    tex = " ".join(html.unescape(tex).split())
    return f'<{tag} class="formula">{convert(tex, display=display)}</{tag}>'


def mathml(page):
    """Return an HTML page with each formula of pymdownx.arithmatex as MathML."""

    return FORMULA.sub(
        lambda found: _shown(found[3], "block" if found[2] == "[" else "inline"), page
    )
