"""Filters are understood in the forms that people give, and say what they leave out."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interleave_index import Filters, Index
from interleave_index.cli import main
from interleave_index.config import Config
from interleave_index.errors import InputError
from interleave_index.query.filter_notes import near_names

TOY = Config().with_flags(models_interface="toy", ingest_workers=0)


def save_taken(path, shade, taken=None, camera=None):
    facts = Image.Exif()
    if taken:
        facts.get_ifd(0x8769)[0x9003] = taken
    if camera:
        facts[0x0110] = camera
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 60, 3), shade, np.uint8)).save(path, exif=facts)
    return path


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_taken(Path("summer/beach.jpg"), 40, "2024:07:01 00:30:00", "Pixel 7")
    save_taken(Path("winter/snow.jpg"), 120, "2023:01:15 12:00:00", "EOS 5D")
    save_taken(Path("scans/old.jpg"), 200)
    with Index.open("index", config=TOY, create=True) as index:
        index.ingest(["summer", "winter", "scans"])
        yield index


def names(library, **filters):
    return sorted(Path(library.photo(number).path).stem for number in library.ids(Filters(**filters)))


@pytest.mark.parametrize("after", ["2024", 2024, "2024-07", "20240701", date(2024, 7, 1), datetime(2024, 7, 1)])
def test_a_bound_may_be_a_year_a_text_a_date_or_a_datetime(library, after):
    assert names(library, after=after) == ["beach"]


def test_a_bound_with_a_zone_is_refused(library):
    with pytest.raises(InputError, match="time zone"):
        Filters(after=datetime(2024, 7, 1, tzinfo=UTC))
    with pytest.raises(InputError, match="time zone"):
        Filters(before="2024-07-01T00:00+02:00")


def test_lists_and_arrays_are_taken_where_tuples_are(library):
    array = np.array([48, 11.5, 5])
    assert Filters(near=array).near == (48.0, 11.5, 5.0)  # type: ignore[arg-type]
    assert Filters(near=[48, 11.5, 5]).near == (48.0, 11.5, 5.0)
    assert Filters(within=[47, 10, 49, 12]).within == (47.0, 10.0, 49.0, 12.0)
    assert hash(Filters(near=[48, 11, 5], folder=["a", "b"])) == hash(Filters(near=(48, 11, 5), folder=("a", "b")))


def test_one_folder_or_several_by_text_or_path(library):
    assert names(library, folder="summer") == names(library, folder=Path("summer").absolute()) == ["beach"]
    assert names(library, folder=["summer", Path("scans")]) == ["beach", "old"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": "soon"},
        {"after": 3.5},
        {"near": [1, 2]},
        {"near": "48,11,5"},
        {"near": [95, 11, 5]},
        {"near": [48, 11, 0]},
        {"near": 5},
        {"within": [50, 0, 40, 20]},
        {"within": [1, 2, 3, float("nan")]},
        {"camera": 5},
        {"folder": 5},
        {"folder": [5]},
    ],
)
def test_what_cannot_be_read_is_an_error_of_input(wrong):
    with pytest.raises(InputError):
        Filters(**wrong)


def test_photos_without_a_date_are_counted_in_a_note(library):
    assert library.search("red", filters=Filters(after=2024)).notes == (
        "1 photo has no date and is left out by the filter on the date",
    )
    assert library.search("red", filters=Filters(after=2024, folder="summer")).notes == ()
    assert library.search("red", filters=Filters(folder="summer")).notes == ()


def test_a_camera_or_folder_that_no_photo_has_gets_names_that_are_near(library):
    (note,) = library.search("red", filters=Filters(camera="pixle")).notes
    assert "no camera is named 'pixle'" in note and "Pixel 7" in note
    (note,) = library.search("red", filters=Filters(folder="sumer")).notes
    assert "sumer" in note and note.endswith(str(Path("summer").absolute()))


def test_near_names_are_spelled_alike():
    assert near_names("nikn", ["Nikon D850", "Canon EOS"]) == ["Nikon D850"]
    assert near_names("zzz", ["Nikon D850"]) == []


def test_the_command_takes_several_folders_and_says_its_notes(library, capsys):
    with pytest.raises(SystemExit):
        main(["search", "red", "--index", "index", "--in", "summer", "--in", "scans", "--before", "2025", "--json"])
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert [Path(hit["path"]).stem for hit in answer["hits"]] == ["beach"]
    assert len(answer["notes"]) == 1 and "no date" in printed.err


def test_every_call_takes_numbers_of_numpy(library, tmp_path):
    number = library.ids()[0]
    assert library.photo(number).id == number
    assert library.thumbnail(number).is_file()
    assert library.pixels(number).shape == (40, 60, 3)
    assert library.ground(number, "[red]").photo.id == number
    library.regions(number)
    library.activate(np.int64(library.spaces()[0].id))
    assert library.spaces()[0].state == "active"
    assert library.forget([number]) == 1
