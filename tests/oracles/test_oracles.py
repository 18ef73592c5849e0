"""The whole program behind models whose answers are known: what they know must come out at the other end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from interleave_index import Entity, Hit, Index, Picture, Query
from interleave_index.geometry import mask_iou
from interleave_index.interface.points import PointsInterface
from interleave_index.interface.protocol import Interface
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.segmenters.grounders import Grounders
from interleave_index.records import BoolMask
from tests.oracles.conftest import THINGS, disc
from tests.oracles.encoder import OracleEncoder
from tests.oracles.grounders import OracleConcepts, OracleDetector, OracleSegmenter
from tests.oracles.masks import degraded, dilated, eroded, shifted
from tests.oracles.world import Quality, World

IGNORANT = Quality(noise=50.0)  # vectors that say nothing
WAYS = ("concept", "detector", "boxes")


def grounders(world: World, way: str, quality: Quality) -> Grounders:
    concepts, detector = OracleConcepts(world, quality), OracleDetector(world, quality)
    return {
        "concept": Grounders(concept=concepts),
        "detector": Grounders(segmenter=OracleSegmenter(world, quality), phrases=detector, pictures=detector),
        "boxes": Grounders(phrases=detector, pictures=detector),
    }[way]


@pytest.fixture(scope="module", params=["colours", "ignorant", "knowing"])
def space(request: pytest.FixtureRequest, world: World) -> Interface:
    """Spaces that know nothing of the things, and one that knows them."""
    return {
        "colours": ToyInterface(),
        "ignorant": OracleEncoder(world, IGNORANT),
        "knowing": OracleEncoder(world),
    }[request.param]


def looks(index: Index, world: World, *, present: bool, part: bool = False) -> Iterator[tuple[Hit, BoolMask]]:
    """Every photo asked for every thing that it shows once, or not at all, with the true mask."""
    for position, photo in enumerate(world.photos):
        for thing in THINGS:
            shown = [region.rle.decode() for region in photo.regions if region.label == thing and region.rle]
            if len(shown) != int(present):
                continue
            term = other_part(world, position, thing) if part else Entity(thing)
            yield index.ground(photo.rgb(), Query(term)), shown[0] if shown else np.zeros((1, 1), bool)


def other_part(world: World, position: int, thing: str) -> Picture:
    """The thing in another photo, marked."""
    other, number = next(
        (other, numbers[0])
        for other in range(len(world.photos))
        if other != position and (numbers := world.shows(other, thing))
    )
    photo = world.photos[other]
    rle = photo.regions[number].rle
    assert rle is not None
    return Picture(photo.rgb(), mask=rle.decode())


def iou(hit: Hit, truth: BoolMask) -> float:
    regions = hit.entities[0].regions
    return mask_iou(regions[0].rle.decode(), truth) if regions else 0.0


# --- grounders are believed -------------------------------------------------------------------


@pytest.mark.parametrize("quality", [1.0, 0.7])
@pytest.mark.parametrize("way", ["concept", "detector"])
def test_behind_any_space_a_grounder_is_as_good_as_it_is(tmp_path, world, space, way, quality):
    models = grounders(world, way, Quality(iou=quality))
    with Index.open(tmp_path, interface=PointsInterface(space, lambda: models), create=True) as index:
        there = list(looks(index, world, present=True))
        assert all(hit.entities[0].grounding.present for hit, _ in there)
        assert np.mean([iou(hit, truth) for hit, truth in there]) >= quality - 0.02
        absent = [hit.entities[0] for hit, _ in looks(index, world, present=False)]
        assert absent and not any(one.grounding.present or one.regions for one in absent)


def test_a_part_of_another_photo_is_found_by_a_detector_behind_a_space_that_knows_nothing(tmp_path, world):
    models = grounders(world, "detector", Quality())
    interface = PointsInterface(OracleEncoder(world, IGNORANT), lambda: models)
    with Index.open(tmp_path, interface=interface, create=True) as index:
        assert all(iou(hit, truth) > 0.99 for hit, truth in looks(index, world, present=True, part=True))


def test_boxes_alone_are_drawn_by_the_regions_that_fill_them(tmp_path, world):
    models = grounders(world, "boxes", Quality())
    for space in (OracleEncoder(world, IGNORANT), ToyInterface()):
        with Index.open(
            tmp_path / space.space.interface, interface=PointsInterface(space, lambda: models), create=True
        ) as index:
            there = list(looks(index, world, present=True))
            assert all(hit.entities[0].grounding.present and iou(hit, truth) > 0.9 for hit, truth in there)


@pytest.mark.parametrize("way", WAYS)
def test_in_the_hits_of_a_search_a_grounder_decides_too(tmp_path, world, way):
    for photo in world.photos:
        (tmp_path / f"{photo.key}.png").write_bytes(photo.jpeg)
    models = grounders(world, way, Quality())
    interface = PointsInterface(OracleEncoder(world, IGNORANT), lambda: models)
    with Index.open(tmp_path / "index", interface=interface, create=True) as index:
        index.ingest(tmp_path)
        hits = index.search("[kite]", top_k=24, ground="exact")
        assert len(hits) == 24
        for hit in hits:
            (position,) = (n for n, photo in enumerate(world.photos) if f"{photo.key}.png" in str(hit.photo.path))
            shown = world.shows(position, "kite")
            assert hit.entities[0].grounding.present == bool(shown)
            assert len(hit.entities[0].regions) == len(shown)


def test_errors_of_a_grounder_are_its_own(tmp_path, world):
    models = grounders(world, "concept", Quality(presence_error=1.0))
    with Index.open(tmp_path, interface=PointsInterface(OracleEncoder(world), lambda: models), create=True) as index:
        assert not any(hit.entities[0].grounding.present for hit, _ in looks(index, world, present=True))
        assert all(hit.entities[0].grounding.present for hit, _ in looks(index, world, present=False))


def test_a_photo_is_looked_at_where_nothing_is_indexed_and_the_model_has_no_curves(tmp_path, world):
    with Index.open(tmp_path, interface=OracleEncoder(world), create=True) as index:
        assert iou(index.ground(world.photos[0].rgb(), "[dog]"), disc(30, 30, 14)) == 1


# --- encoders are believed --------------------------------------------------------------------


@pytest.fixture(scope="module", params=[0.0, 1.0], ids=["no gap", "modality gap"])
def knowing(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """An index behind a perfect encoder."""
    folder = tmp_path_factory.mktemp("knowing")
    for photo in world.photos:
        (folder / f"{photo.key}.png").write_bytes(photo.jpeg)
    encoder = OracleEncoder(world, Quality(gap=request.param))
    with Index.open(folder / "index", interface=encoder, create=True) as index:
        index.ingest(folder)
        yield index


def test_a_caption_finds_its_photo_first(knowing, world):
    for photo in world.photos:
        answer = knowing.search(photo.captions[0], top_k=3)
        assert f"{photo.key}.png" in str(answer[0].photo.path)


def test_a_caption_with_a_part_in_place_of_a_word_finds_its_photo_first(knowing, world):
    for position, photo in enumerate(world.photos):
        thing = photo.labels[0]
        before, after = photo.captions[0].split(f" {thing} ")
        answer = knowing.search(Query(before, other_part(world, position, thing), after), top_k=3)
        assert f"{photo.key}.png" in str(answer[0].photo.path)


def test_what_is_shown_ranks_before_what_is_not(knowing, world):
    for thing in THINGS:
        shown = {photo.key for photo in world.photos if thing in photo.labels}
        first = {str(hit.photo.path)[-7:-4] for hit in knowing.search(Query(Entity(thing)), top_k=len(shown))}
        assert first == shown


def test_of_what_no_photo_shows_nothing_is_meant(knowing):
    for phrase in ("a zeppelin", "an oboe", "sushi"):
        assert knowing.search(Query(Entity(phrase))).meant_count == 0


def test_of_a_part_of_another_photo_it_is_judged_rightly_which_photos_show_it(knowing, world):
    for position in range(6):
        thing = world.photos[position].labels[0]
        answer = knowing.search(Query(other_part(world, position, thing)), top_k=24)
        assert len(answer) == 24
        for hit in answer:
            assert answer.meant(hit) == (thing in shown_in(world, hit))


@pytest.mark.parametrize("gap", [0.0, 1.0], ids=["no gap", "modality gap"])
def test_where_no_photo_shows_the_thing_in_a_caption_none_is_meant(world, tmp_path, gap):
    """Captions of the photos with a kite, asked of all others, of which some show what else the caption names."""
    captions = {n: photo.captions[0] for n, photo in enumerate(world.photos) if "kite" in photo.labels}
    for position, photo in enumerate(world.photos):
        if position not in captions:
            (tmp_path / f"{photo.key}.png").write_bytes(photo.jpeg)
    with Index.open(tmp_path / "index", interface=OracleEncoder(world, Quality(gap=gap)), create=True) as index:
        index.ingest(tmp_path)
        for position, caption in captions.items():
            before, _, after = caption.partition("kite")
            for part in (Entity("kite"), other_part(world, position, "kite")):
                assert index.search(Query(before, part, after)).meant_count == 0


def shown_in(world: World, hit: Hit) -> tuple[str, ...]:
    """What the photo of a hit shows."""
    (photo,) = (photo for photo in world.photos if f"{photo.key}.png" in str(hit.photo.path))
    return photo.labels


# --- the equipment itself ---------------------------------------------------------------------


@pytest.mark.parametrize("quality", [0.95, 0.7, 0.4])
@pytest.mark.parametrize("way", [eroded, dilated, shifted])
def test_masks_have_the_quality_that_is_asked(way, quality):
    mask = disc(50, 40, 20)
    assert mask_iou(way(mask, quality), mask) == pytest.approx(quality, abs=0.05)


def test_where_there_is_no_room_a_mask_is_eroded():
    everything = np.ones((20, 30), bool)
    for key in "abcdef":
        assert mask_iou(degraded(everything, 0.6, key), everything) == pytest.approx(0.6, abs=0.05)


def test_a_crop_is_found_where_it_was_cut(world):
    found = world.cut_from(world.photos[3].rgb()[10:50, 20:70])
    assert found is not None and found[0] == 3
    rows, columns = np.nonzero(found[1])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 49, 20, 69)
