"""Photos, and the ranked, grounded hits that answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, overload

from ..wording import number_of
from .encodings import Box, Rle
from .parts import PartKind
from .texts import TextHit, TextMatch


@dataclass(frozen=True, slots=True)
class Photo:
    """One distinct picture of the collection.

    Attributes:
        id: never used twice in one index.
        path: a present location if there is one, else the last known, else None; names that are not
            UTF-8 carry surrogate escapes, as `os.fsdecode` makes them.
        width, height: pixels of the upright photo.
        format: of the file's content, such as ``JPEG``.
        phash: 64-bit DCT perceptual hash, unsigned, or None.
    """

    id: int
    path: str | None
    width: int
    height: int
    format: str = ""
    taken_at: datetime | None = None
    camera: str | None = None
    lens: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    sha256: str = ""
    phash: int | None = None

    def __repr__(self) -> str:
        return f"Photo({self.id}, {self.path!r}, {self.width}x{self.height})"


@dataclass(frozen=True, slots=True)
class Grounding:
    """How an entity was tied to a hit.

    Attributes:
        source: ``stored`` (a stored region), ``exact`` (the interface looked again), ``none``.
        present: whether the entity counts as being there: by a grounder that judges it, else by its chance.
        score: how well the best mask answers the entity, a cosine less what captions in general score there.
        probability: calibrated chance that the entity is in the photo, 0 to 1.
        rung: which method of several found the masks, as `grounding.cascade` names them; empty where there is only one.
        confidence: of a grounder that judged presence, of its best mask, 0 to 1, by its own measure; else None.
    """

    source: Literal["stored", "exact", "none"]
    present: bool
    score: float
    rung: str = ""
    probability: float = 0.0
    confidence: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; ``rung`` only where there were several methods, ``confidence`` only of a grounder."""
        found: dict[str, Any] = {
            "source": self.source,
            "present": self.present,
            "score": self.score,
            "probability": self.probability,
        }
        if self.rung:
            found["rung"] = self.rung
        return found if self.confidence is None else found | {"confidence": self.confidence}


@dataclass(frozen=True, slots=True)
class Region:
    """One masked part of a photo. `region_id` is None for a mask made at query time."""

    region_id: int | None
    score: float
    box: Box
    rle: Rle


@dataclass(frozen=True, slots=True)
class EntityHit:
    """What one entity of the query found in one photo."""

    text: str
    kind: PartKind
    negative: bool
    weight: float
    score: float
    grounding: Grounding
    regions: tuple[Region, ...]

    def __repr__(self) -> str:
        there = "there" if self.grounding.present else "not there"
        regions = number_of(len(self.regions), "region")
        return f"EntityHit({self.text!r}, {there}, {self.grounding.probability:.0%}, {regions})"


@dataclass(frozen=True, slots=True)
class Reranked:
    """What a reranker made of one hit.

    Attributes:
        score: its chance that the photo answers the query, 0 to 1; it is the relevance of the hit.
        was: rank of the photo before, from 1.
    """

    score: float
    was: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"score": self.score, "was": self.was}


@dataclass(frozen=True, slots=True)
class Reranking:
    """The second stage of one answer: which model looked at how many photos, and how many seconds it took."""

    model: str
    photos: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"model": self.model, "photos": self.photos, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked answer. `relevance` is calibrated, 0 to 1; `stack` names photos folded into this hit.

    `notes` is what the caller should know of a photo that was grounded by itself; those of a search are in its answer.
    `text` is what the photo's texts and file names added to its score, None where they added nothing; `reranked` what
    a reranker made of it, None where none looked at it.
    """

    rank: int
    photo: Photo
    score: float
    relevance: float
    entities: tuple[EntityHit, ...] = ()
    stack: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    text: TextMatch | None = None
    reranked: Reranked | None = None

    def __repr__(self) -> str:
        return f"Hit({self.rank}, {self.photo!r}, score={self.score:.3f}, relevance={self.relevance:.2f})"

    def to_json(self) -> dict[str, Any]:
        """The hit as plain JSON values; see docs/cli.md. ``notes``, ``text``, ``rerank`` only where there are some."""
        values: dict[str, Any] = {
            "rank": self.rank,
            "photo_id": self.photo.id,
            "path": self.photo.path,
            "taken_at": self.photo.taken_at.isoformat() if self.photo.taken_at else None,
            "camera": self.photo.camera,
            "score": self.score,
            "relevance": self.relevance,
            "stack": {"count": 1 + len(self.stack), "photo_ids": [self.photo.id, *self.stack]},
            "entities": [
                {
                    "text": e.text,
                    "kind": e.kind,
                    "negative": e.negative,
                    "weight": e.weight,
                    "score": e.score,
                    "grounding": e.grounding.to_json(),
                    "regions": [
                        {"region_id": r.region_id, "score": r.score, "box": list(r.box), "mask": r.rle.to_json()}
                        for r in e.regions
                    ],
                }
                for e in self.entities
            ],
        }
        if self.notes:
            values["notes"] = list(self.notes)
        if self.text is not None:
            values["text"] = self.text.to_json()
        if self.reranked is not None:
            values["rerank"] = self.reranked.to_json()
        return values


@dataclass(frozen=True, slots=True)
class Partial:
    """An answer of a cluster in which some parts of the library had no say.

    Attributes:
        partitions: how many parts there are.
        lost: numbers, from 0, of those that did not answer, ascending.
    """

    partitions: int
    lost: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"partitions": self.partitions, "lost": list(self.lost)}


@dataclass(frozen=True, slots=True)
class Answer(Sequence[Hit]):
    """Ranked hits of one query; a sequence of `Hit`, best first, ties by photo id.

    Attributes:
        query: the query in its string form.
        path: ``exact`` when every eligible photo was scored, ``ann`` when candidates came from FAISS.
        hits: best first.
        notes: what the caller should know, such as stored vectors that stood in for lost pixels.
        cutoff: relevance from which a hit counts as meant; above all of them where nothing of the library is.
        texts: passages, best first, where these were asked for; None where they were not.
        reranking: the second stage, where there was one.
        partial: which parts of a cluster did not answer, where any did not; their photos are not among the hits.
    """

    query: str
    path: Literal["exact", "ann"]
    hits: tuple[Hit, ...]
    notes: tuple[str, ...] = ()
    cutoff: float = 0.5
    texts: tuple[TextHit, ...] | None = None
    reranking: Reranking | None = None
    partial: Partial | None = None

    def __repr__(self) -> str:
        best = f", best {self.hits[0]!r}" if self.hits else ""
        return f"Answer({self.query!r}, {number_of(len(self), 'hit')}, {self.meant_count} meant{best})"

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def meant(self, hit: Hit) -> bool:
        """Whether a hit counts as meant: the one rule by which hits are greyed, counted and divided."""
        return hit.relevance >= self.cutoff

    @property
    def meant_count(self) -> int:
        """How many hits count as meant; they stand before all others."""
        return sum(map(self.meant, self.hits))

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values; see docs/cli.md.

        ``texts`` and ``rerank`` only where they were asked for, ``partial`` only where a part of a cluster was silent.
        """
        values: dict[str, Any] = {
            "query": self.query,
            "path": self.path,
            "cutoff": self.cutoff,
            "notes": list(self.notes),
            "hits": [hit.to_json() for hit in self.hits],
        }
        if self.reranking is not None:
            values["rerank"] = self.reranking.to_json()
        if self.partial is not None:
            values["partial"] = self.partial.to_json()
        return values if self.texts is None else values | {"texts": [hit.to_json() for hit in self.texts]}
