"""The calibration of an encoder of a hub: banks of generic captions and drawn pictures, made once, kept on the disk.

No photos with labels come with a checkpoint, so that no curves are fitted: they are made from what generic queries
score in the library that is searched, and a library's own photos replace the drawn pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from ...geometry import box_mask
from ...models.hub import local
from ...records import RGB, BoolMask, Floats, Space
from ...whole_files import replaced
from ..calibration import Calibration
from ..generic import drawn_pictures, generic_captions

PICTURES = 32


def calibration_of(space: Space, make: Callable[[], Calibration]) -> Calibration:
    """The calibration that is kept for a space, or a new one, which is kept where that is possible."""
    identity = "\n".join([repr(space), str(PICTURES), *generic_captions()])
    file = local.home() / "banks" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.npz"
    try:
        return Calibration.from_bytes(file.read_bytes())
    except (OSError, ValueError, KeyError):
        data = make().to_bytes()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as draft:
            draft.write_bytes(data)
    except OSError:  # a home that cannot be written to costs time and nothing else
        pass
    return Calibration.from_bytes(data)


def make_calibration(captions: Floats, seen: Callable[[RGB, BoolMask], tuple[Floats, Floats]]) -> Calibration:
    """Banks in the space of one encoder; one region in the middle of each drawn picture.

    Args:
        captions: (N, D) unit vectors of the generic captions.
        seen: the (D,) unit vectors of a picture and of the part of it under a mask.
    """
    images, parts = [], []
    for picture in drawn_pictures(PICTURES):
        height, width = picture.shape[:2]
        middle = box_mask((width / 4, height / 4, 3 * width / 4, 3 * height / 4), (height, width))
        image, part = seen(picture, middle)
        images.append(image)
        parts.append(part)
    return Calibration(
        captions=captions, phrases=captions, pictures=np.stack(images), regions=np.stack(parts), stand_in=True
    )
