"""Pictures through the model, so that one that it cannot take costs no other. Never sees a file or a database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import BackendMissing, ModelError, WeightsMissing
from ..interface.protocol import Interface
from ..records import RGB, PhotoEncoding


def encode(interface: Interface, photos: Sequence[RGB]) -> list[PhotoEncoding | Exception]:
    """Encodings in order; when the batch fails, each photo on its own, so that only the bad one is an error.

    Raises:
        WeightsMissing, BackendMissing: the model cannot be used at all.
    """
    if not photos:
        return []
    try:
        return [*_checked(interface, photos)]
    except (WeightsMissing, BackendMissing):
        raise
    except Exception as trouble:  # a model may raise anything; one photo must not take its neighbours with it
        return [trouble] if len(photos) == 1 else [_alone(interface, photo) for photo in photos]


def _alone(interface: Interface, photo: RGB) -> PhotoEncoding | Exception:
    try:
        return _checked(interface, [photo])[0]
    except (WeightsMissing, BackendMissing):
        raise
    except Exception as trouble:
        return trouble


def _checked(interface: Interface, photos: Sequence[RGB]) -> list[PhotoEncoding]:
    encodings = interface.encode_photos(photos)
    if len(encodings) != len(photos):
        raise ModelError(f"the model gave {len(encodings)} encodings for {len(photos)} photos")
    for encoding in encodings:
        if not (np.isfinite(encoding.image).all() and np.isfinite(encoding.regions).all()):
            raise ModelError("the model gave a vector that is not finite")
    return encodings
