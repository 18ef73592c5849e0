"""Paths as text, whatever bytes they hold."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from interleave_index.storage.names import folder_range, real_path, stored_path

NAMES = st.binary(min_size=1, max_size=24).filter(
    lambda raw: b"/" not in raw and b"\0" not in raw and raw not in (b".", b"..")
)


@given(NAMES)
def test_every_name_that_a_file_can_have_comes_back_byte_by_byte(raw: bytes) -> None:
    path = "/photos/" + os.fsdecode(raw)
    stored = stored_path(path)
    stored.encode("utf-8")
    assert os.fsencode(real_path(stored)) == b"/photos/" + raw


@given(NAMES, NAMES)
def test_two_names_never_become_one_text(one: bytes, other: bytes) -> None:
    assert (stored_path("/" + os.fsdecode(one)) == stored_path("/" + os.fsdecode(other))) == (one == other)


def test_a_name_that_looks_like_an_escape_is_not_taken_for_one() -> None:
    literal, broken = "/p/\x1aff", "/p/" + os.fsdecode(b"\xff")
    assert stored_path(literal) == "/p/\x1a1aff"
    assert stored_path(broken) == "/p/\x1aff"
    assert real_path(stored_path(literal)) == literal


def test_common_names_are_stored_as_they_are() -> None:
    assert stored_path("/photos/Été 100% — 🐕.jpg") == "/photos/Été 100% — 🐕.jpg"


def test_a_relative_path_is_stored_as_an_absolute_one() -> None:
    assert stored_path("x/../y.jpg") == os.path.join(os.getcwd(), "y.jpg")


def test_the_range_of_a_folder_holds_what_is_below_it_and_not_its_neighbours() -> None:
    low, high = folder_range("/photos/a")
    assert low <= "/photos/a/z.jpg" < high
    assert low <= "/photos/a/\U0010ffff" < high
    assert not low <= "/photos/ab.jpg" < high
    assert not low <= "/photos/a.jpg" < high


def test_the_range_of_the_root_folder_holds_every_path() -> None:
    low, high = folder_range("/")
    assert low <= "/photos" < high
