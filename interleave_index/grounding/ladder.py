"""The best answer that the parts at hand allow to "where is it": one rung after the other, down to "not in this photo".

    absent    the gate is shut: the photo shows nothing like it; nothing else is tried
    stored    the best stored region passes its own gate and agrees with the map: its mask, without any model
    concept   a model that finds things by phrase or exemplar box and masks them (SAM 3)
    detector  a model that boxes things by phrase or by a picture of one, and the segmenter's masks of the boxes
    points    points from the map, a mask of each component by a promptable segmenter (SAM, SAM 2)
    stored    the best stored region that passes its gate
    coarse    the map itself, enlarged, where it is at least half of its height
    box       the box of the best component
    absent

Every mask of a model is checked against the query again, on the grid, before it counts. Pure numpy; models come as
functions that are bound to the photo, so that a rung without one is simply not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ..geometry import box_rle, encode_rle, fit, mask_iou, resize_rle
from ..records import RGB, BoolMask, Box, Detected, Floats, GroundedMask, Prompt, Rle, Segmented
from .gate import SIGMAS, Nulls, top_cells
from .points import Component, components, prompt_of
from .resample import box_around, enlarged, usable
from .similarity import Scene, box_row, normalised
from .stored import answers

Rung = Literal["concept", "detector", "points", "stored", "coarse", "box", "absent"]
Segment: TypeAlias = Callable[[Sequence[Prompt]], Sequence[Segmented]]

FLAT = 0.02  # of cosine; a map that varies less says everywhere or nowhere
HALF = 0.5  # of a stretched map: what the coarse mask and the agreement with a stored region are cut at
AGREES = 0.5  # soft IoU of a region's coverage with the map, from which on the region is taken without a model
NEARLY = 0.05  # of cosine: further regions of the same thing score at most this much below the best
OVERLAP = 0.1  # share of the smaller of two stored regions; more than that is the same thing masked twice
SAME = 0.7  # IoU from which on two masks are one
QUALITY, SMALLEST, LARGEST = 0.7, 0.0005, 0.95  # of a segmenter's mask: predicted IoU, share of the photo
INSTANCES = 10
COARSE_SIDE = 512  # pixels of the longer side at which a map is cut


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to be found.

    Attributes:
        vector: (D,) unit vector.
        nulls: what it scores where it means nothing.
        phrase: for models that read; None for a thing that was shown.
        exemplar: (H, W, 3) uint8 crop of the thing that was shown, or None.
    """

    vector: Floats
    nulls: Nulls
    phrase: str | None = None
    exemplar: RGB | None = None


Concept: TypeAlias = Callable[[Target, Sequence[Box], Sequence[Box]], Sequence[Detected]]
Detect: TypeAlias = Callable[[Target], Sequence[Detected]]


@dataclass(frozen=True, slots=True)
class Tools:
    """Models at hand, each bound to the photo; None is a rung that is not there.

    Attributes:
        segment: prompts to masks, one each, in order.
        concept: a target, boxes on it and boxes beside it, to masks of all its instances.
        detect: a target to boxes.
        embed: M masks to (M, D) vectors, made as those of the stored regions are; None scores masks on the grid.
        quick: take a stored region that agrees with the map before any model is asked.
        sigmas: of the gates.
    """

    segment: Segment | None = None
    concept: Concept | None = None
    detect: Detect | None = None
    embed: Callable[[Sequence[BoolMask]], Floats] | None = None
    quick: bool = True
    sigmas: float = SIGMAS


@dataclass(frozen=True, slots=True)
class _View:
    """One target as this photo shows it."""

    target: Target
    values: Floats  # (h, w) raw
    stretched: Floats  # (h, w) 0 to 1
    use: BoolMask  # (h, w) cells inside the photo
    score: float  # that the gate judged
    there: bool
    found: tuple[Component, ...] = ()


def climb(scene: Scene, targets: Sequence[Target], tools: Tools | None = None) -> list[GroundedMask]:
    """Ground every target in one photo.

    Args:
        scene: what is known of the photo.
        targets: things to be found; a cell that several claim goes to the one that stands out most there.
        tools: models at hand; None is none.
    Returns:
        At least one mask a target, numbered by its position, best first, each with its rung; masks have the size of
        the photo. A target that is not there has one mask without pixels, rung ``absent``.
    """
    tools = tools or Tools()
    views = _views(scene, targets, tools)
    found: list[GroundedMask] = []
    for number, view in enumerate(views):
        if not view.there:
            found.append(_absent(scene, number, view.score))
            continue
        others = [other for n, other in enumerate(views) if other.there and n != number]
        masks = next((masks for masks in _rungs(scene, number, view, others, tools) if masks), None)
        found += masks or [_absent(scene, number, view.score)]
    return found


def _views(scene: Scene, targets: Sequence[Target], tools: Tools) -> list[_View]:
    """Each target's map, whether it passes its gate, and its components where it does."""
    views = [_judged(scene, target, tools) for target in targets]
    standing = [(view.target.nulls.cells or view.target.nulls.region).standardised(view.values) for view in views]
    for n, view in enumerate(views):
        if view.there:
            rivals = [standing[m] for m in range(len(views)) if m != n and views[m].there]
            lost = np.max(rivals, axis=0) > standing[n] if rivals else np.zeros_like(view.use)
            parts = components(view.stretched, view.values, view.use & ~lost)
            views[n] = replace(view, found=tuple(parts or components(view.stretched, view.values, view.use)))
    return views


def _judged(scene: Scene, target: Target, tools: Tools) -> _View:
    """The target's map and gate: its best cells where sample photos gave them a null, else its best region."""
    values, use = scene.map_of(target.vector), usable(scene.grid)
    stretched = normalised(values, use)
    if target.nulls.cells is not None:
        score, bar = top_cells(values, use), target.nulls.cells.bar(tools.sigmas)
    else:
        score = float((scene.regions @ target.vector).max(initial=-1.0))
        bar = target.nulls.region.bar(tools.sigmas)
        best = components(stretched, values, use)[:1] if score <= bar and tools.embed is not None else []
        score = max([score, *_scores(scene, target, values, [_outlined(scene, part) for part in best], tools)])
    return _View(target, values, stretched, use, score, score > bar)


def _scores(scene: Scene, target: Target, values: Floats, masks: Sequence[BoolMask], tools: Tools) -> list[float]:
    """Cosine of each mask with the target: by its own vector where masks can be embedded, else on the grid."""
    if tools.embed is not None and masks:
        return [float(cosine) for cosine in tools.embed(masks) @ target.vector]
    return [float(cosine) for cosine in scene.scores_of(scene.grid.coverage(masks), target.vector, values)]


def _outlined(scene: Scene, part: Component) -> BoolMask:
    """The pixels of a component, in a small picture of the photo."""
    size = fit(scene.grid.size, COARSE_SIDE)
    mask: BoolMask = np.nan_to_num(enlarged(scene.grid, part.cells.astype(np.float32), size)) >= HALF
    return mask


def _rungs(scene: Scene, number: int, view: _View, others: Sequence[_View],
           tools: Tools) -> Iterator[list[GroundedMask]]:
    """The answers of the rungs in their order, each asked only when those before it gave none."""
    if tools.quick:
        yield _stored(scene, number, view, tools, agreeing=True)
    if float(np.ptp(view.values[view.use])) < FLAT:
        yield [_everywhere(scene, number, view.score)]
    boxes = [box_around(scene.grid, part.cells) for part in view.found]
    if tools.concept is not None:
        beside = [box_around(scene.grid, other.found[0].cells) for other in others if other.found]
        detected = tools.concept(view.target, boxes[:1], beside)
        made = [Segmented(one.mask, max(one.score, QUALITY)) for one in detected if one.mask is not None]
        yield _verified(scene, number, view, made, "concept", tools)
    if tools.detect is not None and tools.segment is not None:
        prompts = [_boxed(one.box) for one in tools.detect(view.target)[:INSTANCES]]
        yield _verified(scene, number, view, tools.segment(prompts) if prompts else (), "detector", tools)
    if tools.segment is not None and view.found:
        yield _verified(scene, number, view, tools.segment(_prompts(scene, view, others)), "points", tools)
    yield _stored(scene, number, view, tools)
    yield _coarse(scene, number, view)
    yield [_made(scene, number, box_rle(box, scene.grid.size), view.score, "box") for box in boxes[:1]]


def _prompts(scene: Scene, view: _View, others: Sequence[_View]) -> list[Prompt]:
    """One prompt a component; peaks of the other components and of other targets are points beside it."""
    peaks = [part.peak for part in view.found] + [other.found[0].peak for other in others if other.found]
    every = np.array(peaks, np.int64).reshape(-1, 2)
    return [prompt_of(part, view.stretched, view.use, scene.grid, every[(every != part.peak).any(1)])
            for part in view.found]


def _boxed(box: Box) -> Prompt:
    return Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box)


def _verified(scene: Scene, number: int, view: _View, made: Sequence[Segmented], rung: Rung,
              tools: Tools) -> list[GroundedMask]:
    """Masks that score above their null on the grid, best first, none twice."""
    nulls = view.target.nulls
    bar = (nulls.mask or nulls.region).bar(tools.sigmas)
    sure = [one for one in made if one.quality >= QUALITY and (one.object_score is None or one.object_score > 0)
            and SMALLEST <= float(one.mask.mean()) <= LARGEST]
    cosines = _scores(scene, view.target, view.values, [one.mask for one in sure], tools)
    kept = [(cosine * min(one.quality, 1.0), cosine, one.mask) for one, cosine in zip(sure, cosines, strict=True)
            if cosine > bar]
    kept.sort(key=lambda entry: -entry[0])
    distinct: list[tuple[float, BoolMask]] = []
    for _, cosine, mask in kept:
        if all(mask_iou(mask, other) < SAME for _, other in distinct):
            distinct.append((cosine, mask))
    return [_made(scene, number, encode_rle(mask), cosine, rung) for cosine, mask in distinct[:INSTANCES]]


def _stored(scene: Scene, number: int, view: _View, tools: Tools, *, agreeing: bool = False) -> list[GroundedMask]:
    """Stored regions that pass their gate: the best, and others as good that lie elsewhere.

    Args:
        agreeing: only when the best one covers about what the map shows.
    """
    cosines = scene.regions @ view.target.vector
    if not len(cosines) or float(cosines.max()) <= view.target.nulls.region.bar(tools.sigmas):
        return []
    order = answers(cosines, scene.scores)
    if agreeing and _soft_iou(scene.coverage[order[0]], view.stretched >= HALF, view.use) < AGREES:
        return []
    chosen: list[int] = []
    for one in order[cosines[order] >= cosines[order[0]] - NEARLY].tolist():
        if len(chosen) < INSTANCES and all(
                _shared(scene.coverage[one], scene.coverage[other], view.use) <= OVERLAP for other in chosen):
            chosen.append(one)
    if agreeing:  # what the map does not show is not a further instance
        chosen = [one for one in chosen if one == order[0] or _shown(scene.coverage[one], view) >= HALF]
    return [_made(scene, number, resize_rle(scene.masks[one], scene.grid.size), float(cosines[one]), "stored",
                  box_row(scene.boxes[one])) for one in chosen]


def _shown(cells: Floats, view: _View) -> float:
    """Share of a region that lies where the map is at least half of its height."""
    total = float(cells[view.use].sum())
    return float(cells[view.use & (view.stretched >= HALF)].sum()) / total if total else 0.0


def _shared(one: Floats, other: Floats, use: BoolMask) -> float:
    """Share of the smaller of two regions that lies in the other."""
    smaller = float(min(one[use].sum(), other[use].sum()))
    return float(np.minimum(one[use], other[use]).sum()) / smaller if smaller else 1.0


def _soft_iou(one: Floats, other: Floats | BoolMask, use: BoolMask) -> float:
    first, second = one[use], np.asarray(other, np.float32)[use]
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union else 0.0


def _coarse(scene: Scene, number: int, view: _View) -> list[GroundedMask]:
    """One mask a component: the enlarged map at half its height, where the component is the nearest."""
    size = fit(scene.grid.size, COARSE_SIDE)
    shown = np.nan_to_num(enlarged(scene.grid, view.stretched, size)) >= HALF
    found = []
    for part in view.found:
        near = np.nan_to_num(enlarged(scene.grid, part.cells.astype(np.float32), size)) > 0
        mask = shown & near
        if SMALLEST <= float(mask.mean()) <= LARGEST:
            found.append(_made(scene, number, resize_rle(encode_rle(mask), scene.grid.size), part.mean, "coarse"))
    return found


def _everywhere(scene: Scene, number: int, score: float) -> GroundedMask:
    box = (0.0, 0.0, float(scene.grid.size[1]), float(scene.grid.size[0]))
    return _made(scene, number, box_rle(box, scene.grid.size), score, "coarse")


def _absent(scene: Scene, number: int, score: float) -> GroundedMask:
    nothing = box_rle((0.0, 0.0, 0.0, 0.0), scene.grid.size)
    return GroundedMask(number, nothing, (0.0, 0.0, 0.0, 0.0), score, "absent", False)


def _made(scene: Scene, number: int, mask: Rle, score: float, rung: Rung, box: Box | None = None) -> GroundedMask:
    return GroundedMask(number, mask, _tight(mask) or box or (0.0, 0.0, 0.0, 0.0), score, rung, True)


def _tight(mask: Rle) -> Box | None:
    """Box of a coded mask; None when it has no pixels."""
    from pycocotools import mask as coco

    x, y, width, height = coco.toBbox({"size": list(mask.size), "counts": mask.counts.encode("ascii")}).tolist()
    return (x, y, x + width, y + height) if width else None
