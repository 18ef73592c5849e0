"""Parts with pixels: boxes, points and masks in the upright picture, references, and what stands in for lost pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import EmptyQuery, ImageUnreadable, InputError, NotInIndex, ShapeError
from interleave_index.grammar import Query
from interleave_index.query.pixels import PixelCache
from interleave_index.query.resolve import resolve, stored_encoding, whole_text
from interleave_index.records import Entity, Not, PhotoRef, Picture, RegionRef, ResolvedPart

GREY = np.full((40, 80, 3), 128, np.uint8)


def one(part: Any, load: Any) -> Any:
    return resolve(Query(part), None, 0, load).parts[0]


def test_texts_become_captions_entities_and_negatives_in_order(load):
    found: Any = resolve(Query("a man with", Entity("a dog", weight=2), Not("a cat")), None, 0, load)
    assert [(p.role, p.kind, p.label, p.weight) for p in found.parts] == [
        ("caption", "text", "a man with", 1),
        ("entity", "text", "a dog", 2),
        ("negative", "text", "a cat", 1),
    ]
    assert (found.stored, found.notes) == (False, ())


def test_a_whole_picture_has_no_mask(load):
    part = one(Picture(GREY), load)
    assert (part.role, part.kind, part.mask, part.label) == ("entity", "picture", None, "[image:#array=40x80]")
    assert part.photo is GREY


def test_a_box_marks_its_pixels(load):
    part = one(Picture(GREY, box=(10, 5, 30, 15)), load)
    expected = np.zeros((40, 80), bool)
    expected[5:15, 10:30] = True
    assert part.kind == "region" and np.array_equal(part.mask, expected)


@pytest.mark.parametrize("box", [(10, 5, 90, 15), (-5, 0, 10, 10), (0, 0, 80, 60), (100, 100, 120, 120)])
def test_a_box_outside_the_picture_is_an_error_that_names_its_size(box, load):
    with pytest.raises(InputError, match="expected x within 0 to 80 and y within 0 to 40"):
        one(Picture(GREY, box=box), load)


def test_a_box_may_reach_out_by_a_rounding(load):
    assert one(Picture(GREY, box=(0, 0, 80.6, 40.4)), load).mask.all()


def test_a_box_between_pixel_centres_marks_nothing_and_is_refused(load):
    with pytest.raises(InputError, match="marks no pixel"):
        one(Picture(GREY, box=(10.6, 5, 11.4, 15)), load)


def test_points_are_small_discs_and_background_is_apart(load):
    part = one(Picture(GREY, points=((20, 10), (60.5, 30.5)), background=((5, 5),)), load)
    labels = part.mask.sum(), part.background.sum()
    assert part.mask[10, 20] and part.mask[30, 60] and not part.mask[20, 40]
    assert part.background[5, 5] and not (part.mask & part.background).any()
    assert 2 <= labels[0] <= 40 and 1 <= labels[1] <= 20


def test_a_point_outside_the_picture_is_an_error(load):
    for points, background in [(((80, 10),), ()), (((10, 10),), ((0, 40),))]:
        with pytest.raises(InputError, match="is outside picture array"):
            one(Picture(GREY, points=points, background=background), load)


def test_a_mask_file_marks_its_pixels_that_are_not_black(load, tmp_path):
    mask = np.zeros((40, 80, 3), np.uint8)
    mask[10:20, 30:50, 1] = 9
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert np.array_equal(one(Picture(GREY, mask=tmp_path / "mask.png"), load).mask, mask.any(2))
    Image.fromarray(mask[::2, ::2]).save(tmp_path / "half.png")
    assert np.array_equal(one(Picture(GREY, mask=tmp_path / "half.png"), load).mask, mask.any(2))


@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        (np.ones((40, 81), bool), ShapeError, r"expected \(40, 80\) bool"),
        (np.ones((40, 80), np.uint8), ShapeError, "dtype uint8"),
        (np.zeros((40, 80), bool), InputError, "marks no pixel"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, error, words, load):
    with pytest.raises(error, match=words):
        one(Picture(GREY, mask=mask), load)


def test_a_mask_file_of_another_aspect_is_refused(load, tmp_path):
    Image.fromarray(np.full((40, 40, 3), 255, np.uint8)).save(tmp_path / "square.png")
    with pytest.raises(ShapeError, match="or that aspect"):
        one(Picture(GREY, mask=tmp_path / "square.png"), load)


def test_a_picture_that_is_no_rgb_is_refused(load):
    with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8"):
        one(Picture(np.zeros((4, 4), np.uint8)), load)


def test_a_picture_that_cannot_be_read_says_so(load, tmp_path):
    with pytest.raises(ImageUnreadable, match=r"nothing\.jpg"):
        one(Picture(tmp_path / "nothing.jpg"), load)


@pytest.mark.parametrize("query", [Query(Not("a cat")), Query(Not(PhotoRef(1)), Not("a dog"))])
def test_negatives_alone_are_an_empty_query(query, load):
    with pytest.raises(EmptyQuery):
        resolve(query, None, 0, load)


def test_a_reference_without_an_index_is_refused(load):
    with pytest.raises(InputError, match=r"\[photo:3\], expected pictures or text"):
        resolve(Query(PhotoRef(3)), None, 0, load)


# --- what is indexed -------------------------------------------------------------------------


def test_references_alone_bring_their_stored_vectors_and_no_pixels(library, load):
    red = library.ids["red"]
    found: Any = resolve(Query(PhotoRef(red), Not(RegionRef(red, 1))), library.store, library.space_id, load)
    stored = library.store.vectors(library.space_id, [red])
    assert found.stored and [part.photo for part in found.parts] == [None, None]
    assert [(part.role, part.kind) for part in found.parts] == [("entity", "picture"), ("negative", "region")]
    assert np.array_equal(found.parts[0].vector, stored.image[0])
    assert np.array_equal(found.parts[1].vector, stored.regions[1])


def test_the_legend_of_references_is_their_weighted_mean():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3, 5)).astype(np.float32)
    parts = [
        ResolvedPart(role, "region", "", vector=vector, weight=weight)  # type: ignore[arg-type]
        for role, vector, weight in zip(("entity", "negative", "entity"), vectors, (1, 9, 2), strict=True)
    ]
    encoding = stored_encoding(parts)
    mean = vectors[0] + 2 * vectors[2]
    assert np.allclose(encoding.legend, mean / np.linalg.norm(mean), atol=1e-6)
    assert np.array_equal(encoding.entities, vectors[[0, 2]]) and np.array_equal(encoding.negatives, vectors[1:2])


def test_text_beside_a_reference_brings_the_original_and_the_region_at_its_size(library, load, draw):
    photo = library.add("saved", draw(red=(40, 30, 20)), save=True)
    found: Any = resolve(Query(RegionRef(photo, 1), "outside"), library.store, library.space_id, load, PixelCache())
    assert not found.stored and found.notes == ()
    assert np.array_equal(found.parts[0].photo, library.pictures["saved"])
    assert np.array_equal(found.parts[0].mask, (library.pictures["saved"] == (220, 40, 40)).all(2))
    assert found.parts[0].vector is not None


def test_an_edited_original_gives_way_to_the_thumbnail(library, load, draw):
    photo = library.add("saved", draw(red=(40, 30, 20)), save=True)
    known = library.store.photo(photo)
    Image.fromarray(draw(blue=(40, 30, 20))).save(known.path)
    thumbnail = library.store.thumbnail_path(known.sha256)
    thumbnail.parent.mkdir(parents=True)
    Image.fromarray(draw(red=(40, 30, 20))[::2, ::2]).save(thumbnail, format="PNG")
    found: Any = resolve(Query(RegionRef(photo, 1), "outside"), library.store, library.space_id, load, PixelCache())
    assert found.parts[0].photo.shape == (*found.parts[0].mask.shape, 3) == (30, 40, 3)
    assert found.notes == ()


def test_lost_pixels_are_stood_in_for_by_the_vector_with_a_note(library, load):
    red = library.ids["red"]
    found: Any = resolve(Query(PhotoRef(red), "outside"), library.store, library.space_id, load, PixelCache())
    assert found.parts[0].photo is None and found.parts[0].vector is not None
    assert f"photo {red}" in found.notes[0] and "stands in" in found.notes[0]


@pytest.mark.parametrize("part", [PhotoRef(999), RegionRef(999, 0)])
def test_an_unknown_photo_is_not_in_the_index(part, library, load):
    with pytest.raises(NotInIndex):
        resolve(Query(part), library.store, library.space_id, load)


def test_an_unknown_region_says_how_many_there_are(library, load):
    with pytest.raises(NotInIndex, match="has 2 regions"):
        resolve(Query(RegionRef(library.ids["red"], 2)), library.store, library.space_id, load)


# --- cache, whole text -----------------------------------------------------------------------


def test_the_cache_drops_what_was_unused_for_longest():
    cache = PixelCache(limit=3 * GREY.nbytes)
    for key in "abc":
        cache.put(key, GREY)
    assert cache.get("a") is not None
    cache.put("d", GREY)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    cache.put("large", np.zeros((400, 400, 3), np.uint8))
    assert cache.get("large") is None and cache.get("a") is not None


def test_the_cache_holds_no_more_photos_than_its_number_however_small_they_are():
    cache = PixelCache(most=2)
    for key in "abc":
        cache.put(key, GREY)
    assert [key for key in "abc" if cache.get(key) is not None] == ["b", "c"]


def test_the_original_is_read_once(library, draw):
    photo = library.add("saved", draw(red=(40, 30, 20)), save=True)
    reads = []

    def load(source):
        reads.append(source)
        return library.pictures["saved"]

    cache = PixelCache()
    for _ in range(2):
        resolve(Query(PhotoRef(photo), "outside"), library.store, library.space_id, load, cache)
    assert len(reads) == 1


def test_plain_text_is_grounded_as_one_entity(load):
    parts = resolve(Query("a dog", Not("a cat"), "on a beach"), None, 0, load).parts
    whole = whole_text(parts)
    assert whole is not None and (whole.role, whole.label) == ("entity", "a dog on a beach")
    assert whole_text(resolve(Query("see", Entity("a dog")), None, 0, load).parts) is None
