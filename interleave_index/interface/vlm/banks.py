"""The calibration of an interleaved encoder: the banks of a model without photos with labels, as for dual encoders."""

from __future__ import annotations

import numpy as np

from ...geometry import box_mask
from ...models.batching import Batcher
from ..calibration import Calibration
from ..dual.banks import PICTURES
from ..generic import drawn_pictures, generic_captions
from .encoder import InterleavedEncoder
from .regions import RegionEncoder


def make_calibration(encoder: InterleavedEncoder, regions: RegionEncoder, batcher: Batcher) -> Calibration:
    """Banks in the space of one encoder; one region in the middle of each drawn picture."""
    captions = np.stack(batcher.run([(caption,) for caption in generic_captions()], encoder.encode_sentences))
    images, parts = [], []
    for picture in drawn_pictures(PICTURES):
        height, width = picture.shape[:2]
        middle = box_mask((width / 4, height / 4, 3 * width / 4, 3 * height / 4), (height, width))
        (seen,) = regions.encode([picture], [encoder.pixels.prepare(picture)], [[middle]])
        images.append(seen.image)
        parts.append(seen.regions[0])
    return Calibration(
        captions=captions, phrases=captions, pictures=np.stack(images), regions=np.stack(parts), stand_in=True
    )
