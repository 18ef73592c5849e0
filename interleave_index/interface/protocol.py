"""The one seam between models and the rest: what an interface must be able to do.

Knows the records and grounding only. It does not know torch, files, SQL, or which models exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import ShapeError
from ..geometry import size_of, unit
from ..grounding.similarity import Scene, scene_of
from ..records import (
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
from .calibration import Calibration
from .marked import by_masks

SHOWN_CUT = 60  # characters of what lies beyond, in a note


@dataclass(frozen=True, slots=True)
class TextReading:
    """What a model cannot read of a text.

    Attributes:
        unknown: words that it never met, as they were written, in order; it reads them by their pieces.
        left_out: those of another script, and signs, which it cannot read at all.
        near: by unknown word, known words that are spelt nearly alike.
        cut: the end of the text that lies beyond what it reads; empty where nothing does.
        nothing: no word that it knows means anything.
        empty: nothing is left to be read at all.
    """

    unknown: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cut: str = ""
    nothing: bool = False
    empty: bool = False

    def notes(self) -> list[str]:
        """What the user should know, a line each."""
        notes = []
        for word in self.unknown:
            others = self.near.get(word, ())
            hint = f"; did you mean {' or '.join(others)}?" if others else ""
            notes.append(f"the model does not know the word {word!r} and may misread it{hint}")
        notes += [f"the model cannot read {word!r} and leaves it out" for word in self.left_out]
        if self.cut:
            start = self.cut if len(self.cut) <= SHOWN_CUT else f"{self.cut[:SHOWN_CUT]}..."
            notes.append(f"the text is longer than the model reads; it leaves out {start!r}")
        return notes


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How an interface is best used, beyond what it must do.

    Attributes:
        encodes: it makes vectors; False for one that only grounds, whose `encode_photos` and `encode_query` raise.
        reads_pictures_in_text: a sentence with pictures between its words has one vector of both; False for one that
            reads the words and looks at each picture by itself.
        photos_at_a_time: how many photos it would like in one call of `encode_photos`; it splits them itself.
        device, dtype: where and in which precision it runs, as torch names them.
    """

    encodes: bool = True
    reads_pictures_in_text: bool = True
    photos_at_a_time: int = 16
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class InspectedPhoto:
    """All that an interface knows of one photo, for grounding by points.

    Attributes:
        scene: its regions, and its patches where it has any.
        embed: (M, D) vectors of M masks of any size in the photo's aspect, made as those of the regions are; None where
            masks have no vectors of their own.
    """

    scene: Scene
    embed: Callable[[Sequence[BoolMask]], Floats] | None = None


def encode_parts(query: ResolvedQuery, legend: Floats, encode: Callable[[ResolvedPart], Floats]) -> QueryEncoding:
    """The encoding of a query with this legend, (D,); `encode` gives the (D,) vector of an entity or a negative."""
    entities, negatives = (
        np.array([encode(part) for part in query if part.role == role], np.float32).reshape(-1, len(legend))
        for role in ("entity", "negative")
    )
    return QueryEncoding(legend, entities, negatives)


def composed_query(
    query: ResolvedQuery, dim: int, read: Callable[[str], Floats], encode: Callable[[ResolvedPart], Floats]
) -> QueryEncoding:
    """The encoding of a query by a model that reads no sentences with pictures, so that the legend is composed.

    Words alone are one text, joined by blanks in their order, brackets or not: plain text ranks exactly as the
    model ranks it. With pictures, the legend is the sum of the vector of all words together (weight: the mean of
    their parts') and of the vectors of the pictures and parts (each with its weight), scaled to length 1. Pictures
    alone are their weighted mean, so that a photo finds itself; no parts give zeros.

    Args:
        dim: D.
        read: the (D,) unit vector of a text.
        encode: the (D,) unit vector of an entity, a negative, or a picture that is neither.
    """
    legend = np.zeros(dim, np.float32)
    worded = [part for part in query if part.kind == "text" and part.role != "negative"]
    if worded:
        words = " ".join(part.label for part in worded)
        legend += np.float32(np.mean([part.weight for part in worded])) * read(words)
    vectors: dict[int, Floats] = {}
    for part in query:
        if part.kind == "text" and part.role == "caption":
            continue  # it stands among the words and nowhere else
        vectors[id(part)] = encode(part)
        if part.kind != "text" and part.role != "negative":
            legend += np.float32(part.weight) * vectors[id(part)]
    return encode_parts(query, unit(legend), lambda part: vectors[id(part)])


def pixels_of(part: ResolvedPart) -> RGB:
    """The picture that a part is or lies in.

    Raises:
        ShapeError: there is none, and the part has no stored vector that would stand for it.
    """
    if part.photo is None:
        raise ShapeError(f"part {part.label!r} has neither pixels nor a stored vector")
    return part.photo


def stored_vector(part: ResolvedPart) -> Floats | None:
    """The vector of a part that need not be encoded again: of an indexed region, or where there are no pixels."""
    return part.vector if part.photo is None or part.kind == "region" else None


class Interface(Protocol):
    """Photos and queries into one space, and a second, exact look at one photo.

    Models derive from it: `capabilities`, `reading`, `encode_queries` and `inspect` then have sensible defaults.
    """

    @property
    def space(self) -> Space:
        """What may be compared with what."""

    @property
    def calibration(self) -> Calibration:
        """The banks and curves behind the relevance of a hit."""

    @property
    def capabilities(self) -> Capabilities:
        """How it is best used."""
        return Capabilities()

    def reading(self, text: str) -> TextReading:
        """What it cannot read of a text; nothing, for one that does not know."""
        return TextReading()

    def encode_photos(self, photos: Sequence[RGB]) -> list[PhotoEncoding]:
        """Encode upright photos of any sizes, in order; an empty sequence gives an empty list."""

    def encode_query(self, query: ResolvedQuery) -> QueryEncoding:
        """One vector for the whole sentence, one per entity, one per negative.

        Negatives take no part in the legend. Parts without pixels must carry a stored vector.
        """

    def encode_queries(self, queries: Sequence[ResolvedQuery]) -> list[QueryEncoding]:
        """`encode_query` of each, in order; faster than one by one where a model can read several at once."""
        return [self.encode_query(query) for query in queries]

    def ground(self, photo: RGB, query: ResolvedQuery) -> list[GroundedMask]:
        """A second, exact look at one photo: at least one mask for every entity (negatives not counted)."""

    def interact(self, photo: RGB, parts: Sequence[ResolvedPart]) -> list[GroundedMask]:
        """What marks on a photo mean: one mask for each part, numbered by position, all of them present.

        Here the stored region that the marks mean, see `marked.meant_by`.

        Args:
            photo: (H, W, 3) uint8, upright.
            parts: marked in this very photo.
        """
        (encoding,) = self.encode_photos([photo])
        return by_masks(parts, [mask.decode() for mask in encoding.masks], encoding.scores)

    def encode_stored_phrases(self, phrases: Sequence[str]) -> Floats:
        """(N, D) of noun phrases of stored texts, among which a search looks for those that answer a query's entities.

        They are encoded as entities are, unless a model has a faster way that finds the same phrases.
        """
        encodings = self.encode_queries([(ResolvedPart("entity", "text", phrase),) for phrase in phrases])
        return np.array([encoding.entities[0] for encoding in encodings], np.float32).reshape(-1, self.space.dim)

    def inspect(self, photo: RGB) -> InspectedPhoto:
        """All that is known of one photo (H, W, 3) uint8, upright: what an ingest would store, or more."""
        (encoding,) = self.encode_photos([photo])
        size = size_of(photo)
        return InspectedPhoto(scene_of(size, encoding, self.calibration.score_weight))
