"""A query from its parts to its answer, and one photo to its grounded hit: the stages of this room in their order.

Knows the store and the interface protocol. The interface is built only when a query needs it: one that is made of
photos and regions of the index runs on stored vectors alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, NotInIndex
from ..grammar import Query
from ..interface.protocol import Calibration, Interface
from ..records import RGB, Answer, Filters, Floats, Hit, Photo, PhotoEncoding, ResolvedPart
from .alone import ground_alone
from .asking import Asking, Depth, Model
from .blocks import block_of, take
from .candidates import Ids, Mode, Path, every_cosine, nearest, plan
from .ground import LoadMasks, StoredRegions
from .pixels import LoadPicture, PixelCache
from .relevance import relevance, standardised
from .resolve import names_indexed, resolve
from .score import Block, Wanted, fuse, rank, score
from .settings import Dials, QuerySettings

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

RESCORED = 32  # photos beyond the last hit that are scored once more in one block, so that equals tie on every path
_CACHE = PixelCache()
_DEFAULTS = QuerySettings()


def search(store: Store, interface_factory: Callable[[], Interface], query: Query, *, top_k: int = 10,
           filters: Filters | None = None, load_picture: LoadPicture, mode: Mode = "auto",
           ground: Depth | None = "stored", settings: Dials = _DEFAULTS, cache: PixelCache | None = None,
           skip: int = 0) -> Answer:
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
    Returns:
        Hits, best first, ties by photo id; no hits when nothing is indexed or the filters leave nothing.
    Raises:
        EmptyQuery: nothing but negatives.
        NotInIndex: the query names a photo or region that is not there.
        SpaceMismatch: the interface is not that of the active space.
        ImageUnreadable, ImageTooLarge, ShapeError, InputError: a picture of the query, or one of the arguments.
    """
    if ground not in ("stored", "named", "exact", None) or top_k < 0 or skip < 0:
        raise InputError(f"ground is {ground!r}, top_k is {top_k} and skip {skip}, expected stored, "
                         "named, exact or None, and 0 or more")
    active = store.active_space()
    if active is None:
        resolve(query, None, 0, load_picture)  # a query that could never be answered is still an error
        return Answer(str(query), "exact", (), notes=("nothing is indexed yet",))
    space_id, space = active
    asking = Asking(query, store, space_id, Model(interface_factory, space), load_picture,
                     _CACHE if cache is None else cache, ground)
    try:
        path, shown, totals = _ranked(store, asking, filters or Filters(), mode, (skip, skip + top_k), settings)
    except NotInIndex:  # a photo was taken out between the look at the indexes and the look at the catalog
        path, shown, totals = _ranked(store, asking, filters or Filters(), mode, (skip, skip + top_k), settings)
    judged = _relevance(totals, shown, asking.parts, asking.calibration, settings)
    photos = store.photos(shown.photo_ids.tolist())
    masks = store.many_masks(space_id, shown.photo_ids.tolist()) if ground is not None else {}
    hits: list[Hit] = []
    for row, photo_id in enumerate(shown.photo_ids.tolist()):
        if photo_id in photos:  # else it was taken out just now
            entities = asking.ground(photos[photo_id], _stored_regions(store, space_id, shown, row, masks))
            hits.append(Hit(skip + len(hits) + 1, photos[photo_id], float(totals[row]), float(judged[row]), entities))
    return Answer(str(query), path, tuple(hits), tuple(dict.fromkeys(asking.notes)),
                  _cutoff(settings, asking.calibration))


def ground(interface: Interface, rgb: RGB, query: Query, *, load_picture: LoadPicture, photo: Photo | None = None,
           store: Store | None = None, depth: Depth = "exact", settings: Dials = _DEFAULTS,
           cache: PixelCache | None = None) -> Hit:
    """Look at one picture, indexed or not, and mask what each entity of the query means in it.

    Args:
        interface: looks, and encodes the picture and the query.
        rgb: (H, W, 3) uint8, upright.
        query: plain text alone is grounded as one entity.
        load_picture: gives upright RGB for a path, a URL or an array.
        photo: facts of an indexed photo; masks and boxes get its size. None stands for a picture that is not indexed.
        store: its active space, when it is the interface's, resolves `[photo:]` and `[region:]` and is what presence
            and negatives are judged against; else the interface's own bank is, and such parts are an error.
        depth: `stored` takes the proposals that an ingest would store, `exact` a look conditioned on the query.
    Returns:
        One hit of rank 1, with the score and relevance that the photo would have in a search.
    Raises:
        as `search`.
    """
    known = photo or Photo(id=0, path=None, width=int(rgb.shape[1]), height=int(rgb.shape[0]))
    if getattr(interface, "only_grounds", False):
        return ground_alone(interface, rgb, query, known, load_picture)
    active = store.active_space() if store is not None else None
    if active is not None and active[1] != interface.space:
        if names_indexed(query):  # their vectors mean nothing to this interface
            Model(lambda: interface, active[1]).get()
        store, active = None, None
    asking = Asking(query, store, active[0] if active else 0, Model(lambda: interface, interface.space), load_picture,
                     _CACHE if cache is None else cache, depth)
    encoding = interface.encode_photos([rgb])[0]
    block = block_of([encoding])
    totals = _totals(block, asking.wanted, settings)
    judged = _relevance(totals, block, asking.parts, asking.calibration, settings)
    entities = asking.ground(known, _fresh_regions(encoding, known, rgb), rgb)
    return Hit(1, known, float(totals[0]), float(judged[0]), entities)


def _ranked(store: Store, asking: Asking, filters: Filters, mode: Mode, span: tuple[int, int],
            settings: Dials) -> tuple[Path, StoredVectors, Floats]:
    """The path taken, the vectors of the photos that rank in this span, best first, and their scores."""
    passed, top_k = max(0, span[0] - RESCORED), span[1]  # what ranks far above the span is not looked at again
    allowed = store.eligible(asking.space_id, filters)
    photos, regions = store.count(asking.space_id)
    eligible = photos if allowed is None else len(allowed)
    chosen = plan(mode, photos=photos, regions=regions, eligible=eligible, entities=len(asking.wanted.entities),
                  top_k=top_k, candidates=settings.candidates)
    ids = np.zeros(0, np.int64)
    if eligible and top_k:
        indexes = store.indexes(asking.space_id)
        if chosen.path == "ann":
            allowed = nearest(indexes, asking.wanted, allowed, chosen.count)
        ids = _best(indexes, asking.wanted, allowed, top_k + RESCORED, settings)[passed:]
    block = store.vectors(asking.space_id, ids)
    totals = _totals(block, asking.wanted, settings)
    best = rank(block.photo_ids, totals, top_k - passed)[span[0] - passed :]
    return chosen.path, take(block, best), totals[best]


def _best(indexes: SpaceIndexes, wanted: Wanted, allowed: Ids | None, count: int, settings: Dials) -> Ids:
    ids, cosines = every_cosine(indexes, wanted, allowed)
    totals = fuse(cosines, wanted, entity_weight=settings.entity_weight, negative_weight=settings.negative_weight).total
    return ids[rank(ids, totals, count)]


def _totals(block: Block, wanted: Wanted, settings: Dials) -> Floats:
    return score(block, wanted, entity_weight=settings.entity_weight, negative_weight=settings.negative_weight).total


def _relevance(totals: Floats, block: Block, parts: Sequence[ResolvedPart], calibration: Calibration,
               settings: Dials) -> Floats:
    z = standardised(totals, block, parts, calibration, entity_weight=settings.entity_weight)
    return relevance(z, parts, calibration)


def _cutoff(settings: Dials, calibration: Calibration) -> float:
    return calibration.cutoff if settings.cutoff is None else settings.cutoff


def _stored_regions(store: Store, space_id: int, block: StoredVectors, row: int,
                    masks: Mapping[int, LoadMasks]) -> StoredRegions:
    first, end = block.offsets[row], block.offsets[row + 1]
    photo_id = int(block.photo_ids[row])
    return StoredRegions(block.image[row], block.regions[first:end], block.boxes[first:end], block.scores[first:end],
                         masks.get(photo_id) or partial(store.masks, space_id, photo_id))


def _fresh_regions(encoding: PhotoEncoding, photo: Photo, rgb: RGB) -> StoredRegions:
    """Regions of a picture that was encoded just now; its pixels may be a thumbnail of the photo."""
    wide, high = photo.width / rgb.shape[1], photo.height / rgb.shape[0]
    boxes = encoding.boxes * np.array([wide, high, wide, high], np.float32)
    return StoredRegions(encoding.image, encoding.regions, boxes, encoding.scores, lambda: encoding.masks,
                         indexed=False)
