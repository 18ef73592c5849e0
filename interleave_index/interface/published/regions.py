"""Which of all the proposals of a photo an index keeps."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...geometry import MASK_LONG_SIDE, fit, unit
from ..find.adapter import SAME_IOU, SMALLEST_AREA, Regions, View, to_array
from ..find.nms import soft_nms
from .preparation import Grow, to_photo

MOST_REGIONS = 100


def distinct_regions(
    view: View, masks: Tensor, quality: Tensor, vectors: Tensor, *, most: int = MOST_REGIONS, first: Grow = "bilinear"
) -> Regions:
    """At most `most` proposals, best first, those of the same pixels once.

    Args:
        masks: (Q, h, w) logits on the padded grid; quality: (Q,), 0 to 1; vectors: (Q, D) of any length.
        first: see `to_photo`.
    """
    shown = to_photo(masks, view, size=fit(view.photo, MASK_LONG_SIDE), first=first) > 0
    rated = to_array(quality)
    kept, scores = soft_nms(shown, rated, most=most, same_iou=SAME_IOU, smallest=SMALLEST_AREA)
    return Regions(shown[kept].cpu().numpy(), unit(to_array(vectors[kept])), np.array(scores, np.float32))
