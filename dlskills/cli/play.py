"""`dlskills play`: an HTML page on which rules, rates and initial weights follow sliders."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from dlskills import terminal
from dlskills.cli.options import Language, Out, wrong_use
from dlskills.cli.run_options import PageTheme
from dlskills.experiments.choices import parse_optimizers
from dlskills.report import write_play


def play(
    rules: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RULE]...",
            help="Update rules that come first: NAME, NAME:setting=value, or "
            "FILE.py:CLASS[:setting=value] for one of your own. All rules of dlskills follow.",
            show_default=False,
        ),
    ] = None,
    function: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE.py:NAME, a function f(x, y) of your own; may be given several times.",
            show_default=False,
        ),
    ] = None,
    activation: Annotated[
        list[str] | None,
        typer.Option(
            help="FILE.py:NAME, an activation of your own: a class derived from Activation, a "
            "formula made by elementwise, or a function f(x); may be given several times.",
            show_default=False,
        ),
    ] = None,
    out: Out = Path("results"),
    lang: Annotated[
        Language, typer.Option(help="English, Chinese, or both with a switch.")
    ] = Language.BOTH,
    theme: PageTheme = None,
    opens: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
) -> None:
    """Write OUT/play.html, where sliders change a path or histograms at once, and open it.

    The first part follows an update rule over x²/20 + y² and other
    functions: choose the rule, each of its hyperparameters, and the start
    point. The second shows histograms of activations for a spread of the
    weights, an activation function, and a number of layers.

    The page is one file, and works without a server and without a network.

    Examples: dlskills play, dlskills play Momentum:momentum=0.5,
    dlskills play my.py:SignMomentum, dlskills play --activation my.py:swish
    """
    path = out / "play.html"
    with wrong_use():
        chosen = parse_optimizers(",".join(rules)) if rules else []
        write_play(
            path, rules=chosen, functions=function or (), activations=activation or (),
            languages=lang.fields, theme=theme,
        )  # fmt: skip
    terminal.console().print(f"wrote {path}", soft_wrap=True)
    if opens and not webbrowser.open(path.resolve().as_uri()):
        terminal.console().print("No browser was found. Open the file yourself.")
