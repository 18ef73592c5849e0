"""What a benchmark asks of a model.

Every interface is asked just as a search asks it, so that what is measured is what is served. The exceptions are
released checkpoints of FIND, X-Decoder and SEEM, whose published figures take all their proposals (`find`, `family`),
READ, whose published masks were measured with the answer supplied (`read.ReadSubject`), and BLIP-2, which has several
vectors of a photo (`queries`). Segmenters and detectors by themselves are in `parts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...errors import InputError
from ...geometry import resize_mask, size_of, unit
from ...grounding.marks import prompt_of_marks
from ...interface.protocol import Interface
from ...query.ground import best_first
from ...records import RGB, BoolMask, Floats, ResolvedPart, ResolvedQuery
from ...segmentation.segmenters import class_chances, panoptic_of
from .entity import Exemplar, InterleavedSentence

if TYPE_CHECKING:
    from ...interface.published.segmentation import Segmentation
    from .read import Answers

Masks: TypeAlias = BoolMask  # (n, H, W)
Table: TypeAlias = Any  # what `Subject.classes` gives and `Subject.segment` takes
TOGETHER = 8  # parts of one photo in a query: the photo is looked at once for them, and no query gets too long
CERTAIN = 10.0  # logit of a mask that is only known as on or off


class Subject:
    """A model under measurement, asked as a search asks it: by `encode_photos`, `encode_queries` and `ground`.

    Photos are (H, W, 3) uint8; masks that it answers are in pixels of the photo.

    Attributes:
        interface: the model as a search asks it.
        facts: for the report, plain JSON values.
    """

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self.facts = {**asdict(interface.space), "asked": "through the interface protocol"}

    def vectors(self, photo: RGB) -> tuple[Floats, Floats]:
        """(D,) image vector and (Q, D) object vectors; a photo without stored regions stands for itself."""
        (encoding,) = self.interface.encode_photos([photo])
        return encoding.image, encoding.regions if len(encoding.regions) else encoding.image[None]

    def views(self, photo: RGB) -> Floats:
        """(V, D) vectors of a photo, of which the nearest to a caption counts; mostly its image vector alone."""
        return self.vectors(photo)[0][None]

    def captions(self, texts: Sequence[str]) -> Floats:
        """(N, D) vectors of captions, at least one, comparable with image vectors."""
        queries = [(ResolvedPart("caption", "text", text),) for text in texts]
        return np.stack([encoding.legend for encoding in self.interface.encode_queries(queries)])

    def sentence(self, sentence: InterleavedSentence) -> tuple[Floats, Floats]:
        """(D,) legend and (E, D) phrase vectors of a sentence."""
        encoding = self.interface.encode_query(as_query(sentence))
        return encoding.legend, encoding.entities

    def composed(self, photo: RGB, text: str) -> Floats:
        """(D,) vector of the query ``[photo] text``, comparable with image vectors."""
        query = (ResolvedPart("entity", "picture", "[image:reference]", photo=photo), *_caption(text))
        return self.interface.encode_query(query).legend

    def ground(self, photo: RGB, expressions: Sequence[str], *, together: bool) -> Masks:
        """A mask for every expression, (E, H, W); all in one query, in which they may see each other, or one by one."""
        entities = [_entity(expression) for expression in expressions]
        queries = [tuple(entities)] if together else [(entity,) for entity in entities]
        return np.concatenate([self._best_masks(photo, query) for query in queries])

    def reason(self, photo: RGB, text: str, *, is_sentence: bool) -> BoolMask:
        """The mask of what a text of ReasonSeg means, (H, W); `is_sentence` is off for a short phrase."""
        mask: BoolMask = self.ground(photo, [text], together=False)[0]
        return mask

    def ground_if_there(self, photo: RGB, expressions: Sequence[str]) -> Masks:
        """A mask for every expression, each by itself, (E, H, W); empty where the model says that nothing is there."""
        return self.ground(photo, expressions, together=False)

    def protocol(self, *, presence: bool) -> str | None:
        """How the model is asked, where there is more than one way; `presence`: whether a thing is there at all."""
        return None

    def comparable(self, *, presence: bool) -> bool:
        """Whether that is how the published figures were measured."""
        return True

    def ground_sentence(self, photo: RGB, sentence: InterleavedSentence) -> Masks:
        """A mask for every phrase of a sentence, (E, H, W)."""
        return self._best_masks(photo, as_query(sentence))

    def interact(self, photo: RGB, prompts: Masks, background: Masks, memory: Any = None) -> tuple[Masks, Any]:
        """The thing behind each prompt, (n, H, W), and what the next round on this photo takes as `memory`.

        Args:
            prompts, background: (n, H, W), pixels that are meant and that are not.
        """
        parts = []
        for mask, other in zip(prompts, background, strict=True):
            beside = other if other.any() else None
            made = prompt_of_marks(mask, beside)
            parts.append(ResolvedPart("entity", "region", "[image:photo]", photo, mask, beside, prompt=made))
        return np.stack([answer.mask.decode() for answer in self.interface.interact(photo, parts)]), None

    def classes(self, names: Sequence[str], *, descriptions: bool = False) -> Table:
        """A class table from names, or from descriptions (whole sentences).

        Here (K, D) entity vectors.
        """
        encodings = self.interface.encode_queries([(_entity(name),) for name in names])
        return np.stack([encoding.entities[0] for encoding in encodings])

    def shown_classes(self, classes: Iterable[Iterable[Exemplar]]) -> Table:
        """A class table from exemplars of each class, which are averaged.

        Here (K, D) means of entity vectors, of unit length.

        Args:
            classes: read one by one, as photos are.
        """
        rows = []
        for exemplars in classes:
            vectors = [self.interface.encode_query((_entity(one),)).entities[0] for one in exemplars]
            rows.append(unit(np.mean(vectors, 0)))
        return np.stack(rows)

    def segment_vectors(self, photo: RGB, masks: Masks) -> Floats:
        """(n, D) vectors of parts of a photo, (n, H, W), at least one; to be compared with each other."""
        parts = [_entity(Exemplar(photo, mask)) for mask in masks]
        queries = [tuple(parts[start : start + TOGETHER]) for start in range(0, len(parts), TOGETHER)]
        return np.concatenate([self.interface.encode_query(query).entities for query in queries])

    def segment(self, photo: RGB, table: Table, things: Collection[int]) -> Segmentation:
        """Generic segmentation into the classes of a table; `things` are positions of the countable ones.

        Here by the stored regions, as `interleave-index segment` names them; background by the region's quality.
        """
        from ...interface.published.segmentation import segment

        (encoding,) = self.interface.encode_photos([photo])
        named, size = class_chances(self.interface, encoding, table), size_of(photo)
        chances = np.concatenate([named, 1 - encoding.scores[:, None]], 1)
        masks = np.array([resize_mask(rle.decode(), size) for rle in encoding.masks], bool).reshape(-1, *size)
        found = segment(np.log(np.maximum(chances, 1e-9)), np.where(masks, CERTAIN, -CERTAIN), things)
        return replace(found, panoptic=panoptic_of(encoding, named, len(table), things, size))

    def _best_masks(self, photo: RGB, query: ResolvedQuery) -> Masks:
        """The best mask of every entity, (E, H, W); an empty one where the interface gives none."""
        grounded = self.interface.ground(photo, query)
        masks = []
        for number in range(sum(part.role == "entity" for part in query)):
            best = best_first(grounded, number)
            masks.append(best[0].mask.decode() if best else np.zeros(photo.shape[:2], bool))
        return np.stack(masks)


def subject_of(interface: Interface, *, published_protocol: bool = False) -> Subject:
    """How an interface is measured; the first of `subjects_of`.

    Args:
        published_protocol: replay the published evaluation with its oddities, where the model has any.
    """
    return subjects_of(interface, published_protocol=published_protocol)[0]


def subjects_of(
    interface: Interface, *, published_protocol: bool = False, answers: Sequence[Answers] | None = None
) -> list[Subject]:
    """The ways in which an interface is measured: one, but for READ, whose answer is supplied, or generated freely.

    Args:
        published_protocol: see `subject_of`; of READ the published way alone.
        answers: the ways for READ; None takes both.
    Raises:
        InputError: `answers` for another model.
    """
    from ...interface.dual.interface import DualInterface
    from ...interface.points import PointsInterface
    from ...interface.published.interface import PublishedFind
    from ...interface.read.interface import ReadInterface
    from ...interface.xdecoder.interface import SeemInterface, XDecoderInterface

    if isinstance(interface, ReadInterface):
        from .read import ReadSubject

        both: tuple[Answers, ...] = ("supplied",) if published_protocol else ("supplied", "free")
        return [ReadSubject(interface, way) for way in answers or both]
    if answers:
        raise InputError(f"--answers is for READ, the model here is {interface.space.interface}; leave it out")
    if isinstance(interface, PublishedFind):
        from .find import FindSubject

        interface.model.published_protocol = published_protocol
        return [FindSubject(interface)]
    if isinstance(interface, XDecoderInterface | SeemInterface):
        from .family import SeemSubject, XDecoderSubject

        return [XDecoderSubject(interface) if isinstance(interface, XDecoderInterface) else SeemSubject(interface)]
    inner = interface.inner if isinstance(interface, PointsInterface) else interface
    if isinstance(inner, DualInterface) and inner.encoder.has_query_vectors:
        from .queries import QueryVectorsSubject

        return [QueryVectorsSubject(interface, inner.encoder)]
    return [Subject(interface)]


def as_query(sentence: InterleavedSentence) -> ResolvedQuery:
    """A sentence as the interface protocol takes it: phrases are entities, what lies between them is caption.

    >>> [(p.role, p.label) for p in as_query(InterleavedSentence("a dog runs", ((0, 5),), (None,)))]
    [('entity', 'a dog'), ('caption', 'runs')]
    """
    parts: list[ResolvedPart] = []
    done = 0  # characters
    for (start, end), exemplar in zip(sentence.spans, sentence.exemplars, strict=True):
        start, end = max(start, done), max(end, done)  # spans of the published protocol may overlap
        parts += _caption(sentence.text[done:start])
        words = sentence.text[start:end].strip() or "thing"
        parts.append(_entity(words if exemplar is None else exemplar))
        done = end
    return (*parts, *_caption(sentence.text[done:]))


def _caption(text: str) -> list[ResolvedPart]:
    """One part, or none where the text has no word."""
    if not any(character.isalnum() for character in text):
        return []
    return [ResolvedPart("caption", "text", text.strip())]


def _entity(thing: str | Exemplar) -> ResolvedPart:
    if isinstance(thing, str):
        return ResolvedPart("entity", "text", thing)
    return ResolvedPart("entity", "region", "[image:exemplar]", photo=thing.photo, mask=thing.mask)
