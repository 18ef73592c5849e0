"""Texts beside the photos, by the commands: taking them in, searching and showing them, writing them to a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from interleave_index import Index
from interleave_index.cli.show import ProgressLines
from interleave_index.config import Config
from interleave_index.interface.toy import ToyInterface

INGEST = ("ingest", "photos", "--model", "toy", "--workers", 0)


@pytest.fixture
def library(run, drawn_photos, tmp_path, monkeypatch):
    """The current folder with two photos, a page that shows one of them, and a note on the other one; taken in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", "photos.index")
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
    Path("photos").mkdir()
    shutil.copy(drawn_photos.red_disc.path, "photos/11.png")
    shutil.copy(drawn_photos.green_square.path, "photos/22.png")
    Path("photos/page.md").write_text("# Shapes\n\nThe red disc ![](11.png) of aunt Ilse\n\n# More\n\nA purple stripe")
    Path("photos/22.txt").write_text("a green harbour wall")
    assert run(*INGEST)[0] == 0
    return tmp_path


def test_ingest_counts_texts_and_status_names_their_kinds(run, library):
    Path("photos/b.md").write_text("more words")
    assert "texts: 3 sources beside the photos, 1 read, 0 missing, 1 passage encoded" in run(*INGEST)[1]
    Path("photos/b.md").unlink()
    assert json.loads(run(*INGEST, "--json")[1])["texts"] == {"seen": 2, "read": 0, "missing": 1, "passages": 0}
    said = run("status")[1]
    assert "3 sources (2 markdown, 1 txt), 4 passages, 1 missing" in said
    assert json.loads(run("status", "--json")[1])["texts"]["kinds"] == {"markdown": 2, "txt": 1}


def test_the_report_is_silent_about_texts_where_there_are_none(run, drawn_photos, tmp_path):
    words = ("ingest", drawn_photos.folder, "--index", tmp_path / "new", "--model", "toy", "--workers", 0)
    assert "texts" not in run(*words)[1]


def test_kinds_of_texts_are_chosen_and_the_index_keeps_the_choice(run, library):
    assert json.loads(run(*INGEST, "--text", "txt", "--json")[1])["texts"]["missing"] == 1
    assert json.loads(run(*INGEST, "--json")[1])["texts"]["seen"] == 1
    assert [hit["kind"] for hit in texts(run, "red")] == ["txt"]
    assert json.loads(run(*INGEST, "--text", "none", "--json")[1])["texts"]["missing"] == 1
    assert texts(run, "red") == []
    assert json.loads(run(*INGEST, "--text", "all", "--json")[1])["texts"]["seen"] == 2
    for wrong in ("notes", "txt,none", ""):
        status, _, err = run(*INGEST, "--text", wrong)
        assert status == 2 and "markdown" in err


def texts(run, *words):
    """The passages of an answer in JSON."""
    return json.loads(run("search", *words, "--target", "texts", "--json")[1])["texts"]


def test_passages_are_ranked_and_what_answers_the_query_is_marked_where_nothing_can_be_underlined(run, library):
    status, out, _ = run("search", "[red disc]", "--target", "texts")
    first, header, best = out.splitlines()[:3]
    assert (status, first, header.split()) == (0, "3 passages, best first:", ["score", "source", "title", "text"])
    assert re.match(r"1 +\d\.\d{3}  photos/page\.md  Shapes  Shapes\. The «red disc» \[photo \d\] of aunt", best)
    assert "«Ilse»" in run("search", "ilse", "-t", "texts")[1]


def test_passages_are_asked_for_by_kind(run, library):
    assert [hit["kind"] for hit in texts(run, "red", "--text", "txt,html")] == ["txt"]
    assert len(texts(run, "red", "--text", "all")) == 3
    for words in (("--text", "txt"), ("-t", "texts", "--text", "notes"), ("-t", "texts", "--text", "none")):
        assert run("search", "red", *words)[0] == 2


def test_photos_and_passages_stand_one_after_the_other(run, library):
    out = run("search", "[red disc]", "--target", "both", "-k", 1)[1]
    photos, passages = out.split("\n\n")
    assert "11.png" in photos and "page.md" not in photos.split("text:")[0]
    assert passages.startswith("1 passage, best first:") and "page.md" in passages
    answer = json.loads(run("search", "[red disc]", "-t", "both", "--json")[1])
    assert len(answer["hits"]) == 2 and answer["texts"][0]["entities"][0]["text"] == "red disc"


def test_paths_are_those_of_the_sources_each_once(run, library):
    page, note = str(library / "photos/page.md"), str(library / "photos/22.txt")
    assert run("search", "red", "-t", "texts", "--paths")[1].splitlines() == [page, note]
    both = run("search", "red", "-t", "both", "-k", 1, "-0")[1]
    assert both == f"{library / 'photos/11.png'}\0{page}\0"


def test_a_photo_says_which_text_or_name_spoke_for_it(run, library):
    assert "text: Shapes. The red disc [photo 1] of aunt Ilse" in run("search", "Ilse")[1]
    (library / "photos/harbour").mkdir()
    (library / "photos/22.png").rename(library / "photos/harbour/22.png")
    (library / "photos/22.txt").unlink()
    run(*INGEST)
    assert "name: harbour" in run("search", "harbour")[1]


def test_no_passage_is_said_and_why(run, library):
    status, out, err = run("search", '"blue moon"', "-t", "texts")
    assert (status, out) == (0, "No passage was found.\n") and "'blue moon', which must occur" in err
    run(*INGEST, "--text", "none")
    assert run("search", "red", "-t", "texts")[1] == (
        "No passage was found: the index has no texts, or the filters leave none.\n"
    )


@pytest.mark.parametrize("option", [("--heatmap", "heat"), ("--copies",)])
def test_what_is_about_photos_alone_is_refused_for_texts_alone(run, library, option):
    status, _, err = run("search", "red", "-t", "texts", *option)
    assert status == 2 and "--target photos or both" in err


def test_the_page_shows_passages_too(run, library):
    assert run("search", "[red disc]", "-t", "texts", "--html", "page.html")[0] == 0
    page = Path("page.html").read_text()
    assert "<mark>red disc</mark> [photo 1]" in page and "No photo" not in page


def test_texts_of_a_photo_are_shown_by_path_and_by_id_and_a_source_by_its_path(run, library):
    shown = run("texts", "photos/11.png")[1]
    assert "markdown  photos/page.md  Shapes  Shapes. The red disc [photo 1] of aunt Ilse" in shown
    assert run("texts", 1)[1] == shown
    pages = json.loads(run("texts", "photos/page.md", "--json")[1])["texts"]
    assert [passage["ordinal"] for passage in pages] == [0, 1] and pages[0]["photo_ids"] == [1]
    for absent in ("99", "photos/absent.md"):
        status, _, err = run("texts", absent)
        assert status == 1 and Path(absent).name in err
    Path("photos/22.txt").unlink()
    run(*INGEST)
    assert run("texts", 2)[1] == "No text belongs to this photo.\n"


def test_of_a_text_that_could_not_be_read_the_reason_is_told(run, library):
    Path("photos/captions.jsonl").write_text('{"file": "../a.jpg", "text": "x"}')
    assert run(*INGEST)[0] == 3
    status, _, err = run("texts", "photos/captions.jsonl")
    assert status == 1 and "could not be read: " in err and "../a.jpg" in err


def test_passages_are_exported_with_spans_and_paths_of_their_photos(run, library):
    assert run("export", "--texts", "all.jsonl")[1] == "3 passages\n"
    lines = {line["text"]: line for line in map(json.loads, Path("all.jsonl").read_text().splitlines())}
    shapes = next(line for text, line in lines.items() if text.startswith("Shapes"))
    assert "red disc" in [shapes["text"][slice(*span)] for span in shapes["phrases"]]
    assert shapes["photo_paths"] == [str(library / "photos/11.png")]
    assert lines["More. A purple stripe"]["photo_paths"] == []
    status, _, err = run("export", "--texts", "all.jsonl")
    assert status == 1 and "--overwrite" in err


def test_answers_and_passages_are_exported_in_one_run(run, library):
    words = ("export", "[red disc]", "-k", 1, "--jsonl", "hits.jsonl", "--texts", "texts.jsonl", "--json")
    assert json.loads(run(*words)[1]) == {"hits": 1, "json_lines": 1, "passages": 1}
    line = json.loads(Path("texts.jsonl").read_text())
    assert (line["query"], line["rank"], line["entities"][0]["text"]) == ("[red disc]", 1, "red disc")
    assert run("export", "[red disc]", "--texts", "a", "--min-relevance", "0.5")[0] == 2


def test_filters_leave_passages_of_photos_that_pass(run, library):
    (library / "photos/deep").mkdir()
    (library / "photos/11.png").rename(library / "photos/deep/11.png")
    Path("photos/page.md").write_text("# Shapes\n\nThe red disc ![](deep/11.png)\n\n# More\n\nA purple stripe")
    run(*INGEST)
    assert run("export", "--texts", "all.jsonl", "--in", "photos/deep")[1] == "1 passage\n"
    assert json.loads(Path("all.jsonl").read_text())["photo_paths"] == [str(library / "photos/deep/11.png")]


def test_a_text_is_forgotten_by_its_path_and_missing_ones_are_pruned(run, library):
    assert run("forget", "photos/page.md")[1].startswith("1 path forgotten;")
    assert "1 forgotten" in run(*INGEST)[1]
    Path("photos/22.txt").unlink()
    run(*INGEST)
    assert run("prune", "--grace", 0)[1] == "0 photos, 0 paths and 1 text would be forgotten; --yes does it\n"
    assert json.loads(run("prune", "--dry-run", "--json")[1]) | {"gone_folders": []} == {
        "photos": 0,
        "locations": 0,
        "texts": 0,
        "waiting": 1,
        "gone_folders": [],
    }
    assert run("prune", "--yes", "--grace", 0)[1] == "0 photos and 1 text forgotten\n"
    assert json.loads(run("status", "--json")[1])["texts"]["documents"] == 0


@pytest.mark.skipif(os.name != "posix", reason="the local socket is one of Unix")
def test_the_server_of_the_index_ranks_passages_too_and_calls_pictures_as_they_were_written(run, library, monkeypatch):
    from interleave_index.web.local_socket import answering

    words = ("search", "[image:photos/11.png]", "-t", "both", "--json")
    alone = json.loads(run(*words, "--no-server")[1])
    config = Config.load("photos.index/config.yaml")
    with Index.open("photos.index", config=config, interface=ToyInterface()) as index, answering(index, config):
        monkeypatch.setattr("interleave_index.cli.ask.Index.open", None)  # nobody opens the index here
        assert json.loads(run(*words)[1]) == alone
    assert alone["texts"][0]["entities"][0]["text"] == "[image:photos/11.png]"


def test_progress_lines_begin_anew_with_the_passages(capsys):
    time = iter(range(0, 100, 3))
    lines = ProgressLines("ingest", lambda: float(next(time)))
    lines.update(10, 10, "")
    lines.update(1, 10, "texts")
    lines.update(2, 10, "texts")
    assert capsys.readouterr().err.splitlines()[1:] == ["ingest: 1 of 10 (10%)  texts", "ingest: 2 of 10 (20%)  texts"]


def test_an_ingest_that_is_stopped_among_its_texts_goes_on_there(run, library, monkeypatch):
    from interleave_index.ingest import tally, text_stage

    monkeypatch.setattr(text_stage, "PASSAGES_AT_A_TIME", 8)
    monkeypatch.setattr(tally, "EVERY", 0)
    for number in range(64):
        Path(f"photos/{number}.md").write_text(f"page {number}")
    plain = Index.ingest

    def stopped(index, paths, progress, **options):
        stop = threading.Event()

        def watched(step):
            progress(step)
            if step.passages:
                stop.set()

        return plain(index, paths, progress=watched, stop=stop, **options)

    monkeypatch.setattr(Index, "ingest", stopped)
    status, out, err = run(*INGEST)
    assert status == 130 and "64 read" in out and "goes on from here" in err
    assert "waiting for their vectors" in run("status")[1]
    monkeypatch.setattr(Index, "ingest", plain)
    planned = json.loads(run("repair", "--json")[1])["plan"]["texts"]
    assert len(planned) == 56 and all(path.endswith(".md") for path in planned)
    assert "56 files with passages without vectors, to be encoded" in run("repair")[1]
    assert run("repair", "--apply")[0] == 0 and "waiting" not in run("status")[1]
    assert run("repair")[1] == "nothing to repair\n"
    assert run(*INGEST)[0] == 0
