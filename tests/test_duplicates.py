"""Files that show the same: as a list, and as stacks of hits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index import Config, Index
from interleave_index.ingest.phash import distance
from interleave_index.interface.toy import ToyInterface
from interleave_index.query.duplicates import near
from interleave_index.query.stacks import ALIKE, Stacks
from interleave_index.records import Photo
from interleave_index.records.duplicates import Copy
from interleave_index.storage.copies import PhotoCopies


@pytest.fixture
def folder(tmp_path: Path, drawn_photos: Any) -> Path:
    """The drawn photos, of one of them a copy, a smaller JPEG and one with other proportions."""
    photos = tmp_path / "photos"
    shutil.copytree(drawn_photos.folder, photos)
    source = Path(drawn_photos.red_disc.path)
    shutil.copy(source, photos / "red_disc copy.png")
    picture = Image.open(source)
    picture.resize((picture.width * 3 // 4, picture.height * 3 // 4)).save(photos / "small.jpg", quality=90)
    return photos


@pytest.fixture
def index(tmp_path: Path, folder: Path) -> Any:
    with Index.open(
        tmp_path / "index", config=Config().with_flags(models_interface="toy"), interface=ToyInterface(), create=True
    ) as opened:
        opened.ingest(folder)
        yield opened


def names(copies: Any) -> list[str]:
    return [Path(copy.path).name for copy in copies]


def test_equal_files_and_photos_that_look_the_same_are_listed_with_the_one_to_keep(index, drawn_photos):
    exact, alike = index.duplicates()
    original = Path(drawn_photos.red_disc.path).name
    assert (exact.kind, names([exact.kept]), names(exact.others)) == ("exact", [original], ["red_disc copy.png"])
    assert (alike.kind, names([alike.kept]), names(alike.others)) == ("near", [original], ["small.jpg"])
    assert alike.others[0].width < alike.kept.width and alike.others[0].bytes > 0
    assert [group.kind for group in index.duplicates("exact")] == ["exact"]
    assert [group.kind for group in index.duplicates("near")] == ["near"]
    assert index.status()["photos"] == 7


def test_a_missing_file_is_no_duplicate(index, folder):
    (folder / "red_disc copy.png").unlink()
    (folder / "small.jpg").unlink()
    index.ingest(folder)
    assert index.duplicates() == []


def test_groups_are_those_of_every_pair_compared():
    generator = np.random.default_rng(5)
    centres = generator.integers(0, 2**63, 40, dtype=np.uint64)
    hashes = []
    for centre in centres.tolist():
        for flips in range(10):  # up to 9 bits away: some beyond what counts as alike
            bits = generator.choice(64, flips, replace=False).tolist()
            hashes.append(centre ^ sum(1 << bit for bit in bits))
    photos = [
        PhotoCopies((Copy(number, f"/{number}", 1000 - number, 40, 30),), value)
        for number, value in enumerate(hashes, 1)
    ]
    told: list[tuple[int, int]] = []
    groups = near(photos, lambda done, total: told.append((done, total)))
    expected, taken = [], set()
    for first in range(len(hashes)):
        alike = [n for n in range(len(hashes)) if n != first and distance(hashes[n], hashes[first]) <= ALIKE]
        fresh = [n for n in alike if n not in taken] if first not in taken else []
        if fresh:
            taken |= {first, *fresh}
            expected.append((first + 1, {n + 1 for n in fresh}))
    found = [(group.kept.photo_id, {copy.photo_id for copy in group.others}) for group in groups]
    assert sorted(found) == expected and len(expected) >= 40 and told[0] == (0, 400)


def test_photos_of_other_proportions_or_without_a_hash_are_not_alike():
    wide, tall = Copy(1, "/1", 9, 40, 30), Copy(2, "/2", 9, 30, 40)
    assert near([PhotoCopies((wide,), 7), PhotoCopies((tall,), 7), PhotoCopies((wide,), None)]) == []
    assert near([]) == []


def test_hits_are_folded_into_the_best_that_looks_the_same(index):
    plain = index.search("red", 10)
    folded = index.search("red", 10, stacks=True)
    assert len(plain) == 7 and len(folded) == 6
    stacked = [hit for hit in folded if hit.stack]
    assert len(stacked) == 1 and {stacked[0].photo.id, *stacked[0].stack} == {
        group.photo_id for group in (index.duplicates("near")[0].kept, *index.duplicates("near")[0].others)
    }
    assert [hit.photo.id for hit in plain if hit.photo.id not in stacked[0].stack] == [hit.photo.id for hit in folded]
    assert [hit.score for hit in folded] == [h.score for h in plain if h.photo.id not in stacked[0].stack]
    for count in range(1, 7):  # the number that was asked for is what is shown
        assert index.search("red", count, stacks=True).hits == tuple(
            _without_later(hit, folded.hits[count - 1].rank, plain) for hit in folded.hits[:count]
        )


def _without_later(hit: Any, last: int, plain: Any) -> Any:
    """A hit whose stack holds only what was met until the last hit shown."""
    from dataclasses import replace

    ranks = {each.photo.id: each.rank for each in plain}
    return replace(hit, stack=tuple(photo_id for photo_id in hit.stack if ranks[photo_id] <= last))


def test_stacks_agree_with_the_groups(index):
    stacks = Stacks()
    photos: list[Photo] = sorted((photo for photo, _ in index.library()), key=lambda photo: -photo.width * photo.height)
    assert len({stacks.fold(photo) for photo in photos}) == 6


def test_the_commands_list_and_fold(run, index, folder, tmp_path):
    place = ("--index", tmp_path / "index")
    status, out, _ = run("duplicates", *place)
    assert status == 0 and "same content:" in out and "looks the same:" in out and "nothing was deleted" in out
    listed = json.loads(run("duplicates", "--json", *place)[1])["duplicates"]
    assert [group["kind"] for group in listed] == ["exact", "near"] and set(listed[0]) == {"kind", "kept", "others"}
    assert run("duplicates", "--paths", *place)[1].splitlines() == [
        str(folder / "red_disc copy.png"),
        str(folder / "small.jpg"),
    ]
    assert run("duplicates", "--kind", "near", *place)[1].count("  keep") == 1
    assert run("duplicates", "--json", "-0", *place)[0] == 2
    folded = json.loads(run("search", "red", "--stacks", "--json", *place)[1])["hits"]
    assert sorted(hit["stack"]["count"] for hit in folded) == [1, 1, 1, 1, 1, 2]
    assert "+1 that look the same" in run("search", "red", *place)[1]
    assert "+1" not in run("search", "red", "--no-stacks", *place)[1]
    assert len(json.loads(run("search", "red", "--json", *place)[1])["hits"]) == 7  # programs get all of them
    assert len(run("search", "red", "--paths", *place)[1].splitlines()) == 7
    assert len(run("search", "red", "--paths", "--stacks", *place)[1].splitlines()) == 6
