"""Which pixels of a hit answered which part of the query. Scores come from elsewhere and are not changed here.

*Stored* grounding is free: the photo's best stored region of each entity, its mask brought to the size of the upright
photo, and further regions that score nearly as well where their masks lie apart. *Exact* grounding takes the masks
that an interface found by looking at the photo again. A whole picture that the photo answers best as a whole has the
whole photo as its region. Negatives show the region that spoke against the photo, if it is present at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..geometry import box_rle, resize_rle
from ..grounding.instances import MARGIN, MOST_INSTANCES, rank_regions, select_instances
from ..records import (
    NOWHERE,
    RGB,
    Box,
    EntityHit,
    Floats,
    GroundedMask,
    Grounding,
    Photo,
    Region,
    ResolvedPart,
    ResolvedQuery,
    Rle,
    region_id,
)
from .score import NO_EVIDENCE

if TYPE_CHECKING:
    from ..interface.protocol import Interface
    from .context import QueryContext


Depth: TypeAlias = Literal["stored", "named", "exact"]
LoadMasks: TypeAlias = Callable[[], Sequence[Rle]]
Source = Literal["stored", "exact", "none"]


@dataclass(frozen=True, slots=True)
class AskedPart:
    """One entity or negative of the query, as grounding wants it.

    Attributes:
        part: as resolved.
        vector: (D,) float32, centred, compared with regions.
        probability: that it is in the photo, 0 to 1.
        present: whether it counts as being there.
    """

    part: ResolvedPart
    vector: Floats
    probability: float
    present: bool


@dataclass(frozen=True, slots=True)
class StoredRegions:
    """What is stored of one photo.

    Attributes:
        image: (D,) float32.
        regions: (R, D) float32, in the order of the encoding.
        boxes: (R, 4) float32, pixels of the upright photo.
        scores: (R,) float32, predicted quality of the masks, 0 to 1.
        masks: gives the R masks, or none of them where none are stored: then the box is the mask. Called only
            when one is shown.
        score_weight: of the scores, see `Calibration`.
        indexed: regions have ids; False for a photo that was encoded just now.
    """

    image: Floats
    regions: Floats
    boxes: Floats
    scores: Floats
    masks: LoadMasks
    score_weight: float
    indexed: bool = True


def ground_photo(
    context: QueryContext,
    photo: Photo,
    stored: StoredRegions,
    asked: Sequence[AskedPart],
    depth: Depth,
    load_pixels: Callable[[], RGB | None],
) -> tuple[EntityHit, ...]:
    """Tie every asked part to one photo.

    Args:
        context: the query; a look at the photo asks its interface, and lost pixels are noted in it.
        photo: whose size the masks and boxes get.
        stored: its vectors, boxes and masks.
        asked: entities and negatives in the order of the query.
        depth: `stored`, `named` (stored regions without their masks), or `exact`.
        load_pixels: upright RGB of the photo, or None where they are lost; called only for a look.
    """
    hits = ground_stored(photo, stored, asked, masks=depth != "named")
    if depth != "exact":
        return hits
    rgb = load_pixels()
    if rgb is None:
        context.notes.append(
            f"neither the original nor the thumbnail of photo {photo.id} is left; its stored regions are shown"
        )
        return hits
    return ground_exact(photo, hits, asked, look_at(context.interface.get(), rgb, context.grounded))


def look_at(interface: Interface, rgb: RGB, parts: ResolvedQuery) -> list[GroundedMask]:
    """The masks of every entity in one photo, numbered by entity: what is marked in this very photo is asked as marks.

    Args:
        rgb: (H, W, 3) uint8, upright.
        parts: the query; in one that is all marks nothing else is looked for.
    """
    entities = [part for part in parts if part.role == "entity"]
    marked = [n for n, part in enumerate(entities) if part.prompt is not None and _shows(part, rgb)]
    masks: list[GroundedMask] = []
    if len(marked) < len(entities):
        masks = [mask for mask in interface.ground(rgb, parts) if mask.entity not in marked]
    if marked:
        answers = interface.interact(rgb, [entities[number] for number in marked])
        masks += [replace(answer, entity=marked[answer.entity]) for answer in answers]
    return masks


def _shows(part: ResolvedPart, rgb: RGB) -> bool:
    """Whether the picture of a part is this photo."""
    return part.photo is rgb or (part.photo is not None and np.array_equal(part.photo, rgb))


def ground_stored(
    photo: Photo, stored: StoredRegions, asked: Sequence[AskedPart], *, masks: bool = True
) -> tuple[EntityHit, ...]:
    """Tie every asked part to the stored regions of one photo.

    Args:
        photo: whose size the masks and boxes get.
        stored: its vectors, boxes and masks.
        asked: entities and negatives in the order of the query.
        masks: False leaves the masks of stored regions empty: bringing them to the photo's size is most of the work.
    Returns:
        One EntityHit a part, in order. The best region comes first; it is given even where the entity is not present
        (see its grounding), further ones only where it is. A photo without regions gives source `none`.
    """
    kept = cache(stored.masks)
    return tuple(_ground_part(photo, stored, one, kept, masks) for one in asked)


def _ground_part(photo: Photo, stored: StoredRegions, asked: AskedPart, masks: LoadMasks, shown: bool) -> EntityHit:
    cosines = stored.regions @ asked.vector
    best = float(cosines.max(initial=NO_EVIDENCE))
    as_whole = float(stored.image @ asked.vector) if asked.part.kind == "picture" else NO_EVIDENCE
    score = max(best, as_whole)
    if not len(cosines):
        return _entity_hit(asked, score if asked.part.kind == "picture" else 0.0, "none", ())
    if asked.part.role == "negative" and not asked.present:
        regions: tuple[Region, ...] = ()
    elif as_whole > best:
        regions = (_everything(photo, as_whole),)
    else:
        if asked.present and len(masks()) == len(cosines):
            chosen = select_instances(cosines, stored.scores, stored.score_weight, masks())
        else:
            chosen = [int(rank_regions(cosines, stored.scores, stored.score_weight)[0])]
        regions = tuple(
            _region(photo, stored, number, float(cosines[number]), masks() if shown else None) for number in chosen
        )
    return _entity_hit(asked, score, "stored", regions)


def ground_exact(
    photo: Photo, hits: Sequence[EntityHit], asked: Sequence[AskedPart], masks: Sequence[GroundedMask]
) -> tuple[EntityHit, ...]:
    """Put the masks that an interface found in place of the stored ones; the entities' scores stay.

    Args:
        photo: whose size the masks and boxes get.
        hits: from `ground_stored`, one a part; negatives stay as they are.
        asked: the same parts.
        masks: of the interface, numbered by entity (negatives not counted). A picture whose pixels are lost cannot
            be looked for: what is found for it is not used, its stored regions stay.
    """
    wanted = [number for number, one in enumerate(asked) if one.part.role == "entity"]
    changed = list(hits)
    for entity, number in enumerate(wanted):
        part = asked[number].part
        of_entity = best_first(masks, entity)
        if not of_entity or (part.kind != "text" and part.photo is None):
            continue
        changed[number] = _seen(photo, changed[number], of_entity)
    return tuple(changed)


def best_first(masks: Sequence[GroundedMask], entity: int) -> list[GroundedMask]:
    """The masks of one entity by their score; those of a grounder that judges presence stay in its own order."""
    of_entity = [mask for mask in masks if mask.entity == entity]
    if any(mask.present is None for mask in of_entity):
        of_entity.sort(key=lambda mask: -mask.score)
    return of_entity


def _seen(photo: Photo, hit: EntityHit, masks: Sequence[GroundedMask]) -> EntityHit:
    """The hit with masks of exact grounding, best first; a mask without pixels means that nothing was found.

    Whether the entity is there stays as it was judged, unless the grounder judges that itself: then it is believed,
    and all that it found is shown.
    """
    best, before = masks[0], hit.grounding
    present, probability = before.present, before.probability
    if best.present is not None:
        present, probability = best.present, float(best.present)
    kept = list(masks)
    if best.present is None:
        kept = [mask for mask in masks if mask.rung or mask.score >= best.score - MARGIN][:MOST_INSTANCES]
    return EntityHit(
        hit.text,
        hit.kind,
        hit.negative,
        hit.weight,
        hit.score,
        Grounding("exact", present, best.score, best.rung, probability, best.confidence),
        tuple(_looked_at(photo, mask) for mask in kept if mask.box != NOWHERE),
    )


def _region(photo: Photo, stored: StoredRegions, number: int, score: float, masks: Sequence[Rle] | None) -> Region:
    box = _box(stored.boxes[number])
    size = (photo.height, photo.width)
    if masks is None:
        mask = Rle((0, 0), "")
    else:
        mask = resize_rle(masks[number], size) if number < len(masks) else box_rle(box, size)
    return Region(region_id(photo.id, number) if stored.indexed else None, score, box, mask)


def _looked_at(photo: Photo, looked: GroundedMask) -> Region:
    high, wide = photo.height / looked.mask.size[0], photo.width / looked.mask.size[1]
    x0, y0, x1, y1 = looked.box
    return Region(
        None,
        looked.score,
        (x0 * wide, y0 * high, x1 * wide, y1 * high),
        resize_rle(looked.mask, (photo.height, photo.width)),
    )


def _everything(photo: Photo, score: float) -> Region:
    box = (0.0, 0.0, float(photo.width), float(photo.height))
    return Region(None, score, box, box_rle(box, (photo.height, photo.width)))


def _entity_hit(asked: AskedPart, score: float, source: Source, regions: tuple[Region, ...]) -> EntityHit:
    part = asked.part
    return EntityHit(
        part.label,
        part.kind,
        part.role == "negative",
        part.weight,
        score,
        Grounding(source, asked.present, score, probability=asked.probability),
        regions,
    )


def _box(row: Floats) -> Box:
    x0, y0, x1, y1 = (float(value) for value in row)
    return (x0, y0, x1, y1)
