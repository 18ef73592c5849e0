"""What `verify` says of a catalog whose rows contradict each other, check by check, with every count."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from interleave_index.storage.tables import EncodingRow

from .conftest import DIM
from .test_found_damage import put, said
from .test_texts import encode, page

pytestmark = pytest.mark.sqlite  # rows are changed in the file, without the constraints that forbid it

LONG = np.full(DIM, 2, "<f2").tobytes().hex()  # of length 8
PHOTO = "a content or size that cannot be"

WRONG = (
    ("UPDATE photo SET sha256 = '' WHERE id = 2", "photos", f"2 photos, 1 with {PHOTO}: photo 2"),
    ("UPDATE photo SET width = 0", "photos", f"2 photos, 2 with {PHOTO}: photo 1, 2"),
    ("UPDATE photo SET height = 0 WHERE id = 1", "photos", f"2 photos, 1 with {PHOTO}: photo 1"),
    *(
        (f"UPDATE location SET {values} WHERE photo_id = 1", "database", "CHECK constraint failed in location")
        for values in (
            "state = 'lost'",
            "photo_id = NULL",
            "state = 'failed', reason = 'InputError'",
            "state = 'failed', photo_id = NULL",
        )
    ),
    ("DELETE FROM photo WHERE id = 2", "references", "3 references to a photo that is not there"),
    ("UPDATE location SET photo_id = 9 WHERE photo_id = 1", "references", "1 reference to a photo that is not there"),
    ("DELETE FROM encoding WHERE photo_id = 2", "encodings", "2 photos, 1 encoding; without: 2"),
    *(
        (
            f"UPDATE encoding SET {part} = x'00' WHERE photo_id = 1",
            "vectors of space 1",
            "1 encoding with arrays of a wrong length",
        )
        for part in ("image", "regions", "boxes", "areas", "scores")
    ),
    (
        "DELETE FROM region_mask WHERE photo_id = 1",
        "masks of space 1",
        "1 encoding without a row of masks, 0 rows of masks without an encoding",
    ),
    (
        "DELETE FROM encoding WHERE photo_id = 1",
        "masks of space 1",
        "0 encodings without a row of masks, 1 row of masks without an encoding",
    ),
    ("UPDATE encoding SET seq = 2", "sequence of space 1", "counter at 5, last used 2, 1 used twice"),
    ("UPDATE space SET seq = 1", "sequence of space 1", "counter at 1, last used 2, 0 used twice"),
    (
        "UPDATE passage SET document_id = 9 WHERE id = 1",
        "texts",
        "2 sources, 3 passages, 1 reference to what is not there",
    ),
    ("DELETE FROM document WHERE id = 1", "texts", "1 source, 3 passages, 2 references to what is not there"),
    ("DELETE FROM passage WHERE id = 1", "texts", "2 sources, 2 passages, 2 references to what is not there"),
    ("UPDATE passage_photo SET photo_id = 9", "texts", "2 sources, 3 passages, 1 reference to what is not there"),
    ("DELETE FROM passage_words WHERE rowid = 3", "words", "2 of 3 passages and 2 of 2 photos"),
    ("DELETE FROM photo_words WHERE rowid = 1", "words", "3 of 3 passages and 1 of 2 photos"),
    (
        "UPDATE passage_encoding SET passage = x'00' WHERE passage_id = 1",
        "text vectors of space 1",
        "3 passages, longest vector 1.0000, 1 wrong",
    ),
    (
        f"UPDATE passage_encoding SET passage = x'{LONG}' WHERE passage_id = 2",
        "text vectors of space 1",
        "3 passages, longest vector 8.0000, 0 wrong",
    ),
)


@pytest.fixture
def noted(library: Any) -> Any:
    """Two photos with two regions each, and two pages with three passages, the first of which shows a photo."""
    library.add("a", "b")
    library.store.texts.write(
        [page("/notes/a.md", "one", "two", pictures=("/photos/a.jpg",)), page("/notes/b.md", "three")]
    )
    encode(library)
    assert library.names_of_checks_that_fail() == []
    return library


def change(library: Any, statement: str) -> None:
    """Change rows as a damaged disk or a wrong program would: nothing is held against what the tables demand."""
    with closing(sqlite3.connect(library.folder / "catalog.sqlite")) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.execute("UPDATE catalog SET change = change + 1")


SOUND = """
database: ok
photos: 2 photos, 0 with a content or size that cannot be
locations: 2 present, 0 missing, 0 failed, 0 in no proper state
references: 0 references to a photo that is not there
thumbnails: 2 gone, which the next ingest makes again, 0 damaged
texts: 2 sources, 3 passages, 0 references to what is not there
words: 3 of 3 passages and 2 of 2 photos
encodings: 2 photos, 2 encodings
vectors of space 1: 2 encodings, longest vector 1.000, 0 with an impossible box
masks of space 1: 2 photos, 0 with masks that are not those of their regions
checksums of space 1: 2 agree, 0 without one, 0 differ
sequence of space 1: counter at 5, last used 2, 0 used twice
text vectors of space 1: 3 passages, longest vector 1.000, 0 wrong
image file of space 1: image-1-5.faiss, 2 rows, checksum agrees
image ids of space 1: 2 ids, 0 removed since, 0 do not agree
image vectors of space 1: 2 vectors of 2 photos compared with the catalog
region file of space 1: region-1-5.faiss, 4 rows, checksum agrees
region ids of space 1: 4 ids, 0 removed since, 0 do not agree
region vectors of space 1: 4 vectors of 2 photos compared with the catalog
text file of space 1: text-1-5.faiss, 3 rows, checksum agrees
text ids of space 1: 3 ids, 0 removed since, 0 do not agree
text vectors of space 1: 3 vectors of 3 passages compared with the catalog
"""


def test_of_a_sound_index_every_check_is_told_with_its_counts(noted):
    noted.store.optimize(noted.space)
    found = noted.store.verify()
    told = "".join(f"{check.name}: {check.detail}\n" for check in found)
    assert all(check.ok for check in found)
    assert re.sub(r"-[0-9a-f]{12}\.faiss|(?<=1\.000)\d", lambda it: ".faiss" if "f" in it[0] else "", told) == SOUND[1:]


def test_vectors_of_photos_that_went_or_were_encoded_again_are_not_compared(noted):
    noted.add("c")
    noted.store.optimize(noted.space)
    noted.add("a", replace=True)
    noted.forget([2])
    details = {check.name: (check.ok, check.detail) for check in noted.store.verify()}
    assert details["image vectors of space 1"] == (True, "1 vector of 1 photo compared with the catalog")
    assert details["region vectors of space 1"] == (True, "2 vectors of 1 photo compared with the catalog")


@pytest.mark.parametrize(("statement", "check", "detail"), WRONG)
def test_rows_that_contradict_each_other_are_counted(noted, statement, check, detail):
    change(noted, statement)
    assert said(noted, check) == detail


def test_a_file_that_failed_and_one_that_is_missing_are_no_fault(noted):
    change(
        noted, "INSERT INTO location SELECT '/x', NULL, 1, 1, 'failed', 'InputError', '', seen_at FROM location LIMIT 1"
    )
    change(noted, "UPDATE location SET state = 'missing' WHERE photo_id = 1")
    (found,) = [found for found in noted.store.verify() if found.name == "locations"]
    assert found.ok and found.detail == "1 present, 1 missing, 1 failed, 0 in no proper state"


@pytest.mark.parametrize("box", [(3, 0, 2, 1), (0, 3, 1, 2), (0, 0, np.nan, 1)])
def test_a_box_that_ends_before_it_begins_is_impossible(noted, box):
    boxes = np.array([box, (0, 0, 1, 1)], "<f4").tobytes()
    put(noted, EncodingRow, 2, boxes=boxes)
    assert said(noted, "vectors of space 1").endswith(", 1 with an impossible box: photo 2")


def test_vectors_that_are_longer_than_one_are_told_by_their_length(noted):
    put(noted, EncodingRow, 2, image=bytes.fromhex(LONG))
    assert said(noted, "vectors of space 1") == "2 encodings, longest vector 8.0000, 0 with an impossible box"
