"""READ where an interface is expected: it grounds one photo for a query in words, and says that it can do no more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ...errors import InputError, ModelError, WeightsMissing
from ...geometry import box_of, box_rle, encode_rle
from ...models.hub import local
from ...records import NOWHERE, RGB, GroundedMask, PhotoEncoding, QueryEncoding, ResolvedQuery, Space
from ..calibration import Calibration
from ..protocol import Capabilities, Interface
from .loading import checksum
from .model import Read

NAME, RELEASED = "read", "rui-qian/READ-LLaVA-v1.5-7B-for-ReasonSeg-valset"
_HINT = 'interleave-index ground PHOTO "What cuts bread?" --model read'


def is_read(name: str) -> bool:
    """Whether a model's name means READ: ``read``, ``read:FOLDER`` or ``read:OWNER/NAME``.

    >>> is_read("read"), is_read("read:models/READ"), is_read("reader")
    (True, True, False)
    """
    return name == NAME or name.startswith(f"{NAME}:")


class ReadInterface(Interface):
    """READ for `ground` alone; see `capabilities`.

    Args:
        name: see `is_read`; ``read`` alone is the released 7B model, where it was pulled.
        device: as torch names it.
    Raises:
        WeightsMissing: it is not on this machine; the message says how it is got.
    """

    def __init__(self, name: str = NAME, *, device: str = "cpu") -> None:
        wanted = name.partition(":")[2] or RELEASED
        try:
            self._folder = local.find(wanted)
        except WeightsMissing as trouble:
            raise WeightsMissing(
                f"READ is not on this machine ({wanted}); get it, about 17 GB, and its vision tower "
                f"with: interleave-index models pull {RELEASED}, and: interleave-index models pull "
                "openai/clip-vit-large-patch14-336"
            ) from trouble
        self._device = device

    @cached_property
    def _model(self) -> Read:
        return Read(self._folder, device=self._device)

    @property
    def space(self) -> Space:
        """No vectors are ever of it."""
        return Space(NAME, checksum(Path(self._folder)), "READ: one photo at a time", 1)

    @property
    def capabilities(self) -> Capabilities:
        """It only grounds."""
        return Capabilities(encodes=False, photos_at_a_time=1, device=self._device, dtype="float16")

    @property
    def calibration(self) -> Calibration:
        """There is none."""
        raise self._no("has no calibration")

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """READ makes no vectors."""
        raise self._no("makes no vectors of photos")

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """READ makes no vectors."""
        raise self._no("makes no vectors of queries")

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: one question an entity; the rung is ``read``, or ``absent`` where it denies.

        The score is the predicted IoU of the mask, which is no cosine.

        Raises:
            InputError: an entity is a picture.
        """
        size = (int(photo.shape[0]), int(photo.shape[1]))
        found: list[GroundedMask] = []
        for number, part in enumerate(part for part in query if part.role == "entity"):
            if part.kind != "text":
                raise InputError(f"READ reads words only, {part.label} is a picture; leave --model read out for it")
            said = self._model.ask(photo, part.label)
            seen = [(segment.mask, segment.quality) for segment in said.segments if segment.mask.any()]
            found += [
                GroundedMask(number, encode_rle(mask), box_of(mask), quality, "read", True) for mask, quality in seen
            ]
            if not seen:
                found.append(GroundedMask(number, box_rle(NOWHERE, size), NOWHERE, 0.0, "absent", False))
        return found

    def _no(self, what: str) -> ModelError:
        return ModelError(f"READ {what}: it masks what a query means in one photo at a time, as in: {_HINT}")
