"""The heads of a dual encoder: what its own calls give for a batch of photos or texts, before unit length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class Heads:
    """Two functions of a model and its inputs.

    Attributes:
        image: gives (N, D) and, where the family has them, the last hidden states (N, T, width).
        text: gives (N, D).
    """

    image: Callable[[Any, Mapping[str, Tensor]], tuple[Tensor, Tensor | None]]
    text: Callable[[Any, Mapping[str, Tensor]], Tensor]


def _feature_image(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    output = model.get_image_features(**inputs)
    return _pooled(output), getattr(output, "last_hidden_state", None)


def _feature_text(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    return _pooled(model.get_text_features(**inputs))


def _pooled(output: Any) -> Tensor:
    """(N, D) of what a features call gives: a tensor or an output object, a vector each or one a token."""
    pooled: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return pooled[:, 0] if pooled.ndim == 3 else pooled  # FLAVA projects every token; the first is the contrastive one


def _blip_image(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    states = model.vision_model(**inputs).last_hidden_state
    return model.vision_proj(states[:, 0]), states


def _blip_text(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    projected: Tensor = model.text_proj(model.text_encoder(**inputs).last_hidden_state[:, 0])
    return projected


def blip_2_queries(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """(N, Q, D) unit vectors of the learned queries of BLIP-2; the model compares a text with the nearest of them."""
    states = model.vision_model(**inputs).last_hidden_state
    seen = model.qformer(
        query_embeds=model.query_tokens.expand(len(states), -1, -1), encoder_hidden_states=states
    ).last_hidden_state
    return F.normalize(model.vision_projection(seen.to(model.vision_projection.weight.dtype)), dim=-1)


def _blip_2_image(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """The mean of `blip_2_queries`: an index holds one vector a photo; the mean cosine stands for the greatest."""
    return blip_2_queries(model, inputs).mean(1), None


def _blip_2_text(model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    states = model.qformer(
        query_embeds=model.embeddings(input_ids=inputs["input_ids"]),
        query_length=0,
        attention_mask=inputs["attention_mask"],
    ).last_hidden_state
    projected: Tensor = model.text_projection(states[:, 0].to(model.text_projection.weight.dtype))
    return projected


HEADS = {
    "features": Heads(_feature_image, _feature_text),
    "blip": Heads(_blip_image, _blip_text),
    "blip-2": Heads(_blip_2_image, _blip_2_text),
}
