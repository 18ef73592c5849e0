"""One part of a library: the vectors of its photos in an index of its own, which follows the catalog. Knows no Ray.

That index is an ordinary one, in a folder of the machine that holds the part, with generations of its own; nothing in
it is lost with it, for all of it comes from the catalog. Its photos have ids of their own, in the order in which they
came; nobody outside sees these.

A question names the photos that it is about by a digest. A part that holds others looks at the catalog first. What it
holds is one object that is put in the place of the one before, so that questions go on with the old one while photos
are fetched and new FAISS files are made.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BackendMissing, EncodingDamaged, IndexBusy, NotInIndex, StorageError
from ..query.candidates import every_cosine
from ..query.leading import Leading, leading
from ..query.rough import best_by_rough_scores
from ..query.score import fuse, with_texts
from ..records import Floats, PhotoFacts
from ..storage.store import Store
from .sharing import NONE, Asked, BestAsked, Changed, Ids, IndexAsked, Moment, Reply, RoughAsked, State, digest, share

if TYPE_CHECKING:
    from ..storage.indexes import SpaceIndexes

AT_A_TIME = 512  # photos of one transaction
LOCATIONS = 16  # bits of a photo's id that stand for its place in a folder: so many locations are read at a time
PATIENCE = 2.0  # seconds that a question waits for photos that came just now, while files are made


@dataclass(frozen=True, slots=True)
class Held:
    """What a part holds of one space at one moment.

    Attributes:
        digest: of its photos.
        photo_ids: (n,) of the catalog, ascending.
        own_ids: (n,) ids of the same photos in the part's own index.
        indexes: of that index, as they were at that moment.
        in_order: photos came in the order of their ids.
    """

    digest: bytes
    photo_ids: Ids
    own_ids: Ids
    indexes: SpaceIndexes
    in_order: bool

    def own(self, photo_ids: Ids) -> Ids:
        """Own ids, ascending, of those photos that are held."""
        if not len(self.photo_ids):
            return NONE
        places = np.minimum(np.searchsorted(self.photo_ids, photo_ids), len(self.photo_ids) - 1)
        return np.sort(self.own_ids[places[self.photo_ids[places] == photo_ids]])

    def of_catalog(self, own_ids: Ids) -> Ids:
        """Ids of the catalog of photos by their own ids, in their order."""
        if self.in_order:
            return self.photo_ids[np.searchsorted(self.own_ids, own_ids)]
        order = np.argsort(self.own_ids, kind="stable")
        return self.photo_ids[order[np.searchsorted(self.own_ids, own_ids, sorter=order)]]


class Partition:
    """Part `number` of `parts` of the library of a catalog.

    Args:
        catalog: name of the index that holds the catalog.
        folder: of the part's own index; one process at a time has it.
    """

    def __init__(self, catalog: str, number: int, parts: int, folder: Path) -> None:
        self.number, self.parts = number, parts
        self._catalog = Store.open(catalog)
        try:
            self._store = Store.open(folder, create=True)
        except BaseException:
            self._catalog.close()
            raise
        self._held: dict[int, Held] = {}
        self._photos: dict[int, int] = {}  # by id of the catalog, the own id
        self._writing = threading.Lock()
        self._known = False

    def close(self) -> None:
        """Give back both indexes."""
        with self._writing:
            self._store.close()
            self._catalog.close()

    # --- following the catalog ---------------------------------------------------------------

    def follow(self) -> None:
        """Take in what came to the active space, and put new FAISS files in the place of old ones where that is due."""
        active = self._catalog.active_space()
        if active is None:
            return
        self._fetch(active[0], patience=-1)
        space_id = self._store.ensure_space(active[1])
        if self._store.due(space_id):
            with self._writing, suppress(BackendMissing, IndexBusy):  # what is not in files is searched all the same
                self._store.optimize(space_id)
            self._fetch(active[0], patience=-1)

    def _fetch(self, space_id: int, patience: float) -> None:
        """Bring what is held of a space up to date.

        Args:
            patience: seconds to wait while files are made; then it stays as it is. -1 waits for as long as that takes.
        """
        if not self._writing.acquire(timeout=patience):
            return
        try:
            for _ in range(8):  # photos that are taken out while they are fetched make the list another one
                try:
                    self._held[space_id] = self._up_to_date(space_id)
                    return
                except NotInIndex:
                    continue
                except EncodingDamaged as error:  # so do those; the process that searches learns it from the catalog
                    with suppress(StorageError):  # it is busy, or may only be read
                        self._catalog.keep_damaged(space_id, error.photo_ids)
        finally:
            self._writing.release()

    def _up_to_date(self, space_id: int) -> Held:
        space = next((row.space for row in self._catalog.spaces() if row.id == space_id), None)
        if space is None:
            raise NotInIndex(f"space {space_id} is not in the catalog")
        wanted = share(self._catalog.encoded(space_id), self.number, self.parts)
        own_space, name, held = self._store.ensure_space(space), digest(wanted), self._held.get(space_id)
        if held is not None and held.digest == name:
            return replace(held, indexes=self._store.indexes(own_space))
        self._recall(wanted)
        encoded = self._store.encoded(own_space)
        there = np.array([photo_id for photo_id in wanted.tolist() if photo_id in self._photos], np.int64)
        own = np.array([self._photos[photo_id] for photo_id in there.tolist()], np.int64)
        surplus = np.setdiff1d(encoded, own)
        if len(surplus):
            self._forget(surplus)
        new = np.setdiff1d(wanted, there[np.isin(own, encoded)])
        for start in range(0, len(new), AT_A_TIME):
            self._take_in(space_id, own_space, new[start : start + AT_A_TIME])
        if len(new) and self._store.due(own_space) and space_id not in self._held:
            with suppress(BackendMissing):
                self._store.optimize(own_space)
        own_ids = np.array([self._photos[photo_id] for photo_id in wanted.tolist()], np.int64)
        return Held(name, wanted, own_ids, self._store.indexes(own_space), bool((np.diff(own_ids) > 0).all()))

    def _recall(self, wanted: Ids) -> None:
        """Find out once which photos an earlier process took in."""
        if self._known:
            return
        for folder in np.unique(wanted >> LOCATIONS).tolist():
            found = self._store.known_locations([Path(f"/{folder}")])
            self._photos |= {int(Path(path).name): row.photo_id for path, row in found.items() if row.photo_id}
        self._known = True

    def _forget(self, own_ids: Ids) -> None:
        self._store.forget(own_ids.tolist())
        gone = set(own_ids.tolist())
        self._photos = {photo_id: own for photo_id, own in self._photos.items() if own not in gone}

    def _take_in(self, space_id: int, own_space: int, photo_ids: Ids) -> None:
        """Copy the vectors of some photos; what else is known of them stays in the catalog."""
        block = self._catalog.vectors(space_id, photo_ids)
        cuts = block.offsets[1:-1]
        facts = [PhotoFacts(f"{photo_id:064x}", 1, 1, "NONE") for photo_id in photo_ids.tolist()]
        own = self._store.write_encodings(
            own_space,
            facts,
            block.image,
            np.split(block.regions, cuts),
            np.split(block.boxes, cuts),
            np.split(block.areas, cuts),
            np.split(block.scores, cuts),
            paths=[f"/{photo_id >> LOCATIONS}/{photo_id}" for photo_id in photo_ids.tolist()],
        )
        self._photos.update(zip(photo_ids.tolist(), own, strict=True))

    # --- answering ---------------------------------------------------------------------------

    def ask(self, moment: Moment, asked: Asked) -> Reply:
        """Answer one question; several threads may ask at once.

        Raises:
            NotInIndex: there is no such space.
            StorageError: the catalog cannot be read, and what is held is not what the question is about.
        """
        held = self._held.get(moment.space_id)
        if held is None or held.digest != moment.digest:
            self._fetch(moment.space_id, PATIENCE)
            held = self._held.get(moment.space_id)
        if held is None:
            raise NotInIndex(f"space {moment.space_id} is not held by part {self.number} yet")
        behind = 0
        if held.digest != moment.digest:
            if asked.allowed is None:
                return Reply(Changed("photos"))
            behind = int((~np.isin(asked.allowed, held.photo_ids)).sum())
        return Reply(self._answer(held, asked), behind)

    def _answer(self, held: Held, asked: Asked) -> object:
        allowed = None if asked.allowed is None else held.own(asked.allowed)
        if isinstance(asked, BestAsked):
            return self._best(held, asked, allowed)
        if isinstance(asked, RoughAsked):
            return self._roughly_best(held, asked, allowed)
        if isinstance(asked, IndexAsked):
            return self._of_index(held, asked, allowed)
        kinds = (held.indexes.image, held.indexes.region)
        return State(len(held.photo_ids), {index.kind: index.is_exact for index in kinds})

    def _best(self, held: Held, asked: BestAsked, allowed: Ids | None) -> Leading:
        own_ids, cosines = every_cosine(held.indexes, asked.query, allowed)
        photo_ids = held.of_catalog(own_ids)
        scores = with_texts(fuse(cosines, asked.query), asked.added.to(photo_ids))
        return leading(photo_ids, scores, asked.count, asked.own)

    def _roughly_best(self, held: Held, asked: RoughAsked, allowed: Ids | None) -> tuple[Ids, Floats]:
        def added(own_ids: Ids) -> Floats:
            return asked.added.to(held.of_catalog(own_ids))

        best = best_by_rough_scores(held.indexes, asked.query, allowed, asked.count, added)
        return held.of_catalog(best.photo_ids), best.scores

    def _of_index(self, held: Held, asked: IndexAsked, allowed: Ids | None) -> object:
        index = held.indexes.of(asked.kind)
        if index.is_exact != asked.exact:
            return Changed("files")
        if asked.method == "nearest_photos":
            near = index.nearest_photos(asked.queries, asked.count, allowed)
            return [one._replace(photo_ids=held.of_catalog(one.photo_ids)) for one in near]
        every = index.rough if asked.method == "rough" else index.best
        own_ids, scores = every(asked.queries, allowed)
        photo_ids = held.of_catalog(own_ids)
        order = np.argsort(photo_ids, kind="stable")
        return photo_ids[order], scores[order]
