"""Vectors of texts by a sentence encoder, and names of photos by the classifying teachers; both from cached files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import InputError
from ...interface.find_mini.model import MiniModel
from ...interface.find_mini.texts import encode_texts
from .samples import Sample, Views

FEATURES = 1280  # of the first teacher within a cached vector; the rest is the second one's, of length 0.7
SECOND_LENGTH = 0.7
SURE_NAME = 0.35  # probability above which a teacher's name is taken
KINDS = ("caption", "chunk", "name", "lemma", "gloss")
BATCH = 4096  # views


@dataclass(frozen=True)
class Sentences:
    """Texts with the vectors of the sentence encoder.

    Attributes:
        texts: N of them, lower case.
        vectors: (N, 384) float16 of unit length.
        kinds: (N,) uint8, positions in `KINDS`.
        own: the vectors are not those of an encoder, but (N, D) positions that a model gives to the texts itself.
    """

    texts: list[str]
    vectors: NDArray[np.float16]
    kinds: NDArray[np.uint8]
    own: bool = False

    @cached_property
    def place(self) -> dict[str, int]:
        """Every text's position, the first where kinds share one."""
        return {text: n for n, text in reversed(list(enumerate(self.texts)))}

    def of_kind(self, *kinds: str) -> NDArray[np.int64]:
        """Positions of the texts of some kinds."""
        return np.flatnonzero(np.isin(self.kinds, [KINDS.index(kind) for kind in kinds]))

    def know_caption(self, sample: Sample) -> bool:
        """Whether a caption of a photo is among them."""
        return any(caption in self.place for caption in sample.captions)

    def captions_of(self, samples: Sequence[Sample]) -> list[NDArray[np.int64]]:
        """Positions of every photo's captions."""
        return [np.array([self.place[c] for c in s.captions if c in self.place], np.int64) for s in samples]


def load_sentences(file: Path) -> Sentences:
    """Read the file of tools/cache_sentences.py.

    Raises:
        InputError: it is not there.
    """
    if not file.exists():
        raise InputError(f"no sentence vectors at {file}; write them with tools/cache_sentences.py")
    with np.load(file) as content:
        return Sentences(content["texts"].tolist(), content["vectors"], content["kinds"])


@torch.inference_mode()
def own_sentences(model: MiniModel, kinds: dict[str, list[str]], batch: int = 256) -> Sentences:
    """A model's own vectors of texts, for a model that goes on learning in its own space.

    Args:
        kinds: texts by their kind, see `KINDS`; a text of two kinds counts as the first.
    """
    kind_of: dict[str, int] = {}
    for kind, texts in reversed(kinds.items()):  # so that the first kind of a text stays
        kind_of |= dict.fromkeys(texts, KINDS.index(kind))
    order = sorted(kind_of, key=len)
    model.eval()
    parts = [encode_texts(model, order[start : start + batch]) for start in range(0, len(order), batch)]
    number = np.array([kind_of[text] for text in order], np.uint8)
    return Sentences(order, torch.cat(parts).half().numpy(), number, own=True)


def teacher_names(views: Views, file: Path) -> list[tuple[str, ...]]:
    """Names that the classifying teachers are sure of, for every view; often none.

    Args:
        file: written by tools/cache_classifiers.py.
    """
    weights, synonyms, objects = _classifiers(file)
    names: list[tuple[str, ...]] = []
    for pooled in torch.as_tensor(views.pooled).split(BATCH):
        first = (pooled[:, :FEATURES].float() @ weights["imagenet_weights"].T + weights["imagenet_bias"]).softmax(1)
        second = pooled[:, FEATURES:].float() / SECOND_LENGTH @ weights["object_weights"].T + weights["object_bias"]
        sure, best = first.max(1)
        for probability, label, logits in zip(sure.tolist(), best.tolist(), second, strict=True):
            own = list(synonyms[label]) if probability > SURE_NAME and label else []
            own += [objects[n] for n in (logits > 0).nonzero()[:, 0].tolist()]
            names.append(tuple(dict.fromkeys(own)))
    return names


def classifier_names(file: Path) -> set[str]:
    """Every name that the classifying teachers know."""
    _, synonyms, objects = _classifiers(file)
    return {name for names in synonyms for name in names} | set(objects)


def _classifiers(file: Path) -> tuple[dict[str, torch.Tensor], list[list[str]], list[str]]:
    """Last layers, synonyms of each class of the first, names of the second."""
    if not file.exists():
        raise InputError(f"no classifiers at {file}; write them with tools/cache_classifiers.py")
    with np.load(file) as content:
        weights = {name: torch.as_tensor(content[name]).float() for name in content.files if "names" not in name}
        synonyms = [line.split("|") for line in content["imagenet_names"].tolist()]
        return weights, synonyms, content["object_names"].tolist()
