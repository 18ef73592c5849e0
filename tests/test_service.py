"""`Index` over drawn photos: what goes in, what is answered, and what keeps two models apart."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index import Config, Filters, Index, Not, PhotoRef, Picture, Query, RegionRef
from interleave_index.config import kept_config
from interleave_index.errors import (
    ConfigError,
    EmptyQuery,
    ImageUnreadable,
    IndexNotFound,
    InputError,
    NotInIndex,
    SpaceMismatch,
    StorageError,
)
from interleave_index.geometry import mask_iou
from interleave_index.interface.toy import ToyInterface


class OtherToy(ToyInterface):
    """The same colours under another checkpoint, hence another space."""

    space = replace(ToyInterface.space, checkpoint="1" * 64)


def names(answer):
    return [Path(hit.photo.path).stem for hit in answer]


def id_of(index, photo):
    return next(hit.photo.id for hit in index.search("red", 100) if hit.photo.path == photo.path)


# --- asking ----------------------------------------------------------------------------------


@pytest.mark.both_databases
def test_asking_for_the_red_disc_returns_its_own_pixels(drawn_photos, toy_index):
    hit = toy_index.search(Query.parse("[red disc]"), top_k=1)[0]
    assert hit.photo.path == drawn_photos.red_disc.path
    assert mask_iou(hit.entities[0].regions[0].rle.decode(), drawn_photos.red_disc.mask) > 0.95


def test_every_entity_gets_the_mask_of_its_own_shape(drawn_photos, toy_index):
    hit = toy_index.search("[a red disc] beside [a blue square]", 1)[0]
    drawn = drawn_photos.red_disc_and_blue_square
    assert hit.photo.path == drawn.path
    for entity, colour in zip(hit.entities, ("red", "blue"), strict=True):
        assert mask_iou(entity.regions[0].rle.decode(), drawn.masks[colour]) > 0.95
        assert entity.grounding.source == "stored"


def test_of_two_photos_alike_a_negative_pushes_the_one_that_shows_it_below_the_other(toy_index, tmp_path, draw):
    shapes = {"red": draw.disc(30, 48, 20), "green": draw.rectangle(70, 30, 110, 70)}
    draw.save(draw.paint(shapes), tmp_path / "more" / "red_disc_and_green_square.png")
    toy_index.ingest(tmp_path / "more")
    for wanted in ("[red]", "red", "a [red] disc on white"):
        for unwanted, order in (("blue", ("green", "blue")), ("green", ("blue", "green"))):
            found = names(toy_index.search(f"{wanted} -[{unwanted}]", 100))
            first, second = (found.index(f"red_disc_and_{colour}_square") for colour in order)
            assert found.index("red_disc") < first < second, (wanted, unwanted)


def test_what_is_asked_and_not_there_is_never_meant_and_a_photo_finds_itself(drawn_photos, toy_index):
    for query in ("orange", "[orange]"):
        assert toy_index.search(query).meant_count == 0
    red = id_of(toy_index, drawn_photos.red_disc)
    own, others = (toy_index.search(Query(PhotoRef(red)), 6, exclude_self=flag) for flag in (False, True))
    assert own[0].relevance == 1 and [hit.photo.id for hit in own[1:]] == [hit.photo.id for hit in others]


def test_ids_may_be_numpy_integers_wherever_an_id_is(drawn_photos, toy_index):
    red = id_of(toy_index, drawn_photos.red_disc)
    same: Any = np.int64(red)
    assert toy_index.photo(same) == toy_index.photo(red) and toy_index.regions(same) == toy_index.regions(red)
    assert np.array_equal(toy_index.pixels(same), toy_index.pixels(red))
    assert toy_index.thumbnail(same) == toy_index.thumbnail(red)
    assert toy_index.ground(same, "[red]") == toy_index.ground(red, "[red]")
    for reference in (PhotoRef(same), RegionRef(same, same - same)):
        assert toy_index.search(Query(reference), 1)[0].photo.id == red
    left = toy_index.search("red", left_out=np.array([red]))
    assert red not in [hit.photo.id for hit in left] and len(left) == 5
    assert toy_index.forget([same]) == 1


def test_an_outside_picture_finds_the_photo_of_its_colours(drawn_photos, toy_index, tmp_path):
    copy = shutil.copy(drawn_photos.green_square.path, tmp_path / "copy.png")
    assert names(toy_index.search(Query(Picture(copy)), 1)) == ["green_square"]


def test_a_part_of_a_picture_means_only_that_part(drawn_photos, toy_index):
    part = Picture(drawn_photos.red_disc_and_blue_square.path, box=(75, 35, 105, 65))
    assert "blue" in names(toy_index.search(Query(part), 1))[0]


def test_hits_are_ranked_from_one_by_falling_score(toy_index):
    answer = toy_index.search("yellow", 6)
    assert [hit.rank for hit in answer] == [1, 2, 3, 4, 5, 6]
    assert [hit.score for hit in answer] == sorted((hit.score for hit in answer), reverse=True)


def test_top_k_comes_from_the_settings_unless_it_is_given(toy_index):
    few = Index(toy_index._store, toy_index.config.with_flags(query_top_k=2), ToyInterface())
    assert (len(few.search("red")), len(few.search("red", 4))) == (2, 4)


def test_a_folder_that_holds_nothing_leaves_no_hit(toy_index, tmp_path):
    assert len(toy_index.search("red", filters=Filters(folder=tmp_path / "elsewhere"))) == 0


def test_a_query_of_stored_photos_never_builds_the_model(toy_index, monkeypatch):
    lazy = Index(toy_index._store, toy_index.config)
    monkeypatch.setattr("interleave_index.interface.registry.load", lambda *_, **__: pytest.fail("the model was built"))
    first = toy_index.search("green", 1)[0]
    assert lazy.search(Query(PhotoRef(first.photo.id)), 1)[0].photo == first.photo
    assert lazy.status()["photos"] == 6
    assert all(check.ok for check in lazy.verify())


def test_an_empty_query_and_one_of_negatives_only_are_errors(toy_index):
    with pytest.raises(EmptyQuery):
        toy_index.search("  ")
    with pytest.raises(EmptyQuery):
        toy_index.search(Query(Not("red")))


def test_an_empty_index_answers_with_no_hits(tmp_path):
    with Index.open(tmp_path / "new", interface=ToyInterface(), create=True) as index:
        assert len(index.search("red")) == 0


# --- one photo -------------------------------------------------------------------------------


def test_grounding_works_on_a_file_that_is_not_in_the_index(drawn_photos, toy_index, tmp_path):
    outside = tmp_path / "outside.png"
    shutil.copy(drawn_photos.purple_stripe.path, outside)
    hit = toy_index.ground(outside, "[the purple stripe]")
    assert hit.entities[0].grounding.source == "exact"
    assert mask_iou(hit.entities[0].regions[0].rle.decode(), drawn_photos.purple_stripe.mask) > 0.99


def test_grounding_by_id_and_by_pixels_gives_the_same_mask(drawn_photos, toy_index):
    number = id_of(toy_index, drawn_photos.blue_triangle)
    by_id, by_pixels = (toy_index.ground(photo, "[blue]") for photo in (number, drawn_photos.blue_triangle.rgb))
    assert by_id.photo.id == number
    assert by_id.entities[0].regions[0].rle == by_pixels.entities[0].regions[0].rle


def test_pixels_are_the_original_while_it_is_there_and_the_thumbnail_after(toy_index, tmp_path, drawn_photos, draw):
    moved = tmp_path / "own"
    rgb = drawn_photos.red_disc.rgb.copy()
    rgb[:10] = (40, 160, 60)
    draw.save(rgb, moved / "own.png")
    toy_index.ingest(moved)
    number = next(hit.photo.id for hit in toy_index.search("red", 100) if hit.photo.path == str(moved / "own.png"))
    assert np.array_equal(toy_index.pixels(number), rgb)
    (moved / "own.png").unlink()
    again = Index(toy_index._store, toy_index.config, ToyInterface())
    assert again.pixels(number).shape == rgb.shape
    shutil.rmtree(toy_index.folder / "thumbnails")
    with pytest.raises(ImageUnreadable, match="put the file back"):
        again.pixels(number)


def test_the_library_gives_every_photo_once_with_its_regions(drawn_photos, toy_index):
    library = {photo.path: regions for photo, regions in toy_index.library()}
    assert set(library) == {photo.path for photo in drawn_photos}
    best = max(
        library[drawn_photos.green_square.path],
        key=lambda region: mask_iou(region.rle.decode(), drawn_photos.green_square.mask),
    )
    assert best.box == (30, 20, 80, 70)


# --- tending ---------------------------------------------------------------------------------


def test_what_is_forgotten_by_path_or_id_is_found_no_more(drawn_photos, toy_index):
    number = id_of(toy_index, drawn_photos.green_square)
    assert toy_index.forget([drawn_photos.red_disc.path, number]) == 2
    assert not {"red_disc", "green_square"} & set(names(toy_index.search("red", 100)))
    assert toy_index.status()["photos"] == 4
    assert Path(drawn_photos.red_disc.path).exists()


@pytest.mark.both_databases
def test_forgetting_a_folder_forgets_every_photo_below_it(drawn_photos, toy_index):
    assert toy_index.forget([drawn_photos.folder]) == 6
    assert toy_index.status()["photos"] == 0


def test_forgetting_something_unknown_changes_nothing(drawn_photos, toy_index, tmp_path):
    for stranger in (tmp_path / "stranger.png", 999):
        with pytest.raises(NotInIndex):
            toy_index.forget([drawn_photos.red_disc.path, stranger])
    assert toy_index.status()["photos"] == 6


@pytest.mark.both_databases
def test_after_optimize_the_answers_are_the_same(toy_index):
    before = toy_index.search("[red]", 6).to_json()["hits"]
    toy_index.optimize()
    assert toy_index.search("[red]", 6).to_json()["hits"] == before
    assert all(check.ok for check in toy_index.verify())


def test_ingest_of_nothing_or_of_a_path_that_is_not_there_is_an_error(toy_index, tmp_path):
    with pytest.raises(InputError, match="no path"):
        toy_index.ingest([])
    with pytest.raises(InputError, match="does not exist"):
        toy_index.ingest(tmp_path / "absent")


def test_opening_a_folder_without_an_index_says_so(tmp_path):
    with pytest.raises(IndexNotFound):
        Index.open(tmp_path / "absent")


# --- settings and spaces ---------------------------------------------------------------------


def test_an_index_keeps_the_settings_of_its_last_ingest(toy_index):
    kept = kept_config(toy_index.folder)
    assert kept is not None
    assert (kept.models.interface, kept.ingest.workers) == ("toy", 0)
    with Index.open(toy_index.name) as again:
        assert again.config == kept


def test_a_damaged_kept_config_names_the_file(toy_index):
    (toy_index.folder / "config.yaml").write_text("nonsense: 1\n")
    with pytest.raises(ConfigError, match=r"config\.yaml: unknown setting nonsense"):
        Index.open(toy_index.name)


def test_vectors_of_two_models_never_meet(toy_index):
    other = Index(toy_index._store, toy_index.config, OtherToy())
    with pytest.raises(SpaceMismatch, match="index holds space toy"):
        other.search("red")


def test_another_model_fills_a_space_beside_and_activate_switches_there_and_back(drawn_photos, toy_index):
    other = Index(toy_index._store, toy_index.config.with_flags(ingest_batch=5), OtherToy())
    other.ingest(drawn_photos.folder)
    first, second = toy_index.spaces()
    assert (first.state, second.state, second.encodings) == ("active", "building", 6)
    assert len(toy_index.search("red")) == 6
    toy_index.activate(second.id)
    assert len(other.search("red")) == 6
    kept = kept_config(toy_index.folder)
    assert kept is not None and kept.ingest.batch == 5
    with pytest.raises(SpaceMismatch):
        toy_index.search("red")
    toy_index.activate(first.id)
    assert len(toy_index.search("red")) == 6
    assert kept_config(toy_index.folder) == Config().with_flags(models_interface="toy", ingest_workers=0)


def test_activating_a_space_that_is_not_there_is_an_error(toy_index):
    with pytest.raises(StorageError):
        toy_index.activate(99)
