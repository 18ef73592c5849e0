"""The calibration in force for one library: the interface's own, or what the library's photos can give in its place."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..config import QuerySettings
from ..interface.calibration import KINDS, Calibration, Curve, QueryKind
from ..records import Floats
from .blocks import bank_of, take
from .judgement import GenericKind, library_curves
from .lazy_interface import LazyInterface
from .score import ALONE, IMAGE_CENTRING, Terms, best_cosines, mean_of

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

SAMPLE = 1000  # photos of the library that stand in where the interface has no calibration
ENOUGH_PHOTOS = 16  # of a library, to be a better bank of pictures than drawn ones
SAME = 0.999  # cosine from which on a picture of the bank is the photo itself
MOST_PHOTOS = 200  # of a library that generic queries are asked of: their scores are all alike in kind
MIXED_WITH: dict[GenericKind, QueryKind] = {"mixed with picture": "picture", "mixed with region": "region"}
W_OF_KIND: dict[QueryKind, float] = {
    "caption": 0.0,
    "mixed": QuerySettings().entity_weight,
    "entity": ALONE,
    "picture": ALONE,
    "region": ALONE,
}


def calibration_for(store: Store | None, space_id: int, interface: LazyInterface) -> tuple[Calibration, str]:
    """The calibration that judges a query, and a note where it is only a rough one, else an empty text.

    It is the built interface's own, else what the index keeps of it, else one from photos of the library; the model is
    built for it only where there are none. What is missing is completed from the library.

    Args:
        store: the index, or None where there is none.
        space_id: of the index.
        interface: of the space.
    """
    own = None if interface.built is None else interface.built.calibration
    if own is None and store is not None:
        kept = store.load_calibration(space_id)
        own = None if kept is None else unpacked(kept)
    if own is not None and own.curves and not own.stand_in:
        return own, ""
    sample = None if store is None else store.null_sample(space_id, SAMPLE)
    if own is None and sample is not None and len(sample.image):
        note = "the index keeps no calibration: relevance is judged against its own photos; ingest again to keep one"
        return of_library(sample), note
    return complete(interface.get().calibration if own is None else own, sample), ""


@lru_cache(maxsize=2)
def unpacked(kept: bytes) -> Calibration:
    """The calibration that an index keeps of a space, unpacked once and not with every query."""
    return Calibration.from_bytes(kept)


# the last ones, for further queries
_COMPLETED: deque[tuple[Calibration, StoredVectors | None, Calibration]] = deque(maxlen=4)
_STAND_INS: deque[tuple[StoredVectors, Calibration]] = deque(maxlen=4)  # by the sample that they are made of


def complete(calibration: Calibration, sample: StoredVectors | None) -> Calibration:
    """The calibration with photos of the library in place of drawn ones, and with curves where none were fitted.

    The same two objects give the same answer at once: an index keeps its sample until it changes.

    Args:
        calibration: of the interface, or as an index keeps it.
        sample: photos of the library that mean nothing in particular, or None where there is no library.
    """
    for known, of_photos, made in tuple(_COMPLETED):
        if known is calibration and of_photos is sample:
            return made
    made = _completed(calibration, sample)
    _COMPLETED.append((calibration, sample, made))
    return made


def _completed(calibration: Calibration, sample: StoredVectors | None) -> Calibration:
    enough = sample is not None and len(sample.image) >= ENOUGH_PHOTOS
    asked = calibration
    if sample is not None and enough and calibration.stand_in:
        calibration = replace(calibration, pictures=sample.image, regions=first_regions(sample))
        asked = replace(calibration, regions=some_regions(sample))
    if calibration.curves:
        return calibration
    block = bank_of(calibration)
    if sample is not None and enough:
        block = take(sample, np.arange(min(MOST_PHOTOS, len(sample.image))))
    made = library_curves(generic_scores(block, asked), worded=_is_worded(calibration))
    mixed_with: dict[QueryKind, Curve] = {part: made[kind] for kind, part in MIXED_WITH.items()}
    return replace(calibration, curves={kind: made[kind] for kind in KINDS}, mixed_with=mixed_with)


def of_library(sample: StoredVectors) -> Calibration:
    """A stand-in where an index keeps no calibration: without captions, only stored photos and regions can be asked.

    The same sample gives the same answer at once, as in `complete`.
    """
    for known, made in tuple(_STAND_INS):
        if known is sample:
            return made
    empty = np.zeros((0, sample.image.shape[1]), np.float32)
    own = Calibration(captions=empty, phrases=empty, pictures=sample.image, regions=first_regions(sample))
    made = complete(own, sample)
    _STAND_INS.append((sample, made))
    return made


def first_regions(block: StoredVectors) -> Floats:
    """(m, D): the first region of every photo that has one; the images where no photo has any."""
    firsts = block.offsets[:-1][np.diff(block.offsets) > 0]
    return block.regions[firsts] if len(firsts) else block.image


def some_regions(block: StoredVectors) -> Floats:
    """(m, D): at most `MOST_PHOTOS` regions, evenly chosen among all; the images where no photo has any.

    Not the first of each photo: those show what most photos show, and say nothing of what a photo lacks.
    """
    count = len(block.regions)
    if not count:
        return block.image
    return block.regions[np.linspace(0, count - 1, min(count, MOST_PHOTOS)).astype(np.int64)]


def generic_scores(block: StoredVectors, calibration: Calibration) -> dict[GenericKind, NDArray[np.float32]]:
    """By kind (n, q), what q queries of the banks score over n photos of the block; NaN where a photo meets itself."""
    captions, phrases = calibration.captions, calibration.phrases
    if not _is_worded(calibration):
        captions = phrases = calibration.pictures
    pictures, regions = calibration.pictures[:MOST_PHOTOS], calibration.regions[:MOST_PHOTOS]
    said, depicted, drawn = (_as_sentences(block, legends, calibration) for legends in (captions, pictures, regions))
    of_phrases = _as_entities(block, phrases, calibration, "entity")
    of_pictures = _as_entities(block, pictures, calibration, "picture")
    of_regions = _as_entities(block, regions, calibration, "region")
    return {
        "caption": np.where(np.isnan(of_phrases), np.float32(np.nan), said),
        "mixed": said + W_OF_KIND["mixed"] * of_phrases,
        "entity": said + W_OF_KIND["entity"] * of_phrases,
        "picture": depicted + W_OF_KIND["picture"] * of_pictures,
        "region": drawn + W_OF_KIND["region"] * of_regions,
        "mixed with picture": _paired(said, of_pictures),
        "mixed with region": _paired(said, of_regions),
    }


def _as_sentences(block: StoredVectors, legends: Floats, calibration: Calibration) -> Floats:
    """(n, q) what each photo scores for each legend, centred as a search centres it."""
    sentence = mean_of(calibration.captions, block.image.shape[1])
    scores: Floats = block.image @ (legends - np.float32(IMAGE_CENTRING) * sentence).T
    return scores


def _as_entities(block: StoredVectors, entities: Floats, calibration: Calibration, kind: QueryKind) -> Floats:
    """(n, q) evidence of each entity in the regions of each photo; NaN where photo or region are the entity."""
    phrase = mean_of(calibration.phrases, block.image.shape[1])
    whole = np.full(len(entities), kind == "picture")
    terms = Terms(entities - phrase, entities, np.ones(len(entities), np.float32), whole)
    best = best_cosines(block, terms)
    itself = block.image @ entities.T > SAME
    if kind == "region":
        itself |= best_cosines(block, replace(terms, regions=entities)) > SAME
    evidence: Floats = np.where(np.isneginf(best), np.float32(0), best)
    return evidence if itself.all() else np.where(itself, np.float32(np.nan), evidence)


def _paired(said: Floats, evidence: Floats) -> Floats:
    """(n, q) captions with one entity in each, as many as there are of both, the captions evenly chosen."""
    count = min(said.shape[1], evidence.shape[1])
    chosen = np.linspace(0, said.shape[1] - 1, count).astype(np.int64)
    return said[:, chosen] + np.float32(W_OF_KIND["mixed"]) * evidence[:, :count]


def _is_worded(calibration: Calibration) -> bool:
    """Whether there are captions; an index without any is asked by pictures only."""
    return bool(len(calibration.captions) and len(calibration.phrases))
