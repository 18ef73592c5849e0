"""The cascade behind the interface protocol: any interface grounds by points, and each hit tells its method."""

import sys
from pathlib import Path

import numpy as np
import pytest

from interleave_index.config import Config
from interleave_index.geometry import encode_rle, mask_iou
from interleave_index.interface.points import PointsInterface
from interleave_index.interface.registry import load
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.segmenters.grounders import Grounders
from interleave_index.records import Detected, ResolvedPart, Segmented
from interleave_index.service import Index, ground_picture


def entity(text):
    return ResolvedPart("entity", "text", text)


def ground(photo, parts, grounders):
    return PointsInterface(ToyInterface(), lambda: grounders).ground(photo, parts)


def shown(photo, mask=None):
    return ResolvedPart("entity", "picture" if mask is None else "region", "[image:x.png]", photo=photo, mask=mask)


@pytest.fixture
def two_discs(draw):
    masks = draw.disc(30, 48, 20), draw.disc(95, 48, 18)
    return draw.paint({"red": masks[0] | masks[1], "blue": draw.rectangle(55, 5, 70, 20)}), masks


def test_without_grounders_every_thing_has_a_place_and_none_a_verdict(two_discs):
    photo, _ = two_discs
    found = PointsInterface(ToyInterface()).ground(photo, (entity("blue"), entity("green")))
    assert {one.entity for one in found} == {0, 1}
    assert all(one.present is None and one.rung != "absent" and one.mask.decode().any() for one in found)
    assert found[0].box == (55, 5, 70, 20) and found[0].rung == "stored"


def test_two_things_of_one_kind_are_two_masks(two_discs):
    photo, discs = two_discs
    found = PointsInterface(ToyInterface()).ground(photo, (entity("red"),))
    assert len(found) == 2
    assert all(max(mask_iou(one.mask.decode(), disc) for one in found) > 0.9 for disc in discs)


def test_a_segmenter_is_shown_points_on_the_thing_and_its_mask_is_taken(two_discs):
    photo, discs = two_discs
    given_prompts = []

    class Segmenter:
        def bind(self, given):
            assert given is photo

            def segment(prompts):
                given_prompts.extend(prompts)
                return [
                    Segmented(next(disc for disc in discs if disc[int(p.points[0, 1]), int(p.points[0, 0])]), 0.9)
                    for p in prompts
                ]

            return segment

    found = ground(photo, (entity("red"),), Grounders(segmenter=Segmenter()))
    assert [one.rung for one in found] == ["points", "points"] and len(given_prompts) == 2
    assert {one.mask.counts for one in found} == {encode_rle(disc).counts for disc in discs}


class Oracle:
    """A concept model and a detector that know where the colours of the drawing are; notes what it is asked."""

    def __init__(self, masks):
        self.masks, self.asked = masks, []

    def find(self, photo, phrase, *more):
        self.asked.append((phrase, *more))
        return [Detected(box, 0.6, mask) for mask, box in self.masks.get(phrase, ())]


@pytest.fixture
def oracle(two_discs):
    """Knows two red discs; says something odd of the left and, wrongly, blue of the right; of all else, not there."""
    _, (left, right) = two_discs
    discs = [(left, (10, 28, 50, 68)), (right, (77, 30, 113, 66))]
    return Oracle({"red": discs, "blue": discs[1:], "something odd": discs[:1]})


def test_a_concept_model_gives_its_own_masks_and_its_not_there_stands(two_discs, oracle):
    photo, discs = two_discs
    query = (entity("red"), entity("something odd"), entity("blue"), entity("green"))
    found = ground(photo, query, Grounders(concept=oracle))
    by_entity = [[one for one in found if one.entity == n] for n in range(4)]
    assert [[one.mask.counts for one in masks] for masks in by_entity[:3]] == [
        [encode_rle(disc).counts for disc in wanted] for wanted in (discs, discs[:1], discs[1:])
    ]
    assert all(one.present and one.rung == "concept" for masks in by_entity[:3] for one in masks)
    (green,) = by_entity[3]
    assert (green.rung, green.present) == ("absent", False) and not green.mask.decode().any()
    assert oracle.asked == [("red",), ("something odd",), ("blue",), ("green",)]  # the words, and no box of the map


class Boxed:
    """A segmenter that takes a box as its mask."""

    def bind(self, photo):
        def segment(prompts):
            made = []
            for prompt in prompts:
                mask = np.zeros(photo.shape[:2], bool)
                x0, y0, x1, y1 = map(int, prompt.box)
                mask[y0:y1, x0:x1] = True
                made.append(Segmented(mask, 0.9))
            return made

        return segment


def test_a_detector_is_believed_for_the_kinds_of_parts_that_it_can_be_asked_for(two_discs, oracle, draw):
    photo, _ = two_discs
    of_pictures = Oracle({None: oracle.masks["blue"]})
    query = (entity("blue"), entity("green"), shown(draw.paint({"blue": draw.disc(60, 40, 20)}), draw.disc(60, 40, 20)))
    for grounders, verdicts in (
        (Grounders(Boxed(), phrases=oracle), [True, False, None]),
        (Grounders(Boxed(), pictures=of_pictures), [None, None, True]),
    ):
        found = ground(photo, query, grounders)
        assert [(one.entity, one.present) for one in found] == list(enumerate(verdicts))
        assert all((one.rung == "detector") == bool(one.present) for one in found)
        assert found[verdicts.index(True)].box == (77, 30, 113, 66)  # where the detector says, not where blue is
    assert oracle.asked == [("blue",), ("green",)]
    ((_, crop),) = of_pictures.asked
    assert crop.shape == (49, 49, 3)  # the disc with a tenth around it


def test_a_picture_reaches_a_concept_model_as_a_box_of_the_map_and_is_not_judged(two_discs, draw):
    photo, _ = two_discs
    concept = Oracle({None: [(draw.rectangle(55, 5, 70, 20), (55, 5, 70, 20))]})
    blue = shown(draw.paint({"blue": draw.disc(60, 40, 25)}), draw.disc(60, 40, 25))
    (found,) = ground(photo, (blue,), Grounders(concept=concept))
    assert (found.rung, found.present, found.box) == ("concept", None, (55, 5, 70, 20))
    ((phrase, ((x0, y0, x1, y1),), beside),) = concept.asked
    assert phrase is None and beside == [] and x0 < 62 < x1 and y0 < 12 < y1


def test_a_marked_part_of_another_picture_is_found_by_its_vector(two_discs, draw):
    photo, _ = two_discs
    other = draw.paint({"blue": draw.disc(60, 40, 25)})
    (found,) = PointsInterface(ToyInterface()).ground(photo, (shown(other, draw.disc(60, 40, 25)),))
    assert found.box == (55, 5, 70, 20)


def test_a_query_is_encoded_once_for_all_of_its_hits(two_discs, draw):
    class Counting(ToyInterface):
        encoded = 0

        def encode_query(self, query):
            self.encoded += 1
            return super().encode_query(query)

    photo, discs = two_discs
    counting = Counting()
    interface = PointsInterface(counting)
    query = (entity("blue"), shown(photo, discs[0]))
    first = [interface.ground(hit, query) for hit in (photo, photo[:, ::-1].copy(), photo)]
    assert counting.encoded == 1 and first[0] == first[2] != first[1]
    photo[discs[0]] = (40, 70, 210)  # the picture is painted over, and asked for by a query of its own
    changed = interface.ground(draw.paint({"blue": discs[1]}), (entity("blue"), shown(photo, discs[0])))
    assert counting.encoded == 2 and changed[1].score > 0.9


def test_a_hit_tells_its_method_in_json_and_other_hits_stay_as_they_were(drawn_photos):
    picture = drawn_photos.red_disc.path
    by_points = Config().with_flags(models_interface="toy", models_grounding="points")
    hit = ground_picture(picture, "[red] [green]", config=by_points)
    red, green = hit.to_json()["entities"]
    assert red["grounding"]["source"] == "exact" and red["grounding"]["rung"] == "stored" and red["regions"]
    assert green["grounding"]["rung"] != "absent"
    own = ground_picture(picture, "[red]", config=Config().with_flags(models_interface="toy"))
    assert "rung" not in own.to_json()["entities"][0]["grounding"]


def test_a_search_looks_again_by_points_and_its_verdicts_stay(toy_index, drawn_photos):
    with Index.open(toy_index.folder, interface=PointsInterface(ToyInterface())) as index:
        stored, exact = (
            {hit.photo.path: hit.entities[0] for hit in index.search("[purple]", top_k=6, ground=way)}
            for way in ("stored", "exact")
        )
    found = exact[drawn_photos.purple_stripe.path]
    assert found.grounding.rung == "stored"
    assert mask_iou(found.regions[0].rle.decode(), drawn_photos.purple_stripe.mask) > 0.95
    assert len(exact) == 6 and all(
        one.grounding.present == stored[path].grounding.present for path, one in exact.items()
    )


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
    part = shown(photo, discs[0])
    (vector,) = interface.encode_query((part,)).entities
    found = interface.ground(photo, (part,))
    assert found[0].rung == "stored" and found[0].present is None
    best = float((interface.encode_photos([photo])[0].regions @ vector).max())
    assert found[0].score == pytest.approx(best, abs=0.02)

    class Segmenter:
        def bind(self, photo):
            return lambda prompts: [Segmented(discs[1], 0.9) for _ in prompts]

    own = load(str(clip), device="cpu", proposals="toy", grounding="own")
    (made,) = PointsInterface(own, lambda: Grounders(segmenter=Segmenter())).ground(photo, (part,))
    right = interface.encode_query((shown(photo, discs[1]),)).entities[0]
    assert made.rung == "points" and made.score == pytest.approx(float(right @ vector), abs=0.02)


def test_its_own_way_of_grounding_can_be_asked_for(clip, two_discs, monkeypatch, tmp_path):
    monkeypatch.setenv("INTERLEAVE_MODELS", str(tmp_path))
    interface = load(str(clip), device="cpu", proposals="toy", grounding="own")
    (found,) = interface.ground(two_discs[0], (entity("a red dog"),))
    assert found.rung == "" and found.present is None
