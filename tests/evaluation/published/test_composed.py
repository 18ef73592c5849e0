"""Composed retrieval over small files in the official forms: every figure by hand, and the files for the servers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interleave_index.cli import main
from interleave_index.errors import InputError
from interleave_index.evaluation.published import Run, Subject, composed
from interleave_index.evaluation.published.composed_files import read_circo, read_cirr, read_fashioniq
from interleave_index.evaluation.published.files import read_photo
from interleave_index.grammar import Query
from interleave_index.interface.protocol import Interface
from interleave_index.interface.registry import load
from interleave_index.interface.toy import ToyInterface
from interleave_index.query.resolve import resolve
from interleave_index.records import RGB, Floats
from tests.models import tiny


class Dial(Subject):
    """Photos and texts are angles: a photo by the value of its pixels, a text by its first number. Nearer is better."""

    def __init__(self) -> None:
        super().__init__(ToyInterface())
        self.asked: list[tuple[int, str]] = []

    def views(self, photo: RGB) -> Floats:
        return _at(float(photo[0, 0, 0]))[None]

    def composed(self, photo: RGB, text: str) -> Floats:
        self.asked.append((int(photo[0, 0, 0]), text))
        (number,) = re.findall(r"\d+", text)[:1]
        return _at(float(number))


def _at(degrees: float) -> Floats:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


def draw(path: Path, degrees: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 3, 3), degrees, np.uint8)).save(path, "PNG")


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


# --- CIRR ------------------------------------------------------------------------------------

CIRR_PHOTOS = {"A": 10, "B": 20, "C": 30, "D": 40, "E": 50, "F": 60, "G": 70}


def write_cirr(root: Path, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
    for name, degrees in CIRR_PHOTOS.items():
        draw(root / "dev" / f"{name}.png", degrees)
    write(root / "cirr" / "image_splits" / f"split.rc2.{split}.json", {n: f"./dev/{n}.png" for n in CIRR_PHOTOS})
    write(root / "cirr" / "captions" / f"cap.rc2.{split}.json", rows)


def cirr_row(pair: int, reference: str, text: str, target: str | None, members: str) -> dict[str, Any]:
    row = {"pairid": pair, "reference": reference, "caption": text, "img_set": {"id": 1, "members": list(members)}}
    return row if target is None else {**row, "target_hard": target, "target_soft": {target: 1.0}}


CIRR_ROWS = [
    cirr_row(12063, "A", "as 34", "E", "ABEFGD"),  # C D B E [A] F G: rank 4; of the subset D B E F G: 3
    cirr_row(5, "C", "as 12", "B", "CBGFED"),  # A B [C] D ...: rank 2; of the subset B D E F G: 1
    cirr_row(77, "G", "as 70", "A", "GABCDE"),  # [G] F E D C B A: rank 6; of the subset E D C B A: 5
]


def test_cirr_leaves_the_reference_out_and_ranks_the_subset_by_itself(tmp_path: Path) -> None:
    write_cirr(tmp_path, "val", CIRR_ROWS)
    subject = Dial()
    report = Run()(composed.cirr("val", read_cirr(tmp_path)), subject)
    third = 100 / 3
    assert report["figures"] == pytest.approx(
        {
            "R@1": 0,
            "R@5": 2 * third,
            "R@10": 100,
            "R@50": 100,
            "R_subset@1": third,
            "R_subset@2": third,
            "R_subset@3": 2 * third,
            "average": 50,
            "n": 3,
            "photos": 7,
        }
    )
    assert (report["n"], report["complete"]) == (3, True)
    assert subject.asked == [(10, "as 34"), (30, "as 12"), (70, "as 70")]


def test_cirr_writes_both_files_of_its_server_and_tells_no_figure_without_truths(tmp_path: Path) -> None:
    write_cirr(tmp_path, "test1", [cirr_row(12063, "A", "as 34", None, "ABEFGD")])
    file = tmp_path / "mine.json"
    figures = Run()(composed.cirr("test1", read_cirr(tmp_path, "test1"), file), Dial())["figures"]
    assert figures == {"n": 1, "photos": 7}
    assert json.loads(file.read_text()) == {"version": "rc2", "metric": "recall", "12063": list("CDBEFG")}
    subset = json.loads((tmp_path / "mine_subset.json").read_text())
    assert subset == {"version": "rc2", "metric": "recall_subset", "12063": list("DBE")}


def test_a_trial_measures_the_photos_that_its_queries_name(tmp_path: Path) -> None:
    rows = [cirr_row(1, "A", "as 34", "B", "ABCAAA"), cirr_row(2, "G", "as 70", "F", "GFEGGG")]
    write_cirr(tmp_path, "val", rows)
    report = Run(limit=1)(composed.cirr("val", read_cirr(tmp_path)), Dial())
    assert (report["n"], report["complete"]) == (1, False)
    assert report["figures"]["photos"] == 3 and report["figures"]["n"] == 1
    assert report["figures"]["R@1"] == 0 and report["figures"]["R@5"] == 100  # C before B


def test_a_stopped_run_reads_no_photo_twice(tmp_path: Path) -> None:
    write_cirr(tmp_path / "data", "val", CIRR_ROWS)
    benchmark = composed.cirr("val", read_cirr(tmp_path / "data"))
    first = Run(work=tmp_path / "work")(benchmark, Dial())
    again = Dial()
    assert Run(work=tmp_path / "work")(benchmark, again)["figures"] == first["figures"] and again.asked == []


# --- CIRCO -----------------------------------------------------------------------------------


def write_circo(root: Path, split: str, rows: Sequence[Mapping[str, Any]]) -> None:
    folder, images = root / "COCO2017_unlabeled", []
    for degrees in range(0, 100, 10):
        name = f"{100 + degrees:012d}.jpg"
        draw(folder / "unlabeled2017" / name, degrees)
        images.append({"id": 100 + degrees, "file_name": name, "height": 2, "width": 3})
    write(folder / "annotations" / "image_info_unlabeled2017.json", {"images": images})
    write(root / "annotations" / f"{split}.json", rows)


def circo_row(number: int, text: str, truths: Sequence[int] = (), aspects: Sequence[str] = ()) -> dict[str, Any]:
    row = {"id": number, "reference_img_id": 150, "relative_caption": text, "shared_concept": "a dial"}
    told = {"target_img_id": truths[0], "gt_img_ids": list(truths)} if truths else {}
    return row | told | ({"semantic_aspects": list(aspects)} if aspects else {})


def test_circo_counts_all_truths_of_a_query_and_the_first_alone(tmp_path: Path) -> None:
    rows = [
        circo_row(0, "as 0", (100, 120, 190), ["addition"]),  # right at 1, 3, 10
        circo_row(1, "as 90", (180,), ["addition", "negation"]),  # right at 2
    ]
    write_circo(tmp_path, "val", rows)
    figures = Run()(composed.circo("val", read_circo(tmp_path)), Dial())["figures"]
    at_5, at_10 = (1 + 2 / 3) / 3, (1 + 2 / 3 + 3 / 10) / 3
    assert figures["mAP@5"] == pytest.approx(100 * (at_5 + 1 / 2) / 2)
    assert figures["mAP@10"] == figures["mAP@25"] == figures["mAP@50"] == pytest.approx(100 * (at_10 + 1 / 2) / 2)
    assert figures["mAP@10 addition"] == pytest.approx(figures["mAP@10"]) and figures["mAP@10 negation"] == 50
    assert figures["R@5"] == 100 and (figures["n"], figures["photos"]) == (2, 10)


def test_circo_asks_for_no_more_truths_than_fit_and_keeps_the_reference(tmp_path: Path) -> None:
    write_circo(tmp_path, "val", [circo_row(0, "as 50", (140, 160, 130, 170, 120, 180))])
    figures = Run()(composed.circo("val", read_circo(tmp_path)), Dial())["figures"]
    # the reference at 50 is first and wrong; then 40, 60, 30, 70 by their order, all right: 1/2 + 2/3 + 3/4 + 4/5 of 5
    assert figures["mAP@5"] == pytest.approx(100 * (1 / 2 + 2 / 3 + 3 / 4 + 4 / 5) / 5)


def test_circo_writes_the_file_of_its_server(tmp_path: Path) -> None:
    write_circo(tmp_path, "test", [circo_row(3, "as 0")])
    file = tmp_path / "mine.json"
    assert Run()(composed.circo("test", read_circo(tmp_path, "test"), file), Dial())["figures"] == {
        "n": 1,
        "photos": 10,
    }
    assert json.loads(file.read_text()) == {"3": list(range(100, 200, 10))}


# --- FashionIQ -------------------------------------------------------------------------------


def write_fashioniq(root: Path) -> None:
    for kind, start in (("dress", 0), ("shirt", 100), ("toptee", 200)):
        listed = []
        for degrees in range(start, start + 24, 2):
            name = f"{kind}{degrees}"
            draw(root / "images" / (f"{name}.png" if degrees % 4 else f"{name}.jpg"), degrees)
            listed.append(name)
        write(root / "image_splits" / f"split.{kind}.val.json", listed)
        target = f"{kind}{start + 20}" if kind == "dress" else f"{kind}{start}"
        captions = [f"is more like {start}.", "and Longer, "]
        row = {"target": target, "candidate": f"{kind}{start + 6}", "captions": captions}
        write(root / "captions" / f"cap.{kind}.val.json", [row])


def test_fashioniq_has_both_galleries_and_the_mean_of_its_kinds(tmp_path: Path) -> None:
    write_fashioniq(tmp_path)
    kinds = {kind: read_fashioniq(tmp_path, kind) for kind in ("dress", "shirt", "toptee")}
    subject = Dial()
    report = Run()(composed.fashioniq("val", kinds), subject)
    figures = report["figures"]
    # the dress is the eleventh of the twelve that are listed, and the second of the two in its pair
    assert (figures["R@10 dress"], figures["R@50 dress"], figures["pairs R@10 dress"]) == (0, 100, 100)
    assert (figures["R@10 shirt"], figures["R@10 toptee"]) == (100, 100)
    assert figures["R@10"] == pytest.approx(200 / 3) and figures["R@50"] == figures["pairs R@10"] == 100
    assert (figures["n"], figures["photos"], report["n"]) == (3, 36, 3)
    assert subject.asked[0] == (6, "is more like 0 and and Longer")  # joined without the signs around each


# --- readers, the query language, the command ------------------------------------------------


def test_files_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    write_cirr(tmp_path, "val", [cirr_row(1, "A", "x", "Z", "ABCDEF")])
    with pytest.raises(InputError, match="query 1 names photo 'Z', which its split does not list"):
        read_cirr(tmp_path)
    write_circo(tmp_path, "val", [{**circo_row(4, "x", (110, 120)), "target_img_id": 120}])
    with pytest.raises(InputError, match="query 4 has the target 120, expected the first of its truths"):
        read_circo(tmp_path)
    write(tmp_path / "annotations" / "val.json", [circo_row(1, "x", (110,)), circo_row(2, "x")])
    with pytest.raises(InputError, match="some of its queries only"):
        read_circo(tmp_path)
    write(tmp_path / "annotations" / "val.json", [{"id": 1}])
    with pytest.raises(InputError, match="not of the form of CIRCO: KeyError"):
        read_circo(tmp_path)
    write(tmp_path / "annotations" / "val.json", [])
    with pytest.raises(InputError, match="has no query"):
        read_circo(tmp_path)
    with pytest.raises(InputError, match=r"cap\.dress\.test\.json cannot be read"):
        read_fashioniq(tmp_path, "dress", "test")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Interface:
    folder = tiny.save(tmp_path_factory.mktemp("models") / "clip", "clip")
    return load(str(folder), device="cpu", proposals="none")


@pytest.mark.parametrize("interface", ["toy", "clip"])
def test_a_query_is_that_of_the_query_language(
    interface: str, clip: Interface, tmp_path: Path, coco: Path, request: pytest.FixtureRequest
) -> None:
    subject = Subject(ToyInterface() if interface == "toy" else clip)
    file, text = coco / "val2017" / "000000000001.jpg", "is blue, not red [as here]"
    written = Query.parse(f"[image:{file}] is blue, not red \\[as here\\]")
    parts = resolve(written, None, 0, lambda source: read_photo(Path(str(source)))).parts
    legend = subject.interface.encode_query(parts).legend
    assert np.allclose(subject.composed(read_photo(file), text), legend, atol=1e-6)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *map(str, words), "--model", "toy"])
        return int(end.value.code or 0), *capsys.readouterr()

    return run


@pytest.mark.parametrize("name", ["cirr", "circo", "fashioniq"])
@pytest.mark.parametrize(
    "option",
    [("--seed", 3), ("--grounders", "tiny-sam"), ("--published-protocol",), ("--answers", "free")],
    ids=lambda option: option[0],
)
def test_options_that_would_change_nothing_are_not_taken(
    name: str, option: tuple[Any, ...], tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = call(name, tmp_path, *option)
    assert status == 2 and f"No such option: {option[0]}" in err


@pytest.mark.parametrize(
    ("name", "split", "splits"),
    [
        ("cirr", "foo", "'val', 'train', 'test1'"),
        ("circo", "test1", "'val', 'test'"),
        ("fashioniq", "test", "'val', 'train'"),
    ],
)
def test_a_split_that_a_set_does_not_have_is_answered_with_those_that_it_has(
    name: str, split: str, splits: str, tmp_path: Path, call: Callable[..., tuple[int, str, str]]
) -> None:
    status, _, err = call(name, tmp_path, "--split", split)
    assert status == 2 and f"'{split}' is not one of {splits}" in err


def test_the_command_wants_a_file_where_there_are_no_truths_and_goes_over_none_unasked(
    tmp_path: Path, call: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_circo(tmp_path, "test", [circo_row(3, "red")])
    status, _, err = call("circo", tmp_path, "--split", "test")
    assert status == 1 and "circo test has no truths but on its server" in err and len(err.splitlines()) == 1
    words = ("circo", tmp_path, "--split", "test", "--submission", "mine.json")
    assert call(*words)[0] == 0 and len(json.loads(Path("mine.json").read_text())["3"]) == 10
    status, _, err = call(*words)
    assert status == 1 and "exists already" in err
    assert call(*words, "--overwrite")[0] == 0
