"""Options of figures and pages, shared by `dlskills run`, `report` and `play`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from dlskills.plotting import CHINESE_FONTS, FORMATS, Look, chinese_fonts


class Language(StrEnum):
    """The language of figures."""

    EN = "en"
    ZH = "zh"


class Theme(StrEnum):
    """The colours of figures."""

    LIGHT = "light"
    DARK = "dark"


Lang = Annotated[Language, typer.Option(help="Language of the figures.")]
Size = Annotated[
    str | None,
    typer.Option(help="Width and height of figures in inches, such as 8x4.5.",
                 show_default="each figure's own"),
]  # fmt: skip
Dpi = Annotated[float, typer.Option(help="Resolution of PNG files.", min=10, max=2400)]
Format = Annotated[str, typer.Option(help=f"File formats of figures: {', '.join(FORMATS)}.")]
Colours = Annotated[Theme, typer.Option("--theme", help="Colours of figures.")]
PageTheme = Annotated[
    Theme | None,
    typer.Option(
        "--theme",
        help="Colours of the page until the reader chooses.",
        show_default="those of the reader's system",
    ),
]
Csv = Annotated[
    bool, typer.Option("--csv", help="Also write every curve to a CSV file beside its figure.")
]


def look(size: str | None, dpi: float, format: str, theme: str, csv: bool) -> Look:
    """Return how figures are drawn, from the command line's options.

    Raises
    ------
    ValueError
        A size or a format is not one.
    """
    lengths = None
    if size is not None:
        width, _, height = size.lower().partition("x")
        try:
            lengths = (float(width), float(height))
        except ValueError:
            raise ValueError(f"size must be WIDTHxHEIGHT, such as 8x4.5, got {size!r}") from None
    formats = tuple(name.strip().lower() for name in format.split(","))
    return Look(str(theme), lengths, dpi, formats, csv)


def check_fonts(lang: str, formats: Sequence[str]) -> None:
    """Refuse Chinese PNG and PDF files where no font has the characters.

    Raises
    ------
    ValueError
        No font is installed; the message names some.
    """
    if lang == "zh" and set(formats) - {"svg"} and not chinese_fonts():
        raise ValueError(
            "--lang zh needs a font with Chinese characters for PNG and PDF files, and none is "
            f"installed; install one of {', '.join(CHINESE_FONTS[:4])}, ..., or give "
            "--format svg, which viewers draw with their own fonts"
        )
