"""Where in a photo a thing is: the methods of grounding in their order, of which the first that has an answer gives it.

    concept   a model that finds things by phrase and masks them (SAM 3); judges whether the thing is there
    detector  a model that boxes things by phrase or by a picture of one; judges likewise; the segmenter masks its boxes
    absent    one of these two was asked and found nothing
    stored    without any model: the best stored region, if it covers about what the map shows
    concept   for a thing that was shown: the concept model, by a box on the best place of the map
    points    points from the map, and a mask of each component by a promptable segmenter (SAM, SAM 2)
    stored    the best stored region
    coarse    the map itself, enlarged, where it is at least half of its height; of a flat map, the whole photo
    box       the box of the best component

A model that judges presence is believed, whatever the map says: the map comes from a space that may know less of
the thing. All other methods only say where the thing would be; whether it is there is not judged here (`present` is
None). Pure numpy; models come as functions that are bound to the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ..geometry import box_mask, box_rle, encode_rle, fit, mask_iou, resize_rle
from ..records import RGB, BoolMask, Box, Detected, Floats, GroundedMask, Prompt, Rle, Segmented
from .instances import rank_regions
from .points import Component, components, prompt_of
from .resample import box_around, enlarged, usable
from .similarity import Scene, box_row, normalised

Method = Literal["concept", "detector", "points", "stored", "coarse", "box", "absent"]

FLAT = 0.02  # of cosine; a map that varies less says everywhere or nowhere
HALF = 0.5  # of a stretched map: what the coarse mask and the agreement with a stored region are cut at
AGREES = 0.5  # soft IoU of a region's coverage with the map, from which on the two show the same
NEARLY = 0.05  # of cosine: further regions of the same thing score at most this much below the best
OVERLAP = 0.1  # share of the smaller of two stored regions; more than that is the same thing masked twice
SAME = 0.7  # IoU from which on two masks are one
QUALITY, SMALLEST, LARGEST = 0.7, 0.0005, 0.95  # of a model's mask: predicted IoU, share of the photo
INSTANCES = 10
COARSE_SIDE = 512  # pixels of the longer side at which a map is cut
NOWHERE: Box = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to be found.

    Attributes:
        vector: (D,) unit vector.
        phrase: for models that read; None for a thing that was shown.
        exemplar: (H, W, 3) uint8 crop of the thing that was shown, or None.
    """

    vector: Floats
    phrase: str | None = None
    exemplar: RGB | None = None


Segment: TypeAlias = Callable[[Sequence[Prompt]], Sequence[Segmented]]
Judge: TypeAlias = Callable[[Target], Sequence[Detected] | None]
FindAlike: TypeAlias = Callable[[Sequence[Box], Sequence[Box]], Sequence[Detected]]
Embed: TypeAlias = Callable[[Sequence[BoolMask]], Floats]


@dataclass(frozen=True, slots=True)
class GroundingModels:
    """Models at hand, each bound to the photo; a method whose model is None is passed over.

    Attributes:
        segment: prompts to masks, one each, in order.
        concept: a target to masks of all its instances, none where it is not there; None if the model cannot be asked
            for such a target.
        detect: a target to boxes, likewise; asked only where `segment` can mask them.
        alike: boxes on a thing in this photo, and boxes beside it, to masks of all things like it.
        embed: M masks to (M, D) vectors, made as those of the stored regions are; None scores masks on the grid.
    """

    segment: Segment | None = None
    concept: Judge | None = None
    detect: Judge | None = None
    alike: FindAlike | None = None
    embed: Embed | None = None

    @property
    def empty(self) -> bool:
        """Whether none of them segments or detects."""
        return all(model is None for model in (self.segment, self.concept, self.detect, self.alike))


@dataclass(frozen=True, slots=True)
class _View:
    """One target as this photo shows it."""

    number: int
    target: Target
    values: Floats  # (h, w) cosines
    stretched: Floats  # (h, w) 0 to 1
    use: BoolMask  # (h, w) cells inside the photo
    own: BoolMask  # (h, w) those of them where no other target stands out more
    found: tuple[Component, ...] = ()

    @property
    def peak(self) -> tuple[int, int] | None:
        """Row and column of the best place, if it is this target's own."""
        return self.found[0].peak if self.found and self.own[self.found[0].peak] else None


def ground_targets(
    scene: Scene, targets: Sequence[Target], models: GroundingModels | None = None
) -> list[GroundedMask]:
    """Ground every target in one photo.

    Args:
        scene: what is known of the photo.
        targets: things to be found; a cell that several claim goes to the one that stands out most there.
        models: at hand; None is none.
    Returns:
        At least one mask a target, numbered by its position, best first, each with its method (`rung`) and the cosine
        of what it shows with the target; masks have the size of the photo. Where a model judged presence, `present`
        says what it found: its masks in the order of its own scores, or one mask without pixels, method ``absent``.
        Else `present` is None.
    """
    if models is None:
        models = GroundingModels()
    views = _views(scene, targets)
    found: list[GroundedMask] = []
    for view in views:
        judged = _judged(scene, view, models)
        if judged is None:
            others = [other for other in views if other is not view]
            judged = next(masks for masks in _located(scene, view, others, models) if masks)
        found += judged
    return found


def _views(scene: Scene, targets: Sequence[Target]) -> list[_View]:
    """Each target's map and components; how far a cell rises above the rest of its map says whose it is."""
    use = usable(scene.grid)
    maps = [scene.map_of(target.vector) for target in targets]
    heights = [values - values[use].min() for values in maps]
    views = []
    for n, (target, values) in enumerate(zip(targets, maps, strict=True)):
        own = use.copy()
        for m, rival in enumerate(heights):
            if m != n:
                own &= heights[n] >= rival
        view = _View(n, target, values, normalised(values, use), use, own)
        parts = components(view.stretched, values, own) or components(view.stretched, values, use)
        views.append(replace(view, found=tuple(parts)))
    return views


# --- models that judge presence ---------------------------------------------------------------


def _judged(scene: Scene, view: _View, models: GroundingModels) -> list[GroundedMask] | None:
    """The answer of the first model that judges presence and can be asked for this target; None where there is none."""
    if models.concept is not None:
        detected = models.concept(view.target)
        if detected is not None:
            masks = [one.mask for one in _best_first(detected) if one.mask is not None]
            return _believed(scene, view, masks, "concept", models)
    if models.detect is not None and models.segment is not None:
        detected = models.detect(view.target)
        if detected is not None:
            masks = _masks_of_boxes(scene, _best_first(detected)[:INSTANCES], models.segment)
            return _believed(scene, view, masks, "detector", models)
    return None


def _best_first(detected: Sequence[Detected]) -> list[Detected]:
    return sorted(detected, key=lambda one: -one.score)


def _masks_of_boxes(scene: Scene, detected: Sequence[Detected], segment: Segment) -> list[BoolMask]:
    """The segmenter's mask of each box; where the segmenter doubts it, the box itself: the detector is believed."""
    if not detected:
        return []
    prompts = [Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), one.box) for one in detected]
    return [
        made.mask if _sure(made) else box_mask(one.box, scene.grid.size)
        for one, made in zip(detected, segment(prompts), strict=True)
    ]


def _believed(
    scene: Scene, view: _View, masks: Sequence[BoolMask], method: Method, models: GroundingModels
) -> list[GroundedMask]:
    """The masks of a judge, in their order; without any, one without pixels that says so.

    Too small or too large masks are left out beside others; one of them alone still says that the thing is there.
    """
    drawn = [mask for mask in masks if mask.any()]
    kept = [mask for mask in drawn if _sized(mask)] or drawn[:1]
    if not kept:
        best = (scene.regions @ view.target.vector).max(initial=-1.0)
        return [GroundedMask(view.number, box_rle(NOWHERE, scene.grid.size), NOWHERE, float(best), "absent", False)]
    kept = [kept[n] for n in _distinct(kept)]
    return [
        replace(_made(view, encode_rle(mask), cosine, method), present=True)
        for mask, cosine in zip(kept, _cosines(scene, view, kept, models), strict=True)
    ]


# --- methods that say where only --------------------------------------------------------------


def _located(
    scene: Scene, view: _View, others: Sequence[_View], models: GroundingModels
) -> Iterator[list[GroundedMask]]:
    """The answers of the methods in their order, each asked only when those before it gave none; the last has one."""
    if models.empty:
        yield _stored(scene, view, agreeing=True)
    if float(np.ptp(view.values[view.use])) < FLAT:
        yield [_everywhere(scene, view)]
    if models.alike is not None:
        on = [box_around(scene.grid, view.found[0].cells)]
        beside = [box_around(scene.grid, other.found[0].cells) for other in others if other.peak is not None]
        found = models.alike(on, beside)
        made = [Segmented(one.mask, max(one.score, QUALITY)) for one in found if one.mask is not None]
        yield _ranked(scene, view, made, "concept", models)
    if models.segment is not None:
        yield _ranked(scene, view, models.segment(_prompts(scene, view, others)), "points", models)
    yield _stored(scene, view)
    yield _coarse(scene, view)
    box = box_around(scene.grid, view.found[0].cells)
    yield [_made(view, box_rle(box, scene.grid.size), view.found[0].mean, "box", box)]


def _prompts(scene: Scene, view: _View, others: Sequence[_View]) -> list[Prompt]:
    """One prompt a component; peaks of the other components and of other targets are points beside it."""
    peaks = [part.peak for part in view.found] + [other.peak for other in others if other.peak is not None]
    every = np.array(peaks, np.int64).reshape(-1, 2)
    return [
        prompt_of(part, view.stretched, view.use, scene.grid, every[(every != part.peak).any(1)]) for part in view.found
    ]


def _ranked(
    scene: Scene, view: _View, made: Sequence[Segmented], method: Method, models: GroundingModels
) -> list[GroundedMask]:
    """The masks that their segmenter is sure of, best first by cosine times quality, none twice."""
    sure = [one for one in made if _sure(one) and _sized(one.mask)]
    cosines = _cosines(scene, view, [one.mask for one in sure], models)
    order = sorted(range(len(sure)), key=lambda n: -cosines[n] * min(sure[n].quality, 1.0))
    kept = [order[n] for n in _distinct([sure[n].mask for n in order])]
    return [_made(view, encode_rle(sure[n].mask), cosines[n], method) for n in kept]


def _stored(scene: Scene, view: _View, *, agreeing: bool = False) -> list[GroundedMask]:
    """Stored regions: the best, and others as near that lie elsewhere.

    Args:
        agreeing: only when the best one covers about what the map shows, and of the others those that the map shows.
    """
    cosines = scene.regions @ view.target.vector
    if not len(cosines):
        return []
    order = rank_regions(cosines, scene.scores)
    best, shown = int(order[0]), view.stretched >= HALF
    if agreeing and _soft_iou(scene.coverage[best], shown, view.use) < AGREES:
        return []
    chosen: list[int] = []
    for one in order[cosines[order] >= cosines[best] - NEARLY].tolist():
        if len(chosen) < INSTANCES and all(
            _shared(scene.coverage[one], scene.coverage[other], view.use) <= OVERLAP for other in chosen
        ):
            chosen.append(one)
    if agreeing:
        chosen = [one for one in chosen if one == best or _inside(scene.coverage[one], shown, view.use) >= HALF]
    return [
        _made(
            view,
            resize_rle(scene.masks[one], scene.grid.size),
            float(cosines[one]),
            "stored",
            box_row(scene.boxes[one]),
        )
        for one in chosen
    ]


def _coarse(scene: Scene, view: _View) -> list[GroundedMask]:
    """One mask a component: the enlarged map at half its height, where the component is the nearest."""
    size = fit(scene.grid.size, COARSE_SIDE)
    shown = np.nan_to_num(enlarged(scene.grid, view.stretched, size)) >= HALF
    found = []
    for part in view.found:
        near = np.nan_to_num(enlarged(scene.grid, part.cells.astype(np.float32), size)) > 0
        mask: BoolMask = shown & near
        if _sized(mask):
            found.append(_made(view, resize_rle(encode_rle(mask), scene.grid.size), part.mean, "coarse"))
    return found


def _everywhere(scene: Scene, view: _View) -> GroundedMask:
    box = (0.0, 0.0, float(scene.grid.size[1]), float(scene.grid.size[0]))
    return _made(view, box_rle(box, scene.grid.size), float(view.values[view.use].mean()), "coarse")


# --- masks ------------------------------------------------------------------------------------


def _cosines(scene: Scene, view: _View, masks: Sequence[BoolMask], models: GroundingModels) -> list[float]:
    """Of each mask with the target: by its own vector where masks can be embedded, else on the grid."""
    if models.embed is not None and masks:
        return [float(cosine) for cosine in models.embed(masks) @ view.target.vector]
    return [float(cosine) for cosine in scene.scores_of(scene.grid.coverage(masks), view.target.vector, view.values)]


def _sure(made: Segmented) -> bool:
    """Whether a segmenter trusts its mask."""
    return made.quality >= QUALITY and (made.object_score is None or made.object_score > 0)


def _sized(mask: BoolMask) -> bool:
    """Whether a mask is neither a speck nor the whole photo."""
    return SMALLEST <= float(mask.mean()) <= LARGEST


def _distinct(masks: Sequence[BoolMask]) -> list[int]:
    """Positions of the masks, without those that show the same as one before them; at most ten."""
    kept: list[int] = []
    for n, mask in enumerate(masks):
        if len(kept) < INSTANCES and all(mask_iou(mask, masks[other]) < SAME for other in kept):
            kept.append(n)
    return kept


def _shared(one: Floats, other: Floats, use: BoolMask) -> float:
    """Share of the smaller of two regions that lies in the other."""
    smaller = float(min(one[use].sum(), other[use].sum()))
    return float(np.minimum(one[use], other[use]).sum()) / smaller if smaller else 1.0


def _inside(cells: Floats, shown: BoolMask, use: BoolMask) -> float:
    """Share of a region that lies where the map shows something."""
    total = float(cells[use].sum())
    return float(cells[use & shown].sum()) / total if total else 0.0


def _soft_iou(one: Floats, other: BoolMask, use: BoolMask) -> float:
    first, second = one[use], other[use].astype(np.float32)
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union else 0.0


def _made(view: _View, mask: Rle, score: float, method: Method, box: Box = NOWHERE) -> GroundedMask:
    """A mask of which nobody has judged whether the thing is there; `box` is used where it has no pixels."""
    return GroundedMask(view.number, mask, _tight(mask) or box, score, method)


def _tight(mask: Rle) -> Box | None:
    """Box of a coded mask; None when it has no pixels."""
    from pycocotools import mask as coco

    x, y, width, height = coco.toBbox({"size": list(mask.size), "counts": mask.counts.encode("ascii")}).tolist()
    return (x, y, x + width, y + height) if width else None
