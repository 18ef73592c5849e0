"""One pass of training: photos with their conversations through READ, and the three losses of what it says and masks.

The published losses: cross entropy of the words of the answers, and binary cross entropy and Dice of the masks at the
size of the photo, each the mean over the masks. Gradients reach the language model through the token that it gives to
SAM, and through the points of the similarity map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...grounding.compatible import ReadSettings
from ...interface.read.language import Language
from ...interface.read.loading import Parts
from ...interface.read.masks import SamPhoto, decode, embed_photo
from ...interface.read.prompts import SEG, after_photo
from ...interface.read.soft_points import soft_points
from ...records import BoolMask
from .sources import Sample

DICE_SCALE, EPSILON = 1000.0, 1e-6  # of the published Dice, whose sums are divided by the first


@dataclass(frozen=True, slots=True)
class _Row:
    """One conversation as the language model sees it after the photo.

    Attributes:
        photo: number of its photo.
        ids: of the tokens of question and answer.
        answer: where the answer begins among them.
        mask: that its [SEG] has to give, or None.
    """

    photo: int
    ids: list[int]
    answer: int
    mask: BoolMask | None


def losses(parts: Parts, samples: Sequence[Sample], settings: ReadSettings) -> dict[str, Tensor]:
    """The losses of some photos, ``text``, ``bce`` and ``dice``, without their weights; no mask, no loss of masks.

    Args:
        parts: of the model, with what learns.
        samples: at least one photo with one turn.
        settings: of the points.
    """
    language = Language(parts)
    rows = [row for number, sample in enumerate(samples) for row in _rows(language, sample, number)]
    with torch.no_grad():
        pictures = torch.cat([language.image_tokens(sample.photo) for sample in samples])
    states, start = _states(language, parts, rows, pictures)
    found = {"text": _text_loss(parts, rows, states, start + pictures.shape[1])}
    embedded: dict[int, SamPhoto] = {}
    bce: list[Tensor] = []
    dice: list[Tensor] = []
    for number, row in enumerate(rows):
        if row.mask is None:
            continue
        if row.photo not in embedded:
            embedded[row.photo] = embed_photo(parts, samples[row.photo].photo)
        emits = start + pictures.shape[1] + row.ids.index(language.seg, row.answer) - 1
        tokens = states[number, start : start + pictures.shape[1]]
        logits = mask_logits(parts, embedded[row.photo], tokens, states[number, emits], settings)
        truth = torch.from_numpy(row.mask).to(logits.device).float()
        bce.append(F.binary_cross_entropy_with_logits(logits, truth))
        dice.append(dice_loss(logits, truth))
    zero = found["text"].new_zeros(())
    return found | {
        name: torch.stack(values).mean() if values else zero for name, values in (("bce", bce), ("dice", dice))
    }


def mask_logits(parts: Parts, photo: SamPhoto, tokens: Tensor, query: Tensor, settings: ReadSettings) -> Tensor:
    """(H, W) float32 logits of one mask at the size of the photo, with gradients.

    Args:
        parts: of the model.
        photo: embedded by SAM.
        tokens: (g * g, D) states of the image tokens.
        query: (D,) the state that emits [SEG].
        settings: of the points.
    """
    frame = photo.frame
    points, labels = soft_points(tokens.float() @ query.float(), frame.size, settings)
    scale = points.new_tensor([frame.inner[1] / frame.size[1], frame.inner[0] / frame.size[0]])
    logits, _ = decode(parts, photo, points * scale, labels, query)
    (full,) = frame.scores(logits[None])
    return full


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """The published Dice loss of one mask, both (H, W)."""
    chances = logits.sigmoid() / DICE_SCALE
    shared = 2 * (chances * truth).sum()
    return 1 - (shared + EPSILON) / (chances.sum() + (truth / DICE_SCALE).sum() + EPSILON)


def _rows(language: Language, sample: Sample, number: int) -> list[_Row]:
    """The conversations of one photo; an answer ends with the token that ends a text."""
    rows = []
    for turn in sample.turns:
        ids = [*language.ids_after(after_photo(turn.question, turn.answer)), language.end]
        answer = len(language.ids_after(after_photo(turn.question)))
        has_mask = turn.mask is not None and SEG in turn.answer
        rows.append(_Row(number, ids, answer, turn.mask if has_mask else None))
    return rows


def _states(language: Language, parts: Parts, rows: Sequence[_Row], pictures: Tensor) -> tuple[Tensor, int]:
    """(n, L, D) last states of all conversations, padded at their ends, and where the photo begins in them."""
    embed, device = parts.llava.get_input_embeddings(), pictures.device
    before = language.ids_before()
    longest = max(len(row.ids) for row in rows)
    words = torch.tensor([[*before, *row.ids, *[0] * (longest - len(row.ids))] for row in rows], device=device)
    given = embed(words)
    of_photo = pictures[[row.photo for row in rows]].to(given.dtype)
    given = torch.cat([given[:, : len(before)], of_photo, given[:, len(before) :]], dim=1)
    ends = torch.tensor([given.shape[1] - longest + len(row.ids) for row in rows], device=device)
    real = (torch.arange(given.shape[1], device=device) < ends[:, None]).long()
    out = parts.llava.model.language_model(inputs_embeds=given, attention_mask=real, use_cache=False)
    return out.last_hidden_state, len(before)


def _text_loss(parts: Parts, rows: Sequence[_Row], states: Tensor, after: int) -> Tensor:
    """Cross entropy of every token of the answers, each read from the state before it; `after` is where rows begin."""
    numbers, places, targets = [], [], []
    for number, row in enumerate(rows):
        for place in range(row.answer, len(row.ids)):
            numbers.append(number)
            places.append(after + place - 1)
            targets.append(row.ids[place])
    logits = parts.llava.lm_head(states[numbers, places])
    return F.cross_entropy(logits.float(), torch.tensor(targets, device=logits.device))
