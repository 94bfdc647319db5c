"""The table of errors from docs/reference/errors.toml, which the tests compare with the program."""

import tomllib
from pathlib import Path

FILE = Path(__file__).resolve().parents[1] / "reference" / "errors.toml"


def entries():
    """Return the errors: each has its group, type, message, code, cause and cure."""
    with FILE.open("rb") as file:
        return tomllib.load(file)["errors"]


def table():
    """Return the errors as Markdown, a section per group."""
    lines, group = [], None
    for entry in entries():
        if entry["group"] != group:
            group = entry["group"]
            lines += ["", f"## {group}", "", "| error | cause | cure |", "| --- | --- | --- |"]
        cells = [f"`{entry['type']}`: {entry['message']}", entry["cause"], entry["cure"]]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
