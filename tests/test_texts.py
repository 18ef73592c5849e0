"""Texts beside the photos, from their files to the answers: ingest, and searches of photos and of texts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index import Config, Index
from interleave_index.errors import InputError
from interleave_index.ingest import text_stage
from interleave_index.interface.protocol import Capabilities, TextReading
from interleave_index.interface.toy import ToyInterface
from interleave_index.records import Filters
from interleave_index.records.texts import Passage
from interleave_index.storage.store import Store

MARK = "\N{OBJECT REPLACEMENT CHARACTER}"


@pytest.fixture
def folder(drawn_photos, tmp_path: Path) -> Path:
    """Copies of the drawn photos under names without words."""
    made = tmp_path / "x"
    made.mkdir()
    for number, photo in enumerate(sorted(drawn_photos.folder.iterdir())):
        (made / f"{number}{number}.png").write_bytes(photo.read_bytes())
    return made


BLUE, GREEN, PURPLE, RED, RED_AND_BLUE, YELLOW = (f"{n}{n}" for n in range(6))  # by name of the drawing


@pytest.fixture
def open_index(database: Any, tmp_path: Path) -> Iterator[Callable[..., Index]]:
    """Opens the index of the test, with the toy interface."""
    made: list[Index] = []

    def opened(interface: Any = None, **flags: Any) -> Index:
        config = Config().with_flags(models_interface="toy", ingest_workers=0, **flags)
        name = database.name(tmp_path / "index")
        made.append(Index.open(name, config=config, interface=interface or ToyInterface(), create=True))
        return made[-1]

    yield opened
    for index in made:
        index.close()


def stems(answer: Any) -> list[str]:
    return [Path(hit.photo.path).stem for hit in answer]


@pytest.mark.both_databases
def test_a_page_is_cut_into_passages_that_show_its_pictures(folder, open_index):
    (folder / "page.md").write_text(
        f"# Shapes\n\nA round thing ![]({RED}.png) here.\n\nAnd a square. ![]({GREEN}.png)\n"
    )
    index = open_index()
    report = index.ingest(folder)
    assert report.texts == {"seen": 1, "read": 1, "missing": 0, "passages": 2} and report.added == 6
    first, second = index.texts()
    assert MARK in first.text and first.title == "Shapes" and first.path == str(folder / "page.md")
    assert [stems_of(index, passage.photos) for passage in (first, second)] == [[RED], [GREEN]]
    assert index.texts(first.photos[0]) == [first] and all(check.ok for check in index.verify())
    assert index.ingest(folder).texts == {"seen": 1, "read": 0, "missing": 0, "passages": 0}


def stems_of(index: Index, photo_ids: Any) -> list[str]:
    return [Path(str(index.photo(photo_id).path)).stem for photo_id in photo_ids]


class KnowsNoNames(ToyInterface):
    """An interface that says which words it has not met."""

    def reading(self, text: str) -> TextReading:
        unknown = tuple(word for word in text.split() if word.istitle())
        return TextReading(unknown=unknown, nothing=unknown == tuple(text.split()))


def test_a_name_that_no_model_knows_finds_its_photo_first_and_says_by_what(folder, open_index):
    (folder / f"{PURPLE}.txt").write_text("Grandma Ilse at the lake")
    index = open_index(KnowsNoNames())
    index.ingest(folder)
    answer = index.search("a red thing of Ilse")
    assert stems(answer)[:2] == [PURPLE, RED]
    (text,) = {answer[0].text}
    assert text is not None and text.words == ("Ilse",) and text.passage.text == "Grandma Ilse at the lake"
    assert answer[0].to_json()["text"]["words"] == ["Ilse"] and answer[-1].text is None
    assert answer.meant(index.search("Ilse")[0])


def test_the_passage_that_holds_a_name_is_shown_where_a_name_was_asked_for(folder, open_index):
    (folder / f"{PURPLE}.txt").write_text("red red red")
    (folder / f"{PURPLE}.png.txt").write_text("the wall of Ilse")
    index = open_index(KnowsNoNames())
    index.ingest(folder)
    (hit,) = [hit for hit in index.search("a red thing of Ilse") if stems([hit]) == [PURPLE]]
    assert hit.text.passage.text == "the wall of Ilse"


@pytest.mark.both_databases
def test_numbers_in_file_names_find_their_photos(folder, open_index):
    (folder / f"{YELLOW}.png").rename(folder / "IMG_2043.png")
    index = open_index()
    index.ingest(folder)
    answer = index.search("IMG_2043")
    assert stems(answer)[0] == "IMG_2043" and answer[0].text.words[-1] == "2043" and answer[0].text.passage is None


@pytest.mark.both_databases
def test_words_are_found_however_their_accents_are_spelt(folder, open_index):
    two_characters, one_character = "Fe\N{COMBINING CIRCUMFLEX ACCENT}te", "F\N{LATIN SMALL LETTER E WITH CIRCUMFLEX}te"
    (folder / f"{PURPLE}.txt").write_text(f"{two_characters} at the lake", "utf-8")
    (folder / f"{YELLOW}.txt").write_text(f"{one_character} at home", "utf-8")
    index = open_index()
    index.ingest(folder)
    for spelt in (two_characters, one_character):
        assert sorted(stems(index.search(f'"{spelt}"'))) == [PURPLE, YELLOW]
        found = {Path(hit.photo.path).stem: hit.text for hit in index.search(spelt, 6)}
        assert found[PURPLE].words == found[YELLOW].words == (one_character,)


def test_without_texts_scores_are_those_of_the_pixels_to_the_last_digit(folder, open_index):
    index = open_index()
    index.ingest(folder)
    before = [(hit.photo.id, hit.score, hit.relevance) for hit in index.search("red [disc] beside [blue]", 10)]
    (folder / "page.md").write_text("words about something else entirely")
    index.ingest(folder)
    assert [(hit.photo.id, hit.score, hit.relevance) for hit in index.search("red [disc] beside [blue]", 10)] == before


def test_what_a_text_means_raises_the_photo_that_it_is_about(folder, open_index):
    (folder / f"{YELLOW}.txt").write_text("something green")
    index = open_index()
    index.ingest(folder)
    plain = by_name(index, "green")
    (folder / f"{YELLOW}.txt").unlink()
    index.ingest(folder)
    bare = by_name(index, "green")
    assert plain[YELLOW] > bare[YELLOW]
    assert {name: score for name, score in plain.items() if name != YELLOW} == {
        name: score for name, score in bare.items() if name != YELLOW
    }


def passages(index: Index, query: str) -> list[Passage]:
    return [hit.passage for hit in index.search(query, target="texts").texts or ()]


def by_name(index: Index, query: str) -> dict[str, float]:
    return {Path(str(hit.photo.path)).stem: hit.score for hit in index.search(query, 6)}


@pytest.mark.both_databases
def test_both_paths_agree_when_texts_take_part(folder, open_index):
    (folder / f"{YELLOW}.txt").write_text("a green kite of Ilse")
    (folder / "page.md").write_text(f"Green grass. ![]({GREEN}.png) ![]({RED}.png)")
    index = open_index()
    index.ingest(folder)
    for query in ("green", "Ilse", "[green] grass", '"kite"'):
        exact, ann = (index.search(query, 6, mode=mode) for mode in ("exact", "ann"))
        assert exact.hits == ann.hits and (exact.path, ann.path) == ("exact", "ann")


def test_texts_that_filters_leave_out_take_no_place_on_the_approximate_path(folder, open_index):
    red = (folder / f"{RED}.png").read_bytes()
    wanted, other = folder / "wanted", folder / "other"
    for place in (wanted, other):
        place.mkdir()
        for number in range(12):
            (place / f"{number}.png").write_bytes(red + f"{place.name}{number}".encode())
            (place / f"{number}.txt").write_text(
                "at sea" if place is wanted else "2043 3055 something red, red and red"
            )
    (wanted / "rare.png").write_bytes((folder / f"{PURPLE}.png").read_bytes() + b" ")
    (wanted / "rare.txt").write_text("2043")
    index = open_index(query_candidates=1)
    index.ingest(folder)
    for query in ("red 2043 3055", "red"):
        exact, ann = (index.search(query, 1, filters=Filters(folder=wanted), mode=mode) for mode in ("exact", "ann"))
        assert exact.hits == ann.hits, query
    assert stems(index.search("red 2043 3055", 1, filters=Filters(folder=wanted), mode="ann")) == ["rare"]


def test_quoted_words_must_occur(folder, open_index):
    (folder / f"{YELLOW}.txt").write_text("the old harbour wall")
    index = open_index()
    index.ingest(folder)
    assert stems(index.search('red "harbour wall"')) == [YELLOW]
    answer = index.search('red "wall harbour"')
    assert list(answer) == [] and any("'wall harbour', which must occur" in note for note in answer.notes)


def test_a_quoted_phrase_with_a_minus_is_not_required_and_says_how_to_leave_out(folder, open_index):
    (folder / f"{YELLOW}.txt").write_text("the harbour wall")
    index = open_index()
    index.ingest(folder)
    answer = index.search('red -"harbour wall"')
    assert len(answer) == 6 and any("-[harbour wall]" in note for note in answer.notes)


def test_passages_are_ranked_with_the_phrase_that_answers_each_part(folder, open_index):
    (folder / "a.md").write_text("A green square stands beside the purple stripe.")
    (folder / "b.md").write_text("Nothing but a blue triangle and white paper.")
    index = open_index()
    index.ingest(folder)
    answer = index.search("[purple] and [green]", target="texts")
    assert list(answer) == [] and answer.texts[0].passage.path.endswith("a.md")
    lit = [answer.texts[0].passage.text[slice(*entity.span)] for entity in answer.texts[0].entities]
    assert "purple" in lit[0] and "green" in lit[1]
    both = index.search("[purple]", target="both")
    assert stems(both)[0] == PURPLE and both.texts[0].passage.path.endswith("a.md")
    assert json.loads(json.dumps(both.to_json()))["texts"][0]["entities"][0]["span"]
    assert "texts" not in index.search("[purple]").to_json()
    with pytest.raises(InputError, match="target"):
        index.search("red", target="pages")


@pytest.mark.parametrize("model", ["toy", "find-mini"])
def test_a_part_of_a_picture_finds_the_passage_that_shows_the_same_thing(folder, tmp_path, drawn_photos, model):
    (folder / "page.md").write_text(f"One. ![]({RED}.png)\n\nTwo. ![]({GREEN}.png)\n\nThree. ![]({PURPLE}.png)\n\n")
    config = Config().with_flags(models_interface=model, ingest_workers=0)
    with Index.open(tmp_path / "index", config=config, create=True) as index:
        index.ingest(folder)
        asked = f"[image:{drawn_photos.red_disc_and_blue_square.path}#box=10,28,50,68]"
        assert stems_of(index, passages(index, asked)[0].photos) == [RED]
        for name in (RED, GREEN, PURPLE):
            (shown,) = [passage for passage in index.texts() if stems_of(index, passage.photos) == [name]]
            assert passages(index, f"[photo:{shown.photos[0]}]")[0].id == shown.id, name


@pytest.mark.both_databases
def test_filters_let_through_the_passages_of_photos_that_pass(folder, open_index):
    (folder / "deep").mkdir()
    (folder / f"{RED}.png").rename(folder / "deep" / f"{RED}.png")
    (folder / "a.md").write_text(f"red ![](deep/{RED}.png)\n\n# Next\n\nred too ![]({GREEN}.png)")
    index = open_index()
    index.ingest(folder)
    found = index.search("red", target="texts", filters=Filters(folder=str(folder / "deep"))).texts
    assert [stems_of(index, hit.passage.photos) for hit in found] == [[RED]]


def test_passages_without_vectors_yet_are_no_hits(folder, open_index, monkeypatch):
    (folder / f"{RED}.txt").write_text("a red kite")
    index = open_index()
    index.ingest(folder)
    (red,) = index.texts()[0].photos
    (folder / "page.md").write_text("a red rose")
    with monkeypatch.context() as cut_short:
        cut_short.setattr(text_stage.TextStage, "encode", lambda stage: None)
        index.ingest(folder)
    for query in ("[red] rose", '"rose" [red]', f"rose [photo:{red}]"):
        assert index.search(query, target="texts", text_kinds=["markdown"]).texts == ()
    index.ingest(folder)
    assert len(index.search("[red] rose", target="texts", text_kinds=["markdown"]).texts) == 1


def test_passages_may_be_wanted_of_some_kinds_of_sources_only(folder, open_index):
    (folder / "page.md").write_text("a red page")
    (folder / f"{RED}.txt").write_text("a red note")
    (folder / f"{GREEN}.txt").write_text("a green note")
    index = open_index()
    index.ingest(folder)
    assert index.facets()["texts"] == [{"kind": "txt", "passages": 2}, {"kind": "markdown", "passages": 1}]

    def found(*kinds: Any) -> set[str]:
        return {hit.passage.kind for hit in index.search("red", target="texts", text_kinds=kinds).texts}

    assert [found(), found("markdown"), found("markdown", "txt"), found("html")] == [
        {"markdown", "txt"},
        {"markdown"},
        {"markdown", "txt"},
        set(),
    ]
    with pytest.raises(InputError, match="kind of text is 'pdf'"):
        found("pdf")


@pytest.mark.both_databases
def test_moves_edits_and_deletions_are_followed(folder, open_index):
    page = folder / "page.md"
    page.write_text(f"One. ![]({RED}.png)\n\n# Two\n\nSecond.")
    index = open_index()
    index.ingest(folder)
    ids = [passage.id for passage in index.texts()]
    page.rename(folder / "renamed.md")
    report = index.ingest(folder)
    assert (report.texts["passages"], report.texts["missing"]) == (0, 0)
    assert [passage.id for passage in index.texts()] == ids
    assert {passage.path for passage in index.texts()} == {str(folder / "renamed.md")}
    (folder / "renamed.md").write_text(f"One. ![]({RED}.png)\n\n# Two\n\nAnother second.")
    assert index.ingest(folder).texts["passages"] == 1 and index.texts()[0].id == ids[0]
    (folder / "renamed.md").unlink()
    assert index.ingest(folder).texts["missing"] == 1 and index.texts() == []
    assert all(check.ok for check in index.verify())


def test_a_sidecar_goes_with_the_pictures_that_have_its_name_now(folder, open_index):
    (folder / f"{YELLOW}.txt").write_text("a kite of Ilse")
    index = open_index()
    index.ingest(folder)
    (folder / f"{YELLOW}.png").rename(folder / f"{YELLOW}.PNG")
    assert index.ingest(folder).texts["read"] == 1 and stems(index.search('"kite"')) == [YELLOW]
    (folder / f"{YELLOW}.jpg").write_bytes((folder / f"{GREEN}.png").read_bytes() + b" ")
    assert index.ingest(folder).texts == {"seen": 1, "read": 1, "missing": 0, "passages": 0}
    assert stems(index.search('"kite"')) == [YELLOW, YELLOW]
    assert index.ingest(folder).texts["read"] == 0


def test_a_picture_that_changes_under_a_passage_changes_its_vector(folder, open_index, drawn_photos):
    (folder / "page.md").write_text(f"Look: ![]({RED}.png)")
    index = open_index()
    index.ingest(folder)
    (folder / f"{RED}.png").write_bytes(Path(drawn_photos.green_square.path).read_bytes() + b" ")
    report = index.ingest(folder)
    assert report.texts["passages"] == 1 and stems_of(index, index.texts()[0].photos) == [RED]


def test_a_source_that_cannot_be_read_is_a_line_of_the_report_and_a_new_failure_once(folder, open_index):
    (folder / "captions.jsonl").write_text('{"file": "../secret.jpg", "text": "x"}')
    index = open_index()
    (failed,) = index.ingest(folder).new_failures
    assert (failed.path, failed.reason) == (str(folder / "captions.jsonl"), "TextUnreadable")
    again = index.ingest(folder)
    assert again.new_failures == () and [old.path for old in again.failed] == [failed.path]
    assert [old.path for old in index.failed()] == [failed.path]


def test_kinds_can_be_switched_off(folder, open_index):
    (folder / f"{RED}.txt").write_text("a note")
    (folder / "page.md").write_text("a page")
    index = open_index(ingest_text=("markdown",))
    index.ingest(folder)
    assert [passage.kind for passage in index.texts()] == ["markdown"]


def test_what_is_written_in_a_photo_is_read_also_where_it_was_taken_in_before(folder, open_index, tmp_path):
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x010E] = "The harbour of Visby"
    with Image.open(folder / f"{RED}.png") as image:
        image.save(folder / f"{RED}.png", exif=exif, pnginfo=PngInfo())
    index = open_index(ingest_text=())
    index.ingest(folder)
    assert index.texts() == []
    index.close()
    index = open_index()
    report = index.ingest(folder)
    assert (report.present, report.texts["passages"]) == (6, 1) and index.texts()[0].text == "The harbour of Visby"
    assert stems(index.search("Visby"))[0] == RED


@pytest.mark.both_databases
def test_forgotten_texts_stay_out(folder, open_index):
    (folder / "page.md").write_text("a page")
    index = open_index()
    index.ingest(folder)
    index.forget([folder / "page.md"])
    index.ingest(folder)
    assert index.texts() == []
    index.undo_forget([folder / "page.md"])
    index.ingest(folder)
    assert [passage.text for passage in index.texts()] == ["a page"]


class WordsOnly(ToyInterface):
    """An interface that looks at pictures and words apart."""

    capabilities = Capabilities(reads_pictures_in_text=False)


def test_an_interface_that_cannot_read_pictures_in_text_gets_the_words(folder, open_index):
    (folder / "page.md").write_text(f"something green ![]({PURPLE}.png)")
    index = open_index(WordsOnly())
    index.ingest(folder)
    assert index.search("green", target="texts").texts[0].score > index.search("purple", target="texts").texts[0].score
    assert any("words alone" in note for note in index.search("green", target="texts").notes)


class Refusing(ToyInterface):
    """An interface that breaks on one word."""

    def encode_query(self, query):
        if any("poison" in part.label for part in query):
            raise RuntimeError("no such word")
        return super().encode_query(query)


def test_a_passage_that_the_model_refuses_costs_that_passage_only(folder, open_index):
    (folder / "a.md").write_text("a red poison")
    (folder / "b.md").write_text("a green meadow")
    index = open_index(Refusing())
    report = index.ingest(folder)
    assert [(Path(failed.path).name, failed.reason) for failed in report.failed] == [("a.md", "ModelError")]
    assert report.texts["passages"] == 1 and all(check.ok for check in index.verify())


@pytest.mark.both_databases
def test_a_passage_that_was_refused_is_no_new_failure_until_something_changed(folder, open_index):
    for name in ("a", "b"):
        (folder / f"{name}.md").write_text(f"a red poison for {name}")
    index = open_index(Refusing())
    assert len(index.ingest(folder).new_failures) == 2
    again = index.ingest(folder)
    assert len(again.failed) == 2 and again.new_failures == ()
    (folder / "b.md").write_text("another poison")
    assert [Path(failed.path).name for failed in index.ingest(folder).new_failures] == ["b.md"]
    able = open_index()  # takes both
    assert able.ingest(folder).failed == () and list(folder.glob("*.md"))
    (folder / "a.md").write_text("a third poison")
    assert [Path(failed.path).name for failed in index.ingest(folder).new_failures] == ["a.md"]


class Slow(ToyInterface):
    """An interface that gives the reports on progress time."""

    def encode_queries(self, queries):
        time.sleep(0.15)
        return super().encode_queries(queries)


def test_a_run_that_is_stopped_goes_on_where_it_was(folder, open_index, monkeypatch):
    monkeypatch.setattr(text_stage, "PASSAGES_AT_A_TIME", 40)
    for number in range(300):
        (folder / f"{number}.md").write_text(f"page number {number}")
    index = open_index(Slow())
    stop = threading.Event()

    def progress(now: Any) -> None:
        if now.passages:
            stop.set()

    report = index.ingest(folder, progress=progress, stop=stop)
    assert report.interrupted and 0 < report.texts["passages"] < 300
    assert all(check.ok for check in index.verify())
    assert index.ingest(folder).texts["passages"] == 300 - report.texts["passages"]


KILLED = """
import sys
from interleave_index import Config, Index
from interleave_index.interface.toy import ToyInterface
config = Config().with_flags(models_interface="toy", ingest_workers=0)
with Index.open(sys.argv[1], config=config, interface=ToyInterface(), create=True) as index:
    print("begun", flush=True)
    index.ingest(sys.argv[2])
"""


@pytest.mark.parametrize("seconds", [0.3, 0.7, 1.1])
def test_a_kill_during_the_ingest_of_texts_loses_and_doubles_nothing(folder, tmp_path, seconds):
    for number in range(400):
        (folder / f"{number}.md").write_text(f"page {number}\n\n# Next\n\nmore words of {number}")
    words = [sys.executable, "-c", KILLED, str(tmp_path / "index"), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
    with Index.open(tmp_path / "index", interface=ToyInterface()) as index:
        assert all(check.ok for check in index.verify())
        index.ingest(folder)
        texts = [passage.text for passage in index.texts()]
        assert len(texts) == len(set(texts)) == 800 and all(check.ok for check in index.verify())


@pytest.mark.both_databases
def test_vectors_of_texts_lie_in_a_file_after_an_ingest(folder, open_index):
    (folder / "a.md").write_text("a red page")
    index = open_index()
    index.ingest(folder)
    kinds = {row["kind"]: row["rows"] for row in index.status()["generations"]}
    assert kinds["text"] == 1 and index.status()["texts"]["encoded"] == 1
    with Store.open(index.name) as store:
        assert np.isfinite(store.indexes(1).text.search(np.ones((1, 16), np.float32), 1)[0]).all()


def test_texts_without_photos_are_found_though_a_photo_is_missing(folder, open_index):
    (folder / "a.md").write_text("a red page without pictures")
    index = open_index()
    index.ingest(folder)
    (folder / f"{PURPLE}.png").unlink()
    index.ingest(folder)
    for filters in (None, Filters()):
        assert len(index.search("red", target="texts", filters=filters).texts) == 1


def test_pages_that_this_program_wrote_are_no_texts(folder, open_index, tmp_path):
    from interleave_index.export.page import write_page

    index = open_index()
    index.ingest(folder)
    write_page(index.search("red"), folder / "answer.html", load_pixels=index.pixels)
    report = index.ingest(folder)
    assert index.texts() == [] and report.not_read["own_outputs"] == 1 and report.failed == ()


def test_no_output_goes_over_a_text_that_is_indexed(folder, open_index):
    (folder / "a.md").write_text("a page")
    index = open_index()
    index.ingest(folder)
    assert index.owns(folder / "a.md") and not index.owns(folder / "b.md")
