"""Files of FIND's benchmark that are made here: references of phrases, and descriptions of classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interleave_index.errors import InputError
from interleave_index.evaluation.published import Subject, descriptions, references
from interleave_index.evaluation.published.coco import PanopticSet, read_panoptic
from interleave_index.evaluation.published.entity import Reference, read_entities
from interleave_index.geometry import unit
from interleave_index.interface.published.classes import COCO_PANOPTIC
from interleave_index.interface.toy import ToyInterface

Run = Callable[..., Any]


# --- references ------------------------------------------------------------------------------


def test_the_most_alike_is_the_nearest_of_another_photo() -> None:
    angles = {(1, 10): 0.0, (1, 11): 0.1, (2, 20): 1.0, (3, 30): 0.4, (3, 31): 2.0}
    vectors = {place: np.array([np.cos(a), np.sin(a)], np.float32) for place, a in angles.items()}
    found = references.most_alike([(1, 10), (3, 31)], list(angles), vectors)
    assert {place: other for place, (other, _) in found.items()} == {(1, 10): (3, 30), (3, 31): (2, 20)}
    assert found[1, 10][1] == pytest.approx(np.cos(0.4), abs=1e-6)
    assert references.most_alike([(1, 10)], [(1, 10), (1, 11)], vectors) == {}


@pytest.fixture
def panoptic(coco: Path) -> PanopticSet:
    return read_panoptic(coco)


@pytest.fixture
def entity(panoptic: PanopticSet, coco: Path, tmp_path: Path) -> Path:
    """The sentences of the small set, with a field of its own in a phrase that must stay."""
    content = json.loads((coco / "annotations" / "entity_val2017.json").read_text())
    content["annotations"][0]["phrase"][0]["phrase_raw"] = "kept"
    path = tmp_path / "entity_val2017.json"
    path.write_text(json.dumps(content))
    return path


def test_phrases_are_tied_to_the_most_alike_segment_of_their_class(
    entity: Path, panoptic: PanopticSet, tmp_path: Path
) -> None:
    subject = Subject(ToyInterface())
    linked = references.link_references(entity, panoptic, subject, tmp_path / "work")
    classes = {(photo, s.id): s.category for photo, rows in panoptic.segments.items() for s in rows if not s.crowd}
    vectors = {}
    for photo, number in classes:
        mask = panoptic.mask(photo, number)
        vectors[photo, number] = unit(subject.segment_vectors(panoptic.photos[photo].rgb(), mask[None])[0])
    tied = 0
    for row in linked.content["annotations"]:
        for phrase in row["phrase"]:
            own = int(row["image_id"]), int(phrase["annotation_id"])
            others = [p for p, kind in classes.items() if own in classes and kind == classes[own] and p[0] != own[0]]
            if not others:
                assert "reference" not in phrase  # a group, or the only one of its class
                continue
            reference = phrase["reference"]
            cosine = vectors[own] @ vectors[reference["image_id"], reference["annotation_id"]]
            assert (reference["image_id"], reference["annotation_id"]) in others
            assert cosine == pytest.approx(max(vectors[own] @ vectors[p] for p in others), abs=2e-3)
            assert reference["prob"] == pytest.approx(cosine, abs=2e-3)
            tied += 1
    assert tied == linked.linked > 0 and linked.phrases > linked.linked
    assert linked.content["annotations"][0]["phrase"][0]["phrase_raw"] == "kept"


def test_many_parts_of_a_photo_are_asked_for_in_several_queries() -> None:
    lengths: list[int] = []

    class Counting(ToyInterface):
        def encode_query(self, query: Any) -> Any:
            lengths.append(len(query))
            return super().encode_query(query)

    photo = np.zeros((20, 20, 3), np.uint8)
    photo[:, :10, 0], photo[:, 10:, 2] = 220, 220
    masks = np.zeros((19, 20, 20), bool)
    for number in range(19):
        masks[number, number, :10] = number % 2 == 0
        masks[number, number, 10:] = number % 2 == 1
    vectors = Subject(Counting()).segment_vectors(photo, masks)
    assert len(vectors) == 19 and lengths == [8, 8, 3]
    assert np.allclose(vectors[::2], vectors[0]) and np.allclose(vectors[1::2], vectors[1])
    assert not np.allclose(vectors[0], vectors[1])


def test_a_stopped_run_goes_on_and_another_model_is_refused(
    entity: Path, panoptic: PanopticSet, tmp_path: Path
) -> None:
    seen: list[int] = []

    class Counting(Subject):
        def segment_vectors(self, photo: Any, masks: Any) -> Any:
            seen.append(len(masks))
            return super().segment_vectors(photo, masks)

    first = references.link_references(entity, panoptic, Counting(ToyInterface()), tmp_path / "work")
    count = len(seen)
    again = references.link_references(entity, panoptic, Counting(ToyInterface()), tmp_path / "work")
    assert len(seen) == count > 0 and again == first
    other = Counting(ToyInterface())
    other.facts["asked"] = "otherwise"
    with pytest.raises(InputError, match="other model"):
        references.link_references(entity, panoptic, other, tmp_path / "work")


def test_the_command_writes_a_file_that_is_read_as_the_published_one(
    run: Run, coco: Path, entity: Path, tmp_path: Path
) -> None:
    words = ("evaluate", "make-references", "--coco", coco, "--entity", entity, "--model", "toy")
    status, out, err = run(*words, "--out", tmp_path / "interleave.json", "--json")
    assert status == 0, err
    facts = json.loads(out)
    found = read_entities(tmp_path / "interleave.json")
    tied = [phrase.reference for rows in found.values() for one in rows for phrase in one.phrases if phrase.reference]
    assert facts == {"file": str(tmp_path / "interleave.json"), "phrases": facts["phrases"], "linked": len(tied)}
    assert all(isinstance(one, Reference) for one in tied)
    status, _, err = run(*words, "--out", tmp_path / "interleave.json")
    assert status == 1 and "exists already" in err
    words = ("evaluate", "make-references", "--coco", coco, "--entity", tmp_path / "no.json", "--model", "toy")
    status, _, err = run(*words, "--out", tmp_path / "other.json")
    assert status == 1 and "no.json cannot be read" in err


# --- descriptions ----------------------------------------------------------------------------


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """Every class of COCO as WordNet keeps nouns, with as many senses as are needed."""
    folder = tmp_path / "dict"
    folder.mkdir()
    wanted = [descriptions.SENSES.get(name, (descriptions.plain_name(name), 1)) for name in COCO_PANOPTIC]
    index, data = list[str](), list[str]()
    licence = "  1 This software and database is being provided to you\n"
    for noun in dict.fromkeys(noun for noun, _ in wanted):
        most = max(sense for own, sense in wanted if own == noun)
        offsets = [f"{len(data) + sense:08d}" for sense in range(1, most + 1)]
        word = noun.replace(" ", "_")
        index.append(f"{word} n {most} 2 @ ~ {most} 1 {' '.join(offsets)}  \n")
        for sense, offset in enumerate(offsets, 1):
            gloss = f'sense {sense} of {len(noun)} letters; more of it; "an example, with words"  '
            data.append(f"{offset} 06 n 01 {word} 0 001 @ 00001740 n 0000 | {gloss}\n")
    (folder / "index.noun").write_text(licence + "".join(index))
    (folder / "data.noun").write_text(licence + "".join(data))
    return folder


def test_glosses_describe_all_classes_by_the_sense_that_is_meant(wordnet: Path) -> None:
    made = descriptions.wordnet_descriptions(wordnet)
    assert tuple(made) == COCO_PANOPTIC
    assert made["mouse"] == "Sense 4 of 5 letters; more of it." and made["dog"].startswith("Sense 1 of 3")
    assert made["wall-brick"].startswith("Sense 1 of 9") and made["sky-other-merged"].startswith("Sense 1 of 3")
    assert set(descriptions.SENSES) <= set(COCO_PANOPTIC)
    (wordnet / "index.noun").write_text("dog n 1 0 1 0 00000001\n")
    with pytest.raises(InputError, match=r"has no sense 1 of 'person', expected WordNet 3\.0"):
        descriptions.wordnet_descriptions(wordnet)


def _constants(path: Path, sentences: list[str], names: list[str]) -> Path:
    path.write_text(
        f"raise SystemExit  # it is never run\nCOCO_PANOPTIC_CLASSES = {names!r}\nCOCO_DESCRIPTION = {sentences!r}\n"
    )
    return path


def test_published_sentences_are_taken_out_of_a_file_that_is_never_run(tmp_path: Path) -> None:
    names = [descriptions.plain_name(name) for name in COCO_PANOPTIC]
    path = _constants(tmp_path / "constants.py", [f"what number {n} is" for n in range(133)], names)
    made = descriptions.published_descriptions(path)
    assert made["person"] == "what number 0 is" and made["rug-merged"] == "what number 132 is" and len(made) == 133
    for sentences, wanted, message in (
        ([], names, "0 descriptions of 133 classes"),
        (["a"] * 133, names[::-1], "expected one of each of COCO's 133 in their order"),
    ):
        with pytest.raises(InputError, match=message):
            descriptions.published_descriptions(_constants(tmp_path / "other.py", sentences, wanted))
    (tmp_path / "other.py").write_text("COCO_DESCRIPTION = open('x').read()\n")
    with pytest.raises(InputError, match="no Python file with a list COCO_DESCRIPTION"):
        descriptions.published_descriptions(tmp_path / "other.py")
    (tmp_path / "other.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="has no list COCO_DESCRIPTION"):
        descriptions.published_descriptions(tmp_path / "other.py")


def test_the_command_writes_descriptions_that_the_benchmark_reads(run: Run, wordnet: Path, tmp_path: Path) -> None:
    from interleave_index.evaluation.published.generic import read_descriptions

    status, out, err = run("evaluate", "make-descriptions", "--wordnet", wordnet, "--out", tmp_path / "classes.json")
    assert status == 0, err
    assert "sentences of 133 classes" in out
    assert tuple(read_descriptions(tmp_path / "classes.json")) == COCO_PANOPTIC
    status, _, err = run("evaluate", "make-descriptions", "--out", tmp_path / "two.json")
    assert status == 1 and "one of --constants FILE and --wordnet DIR" in err
