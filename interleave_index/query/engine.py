"""A query from its parts to its answer, and one photo to its grounded hit: the stages of this package in their order.

Knows the store and the interface protocol. The interface is built only when a query needs it: one that is made of
photos and regions of the index runs on stored vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, NotInIndex
from ..grammar import Query
from ..interface.protocol import Interface
from ..records import RGB, Answer, EntityHit, Filters, Floats, Hit, Photo, PhotoEncoding
from .alone import ground_alone
from .asking import Asking, Depth, Model, Verdicts
from .blocks import block_of, take
from .candidates import Ids, Mode, Path, every_cosine, nearest, plan
from .ground import LoadMasks, StoredRegions
from .pixels import LoadPicture, PixelCache
from .resolve import named_photos, names_indexed, own_photo, resolve
from .score import Scores, fuse, rank, score
from .settings import Dials, QuerySettings

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

RESCORED = 32  # photos beyond the last hit that are scored once more in one block, so that equals tie on every path
_CACHE = PixelCache()
_DEFAULTS = QuerySettings()


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
    settings: Dials = _DEFAULTS,
    cache: PixelCache | None = None,
    skip: int = 0,
    exclude_self: bool = False,
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
        exclude_self: leave out the photos that the query names by `[photo:]` and `[region:]`.
    Returns:
        Hits, best first, ties by photo id; no hits when nothing is indexed or the filters leave nothing. A query that
        is one indexed photo, or a part of one, finds that photo first, with relevance 1.
    Raises:
        EmptyQuery: nothing but negatives.
        NotInIndex: the query names a photo or region that is not there.
        SpaceMismatch: the interface is not that of the active space.
        ImageUnreadable, ImageTooLarge, ShapeError, InputError: a picture of the query, or one of the arguments.
    """
    if ground not in ("stored", "named", "exact", None) or top_k < 0 or skip < 0:
        raise InputError(
            f"ground is {ground!r}, top_k is {top_k} and skip {skip}, expected stored, "
            "named, exact or None, and 0 or more"
        )
    active = store.active_space()
    if active is None:
        resolve(query, None, 0, load_picture)  # a query that could never be answered is still an error
        return Answer(str(query), "exact", (), notes=("nothing is indexed yet",))
    space_id, space = active
    asking = Asking(
        query,
        store,
        space_id,
        Model(interface_factory, space),
        load_picture,
        _CACHE if cache is None else cache,
        ground,
        settings,
    )
    options = (filters or Filters(), mode, (skip, skip + top_k), exclude_self)
    try:
        found = _ranked(store, asking, *options)
    except NotInIndex:  # a photo was taken out between the look at the indexes and the look at the catalog
        found = _ranked(store, asking, *options)
    shown = found.block
    photos = store.photos(shown.photo_ids.tolist())
    masks = store.many_masks(space_id, shown.photo_ids.tolist()) if ground is not None else {}
    hits: list[Hit] = []
    for row, photo_id in enumerate(shown.photo_ids.tolist()):
        if photo_id in photos:  # else it was taken out just now
            relevance = float(found.relevance[row])
            entities: tuple[EntityHit, ...] = ()
            if ground is not None:
                asked = asking.asked(found.verdicts, found.scores, row, relevance, own=photo_id == own_photo(query))
                entities = asking.ground(photos[photo_id], _stored_regions(store, space_id, shown, row, masks), asked)
            total = float(found.scores.total[row])
            hits.append(Hit(skip + len(hits) + 1, photos[photo_id], total, relevance, entities))
    doubts = _doubts(asking, found.verdicts) if found.path == "exact" else []  # else not every photo was looked at
    notes = (*asking.notes, *doubts)
    return Answer(str(query), found.path, tuple(hits), tuple(dict.fromkeys(notes)), found.verdicts.whole.cutoff)


def ground(
    interface: Interface,
    rgb: RGB,
    query: Query,
    *,
    load_picture: LoadPicture,
    photo: Photo | None = None,
    store: Store | None = None,
    depth: Depth = "exact",
    settings: Dials = _DEFAULTS,
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
    if active is not None and active[1] != interface.space:
        if names_indexed(query):  # their vectors mean nothing to this interface
            Model(lambda: interface, active[1]).get()
        store, active = None, None
    asking = Asking(
        query,
        store,
        active[0] if active else 0,
        Model(lambda: interface, interface.space),
        load_picture,
        _CACHE if cache is None else cache,
        depth,
        settings,
    )
    encoding = interface.encode_photos([rgb])[0]
    scores = score(block_of([encoding]), asking.scoring)
    verdicts = asking.verdicts_named(scores)
    relevance = float(verdicts.whole.chances(scores.total)[0])
    asked = asking.asked(verdicts, scores, 0, relevance)
    entities = asking.ground(known, _fresh_regions(encoding, known, rgb), asked, rgb)
    return Hit(1, known, float(scores.total[0]), relevance, entities)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Photos of one span of the ranking, best first: the path taken, their vectors, scores and chances."""

    path: Path
    block: StoredVectors
    scores: Scores
    relevance: Floats
    verdicts: Verdicts


def _ranked(
    store: Store, asking: Asking, filters: Filters, mode: Mode, span: tuple[int, int], exclude_self: bool
) -> _Ranked:
    """The photos that rank in this span, judged by the best of all."""
    passed, top_k = max(0, span[0] - RESCORED), span[1]  # what ranks far above the span is not looked at again
    scoring, own = asking.scoring, own_photo(asking.query)
    allowed = store.eligible(asking.space_id, filters)
    if exclude_self:
        allowed = _without(store.encoded(asking.space_id) if allowed is None else allowed, named_photos(asking.query))
    photos, regions = store.count(asking.space_id)
    eligible = photos if allowed is None else len(allowed)
    chosen = plan(
        mode,
        photos=photos,
        regions=regions,
        eligible=eligible,
        entities=len(scoring.entities),
        top_k=top_k,
        candidates=asking.settings.candidates,
    )
    if not eligible:
        return _nothing(store, asking, chosen.path)
    indexes = store.indexes(asking.space_id)
    if chosen.path == "ann":
        found = nearest(indexes, scoring, allowed, chosen.count)
        here = own is not None and (allowed is None or own in allowed)
        allowed = np.union1d(found, [own]) if here else found
    ids, cosines = every_cosine(indexes, scoring, allowed)
    if not len(ids):  # what was eligible was taken out since
        return _nothing(store, asking, chosen.path)
    every = fuse(cosines, scoring)
    others = ids != own if own is not None and len(ids) > 1 else np.ones(len(ids), bool)
    # what negatives take off lowers photos, and says nothing of whether the library holds what is wanted
    verdicts = asking.verdicts(
        float(every.wanted[others].max()),
        every.evidence[others].max(0),
        every.negative_evidence.max(0),
        eligible,
        looked_at=len(ids),
    )
    first = rank(ids, _own_first(ids, every.total, own), top_k + RESCORED)[passed:]
    block = store.vectors(asking.space_id, ids[first])
    scores = score(block, scoring)
    best = rank(block.photo_ids, _own_first(block.photo_ids, scores.total, own), top_k - passed)[span[0] - passed :]
    relevance = verdicts.whole.chances(scores.total)
    relevance[block.photo_ids == own] = 1.0
    return _Ranked(chosen.path, take(block, best), scores.rows(best), relevance[best], verdicts)


def _nothing(store: Store, asking: Asking, path: Path) -> _Ranked:
    """The ranking of no photos."""
    block = store.vectors(asking.space_id, [])
    scores = score(block, asking.scoring)
    terms = np.zeros(len(asking.scoring.entities), np.float32), np.zeros(len(asking.scoring.negatives), np.float32)
    return _Ranked(path, block, scores, scores.total, asking.verdicts(0.0, *terms, 0, looked_at=0))


def _own_first(ids: Ids, totals: Floats, own: int | None) -> Floats:
    """The totals with that of the photo which the query is, or is a part of, above all others."""
    if own is None or own not in ids:
        return totals
    return np.where(ids == own, np.float32(np.inf), totals)


def _without(ids: Ids, gone: Collection[int]) -> Ids:
    return ids[~np.isin(ids, list(gone))]


def _doubts(asking: Asking, verdicts: Verdicts) -> list[str]:
    """What the caller should know of the judgement: a negative that nothing here surely shows changes little."""
    unwanted = [part for part in asking.parts if part.role == "negative"]
    return [
        f"no photo here surely shows {part.label}; leaving it out changes little"
        for part, verdict in zip(unwanted, verdicts.negatives, strict=True)
        if verdict.anything < verdict.curve.anything_bar
    ]


def _stored_regions(
    store: Store, space_id: int, block: StoredVectors, row: int, masks: Mapping[int, LoadMasks]
) -> StoredRegions:
    first, end = block.offsets[row], block.offsets[row + 1]
    photo_id = int(block.photo_ids[row])
    return StoredRegions(
        block.image[row],
        block.regions[first:end],
        block.boxes[first:end],
        block.scores[first:end],
        masks.get(photo_id) or partial(store.masks, space_id, photo_id),
    )


def _fresh_regions(encoding: PhotoEncoding, photo: Photo, rgb: RGB) -> StoredRegions:
    """Regions of a picture that was encoded just now; its pixels may be a thumbnail of the photo."""
    wide, high = photo.width / rgb.shape[1], photo.height / rgb.shape[0]
    boxes = encoding.boxes * np.array([wide, high, wide, high], np.float32)
    return StoredRegions(
        encoding.image, encoding.regions, boxes, encoding.scores, lambda: encoding.masks, indexed=False
    )
