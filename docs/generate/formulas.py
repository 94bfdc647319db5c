"""Formulas in TeX as MathML, which browsers show without a script."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</(?:span|div)>', re.DOTALL
)


def mathml(page):
    """Return an HTML page with each formula of pymdownx.arithmatex as MathML."""

    def formula(found):
        tag, bracket, tex = found.groups()
        display = "block" if bracket == "[" else "inline"
        return f'<{tag} class="formula">{convert(html.unescape(tex), display=display)}</{tag}>'

    return FORMULA.sub(formula, page)
