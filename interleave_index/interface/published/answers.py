"""What the published model is asked with and what it answers: plain records of tensors and arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ...records import BoolMask
from .preparation import View


@dataclass(frozen=True, slots=True)
class Proposals:
    """All proposals of one photo.

    Attributes:
        image: (D,) image vector; vectors: (Q, D) semantic vectors; neither of unit length.
        logits: (Q, K + 1) class logits, background last.
        masks: (Q, h, w) logits on the stride-4 grid of the padded input; see `view.to_photo`.
    """

    image: Tensor
    vectors: Tensor
    logits: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True)
class Found:
    """The mask of one expression, entity or prompt.

    Attributes:
        mask: (H, W) bool of the photo, logit above 0.
        score: what it was chosen by: scaled cosine of an expression, raw dot of an entity or prompt.
        cosine: of what was asked with the proposal, in the space where it was chosen, -1 to 1.
    """

    mask: BoolMask
    score: float
    cosine: float


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

    masks: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    logits: Tensor
