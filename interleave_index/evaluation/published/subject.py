"""What a benchmark asks of a model, and how any interface of this package can be asked it.

A `Subject` looks at a photo once and answers many questions about it. FIND-like models answer with all their
proposals (`find_mini`, `published`); any other interface answers through the protocol that a search uses
(`PlainSubject`), with the regions that it stores.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...geometry import resize_mask
from ...interface.protocol import Interface
from ...records import RGB, BoolMask, Floats, ResolvedPart, ResolvedQuery
from .entity import Asked, Exemplar

Masks: TypeAlias = NDArray[np.bool_]  # (n, H, W)
Table: TypeAlias = Any  # what `Subject.classes` gives and `Look.segment` takes
TEMPERATURE = 0.05  # of the class chances of an interface that gives none
SURE = 10.0  # logit of a mask that is only known as on or off


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sides that a photo is resized to where a model takes any size: the shorter one, unless the longer passes."""

    short: int
    long: int


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """One instance: position of its class in the table, score 0 to 1, mask (H, W)."""

    category: int
    score: float
    mask: BoolMask


@dataclass(frozen=True, slots=True)
class Segmented:
    """Generic segmentation of one photo.

    Attributes:
        semantic: (H, W) position of the class in the table.
        ids: (H, W) panoptic segment ids, 0 where nothing was found.
        segments: (id, position of its class) of each.
        instances: best first.
    """

    semantic: NDArray[np.int64]
    ids: NDArray[np.int64]
    segments: tuple[tuple[int, int], ...]
    instances: tuple[FoundInstance, ...]


class Look(Protocol):
    """One photo, looked at; every answer is in pixels of the photo as it was given."""

    def vectors(self) -> tuple[Floats, Floats]:
        """(D,) image vector and (Q, D) object vectors; of any length."""

    def ground(self, expressions: Sequence[str]) -> Masks:
        """A mask for every expression, (E, H, W); expressions may see each other."""

    def ground_sentence(self, asked: Asked) -> Masks:
        """A mask for every phrase of a sentence, (E, H, W)."""

    def interact(self, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """The thing behind each prompt, (n, H, W), and what the next round takes as `memory`."""

    def segment(self, table: Table, things: Collection[int]) -> Segmented:
        """Generic segmentation into the classes of a table; `things` are positions of the countable ones."""


class Subject(Protocol):
    """A model under measurement: facts for the report, and the interface a search would use, if there is one."""

    facts: dict[str, Any]
    interface: Interface | None

    def look(self, photo: RGB, sizes: Sizes) -> Look:
        """The heavy step, once a photo; `photo` is (H, W, 3) uint8."""

    def classes(self, kinds: Sequence[str] | Sequence[Exemplar], *, descriptions: bool = False) -> Table:
        """A class table from names, from descriptions (whole sentences), or from one exemplar a class."""

    def captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions, comparable with image vectors."""

    def phrases(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of phrases, comparable with object vectors."""

    def sentence(self, asked: Asked) -> tuple[Floats, Floats]:
        """(D,) legend and (E, D) phrase vectors of a sentence."""


def subject_of(interface: Interface, *, published_protocol: bool = False) -> Subject:
    """The best way to ask an interface: by all its proposals where it is FIND-like, else through the protocol.

    Args:
        published_protocol: replay the published evaluation with its oddities, where the model has any.
    """
    if hasattr(interface, "network") or hasattr(interface, "model"):
        from . import find_like

        found = find_like.subject_of(interface, published_protocol=published_protocol)
        if found is not None:
            return found
    return PlainSubject(interface)


def facts_of(interface: Interface) -> dict[str, Any]:
    """Name, checkpoint, preprocessing and width of an interface, as reports carry them."""
    space = interface.space
    return {
        "interface": space.interface,
        "checkpoint": space.checkpoint,
        "preprocessing": space.preprocessing,
        "dim": space.dim,
    }


class PlainSubject:
    """Any interface, asked as a search asks it."""

    def __init__(self, interface: Interface) -> None:
        self._interface, self.facts = interface, {**facts_of(interface), "asked": "through the interface protocol"}
        self.interface: Interface | None = interface

    def look(self, photo: RGB, sizes: Sizes) -> PlainLook:
        """See `Subject`; the interface chooses its own size."""
        return PlainLook(self._interface, photo)

    def classes(self, kinds: Sequence[str] | Sequence[Exemplar], *, descriptions: bool = False) -> Floats:
        """(K, D) entity vectors of the classes."""
        found = []
        for kind in kinds:
            asked = (ResolvedPart("entity", "text", kind) if isinstance(kind, str) else _part(kind),)
            found.append(self._interface.encode_query(asked).entities[0])
        return np.array(found, np.float32)

    def captions(self, texts: Sequence[str]) -> Floats:
        """See `Subject`: legends of plain text."""
        rows = [self._interface.encode_query((ResolvedPart("caption", "text", t),)).legend for t in texts]
        return self._stacked(rows)

    def phrases(self, texts: Sequence[str]) -> Floats:
        """See `Subject`: vectors of text entities."""
        rows = [self._interface.encode_query((ResolvedPart("entity", "text", t),)).entities[0] for t in texts]
        return self._stacked(rows)

    def sentence(self, asked: Asked) -> tuple[Floats, Floats]:
        """See `Subject`."""
        found = self._interface.encode_query(as_query(asked))
        return found.legend, found.entities

    def _stacked(self, rows: list[Floats]) -> Floats:
        return np.array(rows, np.float32).reshape(len(rows), self._interface.space.dim)


class PlainLook:
    """One photo before a `PlainSubject`."""

    def __init__(self, interface: Interface, photo: RGB) -> None:
        self._interface, self._photo = interface, photo
        self._size = photo.shape[0], photo.shape[1]

    def vectors(self) -> tuple[Floats, Floats]:
        """See `Look`: image and stored regions; a photo without regions stands for itself."""
        found = self._interface.encode_photos([self._photo])[0]
        return found.image, found.regions if len(found.regions) else found.image[None]

    def ground(self, expressions: Sequence[str]) -> Masks:
        """See `Look`: each expression by itself."""
        queries = [(ResolvedPart("entity", "text", text),) for text in expressions]
        return self._stacked([self._masks(query, 1)[0] for query in queries])

    def ground_sentence(self, asked: Asked) -> Masks:
        """See `Look`."""
        return self._masks(as_query(asked), len(asked.spans))

    def interact(self, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """See `Look`: the prompt as a part of the photo itself; there is no memory."""
        found = []
        for mask, other in zip(prompts, background, strict=True):
            part = ResolvedPart(
                "entity",
                "region",
                "[image:photo]",
                photo=self._photo,
                mask=mask,
                background=other if other.any() else None,
            )
            found.append(self._masks((part,), 1)[0])
        return self._stacked(found), None

    def segment(self, table: Table, things: Collection[int]) -> Segmented:
        """See `Look`: chances by cosine, background by the quality of a region."""
        found = self._interface.encode_photos([self._photo])[0]
        scores = np.exp((found.regions @ table.T - 1) / TEMPERATURE)
        named = scores / np.maximum(scores.sum(1, keepdims=True), 1e-12) * found.scores[:, None]
        chances = np.concatenate([named, 1 - found.scores[:, None]], 1)
        masks = self._stacked([resize_mask(rle.decode(), self._size) for rle in found.masks])
        return segmented(np.log(np.maximum(chances, 1e-9)), np.where(masks, SURE, -SURE), things)

    def _masks(self, query: ResolvedQuery, count: int) -> Masks:
        found = np.zeros((count, *self._size), bool)
        best = np.full(count, -np.inf)
        for one in self._interface.ground(self._photo, query) if count else ():
            if one.score > best[one.entity]:
                best[one.entity], found[one.entity] = one.score, one.mask.decode()
        return found

    def _stacked(self, masks: Sequence[BoolMask]) -> Masks:
        return np.array(masks, bool).reshape(len(masks), *self._size)


def segmented(logits: Any, masks: Any, things: Collection[int]) -> Segmented:
    """Semantic, panoptic and instance output as published.

    Args:
        logits: (Q, K + 1) class logits, background last; masks: (Q, H, W) logits. Arrays or tensors.
        things: positions of the countable classes.
    """
    import torch

    from ...interface.published import segmentation

    chances, maps = (torch.as_tensor(rows, dtype=torch.float32) for rows in (logits, masks))
    semantic = segmentation.semantic(chances, maps).argmax(0).cpu().numpy()
    panoptic = segmentation.panoptic(chances, maps, things)
    instances = segmentation.instances(chances, maps, things)
    return Segmented(
        semantic.astype(np.int64),
        panoptic.ids.astype(np.int64),
        tuple((one.id, one.category) for one in panoptic.segments),
        tuple(FoundInstance(one.category, one.score, one.mask) for one in instances),
    )


def as_query(asked: Asked) -> ResolvedQuery:
    """A sentence as the interface protocol takes it: phrases are entities, what lies between them is caption.

    >>> [(p.role, p.label) for p in as_query(Asked("a dog runs", ((0, 5),), (None,)))]
    [('entity', 'a dog'), ('caption', 'runs')]
    """
    parts: list[ResolvedPart] = []
    at = 0
    for (start, end), exemplar in zip(asked.spans, asked.exemplars, strict=True):
        start, end = max(start, at), max(end, at)
        _add_caption(parts, asked.text[at:start])
        words = asked.text[start:end].strip() or "thing"
        parts.append(ResolvedPart("entity", "text", words) if exemplar is None else _part(exemplar))
        at = end
    _add_caption(parts, asked.text[at:])
    return tuple(parts)


def _add_caption(parts: list[ResolvedPart], text: str) -> None:
    if any(character.isalnum() for character in text):
        parts.append(ResolvedPart("caption", "text", text.strip()))


def _part(exemplar: Exemplar) -> ResolvedPart:
    return ResolvedPart("entity", "region", "[image:exemplar]", photo=exemplar.photo, mask=exemplar.mask)
