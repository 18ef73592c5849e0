"""Captions and names as find-mini reads them: a bare name is read as captions would put it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..find import tasks
from ..find.prompter import Sentence
from .model import MiniModel
from .names import LONGEST_NAME

AT_A_TIME = 128  # texts of one pass
NAME_TEMPLATES = ("{}", "this is a {}", "a photo of a {}")
ONE_TEMPLATE = ("a photo of a {}",)  # for what is only told from the phrases beside it, in a third of the time
ARTICLES = {"a", "an", "the"}


def encode_texts(model: MiniModel, texts: Sequence[str], templates: Sequence[str] = NAME_TEMPLATES) -> Tensor:
    """(N, D) unit vectors of captions; that of a bare name is the mean over templates."""
    variants = [_variants(text, templates) for text in texts]
    flat = [variant for each in variants for variant in each]
    vectors = F.normalize(_read(model, flat), dim=-1)
    means = [rows.mean(0) for rows in vectors.split([len(each) for each in variants])]
    return F.normalize(torch.stack(means), dim=-1)


def _read(model: MiniModel, texts: Sequence[str]) -> Tensor:
    """(N, D) of captions, in their order; those of like length are read together, as all are padded to the longest."""
    by_length = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    order = torch.tensor(by_length)
    with model.reading(len(texts)):
        rows = [
            tasks.encode_captions(model, [texts[number] for number in by_length[start : start + AT_A_TIME]])
            for start in range(0, len(texts), AT_A_TIME)
        ]
    vectors = torch.cat(rows)
    return torch.empty_like(vectors).index_copy_(0, order.to(vectors.device), vectors)


def encode_phrases(model: MiniModel, phrases: Sequence[str]) -> Tensor:
    """(N, D) unit vectors of text entities, each a sentence of its own."""
    sentences = [Sentence(phrase, ((0, len(phrase)),), (False,)) for phrase in phrases]
    return F.normalize(tasks.encode_entities(model, sentences)[:, 0], dim=-1)


def _variants(text: str, templates: Sequence[str]) -> tuple[str, ...]:
    words = text.split()
    if not 0 < len(words) <= LONGEST_NAME or words[0].lower() in ARTICLES:
        return (text,)
    return tuple(template.format(text) for template in templates)
