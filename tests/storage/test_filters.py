"""Which photos a filter leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import InputError
from interleave_index.records import Filters
from interleave_index.storage.rows import LocationWrite, PhotoWrite, WriteBatch


def left(library: Any, **filters: Any) -> list[str]:
    """Names of the photos that are left, which stand in their `lens`."""
    ids = library.store.eligible(library.space, Filters(**filters))
    chosen = sorted(library.image) if ids is None else ids.tolist()
    return [library.store.photo(photo_id).lens for photo_id in chosen]


def test_no_filter_leaves_every_photo_and_says_so_by_none(library: Any) -> None:
    library.add("a", "b")
    assert library.store.eligible(library.space, Filters()) is None


def test_an_empty_index_leaves_nothing_out(library: Any) -> None:
    assert library.store.eligible(library.space, Filters()) is None
    assert library.store.eligible(library.space, Filters(camera="x")) is None


def test_photos_without_a_present_location_are_left_out_unless_asked_for(library: Any) -> None:
    library.add("a", lens="a")
    library.add("b", lens="b")
    library.store.mark_missing([Path("/photos")], {"/photos/a.jpg"})
    assert left(library) == ["a"]
    assert left(library, include_missing=True) == ["a", "b"]
    assert library.store.eligible(library.space, Filters(include_missing=True)) is None


def test_photos_without_an_encoding_are_never_eligible(library: Any) -> None:
    library.add("a", lens="a")
    library.store.write(
        WriteBatch(
            library.space,
            [PhotoWrite(library.facts("b"))],
            [LocationWrite("/photos/b.jpg", library.facts("b").sha256, 1, 1)],
        )
    )
    assert library.store.eligible(library.space, Filters()) is None
    assert left(library) == ["a"]


def test_after_is_inclusive_and_before_exclusive(library: Any, day: datetime) -> None:
    for name, when in (("early", day - timedelta(1)), ("noon", day), ("late", day + timedelta(1)), ("never", None)):
        library.add(name, lens=name, taken_at=when)
    assert left(library, after=day) == ["noon", "late"]
    assert left(library, before=day) == ["early"]
    assert left(library, after=day, before=day + timedelta(seconds=1)) == ["noon"]


def test_times_are_the_wall_clock_of_the_camera(library: Any, day: datetime) -> None:
    library.add("a", lens="a", taken_at=day.replace(tzinfo=UTC))
    assert library.store.photo(library.id("a")).taken_at == day
    assert left(library, after=day) == ["a"]


def test_a_camera_is_found_by_part_of_its_name_whatever_the_case(library: Any) -> None:
    for name, camera in (("a", "Canon EOS R5"), ("b", "ÉCLAIR 16"), ("c", None), ("d", "100%_odd")):
        library.add(name, lens=name, camera=camera)
    assert left(library, camera="eos") == ["a"]
    assert left(library, camera="éclair") == ["b"]
    assert left(library, camera="%") == ["d"]
    assert left(library, camera="nikon") == []


PLACES = {
    "paris": (48.8566, 2.3522),
    "versailles": (48.8049, 2.1204),
    "london": (51.5074, -0.1278),
    "taveuni": (-16.85, 179.95),
    "vanua levu": (-16.6, -179.9),
    "pole": (89.99, 10.0),
}


@pytest.mark.parametrize(
    ("near", "expected"),
    [
        ((48.8566, 2.3522, 20), ["paris", "versailles"]),
        ((48.8566, 2.3522, 17), ["paris"]),
        ((48.8566, 2.3522, 344), ["paris", "versailles", "london"]),
        ((48.8566, 2.3522, 343), ["paris", "versailles"]),
        ((-16.7, 180.0, 40), ["taveuni", "vanua levu"]),
        ((90.0, -120.0, 2), ["pole"]),
        ((0.0, 0.0, 20016), ["paris", "versailles", "london", "taveuni", "vanua levu", "pole"]),
    ],
)
def test_near_is_a_great_circle_also_over_the_date_line_and_the_pole(
    library: Any, near: tuple[float, float, float], expected: list[str]
) -> None:
    for name, (latitude, longitude) in PLACES.items():
        library.add(name, lens=name, latitude=latitude, longitude=longitude)
    library.add("nowhere", lens="nowhere")
    assert left(library, near=near) == expected


def test_a_place_off_the_globe_is_refused(library: Any) -> None:
    with pytest.raises(InputError, match="latitude -90 to 90"):
        library.store.eligible(library.space, Filters(near=(91, 0, 1)))


def test_a_folder_is_not_its_neighbour_with_a_longer_name(library: Any) -> None:
    for name in ("trip/a", "trip/deep/b", "trip2/c", "d"):
        library.add(name, lens=name)
    assert left(library, folder=Path("/photos/trip")) == ["trip/a", "trip/deep/b"]
    assert left(library, folder=Path("/photos/trip/")) == ["trip/a", "trip/deep/b"]
    assert left(library, folder=Path("/photos")) == ["trip/a", "trip/deep/b", "trip2/c", "d"]


def test_a_missing_photo_is_found_in_its_old_folder_when_missing_ones_are_asked_for(library: Any) -> None:
    library.add("trip/a", lens="a")
    library.add("b", lens="b")
    library.store.mark_missing([Path("/photos/trip")], set())
    assert left(library, folder=Path("/photos/trip")) == []
    assert left(library, folder=Path("/photos/trip"), include_missing=True) == ["a"]


def test_filters_are_joined_by_and(library: Any, day: datetime) -> None:
    library.add("x/a", lens="a", taken_at=day, camera="Leica")
    library.add("x/b", lens="b", taken_at=day, camera="Canon")
    library.add("y/c", lens="c", taken_at=day, camera="Leica")
    assert left(library, after=day, camera="leica", folder=Path("/photos/x")) == ["a"]


def test_an_answer_that_was_remembered_is_dropped_when_the_catalog_changes(library: Any) -> None:
    library.add("a", lens="a")
    library.add("b", lens="b")
    first = library.store.eligible(library.space, Filters(folder=Path("/photos/a.jpg")))
    assert library.store.eligible(library.space, Filters(folder=Path("/photos/a.jpg"))) is first
    assert not first.flags.writeable
    library.store.mark_missing([Path("/photos")], {"/photos/b.jpg"})
    np.testing.assert_array_equal(library.store.eligible(library.space, Filters()), [library.id("b")])


def test_a_box_on_the_map_keeps_what_lies_in_it_and_may_cross_the_date_line(library: Any) -> None:
    places = {"munich": (48.1, 11.6), "suva": (-18.1, 178.4), "apia": (-13.8, -171.8), "nowhere": (None, None)}
    for name, (latitude, longitude) in places.items():
        library.add(name, lens=name, latitude=latitude, longitude=longitude)
    assert left(library, within=(40, 0, 50, 20)) == ["munich"]
    assert left(library, within=(-30, 170, 0, -160)) == ["suva", "apia"]
    assert left(library, within=(-90, -180, 90, 180)) == ["munich", "suva", "apia"]
    with pytest.raises(InputError, match="within"):
        left(library, within=(50, 0, 40, 20))


def test_facets_count_cameras_folders_months_and_places(library: Any, day: datetime) -> None:
    library.add("a", camera="Kiev", taken_at=day, latitude=1.0, longitude=2.0)
    library.add("b", camera="Kiev")
    library.add("c", camera="Leica", taken_at=day + timedelta(40))
    facts = library.store.facets()
    assert facts["cameras"] == [{"name": "Kiev", "photos": 2}, {"name": "Leica", "photos": 1}]
    assert facts["folders"] == [{"name": "/photos", "photos": 3}]
    assert [row["photos"] for row in facts["months"]] == [1, 1]
    assert (facts["places"], facts["placed"]) == ([[1.0, 2.0]], 1)
