"""Qwen3-VL-Reranker with a tiny random model, loaded from a folder as a hub holds it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

import transformers

from interleave_index import Index
from interleave_index.config import Config
from interleave_index.errors import ConfigError, InputError, ModelError, WeightsMissing
from interleave_index.interface.registry import load_reranker
from interleave_index.interface.vlm.reranker import QwenReranker
from interleave_index.records import RGB
from tests.interface.vlm import tiny_vlm
from tests.models import tiny

HEAD = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    "<Instruct>: Given a search query, retrieve relevant candidates that answer the query.<Query>:"
)
TAIL = "<|im_end|>\n<|im_start|>assistant\n"


def noise(seed: int, height: int = 60, width: int = 80) -> RGB:
    small = np.random.default_rng(seed).integers(0, 255, (height // 20, width // 20, 3))
    return np.kron(small, np.ones((20, 20, 1))).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_vlm.save_reranker(tmp_path_factory.mktemp("home") / "reranker")


@pytest.fixture(scope="module")
def reranker(folder):
    return load_reranker(str(folder), device="cpu")


class Own:
    """What the library alone makes of one pair: its class with all its logits, its image processor, no batch."""

    def __init__(self, folder):
        self.model = transformers.Qwen3VLForConditionalGeneration.from_pretrained(folder).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.processor = transformers.Qwen2VLImageProcessorPil.from_pretrained(folder)

    @torch.no_grad()
    def chance(self, query, document):
        photos = [piece for piece in (*query, *document) if not isinstance(piece, str)]
        seen = self.processor([Image.fromarray(photo) for photo in photos], return_tensors="pt") if photos else {}
        counts = iter([int(shape.prod()) // 4 for shape in seen.get("image_grid_thw", ())])

        def shown(piece):
            if isinstance(piece, str):
                return piece
            return f"<|vision_start|>{'<|image_pad|>' * next(counts)}<|vision_end|>"

        asked = " ".join(map(shown, query))
        written = f"{HEAD}{asked}\n<Document>:{''.join(map(shown, document))}{TAIL}"
        ids = self.tokenizer(written, return_tensors="pt")["input_ids"]
        kinds = (ids == self.model.config.image_token_id).int()
        logits = self.model(input_ids=ids, mm_token_type_ids=kinds, **seen).logits[0, -1]
        vocabulary = self.tokenizer.get_vocab()
        return float(torch.sigmoid(logits[vocabulary["yes"]] - logits[vocabulary["no"]]))


@pytest.fixture(scope="module")
def own(folder):
    return Own(folder)


def test_scores_are_those_of_the_models_own_call(reranker, own):
    query = ("a red thing like", noise(1), "beside a cat")
    documents = [(noise(2),), (noise(3, 200, 60), "two people"), (noise(4, 20, 200),), (noise(5),), (noise(6, 40, 40),)]
    prepared = [
        tuple(piece if isinstance(piece, str) else reranker.prepare(piece) for piece in one) for one in documents
    ]
    found = reranker.scores(tuple(p if isinstance(p, str) else reranker.prepare(p) for p in query), prepared)
    wanted = [own.chance(query, document) for document in documents]
    assert np.abs(found - wanted).max() < 1e-4
    assert found.max() - found.min() > 1e-3  # the pairs are told apart at all
    alone = reranker.scores(("two people",), [prepared[0]])
    assert float(alone[0]) == pytest.approx(own.chance(("two people",), documents[0]), abs=1e-4)


def test_a_batch_that_does_not_fit_into_memory_costs_no_photo(folder, monkeypatch):
    made, sizes = QwenReranker(folder), []
    candidates = [(made.prepare(noise(n)),) for n in range(7)]
    wanted, made.batcher.size, score = made.scores(("a cat",), candidates), 8, made._score

    def full(query, some):
        sizes.append(len(some))
        if len(some) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return score(query, some)

    monkeypatch.setattr(made, "_score", full)
    assert np.allclose(made.scores(("a cat",), candidates), wanted, atol=1e-4)
    assert max(sizes) > 3 and made.at_a_time <= 3


def test_marks_of_the_prompt_in_a_users_words_are_no_marks(reranker):
    photo = reranker.prepare(noise(1))
    marked, blank = (f"a dog {mark} a cat" for mark in ("<|im_end|>", " " * len("<|im_end|>")))
    found = [float(reranker.scores((words,), [(photo,)])[0]) for words in (marked, blank)]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_the_end_of_a_text_that_is_not_read_is_told(reranker):
    long = "a red dog " * 300
    cut = reranker.beyond_context(long)
    assert cut and long.endswith(cut) and reranker.beyond_context("a red dog") == ""
    photo = reranker.prepare(noise(1))
    found = [float(reranker.scores((words,), [(photo,)])[0]) for words in (long, long[: -len(cut)])]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_what_is_no_reranker_is_refused_in_a_line(folder, tmp_path):
    with pytest.raises(
        ModelError, match=r"holds a model of type 'siglip', expected Qwen3VLForConditionalGeneration or Blip"
    ):
        load_reranker(str(tiny.save(tmp_path / "siglip", "siglip")))
    with pytest.raises(ModelError, match=r"has no word 'yes'"):
        load_reranker(str(tiny_vlm.save(tmp_path / "embedding", "qwen3_vl")))
    with pytest.raises(WeightsMissing, match=r"which has no config\.json"):
        load_reranker(str(tmp_path))
    with pytest.raises(WeightsMissing, match=r"models pull Qwen/Qwen3-VL-Reranker-2B"):
        load_reranker("Qwen/Qwen3-VL-Reranker-2B")


def test_an_index_is_searched_with_a_reranker(folder, own, tmp_path):
    photos = [noise(seed) for seed in range(5)]
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(photos):
        Image.fromarray(photo).save(tmp_path / "photos" / f"{number}.png")
    models = {"interface": "toy", "device": "cpu", "reranker": str(folder)}
    config = Config.from_mapping({"models": models, "ingest": {"workers": 0}})
    with Index.open(tmp_path / "index", config=config, create=True) as index:
        index.ingest(tmp_path / "photos")
        plain = index.search("[red] like [photo:1]", 5)
        answer = index.search("[red] like [photo:1]", 5, rerank=3)
        assert {hit.photo.id for hit in answer[:3]} == {hit.photo.id for hit in plain[:3]}
        first = Image.open(index.photo(1).path or "")
        for hit in answer[:3]:
            shown = np.asarray(Image.open(hit.photo.path or ""))
            assert hit.reranked is not None
            assert hit.relevance == pytest.approx(own.chance(("red", "like", np.asarray(first)), (shown,)), abs=1e-4)
        assert [hit.reranked for hit in answer[3:]] == [None, None]
        with pytest.raises(InputError, match="rerank is 1001, expected 0 to 1000 photos"):
            index.search("[red]", rerank=1001)
    unnamed = config.with_flags(models_reranker="", query_rerank=4)
    with Index.open(tmp_path / "index", config=unnamed) as index:
        with pytest.raises(ConfigError, match=r"4 of the best photos.*models.reranker names no model"):
            index.search("[red]")
        assert index.search("[red]", rerank=0).reranking is None


def test_the_command_reranks_and_tells_scores_and_time(run, folder, drawn_photos, tmp_path):
    index = ("--index", tmp_path / "index")
    assert run("ingest", drawn_photos.folder, *index, "--model", "toy", "--workers", 0)[0] == 0
    words = ("search", "[red] on white", *index, "--rerank", 2)
    status, out, err = run(*words, "--reranker", folder, "--json")
    answer = json.loads(out)
    assert status == 0 and answer["rerank"]["model"] == "reranker" and answer["rerank"]["photos"] == 2
    assert [hit.get("rerank", {}).get("score") for hit in answer["hits"][:2]] == [
        hit["relevance"] for hit in answer["hits"][:2]
    ]
    assert all("rerank" not in hit for hit in answer["hits"][2:])
    assert "note: the best 2 photos were reranked by reranker in " in err
    status, out, err = run(*words)
    assert status == 1 and out == "" and "models.reranker names no model" in err and "Traceback" not in err
    assert run("search", "red", *index, "--rerank", 2, "--target", "texts")[0] == 2
    assert "rerank" not in json.loads(run("search", "[red]", *index, "--json")[1])
