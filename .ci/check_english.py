"""Find the turns of phrase that docs/english-turns.txt lists.

    python .ci/check_english.py [FILE ...]

Without files, all Python and Markdown files of the project are read, except results of benchmarks.
Prints each find with the remedy; the exit status is 1 if there are any.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TURNS = ROOT / "docs" / "english-turns.txt"
FOLDERS = (".ci", "benchmarks", "dlskills", "docs", "examples", "tests")
SPACE = r"\s+(?:# )?"  # a line break, within a comment, too


def turns() -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns and their remedies."""
    found = []
    for line in TURNS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pattern, _, remedy = line.rpartition(" => ")
            found.append((re.compile(pattern.replace(" ", SPACE), re.IGNORECASE), remedy))
    return found


def files() -> Iterator[Path]:
    """Return the project's Python and Markdown files."""
    for kind in ("*.py", "*.md"):
        yield from ROOT.glob(kind)
        for folder in FOLDERS:
            yield from (ROOT / folder).rglob(kind)


def main() -> None:
    """Search the files named on the command line, or all."""
    patterns = turns()
    count = 0
    for path in sorted(map(Path, sys.argv[1:])) or sorted(files()):
        if "results" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        for pattern, remedy in patterns:
            for match in pattern.finditer(text):
                count += 1
                line = text.count("\n", 0, match.start()) + 1
                phrase = " ".join(match[0].split())
                print(f"{path}:{line}: {phrase!r}: write {remedy}")
    if count:
        sys.exit(f"{count} turns to rewrite; see docs/english-turns.txt")


if __name__ == "__main__":
    main()
