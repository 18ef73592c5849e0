"""The one judgement: how likely a photo, or an entity in it, is meant. Relevance, presence and cut-off are read here.

Two questions, in this order, because a library may well hold nothing of what is asked:

    anything    1 / (1 + exp(-(a * best + b * sqrt(2 ln n) + c)))   is any of the n photos meant, by the best score
    photo       1 / (1 + exp(-(slope * S + d * best + offset)))     is this photo meant, if any is

The chance that a photo is meant is their product. It rises with the score, so that within one answer nothing is less
likely than what stands below it. A photo counts as meant when both chances reach their bars: `anything` a strict one,
`photo` a generous one; the answer's cut-off is the chance at which that happens, 1 where no photo can reach it.

An entity of a query is judged by its evidence (`score.py`): what it would score as a query of its own, with the curve
of that query. A query that is one entity alone therefore has the same chance for a hit and for its entity.

The curves come with the interface, fitted on labelled training photos, one for each kind of query
(`training/curves.py`); where none were fitted, `library_curves` makes them from what captions in general score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..interface.calibration import Calibration, Curve, QueryKind
from ..records import Floats, ResolvedPart
from .reading import only_frames, words

GenericKind: TypeAlias = QueryKind | Literal["mixed with picture", "mixed with region"]
IMPOSSIBLE = 1.0  # cut-off of an answer in which nothing is meant
_KINDS: dict[str, QueryKind] = {"text": "entity", "picture": "picture", "region": "region"}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one query, or one entity of it, is judged by in one library.

    Attributes:
        curve: of its kind.
        best: score of the best photo of the library.
        anything: chance that any photo of the library is meant.
        fixed: a cut-off that the user set, or None.
    """

    curve: Curve
    best: float
    anything: float
    fixed: float | None = None

    @property
    def cutoff(self) -> float:
        """Chance from which a photo counts as meant; above any chance there is where none does."""
        if self.fixed is not None:
            return self.fixed
        return self.anything * self.curve.bar if self.anything >= self.curve.anything_bar else IMPOSSIBLE

    def chances(self, scores: Floats) -> Floats:
        """Chance that each photo is meant, (n,) float32, 0 to 1, never falling while the score rises."""
        return (self.anything * self.curve.photo(scores, self.best)).astype(np.float32)


def judge(curve: Curve, best: float, count: int, *, fixed: float | None = None) -> Judgement:
    """The judgement over a library.

    Args:
        curve: of the query's kind, see `curve_of`.
        best: score of the best photo.
        count: photos that could have been the best.
        fixed: a cut-off that the user set, or None.
    """
    return Judgement(curve, best, curve.anything(best, count) if count else 0.0, fixed)


def judge_named(curve: Curve, score: float, *, fixed: float | None = None) -> Judgement:
    """The judgement of one photo of this score that the user named: whoever names a photo means it, so the first
    question is moot, and the photo is the best of those that are looked at.
    """
    return Judgement(curve, score, 1.0, fixed)


def curve_of(parts: Sequence[ResolvedPart], calibration: Calibration) -> Curve:
    """The curve of a query: that of captions without entities, else between `mixed` and those of its entities.

    The larger the share of the sentence that stands in brackets, the nearer it is to the entities' curves.
    """
    entities = [part for part in parts if part.role == "entity"]
    if not entities:
        return calibration.curves["caption"]
    share, total = sentence_share(parts), sum(part.weight for part in entities)
    shares: list[tuple[Curve, float]] = []
    for part in entities:
        kind, weight = kind_of_part(part), part.weight / total
        mixed = calibration.mixed_with.get(kind, calibration.curves["mixed"])
        shares += [(mixed, (1 - share) * weight), (calibration.curves[kind], share * weight)]
    return Curve.mixed(shares)


def kind_of_part(part: ResolvedPart) -> QueryKind:
    """The kind of the query that this part would be by itself."""
    return _KINDS[part.kind]


def sentence_share(parts: Sequence[ResolvedPart]) -> float:
    """Share of a query's words that stand in brackets, 0 to 1; a picture counts as one word, negatives do not count.

    Words that only frame the brackets, as in "a photo of a [dog]", do not count either.

    >>> dog = ResolvedPart("entity", "text", "a dog")
    >>> sentence_share([dog]), sentence_share([dog, ResolvedPart("caption", "text", "on a beach")])
    (1.0, 0.4)
    """
    bracketed = sum(_words(part) for part in parts if part.role == "entity")
    captions = [part for part in parts if part.role == "caption"]
    framing = all(only_frames(part.label) for part in captions)
    beside = 0 if framing else sum(map(_words, captions))
    return bracketed / (bracketed + beside) if bracketed else 0.0


def _words(part: ResolvedPart) -> int:
    return len(words(part.label)) if part.kind == "text" else 1


def library_curves(
    scores: Mapping[GenericKind, NDArray[np.floating]], *, worded: bool = True
) -> dict[GenericKind, Curve]:
    """Curves for a space whose interface has none: from what generic queries of each kind score in its own library.

    The shape is that of the curves fitted for find-mini, in standard deviations above the mean of generic scores.
    Captions in general match few photos of a library. Parts of its own photos match many, and would set a level that
    nothing passes: they are judged by the curve of `LIKE`, moved by how much higher they score where neither matches.

    Args:
        scores: by kind (n, q), of q generic queries over n photos; NaN where a photo would meet itself.
        worded: captions and phrases are among them; without any, each kind is judged by itself.
    """
    curves: dict[GenericKind, Curve] = {}
    for kind, generic in scores.items():
        like = LIKE.get(kind, kind) if worded else kind
        deviation = max(float(np.nanstd(scores[like])), SMALLEST_DEVIATION)
        higher = _unmatched(generic) - _unmatched(scores[like])
        curves[kind] = STANDARD.scaled(float(np.nanmean(scores[like])) + higher, deviation)
    return curves


def _unmatched(scores: NDArray[np.floating]) -> float:
    """What photos score for a query that they do not match: the lower quartile, of the median query."""
    asked = scores[:, ~np.isnan(scores).all(axis=0)]
    return float(np.median(np.nanquantile(asked, 0.25, axis=0)))


LIKE: dict[GenericKind, GenericKind] = {"region": "entity", "mixed with region": "mixed", "mixed with picture": "mixed"}
SMALLEST_DEVIATION = 1e-3  # generic queries that score all alike must not make a curve infinitely steep
STANDARD = Curve(
    slope=1.6,
    best_slope=-0.45,
    offset=-3.3,
    bar=0.19,
    anything_slope=1.9,
    anything_size=-2.2,
    anything_offset=0.9,
    anything_bar=0.55,
)
