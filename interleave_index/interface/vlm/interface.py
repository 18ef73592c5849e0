"""An interleaved encoder behind the interface protocol: sentences with their pictures, and photos with regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np

from ...geometry import size_of, unit
from ...grounding.record import pack
from ...grounding.similarity import Scene
from ...models.batching import Batcher
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
from ..dual.banks import calibration_of
from ..dual.interface import RANK, THREADS
from ..dual.proposals import Proposals, Proposer, outlined
from ..dual.regions import square_around
from ..protocol import Capabilities, InspectedPhoto, Interface, TextReading, encode_parts, pixels_of
from .banks import make_calibration
from .encoder import EncodedPhoto, InterleavedEncoder, Sentence
from .regions import RegionEncoder

ON_CPU, ON_ACCELERATOR = (2, 8), (16, 256)  # inputs of the first batch and of the largest

Wanted: TypeAlias = "Sentence | Floats"  # what is still to be read, or a vector that is known
Key: TypeAlias = tuple[str | int, ...]  # of a sentence


@dataclass(frozen=True, slots=True)
class _Item:
    """One photo on its way through the model."""

    photo: RGB
    proposals: Proposals
    prepared: Future[RGB]


@dataclass(slots=True)
class _Plan:
    """What one query needs.

    Attributes:
        sentence: what the model reads as a whole.
        weights: of the parts in the sentence.
        beside: weight and stored vector of the parts that have no pixels to be read.
        parts: by the identity of a part, what gives its own vector.
    """

    sentence: Sentence = ()
    weights: list[float] = field(default_factory=list)
    beside: list[tuple[float, Floats]] = field(default_factory=list)
    parts: dict[int, Wanted] = field(default_factory=dict)


class VlmInterface(Interface):
    """Qwen3-VL-Embedding or EmbeddingGemma 2 with regions.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        method: how a mask becomes a vector: ``attention``, ``patches`` or ``crop``, see `regions`.
    Attributes:
        batcher: how many photos go through the model at a time.
    """

    def __init__(self, encoder: InterleavedEncoder, proposer: Proposer, *, method: str = "attention") -> None:
        start, most = ON_CPU if encoder.device.type == "cpu" else ON_ACCELERATOR
        self.batcher = Batcher(start, most)
        self._sentences = Batcher(start, most)
        self._encoder, self._proposer = encoder, proposer
        self._regions = RegionEncoder(encoder, method, Batcher(start, most))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="resize")
        self._space = Space(
            interface=encoder.name,
            checkpoint=encoder.checkpoint,
            dim=encoder.dim,
            preprocessing=f"{encoder.pixels}; regions {method}; width {encoder.dim}; proposals {proposer.name}",
        )

    @property
    def space(self) -> Space:
        """The checkpoint's hash, the preprocessing and its backend, the method, the width, and the proposals' hash."""
        return self._space

    @property
    def capabilities(self) -> Capabilities:
        """Sentences with pictures are read as one; many photos in one call are split as memory allows."""
        return Capabilities(
            reads_pictures_in_text=True,
            photos_at_a_time=max(ON_CPU[1], self.batcher.most),
            device=str(self._encoder.device),
            dtype=str(self._encoder.dtype).removeprefix("torch."),
        )

    @cached_property
    def calibration(self) -> Calibration:
        """See `banks`."""
        return calibration_of(self.space, lambda: make_calibration(self._encoder, self._regions, self._sentences))

    def reading(self, text: str) -> TextReading:
        """Only the end that lies beyond what the encoder reads: it knows every word by its pieces."""
        return TextReading(cut=self._encoder.beyond_context(text))

    # --- photos -------------------------------------------------------------------------------

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """See `Interface.encode_photos`. The image vector is the encoder's own; each carries a grounding record."""
        return [encoding for encoding, _ in self._encode(photos)]

    def _encode(self, photos: Sequence[RGB]) -> list[tuple[PhotoEncoding, EncodedPhoto]]:
        # Resizing runs in threads while the proposals are made, and while the model works on the batch before.
        prepared = [self._threads.submit(self._encoder.pixels.prepare, photo) for photo in photos]
        proposals = self._proposer.propose(photos)
        items = [_Item(*facts) for facts in zip(photos, proposals, prepared, strict=True)]
        return self.batcher.run(items, self._encode_batch)

    def _encode_batch(self, items: Sequence[_Item]) -> list[tuple[PhotoEncoding, EncodedPhoto]]:
        masks = [item.proposals.decoded() for item in items]
        prepared = [item.prepared.result() for item in items]
        encoded = self._regions.encode([item.photo for item in items], prepared, masks)
        encodings = []
        for item, one, photo_masks in zip(items, encoded, masks, strict=True):
            grid = self._regions.grid(size_of(item.photo))
            record = pack(grid, photo_masks, self.space.checkpoint, one.patches, rank=RANK)
            encodings.append((item.proposals.encoding(one.image, one.regions, record), one))
        return encodings

    # --- queries ------------------------------------------------------------------------------

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """See `Interface.encode_query`. The legend is what the model makes of the whole sentence.

        Words, whole pictures and the squares around marked parts stand in it in their order; negatives do not.
        Weights take no part in it: the model weighs what it reads. What has a stored vector and no pixels is added
        to the legend with its weight, the sentence counting as much as the mean of its parts. No parts give zeros.

        The vector of a text entity is that of its phrase alone, of a whole picture its image vector, of a part that
        of its mask in the picture. A stored vector is taken as it is, for every pass over a picture is dear.
        """
        return self.encode_queries([query])[0]

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """See `Interface.encode_queries`: sentences and entities of several queries go through the model together.

        What a batch holds moves the last digits of its vectors. A query alone is therefore read sentence by sentence:
        the same query always has the same vectors, to the bit.
        """
        plans = [self._plan(query) for query in queries]
        wanted = [each for plan in plans for each in (plan.sentence, *plan.parts.values()) if isinstance(each, tuple)]
        vectors = self._read(wanted, self._sentences if len(queries) > 1 else Batcher(1, 1))
        return [
            encode_parts(
                query,
                self._legend(plan, vectors),
                lambda part, plan=plan: _vector(plan.parts[id(part)], vectors),  # type: ignore[misc]
            )
            for query, plan in zip(queries, plans, strict=True)
        ]

    def _plan(self, query: ResolvedQuery) -> _Plan:
        plan, pieces = _Plan(), []
        for part in query:
            piece, vector = self._of_part(part)
            if part.role != "caption" or part.kind != "text":  # plain words stand in the sentence and nowhere else
                plan.parts[id(part)] = vector
            if part.role == "negative":
                continue
            if piece is not None:
                pieces.append(piece)
                plan.weights.append(part.weight)
            elif not isinstance(vector, tuple):
                plan.beside.append((part.weight, vector))
        plan.sentence = tuple(pieces)
        return plan

    def _of_part(self, part: ResolvedPart) -> tuple[str | RGB | None, Wanted]:
        """What stands for a part in a sentence, or None, and what gives the vector of the part itself."""
        if part.kind == "text":
            return part.label, (part.label,)
        if part.photo is None and part.vector is not None:
            return None, part.vector
        photo = pixels_of(part)
        if part.mask is None:
            prepared = self._encoder.pixels.prepare(photo)
            return prepared, (prepared,) if part.vector is None else part.vector
        cells = self._regions.grid(size_of(photo)).cells
        mask = outlined(photo, part.mask, part.background, cells=cells, proposer=self._proposer)
        piece = self._encoder.pixels.prepare(square_around(photo, mask))
        return piece, self._regions.vectors(photo, [mask])[0] if part.vector is None else part.vector

    def _read(self, sentences: Sequence[Sentence], batcher: Batcher) -> dict[Key, Floats]:
        """Vectors of sentences by `_key`, each read once; those of about one length go together."""
        distinct = {_key(sentence): sentence for sentence in sentences if sentence}
        in_order = sorted(distinct, key=lambda key: self._encoder.length(distinct[key]))
        vectors = batcher.run([distinct[key] for key in in_order], self._encoder.encode_sentences)
        return dict(zip(in_order, vectors, strict=True))

    def _legend(self, plan: _Plan, vectors: dict[Key, Floats]) -> Floats:
        legend = np.zeros(self.space.dim, np.float32)
        if plan.sentence:
            legend += np.float32(np.mean(plan.weights)) * _vector(plan.sentence, vectors)
        for weight, vector in plan.beside:
            legend += np.float32(weight) * vector
        return unit(legend)

    # --- grounding ----------------------------------------------------------------------------

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """See `Interface.inspect`: with the vectors of all tokens, and vectors of masks by the regions' method."""
        ((encoding, encoded),) = self._encode([photo])
        grid = self._regions.grid(size_of(photo))
        coverage = grid.coverage([mask.decode() for mask in encoding.masks])
        scene = Scene(
            grid, encoding.regions, coverage, encoding.masks, encoding.boxes, encoded.patches, encoding.scores
        )
        return InspectedPhoto(scene, embed=lambda masks: self._regions.vectors(photo, masks))

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """See `Interface.ground`: the best region of each entity; the photo as a whole where it has none."""
        entities = tuple(part for part in query if part.role == "entity")
        if not entities:
            return []
        (encoding,) = self.encode_photos([photo])
        return best_regions(encoding, self.encode_query(entities).entities, size_of(photo))


def _key(sentence: Sentence) -> Key:
    """What tells one sentence from another: its words, and its prepared pictures as objects."""
    return tuple(piece if isinstance(piece, str) else id(piece) for piece in sentence)


def _vector(wanted: Wanted, vectors: dict[Key, Floats]) -> Floats:
    return vectors[_key(wanted)] if isinstance(wanted, tuple) else wanted
