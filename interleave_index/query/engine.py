"""A query from its parts to its answer, and one photo to its grounded hit: the stages of this package in their order.

Knows the store and the interface protocol. The interface is built only when a query needs it: one that is made of
photos and regions of the index runs on stored vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..config import QuerySettings
from ..errors import InputError, NotInIndex, errors_of_query
from ..grammar import Query
from ..interface.protocol import Interface
from ..records import (
    RGB,
    Answer,
    EntityHit,
    Filters,
    Floats,
    Hit,
    Partial,
    Photo,
    PhotoEncoding,
    Reranked,
    Reranking,
    Space,
)
from ..records.texts import TEXT_KINDS, TextHit, TextKind, TextMatch
from .alone import ground_alone
from .approximate import Beside
from .blocks import block_of, take
from .candidates import Ids, Mode, Path, Plan, every_cosine_of_many, plan
from .context import QueryContext, prepare
from .damaged import asked_again, compare, masks_or_none, photos_left_out
from .feedback import with_feedback
from .ground import Depth, LoadMasks, StoredRegions, ground_photo
from .lazy_interface import LazyInterface
from .library import OneMachine, OpenLibrary, Request
from .notes import answer_notes
from .pixels import LoadPicture, PixelCache, indexed_pixels
from .resolve import names_indexed, own_photo, resolve
from .score import Cosines, Scores, precisely, rank, score, with_texts
from .text_search import search_texts
from .texts import PhotoTexts, text_notes
from .verdicts import Verdicts, judge_library, judge_named_photo, judged_parts

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store
    from .rerank import SecondStage

Target = Literal["photos", "texts", "both"]
TARGETS: tuple[Target, ...] = get_args(Target)
RESCORED = 32  # photos beyond the last hit that are scored once more in one block, so that equals tie on every path
TOGETHER = 16  # queries that share one pass over the vectors; each holds some numbers for every photo
_CACHE = PixelCache()
_DEFAULTS = QuerySettings()


@asked_again
def search(
    store: Store,
    interface_factory: Callable[[], Interface],
    query: Query,
    *,
    top_k: int = 10,
    filters: Filters | None = None,
    load_picture: LoadPicture,
    mode: Mode = "auto",
    ground: Depth | None = "stored",
    settings: QuerySettings = _DEFAULTS,
    cache: PixelCache | None = None,
    skip: int = 0,
    left_out: Collection[int] = (),
    target: Target = "photos",
    text_kinds: Collection[TextKind] = (),
    liked: Collection[int] = (),
    unliked: Collection[int] = (),
    second_stage: SecondStage | None = None,
    library: OpenLibrary = OneMachine.of,
) -> Answer:
    """Rank the photos of the active space for one query, and tie its parts to the hits.

    Args:
        store: the index.
        interface_factory: gives the interface of the active space; called only when the query needs a model.
        query: its parts, in order.
        top_k: at most this many hits, 0 or more.
        filters: facts that a hit must have.
        load_picture: gives upright RGB for a path, a URL or an array.
        mode: `exact`, `ann`, or `auto`, which chooses by the rule of candidates.py.
        ground: `stored`, `named` (the same regions with empty masks, for callers that fetch masks apart), `exact`
            (every hit is looked at again), or None for no regions.
        settings: weights, candidates and cut-off.
        cache: of the pixels of indexed photos; None shares one in this process.
        skip: of the best hits that are left out, 0 or more; ranks count from the best all the same.
        left_out: ids of photos that are no hits.
        target: `photos`, `texts` (passages, and no photos), or `both`; filters on photos let passages through that
            belong to a photo which passes.
        text_kinds: kinds of sources that passages may come from; none of them takes every kind.
        liked, unliked: ids of photos that the user called right, which draw the query towards them, and wrong, which
            push it away and are no hits.
        second_stage: has the best photos looked at again by a reranker.
        library: gives the vectors of a space, which may be those of a cluster.
    Returns:
        Hits, best first, ties by photo id; no hits when nothing is indexed or the filters leave nothing. A query that
        is one indexed photo, or a part of one, finds that photo first, with relevance 1.
    Raises:
        EmptyQuery: nothing but negatives.
        NotInIndex: the query names a photo or region that is not there.
        SpaceMismatch: the interface is not that of the active space.
        ImageUnreadable, ImageTooLarge, ShapeError, InputError: a picture of the query, or one of the arguments.
        EncodingDamaged: stored vectors of a photo that the query names are not those that were written. Other such
            photos are left out of the answer, with a note.
    """
    if target not in TARGETS:
        raise InputError(f"target is {target!r}, expected one of {', '.join(TARGETS)}")
    if strange := [kind for kind in text_kinds if kind not in TEXT_KINDS]:
        raise InputError(f"kind of text is {strange[0]!r}, expected one of {', '.join(TEXT_KINDS)}")
    _check_span(ground, top_k, skip)
    active = store.active_space()
    if active is None:
        resolve(query, None, 0, load_picture)  # a query that could never be answered is still an error
        none = None if target == "photos" else ()
        return Answer(str(query), "exact", (), notes=("nothing is indexed yet",), texts=none)
    space_id, space = active
    cache = _CACHE if cache is None else cache
    context = prepare(
        query,
        store,
        space_id,
        LazyInterface(interface_factory, space, lambda: _filled_spaces(store)),
        load_picture,
        cache,
        settings,
        pixels=ground == "exact",
    )
    context.scoring = with_feedback(context.scoring, context.calibration, store, space_id, liked, unliked)
    left_out = {*left_out, *unliked}
    texts: tuple[TextHit, ...] | None = None
    if target != "photos":
        chosen = Filters() if filters is None else filters
        # without filters passages are not asked for their photos: some have none
        photo_ids = None if chosen == Filters() else store.eligible(space_id, chosen)
        texts = tuple(search_texts(store, space_id, context, photo_ids, (skip, skip + top_k), text_kinds))
        if target == "texts":
            notes = (*context.notes, *text_notes(context, store, texts))
            return Answer(str(query), "exact", (), notes, texts=texts)
    # what is reranked is ranked from the first photo on, whichever are shown
    span = (skip, skip + top_k) if second_stage is None else (0, max(skip + top_k, second_stage.count))
    options = (filters or Filters(), mode, span, left_out)
    ranked = _ranked(store, space_id, context, *options, library)
    if second_stage is not None:
        ranked = _reranked(ranked, second_stage, store, space_id, context, load_picture, cache, (skip, skip + top_k))
    with store.one_moment() if ground != "exact" else nullcontext():  # no look at a photo holds a snapshot
        hits = _hits(store, space_id, context, ranked, ground, load_picture, cache, skip)
    return _answer(store, context, ranked, hits, texts)


def _check_span(ground: Depth | None, top_k: int, skip: int) -> None:
    if ground not in ("stored", "named", "exact", None) or top_k < 0 or skip < 0:
        raise InputError(
            f"ground is {ground!r}, top_k is {top_k} and skip {skip}, expected stored, "
            "named, exact or None, and 0 or more"
        )


def _answer(
    store: Store,
    context: QueryContext,
    ranked: _Ranked,
    hits: Sequence[Hit],
    texts: tuple[TextHit, ...] | None = None,
) -> Answer:
    """The answer with these hits, and what the user should know."""
    cutoff = ranked.verdicts.whole.cutoff
    notes = answer_notes(context, ranked.verdicts, hits, every_photo=ranked.path == "exact" and ranked.looked_at > 0)
    all_notes = (*notes, *text_notes(context, store, texts or ()))
    return Answer(
        str(context.query), ranked.path, tuple(hits), all_notes, cutoff, texts, ranked.reranking, ranked.partial
    )


def _hits(
    store: Store,
    space_id: int,
    context: QueryContext,
    ranked: _Ranked,
    depth: Depth | None,
    load_picture: LoadPicture,
    cache: PixelCache,
    skip: int,
) -> list[Hit]:
    """The ranked photos that are still there, each with the parts of the query tied to it."""
    shown_ids = ranked.block.photo_ids.tolist()
    photos = store.photos(shown_ids)
    masks = store.many_masks(space_id, shown_ids) if depth is not None else {}
    own_id = own_photo(context.query)
    hits: list[Hit] = []
    for row, photo_id in enumerate(shown_ids):
        if photo_id not in photos:  # it was taken out just now
            continue
        photo, relevance = photos[photo_id], float(ranked.relevance[row])
        entities: tuple[EntityHit, ...] = ()
        if depth is not None:
            asked = judged_parts(context, ranked.verdicts, ranked.scores, row, relevance, own=photo_id == own_id)
            stored = _stored_regions(store, space_id, context, ranked.block, row, masks)
            load_pixels = partial(indexed_pixels, store, photo, load_picture, cache)
            entities = ground_photo(context, photo, stored, asked, depth, load_pixels)
        total = float(ranked.scores.total[row])
        reranked = ranked.reranked[row] if ranked.reranked else None
        hits.append(Hit(skip + len(hits) + 1, photo, total, relevance, entities, (), (), ranked.texts[row], reranked))
    return hits


def ground(
    interface: Interface,
    rgb: RGB,
    query: Query,
    *,
    load_picture: LoadPicture,
    photo: Photo | None = None,
    store: Store | None = None,
    depth: Depth = "exact",
    settings: QuerySettings = _DEFAULTS,
    cache: PixelCache | None = None,
) -> Hit:
    """Look at one picture, indexed or not, and mask what each entity of the query means in it.

    Args:
        interface: looks, and encodes the picture and the query.
        rgb: (H, W, 3) uint8, upright.
        query: plain text alone is grounded as one entity.
        load_picture: gives upright RGB for a path, a URL or an array.
        photo: facts of an indexed photo; masks and boxes get its size. None stands for a picture that is not indexed.
        store: its active space, when it is the interface's, resolves `[photo:]` and `[region:]`; else such parts are an
            error.
        depth: `stored` takes the proposals that an ingest would store, `exact` a look conditioned on the query.
    Returns:
        One hit of rank 1, with the score and relevance that the photo would have in a search.
    Raises:
        as `search`.
    """
    known = photo or Photo(id=0, path=None, width=int(rgb.shape[1]), height=int(rgb.shape[0]))
    if not interface.capabilities.encodes:
        return ground_alone(interface, rgb, query, known, load_picture)
    active = store.active_space() if store is not None else None
    if store is not None and active is not None and active[1] != interface.space:
        if names_indexed(query):  # their vectors mean nothing to this interface
            spaces = _filled_spaces(store)
            LazyInterface(lambda: interface, active[1], lambda: spaces).get()
        store, active = None, None
    context = prepare(
        query,
        store,
        active[0] if active else 0,
        LazyInterface(lambda: interface, interface.space),
        load_picture,
        _CACHE if cache is None else cache,
        settings,
        pixels=depth == "exact",
    )
    encoding = interface.encode_photos([rgb])[0]
    scores = precisely(block_of([encoding]), context.scoring)
    match = None
    if store is not None and active is not None and known.id:
        texts = PhotoTexts(store, store.indexes(active[0]), context, context.words)
        scores = with_texts(scores, texts.added(np.array([known.id]))[0])
        (match,) = texts.matches(np.array([known.id]))
    verdicts = judge_named_photo(context, scores)
    relevance = float(verdicts.whole.chances(scores.total)[0])
    asked = judged_parts(context, verdicts, scores, 0, relevance)
    entities = ground_photo(context, known, _fresh_regions(context, encoding, known, rgb), asked, depth, lambda: rgb)
    notes = tuple(dict.fromkeys(context.notes))
    return Hit(1, known, float(scores.total[0]), relevance, entities, notes=notes, text=match)


@asked_again
def search_many(
    store: Store,
    interface_factory: Callable[[], Interface],
    queries: Sequence[Query],
    *,
    top_k: int = 10,
    filters: Filters | None = None,
    load_picture: LoadPicture,
    mode: Mode = "auto",
    ground: Depth | None = "stored",
    settings: QuerySettings = _DEFAULTS,
    cache: PixelCache | None = None,
) -> list[Answer]:
    """What `search` answers to each of many queries; where every photo is scored, one pass serves `TOGETHER` of them.

    Args:
        queries: each as for `search`, as are the other arguments; no hit is looked at again.
    Returns:
        An answer each, in order.
    Raises:
        InputError: `ground` is `exact`; what `search` raises, for the first query that fails, as its `query_number`
            says.
    """
    _check_span(ground, top_k, 0)
    if ground == "exact":
        raise InputError("ground is 'exact', expected stored, named or None for many queries; ask each by itself")
    active = store.active_space()
    options: dict[str, Any] = {"top_k": top_k, "filters": filters, "load_picture": load_picture, "mode": mode}
    options |= {"ground": ground, "settings": settings, "cache": cache}
    answers: list[Answer] = []
    if active is None:
        for query in queries:
            with errors_of_query(len(answers)):
                answers.append(search(store, interface_factory, query, **options))
        return answers
    space_id, space = active
    cache = _CACHE if cache is None else cache
    chosen = (filters or Filters(), mode, (0, top_k), ())
    for start in range(0, len(queries), TOGETHER):
        contexts = []
        for number in range(start, min(start + TOGETHER, len(queries))):
            # each has its own, for a query that needs no model is judged as if there were none
            interface = LazyInterface(interface_factory, space, lambda: _filled_spaces(store))
            with errors_of_query(number):
                contexts.append(prepare(queries[number], store, space_id, interface, load_picture, cache, settings))
        indexes = store.indexes(space_id)
        allowed = store.eligible(space_id, chosen[0])
        shared = [
            context
            for context in contexts
            if not (context.words.required or store.damaged(space_id))
            and _plan(store, space_id, context, allowed, mode, top_k).path == "exact"
        ]
        known = every_cosine_of_many(indexes, [context.scoring for context in shared], allowed)
        by_context = dict(zip(map(id, shared), known, strict=True))
        for context in contexts:
            with errors_of_query(len(answers)):
                ranked = _ranked(store, space_id, context, *chosen, known=by_context.get(id(context)))
                with store.one_moment():
                    hits = _hits(store, space_id, context, ranked, ground, load_picture, cache, 0)
                answers.append(_answer(store, context, ranked, hits))
    return answers


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Photos of one span of the ranking, best first: the path taken, their vectors, scores and chances.

    `looked_at` is how many photos were scored for it, `texts` what the texts of each added, `reranked` what a reranker
    made of each, where there was one, and `reranking` what is to be told of that; `partial` tells what did not answer.
    """

    path: Path
    looked_at: int
    block: StoredVectors
    scores: Scores
    relevance: Floats
    verdicts: Verdicts
    texts: Sequence[TextMatch | None] = ()
    reranked: Sequence[Reranked | None] = ()
    reranking: Reranking | None = None
    partial: Partial | None = None


def _ranked(
    store: Store,
    space_id: int,
    context: QueryContext,
    filters: Filters,
    mode: Mode,
    span: tuple[int, int],
    left_out: Collection[int],
    library: OpenLibrary = OneMachine.of,
    known: tuple[Ids, Cosines] | None = None,
) -> _Ranked:
    """The photos that rank in this span, judged by the best of all.

    Args:
        known: every eligible photo and its cosines, where they are known already.
    """
    library(store, space_id)  # files that are gone are made anew before the one look at the catalog
    options = (store, space_id, context, filters, mode, span, left_out, library)
    try:
        with store.one_moment():
            return _ranked_at(*options, known)
    except NotInIndex:  # a photo was taken out between the look at the indexes and the look at the catalog
        return _ranked_at(*options, None)


def _plan(store: Store, space_id: int, context: QueryContext, allowed: Ids | None, mode: Mode, top_k: int) -> Plan:
    photos, regions = store.count(space_id)
    return plan(
        mode,
        photos=photos,
        regions=regions,
        eligible=photos if allowed is None else len(allowed),
        entities=len(context.scoring.entities),
        top_k=top_k,
        candidates=context.settings.candidates,
    )


def _ranked_at(
    store: Store,
    space_id: int,
    context: QueryContext,
    filters: Filters,
    mode: Mode,
    span: tuple[int, int],
    left_out: Collection[int],
    open_library: OpenLibrary,
    known: tuple[Ids, Cosines] | None,
) -> _Ranked:
    passed, top_k = max(0, span[0] - RESCORED), span[1]  # what ranks far above the span is not looked at again
    scoring, own, library = context.scoring, own_photo(context.query), open_library(store, space_id)
    damaged = store.damaged(space_id)
    left_out = {*left_out, *damaged}
    context.notes += photos_left_out(damaged)
    allowed = store.eligible(space_id, filters)
    texts = PhotoTexts(store, library, context, context.words)
    required = texts.required()
    if required is not None:
        allowed = required if allowed is None else np.intersect1d(allowed, required)
        allowed = np.intersect1d(allowed, store.encoded(space_id))
    if len(left_out):
        allowed = store.encoded(space_id) if allowed is None else allowed
        allowed = allowed[~np.isin(allowed, list(left_out))]
    eligible = store.count(space_id)[0] if allowed is None else len(allowed)
    chosen = _plan(store, space_id, context, allowed, mode, top_k)
    if not eligible:
        return _nothing(store, space_id, context, chosen.path)
    request = Request(scoring, allowed, top_k + RESCORED, own)
    if known is not None:
        found = request.leading(*known, lambda ids: texts.added(ids)[0])
    elif chosen.path == "ann":
        by_texts, most_of_others = texts.nearest(allowed, chosen.count)
        if own is not None and (allowed is None or own in allowed):
            by_texts = np.union1d(by_texts, [own])
        beside = Beside(by_texts, lambda ids: texts.added(ids)[0], most_of_others)
        found = library.nearly_best(request, beside, top_k, chosen.count)
    else:
        found = library.best(request, lambda ids: texts.added(ids)[0])
    context.notes[:0] = library.notes
    if not found.looked_at:  # what was eligible was taken out since, or no part of a cluster answered
        return replace(_nothing(store, space_id, context, chosen.path), partial=library.partial)
    pool = found.pool(passed)
    block = library.vectors(pool)
    scores = with_texts(precisely(block, scoring), texts.added(pool)[0])
    others = pool != own if own is not None and found.looked_at > 1 else np.ones(len(pool), bool)
    # what negatives take off lowers photos, and has no part in whether the library holds what is wanted
    verdicts = judge_library(
        context,
        float(scores.wanted[others].max()),
        scores.evidence[others].max(0),
        scores.negative_evidence.max(0),
        eligible,
        looked_at=found.looked_at,
        words_found=texts.answer_unknown_words,
    )
    first = np.searchsorted(pool, found.photo_ids[passed:])
    ids, scores = pool[first], scores.rows(first)
    best = rank(ids, _own_first(ids, scores.total, own), top_k - passed)[span[0] - passed :]
    relevance = verdicts.whole.chances(scores.total)
    relevance[ids == own] = 1.0
    shown = store.vectors(space_id, ids[best])
    compare(space_id, block, np.searchsorted(pool, ids[best]), shown)
    matches = texts.matches(shown.photo_ids)
    ranked = _Ranked(chosen.path, found.looked_at, shown, scores.rows(best), relevance[best], verdicts, matches)
    return replace(ranked, partial=library.partial)


def _reranked(
    ranked: _Ranked,
    stage: SecondStage,
    store: Store,
    space_id: int,
    context: QueryContext,
    load_picture: LoadPicture,
    cache: PixelCache,
    span: tuple[int, int],
) -> _Ranked:
    """A ranking from the first photo on as a reranker puts it, then cut to this span."""
    from .rerank import FirstStage, rerank

    first = FirstStage(
        ranked.block.photo_ids.tolist(),
        ranked.relevance,
        ranked.verdicts.whole.cutoff,
        ranked.texts,
        own_photo(context.query),
        context.settings.cutoff,
    )
    made = rerank(stage, store, space_id, context.query, first, load_picture, cache)
    context.notes += made.notes
    shown = slice(*span)
    rows = np.array(made.order[shown], np.int64)
    return replace(
        ranked,
        block=take(ranked.block, rows),
        scores=ranked.scores.rows(rows),
        relevance=made.relevance[shown],
        verdicts=replace(ranked.verdicts, whole=replace(ranked.verdicts.whole, fixed=made.cutoff)),
        texts=[ranked.texts[row] for row in rows],
        reranked=made.reranked[shown],
        reranking=made.report,
    )


def _nothing(store: Store, space_id: int, context: QueryContext, path: Path) -> _Ranked:
    """The ranking of no photos."""
    block = store.vectors(space_id, [])
    scores = score(block, context.scoring)
    evidence = np.zeros(len(context.scoring.entities), np.float32)
    negative_evidence = np.zeros(len(context.scoring.negatives), np.float32)
    verdicts = judge_library(context, 0.0, evidence, negative_evidence, 0, looked_at=0)
    return _Ranked(path, 0, block, scores, scores.total, verdicts)


def _filled_spaces(store: Store) -> dict[Space, int]:
    return {row.space: row.id for row in store.spaces() if row.encodings}


def _own_first(ids: Ids, totals: Floats, own: int | None) -> Floats:
    """The totals with that of the photo which the query is, or is a part of, above all others."""
    if own is None or own not in ids:
        return totals
    return np.where(ids == own, np.float32(np.inf), totals)


def _stored_regions(
    store: Store,
    space_id: int,
    context: QueryContext,
    block: StoredVectors,
    row: int,
    masks: Mapping[int, LoadMasks],
) -> StoredRegions:
    first, end = block.offsets[row], block.offsets[row + 1]
    photo_id = int(block.photo_ids[row])
    return StoredRegions(
        block.image[row],
        block.regions[first:end],
        block.boxes[first:end],
        block.scores[first:end],
        masks_or_none(masks.get(photo_id) or partial(store.masks, space_id, photo_id), context.notes),
        context.calibration.score_weight,
    )


def _fresh_regions(context: QueryContext, encoding: PhotoEncoding, photo: Photo, rgb: RGB) -> StoredRegions:
    """Regions of a picture that was encoded just now; its pixels may be a thumbnail of the photo."""
    wide, high = photo.width / rgb.shape[1], photo.height / rgb.shape[0]
    boxes = encoding.boxes * np.array([wide, high, wide, high], np.float32)
    return StoredRegions(
        encoding.image,
        encoding.regions,
        boxes,
        encoding.scores,
        lambda: encoding.masks,
        context.calibration.score_weight,
        indexed=False,
    )
