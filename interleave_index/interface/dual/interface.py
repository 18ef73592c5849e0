"""A dual encoder behind the interface protocol: its own vectors of photos and texts, with regions and masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

from ...geometry import size_of
from ...grounding.record import pack
from ...grounding.similarity import Scene
from ...models.batching import Batcher
from ...models.hub.dual_encoder import DualEncoder
from ...models.hub.pixels import Prepared
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
from ..best_region import best_regions
from ..calibration import Calibration
from ..protocol import Capabilities, InspectedPhoto, Interface, TextReading, composed_query, pixels_of, stored_vector
from .banks import calibration_of, make_calibration
from .proposals import Proposals, Proposer, outlined
from .regions import RegionEncoder, WholeView

RANK = 16  # of the patch vectors in a stored record
ON_CPU, ON_ACCELERATOR = (8, 16), (64, 512)  # photos of the first batch and of the largest
THREADS = 4  # that bring photos to the size of the input, beside the model


@dataclass(frozen=True, slots=True)
class _Item:
    """One photo on its way through the model."""

    photo: RGB
    proposals: Proposals
    image: Future[Prepared] | None  # None: the view as a whole is the model's own
    whole: Future[Prepared]


class DualInterface(Interface):
    """A dual encoder with regions.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        method: how a mask becomes a vector: ``attention``, ``patches`` or ``crop``.
    Attributes:
        batcher: how many photos go through the model at a time.
    """

    def __init__(self, encoder: DualEncoder, proposer: Proposer, *, method: str = "attention") -> None:
        start, most = ON_CPU if encoder.device.type == "cpu" else ON_ACCELERATOR
        self.batcher = Batcher(start, most)
        self._encoder, self._proposer = encoder, proposer
        self._regions = RegionEncoder(encoder, method, Batcher(start, most))
        self._one_view = self._regions.view == encoder.preprocessing
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resize")
        self._space = Space(
            interface=encoder.name,
            checkpoint=encoder.checkpoint,
            dim=encoder.dim,
            preprocessing=f"{encoder.preprocessing}; regions {self._regions.method} of {self._regions.view}; "
            f"proposals {proposer.name}",
        )

    @property
    def space(self) -> Space:
        """The checkpoint's hash, the preprocessing and its backend, the method, and the proposals' own hash."""
        return self._space

    @property
    def encoder(self) -> DualEncoder:
        """The checkpoint."""
        return self._encoder

    @property
    def capabilities(self) -> Capabilities:
        """Many photos in one call: they are split as memory allows."""
        return Capabilities(
            reads_pictures_in_text=False,
            photos_at_a_time=max(ON_CPU[1], self.batcher.most),
            device=str(self._encoder.device),
            dtype=str(self._encoder.dtype).removeprefix("torch."),
        )

    @cached_property
    def calibration(self) -> Calibration:
        """See `banks`."""
        return calibration_of(self.space, lambda: make_calibration(self._encoder, self._regions))

    def reading(self, text: str) -> TextReading:
        """Only the end that lies beyond what the encoder reads: it knows every word by its pieces."""
        return TextReading(cut=self._encoder.beyond_context(text))

    # --- photos -------------------------------------------------------------------------------

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`. The image vector is the encoder's own; each carries a grounding record."""
        return [encoding for encoding, _ in self._encode(photos)]

    def _encode(self, photos: Sequence[RGB]) -> list[tuple[PhotoEncoding, WholeView]]:
        """Encodings, and the view of each photo as a whole that they were made from."""
        # Resizing runs in threads while the proposals are made, and while the model works on the batch before.
        resized = [
            (
                None if self._one_view else self._threads.submit(self._encoder.prepare, photo),
                self._threads.submit(self._regions.prepare, photo),
            )
            for photo in photos
        ]
        proposals = self._proposer.propose(photos)
        items = [
            _Item(photo, proposed, *futures)
            for photo, proposed, futures in zip(photos, proposals, resized, strict=True)
        ]
        return self.batcher.run(items, self._encode_batch)

    def _encode_batch(self, items: Sequence[_Item]) -> list[tuple[PhotoEncoding, WholeView]]:
        masks = [item.proposals.decoded() for item in items]
        whole = [item.whole.result() for item in items]
        views = self._regions.encode([item.photo for item in items], whole, masks)
        images = [view.image for view in views]
        if not self._one_view:
            prepared = [item.image.result() for item in items if item.image is not None]
            images = [encoded.image for encoded in self._encoder.encode_images(prepared)]
        encodings = []
        for item, image, view, photo_masks in zip(items, images, views, masks, strict=True):
            record = pack(view.grid, photo_masks, self.space.checkpoint, view.patches, rank=RANK)
            encodings.append((item.proposals.encoding(image, view.regions, record), view))
        return encodings

    # --- queries ------------------------------------------------------------------------------

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query` and `composed_query`: dual encoders read no sentences with pictures.

        The vector of a text entity is that of its phrase alone, of a whole picture its image vector, of a part that of
        its mask in the picture.
        """
        return composed_query(query, self.space.dim, self._text, self._vector)

    def _text(self, words: str) -> Floats:
        vector: Floats = self._encoder.encode_texts([words])[0]
        return vector

    def _vector(self, part: ResolvedPart) -> Floats:
        if part.kind == "text":
            return self._text(part.label)
        stored = stored_vector(part)
        if stored is not None:
            return stored
        photo = pixels_of(part)
        if part.mask is None:
            return self._encoder.encode_images([self._encoder.prepare(photo)])[0].image
        cells = self._regions.grid(size_of(photo)).cells
        mask = outlined(photo, part.mask, part.background, cells=cells, proposer=self._proposer)
        vector: Floats = self._regions.vectors(photo, [mask])[0]
        return vector

    # --- grounding ----------------------------------------------------------------------------

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """See `Interface.inspect`: with the vectors of all patches, and vectors of masks by the regions' method."""
        ((encoding, view),) = self._encode([photo])
        coverage = view.grid.coverage([mask.decode() for mask in encoding.masks])
        scene = Scene(
            view.grid, encoding.regions, coverage, encoding.masks, encoding.boxes, view.patches, encoding.scores
        )
        return InspectedPhoto(scene, embed=lambda masks: self._regions.vectors(photo, masks))

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: the best region of each entity; the photo as a whole where it has none."""
        parts = [part for part in query if part.role == "entity"]
        if not parts:
            return []
        (encoding,) = self.encode_photos([photo])
        return best_regions(encoding, map(self._vector, parts), size_of(photo))
