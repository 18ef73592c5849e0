"""What an answer should say beside its hits: of negatives and entities whose verdict may surprise beside the hit's."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Hit
from .context import QueryContext
from .verdicts import Verdicts


def answer_notes(
    context: QueryContext, verdicts: Verdicts, hits: Sequence[Hit], *, every_photo: bool
) -> tuple[str, ...]:
    """The notes of a search, each once.

    Args:
        context: with the notes on the query itself.
        hits: as they are shown.
        every_photo: every photo was looked at, and there was at least one.
    """
    notes = list(context.notes)
    if every_photo:
        notes += [
            f"no photo here surely shows {part.label}; leaving it out changes little"
            for part, verdict in zip(context.parts_of("negative"), verdicts.negatives, strict=True)
            if verdict.anything < verdict.curve.anything_bar
        ]
    cutoff = verdicts.whole.cutoff
    counted = [hit for hit in hits if hit.relevance >= cutoff]
    doubted = [hit for hit in hits if hit.relevance < cutoff]
    notes += [
        f"{name} is there in photos that count all the same: a negative lowers photos and rules none out"
        for name in _there(counted, negative=True)
    ]
    notes += [
        f"{name} is there also in photos under the cut-off: a photo counts by the whole query, not by one part"
        for name in _there(doubted, negative=False)
    ]
    return tuple(dict.fromkeys(notes))


def _there(hits: Sequence[Hit], *, negative: bool) -> list[str]:
    """Entities, or negatives, that are there in any of the hits, in the order of the query."""
    names = []
    for in_hits in zip(*(hit.entities for hit in hits), strict=True):
        if in_hits[0].negative is negative and any(entity.grounding.present for entity in in_hits):
            names.append(in_hits[0].text)
    return names
