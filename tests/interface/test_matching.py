"""BLIP's image-text matching as a reranker, tiny and random, loaded from a folder as a hub holds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

import transformers

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.errors import ModelError
from interleave_index.interface.dual.matching import BlipMatcher
from interleave_index.interface.registry import load_reranker
from tests.models import tiny_families

TEXT = "a red dog on a bench"


def photos(count):
    """Flat colours with a block of another one each."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        photo = np.empty((60 + 10 * number, 80, 3), np.uint8)
        photo[:], photo[10:40, 20:60] = random.integers(0, 255, (2, 3))
        made.append(photo)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tiny_families.save(tmp_path_factory.mktemp("blip") / "blip-itm", "blip-itm")
    model = transformers.BlipForImageTextRetrieval.from_pretrained(place)
    with torch.no_grad():  # fresh weights are too small to tell photos apart; real ones are not
        for name, weights in model.named_parameters():
            if (weights.ndim > 1 and "embeddings" not in name) or "patch_embedding" in name:
                weights.mul_(20)
    model.save_pretrained(place)
    return place


@torch.no_grad()
def own_chances(folder, text, shown):
    """What the library alone makes of it: its class and its image processor, one photo at a time."""
    model = transformers.BlipForImageTextRetrieval.from_pretrained(folder).eval()
    processor = transformers.BlipImageProcessorPil.from_pretrained(folder)
    tokens = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    words = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    scores = [model(**processor(photo, return_tensors="pt"), **words).itm_score for photo in shown]
    return np.array([float(score.softmax(-1)[0, 1]) for score in scores])


def test_chances_are_those_of_the_models_own_call(folder):
    made, shown = load_reranker(str(folder), device="cpu"), photos(6)
    found = made.scores(tuple(TEXT.split()), [(made.prepare(photo), "words that it does not read") for photo in shown])
    assert np.abs(found - own_chances(folder, TEXT, shown)).max() < 1e-4
    assert np.ptp(found) > 1e-3 and not made.reads_pictures


def test_the_end_of_a_text_that_is_not_read_is_told(folder):
    made = BlipMatcher(folder)
    long = "a red dog " * 100
    cut = made.beyond_context(long)
    assert made.beyond_context(TEXT) == "" and cut and long.endswith(cut)
    photo = (made.prepare(photos(1)[0]),)
    found = [made.scores((words,), [photo])[0] for words in (long, long[: -len(cut)])]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_blip_without_a_matching_head_is_no_reranker(tmp_path):
    with pytest.raises(ModelError, match="holds a model of type 'blip', expected"):
        load_reranker(str(tiny_families.save(tmp_path, "blip")))


def test_an_index_is_searched_with_it_and_what_it_cannot_be_shown_is_told(folder, tmp_path):
    (tmp_path / "photos").mkdir()
    shown = photos(4)
    for number, photo in enumerate(shown):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{number}.png")
    models = {"interface": "toy", "device": "cpu", "reranker": str(folder)}
    config = Config.from_mapping({"models": models, "ingest": {"workers": 0}, "query": {"rerank": 4}})
    with Index.open(tmp_path / "index", config=config, create=True) as index:
        index.ingest(tmp_path / "photos")
        answer = index.search("[red] dog like [photo:1]", 4)
    chances = sorted(own_chances(folder, "red dog like", shown), reverse=True)
    assert [hit.relevance for hit in answer] == pytest.approx(chances, abs=1e-4)
    assert any(note.startswith("[photo:1] cannot be shown to the reranker") for note in answer.notes)
