"""The one seam between models and the rest: what an interface must be able to do.

Knows the records only. It does not know torch, files, SQL, or which models exist.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..records import RGB, Floats, GroundedMask, PhotoEncoding, QueryEncoding, ResolvedQuery, Space

BANKS = ("captions", "phrases", "pictures", "regions")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns a score into a relevance: a bank of queries that mean nothing in particular, and fitted constants.

    A photo's score is standardised against the scores that this photo gets from the bank of the
    same kind, then ``relevance = 1 / (1 + exp(-(slope * z + offset)))``.

    Attributes:
        captions: (G, D) float32, legends of generic captions.
        phrases: (G, D) float32, entity vectors of the same captions.
        pictures: (P, D) float32, image vectors of pictures of many kinds.
        regions: (P, D) float32, region vectors of the same pictures.
        slope, offset: per kind of query: ``caption``, ``entity``, ``picture``.
        cutoff: relevance under which a hit is unlikely to be meant.
        stand_in: the banks of pictures and regions are drawn ones, because the model came without any: the photos of a
            library are better than they.
    """

    captions: Floats
    phrases: Floats
    pictures: Floats
    regions: Floats
    slope: dict[str, float]
    offset: dict[str, float]
    cutoff: float = 0.5
    stand_in: bool = False

    def to_bytes(self) -> bytes:
        """The calibration as an npz file, as an index keeps it for its space; banks in half precision."""
        banks = {name: getattr(self, name).astype(np.float16) for name in BANKS}
        told = {"slope": self.slope, "offset": self.offset, "cutoff": self.cutoff}
        curves = json.dumps({**told, "stand_in": True} if self.stand_in else told)
        file = io.BytesIO()
        np.savez_compressed(file, curves=np.array(curves), **banks)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Calibration:
        """What `to_bytes` made; nothing in it is ever unpickled."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            curves = json.loads(str(file["curves"]))
            captions, phrases, pictures, regions = (file[name].astype(np.float32) for name in BANKS)
        return cls(captions, phrases, pictures, regions, curves["slope"], curves["offset"], curves["cutoff"],
                   curves.get("stand_in", False))


class Interface(Protocol):
    """Photos and queries into one space, and a second look at one photo.

    One that runs best on large batches may also have an attribute `photos_at_a_time`; an ingest gives it as many, as
    far as they fit into one transaction.
    """

    @property
    def space(self) -> Space:
        """What may be compared with what."""

    @property
    def calibration(self) -> Calibration:
        """The null banks and constants behind the relevance of a hit."""

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """Encode upright photos of any sizes, in order; an empty sequence gives an empty list."""

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """One vector for the whole sentence, one per entity, one per negative.

        Negatives take no part in the legend. Parts without pixels must carry a stored vector.
        """

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """A second, exact look at one photo: at least one mask for every entity (negatives not counted)."""
