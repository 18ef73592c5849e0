"""X-Decoder and SEEM where an interface is expected: the first fills an index, the second grounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import ModelError
from ...geometry import box_of, encode_rle, unit
from ...models.hub import local
from ...records import (
    RGB,
    BoolMask,
    Floats,
    GroundedMask,
    PhotoEncoding,
    QueryEncoding,
    ResolvedPart,
    ResolvedQuery,
    Space,
)
from ..calibration import Calibration
from ..find.adapter import View, encoding_of, to_array
from ..find.tasks import certainty_of
from ..latest import OfLatestQuery
from ..marked import grounded as marked
from ..marked import marks_of
from ..only_grounds import GroundingInterface
from ..protocol import Capabilities, Interface, TextReading, composed_query, pixels_of, stored_vector
from ..published.answers import MaskAnswer
from ..published.preparation import prompt_mask
from ..published.prepared import read_class_table, read_prepared
from ..published.regions import distinct_regions
from .folder import load_family
from .model import SeemModel, XDecoderModel

FEW_PIXELS = 0.002  # share of a photo: a marked part smaller than this points at something rather than outlining it


class XDecoderInterface(Interface):
    """A released X-Decoder: vectors of photos, texts and proposals.

    A photo's vector is that of retrieval, from the photo squeezed to a square; its regions and masks come from a second
    look at it in its own aspect. It reads no sentences with pictures, see `composed_query`.

    Args:
        model: ready to answer.
        space: see `Interface`.
        class_table, calibration: as `read_prepared` gives them.
    """

    def __init__(self, model: XDecoderModel, space: Space, class_table: Tensor, calibration: Calibration) -> None:
        self.model = model
        self._space, self._calibration, self.class_table = space, calibration, class_table.to(model.device)
        self._pictures = OfLatestQuery(self._vectors_of)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> XDecoderInterface:
        """An imported checkpoint; arguments as of `PublishedFind.load`.

        Raises:
            WeightsMissing: no such model, or it was not prepared.
        """
        model = load_family(folder, device=device, dtype="float32" if dtype == "auto" else dtype)
        if not isinstance(model, XDecoderModel):
            raise ModelError(f"{folder} holds SEEM, expected X-Decoder")
        config = local.read_config(folder)
        space = model.space(config, model.dim, "bicubic", "; image vectors squeezed to 224 x 224")
        return cls(model, space, *read_prepared(folder))

    def table_of(self, vectors: Floats) -> Tensor:
        """(K + 1, C) class table of K vectors of proposals (K, D), background added in words."""
        rows = torch.from_numpy(vectors).to(self.class_table.device)
        half = rows[:, : self.class_table.shape[1]]  # both halves of a proposal's vector are the same
        return torch.cat([F.normalize(half, dim=-1), self.model.class_table([])])

    @property
    def space(self) -> Space:
        """Named by the model's folder, distinguished by the hash of its files and by how photos are prepared."""
        return self._space

    @property
    def calibration(self) -> Calibration:
        """Banks of the model's folder."""
        return self._calibration

    @property
    def capabilities(self) -> Capabilities:
        """One photo at a time."""
        return Capabilities(
            reads_pictures_in_text=False,
            photos_at_a_time=1,
            device=str(self.model.device),
            dtype=self.model.precision,
        )

    def reading(self, text: str) -> TextReading:
        """Only the end that lies beyond what the text tower reads: it knows every word by its pieces."""
        return TextReading(cut=self.model.texts.beyond_context(text))

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`; at most 100 regions, best first, those of the same pixels once."""
        encodings = []
        for photo in photos:
            view = self.model.view(photo, bicubic=True)
            masks, quality, vectors = self.model.everything(view, self.class_table)
            regions = distinct_regions(view, masks, quality, vectors, first=self.model.grow)
            encodings.append(encoding_of(self.model.encode_image(photo), regions, view.photo))
        return encodings

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query` and `composed_query`.

        The vector of a whole picture is its image vector, of a part of it that of the proposal which fits it best.
        """
        return composed_query(query, self.space.dim, self.model.encode_phrase, self._vector)

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: all expressions share a pass; pictures choose the proposal that is most like them."""
        entities = [part for part in query if part.role == "entity"]
        if not entities:
            return []
        view = self.model.view(photo, bicubic=True)
        texts = [part.label for part in entities if part.kind == "text"]
        by_text = iter(self.model.ground(view, texts))
        shown = iter(self._find(view, tuple(part for part in entities if part.kind != "text")))
        return grounded([next(by_text) if part.kind == "text" else next(shown) for part in entities])

    def _find(self, view: View, parts: ResolvedQuery) -> list[MaskAnswer]:
        """The proposal of a photo that is most like each picture."""
        if not parts:
            return []
        masks, _, vectors = self.model.everything(view, self.class_table)
        wanted = torch.from_numpy(self._pictures(parts)).to(vectors.device)
        return self.model.answers(view, masks, vectors @ wanted.T)

    def _vectors_of(self, parts: ResolvedQuery) -> Floats:
        return np.stack([self._vector(part) for part in parts])

    def _vector(self, part: ResolvedPart) -> Floats:
        if part.kind == "text":
            return self.model.encode_phrase(part.label)
        stored = stored_vector(part)
        if stored is not None:
            return stored
        photo = pixels_of(part)
        if part.mask is None:
            return self.model.encode_image(photo)
        view = self.model.view(photo, bicubic=True)
        masks, _, vectors = self.model.everything(view, self.class_table)
        fit = _fit(masks, view, part.mask, part.background)
        vector: Floats = unit(to_array(vectors[int(fit.argmax())]))
        return vector


def _fit(masks: Tensor, view: View, mask: BoolMask, background: BoolMask | None) -> Tensor:
    """(Q,) how well proposals fit a marked part: by soft IoU; for a few marked pixels, small ones that hold them.

    Args:
        masks: (Q, h, w) logits at stride 4 of the view.
    """
    size = (masks.shape[1], masks.shape[2])
    chances = masks.sigmoid().flatten(1)
    wanted, other = (
        None if one is None else F.adaptive_max_pool2d(prompt_mask(one, view)[None, None].float(), size).flatten()
        for one in (mask, background)
    )
    if wanted is None:
        raise TypeError("a part is marked by a mask")
    inside = chances @ wanted.to(chances.device)
    if mask.mean() < FEW_PIXELS:
        fit = inside / wanted.sum() - 0.1 * chances.mean(1)
    else:
        fit = inside / (chances.sum(1) + wanted.sum() - inside)
    if other is not None and other.any():
        fit = fit - chances @ other.to(chances.device) / other.sum()
    return fit


class SeemInterface(GroundingInterface):
    """A released SEEM for `ground` alone; see `capabilities`.

    Args:
        model: ready to answer.
        space: no vectors are ever of it.
        class_table: (K + 1, C), by which the quality of proposals is judged.
    """

    def __init__(self, model: SeemModel, space: Space, class_table: Tensor) -> None:
        super().__init__(str(model.device), model.precision)
        self.model, self._space, self.class_table = model, space, class_table.to(model.device)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu", dtype: str = "auto") -> SeemInterface:
        """An imported checkpoint; arguments as of `PublishedFind.load`.

        Raises:
            WeightsMissing: no such model, or it was not prepared.
        """
        model = load_family(folder, device=device, dtype="float32" if dtype == "auto" else dtype)
        if not isinstance(model, SeemModel):
            raise ModelError(f"{folder} holds X-Decoder, expected SEEM")
        return cls(model, model.space(local.read_config(folder), 1, "bicubic"), read_class_table(folder))

    @property
    def space(self) -> Space:
        """No vectors are ever of it."""
        return self._space

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: all expressions share a pass; parts of this very photo are prompts drawn on it.

        Raises:
            InputError: a part of another photo, for SEEM v1.
        """
        entities = [part for part in query if part.role == "entity"]
        if not entities:
            return []
        view = self.model.view(photo, bicubic=True)
        by_text = iter(self.model.ground(view, [part.label for part in entities if part.kind == "text"]))
        return grounded([next(by_text) if part.kind == "text" else self._find(photo, view, part) for part in entities])

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """See `Interface.interact`: by prompts drawn on the photo; a box is all its pixels."""
        return [
            marked(number, part, answer.mask, answer.score)
            for number, (part, answer) in enumerate(zip(parts, self._drawn(photo, parts), strict=True))
        ]

    def _drawn(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[MaskAnswer]:
        """What marks on a photo mean; the score is the certainty inside the mask."""
        view = self.model.view(photo, bicubic=True)
        answer = self.model.interact(view, *marks_of(photo, parts))
        sure = certainty_of(answer.logits[0]).tolist()
        return [MaskAnswer(mask, score, score) for mask, score in zip(answer.masks, sure, strict=True)]

    def _find(self, photo: RGB, view: View, part: ResolvedPart) -> MaskAnswer:
        other = pixels_of(part)
        mask = np.ones(other.shape[:2], bool) if part.mask is None else part.mask
        if other is photo or np.array_equal(other, photo):
            return self._drawn(photo, [replace(part, mask=mask)])[0]
        return self.model.find_example(view, self.model.view(other, bicubic=True), mask, part.background)

    def _error(self, what: str) -> ModelError:
        name = self._space.interface
        return ModelError(
            f"{name} is SEEM, which {what}: it masks what a query means in one photo at a time, as in: "
            f'interleave-index ground PHOTO "[the dog]" --model {name}; models.proposals and --grounders take it too'
        )


def grounded(answers: Sequence[MaskAnswer]) -> list[GroundedMask]:
    """One mask an entity, in order."""
    return [
        GroundedMask(number, encode_rle(answer.mask), box_of(answer.mask), answer.cosine)
        for number, answer in enumerate(answers)
    ]
