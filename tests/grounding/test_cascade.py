"""Grounding drawn scenes whose answer is known, at several aspects and under every way an encoder sees a photo."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from interleave_index.geometry import box_mask, box_of, encode_rle, mask_iou, resize_mask, unit
from interleave_index.grounding.cascade import GroundingModels, Target, ground_targets
from interleave_index.records import Detected, GroundedMask, Segmented

ASPECTS = ["4:3", "3:2", "1:3"]
MODES = ["stretch", "crop", "letterbox"]


def planted(bench, aspect, seed):
    """One thing of random size near the middle, where every mode sees it, and another thing beside it."""
    height, width = bench.SIZES[aspect]
    random = np.random.default_rng(seed)
    radius = min(height, width) * random.uniform(0.13, 0.22)
    x, y = width / 2 + random.uniform(-0.12, 0.12) * height, height / 2 + random.uniform(-0.12, 0.12) * height
    thing = bench.ellipse((height, width), x, y, radius, radius * random.uniform(0.8, 1.2))
    other = bench.ellipse((height, width), width * 0.06, height * 0.1, width * 0.05, height * 0.09)
    return bench.draw((height, width), (1, thing), (2, other))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_planted_object_is_masked_with_a_mean_iou_above_nine_tenths(bench, aspect, mode):
    ious = []
    for seed in range(5):
        drawn = planted(bench, aspect, seed)
        scene = drawn.scene(bench.grids(drawn.things.shape)[mode], seed=seed)
        found = ground_targets(scene, [bench.target(1)], GroundingModels(segment=drawn.flood))
        ious.append(mask_iou(found[0].mask.decode(), drawn.mask(1)))
        assert found[0].rung == "points" and found[0].present is None and len(found) == 1
    assert np.mean(ious) > 0.9


@pytest.mark.parametrize("regions", [[], [1]])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("segments", [True, False])
def test_where_no_model_judges_a_thing_that_is_not_there_has_a_place_and_no_verdict(bench, regions, dense, segments):
    drawn = planted(bench, "4:3", 1)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=regions, dense=dense)
    models = GroundingModels(segment=drawn.flood) if segments else None
    found = ground_targets(scene, [bench.target(5)], models)
    assert found and all(one.present is None and one.rung != "absent" for one in found)
    assert all(one.mask.decode().any() and one.mask.size == drawn.things.shape for one in found)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_two_objects_of_one_kind_become_two_masks(bench, aspect):
    height, width = bench.SIZES[aspect]
    pair = [
        bench.ellipse((height, width), width * place, height * 0.5, height * 0.2, height * 0.25)
        for place in (0.25, 0.75)
    ]
    drawn = bench.draw((height, width), (1, pair[0]), (1, pair[1]))
    scene = drawn.scene(bench.grids((height, width))["stretch"])
    found = ground_targets(scene, [bench.target(1)], GroundingModels(segment=drawn.flood))
    assert len(found) == 2
    for one in pair:
        assert max(mask_iou(mask.mask.decode(), one) for mask in found) > 0.9


def test_each_of_two_things_gets_its_own_pixels(bench):
    drawn = bench.draw(
        (300, 400), (1, bench.ellipse((300, 400), 120, 150, 60, 60)), (2, bench.ellipse((300, 400), 230, 150, 50, 70))
    )
    scene = drawn.scene(bench.grids((300, 400))["stretch"])
    found = ground_targets(scene, [bench.target(1), bench.target(2)], GroundingModels(segment=drawn.flood))
    assert [mask.entity for mask in found] == [0, 1]
    assert all(mask_iou(mask.mask.decode(), drawn.mask(n + 1)) > 0.9 for n, mask in enumerate(found))


def test_without_a_model_a_region_that_agrees_with_the_map_answers_at_once(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[2, 1], dense=False)
    (found,) = ground_targets(scene, [bench.target(1)])
    assert found.rung == "stored" and np.array_equal(found.mask.decode(), drawn.mask(1))


def test_of_stored_regions_that_lie_in_each_other_one_is_shown(bench):
    size = (120, 160)
    whole, part = bench.ellipse(size, 50, 60, 35, 40), bench.ellipse(size, 45, 55, 20, 20)
    away = bench.ellipse(size, 120, 60, 30, 40)
    grid = bench.grids(size)["stretch"]
    scene = bench.draw(size, (1, whole)).scene(grid, regions=[1], dense=False)
    masks = [whole, part, away]
    alike = replace(
        scene,
        regions=np.repeat(scene.regions, 3, 0),
        coverage=grid.coverage(masks),
        masks=tuple(map(encode_rle, masks)),
        boxes=np.array([box_of(mask) for mask in masks], np.float32),
    )
    found = ground_targets(alike, [bench.target(1)])
    assert [one.box for one in found] == [box_of(whole), box_of(away)]


def test_without_a_model_a_region_that_the_map_does_not_show_is_no_further_instance(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1, 2])
    alike = replace(scene, regions=np.repeat(scene.regions[:1], 2, 0))
    (found,) = ground_targets(alike, [bench.target(1)])
    assert np.array_equal(found.mask.decode(), drawn.mask(1))
    configured = GroundingModels(detect=lambda target: None)  # then the regions are what is left, and both are near
    assert len(ground_targets(alike, [bench.target(1)], configured)) == 2


def test_without_regions_the_map_itself_is_the_mask(bench):
    drawn = planted(bench, "4:3", 4)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    (found,) = ground_targets(scene, [bench.target(1)])
    assert found.rung == "coarse" and mask_iou(found.mask.decode(), drawn.mask(1)) > 0.7


@pytest.mark.parametrize(("quality", "first"), [(0.72, "wide"), (1.0, "tight")])
def test_masks_of_points_come_in_order_of_cosine_times_quality(bench, quality, first):
    size = (120, 260)
    drawn = bench.draw(size, *((1, bench.ellipse(size, x, 60, 40, 40)) for x in (60, 200)))
    scene = drawn.scene(bench.grids(size)["stretch"])
    tight, wide = bench.ellipse(size, 60, 60, 40, 40), bench.ellipse(size, 200, 60, 46, 46)  # ground around the second
    made = [Segmented(wide, 1.0), Segmented(tight, quality)]
    found = ground_targets(scene, [bench.target(1)], GroundingModels(segment=lambda prompts: made))
    assert [one.rung for one in found] == ["points", "points"]
    assert np.array_equal(found[0].mask.decode(), tight if first == "tight" else wide)
    likest = max(found, key=lambda one: one.score)
    assert np.array_equal(likest.mask.decode(), tight)


# --- models that judge presence ---------------------------------------------------------------


def oracle(drawn, names):
    """A concept model that answers from the drawing: every connected piece of the thing of that name."""

    def find(target):
        pieces, count = ndimage.label(drawn.mask(names[target.phrase]))
        return [Detected((0.0, 0.0, 1.0, 1.0), 0.9, pieces == n + 1) for n in range(count)]

    return find


def never(*_):
    raise RuntimeError("this model was not to be asked")


@pytest.mark.parametrize("meant", [1, 2, 5], ids=["map is right", "map shows another thing", "map shows nothing"])
@pytest.mark.parametrize("regions", [[], [1, 2]])
def test_an_oracle_gives_its_own_masks_whatever_the_space_says(bench, meant, regions):
    size = (300, 400)
    drawn = bench.draw(
        size, *((1, bench.ellipse(size, x, 150, 50, 60)) for x in (100, 250)), (2, bench.ellipse(size, 350, 60, 40, 50))
    )
    scene = drawn.scene(bench.grids(size)["letterbox"], regions=regions)
    models = GroundingModels(segment=never, concept=oracle(drawn, {"a disc": 1}), alike=never, detect=never)
    found = ground_targets(scene, [bench.target(meant, "a disc")], models)
    assert [(one.rung, one.present) for one in found] == [("concept", True)] * 2
    assert np.array_equal(np.any([one.mask.decode() for one in found], 0), drawn.mask(1))


@pytest.mark.parametrize("way", ["concept", "detect"])
def test_a_judge_that_finds_nothing_is_believed_where_the_space_sees_the_thing(bench, way):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1])

    def finds_nothing(target):
        return []

    models = (
        GroundingModels(segment=drawn.flood, alike=never, concept=finds_nothing)
        if way == "concept"
        else GroundingModels(segment=drawn.flood, alike=never, detect=finds_nothing)
    )
    (found,) = ground_targets(scene, [bench.target(1, "a disc")], models)
    assert (found.rung, found.present) == ("absent", False)
    assert not found.mask.decode().any() and found.mask.size == drawn.things.shape
    assert found.score == pytest.approx(float(scene.regions[0] @ bench.axis(1)))


def test_a_mask_without_pixels_is_not_found(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    empty = Detected((0.0, 0.0, 1.0, 1.0), 0.9, np.zeros(drawn.things.shape, bool))
    (found,) = ground_targets(scene, [bench.target(1, "a disc")], GroundingModels(concept=lambda target: [empty]))
    assert (found.rung, found.present) == ("absent", False)


def test_masks_of_a_judge_come_in_the_order_of_its_own_scores_and_none_twice(bench):
    drawn = planted(bench, "4:3", 4)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    likes, dislikes = drawn.mask(1), drawn.mask(2)
    speck = np.zeros_like(likes)
    speck[0, 0] = True
    detected = [
        Detected((0.0, 0.0, 1.0, 1.0), score, mask)
        for score, mask in ((0.4, likes), (0.95, speck), (0.3, likes), (0.9, dislikes))
    ]
    found = ground_targets(scene, [bench.target(1, "a disc")], GroundingModels(concept=lambda target: detected))
    assert [mask_iou(one.mask.decode(), want) for one, want in zip(found, (dislikes, likes), strict=True)] == [1, 1]
    assert found[0].score < 0.3 < 0.6 < found[1].score  # the cosine is given, and does not order


@pytest.mark.parametrize("share", [0.0002, 1.0])
def test_a_lone_mask_of_a_judge_is_kept_at_any_size(bench, share):
    drawn = planted(bench, "4:3", 4)
    mask = np.zeros(drawn.things.size, bool)
    mask[: int(share * mask.size)] = True
    mask = mask.reshape(drawn.things.shape)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    models = GroundingModels(concept=lambda target: [Detected((0.0, 0.0, 1.0, 1.0), 0.9, mask)])
    (found,) = ground_targets(scene, [bench.target(1, "everything")], models)
    assert found.present and np.array_equal(found.mask.decode(), mask)


def detector(drawn, number):
    """A detector that boxes one thing of the drawing, whatever it is asked."""
    rows, columns = (np.flatnonzero(drawn.mask(number).any(side)) for side in (1, 0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return lambda target: [Detected(box, 0.5)]


@pytest.mark.parametrize("meant", [1, 2, 5])
def test_boxes_of_a_detector_are_masked_by_the_segmenter_whatever_the_space_says(bench, meant):
    drawn = planted(bench, "4:3", 7)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1, 2])
    models = GroundingModels(segment=drawn.flood, detect=detector(drawn, 1))
    (found,) = ground_targets(scene, [bench.target(meant)], models)
    assert (found.rung, found.present) == ("detector", True)
    assert np.array_equal(found.mask.decode(), drawn.mask(1))


def test_where_the_segmenter_doubts_its_mask_the_box_of_the_detector_stands(bench):
    drawn = planted(bench, "4:3", 7)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    find = detector(drawn, 1)
    models = GroundingModels(segment=lambda prompts: [Segmented(drawn.mask(2), 0.2) for _ in prompts], detect=find)
    (found,) = ground_targets(scene, [bench.target(1)], models)
    (box,) = (one.box for one in find(None))
    assert (found.rung, found.present, found.box) == ("detector", True, box)
    assert found.mask.decode().sum() == (box[2] - box[0]) * (box[3] - box[1])


def test_a_model_that_cannot_be_asked_for_a_target_leaves_it_to_the_next(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1])

    def reads(target):
        return None if target.phrase is None else []

    def looks(target):
        return None if target.exemplar is None else detector(drawn, 2)(target)

    targets = [bench.target(1, "a disc"), bench.target(1, exemplar=np.zeros((4, 4, 3), np.uint8)), bench.target(1)]
    models = GroundingModels(segment=drawn.flood, concept=reads, detect=looks)
    found = ground_targets(scene, targets, models)
    assert [(one.entity, one.rung, one.present) for one in found] == [
        (0, "absent", False),
        (1, "detector", True),
        (2, "points", None),
    ]


@pytest.mark.parametrize("meant", [1, 2, 5])
def test_without_a_segmenter_a_detector_is_believed_all_the_same(bench, meant):
    drawn = planted(bench, "4:3", 3)
    find = detector(drawn, 1)
    (box,) = (one.box for one in find(None))
    grid = bench.grids(drawn.things.shape)["stretch"]
    for regions, mask in (([], box_mask(box, drawn.things.shape)), ([2, 1], drawn.mask(1))):
        scene = drawn.scene(grid, regions=regions)
        (found,) = ground_targets(scene, [bench.target(meant)], GroundingModels(detect=find))
        assert (found.rung, found.present, found.confidence) == ("detector", True, 0.5)
        assert np.array_equal(found.mask.decode(), mask)  # of the region that fills the box, else the box


def test_all_that_a_judge_finds_is_given_however_many(bench):
    size = (120, 400)
    places = [(20 + 30 * column, 30 + 60 * row) for column in range(12) for row in range(2)]
    pieces = [bench.ellipse(size, x, y, 10, 20) for x, y in places]
    drawn = bench.draw(size, *((1, piece) for piece in pieces))
    scene = drawn.scene(bench.grids(size)["stretch"])
    models = GroundingModels(concept=oracle(drawn, {"a disc": 1}))
    found = ground_targets(scene, [bench.target(1, "a disc")], models)
    assert len(found) == 24 and {one.confidence for one in found} == {0.9}


def test_what_no_grounder_can_be_asked_for_is_left_to_the_look_of_the_space(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1], dense=False)

    def reads(target):
        return None if target.phrase is None else []

    def look(number):
        return [GroundedMask(number, encode_rle(drawn.mask(2)), box_of(drawn.mask(2)), 0.4)]

    targets = [bench.target(1, "a disc"), bench.target(1)]
    found = ground_targets(scene, targets, GroundingModels(detect=reads, look=look))
    assert [(one.entity, one.rung, one.present) for one in found] == [(0, "absent", False), (1, "own", None)]
    assert np.array_equal(found[1].mask.decode(), drawn.mask(2))
    by_points = GroundingModels(segment=drawn.flood, detect=reads, look=never)
    assert ground_targets(scene, targets, by_points)[1].rung == "points"


def test_things_like_what_the_best_place_shows_are_a_place_and_no_verdict(bench):
    size = (300, 400)
    pair = [bench.ellipse(size, x, 150, 50, 60) for x in (100, 300)]
    drawn = bench.draw(size, (1, pair[0] | pair[1]), (2, bench.ellipse(size, 200, 40, 30, 30)))
    scene = drawn.scene(bench.grids(size)["stretch"])
    asked = []

    def alike(on, beside):
        asked.append((on, beside))
        return [Detected((0.0, 0.0, 1.0, 1.0), 0.8, mask) for mask in (*pair, pair[0])]

    models = GroundingModels(concept=lambda target: None, alike=alike)
    found = ground_targets(scene, [bench.target(1), bench.target(2)], models)
    assert [(one.rung, one.present) for one in found if one.entity == 0] == [("concept", None)] * 2
    ((x0, y0, x1, y1),), ((u0, v0, u1, v1),) = asked[0]
    assert y0 < 150 < y1 and (x0 < 100 < x1 or x0 < 300 < x1)  # on the thing
    assert u0 < 200 < u1 and v0 < 40 < v1  # on the other target
    nothing = GroundingModels(segment=drawn.flood, alike=lambda on, beside: [])
    assert {one.rung for one in ground_targets(scene, [bench.target(1)], nothing)} == {"points"}


def test_the_place_that_a_concept_model_is_shown_is_the_one_that_the_look_of_the_space_finds(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1, 2], dense=False)
    asked = []

    def alike(on, beside):
        asked.append(on)
        return [Detected(on[0], 0.8, drawn.mask(2))]

    def look(number):
        return [GroundedMask(number, encode_rle(drawn.mask(2)), box_of(drawn.mask(2)), 0.4)]

    (found,) = ground_targets(scene, [bench.target(1)], GroundingModels(alike=alike, look=look))
    assert asked == [[box_of(drawn.mask(2))]] and (found.rung, found.present) == ("concept", None)


# --- what the map and the regions say ---------------------------------------------------------


def test_a_target_that_is_not_there_takes_no_place_from_one_that_is(bench):
    drawn = bench.draw((300, 400), (1, bench.ellipse((300, 400), 150, 150, 120, 120)))
    scene = drawn.scene(bench.grids((300, 400))["stretch"], seed=3)
    shown = []

    def segment(prompts):
        shown.append(prompts)
        return drawn.flood(prompts)

    alone = ground_targets(scene, [bench.target(1)], GroundingModels(segment=drawn.flood))
    beside = ground_targets(scene, [bench.target(1), bench.target(5)], GroundingModels(segment=segment))
    assert beside[0].mask == alone[0].mask and mask_iou(alone[0].mask.decode(), drawn.mask(1)) > 0.99
    on = [point for prompt in shown[0] for point in prompt.points[prompt.labels == 1]]
    assert all(drawn.mask(1)[int(y), int(x)] for x, y in on)


def test_a_place_that_two_targets_claim_goes_to_the_one_that_stands_out_more(bench):
    size = (300, 400)
    drawn = bench.draw(size, *((n, bench.ellipse(size, x, 150, 50, 60)) for n, x in ((1, 100), (2, 300))))
    scene = drawn.scene(bench.grids(size)["stretch"])
    both = Target(unit(0.65 * bench.axis(1) + 0.75 * bench.axis(2)))
    models = GroundingModels(segment=drawn.flood)
    assert len(ground_targets(scene, [both], models)) == 2
    first, second = ground_targets(scene, [bench.target(1), both], models)
    assert mask_iou(first.mask.decode(), drawn.mask(1)) > 0.99 < mask_iou(second.mask.decode(), drawn.mask(2))


def test_a_target_whose_best_place_belongs_to_another_is_not_beside_it(bench):
    size = (300, 400)
    drawn = bench.draw(size, (1, bench.ellipse(size, 100, 150, 50, 60)))
    scene = drawn.scene(bench.grids(size)["stretch"])
    beside = []

    def alike(on, around):
        beside.append(around)
        return []

    weaker = Target(unit(bench.axis(1) + bench.axis(5)))
    ground_targets(scene, [bench.target(1), weaker], GroundingModels(alike=alike))
    assert [len(boxes) for boxes in beside] == [0, 1]


def test_a_photo_without_regions_and_patches_is_taken_as_a_whole(bench):
    drawn = bench.draw((30, 40))
    scene = drawn.scene(bench.grids((30, 40))["stretch"], dense=False)
    (found,) = ground_targets(scene, [bench.target(1)])
    assert (found.rung, found.present, found.score) == ("coarse", None, -1.0) and found.mask.decode().all()


def test_a_mask_is_scored_by_its_own_vector_where_one_can_be_made(bench):
    drawn = planted(bench, "4:3", 2)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])

    def embed(masks):
        """0.9 for masks that show thing 1 mostly, else 0."""
        shares = [resize_mask(drawn.mask(1), mask.shape)[mask].mean() for mask in masks]
        return np.array([bench.axis(1) * 0.9 * (share > 0.5) for share in shares])

    (by_vector,) = ground_targets(scene, [bench.target(1)], GroundingModels(segment=drawn.flood, embed=embed))
    (by_grid,) = ground_targets(scene, [bench.target(1)], GroundingModels(segment=drawn.flood))
    assert by_vector.score == pytest.approx(0.9) and by_grid.score < 0.85


def test_a_flat_map_is_the_whole_photo(bench):
    drawn = bench.draw((60, 80), (1, np.ones((60, 80), bool)))
    scene = drawn.scene(bench.grids((60, 80))["stretch"], dense=False)
    even = type(scene)(
        scene.grid,
        scene.regions,
        scene.coverage,
        scene.masks,
        scene.boxes,
        np.tile(bench.axis(1), (scene.grid.cells, 1)),
    )
    (found,) = ground_targets(even, [bench.target(1)])
    assert found.rung == "coarse" and found.mask.decode().all()


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (7, 5)])
def test_odd_photos_raise_nothing(bench, size):
    drawn = bench.draw(size, (1, np.ones(size, bool)))
    for grid in bench.grids(size).values():
        scene, models = drawn.scene(grid, regions=[1]), GroundingModels(segment=drawn.flood)
        for mask in ground_targets(scene, [bench.target(1)], models):
            assert mask.mask.size == size


# --- a model that draws maps -----------------------------------------------------------------


def drawer(drawn, names, low=0.02, high=0.9):
    """A model that draws what a phrase names, at 352 by 352 however the photo is; None of what it has no phrase for."""

    def draw(target):
        if target.phrase is None:
            return None
        shown = resize_mask(drawn.mask(names[target.phrase]), (352, 352))
        return np.where(shown, high, low).astype(np.float32)

    return draw


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_map_that_a_model_drew_is_the_mask_whatever_the_space_sees(bench, aspect, mode):
    drawn = planted(bench, aspect, 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)[mode], regions=[2])
    models = GroundingModels(draw=drawer(drawn, {"a disc": 1}), look=never)
    (found,) = ground_targets(scene, [bench.target(2, "a disc")], models)  # to the space it is the other thing
    assert (found.rung, found.present) == ("dense", None)
    assert mask_iou(found.mask.decode(), drawn.mask(1)) > 0.93
    inside = scene.map_of(bench.axis(2))[scene.grid.coverage([drawn.mask(1)])[0] > 0.5].mean()
    assert found.score == pytest.approx(float(inside), abs=0.05)  # a cosine still, by the vector of the space


def test_each_place_of_a_drawn_map_is_a_mask_of_its_own(bench):
    size = (300, 400)
    drawn = bench.draw(size, *((1, bench.ellipse(size, x, 150, 50, 60)) for x in (100, 300)))
    models = GroundingModels(draw=drawer(drawn, {"a disc": 1}))
    found = ground_targets(drawn.scene(bench.grids(size)["stretch"]), [bench.target(5, "a disc")], models)
    assert [one.rung for one in found] == ["dense", "dense"]
    boxes = sorted(box_of(one.mask.decode()) for one in found)
    assert boxes[0] == pytest.approx((50, 90, 150, 210), abs=6) and boxes[1] == pytest.approx(
        (250, 90, 350, 210), abs=6
    )


def test_a_segmenter_is_prompted_by_points_of_the_drawn_map(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    models = GroundingModels(segment=drawn.flood, draw=drawer(drawn, {"a disc": 1}))
    (found,) = ground_targets(scene, [bench.target(2, "a disc")], models)
    assert found.rung == "points" and np.array_equal(found.mask.decode(), drawn.mask(1))


def test_a_drawn_map_that_points_nowhere_and_a_target_that_cannot_be_asked_for_leave_it_to_the_space(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1])
    flat = GroundingModels(draw=drawer(drawn, {"a disc": 1}, low=0.01, high=0.02))
    shown = GroundingModels(draw=drawer(drawn, {}))
    alone = ground_targets(scene, [bench.target(1)])
    assert ground_targets(scene, [bench.target(1, "a disc")], flat) == alone
    assert ground_targets(scene, [bench.target(1)], shown) == alone
    assert [one.rung for one in alone] == ["stored"]


def test_a_drawn_map_and_one_of_the_space_share_a_photo_fairly(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    models = GroundingModels(draw=drawer(drawn, {"a disc": 1}), segment=drawn.flood)
    found = ground_targets(scene, [bench.target(1, "a disc"), bench.target(2)], models)
    assert [(one.entity, one.rung) for one in found] == [(0, "points"), (1, "points")]
    for one, thing in zip(found, (1, 2), strict=True):
        assert np.array_equal(one.mask.decode(), drawn.mask(thing))


def test_a_judge_is_asked_before_a_map_is_cut(bench):
    drawn = planted(bench, "4:3", 3)
    models = GroundingModels(concept=lambda target: [], draw=drawer(drawn, {"a disc": 1}))
    (found,) = ground_targets(
        drawn.scene(bench.grids(drawn.things.shape)["stretch"]), [bench.target(1, "a disc")], models
    )
    assert (found.rung, found.present) == ("absent", False)
