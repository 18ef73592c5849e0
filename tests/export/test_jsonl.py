import json
import os
from datetime import datetime

from interleave_index.export.jsonl import write_jsonl, write_library_jsonl
from interleave_index.records import Photo


def test_each_hit_is_one_line_in_the_form_of_search_json(answer, tmp_path):
    assert write_jsonl(answer, tmp_path / "hits.jsonl") == 2
    lines = [json.loads(line) for line in (tmp_path / "hits.jsonl").read_text("ascii").splitlines()]
    judged = {"query", "cutoff", "meant"}
    assert [{k: v for k, v in line.items() if k not in judged} for line in lines] == [
        json.loads(json.dumps(hit.to_json())) for hit in answer
    ]
    assert {line["query"] for line in lines} == {"[red disc] -[a <b>]"}
    assert [(line["cutoff"], line["meant"]) for line in lines] == [(0.5, True), (0.5, False)]


def test_line_breaks_and_bad_bytes_in_a_name_stay_inside_their_line(answer, tmp_path):
    write_jsonl(answer, tmp_path / "hits.jsonl")
    second = json.loads((tmp_path / "hits.jsonl").read_bytes().split(b"\n")[1])
    assert os.fsencode(second["path"]).startswith(b"/pics/caf\xe9 <img") and second["path"].endswith("\n.jpg")


def test_a_photo_of_the_library_carries_its_facts_and_regions(answer, tmp_path):
    photo = Photo(
        9, "/pics/9.jpg", 20, 50, "JPEG", datetime(2020, 5, 6, 7, 8, 9), "Cam", None, 1.5, float("nan"), "ab" * 32, 255
    )
    assert write_library_jsonl([(photo, answer[1].entities[0].regions)], tmp_path / "all.jsonl") == 1
    line = json.loads((tmp_path / "all.jsonl").read_text())
    assert line["taken_at"] == "2020-05-06T07:08:09" and line["longitude"] is None
    assert line["phash"] == "00000000000000ff"
    assert [r["mask"]["size"] for r in line["regions"]] == [[50, 20], [50, 20]]
