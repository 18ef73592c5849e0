"""READ's masks: a state that emits [SEG] and the states of the image tokens, by way of points, to SAM's decoder.

Similarity as points: the products of that state with the image tokens are a map, the map gives points, and the decoder
gets the points, a padding point, and the state projected to one more token. Knows no words.
Source: READ (Qian et al., Reasoning to Attend, CVPR 2025) and its released code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...geometry import size_of
from ...grounding.compatible import ReadPoints, ReadSettings, read_points, read_similarity
from ...models.segmenters.framing import IMAGENET, Frame
from ...records import RGB, BoolMask, Floats
from .loading import Parts

LARGE = 5120  # width of the 13B language model; its points come from the grid as it is


@dataclass(frozen=True, slots=True)
class Segment:
    """One [SEG] of an answer.

    Attributes:
        mask: (H, W) bool.
        quality: SAM's predicted IoU.
        similarity: (g, g) float32 map over the middle square of the photo.
        points: what SAM's decoder was shown.
    """

    mask: BoolMask
    quality: float
    similarity: Floats
    points: ReadPoints


@dataclass(frozen=True, slots=True)
class SamPhoto:
    """What SAM keeps of a photo: how it lies in SAM's square, and its embedding (1, C, h, w)."""

    frame: Frame
    embedding: Tensor


def points_settings(parts: Parts) -> ReadSettings:
    """The settings of the points that a READ of this size was tuned with."""
    wide = parts.llava.config.text_config.hidden_size
    return ReadSettings(downsample=1 if wide >= LARGE else 2)


@torch.no_grad()
def embed_photo(parts: Parts, photo: RGB) -> SamPhoto:
    """Run SAM's image encoder, once for all masks of a photo."""
    weight = parts.sam.vision_encoder.patch_embed.projection.weight
    frame = Frame(size_of(photo), int(parts.sam.config.prompt_encoder_config.image_size), True)
    pixels = frame.pixels(photo, *IMAGENET, str(weight.device))
    return SamPhoto(frame, parts.sam.get_image_embeddings(pixels.to(weight.dtype)))


def segment(parts: Parts, photo: SamPhoto, tokens: Tensor, query: Tensor, settings: ReadSettings) -> Segment:
    """The mask of one [SEG].

    Args:
        parts: of the model.
        photo: embedded by SAM.
        tokens: (g * g, D) states of the image tokens.
        query: (D,) the state that emits [SEG].
        settings: of the points.
    """
    similarity = read_similarity(tokens.float().cpu().numpy(), query.float().cpu().numpy())
    points = read_points(similarity, photo.frame.size, settings)
    placed = torch.from_numpy(photo.frame.points(points.soft)).to(query.device)
    labels = torch.from_numpy(points.labels.astype(np.int32)).to(query.device)
    logits, quality = decode(parts, photo, placed, labels, query)
    (mask,) = photo.frame.masks(logits[None])
    side = round(len(similarity) ** 0.5)
    return Segment(mask, float(quality), similarity.reshape(side, side), points)


def decode(parts: Parts, photo: SamPhoto, points: Tensor, labels: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    """SAM's decoder on one photo; gradients reach the points, the query and the decoder.

    Args:
        parts: of the model.
        photo: embedded by SAM.
        points: (N, 2) float32 x and y in SAM's square.
        labels: (N,) int32, 1 on the thing, 0 beside it, -1 neither.
        query: (D,) the state that emits [SEG].
    Returns:
        (h, w) logits of the mask over the whole square at a quarter of its side, and the predicted IoU, ().
    """
    sam = parts.sam
    sparse, dense = sam.prompt_encoder(
        input_points=points[None, None], input_labels=labels[None, None], input_boxes=None, input_masks=None
    )
    token = parts.head(query.to(next(parts.head.parameters()).dtype))[None, None, None]
    logits, quality = sam.mask_decoder(
        image_embeddings=photo.embedding,
        image_positional_embeddings=sam.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=torch.cat([sparse.to(token.dtype), token], dim=2),
        dense_prompt_embeddings=dense.to(token.dtype),
        multimask_output=False,
    )
    return logits[0, 0, 0], quality.flatten()[0]
