"""A whole evaluation on a pack of drawn patches, with an interface that knows colours: every figure by hand.

Photos are 8 x 12 blocks of 8 pixels, so that JPEG keeps the edges of the patches.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.errors import InputError
from interleave_index.evaluation import evaluate
from interleave_index.evaluation.train_facts import TrainFacts, read_facts, shipped_facts, write_facts
from interleave_index.geometry import encode_rle
from interleave_index.interface.toy import COLOURS, ToyInterface
from interleave_index.records import BoolMask

BLOCK, SHAPE = 8, (8, 12)


def _blocks(rows: slice, columns: slice) -> BoolMask:
    """(64, 96) mask of some blocks."""
    mask = np.zeros(SHAPE, bool)
    mask[rows, columns] = True
    return mask.repeat(BLOCK, 0).repeat(BLOCK, 1)


def _photo(
    tar: tarfile.TarFile,
    key: str,
    ground: str,
    patches: dict[str, BoolMask],
    *,
    annotated: Any = None,
    source: str = "drawn",
    **record: Any,
) -> None:
    pixels = np.empty((*(side * BLOCK for side in SHAPE), 3), np.uint8)
    pixels[:] = COLOURS[ground]
    for colour, mask in patches.items():
        pixels[mask] = COLOURS[colour]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, subsampling=0)
    regions = [
        {
            "label": label,
            "kind": "instance",
            "bbox": [0, 0, 1, 1],
            "area": int(mask.sum()),
            "rle": encode_rle(mask).to_json(),
        }
        for label, mask in (annotated or {}).items()
    ]
    text = json.dumps(
        {
            "key": key,
            "source": source,
            "width": 96,
            "height": 64,
            "aspect": "true",
            "captions": [],
            "labels": list(annotated or ()),
            "regions": regions,
            **record,
        }
    ).encode()
    for name, content in ((f"{key}.jpg", stream.getvalue()), (f"{key}.json", text)):
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "drawn.tar"
    left, right = slice(0, 6), slice(6, 12)
    drawn = {
        "a": ("white", "red", _blocks(slice(0, 4), left)),
        "b": ("white", "blue", _blocks(slice(0, 2), right)),
        "c": ("black", "blue", _blocks(slice(0, 4), slice(3, 9))),
        "d": ("black", "red", _blocks(slice(0, 2), left)),
    }
    with tarfile.open(path, "w") as tar:
        for key, (ground, colour, mask) in drawn.items():
            _photo(
                tar,
                key,
                ground,
                {colour: mask},
                annotated={colour: mask},
                regions_scope="all 2 colours",
                captions=[f"{colour} on {ground}"],
            )
        _photo(
            tar,
            "third",
            "white",
            {"green": _blocks(slice(0, 4), left)},
            annotated={"green": _blocks(slice(0, 2), slice(0, 4))},
        )
        _photo(tar, "orange", "orange", {}, labels=["orange"], source="classes")
        _photo(
            tar, "mixed", "orange", {"yellow": _blocks(slice(0, 2), slice(0, 12))}, labels=["yellow"], source="classes"
        )
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    lines = [
        {"key": "a", "kind": "swap", "caption": "red on white", "negative": "blue on white"},
        {"key": "a", "kind": "add", "caption": "green on black", "negative": "red on white"},
        {"key": "unknown", "kind": "add", "caption": "x", "negative": "y"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return path


@pytest.fixture(scope="module")
def facts() -> TrainFacts:
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True
    return TrainFacts(names=frozenset({"orange"}), mean_mask=mask, cut=0.5, packs=())


@pytest.fixture(scope="module")
def dumped(pack: Path) -> Path:
    return pack.with_name("scores.npz")


@pytest.fixture(scope="module")
def report(pack: Path, pairs: Path, facts: TrainFacts, dumped: Path) -> dict[str, Any]:
    return evaluate(pack, interface=ToyInterface(), hard_negatives=pairs, facts=facts, dump=dumped)


def test_every_key_of_the_frozen_report_is_there_and_json_can_hold_it(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report)) == report
    assert {
        "caption",
        "interleaved",
        "interleaved_word_kept",
        "interleaved_word_deleted",
        "grounding_text",
        "grounding_text_stored",
        "grounding_exemplar",
        "grounding_exemplar_stored",
        "proposals",
        "labels",
        "forms",
        "judgement",
        "negatives",
        "own_photo",
        "hard_negatives",
        "photos_per_s",
        "model",
    } <= set(report)
    for name in ("caption", "interleaved", "interleaved_word_kept", "interleaved_word_deleted"):
        assert {"IR@1", "IR@5", "IR@10", "chance", "n"} <= set(report[name])
    for name in ("grounding_text", "grounding_text_stored", "grounding_exemplar", "grounding_exemplar_stored"):
        assert set(report[name]) == {"cIoU", "mIoU", "P@0.5", "whole_image_mIoU", "mean_mask_mIoU", "n"}
    assert report["model"]["interface"] == "toy" and report["photos"] == 7 and report["photos_per_s"] > 0


def test_each_caption_finds_its_photo_among_the_captioned_ones(report: dict[str, Any]) -> None:
    found = report["caption"]
    assert (found["IR@1"], found["TR@1"], found["n"], found["photos"]) == (100, 100, 4, 4)
    assert (found["chance"], found["chance_IR@1"], found["chance_TR@1"], found["chance_IR@5"]) == (25, 25, 25, 100)


def test_a_region_in_place_of_the_word_finds_what_the_word_finds_and_no_word_does_not(report: dict[str, Any]) -> None:
    # without the colour, "on white" finds b (more white) before a, "on black" finds d before c
    assert report["interleaved"]["IR@1"] == report["interleaved_word_kept"]["IR@1"] == 100
    assert report["interleaved_word_deleted"]["IR@1"] == 50 and report["interleaved_word_deleted"]["IR@5"] == 100
    assert report["interleaved"]["n"] == 4 and report["interleaved"]["labels"] == 2
    assert report["interleaved"]["chance"] == 25 and "gain" not in report["interleaved_word_deleted"]
    gain = report["interleaved"]["gain"]["IR@1"]
    assert gain["mean"] == 50 and 0 <= gain["low"] < 50 < gain["high"] <= 100
    assert report["interleaved_word_kept"]["gain"]["IR@5"] == {"mean": 0, "low": 0, "high": 0}


def test_grounding_by_name_counts_pixels_and_stands_beside_the_constant_guesses(report: dict[str, Any]) -> None:
    # annotated blocks 24, 12, 24, 12, 8 of 96; the last lies in a patch of 24 blocks
    for name in ("grounding_text", "grounding_text_stored"):
        found = report[name]
        assert found["n"] == 5 and found["P@0.5"] == pytest.approx(80)
        assert found["mIoU"] == pytest.approx(100 * (4 + 1 / 3) / 5, abs=1e-4)
        assert found["cIoU"] == pytest.approx(100 * 80 / 96)
        assert found["whole_image_mIoU"] == pytest.approx(100 * 80 / 96 / 5, abs=1e-4)
        assert found["mean_mask_mIoU"] == pytest.approx(100 * (1 / 2 + 0 + 1 / 5 + 1 / 4 + 1 / 6) / 5, abs=1e-4)


def test_grounding_by_exemplar_needs_another_photo_with_the_label(report: dict[str, Any]) -> None:
    for name in ("grounding_exemplar", "grounding_exemplar_stored"):
        assert report[name]["n"] == 4 and report[name]["mIoU"] == pytest.approx(100, abs=1e-4)


def test_proposals_cover_all_but_the_mask_that_is_a_third_of_its_patch(report: dict[str, Any]) -> None:
    assert report["proposals"] == {"recall@10": pytest.approx(80), "recall@all": pytest.approx(80), "n": 5}


def test_class_names_are_told_apart_by_whether_training_saw_them(report: dict[str, Any]) -> None:
    seen, unseen = report["labels"]["seen"], report["labels"]["unseen"]
    assert (seen["top1"], seen["top5"], seen["chance"], seen["n"]) == (100, 100, 50, 1)
    assert (unseen["top1"], unseen["top5"], unseen["chance"], unseen["n"]) == (0, 100, 50, 1)


def test_every_form_of_a_label_is_grounded_and_looked_at_where_masks_are_few(report: dict[str, Any]) -> None:
    forms = report["forms"]
    assert forms["bare"]["stored"] == pytest.approx(report["grounding_text_stored"]["mIoU"])
    assert forms["bare"]["exact"] == pytest.approx(report["grounding_text"]["mIoU"])
    for form in ("a", "the", "photo_of"):  # the toy reads the colour out of all words
        assert forms[form]["stored"] == forms[form]["exact"] == forms["bare"]["stored"]
    assert forms["plural"]["stored"] < forms["bare"]["stored"]  # it does not know "reds"
    assert forms["spread"] == forms["bare"]["stored"] - forms["plural"]["stored"]
    assert (forms["n"], forms["labels"]) == (5, 0)  # no colour of the closed list is in three photos


def test_colours_that_are_there_are_meant_and_those_that_are_not_are_not(report: dict[str, Any]) -> None:
    for found in (report["judgement"]["bracketed"]["things"], report["judgement"]["parts"]):
        assert (found["missed"], found["false"]) == (0, 0)
    # of the two photos of a class, the yellow one lies on orange: "orange" is claimed where only yellow is annotated
    assert report["judgement"]["bracketed"]["classes"]["false"] == 50
    # class names are asked once more of the photos of the closed list, which show none of them
    strangers = report["judgement"]["bracketed"]["strangers"]
    assert (strangers["false"], strangers["absent"], strangers["n"]) == (0, 2, 0)
    assert report["judgement"]["bracketed"]["things"]["n"] == 2
    assert report["judgement"]["bracketed"]["classes"]["n"] == 2
    for kind in ("mixed_part", "mixed_word"):
        assert report["judgement"][kind]["first_five"] == 100 and report["judgement"][kind]["n"] == 4
    assert report["judgement"]["all"]["monotone"] == 100
    assert report["judgement"]["all"]["pairs"] == sum(
        found["pairs"] for kind, found in report["judgement"].items() if kind not in ("all", "presence")
    )


def test_every_photo_and_part_of_the_pack_finds_its_own_photo_first(report: dict[str, Any]) -> None:
    found = report["own_photo"]
    assert (found["photo"], found["region"], found["sure"]) == (100, 100, 100)
    assert found["photos"] == 7 and found["regions"] > 7


def test_no_pair_of_colours_occurs_often_enough_for_negatives(report: dict[str, Any]) -> None:
    assert report["negatives"]["n"] == 0


def test_hard_negatives_count_pairs_of_photos_in_the_pack(report: dict[str, Any]) -> None:
    found = report["hard_negatives"]
    assert (found["above"], found["tied"], found["n"], found["chance"]) == (50, 0, 2, 50)
    assert found["kinds"] == {"add": {"above": 0, "n": 1}, "swap": {"above": 100, "n": 1}}


def test_the_dump_holds_scores_ids_ranks_and_ious(report: dict[str, Any], dumped: Path) -> None:
    with np.load(dumped, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    assert arrays["caption_scores"].shape == (4, 4) and arrays["caption_of"].tolist() == [0, 1, 2, 3]
    assert arrays["caption_image_ranks"].tolist() == [1] * 4 and arrays["caption_photo_keys"].tolist() == list("abcd")
    assert arrays["interleaved_labels"].tolist() == ["blue", "blue", "red", "red"]
    other = {"a": "d", "d": "a", "b": "c", "c": "b"}
    assert [other[key] for key in arrays["interleaved_keys"]] == arrays["interleaved_reference_keys"].tolist()
    deleted = dict(
        zip(arrays["interleaved_keys"].tolist(), arrays["interleaved_word_deleted_ranks"].tolist(), strict=True)
    )
    assert deleted == {"a": 2, "b": 1, "c": 2, "d": 1}
    assert arrays["grounding_text_iou"] == pytest.approx([1, 1, 1, 1, 1 / 3], abs=1e-5)
    assert arrays["grounding_text_labels"].tolist() == ["red", "blue", "blue", "red", "green"]
    assert arrays["proposal_best_iou_all"].tolist()[-1] == pytest.approx(1 / 3)
    assert arrays["judgement_bracketed_labels"].tolist() == ["blue", "red", "orange", "yellow", "orange", "yellow"]
    assert arrays["judgement_bracketed_right"].sum() == 6 and arrays["label_own"].tolist() == ["orange", "yellow"]
    assert arrays["forms"].tolist() == ["bare", "a", "the", "plural", "photo_of"]
    assert arrays["forms_stored_union"].shape == (5, 5) and arrays["own_photo_first"].all()
    assert arrays["hard_scores"].shape == (2, 2) and len(arrays["keys"]) == 7


def test_the_same_seed_gives_the_same_report(pack: Path, facts: TrainFacts, report: dict[str, Any]) -> None:
    again = evaluate(pack, interface=ToyInterface(), facts=facts)
    for name in again.keys() - {"photos_per_s", "hard_negatives"}:
        assert again[name] == report[name], name
    assert "hard_negatives" not in again


def test_limit_and_excluded_sources_leave_photos_out_and_progress_is_told(pack: Path, facts: TrainFacts) -> None:
    updates: list[tuple[str, int, int]] = []
    small = evaluate(
        pack,
        interface=ToyInterface(),
        facts=facts,
        limit=2,
        progress=lambda what, done, total: updates.append((what, done, total)),
    )
    assert small["photos"] == 2 and small["caption"]["n"] == 2 and small["interleaved"]["n"] == 0
    assert small["interleaved"]["IR@1"] == 0 and small["labels"]["seen"]["n"] == 0
    assert ("photos", 2, 2) in updates and ("captions", 2, 2) in updates
    without = evaluate(pack, interface=ToyInterface(), facts=facts, exclude_sources={"classes"})
    assert without["photos"] == 5 and without["labels"]["classes"] == 0
    with pytest.raises(InputError, match="no photo left"):
        evaluate(pack, interface=ToyInterface(), facts=facts, exclude_sources={"classes", "drawn"})


def test_a_line_of_hard_negatives_that_cannot_be_used_is_named(pack: Path, tmp_path: Path, facts: TrainFacts) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"key": "a"}\n')
    with pytest.raises(InputError, match="line 1"):
        evaluate(pack, interface=ToyInterface(), facts=facts, hard_negatives=bad)
    with pytest.raises(InputError, match="cannot be read"):
        evaluate(pack, interface=ToyInterface(), facts=facts, hard_negatives=tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be written"):
        evaluate(pack, interface=ToyInterface(), facts=facts, limit=1, dump=tmp_path / "none" / "scores.npz")


def test_facts_of_training_packs_are_read_and_written_back_the_same(pack: Path, tmp_path: Path) -> None:
    found = read_facts([pack])
    assert found.names == {"red", "blue", "green", "orange", "yellow"} and found.packs[0][0] == "drawn.tar"
    # rows 0 to 2 of columns 0 to 4 lie in three of five masks and are the first cut's best guess or part of it
    assert found.mean_mask[:16, :21].all() and not found.mean_mask[40:].any()
    write_facts(found, tmp_path / "facts.json")
    again = json.loads((tmp_path / "facts.json").read_text())
    assert again["names"] == sorted(found.names) and again["cut"] == found.cut
    with pytest.raises(InputError):
        read_facts([tmp_path / "none.tar"])


def test_the_facts_beside_the_code_name_their_packs() -> None:
    shipped = shipped_facts()
    assert shipped.mean_mask.shape == (64, 64) and 0 < shipped.mean_mask.mean() < 1
    assert {"person", "lobster"} <= shipped.names and all(name.startswith("train-") for name, _ in shipped.packs)


def test_importing_the_package_loads_no_heavy_one() -> None:
    code = (
        "import sys, interleave_index.evaluation; "
        "print([name for name in ('torch', 'faiss', 'sqlalchemy', 'scipy', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
