"""Fits the curves of the judgement (`query/judgement.py`) on labelled photos, through the interface that a search asks.

Questions of every kind are put to small and large libraries drawn from the photos, some of which hold what is meant and
some of which do not. A library's best score tells how likely anything in it is meant; the scores in libraries that hold
the thing tell how likely a photo is. The bars are set for both errors: the best F1 over photos among those bars that
claim at most `FALSE_CLAIMS` of the things that are not there.

Things that are not there are names of other photos, which no photo of the library is annotated for or captioned with.
Pictures and parts, which no name stands for, are asked of the same library without its right photos.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from ..errors import ShapeError
from ..evaluation.annotations import class_name, closed_lists, masked, thing_areas, thing_names
from ..evaluation.library import asked, encode_library, totals
from ..evaluation.packs import PackPhoto
from ..evaluation.progress import Progress
from ..evaluation.words import mentions, with_article
from ..interface.calibration import KINDS, Curve, QueryKind, spread_of
from ..interface.protocol import Interface
from ..records import BoolMask, Entity, Floats, Picture, ResolvedQuery, Rle

SIZES = (20, 60, 200, 700)  # photos of a drawn library
DRAWS = 2  # libraries of each size
FEWEST = 8  # photos of a library that are annotated for a question
FALSE_CLAIMS = 0.1  # share of absent things that may be claimed; of photos that training never saw some more are
MIXED_CLAIMS = 0.25  # of mixtures: longer sentences are rarely claimed by chance, and seldom asked of nothing
VISIBLE = 0.01  # share of the photo from which on a thing counts as shown; smaller ones are left out
MOST_QUESTIONS = 600  # of each kind
TOGETHER = 4  # photos that show two things of a pair, at least
MOST_PAIRS = 250
MOST_OF_A_NAME = 4  # pictures and parts that stand for one name
RIDGE = 1e-4
SMALLEST_BAR = 1e-3  # a bar of 0 or 1 has no odds
PHOTO_BARS = np.geomspace(0.01, 0.6, 40)


@dataclass(frozen=True, slots=True)
class Question:
    """One query, the photos that are annotated for it, and which of those are right.

    `without` asks it once more of the same libraries without the right photos.
    """

    query: Callable[[], ResolvedQuery]
    photos: NDArray[np.int64]
    right: BoolMask
    without: bool = True


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
        progress: is told what is being done, how many are done, and of how many.
    Raises:
        ShapeError: the photos are too few to ask a kind of question.
    """
    library = encode_library(photos, interface, progress)
    asking = _questions(library.photos)
    curves: dict[QueryKind, Curve] = {}
    for kind in KINDS:
        some = _spread(asking[kind])
        scores = totals(
            library, interface, (question.query() for question in some), f"{kind} questions", progress, count=len(some)
        )
        curves[kind] = fit(draw(scores, some, seed=seed), MIXED_CLAIMS if kind == "mixed" else FALSE_CLAIMS)
    return curves


def fit(draws: Draws, false_claims: float = FALSE_CLAIMS) -> Curve:
    """The curve of one kind, from libraries with and without the thing, of which `false_claims` may be claimed.

    Raises:
        ShapeError: all libraries hold the thing or none does, or scores do not rise with what is right.
    """
    absent, size = ~draws.holds, np.array([spread_of(int(count)) for count in draws.size])
    growth = 0.0  # of the best score where nothing is meant, with the size of the library
    if absent.any() and np.ptp(size[absent]) > 0:
        growth = float(np.polyfit(size[absent], draws.best[absent], 1)[0])
    lifted = draws.best - growth * size
    a, c = logistic_regression(np.stack([lifted, np.ones(len(lifted))], 1), draws.holds, even=True)
    held = draws.holds[draws.library]
    inputs = np.stack([draws.score, draws.best[draws.library], np.ones(len(draws.score))], 1)
    slope, best_slope, offset = logistic_regression(inputs[held], draws.right[held])
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
    anything, photo = _chances(curve, draws)
    needed = min(0.5, float(anything[draws.holds].min()))
    anything_bar = max(needed, float(np.quantile(anything[~draws.holds], 1 - false_claims)))
    open_ = (anything >= anything_bar)[draws.library]
    claimed, hits = (_at_least(photo[open_ & chosen]) for chosen in (np.ones_like(open_), draws.right))
    f1 = 2 * hits / np.maximum(claimed + int(draws.right.sum()), 1)
    equal = np.flatnonzero(f1 == f1.max())
    anything_bar = float(np.clip(anything_bar, SMALLEST_BAR, 1 - SMALLEST_BAR))
    return replace(curve, bar=float(PHOTO_BARS[equal[len(equal) // 2]]), anything_bar=anything_bar)


def _at_least(chances: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of the chances reach each of `PHOTO_BARS`."""
    return len(chances) - np.searchsorted(np.sort(chances), PHOTO_BARS)


def _chances(curve: Curve, draws: Draws) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    anything = np.array(
        [curve.anything(float(best), int(size)) for best, size in zip(draws.best, draws.size, strict=True)]
    )
    return anything, curve.photo(draws.score, draws.best[draws.library])


def draw(scores: Floats, questions: Sequence[Question], *, seed: int = 0) -> Draws:
    """Libraries of several sizes, each question asked of those with and without what it means.

    Args:
        scores: (Q, N) of every question for every photo.
        questions: Q of them.
    Raises:
        ShapeError: no library holds enough photos that are annotated for a question.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[Floats, BoolMask]] = []
    total = scores.shape[1]
    for size in sorted({min(size, total) for size in SIZES}):
        for _ in range(DRAWS if size < total else 1):
            drawn = np.zeros(total, bool)
            drawn[rng.choice(total, size, replace=False)] = True
            for row, question in zip(scores, questions, strict=True):
                here = drawn[question.photos]
                some, right = question.photos[here], question.right[here]
                if len(some) < FEWEST or right.all():
                    continue
                if right.any() or not question.right.any():
                    found.append((row[some], right))
                if right.any() and question.without:
                    found.append((row[some[~right]], np.zeros(int((~right).sum()), bool)))
    if not found:
        raise ShapeError(
            f"{len(questions)} questions over {total} photos give no library to fit on, "
            f"expected questions with at least {FEWEST} annotated photos"
        )
    counts = [len(some) for some, _ in found]
    return Draws(
        library=np.repeat(np.arange(len(found)), counts),
        score=np.concatenate([some for some, _ in found]),
        right=np.concatenate([right for _, right in found]),
        best=np.array([some.max() for some, _ in found], np.float32),
        size=np.array(counts),
        holds=np.array([right.any() for _, right in found]),
    )


def logistic_regression(inputs: NDArray[np.floating], right: BoolMask, *, even: bool = False) -> list[float]:
    """Weights that make 1 / (1 + exp(-inputs @ weights)) the likeliest chances of what is right.

    Args:
        inputs: (n, k); a column of ones where a constant is wanted.
        right: (n,) bool, both values.
        even: both classes count half, however many examples each has.
    Raises:
        ShapeError: only one class.

    >>> inputs = np.array([[-2.0, 1], [-1, 1], [1, 1], [2, 1]])
    >>> slope, offset = logistic_regression(inputs, np.array([0, 0, 1, 1], bool))
    >>> slope > 1, abs(round(offset, 3))
    (True, 0.0)
    """
    if not (right.any() and (~right).any()):
        raise ShapeError(f"fit got {len(right)} examples of one class, expected both")
    weight = np.where(right, 0.5 / right.sum(), 0.5 / (~right).sum()) if even else np.full(len(right), 1 / len(right))
    scale = np.maximum(np.abs(inputs).mean(0), 1e-9)
    columns, sign = (inputs / scale).astype(np.float64), np.where(right, 1.0, -1.0)

    def loss(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (columns @ theta)
        wrong = 1 / (1 + np.exp(np.clip(margin, -500, 500)))
        value = float(weight @ np.logaddexp(0, -margin) + RIDGE * (theta @ theta))
        return value, -columns.T @ (weight * sign * wrong) + 2 * RIDGE * theta

    theta = minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="BFGS").x
    return [float(value) for value in theta / scale]


# --- questions -------------------------------------------------------------------------------


def _questions(photos: Sequence[PackPhoto]) -> dict[QueryKind, list[Question]]:
    named = list(_named(photos))
    return {
        "caption": [Question(partial(asked, name), some, right, False) for name, some, right in named],
        "mixed": list(_mixtures(photos)),
        "entity": [Question(partial(asked, Entity(name)), some, right, False) for name, some, right in named],
        "picture": list(_pictures(photos)),
        "region": list(_parts(photos)),
    }


def _named(photos: Sequence[PackPhoto]) -> Iterator[tuple[str, NDArray[np.int64], BoolMask]]:
    """Names with the photos annotated for them: things over the photos whose things are all known, class names over the
    photos that have one; and class names over the photos of things, which show none of them.
    """
    classes = _classes(photos)
    for names, members in closed_lists(photos).values():
        shown = [thing_areas(photos[n]) for n in members]
        for name in names:
            areas = np.array([areas.get(name, 0.0) for areas in shown])
            clear = (areas == 0) | (areas >= VISIBLE)
            yield name, np.array(members)[clear], areas[clear] > 0
        told = " . ".join(caption for n in members for caption in photos[n].captions)
        for name in sorted(set(classes.values()) - set(names)):
            if not mentions(told, name):
                yield name, np.array(members), np.zeros(len(members), bool)
    for name in sorted(set(classes.values())):
        yield name, np.array(list(classes)), np.array([known == name for known in classes.values()], bool)


def _mixtures(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Names in brackets among other words, and two things that photos show together, one of them in brackets."""
    for name, some, right in _named(photos):
        yield Question(partial(asked, "a photo with", Entity(with_article(name)), "in it"), some, right, False)
    for names, members in closed_lists(photos).values():
        shown = [thing_areas(photos[n]) for n in members]
        areas = np.array([[one.get(name, 0.0) for name in names] for one in shown]).reshape(len(members), len(names))
        clear = (areas == 0) | (areas >= VISIBLE)
        pairs = [
            (first, second)
            for first in range(len(names))
            for second in range(len(names))
            if first != second
            and (clear[:, [first, second]] & (areas[:, [first, second]] > 0)).all(1).sum() >= TOGETHER
        ]
        for first, second in sorted(pairs, key=lambda pair: _number(f"{names[pair[0]]} {names[pair[1]]}"))[:MOST_PAIRS]:
            here = clear[:, first] & clear[:, second]
            both = (areas[here][:, [first, second]] > 0).all(1)
            words = Entity(with_article(names[first])), f"with {with_article(names[second])}"
            yield Question(partial(asked, *words), np.array(members)[here], both, False)


def _with_picture(photo: PackPhoto, rle: Rle | None = None) -> ResolvedQuery:
    return asked(Picture(photo.rgb(), mask=None if rle is None else rle.decode()))


def _pictures(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Whole photos of a class, which mean the others of their class."""
    classes = _classes(photos)
    every, seen = np.array(list(classes)), defaultdict[str, int](int)
    for n, name in classes.items():
        others = every[every != n]
        right = np.array([classes[int(other)] == name for other in others], bool)
        seen[name] += 1
        if right.any() and seen[name] <= MOST_OF_A_NAME:
            yield Question(partial(_with_picture, photos[n]), others, right)


def _parts(photos: Sequence[PackPhoto]) -> Iterator[Question]:
    """Masked things, which mean the other photos with such a thing."""
    for names, members in closed_lists(photos).values():
        there = {n: thing_names(photos[n]) for n in members}
        seen = defaultdict[str, int](int)
        for n in sorted(members, key=lambda n: _number(photos[n].key)):
            largest = {str(region.label): region for region in sorted(masked(photos[n]), key=lambda one: one.area)}
            for name, region in largest.items():
                others = np.array([other for other in members if other != n])
                right = np.array([name in there[int(other)] for other in others], bool)
                seen[name] += 1
                if name in names and right.any() and region.rle and seen[name] <= MOST_OF_A_NAME:
                    yield Question(partial(_with_picture, photos[n], region.rle), others, right)


def _classes(photos: Sequence[PackPhoto]) -> dict[int, str]:
    """Class names of the photos that have one, by position."""
    names = {n: class_name(photo) for n, photo in enumerate(photos)}
    return {n: name for n, name in names.items() if name is not None}


def _spread(questions: list[Question]) -> list[Question]:
    """At most `MOST_QUESTIONS` of them, evenly."""
    step = max(1.0, len(questions) / MOST_QUESTIONS)
    return [questions[int(n * step)] for n in range(min(len(questions), MOST_QUESTIONS))]


def _number(key: str) -> int:
    return int(hashlib.sha1(key.encode()).hexdigest(), 16)
