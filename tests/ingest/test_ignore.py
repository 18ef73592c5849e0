"""What a user wants left out: patterns of the settings, and ignore files beside the photos."""

from __future__ import annotations

import os

import pytest

from interleave_index.errors import ConfigError
from interleave_index.ingest.ignore import IGNORE_FILE, Ignored
from interleave_index.ingest.scan import Scanner

from .conftest import Pictures

EVERY = {"a.png", "b.jpg", "deep/c.png", "deep/raw/d.png", "deep/raw/keep.png", "screens/e.png"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 24


@pytest.fixture
def tree(tmp_path):
    for name in EVERY:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return tmp_path


def listed(tree, *patterns):
    scanner = Scanner(ignored=Ignored(patterns))
    return {os.path.relpath(file.path, tree) for file in scanner.files([tree])}, scanner


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), EVERY),
        (("*.png",), {"b.jpg"}),
        (("*.png", "!a.png"), {"a.png", "b.jpg"}),
        (("raw/",), {"a.png", "b.jpg", "deep/c.png", "screens/e.png"}),
        (("/screens",), {"a.png", "b.jpg", "deep/c.png", "deep/raw/d.png", "deep/raw/keep.png"}),
        (("deep/**/d.png",), {"a.png", "b.jpg", "deep/c.png", "deep/raw/keep.png", "screens/e.png"}),
        (
            ("# only a comment", ""),
            {"a.png", "b.jpg", "deep/c.png", "deep/raw/d.png", "deep/raw/keep.png", "screens/e.png"},
        ),
    ],
)
def test_patterns_have_the_form_of_gitignore(tree, patterns, left):
    assert listed(tree, *patterns)[0] == left


def test_an_ignore_file_counts_for_its_folder_and_all_below(tree):
    (tree / "deep" / IGNORE_FILE).write_text("*.png\n")
    assert listed(tree)[0] == {"a.png", "b.jpg", "screens/e.png"}


def test_the_nearest_file_decides(tree):
    (tree / IGNORE_FILE).write_text("*.png\n")
    (tree / "deep" / "raw" / IGNORE_FILE).write_text("!keep.png\n")
    assert listed(tree)[0] == {"b.jpg", "deep/raw/keep.png"}


def test_what_is_left_out_is_counted_and_may_still_be_there(tree):
    found, scanner = listed(tree, "raw/", "a.png")
    assert scanner.not_read["left_out"] == 1 and scanner.not_read["left_out_folders"] == 1
    assert scanner.may_be_there(str(tree / "a.png")) and scanner.may_be_there(str(tree / "deep" / "raw" / "d.png"))
    assert "a.png" not in found


def test_a_file_that_is_named_itself_is_taken_in(tree):
    scanner = Scanner(ignored=Ignored(("*.png",)))
    assert [file.path for file in scanner.files([tree / "a.png"])] == [str(tree / "a.png")]


def test_a_strange_ignore_file_stops_nothing(tree):
    (tree / IGNORE_FILE).write_bytes(b"\xff\xfe[\n!!\n" + b"x" * 100)
    (tree / "deep" / IGNORE_FILE).mkdir()
    assert "b.jpg" in listed(tree)[0]


def test_a_pattern_that_is_none_is_an_error_in_words():
    with pytest.raises(ConfigError, match="gitignore"):
        Ignored(("!",))


def test_photos_and_texts_that_were_taken_in_before_stay(library):
    library.put("a.png", Pictures.encoded(Pictures.drawn(1), "PNG"))
    library.put("a.txt", b"words of a")
    library.ingest()
    report = library.ingest(exclude=("a.*",))
    assert (report.present, report.missing, report.texts["missing"], report.not_read["left_out"]) == (0, 0, 0, 2)
    assert len(library.store.texts.every()) == 1 and library.store.status()["missing"] == 0
