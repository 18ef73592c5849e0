"""Fits the curves of the judgement (`query/judgement.py`) on labelled photos, through the interface that a search asks.

Questions of every kind are put to small and large libraries drawn from the photos, some of which hold what is meant and
some of which do not. A library's best score tells how likely anything in it is meant; the scores in libraries that hold
the thing tell how likely a photo is. The bars are set for both errors: the best F1 over photos among those bars that
claim at most `FALSE_CLAIMS` of the things that are not there.

Things that are not there are names of other photos, which no photo of the library is annotated for or captioned with.
Pictures and parts, which no name stands for, are asked of the same library without its right photos.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ShapeError
from ..evaluation.judged_questions import Question
from ..evaluation.library import asked, encode_library
from ..evaluation.packs import PackPhoto
from ..evaluation.progress import Progress
from ..interface.calibration import KINDS, Curve, QueryKind, spread_of
from ..interface.protocol import Interface
from ..records import BoolMask, Floats
from .logistic import logistic_regression
from .questions import calibration_questions

SIZES = (20, 60, 200, 700)  # photos of a drawn library
DRAWS = 2  # libraries of each size
FEWEST = 8  # photos of a library that are annotated for a question
FALSE_CLAIMS = 0.1  # share of absent things that may be claimed; of photos that training never saw some more are
MIXED_CLAIMS = 0.25  # of mixtures: longer sentences are rarely claimed by chance, and seldom asked of nothing
NAMELESS: tuple[QueryKind, ...] = ("picture", "region")  # kinds that are asked without their right photos too
RIDGE = 1e-5  # keeps the slopes finite where scores part right and wrong wholly
SMALLEST_BAR = 1e-3  # a bar of 0 or 1 has no odds
PHOTO_BARS = np.geomspace(0.01, 0.6, 40)


@dataclass(frozen=True, slots=True)
class Draws:
    """Scores of photos in drawn libraries, M pairs of a library and a photo.

    Attributes:
        library: (M,) int64, rising, which library of L.
        score: (M,) float32.
        right: (M,) bool.
        best, size: (L,) best score and number of photos of each library.
        holds: (L,) bool, whether any of its photos is right.
    """

    library: NDArray[np.int64]
    score: Floats
    right: BoolMask
    best: Floats
    size: NDArray[np.int64]
    holds: BoolMask

    @classmethod
    def of(cls, libraries: Sequence[tuple[Floats, BoolMask]]) -> Draws:
        """From scores and right photos of each library."""
        sizes = [len(scores) for scores, _ in libraries]
        return cls(
            library=np.repeat(np.arange(len(libraries)), sizes),
            score=np.concatenate([scores for scores, _ in libraries]),
            right=np.concatenate([right for _, right in libraries]),
            best=np.array([scores.max() for scores, _ in libraries], np.float32),
            size=np.array(sizes),
            holds=np.array([right.any() for _, right in libraries]),
        )


def calibrate(
    interface: Interface,
    photos: Sequence[PackPhoto],
    *,
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> dict[QueryKind, Curve]:
    """Curves of every kind of query.

    Args:
        interface: whose scores they are for.
        photos: of training packs; the more of them the interface never saw, the better.
        seed: of the libraries that are drawn.
        progress: called with what is being done, how many are done, and of how many.
    Raises:
        ShapeError: the photos are too few to ask a kind of question.
    """
    library = encode_library(photos, interface, progress)
    by_kind = calibration_questions(photos)
    curves: dict[QueryKind, Curve] = {}
    for kind in KINDS:
        questions = by_kind[kind]
        queries = (asked(*question.query().parts) for question in questions)
        scores = library.totals(queries, len(questions), f"{kind} questions", progress)
        draws = draw(scores, questions, without_right=kind in NAMELESS, seed=seed)
        curves[kind] = fit(draws, MIXED_CLAIMS if kind == "mixed" else FALSE_CLAIMS)
    return curves


def draw(scores: Floats, questions: Sequence[Question], *, without_right: bool, seed: int = 0) -> Draws:
    """Libraries of several sizes, and each question asked of them.

    Args:
        scores: (Q, N) of every question for every photo.
        questions: Q of them.
        without_right: ask every question of the same libraries without its right photos too. Else it is asked only of
            libraries that hold what is meant, or of all where nothing is meant.
    Raises:
        ShapeError: no library holds enough photos that are annotated for a question.
    """
    rng = np.random.default_rng(seed)
    libraries: list[tuple[Floats, BoolMask]] = []
    total = scores.shape[1]
    for size in sorted({min(size, total) for size in SIZES}):
        for _ in range(DRAWS if size < total else 1):
            drawn = np.zeros(total, bool)
            drawn[rng.choice(total, size, replace=False)] = True
            for row, question in zip(scores, questions, strict=True):
                named = question.named
                here = drawn[named.photos]
                own, right = row[named.photos[here]], named.right[here]
                if len(own) < FEWEST or right.all():
                    continue
                if right.any() or not named.right.any():
                    libraries.append((own, right))
                if right.any() and without_right:
                    libraries.append((own[~right], right[~right]))
    if not libraries:
        raise ShapeError(
            f"{len(questions)} questions over {total} photos give no library to fit on, "
            f"expected questions with at least {FEWEST} annotated photos"
        )
    return Draws.of(libraries)


def fit(draws: Draws, false_claims: float = FALSE_CLAIMS) -> Curve:
    """The curve of one kind, from libraries with and without the thing, of which `false_claims` may be claimed.

    Raises:
        ShapeError: all libraries hold the thing or none does, or scores do not rise with what is right.
    """
    of_photos = draws.holds[draws.library]
    right = draws.right[of_photos]
    for examples in (draws.holds, right):
        if examples.all() or not examples.any():
            raise ShapeError(f"fit got {len(examples)} examples of one class, expected both")
    absent, spread = ~draws.holds, np.array([spread_of(int(count)) for count in draws.size])
    growth = 0.0  # of the best score where nothing is meant, with the size of the library
    if np.ptp(spread[absent]) > 0:
        growth = float(np.polyfit(spread[absent], draws.best[absent], 1)[0])
    lifted = draws.best - growth * spread
    halves = np.where(draws.holds, 0.5 / draws.holds.sum(), 0.5 / absent.sum())  # both classes count half
    a, c = logistic_regression(lifted[:, None], draws.holds, ridge=RIDGE, weight=halves).tolist()
    inputs = np.stack([draws.score, draws.best[draws.library]], 1)[of_photos]
    slope, best_slope, offset = logistic_regression(inputs, right, ridge=RIDGE).tolist()
    if min(a, slope, slope + best_slope) <= 0:
        raise ShapeError(
            f"slopes of the fit are {a:.3g}, {slope:.3g} and {best_slope:.3g}, "
            "expected scores that rise with what is right"
        )
    return _with_bars(Curve(slope, offset, 0.5, a, -a * growth, c, 0.5, best_slope), draws, false_claims)


def _with_bars(curve: Curve, draws: Draws, false_claims: float) -> Curve:
    """The most generous bar of `anything` that claims at most `false_claims` of the absent things, and the bar of
    photos with the best F1 over right photos behind it. Neither is more generous than it has to be: scores that part
    wholly leave a gap, and the bars stand in it.
    """
    pairs = zip(draws.best.tolist(), draws.size.tolist(), strict=True)
    anything = np.array([curve.anything(best, size) for best, size in pairs])
    photo = curve.photo(draws.score, draws.best[draws.library])
    needed = min(0.5, float(anything[draws.holds].min()))
    anything_bar = max(needed, float(np.quantile(anything[~draws.holds], 1 - false_claims)))
    claiming = (anything >= anything_bar)[draws.library]
    claimed, hits = _at_least(photo[claiming]), _at_least(photo[claiming & draws.right])
    f1 = 2 * hits / np.maximum(claimed + int(draws.right.sum()), 1)
    best = np.flatnonzero(f1 == f1.max())
    anything_bar = float(np.clip(anything_bar, SMALLEST_BAR, 1 - SMALLEST_BAR))
    return replace(curve, bar=float(PHOTO_BARS[best[len(best) // 2]]), anything_bar=anything_bar)


def _at_least(chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the chances reach each of `PHOTO_BARS`."""
    return len(chances) - np.searchsorted(np.sort(chances), PHOTO_BARS)
