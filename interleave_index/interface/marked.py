"""The mask behind what a user marked in a photo: points on a thing and beside it, a box around it, a stroke on it.

For models that have no way of their own: of the masks that they make anyway, the one that the marks mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..geometry import box_mask, box_of, encode_rle, mask_iou, resize_mask
from ..records import RGB, BoolMask, Floats, GroundedMask, ResolvedPart

METHOD = "marked"  # of a mask that was asked for by marks
MOSTLY = 0.5  # share of the marked pixels that a mask must hold, and of those beside the thing that it must not


def meant_by(part: ResolvedPart, masks: Sequence[BoolMask]) -> int | None:
    """Position of the mask that marks mean; None where none of them holds a marked pixel.

    A box means the mask whose own box fits it best. Points and strokes mean the first mask that holds most of them and
    little of what is marked as beside it; where there is none, the one that holds most of them and least of that.

    Args:
        part: with its mask, and pixels beside the thing or None.
        masks: (h, w) each, of any size in the photo's aspect, the better drawn ones first.
    """
    if part.mask is None or not masks:
        return None
    if part.prompt is not None and part.prompt.box is not None:
        fits = [mask_iou(_box_of(mask, part.mask), part.mask) for mask in masks]
        best = int(np.argmax(fits))
        return best if fits[best] > 0 else None
    held = _shares(part.mask, masks)
    beside = np.zeros(len(masks)) if part.background is None else _shares(part.background, masks)
    good = np.flatnonzero((held > MOSTLY) & (beside < MOSTLY))
    if len(good):
        return int(good[0])
    worth = np.where(held > 0, held - beside, -np.inf)
    return int(worth.argmax()) if (held > 0).any() else None


def marks_of(photo: RGB, parts: Sequence[ResolvedPart]) -> tuple[list[BoolMask], list[BoolMask] | None]:
    """(H, W) masks of what each part marks on a photo, and of what it marks as not meant; None where no part does."""
    nothing = np.zeros(photo.shape[:2], bool)
    marks = [nothing if part.mask is None else part.mask for part in parts]
    beside = [nothing if part.background is None else part.background for part in parts]
    return marks, beside if any(mask.any() for mask in beside) else None


def grounded(number: int, part: ResolvedPart, mask: BoolMask | None, score: float) -> GroundedMask:
    """The answer to marks: they say that something is there, so it is; without any mask, the marked pixels themselves.

    Args:
        number: position of the part among those that were asked.
        mask: of the photo's size, or None.
        score: how good the mask is, 0 to 1.
    """
    if part.mask is None:
        raise TypeError("a part that nobody marked has no marks")
    shown, score = (part.mask, 0.0) if mask is None or not mask.any() else (mask, score)
    return GroundedMask(number, encode_rle(shown), box_of(shown), score, METHOD, True)


def by_masks(parts: Sequence[ResolvedPart], masks: Sequence[BoolMask], scores: Floats) -> list[GroundedMask]:
    """What each marked part means among masks of one photo, best drawn first, with their (n,) scores."""
    answers = []
    for number, part in enumerate(parts):
        best = meant_by(part, masks)
        if best is None or part.mask is None:
            answers.append(grounded(number, part, None, 0.0))
        else:
            size = (part.mask.shape[0], part.mask.shape[1])
            answers.append(grounded(number, part, resize_mask(masks[best], size), float(scores[best])))
    return answers


def _box_of(mask: BoolMask, marked: BoolMask) -> BoolMask:
    """The box of a mask, filled, at the size of what is marked."""
    size = (marked.shape[0], marked.shape[1])
    return box_mask(box_of(resize_mask(mask, size)), size)


def _shares(marked: BoolMask, masks: Sequence[BoolMask]) -> Floats:
    """(n,) share of the marked pixels that lie in each mask."""
    size = (marked.shape[0], marked.shape[1])
    count = max(int(marked.sum()), 1)
    return np.array([resize_mask(mask, size)[marked].sum() / count for mask in masks], np.float32)
