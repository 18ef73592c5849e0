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

NAME_TEMPLATES = ("{}", "this is a {}", "a photo of a {}")
ARTICLES = {"a", "an", "the"}


def encode_texts(model: MiniModel, texts: Sequence[str]) -> Tensor:
    """(N, D) unit vectors of captions; that of a bare name is the mean over `NAME_TEMPLATES`."""
    variants = [_variants(text) for text in texts]
    flat = [variant for each in variants for variant in each]
    vectors = F.normalize(tasks.encode_captions(model, flat), dim=-1)
    means = [rows.mean(0) for rows in vectors.split([len(each) for each in variants])]
    return F.normalize(torch.stack(means), dim=-1)


def encode_phrases(model: MiniModel, phrases: Sequence[str]) -> Tensor:
    """(N, D) unit vectors of text entities, each a sentence of its own."""
    sentences = [Sentence(phrase, ((0, len(phrase)),), (False,)) for phrase in phrases]
    return F.normalize(tasks.encode_entities(model, sentences)[:, 0], dim=-1)


def _variants(text: str) -> tuple[str, ...]:
    words = text.split()
    if not 0 < len(words) <= LONGEST_NAME or words[0].lower() in ARTICLES:
        return (text,)
    return tuple(template.format(text) for template in NAME_TEMPLATES)
