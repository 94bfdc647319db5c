"""Make the README's links absolute in the metadata that a package index shows.

On an index the README is shown without the repository's files. If pyproject.toml declares a
repository in ``[project.urls]``, links to files become links into it; otherwise they stay as they
are.
"""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)(?P<path>[^)\s]+)")
BRANCH = "main"


def absolute_links(text: str, repository: str) -> str:
    """Return Markdown whose relative links point into a repository on GitHub or GitLab.

    Parameters
    ----------
    text : str
        Markdown from the root of the repository.
    repository : str
        Its URL, such as ``"https://github.com/owner/name"``.
    """

    def absolute(match: re.Match[str]) -> str:
        path = match["path"]
        view = "raw" if path.endswith((".png", ".svg")) else "blob"
        return f"{repository.rstrip('/')}/{view}/{BRANCH}/{path}"

    return LINK.sub(absolute, text)


class ReadmeHook(MetadataHookInterface):
    """Fill in the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the README as the long description."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        if repository := metadata.get("urls", {}).get("Repository"):
            text = absolute_links(text, repository)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
