"""Texts beside the photos: what one caption in the index is worth to other captions as queries, and phrases lit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..grammar import Query
from ..records import Entity, PhotoRef
from ..records.texts import PassageText, SourceText, TextHit
from ..service import Index
from .annotations import captioned
from .indexed import Indexed, indexed, place_of
from .library import Library
from .outcome import Outcome, evenly, percent
from .packs import PackPhoto
from .progress import Progress, tracked

DEPTHS = (1, 5, 10)
MOST_CAPTIONS = 2000  # that are asked, evenly chosen: each is a search of its own
MOST_PHOTOS = 300  # that are asked for their own text, evenly chosen


def texts(library: Library, progress: Progress) -> Outcome:
    """Captions as queries to an index that holds the first caption of every photo, which is never asked.

    Returns:
        ``caption`` (pixels alone) and ``caption_with_text``: IR@1, 5, 10 of the second to last captions;
        ``caption_to_text``: the same for the photo's passage among all passages; ``photo_to_text``: TR@k of the passage
        for the photo itself; ``lighting``: share of labels of a photo that stand in its indexed caption, asked as
        entities with an article, whose span meets the label; numbers asked. Arrays: ranks from 1, 0 beyond the tenth.
    """
    gallery = library.only(captioned(library.photos))
    written = [[caption for caption in photo.captions if caption.strip()] for photo in gallery.photos]
    every = [(place, text) for place, captions in enumerate(written) for text in captions[1:]]
    asked = [every[number] for number in evenly(len(every), MOST_CAPTIONS)]
    ranks: dict[str, NDArray[np.int64]] = {}
    with indexed(gallery) as made:
        index, ids = made.index, made.ids
        ranks["caption"] = _photo_ranks(index, ids, asked, "captions without texts", progress)
        passages = _add_texts(made, [captions[0] for captions in written])
        ranks["caption_with_text"] = _photo_ranks(index, ids, asked, "captions with texts", progress)
        found = [
            _place(index.search(Query(text), max(DEPTHS), target="texts").texts, passages[place])
            for _, (place, text) in tracked(asked, "captions to texts", progress)
        ]
        ranks["caption_to_text"] = np.array(found, np.int64)
        whole = evenly(len(ids), MOST_PHOTOS)
        found = [
            _place(index.search(Query(PhotoRef(ids[place])), max(DEPTHS), target="texts").texts, passages[place])
            for _, place in tracked(whole, "photos to texts", progress)
        ]
        ranks["photo_to_text"] = np.array(found, np.int64)
        lit = _lighting(index, gallery.photos, written, passages, progress)
    figures = {
        name: {f"{'TR' if name == 'photo_to_text' else 'IR'}@{k}": percent((row > 0) & (row <= k)) for k in DEPTHS}
        | {"n": len(row)}
        for name, row in ranks.items()
    }
    return Outcome(
        {**figures, "lighting": percent(np.array(lit, bool)) if lit else None, "lit": len(lit)},
        {f"texts_{name}_ranks": row for name, row in ranks.items()},
    )


def _photo_ranks(
    index: Index, ids: Sequence[int], asked: Sequence[tuple[int, str]], what: str, progress: Progress
) -> NDArray[np.int64]:
    """Rank of the photo that each caption belongs to; 0 beyond the last that is asked for."""
    ranks = np.zeros(len(asked), np.int64)
    for number, (place, text) in tracked(asked, what, progress):
        hits = index.search(Query(text), max(DEPTHS), ground=None)
        ranks[number] = next((hit.rank for hit in hits if hit.photo.id == ids[place]), 0)
    return ranks


def _add_texts(made: Indexed, captions: Sequence[str]) -> list[int]:
    """Take one caption a photo in, as an ingest does; gives the ids of the passages."""
    from ..ingest.tally import Tally
    from ..ingest.text.phrases import noun_phrases
    from ..ingest.text_stage import TextStage
    from ..storage.text_rows import DocumentWrite

    index, store = made.index, made.store
    documents = []
    for place, caption in enumerate(captions):
        text = " ".join(caption.split())
        passage = PassageText(text, (), (place_of(place),), noun_phrases(text))
        sha = hashlib.sha256(text.encode()).hexdigest()
        source = SourceText("txt", passages=(passage,))
        documents.append(DocumentWrite(f"/{place}.txt", "txt", sha, len(text), 0, source))
    store.texts.write(documents)
    space_id = store.ensure_space(index.interface.space)
    TextStage(store, index.interface, space_id, Tally()).encode()
    store.optimize(space_id)
    by_path = {passage.path: passage.id for passage in index.texts()}
    return [by_path[f"/{place}.txt"] for place in range(len(captions))]


def _place(hits: Sequence[TextHit] | None, passage_id: int) -> int:
    return next((hit.rank for hit in hits or () if hit.passage.id == passage_id), 0)


def _lighting(
    index: Index,
    photos: Sequence[PackPhoto],
    written: Sequence[Sequence[str]],
    passages: Sequence[int],
    progress: Progress,
) -> list[bool]:
    """For every label that stands in the indexed caption of its photo: whether the phrase that is lit meets it."""
    asked = [
        (place, label)
        for place, photo in enumerate(photos)
        for label in dict.fromkeys(photo.labels)
        if _at(written[place][0], label) is not None
    ]
    right: list[bool] = []
    for _, (place, label) in tracked(asked, "phrases", progress):
        query = Query(Entity(f"a {label}"), written[place][0])
        hits = index.search(query, max(DEPTHS), target="texts").texts or ()
        hit = next((hit for hit in hits if hit.passage.id == passages[place]), None)
        if hit is None:
            right.append(False)
            continue
        span, wanted = hit.entities[0].span, _at(hit.passage.text, label)
        right.append(span is not None and wanted is not None and span[0] < wanted[1] and wanted[0] < span[1])
    return right


def _at(text: str, label: str) -> tuple[int, int] | None:
    """Where a label stands in a text as words of its own."""
    match = re.search(rf"\b{re.escape(label)}\b", text, re.IGNORECASE)
    return match.span() if match else None
