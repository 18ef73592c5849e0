"""Metrics against tables worked by hand, brute force, and two small published references."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index import metrics
from interleave_index.errors import ShapeError

HERE = Path(__file__).parent
PARITY = HERE.parent / "benchmarks" / "metric_parity.py"


def _parity(*files: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PARITY), *map(str, files)], capture_output=True, text=True, check=False)


def test_published_references_are_met_within_tolerance() -> None:
    done = _parity(HERE / "data" / "find_retrieval_a.npz", HERE / "data" / "find_interactive_iou.npz")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tr10" in done.stdout and "iou" in done.stdout and "beyond" not in done.stdout


def test_a_wrong_reference_value_ends_with_status_one(tmp_path: Path) -> None:
    with np.load(HERE / "data" / "find_retrieval_a.npz") as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(tmp_path / "find_retrieval_x.npz", allow_pickle=False, **{**arrays, "exp_ir1": arrays["exp_ir1"] + 1})
    done = _parity(tmp_path / "find_retrieval_x.npz")
    assert done.returncode == 1 and "beyond" in done.stdout


def test_files_of_boundary_values_are_information_and_undefined_values_are_not_compared(tmp_path: Path) -> None:
    file: dict[str, Any] = {
        "mask_iou": np.array([[0.5, 0.9]], np.float32),
        "max_clicks": 2,
        "iou_iter": 1,
        "exp_miou@iter1": 0.7,
        "exp_noc@0.5": np.nan,
    }
    np.savez(tmp_path / "find_interactive_boundary.npz", allow_pickle=False, **file)
    np.savez(tmp_path / "find_interactive_x.npz", allow_pickle=False, **file)
    done = _parity(tmp_path / "find_interactive_boundary.npz")
    assert done.returncode == 0 and "information only" in done.stdout and "beyond" in done.stdout
    assert _parity(tmp_path / "find_interactive_x.npz").returncode == 1
    np.savez(tmp_path / "find_interactive_y.npz", allow_pickle=False, **{**file, "exp_miou@iter1": 0.5})
    assert _parity(tmp_path / "find_interactive_y.npz").returncode == 0


def test_false_premise_figures_pool_all_sentences_of_all_images(tmp_path: Path) -> None:
    # image 0: one sentence found for half, one absent and rightly refused; image 1: a mask where nothing is
    file: dict[str, Any] = {
        "num_images": 2,
        "pred_masks_00": np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]]], np.uint8),
        "gt_masks_00": np.array([[[0, 1, 1, 0]], [[0, 0, 0, 0]]], np.uint8),
        "gt_exists_00": np.array([True, False]),
        "pred_exists_00": np.array([True, False]),
        "pred_masks_01": np.array([[[1, 0, 0, 0]]], np.uint8),
        "gt_masks_01": np.zeros((1, 1, 4), np.uint8),
        "gt_exists_01": np.array([False]),
        "pred_exists_01": np.array([True]),
        "exp_see": 2 / 3,
        "exp_segment": 1 / 4,
        "exp_iou_class": np.array([8 / 11, 1 / 4]),
        "exp_intersection": np.array([[5, 1], [3, 0]]),
        "exp_union": np.array([[7, 3], [4, 1]]),
        "exp_intersection_sum": np.array([8, 1]),
        "exp_union_sum": np.array([11, 4]),
    }
    np.savez(tmp_path / "read_see_segment.npz", allow_pickle=False, **file)
    done = _parity(tmp_path / "read_see_segment.npz")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_of_an_unknown_kind_or_none_ends_with_status_two(tmp_path: Path) -> None:
    done = _parity(tmp_path / "find_something.npz")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "find_retrieval*" in done.stderr
    assert _parity().returncode == 2 and _parity(tmp_path / "find_retrieval_none.npz").returncode == 2


def test_ranks_agree_with_sorting_when_every_score_ties_with_some_other() -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (50, 20)).astype(np.float32)
    wanted = random.random((50, 20)) < 0.1
    ranks = metrics.first_ranks(scores, wanted)
    for row, hits, rank in zip(scores, wanted, ranks, strict=True):
        order = sorted(range(20), key=lambda n: (-row[n], n))
        assert rank == next((place for place, n in enumerate(order, 1) if hits[n]), 21)


def test_a_score_that_is_not_a_number_never_counts_as_found() -> None:
    scores = np.array([[0.5, np.nan, 0.1, -np.inf]], np.float32)
    assert metrics.first_ranks(scores, np.array([[False, True, False, False]])).tolist() == [3]
    assert metrics.first_ranks(np.zeros((2, 0), np.float32), np.zeros((2, 0), bool)).tolist() == [1, 1]


def test_arrays_of_different_shapes_are_refused() -> None:
    with pytest.raises(ShapeError):
        metrics.first_ranks(np.zeros((2, 3), np.float32), np.zeros((3, 2), bool))
    with pytest.raises(ShapeError):
        metrics.intersection_and_union(np.zeros((2, 3), bool), np.zeros((3, 2), bool))


def test_repeated_ids_match_each_other_and_all_count() -> None:
    scores = np.array([[0.1, 0.9], [0.9, 0.8], [0.5, 0.7]], np.float32)  # images 0 and 2 have the same id
    found = metrics.retrieval(scores, np.array([7, 8, 7]), np.array([7, 8]), (1, 2))
    # caption 0 wants images 0 or 2 and ranks 1, 2, 0; caption 1 wants image 1 and ranks 0, 1, 2
    assert found["IR@1"] == 0 and found["IR@2"] == 100
    # image 0 ranks captions 1, 0 (wants 0); image 1 ranks 0, 1 (wants 1); image 2 ranks 1, 0 (wants 0)
    assert found["TR@1"] == 0 and found["TR@2"] == 100


def test_interleaved_score_by_hand() -> None:
    images = np.array([[1, 0], [0, 2]], np.float32)
    objects = np.array([[[1, 0], [0, 1]], [[-1, 0], [1, 1]]], np.float32)
    legends = np.array([[3, 0], [1, 1]], np.float32)
    entities = np.array([[1, 0], [0, 5]], np.float32)
    found = metrics.interleaved_scores(
        legends, entities, np.array([0, 2, 2]), np.array([11, 99]), images, objects, np.array([10, 11])
    )
    root = 2**-0.5
    assert found.legend == pytest.approx(np.array([[1, 0], [root, root]]))
    assert found.entity == pytest.approx(np.array([[1, root], [0, 0]]))  # the second query has no entity
    assert found.penalty == pytest.approx(np.array([[0, -1e-6], [0, 0]]))
    assert found.total == pytest.approx(np.array([[1.5, root / 2 - 1e-6], [root, root]]))


def test_between_exact_copies_only_the_reference_penalty_decides() -> None:
    random = np.random.default_rng(1)
    images = random.normal(size=(20, 32)).astype(np.float32)
    objects = random.normal(size=(20, 12, 32)).astype(np.float32)
    images, objects = np.concatenate([images, images]), np.concatenate([objects, objects])
    own = np.arange(20)
    copied = np.where(own % 2 == 0, own + 20, own)  # the copy is the reference of even queries
    found = metrics.interleaved_scores(
        images[:20], objects[:20, 0], np.arange(21), copied, images, objects, np.arange(40)
    )
    ranks = metrics.first_ranks(found.total, own[:, None] == np.arange(40)[None])
    assert ranks.tolist() == [1, 2] * 10


def test_grounding_thresholds_are_met_by_equality_in_float32_only() -> None:
    # 1e-6 vanishes beside a union of 100 and is kept beside one of 10
    unions = np.array([10, 100, 1000])
    for tenths in range(5, 10):
        met = metrics.grounding(unions * tenths // 10, unions, (tenths / 10,))
        assert met[f"P@{tenths / 10:g}"] == pytest.approx(200 / 3)


def test_grounding_of_empty_masks_counts_as_nothing() -> None:
    assert metrics.grounding(np.array([0]), np.array([0]), (0.5,)) == {"cIoU": 0, "mIoU": 0, "P@0.5": 0}
    assert metrics.grounding(np.zeros(0, np.int64), np.zeros(0, np.int64), (0.5,))["mIoU"] == 0


def test_ignored_pixels_take_part_neither_in_intersection_nor_in_union() -> None:
    truth = np.array([[[1, 1, 0, -1]], [[0, 0, 0, 0]], [[-1, -1, -1, -1]]], np.int16)
    found = np.array([[[True, False, True, True]], [[False] * 4], [[True] * 4]])
    assert metrics.iou_without_ignored(found, truth) == pytest.approx([1 / 3, 0, 0])


def test_clicks_are_counted_to_the_first_that_reaches_the_threshold() -> None:
    ious = np.array([[0.5, 0.85, 0.2], [0.84999, 0.1, 0.9], [0.1, 0.2, 0.3]], np.float32)
    assert metrics.clicks_needed(ious, 0.85, 3).tolist() == [2, 3, 3]


def test_read_figures_by_hand() -> None:
    found = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 1]], [[1, 0, 0, 0]]], bool)
    truth = np.array([[[1, 0, 0, 255]], [[0, 0, 0, 255]], [[0, 0, 0, 0]]], np.uint8)
    intersection, union = metrics.class_intersection_and_union(found, truth)
    assert intersection.tolist() == [[1, 1], [3, 0], [3, 0]] and union.tolist() == [[2, 2], [3, 0], [4, 1]]
    got = metrics.read_iou(intersection, union)
    assert got.giou == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-4) and got.ciou == pytest.approx(1 / 3)
    flags = metrics.see_segment(intersection, union, np.array([True, False, True]), np.array([True, False, False]))
    assert flags.see == pytest.approx(2 / 3) and flags.segment == pytest.approx(1 / 3)
    assert flags.class_iou[0] == pytest.approx(7 / 9)


def test_auc_agrees_with_counting_pairs() -> None:
    random = np.random.default_rng(2)
    present, absent = random.integers(0, 9, 40), random.integers(0, 7, 50)
    pairs = [(p > a) + 0.5 * (p == a) for p in present for a in absent]
    assert metrics.auc_percent(present, absent) == pytest.approx(100 * np.mean(pairs))
    assert metrics.auc_percent(present, np.zeros(0)) == 50


def test_proposals_beyond_the_first_k_do_not_count() -> None:
    tables = [np.array([[0.1, 0.5], [0.6, 0.0]]), np.zeros((1, 0)), np.zeros((0, 3))]
    assert metrics.proposal_recall(tables, 1) == pytest.approx(100 / 3)
    assert metrics.proposal_recall(tables) == pytest.approx(200 / 3)
    assert metrics.proposal_recall([]) == 0


def test_macro_average_gives_every_group_the_same_weight() -> None:
    assert metrics.macro(np.array([1, 1, 1, 0]), np.array([2, 2, 2, 5])) == 0.5
    assert metrics.macro(np.zeros(0), np.zeros(0)) == 0


def test_bootstrap_interval_is_repeatable_and_holds_the_true_gain() -> None:
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        groups = np.repeat(np.arange(25), 8)
        gains = random.normal(0.3, 0.2, 25)[groups] + random.normal(0, 1, len(groups))
        low, high = metrics.bootstrap_interval(gains, groups, seed=seed, samples=300)
        held += low <= 0.3 <= high
    assert held >= 54  # 95 % nominal: fewer than 54 of 60 is improbable
    again = metrics.bootstrap_interval(gains, groups, seed=59, samples=300)
    assert again == (low, high) and low < np.mean(gains) < high
    assert metrics.bootstrap_interval(np.zeros(0), np.zeros(0), seed=0) == (0, 0)


def test_the_best_cut_of_a_mean_mask_is_the_one_with_the_best_score() -> None:
    mean = np.array([[0.9, 0.6, 0.1]], np.float32)
    cut, mask = metrics.best_constant(mean, lambda guess: -abs(int(guess.sum()) - 2))
    assert mask.tolist() == [[True, True, False]] and 0.1 < cut <= 0.6


# --- generic segmentation --------------------------------------------------------------------


def test_panoptic_quality_by_hand_with_void_groups_and_a_wrong_class() -> None:
    truth = np.array([[1, 1, 1, 1, 2, 2], [1, 1, 1, 1, 2, 2], [0, 0, 0, 3, 3, 3], [0, 0, 0, 3, 3, 3]])
    found = np.array([[1, 1, 1, 4, 2, 2], [1, 1, 1, 4, 2, 2], [1, 1, 5, 6, 6, 6], [1, 1, 5, 6, 6, 6]])
    segments = [metrics.Segment(1, 10), metrics.Segment(2, 20), metrics.Segment(3, 30, crowd=True)]
    mine = [
        metrics.Segment(1, 10),
        metrics.Segment(2, 99),
        metrics.Segment(4, 10),
        metrics.Segment(5, 10),
        metrics.Segment(6, 30),
        metrics.Segment(7, 10),
    ]
    counts = metrics.panoptic_counts(found, mine, truth, segments)
    # 1 matches: 6 shared, 4 of its pixels void, 6 / (10 + 8 - 6 - 4); 4 is false; 5 lies in void; 7 has no pixel
    assert counts[10] == metrics.PanopticCounts(iou=6 / 8, matched=1, false=1, missed=0)
    assert counts[20] == metrics.PanopticCounts(missed=1) and counts[99] == metrics.PanopticCounts(false=1)
    assert counts[30] == metrics.PanopticCounts()  # a group can neither be found nor missed
    found_all = metrics.panoptic_quality(counts, [10, 20, 30, 99, 7])
    assert found_all["classes"] == 3 and found_all["PQ"] == pytest.approx(100 * (0.75 / 1.5) / 3)
    assert metrics.panoptic_quality(counts, [10])["SQ"] == pytest.approx(75)
    assert metrics.panoptic_quality({}, [10]) == {"PQ": 0, "SQ": 0, "RQ": 0, "classes": 0}


def test_an_iou_of_exactly_one_half_does_not_match() -> None:
    counts = metrics.panoptic_counts(
        np.array([[1, 1]]), [metrics.Segment(1, 1)], np.array([[5, 6]]), [metrics.Segment(5, 1), metrics.Segment(6, 2)]
    )
    assert counts == {1: metrics.PanopticCounts(false=1, missed=1), 2: metrics.PanopticCounts(missed=1)}


def test_mean_iou_leaves_out_unlabelled_pixels_and_classes_that_do_not_occur() -> None:
    truth, found = np.array([[0, 0, 1, 1, 255]]), np.array([[0, 1, 1, 9, 0]])
    confusion = metrics.class_confusion(found, truth, 3)
    assert confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]]
    assert metrics.semantic_figures(confusion) == {
        "mIoU": pytest.approx(100 * (1 / 2 + 1 / 3) / 2),
        "pixel accuracy": 50.0,
    }
    with pytest.raises(ShapeError):
        metrics.class_confusion(found, truth[:, 1:], 3)
