"""All masks of a photo that may become regions: proposals, components of those in several, masks of further cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...models.vision.pixel_decoder import Pyramid
from ..find.tasks import Proposals
from ..find.tower_paths import tower_scale
from .connected_components import connected_components
from .model import MiniModel
from .region_scorer import CellMasks, region_features


@dataclass(frozen=True, slots=True)
class Candidates:
    """N masks of one photo; the first are its proposals.

    Attributes:
        masks: (N, h, w) logits.
        parents: (N,) int64, the proposal that each mask is, or comes from, or lies on most.
        parent_weight: (N,) float32, of the interface's vector of the parent in its own: 1 for proposals and their
            components, for the mask of a cell its IoU with the parent.
        features: (N, 10), see `REGION_FEATURES`.
    """

    masks: Tensor
    parents: NDArray[np.int64]
    parent_weight: Tensor
    features: Tensor


@torch.no_grad()
def candidates(model: MiniModel, proposals: Proposals, row: int) -> Candidates:
    """The candidates of photo `row`."""
    masks, quality = proposals.masks[row], proposals.quality()[row]
    count = len(masks)
    parents, components, component_shares = connected_components(masks)
    further, further_quality, cells = further_masks(model, proposals, row)
    alike, nearest = _ious(further, masks).max(1)
    every = torch.cat([masks, components, further])
    ones = torch.ones_like
    features = region_features(
        every,
        torch.cat([quality, quality[parents], further_quality]),
        torch.cat([ones(quality), component_shares, ones(further_quality)]),
        count,
        cells,
    )
    return Candidates(
        every,
        np.concatenate([np.arange(count), parents, nearest.cpu().numpy()]),
        torch.cat([ones(quality), ones(component_shares), alike]),
        features,
    )


def further_masks(model: MiniModel, proposals: Proposals, row: int) -> tuple[Tensor, Tensor, CellMasks]:
    """(K, h, w) mask logits of the selected cells of one photo, their (K,) quality, and the masks of its best cells."""
    cells, mask_features = proposals.cells, proposals.mask_features
    if cells is None or cells.top is None or mask_features is None:
        raise TypeError("find-mini's proposals start from cells, expected an interface with seeds")
    interface, top = model.interface, cells.top
    selected, rows = top.selected[row], top.rows[row]
    masks = torch.einsum("nc,chw->nhw", top.pixel[row, selected].float(), mask_features[row].float())
    content = cells.content[row, rows[selected]].float()
    quality = interface.quality(interface.decoder_norm(content))[:, 0].sigmoid()
    return masks, quality, CellMasks(rows, top.on[row], top.score[row], cells.sizes)


def region_vectors(
    model: MiniModel, pyramid: Pyramid, proposals: Proposals, row: int, found: Candidates, kept: NDArray[np.int64]
) -> Tensor:
    """(n, D) unit vectors of some candidates of one photo.

    A proposal has its own. Any other mask has what the interface adds to the towers' embedding of its parent, by its
    `parent_weight`, and the towers' embedding of its own mask.

    Args:
        pyramid: of that one photo.
    """
    parents = found.parents[kept]
    vectors = F.normalize(proposals.vectors[row, parents], dim=-1)
    other = np.flatnonzero(kept >= proposals.masks.shape[1])
    if not len(other):
        return vectors
    wholes, position = np.unique(parents[other], return_inverse=True)
    masks = torch.cat([proposals.masks[row, wholes], found.masks[kept[other]]]).sigmoid()[None]
    if pyramid.deep is None:
        raise TypeError("find-mini's towers give deep maps")
    embedding = model.interface.paths.masks(masks, pyramid.deep, pyramid.mask_features)[0]
    embedding = tower_scale("proposals_vision_object") * embedding
    added = proposals.vectors[row, parents[other]] - embedding[: len(wholes)][position]
    weight = found.parent_weight[kept[other], None]
    vectors[other] = F.normalize(weight * added + embedding[len(wholes) :], dim=-1)
    return vectors


def _ious(masks: Tensor, others: Tensor) -> Tensor:
    """(K, Q) IoU of (K, h, w) with (Q, h, w) mask logits."""
    one, other = (masks > 0).flatten(1).float(), (others > 0).flatten(1).float()
    shared = one @ other.T
    return shared / (one.sum(1)[:, None] + other.sum(1) - shared).clamp(min=1)
