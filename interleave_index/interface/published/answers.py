"""What the published model is asked with and what it answers: plain records of tensors and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ...records import BoolMask, Floats
from ..find.adapter import View


@dataclass(frozen=True, slots=True)
class MaskAnswer:
    """The mask of one expression or entity.

    Attributes:
        mask: (H, W) bool of the photo, logit above 0.
        score: what it was chosen by: scaled cosine of an expression, raw dot of an entity.
        cosine: of what was asked with the proposal, in the space where it was chosen, -1 to 1.
    """

    mask: BoolMask
    score: float
    cosine: float


def mask_answers(masks: Tensor, scores: Sequence[float], cosines: Sequence[float]) -> list[MaskAnswer]:
    """Answers of (n, H, W) mask logits in pixels of the photo, with what each was chosen by."""
    shown = (masks > 0).cpu().numpy()
    return [MaskAnswer(*one) for one in zip(shown, scores, cosines, strict=True)]


@dataclass(frozen=True, slots=True)
class Example:
    """A visual entity: the view of its photo, the mask of the part, (H, W) bool, and pixels that are not meant."""

    view: View
    mask: BoolMask
    background: BoolMask | None = None


@dataclass(frozen=True, slots=True)
class Interaction:
    """Answer of one round of clicks.

    Attributes:
        masks: (n, H, W) bool of the photo.
        logits: (1, n, h, w) on the stride-4 grid; `previous` of the next round.
    """

    masks: BoolMask
    logits: Tensor


@dataclass(frozen=True, slots=True)
class InterleavedQuery:
    """Vectors of one sentence with entities, not of unit length.

    Attributes:
        legend: (D,), the whole sentence.
        entities: (E, D), one a text or visual entity; E may be 0.
    """

    legend: Floats
    entities: Floats
