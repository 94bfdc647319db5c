"""The reference of the command line, from the commands' own help."""

import functools
import os
import re

os.environ["TYPER_USE_RICH"] = "0"  # plain text; read when typer is imported

import typer

from dlskills.cli import app

WIDTH = 80
STYLE = re.compile(r"\x1b\[[\d;]*m")


@functools.cache
def commands():
    """Return the help of every command by its full name, such as ``dlskills run dropout``."""
    return dict(_walk("dlskills", typer.main.get_command(app), None))


def _walk(name, command, parent):
    context = type(command).context_class(
        command, info_name=name.split()[-1], parent=parent, terminal_width=WIDTH
    )
    yield name, STYLE.sub("", command.get_help(context))
    if hasattr(command, "list_commands"):
        for child in command.list_commands(context):
            yield from _walk(f"{name} {child}", command.get_command(context, child), context)


def text():
    """Return the help of all commands as Markdown."""
    lines = []
    for name, shown in commands().items():
        level = min(3, 2 + max(0, name.count(" ") - 1))
        lines += [f"{'#' * level} {name}", "", "```text", shown.strip(), "```", ""]
    return "\n".join(lines)
