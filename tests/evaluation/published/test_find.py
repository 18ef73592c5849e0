"""Released FIND checkpoints as subjects: what a benchmark gets is what the model answers, at the photo's size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interleave_index.evaluation.published import Run, generic, grounding, retrieval, subject_of
from interleave_index.evaluation.published.coco import read_panoptic
from interleave_index.evaluation.published.entity import Exemplar, InterleavedSentence, read_entities
from interleave_index.evaluation.published.find import FindSubject
from interleave_index.interface.calibration import Calibration
from interleave_index.interface.published.answers import Example
from interleave_index.interface.published.interface import PublishedFind
from interleave_index.interface.published.model import PublishedModel
from interleave_index.interface.published.network import PublishedNetwork
from interleave_index.interface.published.text import PublishedPrompter, TextCache
from interleave_index.interface.registry import load
from interleave_index.models.text.language import TokenStates
from interleave_index.records import RGB, Space


class _Words:
    """A language tower without weights: a state depends on the word alone."""

    width = 48

    def states(self, texts: Sequence[str], context: int, *, tail: int = 0) -> list[TokenStates]:
        found = []
        for text in texts:
            spans, at = [(0, 0)], 0
            for word in text.split():
                start = text.index(word, at)
                at = start + len(word)
                spans.append((start, at))
            rows = [
                torch.randn(self.width, generator=torch.Generator().manual_seed(sum(text[a:b].encode())))
                for a, b in spans
            ]
            found.append(TokenStates(torch.stack(rows)[:context], torch.tensor(spans)[:context]))
        return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, toys: Any) -> PublishedModel:
    sizes = toys.tiny_sizes()
    state = toys.random_state(sizes)
    net = PublishedNetwork(sizes)
    net.load_state_dict({name: value for name, value in state.items() if name in net.state_dict()})
    cache = TextCache(tmp_path_factory.mktemp("text"), "words", lambda: _Words())
    net = net.eval().requires_grad_(False)
    return PublishedModel(net, PublishedPrompter(cache, net.predictor.project_text, context=77, class_context=150))


@pytest.fixture
def subject(published: PublishedModel) -> FindSubject:
    space = Space("published", "random", "none", 32)
    bank = np.eye(4, 32, dtype=np.float32)
    return FindSubject(PublishedFind(published, space, torch.zeros(2, 32), Calibration(bank, bank, bank, bank)))


@pytest.fixture
def photo() -> RGB:
    return np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)


def test_every_question_is_answered_at_the_size_of_the_photo(subject: FindSubject, photo: RGB) -> None:
    image, objects = subject.vectors(photo)
    assert image.shape == (32,) and objects.shape == (12, 32) and np.isfinite(objects).all()
    assert subject.facts["asked"] == "all 12 proposals"
    for together in (True, False):
        assert subject.ground(photo, ["a red dog", "white"], together=together).shape == (2, 50, 70)
    mask = np.zeros((50, 70), bool)
    mask[10:30, 10:40] = True
    shown = Exemplar(photo, mask)
    asked = InterleavedSentence("a [INTERACTIVE] on white", ((2, 15), (19, 24)), (shown, None))
    assert subject.ground_sentence(photo, asked).shape == (2, 50, 70)
    legend, phrases = subject.sentence(asked)
    assert legend.shape == (32,) and phrases.shape == (2, 32)
    prompts = np.stack([mask, ~mask])
    first, memory = subject.interact(photo, prompts, np.zeros_like(prompts))
    again, _ = subject.interact(photo, prompts, ~prompts, memory)
    assert first.shape == again.shape == (2, 50, 70) and first.dtype == np.bool_
    for table in (
        subject.classes(["red", "white", "dog"]),
        subject.shown_classes([[shown], [shown, shown], [shown]]),
        subject.classes(["a red thing.", "what is white.", "a dog."], descriptions=True),
    ):
        assert table.shape == (4, 32)  # background is added
        answer = subject.segment(photo, table, {0, 2})
        assert answer.semantic.shape == answer.panoptic.ids.shape == (50, 70)
        assert set(np.unique(answer.semantic)) <= {0, 1, 2}
        assert {instance.category for instance in answer.instances} <= {0, 2}
    assert subject.captions(["a dog", "white"]).shape == (2, 32)
    composed = subject.composed(photo, "but red")
    whole = Exemplar(photo, np.ones((50, 70), bool))
    wanted, _ = subject.sentence(InterleavedSentence("[INTERACTIVE] but red", ((0, 13),), (whole,)))
    assert (composed == wanted).all() and np.abs(composed - subject.composed(photo, "a dog")).max() > 1e-4


def test_parts_of_a_photo_have_the_vectors_of_what_a_click_there_selects(
    subject: FindSubject, published: PublishedModel, photo: RGB
) -> None:
    masks = np.zeros((2, *photo.shape[:2]), bool)
    masks[0, :20, :20], masks[1, 30:, 40:] = True, True
    view = published.view(photo, short=640, long=1024)
    wanted = published.encode_examples([Example(view, mask) for mask in masks]).numpy()
    assert np.allclose(subject.segment_vectors(photo, masks), wanted, atol=1e-5) and wanted.shape == (2, 32)


def test_masks_are_those_of_the_model_at_the_sides_of_the_task(
    subject: FindSubject, published: PublishedModel, photo: RGB
) -> None:
    view = published.view(photo, short=512, long=1024)
    answer = published.ground(view, ["a red dog"])[0].mask
    assert (subject.ground(photo, ["a red dog"], together=False)[0] == answer).all()


def test_an_imported_checkpoint_is_asked_with_all_its_proposals(toys: Any, tmp_path: Path) -> None:
    interface = load(str(toys.imported_model(tmp_path)), device="cpu")
    for replayed in (True, False):
        subject = subject_of(interface, published_protocol=replayed)
        assert isinstance(subject, FindSubject) and subject.interface is interface
        assert subject.facts["interface"] == interface.space.interface == "tiny"
        assert subject.facts["published_protocol"] is subject.model.published_protocol is replayed


@pytest.mark.slow
def test_every_benchmark_runs_over_a_model(subject: FindSubject, coco: Path) -> None:
    panoptic, entities = read_panoptic(coco), read_entities(coco / "annotations" / "interleave_val2017.json")
    benchmarks: list[Any] = [
        grounding.find_bench_grounding(entities, panoptic),
        grounding.find_bench_grounding(entities, panoptic, visual=1.0),
        grounding.find_bench_grounding(entities, panoptic, visual=1.0, published_protocol=True),
        retrieval.find_bench_text(entities, panoptic),
        retrieval.find_bench_interleaved(entities, panoptic, visual=1.0),
        generic.coco_panoptic(panoptic),
    ]
    for benchmark in benchmarks:
        report = Run()(benchmark, subject)
        assert report["n"] == 3 and all(np.isfinite(value) for value in report["figures"].values())


@pytest.mark.slow
def test_an_imported_checkpoint_is_measured_by_its_name(
    coco: Path, toys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from interleave_index.cli import main

    folder = toys.imported_model(tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(
            [
                "evaluate",
                "find-bench",
                "--coco",
                str(coco),
                "--part",
                "grounding",
                "--published-protocol",
                "--json",
                "--model",
                str(folder),
                "--device",
                "cpu",
            ]
        )
    out, err = capsys.readouterr()
    assert not end.value.code, err
    (report,) = json.loads(out)["benchmarks"]
    assert report["model"]["interface"] == "tiny" and report["model"]["asked"] == "all 12 proposals"
    assert report["model"]["published_protocol"] is True and report["settings"]["published_protocol"] is True
    assert {one["model"] for one in report["published"]} >= {"FIND Focal-T", "FIND Focal-L"}
