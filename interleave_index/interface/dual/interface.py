"""A dual encoder behind the interface protocol: its own vectors of photos and texts, with regions and masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TypeAlias

from ...geometry import size_of
from ...models.hub.dual_encoder import DualEncoder
from ...models.hub.pixels import Prepared
from ...records import RGB, BoolMask, Floats, GroundedMask, QueryEncoding, ResolvedPart, ResolvedQuery
from ..best_region import best_regions
from ..protocol import composed_query, pixels_of, stored_vector
from .proposals import Proposer, outlined
from .regions import RegionEncoder, WholeView
from .with_regions import EncoderWithRegions

Views: TypeAlias = "tuple[Future[Prepared] | None, Future[Prepared]]"  # the model's own, None where the other is it


class DualInterface(EncoderWithRegions[Views]):
    """A dual encoder with regions.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        method: how a mask becomes a vector: ``attention``, ``patches`` or ``crop``.
    """

    on_cpu, on_accelerator = (8, 16), (64, 512)
    reads_pictures = False

    def __init__(self, encoder: DualEncoder, proposer: Proposer, *, method: str = "attention") -> None:
        self._regions = RegionEncoder(encoder, method, self._new_batcher(encoder))
        self.encoder = encoder
        self._one_view = self._regions.view == encoder.preprocessing
        regions = f"regions {self._regions.method} of {self._regions.view}"
        super().__init__(encoder, proposer, f"{encoder.preprocessing}; {regions}")

    def _captions(self, texts: Sequence[str]) -> Floats:
        return self.encoder.encode_texts(texts)

    def _seen(self, photo: RGB, mask: BoolMask) -> tuple[Floats, Floats]:
        return self._image(photo), self._vectors(photo, [mask])[0]

    def _image(self, photo: RGB) -> Floats:
        return self.encoder.encode_images([self.encoder.prepare(photo)])[0].image

    def _prepare(self, photo: RGB) -> Views:
        own = None if self._one_view else self._threads.submit(self.encoder.prepare, photo)
        return own, self._threads.submit(self._regions.prepare, photo)

    def _look(
        self, photos: Sequence[RGB], prepared: Sequence[Views], masks: Sequence[Sequence[BoolMask]]
    ) -> list[WholeView]:
        views = self._regions.encode(photos, [whole.result() for _, whole in prepared], masks)
        if self._one_view:
            return views
        own = self.encoder.encode_images([image.result() for image, _ in prepared if image is not None])
        return [replace(view, image=one.image) for view, one in zip(views, own, strict=True)]

    def _vectors(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        return self._regions.vectors(photo, masks)

    # --- queries ------------------------------------------------------------------------------

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query` and `composed_query`: dual encoders read no sentences with pictures.

        The vector of a text entity is that of its phrase alone, of a whole picture its image vector, of a part that of
        its mask in the picture.
        """
        return composed_query(query, self.space.dim, self._text, self._vector)

    def _text(self, words: str) -> Floats:
        vector: Floats = self.encoder.encode_texts([words])[0]
        return vector

    def _vector(self, part: ResolvedPart) -> Floats:
        if part.kind == "text":
            return self._text(part.label)
        stored = stored_vector(part)
        if stored is not None:
            return stored
        photo = pixels_of(part)
        if part.mask is None:
            return self._image(photo)
        cells = self._regions.grid(size_of(photo)).cells
        mask = outlined(photo, part.mask, part.background, cells=cells, proposer=self._proposer)
        vector: Floats = self._vectors(photo, [mask])[0]
        return vector

    # --- grounding ----------------------------------------------------------------------------

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: the best region of each entity; the photo as a whole where it has none."""
        parts = [part for part in query if part.role == "entity"]
        if not parts:
            return []
        (encoding,) = self.encode_photos([photo])
        return best_regions(encoding, map(self._vector, parts), size_of(photo))
