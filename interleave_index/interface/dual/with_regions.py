"""What the interfaces over encoders of a hub do alike: photos with regions of a proposer, in batches, and banks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import ClassVar, Generic, Protocol, TypeVar

import torch

from ...grounding.record import pack
from ...grounding.similarity import Scene
from ...models.batching import Batcher
from ...records import RGB, BoolMask, Floats, PhotoEncoding, Space
from ..calibration import Calibration
from ..generic import generic_captions
from ..protocol import Capabilities, InspectedPhoto, Interface, TextReading
from .banks import calibration_of, make_calibration
from .proposals import Proposals, Proposer
from .regions import WholeView

RANK = 16  # of the patch vectors in a stored record
THREADS = 4  # that bring photos to the size of the input, beside the model

Prepared = TypeVar("Prepared")  # a photo on its way to the size of the input


class HubEncoder(Protocol):
    """What is asked of either kind of encoder."""

    name: str
    checkpoint: str
    dim: int
    device: torch.device
    dtype: torch.dtype

    def beyond_context(self, text: str) -> str:
        """The end of a text that the encoder does not read."""


class EncoderWithRegions(Interface, Generic[Prepared]):
    """Base of the interfaces over an encoder of a hub.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        preprocessing: of photos and regions, for the identity of the space.
    Attributes:
        batcher: how many photos go through the model at a time.
    """

    on_cpu: ClassVar[tuple[int, int]]  # photos of the first batch and of the largest
    on_accelerator: ClassVar[tuple[int, int]]
    reads_pictures: ClassVar[bool]  # see `Capabilities.reads_pictures_in_text`

    def __init__(self, encoder: HubEncoder, proposer: Proposer, preprocessing: str) -> None:
        self.batcher = self._new_batcher(encoder)
        self._proposer, self._hub_encoder = proposer, encoder
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resize")
        self._space = Space(
            interface=encoder.name,
            checkpoint=encoder.checkpoint,
            dim=encoder.dim,
            preprocessing=f"{preprocessing}; proposals {proposer.name}",
        )

    @classmethod
    def _new_batcher(cls, encoder: HubEncoder) -> Batcher:
        return Batcher(*(cls.on_cpu if encoder.device.type == "cpu" else cls.on_accelerator))

    @property
    def space(self) -> Space:
        """The checkpoint's hash, how photos and regions are prepared, and the proposals' own hash."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """Many photos in one call: they are split as memory allows."""
        return Capabilities(
            reads_pictures_in_text=self.reads_pictures,
            photos_at_a_time=max(self.on_cpu[1], self.batcher.most),
            device=str(self._hub_encoder.device),
            dtype=str(self._hub_encoder.dtype).removeprefix("torch."),
        )

    @cached_property
    def calibration(self) -> Calibration:
        """See `banks`."""
        return calibration_of(self.space, lambda: make_calibration(self._captions(generic_captions()), self._seen))

    def reading(self, text: str) -> TextReading:
        """Only the end that lies beyond what the encoder reads: it knows every word by its pieces."""
        return TextReading(cut=self._hub_encoder.beyond_context(text))

    # --- what an encoder fills in ---------------------------------------------------------------

    @abstractmethod
    def _captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) unit vectors of texts."""

    @abstractmethod
    def _seen(self, photo: RGB, mask: BoolMask) -> tuple[Floats, Floats]:
        """(D,) unit vectors of a photo and of the part of it under a mask."""

    @abstractmethod
    def _prepare(self, photo: RGB) -> Prepared:
        """Begin to bring a photo to the size of the input, in another thread."""

    @abstractmethod
    def _look(
        self, photos: Sequence[RGB], prepared: Sequence[Prepared], masks: Sequence[Sequence[BoolMask]]
    ) -> list[WholeView]:
        """One batch through the model: of each photo its image vector, and those of its masks and patches."""

    @abstractmethod
    def _vectors(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        """(M, D) unit vectors of some masks in one photo."""

    # --- photos -------------------------------------------------------------------------------

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`. The image vector is the encoder's own; each carries a grounding record."""
        return [encoding for encoding, _ in self._encode(photos)]

    def _encode(self, photos: Sequence[RGB]) -> list[tuple[PhotoEncoding, WholeView]]:
        """Encodings, and the view of each photo as a whole that they were made from."""
        # Resizing runs in threads while the proposals are made, and while the model works on the batch before.
        prepared = [self._prepare(photo) for photo in photos]
        proposals = self._proposer.propose(photos)
        return self.batcher.run(list(zip(photos, prepared, proposals, strict=True)), self._encode_batch)

    def _encode_batch(self, items: Sequence[tuple[RGB, Prepared, Proposals]]) -> list[tuple[PhotoEncoding, WholeView]]:
        photos, prepared, proposals = zip(*items, strict=True)
        masks = [one.decoded() for one in proposals]
        encodings = []
        for view, one, photo_masks in zip(self._look(photos, prepared, masks), proposals, masks, strict=True):
            record = pack(view.grid, photo_masks, self.space.checkpoint, view.patches, rank=RANK)
            encodings.append((one.encoding(view.image, view.regions, record), view))
        return encodings

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """See `Interface.inspect`: with the vectors of all patches, and vectors of masks by the regions' method."""
        ((encoding, view),) = self._encode([photo])
        coverage = view.grid.coverage([mask.decode() for mask in encoding.masks])
        scene = Scene(
            view.grid, encoding.regions, coverage, encoding.masks, encoding.boxes, view.patches, encoding.scores
        )
        return InspectedPhoto(scene, embed=lambda masks: self._vectors(photo, masks))
