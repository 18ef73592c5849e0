"""Published input names and layouts into typed prompts: sequence-first in, batch-first out.

See docs/find-interface.md, section 5.6.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from interleave_index.interface.find.prompts import (
    GroundingPrompt,
    InterleavePrompt,
    MaskPrompt,
    Prompts,
    SpatialPrompt,
    TextTokens,
)


def prompts_from_published(extra: dict[str, Any]) -> Prompts:
    """Read an `extra` dictionary of the published code.

    Args:
        extra: tensors under the names of docs/find-interface.md, section 5.6; padded text rows may be filled with -1.
    """
    prompts = Prompts()
    if "grounding_tokens" in extra:
        prompts.grounding = GroundingPrompt(
            _text(extra["grounding_tokens"], extra["grounding_nonzero_mask"]),
            extra["grounding_token_indices"].T,
            extra["grounding_query_indices"].T,
        )
    if "retrieval_tokens" in extra:
        prompts.caption = _text(extra["retrieval_tokens"], extra["retrieval_nonzero_mask"])
    if "class_tokens_emb" in extra:
        prompts.class_name = _text(extra["class_tokens_emb"], extra["class_tokens_mask"])
    if "spatial_query_pos_mask" in extra:
        prompts.spatial = SpatialPrompt(
            MaskPrompt(extra["spatial_query_pos_mask"], extra.get("spatial_query_neg_mask")),
            extra["spatial_query_indices"].T,
            extra.get("prev_mask"),
        )
    if "interleave_tokens" in extra:
        inside = extra["interleave_entity_mask"].permute(1, 0, 2)  # (B, E, T)
        visual = (extra["interleave_isvisual"].T[:, :, None].to(inside.dtype) * inside).sum(1).clamp(max=1)
        masks = None
        if "interleave_query_pos_mask" in extra:
            masks = MaskPrompt(extra["interleave_query_pos_mask"], extra.get("interleave_query_neg_mask"))
        prompts.interleave = InterleavePrompt(
            _text(extra["interleave_tokens"], extra["interleave_nonzero_mask"]),
            extra["interleave_entity_indices"].T,
            extra["interleave_query_indices"].T,
            visual,
            masks,
        )
    return prompts


def _text(tokens: Tensor, pad: Tensor) -> TextTokens:
    rows = tokens.transpose(0, 1)
    filled = rows.sum(-1) == -rows.shape[-1]
    return TextTokens(torch.where(filled[..., None], torch.zeros_like(rows), rows), pad)
