"""Similarity as points behind the interface protocol: the second look at a photo climbs the ladder of `grounding`.

`PointGrounder` is given all that a dual encoder sees of a photo, its patches among it. `PointsInterface` does the same
for any other interface, from its regions alone: their vectors and masks draw the map. Models that segment or detect
are rungs of the ladder; without them it ends in the stored regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np

from ..geometry import box_of
from ..grounding.gate import SIGMAS, Null, Nulls, null_of
from ..grounding.ladder import Target, Tools, climb
from ..grounding.record import GroundingRecord
from ..grounding.similarity import Scene, scene_of
from ..models.grounders import Grounders
from ..records import (
    RGB,
    BoolMask,
    Detected,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from .dual.ground import Look
from .generic import SCENES, THINGS, generic_captions
from .protocol import Calibration, Interface

# Deviations above what other queries score in the same photo; chosen on photos that training never saw, so that at most
# one absent thing in twenty is said to be there (benchmarks/sasp.py).
ABOVE_NAMES, FAR_ABOVE_NAMES, ABOVE_REGIONS = 0.3, 0.9, 0.2
FEWEST = 24  # queries of a bank that say anything
AROUND = 0.1  # of a marked part's box, shown to detectors around it


class PointGrounder:
    """Grounds the entities of a dual encoder; see `dual.ground.Grounder`.

    Args:
        grounders: gives the models that segment or detect; asked for when the first photo is looked at.
    """

    def __init__(self, grounders: Callable[[], Grounders] = Grounders) -> None:
        self._grounders = cache(grounders)

    def ground(self, look: Look) -> list[GroundedMask]:
        """See `Grounder.ground`; an entity that is not there gets one mask without pixels."""
        return grounded(look.photo, look.parts, look.vectors, look.encoding, look.calibration(), self._grounders(),
                        record=look.record, embed=look.embed)


class PointsInterface:
    """An interface whose second look at a photo goes by points; all else is its own.

    Args:
        inner: encodes photos and queries.
        grounders: gives the models that segment or detect; asked for when the first photo is looked at.
    """

    def __init__(self, inner: Interface, grounders: Callable[[], Grounders] = Grounders) -> None:
        self._inner, self._grounders = inner, cache(grounders)

    @property
    def space(self) -> Space:
        """That of the inner interface: its vectors are not touched."""
        return self._inner.space

    @property
    def calibration(self) -> Calibration:
        """See `Interface.calibration`."""
        return self._inner.calibration

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`."""
        return self._inner.encode_photos(photos)

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`."""
        return self._inner.encode_query(query)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`; an entity that is not there gets one mask without pixels."""
        parts = tuple(part for part in query if part.role == "entity")
        if not parts:
            return []
        vectors = self._inner.encode_query(parts).entities
        (encoding,) = self._inner.encode_photos([photo])
        return grounded(photo, parts, vectors, encoding, self.calibration, self._grounders())


def grounded(photo: RGB, parts: Sequence[ResolvedPart], vectors: Floats, encoding: PhotoEncoding,
             calibration: Calibration, grounders: Grounders, *, record: GroundingRecord | None = None,
             embed: Callable[[Sequence[BoolMask]], Floats] | None = None) -> list[GroundedMask]:
    """Climb the ladder for every entity in one photo.

    Args:
        photo: (H, W, 3) uint8, upright.
        parts: E entities of a query.
        vectors: (E, D) of them.
        encoding: of the photo.
        calibration: whose banks are what other queries score; see `target_of`.
        grounders: models that segment or detect.
        record: of the photo's patch grid, or None to draw one from its regions.
        embed: masks of the photo to vectors like those of its regions, or None.
    """
    size = (int(photo.shape[0]), int(photo.shape[1]))
    scene = scene_of(size, encoding.regions, encoding.boxes, encoding.masks, record, encoding.scores)
    targets = [target_of(part, vector, scene, calibration) for part, vector in zip(parts, vectors, strict=True)]
    return climb(scene, targets, tools_for(photo, grounders, embed))


def target_of(part: ResolvedPart, vector: Floats, scene: Scene, calibration: Calibration) -> Target:
    """An entity as the ladder wants it, with the bar above which this photo shows it.

    What other queries score in the same photo tells best whether this one is meant by it: the bar stands above the
    mean of generic names, and of the bank's regions for a thing that was shown. A library's own bar, where there is
    one, may open the gate as well; the drawn pictures that stand in for a bank never do.
    """
    null = null_of(calibration.regions @ vector)
    bars = [_here(scene, _names(calibration), ABOVE_NAMES if part.kind == "text" else FAR_ABOVE_NAMES)]
    if part.kind != "text":
        bars.append(_here(scene, calibration.regions, ABOVE_REGIONS))
    known = [bar for bar in bars if bar is not None]
    bar = max(known, default=null.bar())
    if part.bar is not None:
        drawn = part.kind != "text" and calibration.stand_in
        bar = min(part.bar, bar) if known and not drawn else part.bar
    sigma = null.sigma if np.isfinite(null.middle) else 1.0
    return Target(vector, Nulls(Null(bar - SIGMAS * sigma, sigma)), part.label if part.kind == "text" else None,
                  _exemplar(part))


def _here(scene: Scene, bank: Floats, sigmas: float) -> float | None:
    """So many deviations above what a bank of queries scores in this photo, each by its best region; None for few."""
    if len(bank) < FEWEST or not len(scene.regions):
        return None
    best = (bank @ scene.regions.T).max(1)
    return float(best.mean() + sigmas * best.std())


def _names(calibration: Calibration) -> Floats:
    """The bank's names of single things and scenes; all of its phrases where it is of another making."""
    if len(calibration.phrases) != len(generic_captions()):
        return calibration.phrases
    names = {*THINGS, *SCENES}
    return calibration.phrases[[caption in names for caption in generic_captions()]]


def _exemplar(part: ResolvedPart) -> RGB | None:
    """The marked part of a picture with a little around it; the whole picture where nothing is marked."""
    if part.photo is None or part.mask is None:
        return part.photo
    x0, y0, x1, y1 = box_of(part.mask)
    if x1 <= x0:
        return part.photo
    wide, high = AROUND * (x1 - x0), AROUND * (y1 - y0)
    cut = part.photo[max(0, int(y0 - high)) : int(y1 + high) + 1, max(0, int(x0 - wide)) : int(x1 + wide) + 1]
    return np.ascontiguousarray(cut)


def tools_for(photo: RGB, grounders: Grounders,
              embed: Callable[[Sequence[BoolMask]], Floats] | None = None) -> Tools:
    """The models bound to one photo; nothing is embedded before it is asked for.

    Args:
        photo: (H, W, 3) uint8, upright.
        grounders: models that segment or detect; with any of them, no rung is passed over for a stored region.
        embed: masks of the photo to vectors like those of its regions, or None.
    """
    segmenter, concept = grounders.segmenter, grounders.concept
    return Tools(
        segment=None if segmenter is None else lambda prompts: segmenter.look(photo)(prompts),
        concept=None if concept is None else lambda target, on, beside: concept.find(photo, target.phrase, on, beside),
        detect=partial(_detect, photo, grounders) if grounders.phrases or grounders.pictures else None,
        embed=embed, quick=not grounders)


def _detect(photo: RGB, grounders: Grounders, target: Target) -> Sequence[Detected]:
    if target.phrase is not None:
        return grounders.phrases.find(photo, target.phrase) if grounders.phrases else ()
    if target.exemplar is not None and grounders.pictures:
        return grounders.pictures.find(photo, None, target.exemplar)
    return ()
