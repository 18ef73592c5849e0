"""The benchmarks of `evaluate` as commands, over files in the official forms and an interface that knows colours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.cli import main
from interleave_index.interface.toy import COLOURS

SIZE = (64, 96)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """`run(*words)` in an empty folder gives (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *map(str, words), *(() if "--help" in words else ("--model", "toy"))])
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out, err

    return call


def figures(answer: tuple[int, str, str], number: int = 0) -> dict[str, Any]:
    status, out, err = answer
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)["benchmarks"][number]
    return found


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """Red 0:40 x 0:40 on white, as COCO names its files."""
    pixels = np.empty((*SIZE, 3), np.uint8)
    pixels[:] = COLOURS["white"]
    pixels[:40, :40] = COLOURS["red"]
    for folder in ("photos", "val2017", "JPEGImages"):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.jpg", "PNG")
    return tmp_path / "photos" / "a.jpg"


@pytest.fixture
def coco(tmp_path: Path, photo: Path) -> Path:
    ids = np.full(SIZE, 300, np.int64)
    ids[:40, :40] = 70001
    (tmp_path / "panoptic_val2017").mkdir()
    Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(
        tmp_path / "panoptic_val2017" / "a.png"
    )
    images = [{"id": 5, "file_name": "a.jpg", "height": 64, "width": 96}]
    segments = [{"id": 70001, "category_id": 1}, {"id": 300, "category_id": 2}]
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "panoptic_val2017.json").write_text(
        json.dumps(
            {
                "images": images,
                "categories": [{"id": 1, "name": "red", "isthing": 1}, {"id": 2, "name": "white", "isthing": 0}],
                "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": segments}],
            }
        )
    )
    phrase = {"annotation_id": 70001, "phrase": "red", "_start_idx": 2, "start_idx": 1, "end_idx": 5}
    for name in ("entity_val2017", "entity_val2017_long", "linked"):
        more = {"reference": {"image_id": 5, "annotation_id": 70001, "prob": 1.0}} if name == "linked" else {}
        (tmp_path / "annotations" / f"{name}.json").write_text(
            json.dumps(
                {
                    "images": images,
                    "annotations": [{"image_id": 5, "sentence": "a red thing", "phrase": [{**phrase, **more}]}],
                }
            )
        )
    return tmp_path


def test_find_bench_runs_every_part_whose_files_are_there(run, coco):
    _, out, _ = answer = run("find-bench", "--coco", coco, "--json")
    names = [one["benchmark"] for one in json.loads(out)["benchmarks"]]
    assert names == ["find-bench grounding", "find-bench retrieval text", "find-bench retrieval caption"]
    assert figures(answer)["figures"]["mIoU"] == pytest.approx(100, abs=1e-3)
    found = figures(
        run(
            "find-bench",
            "--coco",
            coco,
            "--part",
            "interleaved",
            "--interleave",
            coco / "annotations" / "linked.json",
            "--visual",
            1,
            "--json",
        )
    )
    assert found["figures"]["shown"] == 1 and found["settings"]["visual"] == 1
    status, out, _ = run("find-bench", "--coco", coco, "--long", "--part", "grounding")
    assert status == 0 and "FIND Focal-L" in out and "73.2" in out and "100.0" in out
    status, _, err = run("find-bench", "--coco", coco, "--part", "interleaved")
    assert status == 1 and "needs --interleave" in err


def test_a_run_can_be_stopped_and_refuses_to_mix_with_another(run, coco, tmp_path):
    words = ("find-bench", "--coco", coco, "--part", "grounding", "--work", tmp_path / "work", "--json")
    first = figures(run(*words))
    assert figures(run(*words))["figures"] == first["figures"]
    status, _, err = run(*words, "--seed", 4)
    assert status == 1 and "other seed" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog"])
def test_the_refcoco_family(run, photo, tmp_path, name):
    rows = [
        {
            "ref_id": 0,
            "ann_id": 9,
            "image_id": 5,
            "split": "val",
            "sentences": [{"sent": "red"}, {"sent": "the red part"}],
        }
    ]
    (tmp_path / "refs.json").write_text(json.dumps(rows))
    runs = [0, *[40, 24] * 39, 40, 24 + 56 * 64]
    (tmp_path / "instances.json").write_text(
        json.dumps(
            {
                "images": [{"id": 5, "file_name": "a.jpg", "height": 64, "width": 96}],
                "annotations": [{"id": 9, "segmentation": {"size": [64, 96], "counts": runs}}],
            }
        )
    )
    words = (name, "--refs", tmp_path / "refs.json", "--photos", photo.parent, "--json")
    found = figures(run(*words))
    assert found["figures"]["n"] == 2 and found["figures"]["P@0.9"] == 100
    assert found["published"][-1]["figures"]["gIoU"]["published"] > 70
    assert figures(run(*words, "--protocol", "find"))["figures"]["n"] == 1
    assert run(*words, "--split", "testZ")[0] == 1


def test_false_premises_reasons_captions_and_objects(run, photo, tmp_path):
    whole = [[0, 0, 40, 0, 40, 40, 0, 40]]
    (tmp_path / "fp.json").write_text(
        json.dumps(
            {
                "images": [{"id": 5, "file_name": "a.jpg", "height": 64, "width": 96}],
                "annotations": [
                    {
                        "ann_id": 1,
                        "image_id": 5,
                        "segmentation": whole,
                        "sentences": [{"sent": "purple", "is_false_premise": True}],
                    }
                ],
            }
        )
    )
    found = figures(
        run("fp-refcoco", "--refs", tmp_path / "fp.json", "--photos", photo.parent, "--set", "refcocog", "--json")
    )
    assert found["figures"]["absent"] == 1 and found["figures"]["See"] == 100
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "a.jpg").write_bytes(photo.read_bytes())
    (tmp_path / "val" / "a.json").write_text(
        json.dumps(
            {
                "text": ["red"],
                "is_sentence": False,
                "shapes": [{"label": "target", "points": [[0, 0], [39, 0], [39, 39], [0, 39]]}],
            }
        )
    )
    assert figures(run("reasonseg", tmp_path, "--json"))["figures"]["gIoU"] == pytest.approx(100, abs=1e-2)
    (tmp_path / "dataset_coco.json").write_text(
        json.dumps(
            {"images": [{"filename": "a.jpg", "split": "test", "cocoid": 5, "sentences": [{"raw": "red on white"}]}]}
        )
    )
    found = figures(run("karpathy", tmp_path / "dataset_coco.json", "--photos", photo.parent, "--json"))
    assert found["figures"]["IR@1"] == found["figures"]["TR@1"] == 100
    ids = np.zeros(SIZE, np.uint8)
    ids[:40, :40] = 1
    (tmp_path / "SegmentationObject").mkdir()
    Image.fromarray(ids, "L").save(tmp_path / "SegmentationObject" / "a.png")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("a\n")
    _, out, _ = run("voc-interactive", tmp_path, "--json")
    assert [one["figures"]["mIoU@1"] for one in json.loads(out)["benchmarks"]] == [pytest.approx(100)] * 5


def test_coco_panoptic_writes_what_panopticapi_reads(run, coco, tmp_path):
    found = figures(
        run("coco-panoptic", "--coco", coco, "--classes", "visual", "--predictions", tmp_path / "maps", "--json")
    )
    assert found["benchmark"] == "coco-panoptic visual" and found["figures"]["mIoU"] == pytest.approx(100)
    assert (tmp_path / "maps" / "visual.json").exists() and (tmp_path / "maps" / "visual" / "000000000005.png").exists()
    status, _, err = run("coco-panoptic", "--coco", tmp_path / "none")
    assert status == 1 and "panoptic_val2017.json cannot be read" in err


def test_predictions_go_over_maps_of_the_program_when_asked_and_over_other_pictures_never(run, coco, tmp_path):
    words = ("coco-panoptic", "--coco", coco, "--predictions", tmp_path / "maps", "--json")
    figures(run(*words))
    map_file = tmp_path / "maps" / "names" / "000000000005.png"
    status, _, err = run(*words)
    assert status == 1 and "exists already" in err
    figures(run(*words, "--overwrite"))
    with Image.open(map_file) as picture:
        picture.load()
        picture.copy().save(map_file)  # without the mark that it is ours
    before = map_file.read_bytes()
    status, _, err = run(*words, "--overwrite")
    assert (status, map_file.read_bytes()) == (1, before) and "never written over" in err


@pytest.mark.parametrize(
    ("folder", "said"), [("annotations/panoptic_val2017.json", "is a file"), ("no/maps", "make it first")]
)
def test_predictions_want_a_folder_or_a_name_for_one(run, coco, tmp_path, folder, said):
    status, _, err = run("coco-panoptic", "--coco", coco, "--predictions", tmp_path / folder, "--overwrite")
    assert status == 1 and said in err


LINKED = ("--interleave", "annotations/linked.json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("find-bench", "--part", "text", *LINKED), "--interleave is for --part interleaved"),
        (("find-bench", "--part", "interleaved", "--entity", "a.json", *LINKED), "--entity is for --part grounding"),
        (("find-bench", "--part", "caption", "--visual", 0), "--visual is for --part grounding or interleaved"),
        (("find-bench", "--interleave", "annotations/entity_val2017.json"), "no phrase with a reference"),
        (("coco-panoptic", "--descriptions", "a.json"), "--descriptions is for --classes descriptions"),
        (("coco-panoptic", "--exemplars", "train2017"), "--exemplars is for --classes visual"),
        (("coco-panoptic", "--exemplar-sentences", "a.json"), "--exemplar-sentences is for --classes visual"),
        (("coco-panoptic", "--exemplar-count", 3), "--exemplar-count is for --classes visual"),
        (("coco-panoptic", "--classes", "descriptions"), "--classes descriptions needs --descriptions"),
        (("coco-panoptic", "--instances", "annotations/panoptic_val2017.json"), "not of the form of COCO instances"),
    ],
    ids=lambda words: " ".join(map(str, words[:3])) if isinstance(words, tuple) else "",
)
def test_an_option_that_would_do_nothing_or_misses_its_file_is_one_line(run, coco, words, said):
    status, _, err = run(words[0], "--coco", coco, *words[1:])
    assert status == 1 and said in err and len(err.splitlines()) == 1


def test_true_and_false_premises_are_measured_each_by_its_own_command(run, photo, tmp_path):
    sentences = [{"sent": "red", "is_false_premise": False}]
    rows = [{"ann_id": 1, "image_id": 5, "split": "val", "sentences": sentences}]
    instances = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 64, "width": 96}],
        "annotations": [{"id": 1, "image_id": 5, "segmentation": [[0, 0, 40, 0, 40, 40, 0, 40]]}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    refs = tmp_path / "refs.json"
    refs.write_text(json.dumps(rows))
    status, _, err = run("fp-refcoco", "--refs", refs, "--photos", photo.parent)
    assert status == 1 and "expected false premises too" in err and len(err.splitlines()) == 1
    sentences.append({"sent": "kite", "is_false_premise": True})
    refs.write_text(json.dumps(rows))
    status, _, err = run("refcoco", "--refs", refs, "--photos", photo.parent)
    assert status == 1 and "measure this one by fp-refcoco --set refcoco" in err and len(err.splitlines()) == 1
    assert figures(run("fp-refcoco", "--refs", refs, "--photos", photo.parent, "--json"))["figures"]["absent"] == 1
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps({"images": [], "annotations": [{"image_id": 5}]}))
    status, _, err = run("fp-refcoco", "--refs", refs, "--instances", wrong, "--photos", photo.parent)
    assert status == 1 and f"{wrong} is not of the form of COCO instances" in err


def test_the_help_names_the_benchmarks_and_a_wrong_word_is_a_pack(run):
    status, out, _ = run("--help")
    assert status == 0 and all(name in out for name in ("pack", "find-bench", "fp-refcoco", "voc-interactive"))
    status, _, err = run("nothing.tar")
    assert status == 1 and "nothing.tar" in err
