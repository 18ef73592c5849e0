"""What a pass predicts, under the published names (docs/find-interface.md, section 5.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from .prompts import VisualTokens
from .proposal_selector import Cells

# variable -> published name of its semantic vectors, of its pixel vectors, of its masks
SEMANTIC = {
    "proposals_vision_object": "pred_captions",
    "queries_vision_image": "pred_retrievals",
    "proposals_vision_grounding": "pred_gtexts",
    "proposals_vision_segment": "pred_spatials",
    "proposals_interleave_entity": "pred_interleave_objects",
    "queries_vision_spatial": "pred_spatial_class",
    "queries_language_caption": "pred_retrievals_lang",
    "queries_language_class": "pred_retrievals_class",
    "queries_language_description": "pred_grounding_query",
    "queries_interleave_legend": "pred_interleave_image",
    "queries_interleave_entity": "pred_entity_class",
}
PIXEL = {
    "proposals_vision_object": "pred_maskembs",
    "queries_vision_image": "pred_image_pixel",
    "proposals_vision_segment": "pred_smaskembs",
    "proposals_interleave_entity": "pred_imaskembs",
    "queries_vision_spatial": "pred_pspatials",
    "queries_interleave_legend": "pred_legend_pixel",
    "queries_interleave_entity": "pred_entity_pixel",
}
MASKS = {
    "proposals_vision_object": "pred_masks",
    "proposals_vision_grounding": "pred_gmasks",
    "proposals_vision_segment": "pred_smasks",
    "proposals_interleave_entity": "pred_imasks",
}
# not published: logits of the IoU that each proposal's mask is expected to have with a thing
QUALITY = {
    "proposals_vision_object": "pred_quality",
    "proposals_vision_grounding": "pred_gquality",
    "proposals_vision_segment": "pred_squality",
    "proposals_interleave_entity": "pred_iquality",
}


Output: TypeAlias = dict[str, Tensor]  # predictions at one point of a pass, under the published names, batch-first


@dataclass(slots=True)
class Pass:
    """A whole pass: the final output, the earlier predictions in order, the visual tokens of the sentence.

    Attributes:
        cells: where proposals start from them.
        mask_features: (B, F, h, w) as masks were made from them.
    """

    final: Output
    earlier: list[Output]
    interleave_tokens: VisualTokens | None = None
    cells: Cells | None = None
    mask_features: Tensor | None = None
