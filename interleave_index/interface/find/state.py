"""What a pass of the interface carries from layer to layer, and the small functions on it. Holds no weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from ...models.vision.positions import sine_positions
from ...records import Size
from .outputs import MASKS
from .prompts import VISION_GROUP, Level, Prompts, TextTokens, Variable, VisualTokens


@dataclass(slots=True)
class Towers:
    """The towers' maps of the photos of a pass, and their own embeddings of its queries.

    Attributes:
        deep: (B, T, h, w) or None; mask_features: (B, F, h, w) or None.
        embeddings: by variable (B, N, C), unit length.
    """

    deep: Tensor | None
    mask_features: Tensor | None
    embeddings: dict[str, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """What changes in the course of a pass, and what every layer reads."""

    variables: list[Variable]
    features: list[Level] | None
    mask_features: Tensor | None
    class_table: Tensor | None
    prompts: Prompts
    condition: list[tuple[int, Tensor | None]]
    towers: Towers | None = None
    content: Tensor | None = None
    blocked: Tensor | None = None
    resized: dict[Size, Tensor] = field(default_factory=dict)

    def mask_features_at(self, size: Size) -> Tensor | None:
        """Mask features resized; masks made of them are those of the whole size, resized, for less work."""
        if self.mask_features is None:
            return None
        if size not in self.resized:
            self.resized[size] = F.interpolate(self.mask_features, size=size, mode="bilinear", align_corners=False)
        return self.resized[size]


def placed(tokens: Tensor, embedding: Tensor, size: Size) -> Level:
    """(B, hw, C) tokens of a level of the pyramid with its (C,) embedding, and keys with their sine positions."""
    source = tokens + embedding
    place = sine_positions(*size, tokens.shape[-1], tokens.device).flatten(1).T[None].to(source.dtype)
    return Level(source, source + place, size)


def joined(variables: Sequence[Variable]) -> tuple[Tensor, Tensor]:
    """Contents and positions of several variables in one row."""
    return torch.cat([v.content for v in variables], 1), torch.cat([v.position for v in variables], 1)


def put_back(variables: Sequence[Variable], stream: Tensor) -> None:
    """Rows as `joined` puts them together become the contents of their variables."""
    sizes = [v.content.shape[1] for v in variables]
    for variable, content in zip(variables, stream.split(sizes, 1), strict=True):
        variable.content = content


def cosines(rows: Tensor, others: Tensor) -> Tensor:
    """(..., N, C) against (..., M, C) to (..., N, M), with the published guard of the norms."""
    rows = rows / (rows.norm(dim=-1, keepdim=True) + 1e-7)
    others = others / (others.norm(dim=-1, keepdim=True) + 1e-7)
    return rows @ others.transpose(-1, -2)


def mask_logits(pixel: dict[str, Tensor], mask_features: Tensor | None) -> dict[str, Tensor]:
    """(B, N, h, w) logits of every variable that has masks, by its name."""
    if mask_features is None:
        return {}
    return {name: torch.einsum("bnc,bchw->bnhw", pixel[name], mask_features) for name in MASKS if name in pixel}


def attention_mask(state: State, masks: dict[str, Tensor], size: Size) -> Tensor:
    """(B, N, hw) bool over the vision group: where the own predicted mask is off; rows wholly off are opened."""
    rows = []
    for variable in state.variables:
        if variable.name not in VISION_GROUP:
            continue
        logits = masks.get(variable.name)
        if variable.name == "memories_vision_spatial" and state.prompts.spatial is not None:
            logits = state.prompts.spatial.previous
        batch, count = variable.content.shape[:2]
        if logits is None:
            rows.append(
                torch.zeros((batch, count, size[0] * size[1]), dtype=torch.bool, device=variable.content.device)
            )
            continue
        resized = logits.detach().float()
        if resized.shape[-2:] != size:
            resized = F.interpolate(resized, size=size, mode="bilinear", align_corners=False)
        rows.append((resized.sigmoid() < 0.5).flatten(2).expand(-1, count, -1))
    blocked = torch.cat(rows, 1)
    return blocked & ~blocked.all(-1, keepdim=True)


def token_variable(name: str, text: TextTokens, index: Tensor | None = None) -> Variable:
    """Text tokens as a variable; their position is their own content."""
    return Variable(name, text.tokens, text.tokens.detach(), text.pad, index)


def visual_variables(name: str, sampled: VisualTokens | None) -> list[Variable]:
    """Sampled visual tokens as a variable, or nothing where none were sampled."""
    if sampled is None or not sampled.pad.shape[1]:
        return []
    first = sampled.levels[0]
    return [Variable(name, first, first.detach(), sampled.pad, sampled.index, sampled.levels)]


def batch_size(features: Sequence[Level] | None, prompts: Prompts) -> int:
    """Images or sentences of a pass.

    Raises:
        TypeError: there is neither.
    """
    if features is not None:
        return len(features[0].source)
    for prompt in (prompts.caption, prompts.class_name):
        if prompt is not None:
            return len(prompt.tokens)
    for other in (prompts.grounding, prompts.spatial, prompts.interleave):
        if other is not None:
            return len(other.query_index)
    raise TypeError("a pass needs image features or a prompt")
