"""Caption retrieval: every caption is a query of plain text, the captioned photos are the library."""

from __future__ import annotations

import numpy as np

from .. import metrics
from ..interface.protocol import Interface
from .library import Library, Progress, asked, totals
from .outcome import Outcome, image_chance, text_chance, with_chance


def captions(library: Library, interface: Interface, progress: Progress) -> Outcome:
    """IR@k and TR@k of captions and photos.

    Args:
        library: the pack; photos without captions are left out.
    Returns:
        ``IR@k``, ``TR@k``, chance, ``n`` captions and ``photos``. Arrays: ``caption_scores`` (photos, captions)
        float32, ``caption_photo_keys``, ``caption_of`` (captions,) position of the photo each belongs to, ranks
        from 1: ``caption_image_ranks`` (captions,) and ``caption_text_ranks`` (photos,).
    """
    gallery = library.only(np.array([bool(photo.captions) for photo in library.photos], bool))
    pairs = [(place, text) for place, photo in enumerate(gallery.photos) for text in photo.captions if text.strip()]
    owner = np.array([place for place, _ in pairs], np.int64)
    scores = totals(gallery, interface, [asked(text) for _, text in pairs], "captions", progress).T
    count = len(gallery.photos)
    found = metrics.retrieval(scores, np.arange(count), owner)
    own = np.arange(count)[:, None] == owner[None, :]
    chance = {**image_chance(count), **text_chance(own.sum(1), len(pairs))}
    return Outcome(
        {**with_chance(found, chance, len(pairs)), "photos": count},
        {
            "caption_scores": scores,
            "caption_of": owner,
            "caption_photo_keys": np.array([photo.key for photo in gallery.photos], str),
            "caption_image_ranks": metrics.first_ranks(scores.T, own.T),
            "caption_text_ranks": metrics.first_ranks(scores, own),
        },
    )
