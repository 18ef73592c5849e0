"""What filters are noted for, and what is asked of the catalog to know it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from interleave_index.query.filter_notes import filter_notes
from interleave_index.records import Filters
from interleave_index.storage.library import library
from interleave_index.storage.store import Store
from tests.storage.conftest import Library


@pytest.fixture
def photos(tmp_path):
    made = Library(tmp_path / "index")
    made.add("a", "b", camera="Canon EOS 5D")
    made.add("c")
    yield made
    made.store.close()


def refuse(*_: object) -> None:
    raise AssertionError("asked for more than the question needs")


def test_filters_that_photos_pass_are_judged_without_the_lists_of_all_folders_and_photos(photos, monkeypatch):
    monkeypatch.setattr(Store, "facets", refuse)
    monkeypatch.setattr(Store, "below", refuse)
    wanted = Filters(camera="canon", folder=(Path("/photos"),))
    assert filter_notes(photos.store, photos.space, wanted) == []
    (note,) = filter_notes(photos.store, photos.space, Filters(camera="cannon"))
    assert note == "no camera is named 'cannon'; near: Canon EOS 5D"


def test_a_folder_without_photos_is_named_with_those_that_are_near(photos):
    (note,) = filter_notes(photos.store, photos.space, Filters(folder=(Path("/else/photo"),)))
    assert note == "no indexed photo lies in '/else/photo'; near: /photos"


def test_photos_without_a_date_are_counted_among_those_that_pass_the_other_filters(photos):
    def notes(camera: str | None = None) -> list[str]:
        return filter_notes(photos.store, photos.space, Filters(after=date(2020, 1, 1), camera=camera))

    assert notes() == ["3 photos have no date and are left out by the filter on the date"]
    assert notes(camera="canon") == ["2 photos have no date and are left out by the filter on the date"]


def test_masks_of_a_library_are_fetched_a_batch_at_a_time(photos, monkeypatch):
    ids = [photos.id(name) for name in "abc"]
    one_by_one = [photos.store.masks(photos.space, photo_id) for photo_id in ids]
    monkeypatch.setattr(Store, "masks", refuse)
    shown = [tuple(region.rle for region in regions) for _, regions in library(photos.store, photos.space, ids)]
    assert shown == one_by_one and len(shown[0]) == 2
