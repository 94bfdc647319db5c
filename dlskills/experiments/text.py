"""Bilingual texts: one catalogue in the folder ``texts``, with a file for each experiment."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).parent / "texts"

_language = contextvars.ContextVar("language", default="en")


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in English and in Chinese.

    ``str(text)`` is in the language that :func:`language` has set, English by default.
    """

    en: str
    zh: str

    def __str__(self) -> str:
        return str(getattr(self, _language.get()))

    def format(self, **values: Any) -> Text:
        """Fill in the fields in braces, with numbers, words or other texts."""
        en, zh = (
            getattr(self, name).format(
                **{
                    key: getattr(value, name) if isinstance(value, Text) else value
                    for key, value in values.items()
                }
            )
            for name in LANGUAGES
        )
        return Text(en, zh)


@contextlib.contextmanager
def language(name: str) -> Iterator[None]:
    """Set the language of ``str(text)``: ``"en"`` or ``"zh"``."""
    token = _language.set(name)
    try:
        yield
    finally:
        _language.reset(token)


def in_each_language(function: Callable[[], T]) -> list[T]:
    """Call a function once in each language, English first."""
    results = []
    for name in LANGUAGES:
        with language(name):
            results.append(function())
    return results


def as_text(words: str | Text) -> Text:
    """Return a text; a plain string is the same in both languages."""
    return words if isinstance(words, Text) else Text(words, words)


class Texts:
    """A file of the catalogue, and behind it the labels that all experiments share.

    Parameters
    ----------
    name : str
        Of the file, without ``.toml``.

    Raises
    ------
    KeyError
        On access, if the catalogue has no such text, or not in both languages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.entries = _read(name)

    def __call__(self, key: str, **values: Any) -> Text:
        """Return the text of a key such as ``"claims.zigzag.says"``, its fields filled in."""
        if key not in self.entries:
            raise KeyError(f"texts/{self._name}.toml has no text {key!r} in English and Chinese")
        text = self.entries[key]
        return text.format(**values) if values else text

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def name(self, word: str) -> Text:
        """Return what to call a curve or a row: the entry under ``names``, or the word itself."""
        return self.entries.get(f"names.{word}", Text(word, word))

    def group(self, prefix: str) -> dict[str, Text]:
        """Return the texts under a heading such as ``alt``, by the rest of their keys."""
        start = f"{prefix}."
        return {
            key.removeprefix(start): text
            for key, text in self.entries.items()
            if key.startswith(start)
        }


@functools.cache
def _read(name: str) -> dict[str, Text]:
    with (FOLDER / f"{name}.toml").open("rb") as file:
        own = dict(_flat(tomllib.load(file)))
    return own if name == "labels" else _read("labels") | own


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Text]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            en, zh = value
            yield f"{prefix}{key}", Text(en, zh)
