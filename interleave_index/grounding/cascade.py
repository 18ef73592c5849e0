"""Where in a photo a thing is: the methods of grounding in their order, of which the first that has an answer gives it.

    concept   a model that finds things by phrase and masks them (SAM 3); judges whether the thing is there
    detector  a model that boxes things by phrase or by a picture of one; judges likewise; its boxes are masked by the
              segmenter, else by the stored region that fills the same box, else by the box itself
    absent    one of these two was asked and found nothing
    own       of models that judge, none could be asked for this, and no other is at hand: the space's own look
    stored    without any model: the best stored region, if it covers about what the map shows
    concept   for a thing that was shown: the concept model, by a box on its best place
    points    points from the map, and a mask of each component by a promptable segmenter (SAM, SAM 2)
    dense     the map that a model drew (CLIPSeg), cut as a coarse one
    stored    the best stored region
    coarse    the map itself, enlarged, where it is at least half of its height; of a flat map, the whole photo
    box       the box of the best component

A model that draws maps gives that of its target in place of the space's own, for every method that reads a map.

The verdict of a model that judges presence stands, whatever the map shows: the map comes from a space that may know
less of the thing. All other methods only give where the thing would be; whether it is there is not judged here
(`present` is None). Models come as functions that are bound to the photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from ..geometry import as_box, box_mask, box_of_rle, box_rle, encode_rle, fit, mask_iou, resize_rle
from ..records import NOWHERE, RGB, BoolMask, Box, Detected, Floats, GroundedMask, Prompt, Rle, Segmented, Size
from .grid import PatchGrid
from .instances import select_instances
from .points import Component, components, prompt_of
from .resample import enlarged, resized
from .similarity import EPSILON, Scene, normalised

Method = Literal["concept", "detector", "own", "points", "dense", "stored", "coarse", "box", "absent"]

FLAT = 0.02  # of cosine; a map that varies less points nowhere
HALF = 0.5  # of a stretched map: what the coarse mask and the agreement with a stored region are cut at
AGREES = 0.5  # soft IoU of a region's coverage with the map, from which on the two show the same
SAME = 0.7  # IoU from which on two masks are one
QUALITY, SMALLEST, LARGEST = 0.7, 0.0005, 0.95  # of a model's mask: predicted IoU, share of the photo
MOST_MASKS, MOST_BELIEVED = 10, 100  # of one target, from models that are prompted, and from those that judge
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
Draw: TypeAlias = Callable[[Target], Floats | None]
Look: TypeAlias = Callable[[int], Sequence[GroundedMask]]
Embed: TypeAlias = Callable[[Sequence[BoolMask]], Floats]


@dataclass(frozen=True, slots=True)
class GroundingModels:
    """Models at hand, each bound to the photo; a method whose model is None is passed over.

    Attributes:
        segment: prompts to masks, one each, in order.
        concept: a target to masks of all its instances, none where it is not there; None if the model cannot be asked
            for such a target.
        detect: a target to boxes, likewise.
        alike: boxes on a thing in this photo, and boxes beside it, to masks of all things like it.
        draw: a target to an (h, w) map of any size over the whole photo, 0 to 1; None if it cannot be asked for it.
        embed: M masks to (M, D) vectors, made as those of the stored regions are; None scores masks on the grid.
        look: position of a target to the masks that the space finds in its own way, where these are better than the
            map. The first is the place that `alike` is shown; they are the answer where models are at hand, but none
            that could say where this target is. None leaves both to the map and the stored regions.
    """

    segment: Segment | None = None
    concept: Judge | None = None
    detect: Judge | None = None
    alike: FindAlike | None = None
    draw: Draw | None = None
    embed: Embed | None = None
    look: Look | None = None

    @property
    def empty(self) -> bool:
        """Whether none of them segments or detects; one that draws maps does neither."""
        return all(model is None for model in (self.segment, self.concept, self.detect, self.alike))


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
        says what it found: its masks in the order of its own scores, which stand beside them (`confidence`), or one
        mask without pixels, method ``absent``. Else `present` is None.
    """
    cascades = _cascades(scene, targets, models or GroundingModels())
    grounded: list[GroundedMask] = []
    for cascade in cascades:
        judged = cascade.judged()
        if judged is not None:
            grounded += judged
        else:
            rivals = [other for other in cascades if other is not cascade and other.peak is not None]
            grounded += cascade.located(rivals)
    return grounded


def _cascades(scene: Scene, targets: Sequence[Target], models: GroundingModels) -> list[_Cascade]:
    """Each target's map and components; a cell belongs to the target on whose map it rises highest above the rest."""
    use = scene.grid.usable()
    cosines = [scene.map_of(target.vector) for target in targets]
    drawn = [_drawn(scene.grid, target, models) for target in targets]
    maps = [values if cells is None else cells.means for values, cells in zip(cosines, drawn, strict=True)]
    are_drawn = {one is not None for one in drawn}
    if len(are_drawn) > 1:  # cosines and chances do not compare
        heights = [normalised(values, use) for values in maps]
    else:
        heights = [values - values[use].min() for values in maps]
    cascades = []
    for number, (values, height) in enumerate(zip(maps, heights, strict=True)):
        own = use & (height >= np.max(heights, axis=0))
        stretched = normalised(values, use)
        parts = components(stretched, values, own) or components(stretched, values, use)
        peak = parts[0].peak if parts and own[parts[0].peak] else None
        target, own_cosines = targets[number], cosines[number]
        cascades.append(
            _Cascade(scene, models, number, target, own_cosines, stretched, use, parts, peak, drawn[number])
        )
    return cascades


@dataclass(frozen=True, slots=True)
class _DrawnMap:
    """A map that a model drew.

    Attributes:
        picture: (h, w) float32 over the whole photo, 0 to 1.
        means: of it, of every cell of the grid.
    """

    picture: Floats
    means: Floats


def _drawn(grid: PatchGrid, target: Target, models: GroundingModels) -> _DrawnMap | None:
    """What a model draws of a target; None where there is none, it cannot be asked, or its map points nowhere."""
    picture = None if models.draw is None else models.draw(target)
    if picture is None:
        return None
    means = grid.means(picture)
    return None if float(np.ptp(means[grid.usable()])) < FLAT else _DrawnMap(picture, means)


@dataclass(frozen=True, slots=True)
class _Cascade:
    """One target as this photo shows it, and the methods that ground it.

    Attributes:
        number: position of the target.
        target: what is to be found.
        values: (h, w) cosines of the cells.
        stretched: (h, w) from 0 to 1: the map that a model drew, else the cosines.
        use: (h, w) cells inside the photo.
        components: of the map, best first; none where it is flat.
        peak: row and column of the best place, if no other target stands out more there.
        drawn: the map that a model drew, or None.
    """

    scene: Scene
    models: GroundingModels
    number: int
    target: Target
    values: Floats
    stretched: Floats
    use: BoolMask
    components: list[Component]
    peak: tuple[int, int] | None
    drawn: _DrawnMap | None = None

    # --- models that judge presence -----------------------------------------------------------

    def judged(self) -> list[GroundedMask] | None:
        """The answer of the first model that judges presence and can be asked for this; None where there is none."""
        concept, detect = self.models.concept, self.models.detect
        if concept is not None and (detected := concept(self.target)) is not None:
            return self._believed(detected, "concept")
        if detect is not None and (detected := detect(self.target)) is not None:
            return self._believed(self._masked(_best_first(detected)[:MOST_BELIEVED]), "detector")
        return None

    def _masked(self, detected: Sequence[Detected]) -> list[Detected]:
        """Each box with the segmenter's mask of it; without one that is sure, with what else fills the box."""
        segmented: Sequence[Segmented | None] = [None] * len(detected)
        if self.models.segment is not None and detected:
            no_points, no_labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int8)
            segmented = self.models.segment([Prompt(no_points, no_labels, one.box) for one in detected])
        return [
            replace(one, mask=made.mask if made is not None and _is_sure(made) else self._filling(one.box))
            for one, made in zip(detected, segmented, strict=True)
        ]

    def _filling(self, box: Box) -> BoolMask:
        """The stored region whose box is nearly this one, else the box itself: the detector is believed."""
        size = self.scene.grid.size
        ious = _box_ious(self.scene.boxes, box)
        if ious.max(initial=0.0) >= SAME:
            return resize_rle(self.scene.masks[int(ious.argmax())], size).decode()
        return box_mask(box, size)

    def _believed(self, detected: Sequence[Detected], method: Method) -> list[GroundedMask]:
        """What a model that judges has found, best first by its own scores; without any mask, one without pixels.

        Too small or too large masks are left out beside others; one of them alone still means that the thing is there.
        """
        drawn = [(one.mask, one.score) for one in _best_first(detected) if one.mask is not None and one.mask.any()]
        kept = [(mask, score) for mask, score in drawn if _is_sized(mask)] or drawn[:1]
        if not kept:
            best = float((self.scene.regions @ self.target.vector).max(initial=-1.0))
            return [GroundedMask(self.number, box_rle(NOWHERE, self.scene.grid.size), NOWHERE, best, "absent", False)]
        kept = [kept[n] for n in _distinct([mask for mask, _ in kept], MOST_BELIEVED)]
        cosines = self._cosines([mask for mask, _ in kept])
        return [
            replace(self._grounded(encode_rle(mask), cosine, method), present=True, confidence=float(score))
            for (mask, score), cosine in zip(kept, cosines, strict=True)
        ]

    # --- methods that say where only ----------------------------------------------------------

    def located(self, rivals: Sequence[_Cascade]) -> list[GroundedMask]:
        """The masks of the first method that gives any; rivals are the other targets that have a peak of their own."""
        grid = self.scene.grid
        if self.models.empty and self.drawn is None and (stored := self._stored(agreeing=True)):
            return stored
        located = self.models.segment is not None or self.models.alike is not None or self.drawn is not None
        if not (self.models.empty or located) and (looked := self._looked()):
            return looked
        if self.drawn is None and float(np.ptp(self.values[self.use])) < FLAT:
            whole = (0.0, 0.0, float(grid.size[1]), float(grid.size[0]))
            return [self._grounded(box_rle(whole, grid.size), self.values[self.use].mean(), "coarse", whole)]
        best = self.components[0]
        best_box = grid.box_around(best.cells)
        if self.models.alike is not None:
            beside = [grid.box_around(rival.components[0].cells) for rival in rivals]
            looked = self._looked() if self.drawn is None else []
            places = [mask.box for mask in looked if mask.box != NOWHERE]
            alike = self.models.alike(places[:1] or [best_box], beside)
            masked = [Segmented(one.mask, max(one.score, QUALITY)) for one in alike if one.mask is not None]
            if ranked := self._ranked(masked, "concept"):
                return ranked
        if self.models.segment is not None:
            segmented = self.models.segment(self._prompts(rivals))
            if ranked := self._ranked(segmented, "points"):
                return ranked
        if self.drawn is not None:
            picture = self.drawn.picture
            high = resized(normalised(picture, np.ones(picture.shape, bool)), self._cut_size) >= HALF
            if cut := self._cut(high, "dense"):
                return cut
        box_itself = self._grounded(box_rle(best_box, grid.size), self._mean(best), "box", best_box)
        high = np.nan_to_num(enlarged(grid, self.stretched, self._cut_size)) >= HALF
        return self._stored() or self._cut(high, "coarse") or [box_itself]

    def _looked(self) -> list[GroundedMask]:
        """What the space finds in its own way, where it has a better one than the map; else nothing."""
        looked = [] if self.models.look is None else self.models.look(self.number)
        return [replace(mask, entity=self.number, rung="own") for mask in looked]

    def _prompts(self, rivals: Sequence[_Cascade]) -> list[Prompt]:
        """One prompt a component; peaks of the other components and of other targets are points beside it."""
        peaks = np.array([part.peak for part in self.components] + [rival.peak for rival in rivals])
        prompts = []
        for part in self.components:
            others = peaks[(peaks != part.peak).any(1)]
            prompts.append(prompt_of(part, self.stretched, self.use, self.scene.grid, others))
        return prompts

    def _ranked(self, segmented: Sequence[Segmented], method: Method) -> list[GroundedMask]:
        """The masks that their segmenter is sure of, best first by cosine times quality, none twice."""
        sure = [one for one in segmented if _is_sure(one) and _is_sized(one.mask)]
        cosines = self._cosines([one.mask for one in sure])
        order = sorted(range(len(sure)), key=lambda n: -cosines[n] * min(sure[n].quality, 1.0))
        kept = [order[n] for n in _distinct([sure[n].mask for n in order])]
        return [self._grounded(encode_rle(sure[n].mask), cosines[n], method) for n in kept]

    def _stored(self, *, agreeing: bool = False) -> list[GroundedMask]:
        """Stored regions: the best, and others as near that lie elsewhere.

        Args:
            agreeing: only when the best covers about what the map shows, and of the others those that the map shows.
        """
        scene = self.scene
        if not len(scene.regions):
            return []
        cosines = scene.regions @ self.target.vector
        chosen = select_instances(cosines, scene.scores, scene.score_weight, scene.masks)
        if agreeing:
            shown = self.stretched[self.use] >= HALF
            covered = scene.coverage[:, self.use]
            best = covered[chosen[0]]
            if np.minimum(best, shown).sum() < AGREES * max(np.maximum(best, shown).sum(), EPSILON):
                return []
            chosen[1:] = [n for n in chosen[1:] if covered[n][shown].sum() >= HALF * max(covered[n].sum(), EPSILON)]
        masks = [resize_rle(scene.masks[n], scene.grid.size) for n in chosen]
        return [
            self._grounded(mask, cosines[n], "stored", as_box(scene.boxes[n]))
            for n, mask in zip(chosen, masks, strict=True)
        ]

    def _cut(self, high: BoolMask, method: Method) -> list[GroundedMask]:
        """One mask a component: where a map of the photo is high, at `_cut_size`, and the component is the nearest."""
        grid = self.scene.grid
        grounded = []
        for part in self.components:
            near = np.nan_to_num(enlarged(grid, part.cells.astype(np.float32), self._cut_size)) > 0
            mask: BoolMask = high & near
            if _is_sized(mask):
                grounded.append(self._grounded(resize_rle(encode_rle(mask), grid.size), self._mean(part), method))
        return grounded

    @property
    def _cut_size(self) -> Size:
        """(height, width) at which a map is cut."""
        return fit(self.scene.grid.size, COARSE_SIDE)

    def _mean(self, part: Component) -> float:
        """Of the cosines of a component's cells."""
        return float(self.values[part.cells].mean())

    # --- masks --------------------------------------------------------------------------------

    def _cosines(self, masks: Sequence[BoolMask]) -> Floats:
        """Of each mask with the target: by its own vector where masks can be embedded, else on the grid."""
        if self.models.embed is not None and masks:
            return np.asarray(self.models.embed(masks) @ self.target.vector)
        return self.scene.scores_of(self.scene.grid.coverage(masks), self.target.vector, self.values)

    def _grounded(self, mask: Rle, score: float | np.floating, method: Method, box: Box = NOWHERE) -> GroundedMask:
        """A mask of which nothing has judged whether the thing is there; `box` is used where it has no pixels."""
        tight = box_of_rle(mask)
        return GroundedMask(self.number, mask, box if tight == NOWHERE else tight, float(score), method)


def _box_ious(boxes: Floats, box: Box) -> Floats:
    """(R,) IoU of each of (R, 4) boxes with one box."""
    shared = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    inside = shared.clip(0).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2] - box[0]) * (box[3] - box[1])
    ious: Floats = inside / np.maximum(areas - inside, EPSILON)
    return ious


def _best_first(detected: Sequence[Detected]) -> list[Detected]:
    return sorted(detected, key=lambda one: -one.score)


def _is_sure(segmented: Segmented) -> bool:
    """Whether a segmenter trusts its mask."""
    return segmented.quality >= QUALITY and (segmented.object_score is None or segmented.object_score > 0)


def _is_sized(mask: BoolMask) -> bool:
    """Whether a mask is neither a speck nor the whole photo."""
    return SMALLEST <= float(mask.mean()) <= LARGEST


def _distinct(masks: Sequence[BoolMask], most: int = MOST_MASKS) -> list[int]:
    """Positions of the masks, at most so many, without those that show the same as one before them."""
    areas = [int(mask.sum()) for mask in masks]
    kept: list[int] = []
    for n, mask in enumerate(masks):
        # masks whose areas differ more cannot reach the IoU, and counting pixels of every pair takes long
        near = [m for m in kept if min(areas[n], areas[m]) >= SAME * max(areas[n], areas[m])]
        if len(kept) < most and all(mask_iou(mask, masks[m]) < SAME for m in near):
            kept.append(n)
    return kept
