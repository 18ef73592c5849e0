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
None). Models come as functions that are bound to the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ..geometry import as_box, box_mask, box_of_rle, box_rle, encode_rle, fit, mask_iou, resize_rle
from ..records import NOWHERE, RGB, BoolMask, Box, Detected, Floats, GroundedMask, Prompt, Rle, Segmented
from .instances import select_instances
from .points import Component, components, prompt_of
from .resample import enlarged
from .similarity import EPSILON, Scene, normalised

Method = Literal["concept", "detector", "points", "stored", "coarse", "box", "absent"]

FLAT = 0.02  # of cosine; a map that varies less says everywhere or nowhere
HALF = 0.5  # of a stretched map: what the coarse mask and the agreement with a stored region are cut at
AGREES = 0.5  # soft IoU of a region's coverage with the map, from which on the two show the same
SAME = 0.7  # IoU from which on two masks are one
QUALITY, SMALLEST, LARGEST = 0.7, 0.0005, 0.95  # of a model's mask: predicted IoU, share of the photo
MOST_MASKS = 10  # of one target, from models
COARSE_SIDE = 512  # pixels of the longer side at which a map is cut


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
    """One target as this photo shows it.

    Attributes:
        number: position of the target.
        target: what is to be found.
        values: (h, w) cosines of the cells.
        stretched: (h, w), the same from 0 to 1.
        use: (h, w) cells inside the photo.
        components: of the map, best first; at least one.
        peak: row and column of the best place, if no other target stands out more there.
    """

    number: int
    target: Target
    values: Floats
    stretched: Floats
    use: BoolMask
    components: list[Component]
    peak: tuple[int, int] | None


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
    models = models or GroundingModels()
    views = _views(scene, targets)
    grounded: list[GroundedMask] = []
    for view in views:
        judged = _judged(scene, view, models)
        if judged is not None:
            grounded += judged
        else:
            rivals = [other for other in views if other is not view and other.peak is not None]
            grounded += _located(scene, view, rivals, models)
    return grounded


def _views(scene: Scene, targets: Sequence[Target]) -> list[_View]:
    """Each target's map and components; how far a cell rises above the rest of its map says whose it is."""
    use = scene.grid.usable()
    maps = [scene.map_of(target.vector) for target in targets]
    heights = np.stack([values - values[use].min() for values in maps]) if maps else np.zeros((0, *use.shape))
    views = []
    for number, (target, values) in enumerate(zip(targets, maps, strict=True)):
        own = use & (heights[number] >= heights.max(0))
        stretched = normalised(values, use)
        parts = components(stretched, values, own) or components(stretched, values, use)
        peak = parts[0].peak if parts and own[parts[0].peak] else None
        views.append(_View(number, target, values, stretched, use, parts, peak))
    return views


# --- models that judge presence ---------------------------------------------------------------


def _judged(scene: Scene, view: _View, models: GroundingModels) -> list[GroundedMask] | None:
    """The answer of the first model that judges presence and can be asked for this target; None where there is none."""
    if models.concept is not None:
        detected = models.concept(view.target)
        if detected is not None:
            masks = [detection.mask for detection in sorted(detected, key=_falling) if detection.mask is not None]
            return _believed(scene, view, masks, "concept", models)
    if models.detect is not None and models.segment is not None:
        detected = models.detect(view.target)
        if detected is not None:
            masks = _masks_of_boxes(scene, sorted(detected, key=_falling)[:MOST_MASKS], models.segment)
            return _believed(scene, view, masks, "detector", models)
    return None


def _falling(detected: Detected) -> float:
    return -detected.score


def _masks_of_boxes(scene: Scene, detected: Sequence[Detected], segment: Segment) -> list[BoolMask]:
    """The segmenter's mask of each box; where the segmenter doubts it, the box itself: the detector is believed."""
    if not detected:
        return []
    prompts = [Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), detection.box) for detection in detected]
    return [
        segmented.mask if _is_sure(segmented) else box_mask(detection.box, scene.grid.size)
        for detection, segmented in zip(detected, segment(prompts), strict=True)
    ]


def _believed(
    scene: Scene, view: _View, masks: Sequence[BoolMask], method: Method, models: GroundingModels
) -> list[GroundedMask]:
    """The masks of a model that judges, in their order; without any, one without pixels that says so.

    Too small or too large masks are left out beside others; one of them alone still says that the thing is there.
    """
    drawn = [mask for mask in masks if mask.any()]
    kept = [mask for mask in drawn if _is_sized(mask)] or drawn[:1]
    if not kept:
        best = (scene.regions @ view.target.vector).max(initial=-1.0)
        return [GroundedMask(view.number, box_rle(NOWHERE, scene.grid.size), NOWHERE, float(best), "absent", False)]
    kept = [kept[n] for n in _distinct(kept)]
    return [
        replace(_grounded(view, encode_rle(mask), cosine, method), present=True)
        for mask, cosine in zip(kept, _cosines(scene, view, kept, models), strict=True)
    ]


# --- methods that say where only --------------------------------------------------------------


def _located(scene: Scene, view: _View, rivals: Sequence[_View], models: GroundingModels) -> list[GroundedMask]:
    """The masks of the first method that gives any; rivals are the other targets that have a peak of their own."""
    if models.empty and (stored := _stored(scene, view, agreeing=True)):
        return stored
    if float(np.ptp(view.values[view.use])) < FLAT:
        height, width = scene.grid.size
        box = (0.0, 0.0, float(width), float(height))
        return [_grounded(view, box_rle(box, scene.grid.size), float(view.values[view.use].mean()), "coarse", box)]
    best = view.components[0]
    best_box = scene.grid.box_around(best.cells)
    if models.alike is not None:
        beside = [scene.grid.box_around(rival.components[0].cells) for rival in rivals]
        alike = models.alike([best_box], beside)
        masked = [Segmented(one.mask, max(one.score, QUALITY)) for one in alike if one.mask is not None]
        if ranked := _ranked(scene, view, masked, "concept", models):
            return ranked
    if models.segment is not None:
        segmented = models.segment(_prompts(scene, view, rivals))
        if ranked := _ranked(scene, view, segmented, "points", models):
            return ranked
    box_itself = _grounded(view, box_rle(best_box, scene.grid.size), best.mean, "box", best_box)
    return _stored(scene, view) or _coarse(scene, view) or [box_itself]


def _prompts(scene: Scene, view: _View, rivals: Sequence[_View]) -> list[Prompt]:
    """One prompt a component; peaks of the other components and of other targets are points beside it."""
    peaks = np.array([part.peak for part in view.components] + [rival.peak for rival in rivals])
    prompts = []
    for part in view.components:
        others = peaks[(peaks != part.peak).any(1)]
        prompts.append(prompt_of(part, view.stretched, view.use, scene.grid, others))
    return prompts


def _ranked(
    scene: Scene, view: _View, segmented: Sequence[Segmented], method: Method, models: GroundingModels
) -> list[GroundedMask]:
    """The masks that their segmenter is sure of, best first by cosine times quality, none twice."""
    sure = [one for one in segmented if _is_sure(one) and _is_sized(one.mask)]
    cosines = _cosines(scene, view, [one.mask for one in sure], models)
    order = sorted(range(len(sure)), key=lambda n: -cosines[n] * min(sure[n].quality, 1.0))
    kept = [order[n] for n in _distinct([sure[n].mask for n in order])]
    return [_grounded(view, encode_rle(sure[n].mask), cosines[n], method) for n in kept]


def _stored(scene: Scene, view: _View, *, agreeing: bool = False) -> list[GroundedMask]:
    """Stored regions: the best, and others as near that lie elsewhere.

    Args:
        agreeing: only when the best one covers about what the map shows, and of the others those that the map shows.
    """
    if not len(scene.regions):
        return []
    cosines = scene.regions @ view.target.vector
    chosen = select_instances(cosines, scene.scores, scene.masks)
    if agreeing:
        shown = view.stretched[view.use] >= HALF
        covered = scene.coverage[:, view.use]
        best = covered[chosen[0]]
        if np.minimum(best, shown).sum() < AGREES * max(np.maximum(best, shown).sum(), EPSILON):
            return []
        chosen[1:] = [n for n in chosen[1:] if covered[n][shown].sum() >= HALF * max(covered[n].sum(), EPSILON)]
    return [
        _grounded(
            view, resize_rle(scene.masks[n], scene.grid.size), float(cosines[n]), "stored", as_box(scene.boxes[n])
        )
        for n in chosen
    ]


def _coarse(scene: Scene, view: _View) -> list[GroundedMask]:
    """One mask a component: the enlarged map at half its height, where the component is the nearest."""
    size = fit(scene.grid.size, COARSE_SIDE)
    shown = np.nan_to_num(enlarged(scene.grid, view.stretched, size)) >= HALF
    grounded = []
    for part in view.components:
        near = np.nan_to_num(enlarged(scene.grid, part.cells.astype(np.float32), size)) > 0
        mask: BoolMask = shown & near
        if _is_sized(mask):
            grounded.append(_grounded(view, resize_rle(encode_rle(mask), scene.grid.size), part.mean, "coarse"))
    return grounded


# --- masks ------------------------------------------------------------------------------------


def _cosines(scene: Scene, view: _View, masks: Sequence[BoolMask], models: GroundingModels) -> list[float]:
    """Of each mask with the target: by its own vector where masks can be embedded, else on the grid."""
    if models.embed is not None and masks:
        cosines = models.embed(masks) @ view.target.vector
    else:
        cosines = scene.scores_of(scene.grid.coverage(masks), view.target.vector, view.values)
    return [float(cosine) for cosine in cosines]


def _is_sure(segmented: Segmented) -> bool:
    """Whether a segmenter trusts its mask."""
    return segmented.quality >= QUALITY and (segmented.object_score is None or segmented.object_score > 0)


def _is_sized(mask: BoolMask) -> bool:
    """Whether a mask is neither a speck nor the whole photo."""
    return SMALLEST <= float(mask.mean()) <= LARGEST


def _distinct(masks: Sequence[BoolMask]) -> list[int]:
    """Positions of the masks, without those that show the same as one before them; at most ten."""
    kept: list[int] = []
    for n, mask in enumerate(masks):
        if len(kept) < MOST_MASKS and all(mask_iou(mask, masks[other]) < SAME for other in kept):
            kept.append(n)
    return kept


def _grounded(view: _View, mask: Rle, score: float, method: Method, box: Box = NOWHERE) -> GroundedMask:
    """A mask of which nothing has judged whether the thing is there; `box` is used where it has no pixels."""
    tight = box_of_rle(mask)
    return GroundedMask(view.number, mask, box if tight == NOWHERE else tight, score, method)
