"""Options of `search` about what is done with its hits: all their paths, and the system's viewer."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from interleave_index.cli import viewer as viewer_module

only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the viewer is told by programs of Linux")


@pytest.fixture
def twice(run, drawn_photos, tmp_path, monkeypatch):
    """The current folder with an index of two photos, of which the red one lies at two places."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", "photos.index")
    for name, photo in (
        ("a/red.png", drawn_photos.red_disc),
        ("b/again.png", drawn_photos.red_disc),
        ("a/green.png", drawn_photos.green_square),
    ):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(photo.path, name)
    assert run("ingest", "a", "b", "--model", "toy", "--workers", 0)[0] == 0
    return tmp_path


def test_all_paths_of_a_photo_are_listed_when_asked(run, twice):
    table = run("search", "[red]", "--copies")[1].splitlines()
    assert "a/red.png" in table[2] and table[3].strip() == "b/again.png"
    assert "again" not in run("search", "[red]")[1]
    both = [str(twice / "a/red.png"), str(twice / "b/again.png")]
    assert run("search", "[red]", "-k", 1, "--copies", "--paths")[1].splitlines() == both
    assert run("search", "[red]", "-k", 1, "--copies", "-0")[1] == "".join(f"{path}\0" for path in both)
    first, second = json.loads(run("search", "[red]", "--copies", "--json")[1])["hits"]
    assert (first["paths"], second["paths"]) == (both, [str(twice / "a/green.png")])
    assert "paths" not in json.loads(run("search", "[red]", "--json")[1])["hits"][0]


def test_of_copies_only_those_that_are_there_are_listed(run, twice):
    (twice / "a/red.png").unlink()
    assert run("ingest", "a", "b")[0] == 0
    assert run("search", "[red]", "-k", 1, "--copies", "--paths")[1] == f"{twice / 'b/again.png'}\n"


@pytest.fixture
def viewer(twice, monkeypatch):
    """A program that stands for the system's viewer; gives a function for what it was asked to show."""

    def install(then: str = "") -> None:
        program = twice / "bin" / "xdg-open"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$1" >> "{twice}/shown"\n{then}\n')
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{twice / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("DISPLAY", ":0")
    install()
    return install


def shown(folder: Path) -> list[str]:
    return (folder / "shown").read_text().splitlines() if (folder / "shown").exists() else []


@only_linux
def test_the_photos_that_match_are_opened_or_the_page(run, twice, viewer):
    assert run("search", "[red]", "--open")[0] == 0
    assert shown(twice) == [str(twice / "a/red.png")]
    assert run("search", "[red]", "--html", "page.html", "--open")[0] == 0
    assert shown(twice)[1:] == [str(twice / "page.html")]


@only_linux
def test_a_viewer_that_stays_open_is_not_waited_for(run, twice, viewer, monkeypatch):
    monkeypatch.setattr(viewer_module, "WAITED", 0.2)
    monkeypatch.setattr(viewer_module, "_still_open", [])
    viewer("exec sleep 20")
    begun = time.monotonic()
    assert run("search", "[red]", "--open")[0] == 0
    assert time.monotonic() - begun < 15
    (left,) = viewer_module._still_open
    left.terminate()
    left.wait()


@only_linux
def test_where_nothing_matches_nothing_is_opened(run, twice, viewer):
    status, _, err = run("search", "[purple]", "--open")
    assert (status, shown(twice)) == (0, []) and "nothing to open" in err


@only_linux
def test_without_a_viewer_or_a_screen_the_error_says_what_is_missing(run, twice, viewer, monkeypatch):
    viewer("exit 3")
    status, _, err = run("search", "[red]", "--open")
    assert status == 1 and "cannot show" in err
    monkeypatch.setenv("PATH", str(twice))
    status, out, err = run("search", "[red]", "--open")
    assert (status, out) == (1, "") and "xdg-open" in err and "none is installed" in err
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    status, out, err = run("search", "[red]", "--open")
    assert (status, out) == (1, "") and "needs a screen" in err


def test_a_long_phrase_is_shortened_in_tables(run, twice):
    phrase = "a red disc " + "beside another one " * 100
    for words in (("search", f"[{phrase}]"), ("ground", "a/red.png", f"[{phrase}]")):
        status, out, _ = run(*words)
        assert status == 0 and "a red disc beside" in out and "…" in out
        assert max(map(len, out.splitlines())) < 200
    hit = json.loads(run("search", f"[{phrase}]", "--json")[1])["hits"][0]
    assert hit["entities"][0]["text"] == phrase.strip()


def test_a_place_of_two_numbers_is_refused_as_it_was_written(run, twice):
    status, _, err = run("search", "[red]", "--near", "48.1,11.6")
    assert status == 2 and "--near is '48.1,11.6', expected LAT,LON,KM" in err


@pytest.mark.parametrize("place", [0, 1200, 2990])
def test_of_a_long_query_with_a_mistake_only_what_lies_around_it_is_printed(run, place):
    query = "dog " * 750
    status, _, err = run("search", query[:place] + "]here" + query[place:])
    assert status == 1 and f"at column {place + 1}: " in err
    assert "]here" in err and len(err) < 400
