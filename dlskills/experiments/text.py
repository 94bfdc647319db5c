"""What a reader sees, in both languages of the report."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """The same sentence in English and in Chinese."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.en
