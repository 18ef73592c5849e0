"""The published model behind the interface protocol of an index: photos and queries in, vectors and masks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ShapeError
from ...geometry import MASK_LONG_SIDE, box_of, encode_rle, fit, unit
from ...records import (
    RGB,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from ..calibration import Calibration
from ..find.model import Sentence, compose
from ..protocol import Capabilities, Interface
from .folder import load_published, read_config
from .importing import read_prepared
from .model import Example, PublishedModel
from .preparation import View, to_photo

MOST_REGIONS = 100
SAME_IOU = 0.8  # proposals that overlap more are one
SMALLEST_AREA = 0.001  # share of the photo


@dataclass(frozen=True, slots=True)
class Segments:
    """Proposals of one photo.

    Attributes:
        image: (D,); vectors: (Q, D); both of unit length.
        masks: (Q, h, w) logits on the padded stride-4 grid.
        quality: (Q,), chance of being any named thing times the mean certainty inside the mask, 0 to 1.
        view: of the photo.
    """

    image: Tensor
    vectors: Tensor
    masks: Tensor
    quality: Tensor
    view: View


@torch.inference_mode()
def encode_segments(model: PublishedModel, photo: RGB, table: Tensor) -> Segments:
    """Image vector and proposals of one upright photo, before any is filtered out."""
    view = model.view(photo)
    found = model.proposals(view, table)
    inside = (found.masks > 0).float()
    certainty = (found.masks.sigmoid() * inside).sum((1, 2)) / inside.sum((1, 2)).clamp(min=1)
    named = 1 - found.logits.float().softmax(-1)[:, -1]
    vectors = F.normalize(found.vectors.float(), dim=-1)
    return Segments(F.normalize(found.image.float(), dim=-1), vectors, found.masks.float(), named * certainty, view)


class PublishedFind(Interface):
    """An imported checkpoint as an index uses it.

    Args:
        folder: as `interleave-index models import` writes it.
        device: where the network runs, as torch names it.
        dtype: `float32`, `bfloat16` or `float16`; `auto` is float32, as its vectors are to be compared for years.
    """

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> None:
        kind = "float32" if dtype == "auto" else dtype
        self._table, self._calibration = read_prepared(folder)
        self.model = load_published(folder, device=device, dtype=kind)
        config, sizes = read_config(folder), self.model.network.sizes
        self._space = Space(
            interface=str(config["name"]),
            checkpoint=str(config["checkpoint"]),
            preprocessing=f"short side {sizes.short}, long side at most {sizes.long}, pillow bilinear, padded to 32"
            + ("" if kind == "float32" else f", {kind}"),
            dim=self.model.network.predictor.config.width,
        )

    @property
    def space(self) -> Space:
        """Named by the folder, told apart by the hash of its weights and by how photos are prepared."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """See `Interface.capabilities`."""
        return Capabilities(device=str(self.model.device), dtype=str(self.model.dtype).removeprefix("torch."))

    @property
    def calibration(self) -> Calibration:
        """Banks made at the import; their curves are not fitted, so that relevance is a rough guess."""
        return self._calibration

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`; one photo at a time, as the authors evaluate, at most 100 regions each."""
        return [self._encode(photo) for photo in photos]

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`.

        Plain text is a caption; with pictures it is FIND's interleaved legend. A text entity is encoded on a blank
        input and a part of a picture on that picture, each by itself; a whole picture is its image vector. The
        legend of pictures alone is the mean of their vectors, and so it is where pixels are lost.
        """
        views = self._views(query)
        asked = tuple(part for part in query if part.role != "negative")
        entities = [self._vector(part, views) for part in asked if part.role == "entity"]
        negatives = [self._vector(part, views) for part in query if part.role == "negative"]
        nothing = np.zeros((0, self.space.dim), np.float32)
        return QueryEncoding(
            legend=self._legend(asked, views),
            entities=np.stack(entities) if entities else nothing,
            negatives=np.stack(negatives) if negatives else nothing,
        )

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: one interleaved pass over the photo, one mask an entity."""
        asked = tuple(part for part in query if part.role != "negative")
        if not any(part.role == "entity" for part in asked):
            return []
        sentence, examples = _sentence(asked, self._views(asked))
        found = self.model.ground_interleaved(self.model.view(photo), sentence, examples)
        return [GroundedMask(n, encode_rle(one.mask), box_of(one.mask), one.cosine) for n, one in enumerate(found)]

    # --- inside -------------------------------------------------------------------------------

    def _encode(self, photo: RGB) -> PhotoEncoding:
        segments = encode_segments(self.model, photo, self._table)
        size = photo.shape[0], photo.shape[1]
        with torch.inference_mode():
            masks = (to_photo(segments.masks, segments.view, size=fit(size, MASK_LONG_SIDE)) > 0).cpu().numpy()
        kept = _distinct(torch.from_numpy(masks), segments.quality)
        scale = np.array([size[1] / masks.shape[2], size[0] / masks.shape[1]] * 2, np.float32)
        return PhotoEncoding(
            image=_array(segments.image),
            regions=_array(segments.vectors[kept]),
            boxes=np.array([box_of(masks[n]) for n in kept], np.float32).reshape(-1, 4) * scale,
            areas=np.array([masks[n].mean() for n in kept], np.float32),
            scores=_array(segments.quality[kept]),
            masks=tuple(encode_rle(masks[n]) for n in kept),
        )

    def _views(self, parts: Sequence[ResolvedPart]) -> dict[int, View]:
        """A view of every picture, by part; parts of one array share it."""
        made: dict[int, View] = {}
        found: dict[int, View] = {}
        for part in parts:
            if part.photo is not None:
                if id(part.photo) not in made:
                    made[id(part.photo)] = self.model.view(part.photo)
                found[id(part)] = made[id(part.photo)]
        return found

    def _vector(self, part: ResolvedPart, views: dict[int, View]) -> Floats:
        if part.kind == "text":
            return unit(self.model.encode_phrase(part.label))
        if part.photo is None:
            if part.vector is None:
                raise ShapeError(f"part {part.label!r} has neither pixels nor a stored vector")
            return part.vector
        if part.kind == "picture":
            return unit(self.model.encode_image(views[id(part)])[0])
        if part.vector is not None:
            return part.vector
        return unit(self.model.encode_example(_example(part, views)))

    def _legend(self, asked: tuple[ResolvedPart, ...], views: dict[int, View]) -> Floats:
        if not asked:
            return np.zeros(self.space.dim, np.float32)
        if all(part.kind == "text" for part in asked):
            return unit(self.model.encode_captions([" ".join(part.label for part in asked)])[0])
        wordless = all(part.kind != "text" for part in asked)
        if wordless or any(part.kind != "text" and part.photo is None for part in asked):
            rows = [part.weight * self._whole(part, views) for part in asked]
            return unit(np.sum(rows, 0))
        return unit(self.model.encode_legend(*_sentence(asked, views)))

    def _whole(self, part: ResolvedPart, views: dict[int, View]) -> Floats:
        return unit(self.model.encode_captions([part.label])[0]) if part.kind == "text" else self._vector(part, views)


def _sentence(asked: Sequence[ResolvedPart], views: dict[int, View]) -> tuple[Sentence, list[Example | None]]:
    pieces: list[tuple[str, int | None, bool]] = []
    examples: list[Example | None] = []
    for part in asked:
        visual = part.kind != "text" and part.photo is not None
        number = None
        if part.role == "entity":
            number = len(examples)
            examples.append(_example(part, views) if visual else None)
        pieces.append((part.label, number, visual))
    return compose(pieces), examples


def _example(part: ResolvedPart, views: dict[int, View]) -> Example:
    view = views[id(part)]
    return Example(view, np.ones(view.resized, bool) if part.mask is None else part.mask, part.background)


def _distinct(masks: Tensor, quality: Tensor) -> list[int]:
    """Proposals worth keeping, best first: not too small, and not the same pixels as a better one."""
    flat = masks.flatten(1).float()
    area = flat.sum(1)
    shared = flat @ flat.T
    iou = shared / (area[:, None] + area[None] - shared).clamp(min=1)
    kept: list[int] = []
    for n in quality.argsort(descending=True).tolist():
        if area[n] >= max(1.0, SMALLEST_AREA * flat.shape[1]) and not any(iou[n, k] > SAME_IOU for k in kept):
            kept.append(n)
    return kept[:MOST_REGIONS]


def _array(rows: Tensor) -> Floats:
    return rows.float().cpu().numpy()
