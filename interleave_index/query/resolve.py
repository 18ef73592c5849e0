"""From parts to parts with pixels and stored vectors: what an interface wants to see of a query.

A query made only of photos and regions of the index needs no model: its entities are the stored vectors,
and its legend is their mean, weighted as the entities are and scaled to length 1. As soon as text or an
outside picture takes part, indexed photos are looked at again: the original, else the thumbnail; if neither
is left, the stored vector stands in and a note is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..errors import EmptyQuery, InputError, NotInIndex, ShapeError
from ..geometry import box_mask, resize_mask, unit
from ..grammar import Query
from ..paths import is_url, user_path
from ..records import (
    RGB,
    BoolMask,
    Entity,
    Floats,
    Not,
    PhotoRef,
    Picture,
    QueryEncoding,
    RegionRef,
    ResolvedPart,
    ResolvedQuery,
    Term,
)
from ..terms import label
from .pixels import LoadPicture, PixelCache, indexed_pixels, marked, prompt_of

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query ready to be encoded.

    Attributes:
        parts: in the order of the query.
        stored: every part is a photo or region of the index, so that no model is needed.
        notes: what the caller should know.
    """

    parts: ResolvedQuery
    stored: bool
    notes: tuple[str, ...] = ()


def resolve(
    query: Query,
    store: Store | None,
    space_id: int,
    load_picture: LoadPicture,
    cache: PixelCache | None = None,
    *,
    pixels: bool = False,
) -> Resolved:
    """Fetch what the parts of a query name.

    Args:
        query: any.
        store: where `[photo:]` and `[region:]` are looked up; None when there is no index.
        space_id: whose vectors and masks are meant.
        load_picture: gives upright RGB for a path, a URL or an array.
        cache: of the pixels of indexed photos.
        pixels: fetch them also where stored vectors are enough for the score.
    Raises:
        EmptyQuery: nothing but negatives.
        NotInIndex: a photo or region that is not there.
        ImageUnreadable, ImageTooLarge: a picture that cannot be loaded.
        InputError, ShapeError: a box, point or mask that does not fit its picture.
    """
    if all(isinstance(part, Not) for part in query):
        raise EmptyQuery("query has negatives only, expected also something to look for; add text or a part to it")
    terms = [part.term if isinstance(part, Not) else part for part in query]
    references = [term for term in terms if isinstance(term, PhotoRef | RegionRef)]
    stored = len(references) == len(terms)
    look_up = _References(store, space_id, load_picture, cache or PixelCache(), references, pixels=pixels or not stored)
    parts = tuple(_part(part, look_up, load_picture) for part in query)
    return Resolved(parts, stored, tuple(look_up.notes))


def check_pictures(query: Query, load_picture: LoadPicture) -> None:
    """Load the pictures of a query and their marks, for the errors of these, which can be told before a model is built.

    Pictures that lie elsewhere (http) and those that come through a pipe are left for later: they are read once.

    Raises:
        ImageUnreadable, ImageTooLarge, InputError, ShapeError: as `resolve`.
    """
    for part in query:
        term = part.term if isinstance(part, Not) else part
        if isinstance(term, Picture) and not (_is_read_once(term.source) or _is_read_once(term.mask)):
            marked(term, _rgb(load_picture(term.source), label(term)), load_picture)


def names_indexed(query: Query) -> bool:
    """Whether a part of the query, negative or not, is a photo or region of the index."""
    return any(isinstance(part.term if isinstance(part, Not) else part, PhotoRef | RegionRef) for part in query)


def named_photos(query: Query) -> set[int]:
    """Ids of the photos that the query names, whole or in part, negatives not counted."""
    return {part.photo_id for part in query if isinstance(part, PhotoRef | RegionRef)}


def own_photo(query: Query) -> int | None:
    """Id of the photo that the query is, or is a part of: its only part but for negatives; else None."""
    wanted = [part for part in query if not isinstance(part, Not)]
    only = wanted[0] if len(wanted) == 1 else None
    return only.photo_id if isinstance(only, PhotoRef | RegionRef) else None


def stored_encoding(parts: Sequence[ResolvedPart]) -> QueryEncoding:
    """The encoding of a query made only of photos and regions of the index, without a model.

    Args:
        parts: all with a stored vector; at least one is not a negative.
    Returns:
        Entities and negatives are the stored vectors, the legend is the weighted mean of the entities, unit length.

    >>> east, north = np.eye(2, dtype=np.float32)
    >>> parts = [ResolvedPart("entity", "picture", "[photo:1]", vector=east, weight=3),
    ...          ResolvedPart("entity", "picture", "[photo:2]", vector=north, weight=4)]
    >>> stored_encoding(parts).legend.round(3).tolist()
    [0.6000000238418579, 0.800000011920929]
    """
    wanted = [part for part in parts if part.role == "entity"]
    entities, negatives = _vectors(wanted), _vectors([part for part in parts if part.role == "negative"])
    weights = np.array([part.weight for part in wanted], np.float32)
    return QueryEncoding(legend=unit(weights @ entities), entities=entities, negatives=negatives)


def whole_text(parts: Sequence[ResolvedPart]) -> ResolvedPart | None:
    """The whole text as one entity, for a query of plain text: it is grounded, and does not enter the score."""
    if any(part.role == "entity" for part in parts):
        return None
    return ResolvedPart("entity", "text", " ".join(part.label for part in parts if part.role == "caption"))


def _part(part: str | Term | Not, look_up: _References, load_picture: LoadPicture) -> ResolvedPart:
    if isinstance(part, str):
        return ResolvedPart("caption", "text", part)
    role: Literal["entity", "negative"] = "negative" if isinstance(part, Not) else "entity"
    term = part.term if isinstance(part, Not) else part
    if isinstance(term, Entity):
        return ResolvedPart(role, "text", label(term), weight=term.weight)
    if isinstance(term, Picture):
        photo = _rgb(load_picture(term.source), label(term))
        mask, background = marked(term, photo, load_picture)
        return ResolvedPart(
            role,
            "picture" if mask is None else "region",
            label(term),
            photo=photo,
            mask=mask,
            background=background,
            weight=term.weight,
            prompt=None if mask is None else prompt_of(term, mask),
        )
    pixels, inside = look_up.pixels(term)
    return ResolvedPart(
        role,
        "picture" if isinstance(term, PhotoRef) else "region",
        label(term),
        photo=pixels,
        mask=inside,
        vector=look_up.vector(term),
        weight=term.weight,
    )


class _References:
    """Vectors and, when wanted, pixels of the photos and regions that a query names."""

    def __init__(
        self,
        store: Store | None,
        space_id: int,
        load_picture: LoadPicture,
        cache: PixelCache,
        terms: Sequence[PhotoRef | RegionRef],
        *,
        pixels: bool,
    ) -> None:
        self.notes: list[str] = []
        self._store, self._space_id, self._pixels = store, space_id, pixels
        self._load_picture, self._cache = load_picture, cache
        self._row = {photo_id: row for row, photo_id in enumerate(dict.fromkeys(term.photo_id for term in terms))}
        if terms and store is None:
            raise InputError(f"query names {label(terms[0])}, expected pictures or text where there is no index")
        self._vectors = _stored_vectors(store, space_id, list(self._row)) if store is not None and terms else None

    def vector(self, term: PhotoRef | RegionRef) -> Floats:
        """(D,) float32 stored embedding."""
        row, vectors = self._row[term.photo_id], self._vectors_of()
        if isinstance(term, PhotoRef):
            photo_vector: Floats = vectors.image[row]
            return photo_vector
        first, end = vectors.offsets[row : row + 2]
        if term.ordinal >= end - first:
            raise NotInIndex(
                f"photo {term.photo_id} has {end - first} regions, {label(term)} asks for number "
                f"{term.ordinal} counted from 0"
            )
        region: Floats = vectors.regions[first + term.ordinal]
        return region

    def pixels(self, term: PhotoRef | RegionRef) -> tuple[RGB | None, BoolMask | None]:
        """Upright pixels, and the region's mask at their size; None when they are not needed or not left."""
        if not self._pixels or self._store is None:
            return None, None
        self.vector(term)  # a region that is not there is an error before any file is opened
        photo = indexed_pixels(self._store, self._store.photo(term.photo_id), self._load_picture, self._cache)
        if photo is None:
            self.notes.append(
                f"neither the original nor the thumbnail of photo {term.photo_id} is left; "
                f"its stored vector stands in for {label(term)}"
            )
            return None, None
        if isinstance(term, PhotoRef):
            return photo, None
        return photo, self._mask(self._store, term, (int(photo.shape[0]), int(photo.shape[1])))

    def _mask(self, store: Store, term: RegionRef, size: tuple[int, int]) -> BoolMask:
        masks = store.masks(self._space_id, term.photo_id)
        if term.ordinal < len(masks):
            return resize_mask(masks[term.ordinal].decode(), size)
        known = store.photo(term.photo_id)  # encodings made elsewhere may come without masks: then the box is the part
        row = self._vectors_of().offsets[self._row[term.photo_id]] + term.ordinal
        x0, y0, x1, y1 = (float(value) for value in self._vectors_of().boxes[row])
        wide, high = size[1] / known.width, size[0] / known.height
        return box_mask((x0 * wide, y0 * high, x1 * wide, y1 * high), size)

    def _vectors_of(self) -> StoredVectors:
        if self._vectors is None:
            raise NotInIndex("the query names nothing of the index")
        return self._vectors


def _stored_vectors(store: Store, space_id: int, photo_ids: list[int]) -> StoredVectors:
    """Of these photos; NotInIndex where there is no such photo, or no vectors of it in the space."""
    try:
        return store.vectors(space_id, photo_ids)
    except NotInIndex:
        for photo_id in photo_ids:
            store.photo(photo_id)
        raise


def _vectors(parts: Sequence[ResolvedPart]) -> Floats:
    vectors = [part.vector for part in parts if part.vector is not None]
    if len(vectors) < len(parts):
        raise ShapeError(f"{len(parts) - len(vectors)} parts of the query have no stored vector, expected one for each")
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 0), np.float32)


def _is_read_once(source: object) -> bool:
    """Whether a picture is of the network, or comes through a pipe or another stream of this process."""
    if not isinstance(source, str | Path):
        return False
    if is_url(source):
        return True
    path = Path(user_path(str(source)))
    return str(source).lower().startswith(("http://", "https://")) or (path.exists() and not path.is_file())


def _rgb(photo: RGB, name: str) -> RGB:
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ShapeError(f"picture {name} has shape {photo.shape} and dtype {photo.dtype}, expected (H, W, 3) uint8")
    return photo
