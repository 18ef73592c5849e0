"""The ladder behind the interface protocol: any interface grounds by points, and each hit tells its rung."""

import sys
from pathlib import Path

import numpy as np
import pytest

from interleave_index.config import Config
from interleave_index.geometry import mask_iou
from interleave_index.interface import load
from interleave_index.interface.points import PointsInterface
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.grounders import Grounders
from interleave_index.records import ResolvedPart, Segmented
from interleave_index.service import Index, ground_picture


def entity(text, **more):
    return ResolvedPart("entity", "text", text, **more)


@pytest.fixture
def two_discs(draw):
    masks = draw.disc(30, 48, 20), draw.disc(95, 48, 18)
    return draw.paint({"red": masks[0] | masks[1], "blue": draw.rectangle(55, 5, 70, 20)}), masks


def test_a_present_thing_is_masked_and_an_absent_one_has_no_pixels(two_discs):
    photo, _ = two_discs
    found = PointsInterface(ToyInterface()).ground(photo, (entity("blue"), entity("green")))
    assert [(one.entity, one.rung, one.present) for one in found] == [(0, "stored", True), (1, "absent", False)]
    assert found[0].box == (55, 5, 70, 20) and not found[1].mask.decode().any()


def test_two_things_of_one_kind_are_two_masks(two_discs):
    photo, discs = two_discs
    found = PointsInterface(ToyInterface()).ground(photo, (entity("red"),))
    assert len(found) == 2
    assert all(max(mask_iou(one.mask.decode(), disc) for one in found) > 0.9 for disc in discs)


def test_a_segmenter_is_shown_points_on_the_thing_and_its_mask_is_taken(two_discs):
    photo, discs = two_discs
    shown = []

    class Segmenter:
        def look(self, given):
            assert given is photo

            def segment(prompts):
                shown.extend(prompts)
                return [Segmented(next(disc for disc in discs if disc[int(p.points[0, 1]), int(p.points[0, 0])]), 0.9)
                        for p in prompts]

            return segment

    found = PointsInterface(ToyInterface(), lambda: Grounders(segmenter=Segmenter())).ground(photo, (entity("red"),))
    assert [one.rung for one in found] == ["points", "points"] and len(shown) == 2
    assert {one.mask.counts for one in found} == {rle.counts for rle in map(_coded, discs)}


def _coded(mask):
    from interleave_index.geometry import encode_rle

    return encode_rle(mask)


def test_the_bar_of_the_library_stands_above_the_interfaces_own(two_discs):
    photo, _ = two_discs
    (found,) = PointsInterface(ToyInterface()).ground(photo, (entity("blue", bar=1.5),))
    assert found.rung == "absent"


def test_a_marked_part_of_another_picture_is_found_by_its_vector(two_discs, draw):
    photo, _ = two_discs
    other = draw.paint({"blue": draw.disc(60, 40, 25)})
    part = ResolvedPart("entity", "region", "[image:x.png]", photo=other, mask=draw.disc(60, 40, 25))
    (found,) = PointsInterface(ToyInterface()).ground(photo, (part,))
    assert found.box == (55, 5, 70, 20)


def test_a_hit_tells_its_rung_in_json_and_other_hits_stay_as_they_were(drawn_photos):
    picture = drawn_photos.red_disc.path
    by_points = Config().with_flags(models_interface="toy", models_grounding="points")
    hit = ground_picture(picture, "[red] [green]", config=by_points)
    red, green = hit.to_json()["entities"]
    assert red["grounding"] == {"source": "exact", "present": True, "score": red["grounding"]["score"],
                                "rung": "stored"}
    assert green["grounding"]["rung"] == "absent" and not green["grounding"]["present"] and green["regions"] == []
    own = ground_picture(picture, "[red]", config=Config().with_flags(models_interface="toy"))
    assert set(own.to_json()["entities"][0]["grounding"]) == {"source", "present", "score"}


def test_a_search_looks_again_by_points(toy_index, drawn_photos):
    with Index.open(toy_index.folder, interface=PointsInterface(ToyInterface())) as index:
        hits = index.search("[purple]", top_k=6, ground="exact")
    by_path = {hit.photo.path: hit.entities[0] for hit in hits}
    found = by_path[drawn_photos.purple_stripe.path]
    assert found.grounding.rung == "stored" and found.grounding.present
    assert mask_iou(found.regions[0].rle.decode(), drawn_photos.purple_stripe.mask) > 0.95
    others = [entry for path, entry in by_path.items() if path != drawn_photos.purple_stripe.path]
    assert others and all(one.grounding.rung == "absent" and not one.regions for one in others)


def test_the_bundled_model_grounds_by_points():
    photo = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    interface = load("find-mini", device="cpu", grounding="points")
    found = interface.ground(photo, (entity("a dog"), entity("a red car")))
    assert {one.entity for one in found} == {0, 1}
    assert all(one.mask.size == (60, 90) and one.rung for one in found)
    assert interface.space == load("find-mini", device="cpu").space


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    pytest.importorskip("transformers")
    sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
    import tiny

    return tiny.save(tmp_path_factory.mktemp("points") / "clip", "clip")


def test_a_dual_encoder_grounds_by_points_and_scores_masks_by_their_own_vectors(clip, two_discs, monkeypatch, tmp_path):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    photo, discs = two_discs
    interface = load(str(clip), device="cpu", proposals="toy")
    part = ResolvedPart("entity", "region", "[image:x.png]", photo=photo, mask=discs[0], bar=0.9)
    (vector,) = interface.encode_query((part,)).entities
    found = interface.ground(photo, (part,))
    assert found[0].rung in ("stored", "coarse", "points") and found[0].present
    best = float((interface.encode_photos([photo])[0].regions @ vector).max())
    assert found[0].score == pytest.approx(best, abs=0.02)
    never = interface.ground(photo, (ResolvedPart("entity", "region", "[image:x.png]", photo=photo, mask=discs[0],
                                                  bar=1.01),))
    assert [one.rung for one in never] == ["absent"]


def test_its_own_second_look_can_be_asked_for(clip, two_discs, monkeypatch, tmp_path):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    interface = load(str(clip), device="cpu", proposals="toy", grounding="own")
    (found,) = interface.ground(two_discs[0], (entity("a red dog"),))
    assert found.rung == "" and found.present is None
