"""Grounding by a model that makes no vectors: its masks are the whole answer, there is no score to rank by."""

from __future__ import annotations

import numpy as np

from ..grammar import Query
from ..interface.protocol import Interface
from ..records import RGB, EntityHit, Grounding, Hit, Photo
from .ground import AskedPart, ground_exact, look_at
from .pixels import LoadPicture
from .resolve import resolve, whole_text

_NO_VECTOR = np.zeros(0, np.float32)
UNJUDGED = 0.5  # chance of a thing that was masked by a model that judges no presence


def ground_alone(interface: Interface, rgb: RGB, query: Query, photo: Photo, load_picture: LoadPicture) -> Hit:
    """Mask what each entity of the query means in one picture.

    Args:
        interface: looks; nothing else is asked of it.
        rgb: (H, W, 3) uint8, upright.
        query: plain text alone is grounded as one entity; negatives are not looked for.
        photo: whose size masks and boxes get.
        load_picture: gives upright RGB for a path, a URL or an array.
    Returns:
        One hit of rank 1; score and relevance are the share of the entities that are there. Where a model does not
        judge that, whoever names a picture is believed to mean what is in it.
    """
    parts = resolve(query, None, 0, load_picture).parts
    whole = whole_text(parts)
    looked_for = parts if whole is None else (whole,)
    asked = [AskedPart(part, _NO_VECTOR, 0.0, False) for part in looked_for if part.role == "entity"]
    believed = Grounding("none", True, 0.0, probability=UNJUDGED)  # unless the model judges
    blank = [EntityHit(one.part.label, one.part.kind, False, one.part.weight, 0.0, believed, ()) for one in asked]
    hits = ground_exact(photo, blank, asked, look_at(interface, rgb, looked_for))
    share = float(np.mean([hit.grounding.present for hit in hits])) if hits else 0.0
    return Hit(1, photo, share, share, hits)
