"""Passages ranked for a query, with the phrases that answer its parts.

    S = (l - m) · passage + w * sum(w_e * s_e) / sum(w_e) + nat * nats of words
    s_e = max over phrases of (e - m) · phrase, and where e is a picture or a part of one, over what the passage shows

l is the sentence's vector, e an entity's, m the mean of the calibration's captions (`score.py`). What a passage shows
are the regions of the photos among its words, and these photos as wholes for an e that is one. The words are those that
stand in the passage or in the title of its source (`words.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..records import Floats
from ..records.texts import Passage, PhraseHit, Span, TextHit, TextKind
from .candidates import nearest
from .context import QueryContext
from .damaged import compare_passages, passages_left_out
from .score import best_cosines
from .words import Occurrences, among, in_passages, required_passages, told_by

if TYPE_CHECKING:
    from ..storage.indexes import VectorIndex
    from ..storage.store import Store

Ids = NDArray[np.int64]
CANDIDATES = 200  # passages at least that are scored in full


def search_texts(
    store: Store,
    space_id: int,
    context: QueryContext,
    photo_ids: Ids | None,
    span: tuple[int, int],
    kinds: Collection[TextKind] = (),
) -> list[TextHit]:
    """The passages that rank in this span, best first, ties by id.

    Args:
        photo_ids: passages must show or be about one of these photos (ascending); None takes every passage.
        span: first and end of the ranks, from 0.
        kinds: of the sources of the passages; none of them takes every kind.
    """
    links = store.texts.links()
    passage_ids = required_passages(store, context.words, links.passage_ids)
    if kinds:
        passage_ids = np.intersect1d(passage_ids, store.texts.of_kinds(kinds))
    if photo_ids is not None:
        passage_ids = np.intersect1d(passage_ids, links.of_passage[np.isin(links.photo_ids, photo_ids)])
    indexes = store.indexes(space_id)
    index = indexes.text
    context.notes += passages_left_out(len(indexes.damaged_texts))
    if not len(passage_ids) or not index.rows or span[1] <= span[0]:
        return []
    held = in_passages(told_by(store, context.words), context.words, passage_ids)
    count = max(CANDIDATES, 4 * span[1])
    chosen = _candidates(index, context, passage_ids, held, count)
    if _visual(context).any():  # also passages that show what looks like it
        near = links.pairs_of(nearest(store.indexes(space_id), context.scoring, photo_ids, count))[0]
        chosen = np.union1d(chosen, among(near, passage_ids))
    known, cosines = index.best(context.scoring.passages[0][None], chosen)
    if not len(known):  # after an ingest that was cut short passages may have no vectors yet
        return []
    phrases: dict[int, Floats] = {}
    if len(context.scoring.entities):
        phrases = store.texts.phrase_vectors(space_id, index.dim, known.tolist())
        whole = np.isin(known, list(phrases))
        if not whole.all():
            context.notes += passages_left_out(int((~whole).sum()))
            known, cosines = known[whole], cosines[whole]
    total = _sentence(context, cosines[:, 0]) + np.float32(context.scoring.nat) * held.nats(known)
    total = total + _entities(store, space_id, context, known, phrases)
    order = np.lexsort((known, -total))[span[0] : span[1]]
    compare_passages(store, space_id, index, known[order])
    passages = store.texts.passages(known[order].tolist())
    shown = [(number, float(total[place])) for place, number in zip(order, known[order].tolist(), strict=True)]
    return [
        TextHit(
            span[0] + rank,
            passages[number],
            score,
            tuple(_phrase_hits(context, passages[number], phrases.get(number))),
            held.words_of(number),
        )
        for rank, (number, score) in enumerate(shown, 1)
        if number in passages  # it may have been taken out just now
    ]


def _candidates(index: VectorIndex, context: QueryContext, passage_ids: Ids, held: Occurrences, count: int) -> Ids:
    """Passages near to the sentence or to an entity, and those that hold most of the words; ascending."""
    if len(passage_ids) <= count:
        return passage_ids
    asked = np.concatenate([context.scoring.passages[0][None], context.scoring.entities.regions])
    _, near = index.search(asked, count, None if len(passage_ids) >= index.rows else passage_ids)
    by_words = held.ids[np.argsort(-held.nats(held.ids), kind="stable")[:count]]
    found = np.union1d(near.ravel(), by_words)
    return among(found, passage_ids)


def _sentence(context: QueryContext, cosines: Floats) -> Floats:
    """The cosine of passages with the sentence, less what captions in general have, from standard deviations."""
    legend, offset = context.scoring.passages
    spread: Floats = (cosines - np.float32(offset)) / np.float32(np.linalg.norm(legend).clip(1e-9))
    return spread


def _entities(
    store: Store, space_id: int, context: QueryContext, passage_ids: Ids, phrases: Mapping[int, Floats]
) -> Floats:
    """(n,) what the entities of a query find in these passages, weighed as in the score of a photo."""
    entities = context.scoring.entities
    if not len(entities):
        return np.zeros(len(passage_ids), np.float32)
    best = np.array([_best(phrases.get(number), entities.regions) for number in passage_ids.tolist()], np.float32)
    visual = _visual(context)
    if visual.any():
        best[:, visual] = np.maximum(best[:, visual], _shown(store, space_id, context, passage_ids)[:, visual])
    found: Floats = np.float32(context.scoring.entity_weight) * (best @ (entities.weights / entities.weights.sum()))
    return found


def _visual(context: QueryContext) -> NDArray[np.bool_]:
    """(E,) whether each entity is a picture or a part of one."""
    return np.array([part.kind != "text" for part in context.parts_of("entity")], bool)


def _shown(store: Store, space_id: int, context: QueryContext, passage_ids: Ids) -> Floats:
    """(n, E) best cosine of each entity with what the pictures in passages (ascending ids) show; 0 without any."""
    best = np.zeros((len(passage_ids), len(context.scoring.entities)), np.float32)
    of_passage, photo_ids = store.texts.inline(passage_ids)
    there = np.isin(photo_ids, store.encoded(space_id))
    of_passage, photo_ids = of_passage[there], photo_ids[there]
    if len(photo_ids):
        distinct, place = np.unique(photo_ids, return_inverse=True)
        cosines = best_cosines(store.vectors(space_id, distinct), context.scoring.entities)
        rows = np.searchsorted(passage_ids, of_passage)
        np.maximum.at(best, rows, np.where(np.isneginf(cosines), np.float32(0), cosines)[place])
    return best


def _best(vectors: Floats | None, entities: Floats) -> Floats:
    """(E,) cosine of the best phrase with each entity; 0 where there are no phrases."""
    if vectors is None or not len(vectors):
        return np.zeros(len(entities), np.float32)
    best: Floats = (vectors @ entities.T).max(0)
    return best


def _phrase_hits(context: QueryContext, passage: Passage, vectors: Floats | None) -> list[PhraseHit]:
    """For each entity the phrase that answers it: one that holds its very words, else the nearest one."""
    hits: list[PhraseHit] = []
    for part, vector in zip(context.parts_of("entity"), context.scoring.entities.regions, strict=True):
        if vectors is None or not len(vectors):
            hits.append(PhraseHit(part.label, None, 0.0))
            continue
        cosines = vectors @ vector
        same = _same_words(passage.text, passage.phrases, part.label) if part.kind == "text" else []
        best = max(same, key=lambda number: float(cosines[number])) if same else int(cosines.argmax())
        hits.append(PhraseHit(part.label, passage.phrases[best], float(cosines[best])))
    return hits


def _same_words(text: str, phrases: Sequence[Span], label: str) -> list[int]:
    """Phrases that hold the words of a label, articles aside."""
    wanted = {word for word in label.casefold().split() if word not in ("a", "an", "the")}
    return [
        number
        for number, (start, end) in enumerate(phrases)
        if wanted and wanted <= set(text[start:end].casefold().split())
    ]
