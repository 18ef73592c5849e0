"""A dual encoder behind the interface protocol: its own vectors of photos and texts, with regions and masks."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ShapeError
from ...grounding.record import pack, unpack
from ...models.batching import Batcher
from ...models.hub.dual_encoder import DualEncoder
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
from ..protocol import Capabilities, Interface
from .banks import calibration_of, make_calibration
from .ground import BestRegion, Grounder, Look
from .legend import compose
from .named import named_proposer
from .proposals import Proposals, Proposer, meant
from .regions import Parts, RegionEncoder

RANK = 16  # of the patch vectors in a stored record
ON_CPU, ON_ACCELERATOR = (8, 16), (64, 512)  # photos of the first batch and of the largest
THREADS = 4  # that bring photos to the size of the input, beside the model
FEW_CELLS = 1.0  # a marked part that covers less than this many cells points at something rather than outlining it


@dataclass(frozen=True, slots=True)
class _Item:
    """One photo on its way through the model."""

    photo: RGB
    proposals: Proposals
    image: Future[NDArray[np.uint8]] | None  # None: the view as a whole is the model's own
    whole: Future[NDArray[np.uint8]]


class DualInterface(Interface):
    """CLIP, MetaCLIP 2, SigLIP or SigLIP 2 with regions.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        method: how a mask becomes a vector: ``attention``, ``patches`` or ``crop``.
        grounder: takes the second look at a photo; None takes its best region.
    Attributes:
        batcher: how many photos go through the model at a time.
    """

    def __init__(
        self, encoder: DualEncoder, proposer: Proposer, *, method: str = "attention", grounder: Grounder | None = None
    ) -> None:
        start, most = ON_CPU if encoder.device.type == "cpu" else ON_ACCELERATOR
        self.batcher = Batcher(start, most)
        self._encoder, self._proposer, self._grounder = encoder, proposer, grounder or BestRegion()
        self._regions = RegionEncoder(encoder, method, Batcher(start, most))
        self._one_view = self._regions.view == encoder.preprocessing
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resize")
        self._space = Space(
            interface=encoder.name,
            checkpoint=encoder.checkpoint,
            dim=encoder.dim,
            preprocessing=f"{encoder.preprocessing}; regions {method} of {self._regions.view}; "
            f"proposals {proposer.name}",
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        method: str = "attention",
        proposals: str = "find-mini",
        offline: bool = False,
        grounder: Grounder | None = None,
    ) -> DualInterface:
        """From a checkpoint folder; `proposals` names the interface, or the segmenter, whose masks become the regions.

        Raises:
            WeightsMissing, ModelError, BackendMissing, ConfigError.
        """
        encoder = DualEncoder(folder, device=device, dtype=dtype)
        return cls(encoder, named_proposer(proposals, device=device, offline=offline), method=method, grounder=grounder)

    @property
    def space(self) -> Space:
        """The checkpoint's hash, the preprocessing and its backend, the method, and the proposals' own hash."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """Many photos in one call: they are split as memory allows."""
        return Capabilities(
            photos_at_a_time=max(ON_CPU[1], self.batcher.most),
            device=str(self._encoder.device),
            dtype=str(self._encoder.dtype).removeprefix("torch."),
        )

    @cached_property
    def calibration(self) -> Calibration:
        """See `banks`."""
        return calibration_of(self.space, lambda: make_calibration(self._encoder, self._regions))

    # --- photos -------------------------------------------------------------------------------

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`. The image vector is the encoder's own; each carries a grounding record."""
        return [encoding for encoding, _ in self._encoded(photos)]

    def _encoded(self, photos: Sequence[RGB]) -> list[tuple[PhotoEncoding, Parts]]:
        """Encodings, and the parts that they were made of."""
        # Resizing runs in threads while the proposals are made, and while the model works on the batch before.
        resized = [
            (
                None if self._one_view else self._threads.submit(self._encoder.prepare, photo),
                self._threads.submit(self._regions.prepare, photo),
            )
            for photo in photos
        ]
        proposals = self._proposer.propose(photos)
        items = [_Item(photo, found, *views) for photo, found, views in zip(photos, proposals, resized, strict=True)]
        return self.batcher.run(items, self._batch)

    def _batch(self, items: Sequence[_Item]) -> list[tuple[PhotoEncoding, Parts]]:
        masks = [item.proposals.decoded() for item in items]
        whole = [item.whole.result() for item in items]
        parts, looked = self._regions.look([item.photo for item in items], whole, masks)
        if not self._one_view:
            looked = self._encoder.look([item.image.result() for item in items if item.image is not None])
        found = []
        for item, one, part, some in zip(items, looked, parts, masks, strict=True):
            record = pack(part.grid, some, self.space.checkpoint, part.patches, rank=RANK)
            found.append(
                (
                    PhotoEncoding(
                        image=one.image,
                        regions=part.regions,
                        boxes=item.proposals.boxes,
                        areas=item.proposals.areas,
                        scores=item.proposals.scores,
                        masks=item.proposals.masks,
                        grounding=record,
                    ),
                    part,
                )
            )
        return found

    # --- queries ------------------------------------------------------------------------------

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query` and `legend`. The vector of a text entity is that of its phrase alone, of a
        whole picture its image vector, of a part that of its mask in the picture."""
        asked = [part for part in query if part.role != "negative"]
        known: dict[int, Floats] = {}

        def vector(part: ResolvedPart) -> Floats:
            if id(part) not in known:
                known[id(part)] = self._vector(part)
            return known[id(part)]

        def rows(role: str) -> Floats:
            found = [vector(part) for part in query if part.role == role]
            return np.stack(found) if found else np.zeros((0, self.space.dim), np.float32)

        return QueryEncoding(
            legend=compose(asked, self.space.dim, self._text, vector),
            entities=rows("entity"),
            negatives=rows("negative"),
        )

    def _text(self, words: str) -> Floats:
        found: Floats = self._encoder.texts([words])[0]
        return found

    def _vector(self, part: ResolvedPart) -> Floats:
        if part.kind == "text":
            return self._text(part.label)
        if part.vector is not None and (part.photo is None or part.kind == "region"):
            return part.vector
        if part.photo is None:
            raise ShapeError(f"part {part.label!r} has neither pixels nor a stored vector")
        if part.mask is None:
            return self._encoder.look([self._encoder.prepare(part.photo)])[0].image
        found: Floats = self._regions.vectors(part.photo, [self._outlined(part.photo, part.mask, part.background)])[0]
        return found

    def _outlined(self, photo: RGB, mask: BoolMask, background: BoolMask | None) -> BoolMask:
        """The part that is meant: the mask itself, or for points the proposal that they point at."""
        cells = float(mask.mean()) * self._regions.grid((photo.shape[0], photo.shape[1])).cells
        if background is None and cells >= FEW_CELLS:
            return mask
        found = meant(mask, background, self._proposer.propose([photo])[0])
        return mask if found is None else found

    # --- grounding ----------------------------------------------------------------------------

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`; the grounder does the work."""
        entities = tuple(part for part in query if part.role == "entity")
        if not entities:
            return []
        encoding, parts = self._encoded([photo])[0]
        full = min(parts.patches.shape)
        record = unpack(
            pack(
                parts.grid, [mask.decode() for mask in encoding.masks], self.space.checkpoint, parts.patches, rank=full
            )
        )
        return self._grounder.ground(
            Look(
                photo=photo,
                parts=entities,
                vectors=np.stack([self._vector(part) for part in entities]),
                encoding=encoding,
                record=record,
                calibration=lambda: self.calibration,
                embed=lambda masks: self._regions.vectors(photo, masks),
            )
        )
