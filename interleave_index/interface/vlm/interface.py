"""An interleaved encoder behind the interface protocol: sentences with their pictures, and photos with regions."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ...geometry import size_of, unit
from ...models.batching import Batcher
from ...records import RGB, BoolMask, Floats, GroundedMask, QueryEncoding, ResolvedPart, ResolvedQuery
from ..best_region import best_regions
from ..dual.proposals import Proposer, outlined
from ..dual.regions import WholeView, square_around
from ..dual.with_regions import EncoderWithRegions
from ..protocol import encode_parts, pixels_of
from .encoder import InterleavedEncoder, Sentence
from .regions import RegionEncoder

Wanted: TypeAlias = "Sentence | Floats"  # what is still to be read, or a vector that is known
Key: TypeAlias = tuple[str | int, ...]  # of a sentence


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


class VlmInterface(EncoderWithRegions[Future[RGB]]):
    """Qwen3-VL-Embedding or EmbeddingGemma 2 with regions.

    Args:
        encoder: the checkpoint.
        proposer: where masks come from.
        method: how a mask becomes a vector: ``attention``, ``patches`` or ``crop``, see `regions`.
    """

    on_cpu, on_accelerator = (2, 8), (16, 256)
    reads_pictures = True

    def __init__(self, encoder: InterleavedEncoder, proposer: Proposer, *, method: str = "attention") -> None:
        self._encoder, self._sentences = encoder, self._new_batcher(encoder)
        self._regions = RegionEncoder(encoder, method, self._new_batcher(encoder))
        super().__init__(encoder, proposer, f"{encoder.pixels}; regions {method}; width {encoder.dim}")

    def _captions(self, texts: Sequence[str]) -> Floats:
        return np.stack(self._sentences.run([(text,) for text in texts], self._encoder.encode_sentences))

    def _seen(self, photo: RGB, mask: BoolMask) -> tuple[Floats, Floats]:
        (view,) = self._regions.encode([photo], [self._encoder.pixels.prepare(photo)], [[mask]])
        return view.image, view.regions[0]

    def _prepare(self, photo: RGB) -> Future[RGB]:
        return self._threads.submit(self._encoder.pixels.prepare, photo)

    def _look(
        self, photos: Sequence[RGB], prepared: Sequence[Future[RGB]], masks: Sequence[Sequence[BoolMask]]
    ) -> list[WholeView]:
        return self._regions.encode(photos, [one.result() for one in prepared], masks)

    def _vectors(self, photo: RGB, masks: Sequence[BoolMask]) -> Floats:
        return self._regions.vectors(photo, masks)

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
