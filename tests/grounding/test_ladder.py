"""Grounding drawn scenes whose answer is known, at several aspects and under every way an encoder sees a photo."""

import numpy as np
import pytest

from interleave_index.geometry import mask_iou, resize_mask
from interleave_index.grounding.gate import NEVER, Nulls
from interleave_index.grounding.ladder import Target, Tools, climb
from interleave_index.records import Detected, Segmented

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
        found = climb(scene, [bench.target(1)], Tools(segment=drawn.flood))
        ious.append(mask_iou(found[0].mask.decode(), drawn.mask(1)))
        assert found[0].rung == "points" and found[0].present and len(found) == 1
    assert np.mean(ious) > 0.9


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("aspect", ASPECTS)
def test_an_absent_object_has_no_pixels_and_no_model_is_asked(bench, aspect, mode):
    def never(prompts):
        raise RuntimeError("the segmenter was asked for a thing that is not there")

    for seed in range(5):
        drawn = planted(bench, aspect, seed)
        scene = drawn.scene(bench.grids(drawn.things.shape)[mode], regions=[1], seed=seed)
        (found,) = climb(scene, [bench.target(5)], Tools(segment=never))
        assert (found.rung, found.present) == ("absent", False)
        assert not found.mask.decode().any() and found.mask.size == drawn.things.shape


@pytest.mark.parametrize("aspect", ASPECTS)
def test_two_objects_of_one_kind_become_two_masks(bench, aspect):
    height, width = bench.SIZES[aspect]
    pair = [bench.ellipse((height, width), width * place, height * 0.5, height * 0.2, height * 0.25)
            for place in (0.25, 0.75)]
    drawn = bench.draw((height, width), (1, pair[0]), (1, pair[1]))
    scene = drawn.scene(bench.grids((height, width))["stretch"])
    found = climb(scene, [bench.target(1)], Tools(segment=drawn.flood))
    assert len(found) == 2
    for one in pair:
        assert max(mask_iou(mask.mask.decode(), one) for mask in found) > 0.9


def test_each_of_two_things_gets_its_own_pixels(bench):
    drawn = bench.draw((300, 400), (1, bench.ellipse((300, 400), 120, 150, 60, 60)),
                       (2, bench.ellipse((300, 400), 230, 150, 50, 70)))
    scene = drawn.scene(bench.grids((300, 400))["stretch"])
    found = climb(scene, [bench.target(1), bench.target(2)], Tools(segment=drawn.flood))
    assert [mask.entity for mask in found] == [0, 1]
    assert all(mask_iou(mask.mask.decode(), drawn.mask(n + 1)) > 0.9 for n, mask in enumerate(found))


def test_without_a_model_a_region_that_agrees_with_the_map_answers_at_once(bench):
    drawn = planted(bench, "4:3", 3)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[2, 1], dense=False)
    (found,) = climb(scene, [bench.target(1)])
    assert found.rung == "stored" and np.array_equal(found.mask.decode(), drawn.mask(1))


def test_of_stored_regions_that_lie_in_each_other_one_is_shown(bench):
    size = (120, 160)
    whole, part = bench.ellipse(size, 50, 60, 35, 40), bench.ellipse(size, 45, 55, 20, 20)
    away = bench.ellipse(size, 120, 60, 30, 40)
    drawn = bench.draw(size, (1, whole), (2, part), (3, away))
    scene = drawn.scene(bench.grids(size)["stretch"], regions=[1, 2, 3], dense=False)
    alike = type(scene)(scene.grid, np.repeat(scene.regions[:1], 3, 0), scene.coverage + scene.coverage[[1, 1, 1]]
                        * np.array([1, 0, 0])[:, None, None], scene.masks, scene.boxes)
    found = climb(alike, [bench.target(1)])
    assert [one.box for one in found] == [tuple(alike.boxes[n].tolist()) for n in (0, 2)]


def test_without_regions_the_map_itself_is_the_mask(bench):
    drawn = planted(bench, "4:3", 4)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    (found,) = climb(scene, [bench.target(1)])
    assert found.rung == "coarse" and mask_iou(found.mask.decode(), drawn.mask(1)) > 0.7


def test_a_mask_that_does_not_show_the_thing_is_not_believed(bench):
    drawn = planted(bench, "4:3", 5)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1])

    def elsewhere(prompts):
        return [Segmented(drawn.mask(2), 0.99) for _ in prompts]

    found = climb(scene, [bench.target(1)], Tools(segment=elsewhere, quick=False))
    assert found[0].rung == "stored" and np.array_equal(found[0].mask.decode(), drawn.mask(1))


@pytest.mark.parametrize(("quality", "object_score"), [(0.3, None), (0.9, -1.0)])
def test_a_mask_that_its_segmenter_doubts_is_not_believed(bench, quality, object_score):
    drawn = planted(bench, "4:3", 6)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])

    def doubted(prompts):
        return [Segmented(drawn.mask(1), quality, object_score) for _ in prompts]

    assert climb(scene, [bench.target(1)], Tools(segment=doubted))[0].rung == "coarse"


def test_a_model_that_reads_comes_before_points_and_gives_all_instances(bench):
    pair = [bench.ellipse((300, 400), x, 150, 50, 60) for x in (100, 300)]
    drawn = bench.draw((300, 400), (1, pair[0]), (1, pair[1]))
    scene = drawn.scene(bench.grids((300, 400))["letterbox"])
    asked = []

    def concept(target, on, beside):
        asked.append((target.phrase, len(on), len(beside)))
        return [Detected((0, 0, 1, 1), 0.8, mask) for mask in (*pair, pair[0])]

    found = climb(scene, [bench.target(1, "a disc")], Tools(segment=drawn.flood, concept=concept, quick=False))
    assert [mask.rung for mask in found] == ["concept", "concept"] and asked == [("a disc", 1, 0)]


def test_boxes_of_a_detector_are_masked_by_the_segmenter(bench):
    drawn = planted(bench, "4:3", 7)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    rows, columns = (np.flatnonzero(drawn.mask(1).any(side)) for side in (1, 0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    tools = Tools(segment=drawn.flood, detect=lambda target: [Detected(box, 0.5)], quick=False)
    found = climb(scene, [bench.target(1)], tools)
    assert found[0].rung == "detector" and mask_iou(found[0].mask.decode(), drawn.mask(1)) > 0.99


def test_a_photo_without_regions_and_patches_answers_absent(bench):
    drawn = bench.draw((30, 40))
    scene = drawn.scene(bench.grids((30, 40))["stretch"], dense=False)
    assert [mask.rung for mask in climb(scene, [bench.target(1)])] == ["absent"]


def test_an_empty_sample_lets_nothing_through(bench):
    drawn = planted(bench, "4:3", 0)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"], regions=[1])
    (found,) = climb(scene, [Target(bench.axis(1), Nulls(NEVER, NEVER, NEVER))])
    assert found.rung == "absent"


def test_without_a_null_for_cells_a_mask_is_judged_by_its_own_vector(bench):
    drawn = planted(bench, "4:3", 2)
    scene = drawn.scene(bench.grids(drawn.things.shape)["stretch"])
    only_regions = Nulls(bench.NULLS.region)
    asked = []

    def embed(masks):
        """0.9 for masks that show thing 1 mostly, else 0."""
        asked.append(len(masks))
        shares = [resize_mask(drawn.mask(1), mask.shape)[mask].mean() for mask in masks]
        return np.array([bench.axis(1) * 0.9 * (share > 0.5) for share in shares])

    tools = Tools(segment=drawn.flood, embed=embed)
    (found,) = climb(scene, [Target(bench.axis(1), only_regions)], tools)
    assert found.rung == "points" and found.score == pytest.approx(0.9) and asked == [1, 1]
    (found,) = climb(scene, [Target(bench.axis(2) * 0.01 + bench.axis(5), only_regions)], tools)
    assert found.rung == "absent"


def test_a_flat_map_that_passes_is_the_whole_photo(bench):
    drawn = bench.draw((60, 80), (1, np.ones((60, 80), bool)))
    scene = drawn.scene(bench.grids((60, 80))["stretch"], dense=False)
    even = type(scene)(scene.grid, scene.regions, scene.coverage, scene.masks, scene.boxes,
                       np.tile(bench.axis(1), (scene.grid.cells, 1)))
    (found,) = climb(even, [bench.target(1)])
    assert found.rung == "coarse" and found.mask.decode().all()


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (7, 5)])
def test_odd_photos_raise_nothing(bench, size):
    drawn = bench.draw(size, (1, np.ones(size, bool)))
    for grid in bench.grids(size).values():
        for mask in climb(drawn.scene(grid, regions=[1]), [bench.target(1)], Tools(segment=drawn.flood)):
            assert mask.mask.size == size
