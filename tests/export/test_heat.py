"""Heat maps: warm where the thing is, on disk and on the page."""

import json
import re
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from interleave_index.cli.heat import HeatMaps
from interleave_index.export.heat import paint_heat, warm, write_heat
from interleave_index.export.page import write_page
from interleave_index.grammar import Query
from interleave_index.interface.toy import ToyInterface
from interleave_index.query.heat import Heat, heat_of
from interleave_index.records import Answer, Hit, Photo


@pytest.fixture
def blue_corner(draw):
    mask = draw.rectangle(0, 0, 48, 40)
    return draw.paint({"blue": mask}), mask


def no_pictures(source):
    raise AssertionError(f"{source} was asked for")


def heats(rgb, text):
    return heat_of(ToyInterface(), rgb, Query.parse(text), load_picture=no_pictures)


def test_a_map_is_high_on_the_thing_and_low_elsewhere(blue_corner):
    rgb, mask = blue_corner
    (heat,) = heats(rgb, "[blue]")
    assert heat.picture.shape == (96, 128) and heat.text == "blue"
    assert heat.picture[mask].mean() > 0.9 and heat.picture[~mask].mean() < 0.1
    assert heat.low < heat.high <= 1


def test_every_entity_has_a_map_and_plain_text_alone_is_one(blue_corner):
    rgb, _ = blue_corner
    assert [heat.text for heat in heats(rgb, "[blue] on [white] -[red]")] == ["blue", "white"]
    assert [heat.text for heat in heats(rgb, "blue on white")] == ["blue on white"]


def hits_of(count):
    return [Hit(number, Photo(number, f"/pics/{number}.jpg", 128, 96), 0.5, 0.9) for number in range(1, count + 1)]


def test_the_query_is_read_and_encoded_once_for_all_hits(blue_corner, tmp_path, monkeypatch):
    rgb, _ = blue_corner
    interface, query, read = ToyInterface(), Query.parse("[image:asked.png] [red]"), Mock(return_value=rgb)
    monkeypatch.setattr(interface, "encode_query", Mock(wraps=interface.encode_query))
    maps = HeatMaps(tmp_path / "maps", interface, query, lambda _: rgb, read)
    shown = [maps(hit) for hit in hits_of(3)]
    assert (read.call_count, interface.encode_query.call_count) == (1, 1)  # type: ignore[attr-defined]
    assert [len(one) for one in shown] == [2, 2, 2] and len(list((tmp_path / "maps").iterdir())) == 6
    assert maps(hits_of(1)[0]) is shown[0]


def test_a_query_without_maps_is_said_once(blue_corner, tmp_path, capsys):
    rgb, _ = blue_corner
    maps = HeatMaps(tmp_path / "maps", ToyInterface(), Query.parse("[photo:1]"), lambda _: rgb, no_pictures)
    assert [maps(hit) for hit in hits_of(2)] == [[], []]
    assert capsys.readouterr().err.count("no heat maps") == 1 and not (tmp_path / "maps").exists()


def test_more_similar_is_brighter():
    grey = warm(np.linspace(0, 1, 21)[None]).astype(float) @ [0.299, 0.587, 0.114]
    assert (np.diff(grey[0]) > 0).all()


def test_where_the_model_did_not_look_the_photo_stays_grey():
    rgb = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    seen = np.full((10, 20), 0.7, np.float32)
    seen[:, :5] = np.nan
    painted = paint_heat(rgb, Heat("x", seen, 0.0, 1.0))
    assert painted.shape == (20, 40, 3)
    assert (np.ptp(painted[:, :10], axis=2) == 0).all() and (np.ptp(painted[:, 11:], axis=2) > 0).all()


def test_files_are_pngs_named_by_photo_and_phrase(blue_corner, tmp_path):
    rgb, _ = blue_corner
    files = write_heat(rgb, heats(rgb, "[blue] [a red box]"), tmp_path / "maps", "My Photo")
    assert [file.name for file in files] == ["my-photo-e1-blue-heat.png", "my-photo-e2-a-red-box-heat.png"]
    with Image.open(files[0]) as picture:
        assert picture.format == "PNG" and picture.size == (128, 96)


def test_the_page_shows_the_maps_of_each_hit(blue_corner, tmp_path):
    rgb, _ = blue_corner
    hit = Hit(1, Photo(1, None, 128, 96), 0.5, 0.9)
    page = write_page(
        Answer("blue", "exact", (hit,)),
        tmp_path / "page.html",
        load_pixels=lambda _: rgb,
        heat=lambda _: [("a <blue> thing", rgb)],
    ).read_text()
    assert re.search(
        r'<details class="heat"><summary>heat maps</summary><figure><img alt="Heat map of a &lt;blue', page
    )
    assert (
        "heat maps"
        not in write_page(
            Answer("blue", "exact", (hit,)), tmp_path / "without.html", load_pixels=lambda _: rgb
        ).read_text()
    )


def test_the_command_writes_a_map_for_every_entity(drawn_photos, tmp_path, capsys, monkeypatch):
    from interleave_index.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(
            [
                "ground",
                drawn_photos.red_disc.path,
                "[red] [white]",
                "--model",
                "toy",
                "--heatmap",
                "maps",
                "--html",
                "page.html",
                "--json",
            ]
        )
    assert end.value.code == 0
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == [
        "001-0-red-disc-e1-red-heat.png",
        "001-0-red-disc-e2-white-heat.png",
    ]
    assert (tmp_path / "page.html").read_text().count("Heat map of") == 2
    assert json.loads(capsys.readouterr().out)["entities"][0]["text"] == "red"
