"""FIND-like models as subjects: what a benchmark is told is what their own functions say, at the photo's size."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interleave_index.evaluation.published import Run, Sizes, find_like, generic, grounding, retrieval, subject_of
from interleave_index.evaluation.published.coco import read_panoptic
from interleave_index.evaluation.published.entity import Asked, Exemplar, read_entities
from interleave_index.evaluation.published.find_like import Canvas, FindSubject, PublishedSubject
from interleave_index.evaluation.published.subject import PlainSubject, Subject
from interleave_index.interface.find import tasks
from interleave_index.interface.find.model import FindModel, MiniConfig
from interleave_index.interface.published.model import PublishedModel
from interleave_index.interface.published.network import PublishedNetwork
from interleave_index.interface.published.text import Prompter, TextCache
from interleave_index.interface.toy import ToyInterface
from interleave_index.models.text.language import TokenStates
from interleave_index.models.text.tower import train_tokenizer
from interleave_index.records import RGB

SIZES = Sizes(64, 96)


@pytest.fixture(scope="module")
def network() -> FindModel:
    torch.manual_seed(1)
    config = MiniConfig(
        side=64,
        vision={"widths": [32, 32, 32, 32], "depths": [1, 1, 1, 1], "width": 32, "heads": 4, "ffn": 32, "layers": 1},
        text={"width": 32, "heads": 2, "ffn": 32, "layers": 1},
        interface={
            "width": 32,
            "features": 32,
            "heads": 4,
            "ffn": 32,
            "layers": 3,
            "object_queries": 6,
            "text_width": 32,
            "memories": 4,
            "most_points": 16,
        },
    )
    tokenizer = train_tokenizer(["a red dog on white", "the green square beside black and blue"] * 3, size=120)
    return FindModel(config, tokenizer).eval().requires_grad_(False)


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
    return PublishedModel(net, Prompter(cache, net.predictor.project_text, context=77, class_context=150))


@pytest.fixture(params=["find-mini", "published"])
def subject(request: pytest.FixtureRequest, network: FindModel, published: PublishedModel) -> Subject:
    facts = {"interface": request.param}
    return FindSubject(network, facts) if request.param == "find-mini" else PublishedSubject(published, facts)


@pytest.fixture
def photo() -> RGB:
    return np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)


def test_every_question_is_answered_at_the_size_of_the_photo(subject: Subject, photo: RGB) -> None:
    look = subject.look(photo, SIZES)
    image, objects = look.vectors()
    assert image.shape == (32,) and objects.shape[1] == 32 and np.isfinite(objects).all()
    assert look.ground(["a red dog", "white"]).shape == (2, 50, 70) and look.ground([]).shape == (0, 50, 70)
    mask = np.zeros((50, 70), bool)
    mask[10:30, 10:40] = True
    shown = Exemplar(photo, mask)
    asked = Asked("a [INTERACTIVE] on white", ((2, 15), (19, 24)), (shown, None))
    assert look.ground_sentence(asked).shape == (2, 50, 70)
    legend, phrases = subject.sentence(asked)
    assert legend.shape == (32,) and phrases.shape == (2, 32)
    prompts = np.stack([mask, ~mask])
    first, memory = look.interact(prompts, np.zeros_like(prompts))
    again, _ = look.interact(prompts, ~prompts, memory)
    assert first.shape == again.shape == (2, 50, 70) and first.dtype == np.bool_
    for table in (
        subject.classes(["red", "white", "dog"]),
        subject.classes([shown, shown, shown]),
        subject.classes(["a red thing.", "what is white.", "a dog."], descriptions=True),
    ):
        assert table.shape == (4, 32)  # background is added
        found = look.segment(table, {0, 2})
        assert found.semantic.shape == found.ids.shape == (50, 70) and set(np.unique(found.semantic)) <= {0, 1, 2}
        assert {one.category for one in found.instances} <= {0, 2}
    assert subject.captions(["a dog", "white"]).shape == subject.phrases(["a dog", "white"]).shape == (2, 32)


def test_all_proposals_take_part(network: FindModel, published: PublishedModel, photo: RGB) -> None:
    mini = FindSubject(network, {})
    assert len(mini.look(photo, SIZES).vectors()[1]) == 6 and mini.facts["asked"] == "all 6 proposals"
    whole = PublishedSubject(published, {})
    assert len(whole.look(photo, SIZES).vectors()[1]) == 12 and whole.facts["asked"] == "all 12 proposals"


def test_masks_are_those_of_the_tasks(network: FindModel, photo: RGB) -> None:
    subject = FindSubject(network, {})
    pixels = subject.canvas.pixels(photo)
    direct = tasks.ground(network, network.pyramid(pixels), [["a red dog"]])[0][0].mask
    grown = torch.nn.functional.interpolate(direct[None, None], (50, 70), mode="bilinear", align_corners=False)[0] > 0
    assert (subject.look(photo, SIZES).ground(["a red dog"]) == grown.numpy()).all()


def test_the_subject_fits_the_interface(network: FindModel, published: PublishedModel) -> None:
    class Mini(ToyInterface):
        pass

    mini, whole = Mini(), Mini()
    mini.network, whole.model = network, published  # type: ignore[attr-defined]
    assert isinstance(subject_of(mini), FindSubject)
    for replay in (True, False):
        found = subject_of(whole, published_protocol=replay)
        assert isinstance(found, PublishedSubject)
        assert found.facts["published_protocol"] is published.published_protocol is replay
    assert type(subject_of(ToyInterface())) is PlainSubject
    assert find_like.subject_of(ToyInterface()) is None


@pytest.mark.parametrize("padded", [False, True])
def test_masks_come_back_from_the_canvas_where_they_were(padded: bool) -> None:
    canvas, mask = Canvas(64, padded), np.zeros((40, 100), bool)
    mask[10:30, 20:60] = True
    logits = torch.where(canvas.prompt(mask), 4.0, -4.0)[None]
    back = (canvas.back(logits, (40, 100)) > 0).numpy()[0]
    assert (back & mask).sum() / (back | mask).sum() > 0.85  # up to a cell of the canvas at its edges
    tiny = np.zeros((40, 100), bool)
    tiny[0, 99] = True
    assert canvas.prompt(tiny).any() and canvas.pixels(np.zeros((40, 100, 3), np.uint8)).shape == (1, 3, 64, 64)
    assert canvas.back(logits[:0], (40, 100)).shape == (0, 40, 100)


@pytest.mark.slow
def test_every_benchmark_runs_over_a_model(subject: Subject, coco: Path) -> None:
    panoptic, entities = read_panoptic(coco), read_entities(coco / "annotations" / "interleave_val2017.json")
    benchmarks: list[Any] = [
        grounding.FindBenchGrounding(entities, panoptic),
        grounding.FindBenchGrounding(entities, panoptic, visual=1.0),
        grounding.FindBenchGrounding(entities, panoptic, visual=1.0, published_protocol=True),
        retrieval.FindBenchText(entities, panoptic),
        retrieval.FindBenchInterleaved(entities, panoptic, visual=1.0),
        generic.CocoPanoptic(panoptic),
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
