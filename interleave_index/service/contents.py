"""What an index holds: photos with their facts, pixels, regions and files, and the texts beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ImageUnreadable, NotInIndex
from ..paths import absolute, user_path, without_links
from ..records import RGB, FailedFile, Filters, Location, Photo, Region
from ..records.texts import Passage
from .opened import OpenIndex
from .pictures import load_picture

if TYPE_CHECKING:
    from ..query.pixels import PixelCache


class Contents(OpenIndex):
    """Questions that read the catalog and need no model."""

    def load_picture(self, source: Path | str | RGB) -> RGB:
        """A picture from a path, an http(s) URL (not when offline) or an array, upright (H, W, 3) uint8.

        Raises:
            ImageUnreadable, ImageTooLarge.
        """
        return load_picture(source, self._config)

    def photo(self, photo_id: int) -> Photo:
        """Facts of one photo.

        Raises:
            NotInIndex: no photo has this id.
        """
        return self._store.photo(int(photo_id))

    def photos(self, photo_ids: Sequence[int]) -> dict[int, Photo]:
        """Facts of several photos, by id, read at once; ids that are not in the catalog are left out."""
        return self._store.photos(photo_ids)

    def pixels(self, photo: Photo | int) -> RGB:
        """Upright (H, W, 3) uint8 pixels of an indexed photo: the original while it is unchanged, else the thumbnail.

        Raises:
            NotInIndex: no photo has this id.
            ImageUnreadable: neither the original nor the thumbnail is left.
        """
        from ..query.pixels import indexed_pixels

        known = self._store.photo(int(photo)) if isinstance(photo, int | np.integer) else photo
        if not known.id and known.path is not None:
            return self.load_picture(known.path)  # a picture that was only grounded
        found = indexed_pixels(self._store, known, self.load_picture, self._cache)
        if found is None:
            raise ImageUnreadable(
                f"neither the original nor the thumbnail of photo {known.id} is left "
                f"(last seen at {known.path}); put the file back and ingest again"
            )
        return found

    def owns(self, path: Path) -> bool:
        """Whether a path is that of an indexed photo or text, or lies in the folder of the index.

        No output may go there.
        """
        if path.is_relative_to(os.path.realpath(self.folder)) or self._store.photo_by_path(path) is not None:
            return True
        return os.fspath(path) in self._store.texts.known([path])

    def texts(self, about: Photo | int | Path | str | None = None) -> list[Passage]:
        """Passages of the index by source and place in it: all of them, or those of one photo or source.

        Args:
            about: a photo, its id, its path, or the path of a sidecar or page.
        Raises:
            NotInIndex: neither a photo nor a text of the index lies at the path.
        """
        if isinstance(about, str | Path):
            photo = self._store.photo_by_path(absolute(user_path(about)))
            return self._texts_at(about) if photo is None else self._store.texts.of_photo(photo.id)
        if about is not None:
            return self._store.texts.of_photo(int(about.id if isinstance(about, Photo) else about))
        ids = self._store.texts.every()
        known = self._store.texts.passages(ids)
        return [known[passage_id] for passage_id in ids if passage_id in known]

    def _texts_at(self, path: Path | str) -> list[Passage]:
        place = without_links(user_path(path))
        found = self._store.texts.at(place)
        if not found:
            raise NotInIndex(f"no photo and no text at {place} is in the index; check the path, or ingest it")
        return found

    def library(self, filters: Filters | None = None) -> Iterator[tuple[Photo, tuple[Region, ...]]]:
        """Every photo of the active space that passes the filters, by id, with its stored regions, best first.

        Masks have a long side of at most 512; boxes are in pixels of the upright photo. A few hundred photos
        are held at a time.
        """
        from ..storage.library import library

        active = self._store.active_space()
        if active is not None:
            yield from library(self._store, active[0], self.ids(filters).tolist())

    def ids(self, filters: Filters | None = None) -> NDArray[np.int64]:
        """Ids of the photos of the active space that pass the filters, ascending; shared: do not write to it."""
        active = self._store.active_space()
        if active is None:
            return np.zeros(0, np.int64)
        wanted = self._store.eligible(active[0], filters or Filters())
        return self._store.encoded(active[0]) if wanted is None else wanted  # None: the filters leave nothing out

    def regions(self, photo_id: int) -> tuple[Region, ...]:
        """Stored regions of one photo in the active space, best first, masks as in `library`.

        Raises:
            NotInIndex: no photo has this id, or it has no encoding in the active space.
        """
        from ..storage.library import regions

        active = self._store.active_space()
        known = self._store.photo(int(photo_id))
        return regions(self._store, active[0], known.id) if active else ()

    def thumbnail(self, photo: Photo | int) -> Path:
        """Where the thumbnail of an indexed photo lies, a JPEG; it may be gone, the next ingest makes it again."""
        known = self._store.photo(int(photo)) if isinstance(photo, int | np.integer) else photo
        return self._store.thumbnail_path(known.sha256)

    def facets(self) -> dict[str, Any]:
        """What photos can be filtered by, with counts: `cameras`, `folders`, `months`, `places`, `placed`, `texts`."""
        return self._store.facets()

    def failed(self) -> list[FailedFile]:
        """Every file that could not be read when it was last tried, by path, with the reason."""
        return self._store.failed()

    def locations(self, photo: Photo | int) -> list[Location]:
        """Every path of an indexed photo, that of `Photo.path` first; last the files of the same shot beside them.

        Those are raw files beside a JPEG or HEIF and films of live photos, as long as they are no photos of their own.
        """
        from ..ingest.companions import companions

        known = self._store.locations(int(photo) if isinstance(photo, int | np.integer) else photo.id)
        beside = {path: kind for place in known if place.present for path, kind in companions(place.path)}
        own = [path for path in beside if self._store.photo_by_path(path) is None]
        return known + [Location(path, True, beside[path]) for path in own]

    @property
    def _cache(self) -> PixelCache:
        """Indexed photos that queries looked at last."""
        from ..query.pixels import PixelCache

        if self._pixels is None:
            self._pixels = PixelCache()
        return self._pixels
