"""One query made ready: its parts resolved and encoded, what is usual for them, and how they are tied to a photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..errors import SpaceMismatch
from ..grammar import Query
from ..interface.protocol import Calibration, Interface
from ..records import RGB, EntityHit, Photo, QueryEncoding, ResolvedPart, ResolvedQuery, Space
from .blocks import null_of
from .ground import AskedPart, StoredRegions, ground_exact, ground_stored
from .pixels import LoadPicture, PixelCache, indexed_pixels
from .presence import FEW_PHOTOS, general_bar, presence_bar
from .relevance import library_calibration
from .resolve import resolve, stored_encoding, whole_text
from .score import Block, null_cosines, want

if TYPE_CHECKING:
    from ..storage.rows import StoredVectors
    from ..storage.store import Store

Depth: TypeAlias = Literal["stored", "named", "exact"]
ENOUGH_PHOTOS = 16  # of a library, to be a better bank of pictures than drawn ones
NULL_SAMPLE = 1000  # photos of the library against which negatives and presence are judged


@lru_cache(maxsize=2)
def _unpacked(kept: bytes) -> Calibration:
    """The banks of a space, unpacked once and not with every query."""
    return Calibration.from_bytes(kept)


class Model:
    """The interface, built on first use and checked against the space."""

    def __init__(self, factory: Callable[[], Interface], space: Space) -> None:
        self._factory, self._space = factory, space
        self.built: Interface | None = None

    def get(self) -> Interface:
        """The interface; SpaceMismatch when it is not that of the space."""
        if self.built is None:
            interface = self._factory()
            if interface.space != self._space:
                mine, theirs = self._space, interface.space
                alike = (mine.interface, mine.checkpoint, mine.dim) == (theirs.interface, theirs.checkpoint, theirs.dim)
                held, got = (space.preprocessing if alike else
                             f"{space.interface} {space.checkpoint[:8]} (D={space.dim})" for space in (mine, theirs))
                raise SpaceMismatch(
                    f"index holds space {held}, the interface is {got}; ingest again, or set models.interface"
                    f"{', models.regions and models.proposals as they were' if alike else ''}")
            self.built = interface
        return self.built


class Asking:
    """One query in one space: resolved, encoded, and ready to be held against photos.

    Args:
        query: its parts, in order.
        store: the index, or None where there is none.
        space_id: of the index.
        model: asked for an encoding only when stored vectors are not enough.
        load_picture: gives upright RGB for a path, a URL or an array.
        cache: of the pixels of indexed photos.
        depth: how photos will be grounded.
    Attributes:
        parts: resolved.
        wanted: what the score needs.
        notes: what the caller should know; grows as photos are grounded.
    """

    def __init__(self, query: Query, store: Store | None, space_id: int, model: Model, load_picture: LoadPicture,
                 cache: PixelCache, depth: Depth | None) -> None:
        self.store, self.space_id, self.model = store, space_id, model
        self.load_picture, self.cache, self.depth = load_picture, cache, depth
        resolved = resolve(query, store, space_id, load_picture, cache, pixels=depth == "exact")
        self.parts, self.notes = resolved.parts, list(resolved.notes)
        self.encoding = stored_encoding(self.parts) if resolved.stored else model.get().encode_query(self.parts)
        self.wanted = want(self.parts, self.encoding, self.null)

    @cached_property
    def sample(self) -> StoredVectors | None:
        """Photos of the library that mean nothing in particular, or None where there is no library."""
        return None if self.store is None else self.store.null_sample(self.space_id, NULL_SAMPLE)

    @cached_property
    def null(self) -> Block:
        """What negatives and presence are judged against."""
        return null_of(self.sample, self.calibration)

    @cached_property
    def calibration(self) -> Calibration:
        """The interface's own; photos of the library take the place of a bank of drawn pictures."""
        found = self._kept_calibration()
        if found.stand_in and self.sample is not None and len(self.sample.image) >= ENOUGH_PHOTOS:
            mine = library_calibration(self.sample)
            return replace(found, pictures=mine.pictures, regions=mine.regions)
        return found

    def _kept_calibration(self) -> Calibration:
        """The built interface's own, else what the index keeps of it, else a stand-in from the library."""
        if self.model.built is not None:
            return self.model.built.calibration
        kept = None if self.store is None else self.store.load_calibration(self.space_id)
        if kept is not None:
            return _unpacked(kept)
        if self.sample is None or not len(self.sample.image):
            return self.model.get().calibration
        self.notes.append("the index keeps no calibration: relevance is judged against its own photos; ingest again "
                          "to keep one")
        return library_calibration(self.sample)

    @cached_property
    def grounded(self) -> ResolvedQuery:
        """The parts as grounding wants them: plain text alone is one entity."""
        whole = whole_text(self.parts)
        return self.parts if whole is None else (whole, *(part for part in self.parts if part.role == "negative"))

    @cached_property
    def asked(self) -> list[AskedPart]:
        """Entities and negatives in the order of the query, with their bars of presence."""
        encoding = self.encoding
        if self.grounded is not self.parts:
            text = self.model.get().encode_query(self.grounded[:1])
            encoding = QueryEncoding(encoding.legend, text.entities, encoding.negatives)
        rows = {"entity": iter(encoding.entities), "negative": iter(encoding.negatives)}
        parts = [part for part in self.grounded if part.role != "caption"]
        vectors = [next(rows[part.role]) for part in parts]
        null = null_cosines(self.null, np.array(vectors), np.array([part.kind == "picture" for part in parts]))
        return [AskedPart(part, vector, min(presence_bar(known), self._bar_of_anything(part)))
                for part, vector, known in zip(parts, vectors, null, strict=True)]

    def _bar_of_anything(self, part: ResolvedPart) -> float:
        """In a small library, what other phrases or pictures rarely reach in its photos; +inf in a large one."""
        if len(self.null.image) >= FEW_PHOTOS:
            return float("inf")
        bank = self.calibration.phrases if part.kind == "text" else self.calibration.regions
        if not len(bank):
            return float("inf")
        found = null_cosines(self.null, bank, np.zeros(len(bank), bool))
        return general_bar(np.concatenate(found))

    def ground(self, photo: Photo, stored: StoredRegions, rgb: RGB | None = None) -> tuple[EntityHit, ...]:
        """The parts tied to one photo, as deep as was asked for; `rgb` are its pixels where they are at hand."""
        if self.depth is None:
            return ()
        hits = ground_stored(photo, stored, self.asked, masks=self.depth != "named")
        if self.depth in ("stored", "named"):
            return hits
        if rgb is None and self.store is not None:
            rgb = indexed_pixels(self.store, photo, self.load_picture, self.cache)
        if rgb is None:
            self.notes.append(f"neither the original nor the thumbnail of photo {photo.id} is left; "
                              "its stored regions are shown")
            return hits
        bars = iter([asked.bar for asked in self.asked])
        judged = tuple(part if part.role == "caption" else replace(part, bar=next(bars)) for part in self.grounded)
        return ground_exact(photo, hits, self.asked, self.model.get().ground(rgb, judged))
