"""What the catalog knows of photos and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import NotInIndex
from ..records import FailedFile, Location, Photo
from . import copies, facets, reads, spaces, text_reads, writes
from .copies import PhotoCopies
from .open_store import OpenStore
from .rows import KnownLocation, ShaKnown


class PhotoStore(OpenStore):
    """The part of a `Store` that reads facts of photos; it writes nothing."""

    def photo(self, photo_id: int) -> Photo:
        """One photo by id; NotInIndex when there is none."""
        found = self.photos([photo_id])
        if photo_id not in found:
            raise NotInIndex(
                f"photo {photo_id} is not in the catalog, expected the id of a photo of this index; "
                "`interleave-index search --json` prints the ids of hits"
            )
        return found[photo_id]

    def photos(self, photo_ids: Sequence[int]) -> dict[int, Photo]:
        """Those of the ids that the catalog knows."""
        with self._session.reading() as connection:
            return reads.photos(connection, photo_ids)

    def photo_by_path(self, path: Path | str) -> Photo | None:
        """The photo at a path, present or missing, or None."""
        with self._session.reading() as connection:
            photo_id = reads.photo_id_at(connection, path)
            return None if photo_id is None else reads.photos(connection, [photo_id]).get(photo_id)

    def photo_by_sha(self, sha256: str) -> Photo | None:
        """The photo with this content, or None."""
        with self._session.reading() as connection:
            photo_id = writes.photo_ids_by_sha(connection, [sha256]).get(sha256)
            return None if photo_id is None else reads.photos(connection, [photo_id]).get(photo_id)

    def photos_by_sha(self, shas: Sequence[str], *, space_id: int | None = None) -> dict[str, ShaKnown]:
        """Those of these contents that are photos of the catalog; `encoded` is about the space, None the active one."""
        with self._session.reading() as connection:
            return reads.photos_by_sha(connection, shas, space_id or spaces.active_id(connection))

    def copies(self) -> list[PhotoCopies]:
        """Every photo with a present file, by id, with all its present files."""
        with self._session.reading() as connection:
            return copies.present(connection)

    def locations(self, photo_id: int) -> list[Location]:
        """Every path of a photo, the one that `Photo.path` shows first."""
        with self._session.reading() as connection:
            return reads.locations(connection, photo_id)

    def known_locations(self, roots: Sequence[Path | str], *, space_id: int | None = None) -> dict[str, KnownLocation]:
        """Every location at or below the roots, by path as `os.fsdecode` makes it.

        Args:
            space_id: the space that `encoded` is about; None is the active one.
        """
        with self._session.reading() as connection:
            return reads.known_locations(connection, roots, space_id or spaces.active_id(connection))

    def failed(self) -> list[FailedFile]:
        """Every file that could not be read, by path, with the reason of the last try."""
        with self._session.reading() as connection:
            texts = text_reads.failed(connection) if text_reads.are_there(connection) else []
            return sorted([*reads.failed(connection), *texts], key=lambda failed: failed.path)

    def below(self, folder: Path | str) -> list[int]:
        """Ids of the photos with a location at or below a path, present or missing, ascending."""
        with self._session.reading() as connection:
            return reads.ids_below(connection, folder)

    def has_below(self, folder: Path | str) -> bool:
        """Whether some photo has a location at or below a path, present or missing."""
        with self._session.reading() as connection:
            return reads.has_below(connection, folder)

    def cameras(self) -> list[str]:
        """Names of the cameras that `facets` counts, most photos first."""
        rows = self._session.remembered("cameras", facets.cameras)
        return [name for name, _ in rows]

    def facets(self) -> dict[str, Any]:
        """What photos can be filtered by, with counts; see `storage.facets`."""
        return self._session.remembered("facets", facets.facets)
