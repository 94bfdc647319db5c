"""The page to play with, and its parts in frames on the tutorial's pages."""

from dlskills.report import write_play
from dlskills.report.play import WORDS

FILES = {"en": "play.html", "zh": "play.zh.html"}
OPEN = {"en": "Open as a page of its own", "zh": "在单独的页面中打开"}


def write(folder):
    """Write the page in each language; the site has it under one name in both."""
    for language, file in FILES.items():
        write_play(folder / file, languages=(language,))


def frame(part, page, *, language):
    """Return a part of it, ``paths`` or ``activations``, with what to try.

    Parameters
    ----------
    part : str
    page : str
        The site's source on which the frame is.
    language : str
    """
    root = "../" * (page.count("/") + 1)
    title, about = (getattr(WORDS(name), language) for name in (part, f"{part}-about"))
    return (
        f'<p>{about}</p><iframe class="play" src="{root}play.html?part={part}" title="{title}"'
        f' loading="lazy"></iframe><p><a href="{root}play.html#{part}">{OPEN[language]}</a></p>'
    )
