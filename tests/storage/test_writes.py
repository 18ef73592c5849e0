"""What one transaction does to photos, encodings and locations."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from interleave_index.errors import IndexBusy, InputError, NotInIndex, ShapeError
from interleave_index.records import Filters
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch, WriteCounts
from interleave_index.storage.store import Store
from interleave_index.storage.tables import EncodingRow, LocationRow, PhotoRow, RemovalRow


def rows(store: Store, model: Any) -> int:
    """Number of rows of a table."""
    with store.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(model)).scalar_one())


def test_writing_the_same_batch_again_changes_nothing(library: Any) -> None:
    batch = WriteBatch(
        library.space,
        [PhotoWrite(library.facts("a"), library.encoding(3))],
        [LocationWrite("/p/a.jpg", library.facts("a").sha256, 10, 20)],
    )
    assert library.store.write(batch) == WriteCounts(1, 1, 1, 0)
    assert library.store.write(batch) == WriteCounts(0, 0, 0, 1)
    assert [rows(library.store, model) for model in (PhotoRow, EncodingRow, LocationRow)] == [1, 1, 1]


def test_two_copies_in_one_batch_are_one_photo_with_two_locations(library: Any) -> None:
    write = PhotoWrite(library.facts("a"), library.encoding(1))
    library.store.write(
        WriteBatch(
            library.space,
            [write, write],
            [
                LocationWrite("/p/one.jpg", library.facts("a").sha256, 1, 1),
                LocationWrite("/p/two.jpg", library.facts("a").sha256, 1, 1),
            ],
        )
    )
    known = library.store.photos_by_sha([library.facts("a").sha256, "f" * 64])
    assert list(known.values()) == [next(iter(known.values()))]
    assert known[library.facts("a").sha256].present_paths == 2 and known[library.facts("a").sha256].encoded
    assert library.store.photo(library.id("a")).path == "/p/one.jpg"


def test_a_batch_with_one_bad_encoding_writes_nothing(library: Any) -> None:
    bad = replace(library.encoding(2), regions=np.zeros((2, 5), np.float32))
    with pytest.raises(ShapeError, match=r"region vectors: shape is \(2, 5\), expected \(2, 16\)"):
        library.store.write(
            WriteBatch(
                library.space,
                [PhotoWrite(library.facts("good"), library.encoding(1)), PhotoWrite(library.facts("bad"), bad)],
            )
        )
    assert rows(library.store, PhotoRow) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.0])
def test_a_vector_that_is_no_unit_vector_is_refused(library: Any, value: float) -> None:
    bad = replace(library.encoding(0), image=np.full(16, value, np.float32))
    with pytest.raises(InputError, match="unit vectors"):
        library.store.write(WriteBatch(library.space, [PhotoWrite(library.facts("a"), bad)]))


def test_a_location_of_an_unknown_content_is_refused(library: Any) -> None:
    with pytest.raises(InputError, match="no photo of"):
        library.store.write(WriteBatch(library.space, [], [LocationWrite("/p/a.jpg", "e" * 64, 1, 1)]))


def test_a_failed_location_keeps_its_reason_and_no_photo(library: Any) -> None:
    library.add("a")
    library.store.write(
        WriteBatch(
            library.space,
            [],
            [LocationWrite("/photos/a.jpg", None, 5, 6, "failed", "ImageUnreadable", "not a picture")],
        )
    )
    known = library.store.known_locations([Path("/photos")])["/photos/a.jpg"]
    assert (known.photo_id, known.state, known.bytes, known.mtime_ns) == (None, "failed", 5, 6)
    assert (known.reason, known.detail) == ("ImageUnreadable", "not a picture")
    assert library.store.photo(library.id("a")).path is None


def test_a_move_is_one_changed_row_and_one_that_is_missing(library: Any) -> None:
    (photo,) = library.add("a")
    content = library.facts("a").sha256
    library.store.write(WriteBatch(library.space, [], [LocationWrite("/photos/sub/b.jpg", content, 1, 1)]))
    assert library.store.mark_missing([Path("/photos")], {"/photos/sub/b.jpg"}) == 1
    assert library.store.photo(photo).path == "/photos/sub/b.jpg"
    assert library.store.known_locations([Path("/photos")])["/photos/a.jpg"].state == "missing"
    assert rows(library.store, PhotoRow) == 1 and rows(library.store, EncodingRow) == 1


def test_an_edited_file_is_a_new_photo_at_the_old_path(library: Any) -> None:
    (before,) = library.add("before", path=False)
    (after,) = library.add("after", path=False)
    for name in ("before", "after"):
        library.store.write(
            WriteBatch(library.space, [], [LocationWrite("/photos/x.jpg", library.facts(name).sha256, 1, 1)])
        )
    assert library.store.photo_by_path("/photos/x.jpg").id == after
    assert library.store.photo(before).path is None
    np.testing.assert_array_equal(library.store.eligible(library.space, Filters()), [after])


def test_only_listed_folders_make_files_missing(library: Any) -> None:
    library.add("a", "sub/b", "sub/deep/c", "subway")
    seen = {"/photos/a.jpg", "/photos/subway.jpg"}
    assert library.store.mark_missing([Path("/photos")], seen, [Path("/photos/sub/deep")]) == 1
    states = {path: known.state for path, known in library.store.known_locations([Path("/")]).items()}
    assert states == {
        "/photos/a.jpg": "present",
        "/photos/sub/b.jpg": "missing",
        "/photos/sub/deep/c.jpg": "present",
        "/photos/subway.jpg": "present",
    }
    assert library.store.mark_missing([Path("/photos")], seen, [Path("/photos/sub/deep")]) == 0


def test_known_locations_are_those_at_or_below_the_roots(library: Any) -> None:
    library.add("one/a", "one/b", "two/c", "one.d")
    found = library.store.known_locations([Path("/photos/one"), Path("/photos/two/c.jpg")])
    assert set(found) == {"/photos/one/a.jpg", "/photos/one/b.jpg", "/photos/two/c.jpg"}
    assert all(known.encoded and known.sha256 is not None for known in found.values())


def test_names_that_are_not_utf8_find_their_location_again(library: Any) -> None:
    path = os.fsdecode(b"/photos/caf\xe9 \x1a.jpg")
    library.add("a", path=False)
    library.store.write(WriteBatch(library.space, [], [LocationWrite(path, library.facts("a").sha256, 1, 1)]))
    assert list(library.store.known_locations([Path("/photos")])) == [path]
    assert library.store.photo_by_path(path).path == path
    assert library.store.mark_missing([Path("/photos")], {path}) == 0
    assert library.store.below("/photos") == [library.id("a")]


def test_a_photo_that_was_forgotten_never_lends_its_id_to_another(library: Any) -> None:
    ids = library.add("a", "b", "c")
    library.forget([ids[2]])
    assert library.add("d") == [ids[2] + 1]


def test_forgetting_an_unknown_photo_changes_nothing(library: Any) -> None:
    ids = library.add("a", "b")
    with pytest.raises(NotInIndex, match="photo 99"):
        library.store.forget([ids[0], 99])
    assert len(library.store.photos(ids)) == 2


def test_forgetting_takes_every_trace_but_the_removal(library: Any) -> None:
    ids = library.add("a", "b")
    thumbnail = library.store.thumbnail_path(library.facts("a").sha256)
    thumbnail.parent.mkdir(parents=True)
    thumbnail.touch()
    assert library.store.forget([ids[0], ids[0]]) == 1
    assert not thumbnail.exists()
    assert [rows(library.store, model) for model in (PhotoRow, EncodingRow, LocationRow, RemovalRow)] == [1, 1, 1, 1]
    with pytest.raises(NotInIndex):
        library.store.photo(ids[0])


def test_a_thumbnail_that_cannot_be_removed_does_not_keep_the_photo(library: Any) -> None:
    (photo_id,) = library.add("a")
    photo = library.store.photo(photo_id)
    library.store.thumbnail_path(photo.sha256).mkdir(parents=True)
    library.forget([photo_id])
    assert library.store.photo_by_sha(photo.sha256) is None


def test_prune_forgets_what_lies_nowhere_and_missing_paths(library: Any) -> None:
    ids = library.add("a", "b", "c")
    library.store.write(
        WriteBatch(library.space, [], [LocationWrite("/elsewhere/b.jpg", library.facts("b").sha256, 1, 1)])
    )
    library.store.mark_missing([Path("/photos")], {"/photos/a.jpg"})
    assert library.store.prune() == 1
    assert set(library.store.photos(ids)) == {ids[0], ids[1]}
    assert set(library.store.known_locations([Path("/")])) == {"/photos/a.jpg", "/elsewhere/b.jpg"}


def test_a_photo_encoded_again_has_the_new_vectors_everywhere(library: Any) -> None:
    ids = library.add("a", "b", "c", regions=3)
    library.store.optimize(library.space)
    library.add("b", regions=1, replace=True)
    np.testing.assert_array_equal(library.store.vectors(library.space, [ids[1]]).image[0], library.image[ids[1]])
    assert library.store.count(library.space) == (3, 7)
    library.check(library.vectors(3), 20)
    assert library.names_of_checks_that_fail() == []


def test_another_process_cannot_write_while_one_writes(library: Any) -> None:
    with (
        Store.open(library.name) as other,
        other.writer("a long ingest"),
        pytest.raises(IndexBusy, match="a long ingest"),
        library.store.writer("forget", wait=0),
    ):
        pass


def test_the_bulk_writer_gives_ids_in_order_and_takes_ragged_regions(another_library: Callable[[], Any]) -> None:
    library = another_library()
    names, counts = [f"n{i}" for i in range(2300)], [i % 4 for i in range(2300)]
    made = [library.encoding(count) for count in counts]
    ids = library.store.write_encodings(
        library.space,
        [library.facts(name) for name in names],
        np.stack([one.image for one in made]),
        [one.regions for one in made],
        [one.boxes for one in made],
        [one.areas for one in made],
        [one.scores for one in made],
        paths=[f"/photos/{name}" for name in names],
    )
    assert ids == list(range(1, 2301))
    assert library.store.count(library.space) == (2300, sum(counts))
    found = library.store.vectors(library.space, [7, 3, 4, 3])
    np.testing.assert_array_equal(found.photo_ids, [7, 3, 4, 3])
    np.testing.assert_array_equal(found.offsets, np.cumsum([0, counts[6], counts[2], counts[3], counts[2]]))
    np.testing.assert_array_equal(found.image[1], made[2].image)
    np.testing.assert_array_equal(found.regions[found.offsets[2] : found.offsets[3]], made[3].regions)
    np.testing.assert_array_equal(found.boxes[found.offsets[2] : found.offsets[3]], made[3].boxes)


def test_the_bulk_writer_refuses_lists_of_different_lengths(library: Any) -> None:
    with pytest.raises(ShapeError, match="regions has length 0, expected 1"):
        library.store.write_encodings(library.space, [library.facts("a")], library.vectors(1), [], [], [], [])


def test_masks_and_the_grounding_record_come_back(library: Any) -> None:
    (photo,) = library.add("a", regions=3)
    masks = library.store.masks(library.space, photo)
    assert len(masks) == 3 and masks[0].counts == "22" and masks[0].size == (2, 2)
    assert library.store.grounding(library.space, photo) == b"record"
    with pytest.raises(NotInIndex, match="no masks"):
        library.store.masks(library.space, 99)


def test_vectors_of_a_photo_without_an_encoding_are_an_error(library: Any) -> None:
    with pytest.raises(NotInIndex, match="photo 5 has no vectors"):
        library.store.vectors(library.space, [5])
    assert library.store.vectors(library.space, []).image.shape == (0, 16)


def test_a_perceptual_hash_keeps_all_64_bits(library: Any) -> None:
    for value in (0, 1 << 63, (1 << 64) - 1, 12345):
        library.add(f"p{value}", phash=value)
        assert library.store.photo(library.id(f"p{value}")).phash == value
