"""Interleaved retrieval: one word of a caption stands as a region of another photo.

Three forms of the same caption are asked of the captioned photos: the word replaced by a region with its
label, the word kept as a bracketed phrase, the word deleted. The wanted photo is the caption's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..records import Entity, Floats
from .annotations import Labelled, References, captioned
from .library import Library, asked
from .outcome import Figures, Outcome, image_chance, with_chance
from .packs import PackPhoto, Photos
from .progress import Progress
from .words import mentions

MOST_PHOTOS = 10  # photos asked for one label
REFERENCE_PENALTY = 1e-6  # FIND: what a photo loses that lent its region to the query


@dataclass(frozen=True, slots=True)
class Question:
    """One caption with one word to be replaced, and the region that replaces it."""

    position: int
    label: str
    before: str
    word: str
    after: str
    reference: Labelled


def questions(photos: Photos, references: References) -> list[Question]:
    """What is asked: per label at most 10 photos, by the hash of their keys.

    A photo takes part for a label of one of its masked regions if one of its captions names the label
    exactly once (the first such caption is taken) and another photo has a masked region of the label.
    """
    chosen: list[Question] = []
    for label in references.labels():
        possible = [_question(photos[n], n, label, references) for n in references.positions(label)]
        chosen += list(filter(None, possible))[:MOST_PHOTOS]
    return chosen


def interleaved(library: Library, references: References, *, seed: int, progress: Progress) -> dict[str, Outcome]:
    """The three forms as ``interleaved``, ``interleaved_word_kept`` and ``interleaved_word_deleted``.

    Args:
        library: the pack; photos without captions are not searched, but may lend their regions.
        seed: of the bootstrap.
    Returns:
        Per form ``IR@k`` as macro-average over labels, chance, ``n`` queries, ``labels``; the first two also
        ``gain``: per figure the gain over the deleted word with its 95 % paired bootstrap interval.
        Arrays: NAME ``_scores`` (queries, photos) float32 and NAME ``_ranks``; once ``interleaved_photo_keys``
        (photos,), ``interleaved_keys``, ``interleaved_labels`` and ``interleaved_reference_keys`` (queries,).
    """
    asks = questions(library.photos, references)
    gallery = library.only(captioned(library.photos))
    own = np.array([(ask.position, ask.reference.position) for ask in asks], np.int64).reshape(-1, 2)
    wanted, lent = own.T[:, :, None] == gallery.block.photo_ids
    labels = np.array([ask.label for ask in asks], str)
    forms = {
        "interleaved": [asked(ask.before, references.picture(ask.reference), ask.after) for ask in asks],
        "interleaved_word_kept": [asked(ask.before, Entity(ask.word), ask.after) for ask in asks],
        "interleaved_word_deleted": [asked(f"{ask.before} {ask.after}") for ask in asks],
    }
    outcomes, ranks = {}, {}
    for name, queries in forms.items():
        scores = gallery.totals(queries, len(queries), name, progress)
        if name == "interleaved":
            scores -= np.float32(REFERENCE_PENALTY) * lent
        ranks[name] = metrics.first_ranks(scores, wanted)
        outcomes[name] = _outcome(name, scores, ranks[name], labels)
    for name in ("interleaved", "interleaved_word_kept"):
        outcomes[name].figures["gain"] = _gain(ranks[name], ranks["interleaved_word_deleted"], labels, seed)
    outcomes["interleaved"].arrays.update(
        interleaved_photo_keys=gallery.keys(),
        interleaved_keys=library.keys(ask.position for ask in asks),
        interleaved_labels=labels,
        interleaved_reference_keys=library.keys(ask.reference.position for ask in asks),
    )
    return outcomes


def _question(photo: PackPhoto, position: int, label: str, references: References) -> Question | None:
    reference = references.choose(position, label)
    for caption in photo.captions:
        spans = mentions(caption, label)
        if reference is not None and len(spans) == 1 and len(caption.split()) > len(label.split()):
            start, end = spans[0]
            return Question(position, label, caption[:start], caption[start:end], caption[end:], reference)
    return None


def _outcome(name: str, scores: Floats, ranks: metrics.Counts, labels: NDArray[Any]) -> Outcome:
    recalls = {f"IR@{k}": 100.0 * metrics.macro(ranks <= k, labels) for k in metrics.CUTOFFS}
    figures = with_chance(recalls, image_chance(scores.shape[1]), len(ranks))
    return Outcome({**figures, "labels": len(np.unique(labels))}, {f"{name}_scores": scores, f"{name}_ranks": ranks})


def _gain(ranks: metrics.Counts, deleted: metrics.Counts, labels: NDArray[Any], seed: int) -> Figures:
    gain = {}
    for k in metrics.CUTOFFS:
        gains = 100.0 * ((ranks <= k).astype(float) - (deleted <= k))
        low, high = metrics.bootstrap_interval(gains, labels, seed=seed)
        gain[f"IR@{k}"] = {"mean": metrics.macro(gains, labels), "low": low, "high": high}
    return gain
