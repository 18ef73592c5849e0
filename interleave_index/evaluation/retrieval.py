"""Caption retrieval: every caption is a query of plain text, the captioned photos are the library."""

from __future__ import annotations

from itertools import chain

import numpy as np

from .. import metrics
from .annotations import captioned
from .library import Library, asked
from .outcome import Outcome, image_chance, text_chance, with_chance
from .progress import Progress


def captions(library: Library, progress: Progress) -> Outcome:
    """IR@k and TR@k of captions and photos.

    Args:
        library: the pack; photos without captions are left out.
    Returns:
        ``IR@k``, ``TR@k``, chance, ``n`` captions and ``photos``. Arrays: ``caption_scores`` (photos, captions)
        float32, ``caption_photo_keys``, ``caption_of`` (captions,) position of the photo each belongs to, ranks
        from 1: ``caption_image_ranks`` (captions,) and ``caption_text_ranks`` (photos,).
    """
    gallery = library.only(captioned(library.photos))
    written = [[caption for caption in photo.captions if caption.strip()] for photo in gallery.photos]
    texts = list(chain.from_iterable(written))
    scores = gallery.totals([asked(text) for text in texts], len(texts), "captions", progress).T
    places = np.arange(len(written))
    caption_of = np.repeat(places, [len(captions) for captions in written])
    own = places[:, None] == caption_of
    figures = metrics.retrieval(scores, places, caption_of)
    chance = {**image_chance(len(places)), **text_chance(own.sum(1), len(texts))}
    return Outcome(
        {**with_chance(figures, chance, len(texts)), "photos": len(places)},
        {
            "caption_scores": scores,
            "caption_of": caption_of,
            "caption_photo_keys": gallery.keys(),
            "caption_image_ranks": metrics.first_ranks(scores.T, own.T),
            "caption_text_ranks": metrics.first_ranks(scores, own),
        },
    )
