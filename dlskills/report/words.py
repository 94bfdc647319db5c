"""What the report says in both languages, and how claims are counted by their source."""

from __future__ import annotations

from collections.abc import Sequence

from dlskills.experiments.claims import KINDS, Source, Verdict
from dlskills.experiments.text import Text, Texts

WORDS = Texts("report")
SOURCES = Texts("sources")


def source_words(source: Source) -> Text:
    """Return whose sentence a claim is: "the tutorial: Momentum", or "ours"."""
    kind = SOURCES(f"kinds.{source.kind}")
    if source.where is None:
        return kind
    return WORDS("source", kind=kind, where=source.where)


def score_by_source(verdicts: Sequence[Verdict]) -> list[Text]:
    """Return for each kind of source how many of its claims are confirmed, or not judged."""
    scores = []
    for kind in KINDS:
        words = [verdict.word for verdict in verdicts if verdict.claim.source.kind == kind]
        if not words:
            continue
        unjudged = words.count("not judged")
        scores.append(
            WORDS(
                "score-unjudged" if unjudged else "score",
                kind=SOURCES(f"kinds.{kind}"), confirmed=words.count("confirmed"),
                all=len(words), count=unjudged,
            )
        )  # fmt: skip
    return scores
