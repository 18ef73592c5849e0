"""READ where an interface is expected: it grounds one photo for a query in words, and does nothing else."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch

from ...errors import InputError, ModelError, WeightsMissing
from ...geometry import box_of, box_rle, encode_rle, size_of
from ...models.hub import local
from ...records import NOWHERE, RGB, GroundedMask, ResolvedQuery, Space
from ..only_grounds import GroundingInterface
from .loading import checksum
from .model import Read
from .prompts import question_of

RELEASED = "rui-qian/READ-LLaVA-v1.5-7B-for-ReasonSeg-valset"


def locate(named: str = "") -> Path:
    """Folder of READ by folder or hub name; by neither, of the released 7B model.

    Raises:
        WeightsMissing: it is not on this machine; the message explains how to get it.
    """
    try:
        return local.find(named or RELEASED)
    except WeightsMissing as error:
        raise WeightsMissing(
            f"READ is not on this machine ({named or RELEASED}); get it, about 17 GB, and its vision tower "
            f"with: interleave-index models pull {RELEASED}, and: interleave-index models pull "
            "openai/clip-vit-large-patch14-336"
        ) from error


class ReadInterface(GroundingInterface):
    """READ for `ground` alone; see `capabilities`.

    Args:
        folder: as released, see `loading.load_parts`.
        device: as torch names it.
        dtype: ``auto``, which is bfloat16 as released, ``float32``, ``bfloat16`` or ``float16``.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        super().__init__(device, "bfloat16" if dtype == "auto" else dtype)
        self._folder = folder

    @cached_property
    def model(self) -> Read:
        """READ itself, loaded when it is first asked."""
        with local.damage_in_words(str(self._folder)):
            kind = getattr(torch, self.capabilities.dtype)
            return Read.load(self._folder, device=self.capabilities.device, dtype=kind)

    @property
    def space(self) -> Space:
        """No vectors are ever of it."""
        return Space("read", checksum(self._folder), "READ: one photo at a time", 1)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: one question an entity; the rung is ``read``, or ``absent`` where it denies.

        The photo is read once for all of them, and for the queries that follow. The score is the predicted IoU of the
        mask, which is no cosine.

        Raises:
            InputError: an entity is a picture.
        """
        size = size_of(photo)
        grounded: list[GroundedMask] = []
        entities = [part for part in query if part.role == "entity"]
        for part in entities:
            if part.kind != "text":
                raise InputError(f"READ reads words only, {part.label} is a picture; leave --model read out for it")
        answers = self.model.answer(photo, [question_of(part.label) for part in entities])
        for number, answer in enumerate(answers):
            segments = [one for one in answer.segments if one.mask.any()]
            for one in segments:
                grounded.append(GroundedMask(number, encode_rle(one.mask), box_of(one.mask), one.quality, "read", True))
            if not segments:
                grounded.append(GroundedMask(number, box_rle(NOWHERE, size), NOWHERE, 0.0, "absent", False))
        return grounded

    def _error(self, what: str) -> ModelError:
        return ModelError(
            f"READ {what}: it masks what a query means in one photo at a time, as in: "
            'interleave-index ground PHOTO "What cuts bread?" --model read'
        )
