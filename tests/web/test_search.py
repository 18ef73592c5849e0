"""Searching over REST: parts, pages, masks, uploads, looks, exports."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interleave_index.query.rerank import RememberingReranker
from interleave_index.records import Rle


def names(answer):
    return [hit["photo"]["name"] for hit in answer["hits"]]


def test_words_and_parts_give_the_same_answer_as_the_string_form(ask):
    written = ask("[red]^2 on white -[blue]")
    parts = ask({"entity": "red", "weight": 2}, {"text": "on white"}, {"entity": "blue", "not": True})
    assert written["query"] == parts["query"] == "[red]^2 on white -[blue]"
    assert written["hits"] == parts["hits"]
    assert [(e["text"], e["negative"], e["weight"]) for e in parts["entities"]] == [
        ("red", False, 2),
        ("blue", True, 1),
    ]


def test_the_best_hit_names_its_region_and_the_bulk_reply_holds_no_masks(ask, client, drawn_photos):
    answer = ask({"entity": "green"})
    hit = answer["hits"][0]
    assert (hit["photo"]["name"], hit["rank"], hit["entities"][0]["present"]) == ("green_square.png", 1, True)
    assert hit["entities"][0]["regions"][0]["box"] == [30, 20, 80, 70]
    assert '"counts"' not in json.dumps(answer)
    masks = client.get(f"/api/search/{answer['search']}/photos/{hit['photo']['id']}/masks").json()
    rle = Rle(tuple(masks[0][0]["size"]), masks[0][0]["counts"])
    assert np.array_equal(rle.decode(), drawn_photos.green_square.mask)


def test_pages_by_cursor_show_every_photo_once_in_the_order_of_one_page(ask, client):
    whole = ask("red on white", limit=50)
    pages, answer = [], ask("red on white", limit=2)
    while True:
        pages += answer["hits"]
        if answer["next"] is None:
            break
        answer = client.get("/api/search", params={"cursor": answer["next"], "limit": 2}).json()
    assert [(hit["rank"], hit["photo"]["id"]) for hit in pages] == [
        (hit["rank"], hit["photo"]["id"]) for hit in whole["hits"]
    ]
    assert whole["next"] is None and len(pages) == 6


def test_a_search_that_is_not_held_any_more_is_gone(client):
    answer = client.get("/api/search", params={"cursor": "nothing.20"})
    assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")


def test_more_like_this_region_finds_it_in_its_own_photo_first(ask):
    hit = ask({"entity": "yellow"})["hits"][0]
    region = hit["entities"][0]["regions"][0]["region"]
    assert names(ask({"region": region}))[0] == "yellow_disc_on_black.png"


def test_the_photo_that_a_query_names_can_be_left_out_whole_or_in_part(ask):
    hit = ask({"entity": "yellow"})["hits"][0]
    own, region = hit["photo"]["id"], hit["entities"][0]["regions"][0]["region"]
    for part in ({"photo": own}, {"region": region}, {"photo": own, "box": [15, 15, 65, 65]}):
        kept, left = ask(part), ask(part, exclude_self=True)
        assert own in [one["photo"]["id"] for one in kept["hits"]], part
        assert own not in [one["photo"]["id"] for one in left["hits"]], part
        assert len(left["hits"]) == 5
    assert own in [one["photo"]["id"] for one in ask({"entity": "yellow"}, exclude_self=True)["hits"]]
    assert ask({"photo": own})["hits"][0] | {"relevance": 1.0, "meant": True} == ask({"photo": own})["hits"][0]


def test_hits_that_are_meant_come_first_and_reach_the_cut_off(ask, client):
    answer = ask({"entity": "red"}, {"entity": "blue"})
    meant = [hit["meant"] for hit in answer["hits"]]
    assert meant == sorted(meant, reverse=True)
    assert meant == [hit["relevance"] >= answer["cutoff"] for hit in answer["hits"]]
    chances = [entity["probability"] for hit in answer["hits"] for entity in hit["entities"]]
    assert all(0 <= chance <= 1 for chance in chances) and len(set(chances)) > 1
    photo = answer["hits"][-1]["photo"]["id"]
    look = client.post("/api/ground", json={"photo": photo, "query": "[orange] [!!!]"}).json()
    assert look["meant"] is True and look["entities"][0]["verdict"] == "unsure"
    assert look["notes"] == ["'!!!' says nothing that could be looked for"]


def test_filters_narrow_the_search(ask, drawn_photos, tmp_path):
    assert len(ask("red", filters={"folder": str(drawn_photos.folder)})["hits"]) == 6
    assert ask("red", filters={"folder": str(tmp_path)})["hits"] == []
    assert ask("red", filters={"camera": "kiev"})["hits"] == []
    assert ask("red", filters={"within": [0, 0, 1, 1]})["hits"] == []


def test_an_upload_with_a_box_searches_for_what_is_in_the_box(client, ask, drawn_photos, encoded):
    held = client.post("/api/uploads", content=encoded(drawn_photos.red_disc_and_blue_square.rgb))
    assert (held.status_code, held.json()["width"], held.json()["height"]) == (201, 128, 96)
    name = held.json()["upload"]
    assert Image.open(io.BytesIO(client.get(f"/api/uploads/{name}").content)).size == (128, 96)
    blue, red = ({"upload": name, "box": box} for box in ([75, 35, 105, 65], [20, 38, 40, 58]))
    assert names(ask(blue))[0] in ("blue_triangle.png", "red_disc_and_blue_square.png")
    assert names(ask(red))[0] in ("red_disc.png", "red_disc_and_blue_square.png")
    string = ask(f"[image:{name}#box=75,35,105,65]")
    assert [(h["photo"]["id"], round(h["score"], 5)) for h in string["hits"]] == [
        (h["photo"]["id"], round(h["score"], 5)) for h in ask(blue)["hits"]
    ]
    assert client.delete(f"/api/uploads/{name}").status_code == 204
    assert client.get(f"/api/uploads/{name}").status_code == 404


def test_marks_on_a_large_upload_are_in_its_own_pixels(client, ask, drawn_photos):
    large = Image.fromarray(drawn_photos.red_disc_and_blue_square.rgb).resize((128 * 20, 96 * 20), 0)
    file = io.BytesIO()
    large.save(file, "PNG")
    name = client.post("/api/uploads", content=file.getvalue()).json()["upload"]
    for mark in (
        {"box": [1500, 700, 2100, 1300]},
        {"points": [[1800, 1000]]},
        {"mask": {"size": [24, 32], "counts": [20 * 24 + 9, 2, 24 * 32 - 20 * 24 - 11]}},
    ):
        look = client.post("/api/ground", json={"upload": name, "parts": [{"upload": name} | mark]}).json()
        box = look["entities"][0]["regions"][0]["box"]
        assert box == pytest.approx([1400, 600, 2200, 1400], abs=40), mark


def test_a_form_carries_pictures_beside_the_request(client, drawn_photos, encoded):
    request = {"parts": [{"upload": "mine"}], "limit": 1}
    answer = client.post(
        "/api/search",
        data={"request": json.dumps(request)},
        files={"mine": ("x.png", encoded(drawn_photos.purple_stripe.rgb), "image/png")},
    )
    assert answer.status_code == 200, answer.text
    assert names(answer.json()) == ["purple_stripe.png"]


def test_a_part_of_an_indexed_photo_may_be_marked(ask, client):
    both = next(
        hit["photo"]["id"] for hit in ask("red blue")["hits"] if hit["photo"]["name"] == "red_disc_and_blue_square.png"
    )
    answer = ask({"photo": both, "box": [75, 35, 105, 65]})
    assert set(names(answer)[:2]) == {"blue_triangle.png", "red_disc_and_blue_square.png"}
    look = client.post("/api/ground", json={"photo": both, "query": "[blue] [red]"}).json()
    assert [entity["regions"][0]["box"] for entity in look["entities"]] == [[70, 30, 110, 70], [10, 28, 50, 68]]
    assert len(look["masks"]) == 2


def test_masks_come_as_pictures_by_entity_and_by_region(ask, client, drawn_photos):
    answer = ask({"entity": "blue"})
    photo = answer["hits"][0]["photo"]
    by_entity = client.get(f"/api/photos/{photo['id']}/masks/0.png", params={"search": answer["search"]})
    region = answer["hits"][0]["entities"][0]["regions"][0]["region"].split("/")[1]
    by_region = client.get(f"/api/photos/{photo['id']}/masks/{region}.png")
    drawn = next(one for one in drawn_photos if one.path == photo["path"])
    for picture in (by_entity, by_region):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.content))) > 0, drawn.masks["blue"])
    assert client.get(f"/api/photos/{photo['id']}/masks/99.png").status_code == 404


def test_photos_are_served_by_id_with_their_own_bytes(client, drawn_photos):
    listed = client.get("/api/photos", params={"limit": 4}).json()
    assert (listed["total"], len(listed["photos"]), listed["next"]) == (6, 4, 4)
    photo = listed["photos"][0]
    assert client.get(f"/api/photos/{photo['id']}").json() == photo
    original = client.get(f"/api/photos/{photo['id']}/original")
    with open(photo["path"], "rb") as file:
        assert original.content == file.read()
    for name in ("thumbnail", "display"):
        shown = client.get(f"/api/photos/{photo['id']}/{name}")
        assert Image.open(io.BytesIO(shown.content)).size == (128, 96)
        again = client.get(f"/api/photos/{photo['id']}/{name}", headers={"If-None-Match": shown.headers["etag"]})
        assert again.status_code == 304
    assert len(client.get(f"/api/photos/{photo['id']}/regions").json()["regions"]) >= 2
    assert client.get("/api/photos/99").status_code == 404


def test_a_file_that_was_put_in_the_place_of_a_photo_is_not_served(client, drawn_photos, tmp_path, encoded):
    state = client.server
    from interleave_index.service import Index

    mine = tmp_path / "mine.png"
    mine.write_bytes(encoded(drawn_photos.red_disc.rgb[:50]))
    with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
        index.ingest(mine)
    photo = client.get("/api/photos", params={"limit": 1}).json()["photos"][0]
    assert client.get(f"/api/photos/{photo['id']}/original").status_code == 200
    mine.write_text("a secret")
    answer = client.get(f"/api/photos/{photo['id']}/original")
    assert (answer.status_code, b"secret" in answer.content) == (410, False)


def test_near_duplicates_are_one_hit_with_a_stack_unless_that_is_not_wanted(client, ask, drawn_photos, tmp_path, draw):
    from interleave_index.service import Index

    rgb = drawn_photos.red_disc.rgb.copy()
    rgb[0, 0] = 200  # another file that looks the same
    draw.save(rgb, tmp_path / "burst" / "again.png")
    state = client.server
    with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
        index.ingest(tmp_path / "burst")
    answer = ask({"entity": "red"})
    first = answer["hits"][0]
    assert {first["photo"]["name"]} | {"red_disc.png", "again.png"} == {"red_disc.png", "again.png"}
    assert len(first["stack"]) == 1 and len(answer["hits"]) == 6
    assert len(ask({"entity": "red"}, stacks=False)["hits"]) == 7


def test_exports_hold_the_chosen_hits(ask, client, drawn_photos, tmp_path):
    from pycocotools.coco import COCO

    answer = ask({"entity": "red"}, {"entity": "blue"})
    chosen = [hit["photo"]["id"] for hit in answer["hits"][:2]]

    def export(form, photos=chosen, **more):
        return client.post("/api/export", json={"search": answer["search"], "photos": photos, "form": form} | more)

    (tmp_path / "hits.json").write_bytes(export("coco").content)
    assert sorted(COCO(str(tmp_path / "hits.json")).getImgIds()) == sorted(chosen)
    assert export("paths").text.splitlines() == [hit["photo"]["path"] for hit in answer["hits"][:2]]
    there = sum(entity["present"] for hit in answer["hits"][:2] for entity in hit["entities"])
    placed = sum(bool(entity["regions"]) for hit in answer["hits"][:2] for entity in hit["entities"])
    assert there < placed  # one of the two lacks an entity, whose nearest place was kept
    for more, count in (({}, there), ({"absent": False}, there), ({"absent": True}, placed)):
        with zipfile.ZipFile(io.BytesIO(export("masks", **more).content)) as archive:
            assert len(archive.namelist()) == count and archive.testzip() is None
        assert len(export("coco", **more).json()["annotations"]) == count
    assert [json.loads(line)["photo_id"] for line in export("jsonl").text.splitlines()] == chosen
    assert export("coco", [99]).status_code == 404


# --- files as one ZIP ------------------------------------------------------------------------


def download(client, ids, status=201):
    answer = client.post("/api/originals", json={"photos": ids})
    assert answer.status_code == status, answer.text
    return answer.json()


def unpacked(client, name):
    answer = client.get(f"/api/originals/{name}.zip")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {one.filename: (archive.read(one), one) for one in archive.infolist()}


def test_the_files_of_photos_come_as_one_archive_as_they_lie_on_the_disk(client, drawn_photos):
    paths = {photo["id"]: Path(photo["path"]) for photo in client.get("/api/photos").json()["photos"]}
    ids = [3, 1, 2, 3]
    asked = download(client, ids)
    assert (asked["photos"], asked["gone"]) == (3, [])
    assert asked["bytes"] == sum(paths[one].stat().st_size for one in {1, 2, 3})
    found = unpacked(client, asked["download"])
    assert {name: data for name, (data, _) in found.items()} == {
        paths[one].name: paths[one].read_bytes() for one in (3, 1, 2)
    }
    assert list(found) == [paths[one].name for one in (3, 1, 2)]
    head = client.head(f"/api/originals/{asked['download']}.zip")
    assert (head.status_code, head.content) == (200, b"") and "photos.zip" in head.headers["content-disposition"]


@pytest.fixture
def take_in(client, tmp_path):
    """Take files into the index of the server: name -> bytes; gives ids by name."""
    from interleave_index.service import Index

    def take_in(**files):
        state = client.server
        for name, data in files.items():
            (tmp_path / "mine" / name).mkdir(parents=True)
            (tmp_path / "mine" / name / "IMG.png").write_bytes(data)
        with Index.open(state.index.folder, config=state.config, interface=state.shared) as index:
            index.ingest(tmp_path / "mine")
        listed = client.get("/api/photos", params={"folder": str(tmp_path / "mine")}).json()["photos"]
        return {Path(photo["path"]).parent.name: photo["id"] for photo in listed}, tmp_path / "mine"

    return take_in


def test_files_of_one_name_are_all_there_and_those_that_are_gone_are_told(client, take_in, drawn_photos, encoded):
    rgb = drawn_photos.red_disc.rgb
    pictures = {name: encoded(rgb[: 40 + 8 * n]) for n, name in enumerate("abcd")}
    ids, folder = take_in(**pictures)
    (folder / "b" / "IMG.png").unlink()
    asked = download(client, [ids[one] for one in "abcd"])
    assert (asked["photos"], asked["gone"]) == (3, [ids["b"]])
    (folder / "c" / "IMG.png").write_bytes(pictures["a"])  # something else lies there by now
    found = unpacked(client, asked["download"])
    assert list(found) == ["IMG.png", "IMG (3).png", "not in this archive.txt"]
    assert (found["IMG.png"][0], found["IMG (3).png"][0]) == (pictures["a"], pictures["d"])
    told = found["not in this archive.txt"][0].decode()
    assert str(folder / "c" / "IMG.png") in told and "changed" in told
    for one in "acd":
        (folder / one / "IMG.png").unlink()
    assert "gone" in download(client, list(ids.values()), 410)["detail"]


def test_downloads_are_refused_with_a_reason(client):
    assert "first is 999" in download(client, [1, 999], 404)["detail"]
    download(client, [], 422)
    download(client, [1] * 5001, 422)
    assert client.get("/api/originals/never.zip").status_code == 410


def test_a_download_wants_the_token(make_server, token):
    server = make_server(token=token)
    known = {"Authorization": f"Bearer {token}"}
    name = server.post("/api/originals", json={"photos": [1]}, headers=known).json()["download"]
    assert server.get(f"/api/originals/{name}.zip").status_code == 401
    assert server.get(f"/api/originals/{name}.zip", headers=known).status_code == 200


def test_names_in_an_archive_are_each_there_once_on_every_disk_and_lead_nowhere():
    from interleave_index.records import Photo
    from interleave_index.web.archives import names_of

    def named(*names):
        return names_of([Photo(n, f"/p/{name}", 1, 1, "JPEG") for n, name in enumerate(names, 1)])

    assert named("a.jpg", "A.JPG", "a.jpg", "a (2).jpg") == ["a.jpg", "A (2).JPG", "a (3).jpg", "a (2) (2).jpg"]
    assert named("cafe\u0301.jpg", "caf\u00e9.jpg") == ["caf\u00e9.jpg", "caf\u00e9 (2).jpg"]
    odd = named("..\\..\\evil.jpg", "caf\udce9.jpg", "con.jpg", "a\nb?.jpg", "not in this archive.txt", " .jpg ")
    assert odd == ["_.._evil.jpg", "caf_xe9.jpg", "_con.jpg", "a_nb_.jpg", "not in this archive (2).txt", "jpg"]
    assert len(named("x" * 250 + ".jpg")[0]) < 200
    many = named(*["IMG.jpg"] * 5000)
    assert len(set(many)) == 5000 and many[-1] == "IMG (5000).jpg"


def test_an_archive_is_made_piece_by_piece(tmp_path, run_to_end):
    """Sparse files of 192 MiB, sent without holding more than a piece; it can be read by anything."""
    import hashlib
    import tracemalloc

    from interleave_index.records import Photo
    from interleave_index.web.archives import archive_of
    from interleave_index.web.gate import Gate
    from interleave_index.web.originals import PIECE, Originals
    from interleave_index.web.settings import ServeSettings

    size, photos = 64 * 2**20, []
    digest = hashlib.sha256(bytes(size)).hexdigest()
    for n in range(1, 4):
        path = tmp_path / f"{n}.jpg"
        with open(path, "wb") as file:
            file.truncate(size)
        photos.append(Photo(n, str(path), 1, 1, "JPEG", sha256=digest))
    gate = Gate(ServeSettings())

    async def send():
        with open(tmp_path / "all.zip", "wb") as out:
            async for data in archive_of(gate, Originals(), photos):
                assert len(data) <= PIECE + 1000
                out.write(data)

    tracemalloc.start()
    run_to_end(send)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gate.close()
    assert peak < 8 * 2**20
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert [one.file_size for one in archive.infolist()] == [size] * 3


def test_an_exact_search_looks_at_every_hit_and_its_masks_are_held(ask, client):
    answer = ask({"entity": "red"}, ground="exact")
    first = answer["hits"][0]
    assert first["entities"][0]["source"] == "exact"
    masks = client.get(f"/api/search/{answer['search']}/photos/{first['photo']['id']}/masks").json()
    assert masks[0][0]["size"] == [96, 128]


def test_status_facets_and_metrics_tell_what_is_there(client, ask):
    ask("[red]")
    status = client.get("/api/status").json()
    assert (status["photos"], status["model"], status["job"], len(status["roots"])) == (6, "toy", None, 1)
    assert client.get("/api/facets").json()["folders"][0]["photos"] == 6
    text = client.get("/metrics").text
    assert 'interleave_requests_total{method="POST",route="/api/search",status="200"} 1.0' in text
    assert "interleave_photos 6.0" in text and "interleave_model_batch_count 1.0" in text


def test_files_that_failed_are_named_without_another_look(make_server, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    client = make_server(roots=(tmp_path,))
    job = client.post("/api/ingest", json={}).json()["job"]
    while client.get(f"/api/ingest/{job}").json()["state"] == "running":
        time.sleep(0.05)
    (tmp_path / "broken.jpg").unlink()
    answer = client.get("/api/failed").json()
    assert answer["count"] == 1 and answer["failed"][0]["path"] == str(tmp_path / "broken.jpg")
    assert answer["failed"][0]["reason"] == "ImageUnreadable" and answer["failed"][0]["detail"]


def test_the_description_of_the_api_holds_every_route_with_examples(client):
    described = client.get("/openapi.json").json()
    assert {
        "/api/search",
        "/api/photos/{photo_id}",
        "/api/photos/{photo_id}/thumbnail",
        "/api/photos/{photo_id}/original",
        "/api/photos/{photo_id}/regions",
        "/api/photos/{photo_id}/masks/{entity}.png",
        "/api/ground",
        "/api/ingest",
        "/api/ingest/{name}/events",
        "/api/status",
        "/metrics",
    } <= set(described["paths"])
    content = described["paths"]["/api/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    for example in content["application/json"]["examples"].values():
        if "photo" not in json.dumps(example) and "region" not in json.dumps(example):
            assert client.post("/api/search", json=example["value"]).status_code == 200


def test_a_heat_map_is_warmest_where_the_phrase_is(client, ask, drawn_photos):
    hit = ask("[green]")["hits"][0]
    drawn = drawn_photos.green_square.mask
    region = hit["entities"][0]["regions"][0]["region"]
    for parts in ([{"entity": "green"}, {"entity": "red", "not": True}], [{"region": region}]):
        maps = client.post("/api/heat", json={"photo": hit["photo"]["id"], "parts": parts}).json()["maps"]
        assert len(maps) == 1 and maps[0]["low"] < maps[0]["high"]
        levels = np.frombuffer(base64.b64decode(maps[0]["values"]), np.uint8).reshape(maps[0]["size"])
        inside = np.asarray(Image.fromarray(drawn).resize(levels.shape[::-1]))
        assert levels[inside].mean() > 150 > 60 > levels[~inside].mean()


def test_searches_that_are_held_stay_within_a_number_of_hits(client, ask, monkeypatch):
    monkeypatch.setattr("interleave_index.web.searches.MOST_HITS", 15)
    found = [ask("red", limit=50)["search"] for _ in range(4)]  # six hits each
    answers = [client.post("/api/export", json={"search": name, "form": "paths"}).status_code for name in found]
    assert answers == [410, 200, 200, 200]


def test_answers_have_the_form_that_openapi_gives_them(client, ask):
    from interleave_index.web import shapes

    search = ask("[red] and [blue]", limit=2)
    photo = search["hits"][0]["photo"]["id"]
    shapes.SearchAnswer.model_validate(search)
    looked = client.post("/api/ground", json={"photo": photo, "query": "[red]"}).json()
    job = client.post("/api/ingest", json={}).json()
    for shape, answer in (
        (shapes.SearchAnswer, client.get("/api/search", params={"cursor": search["next"]}).json()),
        (shapes.GroundAnswer, looked),
        (shapes.HeatAnswer, client.post("/api/heat", json={"photo": photo, "query": "[red]"}).json()),
        (shapes.PhotosAnswer, client.get("/api/photos").json()),
        (shapes.RegionsAnswer, client.get(f"/api/photos/{photo}/regions").json()),
        (shapes.JobAnswer, client.get(f"/api/ingest/{job['job']}").json()),
        (shapes.StatusAnswer, client.get("/api/status").json()),
        (shapes.FacetsAnswer, client.get("/api/facets").json()),
        (shapes.FailedAnswer, client.get("/api/failed").json()),
        (shapes.SessionAnswer, client.get("/api/session").json()),
        (shapes.ExampleAnswer, client.get("/api/examples").json()),
    ):
        shape.model_validate(answer)
    described = client.get("/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            content = good.get("content", {}).get("application/json")
            if content is not None and path != "/api/export":
                assert content["schema"], (method, path)
    assert described["paths"]["/api/search"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/SearchAnswer"
    }


def test_examples_are_of_this_library_and_each_finds_something(client, ask):
    examples = client.get("/api/examples").json()
    assert examples["words"] == "red" and examples["photo"]["name"].startswith("red")
    assert ask({"entity": examples["words"]})["hits"][0]["meant"]
    assert ask({"region": examples["region"]["region"]})["hits"]


def test_photos_can_be_browsed_by_the_filters_of_a_search(client, drawn_photos, tmp_path):
    def total(**filters):
        answer = client.get("/api/photos", params=filters)
        assert answer.status_code == 200, answer.text
        return answer.json()["total"]

    assert total(folder=str(drawn_photos.folder)) == total() == 6
    assert total(folder=str(tmp_path)) == total(camera="kiev") == total(after="2020") == 0
    assert total(within=[0, 0, 1, 1]) == 0
    for wrong in ({"after": "soon"}, {"within": [0, 0, 1]}, {"within": [95, 0, 99, 1]}):
        assert client.get("/api/photos", params=wrong).status_code == 422, wrong


class _Larger:
    """A reranker that says yes the more surely the more of a photo is red."""

    name, reads_pictures, at_a_time = "larger", True, 4

    def __init__(self):
        self.looked = 0

    def prepare(self, picture):
        return picture

    def beyond_context(self, text):
        return ""

    def scores(self, query, candidates):
        self.looked += len(candidates)
        return np.array([(photo[..., 0] > 180).mean() for photo, *_ in candidates], np.float32)


def test_the_best_photos_are_put_in_the_order_of_a_reranker_over_pages(ask, client):
    body = {"query": "red on white", "rerank": 4}
    refused = client.post("/api/search", json=body)
    assert refused.status_code == 422 and "models.reranker names no model" in refused.json()["detail"]
    index, reranker = client.server.index, _Larger()
    index._config = index.config.with_flags(models_reranker="larger")
    index._reranker = RememberingReranker(lambda: reranker)
    plain = ask("red on white")
    assert plain["rerank"] is None and all(hit["rerank"] is None for hit in plain["hits"])
    pages = answer = ask("red on white", rerank=4, limit=2)
    hits = list(pages["hits"])
    while answer["next"] is not None:
        answer = client.get("/api/search", params={"cursor": answer["next"], "limit": 2}).json()
        hits += answer["hits"]
    assert pages["rerank"]["model"] == "larger" and pages["rerank"]["photos"] == 4 == reranker.looked
    scores = [hit["rerank"]["score"] for hit in hits[:4]]
    assert scores == sorted(scores, reverse=True) == [hit["relevance"] for hit in hits[:4]]
    assert {hit["photo"]["id"] for hit in hits[:4]} == {hit["photo"]["id"] for hit in plain["hits"][:4]}
    assert [hit["photo"]["id"] for hit in hits[4:]] == [hit["photo"]["id"] for hit in plain["hits"][4:]]
    relevances = [hit["relevance"] for hit in hits]
    assert relevances == sorted(relevances, reverse=True)
    assert [hit["meant"] for hit in hits] == [relevance >= pages["cutoff"] for relevance in relevances]
