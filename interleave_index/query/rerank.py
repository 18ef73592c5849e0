"""A second stage over the best photos: a reranker is shown the query together with each of them, and says yes or no.

Its chance of yes becomes the relevance of the photo, and the order; between yes and no (0.5) lies the cut-off, unless
the user set one. What it did not look at stands behind in the order of the first stage. There a relevance is carried
over so that the cut-off of the first stage meets that of the reranker, and is never above that of a photo before it.
So there is one rule still: a photo counts from the cut-off on, and none is likelier than one that stands before it.

Knows the store and the protocol of rerankers.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..geometry import box_mask, box_of
from ..interface.dual.regions import square_around
from ..interface.reranker import Reranker, Sentence
from ..records import RGB, BoolMask, Floats, Photo, Reranked, Reranking, ResolvedPart, ResolvedQuery
from ..records.texts import PICTURE_MARK, TextMatch
from ..wording import number_of
from .pixels import LoadPicture, PixelCache, indexed_pixels
from .resolve import resolve

if TYPE_CHECKING:
    from ..grammar import Query
    from ..storage.store import Store

YES = 0.5  # chance from which on an answer is yes
REMEMBERED = 20_000  # scores: the next page of a search asks for the same again
WITHOUT = "without"  # stands before what should not be in the photo
SMALLEST_CROP = 0.25  # of the shorter side of a picture: what is shown of it around a point

Progress = Callable[[int, int], None]


class RememberingReranker:
    """A reranker that is built on first use, asked by one thread at a time, and not asked the same twice.

    Args:
        load: builds it.
    """

    def __init__(self, load: Callable[[], Reranker]) -> None:
        self._load = load
        self._built: Reranker | None = None
        self._scores: OrderedDict[bytes, float] = OrderedDict()
        self._building, self._asking = threading.Lock(), threading.Lock()

    @property
    def model(self) -> Reranker:
        """The model itself."""
        with self._building:
            if self._built is None:
                self._built = self._load()
            return self._built

    def known(self, key: bytes) -> float | None:
        """The score of a pair that was asked for before, or None."""
        return self._scores.get(key)

    def scores(self, query: Sentence, candidates: Sequence[Sentence], keys: Sequence[bytes]) -> Floats:
        """See `Reranker.scores`; remembered under the keys."""
        model = self.model
        with self._asking:
            found = model.scores(query, candidates)
            self._scores.update(zip(keys, found.tolist(), strict=True))
            while len(self._scores) > REMEMBERED:
                self._scores.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True)
class SecondStage:
    """What a search is to do after its ranking.

    Attributes:
        reranker: looks.
        count: at so many of the best photos.
        progress: called with photos done and in all.
    """

    reranker: RememberingReranker
    count: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class FirstStage:
    """The photos of a ranking from the first on, best first.

    Attributes:
        photo_ids: of each.
        relevance: (n,) float32.
        cutoff: from which on a photo counts.
        texts: what the texts of each added.
        own: id of the photo that the query is, or is a part of; it stays first and is not looked at.
        fixed: a cut-off that the user set, or None.
    """

    photo_ids: Sequence[int]
    relevance: Floats
    cutoff: float
    texts: Sequence[TextMatch | None]
    own: int | None = None
    fixed: float | None = None


@dataclass(frozen=True, slots=True)
class SecondRanking:
    """What became of the photos of a first stage.

    Attributes:
        order: (n,) their rows, best first.
        relevance: (n,) float32 in that order, never rising.
        cutoff: from which on a photo counts.
        reranked: in that order, None of photos that were not looked at.
        notes: what the caller should know.
        report: None where no photo was looked at.
    """

    order: Sequence[int]
    relevance: Floats
    cutoff: float
    reranked: Sequence[Reranked | None]
    notes: tuple[str, ...]
    report: Reranking | None


def rerank(
    stage: SecondStage,
    store: Store,
    space_id: int,
    query: Query,
    first: FirstStage,
    load_picture: LoadPicture,
    cache: PixelCache,
) -> SecondRanking:
    """Have the best photos of a ranking looked at together with the query.

    Args:
        stage: by which reranker, and how many.
        store: where the photos are.
        space_id: whose regions the query may name.
        query: as it was asked; all its words count, also those that the model of the space cannot read.
        first: the ranking.
        load_picture: gives upright RGB for a path, a URL or an array.
        cache: of the pixels of indexed photos.
    """
    rows = [row for row, photo_id in enumerate(first.photo_ids) if photo_id != first.own][: stage.count]
    if not rows:
        return _unchanged(first, [])
    model = stage.reranker.model
    started = time.perf_counter()  # the model is built once
    parts = resolve(query, store, space_id, load_picture, cache, pixels=True).parts
    sentence, notes = _sentence(parts, model)
    if not sentence:
        notes.append("nothing of the query can be shown to the reranker; the photos keep their order")
        return _unchanged(first, notes)
    scores = _look(stage, store, load_picture, cache, sentence, rows, first)
    seen = sorted(scores, key=lambda row: (-scores[row], row))
    if not seen:
        notes.append("of none of the photos pixels are left that the reranker could look at; they keep their order")
        return _unchanged(first, notes)
    seconds = round(time.perf_counter() - started, 3)
    notes.append(f"{_looked_at(len(seen))} by {model.name} in {seconds:.1f} s; the relevance of these is its own")
    if len(seen) < len(rows):
        gone = number_of(len(rows) - len(seen), "photo")
        notes.append(f"of {gone} no pixels are left that the reranker could look at; they stand behind the others")
    return _joined(first, scores, seen, tuple(notes), Reranking(model.name, len(seen), seconds))


def _unchanged(first: FirstStage, notes: Sequence[str]) -> SecondRanking:
    count = len(first.photo_ids)
    return SecondRanking(range(count), first.relevance, first.cutoff, [None] * count, tuple(notes), None)


def _looked_at(count: int) -> str:
    return "the best photo was looked at again" if count == 1 else f"the best {count} photos were reranked"


def _joined(
    first: FirstStage, scores: dict[int, float], seen: list[int], notes: tuple[str, ...], report: Reranking
) -> SecondRanking:
    """The photos that were looked at, then all others, under one cut-off."""
    cutoff = YES if first.fixed is None else first.fixed
    own = [row for row, photo_id in enumerate(first.photo_ids) if photo_id == first.own]
    rest = [row for row in range(len(first.photo_ids)) if row not in scores and row not in own]
    carried = np.minimum(_carried(first.relevance[rest], first.cutoff, cutoff), scores[seen[-1]])
    judged = [scores[row] for row in seen]
    relevance = np.concatenate([first.relevance[own], judged, carried]).astype(np.float32)
    order = [*own, *seen, *rest]
    reranked = [Reranked(scores[row], row + 1) if row in scores else None for row in order]
    return SecondRanking(order, relevance, cutoff, reranked, notes, report)


def _carried(relevance: Floats, before: float, after: float) -> Floats:
    """Relevances that were judged by one cut-off as another judges them alike: below it, at it, above it.

    >>> _carried(np.array([0.1, 0.2, 0.6, 1.0], np.float32), 0.2, 0.5).round(2).tolist()
    [0.25, 0.5, 0.75, 1.0]
    >>> _carried(np.array([0.5], np.float32), 1.0, 0.5).tolist()
    [0.25]
    """
    if before == after:
        return relevance
    below: Floats = np.minimum(relevance * (after / before), np.nextafter(np.float32(after), np.float32(0)))
    above: Floats = np.maximum(after + (relevance - before) * ((1 - after) / max(1 - before, 1e-9)), after)
    carried: Floats = np.where(relevance >= before, above, below).astype(np.float32)
    return carried


# --- what the reranker is shown ---------------------------------------------------------------


def _sentence(parts: ResolvedQuery, model: Reranker) -> tuple[Sentence, list[str]]:
    """The query as the reranker reads it, pictures in their places and negatives at the end, and what it cannot see."""
    pieces: list[str | RGB] = []
    unwanted: list[str | RGB] = []
    unseen = []
    for part in parts:
        is_shown = model.reads_pictures or part.role != "negative"
        piece = _piece(part, model) if is_shown else None
        if piece is None:
            unseen.append(part.label)
        elif part.role == "negative":
            unwanted += [WITHOUT, piece]
        else:
            pieces.append(piece)
    notes = [f"{label} cannot be shown to the reranker {model.name}" for label in unseen]
    words = " ".join(piece for piece in pieces if isinstance(piece, str))
    if cut := model.beyond_context(words):
        notes.append(f"the query is longer than the reranker {model.name} reads; it leaves out {cut.strip()[:60]!r}")
    return (*pieces, *unwanted) if pieces else (), notes


def _piece(part: ResolvedPart, model: Reranker) -> str | RGB | None:
    """What stands for a part: its words, its picture, or the square around the marked part of one."""
    if part.kind == "text":
        return part.label
    if part.photo is None or not model.reads_pictures:
        return None
    if part.mask is None:
        return model.prepare(part.photo)
    return model.prepare(square_around(part.photo, _grown(part.mask)))


def _grown(mask: BoolMask) -> BoolMask:
    """A mask whose box is at least so large that one sees what it is: that of a point is not."""
    x0, y0, x1, y1 = box_of(mask)
    least = SMALLEST_CROP * min(mask.shape)
    wide, high = max(0.0, least - (x1 - x0)) / 2, max(0.0, least - (y1 - y0)) / 2
    if not (wide or high):
        return mask
    box = (max(0.0, x0 - wide), max(0.0, y0 - high), min(x1 + wide, mask.shape[1]), min(y1 + high, mask.shape[0]))
    return box_mask(box, (int(mask.shape[0]), int(mask.shape[1])))


def _look(
    stage: SecondStage,
    store: Store,
    load_picture: LoadPicture,
    cache: PixelCache,
    sentence: Sentence,
    rows: Sequence[int],
    first: FirstStage,
) -> dict[int, float]:
    """The score of each of these rows; those without pixels are left out. A few photos are held at a time."""
    photos = store.photos([first.photo_ids[row] for row in rows])
    asked, scores, done = _digest(sentence), {}, 0
    while done < len(rows):
        waiting: dict[int, tuple[bytes, Sentence]] = {}
        batch = rows[done : done + stage.reranker.model.at_a_time]
        for row in batch:
            photo = photos.get(first.photo_ids[row])
            if photo is None:  # it was taken out just now
                continue
            words = _words_of(photo, first.texts[row])
            key = _digest((photo.sha256, *words), asked)
            known = stage.reranker.known(key)
            if known is not None:
                scores[row] = known
            elif (pixels := indexed_pixels(store, photo, load_picture, cache)) is not None:
                waiting[row] = key, (stage.reranker.model.prepare(pixels), *words)
        if waiting:
            keys, candidates = zip(*waiting.values(), strict=True)
            found = stage.reranker.scores(sentence, candidates, keys)
            scores |= dict(zip(waiting, found.tolist(), strict=True))
        done += len(batch)
        if stage.progress is not None:
            stage.progress(done, len(rows))
    return scores


def _words_of(photo: Photo, match: TextMatch | None) -> tuple[str, ...]:
    """What goes with a photo whose texts or file name had a part in its score: the passage, or the name."""
    if match is None:
        return ()
    if match.passage is not None:
        return (match.passage.text.replace(PICTURE_MARK, " ").strip(),)
    return () if photo.path is None else (Path(photo.path).stem,)


def _digest(pieces: Sentence, before: bytes = b"") -> bytes:
    """What tells one sentence from another."""
    made = hashlib.blake2b(before, digest_size=16)
    for piece in pieces:
        content = piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else piece.tobytes()
        shape = "" if isinstance(piece, str) else str(piece.shape)
        made.update(f"{len(content)} {shape} ".encode())
        made.update(content)
    return made.digest()
