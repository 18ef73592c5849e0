"""What turns scores into chances: banks of vectors that mean nothing in particular, and fitted curves.

Knows arrays only. What a chance decides stands in `query.judgement`, how curves are fitted by `tools/fit_curves.py`.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..records import Floats

BANKS = ("captions", "phrases", "pictures", "regions")
QueryKind: TypeAlias = Literal["caption", "mixed", "entity", "picture", "region"]
UNSAID_WEIGHT = 3.0  # `Calibration.score_weight` before it was kept, see `Calibration.from_bytes`
KINDS: tuple[QueryKind, ...] = ("caption", "mixed", "entity", "picture", "region")


@dataclass(frozen=True, slots=True)
class Curve:
    """Two logistic curves over scores: whether a library holds anything that is meant, and whether a photo is meant.

    Attributes:
        slope, best_slope, offset: of the photo's score, slope above 0; of the library's best score, for a photo far
            below the best is less likely meant; and the constant.
        bar: chance from which a photo counts as meant.
        anything_slope, anything_size, anything_offset: of the best score, of `spread_of` the photos, and the constant.
        anything_bar: chance from which a library counts as holding something that is meant.
    """

    slope: float
    offset: float
    bar: float
    anything_slope: float
    anything_size: float
    anything_offset: float
    anything_bar: float
    best_slope: float = 0.0

    @property
    def middle(self) -> float:
        """The score at which a photo just reaches its bar, in a library of `TYPICAL` photos whose best just does."""
        best = (
            _log_odds(self.anything_bar) - self.anything_size * spread_of(TYPICAL) - self.anything_offset
        ) / self.anything_slope
        return (_log_odds(self.bar) - self.offset - self.best_slope * best) / self.slope

    def photo(self, scores: Floats, best: float | Floats) -> NDArray[np.float64]:
        """Chance that each photo is meant, if any of the library is, of which the best scores `best`."""
        return _logistic(self.slope * np.asarray(scores, np.float64) + self.best_slope * np.asarray(best) + self.offset)

    def anything(self, best: float, count: int) -> float:
        """Chance that any of `count` photos (1 or more) is meant, of which the best scores `best`."""
        value = self.anything_slope * best + self.anything_size * spread_of(count) + self.anything_offset
        return float(_logistic(np.array(value)))

    def scaled(self, middle: float, deviation: float) -> Curve:
        """The curve for scores s where this one is meant for (s - middle) / deviation."""
        return replace(
            self,
            slope=self.slope / deviation,
            best_slope=self.best_slope / deviation,
            offset=self.offset - (self.slope + self.best_slope) * middle / deviation,
            anything_slope=self.anything_slope / deviation,
            anything_offset=self.anything_offset - self.anything_slope * middle / deviation,
        )

    @classmethod
    def mixed(cls, shares: Sequence[tuple[Curve, float]]) -> Curve:
        """The mean of curves, constant by constant, by shares that add up to 1."""
        return cls(
            **{name.name: sum(share * getattr(curve, name.name) for curve, share in shares) for name in fields(cls)}
        )


TYPICAL = 500  # photos of a library


def _log_odds(chance: float) -> float:
    return math.log(chance / (1 - chance))


def spread_of(count: int) -> float:
    """How many deviations the best of `count` photos stands above the mean where none is meant, as for a bell curve."""
    return math.sqrt(2 * math.log(count))


def _logistic(value: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(value, -500, 500)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns a score into a chance: banks that mean nothing in particular, and fitted curves.

    Attributes:
        captions: (G, D) float32, legends of generic captions; their mean centres sentences.
        phrases: (G, D) float32, the same captions as entities; their mean centres entities.
        pictures: (P, D) float32, image vectors of pictures of many kinds.
        regions: (P, D) float32, region vectors of the same pictures.
        curves: by kind of query; empty where none were fitted, then the library's own photos stand in.
        score_weight: how much the score of a region counts beside its cosine when regions answer an entity, in
            standard deviations of the photo's cosines; 0 where scores say nothing of that.
        stand_in: the banks of pictures and regions are drawn ones, because the model came without any: the photos of a
            library are better than they.
        mixed_with: the curve of a caption with a picture or a part of one in it, by the kind of that, where curves
            were made of a library; empty where they were fitted, then it is that of every mixture.
    """

    captions: Floats
    phrases: Floats
    pictures: Floats
    regions: Floats
    curves: dict[QueryKind, Curve] = field(default_factory=dict)
    stand_in: bool = False
    score_weight: float = 0.0
    mixed_with: dict[QueryKind, Curve] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The calibration as an npz file, as an index keeps it for its space; banks in half precision."""
        banks = {name: getattr(self, name).astype(np.float16) for name in BANKS}
        constants = {
            "fitted": {kind: asdict(curve) for kind, curve in self.curves.items()},
            "stand_in": self.stand_in,
            "score_weight": self.score_weight,
        }
        file = io.BytesIO()
        np.savez_compressed(file, curves=np.array(json.dumps(constants)), **banks)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Calibration:
        """What `to_bytes` made; nothing in it is ever unpickled. Constants of an older form count as not fitted."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            constants = json.loads(str(file["curves"]))
            banks = {name: file[name].astype(np.float32) for name in BANKS}
        stand_in = bool(constants.get("stand_in", False))
        # Indexes kept no weight at first. Banks that are no stand-in are those of find-mini, whose scores counted then
        # what they count now; every other model has stand-ins and counts none. So a query ranks the regions alike
        # whether its model was built for it or not.
        unsaid = 0.0 if stand_in else UNSAID_WEIGHT
        return cls.of_banks(
            banks,
            read_curves(constants.get("fitted", {})),
            stand_in=stand_in,
            score_weight=float(constants.get("score_weight", unsaid)),
        )

    @classmethod
    def of_banks(
        cls,
        banks: dict[str, Floats],
        curves: dict[QueryKind, Curve] | None = None,
        *,
        stand_in: bool = False,
        score_weight: float = 0.0,
    ) -> Calibration:
        """From banks by name, of which others are not looked at."""
        captions, phrases, pictures, regions = (banks[name] for name in BANKS)
        return cls(captions, phrases, pictures, regions, curves or {}, stand_in, score_weight)


def read_curves(constants: dict[str, dict[str, float]]) -> dict[QueryKind, Curve]:
    """Curves from plain JSON values, by kind.

    Raises:
        KeyError, TypeError: a kind is missing, or a curve has other constants.
    """
    return {kind: Curve(**constants[kind]) for kind in KINDS} if constants else {}
