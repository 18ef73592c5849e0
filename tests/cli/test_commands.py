"""The commands, run in this process: what they print, and with which status they leave."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.interface.toy import ToyInterface


@pytest.fixture
def index(toy_index, monkeypatch):
    """The toy index, closed, named by the variable that every command reads."""
    toy_index.close()
    monkeypatch.setenv("INTERLEAVE_INDEX", str(toy_index.folder))
    monkeypatch.delenv("INTERLEAVE_CONFIG", raising=False)
    return toy_index.folder


# --- ingest ----------------------------------------------------------------------------------


def test_ingest_makes_an_index_reports_counts_as_json_and_again_finds_all_present(run, drawn_photos, tmp_path):
    words = ("ingest", drawn_photos.folder, "--index", tmp_path / "new", "--model", "toy", "--workers", 0, "--json")
    status, out, _ = run(*words)
    report = json.loads(out)
    assert (status, report["added"], report["failed"]) == (0, 6, [])
    assert set(report) == {
        "added",
        "changed",
        "present",
        "moved",
        "duplicate",
        "missing",
        "failed",
        "photos_per_s",
        "seconds",
        "not_read",
        "texts",
        "unmounted",
    }
    assert set(report["texts"]) == {"seen", "read", "missing", "passages"}
    assert set(report["seconds"]) == {"read", "decode", "model", "write"}
    status, out, _ = run(*words)
    assert (status, json.loads(out)["present"], json.loads(out)["added"]) == (0, 6, 0)


def test_a_file_that_cannot_be_read_gives_status_3_and_its_reason(run, index, tmp_path):
    (tmp_path / "text.jpg").write_text("this is no picture")
    status, out, _ = run("ingest", tmp_path / "text.jpg")
    assert status == 3
    assert "ImageUnreadable" in out and "1 failed" in out


def test_a_name_that_is_not_utf8_prints_safely_and_its_json_leads_back_to_the_file(run, index, drawn_photos, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    shutil.copy(drawn_photos.red_disc.path, odd)
    (Path(odd)).write_bytes(Path(odd).read_bytes()[:60])
    status, out, _ = run("ingest", odd, "--json")
    assert (status, json.loads(out)["failed"][0]["path"]) == (3, odd)
    assert out.isascii()
    status, out, _ = run("status", "--failed")
    assert r"caf\xe9.png" in out


def test_a_path_that_does_not_exist_is_wrong_usage_and_makes_no_index(run, index, tmp_path):
    status, out, err = run("ingest", tmp_path / "absent", "--index", tmp_path / "new")
    assert (status, out, (tmp_path / "new").exists()) == (2, "", False)
    assert "does not exist" in err


# --- search ----------------------------------------------------------------------------------


def test_search_prints_the_frozen_json_form(run, index, drawn_photos):
    status, out, _ = run("search", "[a red disc]", "on", "white", "--top-k", 2, "--json")
    answer = json.loads(out)
    assert status == 0
    assert set(answer) == {"query", "path", "cutoff", "notes", "hits"}
    assert answer["notes"] == [] and 0 < answer["cutoff"] <= 1
    assert (answer["query"], answer["path"]) == ("[a red disc] on white", "exact")
    hit = answer["hits"][0]
    assert set(hit) == {
        "rank",
        "photo_id",
        "path",
        "taken_at",
        "camera",
        "score",
        "relevance",
        "stack",
        "entities",
        "text",
    }
    assert set(hit["text"]) == {"added", "passage", "words"}  # the words stand in the name of the file
    assert (hit["text"]["passage"], hit["text"]["words"]) == (None, ["red", "disc"])
    assert (len(answer["hits"]), hit["rank"], hit["path"]) == (2, 1, drawn_photos.red_disc.path)
    assert hit["stack"] == {"count": 1, "photo_ids": [hit["photo_id"]]}
    entity = hit["entities"][0]
    assert set(entity) == {"text", "kind", "negative", "weight", "score", "grounding", "regions"}
    assert set(entity["grounding"]) == {"source", "present", "score", "probability"}
    region = entity["regions"][0]
    assert set(region) == {"region_id", "score", "box", "mask"}
    assert region["mask"]["size"] == [96, 128]
    assert region["region_id"] // 256 == hit["photo_id"]


def test_the_table_names_rank_photo_and_what_was_found(run, index):
    status, out, _ = run("search", "[a red disc]", "-k", "1")
    assert status == 0
    assert "red_disc.png" in out and "✓ a red disc" in out and "relevance" in out


def test_a_query_may_begin_with_a_negative(run, index):
    status, out, err = run("search", "-[blue]", "[red]", "--json")
    assert status == 0, err
    assert json.loads(out)["query"] == "-[blue] [red]"


def test_when_nothing_matches_the_first_line_says_so(run, index, tmp_path):
    (tmp_path / "strict.yaml").write_text("models: {interface: toy}\nquery: {cutoff: 1.0}\n")
    _, out, _ = run("search", "orange", "--config", tmp_path / "strict.yaml")
    assert out.startswith("Nothing here matches well; these are the nearest:\n")
    assert "under the cut-off" not in out


def test_the_first_line_counts_the_photos_that_match(run, index):
    from interleave_index import Index

    with Index.open(index) as opened:
        count = opened.search("[a red disc]").meant_count
    _, out, _ = run("search", "[a red disc]")
    assert 0 < count < 6
    assert out.startswith(f"{count} photo{'s match' if count > 1 else ' matches'}; {6 - count} more")
    assert "under the cut-off" in out.splitlines()[2 + count]


def test_notes_go_to_stderr(run, index, monkeypatch):
    from interleave_index import Answer, Index

    monkeypatch.setattr(Index, "search", lambda self, *_, **__: Answer("x", "exact", (), ("a word is unknown",)))
    _, out, err = run("search", "x", "--json")
    assert err == "note: a word is unknown\n" and json.loads(out)["notes"] == ["a word is unknown"]


def test_the_photo_that_a_query_names_can_be_left_out(run, index, drawn_photos):
    number = json.loads(run("ground", drawn_photos.red_disc.path, "red", "--json")[1])["photo_id"]
    _, out, _ = run("search", f"[photo:{number}]", "--json")
    first = json.loads(out)["hits"][0]
    assert (first["photo_id"], first["relevance"]) == (number, 1.0)
    _, out, _ = run("search", f"[photo:{number}]", "--exclude-self", "--json")
    assert number not in [hit["photo_id"] for hit in json.loads(out)["hits"]]


def test_filters_that_leave_nothing_say_so(run, index, tmp_path):
    status, out, err = run("search", "red", "--in", tmp_path / "elsewhere")
    assert (status, out) == (0, "No photo was searched.\n")
    assert err.startswith("note: no indexed photo lies in")


@pytest.mark.parametrize(
    "words",
    [
        ("search",),
        ("search", "red", "--after", "yesterday"),
        ("search", "red", "--near", "48,11"),
        ("search", "red", "--near", "95,11,5"),
        ("search", "red", "--ground", "deep"),
        ("search", "red", "--top-k", "0"),
        ("search", "red", "--nonsense"),
        ("nonsense",),
        ("forget",),
        ("activate", "first"),
        ("export", "red"),
    ],
)
def test_wrong_usage_gives_status_2_and_a_line_that_helps(run, index, words):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "Traceback" not in err and len(err) > 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("search", "[red"), "never closed"),
        (("search", " "), "query is empty"),
        (("search", "-[red]"), "negatives only"),
        (("search", "[image:/absent/dog.jpg]"), "/absent/dog.jpg"),
        (("search", "[photo:999]"), "999"),
        (("forget", "999"), "999"),
        (("search", "red", "--model", "/absent/checkpoint"), "/absent/checkpoint"),
        (("search", "red", "--device", "gpu"), "models.device"),
        (("search", "red", "--config", "/absent.yaml"), "/absent.yaml"),
        (("status", "--index", "/absent/index"), "no index"),
        (("activate", "99"), "99"),
        (("activate", "9" * 20), "9" * 20),
        (("forget", "9" * 20), "9" * 20),
        (("ground", "9" * 20, "red"), "9" * 20),
        (("ground", "99", "red"), "99"),
        (("status", "--index", "postgresql://host/photos"), "?folder="),
    ],
)
def test_an_error_of_ours_gives_status_1_and_one_line(run, index, words, said):
    status, out, err = run(*words)
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and said in err and err.count("\n") == 1, err


def test_the_column_of_a_mistake_fits_the_query_as_it_is_printed(run, index):
    _, _, err = run("search", "a   dog\t on]")
    column, query = err.rstrip("\n").split("at column ")[1].split(": ", 1)
    assert query[int(column) - 1] == "]"


def test_a_page_with_painted_masks_is_written(run, index, tmp_path):
    status, _, err = run("search", "[a red disc]", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert (status, "page.html" in err) == (0, True)
    assert "data:image/jpeg" in page and "a red disc" in page


# --- ground ----------------------------------------------------------------------------------


def test_ground_gives_one_hit_for_any_picture_file_without_an_index(run, drawn_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLEAVE_INDEX", raising=False)
    status, out, err = run(
        "ground", drawn_photos.green_square.path, "[green]", "--model", "toy", "--json", "--html", "page.html"
    )
    assert status == 0, err
    hit = json.loads(out)
    assert (hit["rank"], hit["photo_id"], hit["path"]) == (1, 0, drawn_photos.green_square.path)
    assert hit["entities"][0]["regions"][0]["box"] == [30, 20, 80, 70]
    assert hit["entities"][0]["grounding"]["source"] == "exact"
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_ground_by_file_and_by_id_knows_the_indexed_photo(run, index, drawn_photos):
    _, out, _ = run("ground", drawn_photos.green_square.path, "[green]", "--json")
    number = json.loads(out)["photo_id"]
    assert number > 0
    _, again, _ = run("ground", number, "[green]", "--json")
    assert json.loads(again)["entities"] == json.loads(out)["entities"]


def test_ground_prints_a_row_an_entity(run, index, drawn_photos):
    status, out, _ = run("ground", drawn_photos.red_disc_and_blue_square.path, "[red]", "[blue]")
    assert status == 0
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[1:3] in (["red", "there"], ["blue", "there"], ["red", "unsure"], ["blue", "unsure"]) for row in rows]
    assert "70 30 110 70" in out and "%" in rows[0][4]


def test_a_photo_named_by_hand_is_unsure_at_worst_and_never_judged_as_a_hit(run, index, drawn_photos, tmp_path):
    status, out, _ = run("ground", drawn_photos.blue_triangle.path, "[orange]", "--html", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8").split("</style>")[1]
    assert status == 0 and "✗" not in out and "not there" not in out
    for word in ("below", "nearest", "matches", "not there", "cut-off"):
        assert word not in page, word


def test_marks_on_a_photo_are_masked_and_written(run, drawn_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", str(tmp_path / "none"))
    photo = drawn_photos.red_disc_and_blue_square
    words = ("ground", photo.path, "#point=90,50;-30,48", "#box=8,26,52,70", "--model", "toy", "--no-server")
    status, out, err = run(*words, "--json", "--masks", "masks", "--html", "page.html")
    hit = json.loads(out)
    assert status == 0 and [entity["kind"] for entity in hit["entities"]] == ["region", "region"]
    assert {entity["grounding"]["rung"] for entity in hit["entities"]} == {"marked"}
    assert all(entity["grounding"]["probability"] == 1 for entity in hit["entities"])
    files = sorted(file.name for file in (tmp_path / "masks").iterdir())
    assert len(files) == 3 and files[-1].endswith("painted.jpg") and err.count("mask written to") == 3
    for file, colour in zip(files, ("blue", "red"), strict=False):
        assert np.array_equal(np.array(Image.open(tmp_path / "masks" / file)) > 0, photo.masks[colour])
    assert (tmp_path / "page.html").is_file()
    status, _, err = run(*words, "--masks", "masks")
    assert status == 1 and "exists already" in err
    assert run(*words, "--masks", "masks", "--overwrite")[0] == 0


def test_marks_on_an_indexed_photo_named_by_its_id(run, index, drawn_photos):
    photo = drawn_photos.green_square
    number = json.loads(run("ground", photo.path, "green", "--json")[1])["photo_id"]
    status, out, _ = run("ground", number, "#point=50,40", "--json")
    (entity,) = json.loads(out)["entities"]
    assert status == 0 and entity["grounding"]["rung"] == "marked"
    assert entity["regions"][0]["box"] == [30, 20, 80, 70]


def test_a_segmenter_as_the_model_masks_marks_and_says_that_it_reads_no_words(run, index, drawn_photos, tmp_path):
    pytest.importorskip("transformers")
    from tests.models import tiny_prompted

    folder = tiny_prompted.sam2(tmp_path / "sam2")
    photo = drawn_photos.green_square
    status, out, _ = run("ground", photo.path, "#point=50,40", "--model", folder, "--json", "--no-server")
    assert status == 0 and json.loads(out)["entities"][0]["grounding"]["rung"] == "marked"
    status, _, err = run("ground", photo.path, "green", "--model", folder, "--no-server")
    assert status == 1 and "reads no words" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [("#pint=1,2", "unknown #pint"), ("#point=500,2", "is outside picture"), ("#mask=none.png", "none.png")],
)
def test_marks_that_cannot_be_are_said_in_one_line(run, index, drawn_photos, word, said):
    status, _, err = run("ground", drawn_photos.red_disc.path, word, "--no-server")
    assert status == 1 and said in err and err.count("\n") == 1


# --- tending ---------------------------------------------------------------------------------


def test_status_prints_the_promised_keys(run, index):
    status, out, _ = run("status", "--json")
    facts = json.loads(out)
    assert status == 0
    counts = {"photos", "locations", "missing", "failed", "encodings", "regions", "damaged"}
    assert set(facts) == counts | {"texts", "space", "generations", "catalog"}
    assert set(facts["texts"]) == {"documents", "passages", "kinds", "missing", "failed", "encoded"}
    assert (facts["photos"], facts["locations"], facts["encodings"], facts["missing"]) == (6, 6, 6, 0)
    _, out, _ = run("status")
    assert "photos" in out and "toy" in out


def test_verify_is_clean_and_its_status_follows_its_verdict(run, index):
    status, out, _ = run("verify", "--json")
    verdict = json.loads(out)
    assert (status, verdict["ok"]) == (0, True)
    assert all(set(check) == {"name", "ok", "detail"} for check in verdict["checks"])
    run("optimize")
    for file in (index / "faiss").glob("*.faiss"):
        written = file.read_bytes()  # not in its footer, by which an opening notices and makes it anew
        file.write_bytes(written[:-200] + b"garbage" + written[-193:])
    status, out, _ = run("verify", "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)
    status, out, _ = run("verify")
    assert status == 1 and "FAILED" in out


def test_verify_measures_recall_where_it_is_asked_for(run, index):
    status, out, _ = run("verify", "--recall", 0.99, "--json")
    named = [check["name"] for check in json.loads(out)["checks"]]
    assert status == 0 and "recall of two regions without a third" in named
    assert "recall" not in run("verify")[1]
    for share in (2, -0.1, "nan"):
        status, _, err = run("verify", "--recall", share)
        assert status == 2 and "expected 0 to 1" in err


def test_search_answers_the_queries_of_a_file_in_their_order(run, index, tmp_path, monkeypatch):
    file = tmp_path / "queries.txt"
    file.write_text("[red disc]\n\n  [blue]  \n", "utf-8-sig")  # with a byte order mark, as editors write it
    status, out, _ = run("search", "--queries", file, "--json", "-k", 2)
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [answer["query"] for answer in answers] == ["[red disc]", "[blue]"]
    for answer in answers:
        alone = json.loads(run("search", answer["query"], "--json", "-k", 2, "--no-server")[1])
        assert answer == alone
    status, out, _ = run("search", "--queries", file)
    assert status == 0 and out.index("[red disc]") < out.index("[blue]")
    monkeypatch.setattr("sys.stdin", io.StringIO("[blue]\n"))
    assert json.loads(run("search", "--queries", "-", "--json")[1])["query"] == "[blue]"


@pytest.mark.parametrize(
    ("words", "text", "status", "said"),
    [
        (("--queries", "FILE", "[red]"), "[red]", 2, "--queries"),
        ((), "", 2, "expected a query"),
        (("--queries", "FILE", "--exclude-self"), "[red]", 2, "--exclude-self"),
        (("--queries", "FILE", "--stacks"), "[red]", 2, "--stacks"),
        (("--queries", "FILE", "--ground", "exact"), "[red]", 2, "--ground exact"),
        (("--queries", "FILE"), "\n", 1, "holds no query"),
        (("--queries", "FILE"), "[red]\n[blue", 1, "line 2"),
        (
            ("--queries", "FILE"),
            "[red]\n\n[image:none.jpg]",
            1,
            "line 3 of FILE: picture 'none.jpg': file cannot be read",
        ),
        (("--queries", "FILE"), "[red]\n[photo:999]", 1, "line 2 of FILE: photo 999 is not in the catalog"),
        (("--queries", "NONE"), "", 1, "cannot be read: no such file"),
        (("--queries", "FOLDER"), "", 1, "cannot be read: is a directory"),
    ],
)
def test_queries_of_a_file_that_cannot_be_answered_are_said_in_a_line(run, index, tmp_path, words, text, status, said):
    file = tmp_path / "queries.txt"
    file.write_text(text, "utf-8")
    places = {"FILE": file, "NONE": tmp_path / "none.txt", "FOLDER": tmp_path}
    got, _, err = run("search", *(places.get(word, word) for word in words))
    assert got == status and said.replace("FILE", str(file)) in err and "Traceback" not in err


def test_forget_takes_paths_and_ids(run, index, drawn_photos):
    number = json.loads(run("ground", drawn_photos.red_disc.path, "red", "--json")[1])["photo_id"]
    status, out, _ = run("forget", drawn_photos.blue_triangle.path, number, "--json")
    assert (status, json.loads(out)) == (0, {"forgotten": 2, "locations": 2})
    assert json.loads(run("status", "--json")[1])["photos"] == 4


def test_prune_forgets_what_is_gone_from_the_disk(run, index, drawn_photos, tmp_path):
    passing = tmp_path / "passing"
    passing.mkdir()
    data = bytearray(Path(drawn_photos.red_disc.path).read_bytes())
    (passing / "one.png").write_bytes(bytes(data) + b"\0")
    run("ingest", passing)
    (passing / "one.png").unlink()
    assert json.loads(run("ingest", passing, "--really", "--json")[1])["missing"] == 1
    assert json.loads(run("prune", "--yes", "--json")[1]) == {"forgotten": 0}
    assert json.loads(run("prune", "--yes", "--grace", 0, "--json")[1]) == {"forgotten": 1}


def test_spaces_and_activate_switch_to_the_same_space_again(run, index):
    listed = json.loads(run("spaces", "--json")[1])["spaces"]
    assert [(space["interface"], space["state"], space["encodings"]) for space in listed] == [("toy", "active", 6)]
    status, out, _ = run("activate", listed[0]["id"], "--json")
    assert (status, json.loads(out)) == (0, {"active": listed[0]["id"], "interface": "toy"})
    assert "toy" in run("spaces")[1]


# --- export ----------------------------------------------------------------------------------


def test_export_of_the_library_loads_in_pycocotools(run, index, tmp_path, capsys):
    from pycocotools.coco import COCO

    status, out, _ = run(
        "export",
        "--coco",
        tmp_path / "all.json",
        "--masks",
        tmp_path / "masks",
        "--jsonl",
        tmp_path / "all.jsonl",
        "--json",
    )
    counts = json.loads(out)
    assert (status, counts["coco_images"], counts["json_lines"]) == (0, 6, 6)
    loaded = COCO(str(tmp_path / "all.json"))
    assert len(loaded.getImgIds()) == 6
    assert len(loaded.getAnnIds()) == counts["coco_annotations"] == counts["mask_files"]
    capsys.readouterr()


def test_export_of_a_query_holds_its_hits(run, index, tmp_path):
    status, out, _ = run("export", "[a red disc]", "-[blue]", "--jsonl", tmp_path / "hits.jsonl", "-k", 3)
    lines = [json.loads(line) for line in (tmp_path / "hits.jsonl").read_text().splitlines()]
    assert (status, len(lines), lines[0]["query"]) == (0, 3, "[a red disc] -[blue]")
    assert "3 json lines" in out


def test_export_counts_the_annotations_that_it_wrote(run, index, tmp_path, monkeypatch):
    from interleave_index import Answer, Hit, Index
    from interleave_index.geometry import encode_rle
    from interleave_index.records import EntityHit, Grounding, Photo, Region

    masks = (np.ones((4, 6), bool), np.zeros((4, 6), bool))  # one without a pixel is no annotation
    regions = tuple(Region(None, 0.5, (0.0, 0.0, 6.0, 4.0), encode_rle(mask)) for mask in masks)
    entity = EntityHit("a dog", "text", False, 1.0, 0.5, Grounding("exact", True, 0.5), regions)
    answer = Answer("[a dog]", "exact", (Hit(1, Photo(1, None, 6, 4), 0.5, 0.5, (entity,)),))
    monkeypatch.setattr(Index, "search", lambda self, *words, **options: answer)
    _, out, _ = run("export", "[a dog]", "--coco", tmp_path / "hits.json", "--json")
    written = json.loads((tmp_path / "hits.json").read_text())["annotations"]
    assert json.loads(out)["coco_annotations"] == len(written) == 1


def test_export_tells_the_notes_of_its_search(run, index, tmp_path, monkeypatch):
    from interleave_index import Answer, Index

    answer = Answer("[photo:1] red", "exact", (), ("a stored vector stands in",))
    monkeypatch.setattr(Index, "search", lambda self, *words, **options: answer)
    status, out, err = run("export", "[photo:1] red", "--jsonl", tmp_path / "hits.jsonl", "--json")
    assert (status, json.loads(out)["json_lines"], err) == (0, 0, "note: a stored vector stands in\n")


# --- models ----------------------------------------------------------------------------------


def test_models_list_names_the_bundled_ones(run, index):
    status, out, _ = run("models", "list", "--json")
    assert status == 0
    assert {"find-mini", "toy"} <= {model["name"] for model in json.loads(out)["models"]}
    assert "toy" in run("models", "list")[1]


def test_ctrl_c_outside_an_ingest_leaves_with_130(run, index, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("interleave_index.service.Index.search", interrupted)
    status, out, err = run("search", "red")
    assert (status, out) == (130, "")
    assert "Traceback" not in err


def test_an_interrupted_ingest_says_so_and_leaves_with_130(run, index, monkeypatch, drawn_photos):
    from interleave_index.records import IngestReport

    report = IngestReport(added=3, interrupted=True)
    monkeypatch.setattr("interleave_index.service.Index.ingest", lambda *_, **__: report)
    status, out, err = run("ingest", drawn_photos.folder)
    assert status == 130
    assert "3 added" in out and "the next run goes on" in err


def test_the_settings_of_the_index_are_used_unless_a_file_or_flag_says_otherwise(run, index, tmp_path):
    assert len(json.loads(run("search", "red", "--json")[1])["hits"]) == 6
    (tmp_path / "two.yaml").write_text("models: {interface: toy}\nquery: {top_k: 2}\n")
    assert len(json.loads(run("search", "red", "--json", "--config", tmp_path / "two.yaml")[1])["hits"]) == 2
    words = ("search", "red", "--json", "--config", tmp_path / "two.yaml", "--top-k", 3)
    assert len(json.loads(run(*words)[1])["hits"]) == 3


def test_searching_with_another_model_than_the_index_holds_is_one_clear_line(run, index, monkeypatch):
    class Other(ToyInterface):
        space = type(ToyInterface.space)("other", "2" * 64, "none", 16)

    monkeypatch.setattr("interleave_index.interface.registry.load", lambda *_, **__: Other())
    status, _, err = run("search", "red")
    assert status == 1
    assert "space toy" in err and "other" in err


def test_a_model_that_filled_a_space_beside_the_active_one_is_told_of_with_the_way_to_search_it(
    run, index, drawn_photos, monkeypatch
):
    class Other(ToyInterface):
        space = type(ToyInterface.space)("toy", "2" * 64, "none", 16)

    monkeypatch.setattr("interleave_index.interface.registry.load", lambda *_, **__: Other())
    assert "ingest again and activate" in run("search", "red")[2]
    status, _, err = run("ingest", drawn_photos.folder, "--workers", 0)
    assert status == 0 and "activate 2" in err
    status, _, err = run("search", "red")
    assert status == 1 and "activate space 2" in err
    assert run("activate", 2)[0] == 0 and run("search", "red")[0] == 0


# --- thin commands over other packages ----------------------------------------------------------


def test_evaluate_hands_its_options_over_and_prints_the_figures(run, monkeypatch, tmp_path):
    asked: dict[str, Any] = {}

    def measure(pack, **options):
        asked.update(options, pack=pack)
        return {"caption": {"IR@1": 12.5, "chance": 1.0, "n": 8}, "labels": {"seen": {"top1": 50.0}}, "seed": 3}

    monkeypatch.setattr("interleave_index.evaluation.evaluate", measure)
    words = (
        "evaluate",
        tmp_path / "val.tar",
        "--model",
        "toy",
        "--seed",
        3,
        "--limit",
        9,
        "--exclude-source",
        "a",
        "--exclude-source",
        "b",
        "--dump",
        tmp_path / "scores.npz",
    )
    status, out, _ = run(*words, "--json")
    assert (status, json.loads(out)["caption"]["IR@1"]) == (0, 12.5)
    assert (asked["pack"], asked["seed"], asked["limit"]) == (tmp_path / "val.tar", 3, 9)
    assert (asked["exclude_sources"], asked["dump"]) == (["a", "b"], tmp_path / "scores.npz")
    assert asked["interface"].space == ToyInterface.space
    assert "caption: IR@1 12.5, chance 1.0, n 8" in run(*words)[1]
    assert run("evaluate", "pack", *words[1:])[1] == run(*words)[1]  # the word may be left out


def test_train_hands_its_options_over_and_names_the_finished_model(run, monkeypatch, tmp_path):
    asked = []

    def train(settings, progress):
        asked.append(settings)
        progress("loss 1.0  9 photos/s")
        return settings.out / "bundle"

    monkeypatch.setattr("interleave_index.training.find_mini.run.run", train)
    words = (
        "train",
        tmp_path,
        "--out",
        tmp_path / "out",
        "--stage",
        "bundle",
        "--stage",
        "align",
        "--minutes",
        2,
        "--align-minutes",
        3,
    )
    status, out, err = run(*words, "--json")
    assert (status, json.loads(out)) == (0, {"model": str(tmp_path / "out" / "bundle")})
    assert asked[0].stages == ["align", "bundle"] and asked[0].bf16
    assert (asked[0].interface.minutes, asked[0].align.minutes, asked[0].vision.minutes) == (2.0, 3.0, 90.0)
    assert "9 photos/s" in err
    assert "9 photos/s" in run(*words)[1]


def test_every_stage_of_the_training_can_be_asked_for_by_name():
    from interleave_index.cli.train import Stage
    from interleave_index.training.find_mini.run import STAGES
    from interleave_index.training.find_mini.settings import STAGE_NAMES

    assert tuple(stage.value for stage in Stage) == STAGE_NAMES == (*STAGES, "bundle")


def test_a_recipe_and_single_settings_stand_over_those_of_the_package(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "interleave_index.training.find_mini.run.run", lambda settings, progress: asked.append(settings)
    )
    (tmp_path / "mine.yaml").write_text("seed: 3\nvision: {minutes: 1, rate: 0.01}\n")
    words = ("train", tmp_path, "--out", tmp_path, "--recipe", tmp_path / "mine.yaml", "--vision-minutes", 2)
    assert run(*words, "--set", "vision.rate=0.02", "--set", "interface.weights.dice=7")[0] == 0
    assert (asked[0].seed, asked[0].vision.minutes, asked[0].vision.rate, asked[0].vision.batch) == (3, 2.0, 0.02, 64)
    assert asked[0].interface.weights["dice"] == 7.0 and asked[0].interface.weights["bce"] == 5.0
    for wrong, message in (
        ("vision.rat=1", "unknown setting vision.rat; the nearest known one is vision.rate"),
        ("vision.rate=fast", "setting vision.rate is 'fast', expected float"),
        ("vision.rate", "expected KEY=VALUE"),
    ):
        status, _, err = run(*words, "--set", wrong)
        assert status == 1 and message in err


def test_demo_writes_where_it_is_told(run, monkeypatch, tmp_path):
    monkeypatch.setattr("interleave_index.demo.run.run_demo", lambda folder, **_: folder / "report.html")
    status, out, _ = run("demo", tmp_path, "--json")
    assert (status, json.loads(out)) == (0, {"report": str(tmp_path / "report.html")})


# --- one and several --------------------------------------------------------------------------


def test_what_is_one_is_not_called_several(run, drawn_photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INTERLEAVE_INDEX", "photos.index")
    (tmp_path / "photos").mkdir()
    shutil.copy(drawn_photos.red_disc.path, "photos/a.png")
    (tmp_path / "photos" / "a.mp4").write_bytes(b"a film")
    said = [run("ingest", "photos", "--model", "toy", "--workers", 0)[1]]
    for words in (("verify",), ("status",), ("search", "[red]"), ("export", "--coco", "a.json")):
        said.append(run(*words)[1])
    (tmp_path / "photos" / "a.png").unlink()
    run("ingest", "photos", "--model", "toy", "--workers", 0)
    said += [*run("prune")[1:], run("prune", "--grace", 0)[1], run("search", "[red]")[2]]
    text = "\n".join(said)
    several = "photos|paths|files|films|rows|ids|vectors|encodings|passages|sources|hits|(coco )?(images|annotations)"
    assert not re.search(rf"(?<![\d.,])1 ({several})\b", text), text
    assert "not read: 1 film\n" in text
    assert "1 photo and 1 path would be forgotten" in text
    assert "the only photo of the index is missing" in text
